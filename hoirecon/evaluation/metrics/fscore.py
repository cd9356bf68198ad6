"""F-score of two clouds: which share of the points lies nearer than a threshold (Knapitsch et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scipy.spatial import cKDTree

from hoirecon.arrays import as_floats
from hoirecon.errors import InputError

THRESHOLD = 0.01
"""HDM's, in the units of its normalised frame."""


@dataclass(frozen=True)
class FScore:
    """Shares of points nearer than the threshold."""

    precision: float
    """Of predicted points, to the truth. HDM's and RHOBIN's scripts call this recall; F does not change."""
    recall: float
    """Of true points, to the prediction. HDM's and RHOBIN's scripts call this precision."""
    f: float
    """Harmonic mean; 0 if both are 0."""


def fscore(points: Any, true_points: Any, threshold: float = THRESHOLD) -> FScore:
    """F-score of a cloud.

    Args:
        points: (N, 3) predicted.
        true_points: (M, 3).
        threshold: in the unit of the points; nearer counts, equal does not.

    Raises:
        InputError: an empty cloud, NaN, or a threshold that is not positive.

    Example:
        >>> fscore([[0.0, 0, 0], [1, 0, 0]], [[0.0, 0, 0]])
        FScore(precision=0.5, recall=1.0, f=0.6666666666666666)
    """
    a, b = as_floats(points, ("N", 3), "points"), as_floats(true_points, ("M", 3), "true points")
    if len(a) == 0 or len(b) == 0 or not threshold > 0:
        raise InputError(f"an F-score needs points and a threshold above 0, got {len(a)}, {len(b)} and {threshold}")
    precision = float((cKDTree(b).query(a)[0] < threshold).mean())
    recall = float((cKDTree(a).query(b)[0] < threshold).mean())
    both = precision + recall
    return FScore(precision, recall, 2 * precision * recall / both if both else 0.0)
