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


@dataclass(frozen=True)
class Hits:
    """What the ray of each pixel meets first."""

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
    o3d = require("open3d", extra="render")
    height, width = camera.height, camera.width
    if not surfaces:
        nothing = np.full((height, width), -1)
        return Hits(np.full((height, width), np.inf), nothing, nothing, np.zeros((height, width, 3)))
    scene = ray_scene(surfaces) if scene is None else scene
    result = scene.cast_rays(o3d.core.Tensor(_pixel_rays(camera)))
    depth = result["t_hit"].numpy().astype(np.float64)  # directions have z = 1, so the ray's parameter is z
    met = np.isfinite(depth)
    u, v = np.moveaxis(result["primitive_uvs"].numpy().astype(np.float64), -1, 0)
    bary = np.stack([1 - u - v, u, v], axis=-1) * met[..., None]
    surface = np.where(met, result["geometry_ids"].numpy().astype(np.int64), -1)
    face = np.where(met, result["primitive_ids"].numpy().astype(np.int64), -1)
    return Hits(depth, surface, face, bary)


def _pixel_rays(camera: Camera) -> Any:
    """(H, W, 6) float32 origins (all zero) and directions with z = 1."""
    rays = np.zeros((camera.height, camera.width, 6), dtype=np.float32)
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    rays[..., 3] = (np.arange(camera.width) + 0.5 - cx) / fx
    rays[..., 4] = ((np.arange(camera.height) + 0.5 - cy) / fy)[:, None]
    rays[..., 5] = 1
    return rays


def interpolate(hits: Hits, surfaces: Sequence[Surface], name: str) -> FloatArray:
    """(N, A) values of a corner attribute of :class:`Surface` at the N pixels that met something, row by row."""
    index, face, bary = hits.surface[hits.mask], hits.face[hits.mask], hits.bary[hits.mask]
    starts = np.cumsum([0, *(len(s.corners) for s in surfaces)])
    table = np.concatenate([np.reshape(getattr(s, name), (len(s.corners), 3, -1)) for s in surfaces])
    face = starts[index] + face
    mixed: FloatArray = sum(bary[:, c, None] * table[face, c] for c in range(3))
    return mixed


def shade(hits: Hits, surfaces: Sequence[Surface], camera: Camera, light: Light | None = None) -> FloatArray:
    """(H, W, 4) linear light with alpha 0 or 1, lit by a key light, a fill light and ambient light."""
    light = light or Light()
    picture = np.zeros((*hits.depth.shape, 4))
    if not hits.mask.any():
        return picture
    normals = interpolate(hits, surfaces, "normals")
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    toward = -_pixel_rays(camera)[hits.mask][:, 3:].astype(np.float64)
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    facing = np.einsum("ni,ni->n", normals, toward)
    normals = np.where(facing[:, None] < 0, -normals, normals)  # the inside of an open mesh is lit like its outside
    openness = 1 - light.crease * (1 - interpolate(hits, surfaces, "openness"))
    lit = light.ambient * openness**1.5
    for direction, strength in ((light.key_direction, light.key), (light.fill_direction, light.fill)):
        lit = lit + strength * _diffuse(normals, direction, light.wrap) * (0.35 + 0.65 * openness)
    picture[hits.mask, :3] = to_linear(interpolate(hits, surfaces, "colors")) * lit
    picture[hits.mask, 3] = 1
    return picture


def _diffuse(normals: FloatArray, direction: tuple[float, float, float], wrap: float) -> FloatArray:
    towards = np.asarray(direction) / np.linalg.norm(direction)
    cosine: FloatArray = np.clip((normals @ towards + wrap) / (1 + wrap), 0, None)[:, None]
    return cosine


def render(surfaces: Sequence[Surface], camera: Camera, light: Light | None = None, supersample: int = 2) -> ByteArray:
    """Draw surfaces on a transparent background.

    Args:
        surfaces: in the camera's frame, metres.
        camera: gives view and size.
        light: where light comes from; default: key from the upper left.
        supersample: rays per pixel and direction; 2 smooths edges by four rays per pixel.

    Returns:
        (H, W, 4) uint8 sRGB, alpha not multiplied in.
    """
    return render_with_index(surfaces, camera, light, supersample)[0]


def render_with_index(
    surfaces: Sequence[Surface], camera: Camera, light: Light | None = None, supersample: int = 2
) -> tuple[ByteArray, npt.NDArray[np.int16]]:
    """Like :func:`render`; also which surface each sub-pixel shows.

    Drawn in bands of rows, so memory does not grow with the picture.

    Returns:
        The picture (H, W, 4), and (H * supersample, W * supersample) indices of surfaces, -1 for none.
    """
    fine = camera.resized(camera.width * supersample, camera.height * supersample)
    scene = ray_scene(surfaces) if surfaces else None
    rows = max(1, BAND_RAYS // (fine.width * supersample)) * supersample
    pictures, indices = [], []
    for top in range(0, fine.height, rows):
        band = fine.cropped(0, top, fine.width, min(rows, fine.height - top))
        hits = cast_rays(surfaces, band, scene)
        pictures.append(downsample(shade(hits, surfaces, band, light), supersample))
        indices.append(hits.surface.astype(np.int16))
    return np.concatenate(pictures), np.concatenate(indices)


def downsample(linear: FloatArray, factor: int) -> ByteArray:
    """Average blocks of a linear RGBA picture (alpha-weighted) and encode it as uint8 sRGB."""
    height, width = linear.shape[0] // factor, linear.shape[1] // factor
    blocks = linear.reshape(height, factor, width, factor, 4)
    alpha = blocks[..., 3].mean(axis=(1, 3))
    color = (blocks[..., :3] * blocks[..., 3:]).mean(axis=(1, 3))
    picture = np.zeros((height, width, 4), dtype=np.uint8)
    seen = alpha > 0  # most of a picture is empty, and the power function is dear
    picture[seen, :3] = to_bytes(to_srgb(color[seen] / alpha[seen][:, None]))
    picture[..., 3] = to_bytes(alpha)
    return picture
