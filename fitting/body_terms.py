"""The terms of a body fit: what the landmarks say, what joints can do, and what people usually look like.

Every term looks at a :class:`BodyView`, in which the points and angles of a state and their derivatives are computed
once for all terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hoirecon.data.body.jacobian import BodyPoints, landmarks_with_jacobian
from hoirecon.fitting.body_angles import joint_angles
from hoirecon.fitting.body_state import NUM_MOVED, FitState
from hoirecon.fitting.objective import Residuals
from hoirecon.fitting.pose_prior import PosePrior

MIN_DEPTH = 0.1
"""Points nearer than this to the camera plane, metres, are treated as if they were there: keeps projections finite."""


@dataclass(frozen=True)
class BodyView:
    """A batch of bodies as the terms see it."""

    state: FitState
    points: Tensor
    """(B, P, 3) landmarks, then targets; metres, camera frame."""
    J_points: Tensor
    """(B, P, 3, D)."""
    angles: Tensor
    """(B, 63) swing-twist angles of the body joints, radians."""
    J_angles: Tensor
    """(B, 63, D)."""

    @classmethod
    def of(cls, state: FitState, points: BodyPoints, prior: PosePrior) -> BodyView:
        """Look at a state."""
        at, J = landmarks_with_jacobian(points.model, state.body, points, state.free)
        J = torch.nn.functional.pad(J, (0, 1))  # no point moves with the detector's scale
        angles, d_angles = joint_angles(state.body.rotations[:, 1:NUM_MOVED], prior.twist_axis)
        J_angles = angles.new_zeros(state.batch, NUM_MOVED - 1, 3, state.num_columns)
        for joint in range(1, NUM_MOVED):
            J_angles[:, joint - 1, :, state.free.joint_columns(joint)] = d_angles[:, joint - 1]
        return cls(state, at, J, angles.flatten(1), J_angles.flatten(1, 2))


def project(points: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (..., 2) of points (..., 3) in the camera frame, and the derivative (..., 2, 3)."""
    z = points[..., 2].clamp_min(MIN_DEPTH)
    focal = torch.stack([K[0, 0], K[1, 1]])
    centred = focal * points[..., :2] / z[..., None]
    diagonal = torch.diag_embed(focal / z[..., None])
    return centred + K[:2, 2], torch.cat([diagonal, (-centred / z[..., None])[..., None]], dim=-1)


@dataclass(frozen=True)
class Landmarks2D:
    """Offset of projected landmarks from where the detector saw them, pixels."""

    xy: Tensor
    """(L, 2) pixels."""
    trust: Tensor
    """(L,) 0 for unused landmarks, 1 for well seen ones; the sum is the term's weight."""
    noise: Tensor
    """(L,) sigma of each landmark in units of ``sigma``."""
    K: Tensor
    """(3, 3)."""
    sigma: float
    """Pixels."""
    robust: float | None = 4.0
    name: str = "landmarks_2d"

    @property
    def weight(self) -> float:
        """Number of landmarks seen."""
        return float(self.trust.sum())

    def residuals(self, view: BodyView) -> Residuals:
        """(B, L, 2)."""
        n = len(self.xy)
        pixels, d_pixels = project(view.points[:, :n], self.K)
        unit = (self.sigma * self.noise)[:, None]
        J = d_pixels @ view.J_points[:, :n] / unit[..., None]
        return _spread((pixels - self.xy) / unit, J, self.trust, self.sigma, "px")


@dataclass(frozen=True)
class Landmarks3D:
    """Offset of landmarks from the detector's 3D ones, both about their own mean, times the detector's scale.

    Taking both about the trusted landmarks' mean rather than the hips makes the term indifferent to translation
    even where the hips are guessed.
    """

    xyz: Tensor
    """(L, 3) metres, camera axes."""
    trust: Tensor
    """(L,)."""
    noise: Tensor
    """(L,) sigma of each landmark in units of ``sigma``."""
    depth_noise: float
    """How much noisier z is than x and y."""
    sigma: float
    """Metres."""
    robust: float | None = 3.0
    name: str = "landmarks_3d"

    @property
    def weight(self) -> float:
        """Number of landmarks used."""
        return float(self.trust.sum())

    def residuals(self, view: BodyView) -> Residuals:
        """(B, L, 3)."""
        n = len(self.xyz)
        share = self.trust / self.trust.sum().clamp_min(1e-9)
        points, J = view.points[:, :n], view.J_points[:, :n]
        points = points - torch.einsum("l,blc->bc", share, points)[:, None]
        J = J - torch.einsum("l,blcd->bcd", share, J)[:, None]
        scale = view.state.log_scale.exp()[:, None, None]
        grown = scale * points
        J = scale[..., None] * J
        J[..., -1] = grown
        axes = torch.tensor([1.0, 1.0, self.depth_noise]).to(points)
        unit = self.sigma * self.noise[:, None] * axes
        r = (grown - (self.xyz - share @ self.xyz)) / unit
        return _spread(r, J / unit[..., None], self.trust, 1000 * self.sigma, "mm")


