"""The terms of a joint fit: what object and body must explain together, with Jacobians to both.

Residuals are in units of their noise. Nearest neighbours, outline samples, normals and who stands before whom are taken
anew at every evaluation (the body's z-buffer every few steps) and held fixed in the derivative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import roma
import torch
from torch import Tensor

from hoirecon.data.body.skeleton import JOINT_NAMES
from hoirecon.data.body.state import BodyState, rotvec_jacobian
from hoirecon.fitting.body_terms import BodyView
from hoirecon.fitting.ground import GroundSupport as GroundSupport
from hoirecon.fitting.joint_contact import Contact as Contact
from hoirecon.fitting.joint_contact import take
from hoirecon.fitting.joint_state import turn_and_shift_rows
from hoirecon.fitting.joint_time import SamePose as SamePose
from hoirecon.fitting.joint_time import SteadyPose as SteadyPose
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_state import ObjectState, pose_rows
from hoirecon.fitting.object_terms import MaskOnOutline, deep_points, mutual_nearest, packed
from hoirecon.fitting.objective import Residuals, Term
from hoirecon.fitting.sdf import DistanceGrid

Part = TypeVar("Part", ObjectState, BodyView)


@dataclass(frozen=True)
class _Wrapped(Generic[Part]):
    """A term of one object or one body in the joint problem."""

    term: Term[Part]
    index: int
    """Which object or body."""
    label: str = ""
    """Added to the name where there are several."""

    @property
    def name(self) -> str:
        """Name of the term and, of several, whose."""
        return self.term.name + self.label

    @property
    def weight(self) -> float:
        """As the term's."""
        return self.term.weight

    @property
    def robust(self) -> float | None:
        """As the term's."""
        return self.term.robust


@dataclass(frozen=True)
class OnObject(_Wrapped[ObjectState]):
    """A term of :mod:`hoirecon.fitting.object_terms`, which speaks of one object."""

    def residuals(self, view: JointView) -> Residuals:
        """As the term's, with the columns of all blocks."""
        pose, term = view.state.objects[self.index], self.term
        if isinstance(term, MaskOnOutline):  # the body beside the mask stands differently in each hypothesis
            term = replace(term, front=pose.view.region.contour_points(len(term.points))[1])
        return _wide(term.residuals(pose), view, view.state.layout.of_object(self.index))


@dataclass(frozen=True)
class OnBody(_Wrapped[BodyView]):
    """A term of :mod:`hoirecon.fitting.body_terms`, which speaks of one body (2D landmarks, joint limits)."""

    def residuals(self, view: JointView) -> Residuals:
        """As the term's, with the columns of all blocks."""
        return _wide(self.term.residuals(view.bodies[self.index]), view, view.state.layout.of_body(self.index))


def _wide(res: Residuals, view: JointView, columns: slice) -> Residuals:
    return replace(res, J=view.state.layout.widen(res.J, columns))


@dataclass(frozen=True)
class BodyInObject:
    """Skin does not lie inside an object (its distance grid, moved with the pose); both give way."""

    body: int
    obj: int
    grid: DistanceGrid
    """Of the object, centred object frame."""
    sigma: float
    """Metres."""
    tolerance: float
    """Depth that costs nothing, metres."""
    weight: float
    robust: float | None = None
    name: str = "body in object"

    def residuals(self, view: JointView) -> Residuals:
        """(B, K, 1) depths beyond the tolerance of the points that are inside, K the most of any hypothesis."""
        pose, layout = view.state.objects[self.obj], view.state.layout
        skin = view.surfaces[self.body][0]
        local = pose.to_object(skin)
        row, index, distance, slope = deep_points(self.grid, local, pose.log_s.exp(), self.tolerance)
        normal = (pose.R[row] @ slope[..., None])[..., 0] / self.sigma
        own = pose_rows(normal[:, None, None], (skin[row, index] - pose.t[row])[:, None])[:, 0, 0]
        own[:, 6] -= distance / self.sigma
        J = layout.widen(own, layout.of_object(self.obj))
        J = J - layout.widen(_skin_rows(view, self.body, row, index, normal), layout.of_body(self.body))
        return packed(-(distance + self.tolerance) / self.sigma, J, row, len(view.state), self.sigma)


