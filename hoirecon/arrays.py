"""Checks at the seams: every public type turns its arrays into one dtype and refuses wrong shapes and NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


def as_floats(value: Any, shape: Sequence[int | str], name: str) -> FloatArray:
    """Turn a value into a finite float64 array of a given shape.

    Args:
        value: anything numpy can read; torch tensors too (detached, moved to the CPU).
        shape: expected shape; a number must match, a letter stands for any size, e.g. ``("V", 3)``.
        name: what to call the value in the error.

    Returns:
        A float64 array that owns its memory. It stays writeable: scipy and torch refuse or warn of read-only ones.

    Raises:
        InputError: wrong shape, not numbers, or NaN/infinity.

    Example:
        >>> as_floats([[0, 0, 1]], ("V", 3), "verts").shape
        (1, 3)
    """
    array = _to_array(value, np.float64, name)
    check_shape(array, shape, name)
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise InputError(f"{name} holds {bad} values that are NaN or infinite: mend or drop them first")
    return array


def as_ints(value: Any, shape: Sequence[int | str], name: str) -> IntArray:
    """Like :func:`as_floats` for indices (int64); refuses fractions."""
    raw = _to_array(value, None, name)
    check_shape(raw, shape, name)
    if raw.dtype.kind == "f" and not np.array_equal(raw, np.round(raw)):
        raise InputError(f"{name} must be whole numbers, got fractions of dtype {raw.dtype}")
    if raw.dtype.kind not in "iuf":
        raise InputError(f"{name} must be whole numbers, got dtype {raw.dtype}")
    return raw.astype(np.int64)


def as_mask(value: Any, shape: Sequence[int | str], name: str) -> BoolArray:
    """Turn a mask into bool; accepts bool, 0/1, 0/255 and probabilities (cut at one half).

    Of a colour picture the brightest channel counts; of one with transparent pixels what is opaque is the mask.

    Raises:
        InputError: wrong shape, or values that are neither of these (e.g. labels 0, 1, 2).
    """
    raw = _to_array(value, None, name)
    if raw.ndim == 3 and raw.shape[2] == 4 and raw[..., 3].min() < raw[..., 3].max():  # cut out, on nothing
        raw = raw[..., 3]
    if raw.ndim == 3 and raw.shape[2] in (1, 3, 4):  # a mask saved as a colour picture
        raw = raw[..., :3].max(axis=2)
    check_shape(raw, shape, name)
    if raw.dtype == np.bool_:
        return raw.copy()
    values = raw.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
        raise InputError(f"{name} must hold bool, 0/1, 0/255 or probabilities, got {values.min()}..{values.max()}")
    if 1 < values.max() <= 127.5:
        raise InputError(
            f"{name} must hold bool, 0/1, 0/255 or probabilities, but its highest value is {values.max():g}: of labels "
            f"give the mask of one, labels == k"
        )
    mask: BoolArray = values > (0.5 if values.max() <= 1 else 127.5)
    return mask


def as_image(value: Any, name: str = "image") -> ByteArray:
    """Check an RGB image: uint8, shape (H, W, 3); greyscale is repeated, an alpha channel dropped.

    Raises:
        InputError: wrong dtype or shape.
    """
    raw = _to_array(value, None, name)
    if raw.ndim == 2:
        raw = np.repeat(raw[..., None], 3, axis=2)
    if raw.ndim == 3 and raw.shape[2] == 4:
        raw = raw[..., :3]
    if raw.ndim == 3 and raw.shape[0] in (1, 3) and raw.shape[2] > 4:
        raise InputError(f"{name} has shape {raw.shape}, expected (H, W, 3): move the channels to the last axis")
    check_shape(raw, ("H", "W", 3), name)
    if raw.dtype != np.uint8:
        highest = float(raw.max()) if raw.size else 0.0
        raise InputError(
            f"{name} must be uint8 RGB in 0..255, got dtype {raw.dtype} up to {highest:g}: {_to_bytes(highest)}"
        )
    return np.array(raw, dtype=np.uint8)


def _to_bytes(highest: float) -> str:
    """What to do with an image of another dtype, by its highest value."""
    if highest <= 1:
        return "multiply by 255 and convert, (255 * image).astype(np.uint8)"
    return "convert, image.astype(np.uint8)" if highest <= 255 else "of 16 bits take (image // 256).astype(np.uint8)"


def check_shape(array: npt.NDArray[Any], shape: Sequence[int | str], name: str) -> None:
    """Raise :class:`InputError` unless ``array.shape`` fits ``shape`` (letters stand for any size)."""
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        want_text = "(" + ", ".join(str(s) for s in shape) + ")"
        raise InputError(f"{name} has shape {tuple(array.shape)}, expected {want_text}")


def _to_array(value: Any, dtype: Any, name: str) -> npt.NDArray[Any]:
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a torch tensor, without importing torch
        value = value.detach().cpu().numpy()
    try:
        array = np.array(value, dtype=dtype)
    except (TypeError, ValueError) as err:
        raise InputError(f"{name} must be an array of numbers, got {type(value).__name__} ({err})") from err
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    return array
