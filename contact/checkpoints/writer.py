"""Safetensors files written tensor by tensor, in any order, so that only the tensor in hand takes memory.

The format is a JSON table of types, shapes and offsets before the bytes; with the shapes known beforehand the table is
written first and each tensor then goes to its place. ``safetensors`` itself wants all tensors of a file at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import torch
from torch import Tensor

from hoirecon.contact.checkpoints.shards import SAFE_NAMES


@dataclass(frozen=True)
class Spec:
    """Shape and type of a tensor that will come."""

    shape: tuple[int, ...]
    """Its shape."""
    dtype: torch.dtype
    """Its type."""

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class SafetensorsWriter:
    """One file being written; leave the ``with`` block only after every promised tensor came."""

    def __init__(self, path: Path, specs: Mapping[str, Spec]) -> None:
        """Lay the file out.

        Args:
            path: the file; it must lie in a folder that is renamed when all is done.
            specs: every tensor that will come.
        """
        self._path, self._specs = path, dict(specs)
        # Wider types first, so that every tensor begins at a multiple of its type's size.
        order = sorted(self._specs, key=lambda key: (-self._specs[key].dtype.itemsize, key))
        header, self._offsets = _header(order, self._specs)
        self._start = len(header)
        self._left = set(order)
        self._handle: BinaryIO = path.open("wb")
        self._handle.write(header)
        self._handle.truncate(self._start + sum(spec.nbytes for spec in self._specs.values()))

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._handle.close()
        if kind is None and self._left:
            raise RuntimeError(f"{self._path} was left without '{sorted(self._left)[0]}'")

    def write(self, key: str, tensor: Tensor) -> None:
        """Put one tensor in its place.

        Raises:
            RuntimeError: it was not promised, or otherwise than it came.
        """
        spec = self._specs[key]
        if tuple(tensor.shape) != spec.shape or tensor.dtype != spec.dtype or key not in self._left:
            raise RuntimeError(f"'{key}' came as {tuple(tensor.shape)} of {tensor.dtype}, promised was {spec}")
        self._left.discard(key)
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        self._handle.seek(self._start + self._offsets[key])
        self._handle.write(flat.view(torch.uint8).numpy().data)


def _header(order: list[str], specs: Mapping[str, Spec]) -> tuple[bytes, dict[str, int]]:
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offsets, end = {}, 0
    for key in order:
        offsets[key], end = end, end + specs[key].nbytes
        table[key] = {
            "dtype": SAFE_NAMES[specs[key].dtype],
            "shape": list(specs[key].shape),
            "data_offsets": [offsets[key], end],
        }
    text = json.dumps(table, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, offsets
