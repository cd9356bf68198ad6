"""What an object's pose must explain: the mask's contour, contact, no penetration, its usual size.

Every term returns residuals in units of their own noise with closed-form Jacobians; nearest neighbours, outline
samples and the depth order are taken anew at every evaluation and held fixed in the derivative.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import hoirecon.fitting.fused as fused
from hoirecon.fitting.contour import HIDING, NOTHING_BEFORE
from hoirecon.fitting.object_state import DOF, ObjectState, pose_rows, projection_gradient
from hoirecon.fitting.objective import Quadratic, Residuals
from hoirecon.fitting.sdf import DistanceGrid
from hoirecon.fitting.silhouette import FAR

FLOOR = 0.1
"""Share of hidden samples that stays in the normalisation, so that hiding behind the person is not free."""


@dataclass(frozen=True)
class OutlineOnMask:
    """The object's outline lies on the contour of its mask (signed distance at the outline samples).

    Where the person is seen, the outline may run on behind; in front of the person it would have been seen, so that
    such a sample counts as far as it is in front (a sigmoid of the depth difference).
    """

    sigma: float
    """Noise of the mask contour, cells."""
    robust: float | None
    weight: float
    softness: float
    """Softness of the depth order, metres."""
    name: str = "outline on mask"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, N, 1) signed distances."""
        outline, region = state.outline, state.view.region
        kind, distance, slope, front = region.lookup(outline.cells)
        visible = in_front(outline.points[..., 2], front, self.softness)
        counts = outline.outer.to(distance.dtype)
        weight = counts * torch.where(kind == HIDING, visible, 1.0)
        ux, uz, vy, vz = projection_gradient(outline.points, region.camera.focal)
        gx, gy = slope[..., 0] / self.sigma, slope[..., 1] / self.sigma
        gradient = torch.stack([gx * ux, gy * vy, gx * uz + gy * vz], -1)[..., None, :]
        return Residuals(
            r=(distance / self.sigma)[..., None],
            J=pose_rows(gradient, outline.points - state.t[:, None]),
            w=_normalised(weight, counts),
            sigma=self.sigma * region.px_per_cell,
            unit="px",
        )

    def quadratic(self, state: ObjectState) -> Quadratic | None:
        """Its normal equations by compiled loops."""
        if not state.compiled:
            return None
        at = state.view.region.compiled
        fields = (at["kind"], at["distance"], at["front"], at["camera"])
        settings = (self.sigma, self.softness, self.robust or 0.0, self.weight)
        return fused.quadratic("outline_on_mask", len(state), *state.outline_arrays, *fields, *settings)


