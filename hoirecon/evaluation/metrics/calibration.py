"""Do scores mean what they say, and how good could a method be at another threshold?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.contact import EmptyPolicy, precision_recall_f1
from hoirecon.evaluation.metrics.counts import Counts, TruthRule, contact_counts, same_size, soft_map


@dataclass(frozen=True)
class Reliability:
    """Scores in bins of equal width."""

    score: FloatArray
    """(B,) mean score of each bin; NaN if empty."""
    share: FloatArray
    """(B,) share of true contact in it; NaN if empty."""
    count: FloatArray
    """(B,) how many scores."""

    @property
    def error(self) -> float:
        """Expected calibration error: mean of |share - score| by count (Guo et al., ICML 2017)."""
        some = self.count > 0
        return float((np.abs(self.share - self.score)[some] * self.count[some]).sum() / self.count.sum())


@dataclass(frozen=True)
class Sweep:
    """Mean scores at each threshold."""

    thresholds: FloatArray
    """(T,)"""
    precision: FloatArray
    """(T,)"""
    recall: FloatArray
    """(T,)"""
    f1: FloatArray
    """(T,)"""

    @property
    def best(self) -> tuple[float, float]:
        """Threshold of the best F1, and that F1: an upper bound, chosen on the truth it is scored on."""
        at = int(np.nanargmax(self.f1))
        return float(self.thresholds[at]), float(self.f1[at])


def reliability(scores: Any, truth: Any, bins: int = 10) -> Reliability:
    """Reliability of scores, all samples together.

    Args:
        scores: (N,) in [0, 1], e.g. of all vertices of all samples.
        truth: (N,) labels, cut at 0.5.
        bins: of equal width; a score of 1 belongs to the last.

    Example:
        >>> round(reliability([0.9, 0.9], [1, 0]).error, 6)
        0.4
    """
    given, true = _both(scores, truth)
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}")
    at = np.minimum((given * bins).astype(int), bins - 1)
    count = np.bincount(at, minlength=bins).astype(np.float64)
    some = np.where(count > 0, count, np.nan)
    mean_score = np.bincount(at, given, minlength=bins) / some
    return Reliability(mean_score, np.bincount(at, true, minlength=bins) / some, count)


def average_precision(scores: Any, truth: Any) -> float:
    """Area under precision over recall, in steps: sum of (R_k - R_{k-1}) P_k over distinct scores; NaN without truth.

    Args:
        scores: (N,) in [0, 1].
        truth: (N,) labels, cut at 0.5.

    Example:
        >>> round(average_precision([0.9, 0.8, 0.7], [1, 0, 1]), 4)
        0.8333
    """
    given, true = _both(scores, truth)
    if not true.any():
        return float("nan")
    order = np.argsort(-given, kind="stable")
    hits, seen = np.cumsum(true[order]), np.arange(1, len(true) + 1)
    last = np.append(np.diff(given[order]) != 0, True)  # equal scores are taken together
    precision, recall = (hits / seen)[last], (hits / hits[-1])[last]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def threshold_sweep(
    pairs: Sequence[tuple[Any, Any]],
    thresholds: Any = None,
    empty: EmptyPolicy = "symmetric",
    rule: TruthRule = "half",
) -> Sweep:
    """Mean per-sample precision, recall and F1 at each threshold.

    Args:
        pairs: (scores, labels) of each sample, (V,) each.
        thresholds: (T,) None takes 0.05, 0.1, ... 0.95.
        empty: rule for empty sets.
        rule: when a label counts.
    """
    cuts = np.asarray(np.arange(1, 20) * 0.05 if thresholds is None else thresholds, dtype=np.float64)
    rows = []
    for cut in cuts:
        counts = Counts.joined([contact_counts(p, g, float(cut), rule=rule) for p, g in pairs])
        scores = precision_recall_f1(counts, empty)
        rows.append([np.nanmean(x) for x in (scores.precision, scores.recall, scores.f1)])
    table = np.array(rows, dtype=np.float64).reshape(len(cuts), 3)
    return Sweep(cuts, table[:, 0], table[:, 1], table[:, 2])


def _both(scores: Any, truth: Any) -> tuple[FloatArray, FloatArray]:
    given, true = soft_map(scores, "scores"), soft_map(truth, "truth")
    same_size(given, true)
    return given, np.asarray(true >= 0.5, dtype=np.float64)
