"""Index of objects at growing sizes: memory, time and recall of faiss against the exact scan.

Embeddings are synthetic: clusters of clusters, a byte per value, 1280 values, as the published ones of Objaverse are.
Times are CPU seconds of one process with the threads that OMP_NUM_THREADS allows, so that other work on the machine
does not count.

Usage: python tools/index_bench.py --sizes 50000 200000 800000 --folder /tmp/index_bench
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.retrieval.index.faiss_search import FaissConfig, FaissSearch
from hoirecon.retrieval.index.vectors import EmbeddingRows, ExactSearch

DIM, QUERIES, RUN = 1280, 20, 20_000


def make_rows(count: int, path: Path, seed: int = 0) -> None:
    """Write (count, 1, DIM) int8 embeddings, run by run."""
    random = np.random.default_rng(seed)
    kinds = random.normal(size=(1000, DIM)).astype(np.float32)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.int8, shape=(count, 1, DIM))
    for begin in range(0, count, RUN):
        end = min(begin + RUN, count)
        near = kinds[random.integers(0, 1000, end - begin)]
        # Objects of a kind lie 40 degrees from its centre, and a few of them close together, as variants do.
        own = np.repeat(random.standard_normal(((end - begin + 3) // 4, DIM), dtype=np.float32), 4, 0)[: end - begin]
        fine = random.standard_normal((end - begin, DIM), dtype=np.float32)
        rows[begin:end, 0] = np.clip(np.round(25 * (near + 0.7 * own + 0.4 * fine)), -127, 127)
    rows.flush()


def make_queries(rows: Any, seed: int = 1) -> Any:
    """(QUERIES, DIM) unit vectors beside rows, 60 degrees away as images are from shapes."""
    random = np.random.default_rng(seed)
    chosen = rows[np.sort(random.choice(len(rows), QUERIES, replace=False)), 0].astype(np.float32)
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True)
    noise = random.normal(size=chosen.shape).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    mixed = chosen + 1.7 * noise
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def resident_mb() -> dict[str, int]:
    """Memory of this process in MB: its own, and pages of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) >> 10 for line in lines if line.startswith("Rss")}
    return {"own": found["RssAnon"], "mapped": found["RssFile"]}


def opened(path: Path) -> EmbeddingRows:
    """Rows of a file with their norms, which a saved index has too."""
    values = np.load(path, mmap_mode="r")
    norms = path.with_suffix(".norms.npy")
    if not norms.is_file():
        np.save(norms, EmbeddingRows.of(values).inverse_norms)
    return EmbeddingRows(values, np.load(norms))


def build(path: Path, lists: int | None) -> dict[str, Any]:
    """Build faiss's part and save it."""
    rows, begun = opened(path), time.process_time()
    FaissSearch.build(rows, FaissConfig(lists=lists)).save(path.with_suffix(".faiss"))
    return {"build_s": round(time.process_time() - begun, 1)}


def query(path: Path, lists: int | None) -> dict[str, Any]:
    """Single queries by faiss, and recall@10 against the exact scan."""
    rows = opened(path)
    queries, before = make_queries(rows.values), resident_mb()
    search = FaissSearch.load(path.with_suffix(".faiss"), rows, FaissConfig(lists=lists))
    taken, found = [], []
    for one in queries:
        begun = time.process_time()
        found.append(set(search.search(one[None], 10)[0][1].tolist()))
        taken.append(time.process_time() - begun)
    after = resident_mb()
    begun = time.process_time()
    exact = [set(objects.tolist()) for _, objects, _ in ExactSearch(rows).search(queries, 10)]
    scan = time.process_time() - begun
    hits = [len(a & b) / 10 for a, b in zip(exact, found, strict=True)]
    return {
        "query_ms": round(1000 * statistics.median(taken), 1),
        "slowest_ms": round(1000 * max(taken), 1),
        "recall_at_10": round(float(np.mean(hits)), 4),
        "exact_scan_s_for_20": round(scan, 2),
        "resident_mb": after["own"] + after["mapped"],
        "of_which_before_mb": before["own"] + before["mapped"],
        "own_mb": after["own"],
    }


def main() -> None:
    """Measure each size in processes of its own, so that memory is that of one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50_000, 200_000, 800_000])
    parser.add_argument("--folder", type=Path, default=Path("out/index_bench"))
    parser.add_argument("--lists", type=int, default=None, help="0: flat; otherwise lists; default: by size")
    parser.add_argument("--step", choices=["build", "query"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for size in args.sizes:
        path = args.folder / f"rows_{size}.npy"
        if args.step:
            print(json.dumps((build if args.step == "build" else query)(path, args.lists)))
            continue
        if not path.is_file():
            make_rows(size, path)
        result: dict[str, Any] = {"objects": size, "lists": args.lists}
        for step in ("build", "query"):
            call = [sys.executable, __file__, "--sizes", str(size), "--folder", str(args.folder), "--step", step]
            call += [] if args.lists is None else ["--lists", str(args.lists)]
            result |= json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
