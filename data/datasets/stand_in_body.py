"""Free meshes with as many vertices as the licensed bodies, for files that stand in for real ones.

A closed surface without handles has V vertices and 2 V - 4 triangles (Euler), so the library's free body with a few
edges collapsed or halved has exactly the vertices of SMPL (6890, 13776 triangles) or SMPL-X (10475), and its right
hand, open at the wrist like MANO's, those of MANO (778). Their vertices lie where they please: a label on one says
nothing about the licensed body.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.body import load_body
from hoirecon.data.datasets.topologies import STAND_IN, TOPOLOGY_SIZES
from hoirecon.errors import TopologyError
from hoirecon.mesh import Mesh

HAND = tuple(f"right_{part}" for part in ("palm", "hand_back", "thumb", "index_finger", "middle_finger", "ring_finger",
                                          "pinky_finger"))  # fmt: skip
"""Parts of the free body that make the stand-in for MANO."""
BODIES = {f"{STAND_IN}{TOPOLOGY_SIZES[name]}": name for name in ("smpl", "smplx", "mano")}
"""Topology of the stand-in -> the body that it stands in for."""


@lru_cache(maxsize=4)
def stand_in_mesh(topology: str = "standin-6890") -> Mesh:
    """The mesh of a stand-in's topology: rest pose, metres, y up.

    Args:
        topology: one of ``standin-6890`` and ``standin-10475`` (closed, without handles) and ``standin-778`` (a right
            hand, open at the wrist).

    Raises:
        TopologyError: no mesh of that name.
    """
    if topology not in BODIES:
        raise TopologyError(f"no free mesh stands in for '{topology}', only {', '.join(BODIES)}")
    body = load_body()
    verts, faces = np.asarray(body.rest_verts, dtype=np.float64), np.asarray(body.faces, dtype=np.int64)
    if BODIES[topology] == "mano":
        verts, faces = _cut(verts, faces, body.parts.verts_of(*HAND))
    verts, faces = _with_vertices(verts, faces, TOPOLOGY_SIZES[BODIES[topology]])
    return Mesh(verts, faces, topology)


def _cut(verts: FloatArray, faces: IntArray, keep: IntArray) -> tuple[FloatArray, IntArray]:
    """The triangles all of whose corners are among some vertices."""
    inside = np.zeros(len(verts), dtype=bool)
    inside[keep] = True
    return _without_strays(verts, faces[inside[faces].all(axis=1)])


def _with_vertices(verts: FloatArray, faces: IntArray, count: int) -> tuple[FloatArray, IntArray]:
    """The same surface with a given number of vertices: short edges collapsed, or long ones halved."""
    while len(verts) > count:
        verts, faces = _collapse_one(verts, faces)
    while len(verts) < count:
        verts, faces = _halve_some(verts, faces, count - len(verts))
    return verts, faces


def _collapse_one(verts: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """One vertex less: the shortest edge off the rim whose collapse keeps the surface a surface."""
    edges, seen = _edges(faces)
    rim = np.unique(edges[seen == 1])
    edges = edges[~np.isin(edges, rim).any(axis=1)]
    for edge in np.linalg.norm(verts[edges[:, 0]] - verts[edges[:, 1]], axis=1).argsort(kind="stable"):
        a, b = edges[edge]
        ring_a, ring_b = (np.setdiff1d(faces[(faces == v).any(axis=1)], (a, b)) for v in (a, b))
        if len(np.intersect1d(ring_a, ring_b)) == 2:  # the link condition of edge collapse
            break
    moved = verts.copy()
    moved[a] = (verts[a] + verts[b]) / 2
    merged = np.where(faces == b, a, faces)
    return _without_strays(moved, merged[[len(set(face)) == 3 for face in merged.tolist()]])


def _halve_some(verts: FloatArray, faces: IntArray, most: int) -> tuple[FloatArray, IntArray]:
    """Up to so many vertices more: long edges that share no triangle, each halved by a vertex in its middle."""
    edges, _ = _edges(faces)
    lengths = np.linalg.norm(verts[edges[:, 0]] - verts[edges[:, 1]], axis=1)
    sides: dict[tuple[int, int], list[int]] = {}
    for face, (i, j, k) in enumerate(faces.tolist()):
        for a, b in pairwise((i, j, k, i)):
            sides.setdefault((min(a, b), max(a, b)), []).append(face)
    taken: set[int] = set()
    middles: list[FloatArray] = []
    cut = faces.copy()
    added: list[list[int]] = []
    for a, b in edges[(-lengths).argsort(kind="stable")].tolist():
        if len(middles) == most or taken & set(sides[a, b]):
            continue
        middle = len(verts) + len(middles)
        middles.append((verts[a] + verts[b]) / 2)
        for face in sides[a, b]:  # each of its triangles becomes two, wound the same way
            taken.add(face)
            added.append([middle if v == a else v for v in faces[face].tolist()])
            cut[face] = [middle if v == b else v for v in faces[face].tolist()]
    return np.concatenate([verts, middles]), np.concatenate([cut, np.array(added)])


def _edges(faces: IntArray) -> tuple[IntArray, IntArray]:
    """(E, 2) edges, each once, and how many triangles have them."""
    both = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, counts = np.unique(both, axis=0, return_counts=True)
    return edges, counts


def _without_strays(verts: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """Vertices that no triangle has, left out."""
    used, renamed = np.unique(faces, return_inverse=True)
    return verts[used], renamed.reshape(faces.shape)
