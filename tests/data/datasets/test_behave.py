"""BEHAVE: the tree that a writer of its own made comes back exactly, in the frame of each camera."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.data.datasets.behave import open_behave, read_behave_contacts
from hoirecon.data.datasets.fixtures.behave import write_behave
from hoirecon.data.datasets.fixtures.placed import thing
from hoirecon.data.datasets.samples import WITH_DEPTH, BodyContactTruth, ReconstructionTruth, Sample
from hoirecon.errors import InputError

SIT = "Date03_Sub03_chairwood_sit/t0003.000"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("behave")
    return root, write_behave(root)


@pytest.fixture
def copy(tree: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    shutil.copytree(tree[0], tmp_path / "copy")
    return tmp_path / "copy"


def truth_of(sample: Sample) -> ReconstructionTruth:
    found = sample.truth["reconstruction"]
    assert isinstance(found, ReconstructionTruth)
    return found


def test_every_frame_comes_back_exactly(tree: tuple[Path, dict[str, Any]]) -> None:
    root, truth = tree
    data = open_behave(root, "test")
    assert len(data) == 4
    assert data.stand_in
    verts, _ = thing()
    for sample in data:
        true, said = truth[sample.id], truth_of(sample)
        assert said.object_pose is not None
        R = Rotation.from_rotvec(true["angle"]).as_matrix()
        assert np.abs(said.object_pose.R - R).max() < 1e-12
        assert np.abs(said.object_pose.t - true["trans"]).max() < 1e-12
        assert np.array_equal(said.body_params["pose"], true["pose"])
        assert np.array_equal(said.body_params["betas"], true["betas"])
        assert np.array_equal(said.body_params["trans"], true["body_trans"])
        assert said.body_verts is not None
        assert np.abs(said.body_verts - true["body_world"]).max() < 1e-12
        assert said.topology == "standin-6890"
        mesh = sample.question.object_mesh
        assert mesh is not None
        placed = (verts - verts.mean(0)) @ R.T + true["trans"]  # centred by the mean of the vertices, by hand
        assert np.abs(said.object_pose.apply(mesh.verts) - placed).max() < 1e-9
        contact = sample.truth["body_contact"]
        assert isinstance(contact, BodyContactTruth)
        assert np.flatnonzero(contact.contact).tolist() == true["contact"].tolist()


def test_depth_is_handed_out_on_demand_alone(tree: tuple[Path, dict[str, Any]]) -> None:
    """Protocols are of colour pictures: a method that reads depth must not stand beside their published rows."""
    plain, deep = open_behave(tree[0], "test"), open_behave(tree[0], "test", depth=True)
    assert not any("depth" in key for key in plain[0].question.extra)
    assert deep[0].question.extra["depth"].name == "k1.depth.png"
    assert deep.fingerprint != plain.fingerprint
    assert (plain.version, deep.version) == ("sequences", f"sequences{WITH_DEPTH}")


def test_questions_hold_files_camera_and_no_truth(tree: tuple[Path, dict[str, Any]]) -> None:
    sample = open_behave(tree[0], "test")[0]
    q = sample.question
    assert (q.id, q.label, sample.group, sample.category) == (SIT, "chairwood", SIT.split("/")[0], "chairwood")
    assert [p is not None and p.name for p in (q.image, q.person_mask, q.object_mask)] == [
        "k1.color.jpg", "k1.person_mask.jpg", "k1.obj_rend_mask.jpg"]  # fmt: skip
    assert q.camera is not None
    assert q.camera.K.tolist() == [[61, 0, 32.5], [0, 60, 24.5], [0, 0, 1]]
    assert q.extra["distortion"].tolist() == [0.1, -0.2, 0.0, 0.0, 0.3]
    assert q.body is None


def test_another_camera_moves_the_truth_and_says_that_parameters_stay(tree: tuple[Path, dict[str, Any]]) -> None:
    root, truth = tree
    R_world, t_world = truth["cameras"][0]
    data = open_behave(root, "test", camera=0)
    said, true = truth_of(data[0]), truth[SIT]
    assert data[0].id == f"{SIT}/k0"
    assert said.object_pose is not None
    assert said.body_verts is not None
    back = said.body_verts @ R_world.T + t_world  # camera to world, as the file states it
    assert np.abs(back - true["body_world"]).max() < 1e-9
    assert np.abs(R_world @ said.object_pose.t + t_world - true["trans"]).max() < 1e-9
    assert sorted(said.body_params) == ["world_betas", "world_pose", "world_trans"]


def test_thirty_frames_a_second_are_the_same_poses(tree: tuple[Path, dict[str, Any]]) -> None:
    root, truth = tree
    data = open_behave(root, "test", annotation="30fps")
    assert data.version == "30fps"
    for sample in data:
        said = truth_of(sample)
        assert said.object_pose is not None
        assert np.abs(said.object_pose.t - truth[sample.id]["trans"]).max() < 1e-12
        assert np.array_equal(said.body_params["pose"], truth[sample.id]["pose"])


def test_frames_without_object_are_counted_not_dropped_silently(tree: tuple[Path, dict[str, Any]]) -> None:
    problems = open_behave(tree[0], "all").problems
    assert len(problems) == 3
    assert all("t0007.000" in p.what and p.severity == "warning" for p in problems)


def test_the_fingerprint_follows_the_labels(copy: Path) -> None:
    before = open_behave(copy, "test").fingerprint
    assert before == open_behave(copy, "test").fingerprint
    assert before != open_behave(copy, "train").fingerprint
    path = next(copy.glob("sequences/*chairwood*/t0003.000/person/fit02/person_fit.pkl"))
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), "trans": np.zeros(3)}))
    assert before != open_behave(copy, "test").fingerprint


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


def spoil_fit(copy: Path, **changes: Any) -> None:
    path = copy / "sequences" / SIT / "chair" / "fit01" / "chair_fit.pkl"
    held = {**pickle.loads(path.read_bytes()), **changes}
    path.write_bytes(pickle.dumps({k: v for k, v in held.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"angle": None}, "lacks angle"),
        ({"trans": np.array([200.0, 100.0, 2400.0])}, "millimetres"),
        ({"trans": np.array([np.nan, 0, 1])}, "NaN"),
        ({"angle": np.zeros(4)}, "shape"),
        ({"angle": _Evil()}, "was not executed"),
    ],
)
def test_bad_registrations_are_named(changes: dict[str, Any], says: str, copy: Path) -> None:
    spoil_fit(copy, **changes)
    with pytest.raises(InputError, match=says):
        open_behave(copy, "test")[0]


def test_a_left_handed_calibration_is_named(copy: Path) -> None:
    path = copy / "calibs" / "Date03" / "config" / "1" / "config.json"
    path.write_text(json.dumps({"rotation": np.diag([1.0, 1, -1]).ravel().tolist(), "translation": [0, 0, 0]}))
    with pytest.raises(InputError, match="left-handed"):
        open_behave(copy, "test")[0]


def test_templates_in_millimetres_and_missing_ones_are_named(copy: Path) -> None:
    path = copy / "objects" / "chairwood" / "chairwood_f1000.ply"
    from hoirecon.data.datasets.fixtures.placed import write_ply

    verts, faces = thing()
    write_ply(path, verts * 1000, faces)
    with pytest.raises(InputError, match=r"multiply by 0\.001"):
        open_behave(copy, "test")[0]
    path.unlink()
    with pytest.raises(InputError, match="no simplified template"):
        open_behave(copy, "test")[0]


def test_missing_sequences_and_splits_are_named(copy: Path) -> None:
    shutil.rmtree(copy / "sequences" / "Date03_Sub03_backpack_back")
    with pytest.raises(InputError, match="lacks 1 of the 2 sequences"):
        open_behave(copy, "test")
    with pytest.raises(InputError, match="lacks val"):
        open_behave(copy, "val")
    (copy / "split.json").write_text(json.dumps({"test": ["Date03_Sub03_chairwood_sit"] * 2}))
    with pytest.raises(InputError, match="twice"):
        open_behave(copy, "test")


def test_contact_files_of_ids_and_of_other_lengths(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    held = {"object_points": np.zeros((3, 3)), "contact_label": np.array([1, 0, 1]), "contact_vertices": [7, 8, 2]}
    np.savez(path, held)
    assert read_behave_contacts(path).body_vertices(np.zeros((9, 3))).tolist() == [2, 7]
    with pytest.raises(InputError, match="vertex 7 of a body of 5"):
        read_behave_contacts(path).body_vertices(np.zeros((5, 3)))
    np.savez(path, {**held, "contact_label": np.ones(2)})
    with pytest.raises(InputError, match="shape"):
        read_behave_contacts(path)
    np.savez(path, {"object_points": _Evil()})
    with pytest.raises(InputError, match="system"):
        read_behave_contacts(path)
