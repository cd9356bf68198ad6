"""Embeddings of objects, and the exact scan over all of them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.errors import InputError

Float32Array = npt.NDArray[np.float32]
RowType = Literal["float32", "float16", "int8"]
"""How rows are kept: bytes per value 4, 2 or 1."""

CHUNK_VALUES = 1 << 24
"""Values of rows that are widened to float32 at once (64 MiB)."""
ROUNDING = 1e-5
"""Scores that are nearer than this may change places when they are computed again in float64."""
LET_GO_ABOVE = 256 << 20
"""Bytes of a mapped file from which on its pages are given back after a search."""
GATHER_BELOW = 0.25
"""A filter that leaves less than this part of the objects is worked off by reading those alone."""


@dataclass(frozen=True)
class EmbeddingRows:
    """Embeddings of N objects, R rows each, of any length: their directions count."""

    values: npt.NDArray[Any]
    """(N, R, dim) float32, float16 or int8; may be a mapped file."""
    inverse_norms: Float32Array
    """(N, R) 1 / length of each row."""

    @classmethod
    def of(cls, values: npt.NDArray[Any], kind: RowType | None = None) -> EmbeddingRows:
        """Rows from an array (N, R, dim) or, one row for each object, (N, dim).

        Args:
            values: embeddings.
            kind: how to keep them; None keeps the array's type (float64 becomes float32). Floats become int8 by each
                row's own scale, which costs about 0.4 % of a value's largest.

        Raises:
            InputError: another shape or type, or a row that is zero, NaN or infinite.
        """
        values = values[:, None] if values.ndim == 2 else values
        if values.ndim != 3 or values.dtype.kind not in "fi":
            raise InputError(
                f"embeddings have shape {values.shape} and type {values.dtype}, expected (N, R, dim) numbers"
            )
        kept = _kept(values, kind)
        norms = np.concatenate([_norms(kept[some]) for some in chunks(kept)] or [np.zeros((0, kept.shape[1]))])
        if not (np.isfinite(norms).all() and (norms > 0).all()):
            bad = int(np.flatnonzero(~(np.isfinite(norms) & (norms > 0)).all(1))[0])
            raise InputError(f"the embedding of object {bad} is zero, NaN or infinite: it has no direction to compare")
        return cls(kept, (1 / norms).astype(np.float32))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return int(self.values.shape[2])

    def joined(self, other: EmbeddingRows) -> EmbeddingRows:
        """These rows and then others.

        Raises:
            InputError: rows of another width or number per object.
        """
        if self.values.shape[1:] != other.values.shape[1:]:
            raise InputError(
                f"new embeddings have shape {other.values.shape[1:]} each, expected {self.values.shape[1:]}"
            )
        more = _kept(other.values, self.kind)
        again = other if more is other.values else EmbeddingRows.of(more)
        return EmbeddingRows(
            np.concatenate([self.values, again.values]), np.concatenate([self.inverse_norms, again.inverse_norms])
        )

    def let_go(self) -> None:
        """Give pages of a large mapped file back; the system's cache keeps them as long as nobody needs the memory."""
        pages = self.values.base
        if self.values.nbytes > LET_GO_ABOVE and isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)

    @property
    def kind(self) -> RowType:
        """How the rows are kept."""
        return self.values.dtype.name  # type: ignore[return-value]


@runtime_checkable
class VectorSearch(Protocol):
    """Finds the nearest objects: all of them exactly, or most of them fast."""

    def search(
        self, queries: Float32Array, k: int, allowed: BoolArray | None = None
    ) -> list[tuple[FloatArray, IntArray, IntArray]]:
        """For each query of (Q, dim) unit vectors the scores, objects and rows of the objects, best first.

        Args:
            queries: unit vectors.
            k: at most so many objects each.
            allowed: (N,) which objects may be found; None: all.
        """
        ...


