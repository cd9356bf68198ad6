"""What is computed once per mesh, and distance grids that are exact only where a term asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from hoirecon.fitting.object_shape import forget_shapes, object_shape
from hoirecon.fitting.object_terms import deep_points
from hoirecon.fitting.sdf import distance_grid
from hoirecon.mesh import Mesh

pytest.importorskip("open3d")


def ring() -> Mesh:
    torus = trimesh.creation.torus(0.3, 0.08, major_sections=24, minor_sections=12)
    return Mesh(torus.vertices, np.asarray(torus.faces), "ring")


def test_rough_outside_changes_nothing_inside() -> None:
    """A box much larger than the mesh, as round a body: depths and gradients are the same to the last bit."""
    low, high = np.full(3, -0.7), np.full(3, 0.7)
    exact = distance_grid(ring(), low, high, nodes=40)
    rough = distance_grid(ring(), low, high, nodes=40, outside="rough")
    inside = exact.values < 0
    assert 50 < inside.sum() < 0.1 * inside.numel()
    assert torch.equal(exact.values[inside], rough.values[inside])
    assert (rough.values[~inside] >= 0).all()
    points = torch.tensor(np.random.default_rng(0).uniform(-0.45, 0.45, (3, 4000, 3)), dtype=torch.float32)
    one, other = (deep_points(g, points, torch.ones(3), 0.004) for g in (exact, rough))
    assert len(one[0]) > 100
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine, theirs)


def test_rough_outside_is_not_far_off() -> None:
    low, high = np.full(3, -0.7), np.full(3, 0.7)
    exact = distance_grid(ring(), low, high, nodes=40).values
    rough = distance_grid(ring(), low, high, nodes=40, outside="rough").values
    off = (rough - exact)[exact > 0]
    assert off.min() > -1e-6  # never too short
    assert off.max() < 1.5 * 1.4 / 39
    assert (off > 1e-4).any()


def test_a_mesh_without_inside_gets_exact_distances() -> None:
    sheet = Mesh(np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    grid = distance_grid(sheet, np.full(3, -0.5), np.full(3, 0.5), nodes=11, outside="rough")
    torch.testing.assert_close(grid.values[5, 5], torch.linspace(-0.5, 0.5, 11).abs(), rtol=0, atol=1e-6)


def test_shapes_are_kept_by_content() -> None:
    forget_shapes()
    first, again = object_shape(ring(), 5000), object_shape(ring(), 5000)
    assert again is first  # two meshes that were made apart
    moved = ring().with_verts(ring().verts + np.array([0.0, 0.0, 1e-9]))
    assert object_shape(moved, 5000) is not first
    flipped = Mesh(ring().verts, ring().faces[:, ::-1])
    assert object_shape(flipped, 5000) is not first
    assert object_shape(ring(), 100) is not first
    assert object_shape(ring(), 5000, seed=1) is not first
    forget_shapes()
    assert object_shape(ring(), 5000) is not first


def test_a_shape_is_centred_and_light() -> None:
    away = ring().with_verts(ring().verts + np.array([3.0, -2.0, 0.5]))
    shape = object_shape(away, 200)
    np.testing.assert_allclose(shape.centre, [3.0, -2.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(shape.mesh.verts.min(0), -shape.mesh.verts.max(0), atol=1e-9)
    assert len(shape.light.faces) <= 200 < len(shape.mesh.faces) == len(away.faces)
    assert len(shape.probe) < len(shape.samples)
    assert object_shape(away, 200, dtype=torch.float64).grid.values.dtype == torch.float64
