"""The terms of a body fit: what the landmarks say, what joints can do, and what people usually look like.

Every term looks at a :class:`BodyView`, in which the points and angles of a state and their derivatives are computed
once for all terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from hoirecon.data.body.jacobian import BodyPoints, landmarks_with_jacobian
from hoirecon.data.body.skeleton import BODY_JOINT_NAMES
from hoirecon.data.body.state import rotvec_jacobian
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
    """Pixels (..., 2) of points (..., 3) in the camera frame, and the derivative (..., 2, 3); none by a depth that is
    not heeded (:data:`MIN_DEPTH`)."""
    z = points[..., 2].clamp_min(MIN_DEPTH)
    heeded = (points[..., 2] > MIN_DEPTH).to(points.dtype)
    focal = torch.stack([K[0, 0], K[1, 1]])
    centred = focal * points[..., :2] / z[..., None]
    diagonal = torch.diag_embed(focal / z[..., None])
    return centred + K[:2, 2], torch.cat([diagonal, (-centred / z[..., None] * heeded[..., None])[..., None]], dim=-1)


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
        return _spread((pixels - self.xy) / unit, J, self.trust, self.sigma, "px", self.noise)


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
        return _spread(r, J / unit[..., None], self.trust, 1000 * self.sigma, "mm", self.noise)


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
    """Offset of points from where they should be."""

    places: tuple[int, ...]
    """(T,) places of the points among the view's points."""
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
        places, unit = list(self.places), self.sigmas[:, None]
        r = (view.points[:, places] - self.target_cam) / unit
        J = view.J_points[:, places] / unit[..., None]
        return _spread(r, J, _ones(r[..., 0]), 1000.0, "mm", self.sigmas)


ANCHOR_DEGREES = (
    ("spine", 4.0), ("neck", 6.0), ("head", 6.0), ("hip", 6.0), ("collar", 6.0), ("shoulder", 20.0), ("elbow", 25.0),
    ("wrist", 25.0), ("knee", 8.0), ("ankle", 8.0), ("foot", 8.0), ("pelvis", 3.0),
)  # fmt: skip
"""How far a refinement may turn each joint from the first fit, one sigma; arms most, as their depth is guessed."""


@dataclass(frozen=True)
class Anchor:
    """Difference from an earlier fit: rotations by their logarithm, shape and place as they are."""

    at: FitState
    """A batch of one."""
    joint_sigmas: Tensor
    """(22,) radians."""
    transl_sigma: float = 0.02
    """Metres; the body as a whole stays, the limbs come to the object."""
    shape_sigma: float = 0.05
    """Shape coefficients are known from the first fit; now they hardly move."""
    robust: float | None = None
    name: str = "anchor"
    weight: float = 1.0

    @classmethod
    def of(cls, state: FitState) -> Anchor:
        """Anchor with the sigmas of :data:`ANCHOR_DEGREES`."""
        degrees = [next(d for part, d in ANCHOR_DEGREES if part in name) for name in BODY_JOINT_NAMES]
        return cls(state, torch.deg2rad(torch.tensor(degrees)).to(state.log_scale))

    def residuals(self, view: BodyView) -> Residuals:
        """(B, 66 + NB + 3, 1) in sigmas."""
        now, first, free = view.state.body, self.at.body, view.state.free
        turned: Tensor = roma.rotmat_to_rotvec(first.rotations[:, :NUM_MOVED].mT @ now.rotations[:, :NUM_MOVED])
        sigmas = self.joint_sigmas.repeat_interleave(3)
        shape = torch.full_like(first.betas[0], self.shape_sigma)
        place = torch.full_like(first.transl[0], self.transl_sigma)
        unit = torch.cat([sigmas, shape, place])
        r = torch.cat([turned.flatten(1), now.betas - first.betas, now.transl - first.transl], dim=1) / unit
        J = torch.eye(free.size, dtype=r.dtype, device=r.device).repeat(len(r), 1, 1)
        J[:, free.pose_columns, free.pose_columns] = _block_diagonal(rotvec_jacobian(turned))
        J = torch.nn.functional.pad(J / unit[:, None], (0, 1))
        return Residuals(r[..., None], J[:, :, None], torch.ones_like(r), 1.0, "ratio")


