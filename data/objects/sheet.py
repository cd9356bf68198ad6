"""Contact sheet of the library: every mesh shaded, parts in colours, with its id.

Run ``python -m hoirecon.data.objects.sheet --out objects.png``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray, IntArray
from hoirecon.data.objects.index import WHOLE
from hoirecon.data.objects.library import LibraryObject, list_objects, load_object
from hoirecon.errors import InputError, require
from hoirecon.files import atomic_file

PALETTE = (
    (105, 150, 200), (235, 150, 80), (110, 180, 110), (215, 95, 95), (160, 130, 205), (165, 125, 100),
    (230, 150, 200), (120, 195, 200), (205, 200, 90), (150, 150, 150), (70, 110, 160), (190, 110, 50),
)  # fmt: skip
"""RGB of the parts, in the order of `part_names`."""


@dataclass(frozen=True)
class SheetConfig:
    """How the contact sheet is drawn."""

    tile: int = 128
    """Pixels per side of one object's picture."""
    columns: int = 16
    """Objects per row."""
    yaw: float = -32.0
    """Degrees by which an object is turned about its up axis; negative shows its left side too."""
    pitch: float = 24.0
    """Degrees from which the camera looks down."""
    category: str | None = None
    """Draw only this category."""
    page: int = 0
    """With `per_page`, which page of the library to draw (from 0)."""
    per_page: int = 0
    """Objects per page; 0 draws all on one sheet."""


def draw_object(verts: FloatArray, faces: IntArray, face_parts: IntArray, config: SheetConfig) -> ByteArray:
    """One object as an RGB picture (tile, tile, 3), seen without perspective from its front left, filling the tile."""
    o3d: Any = require("open3d", extra="render")
    size = config.tile
    R = _view(config.yaw, config.pitch)
    turned = verts @ R.T
    turned = turned - (turned.max(0) + turned.min(0)) / 2
    reach = float(np.abs(turned[:, :2]).max()) * 1.06
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(turned.astype(np.float32), faces.astype(np.uint32))
    over = 2  # samples per pixel side
    line = (np.arange(size * over) + 0.5) / (size * over) * 2 - 1
    x, y = np.meshgrid(line * reach, -line * reach)
    far = float(turned[:, 2].max()) + reach
    origin = np.stack([x, y, np.full_like(x, far)], -1)
    rays = np.concatenate([origin, np.broadcast_to((0.0, 0.0, -1.0), origin.shape)], -1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor(rays))
    shade = _shade(hit["primitive_normals"].numpy(), np.isfinite(hit["t_hit"].numpy()))
    which = np.minimum(hit["primitive_ids"].numpy().astype(np.int64), len(faces) - 1)
    color = np.array(PALETTE, dtype=float)[face_parts[which] % len(PALETTE)]
    picture = np.where(np.isfinite(hit["t_hit"].numpy())[..., None], color * shade[..., None], 250.0)
    pooled = picture.reshape(size, over, size, over, 3).mean(axis=(1, 3))
    drawn: ByteArray = np.clip(pooled, 0, 255).astype(np.uint8)
    return drawn


def draw_sheet(objects: Sequence[LibraryObject], config: SheetConfig) -> ByteArray:
    """A grid of objects with their ids, as an RGB picture."""
    from PIL import Image, ImageDraw

    rows = -(-len(objects) // config.columns)
    label = 13
    sheet = Image.new("RGB", (config.columns * config.tile, rows * (config.tile + label)), (250, 250, 250))
    pen = ImageDraw.Draw(sheet)
    for k, item in enumerate(objects):
        left, top = k % config.columns * config.tile, k // config.columns * (config.tile + label)
        parts = item.face_parts if item.part_names != (WHOLE,) else np.full_like(item.face_parts, 9)
        sheet.paste(Image.fromarray(draw_object(item.mesh.verts, item.mesh.faces, parts, config)), (left, top))
        pen.text((left + 2, top + config.tile), item.id[: config.tile // 6], fill=(30, 30, 30))
    return np.asarray(sheet)


def main(out: Path, config: SheetConfig = SheetConfig()) -> None:
    """Draw the object library.

    Args:
        out: picture file to write (png).
        config: how it is drawn.
    """
    from PIL import Image

    found = list_objects(config.category)
    if config.per_page:
        found = found[config.page * config.per_page : (config.page + 1) * config.per_page]
    if not found:
        raise InputError(f"page {config.page} has no objects: there are {len(list_objects(config.category))}")
    picture = Image.fromarray(draw_sheet([load_object(entry.id) for entry in found], config))
    with atomic_file(out) as tmp:
        picture.quantize(224).save(tmp, format="PNG", optimize=True)


def _view(yaw: float, pitch: float) -> FloatArray:
    a, b = np.radians(yaw), np.radians(pitch)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    view: FloatArray = tilt @ turn
    return view


def _shade(normals: FloatArray, seen: Any) -> FloatArray:
    """Light from the upper left, and some from the right, so that no face is black."""
    key = np.array([-0.45, 0.75, 0.5]) / np.linalg.norm([-0.45, 0.75, 0.5])
    fill = np.array([0.8, 0.1, 0.6]) / np.linalg.norm([0.8, 0.1, 0.6])
    bright = 0.38 + 0.6 * np.clip(normals @ key, 0, None) + 0.22 * np.clip(normals @ fill, 0, None)
    return np.where(seen, bright, 1.0)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
