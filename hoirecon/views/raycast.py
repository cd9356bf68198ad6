"""Pictures by ray casting on the CPU (open3d's Embree scene); shading in numpy.

Rays go through pixel centres (i + .5, j + .5), so a drawn pixel and a projected point agree exactly. All surfaces are
in the frame of the camera that looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray, FloatArray, IntArray
from hoirecon.camera import Camera
from hoirecon.errors import require
from hoirecon.views.palette import to_bytes, to_linear, to_srgb
from hoirecon.views.surface import Surface

BAND_RAYS = 150_000
"""Rays cast at a time; each takes some 300 bytes on its way to a colour."""
CONTRAST = 0.03
"""Neighbouring pixels that differ by more, of 1, are drawn anew with several rays each."""

Rays = npt.NDArray[np.float32]
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Hits:
    """What each ray meets first; (H, W) stands for one ray per pixel, rays of any other shape give theirs."""

    depth: FloatArray
    """(H, W) metres along the camera's axis (z, not the ray's length); infinity where nothing is met."""
    surface: IntArray
    """(H, W) index of the surface met, -1 for none."""
    face: IntArray
    """(H, W) index of the triangle within that surface, -1 for none."""
    bary: FloatArray
    """(H, W, 3) barycentric weights of the triangle's corners; zeros where nothing is met."""

    @property
    def mask(self) -> Any:
        """(H, W) bool: something is met."""
        return self.surface >= 0


@dataclass(frozen=True)
class Light:
    """Light in the frame of the picture (x right, y down, z into it); strengths in linear light."""

    key_direction: tuple[float, float, float] = (-0.45, -0.75, -0.6)
    """Towards the main light: from the upper left, before the scene."""
    key: float = 0.68
    """Strength of the main light."""
    fill_direction: tuple[float, float, float] = (0.8, -0.1, -0.55)
    """Towards the second light, from the right; it opens the shadows."""
    fill: float = 0.20
    """Strength of the second light."""
    ambient: float = 0.48
    """Light from everywhere, darkened in creases by the surface's ``openness``."""
    wrap: float = 0.25
    """Softens the border between lit and unlit: 0 is Lambert's law, 1 lights all around."""
    crease: float = 1.0
    """How strongly ``openness`` darkens: 0 not at all."""


def ray_scene(surfaces: Sequence[Surface]) -> Any:
    """An ``open3d.t.geometry.RaycastingScene`` of the surfaces, geometry ids in their order."""
    o3d = require("open3d", extra="render")
    scene = o3d.t.geometry.RaycastingScene(nthreads=0)
    for surface in surfaces:
        verts = np.ascontiguousarray(surface.corners.reshape(-1, 3), dtype=np.float32)
        faces = np.arange(len(verts), dtype=np.uint32).reshape(-1, 3)
        scene.add_triangles(o3d.core.Tensor(verts), o3d.core.Tensor(faces))
    return scene


def cast_rays(surfaces: Sequence[Surface], camera: Camera, scene: Any = None) -> Hits:
    """Find what each pixel's centre sees. Needs the extra ``render``.

    Args:
        surfaces: in the camera's frame, metres.
        camera: its image size is the size of the result.
        scene: what :func:`ray_scene` made of the same surfaces, to not build it again.
    """
    height, width = camera.height, camera.width
    if not surfaces:
        nothing = np.full((height, width), -1)
        return Hits(np.full((height, width), np.inf), nothing, nothing, np.zeros((height, width, 3)))
    return _cast(ray_scene(surfaces) if scene is None else scene, pixel_rays(camera))


def _cast(scene: Any, rays: Rays) -> Hits:
    o3d = require("open3d", extra="render")
    result = scene.cast_rays(o3d.core.Tensor(rays))
    depth = result["t_hit"].numpy().astype(np.float64)  # directions have z = 1, so the ray's parameter is z
    met = np.isfinite(depth)
    u, v = np.moveaxis(result["primitive_uvs"].numpy().astype(np.float64), -1, 0)
    bary = np.stack([1 - u - v, u, v], axis=-1) * met[..., None]
    surface = np.where(met, result["geometry_ids"].numpy().astype(np.int64), -1)
    face = np.where(met, result["primitive_ids"].numpy().astype(np.int64), -1)
    return Hits(depth, surface, face, bary)


