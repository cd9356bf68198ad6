"""What scores are worth: the best threshold as an upper bound, average precision, calibration; worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import get_preset, threshold_sweep
from hoirecon.evaluation.metrics.score_presets import best_mean

NAN = float("nan")
# a: at 0.3 perfect (1), at 0.6 misses one (2/3). b: at 0.3 one too many (2/3), at 0.6 perfect... both means 5/6.
A = ([0.7, 0.4, 0.1], [1, 1, 0])
B = ([0.9, 0.4, 0.1], [1, 0, 0])
PRESET = get_preset("scores", thresholds=(0.3, 0.6, 0.8))


def test_the_best_threshold_is_one_for_all_samples() -> None:
    """F1 at 0.3, 0.6, 0.8: a 1, 2/3, 0; b 2/3, 1, 1. Means 5/6, 5/6, 1/2."""
    scores = PRESET.evaluate([A, B])
    assert scores.aggregate["f1_best"] == pytest.approx(5 / 6)
    assert "f1_best" not in scores.per_sample  # it is no sample's: nothing of it is compared sample by sample
    # A resample chooses anew: of a alone 0.3, of b alone 0.6, of (a, a, b) 0.3.
    assert scores.over([[0, 0], [1, 1]])["f1_best"] == pytest.approx([1.0, 1.0])
    assert scores.over([[0, 0, 1]])["f1_best"] == pytest.approx([(1 + 1 + 2 / 3) / 3])


def test_it_is_never_a_headline_nor_below_the_usual_threshold() -> None:
    assert PRESET.metrics[0].name == "average_precision"
    assert any("upper bound" in note for note in PRESET.notes)
    rng = np.random.default_rng(0)
    pairs = [(rng.random(40), (rng.random(40) < 0.3).astype(float)) for _ in range(6)]
    best = get_preset("scores").evaluate(pairs).aggregate["f1_best"]
    sweep = threshold_sweep(pairs)
    assert best == pytest.approx(sweep.best[1])
    assert best >= get_preset().evaluate(pairs).aggregate["f1"]


def test_average_precision_leaves_out_what_has_no_truth_and_says_so() -> None:
    scores = PRESET.evaluate([A, ([0.9, 0.1, 0.1], [0, 0, 0]), (None, [1, 0, 0]), (None, [0, 0, 0])])
    assert scores.per_sample["average_precision"] == pytest.approx([1.0, NAN, 0.0, NAN], nan_ok=True)
    assert scores.aggregate["average_precision"] == pytest.approx(0.5)
    assert scores.counts == {"n": 4, "n_failed": 2, "n_empty_truth": 2}


def test_calibration_is_pooled_over_vertices_and_redrawn() -> None:
    """One sample says 0.8 of five vertices of which two touch (error 0.4), the other 1 of one that does (0)."""
    first, second = ([0.8] * 5, [1, 1, 0, 0, 0]), ([1.0], [1])
    scores = PRESET.evaluate([first, second])
    assert scores.aggregate["ece"] == pytest.approx((5 * 0.4 + 0) / 6)
    assert scores.over([[0, 0], [1, 1]])["ece"] == pytest.approx([0.4, 0.0])
    assert PRESET.evaluate([(None, [1, 0])]).aggregate["ece"] == 1.0


def test_perfect_scores_are_at_the_floor() -> None:
    found = PRESET.evaluate([([1.0, 0, 0], [1, 0, 0]), ([0.0, 1, 1], [0, 1, 1])]).aggregate
    assert found == {"average_precision": 1.0, "f1_best": 1.0, "ece": 0.0}


def test_empty_and_hostile_input() -> None:
    nothing = PRESET.evaluate([])
    assert nothing.counts["n"] == 0
    assert all(np.isnan(v) for v in nothing.aggregate.values())
    assert np.isnan(best_mean(np.zeros((0, 3))).value)
    with pytest.raises(InputError, match=r"sample bad.*NaN"):
        PRESET.evaluate([A, ([NAN, 0, 0], [1, 0, 0])], ids=["a", "bad"])
    with pytest.raises(InputError, match=r"sample bad.*3 vertices and the truth 2"):
        PRESET.evaluate([([1.0, 0, 0], [1, 0])], ids=["bad"])
