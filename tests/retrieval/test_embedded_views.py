"""Small views: the z-buffer against closed forms and a slow twin, frames, shapes drawn, silhouettes compared."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.retrieval.embedded.occluders import occluder
from hoirecon.retrieval.embedded.shapes import ShapeSpread, draw_shape, parametric_variants
from hoirecon.retrieval.embedded.silhouettes import (
    SILHOUETTE_VIEWS,
    TEMPLATE_ROLLS,
    overlaps,
    query_silhouettes,
    rotations_of,
    shape_silhouettes,
)
from hoirecon.retrieval.embedded.unlearned import cropped, silhouette_descriptor
from hoirecon.retrieval.embedded.views import MARGIN, mask_square, render, rolls, view_rotation, visible_faces
from hoirecon.retrieval.surfaces import Surface
from hoirecon.retrieval.view_rendering import ViewSet

FRONT = np.diag([1.0, -1.0, -1.0])[None]
needs_manifold = pytest.mark.skipif(
    importlib.util.find_spec("manifold3d") is None, reason="manifold3d makes the shapes"
)


def _l_shape() -> Surface:
    """A flat letter L, 2 high and 1 wide, facing +z; nothing about it is symmetric."""
    verts = [[0, 0, 0], [1, 0, 0], [1, 0.4, 0], [0.4, 0.4, 0], [0.4, 2, 0], [0, 2, 0]]
    return Surface.from_mesh(Mesh(verts, [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]))


def test_an_l_is_drawn_upright_and_not_mirrored() -> None:
    mask = render(_l_shape(), FRONT, size=48, samples=4).masks[0]
    # Height 2 fills 48 / 1.2 = 40 pixels, width 1 takes 20; the foot points right, at the bottom.
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (4, 43, 14, 33)
    assert mask[42, 30] == 1
    assert mask[8, 30] == 0
    assert mask[8, 16] == 1
    assert mask.sum() == pytest.approx(20 * 20 * (0.4 * 1 + 1.6 * 0.4), rel=0.02)


def test_normals_point_to_the_camera_from_either_side() -> None:
    behind = view_rotation(np.array([np.pi]), np.zeros(1), np.zeros(1))
    for R in (FRONT, behind):
        views = render(_l_shape(), R)
        inside = views.masks[0] == 1
        np.testing.assert_allclose(views.normals[0][inside], np.tile([0, 0, -1.0], (inside.sum(), 1)), atol=1e-6)


def test_the_nearer_of_two_faces_is_seen_wherever_they_overlap() -> None:
    """Against a plain loop over pixels and triangles."""
    rng = np.random.default_rng(0)
    triangles = torch.from_numpy(rng.uniform(-2, 14, (2, 12, 3, 3)).astype(np.float32))
    triangles[..., 2] = torch.from_numpy(rng.uniform(0.1, 1, (2, 12, 3)).astype(np.float32))
    seen = visible_faces(triangles, 12).numpy()
    expected = np.full((2, 12, 12), -1)
    for view, row, column in np.ndindex(2, 12, 12):
        nearest = 0.0
        for face in range(12):
            corners = triangles[view, face].double().numpy()
            basis = np.vstack([corners[:, :2].T, np.ones(3)])
            bary = np.linalg.solve(basis, [column + 0.5, row + 0.5, 1])
            if (bary >= 0).all() and bary @ corners[:, 2] > nearest:
                nearest, expected[view, row, column] = bary @ corners[:, 2], face
    np.testing.assert_array_equal(seen, expected)


def test_rotations_are_those_of_a_view_set_and_a_positive_roll_turns_the_picture_clockwise() -> None:
    views = ViewSet(azimuths=4, elevations=(10.0,))
    azimuth = np.arange(4) * np.pi / 2
    np.testing.assert_allclose(view_rotation(azimuth, np.full(4, np.radians(10)), np.zeros(4)), views.rotations())
    x, y, _ = rolls(np.array([np.pi / 2]))[0] @ [1, 0, 0]  # what lay to the right comes to lie below
    assert (x, y) == (pytest.approx(0), pytest.approx(1))


def test_perspective_draws_the_nearer_end_larger() -> None:
    box = Mesh(
        [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-3, 3)], [[0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    )
    near, far = (render(Surface.from_mesh(box), FRONT, distance).normals[0, ..., 2] for distance in (1.5, 50.0))
    assert (near != 0).sum() == (far != 0).sum()  # the front's square fills both; the back hides behind it
    with pytest.raises(InputError, match=r"1\.3 radii"):
        render(Surface.from_mesh(box), FRONT, 1.0)


def test_what_has_no_extent_is_refused() -> None:
    with pytest.raises(InputError, match="single point"):
        render(Surface.from_mesh(Mesh(np.zeros((3, 3)), [[0, 1, 2]])), FRONT)


def test_a_crop_is_the_square_round_the_mask_however_large_the_picture() -> None:
    mask = np.zeros((400, 300), bool)
    mask[100:300, 200:260] = True  # 200 high: a square of 240 with 20 on each side
    assert mask_square(mask) == (110, 80, 240)
    small = cropped(mask.astype(np.float32), 48)
    assert small.sum() == pytest.approx(40 * 12, rel=0.01)
    assert small[24, 24] == 1
    assert MARGIN == 0.1
    np.testing.assert_allclose(cropped(mask[::4, ::4].astype(np.float32), 48), small, atol=0.51)  # enlarged instead


def test_the_baselines_descriptor_is_of_length_one_and_blind_to_place_and_size() -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:50, 10:30] = True
    moved = np.zeros((200, 200), bool)
    moved[100:180, 100:140] = True
    a, b = silhouette_descriptor(mask), silhouette_descriptor(moved)
    assert a.shape == (324,)
    assert np.linalg.norm(a) == pytest.approx(1)
    assert float(a @ b) == pytest.approx(1, abs=2e-3)


def test_a_silhouette_finds_its_own_view_and_its_roll() -> None:
    surface = _l_shape()
    R_upright, angle = SILHOUETTE_VIEWS.rotations()[25], np.radians(10.0)
    R = rolls(np.array([angle]))[0] @ R_upright
    mask = render(surface, R[None], size=64, samples=1).masks[0] > 0
    table = overlaps(query_silhouettes(mask), shape_silhouettes(surface)[None])[0]
    view, template = np.unravel_index(table.argmax(), table.shape)
    assert table.max() > 0.85
    assert TEMPLATE_ROLLS[template] == pytest.approx(angle)
    found = rotations_of(table, 3)
    # A flat L is the same picture, a little narrower, from views near the right one; never from behind.
    assert np.degrees(np.arccos((np.trace(found[0] @ R.T) - 1) / 2)) < 25
    assert view % 24 in (0, 1, 2)
    assert found.shape == (3, 3, 3)
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), np.tile(np.eye(3), (3, 1, 1)), atol=1e-12)


def test_overlap_is_tverskys_index() -> None:
    silhouette = np.zeros((1, 1, 1024), bool)
    silhouette[..., :8] = True
    mask = np.zeros((1, 1024), bool)
    mask[0, 4:10] = True  # 4 in common, 4 lacking, 2 beyond
    packed = np.packbits(silhouette, axis=-1)
    assert overlaps(mask, packed)[0, 0, 0] == pytest.approx(4 / 10)
    assert overlaps(mask, packed, missing=0.5)[0, 0, 0] == pytest.approx(4 / 8)


def test_a_hidden_end_is_forgiven_by_a_longer_box() -> None:
    surface = _l_shape()
    mask = render(surface, FRONT, size=64, samples=1).masks[0] > 0
    rows = np.flatnonzero(mask.any(1))
    mask[: rows[0] + len(rows) // 3] = False  # the upper third of the L is behind something
    table = overlaps(query_silhouettes(mask), shape_silhouettes(surface)[None], missing=0.5)[0]
    own_box = table[:, :: len(TEMPLATE_ROLLS) // 7]
    assert table.max() > own_box.max() + 0.03


def test_occluders_hide_the_wanted_part() -> None:
    mask = np.zeros((48, 48), bool)
    mask[8:40, 12:36] = True
    rng = np.random.default_rng(3)
    parts = [(mask & occluder(mask, (0.1, 0.3), rng)).sum() / mask.sum() for _ in range(40)]
    assert min(parts) >= 0.1
    assert max(parts) <= 0.3
    assert np.ptp(parts) > 0.1


@needs_manifold
def test_a_draw_repeats_and_another_seed_gives_another_shape() -> None:
    variant = parametric_variants()["chair/plain"]
    one, again, other = (draw_shape(variant, seed, 0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.mesh.verts, again.mesh.verts)
    assert not np.allclose(np.ptp(one.mesh.verts, axis=0), np.ptp(other.mesh.verts, axis=0), rtol=1e-3)
    np.testing.assert_allclose(one.mesh.verts.max(0), -one.mesh.verts.min(0))
    same = draw_shape(variant, 1, 0, ShapeSpread(0, 0, 0, 1, 0))
    np.testing.assert_allclose(np.ptp(same.mesh.verts, axis=0), np.ptp(variant.build().verts, axis=0))
