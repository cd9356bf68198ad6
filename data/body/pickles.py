"""Reading MPI's body pickles without running anything that a pickle can name.

``pickle.load`` calls whatever function a file asks for. Here every name that a file may ask for is answered by one of
our own stand-ins, which only keep the numbers; any other name ends the reading. Known are numpy arrays, scipy.sparse
matrices, and chumpy arrays (stored values and selections of them), as Python 2 and Python 3 write them.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.errors import InputError

Array = npt.NDArray[Any]


class _Stub:
    """Keeps what a pickled object was made of; never acts on it."""

    args: tuple[Any, ...] = ()
    state: Any = None  # on the class too: pickle may make objects without calling __init__

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DType(_Stub):
    """Stands for numpy.dtype: args ("f8", ...), state (version, byte order, ...)."""

    def resolve(self) -> np.dtype[Any]:
        code = _text(self.args[0]) if self.args else ""
        if len(code) < 2 or code[0] not in "fiub" or not code[1:].isdigit():
            raise InputError(f"it holds an array of type '{code[:20]}', where only plain numbers are expected")
        order = _text(self.state[1]) if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return np.dtype((order if order in "<>=" else "=") + code)


class _NdArray(_Stub):
    """Stands for numpy.ndarray made by ``_reconstruct``: state (version, shape, dtype, fortran, bytes)."""

    def resolve(self) -> Array:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise InputError("it holds a numpy array without its numbers")
        _, shape, dtype, fortran, raw = self.state
        return _array(raw, dtype, shape, "F" if fortran else "C")


class _FromBuffer(_Stub):
    """Stands for numpy's ``_frombuffer`` of pickle protocol 5: args (bytes, dtype, shape, order)."""

    def resolve(self) -> Array:
        if len(self.args) != 4:
            raise InputError("it holds a numpy array without its numbers")
        raw, dtype, shape, order = self.args
        return _array(raw, dtype, shape, "F" if order == "F" else "C")


class _Scalar(_Stub):
    """Stands for a numpy scalar: args (dtype, bytes)."""

    def resolve(self) -> Any:
        dtype, raw = self.args
        return _array(raw, dtype, (), "C")[()]


class _Sparse(_Stub):
    """Stands for scipy.sparse csc/csr/coo matrices: the state is their attribute dictionary."""

    column_major = True

    def resolve(self) -> Array:
        state = self.state if isinstance(self.state, dict) else {}
        shape = resolve(state.get("_shape", state.get("shape")))
        indptr, indices, data = (resolve(state.get(k)) for k in ("indptr", "indices", "data"))
        if not all(isinstance(p, np.ndarray) and p.ndim == 1 for p in (indptr, indices, data)):
            raise InputError("it holds a sparse matrix without its numbers")
        return _dense(indptr, indices, data, _sizes(shape), self.column_major)


class _SparseRows(_Sparse):
    column_major = False


class _Chumpy(_Stub):
    """Stands for chumpy.Ch: the stored value ``x``."""

    def resolve(self) -> Any:
        state = self.state if isinstance(self.state, dict) else {}
        if "x" not in state:
            raise InputError("it holds a chumpy expression without a stored value: save the model as .npz first")
        return resolve(state["x"])


class _ChumpySelect(_Stub):
    """Stands for chumpy.reordering.Select: ``a.ravel()[idxs].reshape(preferred_shape)``."""

    def resolve(self) -> Array:
        state = self.state if isinstance(self.state, dict) else {}
        if not {"a", "idxs"} <= set(state):
            raise InputError("it holds a chumpy selection without its parts: save the model as .npz first")
        picked: Array = np.ravel(resolve(state["a"]))[np.asarray(resolve(state["idxs"]))]
        shape = resolve(state.get("preferred_shape"))
        return picked if shape is None else picked.reshape(_sizes(shape))


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes in old protocols."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise InputError("it holds an encoded text that is not latin-1")
    return text.encode("latin1")


def _rebuilt(cls: Any, *_: Any) -> _Stub:
    """Stands for ``copy_reg._reconstructor`` and ``_reconstruct``, which make an empty object of a known class."""
    if not (isinstance(cls, type) and issubclass(cls, _Stub)):
        raise InputError("it asks for an object of an unexpected class")
    return cls()


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _rebuilt for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _DType,
    **{(f"scipy.sparse.{mod}", "csc_matrix"): _Sparse for mod in ("csc", "_csc")},
    **{(f"scipy.sparse.{mod}", "csr_matrix"): _SparseRows for mod in ("csr", "_csr")},
    ("scipy.sparse._csc", "csc_array"): _Sparse,
    ("scipy.sparse._csr", "csr_array"): _SparseRows,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _ChumpySelect,
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("copyreg", "_reconstructor"): _rebuilt,
    **{(builtins, "object"): object for builtins in ("__builtin__", "builtins")},
    **{(builtins, "set"): set for builtins in ("__builtin__", "builtins")},  # chumpy's bookkeeping
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
}


class _Refused(Exception):
    """A name outside the list; carries it to the error."""


class _Unpickler(pickle.Unpickler):
    """pickle's own reader, with our list in place of its import of any name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"{module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a persistent id")


def read_pickle(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The wanted keys of a pickled dictionary, as numpy arrays and plain values.

    Nothing from the file is executed. The caller checks the file's size first.

    Raises:
        InputError: the file asks for a function or class outside the short list above (named in the message), is not
            a pickle, or does not hold a dictionary.
    """
    try:
        value = _Unpickler(BytesIO(path.read_bytes()), encoding="latin1").load()
        if not isinstance(value, dict):
            raise InputError(f"it holds a {type(value).__name__}, not a dictionary of arrays")
        return {key: resolve(value[key]) for key in keys if key in value}
    except _Refused as err:
        raise InputError(
            f"{path} asks to load '{err}', which a body model does not need; it was not executed: do not trust this "
            f"file, or convert it to .npz where it came from"
        ) from None
    except InputError as err:
        raise InputError(f"{path} cannot be read: {err}") from None
    except (MemoryError, RecursionError) as err:
        raise InputError(f"{path} does not unpack into a body model ({type(err).__name__})") from None
    except Exception as err:  # a damaged pickle can fail in any opcode; all mean the same to the user
        raise InputError(f"{path} is not a readable pickle ({type(err).__name__}: {str(err)[:120]})") from None


def resolve(value: Any) -> Any:
    """Replace stand-ins by what they hold."""
    return value.resolve() if isinstance(value, _Stub) and hasattr(value, "resolve") else value


def _array(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    kind = resolve(dtype)
    sizes = _sizes(shape)
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(kind, np.dtype) or not isinstance(data, bytes | bytearray):
        raise InputError("it holds a numpy array of something else than plain numbers")
    if len(data) != math.prod(sizes) * kind.itemsize:
        raise InputError(f"it holds an array of shape {sizes} with {len(data)} bytes of {kind}")
    array = np.frombuffer(data, kind).reshape(sizes, order=order)
    return array.astype(kind.newbyteorder("="))


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
    if not fits or lines * width > 1 << 27:
        raise InputError(f"it holds a sparse matrix of shape {shape} whose indices do not fit")
    dense = np.zeros((lines, width))
    np.add.at(dense, (np.repeat(np.arange(lines), counts), indices.astype(np.int64)), data)
    return dense.T if column_major else dense


def _sizes(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, int):
        shape = (shape,)
    items = [int(s) for s in shape] if isinstance(shape, tuple | list) else [-1]
    if any(s < 0 for s in items):
        raise InputError(f"it holds an array of impossible shape {shape!r:.60}")
    return tuple(items)


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
