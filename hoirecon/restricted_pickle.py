"""Users' pickles read without running anything that a pickle can name: plain ones, and those that joblib writes.

``pickle.load`` calls whatever function a file asks for. Here every name that a file may ask for is answered by one of
our own stand-ins, which only keep the numbers; any other name ends the reading. Known are numpy arrays and scipy.sparse
matrices, as Python 2 and Python 3 write them, and joblib's arrays, whose bytes stand between two pieces of the pickle.
A room may add stand-ins for more names (:mod:`hoirecon.data.body.pickles` does).
"""

from __future__ import annotations

import io
import math
import pickle
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hoirecon.errors import InputError

Array = npt.NDArray[Any]
T = TypeVar("T")
Allowed = Mapping[tuple[str, str], Callable[..., Any]]
"""(module, name) that a file may ask for -> the stand-in that it gets."""

MAX_BYTES = 1 << 30
"""Largest file, packed and unpacked."""
MAX_DENSE = 1 << 27
"""Most entries of a sparse matrix that is made dense."""


class Stub:
    """Keeps what a pickled object was made of; never acts on it."""

    args: tuple[Any, ...] = ()
    state: Any = None  # on the class too: pickle may make objects without calling __init__

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DType(Stub):
    """Stands for numpy.dtype: args ("f8", ...), state (version, byte order, ...)."""

    def resolve(self) -> np.dtype[Any]:
        code = _text(self.args[0]) if self.args else ""
        if len(code) < 2 or code[0] not in "fiub" or not code[1:].isdigit():
            raise InputError(f"it holds an array of type '{code[:20]}', where only plain numbers are expected")
        order = _text(self.state[1]) if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return np.dtype((order if order in "<>=" else "=") + code)


class _NdArray(Stub):
    """Stands for numpy.ndarray made by ``_reconstruct``: state (version, shape, dtype, fortran, bytes)."""

    def resolve(self) -> Array:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise InputError("it holds a numpy array without its numbers")
        _, shape, dtype, fortran, raw = self.state
        return array_of_bytes(raw, dtype, shape, "F" if fortran else "C")


class _FromBuffer(Stub):
    """Stands for numpy's ``_frombuffer`` of pickle protocol 5: args (bytes, dtype, shape, order)."""

    def resolve(self) -> Array:
        if len(self.args) != 4:
            raise InputError("it holds a numpy array without its numbers")
        raw, dtype, shape, order = self.args
        return array_of_bytes(raw, dtype, shape, "F" if order == "F" else "C")


class _Scalar(Stub):
    """Stands for a numpy scalar: args (dtype, bytes)."""

    def resolve(self) -> Any:
        dtype, raw = self.args
        return array_of_bytes(raw, dtype, (), "C")[()]


class _Sparse(Stub):
    """Stands for scipy.sparse csc/csr matrices: the state is their attribute dictionary."""

    column_major = True

    def resolve(self) -> Array:
        state = self.state if isinstance(self.state, dict) else {}
        shape = resolve(state.get("_shape", state.get("shape")))
        indptr, indices, data = (resolve(state.get(k)) for k in ("indptr", "indices", "data"))
        if not all(isinstance(p, np.ndarray) and p.ndim == 1 for p in (indptr, indices, data)):
            raise InputError("it holds a sparse matrix without its numbers")
        return _dense(indptr, indices, data, sizes(shape), self.column_major)


class _SparseRows(_Sparse):
    column_major = False


class _JoblibArray(Stub):
    """Stands for joblib's NumpyArrayWrapper: its bytes follow in the file at the moment its state is set."""

    data: bytes  # of the whole file
    stream: io.BytesIO  # where the reading stands in it
    names: Allowed
    array: Any = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise InputError("it holds a joblib array without its numbers")
        kind, shape, order = resolve(state.get("dtype")), sizes(state.get("shape")), state.get("order")
        if not isinstance(kind, np.dtype):
            raise InputError("it holds a joblib array of something else than plain numbers")
        if kind.hasobject:  # only where a caller's stand-in for dtypes lets it through: a pickle inside the pickle
            self.array = _Unpickler(self.data, self.names, self.stream).load()
            return
        start = self.stream.tell()
        if state.get("numpy_array_alignment_bytes") is not None:  # since joblib 1.2
            start += 1 + int.from_bytes(self.data[start : start + 1], "little")
        count = math.prod(shape)
        end = start + count * kind.itemsize
        if end > len(self.data):
            raise InputError(f"it states an array of shape {shape} of {kind}, but ends before its numbers do")
        flat = np.frombuffer(self.data, kind, count, start) if count else np.empty(0, kind)
        self.stream.seek(end)
        self.array = _native(flat.reshape(shape, order="F" if order == "F" else "C"))

    def resolve(self) -> Any:
        if self.array is None:
            raise InputError("it holds a joblib array without its numbers")
        return resolve(self.array)


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes in old protocols."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise InputError("it holds an encoded text that is not latin-1")
    return text.encode("latin1")


