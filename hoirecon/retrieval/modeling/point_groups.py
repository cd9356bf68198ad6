"""Which points of a cloud make a patch: farthest points as centres, and the points of a ball around each.

Both give indices only, and the same ones on every run: ties go to the lowest index.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CELLS = 1 << 25
"""Distances between centres and points that are held at once; more are worked off cloud by cloud."""

CACHED = 1 << 19
"""Distances that are worked on at once on a processor, so that they stay in its cache."""


@torch.no_grad()
def farthest_points(xyz: Tensor, count: int, start: int = 0) -> Tensor:
    """Farthest-point sampling: each next point is the one that lies farthest from all those before it.

    Args:
        xyz: (B, N, 3) points.
        count: how many points to choose; more than there are distinct places repeats some.
        start: index of the first. The reference draws it at random; a fixed one makes embeddings repeatable.

    Returns:
        (B, count) indices.

    Example:
        >>> line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [4, 0, 0], [5, 0, 0]]])
        >>> farthest_points(line, 3).tolist()
        [[0, 3, 1]]
    """
    if xyz.device.type == "cpu":
        axes = at_least_float32(xyz.detach()).transpose(1, 2).contiguous()
        return torch.stack([torch.from_numpy(_farthest_of_one(one, count, start)) for one in axes.numpy()])
    return _farthest_of_all(xyz, count, start)


def _farthest_of_one(axes: NDArray[Any], count: int, start: int) -> NDArray[np.int64]:
    """(count,) indices in one cloud (3, N), by NumPy: its calls cost less than torch's, and they are all short."""
    chosen = np.empty(count, np.int64)
    nearest = np.full(axes.shape[1], np.inf, axes.dtype)
    offset, distance = np.empty_like(axes), np.empty_like(nearest)
    last = start
    for i in range(count):
        chosen[i] = last
        np.subtract(axes, axes[:, last, None], out=offset)
        np.multiply(offset, offset, out=offset)
        # x, then y, then z: another order rounds differently and chooses another point where two are about as far.
        np.add(offset[0], offset[1], out=distance)
        np.add(distance, offset[2], out=distance)
        np.minimum(nearest, distance, out=nearest)
        last = int(nearest.argmax())
    return chosen


def _farthest_of_all(xyz: Tensor, count: int, start: int) -> Tensor:
    """(B, count) indices in clouds (B, N, 3), all clouds at once: for devices where a call costs more than its work."""
    clouds, points = xyz.shape[:2]
    # One row per coordinate, so that every step below runs along memory.
    axes = at_least_float32(xyz).permute(2, 0, 1).contiguous()
    chosen = torch.empty((clouds, count), dtype=torch.int64, device=xyz.device)
    nearest = torch.full((clouds, points), torch.inf, dtype=axes.dtype, device=xyz.device)
    offset = torch.empty_like(axes)
    distance = torch.empty_like(nearest)
    last = torch.full((clouds, 1), start, dtype=torch.int64, device=xyz.device)
    for i in range(count):
        chosen[:, i : i + 1] = last
        torch.sub(axes, axes.gather(2, last.expand(3, clouds, 1)), out=offset)
        offset.mul_(offset)
        torch.add(offset[0], offset[1], out=distance)
        distance.add_(offset[2])
        torch.minimum(nearest, distance, out=nearest)
        last = nearest.argmax(dim=1, keepdim=True)
    return chosen


@torch.no_grad()
def points_in_balls(xyz: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """The first points, in the order of the cloud, that lie within a radius of each centre.

    The first, not the nearest: so the reference does it, and so its weights were trained. A ball with fewer points
    repeats its first one.

    Args:
        xyz: (B, N, 3) points.
        centres: (B, P, 3), each of them one of the points.
        radius: of a ball; points on its surface belong to it.
        count: points per ball.

    Returns:
        (B, P, count) indices.
    """
    clouds, points = xyz.shape[:2]
    if clouds > 1 and clouds * centres.shape[1] * points > CELLS:
        pairs = zip(torch.split(xyz, 1), torch.split(centres, 1), strict=True)
        return torch.cat([points_in_balls(one, its, radius, count) for one, its in pairs])
    places, wide = at_least_float32(centres), at_least_float32(xyz)
    inside = torch.empty((clouds, centres.shape[1], points), dtype=torch.bool, device=xyz.device)
    step = max(1, CACHED // (clouds * points)) if xyz.device.type == "cpu" else centres.shape[1]
    for at in range(0, centres.shape[1], step):
        distances = squared_distances(places[:, at : at + step], wide)
        torch.le(distances, radius**2, out=inside[:, at : at + step])
    return _first_true(inside, count)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, P, N) squared distances between (B, P, 3) and (B, N, 3), as |a|^2 + |b|^2 - 2ab.

    The expanded form rounds worse than the square of a difference, but it is the reference's: points at the very
    surface of a ball fall on the same side.
    """
    # Doubling is exact, so it may come before the product, where there is less to double.
    distances = torch.matmul(a * -2, b.transpose(1, 2))
    distances += (a**2).sum(-1)[:, :, None]
    distances += (b**2).sum(-1)[:, None, :]
    return distances


def gather_points(values: Tensor, indices: Tensor) -> Tensor:
    """Rows of (B, N, C) by (B, ...) indices: (B, ..., C)."""
    starts = torch.arange(len(values), device=values.device) * values.shape[1]
    rows = indices.flatten(1) + starts[:, None]
    # Whole rows at once: torch's gather looks each value up on its own, which takes many times longer.
    return values.flatten(0, 1).index_select(0, rows.flatten()).view(*indices.shape, values.shape[-1])


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision widened: it cannot tell neighbouring points apart."""
    return values if values.dtype == torch.float64 else values.float()


def _first_true(marks: Tensor, count: int) -> Tensor:
    """Columns of the first ``count`` marks of each row of (B, P, N); rows with fewer repeat their first.

    A row without any (its centre is no point of the cloud, or rounding put it outside a tiny ball) gets column 0.
    """
    shape, columns = marks.shape[:-1], marks.shape[-1]
    flat = marks.flatten()
    if marks.device.type == "cpu":  # NumPy's takes half the time of torch's
        found = torch.from_numpy(np.flatnonzero(flat.numpy()))
    else:
        found = flat.nonzero()[:, 0]
    if not len(found):
        return torch.zeros((*shape, count), dtype=torch.int64, device=marks.device)
    rows = torch.arange(shape.numel() + 1, device=marks.device) * columns
    begins = torch.searchsorted(found, rows)
    begins, totals = begins[:-1, None], begins.diff()[:, None]
    place = torch.arange(count, device=marks.device)
    table = found[(begins + torch.where(place < totals, place, 0)).clamp_(max=len(found) - 1)] - rows[:-1, None]
    return torch.where(totals > 0, table, 0).view(*shape, count)
