"""PICO-db: pairs by hand and from the fixture, orphans, whose vertices the ids are, and the repack."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.fixtures import write_pico_db, write_pico_repack
from hoirecon.data.datasets.folder_checks import check_data
from hoirecon.data.datasets.pico import read_pairs
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import BodyContactTruth, CorrespondenceTruth, ObjectContactTruth
from hoirecon.errors import InputError


def _told(data: Any) -> str:
    return "\n".join(map(str, data.problems))


def _json(path: Path, *patches: tuple[str, list[str]]) -> Path:
    path.write_text(json.dumps({"data": [{"name": n, "contactPoints": p} for n, p in patches]}))
    return path


def test_golden_pairs(tmp_path: Path) -> None:
    pairs = read_pairs(
        _json(
            tmp_path / "c.json",
            ("objShapeA", ["f 2 0.5 0.25 0.25", "f 0 1 0 0"]),
            ("humanShapeHead", ["v 9"]),
            ("humanShapeA", ["v 7", "v 3"]),
        )
    )
    assert pairs.body_verts.tolist() == [7, 3]
    assert pairs.faces.tolist() == [2, 0]
    assert pairs.barycentric.tolist() == [[0.5, 0.25, 0.25], [1, 0, 0]]
    assert pairs.orphans == ("humanShapeHead",)
    assert len(read_pairs(_json(tmp_path / "d.json", ("humanShapeA", ["v 1"]))).faces) == 0


@pytest.mark.parametrize(
    ("patches", "said"),
    [
        ([("humanShapeA", ["v 1"]), ("objShapeA", [])], "pairs 1 points with 0"),
        ([("humanShapeA", ["f 1 1 0 0"]), ("objShapeA", ["f 1 1 0 0"])], "point 'f 1 1 0 0', expected 'v <vertex>'"),
        ([("humanShapeA", ["v 1.5"]), ("objShapeA", ["f 1 1 0 0"])], "point 'v 1.5'"),
        ([("humanShapeA", ["v -1"]), ("objShapeA", ["f 1 1 0 0"])], "point 'v -1'"),
        ([("humanShapeA", ["v 1"]), ("objShapeA", ["f 1 1 0"])], "point 'f 1 1 0'"),
        ([("humanShapeA", ["v 1"]), ("objShapeA", ["f 1 nan 0 0"])], "point 'f 1 nan 0 0'"),
        ([("humanShapeA", ["v 1"]), ("objShapeA", ["f 1 0.9 0.9 0.9"])], "not barycentric"),
        ([("humanShapeA", ["v 1"]), ("humanShapeA", ["v 1"])], "'humanShapeA' twice"),
    ],
)
def test_bad_pairs_are_named(tmp_path: Path, patches: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_pairs(_json(tmp_path / "c.json", *patches))
    (tmp_path / "c.json").write_text("[1]")
    with pytest.raises(InputError, match="no list 'data'"):
        read_pairs(tmp_path / "c.json")


@pytest.mark.parametrize(("body", "nested"), [("smpl", False), ("smplx", True)])
def test_the_fixture_comes_back_exactly(tmp_path: Path, body: str, nested: bool) -> None:
    written = write_pico_db(tmp_path, 3, seed=2, body=body, nested=nested)
    data = open_dataset("pico", tmp_path, "all")
    size = {"smpl": 6890, "smplx": 10475}[body]
    assert [s.id for s in data] == written.ids
    for sample, verts, faces, bary, touched in zip(
        data, written.verts, written.faces, written.bary, written.touched, strict=True
    ):
        pairs, contact = sample.truth["correspondences"], sample.truth["body_contact"]
        thing = sample.truth["object_contact"]
        assert isinstance(pairs, CorrespondenceTruth)
        assert isinstance(contact, BodyContactTruth)
        assert isinstance(thing, ObjectContactTruth)
        assert pairs.topology == contact.topology == f"standin-{size}"
        assert np.array_equal(pairs.body_verts, verts)
        assert np.array_equal(pairs.faces, faces)
        assert np.array_equal(pairs.barycentric, bary)
        assert np.flatnonzero(contact.contact).tolist() == sorted(verts.tolist())
        assert len(contact.contact) == size
        assert np.flatnonzero(thing.contact).tolist() == touched.tolist()
        assert sample.question.image is not None
        assert sample.question.object_mesh is not None
        assert sample.question.label == sample.id.split("__")[0].replace("_", " ")
    assert "1 sample with a patch that has no partner" in _told(data)
    assert f"taken for {body}'s" in _told(data)


def test_the_body_can_be_said(tmp_path: Path) -> None:
    write_pico_db(tmp_path, 1, body="smplx")
    with pytest.raises(InputError, match=r"names body vertex .* but smpl has 6890"):
        open_dataset("pico", tmp_path, "all", body="smpl")
    (tmp_path / "standin.json").unlink()
    assert open_dataset("pico", tmp_path, "all").version == "pico-db smplx"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    written = write_pico_db(tmp_path, 3)
    (tmp_path / written.ids[0] / "object.obj").unlink()
    (tmp_path / written.ids[1] / f"{written.ids[1]}.jpg").unlink()
    (tmp_path / written.ids[2] / "corresponding_contacts.json").write_text('{"data": 3}')
    told = "\n".join(map(str, check_data(tmp_path, "pico")))
    assert "1 sample without object.obj" in told
    assert "1 sample without a photograph" in told
    assert "no list 'data' of patches" in told
    with pytest.raises(InputError, match="no list 'data'"):
        open_dataset("pico", tmp_path, "all")[2]


def test_a_face_that_the_mesh_lacks_is_named(tmp_path: Path) -> None:
    (name,) = write_pico_db(tmp_path, 1).ids
    path = tmp_path / name / "object.obj"
    path.write_text("\n".join(path.read_text().splitlines()[:-8]))
    with pytest.raises(InputError, match=r"names face .* but the mesh has 4"):
        open_dataset("pico", tmp_path, "all")[0]


def test_the_repack_comes_back_exactly(tmp_path: Path) -> None:
    written = write_pico_repack(tmp_path, 3)
    data = open_dataset("pico", tmp_path, "test", meshes=tmp_path / "pico_db")
    assert [s.id for s in data] == written.ids
    for sample, touched in zip(data, written.touched, strict=True):
        truth = sample.truth["object_contact"]
        assert isinstance(truth, ObjectContactTruth)
        assert np.flatnonzero(truth.contact).tolist() == touched.tolist()
        assert sample.question.image is not None
    assert len([s for s in open_dataset("pico", tmp_path, "test") if s.truth]) == 3  # found where it lies
    (tmp_path / "pico_db").rename(tmp_path / "elsewhere")
    without = open_dataset("pico", tmp_path, "test")
    assert "3 samples without their mesh" in _told(without)
    assert without[0].truth == {}


def test_bad_labels_and_code_of_the_repack(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    written = write_pico_repack(tmp_path, 2)
    thing, image = written.ids[0].split("__")
    path = tmp_path / "test/lowpoly_mesh_0507" / thing / f"contact_vertices_{image}.pkl"
    data = open_dataset("pico", tmp_path, "test", meshes=tmp_path / "pico_db")
    for value, said in (
        (np.zeros(9), "9 labels, but the mesh has 8"),
        (np.full(8, np.nan), "NaN"),
        (Evil(), "not exec"),
    ):
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(InputError, match=said):
            data[0]
    joblib = pytest.importorskip("joblib")
    joblib.dump(np.ones(8, np.float32), path, compress=3)
    assert data[0].truth["object_contact"].contact.tolist() == [1] * 8  # type: ignore[union-attr]
    assert not (tmp_path / "run").exists()
