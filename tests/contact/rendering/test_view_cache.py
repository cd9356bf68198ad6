"""The cache of views: what comes back is what was made; damage, limits and threads do no harm."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact.rendering import view_cache
from hoirecon.contact.rendering.types import (
    Lights,
    PixelMaps,
    PointMaps,
    RenderedViews,
    Surface,
    View,
    ViewTable,
)
from hoirecon.contact.rendering.view_cache import ViewCache, encode_once, render_once, views_key, weights_hash

TABLE = ViewTable("t", (View("a", 2, 45, 0), View("b", 2, 0, 90)), size=6)
LIGHTS: Lights = ((0, 0, 3), (0, 0, -3))
TRIANGLE = Surface(np.eye(3), np.array([[0, 1, 2]]), np.full((3, 3), 0.5), np.eye(3))
CLOUD = Surface(np.eye(3), None, np.full((3, 3), 0.5))


@dataclass
class RandomRenderer:
    """Draws noise and counts how often; ``gray`` is the background."""

    gray: int = 255
    device: str = "cpu"
    slow_s: float = 0.0
    _drawn: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "random"

    def render(self, surface: Surface, table: ViewTable, lights: Lights) -> RenderedViews:
        time.sleep(self.slow_s)
        self._drawn.append(table.name)
        rng = np.random.default_rng(len(self._drawn))
        shape = (len(table.views), table.size, table.size)
        seen = rng.random(shape) < 0.4
        images = np.where(seen[..., None], rng.integers(0, 256, (*shape, 3)), self.gray).astype(np.uint8)
        if surface.faces is None:
            points = np.where(seen, rng.integers(0, 3, shape), -1).astype(np.int32)
            return RenderedViews(images, PointMaps(points, 3, table.names))
        verts = np.where(seen[..., None], [0, 1, 2], -1).astype(np.int32)
        bary = np.where(seen[..., None], rng.dirichlet(np.ones(3), shape), -1).astype(np.float32)
        return RenderedViews(images, PixelMaps(verts, bary, 3, table.names))


@pytest.fixture
def cache(tmp_path: Path) -> ViewCache:
    return ViewCache(tmp_path / "views")


def same(one: RenderedViews, other: RenderedViews) -> None:
    np.testing.assert_array_equal(one.images, other.images)
    assert one.images.dtype == other.images.dtype
    assert type(one.maps) is type(other.maps)
    for name, value in vars(one.maps).items():
        np.testing.assert_array_equal(getattr(other.maps, name), value, strict=isinstance(value, np.ndarray))


@pytest.mark.parametrize("surface", [TRIANGLE, CLOUD])
@pytest.mark.parametrize("gray", [255, 7])
def test_what_comes_back_is_what_was_drawn(cache: ViewCache, surface: Surface, gray: int) -> None:
    renderer = RandomRenderer(gray)
    first, again = (render_once(surface, TABLE, LIGHTS, renderer, cache) for _ in range(2))
    assert len(renderer._drawn) == 1
    same(first, again)
    assert again.images.flags.writeable


def test_without_a_cache_everything_is_drawn_anew(tmp_path: Path) -> None:
    renderer = RandomRenderer()
    for _ in range(2):
        render_once(TRIANGLE, TABLE, LIGHTS, renderer, None)
    assert len(renderer._drawn) == 2


def test_the_key_tells_all_that_changes_a_picture() -> None:
    key = views_key(TRIANGLE, TABLE, LIGHTS, RandomRenderer())
    moved, turned = np.eye(3), np.eye(3)
    moved[0, 0], turned[0] = 1.0000001, (0, 1, 0)
    others = [
        views_key(replace(TRIANGLE, verts=moved), TABLE, LIGHTS, RandomRenderer()),
        views_key(replace(TRIANGLE, faces=np.array([[0, 2, 1]])), TABLE, LIGHTS, RandomRenderer()),
        views_key(replace(TRIANGLE, colors=np.full((3, 3), 0.6)), TABLE, LIGHTS, RandomRenderer()),
        views_key(replace(TRIANGLE, normals=turned), TABLE, LIGHTS, RandomRenderer()),
        views_key(replace(TRIANGLE, normals=None), TABLE, LIGHTS, RandomRenderer()),
        views_key(CLOUD, TABLE, LIGHTS, RandomRenderer()),
        views_key(TRIANGLE, replace(TABLE, size=7), LIGHTS, RandomRenderer()),
        views_key(TRIANGLE, replace(TABLE, render_distance=1.5), LIGHTS, RandomRenderer()),
        views_key(TRIANGLE, replace(TABLE, views=TABLE.views[::-1]), LIGHTS, RandomRenderer()),
        views_key(TRIANGLE, TABLE, LIGHTS[::-1], RandomRenderer()),
        views_key(TRIANGLE, TABLE, LIGHTS, RandomRenderer(gray=254)),
    ]
    assert len({key, *others}) == 1 + len(others)
    assert key == views_key(replace(TRIANGLE, verts=np.eye(3)), TABLE, LIGHTS, RandomRenderer(device="cuda"))


@pytest.mark.parametrize("spoil", ["cut", "flip", "empty", "foreign", "ids", "shape"])
def test_a_damaged_file_is_made_again(cache: ViewCache, spoil: str) -> None:
    renderer = RandomRenderer()
    first = render_once(TRIANGLE, TABLE, LIGHTS, renderer, cache)
    (path,) = cache.folder.iterdir()
    data = path.read_bytes()
    with np.load(path) as read:
        arrays = dict(read)
    flipped = bytearray(data)
    at = data.index(arrays["bary"].tobytes())
    flipped[at + 3] ^= 0x10
    if spoil == "ids":
        np.savez(path, **{**arrays, "verts": arrays["verts"] + 1})
    elif spoil == "shape":
        np.savez(path, **{**arrays, "pixels": arrays["pixels"] + 10_000})
    else:
        contents = {"cut": data[: len(data) // 2], "flip": bytes(flipped), "empty": b"", "foreign": b"not an npz"}
        path.write_bytes(contents[spoil])
    second = render_once(TRIANGLE, TABLE, LIGHTS, renderer, cache)
    assert len(renderer._drawn) == 2
    assert first.images.shape == second.images.shape
    same(second, render_once(TRIANGLE, TABLE, LIGHTS, renderer, cache))
    assert len(renderer._drawn) == 2


def tables(count: int) -> list[ViewTable]:
    return [replace(TABLE, name=f"t{k}", render_distance=float(k + 1)) for k in range(count)]


def test_the_least_recently_used_files_go_first(cache: ViewCache) -> None:
    renderer, (one, two, three) = RandomRenderer(), tables(3)
    for age, table in ((30, one), (20, two)):
        render_once(TRIANGLE, table, LIGHTS, renderer, cache)
        newest = max(cache.folder.iterdir(), key=lambda p: p.stat().st_mtime_ns)
        os.utime(newest, (time.time() - age, time.time() - age))
    size = max(p.stat().st_size for p in cache.folder.iterdir())
    render_once(TRIANGLE, one, LIGHTS, renderer, cache)  # used again: now the younger one
    small = replace(cache, max_bytes=int(2.5 * size))
    render_once(TRIANGLE, three, LIGHTS, renderer, small)
    assert len(list(cache.folder.iterdir())) == 2
    renderer._drawn.clear()
    render_once(TRIANGLE, one, LIGHTS, renderer, cache)
    render_once(TRIANGLE, three, LIGHTS, renderer, cache)
    assert renderer._drawn == []
    render_once(TRIANGLE, two, LIGHTS, renderer, cache)
    assert renderer._drawn == ["t1"]


def test_a_file_larger_than_the_limit_still_serves_until_the_next(cache: ViewCache) -> None:
    renderer, tiny = RandomRenderer(), replace(cache, max_bytes=1)
    for table in tables(3):
        render_once(TRIANGLE, table, LIGHTS, renderer, tiny)
    assert len(list(cache.folder.iterdir())) == 1


def test_files_that_a_stopped_process_left_are_removed_but_not_those_of_a_running_one(cache: ViewCache) -> None:
    cache.folder.mkdir(parents=True)
    old, young = cache.folder / ".old-x.npz", cache.folder / ".young-x.npz"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    render_once(TRIANGLE, TABLE, LIGHTS, RandomRenderer(), replace(cache, max_bytes=1))
    assert not old.exists()
    assert young.exists()


def test_a_folder_that_cannot_be_written_warns_and_draws(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    renderer = RandomRenderer()
    with pytest.warns(UserWarning, match="nothing was kept"):
        views = render_once(TRIANGLE, TABLE, LIGHTS, renderer, ViewCache(tmp_path / "file"))
    assert views.images.shape == (2, 6, 6, 3)


def test_a_folder_that_only_others_may_write_serves(cache: ViewCache, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = RandomRenderer()
    first = render_once(TRIANGLE, TABLE, LIGHTS, renderer, cache)

    def refused(*_: Any) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(os, "utime", refused)
    same(first, render_once(TRIANGLE, TABLE, LIGHTS, renderer, cache))
    assert len(renderer._drawn) == 1


def test_threads_that_want_the_same_draw_it_once(cache: ViewCache) -> None:
    renderer, found = RandomRenderer(slow_s=0.05), []
    jobs = [
        threading.Thread(target=lambda: found.append(render_once(TRIANGLE, TABLE, LIGHTS, renderer, cache)))
        for _ in range(6)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(renderer._drawn) == 1
    for views in found:
        same(views, found[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_come_back_exactly_and_are_encoded_once(cache: ViewCache, dtype: torch.dtype) -> None:
    pytest.importorskip("safetensors")
    calls: list[int] = []

    def encode() -> torch.Tensor:
        calls.append(1)
        return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)

    first, again = (encode_once("views", "weights", encode, cache) for _ in range(2))
    assert len(calls) == 1
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert again.dtype == dtype
    encode_once("views", "other weights", encode, cache)
    encode_once("other views", "weights", encode, cache)
    encode_once("views", "weights", encode, None)
    assert len(calls) == 4


def test_half_features_are_the_same_when_made_and_when_read(cache: ViewCache) -> None:
    pytest.importorskip("safetensors")
    half, made = replace(cache, half_features=True), torch.full((2, 2), 1 / 3)
    first, again = (encode_once("v", "w", lambda: made, half) for _ in range(2))
    assert first.dtype == again.dtype == torch.float16
    assert torch.equal(first, again)
    assert encode_once("v", "w", lambda: made, cache).dtype == torch.float32  # kept apart from the exact ones


@pytest.mark.parametrize("spoil", ["cut", "flip", "foreign"])
def test_damaged_features_are_made_again(cache: ViewCache, spoil: str) -> None:
    pytest.importorskip("safetensors")
    features, calls = torch.randn(2, 3), []

    def encode() -> torch.Tensor:
        calls.append(1)
        return features

    encode_once("v", "w", encode, cache)
    (path,) = cache.folder.iterdir()
    data = path.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes({"cut": data[:-3], "flip": flipped, "foreign": b"no"}[spoil])
    assert torch.equal(encode_once("v", "w", encode, cache), features)
    assert len(calls) == 2
    encode_once("v", "w", encode, cache)
    assert len(calls) == 2


def test_the_weights_hash_sees_every_number_and_name() -> None:
    def module(**changes: Any) -> torch.nn.Module:
        torch.manual_seed(0)
        made = torch.nn.Linear(3, 2)
        with torch.no_grad():
            for name, value in changes.items():
                getattr(made, name).view(-1)[-1] = value
        return made

    plain = weights_hash(module())
    assert plain == weights_hash(module())
    assert len({plain, weights_hash(module(weight=0.5)), weights_hash(module(bias=0.5))}) == 3
    assert weights_hash(module().bfloat16()) != plain
    assert weights_hash(torch.nn.Sequential(module())) != plain


def test_the_folder_is_below_the_users_home_of_hoirecon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path))
    assert ViewCache().folder == tmp_path / "views"
    assert ViewCache().max_bytes == view_cache.MAX_BYTES
