"""Somebody cut off by the picture's edge: how far the landmarks of such a person are to be believed.

A detector squeezes the whole person into the picture, and is as sure of a head at its upper edge as of one that it
sees. A body fitted to that is too small and too far away. The person's mask, which runs off the edge, says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.observation import Keypoints, runs_off

HEAD = {"blazepose33": 11, "coco17": 5}
"""Layout -> how many landmarks, the first ones, are the head's."""
HEAD_TRUST = 0.1
"""Factor on the head's confidence if the mask runs off the top: the head, or a part of it, is outside. Where only the
forehead is, that loses something."""
NEAR_EDGE = 0.3
"""Landmarks nearer than this to the top that the mask runs off, as a share of the landmarks' extent up and down, are
believed in proportion to their distance."""
LEAST_TRUST = 0.02
"""Of what lies on the edge."""


def edge_trust(keypoints: Keypoints) -> FloatArray:
    """(L,) factor, 0 to 1, on the confidence of each landmark (pixels) of somebody cut off by the picture's top."""
    y = keypoints.xy[:, 1]
    reach = max(NEAR_EDGE * float(np.ptp(y)), 1.0)
    trust = np.clip(y / reach, LEAST_TRUST, 1.0)
    trust[: HEAD.get(keypoints.layout, 0)] *= HEAD_TRUST
    return np.asarray(trust)


def distrust_cut_off(keypoints: Keypoints, mask: BoolArray) -> Keypoints:
    """Landmarks with what they are worth as their confidence: :func:`edge_trust` times the detector's.

    The same object unless the mask runs off the picture's top. Other edges change nothing: doubting what lies near them
    gained nothing (docs/closedworld.md).

    Args:
        keypoints: a detector's landmarks, pixels.
        mask: (H, W) the person's visible pixels.
    """
    if not runs_off(mask).top:
        return keypoints
    return replace(keypoints, confidence=np.asarray(keypoints.confidence) * edge_trust(keypoints))
