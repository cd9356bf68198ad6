"""What must not change a figure: rigid motion, the order of samples and points, the size of a picture; NaN is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import (
    add,
    aiou,
    auc,
    average_precision,
    chamfer,
    contact_counts,
    fscore,
    get_preset,
    iou,
    list_presets,
    mae,
    mpjpe,
    mssd,
    pa_mpjpe,
    precision_recall_f1,
    procrustes,
    reliability,
    rotation_error,
    sim,
    surface_distance,
    v2v,
)
from hoirecon.evaluation.metrics.contact import EmptyPolicy
from hoirecon.pose import ObjectPose

SEEDS = st.integers(0, 2**31)
FEW = settings(max_examples=25, deadline=None)
POLICIES: tuple[EmptyPolicy, ...] = ("deco", "bstro", "skip", "haco", "symmetric")


def _motion(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3)


@FEW
@given(SEEDS)
def test_distances_do_not_feel_a_common_rigid_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 1, 9, 3))
    R, t = _motion(seed)
    moved = [x @ R.T + t for x in (a, b)]
    for measure in (mpjpe, pa_mpjpe, v2v):
        assert measure(*moved) == pytest.approx(measure(a, b), rel=1e-9)
    assert chamfer(moved[0][0], moved[1][0]) == pytest.approx(chamfer(a[0], b[0]), rel=1e-9)
    assert fscore(moved[0][0], moved[1][0], 0.5) == fscore(a[0], b[0], 0.5)
    mesh = rng.normal(size=(4, 3)), np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]])
    far = surface_distance(a[0] @ R.T + t, mesh[0] @ R.T + t, mesh[1])
    assert far == pytest.approx(surface_distance(a[0], *mesh), rel=1e-9, abs=1e-12)


@FEW
@given(SEEDS, st.floats(0.2, 5.0))
def test_aligned_errors_do_not_feel_a_similarity_of_the_prediction_alone(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 1, 9, 3))
    R, t = _motion(seed)
    assert pa_mpjpe(scale * a @ R.T + t, b) == pytest.approx(pa_mpjpe(a, b), rel=1e-7)
    assert v2v(a @ R.T + t, b, (a @ R.T + t), b, turn=True) == pytest.approx(v2v(a, b, a, b, turn=True), rel=1e-7)
    assert procrustes(scale * a[0] @ R.T + t, a[0]).s == pytest.approx(1 / scale)


@FEW
@given(SEEDS)
def test_pose_errors_do_not_feel_where_the_camera_stands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    verts = rng.normal(size=(12, 3))
    one, other = (ObjectPose(Rotation.random(random_state=seed + k).as_matrix(), rng.normal(size=3), 1.0 + k)
                  for k in (0, 1))  # fmt: skip
    R, t = _motion(seed + 2)
    here, there = (ObjectPose(R @ p.R, R @ p.t + t, p.s) for p in (one, other))
    assert add(here, there, verts) == pytest.approx(add(one, other, verts))
    assert mssd(here, there, verts) == pytest.approx(mssd(one, other, verts))
    assert rotation_error(here, there) == pytest.approx(rotation_error(one, other), abs=1e-5)
    assert rotation_error(other, one) == pytest.approx(rotation_error(one, other), abs=1e-5)


@FEW
@given(SEEDS)
def test_maps_do_not_feel_the_order_of_vertices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, g = rng.integers(0, 6, 30) / 5, rng.integers(0, 6, 30) / 5
    order = rng.permutation(30)
    for measure in (sim, mae, auc, aiou, average_precision):
        assert measure(p[order], g[order]) == pytest.approx(measure(p, g), nan_ok=True)
    assert reliability(p[order], g[order]).error == pytest.approx(reliability(p, g).error)
    for policy in POLICIES:
        here, there = (precision_recall_f1(contact_counts(*pair), policy) for pair in ((p, g), (p[order], g[order])))
        assert here.f1 == pytest.approx(there.f1, nan_ok=True)


@FEW
@given(SEEDS)
def test_scores_lie_between_0_and_1_and_f1_between_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, g = rng.random(20) * rng.integers(0, 2), (rng.random(20) < rng.random()).astype(float)
    for policy in POLICIES:
        found = precision_recall_f1(contact_counts(p, g), policy)
        told = np.array([found.precision[0], found.recall[0], found.f1[0]])
        assert ((told >= 0) & (told <= 1) | np.isnan(told)).all()
        if not np.isnan(told).any():
            assert told[2] <= max(told[0], told[1]) + 1e-12


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_figures_do_not_feel_the_order_of_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs: list[Any] = [((rng.random(8) < 0.4) * rng.random(8), (rng.random(8) < 0.4).astype(float)) for _ in range(5)]
    pairs.append((None, np.ones(8)))
    ids, order = [f"s{k}" for k in range(6)], rng.permutation(6)
    for name in list_presets():
        preset = get_preset(name)
        if preset.kind == "reconstruction" or name == "bstro":  # BSTRO's batches are what the order makes them
            continue
        here = preset.evaluate(pairs, ids=ids)
        there = preset.evaluate([pairs[k] for k in order], ids=[ids[k] for k in order])
        assert there.aggregate == pytest.approx(here.aggregate, nan_ok=True, abs=1e-12), name
        for metric, values in here.per_sample.items():
            assert there.per_sample[metric] == pytest.approx(values[order], nan_ok=True), (name, metric)


@FEW
@given(SEEDS, st.integers(2, 5))
def test_iou_does_not_feel_the_size_of_the_picture(seed: int, times: int) -> None:
    said, true = np.random.default_rng(seed).random((2, 7, 9)) < 0.4
    larger = [np.kron(mask, np.ones((times, times))) > 0 for mask in (said, true)]
    assert iou(*larger) == iou(said, true) == iou(true, said)


@pytest.mark.parametrize("name", [n for n in list_presets() if get_preset(n).kind != "reconstruction"])
@pytest.mark.parametrize("side", [0, 1])
def test_nan_is_named_with_its_sample_and_its_side(name: str, side: int) -> None:
    good, bad = [0.5, 0.2, 1.0], [0.5, float("nan"), 1.0]
    pair = (bad, good) if side == 0 else (good, bad)
    with pytest.raises(InputError, match="NaN") as info:
        get_preset(name).evaluate([(good, good), pair], ids=["fine", "photo 7"])
    assert "photo 7" in str(info.value)
    assert ("prediction" if side == 0 else "truth") in str(info.value)