def _block_diagonal(blocks: Tensor) -> Tensor:
    """(B, 3N, 3N) from (B, N, 3, 3)."""
    batch, n = blocks.shape[:2]
    full = blocks.new_zeros(batch, n, 3, n, 3)
    index = torch.arange(n, device=blocks.device)
    full[:, index, :, index] = blocks.transpose(0, 1)
    return full.reshape(batch, 3 * n, 3 * n)


@dataclass(frozen=True)
class Links:
    """How much farther apart two points of the body are than they can be, e.g. a palm and an ear at one telephone."""

    first: tuple[int, ...]
    """Places of the first points among the view's points."""
    second: tuple[int, ...]
    at_most: Tensor
    """(N,) metres."""
    sigmas: Tensor
    """(N,) metres: how exactly each is known."""
    robust: float | None = 8.0
    """Geman-McClure scale in sigmas: what the body's own evidence denies by far more no longer pulls."""
    name: str = "links"

    @property
    def weight(self) -> float:
        """Number of links."""
        return float(len(self.first))

    def residuals(self, view: BodyView) -> Residuals:
        """(B, N, 1)."""
        first, second = list(self.first), list(self.second)
        apart = view.points[:, first] - view.points[:, second]
        distance = apart.norm(dim=-1).clamp_min(1e-6)
        over = (distance - self.at_most).clamp_min(0)
        direction = apart / distance[..., None] * (over > 0)[..., None]
        J = torch.einsum("bnc,bncd->bnd", direction, view.J_points[:, first] - view.J_points[:, second])
        r = over / self.sigmas
        J = J / self.sigmas[:, None]
        return _spread(r[..., None], J[:, :, None], _ones(r), 1000.0, "mm", self.sigmas)


@dataclass(frozen=True)
class Lines:
    """How far a middle point lies from the straight line through two outer ones."""

    places: tuple[tuple[int, int, int], ...]
    """Outer, middle, outer point of each line among the view's points."""
    sigma: float = 0.03
    """Metres: a bar lies on the skin, not in the middle of hand and neck."""
    robust: float | None = None
    name: str = "lines"

    @property
    def weight(self) -> float:
        """Number of lines."""
        return float(len(self.places))

    def residuals(self, view: BodyView) -> Residuals:
        """(B, N, 3): with d the direction from a to c and e = b - a, r = e - (e.d) d."""
        first, middle, last = (list(column) for column in zip(*self.places, strict=True))
        e, J_e = (x[:, middle] - x[:, first] for x in (view.points, view.J_points))
        span, J_span = (x[:, last] - x[:, first] for x in (view.points, view.J_points))
        length = span.norm(dim=-1, keepdim=True).clamp_min(1e-3)
        d = span / length
        J_d = (J_span - d[..., None] * _along(d, J_span)) / length[..., None]
        s = (e * d).sum(-1, keepdim=True)
        J_s = _along(d, J_e) + _along(e, J_d)
        r = e - s * d
        J = J_e - d[..., None] * J_s - s[..., None] * J_d
        return _spread(r / self.sigma, J / self.sigma, _ones(r[..., 0]), 1000 * self.sigma, "mm")


def _along(v: Tensor, J: Tensor) -> Tensor:
    """(B, N, 1, D) rows of J (B, N, 3, D) summed along v (B, N, 3)."""
    return torch.einsum("bnc,bncd->bnd", v, J)[..., None, :]


def _ones(r: Tensor) -> Tensor:
    return torch.ones_like(r[0])


def _spread(r: Tensor, J: Tensor, trust: Tensor, sigma: float, unit: str, noise: Tensor | None = None) -> Residuals:
    """Residuals whose sample weights are the trusts scaled to sum to one, the same for the whole batch."""
    w = trust / trust.sum().clamp_min(1e-9)
    return Residuals(r, J, w.expand(r.shape[:2]), sigma, unit, noise)
