"""How a fine-tuning run moves its parameters; the defaults are those of the published recipe."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hoirecon.contact.modeling.lora import LoraSettings
from hoirecon.errors import InputError

Precision = Literal["auto", "bf16", "fp32"]
"""``auto``: bfloat16 where the device is fast with it, else float32."""
_LEAST = {
    **dict.fromkeys(("steps", "batch", "accumulate", "checkpoint_every", "keep", "validate_every", "log_every"), 1),
    "max_new_tokens": 1,
    **dict.fromkeys(("warmup", "validate_samples", "seed"), 0),
}
"""The least that each whole number may be."""
IDENTITY = ("keep", "checkpoint_every", "log_every")
"""What may differ when a run goes on: it changes nothing that is learned."""


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of a run (Dwivedi et al., "InteractVLM", CVPR 2025, and its public training scripts)."""

    steps: int = 15000
    """Optimiser steps; the published models were trained for 30 epochs of 500."""
    batch: int = 8
    """Samples of one pass on each process; what memory is needed for grows with it."""
    accumulate: int = 1
    """Passes whose gradients are added up to one step. Losses are means over all of them, so that (batch 2, accumulate
    4) learns what (batch 8, accumulate 1) does."""
    rate: float = 3e-4
    """Highest learning rate of AdamW."""
    warmup: int = 100
    """Steps in which it rises, in equal parts, to that; then it falls in equal parts to 0 at the end."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's averages."""
    weight_decay: float = 0.0
    """AdamW's pull towards 0."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Updates of the language model's queries and values."""
    precision: Precision = "auto"
    """Type of the frozen weights and of the computation; what is trained is kept in float32."""
    checkpointing: bool = True
    """Compute the language model's layers anew in the backward pass in place of keeping what they computed."""
    faults: Literal["mended", "reference"] = "mended"
    """``reference`` has the faults of the published training (a constant affordance loss, ...), for comparison."""
    seed: int = 0
    """Of new weights, of what is drawn, and of dropout."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints that are kept; the best weights by validation are kept apart from them."""
    validate_every: int = 500
    """Steps between validations; there is one at the end too."""
    validate_samples: int = 100
    """Questions of each source that validate, evenly spread; 0 leaves validation out."""
    max_new_tokens: int = 128
    """Longest answer that is generated for validation."""
    log_every: int = 10
    """Steps between lines of the log."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay is {self.weight_decay}, expected a number that is not negative")
        if not (self.rate > 0 and self.clip > 0 and len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)):
            raise InputError("rate and clip are above 0, and two betas lie in [0, 1)")
        if self.faults not in ("mended", "reference"):
            raise InputError(f"the losses' faults are 'mended' or the 'reference''s, got '{self.faults}'")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise InputError(f"there is no precision '{self.precision}': choose auto, bf16 or fp32")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0: a straight rise, then a straight fall.

        Example:
            >>> config = FinetuneConfig(steps=10, warmup=4, rate=1.0)
            >>> [round(config.rate_at(k), 2) for k in range(10)]
            [0.25, 0.5, 0.75, 1.0, 1.0, 0.83, 0.67, 0.5, 0.33, 0.17]
        """
        rising = (step + 1) / max(self.warmup, 1)
        falling = (self.steps - step) / max(self.steps - self.warmup, 1)
        return self.rate * max(min(rising, falling, 1.0), 0.0)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on, as plain values."""
        held = {name: value for name, value in asdict(self).items() if name not in IDENTITY}
        return {**held, "betas": list(self.betas), "lora": {**held["lora"], "targets": list(self.lora.targets)}}
