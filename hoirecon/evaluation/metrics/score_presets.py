"""What scores are worth beyond one threshold: average precision, the best threshold (as such), calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.evaluation.metrics.aggregate import Statistic, per_sample_mean, ratio
from hoirecon.evaluation.metrics.calibration import average_precision, reliability
from hoirecon.evaluation.metrics.contact import precision_recall_f1
from hoirecon.evaluation.metrics.counts import Counts, contact_counts
from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
from hoirecon.evaluation.metrics.info import MetricInfo, get_metric
from hoirecon.evaluation.metrics.preset_types import Kind, Labels, Pair, checked_pair
from hoirecon.evaluation.metrics.scores import PresetScores

BINS = 10
"""Of calibration, equal width."""


@dataclass(frozen=True)
class ScorePreset:
    """Contact scores without a threshold, and with the best one.

    ``f1_best`` is the greatest mean F1 that one threshold for all samples reaches. It is chosen on the truth that it is
    scored on, so it is an upper bound of what tuning a threshold may give and nobody's result: it is never a headline.
    The bootstrap chooses anew in every resample.
    """

    name: str
    thresholds: tuple[float, ...] = tuple(round(0.05 * k, 2) for k in range(1, 20))
    """That are tried."""
    kind: Kind = "contact"
    notes: tuple[str, ...] = ()

    @property
    def aggregators(self) -> Mapping[str, str]:
        """How figures come about that are no means over samples."""
        return {"f1_best": "best_of_all_thresholds", "ece": "over_all_vertices"}

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """Average precision first."""
        return tuple(get_metric(name) for name in ("average_precision", "f1_best", "ece"))

    def evaluate(
        self,
        pairs: Sequence[Pair],
        *,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        distances: SurfaceDistances | None = None,
    ) -> PresetScores:
        """Score contact maps; see :class:`~hoirecon.evaluation.metrics.preset_types.Preset`.

        Args:
            pairs: (prediction or None, truth), (V,) in [0, 1]; labels are cut at 0.5.
            ids: names of the samples.
            groups: not used.
            distances: not used.
        """
        labels = Labels.of(len(pairs), ids, groups)
        checked = [checked_pair(pair, name) for pair, name in zip(pairs, labels.ids, strict=True)]
        failed = np.array([float(said is None) for said, _ in checked])
        areas = np.array([_average_precision(*pair) for pair in checked])
        per_sample = {"average_precision": areas}
        sweep = np.array([self._f1_at_each(*pair) for pair in checked]).reshape(len(checked), len(self.thresholds))
        statistics = {
            "average_precision": per_sample_mean(areas),
            "f1_best": best_mean(sweep),
            "ece": calibration([_bins(*pair) for pair in checked]),
        }
        flags = {"failed": failed, "empty_truth": np.isnan(areas).astype(np.float64)}
        return PresetScores(self.name, labels.ids, per_sample, statistics, flags, self.notes)

    def _f1_at_each(self, said: FloatArray | None, true: FloatArray) -> FloatArray:
        """(T,) honest F1 at each threshold; 0 of a failed sample."""
        if said is None:
            return np.zeros(len(self.thresholds))
        counts = Counts.joined([contact_counts(said, true, cut) for cut in self.thresholds])
        return precision_recall_f1(counts, "symmetric").f1


def best_mean(table: FloatArray) -> Statistic:
    """Greatest column mean of values (N, T): one choice for all rows, made anew for every selection of rows.

    Example:
        >>> best_mean(np.array([[0.2, 0.9], [0.4, 0.1]])).value
        0.5
    """
    ones = np.ones((len(table), 1))

    def finish(sums: FloatArray) -> FloatArray:
        means = ratio(sums[..., :-1], np.broadcast_to(sums[..., -1:], sums[..., :-1].shape))
        return np.asarray(means.max(-1), dtype=np.float64)

    return Statistic(np.concatenate([table, ones], axis=1), finish)


def calibration(bins: Sequence[FloatArray]) -> Statistic:
    """Expected calibration error of all vertices of a selection of samples.

    Args:
        bins: of each sample (3, B): sum of scores, sum of labels, number of vertices of each bin.
    """
    columns = np.array(bins, dtype=np.float64).reshape(len(bins), 3 * BINS)

    def finish(sums: FloatArray) -> FloatArray:
        score, label, count = (sums[..., k * BINS : (k + 1) * BINS] for k in range(3))
        return ratio(np.abs(score - label).sum(-1), count.sum(-1))

    return Statistic(columns, finish)


def _average_precision(said: FloatArray | None, true: FloatArray) -> float:
    """NaN where nothing truly touches; 0 of a failed sample."""
    if said is None:
        return 0.0 if (true >= 0.5).any() else float("nan")
    return average_precision(said, true)


def _bins(said: FloatArray | None, true: FloatArray) -> FloatArray:
    """(3, B) of one sample; of a failed one each label is missed with full certainty."""
    if said is None:
        return _all_wrong(len(true))
    table = reliability(said, true, BINS)
    return np.stack([np.nan_to_num(table.score) * table.count, np.nan_to_num(table.share) * table.count, table.count])


def _all_wrong(count: int) -> FloatArray:
    """Certain of everything and never right: an error of 1 at every vertex."""
    worst = np.zeros((3, BINS))
    worst[0, -1] = worst[2, -1] = count
    return worst


SCORE_PRESETS: tuple[ScorePreset, ...] = (
    ScorePreset(
        "scores",
        notes=(
            "f1_best takes the one threshold that is best on the very truth it is scored on: an upper bound, never a "
            "method's result. Average precision leaves out samples in which nothing truly touches (n says how many it "
            "has). ece is over all vertices, in ten bins.",
        ),
    ),
)
"""The one of them."""
