"""Which side of each face is outside, for meshes whose winding cannot be trusted: the side that sees the sky.

Faces that share an edge with one neighbour each are turned to agree; what then hangs together (a patch) is decided as
one, by rays from both of its sides. A patch that sees the sky from neither side lies inside the object, one that sees
it alike from both is a sheet without an inside. Turning patches by what they see follows Takayama et al., "A Simple
Method for Correcting Facet Orientations in Polygon Meshes Based on Ray Casting", 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.errors import require

RAYS = 1_000_000
"""Rays of one mesh, over all faces and both sides."""
MIN_RAYS, MAX_RAYS = 2, 64
"""Rays from each side of one face."""
SIDED = 0.5
"""A patch counts fully as a solid's surface from this relative difference of what its sides see."""
SHEET = 0.2
"""Below this it has no inside."""


@dataclass(frozen=True)
class Facing:
    """Outward faces and how surely each has something behind it."""

    faces: IntArray
    """(F, 3) the same faces, turned outward."""
    solid: FloatArray
    """(F,) 0..1: 1 for the skin of a solid, 0 for sheets and for what lies inside."""
    is_sheet: BoolArray
    """(F,) seen alike from both sides."""


def face_outward(verts: FloatArray, faces: IntArray, seed: int = 0) -> Facing:
    """Turn faces outward, whatever their winding.

    Args:
        verts: (V, 3).
        faces: (F, 3); they hang together where they share vertices, so merge vertices first.
        seed: of the rays.

    Raises:
        MissingExtraError: open3d is not installed.
    """
    faces, patch = agreeing(faces)
    front, back = sky_seen(verts, faces, seed)
    area = _areas(verts, faces)
    size = int(patch.max()) + 1
    n_front = np.bincount(patch, area * front, minlength=size)
    n_back = np.bincount(patch, area * back, minlength=size)
    seen = n_front + n_back
    # A patch that half a ray per face reaches is hidden: what it saw was through a crack.
    hidden = seen < 0.01 * np.bincount(patch, area, minlength=size)
    side = np.where(hidden, 0.0, (n_front - n_back) / np.where(seen > 0, seen, 1.0))
    turned = faces.copy()
    turned[side[patch] < 0] = faces[side[patch] < 0][:, ::-1]
    is_sheet = ((np.abs(side) < SHEET) & ~hidden)[patch]
    solid = np.clip((np.abs(side) - SHEET) / (SIDED - SHEET), 0.0, 1.0)[patch]
    return Facing(turned, solid, is_sheet)


def agreeing(faces: IntArray) -> tuple[IntArray, IntArray]:
    """Faces turned so that neighbours agree, and (F,) the patch of each.

    Neighbours are the two faces of an edge that no third face has. On a surface that cannot agree everywhere (a
    Moebius band) some pair stays at odds.
    """
    first, second, same_way = _neighbours(faces)
    n = len(faces)
    ones = np.ones(len(first))
    graph = coo_matrix((ones, (first, second)), shape=(n, n)).tocsr()
    count, patch = connected_components(graph, directed=False)
    # Neighbours run through their edge in opposite ways when they agree.
    odd = coo_matrix((same_way + 1.0, (first, second)), shape=(n, n)).tocsr()
    odd = odd.maximum(odd.T)
    flipped = np.zeros(n, dtype=bool)
    sizes = np.bincount(patch, minlength=count)
    starts = np.full(count, n)
    np.minimum.at(starts, patch, np.arange(n))
    for p in np.nonzero(sizes > 1)[0]:
        order, parent = breadth_first_order(odd, starts[p], directed=True)
        child = order[1:]
        turn = np.asarray(odd[parent[child], child]).ravel() > 1.5
        for face, above, differs in zip(child.tolist(), parent[child].tolist(), turn.tolist(), strict=True):
            flipped[face] = flipped[above] ^ differs
    turned = faces.copy()
    turned[flipped] = faces[flipped][:, ::-1]
    return turned, patch.astype(np.int64)


def sky_seen(verts: FloatArray, faces: IntArray, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """(F,) and (F,) share of rays from the front and from the back of each face that hit nothing."""
    o3d: Any = require("open3d", extra="render")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(verts.astype(np.float32)), o3d.core.Tensor(faces.astype(np.uint32)))
    count = int(np.clip(RAYS // (2 * len(faces)), MIN_RAYS, MAX_RAYS))
    rng = np.random.default_rng(seed)
    normals = _normals(verts, faces)
    lift = 1e-4 * float(np.linalg.norm(np.ptp(verts, axis=0)))
    free = np.zeros((2, len(faces)))
    batch = max(1, 2_000_000 // len(faces))
    for start in range(0, count, batch):
        n = min(batch, count - start)
        points = _points_on(verts, faces, n, rng)
        for side, way in enumerate((1.0, -1.0)):
            normal = way * normals[None]
            rays = np.concatenate([points + lift * normal, _about(normal, n, rng)], axis=-1)
            hit = scene.test_occlusions(o3d.core.Tensor(rays.reshape(-1, 6).astype(np.float32))).numpy()
            free[side] += (~hit.astype(bool)).reshape(n, -1).sum(0)
    return free[0] / count, free[1] / count


def _neighbours(faces: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of faces with a common edge of their own, and 1 where both run through it the same way."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    owner = np.tile(np.arange(len(faces)), 3)
    forward = ends[:, 0] < ends[:, 1]
    low, high = ends.min(1), ends.max(1)
    order = np.lexsort((high, low))
    low, high, owner, forward = low[order], high[order], owner[order], forward[order]
    new = np.concatenate([[True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    first = np.nonzero(new)[0]
    counts = np.diff(np.concatenate([first, [len(low)]]))
    at = first[counts == 2]
    pairs = owner[at], owner[at + 1]
    apart = pairs[0] != pairs[1]
    same = (forward[at] == forward[at + 1])[apart].astype(np.float64)
    a, b = pairs[0][apart], pairs[1][apart]
    # Two faces may share two edges; one entry each keeps the sparse matrix from adding them up.
    _, keep = np.unique(np.minimum(a, b) * len(faces) + np.maximum(a, b), return_index=True)
    return a[keep], b[keep], same[keep]


def _points_on(verts: FloatArray, faces: IntArray, n: int, rng: np.random.Generator) -> FloatArray:
    """(n, F, 3) random points, n on each face."""
    u = rng.random((2, n, len(faces)))
    root = np.sqrt(u[0])
    bary = np.stack([1 - root, root * (1 - u[1]), root * u[1]], axis=-1)
    points: FloatArray = np.einsum("nfc,fcx->nfx", bary, verts[faces])
    return points


def _about(normal: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """(n, F, 3) random directions in the hemispheres round normals (1, F, 3), more of them near the normal."""
    z = rng.normal(size=(n, normal.shape[1], 3))
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    tilted: FloatArray = z * 0.98 + normal
    return tilted


def _normals(verts: FloatArray, faces: IntArray) -> FloatArray:
    cross = _cross(verts, faces)
    norm = np.linalg.norm(cross, axis=1, keepdims=True)
    unit: FloatArray = cross / np.where(norm > 0, norm, 1.0)
    return unit


def _areas(verts: FloatArray, faces: IntArray) -> FloatArray:
    areas: FloatArray = np.linalg.norm(_cross(verts, faces), axis=1) / 2
    return areas


def _cross(verts: FloatArray, faces: IntArray) -> FloatArray:
    a, b, c = (verts[faces[:, i]] for i in range(3))
    cross: FloatArray = np.cross(b - a, c - a)
    return cross
