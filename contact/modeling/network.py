"""The whole InteractVLM: words of the VLM become prompts of MV-Loc.

Dwivedi et al., "InteractVLM", CVPR 2025. One forward pass has three parts, which callers run apart, so that each is run
once only: the VLM reads and answers (``inference/generation.py``); :meth:`InteractVLMNetwork.contact_prompts` turns the
states of its contact tokens into one prompt per view; ``mv_loc`` localises the prompts in pictures that it has encoded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.attention_splitter import AttentionSplitter
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.direct_heads import ObjectHead, VertexHead, blend, place_features
from hoirecon.contact.modeling.feat_lift import build_feat_lift
from hoirecon.contact.modeling.look_back import LookBack
from hoirecon.contact.modeling.mv_loc import MVLoc
from hoirecon.contact.modeling.token_projection import TokenProjection
from hoirecon.contact.modeling.vlm import VLM
from hoirecon.contact_map import odds_shifted
from hoirecon.errors import InputError


class InteractVLMNetwork(nn.Module):
    """All tensors of one model, and the way from a contact token to prompts.

    Example:
        The 13B model without its 26 GB::

            with torch.device("meta"):
                network = InteractVLMNetwork(NetworkConfig())
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Random weights, on torch's default device and in its default type."""
        super().__init__()
        self.config = config
        self.vlm = VLM(config)
        self.token_projection = TokenProjection(config.language.hidden_size, config.prompt_dim)
        self.feat_lift = build_feat_lift(config)
        self.attention_splitter = (
            AttentionSplitter(config.prompt_dim, config.splitter_hidden) if config.splits_attention else None
        )
        self.mv_loc = MVLoc(config)
        hidden = config.language.hidden_size
        self.look_back = (
            LookBack(hidden, config.language.num_heads, config.language.vocab_size) if config.look_back else None
        )
        self.vertex_head = VertexHead(hidden, config.vertex_head) if config.vertex_head else None
        self.object_head = (
            ObjectHead(hidden, config.language.vocab_size, config.object_head) if config.object_head else None
        )

    def restore_buffers(self, device: torch.device | str) -> None:
        """Make anew what no checkpoint holds, after the weights of a network from the meta device were assigned."""
        self.vlm.restore_buffers(device)

    def project(self, hidden: Tensor) -> Tensor:
        """One embedding per contact token, repeated for every view.

        Args:
            hidden: (S, H) states that predict contact tokens; only these rows are projected.

        Returns:
            (S, V, D).
        """
        embedding: Tensor = self.token_projection(hidden.to(next(self.token_projection.parameters())))
        return embedding[:, None].expand(-1, self.config.num_views, -1)

    def looked_back(self, states: Tensor, pictures: Tensor | None, words: Sequence[int]) -> Tensor:
        """States (S, H) before contact tokens after another look at their pictures' vectors (S, P, H), for the objects
        that are named by these words (S,); the states themselves in a network that does not look back."""
        if self.look_back is None or pictures is None:
            return states
        looked: Tensor = self.look_back(states, pictures, words)
        return looked

    def contact_prompts(
        self, hidden: Tensor, token_ids: Sequence[int] | Tensor, cameras: Tensor | None = None
    ) -> Tensor:
        """What MV-Loc is prompted with: for every contact token one embedding per view.

        Args:
            hidden: (S, H) states that predict the contact tokens, after the language model's final norm.
            token_ids: (S,) which contact token each is; human and object differ in the attention splitter.
            cameras: (V, 5) normalised cameras of the views, see :func:`normalize_cameras`; None for a photograph.

        Returns:
            (S, V, D). All V embeddings of a token prompt every view together.

        Raises:
            InputError: not contact tokens, or other numbers of tokens or cameras than expected.
        """
        ids = token_ids.tolist() if isinstance(token_ids, Tensor) else list(token_ids)
        if hidden.ndim != 2 or len(hidden) != len(ids):
            raise InputError(f"{len(ids)} contact tokens need states ({len(ids)}, H), got {tuple(hidden.shape)}")
        roles = [self.config.tokens.role_of(token) for token in ids]
        prompts = self.project(hidden)
        if self.feat_lift is not None:
            prompts = self.feat_lift(prompts, cameras)
        if self.attention_splitter is None or not roles:
            return prompts
        # Every token by its own role; the reference, which cannot localise several, takes the first one's for all.
        split = [self.attention_splitter(one[None], role) for one, role in zip(prompts, roles, strict=True)]
        return torch.cat(split)

    def with_vertex_head(self, lifted: Tensor, state: Tensor) -> Tensor:
        """Contact on the body from lifted masks (N,) and the state (H,) that they came from; ``lifted`` itself where
        there is no such head, or it knows another body."""
        if self.vertex_head is None or not self.config.direct_share or len(lifted) != self.config.vertex_head:
            return lifted
        mixed = blend(lifted, self.vertex_head(state[None])[0], self.config.direct_share)
        return odds_shifted(mixed, self.config.human_cut)

    def with_object_head(self, lifted: Tensor, state: Tensor, word: int, verts: Tensor) -> Tensor:
        """The same of an object's vertices (N, 3), named by the vocabulary's word; lifted (N,)."""
        if self.object_head is None or not self.config.object_share:
            return lifted
        mixed = blend(lifted, self.object_head(state, word, place_features(verts)), self.config.object_share)
        return odds_shifted(mixed, self.config.object_cut)
