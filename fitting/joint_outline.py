"""The person's silhouette in a joint fit: the outline of the posed body against the contour of the person's mask.

The outline is sampled once per refresh, on the best hypothesis (the others stand nearly alike), as points that ride on
the body's edges; between refreshes they are plain body points with closed-form Jacobians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoirecon.data.body.jacobian import BodyPoints
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.skeleton import joint_index
from hoirecon.fitting.body_terms import BodyView
from hoirecon.fitting.contour import MIN_PIXELS, Region, make_region
from hoirecon.fitting.object_state import NEAR, projection_gradient
from hoirecon.fitting.object_terms import FLOOR, in_front, slide_free
from hoirecon.fitting.objective import Residuals
from hoirecon.fitting.silhouette import edge_topology, silhouette_samples
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation

RASTER = 256
"""Side of the raster that tells the outline from inner silhouette edges; at 128 an arm and the side next to it are
one."""
SAMPLES = 700
"""Samples along the silhouette edges; about half of them lie on the outline."""
CONTOUR = 350
"""Points on the contour of the mask."""
CELLS = 512
"""Largest side of the region around the person."""


DEPTH_SOFTNESS_M = 0.02
"""Softness of the depth order between body and object at the person's mask, metres: a hand that holds something is not
thicker."""


def person_region(
    observation: Observation, body: Mesh, like: Tensor, objects: Sequence[Mesh] | None = None
) -> Region | None:
    """The region round the person's mask, in which objects and occluders may hide the body; None without a mask.

    Args:
        observation: masks and camera.
        body: posed, camera frame.
        like: device and type of the region's tensors.
        objects: those of the masks, camera frame; None: at unknown depth, so that they hide whatever of the body is
            behind their mask. With them, what of the body is in front of an object ends where its mask ends.
    """
    mask = observation.person_mask
    if mask is None or int(mask.sum()) < MIN_PIXELS:
        return None
    hiding = [] if observation.occluders is None else [observation.occluders]
    hiding += observation.object_masks if objects is None else []
    placed = () if objects is None else tuple(zip(observation.object_masks, objects, strict=True))
    nobody = (np.zeros_like(mask), body)
    before = np.logical_or.reduce(hiding) & ~mask if hiding else None
    return make_region(mask, observation.camera, nobody, before, placed, CELLS, like.device, like.dtype)


@dataclass(frozen=True)
class Outline:
    """Samples on the outline of a posed body."""

    points: BodyPoints
    """N points, between two vertices each."""
    along: Tensor
    """(N, 2) direction of the edge that each lies on, as long as the spacing of the samples, cells of the region."""

    def trust(self, unsure: Tensor) -> Tensor:
        """(N,) 0 for samples on vertices that are marked in ``unsure`` (V,), 1 for the others."""
        return (~unsure[self.points.idx].any(1)).to(self.along)

    def terms(
        self, first: int, region: Region, sigma: float, weight: float, clothes: float = 1.0, head: bool = True
    ) -> tuple[BodyOnMask, MaskOnBody]:
        """Outline and mask of the person, both ways.

        Args:
            first: place of the outline's first sample among the body's prepared points.
            region: round the person's mask.
            sigma: noise of the mask's contour, cells.
            weight: effective number of measurements, each way.
            clothes: factor on that noise where the body lies inside the mask.
            head: whether the head's outline counts; False where hair hides it.
        """
        both = slice(first, first + len(self.points)), region, sigma, weight
        trust = None if head else self.trust(under_hair(self.points.model))
        return BodyOnMask(*both, trust, clothes), MaskOnBody(*both, self.along, trust, clothes)


def within(distance: Tensor, clothes: float) -> Tensor:
    """Factor on the noise at signed distances from the mask, negative inside."""
    return torch.where(distance < 0, clothes, 1.0).to(distance)


def under_hair(model: BodyModel) -> Tensor:
    """(V,) the head's vertices, whose outline hair and caps hide."""
    return model.weights.argmax(1) == joint_index("head")


def outline_points(model: BodyModel, verts: Tensor, region: Region) -> Outline:
    """Samples on the outline of a posed body (V, 3)."""
    topology = edge_topology(model.faces, verts.device, verts.dtype)
    scale = RASTER / region.cells
    pixels = region.project(verts[:, None], NEAR) * scale
    picked = silhouette_samples(pixels, topology, SAMPLES, RASTER)
    outer = picked.outer[0]
    a, b, u = picked.a[0][outer], picked.b[0][outer], picked.u[0][outer]
    idx, w = torch.stack([a, b], 1), torch.stack([1 - u, u], 1)
    points = BodyPoints(model, idx, w, w.new_zeros(len(w), model.weights.shape[1]))
    return Outline(points, picked.along[0][outer] / scale)


