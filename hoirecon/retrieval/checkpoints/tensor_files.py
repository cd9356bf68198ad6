"""Tables of tensors in files, safetensors or torch's: nothing in a file is executed, its size is looked at first."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoirecon.errors import InputError, require

MAX_BYTES = 2 << 30
"""Largest file that is opened (the largest released one, with its optimiser's state, has 0.39 GB)."""
NESTED = "state_dict"
"""Where trainers keep the network's tensors, beside what else they save."""
PREFIXES = ("pc_encoder.", "module.")
"""First components under which published files put the encoder; other entries beside them are left alone."""
CLIP_PROJECTIONS = ("image_proj", "text_proj")
"""Trained layers on CLIP's side, which no published file uses."""


def read_encoder_tensors(path: str | Path) -> dict[str, Tensor]:
    """The encoder's tensors by their own names, out of any of the wrappings that published files have.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` (``.pt``, ``.pth``, ``.bin``).

    Raises:
        InputError: missing, too large, damaged, holds code, or no encoder's tensors.
        MissingExtraError: a safetensors file, and the package is not installed.
    """
    path = Path(path)
    return _checked(unwrapped(read_table(path), path), path)


def read_table(path: Path) -> dict[str, Any]:
    """Everything in a file that is a table, tensors mapped and not read; numpy's numbers are left out.

    Raises:
        InputError: missing, too large, damaged, or holds code.
        MissingExtraError: a safetensors file, and the package is not installed.
    """
    if not path.is_file():
        raise InputError(f"the weights {path} do not exist: give the file, or the folder that holds it")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(
            f"{path} has {path.stat().st_size >> 20} MB, more than the limit of {MAX_BYTES >> 20} MB: it is no "
            "point-cloud encoder"
        )
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def unwrapped(table: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """The encoder's entries of a file, by the encoder's own names."""
    if isinstance(table.get(NESTED), dict):
        if used := next((key for key in CLIP_PROJECTIONS if table.get(key) is not None), None):
            raise InputError(
                f"{path} also projects CLIP's embeddings ('{used}'), which is not supported: give a file without, as "
                "OpenShape's published ones are"
            )
        table = table[NESTED]
    named = {key: value for key, value in table.items() if isinstance(key, str)}
    for prefix in PREFIXES:
        if inner := {key.removeprefix(prefix): value for key, value in named.items() if key.startswith(prefix)}:
            return inner
    return named


def _checked(table: dict[str, Any], path: Path) -> dict[str, Tensor]:
    for key, value in table.items():
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_complex():
            raise InputError(f"{path}: '{key[:100]}' is no plain tensor: give an encoder's file as it was published")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: '{key[:100]}' holds NaN or infinity: fetch the file again")
    return table


def _read_safetensors(path: Path) -> dict[str, Any]:
    safetensors = require("safetensors.torch", extra="retrieval")
    try:
        table: dict[str, Any] = safetensors.load_file(str(path))
    except Exception as err:  # safetensors raises many kinds on damaged bytes
        raise _damaged(path, err) from err
    return table


class _Skipped:
    """Stands for numpy's numbers in a trainer's records (the best accuracy and such), which are not needed."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _skipped() -> list[Any]:
    names = ["numpy.dtype"]
    names += [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    names += [f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")]
    return [(_Skipped, name) for name in names]


def _read_torch(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        mapped = handle.read(2) == b"PK"  # files of torch before 1.6 cannot be mapped
    try:
        with torch.serialization.safe_globals(_skipped()):
            # Mapped: an optimiser's state, two thirds of the largest file, is then never read.
            table = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as err:
        raise InputError(
            f"{path} holds more than tensors and numbers, perhaps code; none of it was executed: do not load it with "
            "other programs either, and fetch the published file again"
        ) from err
    except Exception as err:  # torch raises many kinds on damaged bytes
        raise _damaged(path, err) from err
    if not isinstance(table, dict):
        raise InputError(f"{path} holds a {type(table).__name__}, expected a table of tensors by name")
    return table


def _damaged(path: Path, err: Exception) -> InputError:
    first = "".join(str(err).strip().splitlines()[:1])[:160]
    return InputError(f"{path} is damaged or cut short ({first}): fetch it again")
