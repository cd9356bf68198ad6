"""Sheets of pictures with titles and legends, drawn with Pillow and its bundled font."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray, FloatArray
from hoirecon.views.palette import BACKGROUND, INK, INK_SOFT, contact_colors, to_bytes

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

MARGIN = 28
GAP = 20
TITLE_SIZE = 21
TEXT_SIZE = 17

Swatch = Literal["fill", "line", "dot", "ring"]


@dataclass(frozen=True)
class LegendEntry:
    """One sign and what it means."""

    text: str
    color: FloatArray
    """(3,) sRGB in [0, 1]."""
    sign: Swatch = "fill"


def font(size: float) -> FreeTypeFont | ImageFont:
    """Pillow's bundled font at a size in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def ink(color: FloatArray) -> tuple[int, int, int]:
    """A colour in [0, 1] as Pillow wants it."""
    r, g, b = (int(v) for v in to_bytes(color))
    return r, g, b


def over(rgba: ByteArray, background: FloatArray | ByteArray = BACKGROUND, opacity: float = 1.0) -> ByteArray:
    """Lay an (H, W, 4) picture over a colour or an (H, W, 3) picture; (H, W, 3) uint8."""
    below = background if background.dtype == np.uint8 else background * 255.0
    alpha = rgba[..., 3] * np.float32(opacity / 255)
    mixed = np.empty((*rgba.shape[:2], 3), dtype=np.uint8)
    for channel in range(3):  # one at a time: floats of a whole picture are large
        mixed[..., channel] = np.rint(rgba[..., channel] * alpha + below[..., channel] * (1 - alpha))
    return mixed


def resize(image: ByteArray, width: int, height: int) -> ByteArray:
    """Resample a picture to another size (Lanczos)."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def text_width(text: str, size: float) -> int:
    """Width of a text in pixels."""
    return int(np.ceil(font(size).getlength(text)))


def shorten(text: str, width: int, size: float) -> str:
    """Cut a text with an ellipsis so that it fits a width in pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def sheet(
    rows: Sequence[Sequence[tuple[str, ByteArray]]],
    title: str = "",
    legend: Sequence[LegendEntry] = (),
    contact_scale: bool = False,
    notes: Sequence[str] = (),
) -> ByteArray:
    """Put titled pictures in rows on a calm background, with a legend and notes below.

    Args:
        rows: rows of (title, (H, W, 3) picture).
        title: a line above everything.
        legend: signs and their meaning.
        contact_scale: also draw the bar of contact probabilities.
        notes: small lines of text at the bottom.

    Returns:
        (H, W, 3) uint8.
    """
    from PIL import Image, ImageDraw

    width = max(sum(p.shape[1] for _, p in row) + GAP * (len(row) - 1) for row in rows) + 2 * MARGIN
    lines = _flow_legend(legend, width - 2 * MARGIN - (_SCALE_WIDTH + 2 * GAP if contact_scale else 0))
    foot = max(len(lines) * 30, 62 if contact_scale else 0) + len(notes) * 24
    top = MARGIN + (TITLE_SIZE + 20 if title else 0)
    heights = [max(p.shape[0] for _, p in row) + _title_height(row) for row in rows]
    height = top + sum(heights) + GAP * (len(rows) - 1) + (GAP + foot if foot else 0) + MARGIN
    page = Image.new("RGB", (width, height), ink(BACKGROUND))
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((MARGIN, MARGIN - 4), shorten(title, width - 2 * MARGIN, TITLE_SIZE), ink(INK), font(TITLE_SIZE))
    y = top
    for row, row_height in zip(rows, heights, strict=True):
        _draw_row(page, draw, row, y, width)
        y += row_height + GAP
    _draw_legend(draw, lines, y)
    if contact_scale:
        _draw_contact_scale(page, draw, width - MARGIN - _SCALE_WIDTH, y)
    for k, note in enumerate(reversed(notes)):
        place = (MARGIN, height - MARGIN - 18 - 24 * k)
        draw.text(place, shorten(note, width - 2 * MARGIN, TEXT_SIZE - 2), ink(INK_SOFT), font(TEXT_SIZE - 2))
    return np.asarray(page)


def _title_height(row: Sequence[tuple[str, ByteArray]]) -> int:
    return TEXT_SIZE + 12 if any(title for title, _ in row) else 0


