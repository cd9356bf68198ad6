"""How fingers can bend, for joint fits in which touching hands close on what they hold.

Fingers are hinges: they flex, hardly twist, and spread at the knuckle only. Ranges are rounded from textbook tables of
active motion (Norkin and White, "Measurement of Joint Motion"); that the last joint follows the middle one is the
tendon's doing (Rijpkema and Girard, "Computer animation of knowledge-based human grasping", 1991: two thirds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from hoirecon.data.body.state import BodyState, rotvec_jacobian
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.objective import Residuals

HANDS = {"left": tuple(range(22, 37)), "right": tuple(range(37, 52))}
"""Finger joints of each hand: three for index, middle, pinky, ring and thumb, from the knuckle outwards."""
FLEXION = ((-20.0, 90.0), (0.0, 105.0), (-5.0, 80.0))
"""Least and most flexion of the three joints of a finger, degrees."""
SPREAD = (4.0, 1.0, 1.0)
"""How far each joint usually goes sideways, one sigma, degrees."""
TWIST = 1.5
"""How far it usually turns about its own axis, one sigma, degrees."""
FOLLOWS = 2 / 3
"""The last joint flexes so much of the middle one."""
FOLLOWS_SIGMA = 15.0
THUMB = ((-15.0, 40.0), (-50.0, 20.0), (-15.0, 15.0))
"""Range of the thumb's rotation vector (left hand) about x, y and z, degrees."""


def side_of(joint: int) -> str:
    """``left`` or ``right``."""
    return "left" if joint in HANDS["left"] else "right"


def is_thumb(joint: int) -> bool:
    """Whether a finger joint is the thumb's."""
    return (joint - 22) % 15 >= 12


@dataclass(frozen=True)
class FingerRange:
    """Free finger joints stay hinges within their range; the last joint follows the middle one."""

    index: int
    """Which body."""
    at: BodyState | None = None
    """Body, a batch of one, near whose fingers these stay, as they are closed before they are freed; or None."""
    near: float = math.radians(8)
    """How far a joint may turn from there, one sigma, radians."""
    sigma: float = math.radians(4)
    """How far beyond its range costs one unit, radians."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "finger range"

    def residuals(self, view: JointView) -> Residuals:
        """(B, F, 7): beyond the range of flexion, sideways, twist, last joint after the middle one (thumbs: x, y, z);
        turned from where they were."""
        body, layout = view.state.bodies[self.index], view.state.layout
        free = layout.free[self.index]
        joints = [j for j in free.joints if j >= 22]
        if not joints:
            nothing = body.transl.new_zeros(len(body.transl), 1, 7)
            return Residuals(nothing, nothing.new_zeros(*nothing.shape, layout.size), nothing[..., 0], 1.0, "ratio")
        vectors = roma.rotmat_to_rotvec(body.rotations[:, joints])
        r, slope = self._of_vectors(vectors, joints)
        was = body.rotations[:, joints].detach() if self.at is None else self.at.rotations[:, joints]
        moved = roma.rotmat_to_rotvec(was.mT @ body.rotations[:, joints]) / self.near
        r = torch.cat([r, moved * (self.at is not None)], 2)
        J = r.new_zeros(*r.shape, free.size)
        turn, away = rotvec_jacobian(vectors), rotvec_jacobian(moved * self.near) / self.near
        for m, joint in enumerate(joints):
            for n in (m, m - 1):
                if n >= 0 and bool(slope[:, m, :, n].any()):
                    J[:, m, :4, free.joint_columns(joints[n])] = slope[:, m, :, n] @ turn[:, n]
            if self.at is not None:
                J[:, m, 4:, free.joint_columns(joint)] = away[:, m]
        return Residuals(r, layout.widen(J, layout.of_body(self.index)), torch.ones_like(r[..., 0]), 1.0, "ratio")

    def _of_vectors(self, vectors: Tensor, joints: list[int]) -> tuple[Tensor, Tensor]:
        """Residuals (B, F, 4) and their derivative (B, F, 4, F, 3) by the rotation vectors (B, F, 3)."""
        count = len(joints)
        r, slope = vectors.new_zeros(len(vectors), count, 4), vectors.new_zeros(len(vectors), count, 4, count, 3)
        for m, joint in enumerate(joints):
            sign = vectors.new_tensor([1.0, 1.0, 1.0] if side_of(joint) == "left" else [1.0, -1.0, -1.0])
            x, y, z = (vectors[:, m] * sign).unbind(-1)
            link = (joint - 22) % 3
            if is_thumb(joint):
                for a, (value, (low, high)) in enumerate(zip((x, y, z), THUMB, strict=True)):
                    r[:, m, a], over = self._beyond(value, low, high)
                    slope[:, m, a, m, a] = over * sign[a]
                continue
            r[:, m, 0], over = self._beyond(-z, *FLEXION[link])
            slope[:, m, 0, m, 2] = -over * sign[2]
            for column, (value, degrees, axis) in enumerate(((y, SPREAD[link], 1), (x, TWIST, 0)), start=1):
                r[:, m, column] = value / math.radians(degrees)
                slope[:, m, column, m, axis] = sign[axis] / math.radians(degrees)
            if link == 2 and joint - 1 in joints:
                middle, unit = joints.index(joint - 1), math.radians(FOLLOWS_SIGMA)
                r[:, m, 3] = (-z + FOLLOWS * sign[2] * vectors[:, middle, 2]) / unit
                slope[:, m, 3, m, 2], slope[:, m, 3, middle, 2] = -sign[2] / unit, FOLLOWS * sign[2] / unit
        return r, slope

    def _beyond(self, value: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
        """How far values lie beyond a range in degrees, in sigmas, and the derivative."""
        over = (value - math.radians(high)).clamp_min(0) - (math.radians(low) - value).clamp_min(0)
        return over / self.sigma, (over != 0).to(value.dtype) / self.sigma
