"""The object cut out of a photograph, as a square that holds all of it."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray

MARGIN = 0.1
"""How much wider than the object the crop is, on each side, of the longer side."""
WHITE = 255
BACKGROUNDS = (WHITE, 128)
"""Grey levels that an object is laid on; embeddings over them are averaged."""


def object_square(image: ByteArray, mask: BoolArray | None = None, background: int = WHITE) -> ByteArray:
    """The object on a plain square.

    With a mask, what is outside it is painted over and the square surrounds the object with a margin. Without one, the
    image is padded: CLIP's own preprocessing would cut the ends off long objects.

    Args:
        image: (H, W, 3) RGB.
        mask: (H, W), not empty; None keeps the whole image.
        background: grey level around the object.

    Returns:
        (S, S, 3).

    Example:
        >>> object_square(np.zeros((10, 40, 3), np.uint8)).shape
        (40, 40, 3)
    """
    margin = 0
    if mask is not None:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        image = np.where(mask[box][..., None], image[box], np.uint8(background))
        margin = round(MARGIN * max(image.shape[:2]))
    height, width = image.shape[:2]
    side = max(height, width) + 2 * margin
    square = np.full((side, side, 3), background, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square
