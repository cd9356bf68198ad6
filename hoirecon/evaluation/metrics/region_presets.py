"""Contact by region of the body: precision, recall and F1 of hands, feet, seat, ..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.aggregate import per_sample_mean
from hoirecon.evaluation.metrics.contact import precision_recall_f1
from hoirecon.evaluation.metrics.counts import Counts, binarise, truth_map
from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
from hoirecon.evaluation.metrics.info import MetricInfo, get_metric
from hoirecon.evaluation.metrics.preset_types import Kind, Labels, Pair, checked_pair
from hoirecon.evaluation.metrics.regions import REGIONS, BodyRegions, region_counts
from hoirecon.evaluation.metrics.scores import PresetScores

Of = Literal["f1", "precision", "recall"]


@dataclass(frozen=True)
class RegionPreset:
    """Contact of each region of the body on its own.

    A sample counts in a region that truth or prediction touches: 0 where only one of them does. Where neither does it
    is left out (n says how often), as a mean over the many samples in which nobody's feet touch anything would be near
    1 for every method.
    """

    name: str
    of: tuple[Of, ...] = ("f1",)
    """Which scores of each region."""
    threshold: float = 0.5
    """A vertex touches from here on."""
    kind: Kind = "contact"
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The mean over regions, then each region."""
        names = ["f1_regions", *(f"{score}_{region}" for score in self.of for region in REGIONS)]
        return tuple(get_metric(name) for name in names)

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
            pairs: (prediction or None, truth), (V,) in [0, 1].
            ids: names of the samples.
            groups: not used.
            distances: their ``regions`` say which vertex is whose; without them there are no figures.

        Raises:
            InputError: the body has another number of vertices, and what every preset raises.
        """
        labels = Labels.of(len(pairs), ids, groups)
        regions: BodyRegions | None = getattr(distances, "regions", None)
        checked = [checked_pair(pair, name) for pair, name in zip(pairs, labels.ids, strict=True)]
        failed = np.array([float(said is None) for said, _ in checked])
        if regions is None:
            return PresetScores(self.name, labels.ids, {}, {}, {"failed": failed}, self.notes)
        counts = [self._counts(*pair, regions, name) for pair, name in zip(checked, labels.ids, strict=True)]
        per_sample = self._table(counts, failed)
        statistics = {name: per_sample_mean(values) for name, values in per_sample.items()}
        return PresetScores(self.name, labels.ids, per_sample, statistics, {"failed": failed}, self.notes)

    def _counts(self, said: FloatArray | None, true: FloatArray, regions: BodyRegions, name: str) -> Counts:
        touched = truth_map(true) > 0
        predicted = np.zeros(len(true), dtype=bool) if said is None else binarise(said, self.threshold)
        try:
            return region_counts(predicted, touched, regions)
        except InputError as error:
            raise InputError(f"sample {name}: {error}; give the body that the labels are on") from error

    def _table(self, counts: list[Counts], failed: FloatArray) -> dict[str, FloatArray]:
        """Metric -> (N,); NaN where neither touches the region."""
        shape = (len(counts), len(REGIONS))
        scores = precision_recall_f1(Counts.joined(counts), "symmetric")
        nobody = np.array([(c.predicted == 0) & (c.positive == 0) for c in counts]).reshape(shape)
        of = {score: np.where(nobody, np.nan, getattr(scores, score).reshape(shape)) for score in (*self.of, "f1")}
        some = ~nobody
        mean = np.where(some, of["f1"], 0.0).sum(1) / np.maximum(some.sum(1), 1)
        # Where nothing touches anywhere the two agree; a failed sample agrees with nothing.
        whole = np.where(some.any(1), mean, 1.0) * (failed == 0)
        each = {f"{score}_{region}": of[score][:, k] for score in self.of for k, region in enumerate(REGIONS)}
        return {"f1_regions": whole, **each}


REGION_PRESETS: tuple[RegionPreset, ...] = (
    RegionPreset(
        "regions",
        notes=(
            "A sample counts in a region only if truth or prediction touches it there; n says how many do. f1_regions "
            "is the mean over those regions, 1 where neither touches anything.",
            "Regions are named parts of the body, carried over from the library's free body to others (borders a "
            "vertex or two off); without the body's file (--body) of a licensed body they are not known and left out.",
        ),
    ),
)
"""The one of them."""
