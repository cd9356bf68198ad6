"""Posing the free body for a scene: named joint rotations, arms by inverse kinematics, fingers closed until they touch.

All in the body's own frame: y up, z to the front, x to the person's left, pelvis near the origin, metres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.body_params import BodyParams
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.body.skeleton import JOINT_NAMES, NUM_JOINTS, ancestors, joint_index

Pose = dict[str, tuple[float, float, float]]
"""Joint name -> rotation vector; joints not named are at rest."""
Distance = Callable[[FloatArray], FloatArray]
"""(N, 3) points of the body frame -> (N,) signed distances to the object, metres."""

FINGERS = ("index", "middle", "pinky", "ring", "thumb")
CURLS = np.linspace(-1.0, 1.5, 16)
"""Angles per finger joint that a closing hand goes through, radians; below zero fingers hardly and the thumb well
gives way backwards."""
FLESH_M = 0.003
"""How far a closing finger may sink in, metres."""

_SIT: Pose = {"left_hip": (-1.45, 0.0, 0.12), "right_hip": (-1.45, 0.0, -0.12), "left_knee": (1.4, 0, 0),
              "right_knee": (1.4, 0, 0)}  # fmt: skip
BASES: Mapping[str, Pose] = {
    "stand": {},
    "sit": _SIT,
    "lunge": {"left_hip": (-0.95, 0, 0.05), "left_knee": (1.05, 0, 0), "right_hip": (0.35, 0, -0.05),
              "right_knee": (0.85, 0, 0), "right_ankle": (0.35, 0, 0)},
    "stride": {"left_hip": (-0.4, 0, 0), "left_knee": (0.25, 0, 0), "right_hip": (0.3, 0, 0),
               "right_knee": (0.25, 0, 0), "spine1": (0.12, 0, 0)},
    "board": {"left_hip": (-0.4, 0.1, 0.3), "right_hip": (-0.4, -0.1, -0.3), "left_knee": (0.65, 0, 0),
              "right_knee": (0.65, 0, 0), "left_ankle": (-0.25, 0, -0.28), "right_ankle": (-0.25, 0, 0.28),
              "spine1": (0.2, 0, 0)},
    "stoop": {"spine1": (0.25, 0, 0), "spine2": (0.2, 0, 0), "left_hip": (-0.25, 0, 0.05),
              "right_hip": (-0.25, 0, -0.05), "left_knee": (0.3, 0, 0), "right_knee": (0.3, 0, 0)},
    "one_leg": {"left_hip": (-0.3, 0, 0), "left_knee": (0.35, 0, 0), "right_hip": (0.25, 0, -0.05),
                "right_knee": (0.6, 0, 0)},
}  # fmt: skip
"""Postures from which scenes start."""
_ARMS: Pose = {"left_shoulder": (0, 0, -1.22), "right_shoulder": (0, 0, 1.22), "left_elbow": (0, -0.25, 0),
               "right_elbow": (0, 0.25, 0)}  # fmt: skip
_LOOSE = ("spine1", "spine2", "neck", "head", "left_hip", "right_hip", "left_knee", "right_knee")


@cache
def body_model() -> BodyModel:
    """The free body in double precision, read once."""
    return load_body(dtype=torch.float64)


@dataclass(frozen=True)
class Palm:
    """One hand in the rest pose."""

    point: FloatArray
    """(3,) skin of the palm towards the fingers, relative to the wrist joint, metres."""
    fingers: FloatArray
    """(3,) direction of the fingers; the palm faces -y."""


@dataclass(frozen=True)
class Reach:
    """Where a hand should be, body frame."""

    point: FloatArray
    """(3,) metres: the palm's skin comes here."""
    facing: FloatArray
    """(3,) unit: direction that the palm faces."""
    across: FloatArray | None = None
    """(3,) unit: a bar that the fingers should lie across, either way round."""


