"""Presets of reconstruction evaluators: floors, alignment, skip lists, gates and worst cases, on a ball and a box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import (
    Reconstruction,
    add,
    add_s,
    chamfer_floor,
    contact_counts,
    contact_within,
    get_preset,
    list_presets,
    mspd,
    mssd,
    penetration,
    precision_recall_f1,
    surface_area,
)
from hoirecon.evaluation.metrics.silhouettes import silhouette, silhouette_iou
from hoirecon.mesh import Mesh
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


OFF = ObjectPose(
    Rotation.from_euler("z", 10, degrees=True).as_matrix(), POSE.t + np.array([-0.03, 0.0, 0.0]), 1.1
)  # three centimetres into the ball, turned, too large


def _said(pose: ObjectPose) -> Reconstruction:
    return replace(TRUTH, object_pose=pose, object_verts=pose.apply(BOX.vertices))


def test_the_honest_preset_reports_what_its_functions_say() -> None:
    """Every column beside the pure function of the same name, on a box that is moved, turned and too large."""
    pytest.importorskip("open3d")
    said = _said(OFF)
    found = get_preset("reconstruction").evaluate([(said, TRUTH)], ids=["a"]).aggregate
    assert set(found) == {m.name for m in get_preset("reconstruction").metrics}
    assert found["add_cm"] == pytest.approx(100 * add(OFF, POSE, BOX.vertices))
    assert found["adds_cm"] == pytest.approx(100 * add_s(OFF, POSE, BOX.vertices))
    assert found["adds_auc"] == pytest.approx(1 - add_s(OFF, POSE, BOX.vertices) / 0.1)
    assert found["mssd_cm"] == pytest.approx(100 * mssd(OFF, POSE, BOX.vertices))
    assert found["mspd_px"] == pytest.approx(mspd(OFF, POSE, BOX.vertices, TRUTH.camera))
    assert (found["rotation_deg"], found["translation_cm"], found["scale"]) == pytest.approx((10, 3, 0.1))
    assert found["success"] == 1.0
    body, thing = Mesh(said.body_verts, BALL.faces, "ball"), Mesh(said.object_verts, BOX.faces, "box")
    depth = penetration(body, thing)
    assert depth.max_m > 0
    wanted = (100 * depth.max_m, 100 * depth.mean_m, 1e6 * depth.volume_m3, depth.share_inside)
    told = tuple(found[name] for name in ("penetration_cm", "penetration_mean_cm", "volume_cm3", "collision"))
    assert told == pytest.approx(wanted)
    for name, within in (("f1_5mm", 0.005), ("f1_2cm", 0.02), ("f1_5cm", 0.05), ("f1", 0.02)):
        touches = contact_within(said.body_verts, thing, within)
        truly = contact_within(TRUTH.body_verts, Mesh(TRUTH.object_verts, BOX.faces, "box"), within)
        assert found[name] == pytest.approx(precision_recall_f1(contact_counts(touches, truly)).f1[0]), name


def test_success_needs_both_the_place_and_the_turn() -> None:
    pytest.importorskip("open3d")
    far = ObjectPose(POSE.R, POSE.t + np.array([0, 0.2, 0]), 1.0)
    turned = ObjectPose(Rotation.from_euler("x", 20, degrees=True).as_matrix(), POSE.t, 1.0)
    scores = get_preset("reconstruction").evaluate([(_said(p), TRUTH) for p in (OFF, far, turned)])
    assert scores.per_sample["success"].tolist() == [1, 0, 0]
    assert scores.per_sample["adds_auc"][1] == 0.0  # more than 10 cm off


def test_silhouettes_overlap_by_hand() -> None:
    """A box of 0.4 x 0.2 m at 3 m and 600 px covers 80 x 40 px; moved by half its width the IoU is a third."""
    pytest.importorskip("open3d")
    flat = trimesh.creation.box((0.4, 0.2, 1e-4))
    camera = TRUTH.camera
    assert camera is not None
    placed = [Mesh(np.asarray(flat.vertices) + np.array([x, 0, 3.0]), flat.faces, "plate") for x in (0.0, 0.2, 9.0)]
    assert silhouette(placed[0], camera).sum() == pytest.approx(80 * 40, rel=0.03)
    assert silhouette_iou(placed[0], placed[0], camera) == 1.0
    assert silhouette_iou(placed[1], placed[0], camera) == pytest.approx(1 / 3, abs=0.01)
    assert silhouette_iou(placed[2], placed[0], camera) == 0.0  # out of the picture
    behind = Mesh(placed[0].verts - np.array([0, 0, 5.0]), flat.faces, "plate")
    assert silhouette_iou(behind, placed[0], camera) == 0.0
    whole = camera.cropped(0, 0, 640, 480)
    assert np.array_equal(silhouette(placed[0], whole), silhouette(placed[0], camera))


def test_a_bad_answer_counts_at_most_what_none_counts() -> None:
    pytest.importorskip("open3d")
    lost = _said(ObjectPose(POSE.R, POSE.t + np.array([30.0, 0, -10.0]), 1.0))  # behind the camera, too
    scores = get_preset("reconstruction").evaluate([(lost, TRUTH), (None, TRUTH)])
    for name, values in scores.per_sample.items():
        if name in (
            "surface_object_cm",
            "translation_cm",
            "add_cm",
            "adds_cm",
            "mssd_cm",
            "mspd_px",
            "iou",
            "adds_auc",
        ):
            assert values[0] == values[1], name
    free = get_preset("reconstruction", capped=False).evaluate([(lost, TRUTH)]).aggregate
    assert free["translation_cm"] > 3000
    assert free["mspd_px"] == 1000.0  # infinite, which no mean survives


def test_without_a_camera_pixels_are_left_out_also_of_failures() -> None:
    pytest.importorskip("open3d")
    blind = replace(TRUTH, camera=None)
    scores = get_preset("reconstruction").evaluate([(TRUTH, blind), (None, blind)])
    assert not {"mspd_px", "iou"} & set(scores.aggregate)
    assert scores.aggregate["success"] == 0.5


def test_rhobin_object_counts_an_object_behind_the_camera_as_missed() -> None:
    behind = _said(ObjectPose(POSE.R, POSE.t - np.array([0, 0, 9.0]), 1.0))
    found = get_preset("rhobin-object").evaluate([(behind, TRUTH)]).aggregate
    assert found["average_recall"] == pytest.approx(1 / 3)  # its turn is right


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


def test_which_frames_decide_a_track_does_not_hang_on_what_was_answered() -> None:
    """Every 10th frame of the window decides; with the first ones failed, counting the answered would take others."""
    rng = np.random.default_rng(0)
    frames = [_moved(TRUTH, 1 + 0.1 * rng.random(), np.eye(3), list(0.1 * rng.random(3))) for _ in range(20)]
    preset, groups = get_preset("rhobin-track", missing="worst"), ["x"] * 20
    whole = preset.evaluate([(one, TRUTH) for one in frames], groups=groups).per_sample["v2v_object_mm"]
    lost = preset.evaluate([(None if k in (3, 4) else one, TRUTH) for k, one in enumerate(frames)], groups=groups)
    kept = [k for k in range(20) if k not in (3, 4)]
    assert np.array_equal(lost.per_sample["v2v_object_mm"][kept], whole[kept])
    alone = preset.evaluate([(frames[5] if k == 5 else None, TRUTH) for k in range(20)], groups=groups)
    assert alone.per_sample["v2v_object_mm"][5] == pytest.approx(0, abs=1e-6)  # none of those that decide: all others


def test_a_track_of_another_mesh_is_named() -> None:
    other = replace(TRUTH, object_verts=np.zeros((5, 3)))
    with pytest.raises(InputError, match=r"sample b: .*vertex by vertex"):
        get_preset("rhobin-track").evaluate([(TRUTH, TRUTH), (other, TRUTH)], ids=["a", "b"], groups=["b", "x"])


def test_what_is_missing_is_named() -> None:
    bare = Reconstruction(body_verts=TRUTH.body_verts)
    with pytest.raises(InputError, match=r"sample 7.*`object_verts`"):
        get_preset("chore").evaluate([(bare, TRUTH)], ids=["7"])
    with pytest.raises(InputError, match=r"sample 7, recall.*`template`"):
        get_preset("rhobin-object").evaluate([(TRUTH, replace(TRUTH, template=None))], ids=["7"])
    with pytest.raises(InputError, match="one topology"):
        get_preset("chore").evaluate([(replace(TRUTH, body_verts=np.zeros((5, 3))), TRUTH)])
    with pytest.raises(InputError, match="NaN"):
        Reconstruction(body_verts=np.full((5, 3), np.nan))
    with pytest.raises(InputError, match="shape"):
        Reconstruction(object_verts=np.zeros((5, 2)))


def test_a_truth_without_a_camera_has_no_recall_and_stops_nobody_elses() -> None:
    """RHOBIN's reference names a camera for two of its three datasets."""
    pairs = [(TRUTH, TRUTH), (TRUTH, replace(TRUTH, camera=None))]
    found = get_preset("rhobin-object").evaluate(pairs)
    assert np.isnan(found.per_sample["average_recall"]).tolist() == [False, True]
    assert found.aggregate["average_recall"] == 1.0
