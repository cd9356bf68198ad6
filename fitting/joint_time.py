"""Terms between frames of a video: an object or a person hardly moves, or moves evenly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from hoirecon.data.body.state import rotvec_jacobian
from hoirecon.fitting.joint_state import turn_and_shift_rows
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.objective import Residuals


@dataclass(frozen=True)
class SamePose:
    """Two blocks are one object in two frames of a video: it hardly turns, moves or changes size between them."""

    first: int
    second: int
    turn_sigma: float = math.radians(5)
    """Radians."""
    shift_sigma: float = 0.03
    """Metres."""
    scale_sigma: float = 0.002
    """Of log scale: a thing keeps its size."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "temporal link"

    def residuals(self, view: JointView) -> Residuals:
        """(B, 7, 1): with phi = log(R_b R_a^T), d phi = Jr^-1(-phi) omega_b - Jr^-1(phi) omega_a."""
        a, b, layout = view.state.objects[self.first], view.state.objects[self.second], view.state.layout
        phi: Tensor = roma.rotmat_to_rotvec(b.R @ a.R.mT)
        sizes = [self.turn_sigma] * 3 + [self.shift_sigma] * 3 + [self.scale_sigma]
        unit = phi.new_tensor(sizes)
        r = torch.cat([phi, b.t - a.t, (b.log_s - a.log_s)[:, None]], 1) / unit
        both = [torch.eye(7, dtype=r.dtype, device=r.device).repeat(len(r), 1, 1) for _ in range(2)]
        both[0][:, :3, :3], both[1][:, :3, :3] = rotvec_jacobian(phi), rotvec_jacobian(-phi)
        J = layout.widen(both[1], layout.of_object(self.second)) - layout.widen(both[0], layout.of_object(self.first))
        return Residuals(r[..., None], (J / unit[:, None])[:, :, None], torch.ones_like(r), 1.0, "ratio")


@dataclass(frozen=True)
class SteadyPose:
    """Two blocks are one person in two frames of a video: joints hardly turn, the body hardly moves between them."""

    first: int
    second: int
    turn_sigma: float = math.radians(6)
    """Of each joint, radians."""
    shift_sigma: float = 0.03
    """Metres."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "steady pose"

    def residuals(self, view: JointView) -> Residuals:
        """(B, M + 1, 3): one sample per joint that is free in both, and one of the translation."""
        a, b, layout = view.state.bodies[self.first], view.state.bodies[self.second], view.state.layout
        free = (layout.free[self.first], layout.free[self.second])
        joints = [j for j in free[0].joints if j in free[1].joints]
        phi: Tensor = roma.rotmat_to_rotvec(a.rotations[:, joints].mT @ b.rotations[:, joints])
        r = torch.cat([phi / self.turn_sigma, (b.transl - a.transl)[:, None] / self.shift_sigma], 1)
        total = r.new_zeros(*r.shape, layout.size)
        eye = torch.eye(3, dtype=r.dtype, device=r.device)
        slopes = ((-1.0, rotvec_jacobian(-phi), free[0], self.first), (1.0, rotvec_jacobian(phi), free[1], self.second))
        for sign, slope, own, index in slopes:
            J = turn_and_shift_rows(own, joints, sign * slope / self.turn_sigma, sign * eye / self.shift_sigma)
            total = total + layout.widen(J, layout.of_body(index))
        return Residuals(r, total, torch.ones_like(r[..., 0]), 1.0, "ratio")


@dataclass(frozen=True)
class EvenMotion:
    """Three blocks are one object in three frames: it turns and shifts about as far in both steps."""

    first: int
    second: int
    third: int
    turn_sigma: float = math.radians(4)
    """Change of the turn per frame, radians."""
    shift_sigma: float = 0.02
    """Change of the shift per frame, metres."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "even motion"

    def residuals(self, view: JointView) -> Residuals:
        """(B, 2, 3): log(R_c R_b^T) - log(R_b R_a^T), and t_a - 2 t_b + t_c."""
        a, b, c = (view.state.objects[k] for k in (self.first, self.second, self.third))
        phi = [_log(y.R @ x.R.mT) for x, y in ((a, b), (b, c))]
        r = torch.stack([(phi[1] - phi[0]) / self.turn_sigma, (a.t - 2 * b.t + c.t) / self.shift_sigma], 1)
        layout = view.state.layout
        # d log(R_y R_x^T) = Jr^-1(-phi) omega_y - Jr^-1(phi) omega_x for turns from the left
        turns = (
            rotvec_jacobian(phi[0]),
            -rotvec_jacobian(-phi[0]) - rotvec_jacobian(phi[1]),
            rotvec_jacobian(-phi[1]),
        )
        J = r.new_zeros(*r.shape, layout.size)
        for index, turn, shift in zip((self.first, self.second, self.third), turns, (1.0, -2.0, 1.0), strict=True):
            own = r.new_zeros(*r.shape, 7)
            own[:, 0, :, :3] = turn / self.turn_sigma
            own[:, 1, :, 3:6] = shift / self.shift_sigma * torch.eye(3, dtype=r.dtype, device=r.device)
            J = J + layout.widen(own, layout.of_object(index))
        return Residuals(r, J, torch.ones_like(r[..., 0]), 1.0, "ratio")


@dataclass(frozen=True)
class EvenPose:
    """Three blocks are one person in three frames: joints turn, and the body shifts, about as far in both steps."""

    first: int
    second: int
    third: int
    turn_sigma: float = math.radians(4)
    """Change of a joint's turn per frame, radians."""
    shift_sigma: float = 0.02
    """Change of the shift per frame, metres."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "even pose"

    def residuals(self, view: JointView) -> Residuals:
        """(B, M + 1, 3): one sample per joint that is free in all three, and one of the translation."""
        layout = view.state.layout
        blocks = (self.first, self.second, self.third)
        a, b, c = (view.state.bodies[k] for k in blocks)
        free = [layout.free[k] for k in blocks]
        joints = [j for j in free[0].joints if all(j in f.joints for f in free[1:])]
        phi = [_log(x.rotations[:, joints].mT @ y.rotations[:, joints]) for x, y in ((a, b), (b, c))]
        moved = (a.transl - 2 * b.transl + c.transl)[:, None] / self.shift_sigma
        r = torch.cat([(phi[1] - phi[0]) / self.turn_sigma, moved], 1)
        # joints turn from the right: d log(R_x^T R_y) = Jr^-1(phi) delta_y - Jr^-1(-phi) delta_x
        turns = (
            rotvec_jacobian(-phi[0]),
            -rotvec_jacobian(phi[0]) - rotvec_jacobian(-phi[1]),
            rotvec_jacobian(phi[1]),
        )
        total, eye = r.new_zeros(*r.shape, layout.size), torch.eye(3, dtype=r.dtype, device=r.device)
        for index, own, turn, shift in zip(blocks, free, turns, (1.0, -2.0, 1.0), strict=True):
            J = turn_and_shift_rows(own, joints, turn / self.turn_sigma, shift / self.shift_sigma * eye)
            total = total + layout.widen(J, layout.of_body(index))
        return Residuals(r, total, torch.ones_like(r[..., 0]), 1.0, "ratio")


def _log(R: Tensor) -> Tensor:
    phi: Tensor = roma.rotmat_to_rotvec(R)
    return phi