@dataclass(frozen=True)
class MaskOnOutline:
    """Every point of the mask's contour has a piece of the object's outline at it.

    A sample stands for the straight piece of the outline one spacing to either side, for samples are sparser than the
    noise is small: asked for the distance to samples only, the cost is half gaps, which jump as the object moves.

    A contour point beside the person is the object's own only if the object is in front there; else the person cuts it
    off and it says nothing.
    """

    points: Tensor
    """(M, 2) contour of the mask, cells."""
    front: Tensor
    """(M,) depth of the person beside each, metres."""
    sigma: float
    """Noise of the mask contour, cells."""
    robust: float | None
    weight: float
    softness: float
    """Softness of the depth order, metres."""
    name: str = "mask on outline"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, M, 2) offsets to the piece of the nearest outline sample."""
        outline, region = state.outline, state.view.region
        index = nearest_outline(outline.cells, outline.outer, self.points)
        pick = index[..., None]
        points = outline.points.gather(1, pick.expand(-1, -1, 3))
        cells = outline.cells.gather(1, pick.expand(-1, -1, 2))
        exists = outline.outer.any(1)[:, None].to(points.dtype)
        own = torch.where(self.front < NOTHING_BEFORE, in_front(points[..., 2], self.front, self.softness), 1.0)
        weight = torch.where(exists > 0, own, 1.0)
        along = outline.along.gather(1, pick.expand(-1, -1, 2))
        offset, slope = slide_free((cells - self.points) / self.sigma, along / self.sigma)
        ux, uz, vy, vz = (d * exists / self.sigma for d in projection_gradient(points, region.camera.focal))
        zero = torch.zeros_like(ux)
        gradient = torch.stack([torch.stack([ux, zero, uz], -1), torch.stack([zero, vy, vz], -1)], -2)
        return Residuals(
            r=torch.where(exists[..., None] > 0, offset, FAR),
            J=pose_rows(slope @ gradient, points - state.t[:, None]),
            w=_normalised(weight, torch.ones_like(weight)),
            sigma=self.sigma * region.px_per_cell,
            unit="px",
        )

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        return fused.vectors(self.points), fused.numbers(self.front)

    def quadratic(self, state: ObjectState) -> Quadratic | None:
        """Its normal equations by compiled loops."""
        if not state.compiled:
            return None
        batch, samples = state.outline.outer.shape
        settings = (self.sigma, self.softness, self.robust or 0.0, self.weight)
        scratch = fused.scratch(batch, samples, 2), fused.scratch(batch, samples)
        given = (
            *state.outline_arrays,
            fused.vectors(state.outline.along),
            *self._arrays,
            state.view.region.compiled["camera"],
            *settings,
        )
        return fused.quadratic("mask_on_outline", batch, *given, *scratch)


@dataclass(frozen=True)
class DepthOrder:
    """Where the object is seen and the body is drawn too, the object is the nearer one.

    Without this an object behind the body would be as good as one before it: the mask alone cannot tell.
    """

    sigma: float
    """Noise of the depth difference, metres."""
    tolerance: float
    """Depth difference that costs nothing, metres."""
    robust: float | None
    weight: float
    name: str = "depth order"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, N, 1) how far outline samples on visible cells lie behind the body."""
        outline, region = state.outline, state.view.region
        body = region.body_behind(outline.cells)
        behind = (outline.points[..., 2] - body - self.tolerance).clamp_min(0)
        counts = outline.outer.to(behind.dtype)
        says = counts * (body < NOTHING_BEFORE)  # a long thing crosses the body with few of its samples
        gradient = torch.zeros_like(outline.points)
        gradient[..., 2] = (behind > 0) / self.sigma
        return Residuals(
            r=(behind / self.sigma)[..., None],
            J=pose_rows(gradient[..., None, :], outline.points - state.t[:, None]),
            w=_normalised(says, counts),
            sigma=self.sigma * 1e3,
            unit="mm",
        )

    def quadratic(self, state: ObjectState) -> Quadratic | None:
        """Its normal equations by compiled loops."""
        if not state.compiled:
            return None
        region = state.view.region
        settings = (self.sigma, self.tolerance, self.robust or 0.0, self.weight)
        given = (*state.outline_arrays, region.compiled["backdrop"], region.cells, *settings)
        return fused.quadratic("depth_order", len(state), *given)


def in_front(depth: Tensor, front: Tensor, softness: float) -> Tensor:
    """Degree 0..1 to which something at a depth stands before the hiding thing; 0 where that depth is unknown (0)."""
    return torch.sigmoid((front - depth) / softness)


def nearest_outline(cells: Tensor, outer: Tensor, points: Tensor) -> Tensor:
    """(B, M) index of the outer sample of (B, N, 2) that is nearest to each of the points (M, 2)."""
    middle = points.mean(0)
    q = points - middle
    c = torch.where(outer[..., None], cells - middle, FAR)
    squared = torch.baddbmm(c.square().sum(-1)[:, None, :], q.expand(len(c), -1, -1), c.transpose(1, 2), alpha=-2)
    return squared.argmin(-1)


