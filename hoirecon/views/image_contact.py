"""Contact in the photograph itself: its pixels coloured by the probability that they show contact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray, as_image
from hoirecon.errors import InputError
from hoirecon.views.canvas import over, resize, sheet
from hoirecon.views.palette import contact_colors, to_bytes

PANEL = 720
"""Longer side of each picture, pixels."""
FULL = 0.85
"""How much of the photograph a pixel of certain contact hides."""


def draw_image_contact(image: ByteArray, contacts: Sequence[tuple[str, FloatArray]]) -> ByteArray:
    """Draw the photograph beside itself under the contact with each thing.

    Args:
        image: (H, W, 3) RGB.
        contacts: name of each thing and the probability (H, W) of contact with it.

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
        panels.append((f"contact with {name}", _coloured(photo, probability)))
    return sheet([panels[i : i + 3] for i in range(0, len(panels), 3)], contact_scale=True)


def _coloured(photo: ByteArray, probability: FloatArray) -> ByteArray:
    """The photograph under the contact scale's colours, the stronger the likelier."""
    height, width = photo.shape[:2]
    share = resize(to_bytes(np.repeat(probability[..., None], 3, axis=2)), width, height)[..., 0] / 255.0
    colors = to_bytes(contact_colors(share.ravel())).reshape(height, width, 3)
    alpha = to_bytes(FULL * share)[..., None]
    return over(np.concatenate([colors, alpha], axis=2), photo)
