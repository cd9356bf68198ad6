"""Distances along the surface of a mesh from a set of vertices.

A front grows from the sources as in Dijkstra's method. It runs along the mesh's edges, along the straight lines that
cross one edge of two unfolded neighbouring triangles, and across triangles: from the distances at two corners the
source is unfolded into the triangle's plane, which gives the third (Novotni and Klein 2002). From one vertex of a
plane the result is exact. On the free body, against exact polyhedral geodesics: from one vertex 1.3 % off at the 99th
percentile (at most 1.4 cm, at the far end of the body), from a palm 4.5 %.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from hoirecon.arrays import FloatArray, IntArray, as_floats, as_ints
from hoirecon.data.body.model import BodyModel
from hoirecon.errors import InputError

IMPROVEMENT_M = 1e-9
"""A shorter way counts only if it is shorter by this much, so that rounding cannot keep the front moving."""


class Geodesic:
    """Surface distances on one mesh; what does not depend on the sources is computed on first use and kept."""

    def __init__(self, verts: Any, faces: Any) -> None:
        self.verts = as_floats(verts, ("V", 3), "verts")
        self.faces = as_ints(faces, ("F", 3), "faces")

    def distance(self, sources: Any, *, limit: float = math.inf) -> FloatArray:
        """(V,) distance along the surface to the nearest source, metres.

        Args:
            sources: (N,) vertex indices; an edge between two of them is a source too, so that a patch of vertices
                counts as the area it covers.
            limit: the front stops here, metres; vertices beyond get infinity. Saves time for small regions.

        Returns:
            Distances; infinity where no path leads.

        Raises:
            InputError: no sources, or indices outside the mesh.
        """
        return _Front(self, self._check(sources)).run(limit)

    def graph_distance(self, sources: Any) -> FloatArray:
        """(V,) upper bound along edges and straight crossings: a few percent long (at worst 30 %), 50 times faster."""
        distance: FloatArray = dijkstra(self.graph, indices=self._check(sources), min_only=True)
        return distance

    def _check(self, sources: Any) -> IntArray:
        unique = np.unique(as_ints(sources, ("N",), "sources"))
        if len(unique) == 0 or unique[0] < 0 or unique[-1] >= len(self.verts):
            raise InputError(f"geodesic sources must be vertices 0..{len(self.verts) - 1}, at least one")
        return unique

    @cached_property
    def graph(self) -> csr_matrix:
        """Edges of the mesh and straight crossings of one edge, with their lengths."""
        a, b, length = self._edges_and_crossings()
        size = len(self.verts)
        key = a * size + b
        order = np.lexsort((length, key))  # of two ways between the same vertices the shorter comes first
        first = order[np.unique(key[order], return_index=True)[1]]
        return coo_matrix((length[first], (a[first], b[first])), shape=(size, size)).tocsr()

    @cached_property
    def half_edges(self) -> IntArray:
        """(3F, 3) each face seen from each of its edges: the edge a, b and the corner c across."""
        return np.concatenate([np.roll(self.faces, k, axis=1) for k in range(3)])

    @cached_property
    def flat(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Each half-edge's triangle in its plane: a at 0, b at (ab, 0), c at (cx, cy), cy >= 0."""
        a, b, c = (self.verts[i] for i in self.half_edges.T)
        ab = np.maximum(np.linalg.norm(b - a, axis=1), 1e-12)
        cx = ((c - a) * (b - a)).sum(1) / ab
        cy = np.sqrt(np.maximum(((c - a) ** 2).sum(1) - cx**2, 0))
        return ab, cx, cy

    @cached_property
    def lists(self) -> _Lists:
        """The same as plain lists, which a loop over single vertices reads ten times faster than arrays."""
        return _Lists(self)

    def _edges_and_crossings(self) -> tuple[IntArray, IntArray, FloatArray]:
        half, (ab, cx, cy) = self.half_edges, self.flat
        key = half[:, 0] * len(self.verts) + half[:, 1]
        twin_key = half[:, 1] * len(self.verts) + half[:, 0]
        order = np.argsort(key, kind="stable")
        twin = order[np.minimum(np.searchsorted(key[order], twin_key), len(key) - 1)]
        one = np.flatnonzero(key[twin] == twin_key)
        other = twin[one]
        # The twin runs b -> a: its corner lies at (ab - cx', -cy') in this triangle's plane.
        dx, dy = ab[one] - cx[other] - cx[one], cy[other] + cy[one]
        crossing = cx[one] + dx * cy[one] / np.maximum(dy, 1e-12)
        straight = (crossing >= 0) & (crossing <= ab[one]) & (dy > 1e-12)
        one, other, length = one[straight], other[straight], np.hypot(dx, dy)[straight]
        a = np.concatenate([half[:, 0], half[:, 1], half[one, 2]])
        b = np.concatenate([half[:, 1], half[:, 0], half[other, 2]])
        return a, b, np.concatenate([ab, ab, length])


