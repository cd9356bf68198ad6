"""The baseline: silhouettes compared without learning anything."""

from __future__ import annotations

import cv2
import numpy as np

from hoirecon.arrays import BoolArray
from hoirecon.retrieval.embedded.views import Float32Array, mask_square

OCCUPANCY = 14
"""Cells per side of the occupancy grid."""
CELLS = 4
"""Cells per side of the grid of boundary orientations."""
ORIENTATIONS = 8
"""Directions of the boundary, over half a turn."""


def silhouette_descriptor(mask: BoolArray | Float32Array) -> Float32Array:
    """(324,) unit vector of a mask: 14 x 14 occupancies, and 4 x 4 histograms of 8 boundary orientations.

    The two parts have length 1 each before they are joined. The mask is cut to its box first, with a margin.
    """
    square = cropped(np.asarray(mask, np.float32), 56)
    occupancy = square.reshape(OCCUPANCY, 4, OCCUPANCY, 4).mean((1, 3)).ravel()
    smooth = cv2.GaussianBlur(square, (0, 0), 1.0)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
    bin_of = np.minimum((angle / np.pi * ORIENTATIONS).astype(int), ORIENTATIONS - 1)
    rows, columns = np.indices(square.shape) * CELLS // square.shape[0]
    place = (rows * CELLS + columns) * ORIENTATIONS + bin_of
    boundary = np.bincount(place.ravel(), strength.ravel(), CELLS * CELLS * ORIENTATIONS)
    joined = np.concatenate([part / max(float(np.linalg.norm(part)), 1e-9) for part in (occupancy, boundary)])
    unit: Float32Array = (joined / np.linalg.norm(joined)).astype(np.float32)
    return unit


def cropped(picture: Float32Array, size: int) -> Float32Array:
    """The square round a picture's mask (H, W) or mask and normals (H, W, 4), brought to size x size pixels."""
    mask = picture if picture.ndim == 2 else picture[..., 0]
    left, top, side = mask_square(mask > 0)
    scale = size / side
    # Pixel centres: a point x of the picture comes to (x - left) * scale, in coordinates whose pixels begin at 0.
    matrix = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
    if side > 2 * size:  # warpAffine looks at four pixels only: average whole blocks first
        return _shrunk(picture, left, top, side, size)
    found: Float32Array = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return found


def _shrunk(picture: Float32Array, left: int, top: int, side: int, size: int) -> Float32Array:
    box = picture[max(top, 0) : top + side, max(left, 0) : left + side]
    below, right = side - max(-top, 0) - box.shape[0], side - max(-left, 0) - box.shape[1]
    whole = cv2.copyMakeBorder(box, max(-top, 0), below, max(-left, 0), right, cv2.BORDER_CONSTANT, value=0)
    found: Float32Array = cv2.resize(whole, (size, size), interpolation=cv2.INTER_AREA)
    return found
