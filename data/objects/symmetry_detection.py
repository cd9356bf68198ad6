"""The rotations under which a mesh looks the same, found in its geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.objects.signed_distance import ray_scene, unsigned_distance
from hoirecon.data.objects.symmetry import Symmetry
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

_AXES = "xyz"
_ANY = np.array([1, 2, 3, 4, 5]) * 2 * np.pi / 11
"""Angles that no order up to ten shares: what looks the same at all of them is round."""


@dataclass(frozen=True)
class SymmetryConfig:
    """When two poses count as the same."""

    tolerance: float = 0.006
    """How far the turned surface may lie from the surface, relative to the diagonal."""
    share: float = 0.98
    """Share of the surface that must lie within it: a stalk or a screw does not count."""
    max_order: int = 8
    """Highest order that is looked for about an axis."""
    points: int = 1500
    """Points on the surface that are turned."""
    seed: int = 0
    """Of the points."""

    def __post_init__(self) -> None:
        if not (0 < self.tolerance < 1 and 0 < self.share <= 1 and self.max_order >= 2 and self.points >= 10):
            raise InputError(f"cannot look for symmetries with {self}")


def detect_symmetry(mesh: Mesh, config: SymmetryConfig | None = None) -> Symmetry:
    """The rotations about the frame's own axes, through the centre of the bounding box, that leave a mesh as it is.

    What turns into itself about another axis (a star of five, whose centre is not that of its box) is not found.

    Args:
        mesh: in its object frame; closed or not.
        config: how much may differ.

    Raises:
        MissingExtraError: open3d is not installed.

    Example:
        >>> import trimesh
        >>> box = trimesh.creation.box((1.0, 2.0, 3.0)).subdivide()
        >>> detect_symmetry(Mesh(box.vertices, box.faces)).discrete
        (('x', 2), ('y', 2), ('z', 2))
    """
    config = config or SymmetryConfig()
    difference = _Difference(mesh, config)
    orders = {axis: difference.order(axis) for axis in _AXES}
    round_axes = tuple(axis for axis in _AXES if orders[axis] == 0)
    if len(round_axes) >= 2:
        return Symmetry(continuous=("x", "y", "z"))
    discrete = tuple((axis, order) for axis, order in orders.items() if order > 1)
    if round_axes:
        # Half a turn about one axis across the round one makes that about any other.
        ends = tuple((axis, 2) for axis, order in discrete if order % 2 == 0)[:1]
        return Symmetry(round_axes, ends)
    return Symmetry((), discrete)


class _Difference:
    """How far a turned mesh lies from itself."""

    def __init__(self, mesh: Mesh, config: SymmetryConfig) -> None:
        import trimesh

        self.config = config
        self.center = (mesh.verts.max(0) + mesh.verts.min(0)) / 2
        self.limit = config.tolerance * mesh.diagonal
        self.scene = ray_scene(mesh)
        points = trimesh.sample.sample_surface(mesh.to_trimesh(), config.points, seed=config.seed)[0]
        self.points: FloatArray = np.asarray(points, dtype=np.float64) - self.center

    def same(self, axis: str, angle: float) -> bool:
        """Whether a turn about an axis leaves the mesh as it is."""
        turned = self.points @ turn(axis, angle).T + self.center
        return float(np.quantile(unsigned_distance(self.scene, turned), self.config.share)) < self.limit

    def order(self, axis: str) -> int:
        """The highest order about an axis: 1 for none, 0 for any angle."""
        if all(self.same(axis, angle) for angle in _ANY):
            return 0
        orders = (n for n in range(self.config.max_order, 1, -1))
        return next((n for n in orders if all(self.same(axis, k * 2 * np.pi / n) for k in range(1, n // 2 + 1))), 1)


def turn(axis: str, angle: float) -> FloatArray:
    """(3, 3) rotation about an axis of the frame, radians."""
    c, s = np.cos(angle), np.sin(angle)
    k = _AXES.index(axis)
    i, j = (k + 1) % 3, (k + 2) % 3
    R = np.eye(3)
    R[i, i], R[i, j], R[j, i], R[j, j] = c, -s, s, c
    return R
