"""A million objects and more on one machine: faiss finds candidates, which are then scored exactly.

What faiss holds is small (a byte per value); the rows themselves stay in a mapped file and are read for the candidates
only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.errors import InputError, require
from hoirecon.files import atomic_file
from hoirecon.retrieval.index.vectors import EmbeddingRows, ExactSearch, Float32Array, chunks, rescored

LISTS_FROM = 1_000_000
"""Rows from which on lists are searched instead of all rows."""
TRAINING_PER_LIST = 64
"""Rows per list on which lists are trained (faiss asks for 39 to 256)."""


@dataclass(frozen=True)
class FaissConfig:
    """How rows are kept and searched."""

    lists: int | None = None
    """Lists that rows are sorted into; 0: none, all rows are scanned; None: by the number of rows."""
    probes: int = 32
    """Lists that a query looks into."""
    candidates: int = 4
    """Candidates per wanted object that are scored again."""
    least_candidates: int = 64
    """At least so many."""
    exact_below: float = 0.05
    """A filter that leaves less than this part of the objects is worked off by an exact scan of those."""
    seed: int = 0
    """Which rows lists are trained on."""

    def __post_init__(self) -> None:
        if (self.lists is not None and self.lists < 0) or self.probes < 1 or self.candidates < 1:
            raise InputError("lists must be 0 or more, probes and candidates at least 1")


@dataclass(frozen=True)
class FaissSearch:
    """Rows of a byte per value in faiss, flat (``SQ8``) or in lists (``IVF``); the exact rows score the candidates."""

    rows: EmbeddingRows
    """What is searched."""
    faiss_index: Any
    """Of all rows: row r of object n has number n * R + r."""
    config: FaissConfig = field(default_factory=FaissConfig)
    """How."""

    @classmethod
    def build(cls, rows: EmbeddingRows, config: FaissConfig | None = None) -> FaissSearch:
        """Train and fill an index; rows are read run by run.

        Raises:
            InputError: no rows.
            MissingExtraError: faiss is not installed.
        """
        config = config or FaissConfig()
        faiss = require("faiss", extra="faiss")
        count = len(rows) * rows.values.shape[1]
        if not count:
            raise InputError("there are no rows to index: an exact search needs none of this")
        lists = _lists(count) if config.lists is None else min(config.lists, count)
        how = f"IVF{lists},SQ8" if lists else "SQ8"
        index = faiss.index_factory(rows.dim, how, faiss.METRIC_INNER_PRODUCT)
        index.train(_sample(rows, max(TRAINING_PER_LIST * lists, 100_000), config.seed))
        for some in chunks(rows.values):
            index.add(_units(rows, some))
            rows.let_go()
        return cls(rows, index, config)

    def save(self, path: str | Path) -> None:
        """Write faiss's part as one file."""
        faiss = require("faiss", extra="faiss")
        with atomic_file(path) as tmp:
            faiss.write_index(self.faiss_index, str(tmp))

    @classmethod
    def load(cls, path: str | Path, rows: EmbeddingRows, config: FaissConfig | None = None) -> FaissSearch:
        """Read faiss's part of these rows. faiss does not defend itself against hostile files: load only your own.

        Raises:
            InputError: missing, not faiss's, or of other rows.
        """
        faiss = require("faiss", extra="faiss")
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist: build it again with FaissSearch.build")
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as err:
            raise InputError(f"{path} is not a file of faiss ({str(err)[:120]}): build it again") from err
        if (index.ntotal, index.d) != (len(rows) * rows.values.shape[1], rows.dim):
            raise InputError(
                f"{path} holds {index.ntotal} rows of {index.d} values, which are not these: build it again"
            )
        return cls(rows, index, config or FaissConfig())

    def search(
        self, queries: Float32Array, k: int, allowed: BoolArray | None = None
    ) -> list[tuple[FloatArray, IntArray, IntArray]]:
        """See ``VectorSearch``: nearly all of the nearest, with exact scores."""
        exact = ExactSearch(self.rows)
        if allowed is not None and allowed.mean() < self.config.exact_below:
            return exact.search(queries, k, allowed)
        each = self.rows.values.shape[1]
        wanted = max(self.config.candidates * k, self.config.least_candidates) * each
        wanted = min(wanted, self.faiss_index.ntotal)
        options = self._options(None if allowed is None else np.repeat(allowed, each))
        _, found = self.faiss_index.search(np.ascontiguousarray(queries), wanted, params=options)
        candidates = [np.unique(mine[mine >= 0] // each) for mine in found]
        due = min(k, len(self.rows) if allowed is None else int(allowed.sum()))
        best = [
            # The lists that were looked into may hold too few (in a small index, or behind a filter).
            rescored(self.rows, query, mine, k) if len(mine) >= due else exact.search(query[None], k, allowed)[0]
            for query, mine in zip(queries, candidates, strict=True)
        ]
        self.rows.let_go()
        return best

    def _options(self, allowed: BoolArray | None) -> Any:
        faiss = require("faiss", extra="faiss")
        chosen = {}
        if allowed is not None:
            chosen["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if hasattr(self.faiss_index, "nprobe"):
            return faiss.SearchParametersIVF(nprobe=self.config.probes, **chosen)
        return faiss.SearchParameters(**chosen)


def _lists(count: int) -> int:
    """Lists for a number of rows: none for few, else 4 sqrt(count) as a power of two."""
    return 0 if count < LISTS_FROM else int(2 ** round(math.log2(4 * math.sqrt(count))))


def _units(rows: EmbeddingRows, some: Any) -> Float32Array:
    """Unit rows of a run of objects, (n * R, dim)."""
    values = rows.values[some].astype(np.float32) * rows.inverse_norms[some][..., None]
    flat: Float32Array = np.ascontiguousarray(values.reshape(-1, rows.dim))
    return flat


def _sample(rows: EmbeddingRows, most: int, seed: int) -> Float32Array:
    objects = max(1, most // rows.values.shape[1])
    if objects >= len(rows):
        return _units(rows, slice(None))
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), objects, replace=False))
    return _units(rows, chosen)
