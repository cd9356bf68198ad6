"""Clouds: against a slow readable twin and against pytorch3d's point rasteriser and compositor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoirecon import ragged
from hoirecon.contact.rendering.cameras import project, view_camera
from hoirecon.contact.rendering.points import POINT_RADIUS, POINT_RADIUS_LEMON, POINTS_PER_PIXEL, ZBufferPoints
from hoirecon.contact.rendering.pytorch3d_renderer import PyTorch3DRenderer
from hoirecon.contact.rendering.surfaces import object_surface
from hoirecon.contact.rendering.types import PointMaps, RenderedViews, Surface, View
from hoirecon.contact.rendering.views import as_point_views, human_views, object_views, resized, view_lights
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer

TABLE = as_point_views(resized(object_views("4MV-Z_HM"), 72))


def cloud(number: int, seed: int = 0) -> Surface:
    return object_surface(np.random.default_rng(seed).normal(size=(number, 3)) * [1, 2, 0.5])


def drawn(surface: Surface, renderer: ZBufferRenderer | PyTorch3DRenderer) -> tuple[RenderedViews, PointMaps]:
    views = renderer.render(surface, TABLE, view_lights(TABLE))
    assert isinstance(views.maps, PointMaps)
    return views, views.maps


def slow_picture(points: torch.Tensor, colors: torch.Tensor, size: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """One pixel after the other, in float64; ``points`` in the camera frame."""
    ndc, depth = project(points.double()).numpy(), points[:, 2].numpy()
    picture, nearest = np.ones((size, size, 3)), np.full((size, size), -1)
    for row in range(size):
        for column in range(size):
            centre = np.array([1 - (2 * column + 1) / size, 1 - (2 * row + 1) / size])
            distance = ((ndc - centre) ** 2).sum(1)
            inside = np.flatnonzero((distance < radius**2) & (depth > 0))
            inside = inside[np.argsort(depth[inside], kind="stable")][:POINTS_PER_PIXEL]
            if not len(inside):
                continue
            nearest[row, column], color, clear = inside[0], np.zeros(3), 1.0
            for point in inside:
                alpha = 1 - distance[point] / radius**2
                color, clear = color + clear * alpha * colors[point].numpy(), clear * (1 - alpha)
            picture[row, column] = color
    return picture, nearest


def test_against_a_slow_twin() -> None:
    surface, camera = cloud(400), view_camera(View("v", 2, 20, 30))
    points, colors = torch.from_numpy(surface.verts).float(), torch.from_numpy(surface.colors).float()
    picture, nearest = ZBufferPoints(radius=0.2).draw(points, colors, camera, 32)
    slow, first = slow_picture(camera.to_camera(points), colors, 32, 0.2)
    np.testing.assert_array_equal(nearest.numpy(), first)
    np.testing.assert_allclose(picture.numpy(), slow, atol=1e-4)
    assert (first < 0).any()


@pytest.mark.parametrize("radius", [POINT_RADIUS, POINT_RADIUS_LEMON])
def test_the_same_as_pytorch3d(radius: float) -> None:
    pytest.importorskip("pytorch3d")
    surface = cloud(600)
    ours, our_maps = drawn(surface, ZBufferRenderer(point_radius=radius))
    theirs, their_maps = drawn(surface, PyTorch3DRenderer(point_radius=radius))
    assert (our_maps.points != their_maps.points).mean() < 1e-3
    assert (np.abs(ours.images.astype(int) - theirs.images.astype(int)).max(-1) <= 1).mean() >= 0.999
    assert our_maps.foreground.mean() > 0.05


def test_shifted_views_are_the_same_too() -> None:
    pytest.importorskip("pytorch3d")
    table = resized(human_views("4MV-Z_Vitru"), 64)
    table = replace(table, views=tuple(replace(view, x_shift=0.4) for view in table.views))
    surface, lights = cloud(200), view_lights(table)
    ours, theirs = (r.render(surface, table, lights) for r in (ZBufferRenderer(), PyTorch3DRenderer()))
    assert isinstance(ours.maps, PointMaps)
    assert isinstance(theirs.maps, PointMaps)
    np.testing.assert_array_equal(ours.maps.points, theirs.maps.points)


def test_rounds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    surface = cloud(500)
    whole, maps = drawn(surface, ZBufferRenderer())
    monkeypatch.setattr(ragged, "MAX_CELLS", 200)
    rounds, round_maps = drawn(surface, ZBufferRenderer())
    np.testing.assert_array_equal(maps.points, round_maps.points)
    np.testing.assert_array_equal(whole.images, rounds.images)


def test_one_point_is_a_disc() -> None:
    surface = Surface(np.zeros((1, 3)), None, np.full((1, 3), 0.5))
    views, maps = drawn(surface, ZBufferRenderer(point_radius=0.5))
    assert maps.foreground[0].sum() == pytest.approx(np.pi * (0.25 * 72) ** 2, rel=0.03)
    assert views.images[0, 36, 36].max() in (126, 127)  # nearly opaque in the middle
    assert views.images[0, 0, 0].tolist() == [255, 255, 255]
    assert maps.num_points == 1


def test_points_behind_the_camera_are_not_drawn() -> None:
    surface = Surface(np.array([[0, 0, 0.0], [3, 0, 30.0], [3, 0, -30.0]]), None, np.full((3, 3), 0.5))
    table = replace(TABLE, views=(View("front", 2, 0, 0), View("back", 2, 0, 180)))
    maps = ZBufferRenderer().render(surface, table, view_lights(table)).maps
    assert isinstance(maps, PointMaps)
    assert set(np.unique(maps.points[0]).tolist()) == {-1, 0, 2}  # the one at z = 30 is behind this camera
    assert set(np.unique(maps.points[1]).tolist()) == {-1, 0, 1}
