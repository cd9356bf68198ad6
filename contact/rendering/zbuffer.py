"""A fast z-buffer in plain torch that sees the same pixels as pytorch3d's rasteriser.

Every triangle is cut into rows, every row is reduced to the run of pixel centres inside the triangle (exactly, by the
rasteriser's own edge functions at its two ends), and only these pixels compete for the nearest depth, in one integer
scatter. Barycentric weights and colours are computed for the winners alone. Nothing depends on the order of threads:
the greatest (nearness, face) wins, so results are the same on every run, on CPU and CUDA.

As in pytorch3d: pixel (0, 0) is top left, NDC +x is left and +y up; both sides are drawn; a centre exactly on an edge
belongs to neither triangle; triangles whose NDC area is 1e-8 or less are not drawn; of equal depths the first face
wins; triangles behind the clipping depth (0.5) are dropped, those that cross it are cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hoirecon.contact.rendering.cameras import Z_CLIP, ViewCamera, project, view_cameras
from hoirecon.contact.rendering.cells import centre, centres_between, nonzero
from hoirecon.contact.rendering.points import POINT_RADIUS, ZBufferPoints, render_cloud
from hoirecon.contact.rendering.shading import phong, to_bytes
from hoirecon.contact.rendering.types import Lights, PixelMaps, RenderedViews, Surface, ViewTable
from hoirecon.contact.rendering.views import check_lights
from hoirecon.ragged import expand, rounds

MIN_AREA = 1e-8
"""Twice a triangle's area in NDC below which it is not drawn; also added to it before division, as pytorch3d does."""
NO_FACE = 0x7FFFFFFF
"""Greater than any face's number."""


@dataclass(frozen=True)
class Fragments:
    """The pixels of one picture that show a face."""

    pixels: Tensor
    """(P,) row * size + column, ascending."""
    faces: Tensor
    """(P,) id of the nearest face."""
    bary: Tensor
    """(P, 3) perspective-correct weights of its corners."""


@dataclass(frozen=True)
class _Soup:
    """Triangles by corner: what is gathered most is stored in rows of its own."""

    x: Tensor
    """(3, F) NDC."""
    y: Tensor
    """(3, F) NDC."""
    z: Tensor
    """(3, F) camera depth."""
    faces: Tensor
    """(F,) face of the mesh that each is (a part of)."""
    parts: Tensor | None
    """(F, 3, 3) weights of the mesh's face at each corner; None if none was cut."""

    def take(self, ids: Tensor) -> _Soup:
        parts = None if self.parts is None else self.parts[ids]
        x, y, z = (c.index_select(1, ids) for c in (self.x, self.y, self.z))
        return _Soup(x, y, z, self.faces[ids], parts)


def rasterize(points: Tensor, faces: Tensor, size: int) -> Fragments:
    """Which face every pixel of a square picture shows.

    Args:
        points: (N, 3) float32 in the camera frame (x left, y up, z forward).
        faces: (F, 3) int64 vertex ids.
        size: side of the picture, pixels.

    Returns:
        The covered pixels, on the device of ``points``.
    """
    soup = _soup(points, faces)
    soup, box = _drawable(soup, size)
    nearest = torch.zeros(size * size, dtype=torch.int64, device=points.device)
    orient, low, high = _oriented(soup), box[0], box[1]
    for start, stop in rounds(high - low + 1):
        span = slice(start, stop)
        _draw(nearest, orient[:, span], soup.z[:, span], low[span], high[span], start, size)
    pixels = nonzero(nearest)
    winners = NO_FACE - (nearest[pixels] & NO_FACE)
    return Fragments(pixels, soup.faces[winners], _weights(soup, winners, pixels, size))


