"""Which parameters learn: low-rank updates of the language model, its words, and all that turns words into masks.

Dwivedi et al., "InteractVLM" (CVPR 2025), after LISA (Lai et al., CVPR 2024). Frozen are CLIP's tower, its projector,
Segment Anything's image and prompt encoders, and all of the language model but its words and the updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.lora import LoraSettings, add_lora
from hoirecon.contact.modeling.network import InteractVLMNetwork

UPDATE = ".lora_"
"""Part of the names of low-rank updates."""
WHOLE: dict[str, tuple[str, ...]] = {
    "words (embeddings and head)": ("vlm.language_model.model.embed_tokens.", "vlm.language_model.lm_head."),
    "token projection": ("token_projection.",),
    "FeatLift": ("feat_lift.",),
    "attention splitter": ("attention_splitter.",),
    "mask decoders": ("mv_loc.mask_decoder.", "mv_loc.human_mask_decoder.", "mv_loc.object_mask_decoder."),
    "fusion": ("mv_loc.fusion.",),
    "uncertainty": ("mv_loc.uncertainty.",),
}
"""Parts that are trained whole, and how their names begin; not every network has each."""
FROZEN: dict[str, tuple[str, ...]] = {
    "CLIP's tower": ("vlm.vision_tower.",),
    "projector": ("vlm.projector.",),
    "Segment Anything's image encoder": ("mv_loc.image_encoder.",),
    "Segment Anything's prompt encoder": ("mv_loc.prompt_encoder.",),
    "language model": ("vlm.language_model.",),
}
"""Parts that are not."""
UPDATES = "LoRA"


@dataclass(frozen=True)
class PartCount:
    """Parameters of one part of a network."""

    part: str
    trained: bool
    numbers: int


def choose_trained(network: InteractVLMNetwork, lora: LoraSettings) -> None:
    """Add low-rank updates, let the recipe's parts learn and nothing else.

    Raises:
        InputError: the network has updates already, or none of the projections.
        MissingExtraError: peft is not installed.
    """
    add_lora(network, lora)
    starts = tuple(start for starts in WHOLE.values() for start in starts)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(UPDATE in name or name.startswith(starts))


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """What learns, by name."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def part_counts(network: InteractVLMNetwork) -> list[PartCount]:
    """Numbers of each part, those that learn first; parts that a network does not have are left out."""
    counts: dict[tuple[bool, str], int] = {}
    for name, parameter in network.named_parameters():
        key = parameter.requires_grad, _part_of(name, parameter.requires_grad)
        counts[key] = counts.get(key, 0) + parameter.numel()
    order = [(True, UPDATES), *((True, part) for part in WHOLE), *((False, part) for part in FROZEN)]
    return [PartCount(part, learns, counts[learns, part]) for learns, part in order if (learns, part) in counts]


def _part_of(name: str, learns: bool) -> str:
    if UPDATE in name:
        return UPDATES
    return next(part for part, starts in (WHOLE if learns else FROZEN).items() if name.startswith(starts))


def keep_in_full(network: InteractVLMNetwork, compute: torch.dtype) -> None:
    """What learns is held in float32, whatever the type of the rest: small steps would be lost to rounding.

    Args:
        network: with its parts chosen.
        compute: type of the frozen weights. The embeddings hand on vectors of this type, so that the language model
            computes in it.
    """
    for parameter in trained(network).values():
        parameter.data = parameter.data.float()
    if compute != torch.float32:
        embedding = network.vlm.language_model.get_input_embeddings()
        embedding.register_forward_hook(_to(compute))


def _to(dtype: torch.dtype) -> Any:
    def hook(module: nn.Module, given: Any, out: Tensor) -> Tensor:
        return out.to(dtype)

    return hook


def checkpoint_layers(network: InteractVLMNetwork) -> None:
    """Compute the language model's layers anew in the backward pass (in training mode only), which saves memory."""
    model, how = network.vlm.language_model, {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # its name from transformers 5 on
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
