"""Affordance metrics and calibration: by hand, against slow twins, and at their floors and ceilings."""

from __future__ import annotations

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import (
    aiou,
    aiou_ceiling,
    auc,
    average_precision,
    get_preset,
    mae,
    reliability,
    sim,
    threshold_sweep,
)

RNG = np.random.default_rng(0)
# Truth with two, none and only positives of five points, worked by hand below.
SOME, NONE, ALL = [0.9, 0.6, 0.2, 0, 0], [0.4, 0.1, 0, 0, 0], [1.0, 1, 1, 1, 1]
SAID = [0.8, 0.2, 0.2, 0.0, 0.0]


def test_auc_against_all_pairs() -> None:
    for _ in range(10):
        p, g = RNG.integers(0, 5, 40) / 4, RNG.random(40)  # many ties
        above, below = p[g >= 0.5], p[g < 0.5]
        wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in above for b in below]
        assert auc(p, g) == pytest.approx(np.mean(wins))


def test_aiou_against_a_loop() -> None:
    p, g = RNG.random(50), RNG.random(50)
    values = []
    for k in range(20):
        said = {i for i in range(50) if p[i] >= k / 19}
        true = {i for i in range(50) if g[i] >= 0.5}
        values.append(len(said & true) / len(said | true))
    assert aiou(p, g) == pytest.approx(np.mean(values))


def test_by_hand() -> None:
    """SAID against SOME: AUC pairs (0.8 beats 3; 0.2 ties one, beats 2) 5.5 of 6.

    IoU: threshold 0: 2/5; 1/19..3/19 (< 0.2): 3 said, 2 hit: 2/3; 4/19..15/19: 1/2; 16/19 on (> 0.8): 0.
    """
    assert auc(SAID, SOME) == pytest.approx(5.5 / 6)
    assert aiou(SAID, SOME) == pytest.approx((2 / 5 + 3 * 2 / 3 + 12 / 2) / 20)
    # Normalised: 8/12, 2/12, 2/12 against 9/17, 6/17, 2/17.
    assert sim(SAID, SOME) == pytest.approx(9 / 17 + 2 / 12 + 2 / 17)
    assert mae(SAID, SOME) == pytest.approx(0.5 / 2048)
    assert mae(SAID, SOME, divide_by=None) == pytest.approx(0.1)


NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "aucs", "aious", "others"),
    [
        ("affordance", [5.5 / 6, NAN, NAN], [8.4 / 20, NAN, 5.2 / 20], 3),
        ("iagnet", [5.5 / 6, NAN, NAN], [8.4 / 20, NAN, 5.2 / 20], 3),
        ("interactvlm-affordance", [5.5 / 6, NAN, NAN], [8.4 / 20, NAN, NAN], 1),
        ("interactvlm-affordance-batched", [5.5 / 6, NAN, NAN], [8.4 / 20, NAN, NAN], 3),
    ],
)
def test_who_is_left_out(name: str, aucs: list[float], aious: list[float], others: int) -> None:
    """Against ALL: IoU 1, then 3/5 three times, 1/5 twelve times, 0: 5.2 of 20."""
    scores = get_preset(name).evaluate([(SAID, SOME), (SAID, NONE), (SAID, ALL)])
    assert scores.per_sample["auc"] == pytest.approx(aucs, nan_ok=True)
    assert scores.per_sample["aiou"] == pytest.approx(aious, nan_ok=True)
    assert np.isfinite(scores.per_sample["sim"]).sum() == others == np.isfinite(scores.per_sample["mae"]).sum()
    assert scores.counts == {"n": 3, "n_failed": 0, "n_undefined": 2}
    divisor = 5 if name == "affordance" else 2048
    assert scores.per_sample["mae"][0] == pytest.approx(0.5 / divisor)


def test_perfect_maps_score_the_floor_and_stay_under_the_ceiling() -> None:
    truth = np.r_[np.ones(20), np.zeros(80)]
    assert (auc(truth, truth), sim(truth, truth), mae(truth, truth)) == pytest.approx((1, 1, 0))
    assert aiou_ceiling(truth) == pytest.approx((19 + 0.2) / 20)
    soft = np.linspace(0, 1, 2048)
    assert aiou_ceiling(soft) == pytest.approx(aiou((soft >= 0.5).astype(float), soft))
    assert aiou_ceiling(soft, soft=True) < aiou_ceiling(soft) < 1
    for _ in range(20):
        assert aiou(RNG.random(2048), soft) < aiou_ceiling(soft)