def _soup(points: Tensor, faces: Tensor) -> _Soup:
    corners = faces.t().contiguous()
    ndc = project(points)
    x, y = (ndc[:, k].contiguous()[corners] for k in range(2))
    z = points[:, 2].contiguous()[corners]
    ids = torch.arange(len(faces), device=points.device)
    behind = z < Z_CLIP
    if not bool(behind.any()):
        return _Soup(x, y, z, ids, None)
    whole, crossing = nonzero(~behind.any(0)), nonzero(behind.any(0) & ~behind.all(0))
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    kept = _Soup(x[:, whole], y[:, whole], z[:, whole], whole, eye.expand(len(whole), 3, 3))
    return _joined(kept, _cut(points[faces[crossing]], crossing))


def _cut(corners: Tensor, ids: Tensor) -> _Soup:
    """The parts before the clipping depth of triangles (C, 3, 3) that cross it: one triangle each, or two."""
    behind = corners[..., 2] < Z_CLIP
    alone_behind = behind.sum(1) == 1
    lone = torch.where(alone_behind, behind.int().argmax(1), (~behind).int().argmax(1))
    order = (lone[:, None] + torch.arange(3, device=ids.device)) % 3  # the corner on its own side, then the other two
    turned = torch.gather(corners, 1, order[..., None].expand(-1, -1, 3))
    weights = torch.eye(3, dtype=corners.dtype, device=ids.device)[order]
    at_b, w_b = _crossing(turned, weights, 1)
    at_c, w_c = _crossing(turned, weights, 2)
    one, two = ~alone_behind, alone_behind
    points = torch.cat([_tri(turned[:, 0], at_b, at_c)[one], _tri(at_b, turned[:, 1], turned[:, 2])[two],
                        _tri(at_b, turned[:, 2], at_c)[two]])  # fmt: skip
    parts = torch.cat([_tri(weights[:, 0], w_b, w_c)[one], _tri(w_b, weights[:, 1], weights[:, 2])[two],
                       _tri(w_b, weights[:, 2], w_c)[two]])  # fmt: skip
    ndc = project(points)
    faces = torch.cat([ids[one], ids[two], ids[two]])
    return _Soup(ndc[..., 0].t(), ndc[..., 1].t(), points[..., 2].t(), faces, parts)


def _crossing(corners: Tensor, weights: Tensor, other: int) -> tuple[Tensor, Tensor]:
    """Where the edge from the first corner to another meets the clipping depth: (C, 3) point and weights."""
    z0, z1 = corners[:, 0, 2], corners[:, other, 2]
    t = ((z0 - Z_CLIP) / (z0 - z1))[:, None]
    point = corners[:, 0] * (1 - t) + corners[:, other] * t
    point = torch.cat([point[:, :2], torch.full_like(t, Z_CLIP)], dim=1)
    return point, weights[:, 0] * (1 - t) + weights[:, other] * t


