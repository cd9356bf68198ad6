"""Ray casting against a slow twin that a reader can check by eye, and closed forms of what a pixel must show."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from hoirecon.camera import Camera
from hoirecon.mesh import Mesh
from hoirecon.views.palette import to_srgb
from hoirecon.views.raycast import (
    Light,
    Painter,
    cast_rays,
    encode,
    interpolate,
    pixel_rays,
    render,
    render_with_index,
    uneven,
)
from hoirecon.views.surface import Surface, _openness, make_surface, with_ambient_light

pytest.importorskip("open3d", reason="pictures need the extra 'render'")

FLAT = Light(key=0, fill=0, ambient=1)


def ball(subdivisions: int, scale: tuple[float, float, float], place: tuple[float, float, float]) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions)
    return Mesh(shape.vertices * np.array(scale) + np.array(place), shape.faces)


def quad(
    x0: float, y0: float, x1: float, y1: float, z: float, color: tuple[float, float, float] = (1, 1, 1)
) -> Surface:
    verts = np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], dtype=float)
    return make_surface(Mesh(verts, np.array([[0, 2, 1], [0, 3, 2]])), np.array(color))


def slow_cast(surfaces: list[Surface], camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel's centre, solve origin + z d = corner weights for every triangle; keep the nearest."""
    depth = np.full((camera.height, camera.width), np.inf)
    which = np.full(depth.shape, -1)
    face = np.full(depth.shape, -1)
    bary = np.zeros((*depth.shape, 3))
    for j in range(camera.height):
        for i in range(camera.width):
            ray = np.array(
                [(i + 0.5 - camera.K[0, 2]) / camera.K[0, 0], (j + 0.5 - camera.K[1, 2]) / camera.K[1, 1], 1]
            )
            for s, surface in enumerate(surfaces):
                for f, corners in enumerate(surface.corners):
                    system = np.concatenate([corners.T, -ray[:, None]], axis=1)
                    system = np.concatenate([system, [[1, 1, 1, 0]]])
                    a, b, c, z = np.linalg.solve(system, [0, 0, 0, 1])
                    if min(a, b, c) >= 0 and 0 < z < depth[j, i]:
                        depth[j, i], which[j, i], face[j, i], bary[j, i] = z, s, f, (a, b, c)
    return depth, which, face, bary


def test_equals_the_slow_twin() -> None:
    rng = np.random.default_rng(3)
    ball_mesh = ball(1, (0.6, 0.78, 0.48), (0.1, 0, 2.5))
    tilted = Mesh(rng.normal(size=(3, 3)) * 0.7 + [0, 0, 2.4], np.array([[0, 1, 2]]))
    surfaces = [make_surface(ball_mesh, np.ones(3)), make_surface(tilted, np.ones(3))]
    camera = Camera(np.array([[21.0, 0, 9.3], [0, 23.0, 11.1], [0, 0, 1]]), 19, 23)
    hits = cast_rays(surfaces, camera)
    depth, which, face, bary = slow_cast(surfaces, camera)
    assert (which >= 0).sum() > 60
    np.testing.assert_array_equal(hits.surface, which)
    np.testing.assert_array_equal(hits.face, face)
    np.testing.assert_allclose(hits.depth, depth, rtol=2e-6)  # rays are float32
    np.testing.assert_allclose(hits.bary, bary, atol=2e-5)


def test_a_quad_over_whole_pixels_fills_exactly_these() -> None:
    camera = Camera.from_focal(10, 12, 8)
    left_top, right_bottom = camera.unproject([[3, 2], [7, 5]], [4.0, 4.0])
    hits = cast_rays([quad(left_top[0], left_top[1], right_bottom[0], right_bottom[1], 4.0)], camera)
    expected = np.zeros((8, 12), dtype=bool)
    expected[2:5, 3:7] = True
    np.testing.assert_array_equal(hits.mask, expected)
    np.testing.assert_allclose(hits.depth[expected], 4.0, rtol=1e-6)


def test_a_hit_lies_where_its_pixel_projects_from() -> None:
    surfaces = [make_surface(ball(3, (0.5, 0.5, 0.5), (0, 0, 2)), np.ones(3))]
    camera = Camera.from_focal(80, 60, 50)
    hits = cast_rays(surfaces, camera)
    points = interpolate(hits, surfaces, "corners")
    rows, columns = np.nonzero(hits.mask)
    np.testing.assert_allclose(camera.project(points), np.stack([columns, rows], axis=1) + 0.5, atol=1e-3)


def test_half_covered_pixels_are_half_transparent() -> None:
    camera = Camera.from_focal(10, 12, 8)
    left_top, right_bottom = camera.unproject([[3.5, 2], [7, 5]], [4.0, 4.0])
    picture = render(
        [quad(left_top[0], left_top[1], right_bottom[0], right_bottom[1], 4.0, (0.2, 0.4, 0.6))], camera, FLAT
    )
    assert picture[3, 3, 3] in (127, 128)
    assert picture[3, 4, 3] == 255
    assert picture[0, 0, 3] == 0
    np.testing.assert_array_equal(picture[3, 3, :3], [51, 102, 153])  # the colour is not darkened by the edge


def test_the_nearer_surface_hides_the_farther_one() -> None:
    camera = Camera.from_focal(10, 8, 8)
    _, index = render_with_index([quad(-9, -9, 9, 9, 3), quad(-9, -9, 0, 9, 2)], camera, supersample=1)
    assert set(np.unique(index[:, :4])) == {1}
    assert set(np.unique(index[:, 4:])) == {0}


