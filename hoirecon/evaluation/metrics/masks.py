"""Intersection over union of masks, over classes and views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, as_mask
from hoirecon.errors import InputError

IGNORED = -1
"""Label of pixels that count for nothing."""


@dataclass(frozen=True)
class MaskOverlap:
    """Pixels of one picture per class: background, foreground."""

    intersection: FloatArray
    """(2,)"""
    union: FloatArray
    """(2,)"""
    target: FloatArray
    """(2,) pixels of truth."""

    @property
    def iou(self) -> FloatArray:
        """(2,) of each class; 1 where neither map has it."""
        some = self.union > 0
        return np.where(some, self.intersection / np.where(some, self.union, 1.0), 1.0)


def iou(mask: Any, true_mask: Any) -> float:
    """Intersection over union of two masks (H, W); 1 for two empty ones.

    Example:
        >>> iou([[True, True]], [[True, False]])
        0.5
    """
    said, true = as_mask(mask, ("H", "W"), "mask"), as_mask(true_mask, ("H", "W"), "true mask")
    if said.shape != true.shape:
        raise InputError(f"masks must have one size, got {said.shape} and {true.shape}")
    union = int((said | true).sum())
    return float((said & true).sum() / union) if union else 1.0


def mask_overlap(mask: Any, labels: Any) -> MaskOverlap:
    """Overlap of a predicted mask with labels that may ignore pixels.

    Args:
        mask: (H, W) bool, e.g. logits > 0.
        labels: (H, W) 1 foreground, 0 background, -1 ignored.

    Raises:
        InputError: different sizes or other labels.
    """
    said, true = np.asarray(mask), np.asarray(labels)
    if said.shape != true.shape or said.dtype != bool or not np.isin(true, (0, 1, IGNORED)).all():
        raise InputError(
            f"need a mask of bool and labels of -1, 0, 1 of one size, got {said.dtype} of {said.shape} and {true.shape}"
        )
    counts = true != IGNORED
    each = [((said == c) & counts, true == c) for c in (0, 1)]
    numbers = [[(a & b).sum(), (a | b).sum(), b.sum()] for a, b in each]
    return MaskOverlap(*np.array(numbers, dtype=np.float64).T)


def giou(overlaps: list[MaskOverlap]) -> float:
    """gIoU: mean over pictures of the foreground's IoU (a picture where neither has foreground counts 1)."""
    return float(np.mean([overlap.iou[1] for overlap in overlaps]))


def ciou(overlaps: list[MaskOverlap]) -> float:
    """cIoU: foreground intersections of all pictures over their unions, so that large masks weigh more."""
    intersection, union = (sum(getattr(o, k)[1] for o in overlaps) for k in ("intersection", "union"))
    return float(intersection / union) if union else 1.0
