"""Where the parity vectors lie, and how they are read: outputs of the reference implementation at tiny sizes.

``HOIRECON_PARITY`` names a folder with ``interactvlm/`` in it, or that folder itself; without it the project's own copy
is read, and without that the set beside the repository. A set that was named and is not there fails the tests: skipped
ones would look like parity.
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
PLACES = (ROOT / "tests" / "golden", ROOT.parent / "shared" / "parity")
"""Folders that are looked at if none is named."""
CONTENTS = ("components", "full", "losses", "maps")
"""Folders of a set; one of them makes a folder a set."""


def parity_root() -> Path:
    """Folder of InteractVLM's vectors.

    Without any, the test (or the file that is being collected) fails if ``HOIRECON_PARITY`` named a folder, and is
    skipped if not; either says why.
    """
    named = os.environ.get("HOIRECON_PARITY")
    if named:
        places: tuple[Path, ...] = (Path(named) / "interactvlm", Path(named))
    else:
        places = tuple(place / "interactvlm" for place in PLACES)
    for place in places:
        if any((place / part).is_dir() for part in CONTENTS):
            return place
    if named:
        pytest.fail(
            f"HOIRECON_PARITY names {named}, but there are no parity vectors there: name the folder that holds "
            f"interactvlm/ (with {', '.join(CONTENTS)}), or unset the variable to read the project's own copy",
            pytrace=False,
        )
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
    """Names of the whole networks in the set; empty if there is no set and none was named. Called at collection."""
    try:
        return sorted(p.parent.name for p in (parity_root() / "full").glob("*/meta.json"))
    except pytest.skip.Exception:
        return []
