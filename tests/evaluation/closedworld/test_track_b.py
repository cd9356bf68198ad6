"""Track B: evidence is spoilt as said, contact is handed on as said, and ratios are paired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.contact.training.front_end import FrontEnd
from hoirecon.contact_map import ContactMap
from hoirecon.data.closedworld import ClosedWorldScene, load_scene, observe_scene
from hoirecon.data.closedworld.landmarks import true_landmarks
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld import methods
from hoirecon.evaluation.closedworld.methods import METHODS, Prediction, Problem
from hoirecon.evaluation.closedworld.track_b import TrackB, run_track_b, trained_on
from hoirecon.evaluation.closedworld.track_b_contact import (
    ContactOptions,
    Sources,
    Told,
    azimuth_of,
    blazepose_landmarks,
    observation_with_landmarks,
    reshaped,
    sides_of,
)
from hoirecon.evaluation.closedworld.track_b_page import mean_difference, page, ratio_of_medians, touching

pytest.importorskip("open3d")
SEED = 0


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store of scenes that goes away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOIRECON_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def scene() -> ClosedWorldScene:
    return load_scene(SEED)


# ---------------------------------------------------------------------------------------------------- what is handed on
def test_odds_are_shifted_so_that_the_threshold_becomes_one_half() -> None:
    contact = ContactMap([0.0, 0.25, 0.4, 1.0], "mesh")
    shifted = reshaped(contact, 0.25, "shifted").probability
    assert shifted.tolist() == pytest.approx([0, 0.5, 2 / 3, 1])  # odds 2/3 times 3 are 2 to 1
    assert reshaped(contact, 0.25, "hard").probability.tolist() == [0, 0, 1, 1]
    assert reshaped(contact, 0.25, "soft") is contact
    assert reshaped(contact, 0.5, "shifted").probability == pytest.approx(contact.probability)


def test_sources_have_two_sides() -> None:
    assert sides_of("given+geometric") == ("given", "geometric")
    assert sides_of("tiny") == ("tiny", "tiny")
    for wrong in ("magic", "tiny+", "tiny+magic", "none+given"):
        with pytest.raises(InputError, match=r"no source|one side only"):
            sides_of(wrong)


@pytest.mark.parametrize("changes", [{"form": "wild"}, {"landmarks": "truth"}, {"threshold": 0.0}])
def test_wrong_options_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ContactOptions(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"seeds": ()}, {"seeds": (1, 1)}, {"sources": ()}, {"sources": ("magic",)}, {"method": "magic"},
     {"options": ContactOptions(parts=True), "method": "hoirecon-object"}],
)  # fmt: skip
def test_wrong_comparisons_are_refused_before_any_work(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        TrackB(**{"seeds": (1,), **changes})


# ------------------------------------------------------------------------------------------------------------ evidence
@pytest.mark.parametrize(("turn", "expected"), [(0, 0), (90, -90), (-90, 90), (180, 180)])
def test_the_cameras_direction_is_told_from_the_body(turn: float, expected: float) -> None:
    """A person who faces the camera is seen from in front; who turns left (about y, up) shows the right side."""
    faces_camera = Rotation.from_euler("x", 180, degrees=True)
    orient = (faces_camera * Rotation.from_euler("y", turn, degrees=True)).as_rotvec()
    seen: Any = SimpleNamespace(params=SimpleNamespace(global_orient=orient), body_verts=np.array([[0, 0, 3.0]] * 2))
    assert (azimuth_of(seen) - expected + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


def test_landmarks_without_noise_are_the_true_ones(scene: ClosedWorldScene) -> None:
    found, true = blazepose_landmarks(scene, front_end=FrontEnd(noise=0)), true_landmarks(scene)
    assert np.abs(found.xy - scene.camera.project(true)).max() < 0.05
    assert found.xyz is not None
    assert np.abs(found.xyz - (true - true[[23, 24]].mean(0))).max() < 1e-5


def test_landmarks_are_off_by_centimetres_and_drawn_by_seed(scene: ClosedWorldScene) -> None:
    one, again, other = (blazepose_landmarks(scene, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.xy, again.xy)
    assert not np.array_equal(one.xy, other.xy)
    true = true_landmarks(scene)
    metres = (one.xy - scene.camera.project(true)) * true[:, 2:].mean() / scene.camera.focal[1]
    assert 0.005 < np.median(np.linalg.norm(metres, axis=1)) < 0.15


def test_the_fits_own_landmarks_stay_the_levels(scene: ClosedWorldScene) -> None:
    given = observe_scene(scene, "L2")
    told, level = observation_with_landmarks(scene, given), observation_with_landmarks(scene, given, "level")
    assert given.observation.keypoints is not None
    assert told.keypoints is not None
    assert level.keypoints is not None
    assert given.observation.keypoints.xyz is None
    assert np.array_equal(level.keypoints.xy, given.observation.keypoints.xy)
    assert not np.array_equal(told.keypoints.xy, level.keypoints.xy)
    assert level.keypoints.xyz is not None


def test_sides_come_from_where_the_name_says(scene: ClosedWorldScene) -> None:
    given, sources = observe_scene(scene, "L2"), Sources()
    assert given.contacts is not None
    both, mixed = sources.tell("given", scene, given), sources.tell("given+geometric", scene, given)
    assert both is not None
    assert mixed is not None
    assert mixed.body is given.contacts[0]
    assert not np.array_equal(mixed.object.probability, both.object.probability)
    assert sources.tell("none", scene, given) is None
    assert sources.tell("given+geometric", scene, replace(given, contacts=None)) is None


# ------------------------------------------------------------------------------------------------------------- the run
@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """A fit that is right if it is given contact and lost if not; every problem that it saw."""
    seen: list[Problem] = []

    def quick(problem: Problem) -> Prediction:
        seen.append(problem)
        if problem.contacts is None:
            return methods.predict_nothing(problem)
        return Prediction(load_scene(problem.seed).pose)

    monkeypatch.setitem(METHODS, "quick", quick)
    return seen


def test_the_fit_gets_each_sources_contact_and_rows_are_kept(fits: list[Problem], tmp_path: Path) -> None:
    track = TrackB((SEED,), ("given", "none"), "L0", method="quick")
    rows = run_track_b(track, results=tmp_path)
    assert [p.contacts is None for p in fits] == [False, True]
    assert rows["given"][0]["chamfer_object_cm"] < rows["none"][0]["chamfer_object_cm"]
    assert rows["given"][0]["contact_f1_body"] == 1
    assert rows["given"][0]["trained_on"] == trained_on(load_scene(SEED))
    assert run_track_b(track, results=tmp_path) == rows
    assert len(fits) == 2
    run_track_b(replace(track, options=ContactOptions(form="hard")), results=tmp_path)
    assert len(fits) == 4


def test_rows_of_other_means_are_not_taken_for_these(
    fits: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The means depend on how many sets of training scenes they are of (--shards)."""
    track = TrackB((SEED,), ("given", "category-mean"), "L0", method="quick")
    monkeypatch.setattr(Sources, "tell", lambda *_: None)
    for shards, fitted in ((3, 2), (3, 2), (1, 3)):
        run_track_b(track, Sources(track.options, shards=shards), tmp_path)
        assert len(fits) == fitted


