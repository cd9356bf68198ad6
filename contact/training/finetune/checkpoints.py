"""Checkpoints of a run: what is trained, the optimiser's state and where the run stands, whole or not at all.

::

    OUT/checkpoints/step-000200/   trained.safetensors, optimizer.pt, state.json (with a hash of both)
    OUT/checkpoints/best/          trained.safetensors, state.json

Frozen weights are in none of them. A folder is written under another name and renamed, so a killed run leaves the
checkpoint before; what it had half written is removed at the next start.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hoirecon.contact.checkpoints.layout import sha256
from hoirecon.errors import InputError, require
from hoirecon.files import atomic_folder, read_json, write_json

FOLDER, BEST = "checkpoints", "best"
TRAINED_FILE, OPTIMIZER_FILE, STATE_FILE = "trained.safetensors", "optimizer.pt", "state.json"
PIECES = "pieces"
"""Folder of what DeepSpeed wrote, in a checkpoint."""
_STEP = re.compile(r"step-(\d{6,})")


@dataclass
class RunState:
    """Where a run stands."""

    step: int = 0
    """Steps that are done."""
    seconds: float = 0.0
    """Spent in them, over all sittings."""
    skipped: int = 0
    """Steps whose gradient was no number, which moved nothing."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Means of losses and more, every few steps."""
    validation: list[dict[str, float]] = field(default_factory=list)
    """Figures of each validation."""
    best: dict[str, float] | None = None
    """Figures of the best one."""


class Checkpoints:
    """The checkpoints in a run's folder.

    Args:
        out: the run's folder.
        identity: plain values that a checkpoint must have been made with.
        keep: so many of the latest stay.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], keep: int) -> None:
        self.folder, self.identity, self.keep = out / FOLDER, dict(identity), keep

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, whole ones only, ascending."""
        if not self.folder.is_dir():
            return []
        found = [(m, path) for path in self.folder.iterdir() if (m := _STEP.fullmatch(path.name))]
        return sorted(int(m[1]) for m, path in found if (path / STATE_FILE).is_file())

    def path(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return self.folder / f"step-{step:06d}"

    def save(
        self,
        state: RunState,
        trained: Mapping[str, Tensor],
        optimizer: Mapping[str, Any],
        pieces: Path | None = None,
    ) -> None:
        """Write a checkpoint, then remove those that are too old.

        Args:
            state: where the run stands.
            trained: what is trained.
            optimizer: its state; empty if an engine keeps it in pieces.
            pieces: folder on the same disk that such an engine has written; it moves into the checkpoint.
        """
        with atomic_folder(self.path(state.step), STATE_FILE) as folder:
            write_tensors(folder / TRAINED_FILE, trained)
            torch.save(optimizer, folder / OPTIMIZER_FILE)
            if pieces is not None:
                os.replace(pieces, folder / PIECES)
            hashes = {name: sha256(folder / name) for name in (TRAINED_FILE, OPTIMIZER_FILE)}
            write_json(folder / STATE_FILE, {"identity": self.identity, "files": hashes, **vars(state)})
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self.path(old))

    def save_best(self, state: RunState, trained: Mapping[str, Tensor]) -> None:
        """Keep these weights as the best."""
        with atomic_folder(self.folder / BEST, STATE_FILE) as folder:
            write_tensors(folder / TRAINED_FILE, trained)
            hashes = {TRAINED_FILE: sha256(folder / TRAINED_FILE)}
            write_json(folder / STATE_FILE, {"identity": self.identity, "files": hashes, **vars(state)})

    def clear_leftovers(self) -> None:
        """Remove what a killed run had half written; the best weights that it was just replacing are put back."""
        if not self.folder.is_dir():
            return
        whole = [path for path in self.folder.glob(f".{BEST}-*") if (path / STATE_FILE).is_file()]
        if whole and not (self.folder / BEST).exists():
            whole.sort(key=lambda path: "-old-" in path.name)  # the new ones if they are whole
            os.replace(whole[0], self.folder / BEST)
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def latest(self) -> tuple[RunState, Path] | None:
        """The last checkpoint; None if there is none.

        Raises:
            InputError: it is of a run with other settings, or damaged.
        """
        steps = self.steps()
        return None if not steps else self._checked(self.path(steps[-1]))

    def best(self) -> tuple[RunState, Path] | None:
        """The best weights by validation; None if nothing was validated."""
        folder = self.folder / BEST
        return self._checked(folder) if (folder / STATE_FILE).is_file() else None

    def _checked(self, folder: Path) -> tuple[RunState, Path]:
        held = read_json(folder / STATE_FILE)
        if not isinstance(held, dict) or not isinstance(held.get("files"), dict):
            raise InputError(f"{folder / STATE_FILE} is no state of a run: remove {folder}")
        if held.get("identity") != self.identity:
            raise InputError(f"{folder} is of a run with {_difference(held.get('identity'), self.identity)}: "
                             "go on with the same, or give another --out")  # fmt: skip
        for name, digest in held["files"].items():
            if not (folder / Path(name).name).is_file() or sha256(folder / Path(name).name) != digest:
                raise InputError(f"{folder / name} is missing or damaged: remove {folder}, the run goes on from before")
        try:
            state = RunState(**{name: held[name] for name in vars(RunState())})
        except KeyError as err:
            raise InputError(f"{folder / STATE_FILE} lacks {err}: remove {folder}") from err
        return state, folder


def _difference(theirs: Any, ours: Mapping[str, Any]) -> str:
    """The first setting in which two runs differ."""
    if not isinstance(theirs, Mapping):
        return "unknown settings"
    for name in [*ours, *theirs]:
        if theirs.get(name) != ours.get(name):
            one, two = theirs.get(name), ours.get(name)
            if isinstance(one, Mapping) and isinstance(two, Mapping):
                return _difference(one, two)
            return f"{name} {str(one)[:60]} in place of {str(two)[:60]}"
    return "other settings"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file of some tensors, in a folder that is renamed when all is done."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    require("safetensors.torch", extra="vlm").save_file(plain, str(path), {"format": "pt"})


def read_trained(path: Path, into: Mapping[str, nn.Parameter]) -> None:
    """Copy a file's tensors into the parameters of the same names: each of them, and no other.

    Raises:
        InputError: missing or damaged, or of another network.
    """
    from hoirecon.tensor_files import plain_tensors, read_tensor_table

    what = "trained weights of a fine-tuning run"
    held = plain_tensors(read_tensor_table(path, 64 << 30, what, "vlm"), path, what)
    if odd := sorted(held.keys() ^ into.keys()):
        raise InputError(f"{path} and the network differ in '{odd[0]}' ({len(odd)} names): they are of different runs")
    for name, parameter in into.items():
        if held[name].shape != parameter.shape:
            raise InputError(
                f"{path}: '{name}' has shape {tuple(held[name].shape)}, expected {tuple(parameter.shape)}: it is of "
                "another run"
            )
    with torch.no_grad():
        for name, parameter in into.items():
            parameter.copy_(held[name])


def read_optimizer(path: Path) -> dict[str, Any]:
    """The optimiser's state; nothing in the file is executed.

    Raises:
        InputError: damaged.
    """
    from hoirecon.tensor_files import read_torch_table

    return read_torch_table(path, "the state of an optimiser")
