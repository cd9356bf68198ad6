from __future__ import annotations

import numpy as np
import pytest
import torch

from hoirecon.contact.rendering.shading import phong, to_bytes

UP = torch.tensor([[0.0, 0.0, 1.0]])
ORIGIN = torch.zeros(1, 3)
GREY = torch.full((1, 3), 0.4)


def lit(light: list[float], eye: list[float], normal: torch.Tensor = UP) -> float:
    return float(phong(ORIGIN, normal, GREY, torch.tensor(light), torch.tensor(eye))[0, 0])


def test_closed_forms() -> None:
    assert lit([0, 0, 3], [0, 0, 2]) == pytest.approx(0.8 * 0.4 + 0.2)  # everything
    assert lit([0, 0, -3], [0, 0, 2]) == pytest.approx(0.5 * 0.4)  # from behind: ambient only
    assert lit([0, 0, 3], [2, 0, 0]) == pytest.approx(0.8 * 0.4)  # mirrored past the eye
    assert lit([3, 0, 3], [-2, 0, 2]) == pytest.approx((0.5 + 0.3 * 0.5**0.5) * 0.4 + 0.2)  # mirrored into the eye
    tilt = np.cos(np.radians(10)) ** 64
    eye = [2 * np.sin(np.radians(10)), 0, 2 * np.cos(np.radians(10))]
    assert lit([0, 0, 3], eye) == pytest.approx(0.8 * 0.4 + 0.2 * tilt, rel=1e-4)


def test_length_of_the_normal_plays_no_part_and_zero_is_ambient() -> None:
    assert lit([0, 0, 3], [1, 0, 2], 5 * UP) == pytest.approx(lit([0, 0, 3], [1, 0, 2]))
    assert lit([0, 0, 3], [1, 0, 2], 0 * UP) == pytest.approx(0.5 * 0.4)


def test_the_same_as_pytorch3d_s_lighting() -> None:
    renderer = pytest.importorskip("pytorch3d.renderer")
    rng = np.random.default_rng(0)
    points, normals, eye = (torch.from_numpy(rng.normal(size=s)).float() for s in ((500, 3), (500, 3), (3,)))
    colors = torch.from_numpy(rng.uniform(size=(500, 3))).float()
    light = (0.3, -0.2, 3.0)
    lamp = renderer.PointLights(
        location=(light,), ambient_color=((0.5,) * 3,), diffuse_color=((0.3,) * 3,), specular_color=((0.2,) * 3,)
    )
    grid = (1, 1, 500, 1, 3)  # as its shader has them: batch, rows, columns, faces per pixel
    at, facing = points.view(grid), normals.view(grid)
    diffuse = lamp.diffuse(normals=facing, points=at).view(500, 3)
    specular = lamp.specular(normals=facing, points=at, camera_position=eye[None], shininess=64).view(500, 3)
    expected = (0.5 + diffuse) * colors + specular
    torch.testing.assert_close(phong(points, normals, colors, torch.tensor(light), eye), expected, atol=1e-5, rtol=0)


def test_bytes_are_truncated() -> None:
    assert to_bytes(torch.tensor([0.0, 0.999, 1.0, 1.00001, 127.9 / 255])).tolist() == [0, 254, 255, 255, 127]