def pixel_rays(camera: Camera) -> Rays:
    """(H, W, 6) origins (all zero) and directions with z = 1, through the pixels' centres."""
    columns, rows = np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5
    return _rays(camera, columns[None], rows[:, None])


def _rays(camera: Camera, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Rays:
    """(..., 6) rays through places in the picture, in pixels."""
    rays = np.zeros((*np.broadcast_shapes(x.shape, y.shape), 6), dtype=np.float32)
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    rays[..., 3] = (x - cx) / fx
    rays[..., 4] = (y - cy) / fy
    rays[..., 5] = 1
    return rays


def interpolate(hits: Hits, surfaces: Sequence[Surface], *names: str) -> Floats32:
    """(N, A) values of corner attributes of :class:`Surface`, side by side, at the N rays that met something."""
    table, starts = _corner_table(surfaces, names)
    return _interpolate(hits, table, starts)


def _corner_table(surfaces: Sequence[Surface], names: Sequence[str]) -> tuple[Floats32, IntArray]:
    """(F, 3, A) attributes at the corners of all faces, and the first face of each surface."""
    tables = [np.concatenate([getattr(s, n).reshape(len(s.corners), 3, -1) for n in names], axis=2) for s in surfaces]
    return np.concatenate(tables).astype(np.float32), np.cumsum([0, *(len(t) for t in tables)])


def _interpolate(hits: Hits, table: Floats32, starts: IntArray) -> Floats32:
    face = starts[hits.surface[hits.mask]] + hits.face[hits.mask]
    mixed: Floats32 = np.einsum("nc,nca->na", hits.bary[hits.mask].astype(np.float32), table[face])
    return mixed


class Painter:
    """Surfaces under a light, made ready once: rays in, light out."""

    def __init__(self, surfaces: Sequence[Surface], light: Light | None = None) -> None:
        self._light = light or Light()
        self._scene = ray_scene(surfaces)
        self._table, self._starts = _corner_table(surfaces, ("normals", "openness", "colors"))
        self._table[..., 4:] = to_linear(self._table[..., 4:])

    def paint(self, rays: Rays) -> tuple[Floats32, npt.NDArray[np.int16]]:
        """Linear light with alpha 0 or 1 (..., 4) of rays (..., 6), and the surface that each meets (-1: none)."""
        hits = _cast(self._scene, rays)
        picture = np.zeros((*rays.shape[:-1], 4), dtype=np.float32)
        if hits.mask.any():
            found = _interpolate(hits, self._table, self._starts)
            lit = self._lit(found[:, :3], found[:, 3:4], rays[hits.mask][:, 3:])
            picture[hits.mask] = np.concatenate([found[:, 4:] * lit, np.ones_like(lit)], axis=1)
        return picture, hits.surface.astype(np.int16)

    def _lit(self, normals: Floats32, openness: Floats32, directions: Floats32) -> Floats32:
        """(N, 1) light from a key light, a fill light and from everywhere."""
        light = self._light
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.float32(1e-12))
        away = np.einsum("ni,ni->n", normals, directions)[:, None] > 0
        normals = np.where(away, -normals, normals)  # the inside of an open mesh is lit like its outside
        openness = 1 - light.crease * (1 - openness)
        lit = light.ambient * openness**1.5
        for direction, strength in ((light.key_direction, light.key), (light.fill_direction, light.fill)):
            lit = lit + strength * _diffuse(normals, direction, light.wrap) * (0.35 + 0.65 * openness)
        return lit


def _diffuse(normals: Floats32, direction: tuple[float, float, float], wrap: float) -> Floats32:
    towards = (np.asarray(direction) / np.linalg.norm(direction)).astype(np.float32)
    cosine: Floats32 = np.clip((normals @ towards + wrap) / (1 + wrap), 0, None)[:, None]
    return cosine