@dataclass(frozen=True)
class ObjectInBody:
    """Points of an object do not lie under the skin (behind the tangent plane of its nearest vertex)."""

    body: int
    obj: int
    points: Tensor
    """(P, 3) of the object, centred object frame, metres."""
    sigma: float
    """Metres."""
    tolerance: float
    """Depth that costs nothing, metres."""
    weight: float
    reach: float = 0.1
    """Skin farther away than this is not what a point is under, metres."""
    robust: float | None = None
    name: str = "object in body"

    def residuals(self, view: JointView) -> Residuals:
        """(B, K, 1) depths beyond the tolerance of the points that are inside, K the most of any hypothesis."""
        pose, layout = view.state.objects[self.obj], view.state.layout
        skin, normals = view.surfaces[self.body]
        placed = pose.place(self.points)
        nearest, _ = mutual_nearest(placed, skin)
        gap, normal = placed - take(skin, nearest), take(normals, nearest)
        depth = -(gap * normal).sum(-1)
        row, point = torch.nonzero((depth > self.tolerance) & (gap.norm(dim=-1) < self.reach), as_tuple=True)
        normal = normal[row, point] / self.sigma
        own = pose_rows(-normal[:, None, None], (placed[row, point] - pose.t[row])[:, None])[:, 0, 0]
        J = layout.widen(own, layout.of_object(self.obj))
        J = J + layout.widen(_skin_rows(view, self.body, row, nearest[row, point], normal), layout.of_body(self.body))
        return packed((depth[row, point] - self.tolerance) / self.sigma, J, row, len(view.state), self.sigma)


@dataclass(frozen=True)
class ObjectInObject:
    """Points of one object do not lie inside another one (its distance grid, moved with its pose); both give way."""

    points_of: int
    """The object whose points are asked."""
    inside_of: int
    """The object that they must not be inside of."""
    points: Tensor
    """(P, 3) of the first, centred object frame, metres."""
    grid: DistanceGrid
    """Of the second, centred object frame."""
    sigma: float
    """Metres."""
    tolerance: float
    """Depth that costs nothing, metres."""
    weight: float
    robust: float | None = None
    name: str = "object in object"

    def residuals(self, view: JointView) -> Residuals:
        """(B, K, 1) depths beyond the tolerance of the points that are inside, K the most of any hypothesis."""
        state, layout = view.state, view.state.layout
        first, pose = state.objects[self.points_of], state.objects[self.inside_of]
        placed = first.place(self.points)
        local = pose.to_object(placed)
        row, index, distance, slope = deep_points(self.grid, local, pose.log_s.exp(), self.tolerance)
        normal, at = (pose.R[row] @ slope[..., None])[..., 0] / self.sigma, placed[row, index]
        theirs = pose_rows(normal[:, None, None], (at - pose.t[row])[:, None])[:, 0, 0]
        theirs[:, 6] -= distance / self.sigma
        mine = pose_rows(normal[:, None, None], (at - first.t[row])[:, None])[:, 0, 0]
        J = layout.widen(theirs, layout.of_object(self.inside_of))
        J = J - layout.widen(mine, layout.of_object(self.points_of))
        return packed(-(distance + self.tolerance) / self.sigma, J, row, len(state), self.sigma)


def _skin_rows(view: JointView, body: int, row: Tensor, index: Tensor, gradient: Tensor) -> Tensor:
    """(K, d) derivative by the body's columns of ``gradient`` (K, 3) times the skin's points (row, index) (K,)."""
    columns = view.state.layout.free[body].size
    if columns == 0 or len(row) == 0:
        return gradient.new_zeros(len(row), columns)
    used, place = torch.unique(index, return_inverse=True)
    _, J = view.body_rows(body, view.figures[body].surface[used])
    rows: Tensor = (gradient[:, None] @ J[row, place])[:, 0]
    return rows


