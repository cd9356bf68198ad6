"""VLM: the language model that looks at the photograph, thinks in words and hands regions over as contact tokens.

Dwivedi et al., "InteractVLM", CVPR 2025, on LLaVA's first form (Liu et al., 2023): a CLIP image tower whose patch
features, after one linear map, stand in the language model's input where the image was named. Language model and tower
are those of ``transformers``; no class of its for LLaVA is used, because the vectors are put in place here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.config import LanguageConfig, NetworkConfig, VisionConfig
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig, EvidenceTower
from hoirecon.errors import InputError, require

IMAGE_TOKEN = -200
"""Stands for the image among token ids; no vocabulary has it."""


class RotaryPositions(nn.Module):
    """Cosines and sines of rotary positions, computed in float32 whatever the model's type.

    It takes the place of the one in ``transformers``, which holds its frequencies in a buffer: a cast of the model
    to bfloat16 would round them, and a model made on the meta device would be left without them.
    """

    def __init__(self, head_dim: int, theta: float) -> None:
        """For heads of width ``head_dim`` and the base ``theta``."""
        super().__init__()
        self.head_dim, self.theta = head_dim, theta

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors (B, L, head_dim) in the type of ``x`` for integer positions (B, L)."""
        steps = torch.arange(0, self.head_dim, 2, device=x.device, dtype=torch.float32) / self.head_dim
        angles = position_ids[..., None].to(x.device, torch.float32) / (self.theta**steps)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class VLM(nn.Module):
    """Language model, image tower and the projector between them.

    Attributes:
        language_model: ``transformers``' LlamaForCausalLM.
        vision_tower: CLIP's vision transformer. Its keys begin with ``embeddings``, ``pre_layrnorm``, ``encoder`` and
            ``post_layernorm`` with every version of ``transformers``; files of CLIP may put ``vision_model.`` before.
        projector: linear map from the tower's width to the language model's.
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Random weights, on torch's default device and in its default type.

        Raises:
            MissingExtraError: transformers is not installed.
            InputError: widths that heads do not divide.
        """
        super().__init__()
        self.config = config
        self.language_model = _language_model(config.language)
        self.vision_tower = _vision_tower(config.vision)
        self.projector = nn.Linear(config.vision.hidden_size, config.language.hidden_size)

    @property
    def max_length(self) -> int:
        """Most positions that the language model was made for."""
        return self.config.language.max_position_embeddings

    def restore_buffers(self, device: torch.device | str) -> None:
        """Make anew what no checkpoint holds, after the weights of a model from the meta device were assigned."""
        if isinstance(self.config.vision, EvidenceConfig):
            return
        embeddings: Any = self.vision_tower.embeddings
        count = self.config.vision.num_patches + 1
        embeddings.position_ids = torch.arange(count, device=device).expand(1, -1)

    def image_features(self, images: Tensor) -> Tensor:
        """What the tower sees in each patch; CLIP without gradients, as it is never trained.

        Args:
            images: (B, 3, S, S) normalised as CLIP wants them, or (B, N) packed evidence.

        Returns:
            (B, P, width of the tower): hidden state ``select_layer`` without the class token.

        Raises:
            InputError: images of another size.
        """
        if isinstance(self.config.vision, EvidenceConfig):
            told: Tensor = self.vision_tower(images.to(self.projector.weight.device))
            return told
        side = self.config.vision.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise InputError(f"the image tower takes images (B, 3, {side}, {side}), got {tuple(images.shape)}")
        with torch.no_grad():
            seen = self.vision_tower(pixel_values=images.to(self.projector.weight), output_hidden_states=True)
        features: Tensor = seen.hidden_states[self.config.vision.select_layer][:, 1:]
        return features

    def image_tokens(self, images: Tensor) -> Tensor:
        """Vectors that stand for each image in the language model's input: (B, 3, S, S) -> (B, P, H)."""
        tokens: Tensor = self.projector(self.image_features(images))
        return tokens

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Embeddings (..., H) of token ids (...), the image's not among them."""
        embedded: Tensor = self.language_model.get_input_embeddings()(ids)
        return embedded

    def embed(self, ids: Sequence[int] | Tensor, image_tokens: Tensor | None = None) -> Tensor:
        """The language model's input for one text.

        Args:
            ids: (T,) token ids; ``IMAGE_TOKEN`` marks where the image goes.
            image_tokens: (P, H) the image's vectors; None for a text without an image.

        Returns:
            (T + P - 1, H), or (T, H) without an image.

        Raises:
            InputError: ids outside the vocabulary, or other than one mark for one image.
        """
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        marks = [place for place, token in enumerate(ids) if token == IMAGE_TOKEN]
        if len(marks) != (image_tokens is not None):
            raise InputError(
                f"the text marks {len(marks)} images, but {int(image_tokens is not None)} came: mark one image once"
            )
        self.check_ids([token for token in ids if token != IMAGE_TOKEN])
        device = self.language_model.get_input_embeddings().weight.device
        if image_tokens is None:
            return self.embed_ids(torch.tensor(ids, dtype=torch.long, device=device))
        words = self.embed_ids(torch.tensor([token for token in ids if token >= 0], dtype=torch.long, device=device))
        before, after = words[: marks[0]], words[marks[0] :]
        return torch.cat((before, image_tokens.to(words), after))

    def check_ids(self, ids: Sequence[int]) -> None:
        """Raise :class:`InputError` unless every id is in the vocabulary."""
        size = self.config.language.vocab_size
        if wrong := [token for token in ids if not 0 <= token < size]:
            raise InputError(
                f"token {wrong[0]} is not in the vocabulary of {size}: use the tokenizer that came with the weights"
            )

    def hidden(
        self,
        embeds: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        """States after the last layer and the final norm.

        Args:
            embeds: (B, L, H) input.
            positions: (B, L) integer positions; None counts from 0.
            mask: (B, L) True at real tokens, or (B, 1, L, K) True where a query may look at a key; None has no padding.
                All but the last form are made causal here.
            cache: keys and values of what came before, in the form that ``transformers`` asks for; the mask must then
                be of the last form.

        Returns:
            (B, L, H).

        Raises:
            InputError: longer than the model was made for.
        """
        batch, length = embeds.shape[:2]
        self.check_length(length)
        if positions is None:
            positions = torch.arange(length, device=embeds.device).expand(batch, -1)
        # An explicit mask of every pair is the one form that all versions of transformers take as it is.
        if mask is None or mask.ndim == 2:
            causal = torch.ones(length, length, dtype=torch.bool, device=embeds.device).tril()[None, None]
            mask = causal if mask is None else causal & mask[:, None, None, :]
        out = self.language_model.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def check_length(self, length: int) -> None:
        """Raise :class:`InputError` if a text of this many positions is longer than the model was made for."""
        if length > self.max_length:
            raise InputError(
                f"the text has {length} positions with its image, but the language model was made for "
                f"{self.max_length}: shorten the question"
            )

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., vocabulary) of the token that follows each state (..., H)."""
        scores: Tensor = self.language_model.lm_head(hidden)
        return scores


def _language_model(config: LanguageConfig) -> Any:
    """A LlamaForCausalLM of these sizes."""
    if config.hidden_size % config.num_heads or config.num_heads % config.num_key_value_heads:
        raise InputError(
            f"{config.num_heads} heads must divide the width {config.hidden_size} and be a multiple of "
            f"{config.num_key_value_heads} key heads"
        )
    made = llama_config(config)
    made._attn_implementation = "sdpa"
    model = require("transformers", extra="vlm").LlamaForCausalLM(made)
    model.model.rotary_emb = RotaryPositions(config.hidden_size // config.num_heads, config.rope_theta)
    return model


def _vision_tower(config: VisionConfig | EvidenceConfig) -> Any:
    """CLIP's vision transformer of these sizes, or the tower that sees evidence."""
    if isinstance(config, EvidenceConfig):
        return EvidenceTower(config)
    made = clip_config(config)
    made._attn_implementation = "sdpa"
    tower = require("transformers", extra="vlm").CLIPVisionModel(made)
    # Before transformers 5 the transformer stood inside CLIPVisionModel, now CLIPVisionModel is it.
    return getattr(tower, "vision_model", tower)


def llama_config(config: LanguageConfig) -> Any:
    """The language model's sizes as transformers' LlamaConfig."""
    return require("transformers", extra="vlm").LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_key_value_heads,
        rms_norm_eps=config.rms_norm_eps,
        rope_theta=config.rope_theta,
        max_position_embeddings=config.max_position_embeddings,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        tie_word_embeddings=False,
    )


def clip_config(config: VisionConfig) -> Any:
    """The tower's sizes as transformers' CLIPVisionConfig."""
    return require("transformers", extra="vlm").CLIPVisionConfig(
        architectures=["CLIPVisionModel"],
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_act=config.hidden_act,
        layer_norm_eps=config.layer_norm_eps,
    )
