"""An index of objects: embeddings, records, and the name of the encoder that made them; in memory or as a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.files import atomic_folder, read_json, write_json
from hoirecon.retrieval.hashing import file_hash
from hoirecon.retrieval.index.records import EVERYTHING, ObjectRecord, RecordFilter, RecordStore
from hoirecon.retrieval.index.vectors import EmbeddingRows, ExactSearch, Float32Array, RowType, VectorSearch
from hoirecon.retrieval.protocols import (
    EncoderId,
    ImageQuery,
    QueryEncoder,
    Shape,
    ShapeEncoder,
    check_encoder,
    unit_rows,
)

MANIFEST = "index.json"
"""File that marks a saved index."""
ROWS, NORMS, RECORDS = "rows.npy", "inverse_norms.npy", "records.sqlite"
FORMAT = "hoirecon-index-1"
BUILD_BATCH = 32
"""Shapes that are embedded between two reports of progress."""


@dataclass(frozen=True)
class Hit:
    """One object that was found."""

    record: ObjectRecord
    """What is known of it, its licence and source among it."""
    score: float
    """Cosine of query and embedding (of its best row, if an object has several)."""
    row: int
    """Which of the object's rows was the best: the view, in a gallery of views; else 0."""
    number: int
    """Its place in the index."""
    rotations: FloatArray | None = field(default=None, compare=False)
    """(N, 3, 3) first guesses ``R_cam_source`` of how it is turned, best first; None where nothing is known."""


