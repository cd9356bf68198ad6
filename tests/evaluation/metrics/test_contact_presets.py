"""Presets of contact evaluators: every cell of their rules, worked by hand on five vertices in a row.

Neighbours are 10 cm apart, so D[i, j] = 0.1 |i - j| m and the diameter is 0.4 m. Four samples:

====  ==========  ======  ==  =========  ========  =============================  =============================
case  prediction  truth   tp  predicted  positive  fp (predicted -> true)         fn (true -> predicted)
====  ==========  ======  ==  =========  ========  =============================  =============================
a     {0, 1}      {1, 2}  1   2          2         (0.1 + 0) / 2 = 0.05           (0 + 0.1) / 2 = 0.05
b     {}          {4}     0   0          1         mean over body to 4: 0.2       0 by rule
c     {0}         {}      0   1          0         0 by rule                      mean over body to 0: 0.2
d     {}          {}      0   0          0         0                              0
====  ==========  ======  ==  =========  ========  =============================  =============================
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import (
    ContactPreset,
    MatrixDistances,
    contact_counts,
    get_preset,
    list_presets,
    precision_recall_f1,
    soft_counts,
    vertex_areas,
    weighted_counts,
)

NAN = float("nan")
ROW = np.arange(5)
DISTANCES = MatrixDistances(0.1 * np.abs(ROW[:, None] - ROW[None]))


def _at(*verts: int) -> Any:
    return np.isin(ROW, verts).astype(float)


PAIRS = [(_at(0, 1), _at(1, 2)), (_at(), _at(4)), (_at(0), _at()), (_at(), _at())]
EMPTY = [(_at(4), _at(0))]


BY_HAND: dict[str, dict[str, list[float]]] = {
    "symmetric": {
        "precision": [0.5, 0, 0, 1], "recall": [0.5, 0, 0, 1], "f1": [0.5, 0, 0, 1],
        "geo_cm": [5, 40, 40, 0], "geo_fp_only_cm": [10, 40, 40, 0], "geo_p95_cm": [9.5, 40, 40, 0],
    },
    "deco": {
        "precision": [0.5, 1, 0, 1], "recall": [0.5, 0, 1, 1], "f1": [0.5, 0, 0, 1],
        "geo_fp_cm": [5, 20, 0, 0], "geo_fn_cm": [5, 0, 20, 0],
    },
    "deco-semantic": {
        "precision": [0.5, 1, 0, 1], "recall": [0.5, 0, 1, 1], "f1": [0.5, 0, 0, 1],
        "geo_fp_cm": [5, 20, 0, 0], "geo_fn_cm": [5, 0, 20, 0],
    },
    "bstro": {
        "precision": [0.5, 0, 0, 0], "recall": [0.5, 0, 0, 0], "f1": [0.5, 0, 0, 0],
        "geo_fp_cm": [5, 20, 0, 0], "geo_fn_cm": [5, 0, 20, 0],
    },
    "lemon": {
        "precision": [0.5, 0, 0, 0], "recall": [0.5, 0, 0, 0], "f1": [0.5, 0, 0, 0],
        "geo_fp_m": [0.05, 0.2, 0, 0], "geo_fp_cm": [5, 20, 0, 0],
    },
    "interactvlm": {  # each sample its own image; geo: true -> predicted, no prediction of 1 gives 0
        "precision": [0.5, 0, 0, 0], "recall": [0.5, 0, 0, 0], "f1": [0.5, 0, 0, 0],
        "geo_m": [0.05, 0, 0.2, 0],
    },
    "interactvlm-semantic": {
        "precision": [0.5, 0, 0, 0], "recall": [0.5, 0, 0, 0], "f1": [0.5, 0, 0, 0],
        "geo_m": [0.05, 0, 0.2, 0],
    },
    "haco": {"precision": [0.5, 0, 0, 0], "recall": [0.5, 0, 0, 0], "f1": [0.5, 0, 0, 0]},
    "contho-contact": {"precision": [0.5, NAN, 0, NAN], "recall": [0.5, 0, NAN, NAN], "f1": [0.5, NAN, NAN, NAN]},
}  # fmt: skip

FIGURES: dict[str, dict[str, float]] = {
    "symmetric": {"f1": 0.375, "geo_cm": 21.25},
    "deco": {"precision": 0.625, "recall": 0.625, "f1": 0.375, "geo_fp_cm": 6.25},
    "deco-semantic": {"precision": 0.625, "f1": 0.375},
    "bstro": {"f1": 0.125, "geo_fp_cm": 6.25, "geo_fn_cm": 6.25},
    "lemon": {"f1": 0.125, "geo_fp_m": 0.0625},
    "interactvlm": {"precision": 1 / 3, "recall": 1 / 3, "f1": 0.125, "geo_m": 0.0625},
    "interactvlm-semantic": {"precision": 1 / 3, "recall": 1 / 3, "f1": 0.125},
    "haco": {"precision": 0.125, "recall": 0.125, "f1": 0.125},
    "contho-contact": {"precision": 0.25, "recall": 0.25, "f1_of_means": 0.25},
}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_every_cell_by_hand(name: str) -> None:
    scores = get_preset(name).evaluate(PAIRS, distances=DISTANCES)
    assert set(scores.per_sample) == set(BY_HAND[name])
    for metric, values in BY_HAND[name].items():
        assert scores.per_sample[metric] == pytest.approx(values, abs=1e-9, nan_ok=True), metric
    for metric, value in FIGURES[name].items():
        assert scores.aggregate[metric] == pytest.approx(value, abs=1e-9), metric
    assert scores.counts == {"n": 4, "n_failed": 0, "n_empty_prediction": 2, "n_empty_truth": 2}


def test_every_contact_preset_is_worked_by_hand() -> None:
    contact = {name for name in list_presets() if isinstance(get_preset(name), ContactPreset)}
    assert contact == set(BY_HAND)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_perfect_prediction_scores_the_floor_and_failure_the_worst(name: str) -> None:
    preset = get_preset(name)
    scores = preset.evaluate([(_at(1, 2), _at(1, 2)), (_at(0), _at(0))], distances=DISTANCES)
    for metric in preset.metrics:
        assert scores.aggregate[metric.name] == pytest.approx(metric.floor, abs=1e-9), metric.name
    failed = preset.evaluate([(None, _at(1, 2)), (None, _at())], distances=DISTANCES)
    assert failed.counts["n_failed"] == 2
    for metric in preset.metrics:
        worst = 0.0 if metric.higher_is_better else 0.4 * {"cm": 100, "m": 1}[metric.unit]
        assert failed.aggregate[metric.name] == pytest.approx(worst), metric.name


def test_without_distances_there_are_no_geodesic_errors() -> None:
    assert set(get_preset("deco").evaluate(PAIRS).aggregate) == {"precision", "recall", "f1"}


def test_no_samples_give_figures_that_are_not_numbers() -> None:
    scores = get_preset("deco").evaluate([])
    assert scores.counts["n"] == 0
    assert all(np.isnan(v) for v in scores.aggregate.values())


def test_interactvlm_unites_the_objects_of_an_image() -> None:
    """Image x: prediction {0, 1}, truth {1, 2, 4}: P 1/2, R 1/3, F 0.4; the worst object's distance is 0.05 m."""
    scores = get_preset("interactvlm").evaluate(PAIRS, groups=["x", "x", "y", "z"], distances=DISTANCES)
    assert scores.ids == ("x", "y", "z")
    assert scores.per_sample["f1"] == pytest.approx([0.4, 0, 0], abs=1e-9)
    assert scores.per_sample["geo_m"] == pytest.approx([0.05, 0.2, 0])
    assert scores.aggregate["precision"] == pytest.approx(1 / 3)  # 1 of 3 predicted, all images together
    assert scores.aggregate["recall"] == pytest.approx(1 / 3)
    assert scores.aggregate["f1"] == pytest.approx(0.4 / 3)