@dataclass(frozen=True)
class BodyOnMask:
    """The body's outline lies on the contour of the person's mask; where something hides the person it is free.

    Where an object of known depth is seen the outline counts as far as it is in front (a sigmoid of the depth
    difference): a hand in front of what it holds ends where the object's mask begins.
    """

    places: slice
    """Of the outline samples among the body's prepared points."""
    region: Region
    sigma: float
    """Noise of the mask contour against the naked body, cells."""
    weight: float
    trust: Tensor | None = None
    """(N,) 0 for samples that tell nothing, such as those under hair; None: all tell."""
    clothes: float = 1.0
    """Factor on the noise where the outline lies inside the mask, as that of a body under clothes does."""
    robust: float | None = 4.0
    name: str = "body on mask"

    def residuals(self, view: BodyView) -> Residuals:
        """(B, N, 1) signed distances."""
        at, J = view.points[:, self.places], view.J_points[:, self.places]
        cells = self.region.project(at, NEAR)
        _, distance, slope, front = self.region.lookup(cells.detach())
        distance = distance + (slope * (cells - cells.detach())).sum(-1)
        sigma = self.sigma * within(distance.detach(), self.clothes)
        ux, uz, vy, vz = projection_gradient(at, self.region.camera.focal)
        gx, gy = slope[..., 0] / sigma, slope[..., 1] / sigma
        gradient = torch.stack([gx * ux, gy * vy, gx * uz + gy * vz], -1)[..., None, :]
        w = in_front(at[..., 2].detach(), front, DEPTH_SOFTNESS_M)
        w = w if self.trust is None else w * self.trust
        w = w / (w.sum(1, keepdim=True) + FLOOR * w.shape[1]).clamp_min(1e-9)
        return Residuals((distance / sigma)[..., None], gradient @ J, w, self.region.px_per_cell, "px", sigma)


@dataclass(frozen=True)
class MaskOnBody:
    """Every point of the person's contour that is not cut off by something else has a piece of the outline at it.

    A sample stands for the straight piece of the outline one spacing to either side of it, which the body may slide
    along: what a contour says of a limb is where it is across it.
    """

    places: slice
    """Of the outline samples among the body's prepared points."""
    region: Region
    sigma: float
    """Noise of the mask contour against the naked body, cells."""
    weight: float
    along: Tensor
    """(N, 2) of the outline samples, see :class:`Outline`."""
    trust: Tensor | None = None
    """(N,) as of :class:`BodyOnMask`: contour that is nearest to a sample without trust tells nothing."""
    clothes: float = 1.0
    """As of :class:`BodyOnMask`, by where the nearest sample lies."""
    robust: float | None = 4.0
    name: str = "mask on body"

    def residuals(self, view: BodyView) -> Residuals:
        """(B, M, 2) offsets to the piece of the nearest outline sample."""
        at, J = view.points[:, self.places], view.J_points[:, self.places]
        target, front = self.region.contour_points(CONTOUR)
        cells = self.region.project(at, NEAR)
        index = torch.cdist(target.expand(len(cells), -1, -1), cells.detach()).argmin(2)
        at = at.gather(1, index[..., None].expand(-1, -1, 3))
        J = J.flatten(2).gather(1, index[..., None].expand(-1, -1, 3 * J.shape[3])).view(*at.shape, -1)
        seen = self.region.project(at, NEAR)
        sigma = self.sigma * within(self.region.lookup(seen.detach())[1], self.clothes)[..., None]
        offset, slope = slide_free((seen - target) / sigma, self.along[index] / sigma)
        ux, uz, vy, vz = (d / sigma[..., 0] for d in projection_gradient(at, self.region.camera.focal))
        zero = torch.zeros_like(ux)
        gradient = torch.stack([torch.stack([ux, zero, uz], -1), torch.stack([zero, vy, vz], -1)], -2)
        own = in_front(at[..., 2].detach(), front, DEPTH_SOFTNESS_M)
        own = own if self.trust is None else own * self.trust[index]
        w = own / (own.sum(1, keepdim=True) + FLOOR * own.shape[1])
        return Residuals(offset, slope @ gradient @ J, w, self.region.px_per_cell, "px", sigma[..., 0])
