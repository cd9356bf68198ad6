"""What was drawn and encoded once is kept on disk: pictures and pixel maps of a thing, and MV-Loc's features of them.

views = render_once(surface, table, lights, renderer, cache)
features = encode_once(views_key(surface, table, lights, renderer), weights_hash(encoder), encode, cache)

A file's name is a hash of everything that its content depends on, so nothing ever goes stale. Files are written whole
or not at all, and checked in full before they are believed: a damaged one is removed and made again. When the folder
grows beyond its limit, the files that were not used for longest go. ``cache=None`` keeps nothing.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hoirecon.contact.rendering.surfaces import content_hash
from hoirecon.contact.rendering.types import (
    Lights,
    Maps,
    PixelMaps,
    PointMaps,
    RenderedViews,
    Renderer,
    Surface,
    ViewTable,
)
from hoirecon.errors import InputError, MissingExtraError, require
from hoirecon.files import atomic_file, home_dir
from hoirecon.safe_io import Arrays, read_arrays

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 1
"""Part of every key: raised when pictures, maps or their files change their meaning."""
MAX_BYTES = 4 << 30
"""Default limit of the folder; one thing seen from four sides takes about 30 MB, its features 8 to 16."""
MAX_FILE_BYTES = 1 << 30
"""Limit of one file."""
ABANDONED_S = 3600
"""Age from which a half-written file belongs to a process that was stopped."""
BACKGROUND = 255
"""Grey level of pictures where nothing is seen."""


@dataclass(frozen=True)
class ViewCache:
    """A folder of rendered views and encoded features; any number of threads and processes may share it."""

    folder: Path = field(default_factory=lambda: home_dir() / "views")
    """Where the files are."""
    max_bytes: int = MAX_BYTES
    """Least recently used files are removed beyond it."""
    half_features: bool = False
    """Keep float32 features as float16: half the size, but what is read is rounded to 11 bits (and so is what is given
    when they are first made, so that every run has the same numbers)."""
    _locks: dict[str, threading.Lock] = field(default_factory=dict, repr=False, compare=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def path(self, key: str, suffix: str) -> Path:
        """File of a key."""
        return self.folder / f"{key}{suffix}"

    def read(self, path: Path) -> bytes | None:
        """A file's content, marked as used now; None if there is none."""
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                return None
            data = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # a folder that only others may write serves all the same
            os.utime(path)
        return data

    def write(self, path: Path, save: Callable[[Path], None]) -> None:
        """Write a file whole, then make room. A cache that cannot be written is no reason to fail: it warns."""
        try:
            with atomic_file(path) as tmp:
                save(tmp)
            self.prune(keep=path)
        except (InputError, OSError) as err:
            warnings.warn(f"nothing was kept in the cache of views: {err}", stacklevel=3)

    def prune(self, keep: Path | None = None) -> None:
        """Remove the least recently used files until the folder is within its limit; ``keep`` stays."""
        files = []
        for path in self.folder.iterdir():
            try:
                stat = path.stat()
            except OSError:  # another process was faster
                continue
            if path.name.startswith("."):
                if time.time() - stat.st_mtime > ABANDONED_S:
                    path.unlink(missing_ok=True)
            elif path.is_file():
                files.append((stat.st_mtime_ns, path, stat.st_size))
        total = sum(size for _, _, size in files)
        for _, path, size in sorted(files):
            if total <= self.max_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size

    @contextmanager
    def one_at_a_time(self, key: str) -> Iterator[None]:
        """Threads that want the same thing wait for the first, so that it is made once."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            yield


def views_key(surface: Surface, table: ViewTable, lights: Lights, renderer: Renderer) -> str:
    """Name of the pictures and maps of a surface: 32 hex digits of a hash of all they depend on."""
    settings = sorted((name, value) for name, value in vars(renderer).items() if name != "device" and name[0] != "_")
    told = (VERSION, content_hash(surface, table), renderer.name, settings, lights)  # devices see the same
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def weights_hash(module: torch.nn.Module) -> str:
    """Name of an encoder's weights: 32 hex digits over names, types, shapes and every number.

    Takes about two seconds for the full-size encoder; a checkpoint's own hash serves as well.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        raw = tensor.detach().contiguous().cpu()
        digest.update(repr((name, raw.dtype, tuple(raw.shape))).encode())
        digest.update(raw.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def render_once(
    surface: Surface, table: ViewTable, lights: Lights, renderer: Renderer, cache: ViewCache | None = None
) -> RenderedViews:
    """Pictures and maps of a surface, from the cache if it has them.

    Args:
        surface: what is drawn.
        table: the views.
        lights: where the light stands in each.
        renderer: draws what is missing; its name and settings are part of the key.
        cache: None draws anew.
    """
    if cache is None:
        return renderer.render(surface, table, lights)
    key = views_key(surface, table, lights, renderer)
    path = cache.path(key, ".npz")
    with cache.one_at_a_time(key):
        kept = _read_views(cache, path, table, surface)
        if kept is not None:
            return kept
        made = renderer.render(surface, table, lights)
        arrays: dict[str, Any] = _packed(made)
        cache.write(path, lambda tmp: _save_npz(tmp, arrays))
        return made


def encode_once(views: str, encoder: str, encode: Callable[[], Tensor], cache: ViewCache | None = None) -> Tensor:
    """MV-Loc's features of pictures, from the cache if it has them.

    Args:
        views: key of the pictures (:func:`views_key`, and whatever else was done to them).
        encoder: hash of the encoder's weights (:func:`weights_hash`).
        encode: makes the (V, C, e, e) features; the kept ones come back on the CPU in the type they were kept in.
        cache: None encodes anew. Without the package safetensors nothing is kept either.
    """
    if cache is None:
        return encode()
    import torch

    key = hashlib.sha256(f"{VERSION} {views} {encoder} {cache.half_features}".encode()).hexdigest()[:32]
    path = cache.path(key, ".safetensors")
    with cache.one_at_a_time(key):
        kept = _read_features(cache, path)
        if kept is not None:
            return kept
        made = encode()
        if cache.half_features and made.dtype == torch.float32:
            made = made.half()
        content = _features_bytes(made)
        if content is not None:
            cache.write(path, lambda tmp: _save_bytes(tmp, content))
        return made


def _save_npz(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as handle:
        np.savez(handle, **arrays)  # not compressed: reading must be faster than drawing


def _save_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _packed(views: RenderedViews) -> Arrays:
    """Only the pixels that show something; the rest is background."""
    seen = views.maps.foreground
    flat = np.flatnonzero(seen)
    arrays: Arrays = {"pixels": flat.astype(np.uint32)}
    if isinstance(views.maps, PixelMaps):
        arrays["verts"] = views.maps.verts.reshape(-1, 3)[flat]
        arrays["bary"] = views.maps.bary.reshape(-1, 3)[flat]
    else:
        arrays["points"] = views.maps.points.reshape(-1)[flat]
    if (views.images[~seen] == BACKGROUND).all():
        arrays["colors"] = views.images[seen]
    else:
        arrays["images"] = views.images
    return arrays


def _unpacked(arrays: Arrays, table: ViewTable, surface: Surface) -> RenderedViews:
    """The inverse; anything that does not fit raises."""
    shape, count = (len(table.views), table.size, table.size), len(surface.verts)
    flat = arrays["pixels"].astype(np.int64)
    maps: Maps
    if surface.faces is None:
        maps = PointMaps(_spread(arrays["points"], flat, shape, -1, np.int32), count, table.names)
        ids = maps.points
    else:
        verts = _spread(arrays["verts"], flat, (*shape, 3), -1, np.int32)
        maps = PixelMaps(verts, _spread(arrays["bary"], flat, (*shape, 3), -1, np.float32), count, table.names)
        ids = verts
    if ids.max(initial=-1) >= count:
        raise InputError("it names vertices that do not exist")
    if "images" in arrays:
        images = arrays["images"].astype(np.uint8, copy=True)
    else:
        images = _spread(arrays["colors"], flat, (*shape, 3), BACKGROUND, np.uint8)
    if images.shape != (*shape, 3):
        raise InputError(f"it holds pictures of shape {images.shape}")
    return RenderedViews(images, maps)


def _spread(values: npt.NDArray[Any], flat: npt.NDArray[np.int64], shape: Any, background: int, dtype: Any) -> Any:
    whole = np.full(shape, background, dtype)
    whole.reshape(-1, *whole.shape[3:])[flat] = values
    return whole


def _read_views(cache: ViewCache, path: Path, table: ViewTable, surface: Surface) -> RenderedViews | None:
    data = cache.read(path)
    if data is None:
        return None
    try:
        return _unpacked(read_arrays(data, path.name, MAX_FILE_BYTES), table, surface)
    except (InputError, KeyError, ValueError, IndexError):  # damaged: made again
        path.unlink(missing_ok=True)
        return None


def _features_bytes(features: Tensor) -> bytes | None:
    """The tensor as a safetensors file that carries a hash of its numbers; None without that package."""
    try:
        safetensors = require("safetensors.torch", extra="vlm")
    except MissingExtraError:
        return None
    plain = features.detach().cpu().contiguous()
    content: bytes = safetensors.save({"features": plain}, metadata={"sha256": _tensor_hash(plain)})
    return content


def _read_features(cache: ViewCache, path: Path) -> Tensor | None:
    data = cache.read(path)
    if data is None:
        return None
    try:
        safetensors = require("safetensors.torch", extra="vlm")
        features: Tensor = safetensors.load(data)["features"]
        if f'"{_tensor_hash(features)}"'.encode() in data[: 1 << 12]:  # in the header's metadata
            return features
    except MissingExtraError:
        return None
    except Exception:  # safetensors has errors of its own, one for every kind of damage
        pass
    path.unlink(missing_ok=True)
    return None


def _tensor_hash(tensor: Tensor) -> str:
    import torch

    flat = tensor.reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(repr((tensor.dtype, tuple(tensor.shape))).encode() + flat.tobytes()).hexdigest()
