"""One door for weights of either kind: a released folder, or one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hoirecon.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hoirecon.contact.checkpoints.quantize import Quantize
    from hoirecon.contact.checkpoints.released import SeparateDecoders
    from hoirecon.contact.modeling.config import NetworkConfig
    from hoirecon.contact.modeling.network import InteractVLMNetwork

Kind = Literal["released", "native"]
"""A folder as the authors of InteractVLM publish it, or one that hoirecon wrote."""


@dataclass(frozen=True)
class Loaded:
    """A network with what lay beside it."""

    network: InteractVLMNetwork
    """Ready to use, in evaluation mode."""
    config: NetworkConfig
    """What it is."""
    tokenizer_folder: Path
    """Where the tokenizer's files lie, if any came with it."""
    kind: Kind
    """What the folder was."""
    name: str
    """Name of the model."""
    released: bool
    """Whether the weights are those that InteractVLM's authors published, converted or not."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The manifest of one of our folders; empty for a released one."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors that were kept with the network, e.g. features of constant views."""


SHIPPED = ("tiny",)
"""Names of weights that come with the package."""


def shipped(name: str | Path) -> Path:
    """The folder that a name stands for: one of :data:`SHIPPED`, unless a folder here is called so; else as it is."""
    if str(name) in SHIPPED and not Path(name).is_dir():
        return Path(__file__).parent.parent / "assets" / str(name)
    return Path(name)


def kind_of(folder: str | Path) -> Kind:
    """Which kind of folder this is.

    Raises:
        InputError: neither.
    """
    folder = Path(folder)
    if (folder / "hoirecon.json").is_file():
        return "native"
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        return "released"
    what = "is not a checkpoint (it has neither config.json nor hoirecon.json)" if folder.is_dir() else "is no folder"
    raise InputError(
        f"{folder} {what}: give the folder of a released InteractVLM model, or one that 'hoirecon contact convert' "
        "wrote"
    )


def open_checkpoint(
    folder: str | Path,
    *,
    device: Any = "cpu",
    dtype: torch.dtype | None = None,
    quantize: Quantize | None = None,
    vision_tower: str | Path | None = None,
    separate_decoders: SeparateDecoders = "keep",
    verify: bool = False,
) -> Loaded:
    """Load a network from a released folder or from one of ours.

    Args:
        folder: the weights.
        device: where they go.
        dtype: their type; None keeps that of the file.
        quantize: precision of the language model's linear layers; only for folders of ours.
        vision_tower: folder of the image tower; only for released folders, which lack it.
        separate_decoders: see ``SeparateDecoders``; only for released folders.
        verify: whether to hold every file against its hash before it is loaded (a minute for 27 GB); only for folders
            of ours, released ones have no hashes.

    Raises:
        InputError: not a checkpoint, damaged, or an option that this kind does not have.
        MissingModelError: the image tower of a released folder is not on this machine.
        MissingExtraError: a package is not installed.
    """
    folder = Path(folder)
    if kind_of(folder) == "released":
        if verify:
            raise InputError(
                f"{folder} is a released folder, which has no hashes to verify: load it without verify, or convert it "
                f"once with  hoirecon contact convert {folder} OUT  and verify OUT"
            )
        return _released(folder, device, dtype, quantize, vision_tower, separate_decoders)
    if vision_tower is not None or separate_decoders != "keep":
        raise InputError(
            f"{folder} is a converted folder with its own image tower and decoders: give vision_tower and "
            "separate_decoders when converting"
        )
    return _native(folder, device, dtype, quantize, verify)


def _released(
    folder: Path,
    device: Any,
    dtype: torch.dtype | None,
    quantize: Quantize | None,
    vision_tower: str | Path | None,
    separate_decoders: SeparateDecoders,
) -> Loaded:
    from hoirecon.contact.checkpoints.released import load_network

    if quantize is not None:
        raise InputError(
            f"{folder} is a released folder, which cannot be quantised while it is read: convert it once with  "
            f"hoirecon contact convert {folder} OUT  and load OUT with quantize='{quantize}'"
        )
    network = load_network(
        folder, vision_tower=vision_tower, device=device, dtype=dtype, separate_decoders=separate_decoders
    )
    return Loaded(network, network.config, folder, "released", folder.resolve().name, released=True)


def _native(folder: Path, device: Any, dtype: torch.dtype | None, quantize: Quantize | None, verify: bool) -> Loaded:
    from hoirecon.contact.checkpoints.layout import read_manifest
    from hoirecon.contact.checkpoints.native import load_saved, read_extras, tokenizer_folder

    manifest = read_manifest(folder)
    network = load_saved(folder, device=device, dtype=dtype, quantize=quantize, verify=verify)
    return Loaded(
        network,
        manifest.config,
        tokenizer_folder(folder),
        "native",
        manifest.name,
        manifest.released,
        manifest.plain,
        read_extras(folder),
    )