def test_aiou_beside_its_ceiling_by_hand() -> None:
    """The hard map of SOME scores 2/5 at threshold 0 and 1 elsewhere: 19.4 of 20; that of ALL scores 1."""
    scores = get_preset("affordance").evaluate([(SAID, SOME), (SAID, NONE), (SAID, ALL), ([1, 1, 0, 0, 0], SOME)])
    assert scores.per_sample["aiou_of_ceiling"] == pytest.approx([8.4 / 19.4, NAN, 5.2 / 20, 1.0], nan_ok=True)
    assert "aiou_of_ceiling" not in get_preset("iagnet").evaluate([(SAID, SOME)]).aggregate


def test_ceilings_in_closed_form() -> None:
    """A hard map loses at threshold 0 alone; of a ramp the soft truth itself reaches 0.578."""
    rng = np.random.default_rng(0)
    for share in (0.05, 0.2, 0.4):
        hard = (rng.random(2048) < share).astype(float)
        assert aiou_ceiling(hard) == pytest.approx((19 + hard.mean()) / 20)
        assert 0.95 <= aiou_ceiling(hard) <= 0.975
    # Above threshold t of a ramp lie 1 - t of the points, half of all are true: IoU 0.5 / (1 - t), or (1 - t) / 0.5.
    cuts = np.arange(20) / 19
    by_hand = np.where(cuts < 0.5, 0.5 / np.maximum(1 - cuts, 0.5), (1 - cuts) / 0.5).mean()
    assert aiou_ceiling(np.linspace(0, 1, 100_001), soft=True) == pytest.approx(by_hand, abs=1e-4)


def test_failed_and_hostile_maps() -> None:
    failed = get_preset("affordance").evaluate([(None, SOME)])
    assert failed.aggregate == {"auc": 0.0, "aiou": 0.0, "sim": 0.0, "mae": 1.0, "aiou_of_ceiling": 0.0}
    with pytest.raises(InputError, match=r"sample 1.*5 vertices and the truth 2|sample 1.*2"):
        get_preset("iagnet").evaluate([(SAID, SOME), (SAID, [0, 1])])
    for bad in ([NAN] * 5, [-1.0] * 5, [2.0] * 5):
        with pytest.raises(InputError):
            auc(bad, SOME)
    assert sim(np.zeros(5), SOME) == 0.0


def test_reliability_by_hand_and_of_honest_scores() -> None:
    """Scores 0.1, 0.1 of which none touches, 0.8 and 1.0 of which both do: (2 * 0.1 + 0.2 + 0) / 4."""
    table = reliability([0.1, 0.1, 0.8, 1.0], [0, 0, 1, 1], bins=5)
    assert table.count.tolist() == [2, 0, 0, 0, 2]
    assert table.error == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)
    scores = RNG.random(20_000)
    honest = (RNG.random(20_000) < scores).astype(float)
    assert reliability(scores, honest).error < 0.02
    assert reliability(scores**3, honest).error > 0.1
    with pytest.raises(InputError, match="bins"):
        reliability([0.1], [1], bins=0)


def test_average_precision_against_a_loop() -> None:
    for _ in range(10):
        p, g = RNG.integers(0, 8, 40) / 8, RNG.random(40) < 0.3
        area, before = 0.0, 0.0
        for cut in sorted(set(p.tolist()), reverse=True):
            said = p >= cut
            recall = (said & g).sum() / g.sum()
            area += (recall - before) * (said & g).sum() / said.sum()
            before = recall
        assert average_precision(p, g.astype(float)) == pytest.approx(area)
    assert average_precision([0.9, 0.1], [1, 0]) == 1.0
    assert np.isnan(average_precision([0.9, 0.1], [0, 0]))


def test_threshold_sweep() -> None:
    sweep = threshold_sweep([([0.9, 0.4, 0.1], [1, 1, 0]), ([0.9, 0.6, 0.1], [1, 0, 0])], [0.3, 0.5, 0.8])
    assert sweep.f1 == pytest.approx([(1 + 2 / 3) / 2, (2 / 3 + 2 / 3) / 2, (2 / 3 + 1) / 2])
    assert sweep.recall == pytest.approx([1, 0.75, 0.75])
    assert sweep.best == pytest.approx((0.3, 5 / 6))
