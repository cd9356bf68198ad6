"""Read what other tools have found: masks from files, and OSX/SMPL-X results (COCO json is in ``coco``).

Nothing in these files is executed (no pickles), and sizes are checked before anything is unpacked.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, FloatArray, IntArray, as_floats, as_ints, as_mask
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.images import read_image, read_opacity
from hoirecon.observation import Box

MAX_ARRAY_BYTES = 512 << 20
"""Largest unpacked size of the arrays of one npz file."""

# OSX looks at a crop of 192 x 256 pixels with a focal length of 5000 and its principal point in the middle.
OSX_FOCAL = 5000.0
OSX_INPUT = (192.0, 256.0)
SMPLX_VERTICES = 10475


@dataclass(frozen=True)
class OsxBody:
    """A SMPL-X body as OSX saw it, e.g. from InteractVLM's and PICO's folders."""

    verts_cam: FloatArray
    """(10475, 3) metres, camera frame of ``camera``."""
    faces: IntArray | None
    """(20908, 3); None where the file has none (PICO): take the model's."""
    camera: Camera
    """The virtual camera of the crop, in pixels of the whole image; far longer than the real lens."""
    box: Box
    """Box of the person, x, y, width, height in pixels."""


def read_osx(path: str | Path, width: int, height: int) -> OsxBody:
    """Read ``osx_human.npz`` or ``osx_human2.npz`` of an InteractVLM or PICO folder.

    The crop's camera has f = (5000 w / 192, 5000 h / 256) and c = the box's middle, for the person's box
    (x, y, w, h). It holds only for the image the box was found on: give that image's size.

    Args:
        path: the npz file; keys ``smpl_vertices`` (1, 10475, 3) or (10475, 3), ``bbox_2`` or ``bbox`` (4,), and
            perhaps ``smpl_faces``.
        width: width of the image in pixels.
        height: height of the image in pixels.

    Raises:
        InputError: missing keys, wrong sizes, or pickled objects.
    """
    arrays = read_arrays(path)
    verts = arrays.get("smpl_vertices")
    box = arrays.get("bbox_2", arrays.get("bbox"))
    if verts is None or box is None:
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}, expected smpl_vertices and bbox_2 or bbox")
    verts = verts[0] if verts.ndim == 3 and len(verts) == 1 else verts
    verts_cam = as_floats(verts, (SMPLX_VERTICES, 3), f"smpl_vertices of {path}")
    x, y, w, h = as_floats(np.reshape(box, -1), (4,), f"the box of {path}").tolist()
    if w <= 0 or h <= 0:
        raise InputError(f"the box {x:g},{y:g},{w:g},{h:g} of {path} has no area")
    K = np.array(
        [[OSX_FOCAL * w / OSX_INPUT[0], 0, x + w / 2], [0, OSX_FOCAL * h / OSX_INPUT[1], y + h / 2], [0, 0, 1]]
    )
    faces = arrays.get("smpl_faces")
    return OsxBody(
        verts_cam,
        None if faces is None else _check_faces(faces, path),
        Camera(K, width, height, "given"),
        (x, y, w, h),
    )


def _check_faces(faces: npt.NDArray[Any], path: str | Path) -> IntArray:
    checked = as_ints(faces, ("F", 3), f"smpl_faces of {path}")
    if len(checked) == 0 or checked.min() < 0 or checked.max() >= SMPLX_VERTICES:
        raise InputError(f"smpl_faces of {path} name vertices that are not there")
    return checked


def read_mask(path: str | Path, size: tuple[int, int] | None = None, key: str | None = None) -> BoolArray:
    """Read a mask from a picture (png, ...) or an npy/npz file.

    Of a picture the pixels brighter than half; where some of it is transparent (a cut-out), what is opaque instead.

    Args:
        path: the file.
        size: expected (height, width); a mask of another size is refused, not resized.
        key: name of the array in an npz file; None takes ``mask``, or the only array.

    Raises:
        InputError: missing, unreadable, or not a mask of that size.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the mask {path} does not exist: give the path of a picture, or of an npy or npz file")
    if path.suffix.lower() in (".npz", ".npy"):
        raw = _one_array(read_arrays(path), path, key)
        raw = raw[0] if raw.ndim == 3 and raw.shape[0] == 1 else raw
    else:
        opacity = read_opacity(path)
        raw = read_image(path).rgb if opacity is None or opacity.min() == 255 else opacity
    mask = as_mask(raw, ("H", "W"), f"the mask {path}")
    if size is not None and mask.shape != tuple(size):
        raise InputError(
            f"the mask {path} has {mask.shape[1]} x {mask.shape[0]} pixels, the photograph {size[1]} x {size[0]}: "
            f"give a mask of the photograph's size"
        )
    return mask


def read_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an npy (named ``mask``) or npz file by name; pickled objects are refused.

    Raises:
        InputError: missing, too large, damaged, or holding pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        _check_unpacked_size(path)
        # Mapping does not read an npy's data, so a header that promises more than the file has fails at once
        loaded = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
        if isinstance(loaded, np.ndarray):
            return {"mask": np.array(loaded)}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except InputError:
        raise
    except Exception as err:  # numpy and zipfile raise many kinds on damaged files
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
