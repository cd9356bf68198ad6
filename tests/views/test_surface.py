"""Normals with creases, and cutting triangles that changes nothing one can see."""

from __future__ import annotations

import numpy as np
import trimesh

from hoirecon.mesh import Mesh
from hoirecon.views.surface import corner_normals, half_space_directions, make_surface, refine


def to_mesh(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.array(shape.vertices), np.array(shape.faces))


def slow_corner_normals(mesh: Mesh, crease_deg: float) -> np.ndarray:
    a, b, c = (mesh.verts[mesh.faces[:, k]] for k in range(3))
    weighted = np.cross(b - a, c - a)
    out = np.zeros((len(mesh.faces), 3, 3))
    for f, face in enumerate(mesh.faces):
        for place, vertex in enumerate(face):
            total = np.zeros(3)
            for g, other in enumerate(mesh.faces):
                angle = np.degrees(np.arccos(np.clip(mesh.face_normals[f] @ mesh.face_normals[g], -1, 1)))
                if vertex in other and angle <= crease_deg:
                    total += weighted[g]
            out[f, place] = total / np.linalg.norm(total)
    return out


def test_normals_equal_the_slow_twin() -> None:
    rng = np.random.default_rng(0)
    ball = trimesh.creation.icosphere(1)
    mesh = Mesh(np.array(ball.vertices) + rng.normal(size=(42, 3)) * 0.12, np.array(ball.faces))
    for crease in (15.0, 40.0, 90.0):
        np.testing.assert_allclose(corner_normals(mesh, crease), slow_corner_normals(mesh, crease), atol=1e-9)


def test_a_box_stays_sharp_and_a_ball_smooth() -> None:
    box = to_mesh(trimesh.creation.box([1, 2, 3]))
    np.testing.assert_allclose(corner_normals(box), np.repeat(box.face_normals[:, None], 3, axis=1), atol=1e-12)
    ball = to_mesh(trimesh.creation.icosphere(3))
    np.testing.assert_allclose(
        corner_normals(ball), ball.verts[ball.faces], atol=0.02
    )  # radial, but for the ball's unequal triangles


def test_a_degenerate_face_gives_no_nan() -> None:
    mesh = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0.0]]), np.array([[0, 1, 2], [0, 1, 3]]))
    assert np.isfinite(corner_normals(mesh)).all()


def test_cutting_keeps_area_colour_and_shares_midpoints() -> None:
    box = to_mesh(trimesh.creation.box([1, 1, 1]))
    colors = (box.verts + 0.5) * 0.9
    fine = refine(make_surface(box, colors), max_edge=0.2, max_faces=10_000)
    edges = np.linalg.norm(fine.corners - np.roll(fine.corners, 1, axis=1), axis=-1)
    assert edges.max() <= 0.2
    cross = np.cross(fine.corners[:, 1] - fine.corners[:, 0], fine.corners[:, 2] - fine.corners[:, 0])
    np.testing.assert_allclose(np.linalg.norm(cross, axis=1).sum() / 2, 6.0)
    np.testing.assert_allclose(fine.colors, (fine.corners + 0.5) * 0.9, atol=1e-12)  # colour is linear in place
    points = np.unique(fine.corners.reshape(-1, 3), axis=0)
    assert len(points) == 6 * 8 * 8 + 2  # a closed grid of quads: faces + 2 vertices, no cracks


def test_cutting_stops_at_the_limit() -> None:
    box = make_surface(to_mesh(trimesh.creation.box([100, 100, 100])), np.ones(3))
    assert len(refine(box, max_faces=200).corners) == 192


def test_directions_are_unit_and_cosine_weighted() -> None:
    ways = half_space_directions(500)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1)
    assert (ways[:, 2] > 0).all()
    np.testing.assert_allclose(ways.mean(axis=0), [0, 0, 2 / 3], atol=0.01)  # the mean of cos over cos-weighted angles


def test_moving_is_rigid() -> None:
    surface = make_surface(to_mesh(trimesh.creation.box([1, 1, 1])), np.ones(3))
    T = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])
    T[:3, 3] = [1, 2, 3]
    moved = surface.moved(T)
    np.testing.assert_allclose(moved.corners[0, 0], T[:3, :3] @ surface.corners[0, 0] + T[:3, 3])
    np.testing.assert_allclose(moved.normals[0, 0], T[:3, :3] @ surface.normals[0, 0])
