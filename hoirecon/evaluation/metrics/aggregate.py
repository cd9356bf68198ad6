"""From values per sample to one figure: means, pooled ratios, means over categories, and the field's mixtures.

Every figure of a benchmark is a function of sums over samples: a mean is (sum of values, how many have one), a pooled
precision (sum of true positives, sum of predictions). A :class:`Statistic` holds what each sample adds and the
function, so a figure is taken anew in every resample of a bootstrap and not approximated from per-sample values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError

Finish = Callable[[FloatArray], FloatArray]
"""(..., K) sums -> (...) figures."""


@dataclass(frozen=True)
class Statistic:
    """A figure as a function of sums over samples."""

    columns: FloatArray
    """(N, K) what each sample adds to K sums."""
    finish: Finish
    """(..., K) sums -> (...) the figure; NaN where it is not defined."""

    @property
    def value(self) -> float:
        """The figure of all samples."""
        return float(self.finish(self.columns.sum(0)))

    def over(self, index: Any) -> FloatArray:
        """The figure of other selections of the samples, e.g. of bootstrap draws.

        Args:
            index: (..., n) numbers of samples, repeats allowed.

        Returns:
            (...) figures.

        Example:
            >>> pooled([1, 9], [2, 10]).over([[0, 0], [0, 1], [1, 1]]).round(3).tolist()
            [0.5, 0.833, 0.9]
        """
        chosen = np.asarray(index, dtype=np.int64)
        flat = chosen.reshape(-1, chosen.shape[-1])
        sums = np.stack([self.columns[rows].sum(0) for rows in flat]) if len(flat) else np.zeros((0, 1))
        figures: FloatArray = np.asarray(self.finish(sums), np.float64).reshape(chosen.shape[:-1])
        return figures


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """``top / bottom``, NaN where the bottom is 0."""
    known = bottom != 0
    return np.where(known, top / np.where(known, bottom, 1.0), np.nan)


def per_sample_mean(values: Any, weights: Any = None) -> Statistic:
    """Mean over the samples that have a value.

    Args:
        values: (N,) NaN where a sample has none: it is left out of the top and of the count.
        weights: (N,) non-negative; None weighs all alike.

    Example:
        >>> per_sample_mean([1.0, float("nan"), 3.0]).value
        2.0
    """
    given = _column(values, "values")
    share = np.ones(len(given)) if weights is None else _column(weights, "weights")
    _same_length(given, share)
    share = np.where(np.isnan(given), 0.0, share)
    columns = np.stack([np.where(np.isnan(given), 0.0, given) * share, share], axis=1)
    return Statistic(columns, lambda sums: ratio(sums[..., 0], sums[..., 1]))


def per_pair_mean(values: Any) -> Statistic:
    """Mean over (image, object) pairs, so that an image counts as often as it has objects (DECO's semantic track).

    The same sum as :func:`per_sample_mean` where a row is a pair; its own name because tables must say which it was.
    """
    return per_sample_mean(values)


def per_group_mean(values: Any, groups: Sequence[str]) -> Statistic:
    """Mean over groups of each group's mean, e.g. images with several objects count once."""
    given = _column(values, "values")
    known = ~np.isnan(given)
    codes = _codes(groups, len(given))
    size = np.bincount(codes, weights=known)[codes] if len(given) else given
    return per_sample_mean(given, np.where(known, 1.0 / np.maximum(size, 1.0), 0.0))


def mean_of_batch_means(values: Any, batch_size: int) -> Statistic:
    """Mean of the means of consecutive batches, as BSTRO logs it: samples of a small last batch weigh more.

    In a resample each sample keeps the weight of the batch it came from.

    Raises:
        InputError: a batch size below 1.

    Example:
        >>> mean_of_batch_means([0.0, 0.0, 1.0], batch_size=2).value
        0.5
    """
    if batch_size < 1:
        raise InputError(f"a batch holds at least one sample, got batch_size={batch_size}")
    given = _column(values, "values")
    return per_group_mean(given, [str(i // batch_size) for i in range(len(given))])


def pooled(top: Any, bottom: Any, of_nothing: float = float("nan")) -> Statistic:
    """A sum over all samples divided by a sum: pooled precision is (true positives, predicted positives).

    Args:
        top: (N,) what each sample adds above.
        bottom: (N,) below.
        of_nothing: the figure where the sum below is 0.

    Example:
        >>> pooled([1, 9], [2, 10]).value
        0.8333333333333334
    """
    above, below = _column(top, "top"), _column(bottom, "bottom")
    _same_length(above, below)

    def finish(sums: FloatArray) -> FloatArray:
        return np.where(sums[..., 1] == 0, of_nothing, ratio(sums[..., 0], sums[..., 1]))

    return Statistic(np.stack([above, below], axis=1), finish)


def harmonic_of(one: Statistic, other: Statistic) -> Statistic:
    """Harmonic mean of two figures: the F of a mean precision and a mean recall (0 if both are 0)."""
    split = one.columns.shape[1]

    def finish(sums: FloatArray) -> FloatArray:
        a, b = one.finish(sums[..., :split]), other.finish(sums[..., split:])
        return np.where(a + b == 0, 0.0, ratio(2 * a * b, a + b))

    return Statistic(np.concatenate([one.columns, other.columns], axis=1), finish)


def category_macro(statistic: Statistic, categories: Sequence[str]) -> Statistic:
    """Mean over categories of the figure of each; a category that a resample misses is left out of that resample.

    Example:
        >>> category_macro(per_sample_mean([0.0, 0.0, 1.0]), ["cup", "cup", "bat"]).value
        0.5
    """
    rows, width = statistic.columns.shape
    codes = _codes(categories, rows)
    count = int(codes.max()) + 1 if rows else 0
    columns = np.zeros((rows, count, width + 1))  # the last says how many rows of the category are there
    columns[np.arange(rows), codes, :width], columns[np.arange(rows), codes, width] = statistic.columns, 1.0

    def finish(sums: FloatArray) -> FloatArray:
        table = sums.reshape(*sums.shape[:-1], count, width + 1)
        each = statistic.finish(table[..., :width])
        known = ~np.isnan(each) & (table[..., width] > 0)
        return ratio(np.where(known, each, 0.0).sum(-1), known.sum(-1).astype(np.float64))

    return Statistic(columns.reshape(rows, -1), finish)


def constant(value: float, rows: int) -> Statistic:
    """A figure that no selection changes, e.g. infinity of an entry that did not answer enough."""
    return Statistic(np.zeros((rows, 1)), lambda sums: np.full(sums.shape[:-1], value))


def _column(values: Any, name: str) -> FloatArray:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise InputError(f"{name} must hold one number per sample, got shape {column.shape}")
    if np.isinf(column).any():
        raise InputError(f"{name} holds infinities, which no mean survives: cap them, or use `constant`")
    return column


def _same_length(one: FloatArray, other: FloatArray) -> None:
    if len(one) != len(other):
        raise InputError(f"both columns must have one number per sample, got {len(one)} and {len(other)}")


def _codes(labels: Sequence[str], rows: int) -> IntArray:
    if len(labels) != rows:
        raise InputError(f"expected one label for each of {rows} samples, got {len(labels)}")
    return np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1].astype(np.int64)
