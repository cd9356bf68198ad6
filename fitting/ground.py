"""The ground: given, or guessed from the feet of standing people; what nobody touches rests on it, nothing sinks in.

Without contact an object's distance hangs on its size alone, which is known to a fifth; but most things that nobody
holds stand on the floor that the person stands on, and where the floor is the person's feet tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.skeleton import JOINT_NAMES
from hoirecon.errors import InputError
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_state import ObjectState, pose_rows
from hoirecon.fitting.objective import Residuals, Term
from hoirecon.scene import SceneBody

ROLL_DEG, LEAN_DEG = 3.0, 4.0
"""One sigma of how far cameras are rolled, and of how far a standing person's axis is from the vertical."""
UPRIGHT_DEG = 30.0
"""A torso that leans more than this from the legs' axis does not stand."""
STRAIGHT = 0.85
"""Hips of a standing person are at least this share of the legs' length above the ankles."""
RAISED = 0.05
"""An ankle that is nearer to the neck than the other by more than this share is raised."""
SAME_FLOOR_M = 0.06
"""Feet whose soles differ by less than this in height stand both; else the lower one does."""
RESTS, SINKS = 2.0, 4.0
"""Robust scales in sigmas of a thing that somebody touches: of its support, and of how far it is below a guessed
ground, which may be none."""
SOLE_SHARE = 0.03
"""Share of a foot's vertices, the lowest, that tell where the sole is."""


@dataclass(frozen=True)
class Ground:
    """A plane ``normal . x = height`` in the camera frame, and how well it is known."""

    normal: FloatArray
    """(3,) unit, upwards; (0, -1, 0) for a level camera."""
    height: float
    """Metres along the normal."""
    sigma: float = 0.01
    """Noise of the height at :attr:`about`, metres."""
    about: FloatArray | None = None
    """(3,) place where the height is known best, camera frame; None: the same everywhere."""
    tilt_sigma: float = 0.0
    """Noise of the normal, radians: away from :attr:`about` the height is less sure."""
    source: str = "given"
    """``given`` or ``feet``."""

    def __post_init__(self) -> None:
        normal = as_floats(self.normal, (3,), "normal of the ground")
        length = float(np.linalg.norm(normal))
        if not length > 0.5 or normal[1] > 0:
            raise InputError(
                f"the ground's normal is a unit vector that points up, and up is -y in the camera frame, got {normal}: "
                f"turn it round"
            )
        if not self.sigma > 0 or not self.tilt_sigma >= 0:
            raise InputError(f"the ground's noise must be positive, got {self.sigma} m and {self.tilt_sigma} rad")
        object.__setattr__(self, "normal", normal / length)
        object.__setattr__(self, "height", float(as_floats(self.height, (), "height of the ground")))
        if self.about is not None:
            object.__setattr__(self, "about", as_floats(self.about, (3,), "the place about which the ground is known"))

    def above(self, points: FloatArray) -> FloatArray:
        """(...) heights of points (..., 3) over the ground, metres."""
        heights: FloatArray = points @ self.normal - self.height
        return heights


def guess_ground(people: Sequence[tuple[SceneBody, BodyModel]]) -> Ground | None:
    """The ground under standing people, from their posed bodies alone; None if nobody stands.

    Up is the way from the ankles to the neck, with its lean across the picture shrunk because cameras are seldom
    rolled; the height is that of the soles (of the lower one if a foot is raised).
    """
    ups = [_upward(body.joints) for body, _ in people]
    standing = [(up, body, model) for up, (body, model) in zip(ups, people, strict=True) if up is not None]
    if not standing:
        return None
    normal = np.mean([up for up, _, _ in standing], axis=0)
    normal[0] *= ROLL_DEG**2 / (ROLL_DEG**2 + LEAN_DEG**2 / len(standing))
    normal /= np.linalg.norm(normal)
    soles = np.array([_sole(body, model, normal) for _, body, model in standing])
    spread = 0.02 / math.sqrt(len(standing))
    tilt = math.radians(LEAN_DEG) / math.sqrt(len(standing))
    return Ground(normal, float(np.mean(soles @ normal)), spread, soles.mean(0), tilt, "feet")


