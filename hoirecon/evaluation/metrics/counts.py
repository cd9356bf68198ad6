"""True and false positives of contact maps; the threshold is always said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, as_floats
from hoirecon.errors import InputError

TruthRule = Literal["half", "above_zero", "equals_one", "as_is"]
"""When a label counts as contact: >= 0.5, > 0, == 1 exactly, or by its own fraction."""


@dataclass(frozen=True)
class Counts:
    """What precision and recall are made of, one number per sample."""

    tp: FloatArray
    """(N,) true positives."""
    predicted: FloatArray
    """(N,) predicted positives."""
    positive: FloatArray
    """(N,) true contact vertices."""

    @property
    def fp(self) -> FloatArray:
        """(N,) false positives; negative only where InteractVLM's soft sums make it so."""
        return self.predicted - self.tp

    @property
    def fn(self) -> FloatArray:
        """(N,) missed vertices."""
        return self.positive - self.tp

    @classmethod
    def joined(cls, parts: Sequence[Counts]) -> Counts:
        """One row per sample of all parts, in order."""
        if not parts:
            return cls(np.zeros(0), np.zeros(0), np.zeros(0))
        return cls(*(np.concatenate([getattr(p, k) for p in parts]) for k in ("tp", "predicted", "positive")))


def binarise(scores: Any, threshold: float, strict: bool = False, name: str = "prediction") -> BoolArray:
    """(V,) whether each score reaches the threshold.

    Args:
        scores: (V,) in [0, 1]; bool and 0/1 are fine.
        threshold: where to cut.
        strict: ``>`` instead of ``>=``.
        name: what to call the scores in errors.

    Raises:
        InputError: not one row of numbers in [0, 1], or NaN.
    """
    given = soft_map(scores, name)
    reached: BoolArray = given > threshold if strict else given >= threshold
    return reached


def soft_map(scores: Any, name: str = "prediction") -> FloatArray:
    """(V,) checked scores in [0, 1].

    Raises:
        InputError: another shape, NaN, or values outside; logits must go through a sigmoid first.
    """
    given = as_floats(scores, ("V",), name)
    if len(given) == 0:
        raise InputError(f"{name} has no vertices: give one score per vertex")
    if given.min() < 0 or given.max() > 1:
        raise InputError(
            f"{name} must lie in [0, 1], got {given.min():.4g}..{given.max():.4g}: turn logits into probabilities, "
            "and lists of vertex ids into one 0/1 per vertex"
        )
    return given


def truth_map(labels: Any, rule: TruthRule = "half") -> FloatArray:
    """(V,) labels as 0 and 1 (or as they are) by a rule.

    Args:
        labels: (V,) in [0, 1]; fractions come from transfers between topologies that nobody thresholded.
        rule: ``half`` is the honest one; ``equals_one`` drops every fraction, ``above_zero`` takes them all.
    """
    given = soft_map(labels, "truth")
    if rule == "half":
        return np.asarray(given >= 0.5, dtype=np.float64)
    if rule == "above_zero":
        return np.asarray(given > 0, dtype=np.float64)
    if rule == "equals_one":
        return np.asarray(given == 1, dtype=np.float64)
    if rule == "as_is":
        return given
    raise InputError(f"unknown rule {rule!r} for labels: use half, above_zero, equals_one or as_is")


def contact_counts(
    prediction: Any, truth: Any, threshold: float = 0.5, *, strict: bool = False, rule: TruthRule = "half"
) -> Counts:
    """Counts of one sample.

    Args:
        prediction: (V,) scores in [0, 1].
        truth: (V,) labels in [0, 1].
        threshold: a vertex is predicted to touch from here on.
        strict: ``>`` instead of ``>=``.
        rule: when a label counts as contact.

    Raises:
        InputError: different numbers of vertices, NaN, values outside [0, 1].

    Example:
        >>> c = contact_counts([0.9, 0.5, 0.2], [1, 0, 1])
        >>> c.tp.tolist(), c.fp.tolist(), c.fn.tolist()
        ([1.0], [1.0], [1.0])
    """
    said, true = binarise(prediction, threshold, strict), truth_map(truth, rule)
    same_size(said, true)
    return Counts(*(np.array([float(n)]) for n in ((said * true).sum(), said.sum(), true.sum())))


def soft_counts(prediction: Any, truth: Any) -> Counts:
    """Sums as InteractVLM's semantic table takes them, without any threshold (2026-04 release).

    A true contact vertex counts as found if its score is above 0 at all, while predictions are summed by their
    scores: precision may exceed 1. Kept for parity; use :func:`contact_counts` for figures that mean something.
    """
    given, true = soft_map(prediction), truth_map(truth, "above_zero")
    same_size(given, true)
    return Counts(*(np.array([float(n)]) for n in (((given > 0) * true).sum(), given.sum(), true.sum())))


def weighted_counts(
    prediction: Any, truth: Any, weights: Any, threshold: float = 0.5, *, strict: bool = False, rule: TruthRule = "half"
) -> Counts:
    """Counts where each vertex weighs its share of the surface, so that a dense patch does not outvote a coarse one.

    Args:
        prediction: (V,) scores.
        truth: (V,) labels.
        weights: (V,) areas, e.g. from :func:`vertex_areas`; counts come out in the same unit.
        threshold: as in :func:`contact_counts`.
        strict: as in :func:`contact_counts`.
        rule: as in :func:`contact_counts`.
    """
    said, true = binarise(prediction, threshold, strict), truth_map(truth, rule)
    same_size(said, true)
    area = as_floats(weights, (len(true),), "weights")
    if area.min() < 0:
        raise InputError("weights must not be negative: give areas")
    return Counts(*(np.array([float(n)]) for n in ((area * said * true).sum(), (area * said).sum(), area @ true)))


def vertex_areas(verts: Any, faces: Any) -> FloatArray:
    """(V,) a third of the area of the triangles round each vertex, square metres."""
    points, corners = as_floats(verts, ("V", 3), "verts"), np.asarray(faces, dtype=np.int64)
    a, b, c = (points[corners[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    shares: FloatArray = np.zeros(len(points))
    np.add.at(shares, corners.ravel(), np.repeat(area / 3, 3))
    return shares


def same_size(prediction: Any, truth: Any) -> None:
    """Raise :class:`InputError` unless both maps have the same number of vertices."""
    if len(prediction) != len(truth):
        raise InputError(
            f"the prediction has {len(prediction)} vertices and the truth {len(truth)}: transfer one to the other's "
            "topology first (hoirecon.contact.transfer)"
        )
