"""Points on surfaces, drawn the same for the same sample whatever the order, and exact distances to triangles."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import FloatArray, IntArray, as_floats, as_ints
from hoirecon.errors import InputError

FIRST_NEIGHBOURS = 8
"""Triangles looked at first for each point; doubled until none left out can be nearer."""
PAIRS = 200_000
"""Pairs of point and triangle in memory at a time: 200,000 take some 60 MB."""


def seed_of(sample: str, part: str = "") -> int:
    """Seed of one sample's random points: from its id and the part's name, so that shards draw the same.

    Example:
        >>> seed_of("a", "human") == seed_of("a", "human") != seed_of("a", "object")
        True
    """
    return int.from_bytes(blake2b(f"{sample}\x00{part}".encode(), digest_size=8).digest(), "little")


def surface_area(verts: Any, faces: Any) -> float:
    """Area of a mesh, square metres."""
    return float(_areas(*_mesh(verts, faces)).sum())


def sample_surface(verts: Any, faces: Any, count: int, seed: int) -> FloatArray:
    """(count, 3) independent draws, uniform over the area, as the field's evaluators take them (theirs without a seed).

    Args:
        verts: (V, 3) metres.
        faces: (F, 3).
        count: how many.
        seed: see :func:`seed_of`.

    Raises:
        InputError: a mesh without area, or nothing to draw.
    """
    points, corners = _mesh(verts, faces)
    area = _areas(points, corners)
    if count < 1 or not area.sum() > 0:
        raise InputError(f"cannot draw {count} points from a surface of {area.sum():.3g} square metres")
    rng = np.random.default_rng(seed)
    chosen = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum(), side="right")
    triangles = points[corners[np.minimum(chosen, len(area) - 1)]]
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    drawn: FloatArray = np.einsum("nk,nkc->nc", weights, triangles)
    return drawn


def surface_distance(points: Any, verts: Any, faces: Any) -> FloatArray:
    """(N,) exact distance of points to the nearest place of a surface, float64, metres.

    Triangles are kept by size; within a size those with near centres are tried first, and more until a triangle left
    out cannot be nearer than the best found.

    Args:
        points: (N, 3) metres.
        verts: (V, 3).
        faces: (F, 3).

    Raises:
        InputError: not a mesh, or NaN.
    """
    queries = as_floats(points, ("N", 3), "points")
    mesh_points, corners = _mesh(verts, faces)
    triangles = mesh_points[corners]
    centres = triangles.mean(1)
    radius = np.linalg.norm(triangles - centres[:, None], axis=-1).max(1)
    # Within a class radii differ by a factor of two at most, so that the bound below is never loose by more.
    classes = np.floor(np.log2(np.maximum(radius, 1e-9))).astype(int)
    best = np.full(len(queries), np.inf)
    for size in np.unique(classes):
        chosen = np.flatnonzero(classes == size)
        _improve(best, queries, triangles[chosen], centres[chosen], float(radius[chosen].max()))
    return best


def _improve(best: FloatArray, queries: FloatArray, triangles: FloatArray, centres: FloatArray, radius: float) -> None:
    tree, open_rows, k, tried = cKDTree(centres), np.arange(len(queries)), FIRST_NEIGHBOURS, 0
    while len(open_rows):
        k = min(k, len(triangles))
        far, near = tree.query(queries[open_rows], k=np.arange(1, k + 1))
        fresh = near[:, tried:]
        for start in range(0, len(open_rows), max(PAIRS // fresh.shape[1], 1)):
            rows = slice(start, start + max(PAIRS // fresh.shape[1], 1))
            at = open_rows[rows]
            reached = triangle_distance(queries[at][:, None], triangles[fresh[rows]]).min(1)
            best[at] = np.minimum(best[at], reached)
        if k == len(triangles):
            return
        open_rows = open_rows[far[:, -1] - radius < best[open_rows]]
        tried, k = k, 4 * k


def triangle_distance(points: FloatArray, triangles: FloatArray) -> FloatArray:
    """(...) distance of points (..., 3) to triangles (..., 3, 3): the plane's or the edges'."""
    a, b, c = (triangles[..., k, :] for k in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=-1)
    edges = np.stack([_segment_squared(points, p, q) for p, q in ((a, b), (b, c), (c, a))]).min(0)
    inside = length > 1e-20
    for p, q in ((a, b), (b, c), (c, a)):
        inside = inside & ((np.cross(q - p, points - p) * normal).sum(-1) >= 0)
    height = np.abs(((points - a) * normal).sum(-1)) / np.maximum(length, 1e-20)
    distance: FloatArray = np.where(inside, height, np.sqrt(edges))
    return distance


def _segment_squared(points: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    along = end - start
    share = ((points - start) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-30)
    gap = points - start - np.clip(share, 0, 1)[..., None] * along
    squared: FloatArray = (gap * gap).sum(-1)
    return squared


def _mesh(verts: Any, faces: Any) -> tuple[FloatArray, IntArray]:
    points, corners = as_floats(verts, ("V", 3), "verts"), as_ints(faces, ("F", 3), "faces")
    if len(corners) == 0 or corners.min() < 0 or corners.max() >= len(points):
        raise InputError(f"faces must name vertices 0..{len(points) - 1}, at least one face")
    return points, corners


def _areas(points: FloatArray, corners: IntArray) -> FloatArray:
    a, b, c = (points[corners[:, k]] for k in range(3))
    area: FloatArray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return area
