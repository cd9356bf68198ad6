"""How people's joints can bend and how they usually do: ranges and a Gaussian, both of our own making.

Ranges are rounded from textbook tables of active motion (AAOS, "Joint Motion: Method of Measuring and Recording",
1965; Norkin and White, "Measurement of Joint Motion"; Kapandji, "The Physiology of the Joints") and divided among the
joints that the skeleton has for them (three spine joints, neck and head, elbow and wrist for the forearm's rotation).
The means and sigmas of the Gaussian are our judgement of everyday poses; no pose data set was used.

All angles are swing-twist angles (:mod:`hoirecon.fitting.body_angles`) about the axes of the T-pose: x to the body's
left, y up, z to the front. Values stand for the left side; the right side is their mirror image (y and z change sign).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hoirecon.fitting.body_angles import joint_angles

BODY_JOINTS = (
    "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3",
    "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
"""The 21 body joints of the SMPL family after the root, in order."""

_AXES = "xyz"


@dataclass(frozen=True)
class JointRange:
    """One joint of the left side or the middle: per axis x, y, z (least, usual, most, spread) in degrees."""

    twist: str
    """Axis of the bone at rest."""
    x: tuple[float, float, float, float]
    y: tuple[float, float, float, float]
    z: tuple[float, float, float, float]


RANGES = {
    # x > 0 bends forward (spine, head), so hips flex with x < 0 and knees with x > 0; y turns to the left;
    # z > 0 raises the left arm, moves the left leg outwards, tilts the spine to the right.
    "spine1": JointRange("y", x=(-13, 2, 35, 9), y=(-10, 0, 10, 5), z=(-14, 0, 14, 5)),
    "spine2": JointRange("y", x=(-12, 2, 30, 8), y=(-15, 0, 15, 6), z=(-13, 0, 13, 5)),
    "spine3": JointRange("y", x=(-10, 2, 25, 7), y=(-20, 0, 20, 7), z=(-12, 0, 12, 5)),
    "neck": JointRange("y", x=(-30, 8, 30, 10), y=(-35, 0, 35, 12), z=(-22, 0, 22, 8)),
    "head": JointRange("y", x=(-30, 0, 25, 10), y=(-40, 0, 40, 14), z=(-20, 0, 20, 7)),
    "hip": JointRange("y", x=(-125, -12, 25, 40), y=(-45, 0, 45, 15), z=(-28, 3, 50, 14)),
    "knee": JointRange("y", x=(-2, 15, 150, 45), y=(-25, 0, 25, 9), z=(-8, 0, 8, 3)),
    "ankle": JointRange("y", x=(-28, 0, 50, 14), y=(-20, 0, 20, 9), z=(-22, 0, 22, 9)),
    "foot": JointRange("z", x=(-60, 0, 35, 10), y=(-6, 0, 6, 3), z=(-6, 0, 6, 3)),
    "collar": JointRange("x", x=(-20, 0, 20, 7), y=(-25, 0, 20, 10), z=(-12, 0, 38, 10)),
    # Twist > 0 turns the upper arm inwards. Horizontally the arm reaches far across the chest, little behind it.
    "shoulder": JointRange("x", x=(-95, 0, 85, 35), y=(-135, -20, 45, 40), z=(-98, -50, 100, 40)),
    # Forearm rotation (80 degrees either way from thumb-forward) is shared by elbow and wrist.
    "elbow": JointRange("x", x=(-45, 0, 45, 20), y=(-150, -30, 2, 45), z=(-8, 0, 8, 4)),
    "wrist": JointRange("x", x=(-45, 0, 45, 15), y=(-24, 0, 38, 11), z=(-80, 0, 70, 20)),
}
"""Range, usual value and spread by joint."""

COUPLED = (
    # (joint, axes, factor, other joint, sigma in degrees): joint - factor * other is small.
    ("spine1", "xyz", 1.0, "spine2", 5.0),
    ("spine2", "xyz", 1.0, "spine3", 5.0),
    ("head", "xyz", 1.0, "neck", 9.0),
    # The shoulder blade gives about a third of the arm's elevation (Inman, Saunders and Abbott, 1944).
    ("collar", "z", 0.28, "shoulder", 8.0),
    ("collar", "y", 0.12, "shoulder", 8.0),
    ("wrist", "x", 1.0, "elbow", 15.0),
)
"""Joints that move together."""

STANDING = {"hip": -6.0, "knee": 6.0}
"""Usual flexion (x, degrees) of unseen legs of somebody who stands."""
SITTING = {"hip": -85.0, "knee": 85.0}
"""Usual flexion (x, degrees) of unseen legs of somebody who sits."""


@dataclass(frozen=True)
class PosePrior:
    """Ranges of the 63 angles and a Gaussian on linear combinations of them: ``(A angles - mean) / sigma``."""

    twist_axis: Tensor
    """(21,) axis of each joint's twist."""
    low: Tensor
    """(63,) least angle, radians, joint by joint in x, y, z order."""
    high: Tensor
    """(63,) most."""
    usual: Tensor
    """(63,) usual angle."""
    A: Tensor
    """(N, 63) combinations: the angles themselves first, then the couplings."""
    mean: Tensor
    """(N,) radians."""
    sigma: Tensor
    """(N,) radians."""

    def to(self, like: Tensor) -> PosePrior:
        """The same with dtype and device of a tensor."""
        moved = [t.to(like) for t in (self.low, self.high, self.usual, self.A, self.mean, self.sigma)]
        return PosePrior(self.twist_axis.to(like.device), *moved)

    def holding(self, rotations: Tensor) -> PosePrior:
        """The same with ranges as wide as a pose needs that came in: what it did already is no sign of an error.

        Bodies from elsewhere turn the whole forearm at the wrist, where our ranges share it with the elbow, or reach
        farther than the tables' mean person.

        Args:
            rotations: (1, 52, 3, 3) of that pose, root first.
        """
        body = rotations[0, 1 : len(BODY_JOINTS) + 1]
        angles = joint_angles(body, self.twist_axis)[0].flatten().to(self.low)
        return replace(self, low=torch.minimum(self.low, angles), high=torch.maximum(self.high, angles))


