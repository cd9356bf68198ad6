"""Contact labels as bands beside a surface: how far touching points are from the other's surface, not from its points.

Nearest pairs (:mod:`hoirecon.fitting.joint_contact`) say where two areas meet, to about the distance of their points
and the errors of their rims. How far a touching point is from the other *surface* is known much better, wherever on it
the partner is: labels are a band of some width beside the surface, and in the middle of the band one is off by less
than half of it. Along the surface these terms say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hoirecon.fitting.joint_contact import take
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_state import pose_rows
from hoirecon.fitting.object_terms import mutual_nearest
from hoirecon.fitting.objective import Residuals
from hoirecon.fitting.sdf import DistanceGrid


@dataclass(frozen=True)
class SkinOnObject:
    """Touching points of the skin are at a distance from the object's surface; both give way."""

    body: int
    obj: int
    places: slice
    """Of the contact points among the body's prepared points."""
    body_weight: Tensor
    """(H,) sum 1."""
    grid: DistanceGrid
    """Of the object, centred object frame."""
    sigma: float
    """Noise of the distance, metres."""
    gap: float
    """The distance, metres: the middle of the labels' band."""
    weight: float
    robust: float | None = 3.0
    """Points that are off by far more are wrong labels."""
    name: str = "skin on object"

    def residuals(self, view: JointView) -> Residuals:
        """(B, H, 1) signed distances beyond the gap."""
        pose, layout, part = view.state.objects[self.obj], view.state.layout, view.bodies[self.body]
        skin, J_skin = part.points[:, self.places], part.J_points[:, self.places]
        value, slope = beyond_the_box(self.grid, pose.to_object(skin))
        distance = value * pose.log_s.exp()[:, None]
        normal = (pose.R[:, None] @ slope[..., None])[..., 0] / self.sigma
        own = pose_rows(normal[..., None, :], skin - pose.t[:, None])
        own = torch.cat([own[..., :6], own[..., 6:] - distance[..., None, None] / self.sigma], -1)
        J = layout.widen(normal[..., None, :] @ J_skin, layout.of_body(self.body))
        J = J - layout.widen(own, layout.of_object(self.obj))
        w = self.body_weight.expand(len(skin), -1)
        return Residuals(((distance - self.gap) / self.sigma)[..., None], J, w, self.sigma * 1e3, "mm")


@dataclass(frozen=True)
class ObjectOnSkin:
    """Touching points of an object are at a distance from the skin (the tangent plane of its nearest vertex)."""

    body: int
    obj: int
    points: Tensor
    """(O, 3) of the object, centred object frame, metres."""
    obj_weight: Tensor
    """(O,) sum 1."""
    sigma: float
    """Noise of the distance, metres."""
    gap: float
    """The distance, metres."""
    weight: float
    reach: float = 0.1
    """Points with no skin nearer than this say nothing, metres."""
    robust: float | None = 3.0
    """As of :class:`SkinOnObject`."""
    name: str = "object on skin"

    def residuals(self, view: JointView) -> Residuals:
        """(B, O, 1) signed distances beyond the gap."""
        pose, layout = view.state.objects[self.obj], view.state.layout
        skin, normals = view.surfaces[self.body]
        placed = pose.place(self.points)
        nearest, _ = mutual_nearest(placed, skin)
        away, normal = placed - take(skin, nearest), take(normals, nearest) / self.sigma
        own = pose_rows(normal[..., None, :], placed - pose.t[:, None])
        used, index = torch.unique(nearest, return_inverse=True)
        _, rows = view.body_rows(self.body, view.figures[self.body].surface[used])
        batch = torch.arange(len(placed), device=placed.device)[:, None]
        theirs = normal[..., None, :] @ rows[batch, index]
        J = layout.widen(own, layout.of_object(self.obj)) - layout.widen(theirs, layout.of_body(self.body))
        r = (away * normal).sum(-1) - self.gap / self.sigma
        w = self.obj_weight * (away.detach().norm(dim=-1) < self.reach)
        return Residuals(r[..., None], J, w, self.sigma * 1e3, "mm")


def beyond_the_box(grid: DistanceGrid, points: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (...) and its gradient (..., 3) at points (..., 3) inside or outside a grid's box.

    Outside, the distance to the box is added to the value at its border: no less than the true distance.
    """
    high = grid.low + grid.spacing * (torch.tensor(grid.values.shape, device=points.device) - 1).to(points)
    border = points.maximum(grid.low).minimum(high)
    over = points - border
    squared = over.square().sum(-1)
    beyond = torch.where(squared > 0, squared.clamp_min(1e-20).sqrt(), 0.0)
    flat = border.reshape(-1, 3)
    value, slope = (x.reshape(*points.shape[:-1], *x.shape[1:]) for x in grid.sample(flat))
    gradient = torch.where(over == 0, slope, 0.0) + over / beyond.clamp_min(1e-10)[..., None]
    return value + beyond, gradient
