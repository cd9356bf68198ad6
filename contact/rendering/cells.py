"""Where pixels are: what the z-buffers of triangles and of points share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def nonzero(values: Tensor) -> Tensor:
    """Indices of what is not zero; numpy is several times faster at it than torch on the CPU."""
    if values.device.type != "cpu":
        return values.nonzero()[:, 0]
    return torch.from_numpy(np.flatnonzero(values.numpy()))


def centre(index: Tensor, size: int) -> Tensor:
    """NDC of a pixel's centre (index in the direction of NDC), in pytorch3d's own order of operations."""
    return (2.0 * index.float() + 1.0) / size - 1.0


def centres_between(low: Tensor, high: Tensor, size: int, margin: float = 0.05) -> tuple[Tensor, Tensor]:
    """First and last pixel (int64, in the direction of NDC) with its centre between two NDC numbers.

    ``margin`` pixels beyond them count as between: rounding must not lose a centre that an exact test would keep.
    """
    first = (((low + 1) * size - 1) / 2 - margin).ceil().clamp(0, size)
    last = (((high + 1) * size - 1) / 2 + margin).floor().clamp(-1, size - 1)
    return first.long(), last.long()
