"""Geodesic error of contact, without a matrix of all pairs of vertices.

The field reads ``min over true vertices of D[v, u]`` from a stored V x V matrix. That minimum is the distance to a
set, which one front from all its vertices at once gives: the same number, from a graph of some hundred kilobytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from hoirecon.arrays import BoolArray, FloatArray, IntArray, as_floats, as_ints
from hoirecon.data.body.geodesic import Geodesic
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.regions import BodyRegions

Paths = Literal["crossings", "edges"]
"""Along edges and straight across one of them, or along edges only."""

DIAMETER_STARTS = 8
"""Vertices from which the longest distance is sought."""


class SurfaceDistances(Protocol):
    """Distances on one body's surface."""

    @property
    def num_verts(self) -> int:
        """Vertices of the body."""
        ...

    @property
    def diameter_m(self) -> float:
        """Longest distance on the surface, metres: the penalty of what cannot be measured."""
        ...

    def to_set(self, verts: IntArray) -> FloatArray:
        """(V,) distance of each vertex to the nearest of a set, metres."""
        ...

    def from_set(self, verts: IntArray) -> FloatArray:
        """(V,) distance of each vertex from the nearest of a set; differs from `to_set` for uneven matrices only."""
        ...


class MeshDistances:
    """Shortest paths over a mesh's graph from all vertices of a set at once."""

    def __init__(self, verts: Any, faces: Any, paths: Paths = "crossings", regions: BodyRegions | None = None) -> None:
        """Prepare a mesh; takes milliseconds.

        Args:
            verts: (V, 3) rest pose, metres.
            faces: (F, 3).
            paths: ``crossings`` also cuts straight across one edge between two triangles, which is nearer to the true
                distance on the surface; ``edges`` overestimates more.
            regions: which vertex belongs to which region of the body, where it is known: the preset ``regions`` asks.

        Raises:
            InputError: another kind of paths, or not a mesh.
        """
        self.regions = regions
        if paths not in ("crossings", "edges"):
            raise InputError(f"unknown paths {paths!r}: use crossings or edges")
        points, corners = as_floats(verts, ("V", 3), "verts"), as_ints(faces, ("F", 3), "faces")
        self.graph = Geodesic(points, corners).graph if paths == "crossings" else _edge_graph(points, corners)

    @property
    def num_verts(self) -> int:
        """Vertices of the mesh."""
        return int(self.graph.shape[0])

    @cached_property
    def diameter_m(self) -> float:
        """Longest distance from any of eight vertices, each the farthest from those before; at most the true one."""
        at, longest, nearest = 0, 0.0, np.full(self.num_verts, np.inf)
        for _ in range(DIAMETER_STARTS):
            reach = self._reach(np.array([at]))
            joined = np.isfinite(reach)
            longest = max(longest, float(reach[joined].max()))
            nearest = np.minimum(nearest, reach)
            at = int(np.where(joined, nearest, -1.0).argmax())
        return longest

    def to_set(self, verts: IntArray) -> FloatArray:
        """(V,) metres; vertices of parts that no path joins to the set get the diameter."""
        reach = self._reach(verts)
        alone = ~np.isfinite(reach)
        return np.where(alone, self.diameter_m, reach) if alone.any() else reach

    def from_set(self, verts: IntArray) -> FloatArray:
        """The same: paths have no direction."""
        return self.to_set(verts)

    def _reach(self, verts: IntArray) -> FloatArray:
        reach: FloatArray = dijkstra(self.graph, indices=verts, min_only=True)
        return reach