ANCHOR_DEGREES = (
    ("spine", 4.0), ("neck", 4.0), ("head", 4.0), ("hip", 6.0), ("collar", 6.0), ("shoulder", 6.0), ("elbow", 8.0),
    ("wrist", 12.0), ("knee", 8.0), ("ankle", 8.0), ("foot", 8.0), ("pelvis", 3.0),
)  # fmt: skip
"""How far off a joint of the body that came in may be, one sigma of each component of its rotation vector."""
FINGER_DEGREES = 20.0


def anchor_sigmas(joints: tuple[int, ...], factor: float = 1.0, even: float | None = None) -> Tensor:
    """(M,) sigmas of joints in radians: :data:`ANCHOR_DEGREES` times a factor, or so many degrees ``even``-ly."""
    if even is not None:
        return torch.full((len(joints),), float(np.deg2rad(even)), dtype=torch.float64)
    names = [JOINT_NAMES[j] for j in joints]
    degrees = [next((d for part, d in ANCHOR_DEGREES if part in name), FINGER_DEGREES) for name in names]
    return torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)) * factor


@dataclass(frozen=True)
class PoseAnchor:
    """Difference from the body that came in: rotations of the free joints by their logarithm, and its place."""

    index: int
    """Which body."""
    at: BodyState
    """A batch of one."""
    factor: float = 1.0
    """Of the sigmas in :data:`ANCHOR_DEGREES`."""
    transl_sigma: tuple[float, float, float] = (0.02, 0.02, 0.02)
    """Across, down and along the camera's axis, metres."""
    degrees: float | None = None
    """One sigma for every joint instead, degrees of each component."""
    null_space: Tensor | None = None
    """(3 N, 3 N) projection of the turns of the first N joints, in sigmas, on what this term shall speak of, see
    :func:`~hoirecon.fitting.joint_places.null_space`; None: of all turns."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "pose anchor"

    def residuals(self, view: JointView) -> Residuals:
        """(B, M + 1, 3): one sample per free joint, and one of the translation; in a null space one per joint of it."""
        body, layout = view.state.bodies[self.index], view.state.layout
        free = layout.free[self.index]
        joints = list(free.joints)
        turned: Tensor = roma.rotmat_to_rotvec(self.at.rotations[:, joints].mT @ body.rotations[:, joints])
        usual = anchor_sigmas(free.joints, self.factor, self.degrees).to(turned)[:, None]
        moved = (body.transl - self.at.transl)[:, None] / turned.new_tensor(self.transl_sigma)
        r = torch.cat([turned / usual, moved], 1)
        shift = torch.diag(1 / r.new_tensor(self.transl_sigma))
        J = turn_and_shift_rows(free, joints, rotvec_jacobian(turned) / usual[..., None], shift)
        if self.null_space is not None:
            r, J = self._kept(r[..., None], joints)[..., 0], self._kept(J, joints)
        w = torch.ones_like(r[..., 0])
        return Residuals(r, layout.widen(J, layout.of_body(self.index)), w, 1.0, "ratio")

    def _kept(self, rows: Tensor, joints: list[int]) -> Tensor:
        """Rows (B, M + 1, 3, K) of joints and translation with the turns' part outside the null space gone."""
        assert self.null_space is not None
        size = len(self.null_space) // 3
        own = [m for m, joint in enumerate(joints) if joint < size]
        others = [m for m in range(rows.shape[1]) if m not in own]
        columns = self.null_space.view(3 * size, size, 3)[:, [joints[m] for m in own]].flatten(1)
        kept = columns.to(rows) @ rows[:, own].flatten(1, 2)
        return torch.cat([kept.view(len(rows), size, 3, -1), rows[:, others]], 1)
