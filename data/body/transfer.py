"""Carry per-vertex knowledge from the free body to a user's body model of the same 52 joints.

The two meshes share no vertices, and the rest joints differ (ours sit by MakeHuman's rig, SMPL-H's by its regressor),
so a nearest point in space would take the wrong finger. Instead vertices are matched segment by segment: a segment
is all vertices that hang mostly on one joint; its box, seen from the joint, is stretched onto the other's, and the
nearest vertex with a similar normal is taken. Approximate by nature: on a reshaped free body with another mesh 99 %
of the vertices get their true part; on a real SMPL-H file this was not measured.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.body.model import BodyModel
from hoirecon.mesh import Mesh

NORMAL_WEIGHT_M = 0.02
"""Length that a normal turned by 60 degrees counts for: keeps palm and back of a 25 mm thick hand apart
where the other model's hands rest bent or turned."""
BOX_PERCENTILES = (3.0, 97.0)
"""Ends of a segment's box; inside the extremes, which depend on a few border vertices."""


@lru_cache(maxsize=1)
def free_body() -> BodyModel:
    """The free body, read once."""
    from hoirecon.data.body.files import load_body

    return load_body()


@lru_cache(maxsize=16)
def nearest_on_other(other: BodyModel, model: BodyModel) -> IntArray:
    """(V,) for every vertex of ``model`` the corresponding vertex of ``other``, by nearest rest-pose surface."""
    verts, normals, segment = _rest_surface(model)
    other_verts, other_normals, other_segment = _rest_surface(other)
    nearest = np.zeros(len(verts), dtype=np.int64)
    for joint in np.unique(segment):
        here = np.flatnonzero(segment == joint)
        there = np.flatnonzero(other_segment == joint)
        if len(there) < 4 or len(here) < 4:  # a joint that carries (almost) nothing in one of the two: look everywhere
            nearest[here] = cKDTree(other_verts).query(verts[here])[1]
            continue
        moved = _onto_box(verts[here], other_verts[there])
        tree = cKDTree(np.hstack([other_verts[there], NORMAL_WEIGHT_M * other_normals[there]]))
        nearest[here] = there[tree.query(np.hstack([moved, NORMAL_WEIGHT_M * normals[here]]))[1]]
    return nearest


def _rest_surface(model: BodyModel) -> tuple[FloatArray, FloatArray, IntArray]:
    verts = model.rest_verts
    segment = model.weights.argmax(dim=1).cpu().numpy()
    return verts, Mesh(verts, model.faces, model.topology).vert_normals, segment


def _onto_box(points: FloatArray, target: FloatArray) -> FloatArray:
    """Stretch points, axis by axis, so that their box covers the target's."""
    low, high = np.percentile(points, BOX_PERCENTILES, axis=0)
    to_low, to_high = np.percentile(target, BOX_PERCENTILES, axis=0)
    scale = (to_high - to_low) / np.maximum(high - low, 1e-6)
    moved: FloatArray = to_low + (points - low) * scale
    return moved