def slide_free(offset: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets (..., 2) to a segment that reaches ``along`` (..., 2) to either side, not to its middle.

    Returns:
        The shortened offsets, and their derivative (..., 2, 2) by the offset: across the segment only, beside it.
    """
    reach = along.norm(dim=-1, keepdim=True)
    way = along / reach.clamp_min(1e-9)
    slid = (offset * way).sum(-1, keepdim=True)
    free = (slid.abs() < reach).to(offset.dtype)
    eye = torch.eye(2, dtype=offset.dtype, device=offset.device)
    shortened = offset - way * torch.maximum(torch.minimum(slid, reach), -reach)
    return shortened, eye - (free * way)[..., :, None] * way[..., None, :]


def _normalised(weight: Tensor, counts: Tensor) -> Tensor:
    total = weight.sum(-1, keepdim=True) + FLOOR * counts.sum(-1, keepdim=True)
    return weight / total.clamp_min(1e-9)


@dataclass(frozen=True)
class ContactAttraction:
    """Contact points of body and object find each other: nearest pairs, both ways, with a dead zone."""

    body: Tensor
    """(H, 3) camera frame, metres."""
    body_weight: Tensor
    """(H,) sum 1."""
    obj: Tensor
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

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, O + H, 3) offsets of the pairs beyond the dead zone."""
        placed = state.place(self.obj)
        to_body, to_obj = mutual_nearest(placed, self.body)
        theirs = placed.gather(1, to_obj[..., None].expand(-1, -1, 3))
        mine = torch.cat([placed, theirs], 1)
        offset = mine - torch.cat([self.body[to_body], self.body.expand(len(state), -1, -1)], 1)
        r, slope = shrink(offset, self.dead_zone)
        weight = torch.cat([self.obj_weight, self.body_weight]) / 2
        return Residuals(
            r=r / self.sigma,
            J=pose_rows(slope / self.sigma, mine - state.t[:, None]),
            w=weight.expand(len(state), -1),
            sigma=self.sigma * 1e3,
            unit="mm",
        )

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        on_body = fused.vectors(self.body), fused.numbers(self.body_weight)
        return (*on_body, fused.vectors(self.obj), fused.numbers(self.obj_weight))

    def quadratic(self, state: ObjectState) -> Quadratic | None:
        """Its normal equations by compiled loops."""
        if not state.compiled:
            return None
        batch, mine, theirs = len(state), len(self.obj), len(self.body)
        settings = (self.sigma, self.dead_zone, self.robust or 0.0, self.weight)
        scratch = (fused.scratch(batch, mine, 3), fused.scratch(batch, mine + theirs), fused.scratch(batch, theirs, 1))
        pose = (state.arrays.scaled_rotation, state.arrays.t)
        return fused.quadratic("contact", batch, *pose, *self._arrays, *settings, *scratch)


def mutual_nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest of b to each of a (B, N, 3): (B, N); and of the nearest of a to each of b: (B, M).

    b is (M, 3) for all, or (B, M, 3). Nothing is differentiated.
    """
    a, b = a.detach(), b.detach()
    middle = b.mean(-2, keepdim=True)
    a, b = a - middle, b - middle
    squared = a.square().sum(-1)[..., None] - 2 * a @ b.mT + b.square().sum(-1)[..., None, :]
    return squared.argmin(2), squared.argmin(1)


def shrink(offset: Tensor, dead_zone: float) -> tuple[Tensor, Tensor]:
    """Offsets (..., 3) shortened by the dead zone, and their derivative (..., 3, 3) by the offset.

    With e the offset, d its length and f = dead / d: r = (1 - f) e and dr/de = (1 - f) I + f e e^T / d^2; 0 if f > 1.
    """
    length = offset.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    outside = (length > dead_zone).to(offset.dtype)
    factor = (1 - dead_zone / length) * outside
    direction = offset / length
    along = direction[..., :, None] * direction[..., None, :] * (dead_zone / length * outside)[..., None]
    eye = torch.eye(3, dtype=offset.dtype, device=offset.device)
    return offset * factor, factor[..., None] * eye + along


@dataclass(frozen=True)
class BodyInObject:
    """Points of the body do not lie inside the object (its distance grid, moved with the pose)."""

    points: Tensor
    """(P, 3) of the body, camera frame, metres."""
    grid: DistanceGrid
    """Of the object, object frame."""
    sigma: float
    """Metres."""
    tolerance: float
    """Depth that costs nothing, metres."""
    weight: float
    robust: float | None = None
    name: str = "body in object"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, K, 1) depths beyond the tolerance of the points that are inside, K the most of any pose."""
        pose, index, distance, slope = deep_points(
            self.grid, state.to_object(self.points), state.log_s.exp(), self.tolerance
        )
        normal = (state.R[pose] @ slope[..., None])[..., 0]
        rows = pose_rows(normal[:, None, None] / self.sigma, (self.points[index] - state.t[pose])[:, None])[:, 0, 0]
        rows[:, 6] -= distance / self.sigma
        return packed(-(distance + self.tolerance) / self.sigma, rows, pose, len(state), self.sigma)

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        return fused.vectors(self.points), *fused.grid_arrays(self.grid)

    def quadratic(self, state: ObjectState) -> Quadratic | None:
        """Its normal equations by compiled loops."""
        if not state.compiled:
            return None
        pose = (state.arrays.R, state.arrays.log_s, state.arrays.t)
        settings = (self.sigma, self.tolerance, self.robust or 0.0, self.weight)
        return fused.quadratic("penetration", len(state), True, *pose, *self._arrays, *settings)


@dataclass(frozen=True)
class ObjectInBody:
    """Points of the object do not lie inside the body (its distance grid, which stays)."""

    points: Tensor
    """(P, 3) of the object, object frame, metres."""
    grid: DistanceGrid
    """Of the body, camera frame."""
    sigma: float
    """Metres."""
    tolerance: float
    """Depth that costs nothing, metres."""
    weight: float
    robust: float | None = None
    name: str = "object in body"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, K, 1) depths beyond the tolerance of the points that are inside, K the most of any pose."""
        placed = state.place(self.points)
        pose, index, distance, slope = deep_points(self.grid, placed, torch.ones_like(state.log_s), self.tolerance)
        arm = placed[pose, index] - state.t[pose]
        rows = pose_rows(-slope[:, None, None] / self.sigma, arm[:, None])[:, 0, 0]
        return packed(-(distance + self.tolerance) / self.sigma, rows, pose, len(state), self.sigma)

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        return fused.vectors(self.points), *fused.grid_arrays(self.grid)

    def quadratic(self, state: ObjectState) -> Quadratic | None:
        """Its normal equations by compiled loops."""
        if not state.compiled:
            return None
        pose = (state.arrays.R, state.arrays.log_s, state.arrays.t)
        settings = (self.sigma, self.tolerance, self.robust or 0.0, self.weight)
        return fused.quadratic("penetration", len(state), False, *pose, *self._arrays, *settings)


def deep_points(
    grid: DistanceGrid, points: Tensor, scale: Tensor, tolerance: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which points (B, P, 3), in the grid's frame, lie deeper inside than the tolerance.

    Returns:
        Pose (K,) and point (K,) of each, its signed distance (K,) times the pose's ``scale`` (B,), metres, and the
        distance's gradient (K, 3) in the grid's frame.
    """
    pose, index = torch.nonzero(grid.contains(points), as_tuple=True)
    value, slope = grid.sample(points[pose, index])
    distance = value * scale[pose]
    deep = torch.nonzero(distance < -tolerance)[:, 0]
    return pose[deep], index[deep], distance[deep], slope[deep]


