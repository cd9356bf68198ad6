"""Contact in the photograph itself: its pixels coloured by the probability that they show contact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray, as_image
from hoirecon.contact_map import CONTACT_THRESHOLD
from hoirecon.errors import InputError
from hoirecon.views.canvas import over, resize, sheet
from hoirecon.views.palette import INK, contact_colors, to_bytes

PANEL = 720
"""Longer side of each picture, pixels."""
FULL = 0.9
"""How much of the photograph a pixel of certain contact hides."""
PALE = 0.35
"""How far the photograph below the colours is bleached towards white, so that its own colours say nothing."""
MAX_LINE = 400
"""Characters of a line of text; more than fits a page."""

Floats = npt.NDArray[np.floating[Any]]


def draw_image_contact(
    image: ByteArray, contacts: Sequence[tuple[str, Floats]], notes: Sequence[str] = ()
) -> ByteArray:
    """Draw the photograph beside itself under the contact with each thing.

    Below the colours the photograph is grey and pale; a line runs round what is in contact with a probability above
    one half.

    Args:
        image: (H, W, 3) RGB.
        contacts: name of each thing and the probability (H, W) of contact with it.
        notes: lines to be written below, e.g. the model's answers.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: no contact, or of another size than the photograph.
    """
    image = as_image(image)
    if not contacts:
        raise InputError("there is no contact to draw: give at least one name with its probabilities")
    scale = PANEL / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    photo = resize(image, width, height)
    panels = [("photograph", photo)]
    for name, probability in contacts:
        if probability.shape != image.shape[:2]:
            raise InputError(f"contact with '{name}' has shape {probability.shape}, the photograph {image.shape[:2]}")
        share = float((probability > CONTACT_THRESHOLD).mean())
        title = f"contact with {_one_line(name)}: {100 * share:.1f} % above {CONTACT_THRESHOLD:g}"
        panels.append((title, _coloured(photo, _resized(probability, width, height))))
    rows = [panels[i : i + 3] for i in range(0, len(panels), 3)]
    return sheet(rows, contact_scale=True, notes=[_one_line(note) for note in notes])


def _resized(probability: Floats, width: int, height: int) -> Floats:
    from PIL import Image

    picture = Image.fromarray(np.asarray(probability, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).clip(0.0, 1.0)


def _coloured(photo: ByteArray, probability: Floats) -> ByteArray:
    """The pale photograph under the contact scale's colours, the stronger the likelier."""
    grey = photo @ np.array([0.299, 0.587, 0.114])
    below = np.repeat((grey + PALE * (255 - grey)).astype(np.uint8)[..., None], 3, axis=2)
    colors = to_bytes(contact_colors(probability.ravel())).reshape(photo.shape)
    drawn = over(np.concatenate([colors, to_bytes(FULL * probability)[..., None]], axis=2), below)
    drawn[_outline(probability > CONTACT_THRESHOLD)] = to_bytes(INK)
    return drawn


def _outline(mask: BoolArray) -> BoolArray:
    """Pixels of a mask beside one that is not in it; the picture's rim is no border."""
    padded = np.pad(mask, 1, mode="edge")
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~around)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[:MAX_LINE]).split())
