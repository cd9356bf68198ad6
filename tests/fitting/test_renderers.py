"""Renderers behind one protocol: what each draws, how they are chosen, and a user's own loop on each of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from hoirecon.camera import Camera
from hoirecon.errors import InputError, MissingExtraError
from hoirecon.fitting import renderers
from hoirecon.fitting.raster import zbuffer
from hoirecon.fitting.renderers import (
    AUTO,
    OutlineRenderer,
    Pytorch3dRenderer,
    Renderer,
    WarpRenderer,
    choose_renderer,
    silhouette_loss,
)

CAMERA = Camera.from_focal(60, 40, 32)


def _of(name: str, sigma: float = 1e-4) -> Renderer:
    if name != "outline":
        pytest.importorskip(name)
    return Pytorch3dRenderer(sigma, 12) if name == "pytorch3d" else choose_renderer(name, sigma)


def _box(shift: tuple[float, float, float] = (0.03, -0.05, 1.4)) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.box((0.4, 0.2, 0.3))
    mesh.apply_transform(trimesh.transformations.euler_matrix(0.4, 0.7, 0.2))
    verts = torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32) + torch.tensor(shift)
    return verts[None], torch.tensor(np.array(mesh.faces))


def _hard(verts: Tensor, faces: Tensor) -> Tensor:
    """(H, W) mask by the z-buffer."""
    xy = verts[0, :, :2] / verts[0, :, 2:] * 60 + torch.tensor([20.0, 16.0])
    return torch.isfinite(zbuffer(torch.cat([xy, verts[0, :, 2:]], 1)[None], faces, 32, 40)[0])


@pytest.mark.parametrize("name", AUTO)
def test_each_draws_the_mesh_where_the_camera_sees_it(name: str) -> None:
    verts, faces = _box()
    leaf = verts.clone().requires_grad_()
    alpha = _of(name, 1e-5).silhouettes(leaf, faces, CAMERA)
    assert alpha.shape == (1, 32, 40)
    assert alpha.dtype == verts.dtype
    assert 0 <= float(alpha.detach().min()) <= float(alpha.detach().max()) <= 1
    assert float(((alpha[0] > 0.5) != _hard(verts, faces)).float().sum()) <= 6
    (gradient,) = torch.autograd.grad(alpha.sum(), [leaf])
    outward = float((gradient * (verts - verts.mean(1))).sum())
    assert outward == pytest.approx(2 * alpha.sum().item(), rel=0.2)  # twice the area for a growing object


@pytest.mark.parametrize("name", AUTO)
def test_members_of_a_batch_are_drawn_alone(name: str) -> None:
    verts, faces = _box()
    batch = torch.cat([verts, verts + 0.1])
    renderer = _of(name)
    together = renderer.silhouettes(batch, faces, CAMERA)
    for member, alone in zip(batch, together, strict=True):
        assert torch.equal(renderer.silhouettes(member[None], faces, CAMERA)[0], alone)


@pytest.mark.parametrize("name", AUTO)
def test_translation_is_found_by_a_loop_of_one_s_own(name: str) -> None:
    """What a notebook does: a leaf, a loss, torch's Adam; the object's size tells its depth."""
    verts, faces = _box((0.0, 0.0, 0.0))
    goal = torch.tensor([0.06, -0.04, 1.5])
    target = _hard(verts + goal, faces).float()
    renderer = _of(name)
    t = torch.tensor([0.0, 0.0, 1.35], requires_grad=True)
    adam = torch.optim.Adam([t], lr=0.015)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 45)
    for _ in range(45):
        adam.zero_grad()
        loss = silhouette_loss(renderer.silhouettes(verts + t, faces, CAMERA), target).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
    found = t.detach()
    pixel = 1.5 / 60
    assert (found[:2] - goal[:2]).abs().max() < 0.35 * pixel
    assert abs(float(found[2] - goal[2])) < 0.08


def test_pixels_that_do_not_count_have_no_gradient() -> None:
    verts, faces = _box()
    keep = torch.zeros(32, 40)
    keep[:, 20:] = 1
    shift = torch.zeros(2, 1, 3, requires_grad=True)
    alpha = OutlineRenderer().silhouettes(verts + shift + torch.tensor([[[-0.4, 0, 0]], [[0.1, 0, 0]]]), faces, CAMERA)
    loss = silhouette_loss(alpha, _hard(verts, faces), keep)
    assert loss.shape == (2,)
    (gradient,) = torch.autograd.grad(loss.sum(), [shift])
    assert not gradient[0].any()  # wholly in the left half
    assert gradient[1].any()


def test_auto_takes_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in (({"warp", "pytorch3d"}, "warp"), ({"pytorch3d"}, "pytorch3d"), (set(), "outline")):
        monkeypatch.setattr(renderers, "find_spec", lambda name, there=there: name if name in there else None)
        monkeypatch.setattr(renderers, "require", lambda name, extra: None)
        assert choose_renderer().name == expected


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    for name, extra in (("warp", "warp"), ("pytorch3d", "softras")):
        with pytest.raises(MissingExtraError, match=f"hoirecon\\[{extra}\\]"):
            choose_renderer(name)


def test_unusable_choices_and_meshes_are_refused() -> None:
    with pytest.raises(InputError, match="warp, pytorch3d, outline or auto"):
        choose_renderer("opengl")
    with pytest.raises(InputError, match="positive"):
        choose_renderer("outline", sigma=0)
    verts, faces = _box()
    for name in AUTO:
        renderer = _of(name)
        for points, corners, words in (
            (verts[0], faces, "expected \\(B, V, 3\\)"),
            (-verts, faces, "behind the camera"),
            (verts, faces + 100, "there are only 8"),
            (verts * torch.nan, faces, "behind the camera"),
        ):
            with pytest.raises(InputError, match=words):
                renderer.silhouettes(points, corners, CAMERA)


def test_softness_is_the_renderer_s_own() -> None:
    pytest.importorskip("warp")
    verts, faces = _box()
    sharp, soft = (WarpRenderer(s).silhouettes(verts, faces, CAMERA) for s in (1e-6, 1e-2))
    partial = [((a > 0.05) & (a < 0.95)).sum() for a in (sharp, soft)]
    assert partial[1] > 5 * partial[0]
