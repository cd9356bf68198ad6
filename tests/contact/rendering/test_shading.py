from __future__ import annotations

import numpy as np
import pytest
import torch

from hoirecon.contact.rendering.shading import contact_masks, phong, to_bytes
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.errors import InputError

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


MAPS = PixelMaps(
    np.array([[[[0, 1, 2], [-1, -1, -1]], [[2, 3, 4], [3, 4, 5]]]], np.int32),
    np.full((1, 2, 2, 3), 1 / 3, np.float32), 6, ("view",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("min_verts", "expected"), [(1, [[255, 0], [255, 0]]), (2, [[255, 0], [0, 0]]), (3, [[255, 0], [0, 0]])]
)
def test_masks_count_corners_in_contact(min_verts: int, expected: list[list[int]]) -> None:
    masks = contact_masks(MAPS, np.array([0, 1, 2]), min_verts)
    assert masks.tolist() == [expected]
    assert masks.dtype == np.uint8


def test_nothing_in_contact_is_black_and_everything_is_the_foreground() -> None:
    assert not contact_masks(MAPS, np.zeros(0, int)).any()
    assert contact_masks(MAPS, np.arange(6)).tolist() == [[[255, 0], [255, 255]]]


@pytest.mark.parametrize(("ids", "min_verts"), [([6], 3), ([-1], 3), ([0], 0), ([0], 4), ([0.5], 3)])
def test_bad_contact_is_refused(ids: list[float], min_verts: int) -> None:
    with pytest.raises(InputError):
        contact_masks(MAPS, np.array(ids), min_verts)
