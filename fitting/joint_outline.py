"""The person's silhouette in a joint fit: the outline of the posed body against the contour of the person's mask.

The outline is sampled once per refresh, on the best hypothesis (the others stand nearly alike), as points that ride on
the body's edges; between refreshes they are plain body points with closed-form Jacobians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoirecon.data.body.jacobian import BodyPoints
from hoirecon.data.body.model import BodyModel
from hoirecon.fitting.body_terms import BodyView
from hoirecon.fitting.contour import HIDING, MIN_PIXELS, NOTHING_BEFORE, Region, make_region
from hoirecon.fitting.object_state import NEAR, projection_gradient
from hoirecon.fitting.object_terms import FLOOR
from hoirecon.fitting.objective import Residuals
from hoirecon.fitting.silhouette import edge_topology, silhouette_samples
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation

RASTER = 128
"""Side of the raster that tells the outline from inner silhouette edges."""
SAMPLES = 400
"""Samples along the silhouette edges; about half of them lie on the outline."""
CONTOUR = 250
"""Points on the contour of the mask."""
CELLS = 320
"""Largest side of the region around the person."""


def person_region(observation: Observation, body: Mesh, like: Tensor) -> Region | None:
    """The region round the person's mask, in which objects and occluders may hide the body; None without a mask."""
    mask = observation.person_mask
    if mask is None or int(mask.sum()) < MIN_PIXELS:
        return None
    hiding = [*observation.object_masks, *([] if observation.occluders is None else [observation.occluders])]
    nobody = (np.zeros_like(mask), body)
    before = np.logical_or.reduce(hiding) & ~mask if hiding else None
    return make_region(mask, observation.camera, nobody, before, (), CELLS, like.device, like.dtype)


def outline_points(model: BodyModel, verts: Tensor, region: Region) -> BodyPoints:
    """Samples on the outline of a posed body (V, 3), as points between two vertices each."""
    topology = edge_topology(model.faces, verts.device, verts.dtype)
    pixels = region.project(verts[:, None], NEAR) * (RASTER / region.cells)
    picked = silhouette_samples(pixels, topology, SAMPLES, RASTER)
    outer = picked.outer[0]
    a, b, u = picked.a[0][outer], picked.b[0][outer], picked.u[0][outer]
    idx, w = torch.stack([a, b], 1), torch.stack([1 - u, u], 1)
    return BodyPoints(model, idx, w, w.new_zeros(len(w), model.weights.shape[1]))


@dataclass(frozen=True)
class BodyOnMask:
    """The body's outline lies on the contour of the person's mask; where something hides the person it is free."""

    places: slice
    """Of the outline samples among the body's prepared points."""
    region: Region
    sigma: float
    """Noise of the mask contour against the naked body, cells."""
    weight: float
    robust: float | None = 4.0
    name: str = "body on mask"

    def residuals(self, view: BodyView) -> Residuals:
        """(B, N, 1) signed distances."""
        at, J = view.points[:, self.places], view.J_points[:, self.places]
        cells = self.region.project(at, NEAR)
        kind, distance, slope, _ = self.region.lookup(cells.detach())
        distance = distance + (slope * (cells - cells.detach())).sum(-1)
        ux, uz, vy, vz = projection_gradient(at, self.region.camera.focal)
        gx, gy = slope[..., 0] / self.sigma, slope[..., 1] / self.sigma
        gradient = torch.stack([gx * ux, gy * vy, gx * uz + gy * vz], -1)[..., None, :]
        w = (kind != HIDING).to(at.dtype)
        w = w / (w.sum(1, keepdim=True) + FLOOR * w.shape[1]).clamp_min(1e-9)
        unit = self.sigma * self.region.px_per_cell
        return Residuals((distance / self.sigma)[..., None], gradient @ J, w, unit, "px")


@dataclass(frozen=True)
class MaskOnBody:
    """Every point of the person's contour that is not cut off by something else has a point of the outline at it."""

    places: slice
    """Of the outline samples among the body's prepared points."""
    region: Region
    sigma: float
    """Noise of the mask contour against the naked body, cells."""
    weight: float
    robust: float | None = 4.0
    name: str = "mask on body"

    def residuals(self, view: BodyView) -> Residuals:
        """(B, M, 2) offsets to the nearest outline sample."""
        at, J = view.points[:, self.places], view.J_points[:, self.places]
        target, front = self.region.contour_points(CONTOUR)
        cells = self.region.project(at, NEAR)
        index = torch.cdist(target.expand(len(cells), -1, -1), cells.detach()).argmin(2)
        at = at.gather(1, index[..., None].expand(-1, -1, 3))
        J = J.flatten(2).gather(1, index[..., None].expand(-1, -1, 3 * J.shape[3])).view(*at.shape, -1)
        offset = (self.region.project(at, NEAR) - target) / self.sigma
        ux, uz, vy, vz = (d / self.sigma for d in projection_gradient(at, self.region.camera.focal))
        zero = torch.zeros_like(ux)
        gradient = torch.stack([torch.stack([ux, zero, uz], -1), torch.stack([zero, vy, vz], -1)], -2)
        own = (front >= NOTHING_BEFORE).to(at.dtype)
        w = (own / (own.sum() + FLOOR * len(own))).expand(len(at), -1)
        return Residuals(offset, gradient @ J, w, self.sigma * self.region.px_per_cell, "px")
