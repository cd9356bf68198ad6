"""Optional head that predicts how unsure a mask is at each place; off in every released model.

Named in the released implementation of Dwivedi et al., "InteractVLM", CVPR 2025; parameters have its names. No loss of
the reference trains it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class UncertaintyHead(nn.Module):
    """A small MLP, the same at every place of an image embedding, with a positive output."""

    def __init__(self, dim: int, widths: tuple[int, int] = (64, 16)) -> None:
        """Random weights.

        Args:
            dim: channels of an image embedding.
            widths: of the two hidden layers.
        """
        super().__init__()
        self.linear1 = nn.Linear(dim, widths[0])
        self.linear2 = nn.Linear(*widths)
        self.linear3 = nn.Linear(widths[1], 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 1, e, e) positive uncertainty of image embeddings (B, C, e, e), in the weights' dtype."""
        x = features.to(self.linear1.weight.dtype).movedim(1, -1).contiguous()
        x = torch.relu(self.linear1(x))
        x = torch.relu(self.linear2(x))
        return functional.softplus(self.linear3(x)).movedim(-1, 1)
