"""Our soft rasteriser: equal to pytorch3d's, to a dense slow twin and to finite differences; safe on hostile input."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.soft_raster import CUT, DrawSoftly, soft_raster, soft_raster_px
from hoirecon.fitting.soft_silhouette import soft_silhouette

pytest.importorskip("warp")


def _shape(kind: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """(V, 3) camera-frame vertices and faces: an ellipsoid, one with faces under a pixel, boxes that cross, ...

    ``layers`` are sheets one behind the other, ``sliver`` has faces a thousand times longer than wide and some seen
    edge-on, ``leaving`` runs out of the picture on all sides.
    """
    if kind in ("ellipsoid", "tiny faces"):
        mesh = trimesh.creation.icosphere(subdivisions=2 if kind == "ellipsoid" else 4, radius=0.25)
        mesh.apply_scale([1.0, 0.7, 0.4])
    elif kind == "layers":
        sheets = [trimesh.creation.box((0.5, 0.4 - 0.05 * k, 1e-4)) for k in range(4)]
        for k, sheet in enumerate(sheets):
            sheet.apply_translation([0.02 * k, 0.01 * k, 0.1 * k])
        mesh = trimesh.util.concatenate(sheets)
    elif kind == "sliver":
        mesh = trimesh.util.concatenate(
            [trimesh.creation.box((0.6, 6e-4, 0.3)), trimesh.creation.cylinder(0.002, 0.6, sections=5)]
        )
        mesh.apply_transform(trimesh.transformations.euler_matrix(0.3, 0.9, 0.1))
    elif kind == "leaving":
        mesh = trimesh.creation.box((3.0, 0.3, 0.2)).subdivide()
        mesh.apply_transform(trimesh.transformations.euler_matrix(0.1, 0.2, 0.8))
    else:
        mesh = trimesh.util.concatenate([trimesh.creation.box((0.6, 0.1, 0.2)), trimesh.creation.box((0.08, 0.5, 0.1))])
        mesh = mesh.subdivide()
        mesh.apply_transform(trimesh.transformations.euler_matrix(0.4, 0.7, 0.2))
    verts = torch.tensor(np.asarray(mesh.vertices), dtype=dtype) + torch.tensor([0.05, -0.03, 1.5], dtype=dtype)
    return verts, torch.tensor(np.asarray(mesh.faces))


def _camera(size: tuple[int, int], focal: float = 1.4) -> Tensor:
    f = focal * min(size)
    return torch.tensor([[f, 0, size[1] / 2 + 1.3], [0, 1.1 * f, size[0] / 2 - 0.7], [0, 0, 1]], dtype=torch.float64)


def _twin(xy: Tensor, faces: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """(H, W) coverage: every face at every pixel by plain torch, double precision."""
    rows, cols = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    p = torch.stack([cols, rows], -1).to(xy)[:, :, None]
    unit = (min(size) / 2) ** 2
    corners = [xy[faces[:, k]] for k in range(3)]
    squared, sides = [], []
    for k in range(3):
        a, b = corners[k], corners[(k + 1) % 3]
        t = ((p - a) * (b - a)).sum(-1) / (b - a).square().sum(-1)
        squared.append((p - a - t.clamp(0, 1)[..., None] * (b - a)).square().sum(-1))
        sides.append((p[..., 0] - a[:, 0]) * (b - a)[:, 1] - (p[..., 1] - a[:, 1]) * (b - a)[:, 0])
    side = torch.stack(sides)
    inside = (side > 0).all(0) | (side < 0).all(0)
    d = torch.stack(squared).amin(0) / unit
    total = torch.nn.functional.softplus(torch.where(inside, d, -d) / sigma)
    return 1 - torch.exp(-torch.where(inside | (d < CUT * sigma), total, 0.0).sum(-1))


@pytest.mark.parametrize(
    ("kind", "size", "sigma"),
    [
        *((kind, size, s) for kind in ("ellipsoid", "boxes") for size, s in (((32, 32), 1e-4), ((36, 48), 1e-3))),
        ("boxes", (64, 40), 1e-5),
        ("tiny faces", (20, 16), 1e-4),
        ("tiny faces", (16, 20), 1e-5),
        ("layers", (32, 32), 1e-4),
        ("layers", (24, 32), 1e-2),
        ("sliver", (32, 32), 1e-4),
        ("leaving", (32, 40), 1e-3),
        ("leaving", (32, 40), 1e-4),
    ],
)
def test_equals_pytorch3d(kind: str, size: tuple[int, int], sigma: float) -> None:
    pytest.importorskip("pytorch3d")
    verts, faces = _shape(kind)
    weight = torch.randn((1, *size), generator=torch.Generator().manual_seed(0))
    renderers: list[DrawSoftly] = [soft_raster, partial(soft_silhouette, faces_per_pixel=len(faces))]
    drawn = []
    for renderer in renderers:
        leaf = verts[None].clone().requires_grad_()
        alpha = renderer(leaf, faces, _camera(size), size, sigma=sigma)
        drawn.append((alpha.detach(), torch.autograd.grad((alpha * weight).sum(), [leaf])[0]))
    (ours, own_gradient), (theirs, their_gradient) = drawn
    assert 0.02 < ours.mean() < 0.9
    assert (ours - theirs).abs().max() < 1e-4
    assert (own_gradient - their_gradient).norm() < 0.01 * their_gradient.norm()


@pytest.mark.parametrize("sigma", [1e-2, 1e-3, 1e-4])
def test_equals_the_dense_twin_in_double_precision(sigma: float) -> None:
    size = (20, 26)
    verts, faces = _shape("boxes", torch.float64)
    K = _camera(size)
    xy = (verts / verts[:, 2:]) @ K.T
    leaf, other = xy[:, :2].clone().requires_grad_(), xy[:, :2].clone().requires_grad_()
    weight = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, twin = soft_raster_px(leaf[None], faces, size, sigma=sigma)[0], _twin(other, faces, size, sigma)
    torch.testing.assert_close(ours, twin, atol=1e-12, rtol=0)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), [leaf])
    (expected,) = torch.autograd.grad((twin * weight).sum(), [other])
    torch.testing.assert_close(gradient, expected, atol=1e-9, rtol=1e-8)


def test_gradient_is_that_of_finite_differences() -> None:
    size, faces = (12, 14), torch.tensor([[0, 1, 2], [1, 3, 2]])
    xy = torch.tensor([[3.1, 2.3], [9.7, 3.2], [4.2, 9.4], [11.3, 10.1]], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def drawn(points: Tensor) -> Tensor:
        return (soft_raster_px(points[None], faces, size, sigma=2e-2)[0] * weight).sum()

    (gradient,) = torch.autograd.grad(drawn(xy), [xy])
    step = 1e-6 * torch.eye(8, dtype=torch.float64).reshape(8, 4, 2)
    numeric = torch.stack([(drawn(xy + s) - drawn(xy - s)) / 2e-6 for s in step]).reshape(4, 2).detach()
    # A blurred face ends with a step of 1e-4 at the blur radius, which finite differences see and derivatives do not.
    torch.testing.assert_close(gradient, numeric, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["boxes", "ellipsoid"])
def test_gradcheck_of_vertices_in_double_precision(kind: str) -> None:
    """torch's own check, from the vertices on; the blur reaches over the picture, so that no face ends in it."""
    verts, faces = _shape(kind, torch.float64)
    keep = torch.arange(0, len(faces), max(1, len(faces) // 8))
    K = _camera((5, 6))
    leaf = verts[None].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: soft_raster(v, faces[keep], K, (5, 6), sigma=1.0), [leaf])


def test_both_refuse_what_is_behind_the_camera() -> None:
    pytest.importorskip("pytorch3d")
    verts, faces = _shape("boxes")
    for depth in (-1.5, -3.0):  # through the camera's plane, and wholly behind it
        for renderer in (soft_raster, soft_silhouette):
            with pytest.raises(InputError, match="behind the camera"):
                renderer(verts[None] + torch.tensor([0.0, 0.0, depth]), faces, _camera((8, 8)), (8, 8))


def test_one_edge_is_the_closed_form() -> None:
    """Far from its corners, a face's border is a sigmoid of the squared distance to a straight line."""
    sigma, size = 1e-2, (40, 40)
    xy = torch.tensor([[[20.0, -900.0], [20.0, 900.0], [1800.0, 0.0]]], dtype=torch.float64)
    alpha = soft_raster_px(xy, torch.tensor([[0, 1, 2]]), size, sigma=sigma)[0, 20]
    offset = torch.arange(40) + 0.5 - 20.0
    signed = torch.sign(offset) * offset.double().square() / 400
    expected = torch.sigmoid(signed / sigma) * (-signed < CUT * sigma)
    torch.testing.assert_close(alpha, expected, atol=1e-12, rtol=0)


def test_batch_is_its_members_and_repeats() -> None:
    size = (24, 24)
    verts, faces = _shape("ellipsoid")
    batch = torch.stack([verts, verts + torch.tensor([0.1, 0.0, 0.2])])
    drawn = soft_raster(batch, faces, _camera(size), size, sigma=1e-4)
    for member, alone in zip(batch, drawn, strict=True):
        assert torch.equal(soft_raster(member[None], faces, _camera(size), size, sigma=1e-4)[0], alone)


def test_winding_and_order_of_faces_do_not_matter() -> None:
    size = (24, 24)
    verts, faces = _shape("boxes", torch.float64)
    one = soft_raster(verts[None], faces, _camera(size), size, sigma=1e-3)
    other = soft_raster(verts[None], faces.flip(0, 1), _camera(size), size, sigma=1e-3)
    torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_lost_members_do_not_poison_their_batch() -> None:
    """Not-a-number, infinite, far outside and degenerate faces draw nothing and leave zero gradients."""
    xy = torch.tensor([[2.0, 2.0], [10.0, 3.0], [5.0, 11.0]])
    bad = torch.stack([xy * math.nan, xy * 1e30, xy * math.inf, xy + 1e6, xy[[0, 0, 1]], xy]).requires_grad_()
    alpha = soft_raster_px(bad, torch.tensor([[0, 1, 2]]), (12, 12), sigma=1e-3)
    assert not alpha[:5].any()
    assert alpha[5].any()
    (gradient,) = torch.autograd.grad(alpha.square().sum(), [bad])
    assert not gradient[:5].any()
    assert gradient[5].any()


def test_no_faces_is_an_empty_picture() -> None:
    empty = soft_raster_px(torch.zeros(1, 3, 2), torch.zeros((0, 3), dtype=torch.int64), (4, 5), sigma=1e-4)
    assert torch.equal(empty, torch.zeros(1, 4, 5))


def test_unusable_input_is_refused() -> None:
    verts, faces = _shape("ellipsoid")
    K, size = _camera((8, 8)), (8, 8)
    cases: list[tuple[Tensor, Tensor, tuple[int, int], float, str]] = [
        (verts, faces, size, 1e-4, "expected \\(B, V, 3\\)"),
        (verts[None].half(), faces, size, 1e-4, "float32 or float64"),
        (-verts[None], faces, size, 1e-4, "behind the camera"),
        (verts[None], faces + len(verts), size, 1e-4, "name vertices"),
        (verts[None], faces.float(), size, 1e-4, "integers"),
        (verts[None], faces, size, 0.0, "positive"),
        (verts[None], faces, (0, 8), 1e-4, "positive"),
    ]
    for points, corners, shape, sigma, message in cases:
        with pytest.raises(InputError, match=message):
            soft_raster(points, corners, K, shape, sigma=sigma)
