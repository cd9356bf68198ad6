"""Surface distances against the plane, the sphere, the cylinder, and plain shortest paths."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import Delaunay

from hoirecon.data.body import Geodesic, body_geodesic, load_body
from hoirecon.data.body.geodesic import unfolded_distance
from hoirecon.errors import InputError


def plane(seed: int, points: int = 600) -> Geodesic:
    """A unit square of random triangles whose vertex 0 is the middle."""
    rng = np.random.default_rng(seed)
    flat = np.concatenate([[[0.5, 0.5]], rng.uniform(size=(points, 2))])
    return Geodesic(np.c_[flat, np.zeros(len(flat))], Delaunay(flat).simplices)


@pytest.mark.parametrize("seed", range(3))
def test_exact_on_a_plane_from_one_vertex(seed: int) -> None:
    mesh = plane(seed)
    inside = np.abs(mesh.verts[:, :2] - 0.5).max(1) < 0.4  # thin triangles at the hull leave gaps in its outline
    true = np.linalg.norm(mesh.verts - mesh.verts[0], axis=1)
    np.testing.assert_allclose(mesh.distance([0])[inside], true[inside], atol=1e-7)
    assert mesh.graph_distance([0])[inside].max() > true[inside].max()  # edges alone are too long


def test_several_sources_give_the_nearest_one() -> None:
    mesh = plane(3, 3000)
    sources = [0, 5, 17, 99]
    true = np.min([np.linalg.norm(mesh.verts - mesh.verts[s], axis=1) for s in sources], axis=0)
    error = np.abs(mesh.distance(sources) - true)
    # Between two fields a front may be a fraction of an edge (here 2 cm of 1 m) late; elsewhere it is exact.
    assert error.max() < 0.02
    assert np.median(error) < 1e-6


def test_a_patch_counts_as_the_area_it_covers() -> None:
    mesh = plane(4, 3000)
    radius = np.linalg.norm(mesh.verts - mesh.verts[0], axis=1)
    distance = mesh.distance(np.flatnonzero(radius < 0.2))
    far = (radius > 0.25) & (radius < 0.45)
    # The patch's rim runs along edges, up to one edge (3 cm) inside the circle.
    assert np.abs(distance - (radius - 0.2))[far].max() < 0.03


def test_sphere_within_one_and_a_half_percent() -> None:
    ball = trimesh.creation.icosphere(4)
    distance = Geodesic(ball.vertices, ball.faces).distance([0])
    true = np.arccos(np.clip(ball.vertices @ ball.vertices[0], -1, 1))
    far = true > 0.2
    assert np.abs(distance / np.maximum(true, 1e-9) - 1)[far].max() < 0.015


def test_cylinder_unrolls() -> None:
    """A path on a cylinder is straight on the unrolled one: sqrt(arc^2 + height^2)."""
    turns, rows = 60, 40
    angle, height = np.meshgrid(np.arange(turns) * 2 * np.pi / turns, np.linspace(0, 4, rows))
    verts = np.stack([np.cos(angle), np.sin(angle), height], axis=-1).reshape(-1, 3)
    at = np.arange(turns * rows).reshape(rows, turns)
    here, right, up = at[:-1], np.roll(at, -1, 1)[:-1], at[1:]
    faces = np.concatenate([np.stack([here, right, up], -1), np.stack([right, np.roll(up, -1, 1), up], -1)]).reshape(
        -1, 3
    )
    chord = 2 * np.sin(np.pi / turns) / (2 * np.pi / turns)  # the mesh is a prism: its arcs are chords
    arc = np.minimum(angle, 2 * np.pi - angle).ravel() * chord
    true = np.hypot(arc, height.ravel())
    distance = Geodesic(verts, faces).distance([0])
    away = arc < 2.8  # at the back two fronts meet
    np.testing.assert_allclose(distance[away], true[away], atol=1e-6)


def test_distance_is_between_the_straight_line_and_the_path_along_edges() -> None:
    body = load_body()
    mesh = body_geodesic(body)
    for source in (0, 1500, 4000):
        distance, upper = mesh.distance([source]), mesh.graph_distance([source])
        straight = np.linalg.norm(mesh.verts - mesh.verts[source], axis=1)
        assert (distance <= upper + 1e-9).all()
        assert (distance >= 0.97 * straight).all()  # the front may cut a corner by a few percent on curved parts


def test_limit_stops_and_changes_nothing_before() -> None:
    mesh = body_geodesic(load_body())
    whole, near = mesh.distance([100]), mesh.distance([100], limit=0.1)
    inside = whole <= 0.1
    np.testing.assert_allclose(near[inside], whole[inside], atol=1e-12)
    assert np.isinf(near[~inside]).all()
    assert not inside.all()


def test_hands_are_far_apart_along_the_skin() -> None:
    """In the rest pose the way from palm to palm leads over both arms and the chest or back."""
    body = load_body()
    distance = body_geodesic(body).distance(body.parts.verts_of("left_palm"))
    assert 1.1 < distance[body.parts.verts_of("right_palm")].min() < 1.8
    assert distance[body.parts.verts_of("left_palm")].max() == 0


def test_another_component_is_out_of_reach() -> None:
    verts = np.eye(3).tolist() + (np.eye(3) + 5).tolist()
    distance = Geodesic(verts, [[0, 1, 2], [3, 4, 5]]).distance([0])
    np.testing.assert_allclose(distance[:3], [0, np.sqrt(2), np.sqrt(2)])
    assert np.isinf(distance[3:]).all()


@pytest.mark.parametrize("sources", [[], [-1], [3], [0.5]])
def test_impossible_sources_are_refused(sources: list[float]) -> None:
    with pytest.raises(InputError):
        Geodesic(np.eye(3), [[0, 1, 2]]).distance(sources)


def test_unfolding_finds_a_source_of_known_place() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        source, a, c = np.array([rng.uniform(0, 1), -rng.uniform(0.1, 2)]), np.zeros(2), rng.uniform(0.2, 0.8, size=2)
        b = np.array([1.0, 0])
        da, db, dc = (float(np.linalg.norm(p - source)) for p in (a, b, c))
        t = -source[1] / (c[1] - source[1])
        crosses = 0 <= source[0] + t * (c[0] - source[0]) <= 1
        got = unfolded_distance(da, db, 1.0, float(c[0]), float(c[1]))
        assert got == pytest.approx(dc if crosses else np.inf)
