"""What a result depends on, as hashes: code, parameters, files; and the versions of packages."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.errors import InputError

PACKAGES = ("numpy", "scipy", "torch", "trimesh", "transformers", "hoirecon")
"""Packages whose versions a run records, where they are installed."""
CONTENT_LIMIT = 64 << 20
"""Of larger files name, size, both ends and the middle are hashed: a checkpoint has tens of gigabytes."""
_PIECE = 1 << 20
HASHED = ("hoirecon.evaluation.metrics", "hoirecon.evaluation.tasks", "hoirecon.evaluation.runs")
"""Packages whose code decides a score."""


def digest(value: Any) -> str:
    """16 hexadecimal digits of plain values; equal for equal values, whatever the order of a mapping.

    Example:
        >>> digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
        True
    """
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def plain(value: Any) -> Any:
    """The same as JSON's own types; paths by their last name alone, so that nothing of a machine is in it.

    Raises:
        InputError: something that is no plain value.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Path):
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InputError(f"parameters of a method are plain values (numbers, text, lists), got {value!r}")


def file_fingerprint(path: str | Path) -> str:
    """Digest of a file, or of all files of a folder, by names and contents (large files: see :data:`CONTENT_LIMIT`).

    Raises:
        InputError: nothing there.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return digest([[p.relative_to(path).as_posix() if path.is_dir() else p.name, *_content(p)] for p in files])


def _content(path: Path) -> tuple[int, str]:
    size, sha = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as handle:
        places: Iterable[int] = (0, size // 2, size - _PIECE) if size > CONTENT_LIMIT else range(0, size, _PIECE)
        for place in places:
            handle.seek(place)
            sha.update(handle.read(_PIECE))
    return size, sha.hexdigest()


@cache
def code_fingerprint() -> str:
    """Digest of the code that scores: metrics, tasks and runs."""
    import hoirecon

    root = Path(hoirecon.__file__).resolve().parent
    folders = [root.joinpath(*name.split(".")[1:]) for name in HASHED]
    files = [p for f in folders for p in (sorted(f.rglob("*.py")) if f.is_dir() else [f.with_suffix(".py")])]
    return digest([[p.relative_to(root).as_posix(), *_content(p)] for p in files if p.is_file()])


def package_versions() -> dict[str, str]:
    """Versions of the packages that are installed; nothing of the machine."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
