"""Arrays of objects in users' files, read without running anything that the files can name.

The field stores lists, dictionaries and names as numpy object arrays (pickles inside ``.npy`` and ``.npz``) and as
joblib files. Both are read here by :mod:`hoirecon.restricted_pickle`, which answers numpy's and Python's own types and
nothing else; joblib is not needed. Arrays of numbers are mapped from the file where they lie unpacked in it.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from hoirecon import restricted_pickle
from hoirecon.errors import InputError
from hoirecon.restricted_pickle import Stub, resolve, sizes, unpickle
from hoirecon.safe_io import DAMAGED

Array = npt.NDArray[Any]

MAX_ARRAY_BYTES = 2 << 30
"""Largest array of numbers, unpacked; DAMON's largest has 0.4 GB."""
MAX_OBJECT_BYTES = 512 << 20
"""Largest pickle inside an archive, and largest joblib file, packed and unpacked."""
BLOCK_BYTES = 16 << 20
"""How much of a packed array is unpacked at a time."""
PLAIN_KINDS = "biufUS"
"""Kinds of numpy types that need no pickle: numbers and texts."""


# ------------------------------------------------------------------------------------------------------------ stand-ins
class _AnyDType(Stub):
    """Stands for numpy.dtype, texts and objects too."""

    def resolve(self) -> np.dtype[Any]:
        code = _text(self.args[0]) if self.args else ""
        if code[:1] == "O":
            return np.dtype(object)
        if len(code) < 2 or code[0] not in PLAIN_KINDS or not code[1:].isdigit():
            raise InputError(f"it holds an array of type '{code[:20]}', where numbers and texts are expected")
        order = _text(self.state[1]) if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return np.dtype((order if order in "<>" else "=") + code)


class _AnyArray(Stub):
    """Stands for numpy.ndarray; one of objects keeps its list."""

    def resolve(self) -> Any:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise InputError("it holds a numpy array without its content")
        _, shape, dtype, fortran, raw = self.state
        kind = resolve(dtype)
        if isinstance(kind, np.dtype) and kind.hasobject:
            return _object_list(raw, sizes(shape), bool(fortran))
        return restricted_pickle.array_of_bytes(raw, kind, shape, "F" if fortran else "C")


def _object_list(items: Any, shape: tuple[int, ...], fortran: bool) -> Any:
    """Objects of an array as nested lists, as ``tolist`` gives them; none are touched."""
    if not isinstance(items, list) or len(items) != math.prod(shape):
        raise InputError(f"it holds an array of objects of shape {shape} without its objects")
    if len(shape) == 1:
        return items
    cells = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        cells[place] = item
    return cells.reshape(shape, order="F" if fortran else "C").tolist()


ALLOWED: restricted_pickle.Allowed = {
    **restricted_pickle.ALLOWED,
    ("numpy", "dtype"): _AnyDType,
    ("numpy", "ndarray"): _AnyArray,
}
"""What lists, dictionaries, texts and arrays of them need."""


def plain(value: Any) -> Any:
    """Stand-ins resolved all the way down: dictionaries, lists, texts, numbers, and arrays of numbers or texts.

    A list of whole numbers or of floats becomes an array, an object array a list, a set a sorted list.

    Raises:
        InputError: anything else, or a list that contains itself.
    """
    return _plain(value, {})


Done = dict[int, tuple[Any, Any]]
"""Id of a value -> the value itself and what became of it. It is kept, as lists that are made on the way here would
else be thrown away and their ids be given to others."""
_ON_THE_WAY = object()


def _plain(value: Any, done: Done) -> Any:
    key = id(value)
    if key in done:
        if done[key][1] is _ON_THE_WAY:
            raise InputError("it holds a list or dictionary that contains itself")
        return done[key][1]
    if isinstance(value, list | tuple | set) and value:
        kinds = set(map(type, value))
        if kinds <= {int} or kinds <= {int, float}:
            done[key] = value, _numbers(sorted(value) if isinstance(value, set) else value)
            return done[key][1]
    done[key] = value, _ON_THE_WAY
    if isinstance(value, dict):
        result: Any = {_key(k): _plain(v, done) for k, v in value.items()}
    elif isinstance(value, list | tuple):
        result = [_plain(v, done) for v in value]
    elif isinstance(value, set):
        result = sorted(_plain(v, done) for v in value)
    elif isinstance(value, Stub):
        result = resolve(value)
        if result is value:
            raise InputError("it holds something else than numbers, texts, lists and dictionaries")
        result = _plain(result, done) if isinstance(result, list | dict | Stub) else _leaf(result)
    else:
        result = _leaf(value)
    done[key] = value, result
    return result


