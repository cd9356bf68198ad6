"""Shapes made fit for small pictures: points as balls, huge meshes with fewer triangles."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.mesh import Mesh
from hoirecon.views.framing import bounding_ball

MAX_FACES = 60_000
"""Triangles above which a mesh is simplified: no small picture shows more."""
CELLS = 140
"""Cells across the longest side that simplifying merges vertices in."""
MAX_BALLS = 2500
"""Points drawn at most; of more, evenly many are left out."""


def lighter(mesh: Mesh, contact: FloatArray) -> tuple[Mesh, FloatArray]:
    """The mesh and its values (V,), or, if it is huge, with all vertices of a cell merged into their mean.

    Vertex clustering (Rossignac and Borrel 1993); a cell takes the highest value in it, so no contact vanishes.
    """
    if len(mesh.faces) <= MAX_FACES:
        return mesh, contact
    step = max(float(mesh.extents.max()) / CELLS, 1e-12)
    cell = np.floor((mesh.verts - mesh.verts.min(axis=0)) / step).astype(np.int64)
    code = (cell[:, 0] * (CELLS + 1) + cell[:, 1]) * (CELLS + 1) + cell[:, 2]
    _, place = np.unique(code, return_inverse=True)
    count = np.bincount(place)
    verts = np.stack([np.bincount(place, mesh.verts[:, i]) / count for i in range(3)], axis=1)
    values = np.zeros(len(count))
    np.maximum.at(values, place, contact)
    faces = place[mesh.faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    if len(faces) == 0:
        return mesh, contact
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return Mesh(verts, faces[np.sort(first)], mesh.name), values


def balls(points: FloatArray, contact: FloatArray) -> tuple[Mesh, FloatArray]:
    """Points as small balls, as large as an even spread over the cloud's surface leaves room for; values per vertex."""
    step = -(-len(points) // MAX_BALLS)
    points, contact = points[::step], contact[::step]
    radius = bounding_ball(points)[1] * float(np.clip(1.5 / np.sqrt(len(points)), 0.012, 0.1))
    unit, faces = _icosahedron()
    verts = points[:, None] + radius * unit
    every = faces[None] + len(unit) * np.arange(len(points))[:, None, None]
    return Mesh(verts.reshape(-1, 3), every.reshape(-1, 3), "points"), np.repeat(contact, len(unit))


def _icosahedron() -> tuple[FloatArray, IntArray]:
    """(12, 3) unit vertices, and (20, 3) faces, outward."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)]
    verts = np.array([np.roll(corner, k) for k in range(3) for corner in corners], dtype=np.float64)
    gaps = np.linalg.norm(verts[:, None] - verts[None], axis=2)
    near = np.abs(gaps - 2) < 1e-9
    faces = [
        [i, j, k] for i in range(12) for j in range(i) for k in range(j) if near[i, j] and near[j, k] and near[i, k]
    ]
    outward = [f if np.linalg.det(verts[f]) > 0 else f[::-1] for f in faces]
    return verts / np.linalg.norm(verts[0]), np.array(outward, dtype=np.int64)