def test_an_object_that_failed_is_an_images_worst() -> None:
    """Its distance is the body's diameter; the field's rule for an empty prediction would make it 0."""
    pairs = [(_at(0), _at(0)), (None, _at(1))]
    found = get_preset("interactvlm").evaluate(pairs, ids=["a", "b"], groups=["i", "i"], distances=DISTANCES)
    assert found.per_sample["geo_m"].tolist() == [0.4]


def test_interactvlm_distance_wants_predictions_of_exactly_one() -> None:
    soft = get_preset("interactvlm").evaluate([(0.99 * _at(4), _at(0))], distances=DISTANCES)
    hard = get_preset("interactvlm").evaluate([(_at(4), _at(0))], distances=DISTANCES)
    assert soft.aggregate["geo_m"] == 0.0  # four vertices off, and yet perfect
    assert hard.aggregate["geo_m"] == pytest.approx(0.4)


def test_interactvlm_semantic_sums_soft_scores() -> None:
    """Scores 0.2, 0.6 of truth {0, 1, 2}: "true positives" 2, "predicted" 0.8, so precision 2.5; F from {1} alone."""
    scores = get_preset("interactvlm-semantic").evaluate([([0.2, 0.6, 0, 0, 0], _at(0, 1, 2))])
    assert scores.aggregate["precision"] == pytest.approx(2.5)
    assert scores.aggregate["recall"] == pytest.approx(2 / 3)
    assert scores.aggregate["f1"] == pytest.approx(0.5)
    assert soft_counts([0.2, 0.6, 0.0], [1, 1, 0]).fp[0] == pytest.approx(-1.2)


