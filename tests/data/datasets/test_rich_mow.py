"""RICH's tree, BSTRO's TSV and MOW: fixtures come back exactly; the colour rule, rows by hand, and bad copies."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.fixtures import write_mow, write_rich, write_rich_tsv
from hoirecon.data.datasets.folder_checks import check_data
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.rich import green_vertices, tsv_rows
from hoirecon.data.datasets.samples import BodyContactTruth, Sample
from hoirecon.errors import InputError


def _contact(sample: Sample) -> BodyContactTruth:
    truth = sample.truth["body_contact"]
    assert isinstance(truth, BodyContactTruth)
    return truth


def _told(data: Any) -> str:
    return "\n".join(map(str, data.problems))


def _compare(data: Any, ids: list[str], verts: Any, topology: str) -> None:
    assert [s.id for s in data] == ids
    for sample, touched in zip(data, verts, strict=True):
        truth = _contact(sample)
        assert truth.topology == topology
        assert np.flatnonzero(truth.contact).tolist() == touched.tolist()


def test_the_tree_comes_back_exactly(tmp_path: Path) -> None:
    written = write_rich(tmp_path, 2)
    data = open_dataset("rich", tmp_path, "test")
    _compare(data, written.ids, written.verts, "standin-6890")
    assert data[0].group == "LectureHall_003_wipingchairs1"
    assert data[0].category == "LectureHall"
    assert all(s.question.image is not None for s in data)
    _compare(
        open_dataset("rich", tmp_path, "test", topology="smplx"), written.ids, written.verts_smplx, "standin-10475"
    )
    near = open_dataset("rich", tmp_path, "test", topology="smplx", distance=0.02)
    _compare(near, written.ids, written.verts_smplx, "standin-10475")
    assert near.fingerprint != data.fingerprint


def test_one_camera_keeps_labels_without_its_picture(tmp_path: Path) -> None:
    write_rich(tmp_path, 1)
    data = open_dataset("rich", tmp_path, "test", camera=1)  # the first sequence has camera 0 alone
    assert [s.question.image is None for s in data] == [True, False]
    assert "1 sample without a photograph (LectureHall_003_wipingchairs1/00017/003)" in _told(data)


def test_the_colour_rule_by_hand(tmp_path: Path) -> None:
    rows = ["v 0 0 0 128 128 128"] * 10475
    rows[3], rows[5], rows[7] = "v 0 0 0 0 255 0", "v 0 0 0 0 254 60", "v 0 0 0 255 255 0"
    (tmp_path / "a.obj").write_text("\n".join(rows))
    assert np.flatnonzero(green_vertices(tmp_path / "a.obj")).tolist() == [3]
    unit = "\n".join(rows).replace("255", "1").replace("128", "0.5").replace("254 60", ".996 .23")
    (tmp_path / "a.obj").write_text(unit)
    assert np.flatnonzero(green_vertices(tmp_path / "a.obj")).tolist() == [3]
    (tmp_path / "a.obj").write_text("\n".join(["v 0 0 0"] * 10475))
    with pytest.raises(InputError, match="with colours"):
        green_vertices(tmp_path / "a.obj")
    with pytest.raises(InputError, match=r"give distance=0\.02"):
        green_vertices(tmp_path / "none.obj")


def test_bad_labels_of_the_tree_are_named(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    write_rich(tmp_path, 1, cameras=1, coloured=False)
    data = open_dataset("rich", tmp_path, "test", camera=0)
    path = next((tmp_path / "data/human_scene_contact").rglob("*.pkl"))
    place = next(k for k, s in enumerate(data) if path.parent.parent.name in s.id)
    for label, said in (
        ({"contact": np.zeros(10475)}, "10475 labels of type float64, expected 6890"),
        ({"contact": np.full(6890, np.nan)}, "NaN"),
        ({"contacts": 1}, "has no 'contact', but contacts"),
        ([1, 2], "has no 'contact', but ndarray"),
        ({"contact": Evil()}, "not executed"),
    ):
        path.write_bytes(pickle.dumps(label))
        with pytest.raises(InputError, match=said):
            data[place]
    assert not (tmp_path / "run").exists()
    assert any("not executed" in finding.what for finding in check_data(tmp_path, "rich"))


def test_tsv_comes_back_exactly(tmp_path: Path) -> None:
    written = write_rich_tsv(tmp_path, 3)
    data = open_dataset("rich", tmp_path, "val", pictures=tmp_path / "pictures")
    _compare(data, written.ids, written.verts, "standin-6890")
    assert data[0].question.extra == {"center": [12.0, 8.0], "scale": 0.07}
    assert data[0].group == "ParkingLot1_002_burpee3"
    image = data[1].question.image
    assert image is not None
    assert image.read_bytes()[:2] == b"\xff\xd8"
    assert image.parent == tmp_path / "pictures"
    assert "note" in _told(data)  # two people in one picture
    assert open_dataset("rich", tmp_path, "val")[0].question.image is None


def test_tsv_rows_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    for text, rows in (("a\t1\nbc\t2", 2), ("a\t1\nbc\t2\n", 2), ("", 0)):
        path.write_text(text)
        found = tsv_rows(path)
        assert len(found) == rows
        assert [found.row(k) for k in range(rows)] == [["a", "1"], ["bc", "2"]][:rows]
        assert [found.key(k) for k in range(rows)] == ["a", "bc"][:rows]


def test_bad_tsv_is_named(tmp_path: Path) -> None:
    write_rich_tsv(tmp_path, 3)
    labels = tmp_path / "val.label.tsv"
    lines = labels.read_text().splitlines()
    key = lines[0].split("\t")[0]
    for row, said in (
        (f"{key}\tnot json", "row 0, is no key and JSON"),
        (f"{key}\t[]", "row 0, is no key and JSON"),
        (f"{key}\t[{{}}]", "row 0, has no 'contact'"),
        (f"{key}\t{json.dumps([{'contact': [1, 0]}])}", "row 0 has 2 labels"),
    ):
        labels.write_text("\n".join([row, *lines[1:]]))
        with pytest.raises(InputError, match=said):
            open_dataset("rich", tmp_path, "val")[0]
    labels.write_text("\n".join(lines[1:]))
    with pytest.raises(InputError, match="3 rows for 2 labels"):
        open_dataset("rich", tmp_path, "val")
    labels.write_text("\n".join([lines[1], lines[0], lines[2]]))
    with pytest.raises(InputError, match="rows have shifted"):
        open_dataset("rich", tmp_path, "val", pictures=tmp_path / "p")[0]
    with pytest.raises(InputError, match="belong to the authors' folders"):
        open_dataset("rich", tmp_path, "val", camera=1)


def test_mow_comes_back_exactly(tmp_path: Path) -> None:
    written = write_mow(tmp_path, 3)
    data = open_dataset("mow", tmp_path, "test")
    _compare(data, written.ids, written.verts, "standin-778")
    assert data[0].question.label == "kitchen knife"
    assert data[0].question.extra["interaction_mask"].is_file()
    (tmp_path / "standin.json").unlink()
    assert _contact(open_dataset("mow", tmp_path, "test")[0]).topology == "mano"


def test_bad_copies_of_mow_are_named(tmp_path: Path) -> None:
    written = write_mow(tmp_path, 3)
    here = tmp_path / "preprocessed_data/test/contact_data"
    (here / f"{written.ids[0]}.npy").unlink()
    np.save(here / f"{written.ids[1]}.npy", np.zeros(779))
    data = open_dataset("mow", tmp_path, "test")
    assert data[0].truth == {}
    assert f"1 sample without a contact label ({written.ids[0]})" in _told(data)
    with pytest.raises(InputError, match="779 values, expected 778"):
        data[1]
    np.save(tmp_path / "splits/mow_test.npy", np.array(["who"]))
    with pytest.raises(InputError, match="has no 'who' of mow_test"):
        open_dataset("mow", tmp_path, "test")
    (tmp_path / "data/poses.json").write_text("{}")
    with pytest.raises(InputError, match="not MOW's"):
        open_dataset("mow", tmp_path, "test")
