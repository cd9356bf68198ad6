"""CLIP's image and text towers (Radford et al., 2021) through ``transformers``, from a folder that the user has.

Nothing is downloaded and nothing in the folder is executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import ByteArray
from hoirecon.errors import InputError, require
from hoirecon.files import read_json
from hoirecon.retrieval.crops import object_square
from hoirecon.retrieval.hashing import file_hash
from hoirecon.retrieval.protocols import EncoderId, Float32Array, unit_rows


@dataclass(frozen=True)
class ClipModelInfo:
    """A published CLIP model: where it is, and the sizes by which it is recognised."""

    name: str
    """What we call it."""
    repository: str
    """Its repository on the Hugging Face hub, in transformers' format."""
    origin: str
    """Whose weights these are, in OpenCLIP's names: architecture and pretraining tag."""
    dim: int
    """Width of the common embedding."""
    vision: tuple[int, int, int]
    """Width, layers and patch size of the image tower."""
    activation: str
    """Of its MLPs; it tells OpenAI's weights from others of the same sizes."""


CLIP_MODELS: dict[str, ClipModelInfo] = {
    info.name: info
    for info in (
        ClipModelInfo(
            "openclip-vit-bigg-14", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", "ViT-bigG-14 laion2b_s39b_b160k",
            1280, (1664, 48, 14), "gelu",
        ),
        ClipModelInfo(
            "openai-clip-vit-l-14", "openai/clip-vit-large-patch14", "ViT-L-14 openai",
            768, (1024, 24, 14), "quick_gelu",
        ),
        ClipModelInfo(
            "openai-clip-vit-b-32", "openai/clip-vit-base-patch32", "ViT-B-32 openai",
            512, (768, 12, 32), "quick_gelu",
        ),
    )
}  # fmt: skip
"""The CLIP models whose spaces OpenShape's released encoders embed into."""


@dataclass(frozen=True)
class ClipPixels:
    """How an image becomes the image tower's input."""

    size: int = 224
    """Side of the square, pixels."""
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    """Mean of RGB in 0..1 that is taken off."""
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    """Deviation that it is divided by."""

    def __call__(self, images: Sequence[ByteArray]) -> Tensor:
        """(N, 3, size, size) float32 of images of any size, each padded to a square and resized bicubically."""
        from PIL import Image

        side = (self.size, self.size)
        squares = [Image.fromarray(object_square(image)).resize(side, Image.Resampling.BICUBIC) for image in images]
        values = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).float() / 255
        values = (values - torch.tensor(self.mean)) / torch.tensor(self.std)
        return values.permute(0, 3, 1, 2).contiguous()

    @classmethod
    def from_folder(cls, folder: Path, size: int) -> ClipPixels:
        """Mean and deviation of a folder's own preprocessing, or CLIP's; the size is the network's."""
        path = folder / "preprocessor_config.json"
        read = read_json(path, max_bytes=1 << 20) if path.is_file() else {}
        values = []
        for key, usual in (("image_mean", cls.mean), ("image_std", cls.std)):
            given = read.get(key, usual) if isinstance(read, dict) else usual
            try:
                r, g, b = (float(v) for v in given)
            except (TypeError, ValueError) as err:
                raise InputError(f"{path} has {key} {given!r:.60}, expected three numbers") from err
            values.append((r, g, b))
        if not all(0 < s < 10 for s in values[1]):
            raise InputError(f"{path} has image_std {values[1]}, expected positive numbers")
        return cls(size, values[0], values[1])