def _draw_row(page: Any, draw: Any, row: Sequence[tuple[str, ByteArray]], y: int, width: int) -> None:
    from PIL import Image

    x = (width - sum(p.shape[1] for _, p in row) - GAP * (len(row) - 1)) // 2
    for title, picture in row:
        draw.text((x + 2, y), shorten(title, picture.shape[1] - 4, TEXT_SIZE), ink(INK_SOFT), font(TEXT_SIZE))
        page.paste(Image.fromarray(picture), (x, y + _title_height(row)))
        x += picture.shape[1] + GAP


def _flow_legend(legend: Sequence[LegendEntry], width: int) -> list[list[LegendEntry]]:
    lines: list[list[LegendEntry]] = []
    used = width + 1
    for entry in legend:
        size = _SIGN_WIDTH + text_width(entry.text, TEXT_SIZE) + 26
        if used + size > width:
            lines.append([])
            used = 0
        lines[-1].append(entry)
        used += size
    return lines


_SIGN_WIDTH = 34
_SCALE_WIDTH = 340


def _draw_legend(draw: Any, lines: list[list[LegendEntry]], y: int) -> None:
    for line in lines:
        x = MARGIN
        for entry in line:
            _draw_sign(draw, entry, x, y + 11)
            draw.text((x + _SIGN_WIDTH, y), entry.text, ink(INK), font(TEXT_SIZE))
            x += _SIGN_WIDTH + text_width(entry.text, TEXT_SIZE) + 26
        y += 30


def _draw_sign(draw: Any, entry: LegendEntry, x: int, y: int) -> None:
    color = ink(entry.color)
    if entry.sign == "fill":
        draw.rounded_rectangle((x, y - 8, x + 24, y + 8), 4, fill=color)
    elif entry.sign == "line":
        draw.line((x, y, x + 24, y), fill=color, width=3)
    elif entry.sign == "dot":
        draw.ellipse((x + 7, y - 5, x + 17, y + 5), fill=color)
    else:
        draw.ellipse((x + 6, y - 6, x + 18, y + 6), outline=color, width=2)


def _draw_contact_scale(page: Any, draw: Any, x: int, y: int) -> None:
    from PIL import Image

    ramp = contact_colors(np.broadcast_to(np.linspace(0, 1, _SCALE_WIDTH), (16, _SCALE_WIDTH)))
    draw.text((x, y - 6), "probability of contact", ink(INK), font(TEXT_SIZE - 1))
    page.paste(Image.fromarray(to_bytes(ramp)), (x, y + 18))
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = x + value * (_SCALE_WIDTH - 1)
        draw.line((at, y + 34, at, y + 39), fill=ink(INK_SOFT), width=1)
        label = f"{value:g}"
        shift = value * text_width(label, TEXT_SIZE - 3)
        draw.text((at - shift, y + 41), label, ink(INK_SOFT), font(TEXT_SIZE - 3))


def outlines(mask: BoolArray, scale: float = 1.0) -> list[FloatArray]:
    """Closed outlines (N, 2) of a mask, in pixels (x, y) times ``scale``, halfway between inside and outside."""
    from skimage.measure import find_contours

    padded = np.pad(np.asarray(mask, dtype=np.float64), 1)
    # find_contours counts from pixel centres, and the padding adds one pixel on each side.
    return [(line[:, ::-1] - 0.5) * scale for line in find_contours(padded, 0.5)]


def rounded(lines: Sequence[FloatArray]) -> list[FloatArray]:
    """Closed outlines without the pixels' stairs: each point becomes the mean of itself and its neighbours, twice."""
    for _ in range(2):
        rings = [line[:-1] for line in lines]
        rings = [(np.roll(ring, 1, axis=0) + ring + np.roll(ring, -1, axis=0)) / 3 for ring in rings]
        lines = [np.concatenate([ring, ring[:1]]) for ring in rings]
    return list(lines)


def draw_outlines(draw: Any, lines: Sequence[FloatArray], color: FloatArray, width: int) -> None:
    """Draw closed outlines; specks of under a dozen points are left out."""
    for line in lines:
        if len(line) >= 12:
            draw.line([(float(x), float(y)) for x, y in line], fill=ink(color), width=width, joint="curve")
