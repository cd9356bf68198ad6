"""The region round a mask: distances, sub-pixel contour, what hides what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.fitting.contour import (
    BACKGROUND,
    HIDING,
    NOTHING_BEFORE,
    VISIBLE,
    make_region,
    mask_contour,
    signed_distance_cells,
    with_depths,
)
from hoirecon.mesh import Mesh

CAMERA = Camera.from_focal(300.0, 200, 150)
# A wall 2.5 m away on the left of the picture stands for the person.
WALL = Mesh(
    np.array([[-2.0, -2, 2.5], [-0.1, -2, 2.5], [-0.1, 2, 2.5], [-2, 2, 2.5]]), np.array([[0, 1, 2], [0, 2, 3]])
)


def disc(radius: float, x: float = 100.3, y: float = 75.6, shape: tuple[int, int] = (150, 200)) -> BoolArray:
    rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.asarray(np.hypot(cols - x, rows - y) < radius)


def polygon_area(xy: FloatArray) -> float:
    x, y = xy.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def test_distance_to_a_straight_border_is_exact() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[:, :12] = True
    expected = np.broadcast_to(np.arange(30) + 0.5 - 12, mask.shape)
    np.testing.assert_allclose(signed_distance_cells(mask), expected)


@pytest.mark.parametrize("side", [40, 331, 1024, 1100])
def test_distances_are_scipy_s_to_the_last_bit_every_time(side: int) -> None:
    from scipy.ndimage import distance_transform_edt

    mask = disc(0.45 * side, side / 2, side / 2, (side, side))
    mask[side // 3, side // 5] = False
    mask[:, -1] = True
    expected = np.where(mask, 0.5 - distance_transform_edt(mask), distance_transform_edt(~mask) - 0.5)
    for _ in range(30 if side < 1000 else 3):
        np.testing.assert_array_equal(signed_distance_cells(mask), expected)


def test_contour_of_a_disc_has_its_area_and_no_half_pixel_bias() -> None:
    contour = mask_contour(disc(30.0))
    assert polygon_area(contour) == pytest.approx(np.pi * 30**2, rel=0.01)
    middle = (contour.min(0) + contour.max(0)) / 2
    np.testing.assert_allclose(middle, [100.3, 75.6], atol=0.5)  # whole pixels: half a pixel at most


def test_kinds_of_cells() -> None:
    mask = disc(20.0)
    person = np.zeros_like(mask)
    person[:, :95] = True
    region = make_region(mask & ~person, CAMERA, (person, WALL))
    left, top = (region.camera.centre[0] - 100, region.camera.centre[1] - 75)
    cells = torch.tensor([[105.0 + left, 75 + top], [92 + left, 75 + top], [105 + left, 45 + top]])
    kind, _, _, front = region.lookup(cells)
    assert kind.tolist() == [VISIBLE, HIDING, BACKGROUND]
    assert front[1] == pytest.approx(2.5)
    assert front[0] == front[2] == NOTHING_BEFORE
    assert region.free_sides == (False, True, True, True)


def test_beyond_the_edge_of_the_picture_nothing_is_known() -> None:
    region = make_region(disc(20.0, x=5.0), CAMERA, (np.zeros((150, 200), dtype=bool), WALL))
    outside = torch.tensor([[region.camera.centre[0] - 100 - 3, region.camera.centre[1]]])
    kind, _, _, front = region.lookup(outside)
    assert (int(kind), float(front)) == (HIDING, 0.0)
    assert not region.free_sides[0]
    at_edge = region.contour[:, 0] < region.camera.centre[0] - 100 + 1
    assert (region.contour_front[at_edge] == 0).all()


def test_lookup_gradient_is_the_derivative_of_its_value() -> None:
    region = make_region(disc(20.0), CAMERA, (None, WALL), dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(200, 2, generator=generator, dtype=torch.float64) * (region.cells + 20) - 10
    step = 1e-6
    off_grid = ((cells - 0.5).frac().abs() > 1e-3).all(1) & (cells.frac().abs() > 1e-3).all(1)  # kinks lie on the grid
    cells = cells[off_grid]
    gradient = region.lookup(cells)[2]
    for axis in range(2):
        move = torch.zeros(2, dtype=torch.float64)
        move[axis] = step
        slope = (region.lookup(cells + move)[1] - region.lookup(cells - move)[1]) / (2 * step)
        torch.testing.assert_close(gradient[:, axis], slope, rtol=1e-6, atol=1e-6)


def test_distance_has_a_derivative_on_and_inside_the_region_s_border() -> None:
    """Where nothing is added for being outside, autograd meets a root at zero."""
    region = make_region(disc(30.0), CAMERA, (None, WALL))
    n = region.cells
    where = torch.tensor([[0.4 * n, 0.5 * n], [0.5, 0.5], [n - 0.5, 7.0], [-5.0, 9.0]], requires_grad=True)
    _, value, gradient, _ = region.lookup(where)
    (slope,) = torch.autograd.grad(value.sum(), where)
    assert torch.isfinite(slope).all()
    torch.testing.assert_close(slope[[0, 3]], gradient[[0, 3]])  # on the border itself there are two


def test_large_masks_are_averaged_down_to_the_same_geometry() -> None:
    camera = Camera.from_focal(1200.0, 800, 600)
    mask = disc(160.0, 400.0, 300.0, (600, 800))
    fine = make_region(mask, camera, (None, WALL), max_cells=2000)
    coarse = make_region(mask, camera, (None, WALL), max_cells=128)
    assert coarse.cells == 128
    assert coarse.px_per_cell == pytest.approx(fine.cells / 128)
    point = torch.tensor([[0.02, 0.01, 1.0]])
    ratio = fine.cells / 128
    torch.testing.assert_close(coarse.project(point) * ratio, fine.project(point), rtol=1e-4, atol=1e-2)
    here, there = coarse.lookup(coarse.project(point))[1], fine.lookup(fine.project(point))[1]
    torch.testing.assert_close(here * ratio, there, rtol=0, atol=2.0)


def test_a_string_that_fills_half_of_no_cell_is_seen_all_the_same() -> None:
    camera = Camera.from_focal(1200.0, 1600, 1200)
    mask = np.zeros((1200, 1600), dtype=bool)
    mask[600, 100:1500] = True  # cells of 4.7 pixels
    region = make_region(mask, camera, (None, WALL))
    left, top, right, bottom = region.box
    assert right - left == pytest.approx(1400 / region.px_per_cell, abs=2)
    assert bottom - top == 1


def test_where_no_person_mask_is_given_the_body_does_not_cover_what_is_seen_before_it() -> None:
    """Nor does it say how far away things are beyond the picture."""
    near = Mesh(np.array([[-0.3, -0.1, 1.5], [-0.1, -0.1, 1.5], [-0.1, 0.1, 1.5], [-0.3, 0.1, 1.5]]), WALL.faces)
    thing = np.zeros((150, 200), dtype=bool)
    thing[55:95, 40:80] = True
    before, beyond = torch.tensor([60.0, 75.0]), torch.tensor([-10.0, 75.0])
    for x, where, depth in ((90.0, before, 1.5), (8.0, beyond, 0.0)):
        region = make_region(disc(12.0, x=x) & ~thing, CAMERA, (None, WALL), None, ((thing, near),))
        shift = torch.tensor([region.camera.centre[0] - 100, region.camera.centre[1] - 75])
        kind, _, _, front = region.lookup(where + shift)
        assert int(kind) == HIDING
        assert float(front) == pytest.approx(depth)


@pytest.mark.parametrize("seen", [True, False])
def test_only_depths_change_where_what_hides_the_object_moves(seen: bool) -> None:
    thing = disc(9.0, x=112.0)
    mask, person = disc(20.0) & ~thing, np.zeros((150, 200), dtype=bool)
    person[:, :95] = True
    near = Mesh(np.array([[-0.3, -0.3, 1.5], [0.3, -0.3, 1.5], [0.3, 0.3, 1.5], [-0.3, 0.3, 1.5]]), WALL.faces)
    own, closer = person if seen else None, WALL.with_verts(WALL.verts * 0.8)
    before = make_region(mask & ~person, CAMERA, (own, WALL), None, ((thing, near),), dtype=torch.float64)
    farther = near.with_verts(near.verts * 1.3)
    now = with_depths(before, mask & ~person, (own, closer), None, ((thing, farther),))
    anew = make_region(mask & ~person, CAMERA, (own, closer), None, ((thing, farther),), dtype=torch.float64)
    for name in ("distance", "kind", "front", "backdrop", "contour", "contour_front"):
        torch.testing.assert_close(getattr(now, name), getattr(anew, name), msg=name)
    assert not torch.equal(now.front, before.front)


@pytest.mark.parametrize("pixels", [0, 5])
def test_an_empty_mask_is_an_error(pixels: int) -> None:
    mask = np.zeros((150, 200), dtype=bool)
    mask[10, :pixels] = True
    with pytest.raises(InputError, match=f"has {pixels} pixels"):
        make_region(mask, CAMERA, (None, WALL))
