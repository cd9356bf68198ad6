"""Signed distances to a mesh at the nodes of a box, in numpy; `hoirecon.fitting.sdf` samples them in torch.

Distances are open3d's; the sign is the winding number along the grid's own axes, averaged over six directions, so
that small holes and overlapping parts do not turn a mesh inside out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, maximum_filter

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.errors import InputError, require
from hoirecon.mesh import Mesh


@dataclass(frozen=True)
class SignedGrid:
    """Signed distances at the nodes of a box, negative inside."""

    values: npt.NDArray[np.float32]
    """(X, Y, Z) metres."""
    low: FloatArray
    """(3,) position of the first node, metres."""
    spacing: FloatArray
    """(3,) distance of neighbouring nodes along each axis, metres."""


def signed_grid(
    mesh: Mesh,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
    nodes: int = 64,
    margin: float = 0.02,
    outside: Literal["exact", "rough"] = "exact",
) -> SignedGrid:
    """Build the grid of one mesh.

    Args:
        mesh: any triangle mesh; holes and overlapping parts are bridged by a vote over six directions.
        low: (3,) lower corner of the box, metres; None takes the mesh's box and the margin.
        high: (3,) upper corner, likewise.
        nodes: nodes along the longest side; shorter sides get at least a third of that, so that thin parts stay closed.
        margin: room around the mesh, metres.
        outside: ``rough`` computes exact distances only in cells that reach inside, about ten times faster for a body
            in a large box; elsewhere they may be too long by a cell. Enough for terms that ask how deep a point is.

    Raises:
        MissingExtraError: open3d is not installed.
        InputError: fewer than 8 nodes, or an empty box.
    """
    low = mesh.verts.min(0) - margin if low is None else low
    high = mesh.verts.max(0) + margin if high is None else high
    if nodes < 8 or not np.all(high > low):
        raise InputError(f"a distance grid needs at least 8 nodes and a box with volume, got {nodes}, {high - low}")
    size = high - low
    counts = np.clip(np.ceil(size / size.max() * (nodes - 1)).astype(int) + 1, max(nodes // 3, 8), nodes)
    spacing = size / (counts - 1)
    axes = [low[k] + spacing[k] * np.arange(counts[k]) for k in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    scene = ray_scene(mesh)
    inside = inside_by_vote(scene, mesh, axes)
    if outside == "rough" and inside.any():
        distance = _exact_inside(scene, points, inside, spacing)
    else:
        distance = unsigned_distance(scene, points)
    signed = np.where(inside, -distance, distance)
    return SignedGrid(signed.astype(np.float32), np.asarray(low, dtype=np.float64), spacing)


def _exact_inside(scene: object, points: FloatArray, inside: BoolArray, spacing: FloatArray) -> FloatArray:
    """(X, Y, Z) distances: exact at inner nodes and their neighbours, elsewhere by way of the nearest of those."""
    exact = np.asarray(maximum_filter(inside, 3), dtype=bool)
    distance = np.zeros(inside.shape)
    distance[exact] = unsigned_distance(scene, points[exact])
    further, via = distance_transform_edt(~exact, sampling=spacing, return_indices=True)
    return np.asarray(distance[tuple(via)] + further)


def ray_scene(mesh: Mesh) -> object:
    """An open3d ``RaycastingScene`` of one mesh.

    Raises:
        MissingExtraError: open3d is not installed.
    """
    o3d = require("open3d", extra="render")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.verts.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    return scene


def unsigned_distance(scene: object, points: FloatArray) -> FloatArray:
    """(...) distance of points (..., 3) to the surface, metres."""
    o3d = require("open3d", extra="render")
    distance = scene.compute_distance(o3d.core.Tensor(points.astype(np.float32)))  # type: ignore[attr-defined]
    return np.asarray(distance.numpy(), dtype=np.float64)


def inside_by_vote(scene: object, mesh: Mesh, axes: list[FloatArray]) -> BoolArray:
    """(X, Y, Z) whether the mean winding number of a node, seen along +-x, +-y and +-z, exceeds one half."""
    votes = np.zeros([len(a) for a in axes])
    for axis in range(3):
        votes += _winding_along(scene, mesh, axes, axis) / 3
    return np.asarray(votes > 0.5)


def _winding_along(scene: object, mesh: Mesh, axes: list[FloatArray], axis: int) -> FloatArray:
    """Winding number of all nodes, the mean of what a ray from below and one from above along an axis count."""
    o3d = require("open3d", extra="render")
    others = [k for k in range(3) if k != axis]
    first, second = np.meshgrid(axes[others[0]], axes[others[1]], indexing="ij")
    start = float(min(mesh.verts[:, axis].min(), axes[axis][0])) - 1.0
    rays = np.zeros((first.size, 6), dtype=np.float32)
    # A tiny shift keeps rays from running exactly along edges of axis-aligned boxes.
    rays[:, others[0]] = first.ravel() + 1.3e-5
    rays[:, others[1]] = second.ravel() + 1.7e-5
    rays[:, axis], rays[:, 3 + axis] = start, 1.0
    hits = scene.list_intersections(o3d.core.Tensor(rays))  # type: ignore[attr-defined]
    row, t = hits["ray_ids"].numpy().astype(int), hits["t_hit"].numpy().astype(float)
    sign = -np.sign(mesh.face_normals[hits["primitive_ids"].numpy().astype(int), axis])
    nodes = axes[axis]
    after = np.clip(np.searchsorted(nodes, start + t, side="left"), 0, len(nodes))
    steps = np.zeros((first.size, len(nodes) + 1))
    np.add.at(steps, (row, after), sign)
    forward = steps.cumsum(1)[:, :-1]
    backward = forward - steps.sum(1, keepdims=True)
    return np.moveaxis(((forward + backward) / 2).reshape(*first.shape, -1), -1, axis)


def inside_depth(mesh: Mesh, points: FloatArray) -> FloatArray:
    """(N,) exact depth of points below the surface, metres; 0 outside (same vote as the grid, per point)."""
    scene = ray_scene(mesh)
    low, high = mesh.verts.min(0), mesh.verts.max(0)
    near = np.nonzero(((points > low) & (points < high)).all(1))[0]
    depth = np.zeros(len(points))
    if len(near):
        votes = sum(_winding_from(scene, mesh, points[near], axis, way) for axis in range(3) for way in (-1.0, 1.0)) / 6
        inside = near[votes > 0.5]
        depth[inside] = unsigned_distance(scene, points[inside])
    return depth


def _winding_from(scene: object, mesh: Mesh, points: FloatArray, axis: int, way: float) -> FloatArray:
    """(N,) winding number as counted by one ray per point."""
    o3d = require("open3d", extra="render")
    rays = np.zeros((len(points), 6), dtype=np.float32)
    rays[:, :3], rays[:, 3 + axis] = points, way
    rays[:, 3:] += np.array([0.0131, 0.0173, 0.0117])  # not along the edges of axis-aligned boxes
    hits = scene.list_intersections(o3d.core.Tensor(rays))  # type: ignore[attr-defined]
    row, face = hits["ray_ids"].numpy().astype(int), hits["primitive_ids"].numpy().astype(int)
    leaving = np.sign(np.einsum("nk,nk->n", mesh.face_normals[face], rays[row, 3:].astype(np.float64)))
    return np.bincount(row, leaving, minlength=len(points)).astype(np.float64)
