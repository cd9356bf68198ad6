from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hoirecon.contact.rendering.cameras import project, view_camera, view_cameras
from hoirecon.contact.rendering.types import View
from hoirecon.contact.rendering.views import human_views, object_views

VIEWS = [*human_views("4MV-Z_Vitru").views, *object_views("10MV-Z_HM").views, View("odd", 3.3, -17, 123.4, 0.2, -0.1)]


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: str(v.name))
def test_the_same_points_as_pytorch3d(view: View) -> None:
    pytest.importorskip("pytorch3d")
    from hoirecon.contact.rendering.pytorch3d_renderer import look_at_cameras

    points = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 3)) * 0.3).float()
    theirs, ours = look_at_cameras(view), view_camera(view)
    seen = theirs.get_world_to_view_transform().transform_points(points)
    torch.testing.assert_close(ours.to_camera(points), seen, atol=1e-6, rtol=0)
    ndc = theirs.transform_points(points)[:, :2]
    torch.testing.assert_close(project(ours.to_camera(points)), ndc, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.center, theirs.get_camera_center()[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: str(v.name))
def test_it_is_a_rotation_that_looks_at_the_origin(view: View) -> None:
    camera = view_camera(view)
    torch.testing.assert_close(camera.R.T @ camera.R, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(camera.R) > 0.999
    origin = camera.to_camera(torch.zeros(1, 3))[0]
    expected = torch.tensor([view.x_shift, view.y_shift, view.distance])
    torch.testing.assert_close(origin, expected, atol=1e-5, rtol=0)


def test_axes_on_the_picture() -> None:
    """From the front: the thing's +x (its left) is the picture's right, that is NDC -x; +y is up; +z comes nearer."""
    camera = view_camera(View("front", 2.0, 0.0, 0.0))
    x, y, z = camera.to_camera(torch.eye(3))
    assert x[0] == pytest.approx(-1)
    assert y[1] == pytest.approx(1)
    assert z[2] == pytest.approx(1)


def test_the_field_of_view_is_sixty_degrees() -> None:
    rim = torch.tensor([[math.tan(math.radians(30)), 0.0, 1.0]])
    assert project(rim)[0, 0] == pytest.approx(1, abs=1e-6)


def test_clouds_are_shifted_up_and_down_only() -> None:
    from dataclasses import replace

    table = replace(human_views("4MV-Z_Vitru"), views=(View("shifted", 2, 10, 20, x_shift=0.5, y_shift=0.25),))
    (mesh,), (cloud,) = view_cameras(table), view_cameras(table, points=True)
    torch.testing.assert_close(mesh.T - cloud.T, torch.tensor([0.5, 0, 0]))
    torch.testing.assert_close(cloud.T[1], torch.tensor(0.25), atol=1e-6, rtol=0)
