"""Evaluators of affordance maps on points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.affordance import POINTS, aiou, aiou_ceiling, auc, is_constant, mae, sim
from hoirecon.evaluation.metrics.aggregate import per_sample_mean
from hoirecon.evaluation.metrics.counts import same_size, soft_map
from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
from hoirecon.evaluation.metrics.info import MetricInfo, get_metric
from hoirecon.evaluation.metrics.preset_types import Kind, Labels, Pair
from hoirecon.evaluation.metrics.scores import PresetScores

Skip = Literal["no_positives", "constant", "constant_everywhere"]
"""Which samples leave which means; see :class:`AffordancePreset`."""

NAMES = ("auc", "aiou", "sim", "mae")


@dataclass(frozen=True)
class AffordancePreset:
    """One evaluator of affordance maps (N,); prediction and truth in [0, 1]."""

    name: str
    skip: Skip = "no_positives"
    """``no_positives``: samples whose truth never reaches 0.5 leave AUC and aIoU. ``constant``: those all above it
    leave, too. ``constant_everywhere``: and leave SIM and MAE as well (InteractVLM's script at batch size 1)."""
    divide_by: int | None = POINTS
    """Of MAE; None for the number of points."""
    with_ceiling: bool = False
    """Whether aIoU is also given as a share of what the truth's own hard map scores, which no map exceeds."""
    kind: Kind = "affordance"
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """AUC, aIoU, SIM, MAE, and aIoU of its ceiling."""
        return tuple(get_metric(name) for name in (*NAMES, *(("aiou_of_ceiling",) if self.with_ceiling else ())))

    def evaluate(
        self,
        pairs: Sequence[Pair],
        *,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        distances: SurfaceDistances | None = None,
    ) -> PresetScores:
        """Score affordance maps; see :class:`~hoirecon.evaluation.metrics.preset_types.Preset`.

        `groups` and `distances` are not used.
        """
        labels = Labels.of(len(pairs), ids, groups)
        rows = [self._one(pair, name) for pair, name in zip(pairs, labels.ids, strict=True)]
        table = np.array(rows, dtype=np.float64).reshape(len(pairs), len(NAMES) + 2)
        per_sample = {name: table[:, k] for k, name in enumerate(NAMES)}
        if self.with_ceiling:
            ceilings = np.array([aiou_ceiling(truth) for _, truth in pairs])
            per_sample["aiou_of_ceiling"] = per_sample["aiou"] / ceilings
        flags = {"failed": table[:, -2], "undefined": table[:, -1]}
        statistics = {name: per_sample_mean(values) for name, values in per_sample.items()}
        return PresetScores(self.name, labels.ids, per_sample, statistics, flags, self.notes)

    def _one(self, pair: Pair, name: str) -> list[float]:
        """AUC, aIoU, SIM, MAE, whether it failed, whether truth has one class."""
        truth = soft_map(pair[1], f"truth of sample {name}")
        constant = is_constant(truth)
        if pair[0] is None:
            values = [0.0, 0.0, 0.0, float(get_metric("mae").worst or 1.0)]
        else:
            values = self._values(pair[0], truth, name)
        return [*self._left_out(values, truth, constant), float(pair[0] is None), float(constant)]

    def _values(self, prediction: Any, truth: FloatArray, name: str) -> list[float]:
        try:
            given = soft_map(prediction, "prediction")
            same_size(given, truth)
        except InputError as error:
            raise InputError(f"sample {name}: {error}") from error
        return [
            auc(given, truth),
            aiou(given, truth),
            sim(given, truth),
            mae(given, truth, self.divide_by),
        ]

    def _left_out(self, values: list[float], truth: FloatArray, constant: bool) -> list[float]:
        nan = float("nan")
        if self.skip == "constant_everywhere" and constant:
            return [nan] * 4
        if not (truth >= 0.5).any() or (self.skip != "no_positives" and constant):
            return [nan, nan, *values[2:]]
        return [nan if constant else values[0], *values[1:]]


_UNIT_NOTE = (
    "MAE of IAGNet stands as 0.098 in its own paper and as 0.98 in InteractVLM's table: a factor of 10 between tables."
)
_CEILING_NOTE = "aIoU runs over thresholds 0..1 with both ends: no map reaches 1; print the ceiling beside it."

AFFORDANCE_PRESETS: tuple[AffordancePreset, ...] = (
    AffordancePreset(
        "affordance",
        divide_by=None,
        with_ceiling=True,
        notes=(
            "MAE over the number of points; SIM and MAE of every sample, also where AUC is undefined.",
            _CEILING_NOTE,
        ),
    ),
    AffordancePreset(
        "iagnet",
        notes=(
            "The formulas of GREAT and LEMON as well; LEMON reports a spatial mean squared error instead of MAE.",
            "How truth that is all one class enters AUC is not stated: here it leaves AUC, and aIoU only without "
            "positives.",
            _UNIT_NOTE,
            _CEILING_NOTE,
        ),
    ),
    AffordancePreset("interactvlm-affordance", skip="constant_everywhere", notes=(
        "At batch size 1 a sample with truth of one class leaves all four means, so they are over fewer samples than "
        "IAGNet's.",
        _UNIT_NOTE,
        _CEILING_NOTE,
    )),
    AffordancePreset("interactvlm-affordance-batched", skip="constant", notes=(
        "At larger batches samples with truth of one class leave AUC and aIoU only.",
        _UNIT_NOTE,
        _CEILING_NOTE,
    )),
)  # fmt: skip
"""All of them; the honest default first."""
