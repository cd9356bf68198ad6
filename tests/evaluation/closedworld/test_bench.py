"""The benchmark's machinery: protocol, failures, resuming, JSON; with methods that need no fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoirecon.cli_bench import table
from hoirecon.cli_values import parse_seeds
from hoirecon.data.closedworld import load_scene, observe_scene
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld import bench, methods
from hoirecon.evaluation.closedworld.bench import run_bench
from hoirecon.evaluation.closedworld.methods import METHODS, ORACLES, Prediction, Problem
from hoirecon.evaluation.closedworld.summary import WORST, summary
from hoirecon.pose import ObjectPose

pytest.importorskip("open3d")


def _truth(problem: Problem) -> Prediction:
    assert problem.truth is not None
    return Prediction(problem.truth, flags=("ambiguous",))


def _breaks(problem: Problem) -> Prediction:
    raise InputError("no idea")


def _guesses(problem: Problem) -> Prediction:
    said = methods.predict_nothing(problem)
    near = ObjectPose(said.pose.R, said.pose.t + np.array([0, 0, 0.01]))
    return replace(said, alternatives=(near,))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three methods of our own, and a store that goes away."""
    for name, method in (("truth", _truth), ("breaks", _breaks), ("guesses", _guesses)):
        monkeypatch.setitem(METHODS, name, method)
    monkeypatch.setattr(methods, "ORACLES", ORACLES | {"truth"})
    monkeypatch.setattr(bench, "ORACLES", ORACLES | {"truth"})
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("known")
def test_the_truth_scores_perfectly_and_failures_count_as_worst(tmp_path: Path) -> None:
    found = run_bench("L2", ["truth", "breaks", "guesses"], [0, 13], results=tmp_path / "rows")
    truth, broken, guessed = (found["methods"][n] for n in ("truth", "breaks", "guesses"))
    assert truth["chamfer_object_cm"]["median"] == pytest.approx(0, abs=1e-3)
    assert truth["share_below_2_5cm"] == 1.0
    assert truth["rotation_deg"]["median"] == pytest.approx(0, abs=1e-3)
    assert truth["iou_full"]["median"] > 0.99
    assert (broken["n"], broken["n_failed"], broken["share_below_5cm"]) == (2, 2, 0.0)
    assert broken["chamfer_object_cm"]["median"] == 100.0
    assert all("no idea" in said for said in broken["failures"].values())
    assert truth["chamfer_object_cm"]["median"] < guessed["chamfer_object_cm"]["median"] < 100
    assert json.loads(json.dumps(found, allow_nan=False))["level"] == "L2"
    assert "truth" in table(found)
    assert len(list((tmp_path / "rows").iterdir())) == 6


@pytest.mark.usefixtures("known")
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_bench("L0", ["guesses"], [13], results=tmp_path)
    monkeypatch.setitem(METHODS, "guesses", _breaks)
    assert run_bench("L0", ["guesses"], [13], results=tmp_path)["methods"] == first["methods"]
    assert run_bench("L1", ["guesses"], [13], results=tmp_path)["methods"]["guesses"]["n_failed"] == 1


@pytest.mark.usefixtures("known")
def test_only_oracles_are_told_the_truth_and_only_the_tracks_evidence_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Problem] = []

    def watches(problem: Problem) -> Prediction:
        seen.append(problem)
        return methods.predict_nothing(problem)

    monkeypatch.setitem(METHODS, "watches", watches)
    for track in ("contact", "correspondences", "predicted", "none"):
        run_bench("L2", ["watches"], [0], track=track)
    assert all(p.truth is None for p in seen)
    assert [p.contacts is not None for p in seen] == [True, True, True, False]
    assert [p.correspondences is not None for p in seen] == [False, True, False, False]
    assert seen[0].contacts is not None
    assert seen[2].contacts is not None
    assert not np.array_equal(seen[0].contacts[0].probability, seen[2].contacts[0].probability)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["magic"]}, "there are: .*hoirecon"),
        ({"level": "L7"}, "L0, L1"),
        ({"seeds": []}, "needs scenes"),
        ({"seeds": [-3]}, "0 or more"),
        ({"track": "telepathy"}, "contact, correspondences"),
        ({"split": "training"}, "tune, report, all"),
        ({"jobs": 0}, "needs scenes"),
    ],
)
def test_mistakes_are_named_before_any_work(changes: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"level": "L0", "methods": ["nothing"], "seeds": [0]}
    with pytest.raises(InputError, match=message):
        run_bench(**(settings | changes))


def test_seeds_are_read_half_open() -> None:
    assert parse_seeds("0:3") == [0, 1, 2]
    assert parse_seeds("1000:1002,5") == [1000, 1001, 5]
    for text in ("a:b", "3:3", ""):
        with pytest.raises(InputError):
            parse_seeds(text)


@pytest.mark.slow
def test_the_fit_and_its_oracle_on_one_scene() -> None:
    found = run_bench("L0", ["hoirecon-object", "oracle-start"], [0])
    assert found["methods"]["hoirecon-object"]["chamfer_object_cm"]["median"] < 3
    assert found["methods"]["oracle-start"]["chamfer_object_cm"]["median"] < 3
    assert "from_truth" in found["methods"]["hoirecon-object"]["oracle_gap"]


