"""Geodesic errors: on five vertices by hand, and shortest paths from a set against the matrix of all pairs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import trimesh
from scipy.sparse.csgraph import dijkstra

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import (
    MatrixDistances,
    MeshDistances,
    fn_geodesic,
    fp_geodesic,
    geodesic_errors,
)

# A unit square in two triangles with the diagonal 0-2, and a triangle 2-3-4 that adds a fifth vertex above.
VERTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 1.5, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3], [2, 4, 3]])


def _mask(*verts: int) -> np.ndarray:
    return np.isin(np.arange(5), verts)


def _by_floyd(mesh: MeshDistances) -> np.ndarray:
    """All pairs by the textbook's three loops."""
    D = np.full((mesh.num_verts, mesh.num_verts), np.inf)
    rows, cols = mesh.graph.nonzero()
    for i, j in zip(rows, cols, strict=True):
        D[i, j] = mesh.graph[i, j]
    np.fill_diagonal(D, 0)
    for k in range(len(D)):
        for i in range(len(D)):
            for j in range(len(D)):
                D[i, j] = min(D[i, j], D[i, k] + D[k, j])
    return D


def test_five_vertices_by_hand() -> None:
    edges, crossings = MeshDistances(VERTS, FACES, "edges"), MeshDistances(VERTS, FACES)
    assert edges.to_set(np.array([1])) == pytest.approx([1, 0, 1, 2, 1 + 0.5**0.5])
    # straight across the diagonal: sqrt 2; from 0 over the edge 2-3 to 4: straight, sqrt(0.25 + 2.25)
    assert crossings.to_set(np.array([1])) == pytest.approx([1, 0, 1, 2**0.5, 1 + 0.5**0.5])
    assert crossings.to_set(np.array([0]))[4] == pytest.approx(2.5**0.5)
    assert edges.to_set(np.array([0, 4])) == pytest.approx([0, 1, 0.5**0.5, 0.5**0.5, 0])
    assert edges.diameter_m == pytest.approx(2.0)
    said, true = _mask(1, 2), _mask(0)
    assert fp_geodesic(said, true, edges) == pytest.approx((1 + 2**0.5) / 2)
    assert fn_geodesic(said, true, edges) == pytest.approx(1.0)
    errors = geodesic_errors(said, true, edges)
    assert errors.symmetric == pytest.approx(((1 + 2**0.5) / 2 + 1) / 2)
    assert errors.fp_only == pytest.approx((1 + 2**0.5) / 2)
    assert errors.p95 == pytest.approx(1 + 0.95 * (2**0.5 - 1))  # between the two, linear


@pytest.mark.parametrize("paths", ["edges", "crossings"])
def test_paths_against_three_loops(paths: str) -> None:
    ball = trimesh.creation.icosphere(1)
    mesh = MeshDistances(ball.vertices, ball.faces, paths)
    D = _by_floyd(mesh)
    rng = np.random.default_rng(0)
    for count in (1, 3, 20):
        chosen = rng.choice(len(D), count, replace=False)
        assert mesh.to_set(chosen) == pytest.approx(D[:, chosen].min(1), abs=1e-12)
    assert mesh.diameter_m <= D.max() + 1e-12
    assert mesh.diameter_m > 0.9 * D.max()


def test_errors_equal_the_matrix_version_and_take_a_twentieth_of_its_memory() -> None:
    ball = trimesh.creation.icosphere(3)
    tracemalloc.start()
    mesh = MeshDistances(ball.vertices, ball.faces)
    mesh.to_set(np.array([0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    matrix = MatrixDistances(dijkstra(mesh.graph))
    # A 642-vertex ball already shows it in what is kept; tools/bench_geodesic.py measures peaks at 6,890.
    kept = mesh.graph.data.nbytes + mesh.graph.indices.nbytes + mesh.graph.indptr.nbytes
    assert matrix.matrix.nbytes > 20 * kept
    assert peak > kept
    rng = np.random.default_rng(1)
    for share in (0.01, 0.3):
        said, true = rng.random((2, len(ball.vertices))) < share
        ours, theirs = geodesic_errors(said, true, mesh), geodesic_errors(said, true, matrix)
        assert vars(ours) == pytest.approx(vars(theirs), abs=1e-6)
        assert fp_geodesic(said, true, mesh) == pytest.approx(ours.fp)
        assert fn_geodesic(said, true, mesh) == pytest.approx(ours.fn)


def test_an_uneven_matrix_is_read_by_columns_for_fp_and_rows_for_fn() -> None:
    D = np.array([[0, 1.0, 9], [2, 0, 9], [9, 9, 0]])
    said, true = np.array([False, True, False]), np.array([True, False, False])
    assert fp_geodesic(said, true, MatrixDistances(D)) == 2.0
    assert fn_geodesic(said, true, MatrixDistances(D)) == 2.0
    assert fp_geodesic(true, said, MatrixDistances(D)) == 1.0


def test_parts_that_nothing_joins_are_a_diameter_away() -> None:
    two = trimesh.util.concatenate([trimesh.creation.box(), trimesh.creation.box().apply_translation([5, 0, 0])])
    mesh = MeshDistances(two.vertices, two.faces)
    reach = mesh.to_set(np.array([0]))
    assert np.isfinite(reach).all()
    assert reach[8:] == pytest.approx(np.full(8, mesh.diameter_m))


def test_field_rules_for_empty_sets() -> None:
    mesh = MeshDistances(VERTS, FACES, "edges")
    nothing = _mask()
    whole = mesh.to_set(np.array([0])).mean()
    assert fp_geodesic(nothing, _mask(0), mesh) == pytest.approx(whole)
    assert fn_geodesic(nothing, _mask(0), mesh) == 0.0
    assert fp_geodesic(_mask(0), nothing, mesh) == 0.0
    assert fn_geodesic(_mask(0), nothing, mesh) == pytest.approx(whole)
    assert fp_geodesic(nothing, nothing, mesh) == fn_geodesic(nothing, nothing, mesh) == 0.0
    for said, true in ((nothing, _mask(0)), (_mask(0), nothing)):
        assert geodesic_errors(said, true, mesh).fp == mesh.diameter_m
    assert geodesic_errors(nothing, nothing, mesh).p95 == 0.0


def test_hostile_distances() -> None:
    mesh = MeshDistances(VERTS, FACES)
    with pytest.raises(InputError, match="bool"):
        fp_geodesic(np.ones(5), _mask(0), mesh)
    with pytest.raises(InputError, match="5"):
        fn_geodesic(np.ones(4, bool), np.ones(4, bool), mesh)
    with pytest.raises(InputError, match="square"):
        MatrixDistances(np.zeros((2, 3)))
    with pytest.raises(InputError, match="NaN"):
        MatrixDistances([[0, np.nan], [1, 0]])
    with pytest.raises(InputError, match="below 0"):
        MatrixDistances([[0, -1.0], [1, 0]])
    with pytest.raises(InputError, match="unknown paths"):
        MeshDistances(VERTS, FACES, "straight")
    with pytest.raises(InputError, match="verts"):
        MeshDistances(VERTS[:, :2], FACES)