def _joint(joints: FloatArray, name: str) -> FloatArray:
    return np.asarray(joints[JOINT_NAMES.index(name)])


def _upward(joints: FloatArray) -> FloatArray | None:
    """(3,) unit axis of a standing body, None for one that sits, lies or kneels."""
    neck, legs = _joint(joints, "neck"), [_leg(joints, side) for side in ("left", "right")]
    reach = [float(np.linalg.norm(neck - ankle)) for (_, ankle), _ in legs]
    if abs(reach[0] - reach[1]) > RAISED * max(reach):  # one foot is raised: the body is over the other one
        legs = [legs[int(np.argmax(reach))]]
    hips, ankles = (np.mean([ends[k] for ends, _ in legs], axis=0) for k in (0, 1))
    axis = np.asarray((neck - ankles) / np.linalg.norm(neck - ankles))
    middle = np.mean([_joint(joints, f"{side}_hip") for side in ("left", "right")], axis=0)
    lean = float(np.dot(neck - middle, axis) / np.linalg.norm(neck - middle))
    stands = np.dot(hips - ankles, axis) > STRAIGHT * np.mean([length for _, length in legs])
    return axis if stands and lean > math.cos(math.radians(UPRIGHT_DEG)) and axis[1] < 0 else None


def _leg(joints: FloatArray, side: str) -> tuple[tuple[FloatArray, FloatArray], float]:
    """Hip (3,) and ankle (3,), and length of a leg."""
    hip, knee, ankle = (_joint(joints, f"{side}_{name}") for name in ("hip", "knee", "ankle"))
    return (hip, ankle), float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))


def _sole(body: SceneBody, model: BodyModel, normal: FloatArray) -> FloatArray:
    """(3,) a point of the ground under a body."""
    lows = []
    for side in ("left", "right"):
        foot = body.verts[model.parts.verts_of(f"{side}_foot")]
        low = np.argsort(foot @ normal)[: max(3, round(SOLE_SHARE * len(foot)))]
        lows.append(foot[low].mean(0))
    heights = [low @ normal for low in lows]
    if abs(heights[0] - heights[1]) < SAME_FLOOR_M:
        return np.asarray(np.mean(lows, 0))
    return np.asarray(lows[int(np.argmin(heights))])


# ------------------------------------------------------------------------------------------------------------- terms
@dataclass(frozen=True)
class OnGround:
    """The lowest points of an object rest on the ground; robust, for what hangs on a wall."""

    points: Tensor
    """(P, 3) of the object, centred object frame."""
    ground: Ground
    count: int = 4
    """How many of the lowest points rest."""
    weight: float = 1.0
    robust: float | None = 4.0
    name: str = "ground support"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, count, 1) heights of the lowest points above the ground, in sigmas there."""
        at = state.place(self.points)
        height = at @ at.new_tensor(self.ground.normal) - self.ground.height
        index = height.detach().topk(min(self.count, height.shape[1]), 1, largest=False).indices
        low = at.gather(1, index[..., None].expand(-1, -1, 3))
        unit = noise_at(self.ground, low).mean(1, keepdim=True)
        r = (height.gather(1, index) / unit)[..., None]
        gradient = (at.new_tensor(self.ground.normal) / unit[..., None])[:, :, None].expand(*r.shape, 3)
        w = torch.full_like(r[..., 0], 1 / r.shape[1])
        return Residuals(r, pose_rows(gradient, low - state.t[:, None]), w, 1e3, "mm", unit.expand_as(w))


@dataclass(frozen=True)
class AboveGround:
    """No point of an object is below the ground."""

    points: Tensor
    """(P, 3) of the object, centred object frame."""
    ground: Ground
    tolerance: float = 0.005
    """Depth that costs nothing, metres."""
    weight: float = 4.0
    robust: float | None = 20.0
    name: str = "object above ground"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, P, 1) depths below the ground."""
        at = state.place(self.points)
        unit = noise_at(self.ground, at)
        r, on, w = _sunk(at, self.ground, unit, self.tolerance)
        gradient = (-on / unit)[..., None, None] * at.new_tensor(self.ground.normal)
        return Residuals(r, pose_rows(gradient, at - state.t[:, None]), w, 1e3, "mm", unit)


