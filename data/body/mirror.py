"""Left and right swapped: parameters and vertices of the body seen in a mirror at x = 0."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.body_params import BodyParams
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.skeleton import MIRROR_JOINTS

# The mirror image of a rotation about axis w is one about the mirrored axis in the opposite sense (w is a
# pseudo-vector): (wx, wy, wz) -> (wx, -wy, -wz).
_ROTVEC_SIGNS = np.array([1.0, -1.0, -1.0])
_POINT_SIGNS = np.array([-1.0, 1.0, 1.0])


def mirror_params(params: BodyParams) -> BodyParams:
    """Parameters of the body reflected in the plane x = 0 of the frame it stands in.

    Exact for a model whose mesh and shape space are symmetric, as the free body's are:
    ``model.pose(mirror_params(p)).verts == mirror_points(model.pose(p).verts)[mirror_verts(model)]``.
    """
    pose = np.concatenate([params.global_orient, params.body_pose, params.left_hand_pose, params.right_hand_pose])
    pose = pose.reshape(-1, 3)[list(MIRROR_JOINTS)] * _ROTVEC_SIGNS
    return params.replace(
        global_orient=pose[0],
        body_pose=pose[1:22].ravel(),
        left_hand_pose=pose[22:37].ravel(),
        right_hand_pose=pose[37:].ravel(),
        transl=params.transl * _POINT_SIGNS,
    )


def mirror_points(points: FloatArray) -> FloatArray:
    """Points (..., 3) reflected in the plane x = 0."""
    mirrored: FloatArray = points * _POINT_SIGNS
    return mirrored


def mirror_verts(model: BodyModel) -> IntArray:
    """(V,) for every vertex the one on the other side.

    From the file where it says so (exact, its own inverse); else the vertex nearest to the mirrored rest position,
    which is approximate for a mesh that is not symmetric.
    """
    if model.annotations is not None:
        return model.annotations.mirror
    from scipy.spatial import cKDTree

    verts = model.rest_verts
    middle = float(model.joint_template[0, 0])
    shifted = verts - [middle, 0, 0]
    return np.asarray(cKDTree(shifted).query(mirror_points(shifted))[1], dtype=np.int64)