@dataclass(frozen=True)
class ObjectIndex:
    """Objects that can be found by embeddings of one encoder.

    Example:
        index = ObjectIndex.build(encoder, meshes, records)
        index.save("idx/")
        hits = ObjectIndex.load("idx/").search_with(encoder, [ImageQuery(image, mask)], k=5)[0]
    """

    encoder: EncoderId
    """Which encoder made the embeddings."""
    rows: EmbeddingRows
    """The embeddings."""
    records: RecordStore
    """What is known of each object."""
    search_rows: VectorSearch
    """How they are searched: exactly, unless something faster was put in its place."""

    @classmethod
    def of(
        cls,
        encoder: EncoderId,
        embeddings: npt.NDArray[Any],
        records: Sequence[ObjectRecord | None],
        kind: RowType | None = None,
    ) -> ObjectIndex:
        """An index from embeddings that are there already.

        Args:
            encoder: which encoder made them.
            embeddings: (N, dim) or (N, R, dim), of any length.
            records: N records; an object whose record is None is never found.
            kind: how embeddings are kept; None keeps their type.

        Raises:
            InputError: counts or widths that do not agree, embeddings without a direction, or ids that repeat.
        """
        rows = EmbeddingRows.of(embeddings, kind)
        if rows.dim != encoder.dim or len(rows) != len(records):
            raise InputError(
                f"{len(rows)} embeddings of {rows.dim} values came with {len(records)} records for {encoder}: expected "
                "one record for each, and the encoder's width"
            )
        return cls(encoder, rows, RecordStore.of(records), ExactSearch(rows))

    @classmethod
    def build(
        cls,
        encoder: ShapeEncoder,
        shapes: Iterable[Shape],
        records: Sequence[ObjectRecord],
        kind: RowType | None = None,
        report: Callable[[int], None] | None = None,
    ) -> ObjectIndex:
        """An index of meshes.

        Args:
            encoder: what embeds them.
            shapes: meshes, y up, read one after the other.
            records: one for each, in the same order.
            kind: how embeddings are kept.
            report: called with the number of shapes that are done.

        Raises:
            InputError: more or fewer shapes than records.
        """
        parts, waiting, done = [], [], 0
        for shape in shapes:
            waiting.append(shape)
            if len(waiting) == BUILD_BATCH:
                parts.append(encoder.embed_shapes(waiting))
                done, waiting = done + len(waiting), []
                if report is not None:
                    report(done)
        parts.append(encoder.embed_shapes(waiting))
        if report is not None and waiting:
            report(done + len(waiting))
        return cls.of(encoder.encoder_id, np.concatenate(parts), records, kind)

    def __len__(self) -> int:
        return len(self.rows)

    def with_added(
        self, encoder: EncoderId, embeddings: npt.NDArray[Any], records: Sequence[ObjectRecord]
    ) -> ObjectIndex:
        """This index and more objects, searched exactly.

        Raises:
            InputError: another encoder's embeddings, or as :meth:`of`.
        """
        check_encoder(self.encoder, encoder)
        more = ObjectIndex.of(encoder, embeddings, records)
        rows, store = self.rows.joined(more.rows), self.records.copy()
        store.append(records, len(self))
        return ObjectIndex(self.encoder, rows, store, ExactSearch(rows))

    def labels(self) -> list[str]:
        """All labels of its objects, sorted."""
        return self.records.labels()

    def named(self, where: RecordFilter, k: int) -> list[Hit]:
        """The first ``k`` objects that pass a filter, in the order of the index, without any embedding; score 1."""
        numbers = np.flatnonzero(self.records.passing(where, len(self)))[:k]
        pairs = zip(self.records.read(numbers), numbers.tolist(), strict=True)
        return [Hit(record, 1.0, 0, number) for record, number in pairs]

    def searched_by(self, make: Callable[[EmbeddingRows], VectorSearch]) -> ObjectIndex:
        """The same index with another search over its rows, such as ``FaissSearch.build``."""
        return ObjectIndex(self.encoder, self.rows, self.records, make(self.rows))

    def search(
        self,
        queries: Float32Array,
        encoder: EncoderId,
        k: int = 5,
        *,
        where: RecordFilter = EVERYTHING,
        threshold: float = -np.inf,
    ) -> list[list[Hit]]:
        """The nearest objects of each query, best first; objects of equal score in the order of the index.

        Args:
            queries: (Q, dim) or (dim,) embeddings, of any length.
            encoder: which encoder made them.
            k: at most so many each.
            where: which objects may be found.
            threshold: only objects with a higher score.

        Raises:
            InputError: another encoder's queries, another width, or a query that is zero, NaN or infinite.
        """
        check_encoder(self.encoder, encoder)
        if k < 1:
            raise InputError(f"k is {k}, expected at least 1")
        given = np.atleast_2d(queries)
        if given.ndim != 2 or given.shape[1] != self.encoder.dim:
            raise InputError(f"queries have shape {np.shape(queries)}, expected (Q, {self.encoder.dim})")
        units = unit_rows(given, "queries") if len(given) else np.zeros((0, self.encoder.dim), np.float32)
        if not len(self):
            return [[] for _ in units]
        allowed = None
        if not where.is_empty or len(self.records) < len(self):
            allowed = self.records.passing(where, len(self))
        found = self.search_rows.search(units, min(k, len(self)), allowed)
        return [self._hits(*one, threshold) for one in found]

    def search_with(
        self,
        encoder: QueryEncoder,
        queries: Sequence[ImageQuery],
        k: int = 5,
        *,
        where: RecordFilter = EVERYTHING,
        threshold: float = -np.inf,
    ) -> list[list[Hit]]:
        """As :meth:`search`, for photographs and names; refused before anything is embedded if the encoder differs."""
        check_encoder(self.encoder, encoder.encoder_id)
        embedded = encoder.embed_queries(queries)
        return self.search(embedded, encoder.encoder_id, k, where=where, threshold=threshold)

    def save(self, folder: str | Path, also: Mapping[str, Any] | None = None) -> Path:
        """Write the index as a folder, whole or not at all; an earlier save there is replaced.

        A faster search is not written: it is made again from the rows (see ``searched_by``), or saved by itself.

        Args:
            folder: where.
            also: plain values by the name of the JSON file that they are written to, beside the index.

        Raises:
            InputError: the folder cannot be written, or holds something else.
        """
        with atomic_folder(folder, MANIFEST) as out:
            np.save(out / ROWS, np.ascontiguousarray(self.rows.values), allow_pickle=False)
            np.save(out / NORMS, self.rows.inverse_norms, allow_pickle=False)
            self.records.save(out / RECORDS)
            for name, value in (also or {}).items():
                write_json(out / name, value)
            write_json(out / MANIFEST, self._manifest(out))
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path, *, verify: bool = False) -> ObjectIndex:
        """An index that :meth:`save` wrote; its rows are mapped, not read.

        Args:
            folder: the folder.
            verify: whether to hold every file against its hash first.

        Raises:
            InputError: not such a folder, or its files do not fit together.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        if verify:
            _check_hashes(folder, manifest)
        encoder = _encoder_of(manifest, folder)
        values, norms = _mapped(folder / ROWS, "r"), np.asarray(_mapped(folder / NORMS, "r"))
        expected = (manifest.get("objects"), manifest.get("rows_per_object"), encoder.dim)
        if values.shape != expected or values.dtype.name != manifest.get("kind") or norms.shape != expected[:2]:
            raise InputError(
                f"the rows of {folder} have shape {values.shape}, expected {expected}: copy it again, whole"
            )
        rows = EmbeddingRows(values, norms.astype(np.float32))
        return cls(encoder, rows, RecordStore.open(folder / RECORDS), ExactSearch(rows))

    def _hits(self, scores: Any, numbers: Any, rows: Any, threshold: float) -> list[Hit]:
        keep = scores > threshold
        records = self.records.read(numbers[keep])
        values = zip(records, scores[keep].tolist(), rows[keep].tolist(), numbers[keep].tolist(), strict=True)
        return [Hit(*value) for value in values]

    def _manifest(self, folder: Path) -> dict[str, Any]:
        try:
            made_with = version("hoirecon")
        except PackageNotFoundError:
            made_with = "unknown"
        return {
            "format": FORMAT,
            "encoder": {"name": self.encoder.name, "dim": self.encoder.dim, "weights": self.encoder.weights},
            "objects": len(self.rows),
            "rows_per_object": int(self.rows.values.shape[1]),
            "kind": self.rows.kind,
            "metric": "cosine",
            "made_with": made_with,
            "sha256": {name: file_hash(folder / name) for name in (ROWS, NORMS, RECORDS)},
        }


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} holds no {MANIFEST}: give a folder that ObjectIndex.save wrote")
    manifest = read_json(folder / MANIFEST, max_bytes=1 << 20)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{folder / MANIFEST} is not a manifest of format {FORMAT}: build the index again")
    return manifest


def _encoder_of(manifest: dict[str, Any], folder: Path) -> EncoderId:
    value = manifest.get("encoder")
    try:
        return EncoderId(str(value["name"]), int(value["dim"]), str(value["weights"]))  # type: ignore[index]
    except (TypeError, KeyError, ValueError) as err:
        raise InputError(f"{folder / MANIFEST} names no encoder ({err}): build the index again") from err


def _check_hashes(folder: Path, manifest: dict[str, Any]) -> None:
    hashes = manifest.get("sha256")
    for name in (ROWS, NORMS, RECORDS):
        path = folder / name
        if not path.is_file() or not isinstance(hashes, dict) or file_hash(path) != hashes.get(name):
            raise InputError(f"{path} is not what was written (another sha256): copy the index again, whole")


def _mapped(path: Path, mode: Any) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError) as err:
        raise InputError(f"{path} cannot be read ({str(err)[:120]}): copy the index again, whole") from err
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fi":
        raise InputError(f"{path} holds no numbers: build the index again")
    return array
