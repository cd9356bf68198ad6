"""Where is the barbell? A box from the object's name, by an open-vocabulary detector that the user has on disk.

OWL-ViT and OWLv2 (Minderer et al. 2022, 2023) from ``transformers``, optionally with a LoRA adapter by ``peft``.
Nothing is downloaded: give the folder of a saved model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoirecon.arrays import ByteArray
from hoirecon.errors import InputError, require
from hoirecon.observation import Box

MODEL_TYPES = ("owlvit", "owlv2")


@dataclass(frozen=True)
class FoundBox:
    """A place where the named object may be."""

    box: Box
    """x, y, width, height in pixels."""
    score: float
    """How sure the detector is, in [0, 1]."""
    name: str


class TextBoxFinder:
    """Finds boxes of named objects with an OWL-ViT or OWLv2 model.

    Args:
        weights: folder with config, safetensors and processor files, as ``save_pretrained`` writes it.
        adapter: folder of a LoRA adapter (peft) trained on that model; None for the plain model.
        device: torch device.

    Raises:
        InputError: no such folder, another kind of model, or weights that are not safetensors.
        MissingExtraError: transformers (or, with an adapter, peft) is not installed.
    """

    def __init__(self, weights: str | Path, adapter: str | Path | None = None, device: str = "cpu") -> None:
        transformers = require("transformers", extra="vlm")
        folder = _folder(weights, "weights")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        if config.model_type not in MODEL_TYPES:
            raise InputError(f"{folder} holds a '{config.model_type}' model: give one of {', '.join(MODEL_TYPES)}")
        if not list(folder.glob("*.safetensors")):
            raise InputError(f"{folder} holds no .safetensors file: convert the weights, pickles are not read")
        self._processor = transformers.AutoProcessor.from_pretrained(folder, **options)
        model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(
            folder, use_safetensors=True, **options
        )
        if adapter is not None:
            model = _adapted(model, _folder(adapter, "adapter"))
        self._model = model.eval().to(device)
        self._device = device

    def find(self, image: ByteArray, name: str, *, threshold: float = 0.1, most: int = 5) -> list[FoundBox]:
        """Boxes of the named object, best first.

        Args:
            image: (H, W, 3) RGB.
            name: what to look for, e.g. ``"barbell"``; asked as "a photo of a barbell".
            threshold: least score; 0.1 is OWL's usual one.
            most: most boxes returned.
        """
        import torch
        from PIL import Image

        query = f"a photo of a {name}"
        inputs = self._processor(text=[[query]], images=Image.fromarray(image), return_tensors="pt").to(self._device)
        with torch.inference_mode():
            outputs = self._model(**inputs)
        height, width = image.shape[:2]
        found = self._processor.post_process_grounded_object_detection(
            outputs=outputs, threshold=threshold, target_sizes=torch.tensor([[height, width]])
        )[0]
        ranked = sorted(zip(found["scores"].tolist(), found["boxes"].tolist(), strict=True), reverse=True)
        boxes = [FoundBox(_cut(corners, width, height), score, name) for score, corners in ranked]
        return [b for b in boxes if b.box[2] >= 1 and b.box[3] >= 1][:most]


def _adapted(model: Any, folder: Path) -> Any:
    if not (folder / "adapter_model.safetensors").is_file():
        raise InputError(f"{folder} holds no adapter_model.safetensors: save the adapter with save_pretrained")
    return require("peft", extra="vlm").PeftModel.from_pretrained(model, str(folder), local_files_only=True)


def _cut(corners: list[float], width: int, height: int) -> Box:
    x0, x1 = (min(max(v, 0.0), float(width)) for v in corners[::2])
    y0, y1 = (min(max(v, 0.0), float(height)) for v in corners[1::2])
    return x0, y0, x1 - x0, y1 - y0


def _folder(path: str | Path, what: str) -> Path:
    path = Path(path)
    if not (path.is_dir() and any(path.glob("*config.json"))):
        raise InputError(f"{path} is not a folder with a saved model ({what}): give what save_pretrained wrote")
    return path
