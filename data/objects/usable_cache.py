"""Results of long work on meshes, kept on disk under the hash of everything they came from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.errors import InputError
from hoirecon.files import home_dir
from hoirecon.safe_io import Arrays, read_arrays, write_arrays

_META = "meta_json"
_SUFFIX = ".npz"


@dataclass(frozen=True)
class ObjectCache:
    """A folder of results; the longest unused go first when it grows too large."""

    folder: Path | None = None
    """None: ``objects`` in hoirecon's own folder (``hoirecon.files.home_dir``)."""
    max_bytes: int = 1 << 30
    """All files together; 0 keeps nothing."""

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder if self.folder is not None else home_dir() / "objects"

    def read(self, key: str) -> tuple[Arrays, dict[str, Any]] | None:
        """Arrays and values of a key; None if there are none, or what lies there is damaged."""
        file = self.path / f"{key}{_SUFFIX}"
        try:
            arrays = read_arrays(file.read_bytes(), file.name)
            meta = json.loads(arrays.pop(_META).tobytes().decode("utf-8"))
        except (OSError, InputError, KeyError, ValueError):
            return None
        with contextlib.suppress(OSError):
            os.utime(file)  # its time says when it was last of use
        return (arrays, meta) if isinstance(meta, dict) else None

    def write(self, key: str, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Keep a result; a folder that cannot be written is no reason to fail."""
        if self.max_bytes <= 0:
            return
        text = np.frombuffer(json.dumps(meta, allow_nan=False).encode("utf-8"), dtype=np.uint8)
        with contextlib.suppress(InputError, OSError):
            write_arrays({**arrays, _META: text}, self.path / f"{key}{_SUFFIX}")
            self._prune()

    def _prune(self) -> None:
        files = []
        for file in self.path.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # another process may have removed it
                status = file.stat()
                files.append((status.st_mtime_ns, status.st_size, file))
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files):
            if total <= self.max_bytes:
                break
            file.unlink(missing_ok=True)
            total -= size


def content_key(version: str, configs: tuple[Any, ...], parts: list[Any]) -> str:
    """Hash of arrays, settings and the version of the code that makes the result.

    Args:
        version: changed whenever the same input would give something else.
        configs: frozen dataclasses, strings or numbers.
        parts: arrays.
    """
    digest = hashlib.sha256(version.encode())
    for config in configs:
        value = asdict(config) if hasattr(config, "__dataclass_fields__") else config
        digest.update(json.dumps(value, sort_keys=True, default=str).encode() + b"\0")
    for part in parts:
        array = np.ascontiguousarray(part)
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
