"""Tables of tensors in files, safetensors or torch's: nothing in a file is executed, its size is looked at first.

Every room that reads weights reads them here, so that what is refused is refused everywhere and in the same words.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoirecon.errors import InputError, require

if TYPE_CHECKING:
    from torch import Tensor

_ASKED = re.compile(r"GLOBAL ([\w.]+)|unrecognized function <[\w\- ]*?([\w.]+)>")
"""How torch names what a pickle asked for."""


def read_tensor_table(path: Path, max_bytes: int, what: str, extra: str, numpy_numbers: bool = False) -> dict[str, Any]:
    """Everything in a file that is a table; its values are tensors, numbers, texts, lists and tables.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` (``.pt``, ``.pth``, ``.bin``), which is mapped, not read.
        max_bytes: a larger file is not opened.
        what: what it should be, for errors, e.g. "a Segment Anything checkpoint".
        extra: the package's extra that brings safetensors.
        numpy_numbers: let numpy's scalars in a trainer's records pass; they come out as empty stand-ins.

    Raises:
        InputError: missing, too large, damaged, holds code, or no table.
        MissingExtraError: a safetensors file, and the package is not installed.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the path of {what}")
    if path.stat().st_size > max_bytes:
        size, limit = path.stat().st_size >> 20, max_bytes >> 20
        raise InputError(f"{path} has {size} MB, more than the limit of {limit} MB: it is not {what}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path, what, extra)
    return read_torch_table(path, what, numpy_numbers)


def read_torch_table(path: Path, what: str, numpy_numbers: bool = False) -> dict[str, Any]:
    """A file of ``torch.save`` by torch's restricted unpickling, mapped where its format allows.

    Raises:
        InputError: damaged, holds code, or no table.
    """
    import torch

    try:
        with torch.serialization.safe_globals(_skipped() if numpy_numbers else []):
            # Mapped: what nobody asks for (an optimiser's state is two thirds of some files) is then never read.
            table = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))
    except pickle.UnpicklingError as err:
        raise InputError(
            f"{path} holds more than tensors and numbers, perhaps code{_asked_for(err)}; none of it was executed: do "
            f"not load it with other programs either, and fetch {what} again as it was published"
        ) from err
    except Exception as err:  # torch raises many kinds on damaged bytes
        raise damaged(path, err) from err
    if not isinstance(table, dict):
        raise InputError(f"{path} holds a {type(table).__name__}, expected a table of tensors by name: give {what}")
    return table


def plain_tensors(table: dict[str, Any], path: Path, what: str) -> dict[str, Tensor]:
    """The table, if all of it is dense real tensors by name.

    Raises:
        InputError: something else is among them.
    """
    import torch

    for key, value in table.items():
        whole = isinstance(key, str) and isinstance(value, torch.Tensor) and value.layout is torch.strided
        if whole and value.is_complex():
            raise InputError(f"{path}: '{key[:100]}' has values of type {value.dtype}, expected plain numbers")
        if not whole:
            raise InputError(f"{path}: '{str(key)[:100]}' is no plain tensor: give {what} as it was published")
    return table


def is_zip(path: Path) -> bool:
    """Whether torch can map it; files of torch before 1.6 cannot be."""
    with path.open("rb") as handle:
        return handle.read(2) == b"PK"


def damaged(path: Path, err: Exception) -> InputError:
    """The error for bytes that are no whole file."""
    first = "".join(str(err).strip().splitlines()[:1])[:160]
    return InputError(f"{path} is damaged or cut short ({first}): fetch it again")


def _read_safetensors(path: Path, what: str, extra: str) -> dict[str, Any]:
    safetensors = require("safetensors.torch", extra=extra)
    try:
        table: dict[str, Any] = safetensors.load_file(str(path))
    except Exception as err:  # safetensors raises many kinds on damaged bytes
        raise damaged(path, err) from err
    return table


def _asked_for(err: Exception) -> str:
    """What the file wanted to be called, if torch says so; the rest of its text is on torch's own settings."""
    match = _ASKED.search(str(err))
    return f" (it asks for '{(match[1] or match[2])[:100].rstrip('.')}')" if match else ""


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
