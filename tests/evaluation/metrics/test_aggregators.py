"""Aggregators: by hand, in resamples against a loop, hostile columns; the registry of metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import (
    REGIONS,
    category_macro,
    get_metric,
    get_preset,
    harmonic_of,
    list_metrics,
    list_presets,
    mean_of_batch_means,
    per_group_mean,
    per_pair_mean,
    per_sample_mean,
    pooled,
)
from hoirecon.evaluation.metrics.aggregate import constant

NAN = float("nan")
VALUES = [0.2, 0.4, NAN, 1.0, 0.0]


def test_by_hand() -> None:
    assert per_sample_mean(VALUES).value == pytest.approx(0.4)
    assert per_pair_mean(VALUES).value == pytest.approx(0.4)
    assert per_sample_mean([1, 0], weights=[3, 1]).value == pytest.approx(0.75)
    assert per_group_mean(VALUES, ["a", "a", "b", "c", "c"]).value == pytest.approx((0.3 + 0.5) / 2)
    assert mean_of_batch_means(VALUES, 2).value == pytest.approx((0.3 + 1.0 + 0.0) / 3)
    assert pooled([1, 0, 3], [2, 0, 4]).value == pytest.approx(4 / 6)
    assert np.isnan(pooled([0], [0]).value)
    assert pooled([0], [0], of_nothing=0.0).value == 0.0
    assert harmonic_of(per_sample_mean([0.5]), per_sample_mean([1.0])).value == pytest.approx(2 / 3)
    assert harmonic_of(per_sample_mean([0.0]), per_sample_mean([0.0])).value == 0.0
    assert category_macro(per_sample_mean(VALUES), ["x", "x", "y", "z", "z"]).value == pytest.approx((0.3 + 0.5) / 2)
    assert constant(np.inf, 3).over([[0, 1], [2, 2]]).tolist() == [np.inf, np.inf]


def test_resamples_pool_and_macro_anew() -> None:
    rng = np.random.default_rng(0)
    tp, said = rng.integers(0, 5, 12).astype(float), rng.integers(5, 9, 12).astype(float)
    categories = list("aabbbcccccdd")
    index = rng.integers(0, 12, (30, 12))
    ratio, macro = pooled(tp, said), category_macro(pooled(tp, said, of_nothing=0.0), categories)
    for rows, one, other in zip(index, ratio.over(index), macro.over(index), strict=True):
        assert one == pytest.approx(tp[rows].sum() / said[rows].sum())
        each = []
        for label in sorted({categories[r] for r in rows}):
            chosen = [r for r in rows if categories[r] == label]
            each.append(tp[chosen].sum() / said[chosen].sum())
        assert other == pytest.approx(np.mean(each))  # a category that the draw misses is not a zero


def test_scores_over_and_by() -> None:
    pairs = [([1, 0], [1, 0]), ([1, 1], [1, 0]), ([0, 1], [1, 0])]
    scores = get_preset("interactvlm").evaluate(pairs)
    assert scores.over([[0, 0, 0], [1, 1, 2]])["precision"] == pytest.approx([1.0, 2 / 5])
    table = scores.by(["bat", "cup", ""])
    assert set(table) == {"bat", "cup"}
    assert table["cup"]["precision"] == pytest.approx(0.5)
    with pytest.raises(InputError, match="one label"):
        scores.by(["bat"])


def test_hostile_columns() -> None:
    with pytest.raises(InputError, match="infinities"):
        per_sample_mean([np.inf])
    with pytest.raises(InputError, match="shape"):
        per_sample_mean([[1.0]])
    with pytest.raises(InputError, match="batch_size=0"):
        mean_of_batch_means([1.0], 0)
    with pytest.raises(InputError, match="one number per sample"):
        pooled([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="label"):
        category_macro(per_sample_mean([1.0]), [])


def test_registry_is_complete_and_says_units() -> None:
    names = [metric.name for metric in list_metrics()]
    assert len(names) == len(set(names))
    for metric in list_metrics():
        assert metric.formula
        assert metric.citation
        if metric.unit in ("cm", "mm", "m", "px", "deg"):
            assert metric.name.endswith(f"_{metric.unit}")
            assert not metric.higher_is_better
    for preset in (get_preset(name) for name in list_presets()):
        assert preset.notes, f"{preset.name} says nothing about what is not known"
        assert preset.metrics
    with pytest.raises(InputError, match="no metric 'x'"):
        get_metric("x")
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name in names:
        told = name.rpartition("_")[2] in REGIONS and name.startswith(("f1_", "precision_", "recall_"))
        assert told or f"`{name}`" in page, f"docs/metrics.md does not tell of {name}"
    for name in list_presets():
        assert name.startswith("interactvlm-affordance") or f"`{name}`" in page or f"-{name.partition('-')[2]}`" in page
    wanted = [
        "symmetric",
        "deco",
        "bstro",
        "lemon",
        "interactvlm",
        "haco",
        "chore",
        "contho",
        "pico",
        "tehor",
        "rhobin",
    ]
    assert set(wanted) <= set(list_presets())
