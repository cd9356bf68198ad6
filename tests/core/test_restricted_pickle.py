"""Pickles and joblib files: what is read, what is refused; nothing in a file is ever executed."""

from __future__ import annotations

import bz2
import gzip
import os
import pickle
import pickletools
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse

from hoirecon import restricted_pickle
from hoirecon.errors import InputError
from hoirecon.restricted_pickle import read_pickle

VALUES: dict[str, Any] = {
    "matrix": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(24, dtype=np.int64).reshape(2, 3, 4)),
    "swapped": np.arange(5, dtype=">f4"),
    "flags": np.array([[True, False]]),
    "empty": np.zeros((0, 3), np.float32),
    "number": np.float64(2.5),
    "views": [np.full((2, 2, 3), -1, np.int64), np.ones((2, 2, 3), np.float32)],
    "nested": {"n": 3, "name": "body", "pair": (1.5, None), 7: [True]},
}


def same(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for key in want:
            same(got[key], want[key])
    elif isinstance(want, list | tuple):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            same(one, other)
    elif isinstance(want, np.ndarray):
        np.testing.assert_array_equal(got, want, strict=False)
        assert got.dtype == want.dtype.newbyteorder("=")
    else:
        assert got == want


def joblib_bytes(array: npt.NDArray[np.int64], *, aligned: bool) -> bytes:
    """``joblib.dump({"matrix": array}, f)`` as joblib before (not aligned) and since 1.2 writes it, by hand."""
    stream = b"\x80\x04}X\x06\x00\x00\x00matrix"
    stream += b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("
    stream += b"X\x08\x00\x00\x00subclasscnumpy\nndarray\nX\x05\x00\x00\x00shape"
    stream += b"(" + b"".join(b"J" + n.to_bytes(4, "little") for n in array.shape) + b"t"
    stream += b"X\x05\x00\x00\x00orderX\x01\x00\x00\x00CX\x05\x00\x00\x00dtype"
    code = array.dtype.str[1:].encode()
    stream += b"cnumpy\ndtype\n(X" + len(code).to_bytes(4, "little") + code + b"K\x00K\x01tR"
    stream += b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    stream += b"X\x0a\x00\x00\x00allow_mmap\x88"
    if aligned:
        stream += b"X\x1b\x00\x00\x00numpy_array_alignment_bytesK\x10"
    stream += b"ub"
    if aligned:
        fill = 16 - (len(stream) + 1) % 16
        stream += bytes([fill]) + b"\xff" * fill
    return stream + array.tobytes() + b"s."


class Attack:
    """An object whose unpickling calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_is_read_whole(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(VALUES, protocol=protocol))
    same(read_pickle(path), VALUES)
    assert list(read_pickle(path, ("number", "absent"))) == ["number"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("compress", [0, 3, ("gzip", 1)])
def test_a_file_of_joblib_is_read_whole(tmp_path: Path, protocol: int, compress: Any) -> None:
    joblib = pytest.importorskip("joblib")
    path = tmp_path / "a.pkl"
    joblib.dump(VALUES, path, compress=compress, protocol=protocol)
    same(read_pickle(path), VALUES)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("pack", [bytes, zlib.compress, gzip.compress])
def test_joblibs_layout_is_read_without_joblib(tmp_path: Path, aligned: bool, pack: Any) -> None:
    array = np.arange(6, dtype="<i8").reshape(2, 3)
    path = tmp_path / "a.pkl"
    path.write_bytes(pack(joblib_bytes(array, aligned=aligned)))
    same(read_pickle(path), {"matrix": array})


def test_a_sparse_matrix_comes_out_dense(tmp_path: Path) -> None:
    dense = np.array([[0, 1.5], [0, 0], [2, 0]])
    for number, kind in enumerate((scipy.sparse.csr_matrix, scipy.sparse.csc_matrix)):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps({"matrix": kind(dense)}))
        np.testing.assert_array_equal(read_pickle(path)["matrix"], dense)


@pytest.mark.parametrize("where", ["plain", "joblib"])
def test_a_file_that_calls_a_function_is_refused_by_name(tmp_path: Path, where: str) -> None:
    mark, path = tmp_path / "executed", tmp_path / "evil.pkl"
    evil = {"matrix": np.zeros(3), "x": Attack(os.system, f"touch {mark}")}
    if where == "plain":
        path.write_bytes(pickle.dumps(evil))
    else:
        pytest.importorskip("joblib").dump(evil, path)
    with pytest.raises(InputError, match=rf"'{os.name}\.system', which a matrix does not need; it was not executed"):
        read_pickle(path, ("matrix",), what="a matrix")
    assert not mark.exists()


def test_objects_inside_a_joblib_array_are_refused(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    mark, path = tmp_path / "executed", tmp_path / "evil.pkl"
    joblib.dump({"matrix": np.array([Attack(os.system, f"touch {mark}")], dtype=object)}, path)
    with pytest.raises(InputError):
        read_pickle(path)
    assert not mark.exists()


def test_joblibs_other_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"\x80\x02cjoblib.numpy_pickle\nload\n(X\x05\x00\x00\x00/etc/tR.")
    with pytest.raises(InputError, match=r"'joblib\.numpy_pickle\.load'"):
        read_pickle(path)


def test_an_array_larger_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    whole = joblib_bytes(np.zeros((2, 3), "<i8"), aligned=True)
    huge = whole.replace((3).to_bytes(4, "little"), (2**31 - 1).to_bytes(4, "little"), 1)
    assert huge != whole
    path = tmp_path / "huge.pkl"
    path.write_bytes(huge)
    with pytest.raises(InputError, match="ends before its numbers do"):
        read_pickle(path)


def test_files_that_are_or_unpack_too_large_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(zlib.compress(pickle.dumps({"a": bytes(1_000_000)})))
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match="unpacks to more than the limit of 100000 bytes"):
        read_pickle(path, max_bytes=100_000)
    with pytest.raises(InputError, match="more than the limit of 100"):
        read_pickle(path, max_bytes=100)
    path.write_bytes(bz2.compress(pickle.dumps({"a": 1})))
    with pytest.raises(InputError, match="compress=0"):
        read_pickle(path)
    with pytest.raises(InputError, match="does not exist"):
        read_pickle(tmp_path / "none.pkl")


def test_lists_that_name_one_another_end_soon(tmp_path: Path) -> None:
    """Sixty lists that each hold the one before twice would be 2^60 values if they were walked one by one."""
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    path = tmp_path / "laughs.pkl"
    path.write_bytes(pickle.dumps({"a": value}))
    read = read_pickle(path)["a"]
    assert read[0] is read[1]
    loop: list[Any] = []
    loop.append(loop)
    path.write_bytes(pickle.dumps({"a": loop}))
    with pytest.raises(InputError, match="contains itself"):
        read_pickle(path)


@pytest.mark.parametrize("value", [{"a": {1, 2}}, [1, 2], {"a": object()}])
def test_other_values_than_numbers_and_texts_are_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(InputError):
        read_pickle(path)


def test_a_file_cannot_change_how_the_next_one_is_read(tmp_path: Path) -> None:
    """By the opcodes of pickle: the defaults of the function that stands for codecs.encode, set to another encoding."""
    put = b"(N}X\x0c\x00\x00\x00__defaults__(X\x05\x00\x00\x00utf16tstb."
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02c_codecs\nencode\n" + put)
    with pytest.raises(InputError):
        read_pickle(tmp_path / "a.pkl")
    assert restricted_pickle._latin1.__defaults__ == ("latin1",)
    assert not vars(restricted_pickle._latin1)


def test_damaged_joblib_files_never_crash(tmp_path: Path) -> None:
    whole = joblib_bytes(np.arange(6, dtype="<i8").reshape(2, 3), aligned=True)
    assert b"NumpyArrayWrapper" in whole
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "damaged.pkl", 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), size=2):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged[: rng.integers(1, len(whole) + 1)]))
        try:
            read_pickle(path)
        except InputError:
            refused += 1
    assert refused > 200


def test_the_hand_made_bytes_are_joblibs_opcodes(tmp_path: Path) -> None:
    """The hand-made file above asks for the same names as joblib's own."""
    joblib = pytest.importorskip("joblib")
    array = np.zeros((2, 3), "<i8")
    path = tmp_path / "a.pkl"
    joblib.dump({"matrix": array}, path, protocol=2)
    head = path.read_bytes().split(array.tobytes())[0]
    theirs = [arg for op, arg, _ in _opcodes(head) if op.name == "GLOBAL"]
    ours = [arg for op, arg, _ in _opcodes(joblib_bytes(array, aligned=True)) if op.name == "GLOBAL"]
    assert theirs == ours


def _opcodes(data: bytes) -> list[Any]:
    found = []
    try:
        for opcode in pickletools.genops(data):
            found.append(opcode)
    except ValueError:  # the array's bytes are no opcodes
        pass
    return found