def _numbers(values: Any) -> Array:
    array = np.array(values)
    if array.dtype.kind not in "if":
        raise InputError("it holds numbers that are too large for 64 bits")
    return array


def _leaf(value: Any) -> Any:
    if not isinstance(value, str | bytes | int | float | np.ndarray | np.generic | type(None)):
        raise InputError(
            f"it holds a {type(value).__name__}, where numbers, texts, lists and dictionaries are expected"
        )
    return value


def _key(value: Any) -> Any:
    key = resolve(value)
    if isinstance(key, tuple) and all(isinstance(part, str | int | float) for part in key):
        return key
    if not isinstance(key, str | bytes | int | float | np.generic):
        raise InputError(f"it holds a dictionary with a key of type {type(key).__name__}")
    return key


# --------------------------------------------------------------------------------------------------------- joblib, npy
def read_objects(path: str | Path, what: str = "a list of labels", max_bytes: int = MAX_OBJECT_BYTES) -> Any:
    """What a pickle or a joblib file holds (as it is, or packed by zlib or gzip); see :func:`plain`.

    Nothing from the file is executed.

    Raises:
        InputError: missing, too large, damaged, or asking for a function or class that is not on the list.
    """
    return unpickle(Path(path), plain, what=what, allowed=ALLOWED, max_bytes=max_bytes)


def read_npy(path: str | Path, max_bytes: int = MAX_ARRAY_BYTES) -> Any:
    """A ``.npy``: numbers are mapped from the file, texts read, objects read as :func:`plain` gives them.

    Raises:
        InputError: missing, too large, damaged, or with a pickle that asks for code.
    """
    path = _existing(path)
    try:
        with path.open("rb") as stream:
            header = _read_header(stream, str(path))
            start = stream.tell()
            if header.dtype.hasobject:
                return _objects_from(stream.read(MAX_OBJECT_BYTES + 1), header, str(path))
        _check_size(header, path.stat().st_size - start, str(path), max_bytes)
        return _mapped(path, header, start)
    except InputError:
        raise
    except DAMAGED as err:
        raise InputError(f"{path} is damaged: {type(err).__name__}: {err}") from err


# ----------------------------------------------------------------------------------------------------------------- npz
@dataclass(frozen=True)
class _Header:
    """What the head of a ``.npy`` says."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ObjectArchive:
    """An ``.npz`` read key by key: nothing is loaded before it is asked for, and nothing in it is executed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez(path, names=np.array(["a", "b"], dtype=object), label=np.eye(2))
        >>> archive = ObjectArchive(path)
        >>> archive.objects("names"), archive.array("label")[1].tolist()
        (['a', 'b'], [0.0, 1.0])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _existing(path)
        try:
            with zipfile.ZipFile(self.path) as archive:
                self._members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        except DAMAGED as err:
            raise InputError(f"{self.path} is not a readable .npz ({type(err).__name__}: {err})") from err

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self._members)

    @cached_property
    def _headers(self) -> dict[str, tuple[_Header, int]]:
        return {
            key: self._open(key, lambda stream, name: (_read_header(stream, name), stream.tell())) for key in self.keys
        }

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array, read from its head alone."""
        self._need(key)
        return self._headers[key][0].shape

    def holds_objects(self, key: str) -> bool:
        """Whether the array is one of objects."""
        self._need(key)
        return self._headers[key][0].dtype.hasobject

    def array(self, key: str, max_bytes: int = MAX_ARRAY_BYTES) -> Array:
        """An array of numbers or texts: mapped from the file if it lies unpacked in it, else read.

        Whole numbers (and floats that are whole numbers) between 0 and 255 of a packed array come as uint8.

        Raises:
            InputError: no such key, an array of objects, damaged or too large.
        """
        self._need(key)
        header, start = self._headers[key]
        name = f"{self.path}/{key}"
        if header.dtype.hasobject:
            raise InputError(f"{name} holds objects, where an array of numbers is expected")
        member = self._members[key]
        _check_size(header, member.file_size - start, name, max_bytes)
        if member.compress_type == zipfile.ZIP_STORED:
            return _mapped(self.path, header, self._offset(member) + start)
        body: Array = self._open(key, lambda stream, _: _read_body(stream, header, start))
        return body

    def objects(self, key: str) -> Any:
        """An array of objects as :func:`plain` gives it; arrays of texts as a list.

        Raises:
            InputError: no such key, damaged, too large, or a pickle that asks for code.
        """
        self._need(key)
        header, start = self._headers[key]
        if not header.dtype.hasobject:
            return self.array(key).tolist()
        data = self._open(key, lambda stream, _: stream.read(MAX_OBJECT_BYTES + 1))
        return _objects_from(data[start:], header, f"{self.path}/{key}")

    def _need(self, key: str) -> None:
        if key not in self._members:
            raise InputError(f"{self.path} has no '{key}', only {', '.join(self.keys) or 'nothing'}")

    def _open(self, key: str, use: Callable[[IO[bytes], str], Any]) -> Any:
        name = f"{self.path}/{key}"
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._members[key]) as stream:
                return use(stream, name)
        except InputError:
            raise
        except DAMAGED as err:
            raise InputError(f"{name} is damaged: {type(err).__name__}: {err}") from err

    def _offset(self, member: zipfile.ZipInfo) -> int:
        """Where an unpacked member's bytes begin in the file: behind its local header, whose length stands in it."""
        with self.path.open("rb") as stream:
            stream.seek(member.header_offset)
            local = stream.read(30)
        name, extra = struct.unpack("<HH", local[26:30])
        return int(member.header_offset + 30 + name + extra)


