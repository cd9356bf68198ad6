"""The photograph beside the photograph with the fitted scene laid over it: the first thing to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.scene import Scene
from hoirecon.views.canvas import LegendEntry, draw_outlines, ink, outlines, over, resize, rounded, sheet
from hoirecon.views.look import part_colors, part_names, scene_surfaces
from hoirecon.views.palette import from_hex, stronger
from hoirecon.views.raycast import render_with_index
from hoirecon.views.surface import Surface

PANEL = 960
"""Longer side of each of the two pictures, pixels."""
OPACITY = 0.78
"""How much of the photograph the fitted surfaces hide."""
SUPERSAMPLE = 2
"""Lines are drawn so many times larger, then made smaller, which smooths them."""

MASK_COLOR = from_hex("#ffffff")
SEEN_COLOR = from_hex("#14a37f")
FIT_COLOR = from_hex("#d6336c")
MIN_CONFIDENCE = 0.3
"""Landmarks below this confidence are not drawn."""


def overlay_picture(scene: Scene, surfaces: Sequence[Surface] | None = None) -> ByteArray:
    """Draw the photograph beside the photograph under the fitted bodies and objects.

    White lines are the masks' outlines, coloured lines the fitted silhouettes (where nothing stands before
    them); dots are detected landmarks, joined to where the first body has them (if its ``landmarks`` are
    known).

    Args:
        scene: what to draw.
        surfaces: what :func:`~hoirecon.views.look.scene_surfaces` gave, to not compute it twice.

    Returns:
        (H, W, 3) uint8.
    """
    from PIL import Image, ImageDraw

    seen = scene.observation
    scale = PANEL / max(seen.size)
    width, height = (max(1, round(side * scale)) for side in (seen.camera.width, seen.camera.height))
    camera = seen.camera.resized(width, height)
    drawn, index = render_with_index(scene_surfaces(scene) if surfaces is None else surfaces, camera)
    photo = resize(seen.image, width, height)
    lines = Image.new("RGBA", (width * SUPERSAMPLE, height * SUPERSAMPLE))
    draw, pixel = ImageDraw.Draw(lines), scale * SUPERSAMPLE
    for k, color in enumerate(part_colors(scene)):
        draw_outlines(draw, rounded(outlines(index == k, SUPERSAMPLE)), stronger(color), 2 * SUPERSAMPLE)
    for mask in _masks(scene):
        draw_outlines(draw, outlines(mask, pixel), MASK_COLOR, SUPERSAMPLE + 1)
    _draw_landmarks(draw, scene, pixel)
    blended = over(np.asarray(lines.reduce(SUPERSAMPLE)), over(drawn, photo, OPACITY))
    panels = [("photograph", photo), ("fitted scene over it", blended)]
    return sheet([panels], legend=_legend(scene))


def _masks(scene: Scene) -> list[Any]:
    person = scene.observation.person_mask
    return ([] if person is None else [person]) + list(scene.observation.object_masks)


def _draw_landmarks(draw: Any, scene: Scene, pixel: float) -> None:
    points = scene.observation.keypoints
    if points is None:
        return
    sure = points.confidence >= MIN_CONFIDENCE
    found = points.xy * pixel
    if scene.body.landmarks is not None:
        fitted = scene.camera.project(scene.body.landmarks) * pixel
        for k in np.flatnonzero(sure & np.isfinite(fitted).all(axis=1)):
            draw.line((*map(float, found[k]), *map(float, fitted[k])), fill=ink(FIT_COLOR), width=2 * SUPERSAMPLE)
            _dot(draw, fitted[k], 2.5 * SUPERSAMPLE, FIT_COLOR)
    for k in np.flatnonzero(sure):
        _dot(draw, found[k], 4.2 * SUPERSAMPLE, MASK_COLOR)
        _dot(draw, found[k], 3.0 * SUPERSAMPLE, SEEN_COLOR)


def _dot(draw: Any, centre: FloatArray, radius: float, color: FloatArray) -> None:
    x, y = (float(v) for v in centre)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink(color))


def _legend(scene: Scene) -> list[LegendEntry]:
    names, colors = part_names(scene), part_colors(scene)
    entries = [LegendEntry(name, color) for name, color in zip(names, colors, strict=True)]
    entries.append(LegendEntry("fitted outline (in each one's colour)", stronger(colors[0]), "line"))
    if _masks(scene):
        entries.append(LegendEntry("mask of the photograph (white line)", from_hex("#c9c9c9"), "line"))
    if scene.observation.keypoints is not None:
        entries.append(LegendEntry("landmark found", SEEN_COLOR, "dot"))
        if scene.body.landmarks is not None:
            entries.append(LegendEntry("same landmark on the fitted body", FIT_COLOR, "dot"))
    return entries
