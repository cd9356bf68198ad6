"""The whole scene from all round, on a ground with a grid and a soft shadow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.scene import Scene
from hoirecon.views.canvas import LegendEntry, over, sheet
from hoirecon.views.framing import View, fit_view, raised, turned
from hoirecon.views.ground import Ground, make_ground
from hoirecon.views.look import all_points, part_colors, part_names, scene_surfaces
from hoirecon.views.palette import to_bytes
from hoirecon.views.raycast import render
from hoirecon.views.surface import Surface

VIEWS = 8
PANEL = (400, 440)
"""Width and height of one view, pixels."""
ELEVATION_DEG = 14.0


def turntable_picture(scene: Scene, surfaces: Sequence[Surface] | None = None, views: int = VIEWS) -> ByteArray:
    """Draw the scene from ``views`` sides, all at one scale.

    The vertical is the photograph's; the ground lies under the lowest point, its grid has cells of a quarter metre.

    Args:
        scene: what to draw.
        surfaces: what :func:`~hoirecon.views.look.scene_surfaces` gave, to not compute it twice.
        views: number of sides, at even angles; the first is the camera's.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: ``views`` is no whole number above 0.
    """
    if not isinstance(views, (int, np.integer)) or views < 1:
        raise InputError(f"the turntable has {views!r} views: give a whole number of sides, 1 or more")
    parts = list(scene_surfaces(scene) if surfaces is None else surfaces)
    ground = make_ground(parts)
    angles = [360.0 * k / views for k in range(views)]
    pictures = [
        (_name(angle), _draw(parts, ground, view))
        for angle, view in zip(angles, turntable_views(all_points(scene), angles), strict=True)
    ]
    columns = (views + 1) // 2 if views > 3 else views
    legend = [LegendEntry(n, c) for n, c in zip(part_names(scene), part_colors(scene), strict=True)]
    return sheet([pictures[i : i + columns] for i in range(0, views, columns)], legend=legend)


def turntable_views(points: FloatArray, angles: Sequence[float]) -> list[View]:
    """Views round the vertical axis, at one scale, the axis in the middle of each picture."""
    to_camera = raised(np.array([0.0, 0.0, -1.0]), ELEVATION_DEG)
    views = [fit_view(points, turned(to_camera, angle), *PANEL, margin=0.09) for angle in angles]
    focal = min(view.camera.focal[0] for view in views)
    return [View(view.T_view_cam, _centred(view, points, focal)) for view in views]


def _centred(view: View, points: FloatArray, focal: float) -> Camera:
    moved = points @ view.T_view_cam[:3, :3].T + view.T_view_cam[:3, 3]
    flat = moved[:, :2] / moved[:, 2:]
    middle = np.array(PANEL) / 2 - focal * (flat.min(axis=0) + flat.max(axis=0)) / 2
    return Camera(np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]]), *PANEL)


def _draw(parts: Sequence[Surface], ground: Ground, view: View) -> ByteArray:
    moved = [part.moved(view.T_view_cam) for part in parts]
    return over(render(moved, view.camera), to_bytes(ground.draw(view)))


def _name(angle: float) -> str:
    return "0°, the camera's side" if angle == 0 else f"{angle:g}°"
