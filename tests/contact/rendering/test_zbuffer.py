"""The z-buffer against a slow readable twin, closed forms and hostile meshes (pytorch3d: test_pytorch3d.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoirecon import ragged
from hoirecon.contact.rendering.cameras import Z_CLIP, project
from hoirecon.contact.rendering.types import PixelMaps, Surface, View, ViewTable
from hoirecon.contact.rendering.views import human_views, object_views, resized, view_lights
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer, rasterize
from hoirecon.errors import InputError
from tests.contact.rendering.shapes import SHAPES, bodylike, soup, surface_of

FRONT = ViewTable("front", (View("front", 2.0, 0.0, 0.0),), size=64)


def maps_of(surface: Surface, table: ViewTable) -> PixelMaps:
    maps = ZBufferRenderer().render(surface, table, view_lights(table)).maps
    assert isinstance(maps, PixelMaps)
    return maps


def slow_faces(points: torch.Tensor, faces: torch.Tensor, size: int) -> np.ndarray:
    """Every pixel against every face in float64: id of the nearest, -1 where none is."""
    ndc, depth = project(points.double()).numpy(), points[:, 2].double().numpy()
    shown = np.full((size, size), -1)
    for row in range(size):
        for column in range(size):
            x, y = 1 - (2 * column + 1) / size, 1 - (2 * row + 1) / size
            nearest = np.inf
            for f, corners in enumerate(faces.tolist()):
                M = np.stack([ndc[corners, 0], ndc[corners, 1], np.ones(3)])
                if abs(np.linalg.det(M)) < 1e-8:
                    continue
                weights = np.linalg.solve(M, [x, y, 1])
                z = 1 / (weights / depth[corners]).sum()
                if (weights > 0).all() and z < nearest:
                    nearest, shown[row, column] = z, f
    return shown


def test_against_a_slow_twin() -> None:
    rng = np.random.default_rng(1)
    points = torch.from_numpy(rng.uniform([-1, -1, 1.0], [1, 1, 2.5], (30, 3))).float()
    faces = torch.from_numpy(rng.integers(0, 30, (40, 3)))
    seen = rasterize(points, faces, 24)
    shown = torch.full((24 * 24,), -1).index_copy(0, seen.pixels, seen.faces).view(24, 24).numpy()
    slow = slow_faces(points, faces, 24)
    assert (slow >= 0).mean() > 0.5
    assert (shown != slow).sum() <= 1  # a centre on an edge in float32


def test_weights_place_the_pixel_s_own_ray() -> None:
    points = torch.from_numpy(np.random.default_rng(2).uniform([-1, -1, 1], [1, 1, 3], (20, 3))).float()
    faces = torch.arange(18).view(6, 3)
    seen = rasterize(points, faces, 50)
    assert len(seen.pixels) > 100
    hit = project((points[faces[seen.faces]] * seen.bary[..., None]).sum(1))
    row, column = seen.pixels // 50, seen.pixels % 50
    expected = torch.stack([1 - (2 * column + 1) / 50, 1 - (2 * row + 1) / 50], dim=1)
    torch.testing.assert_close(hit, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(seen.bary.sum(1), torch.ones(len(hit)), atol=1e-4, rtol=0)


def test_a_face_of_known_size_covers_a_known_area() -> None:
    """A square of side 1 two units away spans 1 / (2 * 2 tan 30) of the picture each way."""
    square = surface_of([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], [[0, 1, 2], [0, 2, 3]])
    maps = maps_of(square, resized(FRONT, 400))
    side = 400 / (4 * np.tan(np.radians(30)))
    # The picture is symmetric, so the diagonal runs exactly through pixels' centres, and these belong to no triangle.
    assert maps.foreground.sum() == pytest.approx(side**2 - side, rel=0.02)


def test_left_and_up_are_where_they_should_be() -> None:
    """Seen from the front, the thing's left (+x) is on the picture's right, and +y on top."""
    corner = surface_of([[0.3, 0.3, 0], [0.6, 0.3, 0], [0.3, 0.6, 0]], [[0, 1, 2]])
    rows, columns = np.nonzero(maps_of(corner, FRONT).foreground[0])
    assert rows.max() < 32
    assert columns.min() >= 32


def test_the_nearer_of_two_wins_in_any_order_and_equal_ones_by_number() -> None:
    near, far = np.array([[-1, -1, 0.2], [1, -1, 0.2], [0, 1, 0.2]]), np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0.0]])
    for first, second in ((near, far), (far, near)):
        maps = maps_of(surface_of(np.concatenate([first, second]), [[0, 1, 2], [3, 4, 5]]), FRONT)
        centre = maps.verts[0, 34, 33]
        assert centre.tolist() == ([0, 1, 2] if first is near else [3, 4, 5])
    twice = surface_of(np.concatenate([near, near]), [[3, 4, 5], [0, 1, 2]])
    maps = maps_of(twice, FRONT)
    assert set(maps.verts[maps.foreground].ravel().tolist()) == {3, 4, 5}


def test_both_sides_are_drawn() -> None:
    verts = [[-0.5, -0.5, 0], [0.5, -0.5, 0], [0, 0.5, 0]]
    front, back = (maps_of(surface_of(verts, [order]), FRONT) for order in ([0, 1, 2], [2, 1, 0]))
    np.testing.assert_array_equal(front.foreground, back.foreground)
    assert front.foreground.any()


def test_faces_behind_the_camera_are_dropped_and_crossing_ones_cut() -> None:
    behind = torch.tensor([[-1.0, -1, -1], [1, -1, -1], [0, 1, 0.4]])
    assert len(rasterize(behind, torch.tensor([[0, 1, 2]]), 32).pixels) == 0
    ground = torch.tensor([[-3.0, -0.3, -2], [3, -0.3, -2], [0, -0.3, 8]])  # runs under the camera
    seen = rasterize(ground, torch.tensor([[0, 1, 2]]), 128)
    place = (ground[None] * seen.bary[..., None]).sum(1)
    assert place[:, 2].min() >= Z_CLIP - 1e-3
    assert place[:, 2].min() < Z_CLIP + 0.05
    torch.testing.assert_close(place[:, 1], torch.full((len(place),), -0.3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["bodylike", "soup", "interpenetrating"])
def test_results_do_not_depend_on_rounds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = resized(object_views("4MV-Z_HM"), 80)
    whole = maps_of(SHAPES[name], table)
    monkeypatch.setattr(ragged, "MAX_CELLS", 97)
    rounds = maps_of(SHAPES[name], table)
    np.testing.assert_array_equal(whole.verts, rounds.verts)
    np.testing.assert_array_equal(whole.bary, rounds.bary)


def test_threads_and_repeats_change_nothing() -> None:
    surface, table = soup(500, 0.6, seed=3), resized(human_views("4MV-Z_Vitru"), 100)
    before = torch.get_num_threads()
    try:
        drawn = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            drawn.append(ZBufferRenderer().render(surface, table, view_lights(table)))
    finally:
        torch.set_num_threads(before)
    for other in drawn[1:]:
        np.testing.assert_array_equal(drawn[0].images, other.images)
        assert isinstance(drawn[0].maps, PixelMaps)
        assert isinstance(other.maps, PixelMaps)
        np.testing.assert_array_equal(drawn[0].maps.verts, other.maps.verts)


def test_order_of_faces_changes_only_ties() -> None:
    surface, table = bodylike(), resized(human_views("4MV-Z_Vitru"), 96)
    assert surface.faces is not None
    shuffled = replace(surface, faces=surface.faces[np.random.default_rng(0).permutation(len(surface.faces))])
    np.testing.assert_array_equal(maps_of(surface, table).verts, maps_of(shuffled, table).verts)


def test_degenerate_faces_show_nothing() -> None:
    verts = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0], [0.5, 0.5, 0.5]]
    maps = maps_of(surface_of(verts, [[0, 1, 2], [0, 3, 1], [4, 4, 4]]), FRONT)
    assert not maps.foreground.any()
    assert (maps.verts == -1).all()
    assert (maps.bary == -1).all()


def test_background_is_white_and_everything_else_is_not() -> None:
    table = resized(human_views("4MV-Z_Vitru"), 64)
    drawn = ZBufferRenderer().render(bodylike(), table, view_lights(table))
    assert isinstance(drawn.maps, PixelMaps)
    white = (drawn.images == 255).all(-1)
    np.testing.assert_array_equal(white, ~drawn.maps.foreground)


def test_without_normals_colours_are_as_given() -> None:
    triangle = Surface(
        np.array([[-0.9, -0.9, 0], [0.9, -0.9, 0], [0, 0.9, 0.0]]), np.array([[0, 1, 2]]), np.full((3, 3), 0.5)
    )
    drawn = ZBufferRenderer().render(triangle, FRONT, view_lights(FRONT))
    assert isinstance(drawn.maps, PixelMaps)
    seen = drawn.images[drawn.maps.foreground]
    assert set(np.unique(seen).tolist()) <= {127, 128}  # 0.5 * 255, up to rounding of the weights


def test_one_pixel_and_odd_sizes() -> None:
    for size in (1, 2, 7, 33):
        assert maps_of(bodylike(), resized(FRONT, size)).verts.shape == (1, size, size, 3)


def test_another_number_of_lights_is_refused() -> None:
    with pytest.raises(InputError, match="2 lights for 1 views"):
        ZBufferRenderer().render(bodylike(), FRONT, ((0, 0, 3), (0, 0, 3)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", SHAPES)
def test_cuda_sees_the_same(name: str) -> None:
    from tests.contact.rendering.shapes import assert_same_views

    table = resized(object_views("4MV-Z_HM"), 256)
    lights = view_lights(table)
    cuda, cpu = (ZBufferRenderer(device).render(SHAPES[name], table, lights) for device in ("cuda", "cpu"))
    assert_same_views(cuda, cpu, SHAPES[name], table)