def test_bands_do_not_change_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    surfaces = [make_surface(ball(2, (0.5, 0.5, 0.5), (0, 0, 2)), np.array([0.8, 0.5, 0.2]))]
    camera = Camera.from_focal(40, 30, 31)
    whole, index = render_with_index(surfaces, camera)
    monkeypatch.setattr("hoirecon.views.raycast.BAND_RAYS", 1)
    banded, banded_index = render_with_index(surfaces, camera)
    assert np.abs(whole.astype(int) - banded).max() <= 1  # the band's principal point is rounded to float32 elsewhere
    np.testing.assert_array_equal(index, banded_index)


def test_lamberts_law() -> None:
    camera = Camera.from_focal(100, 3, 3)
    light = Light(key_direction=(0, -3, -4), key=1, fill=0, ambient=0, wrap=0)
    surfaces = [quad(-9, -9, 9, 9, 3)]
    linear, _ = Painter(surfaces, light).paint(pixel_rays(camera))
    np.testing.assert_allclose(linear[..., :3], 4 / 5, atol=1e-6)


def test_the_inside_is_lit_like_the_outside() -> None:
    camera = Camera.from_focal(10, 6, 6)
    front = quad(-9, -9, 9, 9, 3, (0.5, 0.4, 0.3))
    back = Surface(front.corners[:, ::-1], -front.normals, front.colors, front.openness)
    np.testing.assert_array_equal(render([front], camera), render([back], camera))


def test_colours_run_linearly_between_corners() -> None:
    verts = np.array([[-1, -1, 2], [1, -1, 2], [0, 1, 2.0]])
    colors = np.eye(3)
    surface = make_surface(Mesh(verts, np.array([[0, 2, 1]])), colors)
    camera = Camera.from_focal(20, 21, 21)
    hits = cast_rays([surface], camera)
    points = interpolate(hits, [surface], "corners")
    weights = interpolate(hits, [surface], "colors")
    np.testing.assert_allclose(weights @ verts, points, atol=1e-5)


def test_nothing_to_draw_is_all_transparent() -> None:
    assert not render([], Camera.from_focal(10, 5, 4)).any()
    assert not render([quad(50, 50, 51, 51, 1)], Camera.from_focal(10, 5, 4)).any()


def test_a_half_lit_pixel_averages_light_not_codes() -> None:
    camera = Camera.from_focal(10, 12, 8)
    middle = float(camera.unproject([5.5, 4], 4.0)[0])
    black, white = quad(-9, -9, middle, 9, 4.0, (0, 0, 0)), quad(middle, -9, 9, 9, 4.0)
    picture = render([black, white], camera, FLAT)
    assert picture[4, 4].tolist() == [0, 0, 0, 255]
    assert picture[4, 5].tolist() == [round(255 * float(to_srgb(0.5)))] * 3 + [255]
    assert encode(np.full((1, 1, 4), 0.5, dtype=np.float32))[0, 0].tolist() == [188, 188, 188, 128]


def test_smoothing_only_where_needed_equals_smoothing_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = ball(3, (0.5, 0.5, 0.5), (0, 0, 2))
    surfaces = [make_surface(mesh, np.array([0.8, 0.5, 0.2])), quad(-0.3, -0.2, 0.6, 0.1, 1.6)]
    camera = Camera.from_focal(80, 60, 61)
    picture = render(surfaces, camera)
    linear, _ = Painter(surfaces).paint(pixel_rays(camera))
    assert 0.02 < uneven(linear).mean() < 0.5
    monkeypatch.setattr("hoirecon.views.raycast.CONTRAST", -1.0)
    everywhere = render(surfaces, camera)
    assert np.abs(picture.astype(int) - everywhere).max() <= 6  # CONTRAST of 255 is 8, and half of it to each side
    assert np.abs(picture.astype(int) - render(surfaces, camera, supersample=1)).max() > 60  # it does smooth


def test_the_foot_of_a_wall_gets_half_the_light() -> None:
    """Closed form: beside an endless wall half of the cosine-weighted half-space is blocked."""
    wall_verts = np.array([[0, -500, 0], [0, 500, 0], [0, 500, -500], [0, -500, -500.0]])
    wall = make_surface(Mesh(wall_verts, np.array([[0, 1, 2], [0, 2, 3]])), np.ones(3))
    spots = np.array([[0.01, 0, 0, 0, 0, -1], [0.02, 1, 0, 0, 0, -1.0]])  # place and upward normal
    np.testing.assert_allclose(_openness(spots, [wall], reach=1e7, rays=400), 0.5, atol=0.03)
    np.testing.assert_array_equal(_openness(spots, [wall], reach=0.005, rays=50), 1)  # the wall is out of reach


def test_a_surface_darkens_another_and_a_convex_one_not_itself() -> None:
    floor = quad(-0.1, -0.1, 0.1, 0.1, 1.0)
    above = quad(-5, -5, 5, 5, 0.9)
    alone = with_ambient_light([floor])[0]
    np.testing.assert_array_equal(alone.openness, 1)
    covered = with_ambient_light([floor, above])[0]
    assert covered.openness.max() < 0.5
    convex = with_ambient_light([make_surface(ball(2, (0.5, 0.5, 0.5), (0, 0, 0)), np.ones(3))])[0]
    assert convex.openness.min() > 0.97  # flat facets touch the tangent plane of their smooth normals
