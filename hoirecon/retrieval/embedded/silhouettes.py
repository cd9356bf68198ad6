"""Overlap of a query's mask with silhouettes from many sides, over shifts, scales and rolls of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray, FloatArray
from hoirecon.retrieval.embedded.unlearned import cropped
from hoirecon.retrieval.embedded.views import MARGIN, Float32Array, Views, render, rolls
from hoirecon.retrieval.surfaces import Surface
from hoirecon.retrieval.view_rendering import ViewSet

SILHOUETTE_VIEWS = ViewSet(azimuths=24, elevations=(-2.0, 12.0, 28.0, 46.0), size=32)
"""From where a shape's silhouettes are taken: 96 views."""
ROLLS = np.radians(np.arange(-15.0, 15.1, 5.0))
"""Rolls of the camera that are tried."""
HIDDEN_EDGES = (0.2, 0.45)
"""How much longer, on one side, a mask's box is taken to be if something hides the object's end there."""
EXTENTS = ((0.0, 0.0, 0.0, 0.0), *((*[0.0] * i, more, *[0.0] * (3 - i)) for i in range(4) for more in HIDDEN_EDGES))
"""Boxes that are tried: the mask's own, and longer to the left, at the top, to the right, at the bottom."""
TEMPLATE_ROLLS = np.repeat(ROLLS, len(EXTENTS))
"""(T,) the roll of each of a query's silhouettes."""
TEMPLATE_LENGTHS = np.tile(np.array([max(extent) for extent in EXTENTS], np.float32), len(ROLLS))
"""(T,) by how much its box is longer than the mask's."""


def shape_silhouettes(surface: Surface) -> ByteArray:
    """(96, 128) silhouettes of a shape, 32 x 32 pixels packed to bits."""
    views = render(surface, SILHOUETTE_VIEWS.rotations(), size=SILHOUETTE_VIEWS.size)
    return packed_bits(views)


def packed_bits(views: Views) -> ByteArray:
    """(V, S * S / 8) masks packed to bits, a pixel set if half of it is covered."""
    return np.packbits(views.masks.reshape(len(views.masks), -1) >= 0.5, axis=1)


def query_silhouettes(mask: BoolArray | Float32Array) -> BoolArray:
    """(63, S * S) a mask turned back by each of :data:`ROLLS`, cut to each of :data:`EXTENTS`, as S x S pixels."""
    size = SILHOUETTE_VIEWS.size
    picture = cropped(np.asarray(mask, np.float32), 2 * size)
    middle = (size - 0.5, size - 0.5)
    out = []
    for roll in ROLLS:
        # getRotationMatrix2D turns anticlockwise as seen, a camera's positive roll turned the picture clockwise.
        matrix = cv2.getRotationMatrix2D(middle, float(np.degrees(roll)), 1.0)
        matrix[:, 2] += size // 2
        turned = cv2.warpAffine(picture, matrix, (3 * size, 3 * size), flags=cv2.INTER_LINEAR)
        out += [_square(turned, extent) for extent in EXTENTS]
    return np.stack(out)


def _square(picture: Float32Array, extent: tuple[float, ...]) -> BoolArray:
    """(S * S,) the pixels in a square round a mask's box, which is made longer by parts of its sides."""
    size, inside = SILHOUETTE_VIEWS.size, picture >= 0.5
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) == 0:
        return np.zeros(size * size, bool)
    width, height = columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    left, top = columns[0] - extent[0] * width, rows[0] - extent[1] * height
    right, bottom = columns[-1] + 1 + extent[2] * width, rows[-1] + 1 + extent[3] * height
    side = max(right - left, bottom - top) * (1 + 2 * MARGIN)
    scale, x, y = size / side, (left + right - side) / 2, (top + bottom - side) / 2
    matrix = np.array([[scale, 0, (0.5 - x) * scale - 0.5], [0, scale, (0.5 - y) * scale - 0.5]])
    square = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR)
    pixels: BoolArray = square.ravel() >= 0.5
    return pixels


def overlaps(query: BoolArray, silhouettes: ByteArray, missing: float = 1.0) -> Float32Array:
    """(N, V, T) overlap of a query with packed silhouettes (N, V, B): Tversky's index.

    Args:
        query: (T, S * S) of :func:`query_silhouettes`.
        silhouettes: (N, V, S * S / 8).
        missing: weight of a silhouette's pixels that the mask lacks; 1 gives intersection over union, less forgives
            an occluder.
    """
    given = query.T.astype(np.float32)
    size = given.sum(0)
    out = np.empty((*silhouettes.shape[:2], given.shape[1]), np.float32)
    for i, packed in enumerate(silhouettes):  # one shape after the other: unpacked, a library takes 170 MB
        bits = np.unpackbits(packed, axis=1).astype(np.float32)
        both = bits @ given
        out[i] = both / np.maximum((1 - missing) * both + missing * bits.sum(1, keepdims=True) + size - both, 1e-9)
    return out


def rotations_of(overlap: Float32Array, count: int, apart: float = 40.0) -> FloatArray:
    """(G, 3, 3) R_cam_obj of the views and templates (V, T) that overlap most, best first, so many degrees apart."""
    upright = SILHOUETTE_VIEWS.rotations()
    order = np.argsort(-overlap, axis=None, kind="stable")[: 40 * count]
    kept: list[npt.NDArray[np.float64]] = []
    for view, template in zip(*np.unravel_index(order, overlap.shape), strict=True):
        R = rolls(TEMPLATE_ROLLS[[template]])[0] @ upright[view]
        cosines = [(np.trace(R @ other.T) - 1) / 2 for other in kept]
        if all(cosine < np.cos(np.radians(apart)) for cosine in cosines):
            kept.append(R)
        if len(kept) == count:
            break
    return np.stack(kept)
