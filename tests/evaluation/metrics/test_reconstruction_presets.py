"""Presets of reconstruction evaluators: floors, alignment, skip lists, gates and worst cases, on a ball and a box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import Reconstruction, chamfer_floor, get_preset, list_presets, surface_area
from hoirecon.pose import ObjectPose

BALL = trimesh.creation.icosphere(2, 0.3)
BOX = trimesh.creation.box((0.4, 0.2, 0.2)).subdivide()
POSE = ObjectPose(np.eye(3), [0.51, 0.0, 3.0])
TURN = Rotation.from_rotvec([0.2, 0.7, -0.4]).as_matrix()
TRUTH = Reconstruction(
    body_verts=np.asarray(BALL.vertices) + np.array([0, 0, 3.0]),
    object_verts=POSE.apply(BOX.vertices),
    body_faces=BALL.faces,
    object_faces=BOX.faces,
    body_joints=np.array([[0, 0, 3.0], [0.1, 0, 3], [0, 0.2, 3], [0, 0, 3.3]]),
    object_pose=POSE,
    template=np.asarray(BOX.vertices),
    camera=Camera.from_focal(600, 640, 480),
)
NAMES = [name for name in list_presets() if get_preset(name).kind == "reconstruction"]


def _moved(one: Reconstruction, s: float, R: np.ndarray, t: list[float]) -> Reconstruction:
    each = {k: s * getattr(one, k) @ R.T + np.array(t) for k in ("body_verts", "object_verts", "body_joints")}
    return replace(one, **each)


@pytest.mark.parametrize("name", NAMES)
def test_perfect_prediction_scores_the_floor(name: str) -> None:
    if name in ("reconstruction", "tehor"):
        pytest.importorskip("open3d")
    preset = get_preset(name)
    scores = preset.evaluate([(TRUTH, TRUTH)], ids=["a"])
    assert set(scores.aggregate) == {metric.name for metric in preset.metrics}
    for metric in preset.metrics:
        value = scores.aggregate[metric.name]
        if metric.name.startswith("cd_"):
            count = {"contho": 6000, "rhobin": 6000}.get(name, 10_000)
            area = {"human": BALL.area, "object": BOX.area, "both": BALL.area + BOX.area}[metric.name.split("_")[1]]
            floor = {"cm": 100, "mm": 1000}[metric.unit] * chamfer_floor(area, count)
            assert value == pytest.approx(floor, rel=0.06), metric.name
        else:
            floor = 0.0 if metric.floor is None else metric.floor  # of disjoint shapes nothing penetrates
            assert value == pytest.approx(floor, abs=1e-5), metric.name


def test_area_is_what_the_floor_needs() -> None:
    assert surface_area(BOX.vertices, BOX.faces) == pytest.approx(2 * (0.08 + 0.08 + 0.04))


def test_chore_does_not_see_a_common_similarity_but_the_honest_default_does() -> None:
    moved = _moved(TRUTH, 1.4, TURN, [0.3, 0, 1])
    chore = get_preset("chore")
    perfect = chore.evaluate([(TRUTH, TRUTH)], ids=["a"]).aggregate
    assert chore.evaluate([(moved, TRUTH)], ids=["a"]).aggregate == pytest.approx(perfect, rel=1e-6)
    raw = get_preset("chore", align="none").evaluate([(moved, TRUTH)], ids=["a"]).aggregate
    assert raw["cd_human_cm"] > 50
    rigid = get_preset("chore", align="rigid").evaluate([(moved, TRUTH)], ids=["a"]).aggregate
    assert rigid["cd_human_cm"] > 10 * perfect["cd_human_cm"]
    assert get_preset("chore", area_weighted=True).evaluate([(moved, TRUTH)], ids=["a"]).aggregate == pytest.approx(
        perfect, rel=1e-6
    )


def test_chore_aligns_by_the_body_alone_if_the_objects_meshes_differ() -> None:
    coarse = trimesh.creation.box((0.4, 0.2, 0.2))
    other = replace(TRUTH, object_verts=POSE.apply(coarse.vertices) + np.array([0, 0.5, 0]), object_faces=coarse.faces)
    scores = get_preset("chore").evaluate([(other, TRUTH)], ids=["a"]).aggregate
    assert scores["cd_human_cm"] == pytest.approx(100 * chamfer_floor(BALL.area, 10_000), rel=0.06)
    assert scores["cd_object_cm"] > 40


def test_samples_score_the_same_in_any_order_and_shard() -> None:
    pairs = [(_moved(TRUTH, 1, np.eye(3), [0.01 * k, 0, 0]), TRUTH) for k in range(3)]
    preset = get_preset("contho", align="none", samples=500)
    whole = preset.evaluate(pairs, ids=["a", "b", "c"]).per_sample["cd_human_cm"]
    back = preset.evaluate(pairs[::-1], ids=["c", "b", "a"]).per_sample["cd_human_cm"]
    assert np.array_equal(whole, back[::-1])
    assert preset.evaluate(pairs[1:2], ids=["b"]).per_sample["cd_human_cm"][0] == whole[1]


def test_contho_contact_is_before_alignment_with_skip_lists_by_hand() -> None:
    """Three samples: right; nothing predicted; nothing true. P over 1st and 3rd (1, 0), R over 1st and 2nd (1, 0)."""
    touching = np.linalg.norm(TRUTH.body_verts[:, None] - TRUTH.object_verts[None], axis=-1).min(1) < 0.05  # type: ignore[index]
    assert 0 < touching.sum() < 20
    labelled = replace(TRUTH, body_contact=touching.astype(float))
    away = replace(TRUTH, object_verts=TRUTH.object_verts + np.array([1.0, 0, 0]))
    free = replace(TRUTH, body_contact=np.zeros(len(touching)))
    pairs = [(TRUTH, labelled), (away, labelled), (TRUTH, free)]
    scores = get_preset("contho", samples=50).evaluate(pairs)
    assert scores.per_sample["precision"] == pytest.approx([1, np.nan, 0], nan_ok=True)
    assert scores.per_sample["recall"] == pytest.approx([1, 0, np.nan], nan_ok=True)
    figures = scores.aggregate
    assert (figures["precision"], figures["recall"], figures["f1_of_means"]) == pytest.approx((0.5, 0.5, 0.5))
    assert scores.counts["n_empty_prediction"] == scores.counts["n_empty_truth"] == 1
    counted = get_preset("contho", samples=50, contact_empty="haco").evaluate(pairs)
    assert counted.aggregate["precision"] == pytest.approx(1 / 3)


def test_rhobin_gate() -> None:
    preset = get_preset("rhobin", samples=20)
    good = (TRUTH, TRUTH)
    fine = preset.evaluate([good] * 49 + [(None, TRUTH)])  # 98 % answered
    assert np.isfinite(fine.aggregate["cd_human_mm"])
    assert np.isnan(fine.per_sample["cd_human_mm"][-1])
    lost = preset.evaluate([good] * 48 + [(None, TRUTH)])  # 97.96 %
    assert lost.aggregate == {"cd_human_mm": np.inf, "cd_object_mm": np.inf}
    assert lost.over([[0, 1], [2, 3]])["cd_human_mm"].tolist() == [np.inf, np.inf]
    assert get_preset("rhobin-object").evaluate([(None, TRUTH)]).aggregate == {"average_recall": 0.0}


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("rhobin")])
def test_failures_count_as_the_worst(name: str) -> None:
    preset = get_preset(name)
    scores = preset.evaluate([(None, TRUTH)])
    assert scores.counts["n_failed"] == 1
    for metric in preset.metrics:
        assert scores.aggregate[metric.name] == (0.0 if metric.name == "f1_of_means" else metric.worst), metric.name


def test_tehor_collision_is_the_share_inside() -> None:
    pytest.importorskip("open3d")
    inside = replace(TRUTH, object_verts=TRUTH.object_verts - np.array([0.2, 0, 0]))
    low, high = inside.object_verts.min(0), inside.object_verts.max(0)  # type: ignore[union-attr]
    share = ((TRUTH.body_verts > low) & (TRUTH.body_verts < high)).all(1).mean()
    assert share > 0
    assert get_preset("tehor", samples=50).evaluate([(inside, TRUTH)]).aggregate["collision"] == pytest.approx(share)


def test_gshoi_reads_the_pose() -> None:
    pose = ObjectPose(Rotation.from_euler("z", 30, degrees=True).as_matrix(), POSE.t + np.array([0.03, 0, 0.04]), 1.25)
    found = get_preset("gshoi", samples=50).evaluate([(replace(TRUTH, object_pose=pose), TRUTH)]).aggregate
    assert found["translation_cm"] == pytest.approx(5.0)
    assert found["rotation_deg"] == pytest.approx(30.0)
    assert found["scale"] == pytest.approx(0.25)


def test_hdm_takes_points_as_they_are() -> None:
    cloud = np.arange(4.0)[:, None] * [1, 0, 0]
    truth = Reconstruction(body_verts=cloud, object_verts=cloud + np.array([0, 9.0, 0]))
    said = Reconstruction(body_verts=cloud[:2] + np.array([0.005, 0, 0]), object_verts=cloud)
    scores = get_preset("hdm").evaluate([(said, truth)]).aggregate
    assert scores["fscore_human"] == pytest.approx(2 / 3)  # precision 1, recall 1/2
    assert scores["fscore_object"] == 0.0
    assert scores["fscore_both"] == pytest.approx(2 * (6 / 6) * (4 / 8) / (1.5))  # 6 of 6 lie on the true body


def test_tracks_share_one_similarity_per_window() -> None:
    """Two sequences moved by their own similarity: no error. Frames moved apart within one: an error."""
    first, second = (_moved(TRUTH, s, TURN, [0, 0, s]) for s in (1.2, 0.7))
    preset = get_preset("rhobin-track")
    pairs = [(first, TRUTH)] * 2 + [(second, TRUTH)] * 2
    found = preset.evaluate(pairs, groups=["x", "x", "y", "y"]).aggregate
    assert found["v2v_human_mm"] == pytest.approx(0, abs=1e-6)
    mixed = get_preset("rhobin-track", window=2).evaluate(pairs[1:3], groups=["x", "x"]).aggregate
    assert mixed["v2v_human_mm"] > 50


def test_what_is_missing_is_named() -> None:
    bare = Reconstruction(body_verts=TRUTH.body_verts)
    with pytest.raises(InputError, match=r"sample 7.*`object_verts`"):
        get_preset("chore").evaluate([(bare, TRUTH)], ids=["7"])
    with pytest.raises(InputError, match=r"sample 7, recall.*`camera`"):
        get_preset("rhobin-object").evaluate([(TRUTH, replace(TRUTH, camera=None))], ids=["7"])
    with pytest.raises(InputError, match="one topology"):
        get_preset("chore").evaluate([(replace(TRUTH, body_verts=np.zeros((5, 3))), TRUTH)])
    with pytest.raises(InputError, match="NaN"):
        Reconstruction(body_verts=np.full((5, 3), np.nan))
    with pytest.raises(InputError, match="shape"):
        Reconstruction(object_verts=np.zeros((5, 2)))
