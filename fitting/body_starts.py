"""Starts of a body fit: several guesses of facing and pose, so that one of them lies in the right valley.

From 3D landmarks the torso is turned by Procrustes (Kabsch 1976) and each limb laid along its observed bones, bent at
the hinge. A second start has depth mirrored, as a flat picture cannot tell the two apart (Necker's cube); the others
are the usual pose turned about the vertical. Translation follows in closed form from the 2D landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.camera import Camera
from hoirecon.data.body.jacobian import BodyPoints, points_at
from hoirecon.data.body.skeleton import BODY_JOINT_NAMES, PARENTS, joint_index
from hoirecon.data.body.state import BodyState
from hoirecon.fitting.body_angles import rotations_of
from hoirecon.fitting.body_evidence import TORSO, Evidence
from hoirecon.fitting.body_state import NUM_MOVED, FitState
from hoirecon.fitting.pose_prior import PosePrior

UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""Root rotation of a person who stands upright and faces the camera (the body's y is up, the camera's y down)."""
PLAUSIBLE = 1.5
"""Factor by which two closed forms of a start's depth may differ. On tuning photographs' true landmarks the one by
spread is within .84 and 1.45 of the truth; the one by least squares is off by up to ten times (scripts not kept)."""
NEAREST_M, FARTHEST_M = 0.3, 100.0
"""Depths of starts, metres."""


@dataclass(frozen=True)
class Limb:
    """Two bones with a hinge between them."""

    top: str
    """Joint at the upper end: shoulder or hip."""
    hinge: str
    """Elbow or knee."""
    points: tuple[str, str, str]
    """Landmarks at upper end, hinge and lower end."""
    bone: tuple[float, float, float]
    """Rest direction of both bones."""
    axis: tuple[float, float, float]
    """Rest direction of the hinge's axis; a positive turn about it bends."""


LIMBS = (
    Limb("left_shoulder", "left_elbow", ("left_shoulder", "left_elbow", "left_wrist"), (1, 0, 0), (0, -1, 0)),
    Limb("right_shoulder", "right_elbow", ("right_shoulder", "right_elbow", "right_wrist"), (-1, 0, 0), (0, 1, 0)),
    Limb("left_hip", "left_knee", ("left_hip", "left_knee", "left_ankle"), (0, -1, 0), (1, 0, 0)),
    Limb("right_hip", "right_knee", ("right_hip", "right_knee", "right_ankle"), (0, -1, 0), (1, 0, 0)),
)


def make_starts(
    evidence: Evidence,
    points: BodyPoints,
    camera: Camera,
    prior: PosePrior,
    hands: Tensor,
    yaw_starts: int,
    betas: Tensor,
) -> tuple[FitState, list[str]]:
    """A batch of starts and what each is called.

    Args:
        evidence: landmarks.
        points: the same landmarks on the model.
        camera: intrinsics.
        prior: gives the usual pose.
        hands: (30, 3, 3) finger rotations.
        yaw_starts: number of turns of the usual pose.
        betas: (NB,) shape to start from.
    """
    usual = rotations_of(prior.usual.view(NUM_MOVED - 1, 3), prior.twist_axis).double().cpu().numpy()
    facing = UPRIGHT
    poses: dict[str, FloatArray] = {}
    if evidence.xyz is not None:
        rest = _rest_landmarks(points, usual, hands, betas)
        for name, flip in (("detector's 3D", 1.0), ("mirrored depth", -1.0)):
            xyz = evidence.xyz * [1.0, 1.0, flip]
            root = torso_rotation(rest, xyz, evidence)
            poses[name] = np.concatenate([root[None], lay_limbs(usual, root, xyz, evidence)])
            facing = root if flip > 0 else facing
    for k in range(yaw_starts):
        turn = 2 * np.pi * k / yaw_starts
        poses[f"turned by {np.degrees(turn):.0f} deg"] = np.concatenate([(facing @ _yaw(turn))[None], usual])
    return _place(poses, evidence, points, camera, hands, betas), list(poses)


def torso_rotation(rest: FloatArray, xyz: FloatArray, evidence: Evidence) -> FloatArray:
    """(3, 3) rotation that best carries the model's torso landmarks to the observed ones."""
    from scipy.spatial.transform import Rotation

    rows = [evidence.index(n) for n in TORSO]
    a, b = rest[rows] - rest[rows].mean(axis=0), xyz[rows] - xyz[rows].mean(axis=0)
    root: FloatArray = Rotation.align_vectors(b, a)[0].as_matrix()
    return root


def lay_limbs(usual: FloatArray, root: FloatArray, xyz: FloatArray, evidence: Evidence) -> FloatArray:
    """(21, 3, 3) the usual pose with arms and legs along the observed bones, those only guessed included."""
    pose = usual.copy()
    for limb in LIMBS:
        upper_joint, hinge_joint = joint_index(limb.top) - 1, joint_index(limb.hinge) - 1
        a, b, c = (xyz[evidence.index(n)] for n in limb.points)
        upper, lower = _unit(b - a), _unit(c - b)
        above = _world(pose, root, PARENTS[upper_joint + 1])
        frame = _hinge_frame(above, upper, lower, limb)
        pose[upper_joint] = above.T @ frame
        angle = np.arccos(np.clip(upper @ lower, -1, 1))
        pose[hinge_joint] = _turn(np.array(limb.axis) * angle)
    return pose


