"""Load an encoder from a published file or from one of our folders; write such a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoirecon.errors import InputError, require
from hoirecon.files import atomic_folder, read_json, write_json
from hoirecon.retrieval.checkpoints.specs import OPENSHAPE, PointEncoderSpec, first_difference, recognise, spec_named
from hoirecon.retrieval.checkpoints.tensor_files import read_encoder_tensors
from hoirecon.retrieval.hashing import file_hash
from hoirecon.retrieval.modeling.point_bert import PointBert, PointPatchTransformer, build_point_encoder

MANIFEST = "point_encoder.json"
"""File that marks one of our folders."""
TENSORS = "point_encoder.safetensors"
"""Its weights."""
PUBLISHED = ("model.pt", "model.safetensors")
"""Names of a published file in its folder."""
FORMAT = "hoirecon-point-encoder-1"


@dataclass(frozen=True)
class LoadedPointEncoder:
    """A network with what must be known of it."""

    network: PointBert | PointPatchTransformer
    """In evaluation mode, without gradients."""
    spec: PointEncoderSpec
    """Sizes and conventions."""
    weights_sha256: str
    """Hash of the file that the weights came from first; a converted folder keeps the published file's."""

    @property
    def is_released(self) -> bool:
        """Whether the weights are bit by bit those that were published."""
        return bool(self.spec.sha256) and self.weights_sha256 == self.spec.sha256


def load_point_encoder(
    path: str | Path, *, name: str | None = None, device: Any = "cpu", dtype: torch.dtype = torch.float32
) -> LoadedPointEncoder:
    """An encoder from a file or folder.

    Args:
        path: a published ``model.pt``, its folder, or a folder that :func:`convert_openshape` or
            :func:`save_point_encoder` wrote.
        name: which released model a published file is; None recognises it by hash, folder name and sizes. Models of
            equal sizes differ in name only.
        device: where the weights go.
        dtype: type of the weights.

    Raises:
        InputError: no such file, damaged, holds code, or tensors that do not fit; the message names the first.
    """
    path = Path(path)
    if path.is_dir() and (path / MANIFEST).is_file():
        return _load_folder(path, device, dtype)
    file = _published_file(path)
    state = read_encoder_tensors(file)
    source = file_hash(file)
    hint = f"{file.parent.name}/{file.stem}"
    if name is None:
        spec = recognise(_shapes(state), source, hint, str(file))
    else:
        spec = spec_named(name)
    return LoadedPointEncoder(_network(spec, state, file, device, dtype), spec, source)


def save_point_encoder(
    network: PointBert | PointPatchTransformer, spec: PointEncoderSpec, folder: str | Path, *, source_sha256: str = ""
) -> Path:
    """Write an encoder as a folder without pickle: the weights as safetensors, and a manifest.

    Args:
        network: the encoder.
        spec: its sizes and conventions.
        folder: new, empty, or an earlier save, which is replaced when all is written.
        source_sha256: hash of the file that the weights came from; empty takes that of the written weights.

    Raises:
        InputError: the network is not of the spec's sizes, or the folder cannot be written.
    """
    safetensors = require("safetensors.torch", extra="retrieval")
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if wrong := first_difference(spec.shapes(), _shapes(state)):
        raise InputError(f"the network is not a {spec.name}: {wrong}")
    with atomic_folder(folder, MANIFEST) as out:
        safetensors.save_file(state, str(out / TENSORS))
        written = file_hash(out / TENSORS)
        manifest = {"format": FORMAT, "sha256": written, "source_sha256": source_sha256 or written}
        write_json(out / MANIFEST, manifest | spec.to_dict())
    return Path(folder)


def convert_openshape(
    path: str | Path, folder: str | Path, *, name: str | None = None, dtype: torch.dtype = torch.float32
) -> Path:
    """Turn a published OpenShape file into a folder without pickle (and without its optimiser's state).

    Args:
        path: ``model.pt`` or its folder.
        folder: where to write.
        name: which released model it is; see :func:`load_point_encoder`.
        dtype: type of the written weights.

    Raises:
        InputError: as :func:`load_point_encoder` and :func:`save_point_encoder`.
    """
    loaded = load_point_encoder(path, name=name, dtype=dtype)
    return save_point_encoder(loaded.network, loaded.spec, folder, source_sha256=loaded.weights_sha256)


def _load_folder(folder: Path, device: Any, dtype: torch.dtype) -> LoadedPointEncoder:
    manifest = read_json(folder / MANIFEST, max_bytes=1 << 20)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{folder / MANIFEST} is not a manifest of format {FORMAT}: convert the weights again")
    spec = PointEncoderSpec.from_dict(manifest)
    file = folder / TENSORS
    state = read_encoder_tensors(file)
    if file_hash(file) != manifest.get("sha256"):
        raise InputError(f"{file} is not what was written (another sha256): convert the weights again")
    source = str(manifest.get("source_sha256"))
    # The hash of the published file is ours to say, not the folder's.
    released = next((known for known in OPENSHAPE.values() if known.to_dict() == spec.to_dict()), spec)
    return LoadedPointEncoder(_network(spec, state, file, device, dtype), released, source)


def _published_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in PUBLISHED:
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"{path} holds no {' or '.join(PUBLISHED)} and no {MANIFEST}: give the folder of a released OpenShape model"
    )


def _network(
    spec: PointEncoderSpec, state: Mapping[str, Tensor], file: Path, device: Any, dtype: torch.dtype
) -> PointBert | PointPatchTransformer:
    if wrong := first_difference(spec.shapes(), _shapes(state)):
        raise InputError(f"{file} does not hold a {spec.name}: {wrong}")
    with torch.device("meta"):
        network = build_point_encoder(spec.config)
    # Copies: the tensors of a file are views of the mapped file.
    own = {
        key: value.to(device, dtype if value.is_floating_point() else None, copy=True) for key, value in state.items()
    }
    network.load_state_dict(own, assign=True)
    return network.eval().requires_grad_(False)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
