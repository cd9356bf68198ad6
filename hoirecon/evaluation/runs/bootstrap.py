"""How sure is a figure? Bootstrap over independent groups, paired differences, sign-flip permutation, Holm.

Every figure of a benchmark is a function of sums over samples: a mean is (sum of values, count), a pooled precision is
(sum of true positives, sum of predictions). A :class:`~hoirecon.evaluation.metrics.aggregate.Statistic` holds what each
sample adds and the function, so that ten thousand resamples are one product of matrices, and a pooled figure is pooled
anew in each of them.

What is drawn are groups (an image with several objects, a sequence whose frames are near-duplicates), not samples
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.aggregate import Finish, Statistic

DRAWS = 10_000
"""Resamples of a bootstrap and flips of a permutation test."""
CHUNK = 250
"""Resamples that are in memory at a time: 250 x 1,370 groups take 3 MB."""
SEED = 20_230_613
"""Of the resamples; the same for every method, so that differences are paired."""


@dataclass(frozen=True)
class Interval:
    """A figure and the middle 95 % of its resamples; NaN where too few groups say anything."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Figure of B less figure of A on the same samples."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided, by swapping A and B in random groups; the share of swaps at least as far from 0, never 0."""


def group_ids(groups: Sequence[str]) -> IntArray:
    """(S,) number of each sample's group, in the order of first appearance.

    Example:
        >>> group_ids(["b", "a", "b"]).tolist()
        [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(g, len(numbers)) for g in groups], np.int64)


def group_sums(columns: FloatArray, ids: IntArray) -> FloatArray:
    """(G, K) sums of each group."""
    sums = np.zeros((int(ids.max()) + 1 if len(ids) else 0, columns.shape[1]))
    np.add.at(sums, ids, columns)
    return sums


def bootstrap(
    statistics: Sequence[Statistic], groups: Sequence[str], draws: int = DRAWS, seed: int = SEED
) -> list[Interval]:
    """Percentile intervals of several figures of the same samples, by drawing groups with replacement.

    Args:
        statistics: the figures; each has a row of columns per sample.
        groups: name of each sample's group.
        draws: resamples.
        seed: of the resamples.

    Returns:
        An interval each. With fewer than two groups it is NaN: nothing says how another group would differ.

    Raises:
        InputError: no draws, or a figure of another number of samples.
    """
    if draws < 1:
        raise InputError(f"a bootstrap needs at least 1 draw, got {draws}")
    ids = group_ids(groups)
    for statistic in statistics:
        _check_rows(statistic, len(ids))
    if len(ids) == 0 or ids.max() < 1:
        return [Interval(s.value if len(ids) else np.nan, np.nan, np.nan) for s in statistics]
    sums = [group_sums(s.columns, ids) for s in statistics]
    found = _resampled([(s.finish, g) for s, g in zip(statistics, sums, strict=True)], draws, seed)
    return [Interval(s.value, *_middle(values)) for s, values in zip(statistics, found, strict=True)]


def _check_rows(statistic: Statistic, samples: int) -> None:
    if len(statistic.columns) != samples:
        raise InputError(f"a figure of {len(statistic.columns)} samples met groups of {samples}")


def _resampled(parts: Sequence[tuple[Finish, FloatArray]], draws: int, seed: int) -> FloatArray:
    """(figures, draws) every figure in every resample."""
    split = np.cumsum([g.shape[1] for _, g in parts])[:-1]
    together = np.concatenate([g for _, g in parts], axis=1)
    blocks = []
    for weights in draw_weights(len(together), draws, seed):
        sums = np.split(weights @ together, split, axis=1)
        blocks.append(np.stack([finish(s) for (finish, _), s in zip(parts, sums, strict=True)]))
    return np.concatenate(blocks, axis=1)


def draw_weights(groups: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """How often each group is drawn in each resample, (up to CHUNK, G) at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, CHUNK):
        rows = min(CHUNK, draws - start)
        drawn = rng.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def _middle(values: FloatArray) -> tuple[float, float]:
    """Percentiles 2.5 and 97.5 of the resamples in which the figure is defined."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return np.nan, np.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def paired(a: Statistic, b: Statistic, groups: Sequence[str], draws: int = DRAWS, seed: int = SEED) -> Difference:
    """Difference of one figure between two methods on the same samples, in the same order.

    The interval comes from resamples that draw the same groups for both; p from swapping the methods in random groups,
    which for a mean is the sign-flip permutation test, and for a pooled figure pools anew after every swap.

    Raises:
        InputError: the two are not of the same samples.
    """
    ids = group_ids(groups)
    for statistic in (a, b):
        _check_rows(statistic, len(ids))
    value = b.value - a.value
    if len(ids) == 0 or ids.max() < 1:
        return Difference(value, np.nan, np.nan, 1.0)
    in_a, in_b = group_sums(a.columns, ids), group_sums(b.columns, ids)
    first, second = _resampled([(a.finish, in_a), (b.finish, in_b)], draws, seed)
    return Difference(value, *_middle(second - first), _swap_p(a.finish, b.finish, in_a, in_b, draws, seed))


def _swap_p(finish_a: Finish, finish_b: Finish, in_a: FloatArray, in_b: FloatArray, draws: int, seed: int) -> float:
    """Share of random swaps whose difference is at least as far from 0 as the true one, which counts as one of them."""
    total_a, total_b, change = in_a.sum(0), in_b.sum(0), in_b - in_a
    seen = abs(float(finish_b(total_b) - finish_a(total_a)))
    if np.isnan(seen):
        return 1.0
    rng, as_far = np.random.default_rng(seed + 1), 0
    for start in range(0, draws, CHUNK):
        swapped = rng.integers(0, 2, (min(CHUNK, draws - start), len(change))).astype(np.float64)
        moved = swapped @ change
        far = np.abs(finish_b(total_b - moved) - finish_a(total_a + moved))
        as_far += int((far >= seen * (1 - 1e-9)).sum())
    return (1 + as_far) / (1 + draws)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values of several tests (Scandinavian Journal of Statistics 6, 1979), in the order given.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min((len(order) - rank) * float(p_values[index]), 1.0))
        adjusted[index] = highest
    return adjusted
