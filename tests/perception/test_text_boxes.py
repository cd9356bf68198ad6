"""The open-vocabulary detector's whole code path, on a tiny model with random weights made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.perception.text_boxes import TextBoxFinder

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("owl")
    _save_processor(folder)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.OwlViTConfig(
        text_config={**size, "vocab_size": 600, "max_position_embeddings": 16},
        vision_config={**size, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    torch.manual_seed(0)
    transformers.OwlViTForObjectDetection(config).save_pretrained(folder)
    return folder


def _save_processor(folder: Path) -> None:
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    images = transformers.OwlViTImageProcessor(size={"height": 32, "width": 32}, crop_size={"height": 32, "width": 32})
    transformers.OwlViTProcessor(images, tokenizer).save_pretrained(folder)


def test_boxes_lie_in_the_image_best_first(weights: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    found = TextBoxFinder(weights).find(image, "box", threshold=0.0, most=3)
    assert 1 <= len(found) <= 3
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    for f in found:
        x, y, w, h = f.box
        assert x >= 0
        assert y >= 0
        assert x + w <= 90 + 1e-3
        assert y + h <= 60 + 1e-3


def test_an_adapter_changes_the_answer(weights: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = transformers.OwlViTForObjectDetection.from_pretrained(weights)
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    image = np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    plain = TextBoxFinder(weights).find(image, "cup", threshold=0.0, most=1)[0]
    adapted = TextBoxFinder(weights, adapter=tmp_path / "adapter").find(image, "cup", threshold=0.0, most=1)[0]
    assert plain.score != adapted.score


def test_what_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder with a saved model"):
        TextBoxFinder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="'bert' model"):
        TextBoxFinder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "owlvit"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="pickles are not read"):
        TextBoxFinder(tmp_path)
