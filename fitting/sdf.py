"""Signed distance to a mesh on a grid: value and exact gradient of the trilinear interpolant, in torch.

Built once per rigid mesh by `hoirecon.data.objects.signed_distance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.data.objects.signed_distance import inside_by_vote as inside_by_vote
from hoirecon.data.objects.signed_distance import inside_depth as inside_depth
from hoirecon.data.objects.signed_distance import ray_scene as ray_scene
from hoirecon.data.objects.signed_distance import signed_grid
from hoirecon.data.objects.signed_distance import unsigned_distance as unsigned_distance
from hoirecon.mesh import Mesh


@dataclass(frozen=True)
class DistanceGrid:
    """Signed distances at the nodes of a box, negative inside."""

    values: Tensor
    """(X, Y, Z) metres."""
    low: Tensor
    """(3,) position of the first node, metres."""
    spacing: Tensor
    """(3,) distance of neighbouring nodes along each axis, metres."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> DistanceGrid:
        """The same grid elsewhere."""
        return DistanceGrid(*(v.to(device, dtype) for v in (self.values, self.low, self.spacing)))

    def contains(self, points: Tensor) -> Tensor:
        """(...) whether points (..., 3) lie in the box."""
        size = torch.tensor(self.values.shape, dtype=points.dtype, device=points.device)
        node = (points - self.low) / self.spacing
        return ((node >= 0) & (node < size - 1)).all(-1)

    def sample(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Trilinear value (N,) and gradient (N, 3) at points (N, 3); points outside the box are moved to its border."""
        shape = self.values.shape
        limit = torch.tensor(shape, dtype=points.dtype, device=points.device) - 1
        node = ((points - self.low) / self.spacing).clamp_min(0).minimum(limit)
        first = node.floor().minimum(limit - 1)
        f = node - first
        i, j, k = first.long().unbind(-1)
        flat = self.values.reshape(-1)
        base = (i * shape[1] + j) * shape[2] + k
        step_i, step_j = shape[1] * shape[2], shape[2]
        c = [flat[base + di * step_i + dj * step_j + dk] for di in (0, 1) for dj in (0, 1) for dk in (0, 1)]
        x, y, z = f.unbind(-1)
        return _trilinear(c, x, y, z, self.spacing)


def _trilinear(c: list[Tensor], x: Tensor, y: Tensor, z: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient from the eight corners c[4 di + 2 dj + dk]."""
    along_z = [(c[2 * n] + z * (c[2 * n + 1] - c[2 * n]), c[2 * n + 1] - c[2 * n]) for n in range(4)]
    (v00, g00), (v01, g01), (v10, g10), (v11, g11) = along_z
    v0, v1 = v00 + y * (v01 - v00), v10 + y * (v11 - v10)
    gy = (v01 - v00) + x * ((v11 - v10) - (v01 - v00))
    gz0, gz1 = g00 + y * (g01 - g00), g10 + y * (g11 - g10)
    gradient = torch.stack([v1 - v0, gy, gz0 + x * (gz1 - gz0)], -1) / spacing
    return v0 + x * (v1 - v0), gradient


def distance_grid(
    mesh: Mesh,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
    nodes: int = 64,
    margin: float = 0.02,
    outside: Literal["exact", "rough"] = "exact",
) -> DistanceGrid:
    """The grid of one mesh as tensors (float32, CPU).

    Arguments and errors are those of :func:`~hoirecon.data.objects.signed_distance.signed_grid`, which builds it.
    """
    grid = signed_grid(mesh, low, high, nodes, margin, outside)
    return DistanceGrid(*(torch.as_tensor(v, dtype=torch.float32) for v in (grid.values, grid.low, grid.spacing)))