def _tri(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.stack([a, b, c], dim=1)


def _joined(a: _Soup, b: _Soup) -> _Soup:
    assert a.parts is not None
    assert b.parts is not None
    x, y, z = (torch.cat(pair, dim=1) for pair in ((a.x, b.x), (a.y, b.y), (a.z, b.z)))
    return _Soup(x, y, z, torch.cat([a.faces, b.faces]), torch.cat([a.parts, b.parts]))


def _drawable(soup: _Soup, size: int) -> tuple[_Soup, tuple[Tensor, Tensor]]:
    """Triangles that may hold a pixel centre, and their first and last row (counted from the bottom)."""
    columns = centres_between(soup.x.amin(0), soup.x.amax(0), size)
    rows = centres_between(soup.y.amin(0), soup.y.amax(0), size)
    seen = (columns[0] <= columns[1]) & (rows[0] <= rows[1]) & (_area(soup).abs() > MIN_AREA)
    ids = nonzero(seen)
    return soup.take(ids), (rows[0][ids], rows[1][ids])


def _area(soup: _Soup) -> Tensor:
    """(F,) twice the signed area, NDC."""
    x, y = soup.x, soup.y
    return (x[2] - x[0]) * (y[1] - y[0]) - (y[2] - y[0]) * (x[1] - x[0])


def _oriented(soup: _Soup) -> Tensor:
    """(12, F) start x, start y, dx, dy of the edges opposite to corners 0, 1, 2, turned so that inside is positive."""
    a, b = [1, 2, 0], [2, 0, 1]
    sign = _area(soup).sign()
    return torch.cat([soup.x[a], soup.y[a], sign * (soup.x[b] - soup.x[a]), sign * (soup.y[b] - soup.y[a])])


def _draw(nearest: Tensor, edges: Tensor, depths: Tensor, low: Tensor, high: Tensor, base: int, size: int) -> None:
    """Let the pixels of some triangles compete; ``base`` is the number of the first of them."""
    face, within = expand(high - low + 1)
    row = low.index_select(0, face) + within
    of_row = edges.index_select(1, face)
    first, last = _run(of_row, row, size)
    first, last, ends = _exact_ends(of_row, row, first, last, size)
    kept = nonzero(first <= last)
    face, row, first, last = (part.index_select(0, kept) for part in (face, row, first, last))
    near_first, near_last = (_nearness(e.index_select(1, kept), depths.index_select(1, face)) for e in ends)
    count = last - first + 1
    step = (near_last - near_first) / (count - 1).clamp_min(1)
    pixel = (size - 1 - row) * size + (size - 1 - first)
    rank = NO_FACE - (base + face)
    for start, stop in rounds(count):
        s = slice(start, stop)
        _compete(nearest, pixel[s], count[s], near_first[s], step[s], rank[s])


def _run(edges: Tensor, row: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last column (from the right) of each row's run, at most one too many at either end."""
    x, y, dx, dy = edges.view(4, 3, -1)
    cross = (centre(row, size) - y) * dx
    at = x + cross / dy
    low = torch.where(dy > 0, at, -torch.inf).amax(0)
    high = torch.where(dy < 0, at, torch.inf).amin(0)
    return centres_between(low.clamp(-2, 2), high.clamp(-2, 2), size)


def _exact_ends(
    edges: Tensor, row: Tensor, first: Tensor, last: Tensor, size: int
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Move each end inward by one if its centre is not strictly inside; and the edge functions (3, R) at both ends.

    Between two centres inside all are inside: rounding is monotonous, and so is an edge function along a row.
    """
    x, y, dx, dy = edges.view(4, 3, -1)
    cross = (centre(row, size) - y) * dx

    def edge(column: Tensor) -> Tensor:
        value: Tensor = (centre(column, size) - x) * dy - cross
        return value

    at_first, at_last = edge(first), edge(last)
    first = first + (at_first <= 0).any(0).long()
    last = last - (at_last <= 0).any(0).long()
    at_first, at_last = edge(first), edge(last)
    empty = (at_first <= 0).any(0) | (at_last <= 0).any(0)
    return first, torch.where(empty, first - 1, last), (at_first, at_last)


def _nearness(edges: Tensor, z: Tensor) -> Tensor:
    """(R,) 1 / depth where the edge functions are (3, R), which is what is linear along a row."""
    pairs = torch.stack([z[1] * z[2], z[2] * z[0], z[0] * z[1]])
    return (edges * pairs).sum(0) / (edges.sum(0) * z[0] * z[1] * z[2])


def _compete(nearest: Tensor, pixel: Tensor, count: Tensor, near: Tensor, step: Tensor, rank: Tensor) -> None:
    """Keep the nearest of all runs at every pixel: positive floats sort as the integers of their bits."""
    run, within = expand(count)
    value = near.index_select(0, run) + step.index_select(0, run) * within
    key = (value.view(torch.int32).long() << 32) | rank.index_select(0, run)
    nearest.scatter_reduce_(0, pixel.index_select(0, run) - within, key, "amax")


def _weights(soup: _Soup, winners: Tensor, pixels: Tensor, size: int) -> Tensor:
    """(P, 3) perspective-correct barycentric weights at the centres of pixels, by pytorch3d's formulas."""
    x, y, z = (c.index_select(1, winners) for c in (soup.x, soup.y, soup.z))
    px = centre(size - 1 - pixels % size, size)
    py = centre(size - 1 - torch.div(pixels, size, rounding_mode="floor"), size)
    area = (x[2] - x[0]) * (y[1] - y[0]) - (y[2] - y[0]) * (x[1] - x[0]) + MIN_AREA
    a, b = [1, 2, 0], [2, 0, 1]
    flat = ((px - x[a]) * (y[b] - y[a]) - (py - y[a]) * (x[b] - x[a])) / area
    bent = torch.stack([flat[0] * z[1] * z[2], flat[1] * z[0] * z[2], flat[2] * z[0] * z[1]])
    bary = (bent / bent.sum(0).clamp_min(1e-8)).t()
    if soup.parts is None:
        return bary
    return torch.bmm(bary[:, None], soup.parts[winners])[:, 0]


@dataclass(frozen=True)
class ZBufferRenderer:
    """The fast renderer: a z-buffer on the CPU or a CUDA device; point clouds by the same idea."""

    device: str = "cpu"
    """Where it draws."""
    point_radius: float = POINT_RADIUS
    """Radius of the points of a cloud, NDC."""

    @property
    def name(self) -> str:
        """Part of a cache's key; both devices see the same pixels."""
        return "zbuffer"

    def render(self, surface: Surface, table: ViewTable, lights: Lights) -> RenderedViews:
        """Draw; see :class:`hoirecon.contact.rendering.types.Renderer`.

        Raises:
            InputError: another number of lights than views.
        """
        check_lights(table, lights)
        if surface.faces is None:
            return render_cloud(surface, table, ZBufferPoints(self.device, self.point_radius))
        mesh = MeshTensors.of(surface, self.device)
        shape = (len(table.views), table.size, table.size, 3)
        images, verts = np.full(shape, 255, np.uint8), np.full(shape, -1, np.int32)
        bary = np.full(shape, -1, np.float32)
        for v, (camera, light) in enumerate(zip(view_cameras(table), lights, strict=True)):
            camera = camera.to(self.device)
            seen = rasterize(camera.to_camera(mesh.verts), mesh.faces, table.size)
            _put(verts[v], seen.pixels, mesh.faces[seen.faces].int())
            _put(bary[v], seen.pixels, seen.bary)
            _put(images[v], seen.pixels, to_bytes(mesh.shade(seen, camera, light)))
        return RenderedViews(images, PixelMaps(verts, bary, len(surface.verts), table.names))


@dataclass(frozen=True)
class MeshTensors:
    """A surface's triangles and what is interpolated over them, float32, on one device."""

    verts: Tensor
    """(N, 3)."""
    faces: Tensor
    """(F, 3)."""
    attributes: Tensor
    """(N, 9) position, colour and normal side by side, so that a corner is fetched at once; (N, 6) if unlit."""

    @classmethod
    def of(cls, surface: Surface, device: str) -> MeshTensors:
        """Copy a surface with faces to a device."""
        assert surface.faces is not None
        parts = [surface.verts, surface.colors, *([] if surface.normals is None else [surface.normals])]
        attributes = torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32)).to(device)
        faces = torch.from_numpy(np.ascontiguousarray(surface.faces, np.int64)).to(device)
        return cls(attributes[:, :3].contiguous(), faces, attributes)

    def shade(self, seen: Fragments, camera: ViewCamera, light: tuple[float, float, float]) -> Tensor:
        """(P, 3) colours in [0, 1] of what is seen."""
        corners = self.faces[seen.faces]
        at = sum(self.attributes.index_select(0, corners[:, k]) * seen.bary[:, k, None] for k in range(3))
        assert isinstance(at, Tensor)
        if at.shape[1] == 6:
            return at[:, 3:]
        lamp = torch.tensor(light, dtype=at.dtype, device=at.device)
        return phong(at[:, :3], at[:, 6:], at[:, 3:6], lamp, camera.center)


def _put(picture: npt.NDArray[Any], pixels: Tensor, values: Tensor) -> None:
    """Write the covered pixels of one (H, W, 3) picture in place."""
    flat = torch.from_numpy(picture).view(-1, 3)
    flat.index_copy_(0, pixels.cpu(), values.cpu())