def _no_bytes(*args: Any) -> bytes:
    """Stands for ``bytes()``, by which Python 3 writes an empty array in old protocols."""
    if args:
        raise InputError("it builds bytes from something else")
    return b""


def _rebuilt(cls: Any, *_: Any) -> Stub:
    """Stands for ``copy_reg._reconstructor`` and ``_reconstruct``, which make an empty object of a known class."""
    if not (isinstance(cls, type) and issubclass(cls, Stub)):
        raise InputError("it asks for an object of an unexpected class")
    return cls()


_JOBLIB_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")

ALLOWED: Allowed = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _rebuilt for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _DType,
    **{(f"scipy.sparse.{mod}", "csc_matrix"): _Sparse for mod in ("csc", "_csc")},
    **{(f"scipy.sparse.{mod}", "csr_matrix"): _SparseRows for mod in ("csr", "_csr")},
    ("scipy.sparse._csc", "csc_array"): _Sparse,
    ("scipy.sparse._csr", "csr_array"): _SparseRows,
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("copyreg", "_reconstructor"): _rebuilt,
    **{(builtins, "object"): object for builtins in ("__builtin__", "builtins")},
    **{(builtins, "set"): set for builtins in ("__builtin__", "builtins")},
    **{(builtins, "bytes"): _no_bytes for builtins in ("__builtin__", "builtins")},
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
}
"""What numbers need."""


class _Refused(Exception):
    """A name outside the list; carries it to the error."""


class _Unpickler(pickle.Unpickler):
    """pickle's own reader, with our list in place of its import of any name."""

    def __init__(self, data: bytes, allowed: Allowed, stream: io.BytesIO | None = None) -> None:
        # A BytesIO gives exactly the bytes that are asked for, so the stream stands right behind the joblib array's
        # state when that is set; a buffered file would have been read ahead.
        stream = io.BytesIO(data) if stream is None else stream
        super().__init__(stream, encoding="latin1")
        self._allowed = allowed
        parts = {"data": data, "stream": stream, "names": allowed}
        self._joblib_array = type("JoblibArray", (_JoblibArray,), parts)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _JOBLIB_ARRAY:
            return self._joblib_array
        if (module, name) not in self._allowed:
            raise _Refused(f"{module}.{name}")
        answer = self._allowed[module, name]
        # A file may set attributes of what it is given (opcode BUILD), defaults of arguments too: of a function it gets
        # a stand-in for this file alone, so that none reaches the next file's reading. Types refuse it.
        return (lambda *args: answer(*args)) if isinstance(answer, FunctionType) else answer

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a persistent id")