def _read_body(stream: IO[bytes], header: _Header, start: int) -> Array:
    """A packed array, block by block, in uint8 if that loses nothing."""
    stream.read(start)
    narrow = header.dtype.kind in "biuf" and header.dtype.itemsize > 1 and not header.fortran
    count = math.prod(header.shape)
    flat: Array = np.empty(count, np.uint8 if narrow else header.dtype)
    block = max(1, BLOCK_BYTES // header.dtype.itemsize) if narrow else max(count, 1)
    for at in range(0, count, block):
        here = min(block, count - at)
        values = np.frombuffer(stream.read(here * header.dtype.itemsize), header.dtype)
        if narrow and not _fits_byte(values):
            flat, narrow = flat.astype(header.dtype.newbyteorder("=")), False
        flat[at : at + here] = values
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _fits_byte(values: Array) -> bool:
    if not len(values) or not (values.min() >= 0 and values.max() <= 255):  # NaN fails too
        return not len(values)
    return bool((values == values.astype(np.uint8)).all())


def _read_header(stream: IO[bytes], name: str) -> _Header:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise InputError(f"{name} has an unknown array format {version}")
    shape, fortran, dtype = readers[version](stream)
    if (not dtype.hasobject and dtype.kind not in PLAIN_KINDS) or dtype.names:
        raise InputError(f"{name} holds values of type {dtype}, expected numbers, texts or objects")
    return _Header(tuple(shape), bool(fortran), dtype)


def _check_size(header: _Header, have: int, name: str, max_bytes: int) -> None:
    if header.nbytes > max_bytes:
        raise InputError(f"{name} has {header.nbytes} bytes, more than the limit of {max_bytes}")
    if header.nbytes != have:
        raise InputError(f"{name} states shape {header.shape} of {header.dtype}, but holds {have} bytes: copy it again")


def _mapped(path: Path, header: _Header, offset: int) -> Array:
    if not math.prod(header.shape):
        return np.empty(header.shape, header.dtype)
    order: Literal["C", "F"] = "F" if header.fortran else "C"
    shape = header.shape or (1,)
    mapped: Array = np.memmap(str(path), header.dtype, mode="r", offset=offset, shape=shape, order=order)
    return mapped.reshape(header.shape, order=order)


def _objects_from(data: bytes, header: _Header, name: str) -> Any:
    if len(data) > MAX_OBJECT_BYTES:
        raise InputError(f"{name} has more than the limit of {MAX_OBJECT_BYTES} bytes")
    value = unpickle(data, plain, name=name, what="a list of labels", allowed=ALLOWED)
    if header.shape and len(value) != header.shape[0]:
        raise InputError(f"{name} states shape {header.shape}, but holds {len(value)} objects")
    return value


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    return path


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
