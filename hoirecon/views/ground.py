"""A ground to stand on: a disc with a quarter-metre grid that fades out, and a soft shadow from above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import require
from hoirecon.views.framing import UP_CAM, View, bounding_ball, inside
from hoirecon.views.palette import BACKGROUND, GROUND
from hoirecon.views.raycast import ray_scene
from hoirecon.views.surface import Surface, half_space_directions

CELL = 0.25
"""Metres between grid lines."""
TEXELS = 112
"""Side of the square shadow map, which is smooth and needs no more."""
SHADOW_RAYS = 64
REACH = 0.9
"""Metres; things higher above the ground cast no shadow."""
SHADOW_DEPTH = 0.55
BORDER = 0.16
"""Share of a picture over which the ground fades out towards its border."""
_LINE = np.array([0.80, 0.79, 0.765])


@dataclass(frozen=True)
class Ground:
    """A level disc in the frame ``cam``."""

    centre: FloatArray
    """(3,) metres, frame ``cam``."""
    radius: float
    """Metres; from 55 % of it on, the ground fades out."""
    shadow: FloatArray
    """(TEXELS, TEXELS) share of light kept, over the square round the disc, rows along z, columns along x."""

    def draw(self, view: View) -> FloatArray:
        """(H, W, 3) sRGB of the ground alone as a view sees it, fading into the page's background."""
        point, met = self._meet(view)
        x, z = point[..., 0] - self.centre[0], point[..., 2] - self.centre[2]
        distance = np.hypot(x, z) / self.radius
        alpha = np.where(met, np.clip((1 - distance) / 0.45, 0, 1), 0.0) * inside(
            view.camera.width, view.camera.height, BORDER
        )
        lines = np.maximum(_grid_line(x, met), _grid_line(z, met)) * 0.6
        kept = self._light(x, z)[..., None]
        color = (GROUND * (1 - lines[..., None]) + _LINE * lines[..., None]) * kept
        smooth = alpha * alpha * (3 - 2 * alpha)
        mixed = color * smooth[..., None] + BACKGROUND * (1 - smooth[..., None])
        return mixed

    def _meet(self, view: View) -> tuple[FloatArray, FloatArray]:
        R, t = view.T_view_cam[:3, :3], view.T_view_cam[:3, 3]
        camera = view.camera
        columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        rays = camera.unproject(np.stack([columns, rows], axis=-1), np.ones(columns.shape)) @ R
        eye = -R.T @ t
        along = np.divide(self.centre[1] - eye[1], rays[..., 1], where=rays[..., 1] > 1e-6, out=np.zeros(columns.shape))
        return eye + along[..., None] * rays, along > 0

    def _light(self, x: FloatArray, z: FloatArray) -> FloatArray:
        from scipy.ndimage import map_coordinates

        place = (np.stack([z, x]) / self.radius + 1) / 2 * TEXELS - 0.5
        kept: FloatArray = map_coordinates(self.shadow, place, order=1, mode="nearest")
        return kept


def make_ground(surfaces: Sequence[Surface]) -> Ground:
    """A ground under the lowest point of the surfaces (frame ``cam``), with their shadow."""
    points = np.concatenate([surface.corners.reshape(-1, 3) for surface in surfaces])
    centre, radius = bounding_ball(points)
    centre = np.array([centre[0], points[:, 1].max(), centre[2]])
    radius = max(1.7 * radius, 0.3)
    return Ground(centre, radius, _shadow(surfaces, centre, radius))


def _shadow(surfaces: Sequence[Surface], centre: FloatArray, radius: float) -> FloatArray:
    o3d = require("open3d", extra="render")
    scene = ray_scene(surfaces)
    steps = ((np.arange(TEXELS) + 0.5) / TEXELS * 2 - 1) * radius
    z, x = np.meshgrid(steps, steps, indexing="ij")
    origin = np.stack([centre[0] + x, np.full_like(x, centre[1] - 1e-3), centre[2] + z], axis=-1)
    blocked = np.zeros(x.shape)
    for local in half_space_directions(SHADOW_RAYS):
        way = np.array([local[0], 0.0, local[1]]) + UP_CAM * local[2]
        rays = np.concatenate([origin, np.broadcast_to(way, origin.shape)], axis=-1).astype(np.float32)
        distance = scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()
        blocked += np.clip(1 - distance / REACH, 0, 1)
    kept: FloatArray = 1 - SHADOW_DEPTH * blocked / SHADOW_RAYS
    return kept


def _grid_line(along: FloatArray, met: FloatArray) -> FloatArray:
    """1 on a grid line, 0 between, smoothed over a pixel's width on the ground."""
    gradient = np.hypot(*np.gradient(along))
    width = np.maximum(gradient, 1e-6)
    off = np.abs(along / CELL - np.round(along / CELL)) * CELL
    line: FloatArray = np.clip(1.4 - off / (1.1 * width), 0, 1) * np.clip(CELL / (4 * width), 0, 1)
    return np.where(met, line, 0.0)
