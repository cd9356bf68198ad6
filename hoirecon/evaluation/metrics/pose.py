"""Errors of an object's pose, over the rotations under which it looks the same (Hodan et al., BOP Challenge 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.camera import Camera
from hoirecon.data.objects import Symmetry
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.placed_object import rotation_error_deg
from hoirecon.pose import ObjectPose

Symmetries = Symmetry | FloatArray | None
"""Of an object: a group about its frame's axes, BOP's list of motions (S, 4, 4) of its frame, or none."""
STEPS = 72
"""Angles of a continuous symmetry: 5 degrees apart, so that MSSD is too long by 4.4 % of the radius at most."""
SHARES = np.arange(1, 11) * 0.05
"""5, 10, ... 50 %: thresholds of recalls."""
MSPD_PX, ROTATION_DEG = 200.0, 40.0
"""RHOBIN multiplies the shares by these for pixels and degrees."""
BOP_PX = np.arange(1, 11) * 5.0
"""BOP's own thresholds of MSPD, pixels at a picture width of 640."""


@dataclass(frozen=True)
class PoseRecalls:
    """Share of thresholds that a pose meets."""

    mssd: float
    """5..50 % of the object's diameter."""
    mspd: float
    """5..50 % of 200 pixels."""
    rotation: float
    """5..50 % of 40 degrees."""

    @property
    def average(self) -> float:
        """Mean of the three: RHOBIN's AR."""
        return (self.mssd + self.mspd + self.rotation) / 3


def add(pose: ObjectPose, truth: ObjectPose, verts_obj: Any) -> float:
    """ADD: mean distance of corresponding vertices, metres (Hinterstoisser et al., ACCV 2012)."""
    verts = _verts(verts_obj)
    return float(np.linalg.norm(pose.apply(verts) - truth.apply(verts), axis=1).mean())


def add_s(pose: ObjectPose, truth: ObjectPose, verts_obj: Any) -> float:
    """ADD-S: mean distance of each true vertex to the nearest placed one, metres; blind to what looks nearly alike."""
    verts = _verts(verts_obj)
    return float(cKDTree(pose.apply(verts)).query(truth.apply(verts))[0].mean())


def mssd(pose: ObjectPose, truth: ObjectPose, verts_obj: Any, symmetry: Symmetries = None) -> float:
    """MSSD: least over symmetries of the greatest distance of corresponding vertices, metres.

    Args:
        pose: predicted.
        truth: true.
        verts_obj: (V, 3) in the object's frame, whose origin a :class:`Symmetry` turns about, metres.
        symmetry: of the object; None for none. Continuous ones are tried every 5 degrees; motions as they are listed.
    """
    verts = _verts(verts_obj)
    placed = pose.apply(verts)
    turned = [truth.apply(verts @ M[:3, :3].T + M[:3, 3]) for M in _motions(pose, truth, symmetry)]
    return float(min(np.linalg.norm(placed - other, axis=1).max() for other in turned))


def mspd(pose: ObjectPose, truth: ObjectPose, verts_obj: Any, camera: Camera, symmetry: Symmetries = None) -> float:
    """MSPD: least over symmetries of the greatest distance of projected vertices, pixels of this camera.

    Infinite where the predicted object reaches behind the camera: it has no picture there, and is surely wrong.

    Raises:
        InputError: the true object reaches behind the camera.
    """
    verts = _verts(verts_obj)
    turned = [truth.apply(verts @ M[:3, :3].T + M[:3, 3]) for M in _motions(pose, truth, symmetry)]
    if min(v[:, 2].min() for v in turned) <= 0:
        raise InputError("MSPD needs the true object in front of the camera (z > 0): check the frame of the poses")
    if pose.apply(verts)[:, 2].min() <= 0:
        return float("inf")
    placed = camera.project(pose.apply(verts))
    return float(min(np.linalg.norm(placed - camera.project(other), axis=1).max() for other in turned))


def rotation_error(pose: ObjectPose, truth: ObjectPose, symmetry: Symmetries = None) -> float:
    """Least angle between the rotations over the symmetries, degrees."""
    if isinstance(symmetry, np.ndarray):
        turns = _motions(pose, truth, symmetry)[:, :3, :3]
        return min(rotation_error_deg(pose.R, truth.R @ turn) for turn in turns)
    return rotation_error_deg(pose.R, truth.R, symmetry)


def translation_error(pose: ObjectPose, truth: ObjectPose) -> float:
    """Distance of the object frame's origins, metres."""
    return float(np.linalg.norm(pose.t - truth.t))


def scale_ratio(pose: ObjectPose, truth: ObjectPose) -> float:
    """Predicted over true size; 1 is right."""
    return pose.s / truth.s


def diameter(verts_obj: Any) -> float:
    """Greatest distance of two vertices, metres."""
    from scipy.spatial import ConvexHull, QhullError

    verts = _verts(verts_obj)
    try:
        outer = verts[ConvexHull(verts).vertices]
    except QhullError:  # flat or fewer than four points
        outer = verts
    return float(pdist(outer).max()) if len(outer) > 1 else 0.0


def pose_recalls(
    pose: ObjectPose, truth: ObjectPose, verts_obj: Any, camera: Camera, symmetry: Symmetries = None
) -> PoseRecalls:
    """Recalls of RHOBIN's object track; an error must lie below a threshold, equal does not count.

    Args:
        pose: predicted.
        truth: true; the diameter is the placed object's, its scale included.
        verts_obj: (V, 3) in the object's frame, metres.
        camera: for MSPD.
        symmetry: of the object.
    """
    size = truth.s * diameter(verts_obj)
    return PoseRecalls(
        float((mssd(pose, truth, verts_obj, symmetry) < SHARES * size).mean()),
        float((mspd(pose, truth, verts_obj, camera, symmetry) < SHARES * MSPD_PX).mean()),
        float((rotation_error(pose, truth, symmetry) < SHARES * ROTATION_DEG).mean()),
    )


def _motions(pose: ObjectPose, truth: ObjectPose, symmetry: Symmetries) -> FloatArray:
    """(N, 4, 4) motions to try; of a ball the one that undoes the rotation's error."""
    if isinstance(symmetry, np.ndarray):
        listed = as_floats(symmetry, ("S", 4, 4), "motions under which the object looks the same")
        return np.concatenate([np.eye(4)[None], listed])
    if symmetry is None or symmetry.is_trivial:
        return np.eye(4)[None]
    ball = len(symmetry.continuous) == 3
    turns = np.stack([np.eye(3), truth.R.T @ pose.R]) if ball else symmetry.rotations(STEPS)
    motions = np.tile(np.eye(4), (len(turns), 1, 1))
    motions[:, :3, :3] = turns
    return motions


def _verts(verts_obj: Any) -> FloatArray:
    verts = as_floats(verts_obj, ("V", 3), "vertices of the object")
    if len(verts) == 0:
        raise InputError("the object has no vertices")
    return verts
