"""Estimators from folders: ours, released and converted; and what is kept on the disk between runs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact import InteractVLM, Query
from hoirecon.contact.checkpoints.convert import convert_released
from hoirecon.contact.rendering.map_files import write_body_views
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.rendering.view_cache import ViewCache
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.errors import InputError
from tests.contact.checkpoints.tiny_checkpoint import write_released
from tests.contact.toy_scene import SAYS, gap, like, photograph, queries_on, told

A = photograph(0)


@pytest.fixture(scope="module")
def model() -> InteractVLM:
    return told(A)


@pytest.fixture(scope="module")
def released(model: InteractVLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the authors publish it."""
    folder = write_released(tmp_path_factory.mktemp("released") / "interactvlm-toy", model.network, shards=3)
    model.tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def ours(model: InteractVLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save_pretrained(tmp_path_factory.mktemp("ours") / "toy")


def _load(folder: Path, **options: Any) -> InteractVLM:
    return InteractVLM.from_pretrained(folder, **({"dtype": "float32", "cache": None} | options))


def _no_encoding(patch: pytest.MonkeyPatch, model: InteractVLM) -> None:
    patch.setattr(model.network.mv_loc, "encode", lambda *_: pytest.fail("encoded what was known"))


# ------------------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("kind", ["ours", "released", "converted"])
def test_a_folder_gives_what_the_model_gave(
    kind: str, model: InteractVLM, ours: Path, released: Path, tmp_path: Path
) -> None:
    folder = {"ours": ours, "released": released, "converted": tmp_path / "converted"}[kind]
    if kind == "converted":
        convert_released(released, folder)
    loaded = _load(folder)
    assert loaded.released == (kind != "ours")
    assert loaded.label == folder.name if kind != "converted" else loaded.label
    for query in queries_on(A):
        mine, its = model.ask([query])[0], loaded.ask([query])[0]
        assert mine.answer == its.answer
        assert gap(mine, its) < 1e-6
        stand_in = [note for note in its.notes if "SMPL-H" in note]
        assert len(stand_in) == (loaded.released and query.kind == "human")


def test_the_body_is_not_encoded_again(model: InteractVLM, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = model.human_contact(A, "bottle")
    loaded = _load(ours)
    _no_encoding(monkeypatch, loaded)
    found = loaded.human_contact(A, "bottle")
    assert (found.probability == wanted.probability).all() or gap(found, wanted) < 1e-6
    loaded.to("cpu")
    loaded.human_contact(A, "bottle")


def test_saved_again_is_the_same(ours: Path, tmp_path: Path) -> None:
    again = _load(ours).save_pretrained(tmp_path / "again")
    assert _hashes(again) == _hashes(ours)
    with pytest.raises(InputError, match="not empty"):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("")
        _load(ours).save_pretrained(tmp_path / "mine")


def _hashes(folder: Path) -> dict[str, str]:
    files = json.loads((folder / "hoirecon.json").read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items()}


def test_no_place_of_this_machine_is_saved(ours: Path) -> None:
    for path in ours.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert str(ours.parent).encode() not in data
            assert str(Path.home()).encode() + b"/" not in data


def test_one_view_is_saved_too(tmp_path: Path) -> None:
    model = told(A, {"image": SAYS["image"]}, token_type="Gen", num_views=1, camera_encoder="none", human_weight=0.0)
    loaded = _load(model.save_pretrained(tmp_path / "single"))
    assert gap(loaded.image_contact(A, "bottle"), model.image_contact(A, "bottle")) < 1e-6


def test_not_a_checkpoint(released: Path, tmp_path: Path) -> None:
    for folder, says in ((tmp_path / "nowhere", "is no folder"), (tmp_path, "not a checkpoint")):
        with pytest.raises(InputError, match=says):
            _load(folder)


def test_a_missing_vocabulary_is_said_before_the_weights(model: InteractVLM, tmp_path: Path) -> None:
    folder = write_released(tmp_path / "bare", model.network)
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(InputError, match=r"tokenizer\.model"):
        _load(folder)


def test_a_truncated_shard(released: Path, model: InteractVLM, tmp_path: Path) -> None:
    folder = write_released(tmp_path / "cut", model.network, shards=2)
    model.tokenizer.save(folder)
    shard = next(folder.glob("*-00002-of-*.bin"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(InputError, match="00002"):
        _load(folder)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cuda:9"}, "choose cpu"),
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"dtype": "float8"}, "number format"),
        ({"dtype": torch.int8}, "cannot run"),
        ({"quantize": "int4"}, "convert it once"),
        ({"vision_tower": "nowhere"}, "nowhere"),
    ],
)
def test_options_that_cannot_be(released: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises((InputError, FileNotFoundError), match=says):
        _load(released, **options)


def test_dtypes_by_name(ours: Path) -> None:
    for name, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32), (torch.float64, torch.float64)):
        loaded = _load(ours, dtype=name)
        assert loaded.dtype == dtype
        found = loaded.ask([Query("human", A, "bottle", answer=SAYS["human"])])[0]
        assert found.probability.std() > 0.02
    assert InteractVLM.from_pretrained(ours, cache=None).dtype in (torch.bfloat16, torch.float32)


