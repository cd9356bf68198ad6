"""Overlap of a query's mask with silhouettes from many sides, over shifts, scales and rolls of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray, FloatArray
from hoirecon.retrieval.embedded.unlearned import cropped
from hoirecon.retrieval.embedded.views import Float32Array, Views, render, rolls
from hoirecon.retrieval.surfaces import Surface
from hoirecon.retrieval.view_rendering import ViewSet

SILHOUETTE_VIEWS = ViewSet(azimuths=24, elevations=(-2.0, 12.0, 28.0, 46.0), size=32)
"""From where a shape's silhouettes are taken: 96 views."""
ROLLS = np.radians(np.arange(-15.0, 15.1, 5.0))
"""Rolls of the camera that are tried."""


def shape_silhouettes(surface: Surface) -> ByteArray:
    """(96, 128) silhouettes of a shape, 32 x 32 pixels packed to bits."""
    views = render(surface, SILHOUETTE_VIEWS.rotations(), size=SILHOUETTE_VIEWS.size)
    return packed_bits(views)


def packed_bits(views: Views) -> ByteArray:
    """(V, S * S / 8) masks packed to bits, a pixel set if half of it is covered."""
    return np.packbits(views.masks.reshape(len(views.masks), -1) >= 0.5, axis=1)


def rolled_silhouettes(mask: BoolArray | Float32Array) -> BoolArray:
    """(7, S * S) a query's mask turned back by each of :data:`ROLLS`, cut to its box and brought to S x S pixels."""
    picture = cropped(np.asarray(mask, np.float32), 3 * SILHOUETTE_VIEWS.size)
    padded = cv2.copyMakeBorder(picture, *[SILHOUETTE_VIEWS.size] * 4, cv2.BORDER_CONSTANT, value=0)
    middle = (padded.shape[1] / 2 - 0.5, padded.shape[0] / 2 - 0.5)
    out = []
    for roll in ROLLS:
        # getRotationMatrix2D turns anticlockwise as seen, a camera's positive roll the picture clockwise.
        matrix = cv2.getRotationMatrix2D(middle, float(np.degrees(roll)), 1.0)
        turned = cv2.warpAffine(padded, matrix, padded.shape[::-1], flags=cv2.INTER_LINEAR)
        out.append(cropped((turned >= 0.5).astype(np.float32), SILHOUETTE_VIEWS.size) >= 0.5)
    return np.stack(out).reshape(len(ROLLS), -1)


def overlaps(query: BoolArray, silhouettes: ByteArray, missing: float = 1.0) -> Float32Array:
    """(N, V, R) overlap of rolled masks with packed silhouettes (N, V, B): Tversky's index.

    Args:
        query: (R, S * S) of :func:`rolled_silhouettes`.
        silhouettes: (N, V, S * S / 8).
        missing: weight of a silhouette's pixels that the mask lacks; 1 gives intersection over union, less forgives
            an occluder.
    """
    shapes, views = silhouettes.shape[:2]
    bits = np.unpackbits(silhouettes.reshape(shapes * views, -1), axis=1).astype(np.float32)
    given = query.astype(np.float32)
    both = bits @ given.T
    lacking, beyond = bits.sum(1, keepdims=True) - both, given.sum(1) - both
    index: Float32Array = both / np.maximum(both + missing * lacking + beyond, 1e-9)
    return index.reshape(shapes, views, -1)


def rotations_of(overlap: Float32Array, count: int, apart: float = 40.0) -> FloatArray:
    """(G, 3, 3) R_cam_obj of the views (V, R) that overlap most, best first, at least so many degrees apart."""
    upright = SILHOUETTE_VIEWS.rotations()
    order = np.argsort(-overlap, axis=None, kind="stable")[: 40 * count]
    kept: list[npt.NDArray[np.float64]] = []
    for view, roll in zip(*np.unravel_index(order, overlap.shape), strict=True):
        R = rolls(ROLLS[[roll]])[0] @ upright[view]
        cosines = [(np.trace(R @ other.T) - 1) / 2 for other in kept]
        if all(cosine < np.cos(np.radians(apart)) for cosine in cosines):
            kept.append(R)
        if len(kept) == count:
            break
    return np.stack(kept)
