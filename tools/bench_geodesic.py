"""Geodesic error from a set against the matrix of all pairs: memory, time and agreement at a body's size.

Usage: python tools/bench_geodesic.py [--samples 1000] [--pairs-from 400]
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np
from scipy.sparse.csgraph import dijkstra

from hoirecon.data.body import load_body
from hoirecon.evaluation.metrics import MeshDistances, geodesic_errors

PATCH_M = 0.15
"""Radius of the contact patches."""


def masks(mesh: MeshDistances, count: int, seed: int) -> np.ndarray:
    """(count, 2, V) patches round a random vertex and round one near it: prediction and truth."""
    rng = np.random.default_rng(seed)
    made = np.zeros((count, 2, mesh.num_verts), dtype=bool)
    for row in made:
        near = mesh.to_set(np.array([rng.integers(mesh.num_verts)])) < PATCH_M
        row[0], row[1] = near, mesh.to_set(np.array([rng.choice(np.flatnonzero(near))])) < PATCH_M
    return made


def peak_bytes(mesh: MeshDistances) -> int:
    """Most memory that preparing the same mesh and one error take, numpy's arrays included (not the heap inside
    scipy, some hundred bytes a vertex)."""
    body = load_body()
    said, true = masks(mesh, 1, 0)[0]
    tracemalloc.start()
    geodesic_errors(said, true, MeshDistances(body.rest_verts, body.faces))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def largest_difference(mesh: MeshDistances, count: int) -> float:
    """Greatest difference of distances from sets to the least column of rows of the matrix, metres."""
    rng = np.random.default_rng(1)
    chosen = rng.choice(mesh.num_verts, count, replace=False)
    rows = dijkstra(mesh.graph, indices=chosen)  # rows of the matrix, one front per vertex
    worst = 0.0
    for size in (1, 10, 100, count):
        picked = rng.choice(count, size, replace=False)
        worst = max(worst, float(np.abs(rows[picked].min(0) - mesh.to_set(chosen[picked])).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--pairs-from", type=int, default=400, help="rows of the matrix to compare with")
    options = parser.parse_args()
    body = load_body()
    mesh = MeshDistances(body.rest_verts, body.faces)
    made = masks(mesh, options.samples, 0)
    start = time.process_time()
    errors = [geodesic_errors(said, true, mesh) for said, true in made]
    seconds = time.process_time() - start
    matrix, peak = 8 * mesh.num_verts**2, peak_bytes(mesh)
    print(f"body with {mesh.num_verts} vertices, {mesh.graph.nnz} entries in the graph")
    each = 1000 * seconds / options.samples
    print(f"{options.samples} samples, both directions: {seconds:.2f} s CPU, {each:.2f} ms each")
    print(f"mean symmetric error {100 * np.mean([e.symmetric for e in errors]):.3f} cm")
    print(f"matrix in float64 {matrix / 2**20:.0f} MiB; peak of preparing and one error {peak / 2**20:.2f} MiB: "
          f"{matrix / peak:.0f} times less")  # fmt: skip
    print(f"greatest difference to rows of the matrix: {largest_difference(mesh, options.pairs_from):.2e} m")


if __name__ == "__main__":
    main()
