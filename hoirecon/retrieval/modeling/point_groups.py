"""Which points of a cloud make a patch: farthest points as centres, and the points of a ball around each.

Both give indices only, and the same ones on every run: ties go to the lowest index.
"""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 1 << 25
"""Distances between centres and points that are held at once; more are worked off cloud by cloud."""


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
        # x, then y, then z: another order rounds differently and chooses another point where two are about as far.
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
    inside = squared_distances(at_least_float32(centres), at_least_float32(xyz)) <= radius**2
    return _first_true(inside, count)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, P, N) squared distances between (B, P, 3) and (B, N, 3), as |a|^2 + |b|^2 - 2ab.

    The expanded form rounds worse than the square of a difference, but it is the reference's: points at the very
    surface of a ball fall on the same side.
    """
    distances = torch.matmul(a, b.transpose(1, 2)).mul_(-2)
    distances += (a**2).sum(-1)[:, :, None]
    distances += (b**2).sum(-1)[:, None, :]
    return distances


def gather_points(values: Tensor, indices: Tensor) -> Tensor:
    """Rows of (B, N, C) by (B, ...) indices: (B, ..., C)."""
    flat = indices.flatten(1)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).view(*indices.shape, values.shape[-1])


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision widened: it cannot tell neighbouring points apart."""
    return values if values.dtype == torch.float64 else values.float()


def _first_true(marks: Tensor, count: int) -> Tensor:
    """Columns of the first ``count`` marks of each row of (B, P, N); rows with fewer repeat their first.

    A row without any (its centre is no point of the cloud, or rounding put it outside a tiny ball) gets column 0.
    """
    shape = marks.shape[:-1]
    rows, columns = marks.flatten(0, -2).nonzero(as_tuple=True)
    totals = torch.bincount(rows, minlength=shape.numel())
    begins = totals.cumsum(0) - totals
    place = torch.arange(len(rows), device=marks.device) - begins[rows]
    kept = place < count
    if len(rows):
        first = columns[begins.clamp(max=len(rows) - 1)] * (totals > 0)
    else:
        first = torch.zeros_like(totals)
    table = first[:, None].repeat(1, count)
    table[rows[kept], place[kept]] = columns[kept]
    return table.view(*shape, count)
