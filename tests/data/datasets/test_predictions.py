"""Predictions as files: what is written is what is read, and bad files are named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from hoirecon.data.datasets.predictions import (
    Prediction,
    prediction_name,
    read_prediction,
    read_predictions,
    write_prediction,
    write_predictions,
)
from hoirecon.errors import InputError
from hoirecon.pose import ObjectPose

QUARTER = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])


def whole() -> Prediction:
    rng = np.random.default_rng(0)
    contact = np.where(rng.random(50) < 0.2, rng.random(50), 0.0)
    return Prediction(
        "Date03_Sub03/t0005.000 é",
        body_contact=contact,
        topology="standin-50",
        by_object={"sports ball": contact[::-1], "chair": np.zeros(50)},
        object_contact=rng.random(7),
        affordance=rng.random(9),
        object_pose=ObjectPose(QUARTER, [0.1, 0.2, 1 / 3], 0.7),
        object_verts=rng.normal(size=(7, 3)),
        body_verts=rng.normal(size=(50, 3)),
        body_joints=rng.normal(size=(24, 3)),
        body_params={"pose": rng.normal(size=156), "Rh": rng.normal(size=(3, 3))},
        seconds=1.25,
        notes=("first", "second"),
    )


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_every_field_comes_back_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    said = whole()
    back = read_prediction(write_prediction(said, tmp_path, suffix))
    for name in ("body_contact", "object_contact", "affordance", "object_verts", "body_verts", "body_joints"):
        assert np.array_equal(getattr(back, name), getattr(said, name)), name
    assert list(back.by_object) == ["sports ball", "chair"]
    assert all(np.array_equal(back.by_object[k], v) for k, v in said.by_object.items())
    assert all(np.array_equal(back.body_params[k], v) for k, v in said.body_params.items())
    assert back.object_pose is not None
    assert said.object_pose is not None
    assert np.array_equal(back.object_pose.T_cam_obj, said.object_pose.T_cam_obj)
    assert (back.id, back.topology, back.seconds, back.notes) == (said.id, said.topology, 1.25, said.notes)


def test_a_failure_is_a_prediction_too(tmp_path: Path) -> None:
    back = read_prediction(write_prediction(Prediction("x", failed="out of memory"), tmp_path))
    assert (back.failed, back.body_contact, back.object_pose) == ("out of memory", None, None)


def test_names_of_files_never_leave_the_folder(tmp_path: Path) -> None:
    for id in ("../../etc/passwd", "..", ".", "a/b", "C:\\x", "é" * 300, "nul\0"):
        path = write_prediction(Prediction(id, failed="no"), tmp_path)
        assert path.parent == tmp_path
        assert read_prediction(path).id == id
    assert prediction_name("é" * 300) != prediction_name("é" * 301)


def test_ids_that_begin_with_a_dot_are_not_passed_over(tmp_path: Path) -> None:
    for id in (".hidden/1", ".", "..", "a"):
        write_prediction(Prediction(id, affordance=[0.5]), tmp_path)
    assert sorted(read_predictions(tmp_path)) == [".", "..", ".hidden/1", "a"]


def test_a_folder_comes_back_by_id_and_an_id_answers_once(tmp_path: Path) -> None:
    assert write_predictions([Prediction(k, failed="no") for k in "abc"], tmp_path) == 3
    (tmp_path / "readme.txt").write_text("not a prediction")
    assert sorted(read_predictions(tmp_path)) == ["a", "b", "c"]
    write_prediction(Prediction("a", failed="again"), tmp_path, ".json")
    with pytest.raises(InputError, match="both answer 'a'"):
        read_predictions(tmp_path)
    with pytest.raises(InputError, match="two predictions for 'a'"):
        write_predictions([Prediction("a"), Prediction("a")], tmp_path / "twice")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "other"}, "not a prediction of this library"),
        ({"schema_version": 9}, "schema version 9"),
        ({"sizes": {"body_contact": 2}}, "names vertices"),
        ({"sizes": {"body_contact": "many"}}, "'many' vertices"),
        ({"id": 7}, "question's id"),
        ({"notes": None}, "not a whole prediction"),
    ],
)
def test_changed_headers_are_named(change: dict[str, object], says: str, tmp_path: Path) -> None:
    path = write_prediction(Prediction("a", body_contact=[0, 0, 0.5, 1.0]), tmp_path, ".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=says):
        read_prediction(path)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"R": np.diag([1, 1, -1.0]).tolist(), "t": [0, 0, 1], "s": 1}, "det -1"),
        ({"R": np.eye(3).tolist(), "t": [0, 0, None], "s": 1}, "NaN"),
        ({"body_contact_ids": [0, 0], "body_contact_scores": [0.5, 0.6]}, "twice"),
        ({"body_contact_ids": [0], "body_contact_scores": [1.5]}, "lie in"),
        ({"body_contact_ids": [10**20], "body_contact_scores": [0.5]}, "not a whole prediction"),
        ({"body_contact_ids": [0], "body_contact_scores": [0.5, 0.5]}, "ids and"),
    ],
)
def test_impossible_values_are_named(arrays: dict[str, object], says: str, tmp_path: Path) -> None:
    path = write_prediction(Prediction("a", body_contact=[0.5, 0, 0]), tmp_path, ".json")
    held = json.loads(path.read_text())
    held["arrays"] |= arrays
    path.write_text(json.dumps(held))
    with pytest.raises(InputError, match=says):
        read_prediction(path)


def test_pickles_and_rubbish_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="damaged"):
        read_prediction(path)
    np.savez(path, header=np.array({"a": 1}, dtype=object))
    with pytest.raises(InputError, match="expected numbers"):
        read_prediction(path)
    with pytest.raises(InputError, match="does not exist"):
        read_prediction(tmp_path / "none.npz")
    with pytest.raises(InputError, match="not a folder"):
        read_predictions(tmp_path / "none")


def test_values_that_no_answer_can_have() -> None:
    with pytest.raises(InputError, match="NaN"):
        Prediction("a", body_contact=[np.nan])
    with pytest.raises(InputError, match="shape"):
        Prediction("a", body_verts=np.zeros((3, 2)))
    with pytest.raises(InputError, match="question's id"):
        Prediction("")
