"""Released InteractVLM folders, read as they are.

Such a folder has config.json, weights (``pytorch_model-*.bin`` or safetensors, in one piece or in shards) and the
tokenizer's files, but not the image tower. Nothing is executed, and everything that can be wrong is found from headers
before weights are read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from hoirecon.contact.checkpoints.assembly import check_tensors, empty_network, fill, finish
from hoirecon.contact.checkpoints.keys import EMBEDDING, TOWER, shapes_of
from hoirecon.contact.checkpoints.memory import check_memory, dtype_name
from hoirecon.contact.checkpoints.released_config import Settings, released_config
from hoirecon.contact.checkpoints.released_weights import Weights, read_released_weights
from hoirecon.contact.checkpoints.vision_tower import find_tower, read_tower_catalogue, read_vision_config
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.contact.modeling.network import InteractVLMNetwork

SeparateDecoders = Literal["keep", "collapse"]
"""What becomes of a checkpoint's own mask decoders for human and object.

``keep`` uses each as it was trained. ``collapse`` does what the reference's loading does: its three decoders are one
module, and the object's, which it reads last, serves all. No released model has separate decoders.
"""


@dataclass(frozen=True)
class Source:
    """A released folder that was looked at, but not read."""

    folder: Path
    """Where it lies."""
    tower: Path
    """Where its image tower lies."""
    config: NetworkConfig
    """What its network is."""
    weights: Weights
    """Where every tensor of that network lies, the tower's included."""
    network: InteractVLMNetwork | None = None
    """The network without its weights, if they were held against it."""


def read_released_config(folder: str | Path, *, vision_tower: str | Path | None = None) -> NetworkConfig:
    """What a released folder's network is.

    Raises:
        InputError: not a checkpoint, or its files contradict each other.
        MissingModelError: the image tower is not on this machine.
    """
    return look_at(folder, vision_tower=vision_tower, check=False).config


def load_network(
    folder: str | Path,
    *,
    vision_tower: str | Path | None = None,
    device: Any = "cpu",
    dtype: torch.dtype | None = None,
    separate_decoders: SeparateDecoders = "keep",
) -> InteractVLMNetwork:
    """The network of a released folder.

    Args:
        folder: the checkpoint.
        vision_tower: folder of the CLIP image tower; None looks for ``vision_tower`` in the checkpoint, for the name in
            config.json as a folder in or beside it, and for that name on the Hugging Face hub, its local cache first.
        device: where the weights go.
        dtype: type of the weights; None keeps that of the file.
        separate_decoders: see :data:`SeparateDecoders`.

    Raises:
        InputError: not a checkpoint, damaged, code in a pickle, a tensor missing, unexpected or of a wrong shape, a
            vocabulary that does not fit, or too little memory.
        MissingModelError: the image tower is not on this machine.
    """
    source = look_at(folder, vision_tower=vision_tower, separate_decoders=separate_decoders)
    kind = dtype or source.weights.infos[EMBEDDING].dtype
    numbers = sum(info.nbytes // info.dtype.itemsize for info in source.weights.infos.values())
    check_memory(numbers * kind.itemsize, device, dtype_name(kind))
    network = source.network
    assert network is not None  # it was checked
    fill(network, source.weights.read(), device, kind)
    finish(network, device)
    return network


def look_at(
    folder: str | Path,
    *,
    vision_tower: str | Path | None = None,
    separate_decoders: SeparateDecoders = "keep",
    check: bool = True,
) -> Source:
    """Read configuration and headers of a released folder, and hold them against each other.

    Raises:
        InputError: as :func:`load_network`, but for memory.
        MissingModelError: the image tower is not on this machine.
    """
    if separate_decoders not in ("keep", "collapse"):
        raise InputError(f"separate_decoders is '{separate_decoders}', expected 'keep' or 'collapse'")
    folder = Path(folder)
    settings = Settings(folder)
    weights = read_released_weights(folder)
    tower = find_tower(folder, _tower_name(settings), vision_tower)
    layer = settings.whole("mm_vision_select_layer", -2, low=-512, high=512)
    config = released_config(settings, weights.shapes, read_vision_config(tower, layer), folder)
    if separate_decoders == "collapse":
        config, weights = replace(config, separate_decoders=False), weights.collapsed()
    if config.camera_encoder == "none":  # tensors of an encoder that config.json turns off
        weights = weights.without("feat_lift.")
    weights = Weights(weights.infos | read_tower_catalogue(tower), weights.updates)
    network = _checked_network(config, weights, folder, tower) if check else None
    return Source(folder, tower, config, weights, network)


def _checked_network(config: NetworkConfig, weights: Weights, folder: Path, tower: Path) -> InteractVLMNetwork:
    network = empty_network(config)
    expected = shapes_of(network.state_dict())
    for where, mine in ((folder, False), (tower, True)):
        check_tensors(
            {key: shape for key, shape in expected.items() if key.startswith(TOWER) is mine},
            {key: info for key, info in weights.infos.items() if key.startswith(TOWER) is mine},
            where,
        )
    return network


def _tower_name(settings: Settings) -> str | None:
    """LLaVA names the tower twice; the first is the one that its loading goes by."""
    name = settings.text("mm_vision_tower", "") or settings.text("vision_tower", "")
    return name or None
