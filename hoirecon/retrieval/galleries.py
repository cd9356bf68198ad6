"""What a retriever looks through: the object library by its embedded networks, or an index by its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.data.objects.catalog import get_category
from hoirecon.data.objects.library import list_objects
from hoirecon.errors import InputError
from hoirecon.retrieval.index.object_index import Hit
from hoirecon.retrieval.index.records import EVERYTHING, ObjectRecord, RecordFilter, RecordStore
from hoirecon.retrieval.label_matching import TextVector, text_vectors
from hoirecon.retrieval.protocols import EncoderId, Float32Array, ImageQuery, QueryEncoder, TextEmbedder
from hoirecon.retrieval.sources import LIBRARY


@runtime_checkable
class Gallery(Protocol):
    """Objects that can be found by photograph, mask and name."""

    def labels(self) -> list[str]:
        """All labels of its objects, sorted."""
        ...

    def find(self, query: ImageQuery, k: int, where: RecordFilter = EVERYTHING) -> list[Hit]:
        """At most ``k`` objects that pass the filter, best first."""
        ...


class SearchableIndex(Protocol):
    """What is asked of an index, wherever its rows are: ``ObjectIndex``, or ``QdrantIndex`` on other machines."""

    @property
    def encoder(self) -> EncoderId:
        """Which encoder made the embeddings."""
        ...

    def __len__(self) -> int:
        """How many objects there are."""
        ...

    def labels(self) -> list[str]:
        """All labels, sorted."""
        ...

    def named(self, where: RecordFilter, k: int) -> list[Hit]:
        """Objects that pass a filter, in the order of the index."""
        ...

    def search(
        self,
        queries: Float32Array,
        encoder: EncoderId,
        k: int = 5,
        *,
        where: RecordFilter = EVERYTHING,
        threshold: float = -np.inf,
    ) -> list[list[Hit]]:
        """The nearest objects of each query, best first."""
        ...


@dataclass(frozen=True)
class IndexGallery:
    """An index with the encoder that made it."""

    index: SearchableIndex
    """What is searched."""
    encoder: QueryEncoder
    """Turns queries into embeddings."""
    view_rotations: FloatArray | None = None
    """(R, 3, 3) R_cam_source of each row of an object, if its rows are views: the nearest view is a first guess."""

    def __post_init__(self) -> None:
        if self.encoder.encoder_id != self.index.encoder:
            raise InputError(
                f"the index was made by {self.index.encoder} and the encoder is {self.encoder.encoder_id}: embeddings "
                "of different encoders cannot be compared; load the index's encoder, or build the index again"
            )

    def labels(self) -> list[str]:
        """All labels of its objects, sorted."""
        return self.index.labels()

    @cached_property
    def text_vector(self) -> TextVector | None:
        """Vectors of names by the encoder's text tower; None if it has none."""
        inner: Any = self.encoder
        for part in ("embedder", "clip"):  # of a gallery of views, of OpenShape
            inner = getattr(inner, part, None) or inner
        has_words = isinstance(inner, TextEmbedder) and getattr(inner, "tokenizer", True) is not None
        return text_vectors(inner) if has_words else None

    def find(self, query: ImageQuery, k: int, where: RecordFilter = EVERYTHING) -> list[Hit]:
        """See :class:`Gallery`; a name alone, without a text tower, gives the objects that pass in their order."""
        if query.image is None and self.text_vector is None:
            if where.labels is None:
                raise InputError(f"{self.encoder.encoder_id} embeds no texts: give an image and a mask")
            return self.index.named(where, k)
        embedded = self.encoder.embed_queries([query])
        hits = self.index.search(embedded, self.encoder.encoder_id, k, where=where)[0]
        return [self._turned(hit) for hit in hits]

    def _turned(self, hit: Hit) -> Hit:
        if self.view_rotations is None or hit.row >= len(self.view_rotations):
            return hit
        return replace(hit, rotations=self.view_rotations[hit.row][None])


class MaskRanker(Protocol):
    """Ranks meshes of the library by how well they explain a mask."""

    def rank(self, mask: BoolArray, candidates: Sequence[str] | None, k: int) -> Sequence[Any]:
        """At most ``k`` of the candidates (ids; None: all), best first.

        Each has ``name``, ``score`` and ``rotations``, (N, 3, 3) ``R_cam_obj``.
        """
        ...


@dataclass(frozen=True)
class LibraryGallery:
    """The object library: by name alone, and by the object's mask where a ranker of masks is there."""

    ranker: MaskRanker | None = None
    """Compares masks; None: the order of the library, each category's usual mesh first."""
    typical: float = 0.0
    """What is added to the score of each category's usual mesh when the category is known: how much better another
    must look to be chosen instead."""
    store: RecordStore = field(default_factory=lambda: RecordStore.of(library_records()), repr=False, compare=False)
    """Records of all meshes."""

    def labels(self) -> list[str]:
        """The names of the categories that have a mesh."""
        return self.store.labels()

    def find(self, query: ImageQuery, k: int, where: RecordFilter = EVERYTHING) -> list[Hit]:
        """See :class:`Gallery`.

        Raises:
            InputError: nothing but an image is known: masks are compared, not colours.
        """
        records = list(self.store)
        numbers = np.flatnonzero(self.store.passing(where, len(records)))
        by_id = {records[i].id: int(i) for i in numbers}
        if not by_id:
            return []
        if query.mask is None or self.ranker is None:
            if where.labels is None:
                raise InputError("the library is searched by an object's mask or its name: give mask= or label=")
            ids = sorted(by_id, key=lambda name: (not _is_usual(name), by_id[name]))
            return [Hit(records[by_id[name]], 1.0, 0, by_id[name]) for name in ids[:k]]
        # All are ranked where the usual one gets its bonus: it may be the last by looks alone.
        bonus = self.typical if where.labels is not None else 0.0
        found = self.ranker.rank(query.mask, list(by_id), len(by_id) if bonus else k)
        scored = [(float(r.score) + bonus * _is_usual(r.name), r) for r in found]
        scored.sort(key=lambda pair: -pair[0])
        return [Hit(records[by_id[r.name]], score, 0, by_id[r.name], _stacked(r.rotations)) for score, r in scored[:k]]


def library_records() -> list[ObjectRecord]:
    """A record of each mesh of the library."""
    return [
        ObjectRecord(
            entry.id,
            entry.category,
            entry.licence,
            entry.n_faces,
            0,
            (get_category(entry.category).group, entry.kind),
            LIBRARY + entry.id,
        )
        for entry in list_objects()
    ]


def _is_usual(name: str) -> bool:
    return get_category(name.split("/")[0]).default_id == name


def _stacked(rotations: Any) -> FloatArray | None:
    if rotations is None or not len(rotations):
        return None
    stacked: FloatArray = np.asarray(rotations, dtype=np.float64).reshape(-1, 3, 3)
    return stacked
