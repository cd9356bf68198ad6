"""Point clouds as discs: the nearest ten at each pixel, blended from front to back, as pytorch3d draws them.

The clouds of affordance training have no faces; every point is a disc of fixed radius on the picture, opaque in its
middle and transparent at its rim, and a pixel's point is the nearest one that covers it. A pixel that any disc covers
is blended over black and not over the white of the background, as in the released pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hoirecon.contact.rendering.cameras import ViewCamera, project, view_cameras
from hoirecon.contact.rendering.cells import centre, centres_between, nonzero
from hoirecon.contact.rendering.shading import to_bytes
from hoirecon.contact.rendering.types import PointMaps, RenderedViews, Surface, ViewTable
from hoirecon.ragged import expand, rounds

POINT_RADIUS = 0.05
"""Radius of a point in NDC where the pictures of PIAD's objects were drawn."""
POINT_RADIUS_LEMON = 0.03
"""The same for LEMON's objects."""
POINTS_PER_PIXEL = 10
"""Discs that are blended at a pixel; those behind them do not count."""


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
    """Our own discs: points sorted by depth once, expanded in rounds to those pixels that still have room."""

    device: str = "cpu"
    """Where it draws."""
    radius: float = POINT_RADIUS
    """Of a disc, NDC."""

    def draw(self, points: Tensor, colors: Tensor, camera: ViewCamera, size: int) -> tuple[Tensor, Tensor]:
        """See :class:`PointDrawer`."""
        seen = camera.to_camera(points)
        order = torch.argsort(seen[:, 2], stable=True)
        order = order[seen[order, 2] > 0]
        ndc = project(seen[order])
        low, high = centres_between(ndc[:, 1] - self.radius, ndc[:, 1] + self.radius, size)
        canvas = _Canvas.empty(size, points.device)
        rows = (high - low + 1).clamp_min(0)
        for start, stop in rounds(rows * min(size, int(self.radius * size) + 2)):
            chunk = slice(start, stop)
            pixel, point, alpha = _discs(ndc[chunk], low[chunk], rows[chunk], self.radius, size, canvas.room())
            canvas.add(pixel, order[chunk][point], alpha, colors)
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
    first: Tensor
    """(H * W,) scratch: the first of the waiting fragments."""

    @classmethod
    def empty(cls, size: int, device: torch.device) -> _Canvas:
        cells = size * size
        zeros = torch.zeros(cells, dtype=torch.int64, device=device)
        color, clear = torch.zeros(cells, 3, device=device), torch.ones(cells, device=device)
        return cls(color, clear, zeros, zeros - 1, zeros.clone())

    def room(self) -> Tensor:
        """(H * W,) where more discs count."""
        return self.count < POINTS_PER_PIXEL

    def add(self, pixel: Tensor, point: Tensor, alpha: Tensor, colors: Tensor) -> None:
        """Blend fragments that come in order of depth: again and again the first of those that wait at each pixel."""
        while len(pixel):
            place = torch.arange(len(pixel), device=pixel.device)
            self.first[pixel] = len(pixel)
            self.first.scatter_reduce_(0, pixel, place, "amin")
            now = self.first.index_select(0, pixel) == place
            chosen = nonzero(now)
            cell, nearest, weight = (part.index_select(0, chosen) for part in (pixel, point, alpha))
            self._blend(cell, nearest, weight, colors)
            wait = nonzero(~now & (self.count.index_select(0, pixel) < POINTS_PER_PIXEL))
            pixel, point, alpha = (part.index_select(0, wait) for part in (pixel, point, alpha))

    def _blend(self, cell: Tensor, point: Tensor, alpha: Tensor, colors: Tensor) -> None:
        """One fragment at each of some different pixels."""
        clear = self.clear[cell]
        self.nearest[cell] = torch.where(self.count[cell] == 0, point, self.nearest[cell])
        self.color[cell] += (clear * alpha)[:, None] * colors[point]
        self.clear[cell] = clear * (1 - alpha)
        self.count[cell] += 1

    def finished(self, size: int) -> tuple[Tensor, Tensor]:
        """Colours on white (H, W, 3) and nearest points (H, W)."""
        color = torch.where(self.nearest[:, None] < 0, 1.0, self.color)
        return color.view(size, size, 3), self.nearest.view(size, size)


def _discs(
    ndc: Tensor, low: Tensor, rows: Tensor, radius: float, size: int, room: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of discs that have room, in order of depth: (K,) pixel, (K,) row of ``ndc``, (K,) opacity.

    Each row of a disc is a run of columns; the pixels with room are listed once, and a run is a stretch of that list,
    so that full pixels cost nothing: with many points nearly all of them are full.
    """
    before = torch.zeros(size * size + 1, dtype=torch.int64, device=ndc.device)
    torch.cumsum(room, 0, out=before[1:])
    listed = nonzero(room)
    disc, within = expand(rows)
    row = low[disc] + within
    dy = ndc[disc, 1] - centre(row, size)
    half = (radius * radius - dy * dy).clamp_min(0).sqrt()
    first, last = centres_between(ndc[disc, 0] - half, ndc[disc, 0] + half, size)
    start = (size - 1 - row) * size + (size - 1 - last)  # on the picture columns run the other way
    begin = before[start.clamp(0, size * size)]
    counts = torch.where(first <= last, before[(start + last - first + 1).clamp(0, size * size)] - begin, 0)
    run, within = expand(counts)
    pixel = listed.index_select(0, begin.index_select(0, run) + within)
    point = disc.index_select(0, run)
    dx = ndc[:, 0].index_select(0, point) - centre(size - 1 - pixel % size, size)
    distance = dx * dx + (dy * dy).index_select(0, run)
    inside = nonzero(distance < torch.tensor(radius, dtype=ndc.dtype, device=ndc.device) ** 2)
    pixel, point, distance = (part.index_select(0, inside) for part in (pixel, point, distance))
    return pixel, point, 1 - distance / (radius * radius)
