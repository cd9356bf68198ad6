"""Contact in a joint fit, in four forms: nearest pairs, centroids, given pairs, unbalanced transport.

All pull both the object and the body, by offsets between a point of the skin and one of the object beyond a dead zone;
they differ in who is whose partner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_state import pose_rows
from hoirecon.fitting.object_terms import mutual_nearest, shrink
from hoirecon.fitting.objective import Residuals
from hoirecon.fitting.transport import unbalanced_plan

ContactForm = Literal["nearest", "centroid", "correspondences", "transport"]
CONTACT_FORMS: tuple[ContactForm, ...] = ("nearest", "centroid", "correspondences", "transport")
LOST = 10.0
"""Unmatched mass costs as an offset of so many robust scales would: the most there is."""


def take(values: Tensor, index: Tensor) -> Tensor:
    """(B, K, C) rows of values (B, N, C) by index (B, K)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


@dataclass(frozen=True)
class _Contact:
    """Contact points of one body and one object."""

    body: int
    obj: int
    places: slice
    """Places of the contact points among the body's prepared points."""
    body_weight: Tensor
    """(H,) sum 1."""
    obj_points: Tensor
    """(O, 3) object frame, metres."""
    obj_weight: Tensor
    """(O,) sum 1."""
    sigma: float
    """Noise of a contact point, metres."""
    dead_zone: float
    """Distance that costs nothing, metres."""
    robust: float | None
    weight: float
    name: str = "contact"

    def _skin(self, view: JointView) -> tuple[Tensor, Tensor]:
        """Contact points (B, H, 3) of the body and their derivative (B, H, 3, d) by its own columns."""
        part = view.bodies[self.body]
        return part.points[:, self.places], part.J_points[:, self.places]

    def _offsets(self, view: JointView, mine: Tensor, skin: Tensor, J_skin: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals (B, N, 3) and Jacobian of object points (B, N, 3) against the skin points (B, N, 3) they meet."""
        pose, layout = view.state.objects[self.obj], view.state.layout
        r, slope = shrink(mine - skin, self.dead_zone)
        slope = slope / self.sigma
        J = layout.widen(pose_rows(slope, mine - pose.t[:, None]), layout.of_object(self.obj))
        return r / self.sigma, J - layout.widen(slope @ J_skin, layout.of_body(self.body))

    def _paired(self, view: JointView, to_skin: Tensor, to_placed: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals and Jacobian of each object point with its partner (B, O), then of each skin point (B, H)."""
        skin, J_skin = self._skin(view)
        placed = view.state.objects[self.obj].place(self.obj_points)
        flat = J_skin.flatten(2)
        mine = torch.cat([placed, take(placed, to_placed)], 1)
        J_both = torch.cat([take(flat, to_skin), flat], 1).view(*mine.shape, J_skin.shape[3])  # no columns if it stays
        return self._offsets(view, mine, torch.cat([take(skin, to_skin), skin], 1), J_both)

    def _result(self, r: Tensor, J: Tensor, weight: Tensor) -> Residuals:
        return Residuals(r, J, weight.expand(len(r), -1), self.sigma * 1e3, "mm")


@dataclass(frozen=True)
class Contact(_Contact):
    """Contact points of a body and an object find each other: nearest pairs, both ways, with a dead zone."""

    def residuals(self, view: JointView) -> Residuals:
        """(B, O + H, 3) offsets of the pairs beyond the dead zone."""
        placed = view.state.objects[self.obj].place(self.obj_points)
        r, J = self._paired(view, *mutual_nearest(placed, self._skin(view)[0]))
        return self._result(r, J, torch.cat([self.obj_weight, self.body_weight]) / 2)


@dataclass(frozen=True)
class CentroidContact(_Contact):
    """The middles of both contact areas meet; robust, so that its pull has an end. Says nothing about turns."""

    def residuals(self, view: JointView) -> Residuals:
        """(B, 1, 3) offset of the centroids beyond the dead zone."""
        skin, J_skin = self._skin(view)
        middle = (self.body_weight[:, None] * skin).sum(1, keepdim=True)
        J_middle = (self.body_weight[:, None, None] * J_skin).sum(1, keepdim=True)
        mine = view.state.objects[self.obj].place((self.obj_weight[:, None] * self.obj_points).sum(0, keepdim=True))
        r, J = self._offsets(view, mine, middle, J_middle)
        return self._result(r, J, r.new_ones(1))


@dataclass(frozen=True)
class PairContact(_Contact):
    """Given pairs meet: point n of the object with contact point n of the body; weights of the two sides multiply."""

    def residuals(self, view: JointView) -> Residuals:
        """(B, N, 3) offsets of the pairs beyond the dead zone."""
        r, J = self._offsets(view, view.state.objects[self.obj].place(self.obj_points), *self._skin(view))
        weight = self.body_weight * self.obj_weight
        return self._result(r, J, weight / weight.sum())


@dataclass(frozen=True)
class TransportContact(_Contact):
    """Partners by unbalanced transport, which knows that surfaces face each other and parts have names.

    A point's partner is where most of its mass goes. Mass that stays at home costs what the farthest partner would, so
    that energies of poses compare. (In trials it was no better than nearest pairs, which are the default.)
    """

    verts: Tensor | None = None
    """(H,) vertices of the body's contact points, for their normals."""
    obj_normals: Tensor | None = None
    """(O, 3) outward, object frame; None: normals do not matter."""
    body_parts: Tensor | None = None
    """(H,) int label of each contact point of the body; None: parts do not matter."""
    obj_parts: Tensor | None = None
    """(O,) label of the body part that each object point is touched by; -1: any."""
    facing: float = 0.05
    """Normals that point the same way cost as much as sqrt(2) times this distance, metres."""
    other_part: float = 0.1
    """A wrong part costs as much as this distance, metres."""
    reach: float = 0.15
    """Farther partners are rather left alone, metres."""

    def residuals(self, view: JointView) -> Residuals:
        """(B, 2 (O + H), 3): offsets to the partners, then, without derivative, what stays at home."""
        plan = self._plan(view)
        r, J = self._paired(view, plan.argmax(2), plan.argmax(1))
        weight = torch.cat([self.obj_weight, self.body_weight]) / 2
        mass = torch.cat([plan.sum(2) / self.obj_weight, plan.sum(1) / self.body_weight], 1).clamp_max(1.0)
        lost = torch.zeros_like(r)
        lost[..., 0] = LOST * (self.robust or 1.0)
        w = torch.cat([weight * mass, weight * (1 - mass)], 1)
        return Residuals(torch.cat([r, lost], 1), torch.cat([J, torch.zeros_like(J)], 1), w, self.sigma * 1e3, "mm")

    def _plan(self, view: JointView) -> Tensor:
        """(B, O, H) mass between object points and skin points."""
        pose = view.state.objects[self.obj]
        # not under no_grad as a whole: the view keeps what it computes here for other terms
        placed, skin = pose.place(self.obj_points), self._skin(view)[0]
        cost = torch.cdist(placed.detach(), skin.detach()).square()
        if self.obj_normals is not None and self.verts is not None:
            facing = (self.obj_normals @ pose.R.detach().mT) @ view.body_normals(self.body, self.verts).mT
            cost = cost + self.facing**2 * (1 + facing)
        if self.obj_parts is not None and self.body_parts is not None:
            known = self.obj_parts[:, None] >= 0
            cost = cost + self.other_part**2 * (known & (self.obj_parts[:, None] != self.body_parts)).to(cost)
        return unbalanced_plan(cost, self.obj_weight, self.body_weight, self.reach)
