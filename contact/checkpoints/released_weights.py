"""Tensors of a released folder by our names, with low-rank updates (LoRA) merged while they are read.

Released models are stored merged. A training's own save may hold the updates apart, in the same files or as an adapter
of ``peft`` beside them; both are merged here as ``W + alpha / r * B A``, in float32, then rounded to W's type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hoirecon.contact.checkpoints.keys import Shape, is_ignored, to_ours, without_separate_decoders
from hoirecon.contact.checkpoints.shards import TensorInfo, has_weights, open_shard, read_catalogue, read_tensors
from hoirecon.errors import InputError
from hoirecon.files import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
TRAINING_CONFIG = "pretrained_config.json"
_PEFT = "base_model.model."
_UPDATE = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])(\.\w+)?\.weight")
_SAVED = re.compile(r"\.modules_to_save\.\w+\.")


@dataclass(frozen=True)
class LowRank:
    """An update ``scale * B A`` of one weight."""

    a: TensorInfo
    """(r, in)."""
    b: TensorInfo
    """(out, r)."""
    scale: float
    """alpha / r."""


@dataclass(frozen=True)
class Weights:
    """Tensors of a network in files, by our names."""

    infos: dict[str, TensorInfo]
    """Where each lies."""
    updates: dict[str, LowRank] = field(default_factory=dict)
    """Updates that are not merged yet, by the name of the weight they change."""

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of each tensor."""
        return {key: info.shape for key, info in self.infos.items()}

    def read(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor once, updates merged; at most one file is open at a time."""
        halves = {(key, half): getattr(u, half) for key, u in self.updates.items() for half in "ab"}
        flat = {f"{half}{key}": info for (key, half), info in halves.items()}
        factors = {name: tensor.clone() for name, tensor in read_tensors(flat)}
        for key, tensor in read_tensors(self.infos):
            if update := self.updates.get(key):
                tensor = _merged(tensor, factors.pop(f"a{key}"), factors.pop(f"b{key}"), update.scale)
            yield key, tensor

    def collapsed(self) -> Weights:
        """With one mask decoder, the object's, in the place of three."""
        names = without_separate_decoders(self.infos)
        return Weights({ours: self.infos[source] for ours, source in names.items()}, self.updates)

    def without(self, prefix: str) -> Weights:
        """Without the tensors whose name begins so."""
        return Weights({k: v for k, v in self.infos.items() if not k.startswith(prefix)}, self.updates)


def read_released_weights(folder: Path) -> Weights:
    """What a released folder holds, from headers only.

    Raises:
        InputError: no weights, damaged ones, or updates that cannot be merged.
    """
    if (folder / ADAPTER_CONFIG).is_file() and not has_weights(folder):
        raise InputError(
            f"{folder} holds a LoRA adapter, but not the weights that it changes: put {ADAPTER_CONFIG} and "
            f"{ADAPTER_FILES[0]} into the folder of the model that it was trained on, and load that"
        )
    catalogue = read_catalogue(folder)
    for name in ADAPTER_FILES:
        if (folder / name).is_file():
            with open_shard(folder / name) as adapter:
                catalogue = _plain_names(catalogue) | _plain_names(adapter.infos())
            break
    return _sorted_out(_plain_names(catalogue), folder)


def _plain_names(catalogue: dict[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Without the wrappings that ``peft`` puts round a layer; of a layer kept twice, the trained one."""
    plain = {}
    for key, info in catalogue.items():
        if ".original_module." not in key:
            name = key.removeprefix(_PEFT).replace(".base_layer.", ".")
            plain[_SAVED.sub(".", name)] = info
    return plain


def _sorted_out(catalogue: dict[str, TensorInfo], folder: Path) -> Weights:
    infos: dict[str, TensorInfo] = {}
    halves: dict[str, dict[str, TensorInfo]] = {}
    for key, info in catalogue.items():
        if match := _UPDATE.fullmatch(key):
            halves.setdefault(to_ours(f"{match['layer']}.weight"), {})[match["half"]] = info
        elif "lora_" in key:
            raise InputError(f"{info.file}: '{key}' is a form of LoRA that cannot be merged here: merge it with peft")
        elif not is_ignored(key):
            infos[to_ours(key)] = info
    if not halves:
        return Weights(infos)
    alpha, rank_stabilised = _alpha(folder)
    updates = {key: _update(key, pair, infos, alpha, rank_stabilised) for key, pair in halves.items()}
    return Weights(infos, updates)


def _update(
    key: str, pair: dict[str, TensorInfo], infos: dict[str, TensorInfo], alpha: float, rank_stabilised: bool
) -> LowRank:
    some = next(iter(pair.values()))
    if set(pair) != {"A", "B"} or key not in infos:
        raise InputError(f"{some.file}: the LoRA update '{some.key}' lacks its other half or the weight it changes")
    a, b, weight = pair["A"], pair["B"], infos[key]
    fits = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1] > 0
    if not fits or (b.shape[0], a.shape[1]) != weight.shape:
        raise InputError(
            f"{a.file}: the LoRA update '{a.key}' of shapes {b.shape} x {a.shape} does not fit the weight of shape "
            f"{weight.shape}: adapter and model must belong together"
        )
    return LowRank(a, b, alpha / (math.sqrt(a.shape[0]) if rank_stabilised else a.shape[0]))


def _alpha(folder: Path) -> tuple[float, bool]:
    """LoRA's alpha, and whether it is divided by the root of the rank; no tensor tells."""
    if (folder / ADAPTER_CONFIG).is_file():
        read = _table(folder / ADAPTER_CONFIG)
        odd = [name for name in ("use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out") if read.get(name)]
        if odd:
            raise InputError(f"{folder / ADAPTER_CONFIG}: updates with '{odd[0]}' must be merged with peft first")
        alpha, rooted = read.get("lora_alpha"), bool(read.get("use_rslora"))
    elif (folder / TRAINING_CONFIG).is_file():
        alpha, rooted = _table(folder / TRAINING_CONFIG).get("lora_alpha"), False
    else:
        alpha, rooted = None, False
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
        raise InputError(
            f"{folder} holds LoRA updates that are not merged, and no file says their 'lora_alpha': add the training's "
            f"{ADAPTER_CONFIG} or {TRAINING_CONFIG}, or merge them with peft first"
        )
    return float(alpha), rooted


def _table(path: Path) -> dict[str, Any]:
    read = read_json(path)
    if not isinstance(read, dict):
        raise InputError(f"{path} holds no JSON object: fetch it again")
    return read


def _merged(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return (weight.float() + scale * (b.float() @ a.float())).to(weight.dtype)
