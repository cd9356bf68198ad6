"""Evaluators of person and object in 3D: what they align, sample, threshold, and leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.aggregate import Statistic, constant, harmonic_of, per_sample_mean
from hoirecon.evaluation.metrics.alignment import Align, Similarity
from hoirecon.evaluation.metrics.contact import EmptyPolicy
from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
from hoirecon.evaluation.metrics.info import MetricInfo, get_metric
from hoirecon.evaluation.metrics.preset_types import Kind, Labels, Pair
from hoirecon.evaluation.metrics.reconstruction_measures import (
    MEASURES,
    NEEDS_CAMERA,
    Reconstruction,
    Rules,
    alignments,
)
from hoirecon.evaluation.metrics.scores import PresetScores

Missing = Literal["worst", "gate"]
"""What failed samples do: count as the metric's worst, or leave the means while 98 % are answered."""
GATE = 0.98
"""RHOBIN: with fewer answers the whole entry scores infinity."""


@dataclass(frozen=True)
class ReconstructionPreset:
    """One evaluator of :class:`Reconstruction` pairs."""

    name: str
    measures: tuple[str, ...]
    """What is measured: keys of ``MEASURES``."""
    reports: tuple[str, ...]
    """Names of metrics, the headline first."""
    align: Align = "similarity"
    """How the prediction is moved first; contact and collision are measured before."""
    area_weighted: bool = False
    """Whether vertices weigh their area in the alignment."""
    window: int = 0
    """Frames that share one alignment (within a group, every 10th decides); 0 aligns each sample."""
    samples: int = 0
    """Random points on each surface; 0 takes vertices as they are (point clouds)."""
    contact_within_m: float = 0.05
    """Distance of predicted contact."""
    contact_to: Literal["surface", "verts"] = "verts"
    """To the object's surface or its vertices."""
    contact_empty: EmptyPolicy = "skip"
    """Rule for empty sets of contact."""
    missing: Missing = "worst"
    """What failed samples do."""
    capped: bool = False
    """Whether an error counts at most what a failed sample counts. The field's scripts have no such limit."""
    kind: Kind = "reconstruction"
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """As `reports` lists them."""
        return tuple(get_metric(name) for name in self.reports)

    def evaluate(
        self,
        pairs: Sequence[Pair],
        *,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        distances: SurfaceDistances | None = None,
    ) -> PresetScores:
        """Score reconstructions; see :class:`~hoirecon.evaluation.metrics.preset_types.Preset`.

        Args:
            pairs: (prediction or None, truth), both :class:`Reconstruction`.
            ids: they also seed the random points.
            groups: the sequence of each frame, where `window` is set.
            distances: not used.

        Raises:
            InputError: something a measure needs is missing; the message names sample and field.
        """
        labels = Labels.of(len(pairs), ids, groups)
        moves = alignments(pairs, labels, self.align, self.area_weighted, self.window)
        rows = [self._one(p, m, name) for p, m, name in zip(pairs, moves, labels.ids, strict=True)]
        names = [m for m in self._values() if any(m in row for row in rows)] or list(self._values())
        per_sample = {m: np.array([row.get(m, np.nan) for row in rows]) for m in names}
        flags = {"failed": np.array([float(p[0] is None) for p in pairs])}
        for flag in ("empty_prediction", "empty_truth"):
            if {"contact", "contact_at"} & set(self.measures):
                flags[flag] = np.array([row.get(flag, 0.0) for row in rows])
        statistics = self._statistics(per_sample, flags["failed"])
        return PresetScores(self.name, labels.ids, per_sample, statistics, flags, self.notes)

    def _values(self) -> tuple[str, ...]:
        """Metrics that each sample has."""
        names = [m for m in self.reports if m != "f1_of_means"]
        return tuple(names)

    def _one(self, pair: Pair, move: Similarity | None, name: str) -> dict[str, float]:
        prediction, truth = pair
        if prediction is None or move is None:
            return {} if self.missing == "gate" else self._worst(truth)
        rules = Rules(name, move, self.samples, self.contact_within_m, self.contact_to, self.contact_empty)
        row: dict[str, float] = {}
        for measure in self.measures:
            try:
                row |= MEASURES[measure](prediction, truth, rules)
            except InputError as error:
                raise InputError(f"sample {name}, {measure}: {error}") from error
        return {m: _limited(m, value) for m, value in row.items()} if self.capped else row

    def _worst(self, truth: Reconstruction) -> dict[str, float]:
        values = {}
        for metric in self._values():
            worst = get_metric(metric).worst
            if truth.camera is not None or metric not in NEEDS_CAMERA:
                values[metric] = np.nan if worst is None else worst
        return values

    def _statistics(self, per_sample: dict[str, FloatArray], failed: FloatArray) -> dict[str, Statistic]:
        if self.missing == "gate" and len(failed) and 1 - failed.mean() < GATE:
            lost = {m: np.inf if not get_metric(m).higher_is_better else 0.0 for m in per_sample}
            return {m: constant(value, len(failed)) for m, value in lost.items()}
        statistics = {m: per_sample_mean(values) for m, values in per_sample.items()}
        if "f1_of_means" in self.reports:
            statistics["f1_of_means"] = harmonic_of(statistics["precision"], statistics["recall"])
        return {m: statistics[m] for m in self.reports if m in statistics}


def _limited(metric: str, value: float) -> float:
    """An error, at most what a failed sample counts; flags and shares as they are."""
    if metric.startswith("empty_"):
        return value
    info = get_metric(metric)
    return value if info.higher_is_better or info.worst is None else min(value, info.worst)


_CM = ("cd_human_cm", "cd_object_cm")
_ALIGN_NOTE = "Vertices weigh alike in the alignment: 6,890 of the body outvote a coarse object."

