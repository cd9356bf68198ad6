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
    """Where hands are in one image."""

    sure: BoolArray
    """(H, W) strokes between the hand's landmarks."""
    near: BoolArray
    """(H, W) as far as fingers reach."""
    trunk: BoolArray
    """(H, W) shoulders, torso and upper arms, without the head: where bare skin may be mistaken for the object."""
    alike: BoolArray
    """(H, W) pixels of the hands' colour, anywhere."""


def find_hands(image: ByteArray, keypoints: Keypoints | None, config: HandConfig | None = None) -> HandEvidence | None:
    """Hands from landmarks, and their colour from the pixels at the landmarks; None without usable landmarks.

    The colour is the median of (a, b) in Lab, over hand strokes and the face, of pixels redder and yellower than
    grey. Gloves of a grey colour thus give no colour evidence, only the strokes.
    """
    if keypoints is None or keypoints.layout != "blazepose33":
        return None
    config = config or HandConfig()
    sure, near = _draw(image.shape[:2], keypoints, config)
    if not near.any():
        return None
    trunk = _trunk(image.shape[:2], keypoints, config)
    return HandEvidence(sure, near, trunk, _alike(image, sure | _face(image.shape[:2], keypoints), config))


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
    for (elbow, *_), shoulder in zip(_ARMS, _SHOULDERS, strict=True):
        if keypoints.confidence[elbow] >= config.min_confidence:
            cv2.line(mask, _pixel(xy[shoulder]), _pixel(xy[elbow]), 1, width)
    return mask > 0


def _face(size: tuple[int, ...], keypoints: Keypoints) -> BoolArray:
    import cv2

    mask = np.zeros(size, dtype=np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.array([_pixel(keypoints.xy[i]) for i in _FACE], dtype=np.int32)), 1)
    return mask > 0


def _alike(image: ByteArray, samples: BoolArray, config: HandConfig) -> BoolArray:
    import cv2

    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 0.7), cv2.COLOR_RGB2LAB)
    chroma = lab[..., 1:].astype(np.float32) - _GREY
    seen = chroma[samples]
    seen = seen[(seen > _SKIN_CHROMA).all(axis=1)]
    if len(seen) < 20:
        return np.zeros(samples.shape, dtype=bool)
    hand = np.median(seen, axis=0)
    along = chroma @ hand / (hand @ hand)  # saturation along the hand's hue, 1 at the hand's median
    across = (chroma[..., 1] * hand[0] - chroma[..., 0] * hand[1]) / (hand @ hand)
    hue_turn = np.degrees(np.arctan2(np.abs(across), along))
    alike: BoolArray = (along > config.min_saturation) & (hue_turn < config.max_hue_turn) & (lab[..., 0] > _DARK)
    return alike


def _pixel(point: FloatArray) -> tuple[int, int]:
    """Whole pixel that holds a position, kept within what OpenCV can draw."""
    x, y = np.clip(np.floor(point), -30000, 30000)
    return int(x), int(y)
