"""LoRA: low-rank updates of the language model's attention, apart from its weights or merged into them.

Hu et al., "LoRA", 2022, through the ``peft`` package. Released models of InteractVLM (Dwivedi et al., CVPR 2025) were
trained with rank 8 on queries and values and are stored merged, so inference with them needs nothing of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.errors import InputError, require
from hoirecon.files import atomic_folder, read_json
from hoirecon.tensor_files import plain_tensors, read_tensor_table

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Files of an adapter's folder, as ``peft`` writes them."""
MAX_ADAPTER_BYTES = 4 << 30
"""Largest adapter that is opened; the released recipe's has 26 MB."""
PEFT_PREFIX = "base_model.model."
"""What ``peft`` puts before the language model's names in a file."""
_ADAPTER = "default"


@dataclass(frozen=True)
class LoraSettings:
    """Shape of the updates; the defaults are those of the released models."""

    r: int = 8
    """Rank."""
    alpha: float = 16
    """The update is scaled by ``alpha / r``."""
    dropout: float = 0.05
    """Share of the update's input that is dropped in training."""
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Projections of each layer that are updated."""

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1 or not self.targets:
            raise InputError(f"LoRA needs a rank of at least 1, alpha above 0 and dropout in [0, 1), got {self}")


def add_lora(network: InteractVLMNetwork, settings: LoraSettings = LoraSettings()) -> None:
    """Put updates, at first zero, beside the language model's projections; all its other weights are frozen.

    Image tower, projector and mask decoder are never touched.

    Raises:
        InputError: there are updates already, or no projection has one of the names.
        MissingExtraError: peft is not installed.
    """
    peft = require("peft", extra="vlm")
    if lora_layers(network):
        raise InputError("the network has LoRA updates already: merge them first")
    config = peft.LoraConfig(
        r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=list(settings.targets)
    )
    model = network.vlm.language_model
    try:
        peft.inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    except ValueError as err:
        raise InputError(f"LoRA finds none of {', '.join(settings.targets)} in the language model ({err})") from err
    model.train(model.training)  # the new dropout starts in training mode, whatever the model is in


def lora_layers(network: InteractVLMNetwork) -> dict[str, Any]:
    """Updated projections by their name in the language model; empty without LoRA."""
    layer = require("peft.tuners.lora", extra="vlm").LoraLayer
    return {name: module for name, module in network.vlm.language_model.named_modules() if isinstance(module, layer)}


def merge_lora(network: InteractVLMNetwork) -> None:
    """Add the updates to the weights and remove them: names and outputs are then those of a plain network.

    Raises:
        InputError: an update holds values that are not finite; nothing is changed then.
    """
    layers = lora_layers(network)
    for name, layer in layers.items():
        if not all(bool(p.isfinite().all()) for key, p in layer.named_parameters() if "lora_" in key):
            raise InputError(f"the LoRA update of {name} holds values that are not finite: train it again")
    for name, layer in layers.items():
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(network.vlm.language_model.get_submodule(parent), child, layer.get_base_layer())


def save_adapter(network: InteractVLMNetwork, folder: str | Path) -> None:
    """Write the updates alone, in the files of ``peft``.

    Raises:
        InputError: there are none, or the folder cannot be written.
    """
    layers = lora_layers(network)
    if not layers:
        raise InputError("the network has no LoRA updates to save: add_lora puts them in")
    peft, safetensors = require("peft", extra="vlm"), require("safetensors.torch", extra="vlm")
    first = next(iter(layers.values()))
    config = peft.LoraConfig(
        r=first.r[_ADAPTER],
        lora_alpha=first.lora_alpha[_ADAPTER],
        lora_dropout=getattr(first.lora_dropout[_ADAPTER], "p", 0.0),
        target_modules=sorted({name.rpartition(".")[2] for name in layers}),
        inference_mode=True,
    )
    state = {_file_name(name): value.detach().contiguous() for name, value in _updates(network).items()}
    with atomic_folder(folder, ADAPTER_CONFIG) as tmp:
        config.save_pretrained(str(tmp))
        safetensors.save_file(state, str(tmp / ADAPTER_WEIGHTS))


def load_adapter(network: InteractVLMNetwork, folder: str | Path) -> LoraSettings:
    """Put updates from a folder of ``peft`` beside the language model's weights; merge them with :func:`merge_lora`.

    Returns:
        The shape of the updates.

    Raises:
        InputError: not such a folder, a form of LoRA that InteractVLM does not use, or weights that do not fit.
    """
    folder = Path(folder)
    settings = _read_settings(folder / ADAPTER_CONFIG)
    state = _read_weights(folder / ADAPTER_WEIGHTS)
    add_lora(network, settings)
    try:
        _assign(_updates(network), state, folder)
    except InputError:
        _remove(network)
        raise
    return settings


def _updates(network: InteractVLMNetwork) -> dict[str, nn.Parameter]:
    """Parameters of the updates by their name in the language model."""
    return {name: p for name, p in network.vlm.language_model.named_parameters() if ".lora_" in name}


def _file_name(name: str) -> str:
    """``peft``'s files do not name the adapter."""
    return PEFT_PREFIX + name.replace(f".{_ADAPTER}.", ".")


def _assign(updates: dict[str, nn.Parameter], state: dict[str, Tensor], folder: Path) -> None:
    """Copy a file's tensors into the updates; every one of them, and no other."""
    expected = {_file_name(name): parameter for name, parameter in updates.items()}
    if odd := sorted(expected.keys() ^ state.keys()):
        what = "lacks" if odd[0] in expected else "has, but the language model does not,"
        raise InputError(f"the adapter {folder} {what} {odd[0]}: it was trained on another language model")
    for name, parameter in expected.items():
        if parameter.shape != state[name].shape:
            raise InputError(
                f"{name} of the adapter {folder} has shape {tuple(state[name].shape)}, expected "
                f"{tuple(parameter.shape)}: it was trained on a language model of another size"
            )
    for name, parameter in expected.items():
        parameter.data.copy_(state[name])


def _remove(network: InteractVLMNetwork) -> None:
    """Take updates out without merging them."""
    for name, layer in lora_layers(network).items():
        parent, _, child = name.rpartition(".")
        setattr(network.vlm.language_model.get_submodule(parent), child, layer.get_base_layer())


def _read_settings(path: Path) -> LoraSettings:
    read = read_json(path, max_bytes=1 << 20)
    if not isinstance(read, dict) or read.get("peft_type") != "LORA":
        raise InputError(f"{path} is not the configuration of a LoRA adapter")
    unusual = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")
    if other := [key for key in unusual if read.get(key)] + (["bias"] if read.get("bias", "none") != "none" else []):
        raise InputError(
            f"{path} uses {', '.join(other)}, which InteractVLM's adapters do not have: merge it with peft"
        )
    if not isinstance(read.get("target_modules"), list):
        raise InputError(f"{path} must name its target_modules in a list, got {read.get('target_modules')!r}")
    try:
        targets = tuple(str(t).rpartition(".")[2] for t in read["target_modules"])
        return LoraSettings(
            int(read["r"]), read["lora_alpha"], float(read["lora_dropout"]), tuple(sorted(set(targets)))
        )
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(f"{path} is not the configuration of a LoRA adapter ({err})") from err


def _read_weights(path: Path) -> dict[str, Tensor]:
    what = "an adapter of InteractVLM saved with safetensors (pickled ones are not opened)"
    return plain_tensors(read_tensor_table(path, MAX_ADAPTER_BYTES, what, "vlm"), path, what)
