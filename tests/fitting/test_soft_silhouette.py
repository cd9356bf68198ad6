"""pytorch3d's frame meets ours: projections agree, silhouettes lie where the mesh is, gradients point the right way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.fitting.soft_silhouette import pytorch3d_cameras, soft_silhouette

pytest.importorskip("pytorch3d")

SIZE = (24, 32)
CAMERA = Camera.from_focal(40, SIZE[1], SIZE[0])


def _sphere(centre: tuple[float, float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.25)
    verts = torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32) + torch.tensor(centre)
    return verts[None], torch.tensor(np.asarray(mesh.faces))


def test_projection_is_ours() -> None:
    points = torch.tensor([[0.2, -0.1, 2.0], [-0.4, 0.3, 1.5]])
    cameras = pytorch3d_cameras(torch.tensor(CAMERA.K, dtype=torch.float32), SIZE)
    theirs = cameras.transform_points_screen(points * torch.tensor([-1.0, -1.0, 1.0]))[..., :2]  # type: ignore[attr-defined]
    np.testing.assert_allclose(theirs.numpy().reshape(-1, 2), CAMERA.project(points.numpy()), atol=1e-4)


def test_silhouette_of_a_sphere_is_its_disc() -> None:
    verts, faces = _sphere((0.2, -0.1, 1.5))
    alpha = soft_silhouette(verts, faces, torch.tensor(CAMERA.K), SIZE)[0].numpy()
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    rays = CAMERA.unproject(np.stack([cols, rows], -1), np.ones(SIZE))
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    miss = np.linalg.norm(np.cross(rays, [0.2, -0.1, 1.5]), axis=-1)  # distance of each pixel's ray from the centre
    inside, outside = miss < 0.22, miss > 0.28  # the polyhedron lies between two spheres, the edge is soft
    assert alpha[inside].min() > 0.9
    assert alpha[outside].max() < 0.1


def test_gradient_moves_the_sphere_towards_the_target() -> None:
    verts, faces = _sphere((0.0, 0.0, 1.5))
    goal = soft_silhouette(_sphere((0.08, 0.0, 1.5))[0], faces, torch.tensor(CAMERA.K), SIZE, sigma=1e-3)
    shift = torch.zeros(3, requires_grad=True)
    seen = soft_silhouette(verts + shift, faces, torch.tensor(CAMERA.K), SIZE, sigma=1e-3)
    (gradient,) = torch.autograd.grad((seen - goal).square().sum(), [shift])
    assert gradient[0] < 0  # a step against the gradient goes to the right, where the goal is
    assert abs(gradient[0]) > 5 * abs(gradient[1])


def test_behind_the_camera_is_refused() -> None:
    verts, faces = _sphere((0, 0, 0.1))
    with pytest.raises(InputError, match="behind the camera"):
        soft_silhouette(verts, faces, torch.tensor(CAMERA.K), SIZE)
