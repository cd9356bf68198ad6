"""One pass as a module, and how much each pass counts: many small passes learn what one large one does.

Every part of the loss is a mean over the samples (for words: the tokens) that it applies to. A mean of the means of
passes or processes is another number as soon as they hold different counts, so each pass is weighed by its share of the
whole step's counts, which are known from the samples before anything is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.training.contact_losses import WORD_IGNORE
from hoirecon.contact.training.losses import LossConfig, LossParts
from hoirecon.contact.training.step import Sample, training_step

PARTS = tuple(field.name for field in fields(LossParts))
"""Names of the loss's parts, in order."""


def counts_of(samples: Sequence[Sample]) -> Tensor:
    """(parts,) float64: over how many tokens or samples each part of the loss is a mean, in the order of ``PARTS``."""
    count = dict.fromkeys(PARTS, 0)
    for sample in samples:
        count["tokens"] += int((sample.labels[1:] != WORD_IGNORE).sum())
        if sample.target is None:
            continue
        kind = sample.target.kind
        count["focal"] += 1
        count["dice"] += 1
        count["squared"] += kind == "affordance"
        if kind in ("human", "object", "affordance"):
            count[kind] += sample.target.contact is not None
    return torch.tensor([count[name] for name in PARTS], dtype=torch.float64)


def computing(compute: torch.dtype, device: torch.device) -> torch.autocast:
    """Within it what is kept in float32 computes in this type."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=compute == torch.bfloat16)


class StepModule(nn.Module):
    """A network whose forward pass is a teacher-forced pass over a batch; what engines wrap."""

    def __init__(self, network: InteractVLMNetwork, config: LossConfig, compute: torch.dtype = torch.float32) -> None:
        """For a network, the weights of its losses, and the type of the computation."""
        super().__init__()
        self.network, self.config, self.compute = network, config, compute

    def forward(self, samples: Sequence[Sample], weight: Tensor) -> Tensor:
        """(parts,) weighed parts of the loss; their sum is what is differentiated.

        Args:
            samples: one pass.
            weight: (parts,) its share of each part of the whole step.
        """
        with computing(self.compute, weight.device):
            parts = training_step(self.network, samples, self.config)
        values = torch.stack([getattr(parts, name).float() for name in PARTS])
        # Where a pass has nothing to say of a part it says 0, which has no gradient.
        return values * weight.to(values)