@dataclass(frozen=True)
class JointLimits:
    """How far angles lie beyond their ranges; zero inside."""

    prior: PosePrior
    sigma: float
    """Radians."""
    robust: float | None = None
    name: str = "joint_limits"
    weight: float = 63.0

    def residuals(self, view: BodyView) -> Residuals:
        """(B, 63, 1)."""
        over = (view.angles - self.prior.high).clamp_min(0) - (self.prior.low - view.angles).clamp_min(0)
        J = view.J_angles * (over != 0)[..., None] / self.sigma
        return _spread((over / self.sigma)[..., None], J[:, :, None], _ones(over), math.degrees(self.sigma), "deg")


@dataclass(frozen=True)
class UsualPose:
    """How unusual the angles and their couplings are, in standard deviations."""

    prior: PosePrior
    factor: float = 1.0
    robust: float | None = None
    name: str = "usual_pose"

    @property
    def weight(self) -> float:
        """Number of combinations times the factor."""
        return self.factor * len(self.prior.mean)

    def residuals(self, view: BodyView) -> Residuals:
        """(B, N, 1)."""
        A = self.prior.A / self.prior.sigma[:, None]
        r = view.angles @ A.mT - self.prior.mean / self.prior.sigma
        return _spread(r[..., None], (A @ view.J_angles)[:, :, None], _ones(r), 1.0, "ratio")


@dataclass(frozen=True)
class UsualShape:
    """Shape coefficients and the detector's scale in standard deviations."""

    shape_sigma: float = 1.0
    scale_sigma: float = 0.15
    robust: float | None = None
    name: str = "usual_shape"

    @property
    def weight(self) -> float:
        """One per number: made up in :meth:`residuals`, whose sample weights sum to their count."""
        return 1.0

    def residuals(self, view: BodyView) -> Residuals:
        """(B, NB + 1, 1)."""
        state = view.state
        r = torch.cat([state.body.betas / self.shape_sigma, state.log_scale[:, None] / self.scale_sigma], dim=1)
        sigmas = torch.full_like(r[0], self.shape_sigma)
        sigmas[-1] = self.scale_sigma
        J = r.new_zeros(*r.shape, state.num_columns)
        J[:, :-1, state.free.betas_columns] = torch.diag(1 / sigmas[:-1])
        J[:, -1, -1] = 1 / self.scale_sigma
        return Residuals(r[..., None], J[:, :, None], torch.ones_like(r), 1.0, "ratio")


@dataclass(frozen=True)
class Stature:
    """Difference of the body's stature from the known one; stature is linear in the shape."""

    height: float
    """Metres."""
    mean: float
    """Stature of the mean shape, metres."""
    per_beta: Tensor
    """(NB,) metres per unit."""
    sigma: float = 0.01
    robust: float | None = None
    name: str = "stature"
    weight: float = 1.0

    def residuals(self, view: BodyView) -> Residuals:
        """(B, 1, 1)."""
        betas = view.state.body.betas
        r = (self.mean + betas @ self.per_beta - self.height) / self.sigma
        J = betas.new_zeros(len(betas), 1, 1, view.state.num_columns)
        J[..., view.state.free.betas_columns] = self.per_beta / self.sigma
        return Residuals(r[:, None, None], J, torch.ones_like(r)[:, None], 1000 * self.sigma, "mm")


@dataclass(frozen=True)
class Targets:
    """Offset of the last T points from where they should be."""

    target_cam: Tensor
    """(T, 3) metres."""
    sigmas: Tensor
    """(T,) metres."""
    robust: float | None = None
    name: str = "targets"

    @property
    def weight(self) -> float:
        """Number of targets."""
        return float(len(self.target_cam))

    def residuals(self, view: BodyView) -> Residuals:
        """(B, T, 3)."""
        n = len(self.target_cam)
        unit = self.sigmas[:, None]
        r = (view.points[:, -n:] - self.target_cam) / unit
        return _spread(r, view.J_points[:, -n:] / unit[..., None], _ones(r[..., 0]), 1000 * float(self.sigmas[0]), "mm")


def _ones(r: Tensor) -> Tensor:
    return torch.ones_like(r[0])


def _spread(r: Tensor, J: Tensor, trust: Tensor, sigma: float, unit: str) -> Residuals:
    """Residuals whose sample weights are the trusts scaled to sum to one, the same for the whole batch."""
    w = trust / trust.sum().clamp_min(1e-9)
    return Residuals(r, J, w.expand(r.shape[:2]), sigma, unit)
