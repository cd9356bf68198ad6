"""Where to look from: cameras that hold a set of points, and rigid motions into their frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.camera import Camera

UP_CAM = np.array([0.0, -1.0, 0.0])
"""Up in the photograph's frame. Gravity is not known; a photograph is taken upright as a rule."""
DISTANCE_RADII = 4.5
"""How far a picture's camera stands, in radii of what it looks at: a long lens that distorts little."""
MIN_DISTANCE = 2.5
"""Metres; nearer, a close-up would look into the body."""


@dataclass(frozen=True)
class View:
    """A camera somewhere: points of the scene's frame are moved into its own frame first."""

    T_view_cam: FloatArray
    """(4, 4) rigid motion from the scene's frame ``cam`` to this view's frame (OpenCV axes)."""
    camera: Camera
    """Intrinsics and size of the picture."""

    def project(self, points_cam: FloatArray) -> FloatArray:
        """Project points (..., 3) of the scene's frame to pixels (..., 2)."""
        return self.camera.project(points_cam @ self.T_view_cam[:3, :3].T + self.T_view_cam[:3, 3])


def look_at(eye: FloatArray, target: FloatArray, up: FloatArray = UP_CAM) -> FloatArray:
    """(4, 4) ``T_view_cam`` of an OpenCV camera at ``eye`` that looks at ``target``, ``up`` upwards."""
    z = _unit(np.asarray(target, dtype=np.float64) - eye)
    x = np.cross(-np.asarray(up, dtype=np.float64), z)
    if np.linalg.norm(x) < 1e-6:  # looking along `up`: any other upward direction will do
        x = np.cross([0.0, 0.0, -1.0] if abs(z[2]) < 0.9 else [-1.0, 0.0, 0.0], z)
    x = _unit(x)
    R = np.stack([x, np.cross(z, x), z])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ eye
    return T


def fit_view(
    points: FloatArray, direction: FloatArray, width: int, height: int, up: FloatArray = UP_CAM, margin: float = 0.06
) -> View:
    """A view along which all points fill the picture.

    Args:
        points: (N, 3) what must be seen, metres.
        direction: (3,) from the points towards the eye.
        width: of the picture, pixels.
        height: of the picture, pixels.
        up: (3,) what shall point upwards.
        margin: free border on each side, as a share of the picture.
    """
    centre, radius = bounding_ball(points)
    distance = max(DISTANCE_RADII * radius, MIN_DISTANCE)
    T = look_at(centre + distance * _unit(np.asarray(direction, dtype=np.float64)), centre, up)
    moved = points @ T[:3, :3].T + T[:3, 3]
    flat = moved[:, :2] / moved[:, 2:]
    low, high = flat.min(axis=0), flat.max(axis=0)
    free = 1 - 2 * margin
    focal = float(np.min(free * np.array([width, height]) / np.maximum(high - low, 1e-9)))
    principal = np.array([width, height]) / 2 - focal * (low + high) / 2
    K = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
    return View(T, Camera(K, width, height))


def bounding_ball(points: FloatArray) -> tuple[FloatArray, float]:
    """Centre (3,) of the bounding box, and the radius round it that holds all points, at least a millimetre."""
    centre: FloatArray = (points.min(axis=0) + points.max(axis=0)) / 2
    return centre, max(float(np.linalg.norm(points - centre, axis=1).max()), 1e-3)


def turned(direction: FloatArray, degrees: float, axis: FloatArray = UP_CAM) -> FloatArray:
    """Turn a direction about an axis (right-handed; Rodrigues' formula).

    Example:
        >>> turned(np.array([0, 0, -1.0]), 90, np.array([0, -1.0, 0])).round(6) + 0.0
        array([1., 0., 0.])
    """
    axis, angle = _unit(axis), np.deg2rad(degrees)
    part: FloatArray = (
        direction * np.cos(angle)
        + np.cross(axis, direction) * np.sin(angle)
        + axis * (axis @ direction) * (1 - np.cos(angle))
    )
    return part


def raised(direction: FloatArray, degrees: float, up: FloatArray = UP_CAM) -> FloatArray:
    """(3,) unit direction with the heading of ``direction`` and an elevation of ``degrees`` over the horizon."""
    level = direction - up * (up @ direction)
    if np.linalg.norm(level) < 1e-6:
        level = np.array([0.0, 0.0, -1.0])
    angle = np.deg2rad(degrees)
    lifted: FloatArray = np.cos(angle) * _unit(level) + np.sin(angle) * _unit(up)
    return lifted


def inside(width: int, height: int, border: float) -> FloatArray:
    """(height, width) 1 in the middle of a picture, falling to 0 at its edge over a share ``border`` of its size."""
    across = (np.arange(width) + 0.5) / width
    down = (np.arange(height) + 0.5) / height
    near = np.minimum(np.minimum(across, 1 - across)[None], np.minimum(down, 1 - down)[:, None])
    weight: FloatArray = np.clip(near / border, 0, 1)
    return weight


def _unit(vector: FloatArray) -> FloatArray:
    unit: FloatArray = np.asarray(vector, dtype=np.float64) / max(float(np.linalg.norm(vector)), 1e-12)
    return unit
