"""Point clouds as discs: the nearest ten at each pixel, blended from front to back, as pytorch3d draws them.

The clouds of affordance training have no faces; every point is a disc of fixed radius on the picture, opaque in its
middle and transparent at its rim, and a pixel's point is the nearest one that covers it. A pixel that any disc covers
is blended over black and not over the white of the background, as in the released pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hoirecon.contact.rendering.cameras import ViewCamera, project, view_cameras
from hoirecon.contact.rendering.shading import to_bytes
from hoirecon.contact.rendering.types import PointMaps, RenderedViews, Surface, ViewTable

POINT_RADIUS = 0.05
"""Radius of a point in NDC where the pictures of PIAD's objects were drawn."""
POINT_RADIUS_LEMON = 0.03
"""The same for LEMON's objects."""
POINTS_PER_PIXEL = 10
"""Discs that are blended at a pixel; those behind them do not count."""
MAX_FRAGMENTS = 4_000_000
"""Pixels of discs expanded at once, about 300 MB."""


class PointDrawer(Protocol):
    """Draws one view of a cloud."""

    def draw(self, points: Tensor, colors: Tensor, camera: ViewCamera, size: int) -> tuple[Tensor, Tensor]:
        """Colours (H, W, 3) in [0, 1] and the nearest point's id (H, W), -1 where there is none."""
        ...

    @property
    def device(self) -> str:
        """Where it draws."""
        ...


def render_cloud(surface: Surface, table: ViewTable, drawer: PointDrawer) -> RenderedViews:
    """Draw a cloud from every view; lights and normals play no part."""
    points = torch.from_numpy(surface.verts.astype(np.float32)).to(drawer.device)
    colors = torch.from_numpy(surface.colors.astype(np.float32)).to(drawer.device)
    shape = (len(table.views), table.size, table.size)
    images, ids = np.empty((*shape, 3), np.uint8), np.empty(shape, np.int32)
    for v, camera in enumerate(view_cameras(table, points=True)):
        color, nearest = drawer.draw(points, colors, camera.to(drawer.device), table.size)
        images[v], ids[v] = to_bytes(color).cpu().numpy(), nearest.int().cpu().numpy()
    return RenderedViews(images, PointMaps(ids, len(points), table.names))


@dataclass(frozen=True)
class ZBufferPoints:
    """Our own discs: points sorted by depth once, expanded in rounds to pixels that are not yet full."""

    device: str = "cpu"
    """Where it draws."""
    radius: float = POINT_RADIUS
    """Of a disc, NDC."""

    def draw(self, points: Tensor, colors: Tensor, camera: ViewCamera, size: int) -> tuple[Tensor, Tensor]:
        """See :class:`PointDrawer`."""
        seen = camera.to_camera(points)
        order = torch.argsort(seen[:, 2], stable=True)
        order = order[seen[order, 2] > 0]
        canvas = _Canvas.empty(size, points.device)
        ndc = project(seen[order])
        for near, boxes in _rounds_of_discs(ndc, self.radius, size, canvas):
            pixel, point, alpha = _discs(ndc, near, boxes, self.radius, size)
            canvas.add(pixel, order[point], alpha, colors)
        return canvas.finished(size)


@dataclass(frozen=True)
class _Canvas:
    """What has been blended so far at every pixel."""

    color: Tensor
    """(H * W, 3)."""
    clear: Tensor
    """(H * W,) share of light from behind that still comes through."""
    count: Tensor
    """(H * W,) discs blended."""
    nearest: Tensor
    """(H * W,) first disc's point, or -1."""

    @classmethod
    def empty(cls, size: int, device: torch.device) -> _Canvas:
        cells = size * size
        return cls(
            torch.zeros(cells, 3, device=device),
            torch.ones(cells, device=device),
            torch.zeros(cells, dtype=torch.int64, device=device),
            torch.full((cells,), -1, dtype=torch.int64, device=device),
        )

    def add(self, pixel: Tensor, point: Tensor, alpha: Tensor, colors: Tensor) -> None:
        """Blend fragments that come in order of depth."""
        room = self.count[pixel] < POINTS_PER_PIXEL
        pixel, by_pixel = torch.sort(pixel[room], stable=True)
        point, alpha = point[room][by_pixel], alpha[room][by_pixel]
        place = _place_in_group(pixel) + self.count[pixel]
        for k in range(POINTS_PER_PIXEL):  # at most one fragment per pixel in each step
            now = place == k
            cell, weight = pixel[now], alpha[now]
            if k == 0:
                self.nearest[cell] = point[now]
            self.color[cell] += (self.clear[cell] * weight)[:, None] * colors[point[now]]
            self.clear[cell] *= 1 - weight
            self.count[cell] += 1

    def finished(self, size: int) -> tuple[Tensor, Tensor]:
        """Colours on white (H, W, 3) and nearest points (H, W)."""
        color = torch.where(self.nearest[:, None] < 0, 1.0, self.color)
        return color.view(size, size, 3), self.nearest.view(size, size)


