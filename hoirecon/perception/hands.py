"""Where the hands are, as colours and landmarks say: the first thing that a held object's mask must leave out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray, FloatArray
from hoirecon.observation import Keypoints

# Landmarks of one arm in layout blazepose33: elbow, wrist, little finger, index finger, thumb (knuckles).
_ARMS = ((13, 15, 17, 19, 21), (14, 16, 18, 20, 22))
_SHOULDERS = (11, 12)
_HIPS = (23, 24)
_FACE = (0, 2, 5, 9, 10)  # nose, eyes, mouth corners: skin unless the person is turned away
_GREY = 128.0  # grey's a and b in OpenCV's 8-bit Lab
_SKIN_CHROMA = 2.0  # every human skin is redder and yellower than grey by more than this
_DARK = 25  # lightness (of 255) below which hue is noise


Window = tuple[slice, slice]
"""Rows and columns of a part of an image."""


@dataclass(frozen=True)
class HandConfig:
    """Settings of the hand evidence."""

    min_confidence: float = 0.4
    """Landmark confidence of the wrist below which an arm is left out."""
    palm_width: float = 0.06
    """Half width of the strokes between hand landmarks, in forearm lengths: surely the hand."""
    reach: float = 0.55
    """Radius about the hand's middle in which its colour counts, in forearm lengths: fingers end within."""
    min_saturation: float = 0.55
    """A pixel is of the hand's colour from this part of the hand's median saturation on: grey things that mirror a
    hand stay below."""
    max_hue_turn: float = 30.0
    """... and if its hue is within so many degrees of the hand's in Lab's (a, b) plane."""
    max_alike: float = 0.3
    """If more than this part of the object's surely non-hand region has the hand's colour, colour is not used."""


@dataclass(frozen=True)
class HandEvidence:
    """Where hands are in one image, or in a window of it, whose size all masks have."""

    sure: BoolArray
    """(H, W) strokes between the hand's landmarks."""
    near: BoolArray
    """(H, W) as far as fingers reach."""
    trunk: BoolArray
    """(H, W) shoulders, torso and arms, without the head: where bare skin may be mistaken for the object."""
    alike: BoolArray
    """(H, W) pixels of the hands' colour, anywhere."""


def find_hands(
    image: ByteArray, keypoints: Keypoints | None, config: HandConfig | None = None, window: Window | None = None
) -> HandEvidence | None:
    """Hands from landmarks, and their colour from the pixels at the landmarks; None without usable landmarks.

    The colour is the median of (a, b) in Lab, over hand strokes and the face, of pixels redder and yellower than
    grey. Gloves of a grey colour thus give no colour evidence, only the strokes.

    Args:
        image: (H, W, 3) RGB.
        keypoints: of layout ``blazepose33``; others have no hand landmarks.
        config: settings.
        window: part of the image (rows, columns) that the evidence is wanted for; None is the whole.
    """
    if keypoints is None or keypoints.layout != "blazepose33":
        return None
    config = config or HandConfig()
    size = image.shape[:2]
    rows, cols = window or (slice(0, size[0]), slice(0, size[1]))
    sure, near = _draw(size, keypoints, config)
    if not near.any():
        return None
    colour = _hand_colour(image[sure | _face(size, keypoints)])
    part = np.ascontiguousarray(image[rows, cols])
    trunk = _trunk(size, keypoints, config)
    return HandEvidence(sure[rows, cols], near[rows, cols], trunk[rows, cols], _alike(part, colour, config))


def _draw(size: tuple[int, ...], keypoints: Keypoints, config: HandConfig) -> tuple[BoolArray, BoolArray]:
    import cv2

    sure, near = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.uint8)
    xy, confidence = keypoints.xy, keypoints.confidence
    shoulders = float(np.linalg.norm(xy[_SHOULDERS[0]] - xy[_SHOULDERS[1]]))
    for elbow, wrist, little, index, thumb in _ARMS:
        if confidence[wrist] < config.min_confidence:
            continue
        # a forearm seen end-on looks short: it is never much shorter than 0.6 shoulder widths
        forearm = max(float(np.linalg.norm(xy[elbow] - xy[wrist])), 0.6 * shoulders)
        width = max(1, round(2 * config.palm_width * forearm))
        for a, b in ((wrist, little), (wrist, index), (wrist, thumb), (little, index)):
            cv2.line(sure, _pixel(xy[a]), _pixel(xy[b]), 1, width)
        middle = xy[[wrist, little, index, thumb]].mean(axis=0)
        cv2.circle(near, _pixel(middle), max(1, round(config.reach * forearm)), 1, -1)
    return sure > 0, near > 0


def _trunk(size: tuple[int, ...], keypoints: Keypoints, config: HandConfig) -> BoolArray:
    import cv2

    mask = np.zeros(size, dtype=np.uint8)
    xy = keypoints.xy
    width = max(1, round(0.5 * float(np.linalg.norm(xy[_SHOULDERS[0]] - xy[_SHOULDERS[1]]))))
    corners = np.array([_pixel(xy[i]) for i in (*_SHOULDERS, *_HIPS)], dtype=np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(corners), 1)
    for (elbow, wrist, *_), shoulder in zip(_ARMS, _SHOULDERS, strict=True):
        if keypoints.confidence[elbow] >= config.min_confidence:
            cv2.line(mask, _pixel(xy[shoulder]), _pixel(xy[elbow]), 1, width)
            cv2.line(mask, _pixel(xy[elbow]), _pixel(xy[wrist]), 1, max(1, width // 2))
    return mask > 0


def _face(size: tuple[int, ...], keypoints: Keypoints) -> BoolArray:
    import cv2

    mask = np.zeros(size, dtype=np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.array([_pixel(keypoints.xy[i]) for i in _FACE], dtype=np.int32)), 1)
    return mask > 0


def _hand_colour(pixels: ByteArray) -> FloatArray | None:
    """Median (a, b) minus grey of the skin-like pixels among (N, 3) RGB samples; None if there are too few."""
    import cv2

    lab = cv2.cvtColor(np.ascontiguousarray(pixels[None]), cv2.COLOR_RGB2LAB)[0] if len(pixels) else np.zeros((0, 3))
    chroma = lab[:, 1:].astype(np.float64) - _GREY
    skin = chroma[(chroma > _SKIN_CHROMA).all(axis=1)]
    return np.median(skin, axis=0) if len(skin) >= 20 else None


def _alike(image: ByteArray, hand: FloatArray | None, config: HandConfig) -> BoolArray:
    """Pixels whose hue is near the hand's and whose saturation is not far below."""
    import cv2

    if hand is None:
        return np.zeros(image.shape[:2], dtype=bool)
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 0.7), cv2.COLOR_RGB2LAB)
    chroma = lab[..., 1:].astype(np.float32) - np.float32(_GREY)
    direction = (hand / (hand @ hand)).astype(np.float32)
    along = chroma @ direction  # saturation along the hand's hue, 1 at the hand's median
    across = np.abs(chroma[..., 1] * direction[0] - chroma[..., 0] * direction[1])
    near_hue = across < np.tan(np.radians(config.max_hue_turn)) * along
    alike: BoolArray = (along > config.min_saturation) & near_hue & (lab[..., 0] > _DARK)
    return alike


def _pixel(point: FloatArray) -> tuple[int, int]:
    """Whole pixel that holds a position, kept within what OpenCV can draw."""
    x, y = np.clip(np.floor(point), -30000, 30000)
    return int(x), int(y)