class Figure:
    """A person of some shape whose pose can be changed."""

    def __init__(self, betas: FloatArray, pose: Pose) -> None:
        self.betas = betas
        self.rotvecs = np.zeros((NUM_JOINTS, 3))
        for name, turn in pose.items():
            self.rotvecs[joint_index(name)] = turn
        model = body_model()
        self.rest_joints: FloatArray = model.rest_joints(model.full_betas(torch.tensor(betas)[None]))[0].numpy()
        self._verts: FloatArray | None = None

    @classmethod
    def drawn(cls, base: str, rng: np.random.Generator) -> Figure:
        """A random person in a loosened base posture, arms hanging."""
        betas = np.zeros(body_model().num_betas)
        betas[:4] = 0.7 * rng.standard_normal(min(4, len(betas)))
        figure = cls(betas, {**_ARMS, **BASES[base]})
        for name in _LOOSE:
            figure.rotvecs[joint_index(name)] += 0.05 * rng.standard_normal(3)
        for side in ("left", "right"):
            figure.rotvecs[joint_index(f"{side}_shoulder")] += 0.08 * rng.standard_normal(3)
            figure.curl(side, dict.fromkeys(FINGERS, 0.25))
        return figure

    def params(self) -> BodyParams:
        """As body parameters, root at rest at the origin."""
        v = self.rotvecs
        return BodyParams(self.betas, v[0], v[1:22], v[22:37], v[37:], np.zeros(3), body_model().topology)

    @property
    def verts(self) -> FloatArray:
        """(V, 3) posed vertices, body frame; kept until :meth:`moved`."""
        if self._verts is None:
            self._verts = body_model().pose(self.params()).verts
        return self._verts

    def moved(self) -> None:
        """Say that joints were turned."""
        self._verts = None

    def curl(self, side: str, angles: Mapping[str, float]) -> None:
        """Set the fingers of a hand to angles per joint, radians."""
        self.rotvecs[_hand_joints(side)] = _curled(side, angles)
        self.moved()

    def frame(self, joint: int) -> tuple[FloatArray, FloatArray]:
        """Rotation and position of a joint in the body frame."""
        R, t = np.eye(3), np.zeros(3)
        for j in reversed(ancestors(joint)):
            parent = ancestors(j)[1] if j else None
            t = t + R @ (self.rest_joints[j] - (self.rest_joints[parent] if parent is not None else 0.0))
            R = R @ rotation(self.rotvecs[j])
        return R, t

    # ------------------------------------------------------------------------------------------------------- arms
    def reach(self, side: str, goal: Reach, again: bool = False) -> float:
        """Turn shoulder, elbow and wrist so that the palm comes to the goal; metres by which it misses.

        Args:
            side: ``left`` or ``right``.
            goal: where to.
            again: start from where the arm is, for a small correction.
        """
        from scipy.optimize import least_squares

        residual, starts = self._arm_problem(side, goal), _arm_starts(side)
        if again:
            starts = [self._arm_now(side)]
        found = [
            least_squares(residual, np.clip(s, *_limits()), args=(s,), bounds=_limits(), max_nfev=18, xtol=1e-4)
            for s in starts
        ]
        best = min(found, key=lambda r: float(r.cost))
        self._set_arm(side, best.x)
        return float(np.linalg.norm(residual(best.x, best.x)[:3])) / 30

    def _arm_problem(self, side: str, goal: Reach) -> Callable[[FloatArray, FloatArray], FloatArray]:
        shoulder, elbow, wrist = (joint_index(f"{side}_{n}") for n in ("shoulder", "elbow", "wrist"))
        rest, palm, g = self.rest_joints, palm_of(side), _sign(side)
        R0, t0 = self.frame(ancestors(shoulder)[1])
        start = R0 @ (rest[shoulder] - rest[ancestors(shoulder)[1]]) + t0
        upper, lower = rest[elbow] - rest[shoulder], rest[wrist] - rest[elbow]

        def residual(x: FloatArray, x0: FloatArray) -> FloatArray:
            R1 = R0 @ rotation(x[:3])
            R2 = R1 @ rotation(np.array([0, -g * x[3], 0]))
            R3 = R2 @ rotation(x[4:7])
            at = start + R1 @ upper + R2 @ lower + R3 @ palm.point
            miss = 0.0 if goal.across is None else 0.8 * float((R3 @ palm.fingers) @ goal.across)
            elbow_in = 8.0 * min(g * float((start + R1 @ upper)[0]) - 0.16, 0.0)  # elbows stay out of the ribs
            stay = [*(0.1 * (x[:3] - x0[:3])), 0.05 * (x[3] - 0.8), 0.12 * x[4], 0.4 * x[5], 0.25 * x[6]]
            return np.array([*((at - goal.point) * 30), *(-R3[:, 1] - goal.facing), miss, elbow_in, *stay])

        return residual

    def _arm_now(self, side: str) -> FloatArray:
        shoulder, elbow, wrist = (self.rotvecs[joint_index(f"{side}_{n}")] for n in ("shoulder", "elbow", "wrist"))
        return np.array([*shoulder, -_sign(side) * elbow[1], *wrist])

    def _set_arm(self, side: str, x: FloatArray) -> None:
        turns = {"shoulder": x[:3], "elbow": np.array([0, -_sign(side) * x[3], 0]), "wrist": x[4:7]}
        for name, turn in turns.items():
            self.rotvecs[joint_index(f"{side}_{name}")] = turn
        self.moved()

    # ----------------------------------------------------------------------------------------------------- fingers
    def close_hand(self, side: str, distance: Distance, loose: float) -> None:
        """Close each finger until it meets the object; fingers that never meet it stay ``loose`` (radians)."""
        model, parts = body_model(), body_model().parts
        names = [f"{side}_{f}" if f == "thumb" else f"{side}_{f}_finger" for f in FINGERS]
        verts = [parts.verts_of(n) for n in names]
        rotvecs = np.repeat(self.rotvecs[None], len(CURLS), axis=0)
        rotvecs[:, _hand_joints(side)] = [_curled(side, dict.fromkeys(FINGERS, float(a))) for a in CURLS]
        turns = torch.tensor(np.stack([[rotation(v) for v in row] for row in rotvecs]))
        with torch.no_grad():
            posed = model.forward_rotations(turns, torch.tensor(self.betas)[None], None, np.concatenate(verts)).verts
        depth = distance(posed.numpy().reshape(-1, 3)).reshape(len(CURLS), -1)
        ends = np.cumsum([0, *(len(v) for v in verts)])
        angles = {f: _stop(depth[:, a:b].min(1), loose) for f, a, b in zip(FINGERS, ends[:-1], ends[1:], strict=True)}
        self.curl(side, angles)