def test_bstro_weighs_a_small_last_batch_more() -> None:
    """Batches of three: means (0.5 + 0 + 0) / 3 and 0, so 0.5 / 6; with the good sample last, 0.5 / 2."""
    preset = get_preset("bstro", batch_size=3)
    assert preset.evaluate(PAIRS).aggregate["f1"] == pytest.approx(0.5 / 6)
    assert preset.evaluate(PAIRS[1:] + PAIRS[:1]).aggregate["f1"] == pytest.approx(0.25)
    assert preset.name == "bstro[batch_size=3]"


@pytest.mark.parametrize(
    ("name", "recall", "precision"),
    [
        ("symmetric", 1.0, 1.0),  # labels {0, 1}
        ("deco", 1.5 / 1.7, 0.75),  # by their fractions: 1 + 0.5 of 1 + 0.5 + 0.2, and of two predicted
        ("deco-semantic", 1.5 / 1.7, 0.75),
        ("bstro", 1.5 / 1.7, 0.75),
        ("haco", 1.5 / 1.7, 0.75),
        ("lemon", 1.0, 0.5),  # {0}
        ("contho-contact", 1.0, 0.5),
        ("interactvlm", 2 / 3, 1.0),  # {0, 1, 2}
        ("interactvlm-semantic", 2 / 3, 1.0),
    ],
)
def test_fractions_in_labels_follow_each_rule(name: str, recall: float, precision: float) -> None:
    """Truth 1, 0.5, 0.2; prediction {0, 1}."""
    truth, said = [1.0, 0.5, 0.2, 0, 0], _at(0, 1)
    found = get_preset(name).evaluate([(said, truth)], distances=DISTANCES).aggregate
    assert (found["recall"], found["precision"]) == pytest.approx((recall, precision))
    field = found.get("geo_fp_cm")
    if field is not None:
        assert field == pytest.approx(5.0)  # only vertex 0 is exactly 1: the field's errors ask for that, all of them
    if name == "symmetric":
        assert found["geo_cm"] == 0.0


def test_bstro_adds_its_epsilon_to_each_denominator() -> None:
    """One hit of two predicted and two true: 1 / (2 + 1e-10), and again in F1."""
    for name in ("bstro", "lemon", "interactvlm"):
        scores = get_preset(name).evaluate([(_at(0, 1), _at(1, 2))]).per_sample
        share = 1 / (2 + 1e-10)
        assert scores["precision"][0] == scores["recall"][0] == share < 0.5
        assert scores["f1"][0] == 2 * share * share / (2 * share + 1e-10)


def test_deco_weighs_images_and_pairs_alike_whatever_the_batch() -> None:
    assert get_preset("deco").evaluate(PAIRS).aggregate == get_preset("deco").evaluate(PAIRS[::-1]).aggregate


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_a_score_at_the_threshold(name: str) -> None:
    """0.5 touches everywhere but in CONTHO's estimator, which wants more."""
    recall = get_preset(name).evaluate([([0.5, 0.2, 0, 0, 0], _at(0))]).aggregate["recall"]
    assert recall == pytest.approx(0.0 if name == "contho-contact" else 1.0)


