"""Arrays and pictures in files, read as if an enemy had written them: nothing executed, sizes checked before memory."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray
from hoirecon.errors import InputError
from hoirecon.files import atomic_file

Arrays = dict[str, npt.NDArray[Any]]

MAX_UNPACKED_BYTES = 1 << 30
"""Limit of all arrays of one file together; a result with a dozen objects takes a hundredth of it."""
MAX_PIXELS = 200_000_000
"""Limit of a picture's pixels."""


def write_arrays(arrays: Mapping[str, npt.NDArray[Any]], path: str | Path) -> None:
    """Write numeric arrays as a compressed ``.npz``, whole or not at all.

    Raises:
        InputError: an array holds objects (they would need pickle), or the folder cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise InputError(f"the array '{name}' holds values of type {array.dtype}, expected numbers")
    named: dict[str, Any] = dict(arrays)
    with atomic_file(path) as tmp, tmp.open("wb") as handle:
        np.savez_compressed(handle, **named)


def write_png(image: ByteArray, path: str | Path | io.BytesIO) -> None:
    """Write an (H, W, 3) RGB or (H, W, 4) RGBA picture as PNG."""
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(image)).save(path, format="PNG", compress_level=5)


def read_png(data: bytes, name: str) -> ByteArray:
    """Decode the RGB PNG of a result.

    Raises:
        InputError: not a PNG, damaged, or more than ``MAX_PIXELS`` pixels (looked at before decoding).
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"{name} has {picture.width} x {picture.height} pixels, more than {MAX_PIXELS}")
            return np.array(picture.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"{name} is damaged: {err}") from err


# What zipfile, zlib, struct and numpy's header parser raise on damaged bytes.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,  # headers of Python 2 are taken apart before they are read
    TypeError,
    OverflowError,
    MemoryError,
)


def read_arrays(data: bytes, name: str, max_bytes: int = MAX_UNPACKED_BYTES) -> Arrays:
    """Read an ``.npz`` without pickle, looking at every stated size before memory is taken.

    Args:
        data: the file's content.
        name: what to call it in errors.
        max_bytes: limit of all arrays together, unpacked.

    Raises:
        InputError: not an npz, damaged, too large, or an array of objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > max_bytes:
                raise InputError(f"{name} unpacks to {total} bytes, more than the limit of {max_bytes}")
            return {
                member.filename.removesuffix(".npy"): _read_npy(archive.read(member), f"{name}/{member.filename}")
                for member in members
            }
    except InputError:
        raise
    except DAMAGED as err:
        raise InputError(f"{name} is damaged: {type(err).__name__}: {err}") from err


def _read_npy(data: bytes, name: str) -> npt.NDArray[Any]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise InputError(f"{name} has an unknown array format {version}")
    shape, fortran, dtype = read_header[version](stream)
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise InputError(f"{name} holds values of type {dtype}, expected numbers")
    body = data[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise InputError(f"{name} states shape {shape} of {dtype}, but holds {len(body)} bytes")
    return np.frombuffer(body, dtype=dtype).reshape(shape, order="F" if fortran else "C")
