"""The benchmark's machinery: protocol, failures, resuming, JSON; with methods that need no fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoirecon.cli_bench import parse_seeds, table
from hoirecon.errors import InputError
from hoirecon.evaluation import bench, methods
from hoirecon.evaluation.bench import run_bench
from hoirecon.evaluation.methods import METHODS, ORACLES, Prediction, Problem
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
    found = run_bench("L0", ["hoirecon", "oracle-start"], [0])
    assert found["methods"]["hoirecon"]["chamfer_object_cm"]["median"] < 3
    assert found["methods"]["oracle-start"]["chamfer_object_cm"]["median"] < 3
    assert "from_truth" in found["methods"]["hoirecon"]["oracle_gap"]


@pytest.mark.slow
def test_our_own_methods_beat_doing_nothing() -> None:
    found = run_bench("L0", ["hoirecon", "hoirecon-joint", "nothing"], [0])["methods"]
    nothing = found["nothing"]["chamfer_object_cm"]["median"]
    for name in ("hoirecon", "hoirecon-joint"):
        assert found[name]["n_failed"] == 0
        assert found[name]["chamfer_object_cm"]["median"] < 0.3 * nothing
