"""Pictures of a mesh from round about, for encoders that know images only."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.errors import InputError, require
from hoirecon.retrieval.surfaces import Surface

AMBIENT = 0.35
"""Brightness of a face that is seen edge-on; one that faces the camera has 1."""
CLEARANCE = 1.05
"""How much farther away the camera stands than where the object's sphere just fits."""


@dataclass(frozen=True)
class ViewSet:
    """From where an object is drawn: every azimuth at every elevation."""

    azimuths: int = 12
    """Directions round the up axis, evenly apart; the first looks at the front (+z)."""
    elevations: tuple[float, ...] = (20.0,)
    """Degrees by which the camera looks down."""
    size: int = 224
    """Side of a picture, pixels."""
    field_of_view: float = 30.0
    """Degrees; the object's bounding sphere fills it."""
    background: int = 255
    """Grey level round the object."""
    samples: int = 2
    """Rays per pixel side."""

    def __post_init__(self) -> None:
        if self.azimuths < 1 or not self.elevations or self.size < 1 or self.samples < 1:
            raise InputError("a view set needs at least one azimuth, elevation, pixel and sample")
        if not all(-90 <= e <= 90 for e in self.elevations) or not 1 <= self.field_of_view <= 120:
            raise InputError("elevations must lie in -90..90 degrees, and field_of_view in 1..120")

    def __len__(self) -> int:
        return self.azimuths * len(self.elevations)

    @property
    def key(self) -> str:
        """Short name of these very settings."""
        return f"{len(self)}views-{hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:8]}"

    def rotations(self) -> FloatArray:
        """(V, 3, 3) R_cam_obj of each view, camera x right, y down, z forward; elevation by elevation.

        A hit on view i is a first guess that the object in the photograph is turned so.

        Example:
            >>> front = ViewSet(azimuths=4, elevations=(0.0,)).rotations()[0]
        >>> bool(np.allclose(front, np.diag([1, -1, -1])))
        True
        """
        azimuth = np.tile(np.arange(self.azimuths) * 2 * np.pi / self.azimuths, len(self.elevations))
        elevation = np.repeat(np.radians(self.elevations), self.azimuths)
        level = np.cos(elevation)
        toward = -np.stack([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level], axis=1)
        # From the azimuth, not from a product with the up axis: that vanishes when looking straight down.
        right = np.stack([np.cos(azimuth), np.zeros_like(azimuth), -np.sin(azimuth)], axis=1)
        return np.stack([right, np.cross(toward, right), toward], axis=1)


def render_views(surface: Surface, views: ViewSet) -> ByteArray:
    """Pictures (V, size, size, 3) of a surface, lit from the camera.

    Raises:
        InputError: a mesh without extent.
        MissingExtraError: open3d is not installed.
    """
    o3d: Any = require("open3d", extra="render")
    low, high = surface.verts.min(0), surface.verts.max(0)
    verts = surface.verts - (low + high) / 2
    radius = float(np.linalg.norm(verts, axis=1).max())
    if not radius > 0:
        raise InputError(f"{surface.name} is a single point: give a mesh with extent")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles((verts / radius).astype(np.float32), surface.faces.astype(np.uint32))
    rays = _rays(views)
    pictures = [_picture(o3d, scene, surface, R.T, rays, views) for R in views.rotations()]
    return np.stack(pictures)


def _rays(views: ViewSet) -> FloatArray:
    """(n, n, 3) unit directions of the rays in the camera frame."""
    count = views.size * views.samples
    reach = np.tan(np.radians(views.field_of_view) / 2)
    line = ((np.arange(count) + 0.5) / count * 2 - 1) * reach
    x, y = np.meshgrid(line, line)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    unit: FloatArray = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    return unit


def _picture(
    o3d: Any, scene: Any, surface: Surface, R_obj_cam: npt.NDArray[Any], rays: FloatArray, views: ViewSet
) -> ByteArray:
    distance = CLEARANCE / np.sin(np.radians(views.field_of_view) / 2)
    directions = rays @ R_obj_cam.T
    origin = np.broadcast_to(-distance * R_obj_cam[:, 2], directions.shape)
    cast = np.concatenate([origin, directions], axis=-1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor(cast))
    seen = np.isfinite(hit["t_hit"].numpy())
    face = hit["primitive_ids"].numpy()[seen].astype(np.int64)
    uv = hit["primitive_uvs"].numpy()[seen].astype(np.float64)
    bary = np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], axis=1)
    facing = np.abs(np.einsum("nc,nc->n", hit["primitive_normals"].numpy()[seen], directions[seen]))
    picture = np.full((*seen.shape, 3), float(views.background))
    shade = AMBIENT + (1 - AMBIENT) * facing
    picture[seen] = 255 * surface.colors_at(face, np.clip(bary, 0, 1)) * shade[:, None]
    pooled = picture.reshape(views.size, views.samples, views.size, views.samples, 3).mean(axis=(1, 3))
    drawn: ByteArray = np.clip(np.round(pooled), 0, 255).astype(np.uint8)
    return drawn
