"""A picture of what was found: the query first, then each hit with its name, score, size and licence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray
from hoirecon.data.objects.sheet import SheetConfig, draw_object
from hoirecon.errors import InputError
from hoirecon.retrieval.crops import object_square
from hoirecon.retrieval.hits import FoundObject

PAPER, INK, SOFT, FRAME = (250, 250, 250), (25, 28, 32), (100, 106, 114), (214, 218, 222)
NOT_USABLE = "its mesh cannot be used"


@dataclass(frozen=True)
class HitSheetConfig:
    """How the sheet is drawn."""

    tile: int = 240
    """Side of one picture, pixels."""
    columns: int = 6
    """Pictures in a row, the query among them."""
    text: int = 14
    """Height of the letters, pixels."""


def draw_hits(
    hits: Sequence[FoundObject],
    image: ByteArray | None = None,
    mask: BoolArray | None = None,
    label: str | None = None,
    config: HitSheetConfig = HitSheetConfig(),
) -> ByteArray:
    """The sheet, (H, W, 3) RGB. Meshes are drawn from their front left; one that cannot be read says so.

    Args:
        hits: what was found, best first.
        image: the photograph that was searched with.
        mask: the object's pixels in it; what is beside them is greyed.
        label: the name that was searched with.
        config: how.
    """
    from PIL import Image, ImageDraw, ImageFont

    tiles: list[tuple[ByteArray, list[str]]] = []
    if image is not None:
        tiles.append((_query(image, mask, config.tile), ["looked for", label or "no name given"]))
    tiles += [(_mesh(hit, config.tile), _lines(i, hit)) for i, hit in enumerate(hits, 1)]
    if not tiles:
        raise InputError("there is nothing to draw: no hit and no photograph")
    gap, line = config.text, round(1.35 * config.text)
    columns, height = min(config.columns, len(tiles)), config.tile + 4 * line + gap
    size = (columns * (config.tile + gap) + gap, -(-len(tiles) // columns) * (height + gap) + gap)
    sheet = Image.new("RGB", size, PAPER)
    pen, letters = ImageDraw.Draw(sheet), ImageFont.load_default(config.text)
    for i, (picture, texts) in enumerate(tiles):
        left, top = gap + i % columns * (config.tile + gap), gap + i // columns * (height + gap)
        sheet.paste(Image.fromarray(picture), (left, top))
        pen.rectangle((left, top, left + config.tile - 1, top + config.tile - 1), outline=FRAME)
        for row, text in enumerate(texts):
            place = (left, top + config.tile + gap // 2 + row * line)
            pen.text(place, _shortened(text, letters, config.tile), INK if row == 0 else SOFT, letters)
    return np.asarray(sheet)


def _lines(place: int, hit: FoundObject) -> list[str]:
    low, high = (hit.size.longest * np.exp(s * hit.size.log_sigma) for s in (-1, 1))
    return [
        f"{place}. {hit.id}",
        f"{hit.label or 'no name'}, score {hit.score:.2f}",
        f"{hit.size.longest:.2f} m ({low:.2f} to {high:.2f})",
        hit.licence or "licence not known",
    ]


def _mesh(hit: FoundObject, tile: int) -> ByteArray:
    try:
        mesh = hit.mesh
    except InputError:
        blank = np.full((tile, tile, 3), PAPER, np.uint8)
        return _written(blank, NOT_USABLE)
    return draw_object(mesh.verts, mesh.faces, np.zeros(len(mesh.faces), np.int64), SheetConfig(tile=tile))


def _query(image: ByteArray, mask: BoolArray | None, tile: int) -> ByteArray:
    from PIL import Image

    if mask is not None:
        pale = np.where(mask[..., None], image, image // 4 + 190).astype(np.uint8)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        around = round(0.15 * max(np.ptp(rows), np.ptp(columns)) + 2)
        image = pale[
            max(rows[0] - around, 0) : rows[-1] + around + 1, max(columns[0] - around, 0) : columns[-1] + around + 1
        ]
    square = object_square(np.ascontiguousarray(image), background=PAPER[0])
    return np.asarray(Image.fromarray(square).resize((tile, tile), Image.Resampling.LANCZOS))


def _written(picture: ByteArray, text: str) -> ByteArray:
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.fromarray(picture)
    ImageDraw.Draw(drawn).text((10, len(picture) // 2), text, SOFT, ImageFont.load_default(14))
    return np.asarray(drawn)


def _shortened(text: str, letters: Any, width: int) -> str:
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