RECONSTRUCTION_PRESETS: tuple[ReconstructionPreset, ...] = (
    ReconstructionPreset(
        "reconstruction",
        measures=("surface_cm", "pose", "contact_at", "penetration", "silhouette"),
        reports=(
            "surface_object_cm", "surface_human_cm", "success", "adds_auc", "adds_cm", "add_cm", "mssd_cm", "mspd_px",
            "rotation_deg", "translation_cm", "scale", "iou", "f1", "precision", "recall", "f1_5mm", "f1_2cm",
            "f1_5cm", "collision", "penetration_cm", "penetration_mean_cm", "volume_cm3",
        ),
        align="none",
        samples=2000,
        contact_within_m=0.02,
        contact_to="surface",
        contact_empty="symmetric",
        capped=True,
        notes=(
            "Nothing is aligned and distances are exact, so a perfect prediction scores 0. Errors count at most what a "
            "failed sample counts (100 cm, 180 degrees, 1000 px): no answer is never better than a bad one.",
            "f1 is against the file's labels where it has some, f1_5mm, f1_2cm and f1_5cm against the true shapes' own "
            "contact at that distance. mspd_px and iou (whole silhouettes, nothing hiding them) need the true camera.",
            "A truth may itself penetrate: `--method truth` prints how far.",
        ),
    ),
    ReconstructionPreset(
        "chore",
        measures=("cd_cm",),
        reports=_CM,
        samples=10_000,
        notes=(
            "One similarity, scale included, of body and object vertices together; the body alone if the object's "
            "numbers of vertices differ.",
            _ALIGN_NOTE,
            "Test images are those with at least 30 % of the object visible in camera 1; the script drops failures "
            "silently, here they count 100 cm.",
        ),
    ),
    ReconstructionPreset(
        "contho",
        measures=("cd_cm", "contact"),
        reports=(*_CM, "precision", "recall", "f1_of_means"),
        samples=6000,
        notes=(
            "Contact of the prediction: nearer than 5 cm to a vertex of the template, before alignment. Truth: the "
            "file's own labels; the rule that made them is not in the repository (BEHAVE's own is 2 cm).",
            "Empty predictions leave mean precision and empty truths mean recall. The published F of InterCap "
            "(0.578) is not the harmonic mean of its P and R (0.608).",
            _ALIGN_NOTE,
        ),
    ),
    ReconstructionPreset(
        "pico",
        measures=("cd_cm", "cd_both_cm"),
        reports=("cd_both_cm", *_CM),
        samples=10_000,
        notes=(
            "PICO's evaluation script and its sampling are not public as far as is known here: 10,000 points and the "
            "sum of both directions are assumptions. Compare with published figures with care.",
        ),
    ),
    ReconstructionPreset(
        "tehor",
        measures=("cd_cm", "contact", "collision"),
        reports=("cd_object_cm", "cd_human_cm", "f1", "precision", "recall", "collision"),
        samples=10_000,
        contact_empty="haco",
        notes=(
            "Alignment, contact threshold, sampling and the rule for empty sets are not stated in the sources read: "
            "similarity, 5 cm to vertices, 10,000 points and 0 are assumptions.",
            "Collision is the share of body vertices inside the object.",
        ),
    ),
    ReconstructionPreset(
        "gshoi",
        measures=("pose", "cd_object_cm"),
        reports=("translation_cm", "rotation_deg", "scale", "cd_object_cm"),
        align="none",
        samples=10_000,
        notes=(
            "Units of the published rotation (0.41) and scale (0.16) and the sampling of its Chamfer distance are not "
            "known here; rotation is in degrees and scale is |s / s_true - 1|. Co2 (collision plus contact) is left "
            "out: its formula is not known.",
        ),
    ),
    ReconstructionPreset(
        "rhobin",
        measures=("cd_mm",),
        reports=("cd_human_mm", "cd_object_mm"),
        samples=6000,
        missing="gate",
        notes=(
            "Joint track, millimetres. With fewer than 98 % of the ids answered everything scores infinity; above, "
            "what is missing leaves the means.",
            _ALIGN_NOTE,
        ),
    ),
    ReconstructionPreset(
        "rhobin-object",
        measures=("recall",),
        reports=("average_recall",),
        align="none",
        missing="gate",
        notes=("Recalls of MSSD (5..50 % of the diameter), MSPD (of 200 px), rotation (of 40 degrees), averaged. Below "
               "98 % answered: 0, as infinity would win. Samples without a camera (IMHD's) have no figure: n says "
               "how many have one.",),
    ),
    ReconstructionPreset(
        "rhobin-human",
        measures=("body",),
        reports=("mpjpe_mm", "pa_mpjpe_mm", "v2v_mm", "pck_auc"),
        align="none",
        missing="gate",
        notes=("v2v after moving roots together and turning, without scale. Joints are those the caller hands in: the "
               "track takes SMPL's 24, and 12 major ones for the AUC.",),
    ),
    ReconstructionPreset(
        "rhobin-track",
        measures=("v2v",),
        reports=("v2v_human_mm", "v2v_object_mm"),
        window=300,
        missing="gate",
        notes=("Frames of a group in order; one similarity per 300, from every 10th of them that is answered (if none "
               "is, from all that are). Accelerations: acceleration_error. VisTracker prints centimetres.",),
    ),
    ReconstructionPreset(
        "hdm",
        measures=("fscore",),
        reports=("fscore_both", "fscore_human", "fscore_object"),
        align="none",
        notes=(
            "Points as stored, in the truth's frame: centred and divided by twice its radius. The script calls "
            "precision what runs from truth to prediction; F does not change.",
        ),
    ),
)  # fmt: skip
"""All of them; the honest default first."""
