"""Tensors in files: safetensors or torch's, in one piece or in shards, looked at before they are read.

Nothing in a file is executed: ``.bin`` files go through torch's restricted unpickling (``weights_only``). One file is
open at a time, and mapped, not read, so that only the tensor in hand takes memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hoirecon.errors import InputError, require
from hoirecon.files import read_json
from hoirecon.tensor_files import damaged, plain_tensors, read_torch_table

STEMS = ("model.safetensors", "pytorch_model.bin")
"""Names of a single file; the first that is there counts. Shards' index: the same with ``.index.json``."""
_SHARD = re.compile(r"(?P<stem>model|pytorch_model)-(?P<i>\d{5})-of-(?P<n>\d{5})\.(?P<kind>safetensors|bin)")


@dataclass(frozen=True)
class TensorInfo:
    """What is known of a tensor without reading it."""

    file: Path
    """File that holds it."""
    key: str
    """Its name there."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: torch.dtype
    """Its type."""

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class Shard(Protocol):
    """One open file of tensors."""

    def infos(self) -> dict[str, TensorInfo]:
        """Every tensor of the file."""
        ...

    def tensor(self, key: str) -> Tensor:
        """One tensor, possibly a view of the mapped file."""
        ...


def read_catalogue(folder: str | Path) -> dict[str, TensorInfo]:
    """Every tensor of a folder by name, from headers only.

    Raises:
        InputError: no weights there, a shard is missing, damaged, or holds more than tensors, the index names what is
            not there, or two shards hold the same tensor.
    """
    found: dict[str, TensorInfo] = {}
    files, index = _files_of(Path(folder))
    for file in files:
        with open_shard(file) as shard:
            infos = shard.infos()
        if twice := next((key for key in infos if key in found), None):
            raise InputError(f"'{twice}' stands in both {found[twice].file} and {file}: the folder mixes two saves")
        found |= infos
    for key, file in index.items():
        if key not in found or found[key].file != file:
            raise InputError(f"the index of {folder} promises '{key}' in {file.name}, but it is not there: fetch again")
    return found


@contextmanager
def open_shard(path: Path) -> Iterator[Shard]:
    """Open one file of tensors.

    Raises:
        InputError: missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise InputError(f"the weights {path} are not there: fetch the whole folder again")
    if path.suffix == ".safetensors":
        with _open_safetensors(path) as safe:
            yield safe
    else:
        yield _PickledShard(path)


def read_tensors(infos: dict[str, TensorInfo]) -> Iterator[tuple[str, Tensor]]:
    """The tensors under the given names, file after file with one file open at a time."""
    by_file: dict[Path, list[str]] = {}
    for name, info in infos.items():
        by_file.setdefault(info.file, []).append(name)
    for file, names in by_file.items():
        with open_shard(file) as shard:
            for name in names:
                yield name, shard.tensor(infos[name].key)


def has_weights(folder: Path) -> bool:
    """Whether there is anything that :func:`read_catalogue` would read."""
    return any((folder / (stem + end)).is_file() for stem in STEMS for end in ("", ".index.json")) or bool(
        _numbered(folder)
    )


def _files_of(folder: Path) -> tuple[list[Path], dict[str, Path]]:
    for stem in STEMS:
        if (folder / f"{stem}.index.json").is_file():
            index = _read_index(folder / f"{stem}.index.json")
            return sorted(set(index.values())), index
        if (folder / stem).is_file():
            return [folder / stem], {}
    if shards := _numbered(folder):
        return shards, {}
    raise InputError(
        f"{folder} holds no weights ({', '.join(STEMS)} or shards of these): give the folder of a released InteractVLM "
        "model, or one that 'hoirecon contact convert' wrote"
    )


def _read_index(path: Path) -> dict[str, Path]:
    """File of each tensor; names that would leave the folder are refused."""
    read = read_json(path)
    table = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(table, dict) or not table:
        raise InputError(f"{path} has no table 'weight_map' of tensors: fetch it again")
    for key, name in table.items():
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise InputError(f"{path} puts '{key}' into {name!r}, which is no file name inside the folder")
        if not (path.parent / name).is_file():
            raise InputError(f"{path} puts '{key}' into {name}, but that shard is not there: fetch it again")
    return {key: path.parent / name for key, name in table.items()}


def _numbered(folder: Path) -> list[Path]:
    """Shards that lie there without an index; a set with gaps is refused."""
    matches = [m for p in sorted(folder.glob("*-of-*")) if (m := _SHARD.fullmatch(p.name))]
    for stem in ("model", "pytorch_model"):
        mine = [m for m in matches if m["stem"] == stem]
        if not mine:
            continue
        first = mine[0]
        if int(first["n"]) > 10_000:
            raise InputError(f"{folder / first[0]} says that it is one of {first['n']} shards: no model has so many")
        names = [f"{stem}-{i:05d}-of-{first['n']}.{first['kind']}" for i in range(1, int(first["n"]) + 1)]
        if absent := next((name for name in names if not (folder / name).is_file()), None):
            raise InputError(f"the shard {folder / absent} is not there: fetch it again")
        return [folder / name for name in names]
    return []


class _SafeShard:
    """A safetensors file."""

    def __init__(self, path: Path, handle: Any) -> None:
        self._path, self._handle = path, handle

    def infos(self) -> dict[str, TensorInfo]:
        return {key: self._info(key) for key in self._handle.keys()}  # noqa: SIM118 (not a dict)

    def tensor(self, key: str) -> Tensor:
        try:
            read: Tensor = self._handle.get_tensor(key)
        except _damage() as err:
            raise damaged(self._path, err) from err
        return read

    def _info(self, key: str) -> TensorInfo:
        part = self._handle.get_slice(key)
        kind = part.get_dtype()
        if kind not in _SAFE_TYPES:
            raise InputError(f"{self._path}: '{key}' has values of type {kind}, expected {', '.join(_SAFE_TYPES)}")
        return TensorInfo(self._path, key, tuple(part.get_shape()), _SAFE_TYPES[kind])


_SAFE_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
SAFE_NAMES = {dtype: name for name, dtype in _SAFE_TYPES.items()}
"""Name of each type that weights may have, in safetensors' spelling."""


@contextmanager
def _open_safetensors(path: Path) -> Iterator[_SafeShard]:
    safetensors = require("safetensors", extra="vlm")
    try:
        handle = safetensors.safe_open(path, framework="pt", device="cpu")
    except _damage() as err:
        raise damaged(path, err) from err
    with handle:
        yield _SafeShard(path, handle)


class _PickledShard:
    """A file of ``torch.save``, mapped into memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        what = "the model"
        self._state = plain_tensors(read_torch_table(path, what), path, what)
        for key, value in self._state.items():
            if value.dtype not in SAFE_NAMES:
                raise InputError(f"{path}: '{key}' has values of type {value.dtype}, expected plain numbers")

    def infos(self) -> dict[str, TensorInfo]:
        return {k: TensorInfo(self._path, k, tuple(v.shape), v.dtype) for k, v in self._state.items()}

    def tensor(self, key: str) -> Tensor:
        return self._state[key].detach()


def _damage() -> tuple[type[Exception], ...]:
    """What torch and safetensors raise on damaged bytes."""
    from safetensors import SafetensorError

    return (SafetensorError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError)
