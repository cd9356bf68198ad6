"""Seeded damage to every format's files: a reader reads, finds, or names what is wrong; it never falls over.

A file is cut, blanked, overwritten, has bits turned, is emptied, removed, taken for another file of the folder, or, if
it is text, has a number made NaN, huge or negative, or a word dropped. What comes out must be samples, findings, or an
error of this library with the file's or sample's name in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets import fixtures
from hoirecon.data.datasets.predictions import Prediction, read_predictions, write_prediction
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.errors import HoireconError

FAST, MANY = 40, 1000
"""Damages per format in every run, and in the slow one."""


@dataclass(frozen=True)
class Format:
    """One reader and the writer of its files."""

    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    cost: int = 1
    """How many times fewer damages it gets, as reading takes long."""


def _reader(name: str, split: str = "test", **options: Any) -> Callable[[Path], Any]:
    def read(root: Path) -> Any:
        dataset: Any = open_dataset(name, root, split, **options)
        found = list(dataset)
        assert dataset.fingerprint
        return found, dataset.problems

    return read


def _predictions(root: Path) -> None:
    rng = np.random.default_rng(0)
    for k, suffix in enumerate((".npz", ".json", ".npz")):
        body = rng.normal(size=(20, 3))
        write_prediction(Prediction(f"a/{k}", rng.random(30), "smpl", body_verts=body), root, suffix)


def _rhobin_results(root: Path) -> Any:
    from hoirecon.data.datasets.rhobin import read_rhobin_results

    return read_rhobin_results(root / "res" / "results.pkl")


FORMATS = {
    "damon": Format(lambda r: fixtures.write_damon(r, samples=3, smplx=False), _reader("damon")),
    "damon-repack": Format(lambda r: fixtures.write_damon_repack(r, samples=3), _reader("damon", per="object")),
    "rich": Format(fixtures.write_rich, _reader("rich")),
    "rich-tsv": Format(fixtures.write_rich_tsv, _reader("rich", "val")),
    "lemon": Format(fixtures.write_lemon, _reader("lemon", "val")),
    "piad": Format(fixtures.write_piad, _reader("piad", "seen-test"), 2),
    "piadv2": Format(fixtures.write_piadv2, _reader("piadv2", "seen-test"), 2),
    "pico": Format(fixtures.write_pico_db, _reader("pico", "all")),
    "pico-repack": Format(fixtures.write_pico_repack, lambda r: _reader("pico", meshes=r / "pico_db")(r)),
    "mow": Format(fixtures.write_mow, _reader("mow")),
    "behave": Format(fixtures.write_behave, _reader("behave"), 2),
    "behave-30fps": Format(fixtures.write_behave, _reader("behave", annotation="30fps"), 4),
    "intercap": Format(fixtures.write_intercap, _reader("intercap", "all"), 2),
    "open3dhoi": Format(fixtures.write_open3dhoi, _reader("open3dhoi"), 8),
    "contho": Format(fixtures.write_contho, _reader("contho")),
    "rhobin": Format(fixtures.write_rhobin, _reader("rhobin")),
    "rhobin-results": Format(fixtures.write_rhobin, _rhobin_results),
    "hdm": Format(lambda r: fixtures.write_hdm(r, points=60), _reader("hdm")),
    "predictions": Format(_predictions, read_predictions),
}
PICTURES = (".jpg", ".png")


# ---------------------------------------------------------------------------------------------------------- damages
def _cut(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _blank(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    a = int(rng.integers(0, len(data)))
    b = min(a + int(rng.integers(1, 200)), len(data))
    return data[:a] + bytes(b - a) + data[b:]


def _bits(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    raw = bytearray(data)
    for at in rng.integers(0, len(raw), int(rng.integers(1, 9))):
        raw[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(raw)


def _head(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    raw = bytearray(data)
    for at in rng.integers(0, min(len(raw), 300), 3):  # where headers are
        raw[at] = int(rng.integers(0, 256))
    return bytes(raw)


def _insert(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    at = int(rng.integers(0, len(data)))
    return data[:at] + rng.bytes(int(rng.integers(1, 40))) + data[at:]


def _number(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    """A number of a text replaced by one that cannot be."""
    places = [m.span() for m in re.finditer(rb"-?\d+\.?\d*", data[:20000])]
    if not places or b"\0" in data[:200]:
        return _bits(data, rng, b"")
    a, b = places[int(rng.integers(0, len(places)))]
    return (
        data[:a]
        + [b"NaN", b"1e400", b"-1", b"99999999999999999999", b"[]", b'"x"', b""][int(rng.integers(0, 7))]
        + data[b:]
    )


def _word(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    """A word (a key, a name) of the file changed."""
    places = [m.span() for m in re.finditer(rb"[A-Za-z_]{3,}", data)]
    if not places:
        return b""
    a, b = places[int(rng.integers(0, len(places)))]
    return data[:a] + data[a:b].swapcase() + data[b:]


DAMAGES = {f.__name__: f for f in (_cut, _blank, _bits, _head, _insert, _number, _word)} | {
    "empty": lambda *_: b"", "other": lambda _data, _rng, other: other,
}  # fmt: skip


@contextmanager
def _damaged(root: Path, rng: np.random.Generator) -> Iterator[str]:
    """One file of the folder damaged for a while; labels far more often than pictures."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.name != "standin.json")
    labels = [p for p in files if p.suffix not in PICTURES]
    chosen = labels if rng.random() < 0.9 else files
    path, other = chosen[int(rng.integers(0, len(chosen)))], labels[int(rng.integers(0, len(labels)))]
    kind = [*DAMAGES, "removed"][int(rng.integers(0, len(DAMAGES) + 1))]
    data = path.read_bytes()
    try:
        if kind == "removed":
            path.unlink()
        else:
            path.write_bytes(DAMAGES[kind](data, rng, other.read_bytes()) if data else b"x")
        yield f"{kind} {path.relative_to(root)}"
    finally:
        path.write_bytes(data)


def _hold(name: str, root: Path, seeds: range) -> tuple[int, int]:
    """How many damages were read over and how many were named; anything else raises."""
    form, read, named = FORMATS[name], 0, 0
    form.write(root)
    form.read(root)
    for seed in seeds:
        with _damaged(root, np.random.default_rng(seed)) as what:
            try:
                form.read(root)
                read += 1
            except HoireconError:
                named += 1
            except Exception as err:
                raise AssertionError(f"seed {seed}, {what}: {type(err).__name__}: {err}") from err
    form.read(root)
    return read, named


@pytest.mark.filterwarnings("ignore")  # of numbers that overflow, and of pictures that are none
@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_read_over_or_named(name: str, tmp_path: Path) -> None:
    count = FAST // FORMATS[name].cost
    read, named = _hold(name, tmp_path, range(count))
    assert read + named == count
    assert named > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_thousands_of_damages(name: str, tmp_path: Path) -> None:
    count = MANY // FORMATS[name].cost
    assert sum(_hold(name, tmp_path, range(FAST, FAST + count))) == count


def test_the_damages_damage() -> None:
    data = b'{"pose": [1.5, 2.5], "trans": [0.25]}' * 20
    rng = np.random.default_rng(0)
    for name, damage in DAMAGES.items():
        assert any(damage(data, rng, b"other") != data for _ in range(3)), name
