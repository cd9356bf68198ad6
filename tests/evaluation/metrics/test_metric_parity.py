"""Contact, geodesic, affordance and mask metrics against InteractVLM's own evaluation code.

Vectors: ``tests/golden/interactvlm/metrics``, or a set that ``HOIRECON_PARITY`` names (as in tests/contact).
The reference computes in float32, so figures agree to some 1e-7.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.evaluation.metrics import (
    MatrixDistances,
    PresetScores,
    fn_geodesic,
    fp_geodesic,
    get_preset,
    mask_overlap,
    sim,
)
from tests.contact.parity_data import parity_root

CLOSE = {"abs": 1e-6, "rel": 0.0}


@pytest.fixture(scope="module")
def folder() -> Path:
    place = parity_root() / "metrics"
    if not place.is_dir():
        pytest.skip(f"the set at {place.parent} has no metrics/")
    return place


@pytest.fixture(scope="module")
def given(folder: Path) -> dict[str, Any]:
    with np.load(folder / "metric_inputs.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="module")
def want(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def distances(given: dict[str, Any]) -> MatrixDistances:
    return MatrixDistances(given["distance_matrix"])


@pytest.fixture(scope="module")
def pairs(given: dict[str, Any]) -> list[tuple[Any, Any]]:
    return list(zip(given["contact_pred"], given["contact_gt"], strict=True))


@pytest.mark.parametrize(("threshold", "key"), [(0.5, "h_contact_each"), (0.3, "h_contact_each_threshold0.3")])
def test_precision_recall_and_f1_of_each_sample(
    pairs: list[Any], want: dict[str, Any], threshold: float, key: str
) -> None:
    preset = get_preset("interactvlm", threshold=threshold, pooled_precision_recall=False)
    scores = preset.evaluate(pairs)
    ours = np.stack([scores.per_sample[name] for name in ("f1", "precision", "recall")], axis=1)
    assert ours == pytest.approx(np.array(want[key]), **CLOSE)
    if threshold == 0.5:
        assert [scores.aggregate[n] for n in ("f1", "precision", "recall")] == pytest.approx(
            want["h_contact_batch"], **CLOSE
        )


def test_geodesic_errors_in_both_orders(pairs: list[Any], want: dict[str, Any], distances: MatrixDistances) -> None:
    for (p, g), plain, swapped in zip(pairs, want["h_geo_pred_first"], want["h_geo_as_called_gt_first"], strict=True):
        assert [f(p >= 0.5, g == 1, distances) for f in (fp_geodesic, fn_geodesic)] == pytest.approx(plain, **CLOSE)
        assert [f(g >= 0.5, p == 1, distances) for f in (fp_geodesic, fn_geodesic)] == pytest.approx(swapped, **CLOSE)
    mean = np.mean(want["h_geo_pred_first"], axis=0)
    assert mean == pytest.approx(np.array(want["h_geo_batch_pred_first"]), **CLOSE)


def _same_table(ours: dict[str, dict[str, float]], theirs: dict[str, dict[str, float]]) -> None:
    assert set(ours) == set(theirs)
    for label, row in theirs.items():
        names = {"num_samples": "n", "avg_f1": "f1", "geo": "geo_m"}
        for key, value in row.items():
            assert ours[label][names.get(key, key)] == pytest.approx(value, **CLOSE), (label, key)


def test_semantic_table(pairs: list[Any], want: dict[str, Any], distances: MatrixDistances) -> None:
    table = want["aggregate"]
    scores: PresetScores = get_preset("interactvlm-semantic").evaluate(pairs, distances=distances)
    _same_table(scores.by(table["objects"]), table["semantic"])
    categories = {"bench": "furniture", "skateboard": "sports", "cup": "kitchen", "knife": "kitchen"}
    _same_table(scores.by([categories[o] for o in table["objects"]]), table["category"])
    assert scores.aggregate["f1"] == pytest.approx(table["weighted_f1"], **CLOSE)
    assert scores.aggregate["geo_m"] == pytest.approx(table["weighted_geo"], **CLOSE)


def test_binary_table(pairs: list[Any], want: dict[str, Any], distances: MatrixDistances) -> None:
    table = want["aggregate"]
    scores = get_preset("interactvlm").evaluate(pairs, groups=table["images"], distances=distances)
    ours = {name.replace("geo_m", "geo"): value for name, value in scores.aggregate.items()}
    assert ours == pytest.approx(table["binary"], **CLOSE)
    assert scores.ids == ("a.jpg", "b.jpg", "c.jpg")


def test_affordance(given: dict[str, Any], want: dict[str, Any]) -> None:
    pairs = list(zip(given["afford_pred"], given["afford_gt"], strict=True))
    scores = get_preset("interactvlm-affordance-batched").evaluate(pairs)
    names = ("sim", "mae", "auc", "aiou")
    ours = np.stack([np.nan_to_num(scores.per_sample[name]) for name in names], axis=1)  # they store 0 for undefined
    assert ours == pytest.approx(np.array(want["o_affordance_each"])[:, :4], **CLOSE)
    assert [scores.aggregate[name] for name in names] == pytest.approx(want["o_affordance_batch"][:4], **CLOSE)
    assert len(pairs) - scores.counts["n_undefined"] == want["o_affordance_batch"][4]
    assert sim(*pairs[0]) == pytest.approx(want["sim"], **CLOSE)
    assert sim(pairs[0][0], np.zeros(2048)) == want["sim_zero_gt"]
    alone = get_preset("interactvlm-affordance").evaluate(pairs)
    kept = [0, 2, 3]
    assert alone.aggregate["mae"] == pytest.approx(np.mean([want["o_affordance_each"][k][1] for k in kept]), **CLOSE)


def test_masks(given: dict[str, Any], want: dict[str, Any]) -> None:
    each = [mask_overlap(o > 0, g) for o, g in zip(given["seg_pred_logits"], given["seg_gt"], strict=True)]
    for name in ("intersection", "union"):
        assert np.mean([getattr(o, name) for o in each], axis=0) == pytest.approx(want["segmentation"][name])
    assert np.mean([o.iou for o in each], axis=0) == pytest.approx(np.array(want["segmentation"]["acc_iou"]), **CLOSE)
    pair = mask_overlap(given["seg_pred_logits"][0] > 0, given["seg_gt"][2])
    table = np.array([pair.intersection, pair.union, pair.target])
    assert table.tolist() == want["intersection_union_target_pair_0_2"]


def test_transfer_of_labels_is_a_product_with_the_matrix(given: dict[str, Any]) -> None:
    """Left without a threshold, as in the reference: the fractions that `TruthRule` is about."""
    moved = given["contact_pred"] @ given["convert_matrix"].T
    assert moved == pytest.approx(given["convert_out_batch"], **CLOSE)
    assert moved[0] == pytest.approx(given["convert_out_single"], **CLOSE)
    assert ((moved > 0) & (moved < 1)).any()
