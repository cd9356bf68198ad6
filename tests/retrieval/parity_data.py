"""Where OpenShape's parity vectors lie, and how they are read: outputs of the reference with random weights.

``HOIRECON_PARITY`` names a folder with ``openshape/`` in it, or that folder itself; without it the project's own copy
is read, and without that the set beside the repository. A set that was named and is not there fails the tests: skipped
ones would look like parity.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_bert import PointBert, PointPatchTransformer, build_point_encoder

ROOT = Path(__file__).resolve().parents[2]
PLACES = (ROOT / "tests" / "golden", ROOT.parent / "shared" / "parity")
"""Folders that are looked at if none is named."""
MARK = "manifest.json"
"""File that makes a folder a set."""


def parity_root() -> Path:
    """Folder of OpenShape's vectors.

    Without any, the test (or the file that is being collected) fails if ``HOIRECON_PARITY`` named a folder, and is
    skipped if not; either says why.
    """
    named = os.environ.get("HOIRECON_PARITY")
    if named:
        places: tuple[Path, ...] = (Path(named) / "openshape", Path(named))
    else:
        places = tuple(place / "openshape" for place in PLACES)
    for place in places:
        if (place / MARK).is_file():
            return place
    if named:
        pytest.fail(
            f"HOIRECON_PARITY names {named}, but there are no OpenShape vectors there: name the folder that holds "
            f"openshape/ (with {MARK}), or unset the variable to read the project's own copy",
            pytrace=False,
        )
    pytest.skip(f"no parity vectors in {', '.join(map(str, places))}: name their folder in HOIRECON_PARITY")


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """Constructor numbers and more of each case."""
    cases: dict[str, dict[str, Any]] = json.loads((parity_root() / MARK).read_text(encoding="utf-8"))["cases"]
    return cases


@cache
def arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a case."""
    with np.load(parity_root() / f"{name}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def tensor(name: str, key: str) -> torch.Tensor:
    """One array of a case."""
    return torch.from_numpy(arrays(name)[key].copy())


def cases(full: bool | None = None) -> list[str]:
    """Names of the cases, or of those with weights from a seed (full size) or without; called at collection."""
    try:
        return [name for name, case in manifest().items() if full is None or full == ("weight_seed" in case)]
    except pytest.skip.Exception:
        return []


def config_of(name: str) -> PointBertConfig:
    """Sizes of a case's network, from the reference's constructor numbers."""
    case = manifest()[name]
    options = case.get("kwargs") or {}
    dim, depth, heads, mlp_dim, patch_dim, patches, radius, patch_points, channels = case["args"]
    return PointBertConfig(
        dim=dim,
        depth=depth,
        heads=heads,
        head_dim=options.get("dim_head", 64),
        mlp_dim=mlp_dim,
        patch_dim=patch_dim,
        num_patches=patches,
        radius=radius,
        patch_points=patch_points,
        channels=channels,
        embed_dim=case["proj"],
        relative_bias=options.get("rel_pe", False),
    )


@cache
def weights(name: str) -> dict[str, torch.Tensor]:
    """Weights of a case: stored, or rebuilt from its seed and checked against their hash."""
    case = manifest()[name]
    if "weight_seed" not in case:
        stored = arrays(name)
        return {key.removeprefix("w/"): tensor(name, key) for key in stored if key.startswith("w/")}
    shapes = {key: tuple(shape) for key, shape, _ in case["keys"]}
    made = _drawn(shapes, case["weight_seed"])
    digest = hashlib.sha256()
    for key in sorted(made):
        digest.update(key.encode())
        digest.update(made[key].tobytes())
    assert digest.hexdigest() == case["weights_sha256"], "the weights were not rebuilt as the set was made"
    return {key: torch.from_numpy(value) for key, value in made.items()}


@cache
def network(name: str) -> PointBert | PointPatchTransformer:
    """A case's network with its weights."""
    with torch.device("meta"):  # random weights of full size take seconds to draw
        built = build_point_encoder(config_of(name))
    built.load_state_dict(weights(name), strict=True, assign=True)
    return built.eval().requires_grad_(False)


def _drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, npt.NDArray[Any]]:
    state = np.random.RandomState(seed)
    made: dict[str, npt.NDArray[Any]] = {}
    tenth = np.float32(0.1)
    for key in sorted(shapes):
        if key.endswith("num_batches_tracked"):
            made[key] = np.array(0, dtype=np.int64)
            continue
        z = np.asarray(state.standard_normal(shapes[key]).astype(np.float32))
        if key.endswith("running_mean"):
            z = tenth * z
        elif key.endswith("running_var"):
            z = np.float32(0.5) + np.abs(z)
        elif z.ndim >= 2:
            z = z / np.float32(np.sqrt(np.prod(z.shape[1:])))
        elif key.endswith("weight"):
            z = np.float32(1) + tenth * z
        elif not key.endswith("cls_token"):
            z = tenth * z
        made[key] = z
    return made