@dataclass(frozen=True)
class BodyAboveGround:
    """No foot of a body is below the ground."""

    body: int
    verts: Tensor
    """(N,) vertices of the feet."""
    ground: Ground
    tolerance: float = 0.005
    """Depth that costs nothing, metres."""
    weight: float = 4.0
    robust: float | None = 20.0
    name: str = "feet above ground"

    def residuals(self, view: JointView) -> Residuals:
        """(B, N, 1) depths below the ground."""
        at, J = view.on_body(self.body, self.verts)
        unit = noise_at(self.ground, at)
        r, on, w = _sunk(at, self.ground, unit, self.tolerance)
        rows = -torch.einsum("c,bncd->bnd", at.new_tensor(self.ground.normal), J) * (on / unit)[..., None]
        return Residuals(r, rows[:, :, None], w, 1e3, "mm", unit)


def held_above(points: Tensor, ground: Ground, weight: float = 1.0) -> tuple[Term[ObjectState], ...]:
    """What the ground says of an object that somebody touches: it does not sink in, and perhaps it stands there.

    Seen from afar, a stick that leans towards the camera looks as one that leans away, and so does all that is thin or
    flat; but the one ends in the floor or over it. What leans, rolls or is pushed stands on the ground, what is carried
    does not. So the support is a mixture of both, as a robust scale: what is carried loses no more than 4 squared
    sigmas, twice the log of the odds if .3 of such things stand, to 3 cm, and the others are anywhere up to 1.5 m.

    Args:
        points: (P, 3) of the object, centred object frame; see :func:`hull_points`.
        ground: given or guessed.
        weight: effective number of measurements of the support.
    """
    sunk = AboveGround(points, ground) if ground.source == "given" else AboveGround(points, ground, 0.005, 2.0, SINKS)
    return OnGround(points, ground, weight=weight, robust=RESTS, name="perhaps on ground"), sunk


def hull_points(verts: Tensor) -> Tensor:
    """(H, 3) those of the vertices (V, 3) that can be the lowest ones; all of them if they lie in a plane."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        corners = ConvexHull(verts.detach().cpu().double().numpy()).vertices
    except QhullError:
        return verts
    return verts[torch.as_tensor(corners, device=verts.device).long()]


def noise_at(ground: Ground, at: Tensor) -> Tensor:
    """(B, N) noise of the ground's height under points (B, N, 3), metres; not differentiated."""
    if ground.about is None or ground.tilt_sigma == 0:
        return torch.full_like(at[..., 0], ground.sigma)
    away = (at.detach() - at.new_tensor(ground.about)).norm(dim=-1)
    noise: Tensor = (ground.sigma**2 + (ground.tilt_sigma * away).square()).sqrt()
    return noise


def _sunk(at: Tensor, ground: Ground, unit: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Residuals (B, N, 1) of depths below the ground, which points sink (B, N), and weights (B, N)."""
    depth = ground.height - at @ at.new_tensor(ground.normal) - tolerance
    on = (depth > 0).to(at.dtype)
    w = on / on.sum(1, keepdim=True).clamp_min(1.0)  # the mean of those that sink, or one point of many would not count
    return ((depth * on) / unit)[..., None], on, w.detach()


@dataclass(frozen=True)
class GroundSupport:
    """The lowest points of an object stand on a plane ``normal . x = height`` (normal up, camera frame)."""

    obj: int
    points: Tensor
    """(P, 3) of the object, centred object frame."""
    normal: Tensor
    """(3,) unit."""
    height: float
    """Metres along the normal."""
    sigma: float = 0.01
    """Metres."""
    count: int = 4
    """How many of the lowest points stand."""
    weight: float = 1.0
    robust: float | None = 5.0
    name: str = "ground support"

    def residuals(self, view: JointView) -> Residuals:
        """(B, count, 1) heights of the lowest points above the plane; as :class:`OnGround` for one object of many."""
        ground = Ground(self.normal.detach().cpu().double().numpy(), self.height, self.sigma)
        res = OnGround(self.points, ground, self.count).residuals(view.state.objects[self.obj])
        J = view.state.layout.widen(res.J, view.state.layout.of_object(self.obj))
        return replace(res, J=J)