def test_haco_threshold_is_part_of_the_name() -> None:
    preset = get_preset("haco", threshold=0.95)
    assert preset.name == "haco[threshold=0.95]"
    assert preset.evaluate([(0.9 * _at(0), _at(0))]).aggregate["recall"] == 0.0


def test_a_threshold_of_0_takes_every_vertex() -> None:
    found = get_preset("haco", threshold=0.0).evaluate([(_at(), _at(0))]).per_sample
    assert (found["recall"][0], found["precision"][0]) == (1.0, 0.2)


def test_hallucination_is_invisible_to_the_field_but_not_to_the_default() -> None:
    everything = np.ones(5)
    assert get_preset("deco").evaluate([(everything, _at())], distances=DISTANCES).aggregate["geo_fp_cm"] == 0.0
    honest = get_preset().evaluate([(everything, _at())], distances=DISTANCES)
    assert honest.aggregate["geo_cm"] == pytest.approx(40.0)
    assert honest.counts["n_empty_truth"] == 1


def test_area_weighted_counts_do_not_depend_on_density() -> None:
    """A unit square in two triangles; contact is the lower-left triangle's corners."""
    verts, faces = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]]
    assert vertex_areas(verts, faces) == pytest.approx([1 / 3, 1 / 6, 1 / 3, 1 / 6])
    counts = weighted_counts([1, 1, 0, 0], [1, 0, 1, 0], vertex_areas(verts, faces))
    assert counts.tp[0] == pytest.approx(1 / 3)
    assert counts.fp[0] == pytest.approx(1 / 6)
    assert counts.fn[0] == pytest.approx(1 / 3)


def test_counts_against_a_slow_twin() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, g = rng.random(30), (rng.random(30) < 0.4).astype(float)
        tp = sum(1 for x, y in zip(p, g, strict=True) if x >= 0.3 and y)
        fp = sum(1 for x, y in zip(p, g, strict=True) if x >= 0.3 and not y)
        fn = sum(1 for x, y in zip(p, g, strict=True) if x < 0.3 and y)
        counts = contact_counts(p, g, 0.3)
        assert (counts.tp[0], counts.fp[0], counts.fn[0]) == (tp, fp, fn)
        f1 = precision_recall_f1(counts).f1[0]
        assert f1 == pytest.approx(2 * tp / (2 * tp + fp + fn))


@pytest.mark.parametrize(
    ("pair", "word"),
    [
        (([0.1, NAN], [0, 1]), "NaN"),
        (([0.1, -0.2], [0, 1]), r"\[0, 1\]"),
        (([0.1, 3.0], [0, 1]), r"\[0, 1\]"),
        (([0.1, 0.2, 0.3], [0, 1]), "3 vertices and the truth 2"),
        (([[0.1, 0.2]], [0, 1]), "shape"),
        (([0.1, 0.2], [0, 2]), r"\[0, 1\]"),
        ((["a", "b"], [0, 1]), "numbers"),
        (([], []), "no vertices"),
    ],
)
def test_hostile_samples_are_named(pair: Any, word: str) -> None:
    with pytest.raises(InputError, match=word) as info:
        get_preset("deco").evaluate([([1.0, 0.0], [1, 0]), pair], ids=["fine", "bad one"])
    assert "bad one" in str(info.value)


def test_hostile_lists_are_refused() -> None:
    with pytest.raises(InputError, match="more than once: a"):
        get_preset().evaluate(PAIRS[:2], ids=["a", "a"])
    with pytest.raises(InputError, match="ids"):
        get_preset().evaluate(PAIRS[:2], ids=["a"])
    with pytest.raises(InputError, match="groups"):
        get_preset("interactvlm").evaluate(PAIRS[:2], groups=["a"])
    with pytest.raises(InputError, match="topology"):
        get_preset().evaluate([([1.0, 0.0], [1, 0])], distances=DISTANCES)
    with pytest.raises(InputError, match="no preset 'nope'"):
        get_preset("nope")
    with pytest.raises(InputError, match="no field treshold"):
        get_preset("haco", treshold=0.5)
    with pytest.raises(InputError, match="unknown policy"):
        ContactPreset("x", "none").evaluate(PAIRS)
    with pytest.raises(InputError, match="unknown rule"):
        ContactPreset("x", "deco", truth="all").evaluate(PAIRS)
