"""Object arrays and joblib files: every way that numpy and joblib write them comes back; nothing in them is run."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets import object_arrays
from hoirecon.data.datasets.object_arrays import ObjectArchive, read_npy, read_objects
from hoirecon.errors import InputError


class Evil:
    """Touches a file when it is unpickled by pickle itself."""

    target = ""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def _objects(*values: Any) -> Any:
    array = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        array[place] = value
    return array


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_kind_of_array_comes_back(tmp_path: Path, save: Any) -> None:
    numbers = np.arange(12.0).reshape(3, 4)
    save(
        tmp_path / "a.npz",
        texts=np.array(["a.jpg", "ü.jpg"]),
        lists=_objects({"bench": [1, 2], "none": []}, {}),
        names=_objects("x", np.str_("y")),
        single=np.array({"k": np.arange(3)}, dtype=object),
        table=np.array([[1, "a"], [None, 2.5]], dtype=object),
        numbers=numbers,
        half=numbers / 8,
        fortran=np.asfortranarray(numbers),
        flags=np.array([True, False]),
        empty=np.zeros((0, 6890)),
        scalar=np.array(7),
    )
    archive = ObjectArchive(tmp_path / "a.npz")
    lists = archive.objects("lists")
    assert lists[0]["bench"].tolist() == [1, 2]
    assert lists[0]["none"] == []
    assert lists[1] == {}
    assert archive.objects("texts") == ["a.jpg", "ü.jpg"]
    assert archive.objects("names") == ["x", "y"]
    assert archive.objects("single")["k"].tolist() == [0, 1, 2]
    assert archive.objects("table") == [[1, "a"], [None, 2.5]]
    for key, value in (("numbers", numbers), ("half", numbers / 8), ("fortran", numbers)):
        assert np.array_equal(archive.array(key), value)
    assert archive.array("flags").tolist() == [True, False]
    assert archive.array("empty").shape == archive.shape("empty") == (0, 6890)
    assert archive.array("scalar") == 7


def test_stored_numbers_are_mapped_and_packed_ones_kept_small(tmp_path: Path) -> None:
    label = (np.arange(60000).reshape(6, -1) % 7 == 0).astype(np.float64)
    np.savez(tmp_path / "a.npz", first=np.zeros(3), label=label)
    mapped = ObjectArchive(tmp_path / "a.npz").array("label")
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, label)
    np.savez_compressed(tmp_path / "b.npz", label=label)
    small = ObjectArchive(tmp_path / "b.npz").array("label")
    assert small.dtype == np.uint8
    assert np.array_equal(small, label)


def test_a_fraction_in_a_late_block_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_arrays, "BLOCK_BYTES", 64)
    for value in (0.5, np.nan, -1, 256):
        label = np.zeros(100)
        label[3], label[97] = 255, value
        np.savez_compressed(tmp_path / "a.npz", label=label)
        assert np.array_equal(ObjectArchive(tmp_path / "a.npz").array("label"), label, equal_nan=True)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_pickle(tmp_path: Path, protocol: int) -> None:
    value = {"t": np.array(["ab", "c"]), "n": np.float32(2), "s": {3, 1}, "o": _objects([1], "x"), "b": b"raw", "e": ()}
    for packed in (False, True):
        raw = pickle.dumps(value, protocol=protocol)
        (tmp_path / "a.pkl").write_bytes(zlib.compress(raw) if packed else raw)
        read = read_objects(tmp_path / "a.pkl")
        assert read["t"].tolist() == ["ab", "c"]
        assert read["s"].tolist() == [1, 3]
        assert read["o"][0].tolist() == [1]
        assert (read["o"][1], read["n"], read["b"], read["e"]) == ("x", 2, b"raw", [])


def test_joblibs_files_without_joblib(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    value = [{"a": np.arange(5.0), "names": _objects("x", [2, 1])}, np.eye(3, dtype=np.float32), "end"]
    for compress in (0, 3, "gzip"):
        joblib.dump(value, tmp_path / "j.pkl", compress=compress)
        read = read_objects(tmp_path / "j.pkl")
        assert read[0]["a"].tolist() == [0, 1, 2, 3, 4]
        assert read[0]["names"][0] == "x"
        assert read[0]["names"][1].tolist() == [2, 1]
        assert np.array_equal(read[1], np.eye(3))
        assert read[2] == "end"


def test_npy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", _objects("a.jpg", "b.jpg"))
    np.save(tmp_path / "n.npy", np.eye(3))
    assert read_npy(tmp_path / "o.npy") == ["a.jpg", "b.jpg"]
    assert isinstance(read_npy(tmp_path / "n.npy"), np.memmap)


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: [e], lambda e: {"k": [e]}, lambda e: _objects(e)])
def test_code_is_refused_wherever_it_hides(tmp_path: Path, wrap: Any) -> None:
    evil = Evil()
    evil.target = str(tmp_path / "run")
    value = wrap(evil)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    (tmp_path / "z.pkl").write_bytes(zlib.compress(pickle.dumps(value)))
    np.save(tmp_path / "a.npy", _objects(value), allow_pickle=True)
    np.savez(tmp_path / "a.npz", key=_objects(value))
    reads: list[Callable[[], object]] = [
        lambda: read_objects(tmp_path / "a.pkl"),
        lambda: read_objects(tmp_path / "z.pkl"),
        lambda: read_npy(tmp_path / "a.npy"),
        lambda: ObjectArchive(tmp_path / "a.npz").objects("key"),
    ]
    for read in reads:
        with pytest.raises(InputError, match=r"asks to load '.*system'.*not executed"):
            read()
    assert not (tmp_path / "run").exists()


def test_code_behind_joblibs_wrapper_is_refused(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    evil = Evil()
    evil.target = str(tmp_path / "run")
    joblib.dump(_objects(evil), tmp_path / "j.pkl")
    with pytest.raises(InputError, match="not executed"):
        read_objects(tmp_path / "j.pkl")
    assert not (tmp_path / "run").exists()


def test_other_objects_and_loops_are_refused(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value, said in (
        (complex(1, 2), "builtins.complex"),
        (Path("x"), "asks to load 'pathlib"),
        (loop, "contains itself"),
        ([1 << 80, 2], "numbers that are too large"),
    ):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(InputError, match=said):
            read_objects(tmp_path / "a.pkl")


def test_a_list_shared_many_times_is_walked_once(tmp_path: Path) -> None:
    value: list[Any] = ["x"]
    for _ in range(60):  # 2 ** 60 entries if each were walked
        value = [value, value]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    assert len(read_objects(tmp_path / "a.pkl")) == 2


def test_tables_of_one_file_are_not_taken_for_one_another(tmp_path: Path) -> None:
    """Lists made on the way are thrown away, and Python gives their ids to the next ones."""
    tables = {k: np.array([[f"{k}a", None], [f"{k}b", None]], dtype=object) for k in range(50)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tables))
    assert read_objects(tmp_path / "a.pkl") == {k: [[f"{k}a", None], [f"{k}b", None]] for k in range(50)}


def test_damage_and_sizes_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", label=np.zeros((4, 5)), names=_objects("a"))
    archive = ObjectArchive(tmp_path / "a.npz")
    for use, said in (
        (lambda: archive.array("labels"), "has no 'labels', only label, names"),
        (lambda: archive.array("names"), "holds objects, where an array of numbers"),
        (lambda: archive.array("label", max_bytes=100), "160 bytes, more than the limit of 100"),
        (lambda: ObjectArchive(tmp_path / "none.npz"), "does not exist"),
        (lambda: read_objects(tmp_path / "none.pkl"), "does not exist"),
    ):
        with pytest.raises(InputError, match=said):
            use()
    lie = tmp_path / "lie.npz"
    with zipfile.ZipFile(tmp_path / "a.npz") as held, zipfile.ZipFile(lie, "w") as made:
        made.writestr("label.npy", held.read("label.npy").replace(b"(4, 5)", b"(9, 9)"))
        made.writestr("odd.npy", b"no array")
    with pytest.raises(InputError, match=r"odd is damaged|no array"):
        ObjectArchive(lie).array("odd")
    with zipfile.ZipFile(lie, "w") as made, zipfile.ZipFile(tmp_path / "a.npz") as held:
        made.writestr("label.npy", held.read("label.npy").replace(b"(4, 5)", b"(9, 9)"))
    with pytest.raises(InputError, match=r"states shape \(9, 9\)"):
        ObjectArchive(lie).array("label")
    np.save(tmp_path / "r.npy", np.zeros(3, dtype=[("a", "f8")]))
    with pytest.raises(InputError, match="expected numbers, texts or objects"):
        read_npy(tmp_path / "r.npy")
    (tmp_path / "bz.pkl").write_bytes(b"BZh91AY")
    with pytest.raises(InputError, match="bz2 or lzma"):
        read_objects(tmp_path / "bz.pkl")
