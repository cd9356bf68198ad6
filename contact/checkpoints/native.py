"""Our own folders: written whole or not at all, read back bit by bit. What lies where stands in ``layout``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hoirecon.contact.checkpoints.assembly import check_tensors, empty_network, fill, finish
from hoirecon.contact.checkpoints.keys import EMBEDDING, LANGUAGE, shapes_of
from hoirecon.contact.checkpoints.layout import (
    EXTRAS_FILE,
    LANGUAGE_FOLDER,
    MANIFEST,
    MAX_SHARD_BYTES,
    TOKENIZER_FOLDER,
    Manifest,
    copy_beside,
    places,
    read_manifest,
    read_places,
    sha256,
    write_configs,
    write_manifest,
    write_tensors,
)
from hoirecon.contact.checkpoints.memory import check_memory, dtype_name
from hoirecon.contact.checkpoints.quantize import Quantize, check_quantize, load_quantized, quantized_bytes
from hoirecon.contact.checkpoints.shards import SAFE_NAMES, TensorInfo, open_shard, read_tensors
from hoirecon.contact.checkpoints.writer import SafetensorsWriter, Spec
from hoirecon.errors import InputError
from hoirecon.files import atomic_folder, check_replaceable

if TYPE_CHECKING:
    from hoirecon.contact.modeling.network import InteractVLMNetwork


def save_network(
    network: InteractVLMNetwork,
    folder: str | Path,
    *,
    name: str | None = None,
    released: bool = False,
    tokenizer_folder: str | Path | None = None,
    vision_tower: str | Path | None = None,
    extras: Mapping[str, Tensor] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write a network as one of our folders.

    Args:
        network: on any device and of any type; neither quantised nor with unmerged LoRA updates.
        folder: new, empty, or an earlier save, which is replaced when all is written.
        name: the model's name; None takes the folder's.
        released: whether these are weights that InteractVLM's authors published.
        tokenizer_folder: where the tokenizer's files lie, to be taken over.
        vision_tower: where the image processor's file lies, to be taken over.
        extras: tensors to keep with the network.
        max_shard_bytes: largest file of the language model.

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written, holds something else, or the network cannot be written so.
    """
    folder = Path(folder)
    check_replaceable(folder, MANIFEST)
    state: dict[str, Tensor] = network.state_dict()
    _check_plain(state, network)
    specs = {key: Spec(tuple(value.shape), value.dtype) for key, value in state.items()}
    tokenizer = Path(tokenizer_folder) if tokenizer_folder is not None else None
    tower = Path(vision_tower) if vision_tower is not None else None
    with atomic_folder(folder, MANIFEST) as out:
        write_configs(out, network.config, dtype_of(specs))
        write_tensors(out, specs, state.items(), max_shard_bytes)
        copy_beside(out, tokenizer, tower)
        _write_extras(out, extras or {})
        write_manifest(out, network.config, name or folder.name, released)
    return folder


def load_saved(
    folder: str | Path,
    *,
    device: Any = "cpu",
    dtype: torch.dtype | None = None,
    quantize: Quantize | None = None,
    verify: bool = False,
) -> InteractVLMNetwork:
    """The network of one of our folders.

    Args:
        folder: what :func:`save_network` or ``convert_released`` wrote.
        device: where the weights go.
        dtype: type of the weights; None keeps that of the file.
        quantize: precision of the language model's linear layers; None keeps them as they are.
        verify: whether to hold every file against its hash first, which reads the whole folder once more.

    Raises:
        InputError: not such a folder, a file is missing, damaged or of another size, or too little memory.
        MissingExtraError: the package that quantises is not installed.
    """
    if quantize is not None:
        check_quantize(quantize, device)
    folder = Path(folder)
    manifest = read_manifest(folder)
    if verify:
        _check_hashes(folder, manifest)
    infos = read_places(folder)
    network = empty_network(manifest.config)
    check_tensors(
        shapes_of(network.state_dict()), infos, folder, lambda key: places({key: Spec((), torch.bool)})[key].key
    )
    kind = dtype or infos[EMBEDDING].dtype
    check_memory(quantized_bytes(infos, kind, quantize), device, quantize or dtype_name(kind))
    if quantize is not None:
        network.vlm.language_model = load_quantized(folder / LANGUAGE_FOLDER, network, quantize, device, kind)
        infos = {key: info for key, info in infos.items() if not key.startswith(LANGUAGE)}
    fill(network, read_tensors(infos), device, kind)
    finish(network, device)
    return network.eval()


def verify(folder: str | Path) -> Manifest:
    """Hold every file of one of our folders against its hash.

    Raises:
        InputError: a file is missing or changed; the message names it.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    _check_hashes(folder, manifest)
    return manifest


def _check_hashes(folder: Path, manifest: Manifest) -> None:
    for name, entry in manifest.files.items():
        if sha256(folder / name) != entry["sha256"]:
            raise InputError(f"{folder / name} is not what was written (another sha256): copy the folder again, whole")


def read_extras(folder: str | Path) -> dict[str, Tensor]:
    """Tensors that were kept with the network; empty if there are none."""
    path = Path(folder) / EXTRAS_FILE
    if not path.is_file():
        return {}
    with open_shard(path) as shard:
        infos: dict[str, TensorInfo] = shard.infos()
    return {key: tensor.clone() for key, tensor in read_tensors(infos)}


def tokenizer_folder(folder: str | Path) -> Path:
    """Where one of our folders keeps the tokenizer's files."""
    return Path(folder) / TOKENIZER_FOLDER


def dtype_of(specs: Mapping[str, Spec]) -> str:
    """Name of the language model's type, as config.json writes it."""
    return str(specs[EMBEDDING].dtype).removeprefix("torch.")


def _write_extras(out: Path, extras: Mapping[str, Tensor]) -> None:
    if not extras:
        return
    if odd := next((key for key, value in extras.items() if value.dtype not in SAFE_NAMES), None):
        raise InputError(f"the extra tensor '{odd}' has values of type {extras[odd].dtype}, expected plain numbers")
    specs = {key: Spec(tuple(value.shape), value.dtype) for key, value in extras.items()}
    with SafetensorsWriter(out / EXTRAS_FILE, specs) as writer:
        for key, value in extras.items():
            writer.write(key, value)


def _check_plain(state: Mapping[str, Tensor], network: InteractVLMNetwork) -> None:
    """Refuse what would not load again."""
    if odd := [key for key in state if "lora_" in key]:
        raise InputError(f"the network has LoRA updates ('{odd[0]}'): merge them before saving")
    expected = shapes_of(empty_network(network.config).state_dict())
    if wrong := [key for key in expected | dict(state) if key not in state or key not in expected]:
        raise InputError(f"the network is not as configured ('{wrong[0]}'): a quantised network cannot be saved")
    if odd := [key for key, value in state.items() if tuple(value.shape) != expected[key] or value.is_meta]:
        raise InputError(f"the network is not as configured ('{odd[0]}'): a quantised or empty network cannot be saved")