def _stop(clearance: FloatArray, loose: float) -> float:
    """The last angle before a finger sinks in."""
    blocked = np.flatnonzero(clearance < -FLESH_M)
    if len(blocked) == 0:
        return loose
    return float(CURLS[max(int(blocked[0]) - 1, 0)])


@cache
def palm_of(side: str) -> Palm:
    """Where the palm is on the mean body at rest."""
    model = body_model()
    ids = model.parts.verts_of(f"{side}_palm")
    rest, joints = model.rest_verts, model.joint_template.numpy()
    wrist, knuckle = joints[joint_index(f"{side}_wrist")], joints[joint_index(f"{side}_middle1")]
    point = 0.3 * wrist + 0.7 * knuckle
    point[1] = np.quantile(rest[ids, 1], 0.25)
    return Palm(point - wrist, np.array([_sign(side), 0.0, 0.0]))


def hand_verts(side: str) -> IntArray:
    """Vertices of palm and fingers."""
    return body_model().parts.verts_of(f"{side}_palm", f"{side}_fingers")


def rotation(rotvec: FloatArray) -> FloatArray:
    """(3, 3) rotation of a rotation vector."""
    x, y, z = (float(v) for v in rotvec)
    angle = float(np.sqrt(x * x + y * y + z * z))
    if angle < 1e-9:
        return np.eye(3)
    s, c = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + s * K + c * (K @ K))


def _sign(side: str) -> float:
    return 1.0 if side == "left" else -1.0


def _hand_joints(side: str) -> list[int]:
    return [i for i, n in enumerate(JOINT_NAMES) if i >= 22 and n.startswith(side)]


def _curled(side: str, angles: Mapping[str, float]) -> FloatArray:
    """(15, 3) rotation vectors of a hand whose fingers are bent by an angle per joint."""
    g, rows = _sign(side), []
    for joint in _hand_joints(side):
        finger, number = JOINT_NAMES[joint].removeprefix(f"{side}_")[:-1], JOINT_NAMES[joint][-1]
        a = angles[finger]
        if finger == "thumb":
            bent = (0.3 * a, -0.4 * g * a, 0.0) if a > 0 else (0.9 * a, 0.0, 0.0)
            rows.append(bent if number == "1" else (0.0, -0.35 * g * max(a, 0.0), 0.0))
        else:
            rows.append((0.0, 0.0, -g * max(a, 0.2 * a)))
    return np.array(rows)


def _arm_starts(side: str) -> list[FloatArray]:
    g = _sign(side)
    rows = ([0, -0.9 * g, -0.6 * g, 0.8, 0, 0, 0], [0, 0, -1.2 * g, 0.6, 0, 0, 0], [0, -0.5 * g, 0.7 * g, 0.8, 0, 0, 0],
            [0.6, -0.3 * g, -1.1 * g, 0.3, 0.6, 0, 0], [-0.6, -0.3 * g, -1.1 * g, 0.3, -0.6, 0, 0])  # fmt: skip
    return [np.array(row) for row in rows]


def _limits() -> tuple[list[float], list[float]]:
    return [-3.0] * 3 + [0.02, -1.6, -0.5, -1.2], [3.0] * 3 + [2.4, 1.6, 0.5, 1.2]
