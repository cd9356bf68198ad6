"""Affordance maps on an object's points: SIM, MAE, AUC, aIoU (Yang et al., IAGNet, ICCV 2023)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from hoirecon.arrays import FloatArray
from hoirecon.evaluation.metrics.counts import same_size, soft_map

THRESHOLDS = np.linspace(0.0, 1.0, 20)
"""Of aIoU; the first takes every point and the last only those of exactly 1."""
POINTS = 2048
"""By which the field divides the absolute error, whatever the number of points."""
EPSILON = 1e-12
"""Least sum by which a map is normalised."""


def sim(prediction: Any, truth: Any) -> float:
    """SIM: both maps divided by their sums, sum of the pointwise smaller; 0 if either map is all zero.

    Args:
        prediction: (N,) in [0, 1].
        truth: (N,) in [0, 1].

    Example:
        >>> round(sim([0.5, 0.5], [1.0, 0.0]), 6)
        0.5
    """
    p, g = _both(prediction, truth)
    return float(np.minimum(p / (p.sum() + EPSILON), g / (g.sum() + EPSILON)).sum())


def mae(prediction: Any, truth: Any, divide_by: int | None = POINTS) -> float:
    """Sum of absolute differences over 2048, as the field has it, or over the number of points.

    Args:
        prediction: (N,) in [0, 1].
        truth: (N,) in [0, 1].
        divide_by: None divides by N; for 2,048 points the same.
    """
    p, g = _both(prediction, truth)
    return float(np.abs(p - g).sum() / (len(g) if divide_by is None else divide_by))


def auc(prediction: Any, truth: Any) -> float:
    """Area under the ROC curve with truth cut at 0.5: how often a touched point outscores another; ties count half.

    Mann and Whitney's statistic by ranks. NaN where truth has one class only.

    Example:
        >>> auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
        0.875
    """
    p, g = _both(prediction, truth)
    positive = g >= 0.5
    hits, misses = int(positive.sum()), int((~positive).sum())
    if hits == 0 or misses == 0:
        return float("nan")
    ranks = rankdata(p)
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def aiou(prediction: Any, truth: Any) -> float:
    """Mean IoU over 20 thresholds of the prediction, truth cut at 0.5; NaN where no point reaches 0.5.

    Threshold 0 takes every point, so that even a perfect hard map stays below 1; see :func:`aiou_ceiling`.

    Example:
        >>> round(aiou([1.0, 0.0], [1.0, 0.0]), 3)  # 19 times 1, once 1/2
        0.975
    """
    p, g = _both(prediction, truth)
    positive = g >= 0.5
    if not positive.any():
        return float("nan")
    said = p[None] >= THRESHOLDS[:, None]
    return float(((said & positive).sum(1) / (said | positive).sum(1)).mean())


def aiou_ceiling(truth: Any, soft: bool = False) -> float:
    """aIoU of the truth itself: its hard map, which nothing beats, or its soft map as it is."""
    given = soft_map(truth, "truth")
    return aiou(given if soft else (given >= 0.5).astype(np.float64), given)


def is_constant(truth: Any) -> bool:
    """Whether truth cut at 0.5 is all one class, which InteractVLM's script skips."""
    positive = soft_map(truth, "truth") >= 0.5
    return bool(positive.all() or not positive.any())


def _both(prediction: Any, truth: Any) -> tuple[FloatArray, FloatArray]:
    p, g = soft_map(prediction), soft_map(truth, "truth")
    same_size(p, g)
    return p, g