# ------------------------------------------------------------------------------------------------------- body pictures


def test_body_pictures_from_files(model: InteractVLM, tmp_path: Path) -> None:
    subject = model.gallery.body(model.body_model)
    views = model.gallery.rendered(subject)
    write_body_views(views, tmp_path / "same")
    drawn = model.human_contact(A, "bottle")
    read = like(model, body_views=tmp_path / "same").human_contact(A, "bottle")
    assert gap(read, drawn) < 1e-5
    write_body_views(replace(views, images=255 - views.images), tmp_path / "other")
    other = like(model, body_views=tmp_path / "other")
    assert gap(other.human_contact(A, "bottle"), drawn) > 1e-3
    saved = other.save_pretrained(tmp_path / "saved")
    for place in ("same", "other"):
        wanted = like(model, body_views=tmp_path / place).human_contact(A, "bottle")
        assert gap(_load(saved, body_views=tmp_path / place).human_contact(A, "bottle"), wanted) < 1e-6


def test_body_pictures_of_another_size_or_body(model: InteractVLM, tmp_path: Path) -> None:
    views = model.gallery.rendered(model.gallery.body(model.body_model))
    assert isinstance(views.maps, PixelMaps)
    maps = replace(views.maps, verts=views.maps.verts[:, ::2, ::2], bary=views.maps.bary[:, ::2, ::2])
    write_body_views(replace(views, images=views.images[:, ::2, ::2], maps=maps), tmp_path / "small")
    with pytest.raises(InputError, match="48 x 48 pixels"):
        like(model, body_views=tmp_path / "small").human_contact(A, "bottle")
    with pytest.raises(InputError, match=r"nowhere.*pixel_to_vertex"):
        like(model, body_views=tmp_path / "nowhere").human_contact(A, "bottle")


# ---------------------------------------------------------------------------------------------------------- disk cache


def test_the_disk_remembers_for_the_next_model(
    model: InteractVLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = queries_on(A)[:3]
    first = like(model, cache=ViewCache(tmp_path))
    wanted = first.ask(queries)
    names = sorted(path.suffix for path in tmp_path.iterdir())
    assert names == [".npz", ".npz", ".safetensors", ".safetensors"], "pictures and features of body and object"
    second = like(model, cache=ViewCache(tmp_path))
    _no_encoding(monkeypatch, second)
    monkeypatch.setattr(ZBufferRenderer, "render", lambda *_: pytest.fail("drew what was known"))
    assert max(gap(a, b) for a, b in zip(second.ask(queries), wanted, strict=True)) < 1e-6


def test_another_network_does_not_get_its_features(model: InteractVLM, tmp_path: Path) -> None:
    like(model, cache=ViewCache(tmp_path)).human_contact(A, "bottle")
    other = told(A, seed=5)
    wanted = other.human_contact(A, "bottle")
    assert gap(like(other, cache=ViewCache(tmp_path)).human_contact(A, "bottle"), wanted) < 1e-6


def test_without_a_cache_nothing_is_written(
    model: InteractVLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    like(model).ask(queries_on(A))
    assert list(tmp_path.iterdir()) == []
    like(model, cache="default").human_contact(A, "bottle")
    assert (tmp_path / "home" / "views").is_dir()


# --------------------------------------------------------------------------------------------------------- determinism

_ASK = """
import sys, hashlib
from hoirecon.contact import InteractVLM
from tests.contact.toy_scene import photograph, queries_on
found = InteractVLM.from_pretrained(sys.argv[1], dtype="float32", cache=None).ask(queries_on(photograph(0)))
print([(f.answer, hashlib.sha256(f.probability.tobytes()).hexdigest()) for f in found])
"""


@pytest.mark.slow
def test_two_processes_say_the_same(ours: Path) -> None:
    said = [
        subprocess.run([sys.executable, "-c", _ASK, str(ours)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert "left_palm" in said[0]


def test_asking_twice_is_the_same(model: InteractVLM) -> None:
    first, second = (like(model).ask(queries_on(A)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.abs(one.probability - other.probability).max() < 1e-6
