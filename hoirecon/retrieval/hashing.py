"""Hashes that name weights and files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

PLY_HEADER_BYTES = 1 << 16
"""Longest header of a PLY file that is looked through."""
_NAMES_A_FILE = re.compile(rb"\s*(?:mtllib|map_kd|comment\s+texturefile)\s+([^\r\n]+)", re.IGNORECASE)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def mesh_hash(path: Path) -> str:
    """SHA-256 of all that a mesh file shows, in hexadecimal: of an OBJ with materials, or of a mesh with a texture in a
    file of its own, these count too. It is the file's own hash where nothing lies beside it."""
    beside = _beside(path)
    if not beside:
        return file_hash(path)
    return hashlib.sha256(" ".join(map(file_hash, [path, *beside])).encode()).hexdigest()


def _beside(path: Path) -> list[Path]:
    """Files below a mesh's folder that it, or its materials, name for its colours; those that are there."""
    if path.suffix.lower() == ".ply":
        with path.open("rb") as handle:
            return _named(handle.read(PLY_HEADER_BYTES).split(b"end_header")[0].splitlines(), path.parent)
    if path.suffix.lower() != ".obj":
        return []
    found = []
    for material in _named_in(path):
        found += [material, *_named_in(material)]
    return found


def _named_in(path: Path) -> list[Path]:
    with path.open("rb") as handle:
        return _named(handle, path.parent)


def _named(lines: Iterable[bytes], folder: Path) -> list[Path]:
    names = [m[1].decode("utf-8", "replace").strip() for line in lines if (m := _NAMES_A_FILE.match(line))]
    inside = [name for name in names if ".." not in PurePosixPath(name).parts and not PurePosixPath(name).is_absolute()]
    return [folder / name for name in inside if (folder / name).is_file()]
