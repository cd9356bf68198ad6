"""CLIP's image tower in files: no InteractVLM checkpoint holds it, each names the one that it was trained with."""

from __future__ import annotations

import re
from pathlib import Path

from hoirecon.contact.checkpoints.keys import TOWER
from hoirecon.contact.checkpoints.shards import TensorInfo, has_weights, read_catalogue
from hoirecon.contact.modeling.config import VisionConfig
from hoirecon.errors import InputError, MissingModelError, require
from hoirecon.files import read_json

OWN_FOLDER = "vision_tower"
"""Name of the tower's folder inside a checkpoint."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_OF_TEXT = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
_FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
_LEGACY_FILES = ["config.json", "preprocessor_config.json", "pytorch_model*.bin", "pytorch_model.bin.index.json"]


def find_tower(folder: Path, name: str | None, given: str | Path | None = None) -> Path:
    """Folder of the image tower.

    Looked for, in this order: the folder that the caller gave, ``vision_tower`` inside the checkpoint, the name in
    config.json as a folder in or beside the checkpoint, and the same name on the Hugging Face hub, its local cache
    first.

    Raises:
        InputError: the caller's folder holds no image tower.
        MissingModelError: it is nowhere; the message names the command that fetches it.
    """
    if given is not None:
        if not _is_tower(Path(given)):
            raise InputError(f"{given} is no folder of an image tower: it needs config.json and weights, as CLIP's has")
        return Path(given)
    places = [folder / OWN_FOLDER]
    if name and ".." not in Path(name).parts:
        places += [folder / name, folder.parent / name]
    if found := next((place for place in places if _is_tower(place)), None):
        return found
    if name and _HUB_NAME.fullmatch(name):
        return _from_hub(name, folder)
    raise MissingModelError(_advice(name, folder))


def read_vision_config(tower: Path, select_layer: int) -> VisionConfig:
    """Sizes of the tower in a folder, which may be that of a whole CLIP.

    Raises:
        InputError: not the configuration of CLIP.
    """
    read = read_json(tower / "config.json")
    if not isinstance(read, dict) or read.get("model_type") not in ("clip", "clip_vision_model"):
        raise InputError(
            f"{tower / 'config.json'} does not describe CLIP: give the folder of the tower it was made with"
        )
    config = require("transformers", extra="vlm").CLIPVisionConfig
    part = read.get("vision_config", read)
    try:
        known = config(**{key: part[key] for key in _SIZES if key in part})
        sizes = VisionConfig(
            **{ours: getattr(known, theirs) for theirs, ours in _SIZES.items()}, select_layer=select_layer
        )
    except (TypeError, ValueError, AttributeError) as err:
        raise InputError(f"{tower / 'config.json'} does not describe CLIP ({err})") from err
    _check_sizes(sizes, tower)
    return sizes


_SIZES = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "image_size": "image_size",
    "patch_size": "patch_size",
    "hidden_act": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
}
"""Names in CLIP's config.json, and ours."""


def _check_sizes(sizes: VisionConfig, tower: Path) -> None:
    numbers = (sizes.hidden_size, sizes.intermediate_size, sizes.num_layers, sizes.num_heads, sizes.image_size)
    if not all(isinstance(n, int) and 0 < n <= 1 << 16 for n in (*numbers, sizes.patch_size)) or sizes.num_layers > 512:
        raise InputError(f"{tower / 'config.json'} states sizes that no image tower has: {sizes}")
    if not -sizes.num_layers - 1 <= sizes.select_layer <= sizes.num_layers:
        raise InputError(
            f"hidden state {sizes.select_layer} is asked of an image tower with {sizes.num_layers} layers: give the "
            "tower that the model was made with"
        )


def read_tower_catalogue(tower: Path) -> dict[str, TensorInfo]:
    """Tensors of the tower by our names; the text half of a whole CLIP is left out.

    Raises:
        InputError: missing or damaged weights.
    """
    found = {}
    for key, info in read_catalogue(tower).items():
        if not key.startswith(_OF_TEXT) and not key.endswith("position_ids"):
            found[TOWER + key.removeprefix("vision_model.")] = info
    return found


def _is_tower(folder: Path) -> bool:
    return (folder / "config.json").is_file() and has_weights(folder)


def _from_hub(name: str, folder: Path) -> Path:
    """The tower's files in the hub's cache, fetched if need be and allowed."""
    try:
        hub = require("huggingface_hub", extra="vlm")
    except ImportError as err:
        raise MissingModelError(_advice(name, folder)) from err
    for patterns in (_FILES, _LEGACY_FILES):
        for cached in (True, False):
            try:
                found = Path(hub.snapshot_download(name, allow_patterns=patterns, local_files_only=cached))
            except (OSError, ValueError, RuntimeError):  # not cached, offline, or no such name
                continue
            if _is_tower(found):
                return found
    raise MissingModelError(_advice(name, folder))


def _advice(name: str | None, folder: Path) -> str:
    named = name or "CLIP's (openai/clip-vit-large-patch14)"
    fetch = f"hf download {name or 'openai/clip-vit-large-patch14'} --local-dir {folder / OWN_FOLDER}"
    return f"the image tower {named} of {folder} is not here: give vision_tower=FOLDER, or fetch it with  {fetch}"
