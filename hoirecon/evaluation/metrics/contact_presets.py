"""Evaluators of contact per vertex: each repository's rules as data, and the code that follows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.evaluation.metrics.aggregate import (
    Statistic,
    harmonic_of,
    mean_of_batch_means,
    per_pair_mean,
    per_sample_mean,
    pooled,
)
from hoirecon.evaluation.metrics.contact import EmptyPolicy, precision_recall_f1
from hoirecon.evaluation.metrics.counts import (
    Counts,
    TruthRule,
    binarise,
    contact_counts,
    soft_counts,
    truth_map,
)
from hoirecon.evaluation.metrics.geodesic import SurfaceDistances, fn_geodesic, fp_geodesic, geodesic_errors
from hoirecon.evaluation.metrics.info import MetricInfo, get_metric
from hoirecon.evaluation.metrics.preset_types import Kind, Labels, Pair, checked_pair
from hoirecon.evaluation.metrics.scores import PresetScores

Mean = Literal["per_sample", "per_pair", "batches"]
"""How per-sample values become a figure."""

CM = {"cm": 100.0, "m": 1.0}


@dataclass(frozen=True)
class ContactPreset:
    """One evaluator of contact maps (V,); prediction scores and true labels in [0, 1]."""

    name: str
    empty: EmptyPolicy
    """Precision, recall, F1 of empty sets."""
    threshold: float | None = 0.5
    """A vertex touches from here on; None sums the scores (InteractVLM's semantic precision and recall)."""
    strict: bool = False
    """``>`` instead of ``>=``."""
    truth: TruthRule = "as_is"
    """When a label counts as contact, for precision and recall."""
    mean: Mean = "per_sample"
    """How values per sample become a figure."""
    batch_size: int = 1
    """Of ``mean="batches"``."""
    pooled_precision_recall: bool = False
    """Precision and recall from counts over all samples; F1 stays a mean."""
    with_f1: bool = True
    """False where the protocol has the harmonic mean of the two means instead (``f1_of_means``)."""
    geodesic: tuple[str, ...] = ("geo_fp_cm",)
    """Which geodesic errors, by the names of their metrics."""
    unite: bool = False
    """Unite the samples of a group (objects of an image) before counting; geodesic errors take the greatest."""
    kind: Kind = "contact"
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The F first, then precision, recall, geodesic errors."""
        names = ("f1" if self.with_f1 else "f1_of_means", "precision", "recall", *self.geodesic)
        return tuple(get_metric(name) for name in names)

    def evaluate(
        self,
        pairs: Sequence[Pair],
        *,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        distances: SurfaceDistances | None = None,
    ) -> PresetScores:
        """Score contact maps; see :class:`~hoirecon.evaluation.metrics.preset_types.Preset`."""
        labels = Labels.of(len(pairs), ids, groups)
        checked = [checked_pair(pair, name) for pair, name in zip(pairs, labels.ids, strict=True)]
        rows, members = _rows(labels, self.unite)
        counts = Counts.joined([self._counts([checked[i] for i in each]) for each in members])
        failed = np.array([all(checked[i][0] is None for i in each) for each in members], np.float64)
        scores = precision_recall_f1(counts, self.empty)
        per_sample = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
        if self.threshold is None:  # the F of the soft table is taken from thresholded maps
            hard = Counts.joined([_hard(checked[i]) for each in members for i in each])
            per_sample["f1"] = precision_recall_f1(hard, self.empty).f1
        for values in per_sample.values():
            values[failed > 0] = 0.0  # the worst, whatever the policy gives to an empty prediction
        if distances is not None:
            per_sample |= self._geodesics(checked, members, distances)
        flags = {
            "failed": failed,
            "empty_prediction": (counts.predicted == 0).astype(np.float64),
            "empty_truth": (counts.positive == 0).astype(np.float64),
        }
        return PresetScores(self.name, rows, per_sample, self._statistics(per_sample, counts), flags, self.notes)

    def _counts(self, members: list[tuple[FloatArray | None, FloatArray]]) -> Counts:
        if self.threshold is None:
            prediction, truth = members[0]
            return soft_counts(np.zeros_like(truth) if prediction is None else prediction, truth)
        said, true = self._united(members)
        return contact_counts(said, true, 0.5, rule="as_is")

    def _united(self, members: list[tuple[FloatArray | None, FloatArray]]) -> tuple[FloatArray, FloatArray]:
        """Union over objects of thresholded prediction and of truth, as 0 and 1 (or the labels' fractions)."""
        assert self.threshold is not None  # soft sums unite nothing
        cut = partial(binarise, threshold=self.threshold, strict=self.strict)
        said = [np.zeros(len(t)) if p is None else cut(p).astype(np.float64) for p, t in members]
        true = [truth_map(t, self.truth) for _, t in members]
        return np.max(said, axis=0), np.max(true, axis=0)

    def _geodesics(
        self, checked: list[Any], members: list[list[int]], distances: SurfaceDistances
    ) -> dict[str, FloatArray]:
        measure = {name: GEODESICS[name] for name in self.geodesic}
        table = {name: np.zeros(len(members)) for name in measure}
        for row, each in enumerate(members):
            for name, error in measure.items():
                table[name][row] = CM[get_metric(name).unit] * max(
                    # the worst, where the field's rules have 0 for an empty prediction
                    distances.diameter_m
                    if checked[i][0] is None
                    else error(self, checked[i][0], checked[i][1], distances)
                    for i in each
                )
        return table

    def _mean(self, values: FloatArray) -> Statistic:
        if self.mean == "batches":
            return mean_of_batch_means(values, self.batch_size)
        return per_pair_mean(values) if self.mean == "per_pair" else per_sample_mean(values)

    def _statistics(self, per_sample: dict[str, FloatArray], counts: Counts) -> dict[str, Statistic]:
        statistics = {name: self._mean(values) for name, values in per_sample.items()}
        if self.pooled_precision_recall:
            statistics["precision"] = pooled(counts.tp, counts.predicted, of_nothing=0.0)
            statistics["recall"] = pooled(counts.tp, counts.positive, of_nothing=0.0)
        if not self.with_f1:
            del statistics["f1"]
            statistics = {"f1_of_means": harmonic_of(statistics["precision"], statistics["recall"]), **statistics}
        return statistics


def _rows(labels: Labels, unite: bool) -> tuple[tuple[str, ...], list[list[int]]]:
    """Names of the rows and the samples of each, in order of first appearance."""
    names = labels.groups if unite else labels.ids
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(name, []).append(i)
    return tuple(members), list(members.values())


def _hard(sample: tuple[FloatArray | None, FloatArray]) -> Counts:
    prediction, truth = sample
    return contact_counts(np.zeros_like(truth) if prediction is None else prediction, truth, 0.5, rule="above_zero")


def _said(preset: ContactPreset, prediction: FloatArray | None, truth: FloatArray) -> Any:
    if prediction is None:
        return np.zeros(len(truth), bool)
    return binarise(prediction, 0.5 if preset.threshold is None else preset.threshold, preset.strict)


def _field_fp(preset: ContactPreset, p: FloatArray | None, g: FloatArray, distances: SurfaceDistances) -> float:
    return fp_geodesic(_said(preset, p, g), g == 1, distances)


def _field_fn(preset: ContactPreset, p: FloatArray | None, g: FloatArray, distances: SurfaceDistances) -> float:
    return fn_geodesic(_said(preset, p, g), g == 1, distances)


def _as_called(preset: ContactPreset, p: FloatArray | None, g: FloatArray, distances: SurfaceDistances) -> float:
    """InteractVLM's script hands (truth, prediction) to a function of (prediction, truth) that asks for == 1."""
    exactly = np.zeros(len(g), bool) if p is None else p == 1
    return fp_geodesic(g >= 0.5, exactly, distances)


def _honest(which: str) -> Callable[[ContactPreset, FloatArray | None, FloatArray, SurfaceDistances], float]:
    def error(preset: ContactPreset, p: FloatArray | None, g: FloatArray, distances: SurfaceDistances) -> float:
        return float(getattr(geodesic_errors(_said(preset, p, g), g >= 0.5, distances), which))

    return error


GEODESICS: dict[str, Callable[[ContactPreset, FloatArray | None, FloatArray, SurfaceDistances], float]] = {
    "geo_fp_cm": _field_fp,
    "geo_fn_cm": _field_fn,
    "geo_fp_m": _field_fp,
    "geo_m": _as_called,
    "geo_cm": _honest("symmetric"),
    "geo_fp_only_cm": _honest("fp_only"),
    "geo_p95_cm": _honest("p95"),
}
"""How each geodesic error is measured. The field's own rules hold for all but the last three."""

NO_TEACHER = "Published 75.6 F1 was teacher-forced and is superseded by its authors (70.3 with generated answers)."

CONTACT_PRESETS: tuple[ContactPreset, ...] = (
    ContactPreset(
        "symmetric",
        "symmetric",
        truth="half",
        geodesic=("geo_cm", "geo_fp_only_cm", "geo_p95_cm"),
        notes=(
            "Nobody publishes this: both sets empty scores 1 and 0 cm, one empty 0 and the body's diameter; rows with "
            "an empty set are counted apart (n_empty_prediction, n_empty_truth).",
        ),
    ),
    ContactPreset(
        "deco",
        "deco",
        geodesic=("geo_fp_cm", "geo_fn_cm"),
        notes=(
            "Nothing predicted scores precision 1. Labels with fractions count by their fraction in precision and "
            "recall, and only if exactly 1 in the geodesic error.",
            "geo_fn is commented out in the challenge script; published figures are geo_fp. Both sets empty: P = R = "
            "F1 = 1 follows from the two special cases; the tables do not state it.",
        ),
    ),
    ContactPreset(
        "deco-semantic",
        "deco",
        mean="per_pair",
        geodesic=("geo_fp_cm", "geo_fn_cm"),
        notes=(
            "Pairs are (image, object) over the objects of the truth only: inventing an object costs nothing, missing "
            "one is an empty prediction with precision 1. `supporting` is left out by the caller.",
        ),
    ),
    ContactPreset(
        "bstro",
        "bstro",
        mean="batches",
        geodesic=("geo_fp_cm", "geo_fn_cm"),
        notes=(
            "Mean of batch means; the published batch size is not known here: batch_size=1 (the default) makes it the "
            "per-image mean. Set it with get_preset('bstro', batch_size=...).",
        ),
    ),
    ContactPreset(
        "lemon",
        "bstro",
        truth="equals_one",
        geodesic=("geo_fp_m", "geo_fp_cm"),
        notes=(
            "The script prints the overall geodesic error in metres (geo_fp_m) and the one per object in centimetres "
            "(geo_fp_cm, by category); tables of papers are in centimetres.",
        ),
    ),
    ContactPreset(
        "interactvlm",
        "bstro",
        truth="above_zero",
        pooled_precision_recall=True,
        geodesic=("geo_m",),
        unite=True,
        notes=(
            "Objects of an image are united; F1 is a mean over images, precision and recall are pooled over all "
            "vertices, so F1 is not their harmonic mean.",
            "The geodesic error runs from true to predicted vertices (arguments swapped) and asks for predictions of "
            "exactly 1: soft predictions score near 0. An image counts its worst object. Not comparable with DECO's.",
            NO_TEACHER,
        ),
    ),
    ContactPreset(
        "interactvlm-semantic",
        "bstro",
        threshold=None,
        truth="above_zero",
        pooled_precision_recall=True,
        geodesic=("geo_m",),
        notes=(
            "Precision and recall are sums of soft scores without a threshold: precision may exceed 1 and recall is "
            "the share of true vertices that any view sees. Only F1 (cut at 0.5, mean per pair) means anything.",
            NO_TEACHER,
        ),
    ),
    ContactPreset(
        "haco",
        "haco",
        geodesic=(),
        notes=(
            "Undefined scores count as 0. The threshold is 0.5, 0.55 or 0.95 by backbone; which one a published row "
            "used is part of its name: get_preset('haco', threshold=...).",
            "Truth of MOW is distance < 3.5 cm to the object; of motion-captured hand sets 1 cm.",
        ),
    ),
    ContactPreset(
        "contho-contact",
        "skip",
        strict=True,
        truth="equals_one",
        with_f1=False,
        geodesic=(),
        notes=(
            "Empty predictions leave the mean precision and empty truths the mean recall: the two run over different "
            "samples. F1 is not reported by the estimator's script; f1_of_means is the harmonic mean of both.",
        ),
    ),
)
"""All of them; the honest default first."""
