"""Small stand-ins for what users bring: a CLIP folder with random weights, an image embedder, coloured meshes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.arrays import ByteArray
from hoirecon.mesh import Mesh
from hoirecon.retrieval.modeling.point_bert import PointBert, PointPatchTransformer
from hoirecon.retrieval.protocols import EncoderId, Float32Array, unit_rows


class MeanColor:
    """Embeds an image by its mean colour and how much of it is not white; a text by its letters."""

    encoder_id = EncoderId("mean-color", 4, "0123456789ab")

    def embed_images(self, images: Sequence[ByteArray]) -> Float32Array:
        drawn = [image.min(axis=2) < 250 for image in images]
        means = [image[m].mean(0) / 255 if m.any() else np.ones(3) for image, m in zip(images, drawn, strict=True)]
        rows = [np.append(mean, 0.1 + m.mean()) for mean, m in zip(means, drawn, strict=True)]
        return unit_rows(np.array(rows), "means")


class MeanColorAndWords(MeanColor):
    """The same with texts: the words red, green and blue point along their colours."""

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        colors = ("red", "green", "blue")
        return unit_rows([[*(float(c in text) for c in colors), 0.1] for text in texts], "words")


def transformer_of(encoder: PointBert | PointPatchTransformer) -> PointPatchTransformer:
    """The part of an encoder of points that comes before the projection."""
    return encoder.ppat if isinstance(encoder, PointBert) else encoder


def colored_box(color: tuple[int, int, int], extents: tuple[float, float, float] = (1, 1, 1)) -> Mesh:
    """A box in one colour."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
             [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]  # fmt: skip
    return Mesh(signs * extents, faces, f"box {color}", np.tile(np.array(color, np.uint8), (8, 1)))


def save_clip(folder: Path, projection: int = 12, size: int = 24) -> Path:
    """A CLIP with random weights, as ``save_pretrained`` writes it."""
    transformers = pytest.importorskip("transformers")
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    widths: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "projection_dim": projection,
    }  # fmt: skip
    end = len(vocabulary) - 1
    words = {"vocab_size": end + 1, "max_position_embeddings": 16, "bos_token_id": end - 1, "eos_token_id": end}
    config = transformers.CLIPConfig(
        text_config={**widths, **words, "pad_token_id": end},
        vision_config={**widths, "image_size": size, "patch_size": 8},
        projection_dim=projection,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
