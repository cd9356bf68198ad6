"""What an evaluation gives back: values per sample, figures, and who was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.aggregate import Statistic


@dataclass(frozen=True)
class PresetScores:
    """Scores of one method under one preset."""

    preset: str
    """Name of the preset."""
    ids: tuple[str, ...]
    """(N) names of the rows: samples, or images where the preset unites an image's objects."""
    per_sample: Mapping[str, FloatArray]
    """Metric -> (N,) values; NaN where the metric is not defined and the preset leaves the sample out."""
    statistics: Mapping[str, Statistic]
    """Metric -> how its figure follows from the rows; evaluate it on any selection with ``Statistic.over``."""
    flags: Mapping[str, FloatArray] = field(default_factory=dict)
    """What a row is marked as, (N,) of 0 and 1: ``failed``, ``empty_prediction``, ``empty_truth``, ..."""
    notes: tuple[str, ...] = ()
    """What is not known about the protocol; to be printed with the figures."""

    @property
    def aggregate(self) -> dict[str, float]:
        """Metric -> figure over all rows."""
        return {name: statistic.value for name, statistic in self.statistics.items()}

    @property
    def counts(self) -> dict[str, int]:
        """``n`` rows, and ``n_<flag>`` of each flag."""
        return {"n": len(self.ids), **{f"n_{name}": int(flag.sum()) for name, flag in self.flags.items()}}

    def over(self, index: Any) -> dict[str, FloatArray]:
        """Figures of other selections of rows (..., n): bootstrap draws, subsets; pooled figures are pooled anew."""
        chosen = np.asarray(index, dtype=np.int64)
        return {name: statistic.over(chosen) for name, statistic in self.statistics.items()}

    def by(self, labels: Sequence[str]) -> dict[str, dict[str, float]]:
        """Figures of each category, with ``n``.

        Args:
            labels: (N) the category of each row; rows labelled "" belong to none.

        Raises:
            InputError: not one label per row.
        """
        if len(labels) != len(self.ids):
            raise InputError(f"expected one label for each of {len(self.ids)} rows, got {len(labels)}")
        table = {}
        for label in sorted(set(labels) - {""}):
            rows: IntArray = np.flatnonzero(np.asarray(labels) == label)
            table[label] = {"n": float(len(rows)), **{name: float(v) for name, v in self.over(rows).items()}}
        return table