class MatrixDistances:
    """A stored matrix of all distances, as the field's evaluators read it."""

    def __init__(self, matrix: Any) -> None:
        """Keep a matrix as it is (float32 stays so).

        Args:
            matrix: (V, V) metres.

        Raises:
            InputError: not square, NaN, or negative.
        """
        self.matrix = np.asarray(matrix)
        if self.matrix.ndim != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            raise InputError(f"a matrix of distances is square, got shape {self.matrix.shape}")
        if not self.matrix.min() >= 0:
            raise InputError("a matrix of distances has no NaN and nothing below 0: check the file")

    @property
    def num_verts(self) -> int:
        """Rows of the matrix."""
        return len(self.matrix)

    @cached_property
    def diameter_m(self) -> float:
        """Greatest finite entry, metres."""
        return float(self.matrix[np.isfinite(self.matrix)].max())

    def to_set(self, verts: IntArray) -> FloatArray:
        """(V,) least entry of each row over the set's columns."""
        return np.asarray(self.matrix[:, verts].min(1), dtype=np.float64)

    def from_set(self, verts: IntArray) -> FloatArray:
        """(V,) least entry of each column over the set's rows."""
        return np.asarray(self.matrix[verts].min(0), dtype=np.float64)


@dataclass(frozen=True)
class GeodesicErrors:
    """Errors of one sample, metres."""

    fp: float
    """Mean distance of predicted vertices to the truth; hits count as 0, so it is no error of false positives alone."""
    fn: float
    """Mean distance of true vertices to the prediction."""
    symmetric: float
    """Mean of both."""
    fp_only: float
    """Mean distance of false positives alone; 0 without any."""
    p95: float
    """The larger of the two directions' 95th percentiles."""


def fp_geodesic(predicted: BoolArray, true: BoolArray, distances: SurfaceDistances) -> float:
    """Mean over predicted vertices of the distance to the nearest true one, metres, with the field's rules.

    Without truth all vertices count as true: 0, whatever was predicted. Without prediction all vertices count as
    predicted: the mean over the whole body. The rules are shared by BSTRO, DECO, LEMON and InteractVLM.

    Args:
        predicted: (V,) bool.
        true: (V,) bool.
        distances: on this body.
    """
    _check(predicted, true, distances)
    if not true.any():
        return 0.0
    reach = distances.to_set(np.flatnonzero(true))
    return float(reach[predicted].mean() if predicted.any() else reach.mean())


def fn_geodesic(predicted: BoolArray, true: BoolArray, distances: SurfaceDistances) -> float:
    """Mean over true vertices of the distance to the nearest predicted one, metres, with the field's rules.

    Without prediction it is **0**; without truth the mean over the whole body.
    """
    _check(predicted, true, distances)
    if not predicted.any():
        return 0.0
    reach = distances.from_set(np.flatnonzero(predicted))
    return float(reach[true].mean() if true.any() else reach.mean())


def geodesic_errors(predicted: BoolArray, true: BoolArray, distances: SurfaceDistances) -> GeodesicErrors:
    """All errors of one sample with the honest rules: both empty 0, one empty the body's diameter.

    Args:
        predicted: (V,) bool.
        true: (V,) bool.
        distances: on this body.

    Raises:
        InputError: different numbers of vertices.
    """
    _check(predicted, true, distances)
    if not predicted.any() or not true.any():
        value = distances.diameter_m if predicted.any() or true.any() else 0.0
        return GeodesicErrors(value, value, value, value, value)
    there = distances.to_set(np.flatnonzero(true))[predicted]
    back = distances.from_set(np.flatnonzero(predicted))[true]
    wrong = there[~true[predicted]]
    fp, fn = float(there.mean()), float(back.mean())
    p95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return GeodesicErrors(fp, fn, (fp + fn) / 2, float(wrong.mean()) if len(wrong) else 0.0, p95)


def _check(predicted: BoolArray, true: BoolArray, distances: SurfaceDistances) -> None:
    want = (distances.num_verts,)
    if predicted.shape != want or true.shape != want or predicted.dtype != bool or true.dtype != bool:
        raise InputError(
            f"geodesic errors need one bool per vertex of the body ({want[0]}), got {predicted.dtype} of "
            f"{predicted.shape} and {true.dtype} of {true.shape}: cut scores at a threshold, on the body's own topology"
        )


def _edge_graph(verts: FloatArray, faces: IntArray) -> Any:
    ends = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    length = np.linalg.norm(verts[ends[:, 0]] - verts[ends[:, 1]], axis=1)
    both = np.concatenate([ends, ends[:, ::-1]])
    return coo_matrix((np.tile(length, 2), (both[:, 0], both[:, 1])), shape=(len(verts), len(verts))).tocsr()
