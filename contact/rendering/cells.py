"""Index arithmetic that the z-buffers of triangles and of points share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MAX_FRAGMENTS = 4_000_000
"""Cells expanded at once, about 250 MB."""


def nonzero(values: Tensor) -> Tensor:
    """Indices of what is not zero; numpy is several times faster at it than torch on the CPU."""
    if values.device.type != "cpu":
        return values.nonzero()[:, 0]
    return torch.from_numpy(np.flatnonzero(values.numpy()))


def expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For entries of some lengths: the entry of every cell, and the cell's place in its entry."""
    entry = torch.repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return entry, torch.arange(len(entry), device=counts.device) - before.index_select(0, entry)


def rounds(counts: Tensor) -> list[tuple[int, int]]:
    """Ranges of entries with at most MAX_FRAGMENTS cells together (or one entry)."""
    if len(counts) == 0:
        return []
    ends = counts.cumsum(0)
    if int(ends[-1]) <= MAX_FRAGMENTS:
        return [(0, len(counts))]
    ranges, start, done = [], 0, 0
    while start < len(counts):
        limit = torch.tensor(done + MAX_FRAGMENTS, device=counts.device)
        stop = max(int(torch.searchsorted(ends, limit, right=True)), start + 1)
        ranges.append((start, stop))
        start, done = stop, int(ends[stop - 1])
    return ranges


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
