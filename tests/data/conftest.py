"""Small synthetic body files in the SMPL-H and SMPL-X layouts: random numbers, true kinematic tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.body.files import FREE_BODY, _smplx_parents
from hoirecon.data.body.skeleton import PARENTS

BodyArrays = dict[str, Any]


def make_body_arrays(joints: int = 52, num_verts: int = 300, num_betas: int = 16, seed: int = 0) -> BodyArrays:
    """Arrays of a body file with random shape and pose correctives and non-zero mean hands."""
    rng = np.random.default_rng(seed)
    with np.load(FREE_BODY) as free:
        verts = free["v_template"][rng.choice(len(free["v_template"]), num_verts, replace=False)].astype(np.float64)
    weights = np.zeros((num_verts, joints))
    for row in weights:
        row[rng.choice(joints, 4, replace=False)] = rng.dirichlet(np.ones(4))
    parents = PARENTS if joints == 52 else _smplx_parents()
    return {
        "v_template": verts,
        "f": rng.permuted(np.tile(np.arange(num_verts), (200, 1)), axis=1)[:, :3].astype(np.uint32),
        "shapedirs": rng.normal(size=(num_verts, 3, num_betas)) * 0.01,
        "posedirs": rng.normal(size=(num_verts, 3, 9 * (joints - 1))) * 0.003,
        "J_regressor": rng.dirichlet(np.full(num_verts, 0.05), size=joints),
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, *parents[1:]], range(joints)], dtype=np.uint32),
        "hands_meanl": rng.normal(size=45) * 0.2,
        "hands_meanr": rng.normal(size=45) * 0.2,
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
    }


@pytest.fixture
def body_arrays() -> Callable[..., BodyArrays]:
    """Maker of synthetic body arrays: ``body_arrays(joints=52, num_verts=300, num_betas=16, seed=0)``."""
    return make_body_arrays


@pytest.fixture
def body_file(tmp_path: Path) -> Callable[..., Path]:
    """Maker of synthetic body files; the same arguments."""

    def write(**kwargs: Any) -> Path:
        path = tmp_path / f"body-{len(list(tmp_path.iterdir()))}.npz"
        np.savez(path, **make_body_arrays(**kwargs))
        return path

    return write