def _hinge_frame(above: FloatArray, upper: FloatArray, lower: FloatArray, limb: Limb) -> FloatArray:
    """World rotation of the upper bone: along ``upper``, its hinge axis across both bones."""
    bone, axis = np.array(limb.bone, float), np.array(limb.axis, float)
    across = np.cross(upper, lower)
    straight = above @ _turn_onto(bone, above.T @ upper)
    if np.linalg.norm(across) < 0.3:  # bent by less than 17 degrees: the hinge's axis is not seen
        return straight
    across = _unit(across)
    rest_frame = np.stack([bone, axis, np.cross(bone, axis)], axis=1)
    seen_frame = np.stack([upper, across, np.cross(upper, across)], axis=1)
    frame: FloatArray = seen_frame @ rest_frame.T
    return frame


def _place(
    poses: Mapping[str, FloatArray],
    evidence: Evidence,
    points: BodyPoints,
    camera: Camera,
    hands: Tensor,
    betas: Tensor,
) -> FitState:
    """Stack poses (22, 3, 3) and put each where its landmarks fall best on the observed ones."""
    moved = torch.as_tensor(np.stack(list(poses.values()))).to(hands)
    rotations = torch.cat([moved, hands.expand(len(moved), -1, -1, -1)], dim=1)
    batch = len(moved)
    at_origin = BodyState(rotations, betas.expand(batch, -1).contiguous(), hands.new_zeros(batch, 3))
    landmarks = points_at(points, at_origin).double().cpu().numpy()
    transl = np.stack([place_by_pixels(p, evidence, camera) for p in landmarks])
    body = BodyState(rotations, at_origin.betas, torch.as_tensor(transl).to(hands))
    return FitState(body, hands.new_zeros(batch))


def place_by_pixels(points: FloatArray, evidence: Evidence, camera: Camera) -> FloatArray:
    """(3,) translation that brings points (L, 3) onto their pixels: linear least squares in x, y and z.

    ``f (X + tx) = (u - cx) (Z + tz)`` is linear in t. The smallest such error is not the smallest in pixels: where few
    landmarks are seen, or the pose is wrong, it may come to lie far too near. Depths that are not within
    :data:`PLAUSIBLE` of what the landmarks' spread says (weak perspective) give way to that.
    """
    w = np.sqrt(evidence.trust_2d)
    rays = (evidence.xy - camera.K[:2, 2]) / np.diag(camera.K)[:2]
    rows = np.zeros((len(points), 2, 3))
    rows[:, 0, 0] = rows[:, 1, 1] = 1
    rows[:, :, 2] = -rays
    right = rays * points[:, 2:] - points[:, :2]
    solution = np.linalg.lstsq((rows * w[:, None, None]).reshape(-1, 3), (right * w[:, None]).reshape(-1), rcond=None)
    share = evidence.trust_2d / evidence.trust_2d.sum()
    centre, spread = float(share @ points[:, 2]), _depth_by_spread(points[:, :2], rays, share)
    depth = float(solution[0][2])
    if not spread / PLAUSIBLE < depth + centre < spread * PLAUSIBLE:
        depth = spread - centre
    depth = float(np.clip(depth, NEAREST_M, FARTHEST_M))
    middle = share @ (rays * (points[:, 2:] + depth) - points[:, :2])
    return np.array([middle[0], middle[1], depth])


def _depth_by_spread(flat: FloatArray, rays: FloatArray, share: FloatArray) -> float:
    """Depth at which points (L, 2) in metres spread as far as their rays (L, 2), both about their weighted means."""
    size, seen = (float(share @ np.square(a - share @ a).sum(1)) for a in (flat, rays))
    return float(np.sqrt(size / max(seen, 1e-12)))


def _rest_landmarks(points: BodyPoints, usual: FloatArray, hands: Tensor, betas: Tensor) -> FloatArray:
    pose = torch.as_tensor(np.concatenate([np.eye(3)[None], usual])).to(hands)
    state = BodyState(torch.cat([pose, hands])[None], betas[None], hands.new_zeros(1, 3))
    at: FloatArray = points_at(points, state)[0].double().cpu().numpy()
    return at


def _world(pose: FloatArray, root: FloatArray, joint: int) -> FloatArray:
    """World rotation of a joint (an index with the root at 0)."""
    R: FloatArray = np.eye(3)
    while joint > 0:
        R = pose[joint - 1] @ R
        joint = PARENTS[joint]
    return np.asarray(root @ R)


def _yaw(angle: float) -> FloatArray:
    """Turn about the body's own vertical."""
    return _turn(np.array([0.0, angle, 0.0]))


def _turn(rotvec: FloatArray) -> FloatArray:
    from scipy.spatial.transform import Rotation

    R: FloatArray = Rotation.from_rotvec(rotvec).as_matrix()
    return R


def _turn_onto(a: FloatArray, b: FloatArray) -> FloatArray:
    """Shortest rotation that carries the unit vector a to b."""
    axis = np.cross(a, b)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        across = np.cross(a, np.roll(a, 1))  # any axis across a: rest bones lie along the axes
        return np.eye(3) if a @ b > 0 else _turn(np.pi * _unit(across))
    return _turn(axis / sine * np.arctan2(sine, a @ b))


def _unit(v: FloatArray) -> FloatArray:
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))


assert len(BODY_JOINT_NAMES) == NUM_MOVED