def pose_prior(legs: dict[str, float] | None = None) -> PosePrior:
    """Our prior of everyday poses.

    Args:
        legs: other usual flexions of hip and knee, :data:`STANDING` or :data:`SITTING`, with the spread of unseen
            legs (a third of the usual one, so that they stay near it).
    """
    table = torch.tensor([_rows(name) for name in BODY_JOINTS], dtype=torch.float64)  # (21, 3, 4)
    for name, degrees in (legs or {}).items():
        for side in ("left", "right"):
            row = table[BODY_JOINTS.index(f"{side}_{name}"), 0]
            row[1], row[3] = degrees, row[3] / 3
    low, usual, high, sigma = torch.deg2rad(table).flatten(0, 1).unbind(-1)
    couplings, coupling_sigma = _couplings()
    A = torch.cat([torch.eye(63, dtype=torch.float64), couplings])
    mean = torch.cat([usual, torch.zeros(len(couplings), dtype=torch.float64)])
    axis = torch.tensor([_AXES.index(RANGES[_base(name)].twist) for name in BODY_JOINTS])
    return PosePrior(axis, low, high, usual, A, mean, torch.cat([sigma, coupling_sigma]))


def _base(name: str) -> str:
    return name.split("_")[-1]


def _rows(name: str) -> list[tuple[float, float, float, float]]:
    """(least, usual, most, spread) per axis, mirrored for the right side."""
    joint = RANGES[_base(name)]
    if not name.startswith("right_"):
        return [joint.x, joint.y, joint.z]
    return [joint.x, *((-most, -usual, -least, spread) for least, usual, most, spread in (joint.y, joint.z))]


def _couplings() -> tuple[Tensor, Tensor]:
    rows, sigmas = [], []
    for first, axes, factor, second, sigma in COUPLED:
        for prefix in ("left_", "right_") if f"left_{first}" in BODY_JOINTS else ("",):
            for axis in axes:
                row = torch.zeros(63, dtype=torch.float64)
                row[angle_index(prefix + first, axis)] = 1.0
                row[angle_index(prefix + second, axis)] = -factor
                rows.append(row)
                sigmas.append(sigma)
    return torch.stack(rows), torch.deg2rad(torch.tensor(sigmas, dtype=torch.float64))


def angle_index(joint: str, axis: str) -> int:
    """Place of a joint's angle among the 63.

    Example:
        >>> angle_index("left_knee", "x")
        9
    """
    return 3 * BODY_JOINTS.index(joint) + _AXES.index(axis)
