"""Precision, recall and F1 of contact, with the rule for empty sets said by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.counts import Counts

EmptyPolicy = Literal["deco", "bstro", "skip", "haco", "symmetric"]
"""What precision, recall and F1 are where nothing is predicted or nothing touches; see :func:`precision_recall_f1`."""

EPSILON = 1e-10
"""Added to denominators by BSTRO and what followed it."""


@dataclass(frozen=True)
class ContactScores:
    """Scores per sample; NaN where the policy leaves a sample out."""

    precision: FloatArray
    """(N,)"""
    recall: FloatArray
    """(N,)"""
    f1: FloatArray
    """(N,)"""


def precision_recall_f1(counts: Counts, empty: EmptyPolicy = "symmetric") -> ContactScores:
    """Scores of each sample.

    P = tp / predicted, R = tp / positive, F1 = 2 P R / (P + R). Where a set is empty:

    ==============  ==============  ==============  ==========
    policy          no prediction   no truth        neither
    ==============  ==============  ==============  ==========
    ``deco``        P 1, R 0, F 0   P 0, R 1, F 0   1, 1, 1
    ``bstro``       0, 0, 0         0, 0, 0         0, 0, 0
    ``haco``        P, F undefined  R, F undefined  undefined
    ``skip``        P, F left out   R, F left out   left out
    ``symmetric``   0, 0, 0         0, 0, 0         1, 1, 1
    ==============  ==============  ==============  ==========

    ``haco`` counts what is undefined as 0; ``skip`` leaves it out (NaN); ``bstro`` adds 1e-10 to each denominator
    everywhere. The cell "neither" of ``deco`` follows from its two special cases (precision 1 without prediction,
    recall 1 without truth).

    Args:
        counts: of N samples.
        empty: the policy.

    Raises:
        InputError: another policy.

    Example:
        >>> from hoirecon.evaluation.metrics.counts import contact_counts
        >>> precision_recall_f1(contact_counts([1, 1, 0], [1, 0, 0])).precision.tolist()
        [0.5]
    """
    if empty not in ("deco", "bstro", "skip", "haco", "symmetric"):
        raise InputError(f"unknown policy {empty!r} for empty sets: use deco, bstro, skip, haco or symmetric")
    tp, predicted, positive = counts.tp, counts.predicted, counts.positive
    if empty == "bstro":
        precision, recall = tp / (predicted + EPSILON), tp / (positive + EPSILON)
        return ContactScores(precision, recall, 2 * precision * recall / (precision + recall + EPSILON))
    of_nothing = {"deco": 1.0, "skip": np.nan, "haco": 0.0, "symmetric": 0.0}[empty]
    precision, recall = _share(tp, predicted, of_nothing), _share(tp, positive, of_nothing)
    f1 = _share(2 * precision * recall, precision + recall, 0.0)
    if empty == "symmetric":
        agree = (predicted == 0) & (positive == 0)
        precision, recall, f1 = (np.where(agree, 1.0, x) for x in (precision, recall, f1))
    return ContactScores(precision, recall, f1)


def _share(top: FloatArray, bottom: FloatArray, of_nothing: float) -> FloatArray:
    some = bottom != 0
    return np.where(some, top / np.where(some, bottom, 1.0), of_nothing)
