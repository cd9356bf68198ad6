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
from hoirecon.contact.modeling.direct_heads import ObjectHead, VertexHead, blend, object_features, place_features
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.contact.modeling.feat_lift import build_feat_lift
from hoirecon.contact.modeling.local_head import LocalHead
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
        self.local_head = LocalHead(hidden, config.vertex_head) if config.local_head else None
        self.object_head = (
            ObjectHead(hidden, config.language.vocab_size, config.object_head, shape=config.object_shape)
            if config.object_head
            else None
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

    def direct_logits(
        self, states: Tensor, pictures: Tensor | None = None, packed: Tensor | None = None, verts: Tensor | None = None
    ) -> Tensor:
        """What is said of the body without any view: logits of the vertex head, and of the local head added to them.

        Args:
            states: (S, H) before contact tokens, after a look back.
            pictures: (S, P, H) vectors of each one's picture; a local head needs them.
            packed: (S, packed_size) the evidence that they came from; a local head needs it.
            verts: (n,) vertices wanted; None takes all.

        Returns:
            (S, n).

        Raises:
            InputError: there is no vertex head, or a local head is given no evidence.
        """
        if self.vertex_head is None:
            raise InputError("this network has no vertex head: its contact comes from masks alone")
        logits: Tensor = self.vertex_head(states)
        logits = logits if verts is None else logits[:, verts]
        if self.local_head is None:
            return logits
        vision = self.config.vision
        if pictures is None or packed is None or not isinstance(vision, EvidenceConfig):
            raise InputError("this network's local head reads the evidence: give its vectors and the packed evidence")
        beside: Tensor = self.local_head(states, pictures, packed, vision, verts)
        return logits + beside

    def with_vertex_head(
        self, lifted: Tensor, state: Tensor, picture: Tensor | None = None, packed: Tensor | None = None
    ) -> Tensor:
        """Contact on the body from lifted masks (N,) and the state (H,) that they came from; ``lifted`` itself where
        there is no such head, or it knows another body. The picture's vectors (P, H) and the packed evidence
        (packed_size,) are for a local head."""
        if self.vertex_head is None or not self.config.direct_share or len(lifted) != self.config.vertex_head:
            return lifted
        own = None if picture is None else picture[None], None if packed is None else packed[None]
        mixed = blend(lifted, self.direct_logits(state[None], *own)[0], self.config.direct_share)
        return odds_shifted(mixed, self.config.human_cut)

    def with_object_head(
        self, lifted: Tensor, state: Tensor, word: int, verts: Tensor, faces: Tensor | None = None
    ) -> Tensor:
        """The same of an object's vertices (N, 3), named by the vocabulary's word; lifted (N,). A head that is told of
        shape needs the faces (F, 3)."""
        if self.object_head is None or not self.config.object_share:
            return lifted
        mixed = blend(lifted, self.object_head(state, word, self.object_told(verts, faces)), self.config.object_share)
        return odds_shifted(mixed, self.config.object_cut)

    def object_told(self, verts: Tensor, faces: Tensor | None) -> Tensor:
        """What the object head is told of the vertices (N, 3) of a mesh with faces (F, 3).

        Raises:
            InputError: it is told of shape, and there are no faces.
        """
        if not self.config.object_shape:
            return place_features(verts)
        if faces is None:
            raise InputError("this network's object head is told of the mesh's shape: give the faces too")
        return object_features(verts, faces)
