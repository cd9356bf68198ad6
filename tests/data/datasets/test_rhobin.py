"""RHOBIN's pickles: both come back exactly, ours can be read by plain pickle, hostile ones cannot act."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.fixtures.placed import thing
from hoirecon.data.datasets.fixtures.rhobin import FRAMES, IDS, VIDEO, write_rhobin, write_rhobin_single
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.rhobin import open_rhobin, read_rhobin_results, write_rhobin_results
from hoirecon.data.datasets.samples import ReconstructionTruth
from hoirecon.errors import InputError
from hoirecon.evaluation.runs.foreign import read_answers
from hoirecon.evaluation.tasks import get_task
from hoirecon.pose import ObjectPose


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_reference_comes_back_exactly(protocol: int, tmp_path: Path) -> None:
    held = write_rhobin(tmp_path, protocol=protocol)
    data = open_dataset("rhobin", tmp_path)
    assert [s.id for s in data] == [*IDS, *(f"{VIDEO}/{k:05d}" for k in range(FRAMES))]
    assert data.stand_in
    for sample in data:
        id, _, frame = sample.id.partition("/")
        row = held["annotations"][id]
        true = {k: v[int(frame)] if frame else v for k, v in row.items() if k != "meta"}
        said = sample.truth["reconstruction"]
        assert isinstance(said, ReconstructionTruth)
        assert said.object_pose is not None
        assert np.array_equal(said.object_pose.R, true["obj_rot"])
        assert np.array_equal(said.object_pose.t, true["obj_trans"])
        assert all(np.array_equal(said.body_params[k], true[k]) for k in ("pose", "betas", "trans"))
        assert sample.question.object_mesh is not None
        assert np.array_equal(sample.question.object_mesh.verts, held["templates"]["box"]["verts"])
        symmetries = sample.question.extra["symmetries"]
        assert np.array_equal(symmetries[0], np.eye(4))
        assert (symmetries.shape, symmetries[1, 0].tolist()) == ((2, 4, 4), [-1, 0, 0, 0.1])
        assert sample.question.camera is not None
        assert sample.question.camera.K[0, 0] == 979.784
        assert (sample.question.extra["gender"], sample.group, sample.category) == ("male", id, "box")


def test_single_images_come_back_exactly_with_vertices(tmp_path: Path) -> None:
    rows = write_rhobin_single(tmp_path)
    data = open_dataset("rhobin", tmp_path, "val")
    assert ([s.id for s in data], data.version) == (list(rows), "gt")
    for sample in data:
        true, said = rows[sample.id], sample.truth["reconstruction"]
        assert isinstance(said, ReconstructionTruth)
        assert said.object_pose is not None
        assert np.array_equal(said.body_verts, true["verts_smpl"])
        assert np.array_equal(said.object_verts, true["verts_obj"])
        assert np.abs(said.object_pose.apply(thing()[0]) - true["verts_obj"]).max() < 1e-9
        assert np.array_equal(said.body_params["pose"], true["pose"])
        assert (sample.question.image is not None) == (sample.id == IDS[0])
        assert said.topology == "standin-6890"
    path = tmp_path / "val" / "gt" / f"{IDS[0]}.pkl"
    for changes, says in (
        ({"verts_obj": 1000 * rows[IDS[0]]["verts_obj"]}, "millimetres"),
        ({"pose": np.zeros(72)}, "72 and 3 numbers"),
        ({"verts_smpl": np.full((6890, 3), np.nan)}, "NaN"),
        ({"gender": _Evil()}, "was not executed"),
    ):
        path.write_bytes(pickle.dumps({**rows[IDS[0]], **changes}))
        with pytest.raises(InputError, match=says):
            data[0]
    with pytest.raises(InputError, match="no train/gt"):
        open_rhobin(tmp_path, "train")


def test_frames_of_a_video_know_their_window(tmp_path: Path) -> None:
    write_rhobin(tmp_path)
    windows = [s.question.extra.get("window") for s in open_rhobin(tmp_path)]
    assert windows == [None, None, None, 0, 0, 0]
    with pytest.raises(InputError, match="reference of 'test'"):
        open_rhobin(tmp_path, "val")


def test_results_come_back_exactly_and_ours_are_read_by_plain_pickle(tmp_path: Path) -> None:
    held = write_rhobin(tmp_path)
    said = read_rhobin_results(tmp_path / "res" / "results.pkl")
    assert len(said) == len(IDS) + FRAMES
    images = [said[id] for id in IDS]
    path = tmp_path / "ours.pkl"
    assert write_rhobin_results([*images, Prediction("x", failed="none")], path) == 3
    plain = pickle.loads(path.read_bytes())  # our own file
    assert list(plain) == list(IDS)
    for id in IDS:
        assert all(np.array_equal(plain[id][k], held["annotations"][id][k]) for k in plain[id])
        assert sorted(plain[id]) == ["betas", "obj_rot", "obj_trans", "pose", "trans"]
    assert b"numpy._core" not in path.read_bytes()  # numpy 1 has no such module
    again = read_rhobin_results(path)
    assert np.array_equal(again[IDS[0]].body_params["pose"], said[IDS[0]].body_params["pose"])


def test_a_batch_of_one_answers_the_image_that_is_asked(tmp_path: Path) -> None:
    held = write_rhobin(tmp_path)
    rows = {id: {k: np.asarray(v)[None] for k, v in held["annotations"][id].items() if k != "meta"} for id in IDS}
    path = tmp_path / "batched.pkl"
    path.write_bytes(pickle.dumps(rows))
    assert list(read_rhobin_results(path)) == [f"{id}/00000" for id in IDS]  # a video, for all that is known
    said = read_rhobin_results(path, ids=IDS)
    assert list(said) == list(IDS)
    assert np.array_equal(said[IDS[1]].body_params["pose"], held["annotations"][IDS[1]]["pose"])
    task = get_task("rhobin/joint")
    assert list(read_answers(path, task, task.open(tmp_path))) == list(IDS)


def test_vertices_and_points_stand_where_parameters_do_not(tmp_path: Path) -> None:
    path, rng = tmp_path / "r.pkl", np.random.default_rng(0)
    verts, joints, points = rng.normal(size=(6890, 3)), rng.normal(size=(24, 3)), rng.normal(size=(60, 3))
    write_rhobin_results(
        [
            Prediction("a", body_verts=verts, body_joints=joints, object_pose=ObjectPose(np.eye(3), [0, 0, 1])),
            Prediction("b", body_verts=points, object_verts=points + 1),
        ],
        path,
    )
    plain = pickle.loads(path.read_bytes())
    assert plain["a"]["vertices"].dtype == np.float16
    assert sorted(plain["b"]) == ["hum_pts", "obj_pts"]
    said = read_rhobin_results(path)
    assert said["a"].body_verts is not None
    assert np.abs(said["a"].body_verts - verts).max() < 2e-3
    assert said["a"].topology == "smpl"
    assert np.array_equal(said["b"].object_verts, points + 1)


EYE = np.eye(3)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"obj_rot": np.diag([1.0, 1, -1]), "obj_trans": np.zeros(3)}, "left-handed"),
        ({"obj_rot": 2 * EYE, "obj_trans": np.zeros(3)}, "keep the scale apart"),
        ({"obj_rot": EYE}, "only one of obj_rot"),
        ({"obj_rot": EYE, "obj_trans": np.array([100.0, 0, 2500.0])}, "millimetres"),
        ({"obj_rot": EYE, "obj_trans": np.array([0, np.nan, 1])}, "NaN"),
        ({"vertices": np.zeros((6889, 3))}, "6889 vertices"),
        ({"pose": np.zeros(72)}, "shape"),
        ({"Rh": EYE}, "holds Rh"),
        ({}, "holds nothing"),
        ({"pose": np.zeros((3, 156)), "betas": np.zeros((2, 10))}, "different numbers of frames"),
        (["a"], "holds a list"),
        ({"pose": _Evil()}, "was not executed"),
    ],
)
def test_bad_results_are_named_by_id(row: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps({"000017": row}))
    with pytest.raises(InputError, match=says) as caught:
        read_rhobin_results(path)
    assert "was not executed" in says or "000017" in str(caught.value)
    assert not Path("hacked").exists()


def test_bad_references_are_named(tmp_path: Path) -> None:
    held = write_rhobin(tmp_path)
    path = tmp_path / "ref" / "ref.pkl"

    def with_(change: Any) -> None:
        copy = pickle.loads(pickle.dumps(held))
        change(copy)
        path.write_bytes(pickle.dumps(copy))

    with_(lambda h: h["templates"].clear())
    with pytest.raises(InputError, match="without a template"):
        open_rhobin(tmp_path)
    with_(lambda h: h["templates"]["box"].update(verts=held["templates"]["box"]["verts"] * 1000))
    with pytest.raises(InputError, match="millimetres"):
        open_rhobin(tmp_path)
    box = held["templates"]["box"]
    mirror = [{"R": np.diag([-1.0, 1, 1]), "t": np.zeros(3)}]
    with_(lambda h: h["templates"]["box"].update(symmetries=mirror))
    with pytest.raises(InputError, match=r"symmetry 0 of template 'box'.*left-handed"):
        open_rhobin(tmp_path)
    listed: tuple[Any, ...] = (np.eye(3)[None], np.eye(4)[None], [], None)
    for matrices in listed:
        with_(lambda h, m=matrices: h["templates"]["box"].update(symmetries=m))
        assert np.array_equal(open_rhobin(tmp_path)[0].question.extra["symmetries"], np.eye(4)[None])
    assert len(box["symmetries"]) == 2
    with_(lambda h: h["annotations"][IDS[0]].pop("betas"))
    with pytest.raises(InputError, match="lacks betas"):
        open_rhobin(tmp_path)
    with_(lambda h: h["annotations"][IDS[0]].update(obj_rot=np.diag([-1.0, 1, 1])))
    with pytest.raises(InputError, match="left-handed"):
        open_rhobin(tmp_path)[0]
    path.write_bytes(pickle.dumps({"annotations": _Evil()}))
    with pytest.raises(InputError, match="was not executed"):
        open_rhobin(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"ref/ref\.pkl"):
        open_rhobin(tmp_path)


def test_what_the_format_has_no_place_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scale"):
        write_rhobin_results([Prediction("a", object_pose=ObjectPose(EYE, [0, 0, 1], 2.0))], tmp_path / "r.pkl")
    with pytest.raises(InputError, match="nothing that RHOBIN knows"):
        write_rhobin_results([Prediction("a", body_contact=[0.5])], tmp_path / "r.pkl")
    with pytest.raises(InputError, match="two predictions"):
        write_rhobin_results([Prediction("a", body_joints=np.zeros((24, 3)))] * 2, tmp_path / "r.pkl")
    assert not (tmp_path / "r.pkl").exists()