def read_pickle(
    path: str | Path,
    keys: tuple[str, ...] | None = None,
    *,
    what: str = "an array file",
    allowed: Allowed = ALLOWED,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """A pickled or joblib-written dictionary (also zlib or gzip inside), as numpy arrays and plain values.

    Nothing from the file is executed.

    Args:
        path: the file.
        keys: those wanted; None: all, which then must hold nothing but numbers, texts, lists and dictionaries.
        what: what the file should be, for errors.
        allowed: stand-ins by name.
        max_bytes: limit of the file, as it lies and unpacked.

    Raises:
        InputError: missing, too large, damaged, a file that asks for a function or class outside the list (named in
            the message), or that does not hold a dictionary.
    """

    def wanted(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise InputError(f"it holds a {type(value).__name__}, not a dictionary of arrays")
        if keys is None:
            return dict(_plain(value, {}))
        return {key: resolve(value[key]) for key in keys if key in value}

    return unpickle(Path(path), wanted, what=what, allowed=allowed, max_bytes=max_bytes)


def unpickle(
    source: Path | bytes,
    then: Callable[[Any], T],
    *,
    name: str = "",
    what: str = "an array file",
    allowed: Allowed = ALLOWED,
    max_bytes: int = MAX_BYTES,
) -> T:
    """What a function of the caller makes of a pickle's value, which may still hold stand-ins.

    Args:
        source: a file (also zlib's or gzip's), or a pickle's bytes.
        then: gets the value; an :class:`InputError` that it raises is told with the file's name.
        name: what to call bytes in errors.
        what: what it should be, for errors.
        allowed: stand-ins by name.
        max_bytes: limit of a file, as it lies and unpacked.

    Raises:
        InputError: as :func:`read_pickle`.
    """
    name = str(source) if isinstance(source, Path) else name
    try:
        data = _content(source, max_bytes) if isinstance(source, Path) else source
        return then(_Unpickler(data, allowed).load())
    except _Refused as err:
        raise InputError(
            f"{name} asks to load '{err}', which {what} does not need; it was not executed: do not trust this "
            f"file, or convert it to .npz where it came from"
        ) from None
    except InputError as err:
        raise InputError(f"{name} cannot be read: {err}") from None
    except (MemoryError, RecursionError) as err:
        raise InputError(f"{name} does not unpack into {what} ({type(err).__name__})") from None
    except Exception as err:  # a damaged pickle can fail in any opcode; all mean the same to the user
        raise InputError(f"{name} is not a readable pickle ({type(err).__name__}: {str(err)[:120]})") from None


def resolve(value: Any) -> Any:
    """Replace a stand-in by what it holds."""
    return value.resolve() if isinstance(value, Stub) and hasattr(value, "resolve") else value


def sizes(shape: Any) -> tuple[int, ...]:
    """An array's shape, checked."""
    if isinstance(shape, int):
        shape = (shape,)
    items = [int(resolve(s)) for s in shape] if isinstance(shape, tuple | list) else [-1]
    if any(s < 0 for s in items):
        raise InputError(f"it holds an array of impossible shape {shape!r:.60}")
    return tuple(items)


def _content(path: Path, max_bytes: int) -> bytes:
    """The pickle's bytes, unpacked if they are zlib's or gzip's."""
    if not path.is_file():
        raise InputError("it does not exist")
    if path.stat().st_size > max_bytes:
        raise InputError(f"it has {path.stat().st_size} bytes, more than the limit of {max_bytes}")
    data = path.read_bytes()
    if data[:3] == b"BZh" or data[:5] in (b"\xfd7zXZ", b"]\x00\x00\x80\x00"):
        raise InputError("it is packed by bz2 or lzma: save it again with joblib.dump(..., compress=0)")
    if data[:1] != b"x" and data[:2] != b"\x1f\x8b":  # no pickle begins so
        return data
    unpacker = zlib.decompressobj(wbits=47)  # zlib or gzip
    unpacked = unpacker.decompress(data, max_bytes)
    if unpacker.unconsumed_tail:
        raise InputError(f"it unpacks to more than the limit of {max_bytes} bytes")
    return unpacked


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Stand-ins resolved all the way down; ``done`` keeps a value that is named many times from being walked so."""
    if id(value) in done:
        if done[id(value)] is _ON_THE_WAY:
            raise InputError("it holds a list or dictionary that contains itself")
        return done[id(value)]
    done[id(value)] = _ON_THE_WAY
    if isinstance(value, dict):
        plain: Any = {_plain(k, {}): _plain(v, done) for k, v in value.items()}
    elif isinstance(value, list | tuple):
        plain = type(value)(_plain(v, done) for v in value)
    else:
        plain = resolve(value)
        if not isinstance(plain, (str, bytes, int, float, np.ndarray, np.generic, type(None))):
            raise InputError(f"it holds a {type(plain).__name__}, where numbers and texts are expected")
    done[id(value)] = plain
    return plain


_ON_THE_WAY = object()


def array_of_bytes(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    """An array made of bytes as pickles hold them, in the machine's byte order; sizes are checked.

    Raises:
        InputError: parts that do not fit.
    """
    kind = resolve(dtype)
    shape = sizes(shape)
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(kind, np.dtype) or not isinstance(data, bytes | bytearray):
        raise InputError("it holds a numpy array of something else than plain numbers")
    if len(data) != math.prod(shape) * kind.itemsize:
        raise InputError(f"it holds an array of shape {shape} with {len(data)} bytes of {kind}")
    return _native(np.frombuffer(data, kind).reshape(shape, order=order))


def _native(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _dense(indptr: Array, indices: Array, data: Array, shape: tuple[int, ...], column_major: bool) -> Array:
    if len(shape) != 2:
        raise InputError(f"it holds a sparse matrix of shape {shape}")
    lines, width = (shape[1], shape[0]) if column_major else shape
    counts: npt.NDArray[np.int64] = indptr[1:].astype(np.int64) - indptr[:-1].astype(np.int64)
    fits = (
        len(indptr) == lines + 1
        and len(indices) == len(data) == counts.sum()
        and (counts >= 0).all()
        and (len(indices) == 0 or (indices.min() >= 0 and indices.max() < width))
    )
    if not fits or lines * width > MAX_DENSE:
        raise InputError(f"it holds a sparse matrix of shape {shape} whose indices do not fit")
    dense = np.zeros((lines, width))
    np.add.at(dense, (np.repeat(np.arange(lines), counts), indices.astype(np.int64)), data)
    return dense.T if column_major else dense


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
