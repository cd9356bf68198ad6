"""Region losses by their outline: closed forms, finite differences of a supersampled area, and their own value."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.edge_region import find_outline, mask_mismatch, pixel_coverage, region_integral
from hoirecon.fitting.raster import zbuffer

SIZE = (48, 64)
K = torch.tensor([[70.0, 0, 32.0], [0, 70.0, 24.0], [0, 0, 1]], dtype=torch.float64)


def _crossed_boxes() -> tuple[Tensor, Tensor]:
    """Two overlapping boxes before the camera: the outline has crossings and hidden edges."""
    parts = [trimesh.creation.box((0.6, 0.1, 0.2)), trimesh.creation.box((0.08, 0.5, 0.1))]
    mesh = trimesh.util.concatenate(parts).subdivide()
    mesh.apply_transform(trimesh.transformations.euler_matrix(0.4, 0.7, 0.2))
    return torch.tensor(np.asarray(mesh.vertices)) + torch.tensor([0.03, 0.02, 1.5]), torch.tensor(np.array(mesh.faces))


def _supersampled(verts: Tensor, faces: Tensor, field: Tensor, fine: int = 16) -> float:
    """The integral by counting: the mesh drawn in cells of 1/16 pixel."""
    xy = verts[:, :2] / verts[:, 2:] * 70 + torch.tensor([32.0, 24.0], dtype=torch.float64)
    drawn = zbuffer(torch.cat([xy * fine, verts[:, 2:]], 1)[None], faces, SIZE[0] * fine, SIZE[1] * fine)[0]
    cells = torch.isfinite(drawn).view(SIZE[0], fine, SIZE[1], fine).double().mean((1, 3))
    return float((cells * field).sum())


def _field() -> Tensor:
    """Costs of a mask: -1 inside, +1 outside, 0 where nothing is known."""
    field = torch.ones(SIZE, dtype=torch.float64)
    field[14:30, 20:44] = -1
    field[26:40, 36:50] = 0
    return field


def test_value_is_the_count_of_cells() -> None:
    verts, faces = _crossed_boxes()
    for field in (torch.ones(SIZE, dtype=torch.float64), _field()):
        expected = _supersampled(verts, faces, field)
        assert float(region_integral(verts, faces, K, field, 0.05)) == pytest.approx(expected, abs=0.6)


def test_area_of_a_square_and_its_closed_form_gradient() -> None:
    """Moving changes no area; growing by a factor grows it by twice that."""
    side, depth = 0.4, 2.0
    square = torch.tensor([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=torch.float64) * side / 2
    faces = torch.tensor([[0, 1, 2], [0, 3, 2]])  # windings disagree on purpose
    params = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    verts = square * params[0].exp() + torch.stack([params[1], params[2], torch.tensor(depth, dtype=torch.float64)])
    area = region_integral(verts, faces, K, torch.ones(SIZE))
    expected = (70 * side / depth) ** 2
    assert area.item() == pytest.approx(expected, rel=1e-9)
    (gradient,) = torch.autograd.grad(area, [params])
    np.testing.assert_allclose(gradient, [2 * expected, 0, 0], atol=1e-9 * expected)


@pytest.mark.parametrize("direction", ["x", "y", "z", "turn", "scale"])
def test_gradient_is_that_of_the_supersampled_area(direction: str) -> None:
    verts, faces = _crossed_boxes()
    middle, field = verts.mean(0), _field()
    moves = {
        "x": torch.tensor([1.0, 0, 0]).expand_as(verts),
        "y": torch.tensor([0, 1.0, 0]).expand_as(verts),
        "z": torch.tensor([0, 0, 1.0]).expand_as(verts),
        "turn": torch.linalg.cross(torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64).expand_as(verts), verts - middle),
        "scale": verts - middle,
    }
    move, leaf = moves[direction].double(), verts.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(region_integral(leaf, faces, K, field, 0.02), [leaf])
    step = 0.01  # half a pixel: the count of cells is a step function below
    numeric = (_supersampled(verts + step * move, faces, field) - _supersampled(verts - step * move, faces, field)) / (
        2 * step
    )
    scale = 70 / 1.5 * float(find_outline(verts[:, :2] / verts[:, 2:] * 70, faces).lengths.sum())
    assert float((gradient * move).sum()) == pytest.approx(numeric, abs=0.02 * scale)


def test_gradient_is_that_of_its_own_value() -> None:
    """Differences of the value over half a pixel (pieces at crossings come and go below) and the gradient agree."""
    verts, faces = _crossed_boxes()
    rows = torch.arange(SIZE[0], dtype=torch.float64)[:, None]
    field = torch.cos(0.05 * rows) * torch.ones(SIZE, dtype=torch.float64)  # the same along a row
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        move = torch.randn(3, generator=generator, dtype=torch.float64).expand_as(verts)
        leaf = verts.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(region_integral(leaf, faces, K, field, 0.01), [leaf])
        ahead, behind = (region_integral(verts + h * move, faces, K, field, 0.01) for h in (1e-2, -1e-2))
        assert float((gradient * move).sum()) == pytest.approx(float(ahead - behind) / 2e-2, rel=0.02, abs=30)


def test_mismatch_of_a_mesh_with_its_own_picture_is_small_and_grows() -> None:
    verts, faces = _crossed_boxes()
    xy = verts[:, :2] / verts[:, 2:] * 70 + torch.tensor([32.0, 24.0], dtype=torch.float64)
    target = torch.isfinite(zbuffer(torch.cat([xy, verts[:, 2:]], 1)[None], faces, *SIZE)[0])
    shifts = [torch.tensor([d, 0, 0], dtype=torch.float64) for d in (0.0, 0.03, 0.06)]
    costs = [float(mask_mismatch(verts + s, faces, K, target)) for s in shifts]
    assert costs[0] < 0.2 * target.sum()
    assert costs[0] < costs[1] < costs[2]
    nothing = mask_mismatch(verts, faces, K, target, torch.zeros(SIZE))
    assert nothing.item() == 0


def test_descent_finds_a_shift_without_bias() -> None:
    """A smooth target is met to a small part of a pixel; a soft silhouette would stop beside it."""
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=0.25)
    verts, faces = torch.tensor(np.asarray(sphere.vertices)), torch.tensor(np.array(sphere.faces))
    rows, columns = np.mgrid[: SIZE[0] * 8, : SIZE[1] * 8] / 8 + 1 / 16
    radius = 70 * 0.25 / math.sqrt(1.5**2 - 0.25**2)
    disc = (columns - 34.0) ** 2 + (rows - 22.5) ** 2 < radius**2
    share = torch.tensor(disc.reshape(SIZE[0], 8, SIZE[1], 8).mean((1, 3)))
    t = torch.tensor([0.0, 0.0, 1.5], dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([t], lr=5e-3)
    for i in range(60):
        adam.param_groups[0]["lr"] = 5e-3 * 0.95**i
        adam.zero_grad()
        cost = mask_mismatch(verts + t, faces, K, share)
        (t.grad,) = torch.autograd.grad(cost, [t])
        adam.step()
    found = (t[:2] / t[2] * 70 + torch.tensor([32.0, 24.0])).detach()
    np.testing.assert_allclose(found, [34.0, 22.5], atol=0.1)
    assert t[2].item() == pytest.approx(1.5, abs=0.02)


def test_unusable_input_is_refused() -> None:
    verts, faces = _crossed_boxes()
    for points, corners, field in [
        (verts[None], faces, torch.ones(SIZE)),
        (-verts, faces, torch.ones(SIZE)),
        (verts, faces + len(verts), torch.ones(SIZE)),
        (verts * math.nan, faces, torch.ones(SIZE)),
        (verts, faces, torch.ones(3)),
    ]:
        with pytest.raises(InputError):
            region_integral(points, corners, K, field)


def test_coverage_of_pixels_is_that_of_sixteenths_and_integrates_to_the_region() -> None:
    verts, faces = _crossed_boxes()
    leaf = verts.clone().requires_grad_()
    xy = leaf[:, :2] / leaf[:, 2:] * 70 + torch.tensor([32.0, 24.0], dtype=torch.float64)
    alpha = pixel_coverage(xy, faces, SIZE, 0.05)
    fine = 16
    points = torch.cat([xy.detach() * fine, verts[:, 2:]], 1)[None]
    drawn = torch.isfinite(zbuffer(points, faces, SIZE[0] * fine, SIZE[1] * fine)[0])
    counted = drawn.view(SIZE[0], fine, SIZE[1], fine).double().mean((1, 3))
    drawn_alpha = alpha.detach()
    assert float((drawn_alpha - counted).abs().max()) < 0.06
    assert float((drawn_alpha - counted).abs().mean()) < 1e-3
    field = torch.randn(SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    integral = region_integral(leaf, faces, K, field, 0.05)
    assert float((drawn_alpha * field).sum()) == pytest.approx(
        integral.item(), abs=0.5
    )  # its pieces are not cut at rows
    (one,) = torch.autograd.grad((alpha * field).sum(), [leaf])
    (other,) = torch.autograd.grad(integral, [leaf])
    torch.testing.assert_close(one, other, atol=1e-9 * float(other.abs().max()), rtol=1e-9)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (-34.0, 3.0), (40.0, 0.0), (5.0, -26.0), (0.0, 30.0), (-90.0, 0.0)])
def test_coverage_of_what_leaves_the_picture(shift: tuple[float, float]) -> None:
    """A rectangle across each border, at whole and half pixels: its overlap with each pixel, in closed form."""
    x0, y0, x1, y1 = 20.25 + shift[0], 15.5 + shift[1], 41.0 + shift[0], 30.75 + shift[1]
    xy = torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=torch.float64)
    alpha = pixel_coverage(xy, torch.tensor([[0, 1, 2], [0, 3, 2]]), SIZE, 0.25)
    columns, rows = torch.arange(SIZE[1]).double(), torch.arange(SIZE[0]).double()
    across = ((columns + 1).clamp_max(x1) - columns.clamp_min(x0)).clamp(0, 1)
    down = ((rows + 1).clamp_max(y1) - rows.clamp_min(y0)).clamp(0, 1)
    assert float((alpha - down[:, None] * across).abs().max()) < 0.13  # half a piece at a pixel's border
    assert float((alpha.sum() - down.sum() * across.sum()).abs()) < 0.02 * 20 * 15