@dataclass(frozen=True)
class ClipTowers:
    """A CLIP model as an embedder of images and texts.

    Example:
        towers = ClipTowers.from_folder("CLIP-ViT-bigG-14-laion2B-39B-b160k", dtype=torch.bfloat16)
        towers.embed_texts(["a photo of a chair"])  # (1, 1280)
    """

    model: Any
    """A ``transformers.CLIPModel``."""
    tokenizer: Any
    """Its tokenizer; None if only images are embedded."""
    pixels: ClipPixels
    """Its preprocessing."""
    encoder_id: EncoderId
    """Which model it is."""
    batch: int = 16
    """Images or texts that go through the network at once."""

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, expect: str = "", device: Any = "cpu", dtype: torch.dtype = torch.float32
    ) -> ClipTowers:
        """The towers that ``save_pretrained`` wrote, or a downloaded snapshot of the repository.

        Args:
            folder: with config.json, safetensors and the tokenizer's files.
            expect: name of the model that it must be (see ``CLIP_MODELS``); empty takes any CLIP.
            device: where the weights go.
            dtype: their type; bfloat16 halves the memory.

        Raises:
            InputError: no such folder, another kind of model, or weights that are not safetensors.
            MissingExtraError: transformers is not installed.
        """
        transformers = require("transformers", extra="retrieval")
        folder = Path(folder)
        config = _config(folder)
        check_clip(config, expect, folder)
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise InputError(f"{folder} holds no .safetensors file: convert the weights, pickles are not read")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            model = transformers.CLIPModel.from_pretrained(folder, use_safetensors=True, dtype=dtype, **options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options) if _has_words(folder) else None
        except Exception as err:  # transformers raises many kinds on damaged folders
            raise InputError(f"{folder} cannot be loaded as CLIP ({type(err).__name__}: {str(err)[:160]})") from err
        weights = file_hash(files[0]) if len(files) == 1 else _hash_of_many(files)
        pixels = ClipPixels.from_folder(folder, model.config.vision_config.image_size)
        name = expect or _name_of(config) or f"clip-{model.config.projection_dim}"
        identity = EncoderId(name, model.config.projection_dim, weights)
        return cls(model.eval().requires_grad_(False).to(device), tokenizer, pixels, identity)

    @cached_property
    def _place(self) -> tuple[torch.device, torch.dtype]:
        parameter = next(self.model.parameters())
        return parameter.device, parameter.dtype

    def embed_images(self, images: Sequence[ByteArray]) -> Float32Array:
        """(N, dim) unit vectors of images (H, W, 3), RGB; each is padded to a square, so nothing is cut off."""
        device, dtype = self._place
        parts = []
        for some in _batches(images, self.batch):
            with torch.inference_mode():
                parts.append(features_of(self.model.get_image_features(self.pixels(some).to(device, dtype))))
        return self._joined(parts)

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """(N, dim) unit vectors of texts; what is beyond the tower's length is cut.

        Raises:
            InputError: the folder has no tokenizer.
        """
        if self.tokenizer is None:
            raise InputError(f"{self.encoder_id.name} was loaded without a tokenizer: texts cannot be embedded")
        device, _ = self._place
        length = self.model.config.text_config.max_position_embeddings
        parts = []
        for some in _batches(texts, self.batch):
            words = self.tokenizer(list(some), padding=True, truncation=True, max_length=length, return_tensors="pt")
            ids, attended = words["input_ids"].to(device), words["attention_mask"].to(device)
            with torch.inference_mode():
                parts.append(features_of(self.model.get_text_features(input_ids=ids, attention_mask=attended)))
        return self._joined(parts)

    def _joined(self, parts: list[Tensor]) -> Float32Array:
        if not parts:
            return np.zeros((0, self.encoder_id.dim), np.float32)
        return unit_rows(torch.cat(parts).float().cpu().numpy(), f"the output of {self.encoder_id.name}")


def features_of(output: Any) -> Tensor:
    """Embeddings out of what transformers gives: version 4 a tensor, version 5 an object with it inside."""
    features = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise InputError(
            f"this version of transformers gives CLIP's embeddings as {type(output).__name__}, which is not known: "
            "install a version from 4.56 to 5"
        )
    return features


def check_clip(config: dict[str, Any], expect: str, folder: Path) -> None:
    """Raise :class:`InputError` unless a config.json is CLIP's, and that of the expected model if one is named."""
    if config.get("model_type") != "clip":
        raise InputError(f"{folder} holds a '{str(config.get('model_type'))[:40]}' model: give a CLIP model's folder")
    if not expect:
        return
    if expect not in CLIP_MODELS:
        raise InputError(f"there is no CLIP model '{expect}': choose one of {', '.join(CLIP_MODELS)}")
    if _name_of(config) != expect:
        info = CLIP_MODELS[expect]
        raise InputError(
            f"{folder} holds a CLIP of {_sizes(config)[0]} values ({_sizes(config)[-1]}), which is not {expect}: this "
            f"shape encoder goes with {info.repository} ({info.dim} values, {info.activation})"
        )


def _name_of(config: dict[str, Any]) -> str:
    """Name of the published model of these sizes; empty if there is none."""
    sizes = _sizes(config)
    return next((info.name for info in CLIP_MODELS.values() if (info.dim, *info.vision, info.activation) == sizes), "")


def _sizes(config: dict[str, Any]) -> tuple[int, int, int, int, str]:
    """Joint width, and width, layers, patch and activation of the image tower; what is left out is as in ViT-B/32."""
    vision = config.get("vision_config") or {}
    return (
        config.get("projection_dim", 512),
        vision.get("hidden_size", 768),
        vision.get("num_hidden_layers", 12),
        vision.get("patch_size", 32),
        vision.get("hidden_act", "quick_gelu"),
    )


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a folder with a saved model: give what save_pretrained wrote")
    read = read_json(folder / "config.json", max_bytes=1 << 20)
    return read if isinstance(read, dict) else {}


def _has_words(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))


def _hash_of_many(files: list[Path]) -> str:
    each = {file.name: file_hash(file) for file in files}
    return hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest()


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))
