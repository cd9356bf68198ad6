"""Files are written whole or not at all: first under a temporary name beside the target, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hoirecon.errors import InputError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it replaces ``path``, on error it is removed.

    Raises:
        InputError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_file(target) as tmp:
        ...     _ = tmp.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    check_writable(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    tmp = Path(name)
    try:
        yield tmp
        tmp.chmod(0o644)
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; on success it takes the place of ``path``.

    An existing ``path`` is replaced only if it is empty or holds ``marker`` (a file that our own results carry),
    so that a user's unrelated folder is never removed.

    Raises:
        InputError: the parent cannot be written, or ``path`` exists and is not one of our results.
    """
    path = Path(path)
    check_replaceable(path, marker)
    tmp = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    old: Path | None = None
    try:
        yield tmp
        tmp.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            os.replace(path, old)
        os.replace(tmp, path)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
        if old is not None and not path.exists():  # stopped between the two renames: what was there comes back
            os.replace(old, path)
        elif old is not None:
            shutil.rmtree(old, ignore_errors=True)


def check_replaceable(path: str | Path, marker: str) -> None:
    """Raise :class:`InputError` unless a result may be written to ``path``; call it before long work starts."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: give a folder to write the result to")
    if path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
        raise InputError(f"{path} is not empty and holds no {marker}: give a new folder, or an earlier result")
    check_writable(path.parent)


def check_writable(folder: str | Path) -> None:
    """Make a folder if it is missing and raise :class:`InputError` if nothing can be written there."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise InputError(f"cannot write to {folder} ({err.strerror or err}): choose another folder") from err


def check_mesh_file(path: Path, formats: Collection[str], max_bytes: int) -> None:
    """Raise :class:`InputError` unless a mesh file is there, of one of the formats (endings), and not too large."""
    known = ", ".join(formats)
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a mesh file ({known})")
    if path.suffix.lower() not in formats:
        raise InputError(f"{path.name} is not a mesh file that can be read: convert it to one of {known}")
    if path.stat().st_size > max_bytes:
        raise InputError(f"{path.name} has {path.stat().st_size >> 20} MiB, more than {max_bytes >> 20}: decimate it")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON (indented, UTF-8, no NaN) atomically."""
    with atomic_file(path) as tmp:
        tmp.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, max_bytes: int = 64 << 20) -> Any:
    """Read JSON up to a size limit.

    Raises:
        InputError: missing, larger than ``max_bytes``, or not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > max_bytes:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {max_bytes}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as err:
        raise InputError(f"{path} is not JSON: {err}") from err


def home_dir() -> Path:
    """Folder of everything hoirecon keeps between runs: ``$HOIRECON_HOME``, else the user's cache folder."""
    if home := os.environ.get("HOIRECON_HOME"):
        return Path(home).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "hoirecon"
