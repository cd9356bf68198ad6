"""A person's mask from outside against the landmarks: an inverted mask, or somebody else's, is not gone on with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.errors import InputError
from hoirecon.observation import Keypoints

SURE = 0.5
"""Confidence from which a landmark is asked."""
FEWEST = 6
"""With fewer sure landmarks in the picture nothing is concluded."""
LEAST_ON = 0.3
"""Share of the sure landmarks that lie on the mask or on what may hide the person; of 90 rendered pictures with true
masks none had less than 0.5, and of the same masks inverted 9 of 10 had less than 0.3."""
CLIP, BESIDE = 0.03, 0.01
"""A tight mask may miss limbs too, but only just, and holds the trunk. So the landmarks must also lie beside the mask
by more than ``BESIDE`` on average, inside counting against outside and each by at most ``CLIP``: shares of the extent
of the landmarks. Growing the mask instead would not do: limbs are so thin that an inverted mask would reach them."""


def check_person_mask(mask: BoolArray, keypoints: Keypoints, hiding: Sequence[BoolArray]) -> None:
    """Refuse a mask that the person's landmarks contradict.

    Args:
        mask: (H, W) the person's visible pixels, as they were handed over.
        keypoints: landmarks of the person, pixels; those outside the picture and unsure ones are not asked.
        hiding: (H, W) masks or regions of what may stand before the person: objects and occluders. A landmark there is
            as good as one on the mask.

    Raises:
        InputError: too few of the sure landmarks lie on the mask.
    """
    points = _sure_points(keypoints, mask.shape)
    if len(points) < FEWEST:
        return
    place = points.astype(np.int64)
    allowed = np.logical_or.reduce([mask, *hiding])
    on = allowed[place[:, 1], place[:, 0]]
    if on.mean() >= LEAST_ON:
        return
    extent = max(float(np.ptp(points, axis=0).max()), 1.0)
    depth = _depth(allowed)[place[:, 1], place[:, 0]] / extent
    if np.clip(depth, -CLIP, CLIP).mean() < -BESIDE:
        raise InputError(
            f"person_mask contradicts the landmarks: {int(on.sum())} of {len(on)} sure ones lie on it or on an object; "
            f"is it inverted (mark the person, not the background), or somebody else's? mend it, or leave it out"
        )


def _sure_points(keypoints: Keypoints, size: tuple[int, ...]) -> FloatArray:
    """(N, 2) pixels of the landmarks that are sure and inside the picture."""
    xy = keypoints.xy
    inside = (xy >= 0).all(axis=1) & (xy < np.array([size[1], size[0]])).all(axis=1)
    points: FloatArray = xy[inside & (keypoints.confidence >= SURE)]
    return points


def _depth(mask: BoolArray) -> FloatArray:
    """(H, W) distance to the mask's edge in pixels, positive on the mask and negative beside it."""
    import cv2

    on = mask.astype(np.uint8)
    return np.asarray(cv2.distanceTransform(on, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - on, cv2.DIST_L2, 5))
