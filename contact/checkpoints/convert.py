"""From a released folder to ours, tensor by tensor: no more than one source file is open, and one tensor in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from hoirecon.contact.checkpoints.layout import (
    MANIFEST,
    MAX_SHARD_BYTES,
    Manifest,
    copy_beside,
    read_manifest,
    write_configs,
    write_manifest,
    write_tensors,
)
from hoirecon.contact.checkpoints.native import dtype_of
from hoirecon.contact.checkpoints.open import kind_of
from hoirecon.contact.checkpoints.released import SeparateDecoders, Source, look_at
from hoirecon.contact.checkpoints.writer import Spec
from hoirecon.errors import InputError
from hoirecon.files import atomic_folder, check_replaceable


def convert_released(
    source: str | Path,
    out: str | Path,
    *,
    vision_tower: str | Path | None = None,
    separate_decoders: SeparateDecoders = "keep",
    max_shard_bytes: int = MAX_SHARD_BYTES,
    name: str | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> Manifest:
    """Write a released folder as one of ours: safetensors, image tower and tokenizer included, every file hashed.

    The weights keep their types and bits; LoRA updates that are apart are merged.

    Args:
        source: the released folder.
        out: new or empty; or an earlier result, if ``overwrite``.
        vision_tower: see ``load_network``.
        separate_decoders: see ``SeparateDecoders``.
        max_shard_bytes: largest file of the language model.
        name: the model's name; None takes the released folder's.
        progress: whether to show a bar.
        overwrite: whether an earlier result may be replaced, which happens when all is written.

    Returns:
        What was written.

    Raises:
        InputError: as ``load_network``, but for memory; ``source`` is converted already; or ``out`` holds something,
            cannot be written or the disk is too full.
        MissingModelError: the image tower is not on this machine.
    """
    out = Path(out)
    _check_source(source)
    _check_out(out, overwrite)
    if max_shard_bytes < 1:
        raise InputError(f"shards of {max_shard_bytes} bytes hold nothing: give max_shard_bytes of at least 1")
    found = look_at(source, vision_tower=vision_tower, separate_decoders=separate_decoders)
    specs = {key: Spec(info.shape, info.dtype) for key, info in found.weights.infos.items()}
    total = sum(spec.nbytes for spec in specs.values())
    _check_disk(out, total)
    with atomic_folder(out, MANIFEST) as folder:
        write_configs(folder, found.config, dtype_of(specs))
        write_tensors(folder, specs, _shown(found, total, progress), max_shard_bytes)
        copy_beside(folder, found.folder, found.tower)
        write_manifest(folder, found.config, name or Path(source).resolve().name, released=True)
    return read_manifest(out)


def _check_source(source: str | Path) -> None:
    if kind_of(source) == "native":
        raise InputError(f"{source} is converted already (it holds {MANIFEST}): load it as it is, or copy the folder")


def _check_out(out: Path, overwrite: bool) -> None:
    check_replaceable(out, MANIFEST)
    if (out / MANIFEST).is_file() and not overwrite:
        raise InputError(
            f"{out} holds converted weights already: load them as they are, give a new folder, or pass overwrite=True "
            "to replace them"
        )


def _shown(found: Source, total: int, progress: bool) -> Iterator[tuple[str, Tensor]]:
    from tqdm import tqdm

    with tqdm(total=total, disable=not progress, unit="B", unit_scale=True, desc="converting") as bar:
        for key, tensor in found.weights.read():
            yield key, tensor
            bar.update(tensor.nbytes)


def _check_disk(out: Path, total: int) -> None:
    free = shutil.disk_usage(out.parent).free
    if total > free:
        raise InputError(
            f"the converted weights need {total / 1e9:.3g} GB, {free / 1e9:.3g} GB are free in {out.parent}: give "
            "another folder"
        )
