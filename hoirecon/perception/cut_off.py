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
forehead is, that loses something; on 28 rendered tuning people cut off above, a third of them with the face in the
picture, the body came nearer by a fifth."""
NEAR_EDGE = 0.3
"""Landmarks nearer than this to the top that the mask runs off, as a share of the landmarks' extent up and down, are
believed in proportion to their distance."""
LEAST_TRUST = 0.02
"""Of what lies on the edge."""


def edge_trust(keypoints: Keypoints, mask: BoolArray) -> FloatArray:
    """(L,) factor on the confidence of each landmark, 0 to 1; 1 unless the mask (H, W) runs off the picture's top.

    Off the other edges nothing is lost: legs that a picture cuts off a detector places below it, or is unsure of.

    Args:
        keypoints: a detector's landmarks, pixels.
        mask: the person's visible pixels.
    """
    y = keypoints.xy[:, 1]
    if not runs_off(mask).top:
        return np.ones(len(y))
    reach = max(NEAR_EDGE * float(np.ptp(y)), 1.0)
    trust = np.clip(y / reach, LEAST_TRUST, 1.0)
    trust[: HEAD.get(keypoints.layout, 0)] *= HEAD_TRUST
    return np.asarray(trust)


def distrust_cut_off(keypoints: Keypoints, mask: BoolArray) -> Keypoints:
    """Landmarks with what they are worth as their confidence: :func:`edge_trust` times the detector's.

    As they are unless the mask runs off the picture's top."""
    if not runs_off(mask).top:
        return keypoints
    return replace(keypoints, confidence=np.asarray(keypoints.confidence) * edge_trust(keypoints, mask))
