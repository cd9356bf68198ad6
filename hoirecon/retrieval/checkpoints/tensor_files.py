"""An encoder's tensors out of the wrappings that published files have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.tensor_files import plain_tensors, read_tensor_table

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
    return read_tensor_table(path, MAX_BYTES, "a point-cloud encoder's file", "retrieval", numpy_numbers=True)


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
    tensors = plain_tensors(table, path, "an encoder's file")
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: '{key[:100]}' holds NaN or infinity: fetch the file again")
    return tensors
