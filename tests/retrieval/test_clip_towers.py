"""CLIP's towers on a tiny model with random weights made here, and the table of the published ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.errors import InputError
from hoirecon.retrieval.checkpoints.specs import OPENSHAPE
from hoirecon.retrieval.clip_towers import CLIP_MODELS, ClipPixels, ClipTowers, check_clip, features_of
from hoirecon.retrieval.crops import object_square
from hoirecon.retrieval.protocols import ImageEmbedder, TextEmbedder
from tests.retrieval.stand_ins import save_clip

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


def pictures(count: int = 3) -> list[Any]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (20 + 9 * i, 31, 3), dtype=np.uint8) for i in range(count)]


def test_images_and_texts_have_unit_vectors_that_repeat(folder: Path) -> None:
    towers = ClipTowers.from_folder(folder)
    assert isinstance(towers, ImageEmbedder)
    assert isinstance(towers, TextEmbedder)
    images, texts = towers.embed_images(pictures()), towers.embed_texts(["a chair", "b", "a longer text " * 20])
    for rows in (images, texts):
        assert rows.shape == (3, 12)
        assert rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.array_equal(ClipTowers.from_folder(folder).embed_images(pictures()), images)
    assert towers.embed_images([]).shape == (0, 12)
    assert towers.encoder_id.dim == 12


def test_batches_change_nothing(folder: Path) -> None:
    towers = ClipTowers.from_folder(folder)
    one_by_one = ClipTowers(towers.model, towers.tokenizer, towers.pixels, towers.encoder_id, batch=1)
    assert np.allclose(one_by_one.embed_images(pictures()), towers.embed_images(pictures()), atol=1e-6)
    words = ["a", "a chair with arms", "b"]  # padding to the longest must not count
    assert np.allclose(one_by_one.embed_texts(words), towers.embed_texts(words), atol=1e-6)


def test_it_is_the_models_own_embedding(folder: Path) -> None:
    """By the tower's parts, without the call that changed between versions."""
    towers = ClipTowers.from_folder(folder)
    with torch.inference_mode():
        pooled = towers.model.vision_model(pixel_values=towers.pixels(pictures())).pooler_output
        expected = torch.nn.functional.normalize(towers.model.visual_projection(pooled), dim=-1)
    assert np.allclose(towers.embed_images(pictures()), expected, atol=1e-6)


def test_returns_of_both_versions_of_transformers() -> None:
    rows = torch.ones(2, 3)
    assert features_of(rows) is rows  # version 4
    assert features_of(SimpleNamespace(pooler_output=rows)) is rows  # version 5
    for odd in (None, (rows,), SimpleNamespace(pooler_output=None), torch.ones(2, 3, 4)):
        with pytest.raises(InputError, match="not known"):
            features_of(odd)


def test_version_4_gives_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    towers = ClipTowers.from_folder(folder)
    images, texts = towers.embed_images(pictures()), towers.embed_texts(["a chair"])
    for name in ("get_image_features", "get_text_features"):
        original = getattr(towers.model, name)
        monkeypatch.setattr(towers.model, name, lambda *a, _f=original, **k: features_of(_f(*a, **k)))
    assert np.array_equal(towers.embed_images(pictures()), images)
    assert np.array_equal(towers.embed_texts(["a chair"]), texts)


def test_long_objects_keep_their_ends() -> None:
    """CLIP's own preprocessing crops the middle: red ends of a long bar would be gone."""
    bar = np.zeros((10, 100, 3), np.uint8)
    bar[:, :10, 0] = bar[:, -10:, 0] = 255
    pixels = ClipPixels(50, (0, 0, 0), (1, 1, 1))([bar])
    assert pixels.shape == (1, 3, 50, 50)
    middle = pixels[0, :, 25]
    assert middle[0, 1] > 0.9
    assert middle[0, -2] > 0.9
    assert middle[2, 25] < 0.1
    assert (pixels[0, :, :20] == 1).all()


def test_squares_are_prepared_as_transformers_does(folder: Path) -> None:
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    theirs = torch.as_tensor(np.asarray(processor(image, return_tensors="np")["pixel_values"]))
    ours = ClipPixels(24)([image])
    assert (ours - theirs).abs().max() < 0.02 * 4  # one of 255 steps, over a deviation of a quarter, and rounding
    assert (ours - theirs).abs().mean() < 5e-3


def test_objects_on_squares() -> None:
    image = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:14, 20:40] = True
    square = object_square(image, mask, background=128)
    assert square.shape == (24, 24, 3)
    assert np.array_equal(square[10:14, 2:22], image[10:14, 20:40])
    square[10:14, 2:22] = 128
    assert (square == 128).all()


def test_the_table_says_what_goes_with_what() -> None:
    for spec in OPENSHAPE.values():
        assert CLIP_MODELS[spec.clip].dim == spec.config.output_dim
    released = {name: (info.dim, info.repository) for name, info in CLIP_MODELS.items()}
    assert released["openclip-vit-bigg-14"] == (1280, "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k")


def test_sizes_of_the_published_models_are_recognised(tmp_path: Path) -> None:
    g14 = {"hidden_size": 1664, "num_hidden_layers": 48, "patch_size": 14, "hidden_act": "gelu"}
    config = {"model_type": "clip", "projection_dim": 1280, "vision_config": g14}
    check_clip(config, "openclip-vit-bigg-14", tmp_path)
    check_clip({"model_type": "clip"}, "openai-clip-vit-b-32", tmp_path)  # a config may leave out the defaults
    with pytest.raises(
        InputError, match=r"1280 values \(gelu\), which is not openai-clip-vit-l-14: .*clip-vit-large-patch14"
    ):
        check_clip(config, "openai-clip-vit-l-14", tmp_path)
    same_sizes = {"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}  # LAION's ViT-B/32: another space
    with pytest.raises(InputError, match="which is not openai-clip-vit-b-32"):
        check_clip(same_sizes, "openai-clip-vit-b-32", tmp_path)
    with pytest.raises(InputError, match="there is no CLIP model"):
        check_clip(config, "clip", tmp_path)
    with pytest.raises(InputError, match="holds a 'bert' model"):
        check_clip({"model_type": "bert"}, "", tmp_path)


def test_odd_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder with a saved model"):
        ClipTowers.from_folder(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(InputError, match=r"no \.safetensors"):
        ClipTowers.from_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(InputError, match="cannot be loaded as CLIP"):
        ClipTowers.from_folder(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_std": [0, 1, 1]}))
    with pytest.raises(InputError, match="image_std"):
        ClipPixels.from_folder(tmp_path, 24)


def test_without_a_tokenizer_only_images_are_embedded(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    towers = ClipTowers.from_folder(tmp_path)
    assert np.array_equal(towers.embed_images(pictures()), ClipTowers.from_folder(folder).embed_images(pictures()))
    with pytest.raises(InputError, match="without a tokenizer"):
        towers.embed_texts(["a"])


def test_another_folders_name_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert ClipTowers.from_folder(tmp_path / "elsewhere").encoder_id == ClipTowers.from_folder(folder).encoder_id


def test_half_precision_is_about_the_same(folder: Path) -> None:
    half = ClipTowers.from_folder(folder, dtype=torch.bfloat16).embed_images(pictures())
    assert ((half * ClipTowers.from_folder(folder).embed_images(pictures())).sum(1) > 0.99).all()
