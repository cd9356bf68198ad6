"""Coloured point clouds: sampled from surfaces, and prepared as OpenShape's training had them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.errors import InputError
from hoirecon.retrieval.modeling.config import Axis
from hoirecon.retrieval.surfaces import GREY, Surface, as_surface

Float32Array = npt.NDArray[np.float32]

POINTS = 10_000
"""Points of a cloud in OpenShape's training."""
MAX_POINTS = 1_000_000
"""Most points of a cloud."""
SMALLEST_RADIUS = 1e-6
"""A cloud smaller than this counts as one point."""


@dataclass(frozen=True)
class PointCloud:
    """Points with colours, y up."""

    points: FloatArray
    """(N, 3) y up, any unit, anywhere."""
    colors: FloatArray | None = None
    """(N, 3) RGB in 0..1, or None, which counts as grey 0.4."""

    def __post_init__(self) -> None:
        points = as_floats(self.points, ("N", 3), "points")
        if not 1 <= len(points) <= MAX_POINTS:
            raise InputError(f"a cloud has {len(points)} points, expected 1 to {MAX_POINTS}")
        object.__setattr__(self, "points", points)
        if self.colors is not None:
            colors = as_floats(self.colors, (len(points), 3), "colors")
            if colors.min() < 0 or colors.max() > 1:
                raise InputError(f"colors are {colors.min():g}..{colors.max():g}, expected RGB in 0..1")
            object.__setattr__(self, "colors", colors)


def sample_cloud(surface: Surface | Any, count: int = POINTS, seed: int = 0) -> PointCloud:
    """Points on a surface, as many per area everywhere, with their colours.

    The draw is stratified (one point in each of ``count`` strips of equal area), which covers a surface more evenly
    than independent draws, and shuffled, because an encoder takes the first points of a ball. It depends on the
    surface's content and the seed alone.

    Args:
        surface: a :class:`Surface`, :class:`~hoirecon.mesh.Mesh`, or mesh file.
        count: how many points.
        seed: another one gives other points of the same surface.

    Raises:
        InputError: no area to sample, or a count out of range.

    Example:
        >>> from hoirecon.mesh import Mesh
        >>> cloud = sample_cloud(Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]), 100)
        >>> cloud.points.shape, bool((cloud.points.sum(1) <= 1).all()), float(cloud.colors[0, 0])
        ((100, 3), True, 0.4)
    """
    surface = as_surface(surface)
    if not 1 <= count <= MAX_POINTS:
        raise InputError(f"count is {count}, expected 1 to {MAX_POINTS}")
    until = np.cumsum(surface.face_areas)
    total = float(until[-1])
    if not (np.isfinite(total) and total > 0):
        raise InputError(f"{surface.name} has a surface of area {total:g}: give a mesh with area")
    rng = np.random.default_rng([seed, int(surface.content_hash[:16], 16)])
    # Strictly below the total, so that the first face that ends beyond a place is there, and has an area.
    place = np.minimum((rng.permutation(count) + rng.random(count)) / count * total, np.nextafter(total, 0))
    face = np.searchsorted(until, place, side="right")
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    bary = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    corners = surface.verts[surface.faces[face]]
    return PointCloud(np.einsum("nc,ncx->nx", bary, corners), surface.colors_at(face, bary))


def prepare_clouds(clouds: list[PointCloud], up: Axis = "z", channels: int = 6) -> tuple[Float32Array, Float32Array]:
    """A batch of clouds as the encoder takes it: centred on its mean, the farthest point at distance 1.

    Args:
        clouds: all of the same number of points.
        up: "z" exchanges y and z, with no change of sign: a mirror image, which the training had too. It never leaves
            the encoder.
        channels: 6 for x, y, z, r, g, b; 3 for x, y, z.

    Returns:
        xyz (B, N, 3) and features (B, N, channels).

    Raises:
        InputError: clouds of different sizes, or another number of channels.

    Example:
        >>> xyz, features = prepare_clouds([PointCloud([[0, 0, 0], [0, 2, 0]])])
        >>> xyz[0].tolist(), features.shape, float(features[0, 0, 5].round(2)) == float(np.float32(0.4))
        ([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]], (1, 2, 6), True)
    """
    if channels not in (3, 6):
        raise InputError(f"channels is {channels}, expected 6 (with colours) or 3 (without)")
    if len({len(cloud.points) for cloud in clouds}) != 1:
        raise InputError(f"clouds have {[len(c.points) for c in clouds][:10]} points: a batch needs one number for all")
    points = np.stack([cloud.points for cloud in clouds])
    if up == "z":
        points = points[..., [0, 2, 1]]
    points = points - points.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(points, axis=2).max(axis=1)[:, None, None]
    xyz = np.where(radius < SMALLEST_RADIUS, 0.0, points / np.maximum(radius, SMALLEST_RADIUS)).astype(np.float32)
    if channels == 3:
        return xyz, xyz
    colors = [np.full_like(cloud.points, GREY) if cloud.colors is None else cloud.colors for cloud in clouds]
    return xyz, np.concatenate([xyz, np.stack(colors).astype(np.float32)], axis=2)