def test_contact_on_one_side_only_is_not_handed_on(fits: list[Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    def body_only(self: Sources, name: str, scene: ClosedWorldScene, given: Any, noise_seed: int = 0) -> Told:
        return Told(given.contacts[0], ContactMap.none(len(given.mesh.verts), given.mesh.topology))

    monkeypatch.setattr(Sources, "tell", body_only)
    row = run_track_b(TrackB((SEED,), ("given",), "L0", method="quick"))["given"][0]
    assert fits[0].contacts is None
    assert row["handed"] is False


def test_a_fit_that_raises_counts_as_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(problem: Problem) -> Prediction:
        raise RuntimeError("no")

    monkeypatch.setitem(METHODS, "quick", breaks)
    row = run_track_b(TrackB((SEED,), ("given",), "L0", method="quick"))["given"][0]
    assert row["failed"] == "RuntimeError: no"
    assert row["chamfer_object_cm"] == 100


# -------------------------------------------------------------------------------------------------------------- figures
def test_ratios_are_paired() -> None:
    values = np.random.default_rng(0).uniform(1, 9, 25)
    ratio = ratio_of_medians(2 * values, values)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))  # unpaired draws would spread it
    difference = mean_difference(values + 1, values)
    assert (difference.value, difference.low, difference.high) == pytest.approx((1, 1, 1))
    with pytest.raises(InputError, match="same scenes"):
        ratio_of_medians(values, values[1:])


def test_the_page_says_who_keeps_to_the_goal() -> None:
    def row(cm: float, seen: bool, what: str = "hold") -> dict[str, Any]:
        return {"chamfer_object_cm": cm, "interaction": what, "trained_on": seen, "failed": None, "handed": True,
                "contact_f1_body": 0.5, "contact_f1_thing": None}  # fmt: skip

    track = TrackB(tuple(range(1000, 1004)), ("given", "geometric", "none"))
    kinds = [(True, "hold"), (True, "hold"), (False, "hold"), (False, "no_contact")]
    rows = {
        name: [row(factor, seen, what) for seen, what in kinds]
        for name, factor in (("given", 2.0), ("geometric", 2.6), ("none", 9.0))
    }
    text = page(track, rows, "the command")
    assert "`geometric`: 1.30 [1.30, 1.30] times the median of `given`, within 1.4" in text
    assert "`none`: 4.50 [4.50, 4.50] times the median of `given`, **not within**" in text
    assert "reporting half" in text
    assert [touching(r) for r in rows["given"]] == [True, True, True, False]
    assert "| geometric | 1 |" in text.split("never saw")[1]
