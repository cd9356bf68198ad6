"""Read what other tools have found: masks, COCO annotations, OSX/SMPL-X results.

Nothing in these files is executed (no pickles), and sizes are checked before anything is unpacked.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, FloatArray, IntArray, as_floats, as_ints, as_mask
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.observation import Keypoints
from hoirecon.perception.images import read_image
from hoirecon.perception.persons import person_from_parts
from hoirecon.perception.protocols import PersonDetection

MAX_ARRAY_BYTES = 512 << 20
"""Largest unpacked size of the arrays of one npz file."""


def read_mask(path: str | Path, size: tuple[int, int] | None = None, key: str | None = None) -> BoolArray:
    """Read a mask from a picture (png, ...) or an npy/npz file.

    Args:
        path: the file.
        size: expected (height, width); a mask of another size is refused, not resized.
        key: name of the array in an npz file; None takes ``mask``, or the only array.

    Raises:
        InputError: unreadable, or not a mask of that size.
    """
    path = Path(path)
    if path.suffix.lower() in (".npz", ".npy"):
        raw = _one_array(read_arrays(path), path, key)
        raw = raw[0] if raw.ndim == 3 and raw.shape[0] == 1 else raw
    else:
        raw = read_image(path).rgb
    mask = as_mask(raw, ("H", "W"), f"the mask {path}")
    if size is not None and mask.shape != tuple(size):
        raise InputError(
            f"the mask {path} has {mask.shape[1]} x {mask.shape[0]} pixels, the photograph {size[1]} x {size[0]}: "
            f"give a mask of the photograph's size"
        )
    return mask


def read_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an npy or npz file by name; pickled objects are refused.

    Raises:
        InputError: missing, too large, damaged, or holding pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        _check_unpacked_size(path)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"mask": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except InputError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, MemoryError, SyntaxError) as err:
        raise InputError(f"{path} is not a plain npy/npz file ({err}): save it again without objects") from err


def _check_unpacked_size(path: Path) -> None:
    total = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            total = sum(info.file_size for info in archive.infolist())
    if total > MAX_ARRAY_BYTES:
        raise InputError(f"{path} unpacks to {total >> 20} MB, more than the limit of {MAX_ARRAY_BYTES >> 20} MB")


def _one_array(arrays: dict[str, npt.NDArray[Any]], path: Path, key: str | None) -> npt.NDArray[Any]:
    name = key or ("mask" if "mask" in arrays else next(iter(arrays), ""))
    if name not in arrays or (key is None and name != "mask" and len(arrays) > 1):
        raise InputError(f"{path} holds the arrays {', '.join(arrays) or 'none'}: say which one is the mask")
    return arrays[name]