@dataclass(frozen=True)
class ExactSearch:
    """A scan of all rows: the truth that faster ones are measured against, and fast enough for fifty thousand.

    The scan is in float32; what is within rounding of the best is scored again in float64, so that equal embeddings
    have equal scores and the lower number wins, whatever the order of the scan.
    """

    rows: EmbeddingRows
    """What is searched."""

    def search(
        self, queries: Float32Array, k: int, allowed: BoolArray | None = None
    ) -> list[tuple[FloatArray, IntArray, IntArray]]:
        """See :class:`VectorSearch`."""
        chosen = None
        if allowed is not None and allowed.mean() < GATHER_BELOW:
            chosen, allowed = np.flatnonzero(allowed), None
        found: list[tuple[Float32Array, IntArray]] = [
            (np.zeros(0, np.float32), np.zeros(0, np.int64)) for _ in range(len(queries))
        ]
        for objects in _runs(self.rows.values, chosen):
            scores = self._scores(objects, queries)
            if allowed is not None:
                scores[:, ~allowed[objects]] = -np.inf
            numbers = np.arange(objects.start, objects.stop) if isinstance(objects, slice) else objects
            for i, mine in enumerate(scores):
                near = np.flatnonzero(mine >= best_enough(mine, k))
                together = np.concatenate([found[i][0], mine[near]]), np.concatenate([found[i][1], numbers[near]])
                keep = together[0] >= best_enough(together[0], k)
                found[i] = together[0][keep], together[1][keep]
            self.rows.let_go()
        return [rescored(self.rows, query, objects, k) for query, (_, objects) in zip(queries, found, strict=True)]

    def _scores(self, objects: slice | IntArray, queries: Float32Array) -> Float32Array:
        """(Q, n) best score of each object's rows."""
        values = self.rows.values[objects].astype(np.float32)
        each = queries @ values.reshape(-1, values.shape[2]).T
        scaled = each.reshape(len(queries), *values.shape[:2]) * self.rows.inverse_norms[objects]
        best: Float32Array = scaled.max(axis=2)
        return best


def rescored(
    rows: EmbeddingRows, query: Float32Array, objects: IntArray, k: int
) -> tuple[FloatArray, IntArray, IntArray]:
    """Scores in float64, objects and rows of the k best of some objects, best first; the lower number wins a tie."""
    objects = np.sort(objects)  # as a mapped file is read
    values = rows.values[objects].astype(np.float64)
    values /= np.linalg.norm(values, axis=2, keepdims=True)
    # Summed row by row, not by a matrix product, whose order of sums depends on where a row stands.
    each = (values * query.astype(np.float64)).sum(axis=2)
    best = each.argmax(axis=1)
    scores = each[np.arange(len(objects)), best]
    order = np.lexsort((objects, -scores))[:k]
    return scores[order], objects[order], best[order]


def best_enough(scores: npt.NDArray[Any], k: int) -> float:
    """Score from which on something may be among the k best; only what is allowed (finite) counts."""
    if len(scores) <= k:
        return float(np.finfo(np.float32).min)
    kth = float(np.partition(scores, len(scores) - k)[len(scores) - k])
    return max(kth - ROUNDING, float(np.finfo(np.float32).min))


def chunks(values: npt.NDArray[Any]) -> Iterator[slice]:
    """Runs of objects whose rows fit into memory once they are widened."""
    size = max(1, CHUNK_VALUES // max(1, int(np.prod(values.shape[1:]))))
    return (slice(i, min(i + size, len(values))) for i in range(0, len(values), size))


def _runs(values: npt.NDArray[Any], chosen: IntArray | None) -> Iterator[slice | IntArray]:
    if chosen is None:
        yield from chunks(values)
        return
    size = max(1, CHUNK_VALUES // max(1, int(np.prod(values.shape[1:]))))
    for i in range(0, len(chosen), size):
        yield chosen[i : i + size]


def _norms(values: npt.NDArray[Any]) -> FloatArray:
    norms: FloatArray = np.linalg.norm(values.astype(np.float64), axis=2)
    return norms


def _kept(values: npt.NDArray[Any], kind: RowType | None) -> npt.NDArray[Any]:
    """Values in the type in which they are kept."""
    name = values.dtype.name if kind is None else kind
    if name == "int8" and values.dtype != np.int8:
        return _to_bytes(values)
    if name not in ("float32", "float16", "int8"):
        name = "float32"
    return values if values.dtype.name == name else values.astype(name)


def _to_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    small = np.empty(values.shape, np.int8)
    for some in chunks(values):
        wide = values[some].astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = np.nan_to_num(wide / np.abs(wide).max(axis=2, keepdims=True) * 127, posinf=0, neginf=0)
        small[some] = np.round(scaled)  # rows without a direction become zero, and are refused as such
    return small