@pytest.mark.slow
def test_our_own_methods_beat_doing_nothing() -> None:
    found = run_bench("L0", ["hoirecon", "hoirecon-object", "nothing"], [0])["methods"]
    nothing = found["nothing"]["chamfer_object_cm"]["median"]
    for name in ("hoirecon", "hoirecon-object"):
        assert found[name]["n_failed"] == 0
        assert found[name]["chamfer_object_cm"]["median"] < 0.3 * nothing


@pytest.mark.usefixtures("known")
def test_rows_keep_the_pose_and_a_moved_body() -> None:
    scene = load_scene(13)
    given = observe_scene(scene, "L2")
    moved = given.body
    said = Prediction(scene.pose, body=moved)
    kept = json.loads(json.dumps(bench.placement(said)))
    pose = ObjectPose(kept["pose"]["R"], kept["pose"]["t"], kept["pose"]["s"])
    assert np.abs(pose.apply(scene.mesh.verts) - scene.pose.apply(scene.mesh.verts)).max() < 1e-4
    again = scene.body_model.pose(moved.params.replace(**kept["body"]))
    assert np.abs(again.verts - moved.verts).max() < 1e-3
    assert "body" not in bench.placement(Prediction(scene.pose))


@pytest.mark.usefixtures("known")
def test_body_errors_are_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    def true_body(problem: Problem) -> Prediction:
        return replace(methods.predict_nothing(problem), body=load_scene(problem.seed).body)

    monkeypatch.setitem(METHODS, "true-body", true_body)
    row = run_bench("L2", ["true-body"], [0])["scenes"]["true-body"][0]
    assert row["landmarks_given_cm"] > 0.5
    assert row["landmarks_cm"] == pytest.approx(0, abs=0.01)
    assert row["touching_cm"] == pytest.approx(0, abs=0.01)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"chamfer_object_cm": None}, "holds"),
        ({"chamfer_object_cm": "1 cm"}, "holds"),
        ({"seed": 12}, "another scene"),
        ({"flags": ...}, "lacks flags"),
    ],
)
def test_damaged_results_are_refused(tmp_path: Path, damage: dict[str, object], message: str) -> None:
    run_bench("L0", ["guesses"], [13], results=tmp_path / "rows")
    (path,) = (tmp_path / "rows").iterdir()
    row = {k: v for k, v in (json.loads(path.read_text()) | damage).items() if v is not ...}
    path.write_text(json.dumps(row))
    with pytest.raises(InputError, match=message):
        run_bench("L0", ["guesses"], [13], results=tmp_path / "rows")
    path.write_text('{"seed": 13')
    with pytest.raises(InputError, match=r"not JSON.*delete it"):
        run_bench("L0", ["guesses"], [13], results=tmp_path / "rows")


def test_the_stated_chance_of_a_failure_is_held_against_the_failures() -> None:
    """Worked by hand: failures say .9 and .3, successes .3, .1 and nothing: 3 pairs of 4 in order, one even."""
    told = [(6.0, 0.9), (9.0, 0.3), (1.0, 0.3), (2.0, 0.1), (3.0, None)]
    rows = [
        {**WORST, "scene": str(k), "seed": k, "failed": None, "category": "box", "interaction": "sit", "occluded": 0.1,
         "chamfer_object_cm": cm, "chamfer_best_cm": cm, "chance_far": chance, "cpu_seconds": 1.0}
        for k, (cm, chance) in enumerate(told)
    ]  # fmt: skip
    flag = summary(rows)["ambiguous"]
    assert flag["chance_auc"] == pytest.approx(3.5 / 4)
    assert flag["failures_expected"] == pytest.approx(1.6)
    assert summary(rows[2:])["ambiguous"]["chance_auc"] is None


def test_groups_of_scenes_have_their_own_figures() -> None:
    rows = [
        {**WORST, "scene": str(k), "seed": k, "failed": None, "category": "box", "interaction": what,
         "occluded": hidden, "chamfer_object_cm": cm, "chamfer_best_cm": cm / 2, "flags": flags, "cpu_seconds": 1.0}
        for k, (what, hidden, cm, flags) in enumerate(
            [("sit", 0.1, 1.0, []), ("sit", 0.4, 6.0, ["ambiguous"]), ("no_contact", 0.5, 30.0, [])]
        )
    ]  # fmt: skip
    found = summary(rows)
    assert found["chamfer_object_cm"]["median"] == 6.0
    assert (found["with_contact"]["n"], found["with_contact"]["chamfer_object_cm"]["median"]) == (2, 3.5)
    assert found["without_contact"]["chamfer_object_cm"]["median"] == 30.0
    assert found["by_occlusion"][">0.30"]["chamfer_object_cm"]["median"] == 6.0
    assert found["with_contact"]["oracle_gap"]["share_loss"] == 0.5
    flag = found["with_contact"]["ambiguous"]
    assert (flag["share_of_failures_flagged"], flag["share_of_successes_flagged"], flag["failures"]) == (1.0, 0.0, 1)
    assert flag["chance_auc"] is None
    assert found["by_interaction"]["sit"]["n"] == 2