class _Lists:
    """Plain lists of a mesh: graph rows, and per vertex the triangles it can push the front across."""

    def __init__(self, mesh: Geodesic) -> None:
        self.row_start, self.row_vert = mesh.graph.indptr.tolist(), mesh.graph.indices.tolist()
        self.row_length = mesh.graph.data.tolist()
        self.triangles: list[list[tuple[int, int, float, float, float]]] = [[] for _ in mesh.verts]
        for (a, b, c), ab, cx, cy in zip(mesh.half_edges.tolist(), *(x.tolist() for x in mesh.flat), strict=True):
            self.triangles[a].append((b, c, ab, cx, cy))
            self.triangles[b].append((a, c, ab, ab - cx, cy))


class _Front:
    """One growing front: distances so far, and the source each vertex was reached from."""

    def __init__(self, mesh: Geodesic, sources: IntArray) -> None:
        self.lists = mesh.lists
        self.distance = [math.inf] * len(mesh.verts)
        self.source = [-1] * len(mesh.verts)
        for s in sources.tolist():
            self.distance[s], self.source[s] = 0.0, s
        self.heap = [(0.0, s) for s in sources.tolist()]
        is_source = np.zeros(len(mesh.verts), dtype=bool)
        is_source[sources] = True
        edges = mesh.half_edges[is_source[mesh.half_edges[:, :2]].all(axis=1), :2]
        self.joined = {(a, b) for a, b in edges.tolist()} | {(b, a) for a, b in edges.tolist()}

    def run(self, limit: float) -> FloatArray:
        heapify(self.heap)
        reached = [False] * len(self.distance)
        while self.heap:
            here, v = heappop(self.heap)
            if here > self.distance[v]:
                continue  # reached by a shorter way since
            if here > limit:
                break
            reached[v] = True
            self._along_edges(v, here)
            for u, c, ab, cx, cy in self.lists.triangles[v]:
                if reached[u] and self._same_front(u, v):
                    self._improve(c, unfolded_distance(here, self.distance[u], ab, cx, cy), v)
        distance = np.array(self.distance)
        distance[distance > limit] = np.inf
        return distance

    def _along_edges(self, v: int, here: float) -> None:
        rows = self.lists
        for k in range(rows.row_start[v], rows.row_start[v + 1]):
            self._improve(rows.row_vert[k], here + rows.row_length[k], v)

    def _same_front(self, u: int, v: int) -> bool:
        """Distances to two unrelated sources do not describe one wave; unfolding them would invent a nearer source."""
        pair = (self.source[u], self.source[v])
        return pair[0] == pair[1] or pair in self.joined

    def _improve(self, c: int, distance: float, from_vert: int) -> None:
        if distance < self.distance[c] - IMPROVEMENT_M:
            self.distance[c], self.source[c] = distance, self.source[from_vert]
            heappush(self.heap, (distance, c))


def unfolded_distance(da: float, db: float, ab: float, cx: float, cy: float) -> float:
    """Distance at c of a source beyond the edge a-b, from its distances to a and b.

    Args:
        da: distance of the source to a, which lies at (0, 0).
        db: to b, which lies at (ab, 0).
        ab: length of the edge.
        cx: first coordinate of c along the edge.
        cy: its height over the edge, >= 0.

    Returns:
        The distance, or infinity if the straight line to c does not cross the edge.

    Example:
        >>> unfolded_distance(5.0, 5.0, 6.0, 3.0, 2.0)  # the source stands 4 below the edge's middle
        6.0
    """
    if da == 0 and db == 0:  # the edge itself is the source
        return cy if 0 <= cx <= ab else math.inf
    sx = (da * da - db * db + ab * ab) / (2 * ab)
    below = da * da - sx * sx
    if below < 0:
        return math.inf
    depth = math.sqrt(below)
    height = cy + depth
    crossing = sx + (cx - sx) * depth / height if height > 1e-12 else -1.0
    return math.hypot(cx - sx, height) if 0 <= crossing <= ab else math.inf


@lru_cache(maxsize=8)
def body_geodesic(model: BodyModel) -> Geodesic:
    """Surface distances on a body in its rest pose, mean shape; prepared once per model.

    Example:
        >>> from hoirecon.data.body import load_body
        >>> body = load_body()
        >>> far = body_geodesic(body).distance(body.parts.verts_of("left_palm"))
        >>> bool(far[body.parts.verts_of("left_thumb")].max() < 0.15)
        True
    """
    return Geodesic(model.rest_verts, model.faces)
