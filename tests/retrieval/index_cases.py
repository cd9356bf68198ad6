"""Small indices whose answers are known, for every search and index."""

from __future__ import annotations

from typing import Any

import numpy as np

from hoirecon.retrieval.index.object_index import ObjectIndex
from hoirecon.retrieval.index.records import ObjectRecord
from hoirecon.retrieval.protocols import EncoderId

WHO = EncoderId("someone", 16, "0" * 12)
OTHER = EncoderId("someone", 16, "1" * 12)


def clustered(count: int, each: int = 1, seed: int = 0) -> Any:
    """(count, each, 16) in 40 clusters."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(40, 16))
    values = centres[random.integers(0, 40, count)][:, None] + 0.4 * random.normal(size=(count, each, 16))
    return values.astype(np.float32)


def records(count: int) -> list[ObjectRecord]:
    """Records that differ in all that filters know."""
    licences = ("CC0-1.0", "by", "by-nc")
    return [
        ObjectRecord(
            f"object {i}", "Office_Chair" if i % 5 == 0 else "lamp", licences[i % 3], faces=i * 10, animations=i % 2,
            tags=("wood", "old")[: i % 3], source=f"{i}.glb",
        )
        for i in range(count)
    ]  # fmt: skip


def plain_search(values: Any, query: Any, k: int, allowed: Any = None) -> list[int]:
    """Numbers of the nearest objects, said plainly."""
    values = values.astype(np.float64)
    cosines = (values @ query / np.linalg.norm(values, axis=2) / np.linalg.norm(query)).max(1)
    order = sorted(range(len(values)), key=lambda i: (-cosines[i], i))
    return [i for i in order if allowed is None or allowed[i]][:k]


def index_of(count: int = 600, each: int = 1, kind: Any = None) -> ObjectIndex:
    return ObjectIndex.of(WHO, clustered(count, each), records(count), kind)
