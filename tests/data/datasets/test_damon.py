"""DAMON's two versions: written by an independent writer and by hand, read back exactly; bad copies named precisely."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.damon import CATEGORIES, CATEGORY_OF
from hoirecon.data.datasets.fixtures import write_damon, write_damon_repack
from hoirecon.data.datasets.folder_checks import check_data
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import BodyContactTruth
from hoirecon.errors import InputError

V = 6890


def _objects(values: list[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _by_hand(folder: Path, **changes: Any) -> Path:
    """Two images: one touches vertices 3 and 5 with a bench, 5 and 6889 by `supporting`; the other nothing."""
    label = np.zeros((2, V))
    label[0, [3, 5, 6889]] = 1
    arrays: dict[str, Any] = {
        "imgname": _objects(["x/images/one.jpg", "x\\images\\two.jpg"]),
        "contact_label": label,
        "contact_label_objectwise": _objects([{"dining_table": [5, 3], "supporting": [5, 6889]}, {}]),
        **changes,
    }
    folder.mkdir(exist_ok=True)
    np.savez(folder / "hot_dca_test.npz", **{key: value for key, value in arrays.items() if value is not None})
    return folder


def _contact(sample: Any) -> BodyContactTruth:
    truth = sample.truth["body_contact"]
    assert isinstance(truth, BodyContactTruth)
    return truth


def test_golden_rows_of_the_archive(tmp_path: Path) -> None:
    data = open_dataset("damon", _by_hand(tmp_path), "test")
    one, two = data
    assert [s.id for s in data] == ["one", "two"]
    assert not data.stand_in
    assert data.version == "npz"
    assert np.flatnonzero(_contact(one).contact).tolist() == [3, 5, 6889]
    assert _contact(one).topology == "smpl"
    assert {k: v.tolist() for k, v in _contact(one).by_object.items()} == {
        "dining table": [3, 5],
        "supporting": [5, 6889],
    }
    assert not _contact(two).contact.any()
    assert two.group == "two"


def test_golden_pairs_of_the_archive(tmp_path: Path) -> None:
    table, support = open_dataset("damon", _by_hand(tmp_path), "test", per="object")
    assert (table.id, table.question.label, table.group, table.category) == (
        "one_dining_table",
        "dining table",
        "one",
        "furniture",
    )
    assert np.flatnonzero(_contact(table).contact).tolist() == [3, 5]
    assert support.category == "supporting"
    assert [s.id for s in open_dataset("damon", tmp_path, "test", per="object", supporting=False)] == [table.id]


def test_a_question_holds_no_truth(tmp_path: Path) -> None:
    write_damon(tmp_path, 4)
    for sample in open_dataset("damon", tmp_path, "test", per="object"):
        body = sample.question.extra["body_estimate"]
        assert set(body) == {"pose", "shape", "transl", "cam_k"}
        assert body["pose"].shape == (72,)
        assert sample.question.image is not None
        assert sample.question.image.is_file()


@pytest.mark.parametrize("compressed", [False, True])
def test_the_fixture_comes_back_exactly(tmp_path: Path, compressed: bool) -> None:
    written = write_damon(tmp_path, 60, seed=3, compressed=compressed, pictures=False)
    data = open_dataset("damon", tmp_path, "test")
    assert data.stand_in
    assert len(data) == len(written.names)
    for sample, name, contact, objects in zip(data, written.names, written.contact, written.objects, strict=True):
        truth = _contact(sample)
        assert sample.id == name
        assert truth.topology == "standin-6890"
        assert np.array_equal(truth.contact, contact)
        assert {k.replace(" ", "_"): v.tolist() for k, v in truth.by_object.items()} == {
            k: v.tolist() for k, v in objects.items()
        }
    pairs = open_dataset("damon", tmp_path, "test", per="object")
    assert len(pairs) == 60
    assert sum(not _contact(p).contact.any() for p in pairs) == 2
    assert any("empty vertex list" in str(p) for p in pairs.problems)  # type: ignore[attr-defined]


def test_fractional_labels_are_cut_or_kept(tmp_path: Path) -> None:
    rows = np.zeros((2, 10475))
    rows[0, :4] = 0.49, 0.5, 1, 1 + 1e-9
    _by_hand(tmp_path, contact_label_smplx=rows)
    cut = open_dataset("damon", tmp_path, "test", topology="smplx")
    kept = open_dataset("damon", tmp_path, "test", topology="smplx", fractional="keep")
    assert _contact(cut[0]).contact[:5].tolist() == [0, 1, 1, 1, 0]
    assert _contact(cut[0]).topology == "smplx"
    assert _contact(kept[0]).contact[:5].tolist() == [0.49, 0.5, 1, 1, 0]
    assert any("1 sample with fractional labels (one)" in str(p) for p in cut.problems)  # type: ignore[attr-defined]
    assert len({data.fingerprint for data in (cut, kept, open_dataset("damon", tmp_path, "test"))}) == 3


@pytest.mark.parametrize("packed", [False, True])
def test_the_repack_comes_back_exactly(tmp_path: Path, packed: bool) -> None:
    written = write_damon_repack(tmp_path, 12, seed=5, packed=packed)
    images = open_dataset("damon", tmp_path, "test")
    assert images.version == "interactvlm-repack"
    assert [s.id for s in images] == written.names
    assert all(np.array_equal(_contact(s).contact, c) for s, c in zip(images, written.contact, strict=True))
    pairs = open_dataset("damon", tmp_path, "test", per="object")
    dropped = open_dataset("damon", tmp_path, "test", per="object", as_interactvlm=True)
    assert len(pairs) == 12
    assert len(dropped) == 10
    told = " ".join(map(str, dropped.problems))  # type: ignore[attr-defined]
    assert "1 sample dropped for an empty vertex list" in told
    assert "1 sample dropped for missing pictures" in told


def test_joblibs_own_files_are_read_without_joblib(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    np.save(tmp_path / "x.npy", 0)
    here = tmp_path / "test"
    here.mkdir()
    np.save(here / "imgname.npy", _objects(["a.jpg"]))
    for compress in (0, 3, "gzip"):
        joblib.dump([{"bench": np.array([4, 2])}], here / "contact_label_objectwise.pkl", compress=compress)
        (sample,) = open_dataset("damon", tmp_path, "test")
        assert np.flatnonzero(_contact(sample).contact).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contact_label": None}, "has no 'contact_label'"),
        ({"imgname": None}, "has no 'imgname'"),
        ({"contact_label": np.zeros((2, 6891))}, "6891 vertices, expected 6890"),
        ({"contact_label": np.zeros((3, V))}, "3 rows of labels for 2 images"),
        ({"contact_label": np.zeros(2)}, "expected \\(images, vertices\\)"),
        ({"contact_label_objectwise": _objects([{}])}, "1 dictionaries of objects for 2 images"),
        ({"contact_label_objectwise": _objects([[1], {}])}, "has a ndarray for one, expected a dictionary"),
        ({"contact_label_objectwise": _objects([{"bench": [0.5]}, {}])}, "expected whole numbers"),
    ],
)
def test_wrong_copies_are_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_dataset("damon", _by_hand(tmp_path, **changes), "test")


def test_nan_duplicates_strays_and_swapped_rows_are_findings(tmp_path: Path) -> None:
    label = np.zeros((2, V))
    label[1, 7] = np.nan
    lists = _objects([{}, {"bench": [7, 6890]}])
    _by_hand(
        tmp_path, imgname=_objects(["a/one.jpg", "b/one.jpg"]), contact_label=label, contact_label_objectwise=lists
    )
    data = open_dataset("damon", tmp_path, "test")
    told = [str(p) for p in data.problems]  # type: ignore[attr-defined]
    assert [s.question.id for s in (data[0],)] == ["one"]
    for said in (
        "1 sample with labels that are NaN",
        "id that another one has (one)",
        "vertices outside 0..6889 (one#2",
    ):
        assert any(said in line for line in told), told
    with pytest.raises(InputError, match="the labels of one#2"):
        data[1]
    swapped = write_damon(tmp_path / "s", 20, pictures=False)
    assert len(swapped.names) > 4
    path = tmp_path / "s" / "hot_dca_test.npz"
    with np.load(path, allow_pickle=True) as held:
        arrays = dict(held)
    np.savez(path, **{**arrays, "contact_label": arrays["contact_label"][::-1]})
    told = [str(f) for f in check_data(tmp_path / "s", "damon")]
    assert any(line.startswith("warning") and "not the union" in line and "another order" in line for line in told)


def test_code_in_the_archive_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    with pytest.raises(InputError, match=r"asks to load '.*system'.*not executed"):
        open_dataset("damon", _by_hand(tmp_path, contact_label_objectwise=_objects([{"a": Evil()}, {}])), "test")
    here = tmp_path / "r" / "test"
    here.mkdir(parents=True)
    np.save(here / "imgname.npy", _objects(["a.jpg"]))
    (here / "contact_label_objectwise.pkl").write_bytes(pickle.dumps([{"a": Evil()}]))
    assert any("asks to load" in finding.what for finding in check_data(tmp_path / "r", "damon"))
    assert not (tmp_path / "run").exists()


def test_a_cut_off_archive_is_named(tmp_path: Path) -> None:
    path = _by_hand(tmp_path) / "hot_dca_test.npz"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        open_dataset("damon", tmp_path, "test")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("imgname.npy", b"\x93NUMPY\x01\x00")
        archive.writestr("contact_label.npy", b"")
    with pytest.raises(InputError, match="is damaged"):
        open_dataset("damon", tmp_path, "test")


def test_check_data_tells_what_is_missing(tmp_path: Path) -> None:
    assert "does not exist" in check_data(tmp_path / "no", "damon")[0].what
    empty = check_data(tmp_path, "damon")
    assert [f.severity for f in empty] == ["error", "error"]
    assert "hot_dca_test.npz" in empty[1].what
    write_damon(tmp_path, 4)
    (tmp_path / "images" / "hake_train2015_00000000.jpg").unlink()
    told = [str(f) for f in check_data(tmp_path, "damon")]
    assert any("1 sample without a photograph (hake_train2015_00000000)" in line for line in told)
    assert any("free stand-in" in line for line in told)
    assert any("trainval" in line for line in told)


def test_the_categories_are_69_objects_each_once() -> None:
    assert len(CATEGORY_OF) == sum(map(len, CATEGORIES.values())) == 69
    assert len(CATEGORIES) == 7
    assert CATEGORY_OF["dining table"] == "furniture"
    assert "supporting" not in CATEGORY_OF


def test_unknown_names_splits_and_options_are_named() -> None:
    with pytest.raises(InputError, match=r"no dataset is called 'dammon'; known are .*damon"):
        open_dataset("dammon", ".", "test")
    with pytest.raises(InputError, match="no split 'val', only trainval, test"):
        open_dataset("damon", ".", "val")
    with pytest.raises(InputError, match="has no option 'topo', only per, topology"):
        open_dataset("damon", ".", "test", topo=1)
