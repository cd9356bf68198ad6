"""Colours with a meaning: bodies are cool, objects warm, contact runs from light grey to deep red.

Everything is sRGB in [0, 1] unless said. The contact scale is perceptually uniform: equal steps of probability are
equal steps in OKLab (Ottosson 2020, "A perceptual color space for image processing"), and it only ever gets darker, so
it reads in grey print and for colour-blind eyes too.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray


def from_hex(text: str) -> FloatArray:
    """``#rrggbb`` to (3,) sRGB.

    Example:
        >>> from_hex("#ff0000").tolist()
        [1.0, 0.0, 0.0]
    """
    return np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])


BACKGROUND = from_hex("#f5f4f1")
INK = from_hex("#2b2d33")
INK_SOFT = from_hex("#75777e")
GROUND = from_hex("#e9e7e2")
WARNING = from_hex("#b4512e")

BODY_COLORS = tuple(from_hex(c) for c in ("#9fb6d1", "#93b9af", "#aea6cb"))
OBJECT_COLORS = tuple(from_hex(c) for c in ("#e3a95f", "#d07c5e", "#bd9d57", "#d99696", "#ad6650"))

# (lightness, chroma, hue in degrees) in OKLab's polar form; lightness falls all the way.
_CONTACT_ANCHORS = (
    (0.90, 0.008, 250.0),
    (0.83, 0.085, 88.0),
    (0.72, 0.150, 58.0),
    (0.56, 0.195, 27.0),
    (0.36, 0.140, 8.0),
)
_STEPS = 256

_LMS_FROM_RGB = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB_FROM_LMS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_linear(srgb: Any) -> FloatArray:
    """SRGB (..., 3) to linear light (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, dtype=np.float64)
    linear: FloatArray = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear


def to_srgb(linear: Any) -> FloatArray:
    """Linear light (..., 3) to sRGB, clipped to [0, 1]."""
    linear = np.clip(np.asarray(linear, dtype=np.float64), 0, 1)
    # The standard's 0.0031308 is this limit cut off: between the two the maps would not invert each other.
    srgb: FloatArray = np.where(linear <= 0.04045 / 12.92, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return srgb


def to_oklab(srgb: Any) -> FloatArray:
    """SRGB (..., 3) to OKLab (lightness, green-red, blue-yellow)."""
    lab: FloatArray = np.cbrt(to_linear(srgb) @ _LMS_FROM_RGB.T) @ _LAB_FROM_LMS.T
    return lab


def from_oklab(lab: Any) -> FloatArray:
    """OKLab (..., 3) to sRGB, clipped to [0, 1]."""
    lms = (np.asarray(lab, dtype=np.float64) @ np.linalg.inv(_LAB_FROM_LMS).T) ** 3
    return to_srgb(lms @ np.linalg.inv(_LMS_FROM_RGB).T)


@lru_cache(maxsize=1)
def _contact_table() -> FloatArray:
    """(256, 3) sRGB: the anchors' path in OKLab, walked in equal steps of length."""
    lightness, chroma, hue = np.array(_CONTACT_ANCHORS).T
    angle = np.deg2rad(hue)
    anchors = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1)
    dense = np.concatenate([np.linspace(a, b, 400, endpoint=False) for a, b in pairwise(anchors)])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    even = np.linspace(0, length[-1], _STEPS)
    return from_oklab(np.stack([np.interp(even, length, dense[:, i]) for i in range(3)], axis=1))


def contact_colors(probability: Any) -> FloatArray:
    """(..., 3) sRGB of contact probabilities (...) in [0, 1]; light grey is none, deep red is certain.

    Example:
        >>> light, dark = contact_colors([0.0, 1.0])
        >>> bool(light.min() > 0.8 and dark.max() < 0.6)
        True
    """
    place = np.clip(np.asarray(probability, dtype=np.float64), 0, 1) * (_STEPS - 1)
    low = np.minimum(place.astype(int), _STEPS - 2)
    weight = (place - low)[..., None]
    table = _contact_table()
    mixed: FloatArray = table[low] * (1 - weight) + table[low + 1] * weight
    return mixed


def body_color(index: int) -> FloatArray:
    """(3,) colour of the body with this index; colours repeat."""
    return BODY_COLORS[index % len(BODY_COLORS)]


def object_color(index: int) -> FloatArray:
    """(3,) colour of the object with this index; colours repeat."""
    return OBJECT_COLORS[index % len(OBJECT_COLORS)]


def to_bytes(srgb: Any) -> ByteArray:
    """Colours in [0, 1] to uint8, rounded."""
    return np.asarray(np.rint(np.clip(srgb, 0, 1) * 255), dtype=np.uint8)


def stronger(srgb: FloatArray, lightness: float = 0.68, chroma: float = 2.3) -> FloatArray:
    """The same hue, darker and more vivid, for outlines: OKLab lightness and chroma times these factors."""
    return from_oklab(to_oklab(srgb) * [lightness, chroma, chroma])