def packed(r: Tensor, rows: Tensor, pose: Tensor, batch: int, sigma: float) -> Residuals:
    """Residuals (K,) and rows (K, D), sorted by the pose they belong to, as a padded batch; each counts fully."""
    counts = torch.bincount(pose, minlength=batch)
    width = max(int(counts.max()), 1) if batch else 1
    slot = torch.arange(len(pose), device=pose.device) - (counts.cumsum(0) - counts)[pose]
    out_r, out_w = r.new_zeros(batch, width), r.new_zeros(batch, width)
    out_J = r.new_zeros(batch, width, rows.shape[1])
    out_r[pose, slot], out_w[pose, slot], out_J[pose, slot] = r, 1.0, rows
    return Residuals(out_r[..., None], out_J[..., None, :], out_w, sigma * 1e3, "mm")


@dataclass(frozen=True)
class ScalePrior:
    """The object has about its usual size: log scale is normal."""

    mean: float
    sigma: float
    weight: float = 1.0
    robust: float | None = None
    name: str = "scale prior"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, 1, 1)."""
        return _single((state.log_s - self.mean) / self.sigma, 6, 1 / self.sigma, self.sigma, "ratio")


@dataclass(frozen=True)
class DepthPrior:
    """Without contact nothing but its size tells how far the object is: it is expected at about the person's depth."""

    depth: float
    """Metres."""
    sigma: float
    """Metres."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "depth prior"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, 1, 1)."""
        return _single((state.t[:, 2] - self.depth) / self.sigma, 5, 1 / self.sigma, self.sigma * 1e3, "mm")


def _single(r: Tensor, column: int, slope: float, sigma: float, unit: str) -> Residuals:
    J = r.new_zeros(len(r), 1, 1, DOF)
    J[..., column] = slope
    return Residuals(r[:, None, None], J, torch.ones_like(r)[:, None], sigma, unit)