def render(surfaces: Sequence[Surface], camera: Camera, light: Light | None = None, supersample: int = 2) -> ByteArray:
    """Draw surfaces on a transparent background.

    Args:
        surfaces: in the camera's frame, metres.
        camera: gives view and size.
        light: where light comes from; default: key from the upper left.
        supersample: rays per pixel and direction where the picture is uneven; 2 smooths edges by four rays per pixel.

    Returns:
        (H, W, 4) uint8 sRGB, alpha not multiplied in.
    """
    return render_with_index(surfaces, camera, light, supersample)[0]


def render_with_index(
    surfaces: Sequence[Surface], camera: Camera, light: Light | None = None, supersample: int = 2
) -> tuple[ByteArray, npt.NDArray[np.int16]]:
    """Like :func:`render`; also which surface each pixel's centre shows.

    Rays are cast in bands of rows, so memory grows by a few bytes per pixel only.

    Returns:
        The picture (H, W, 4), and (H, W) indices of surfaces, -1 for none.
    """
    size = (camera.height, camera.width)
    if not surfaces:
        return np.zeros((*size, 4), dtype=np.uint8), np.full(size, -1, dtype=np.int16)
    painter, rows = Painter(surfaces, light), max(1, BAND_RAYS // camera.width)
    y, x = np.arange(camera.height)[:, None] + 0.5, np.arange(camera.width)[None] + 0.5
    bands = [painter.paint(_rays(camera, x, y[top : top + rows])) for top in range(0, camera.height, rows)]
    linear, index = (np.concatenate(parts) for parts in zip(*bands, strict=True))
    if supersample > 1:
        _smooth(linear, painter, camera, supersample)
    return encode(linear), index


def _smooth(linear: Floats32, painter: Painter, camera: Camera, count: int) -> None:
    """Replace uneven pixels by the mean of ``count`` x ``count`` rays (adaptive supersampling, Whitted 1980)."""
    within = (np.arange(count) + 0.5) / count
    rows, columns = np.nonzero(uneven(linear))
    step = max(1, BAND_RAYS // count**2)
    for start in range(0, len(rows), step):
        row, column = rows[start : start + step], columns[start : start + step]
        x, y = column[:, None, None] + within[None, None], row[:, None, None] + within[None, :, None]
        light = painter.paint(_rays(camera, x, y))[0].reshape(len(row), -1, 4)
        alpha = light[..., 3].mean(axis=1)
        color = light[..., :3].sum(axis=1) / np.maximum(light[..., 3].sum(axis=1), 1)[:, None]
        linear[row, column] = np.concatenate([color, alpha[:, None]], axis=1)


def uneven(linear: Floats32) -> Any:
    """(H, W) bool: the pixel, or one beside it, differs visibly from a neighbour."""
    seen = np.sqrt(np.clip(linear, 0, 1))  # roughly what the eye sees; light counts where there is any
    marked = np.zeros(linear.shape[:2], dtype=bool)
    down = (np.abs(np.diff(seen, axis=0)) > CONTRAST).any(axis=2)
    right = (np.abs(np.diff(seen, axis=1)) > CONTRAST).any(axis=2)
    marked[:-1] |= down
    marked[1:] |= down
    marked[:, :-1] |= right
    marked[:, 1:] |= right
    wide = marked.copy()
    wide[1:] |= marked[:-1]
    wide[:-1] |= marked[1:]
    marked = wide.copy()
    wide[:, 1:] |= marked[:, :-1]
    wide[:, :-1] |= marked[:, 1:]
    return wide


def encode(linear: Floats32) -> ByteArray:
    """Linear RGBA (..., 4) as uint8 sRGB; colours are not multiplied by alpha."""
    picture = np.zeros(linear.shape, dtype=np.uint8)
    seen = linear[..., 3] > 0  # most of a picture is empty, and the power function is dear
    picture[seen, :3] = to_bytes(to_srgb(linear[seen, :3]))
    picture[..., 3] = to_bytes(linear[..., 3])
    return picture
