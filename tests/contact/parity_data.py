"""Where the parity vectors lie, and how they are read: outputs of the reference implementation at tiny sizes.

``HOIRECON_PARITY`` names a folder with ``interactvlm/`` in it; without it the project's own copy is read, and without
that the set beside the repository.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]


def parity_root() -> Path:
    """Folder of InteractVLM's vectors; skips the test, with the reason, if there is none."""
    places = [ROOT / "tests" / "golden", ROOT.parent / "shared" / "parity"]
    if named := os.environ.get("HOIRECON_PARITY"):
        places = [Path(named)]
    for place in places:
        if (place / "interactvlm").is_dir():
            return place / "interactvlm"
    pytest.skip(f"no parity vectors in {', '.join(map(str, places))}: name their folder in HOIRECON_PARITY")


@cache
def tensors(name: str) -> dict[str, torch.Tensor]:
    """Tensors of ``components/x`` or ``full/gen/tensors`` by name; halves are widened to float32 (they are exact)."""
    read = load_file(parity_root() / f"{name}.safetensors")
    return {key: value.float() if value.is_floating_point() else value for key, value in read.items()}


@cache
def arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of ``maps/x`` by name."""
    with np.load(parity_root() / f"{name}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@cache
def values(name: str) -> Any:
    """A JSON file, e.g. ``full/gen/meta``."""
    return json.loads((parity_root() / f"{name}.json").read_text(encoding="utf-8"))


def weights(read: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict stored in a component's file."""
    return {key.removeprefix("weights."): value for key, value in read.items() if key.startswith("weights.")}


def configurations() -> list[str]:
    """Names of the whole networks in the set; empty if there is no set."""
    try:
        return sorted(p.parent.name for p in (parity_root() / "full").glob("*/meta.json"))
    except pytest.skip.Exception:
        return []
