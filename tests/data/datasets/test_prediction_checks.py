"""Predictions against a dataset: what is missing, doubled, on another mesh or in another unit is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.listed import ListedDataset
from hoirecon.data.datasets.prediction_checks import validate_predictions
from hoirecon.data.datasets.prediction_folders import (
    iter_prediction_folders,
    read_prediction_folder,
    write_prediction_folder,
)
from hoirecon.data.datasets.predictions import Prediction, write_prediction, write_predictions
from hoirecon.data.datasets.samples import (
    AffordanceTruth,
    BodyContactTruth,
    ObjectContactTruth,
    Question,
    ReconstructionTruth,
    Sample,
)
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

BOX = Mesh(np.array([[0.0, 0, 0], [0.3, 0, 0], [0, 0.4, 0], [0, 0, 0.5]]), [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
POSE = ObjectPose(np.eye(3), [0.1, 0.2, 2.0])


def sample(id: str) -> Sample:
    rng = np.random.default_rng(0)
    truth = {
        "reconstruction": ReconstructionTruth(
            object_pose=POSE, body_verts=BOX.verts + np.array([0, 0, 2.0]), body_faces=BOX.faces, topology="smplx"
        ),
        "body_contact": BodyContactTruth(np.zeros(10475), "smplx"),
        "object_contact": ObjectContactTruth(np.ones(4), BOX),
        "affordance": AffordanceTruth(rng.random((6, 3)), np.ones(6), "sit"),
    }
    return Sample(Question(id, object_mesh=BOX), truth)


def dataset(ids: tuple[str, ...] = ("a", "b", "c")) -> ListedDataset:
    return ListedDataset("toy", "1", "test", "none", ids, lambda k: sample(ids[k]), Path(), ())


def right(id: str, **changes: Any) -> Prediction:
    fields: dict[str, Any] = {"object_pose": POSE, "body_contact": np.zeros(10475), "topology": "smplx"}
    return Prediction(id, **(fields | changes))


def test_whole_answers_have_no_findings(tmp_path: Path) -> None:
    said = [right(id, object_contact=np.ones(4), affordance=np.ones(6)) for id in "abc"]
    assert validate_predictions(said, dataset()) == []
    write_predictions(said, tmp_path)
    assert validate_predictions(tmp_path, dataset()) == []
    assert validate_predictions(tmp_path, dataset(), deep=False) == []


@pytest.mark.parametrize(
    ("said", "severity", "says"),
    [
        ([right("a"), right("b")], "warning", "1 sample without an answer (c)"),
        ([right(i) for i in "abcd"], "error", "1 sample answered that the dataset does not have (d)"),
        ([right(i) for i in "abcb"], "error", "answers 'b' a second time"),
        ([right("a"), right("b"), Prediction("c", failed="no")], "note", "failed"),
        ([right("a"), right("b"), right("c", body_contact=np.zeros(10474))], "error", "body_contact has 10474 values"),
        ([right("a"), right("b"), right("c", topology="smpl")], "error", "is on 'smpl', the labels are on 'smplx'"),
        ([right("a"), right("b"), right("c", object_contact=np.ones(5))], "error", "object_contact has 5"),
        ([right("a"), right("b"), right("c", affordance=np.ones(5))], "error", "affordance has 5"),
        ([right("a"), right("b"), right("c", by_object={"cup": np.ones(5)})], "error", "by_object['cup'] has 5"),
        ([right("a"), right("b"), right("c", object_pose=ObjectPose(np.eye(3), [100, 200, 2000.0]))], "error",
         "the object lies 2.01e+03 m"),
        ([right("a"), right("b"), right("c", body_verts=1000 * BOX.verts)], "error", "the body lies"),
        ([right("a"), right("b"), right("c", object_verts=POSE.apply(BOX.verts) / 1000)], "error", "write metres"),
        ([right("a"), right("b"), right("c", body_verts=np.eye(5, 3) + np.array([0, 0, 2]))], "note", "body of 5"),
    ],
)  # fmt: skip
def test_each_fault_is_one_finding(said: list[Prediction], severity: str, says: str) -> None:
    (found,) = validate_predictions(said, dataset())
    assert found.severity == severity
    assert says in f"{found.what}: {found.advice}"


def test_damaged_files_are_findings_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    write_predictions([right("a"), right("b")], tmp_path)
    (tmp_path / "c.npz").write_bytes(b"nothing")
    found = validate_predictions(tmp_path, dataset())
    assert [f.severity for f in found] == ["error", "warning"]
    assert "c.npz" in found[0].what
    write_prediction(right("c"), tmp_path)
    (tmp_path / "c.npz").rename(tmp_path / "d.npz")  # the id stands in the file, its name does not matter
    assert validate_predictions(tmp_path, dataset()) == []


def test_smplh_answers_smpl_as_scores_have_it() -> None:
    """Our own methods with an SMPL-H file answer labels on SMPL, and their vertices are the same."""
    truth = {"body_contact": BodyContactTruth(np.zeros(6890), "smpl")}
    data = ListedDataset("toy", "1", "test", "none", ("a",), lambda _: Sample(Question("a"), truth), Path(), ())
    assert validate_predictions([Prediction("a", np.zeros(6890), "smplh")], data) == []


def test_a_sample_that_cannot_be_read_is_the_datasets_fault() -> None:
    @dataclass(frozen=True, eq=False)
    class Broken(ListedDataset):
        pass

    def read(k: int) -> Sample:
        raise InputError("torn")

    data = Broken("toy", "1", "test", "none", ("a",), read, Path(), ())
    found = validate_predictions([right("a")], data)
    assert any("own sample cannot be read: torn" in f.what for f in found)


# ------------------------------------------------------------------------------------------------------------- folders
@pytest.mark.parametrize("layout", ["open3dhoi", "pico"])
def test_placed_meshes_come_back(layout: Any, tmp_path: Path) -> None:
    said = right("bench/img_1", body_verts=BOX.verts + np.array([0, 0, 2.5]), body_params={"betas": np.arange(3.0)})
    folder = write_prediction_folder(said, sample("bench/img_1"), tmp_path, layout)
    back = read_prediction_folder(folder, said.id, layout)
    assert np.array_equal(back.body_verts, said.body_verts)
    assert np.array_equal(back.object_verts, POSE.apply(BOX.verts))
    assert (layout == "pico") == ("betas" in back.body_params)
    (one,) = iter_prediction_folders(tmp_path, layout)
    assert one.id == "bench/img_1"


@pytest.mark.parametrize(("topology", "count"), [("smplx", 10475), ("smpl", 6890)])
def test_contacts_come_back(topology: str, count: int, tmp_path: Path) -> None:
    contact = (np.arange(count) % 7 == 0) * 0.75
    said = Prediction("a", body_contact=contact, topology=topology, object_contact=[0, 0.5, 1, 0])
    folder = write_prediction_folder(said, sample("a"), tmp_path, "interactvlm")
    back = read_prediction_folder(folder, "a", "interactvlm")
    assert back.topology == topology
    assert np.array_equal(back.body_contact, contact)
    assert np.array_equal(back.object_contact, said.object_contact)


def test_damaged_folders_are_failures_and_findings(tmp_path: Path) -> None:
    write_prediction_folder(right("a"), sample("a"), tmp_path, "open3dhoi")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "object_mesh.obj").write_text("v 0 0 nan\nf 1 1 1\n")
    found: list[Any] = []
    said = {p.id: p for p in iter_prediction_folders(tmp_path, "open3dhoi", found)}
    assert (said["a"].failed, "NaN" in said["b"].failed, len(found)) == ("", True, 1)


def test_what_a_layout_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of open3dhoi"):
        write_prediction_folder(right("a"), sample("a"), tmp_path, "coco")
    with pytest.raises(InputError, match="cannot be written below"):
        write_prediction_folder(right("../a"), sample("../a"), tmp_path / "x", "open3dhoi")
    with pytest.raises(InputError, match="nothing that the layout"):
        write_prediction_folder(Prediction("a"), sample("a"), tmp_path, "open3dhoi")
    with pytest.raises(InputError, match="needs its triangles"):
        write_prediction_folder(right("a", body_verts=np.zeros((7, 3))), sample("a"), tmp_path, "open3dhoi")
    with pytest.raises(InputError, match="'a' is on 'standin-5'"):
        said = Prediction("a", body_contact=np.ones(5), topology="standin-5")
        write_prediction_folder(said, sample("a"), tmp_path, "interactvlm")
    with pytest.raises(InputError, match="neither"):
        read_prediction_folder(tmp_path, "a", "pico")
