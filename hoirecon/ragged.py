"""Entries of different lengths laid out one after the other: index arithmetic that every z-buffer needs."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_CELLS = 4_000_000
"""Cells expanded at once, some 250 MB with what is computed for each."""


def expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For (E,) entries of these lengths: the entry of every cell, and the cell's place in its entry, (sum,) each.

    Example:
        >>> [part.tolist() for part in expand(torch.tensor([2, 0, 1]))]
        [[0, 0, 2], [0, 1, 0]]
    """
    entry = torch.repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return entry, torch.arange(len(entry), device=counts.device) - before.index_select(0, entry)


def rounds(counts: Tensor) -> list[tuple[int, int]]:
    """Ranges of (E,) entries with at most ``MAX_CELLS`` cells together, or one entry.

    Example:
        >>> rounds(torch.tensor([2, 3_999_998, 9_000_000, 1]))
        [(0, 2), (2, 3), (3, 4)]
    """
    if len(counts) == 0:
        return []
    ends = counts.cumsum(0)
    if int(ends[-1]) <= MAX_CELLS:
        return [(0, len(counts))]
    ranges, start, done = [], 0, 0
    while start < len(counts):
        limit = torch.tensor(done + MAX_CELLS, device=counts.device)
        stop = max(int(torch.searchsorted(ends, limit, right=True)), start + 1)
        ranges.append((start, stop))
        start, done = stop, int(ends[stop - 1])
    return ranges
