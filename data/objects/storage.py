"""How a library mesh lies on disk: one small npz with 16-bit vertices and a part number per face."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError
from hoirecon.files import atomic_file

_STEPS = 65535
"""Levels per axis: vertices are rounded to the bounding box's longest side over this (0.03 mm on two metres)."""
_MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class StoredMesh:
    """The arrays of one file."""

    verts: FloatArray
    """(V, 3) metres, object frame, bounding box centred at the origin."""
    faces: IntArray
    """(F, 3) outward."""
    face_parts: IntArray
    """(F,) index into the entry's part names."""


def write_mesh(path: Path, stored: StoredMesh) -> None:
    """Write atomically; the same mesh always gives the same bytes.

    Raises:
        InputError: more vertices or parts than the 16-bit and 8-bit numbers of the format can name.
    """
    if len(stored.verts) > _STEPS or stored.face_parts.max() > 255:
        raise InputError(f"{path.name}: {len(stored.verts)} vertices, expected at most {_STEPS}: decimate first")
    low, high = stored.verts.min(axis=0), stored.verts.max(axis=0)
    step = float((high - low).max()) / _STEPS
    with atomic_file(path) as tmp, tmp.open("wb") as handle:
        np.savez_compressed(
            handle,
            verts=np.round((stored.verts - low) / step).astype("<u2"),
            step=np.float64(step),
            faces=stored.faces.astype("<u2"),
            face_parts=stored.face_parts.astype(np.uint8),
        )


def read_mesh(path: Path) -> StoredMesh:
    """Read a file written by `write_mesh`; nothing in it is executed.

    Raises:
        InputError: missing, too large, or not such a file.
    """
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path} is not a library mesh (missing, or over {_MAX_BYTES} bytes): reinstall hoirecon")
    try:
        with np.load(path, allow_pickle=False) as data:
            verts = data["verts"].astype(np.float64) * float(data["step"])
            faces, face_parts = data["faces"].astype(np.int64), data["face_parts"].astype(np.int64)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as err:
        raise InputError(f"{path} is not a library mesh ({err}): reinstall hoirecon") from err
    return StoredMesh(verts - np.ptp(verts, axis=0) / 2, faces, face_parts)
