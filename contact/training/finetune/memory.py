"""How much memory a run will take, said before anything is read.

Weights, gradients and the optimiser's state are counted exactly. What a pass keeps for its backward pass is estimated
from the sizes: the inputs of the language model's layers (or all that a layer computes, without checkpointing), the
scores of the words, and the mask decoder with its full-size masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hoirecon.contact.checkpoints.memory import available_bytes
from hoirecon.contact.modeling.config import NetworkConfig, VisionConfig
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.training.finetune.settings import FinetuneConfig
from hoirecon.errors import InputError

FULL = 4
"""Bytes of a number in float32."""
ANSWER_IDS = 40
"""Words of an answer that are scored, about."""
DECODER_COPIES = 60
"""Arrays of the size of a view's embedding that the mask decoder keeps, about: two layers of two-way attention."""
MASK_COPIES = 16
"""Arrays of a view's full size that upscaling and the losses keep, about."""
MARGIN = 1 << 30
"""Bytes for the device's own needs where there is a graphics card."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on one device, without any splitting over devices."""

    frozen: int
    """Weights that are not trained."""
    trained: int
    """Weights that are, in float32."""
    gradients: int
    optimizer: int
    """AdamW's two averages."""
    language: int
    """Kept by the language model in one pass, estimated."""
    masks: int
    """Kept by MV-Loc and the losses in one pass, estimated."""

    @property
    def total(self) -> int:
        """Sum."""
        return self.frozen + self.trained + self.gradients + self.optimizer + self.language + self.masks

    def text(self) -> str:
        """A table that a person reads."""
        rows = {
            "frozen weights": self.frozen,
            "trained weights (float32)": self.trained,
            "gradients": self.gradients,
            "AdamW's averages": self.optimizer,
            "one pass: language model (estimated)": self.language,
            "one pass: masks and losses (estimated)": self.masks,
            "all": self.total,
        }
        return "\n".join(f"{name:<40}{gigabytes(size):>10}" for name, size in rows.items())


def training_memory(network: InteractVLMNetwork, config: FinetuneConfig, dtype: torch.dtype) -> TrainingMemory:
    """Estimate a run.

    Args:
        network: with its parts chosen; it may lie on the meta device.
        config: settings.
        dtype: type of the frozen weights.
    """
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    language = config.batch * _language(network.config, config.checkpointing) * dtype.itemsize
    words = config.batch * ANSWER_IDS * network.config.language.vocab_size * 3 * FULL
    return TrainingMemory(
        frozen * dtype.itemsize,
        learned * FULL,
        learned * FULL,
        2 * learned * FULL,
        language + words,
        config.batch * _masks(network.config),
    )


def _language(config: NetworkConfig, checkpointing: bool) -> int:
    """Numbers that one text keeps."""
    sizes, vision = config.language, config.vision
    patches = vision.num_patches if isinstance(vision, VisionConfig) else 0
    length = patches + 120
    layer = 14 * sizes.hidden_size + 4 * sizes.intermediate_size  # what one layer computes for each position
    return length * (sizes.num_layers * (sizes.hidden_size if checkpointing else layer) + layer)


def _masks(config: NetworkConfig) -> int:
    """Bytes that one sample keeps: its own embeddings of the views, the decoder's work, and masks at full size."""
    sam, views = config.sam, config.num_views
    embedding = sam.out_chans * sam.grid**2
    fine = sam.out_chans * sam.grid**2 * 6  # two upscalings, narrower and larger
    return views * FULL * (DECODER_COPIES * embedding + 3 * fine + MASK_COPIES * config.map_side**2)


def check_training_memory(need: TrainingMemory, device: torch.device | str, split: int = 1) -> None:
    """Refuse a run that cannot fit.

    Args:
        need: what it takes.
        device: where.
        split: over how many devices an engine divides it; with more than one nothing is refused, as how it divides is
            the engine's matter.

    Raises:
        InputError: less is free; the message says how much, and what to do.
    """
    free = available_bytes(device)
    if free is None or split > 1:
        return
    fixed = need.total - need.language - need.masks
    room = MARGIN if torch.device(device).type == "cuda" else 0
    if fixed + room > free:
        raise InputError(
            f"training needs {gigabytes(fixed)} for weights, gradients and the optimiser alone, {gigabytes(free)} are "
            f"free on {torch.device(device)}: take a larger device, or several with DeepSpeed (--accelerate-config)"
        )
    if need.total + room > free:
        raise InputError(
            f"training needs about {gigabytes(need.total)}, {gigabytes(free)} are free on {torch.device(device)}: "
            "lower --batch and raise --accumulate by the same factor, which learns the same"
        )


def gigabytes(size: int) -> str:
    """Example:
    >>> gigabytes(26_400_000_000), gigabytes(5_300_000)
    ('26.4 GB', '5.3 MB')
    """
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