def _place_in_group(sorted_ids: Tensor) -> Tensor:
    """For ascending ids: how many equal ones stand before each."""
    _, counts = torch.unique_consecutive(sorted_ids, return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    return torch.arange(len(sorted_ids), device=sorted_ids.device) - starts


def _rounds_of_discs(ndc: Tensor, radius: float, size: int, canvas: _Canvas) -> Iterator[tuple[Tensor, Tensor]]:
    """Points (ids, in order of depth) and the boxes (4, P) of their discs: first and last column and row.

    Points whose box holds no pixel with room left are skipped; with many points that is nearly all of them.
    """
    boxes = torch.stack([*_pixels(ndc[:, 0], radius, size), *_pixels(ndc[:, 1], radius, size)])
    cells = (boxes[1] - boxes[0] + 1).clamp_min(0) * (boxes[3] - boxes[2] + 1).clamp_min(0)
    waiting = cells.nonzero()[:, 0]
    while len(waiting):
        waiting = waiting[_has_room(boxes[:, waiting], canvas, size)]
        taken = int(torch.searchsorted(cells[waiting].cumsum(0), MAX_FRAGMENTS, right=True))
        now, waiting = waiting[: max(taken, 1)], waiting[max(taken, 1) :]
        if len(now):
            yield now, boxes[:, now]


def _has_room(boxes: Tensor, canvas: _Canvas, size: int) -> Tensor:
    """(P,) whether any pixel of each box is not full, by a summed-area table."""
    sums = torch.zeros(size + 1, size + 1, dtype=torch.int64, device=boxes.device)
    sums[1:, 1:] = (canvas.count < POINTS_PER_PIXEL).view(size, size).flip(0, 1).cumsum(0).cumsum(1)
    u0, u1, v0, v1 = boxes[0], boxes[1] + 1, boxes[2], boxes[3] + 1
    return (sums[v1, u1] - sums[v0, u1] - sums[v1, u0] + sums[v0, u0]) > 0


def _pixels(at: Tensor, radius: float, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel (in the direction of NDC) whose centre may lie within a radius."""
    first = (((at - radius + 1) * size - 1) / 2 - 0.05).ceil().clamp(0, size).long()
    last = (((at + radius + 1) * size - 1) / 2 + 0.05).floor().clamp(-1, size - 1).long()
    return first, last


def _discs(ndc: Tensor, ids: Tensor, boxes: Tensor, radius: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of discs in order of depth: (K,) pixel, (K,) row of ``ndc``, (K,) opacity."""
    width = boxes[1] - boxes[0] + 1
    counts = width * (boxes[3] - boxes[2] + 1)
    disc = torch.repeat_interleave(counts)
    within = torch.arange(len(disc), device=ndc.device) - (counts.cumsum(0) - counts)[disc]
    column = boxes[0][disc] + within % width[disc]
    row = boxes[2][disc] + torch.div(within, width[disc], rounding_mode="floor")
    near = ids[disc]
    dx = ndc[near, 0] - ((2.0 * column + 1.0) / size - 1.0)
    dy = ndc[near, 1] - ((2.0 * row + 1.0) / size - 1.0)
    distance = dx * dx + dy * dy
    inside = distance < torch.tensor(radius, dtype=ndc.dtype, device=ndc.device) ** 2
    pixel = (size - 1 - row) * size + (size - 1 - column)
    return pixel[inside], near[inside], 1 - distance[inside] / (radius * radius)
