"""Intervals, paired differences and Holm against slow twins and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.aggregate import category_macro, harmonic_of, per_sample_mean, pooled
from hoirecon.evaluation.runs.bootstrap import bootstrap, draw_weights, group_ids, holm, paired


def _data(n: int = 60, seed: int = 3) -> tuple[FloatArray, FloatArray, FloatArray, list[str]]:
    rng = np.random.default_rng(seed)
    tp, pred = rng.integers(0, 20, n).astype(float), rng.integers(20, 40, n).astype(float)
    return rng.random(n), tp, pred, [f"image{i // 3}" for i in range(n)]


def _slow(values: FloatArray, tp: FloatArray, pred: FloatArray, groups: list[str], draws: int) -> list[list[float]]:
    """Rows of the drawn groups laid out one by one, and the figures taken of them as of any table."""
    ids, found = group_ids(groups), []
    for weights in np.concatenate(list(draw_weights(int(ids.max()) + 1, draws, 5))):
        rows = np.concatenate([np.flatnonzero(ids == g) for g, w in enumerate(weights) for _ in range(int(w))])
        found.append([np.nanmean(values[rows]), tp[rows].sum() / pred[rows].sum()])
    limits: list[list[float]] = np.percentile(np.array(found), [2.5, 97.5], axis=0).T.tolist()
    return limits


def test_intervals_equal_a_slow_bootstrap_that_pools_anew_in_each_resample() -> None:
    values, tp, pred, groups = _data()
    values[7] = np.nan
    found = bootstrap([per_sample_mean(values), pooled(tp, pred)], groups, draws=300, seed=5)
    np.testing.assert_allclose([[i.low, i.high] for i in found], _slow(values, tp, pred, groups, 300), atol=1e-12)
    assert found[0].value == pytest.approx(np.nanmean(values))
    assert found[1].value == pytest.approx(tp.sum() / pred.sum())


def test_the_interval_of_a_mean_has_the_width_of_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap([per_sample_mean(values)], [str(i) for i in range(400)])[0]
    assert (found.high - found.low) / (2 * 1.96 * values.std() / 20) == pytest.approx(1, abs=0.03)


def test_frames_of_one_sequence_are_drawn_together() -> None:
    """Every frame ten times: by groups the interval stays as wide, by frames it would shrink by the root of ten."""
    values = np.random.default_rng(0).normal(size=100)
    alone = bootstrap([per_sample_mean(values)], [str(i) for i in range(100)])[0]
    often = bootstrap([per_sample_mean(np.repeat(values, 10))], [str(i // 10) for i in range(1000)])[0]
    assert (often.low, often.high) == pytest.approx((alone.low, alone.high), abs=1e-12)


def test_one_group_gives_a_value_and_no_interval() -> None:
    found = bootstrap([per_sample_mean([1.0, 2.0])], ["a", "a"])[0]
    assert found.value == 1.5
    assert np.isnan(found.low)


def test_macro_and_harmonic_figures_by_hand() -> None:
    macro = category_macro(per_sample_mean([1.0, 0.0, 0.5]), ["a", "a", "b"])
    assert macro.value == pytest.approx(0.5)
    harmonic = harmonic_of(per_sample_mean([1.0, 0.5]), per_sample_mean([0.25, np.nan]))
    assert harmonic.value == pytest.approx(2 * 0.75 * 0.25 / 1.0)
    assert harmonic_of(per_sample_mean([0.0]), per_sample_mean([0.0])).value == 0


def test_the_swap_test_is_the_exact_sign_flip_test() -> None:
    """Six pairs that all differ by one way: 2 of 64 sign patterns are as far from zero."""
    a, b = np.zeros(6), np.array([1.0, 2, 3, 4, 5, 6])
    found = paired(per_sample_mean(a), per_sample_mean(b), list("abcdef"), draws=20_000)
    assert found.value == pytest.approx(3.5)
    assert found.p == pytest.approx(2 / 64, abs=0.004)


def test_p_is_even_where_nothing_differs() -> None:
    rng = np.random.default_rng(1)
    ps = []
    for _ in range(60):
        a, b = per_sample_mean(rng.normal(size=30)), per_sample_mean(rng.normal(size=30))
        ps.append(paired(a, b, [str(i) for i in range(30)], draws=200).p)
    assert np.mean(np.array(ps) < 0.5) == pytest.approx(0.5, abs=0.2)
    assert min(ps) > 0


def test_a_pooled_difference_is_pooled_after_every_swap() -> None:
    _, tp, pred, groups = _data(9)
    a, b = pooled(tp, pred), pooled(np.maximum(tp - 2, 0), pred)
    ids, seen, total = group_ids(groups), abs(b.value - a.value), 0
    for mask in range(8):
        swap = np.array([bool(mask >> int(g) & 1) for g in ids])
        mixed_a = np.where(swap[:, None], b.columns, a.columns).sum(0)
        mixed_b = np.where(swap[:, None], a.columns, b.columns).sum(0)
        total += abs(mixed_b[0] / mixed_b[1] - mixed_a[0] / mixed_a[1]) >= seen * (1 - 1e-9)
    assert paired(a, b, groups, draws=20_000).p == pytest.approx(total / 8, abs=0.02)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_wrong_sizes_are_told() -> None:
    with pytest.raises(InputError, match="2 samples met groups of 3"):
        bootstrap([per_sample_mean([1.0, 2.0])], ["a", "b", "c"])
    with pytest.raises(InputError, match="at least 1 draw"):
        bootstrap([per_sample_mean([1.0])], ["a"], draws=0)
