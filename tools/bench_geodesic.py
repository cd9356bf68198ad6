"""Geodesic error from a set against the matrix of all pairs: memory, time and agreement at a body's size.

Memory is what a process of its own grows by at its peak (resident set, the heap inside scipy included; Linux).

Usage: python tools/bench_geodesic.py [--samples 1000] [--pairs-from 400]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import dijkstra

from hoirecon.data.body import load_body
from hoirecon.evaluation.metrics import MatrixDistances, MeshDistances, geodesic_errors

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


def grown_mib(way: str) -> tuple[float, float]:
    """MiB that preparing a way and one error grow a process by at its peak, and that process's peak in whole."""
    out = subprocess.run([sys.executable, __file__, "--child", way], check=True, capture_output=True, text=True)
    grown, whole = out.stdout.split()
    return float(grown), float(whole)


def child(way: str) -> None:
    """In a process of its own: prepare one way, measure one error, print the growth of the resident set and its peak.

    ``graph`` is ours. ``matrix`` loads a stored matrix of all pairs in float64, as the field's evaluators do; its
    content does not matter here, so it is zeros that were written to a file.
    """
    body = load_body()
    small = MeshDistances(body.rest_verts[:3], [[0, 1, 2]])
    first, second, _ = np.eye(3, dtype=bool)
    geodesic_errors(first, second, small)  # loads what is loaded on first use
    said, true = np.zeros((2, body.num_verts), dtype=bool)
    near = np.linalg.norm(body.rest_verts - body.rest_verts[0], axis=1) < PATCH_M
    said[near], true[np.roll(near, 50)] = True, True
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "matrix.npy"
        if way == "matrix":
            rows = np.lib.format.open_memmap(stored, "w+", np.float64, (body.num_verts, body.num_verts))
            rows.flush()
            del rows
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what imports left free is used again and not counted
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew here
        before = _kib("VmRSS")
        if way == "matrix":
            geodesic_errors(said, true, MatrixDistances(np.load(stored)))
        else:
            geodesic_errors(said, true, MeshDistances(body.rest_verts, body.faces))
        print((_kib("VmHWM") - before) / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _kib(name: str) -> int:
    """One line of this process's own account of its memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


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
    parser.add_argument("--child", choices=("graph", "matrix"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    body = load_body()
    mesh = MeshDistances(body.rest_verts, body.faces)
    made = masks(mesh, options.samples, 0)
    start = time.process_time()
    errors = [geodesic_errors(said, true, mesh) for said, true in made]
    seconds = time.process_time() - start
    matrix, graph = grown_mib("matrix"), grown_mib("graph")
    print(f"body with {mesh.num_verts} vertices, {mesh.graph.nnz} entries in the graph")
    each = 1000 * seconds / options.samples
    print(f"{options.samples} samples, both directions: {seconds:.2f} s CPU, {each:.2f} ms each")
    print(f"mean symmetric error {100 * np.mean([e.symmetric for e in errors]):.3f} cm")
    print(f"peak growth of a process: stored matrix {matrix[0]:.1f} MiB, shortest paths {graph[0]:.1f} MiB: "
          f"{matrix[0] / graph[0]:.0f} times less (whole processes: {matrix[1]:.0f}, {graph[1]:.0f})")  # fmt: skip
    print(f"greatest difference to rows of the matrix: {largest_difference(mesh, options.pairs_from):.2e} m")


if __name__ == "__main__":
    main()
