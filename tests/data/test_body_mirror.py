"""Mirroring parameters is mirroring the body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoirecon.body_params import BodyParams
from hoirecon.data.body import load_body, mirror_params, mirror_points, mirror_verts
from hoirecon.data.body.skeleton import MIRROR_JOINTS, mirror_name


def random_params(seed: int) -> BodyParams:
    rng = np.random.default_rng(seed)
    sizes = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "transl": 3}
    return BodyParams.rest().replace(
        betas=rng.normal(size=10), **{name: rng.normal(size=size) * 0.6 for name, size in sizes.items()}
    )


@pytest.mark.parametrize("seed", range(3))
def test_posing_mirrored_parameters_is_mirroring_the_posed_body(seed: int) -> None:
    model, params = load_body(), random_params(seed)
    posed, mirrored = model.pose(params), model.pose(mirror_params(params))
    np.testing.assert_allclose(mirrored.verts, mirror_points(posed.verts)[mirror_verts(model)], atol=1e-6)
    np.testing.assert_allclose(mirrored.joints, mirror_points(posed.joints)[list(MIRROR_JOINTS)], atol=1e-6)
    assert np.abs(mirrored.verts - posed.verts).max() > 0.1  # the pose is not its own mirror image


def test_mirroring_twice_changes_nothing() -> None:
    params = random_params(0)
    for name, value in mirror_params(mirror_params(params)).arrays().items():
        np.testing.assert_array_equal(value, params.arrays()[name])


def test_mirror_map_swaps_left_and_right_parts() -> None:
    model = load_body()
    verts = mirror_verts(model)
    np.testing.assert_array_equal(verts[verts], np.arange(model.num_verts))
    for name in model.parts.names:
        np.testing.assert_array_equal(
            np.sort(verts[model.parts.verts_of(name)]), model.parts.verts_of(mirror_name(name)), err_msg=name
        )


def test_mirror_map_of_a_file_that_has_none_is_the_nearest_mirrored_vertex() -> None:
    model = load_body()
    bare = replace(model, annotations=None)
    moved = mirror_points(bare.rest_verts)[mirror_verts(bare)]
    assert np.linalg.norm(moved - bare.rest_verts, axis=1).max() < 1e-6


def test_mirror_map_of_an_asymmetric_file_is_a_total_map(body_file: Callable[..., Path]) -> None:
    model = load_body(body_file())
    assert mirror_verts(model).shape == (300,)
