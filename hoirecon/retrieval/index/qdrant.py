"""An index on a Qdrant server, for more objects than one machine holds; it answers as ``ObjectIndex`` does.

Qdrant (Apache-2.0) keeps the rows, on disk and a byte per value in memory, and the records as payload; filters act
inside its search. Candidates come with their rows and are scored again in float64 here, so that scores are exact and
equal ones come in the order of the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.errors import InputError, require
from hoirecon.retrieval.index.object_index import Hit, ObjectIndex
from hoirecon.retrieval.index.records import EVERYTHING, ObjectRecord, RecordFilter, plain_label
from hoirecon.retrieval.index.vectors import ROUNDING, Float32Array
from hoirecon.retrieval.protocols import EncoderId, ImageQuery, QueryEncoder, check_encoder, unit_rows

FORMAT = "hoirecon-qdrant-1"
_ABOUT = "-about"
_FIELDS = ("id", "label", "licence", "faces", "animations", "tags", "source")


@dataclass(frozen=True)
class QdrantConfig:
    """How a collection is made and searched."""

    batch: int = 256
    """Rows that are sent at once."""
    candidates: int = 4
    """Candidates per wanted object that are scored again."""
    least_candidates: int = 64
    """At least so many."""
    most_candidates: int = 16_384
    """Where so many are equally near, no more are asked for: those of the lowest numbers among them are given."""
    breadth: int = 256
    """Nodes of the graph that a search keeps in sight (``hnsw_ef``); more finds more and takes longer."""
    in_bytes: bool = True
    """Keep a byte per value in memory beside the rows on disk; else the rows themselves in memory."""
    shards: int | None = None
    """Parts that the server spreads over its machines; None: its usual number."""
    replicas: int | None = None
    """Copies of each part; None: its usual number."""

    def __post_init__(self) -> None:
        if min(self.batch, self.candidates, self.least_candidates, self.most_candidates, self.breadth) < 1:
            raise InputError("batch, candidates and breadth of a Qdrant index must be at least 1")


@dataclass(frozen=True)
class QdrantIndex:
    """Objects in a collection of a Qdrant server.

    Example:
        client = QdrantClient(url="http://localhost:6333")
        QdrantIndex.upload(ObjectIndex.load("idx/"), client, "objaverse")
        hits = QdrantIndex.open(client, "objaverse").search_with(encoder, [ImageQuery(image, mask)], k=5)[0]
    """

    client: Any
    """A ``qdrant_client.QdrantClient``; who makes it says where the server is and how to log in."""
    collection: str
    """Name of the collection; what is known of the index as a whole is in a second one, its name and "-about"."""
    encoder: EncoderId
    """Which encoder made the embeddings."""
    objects: int
    """How many there are."""
    rows_per_object: int
    """Embeddings of each."""
    config: QdrantConfig = QdrantConfig()
    """How it is searched."""

    @classmethod
    def upload(
        cls, index: ObjectIndex, client: Any, collection: str, config: QdrantConfig | None = None
    ) -> QdrantIndex:
        """Send an index to a server; a collection that is there already is refused.

        An object without a record, which is never found, is not sent.

        Raises:
            InputError: there is such a collection.
            MissingExtraError: qdrant-client is not installed (extra "qdrant").
        """
        config = config or QdrantConfig()
        if client.collection_exists(collection) or client.collection_exists(collection + _ABOUT):
            raise InputError(f"the server has a collection '{collection}' already: delete it, or choose another name")
        _create(client, collection, index.encoder.dim, config)
        for points in _points(index, config.batch):
            client.upsert(collection, points, wait=True)
        each = int(index.rows.values.shape[1])
        made = cls(client, collection, index.encoder, len(index), each, config)
        made._write_about()  # last: a collection without it is one whose sending was cut off
        return made

    @classmethod
    def open(cls, client: Any, collection: str, config: QdrantConfig | None = None) -> QdrantIndex:
        """An index that :meth:`upload` sent.

        Raises:
            InputError: there is none of that name, or it was not sent whole.
        """
        about = None
        if client.collection_exists(collection) and client.collection_exists(collection + _ABOUT):
            found = client.retrieve(collection + _ABOUT, [0], with_payload=True)
            about = found[0].payload if found else None
        if not about or about.get("format") != FORMAT:
            raise InputError(f"the server has no whole index '{collection}': send it with QdrantIndex.upload")
        try:
            encoder = EncoderId(str(about["encoder"]), int(about["dim"]), str(about["weights"]))
            return cls(
                client,
                collection,
                encoder,
                int(about["objects"]),
                int(about["rows_per_object"]),
                config or QdrantConfig(),
            )
        except (KeyError, TypeError, ValueError) as err:
            raise InputError(f"what the server says about '{collection}' is damaged ({err}): send it again") from err

    def __len__(self) -> int:
        return self.objects

    def labels(self) -> list[str]:
        """All labels, sorted."""
        return sorted({str(p.payload["label"]) for p in self._scroll(["label"]) if p.payload.get("label") is not None})

    def named(self, where: RecordFilter, k: int) -> list[Hit]:
        """The first ``k`` objects that pass a filter, in the order of the index; score 1."""
        condition = _condition(where)
        if condition is None:
            return []
        found = {int(p.payload["number"]): p.payload for p in self._scroll(True, condition)}
        return [Hit(_record(found[number]), 1.0, 0, number) for number in sorted(found)[:k]]

    def search(
        self,
        queries: Float32Array,
        encoder: EncoderId,
        k: int = 5,
        *,
        where: RecordFilter = EVERYTHING,
        threshold: float = -np.inf,
    ) -> list[list[Hit]]:
        """The nearest objects of each query, best first; see ``ObjectIndex.search``, which it agrees with.

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
        condition = _condition(where)
        if condition is None or not self.objects:
            return [[] for _ in units]
        return [[hit for hit in self._nearest(unit, k, condition) if hit.score > threshold] for unit in units]

    def search_with(
        self,
        encoder: QueryEncoder,
        queries: Sequence[ImageQuery],
        k: int = 5,
        *,
        where: RecordFilter = EVERYTHING,
        threshold: float = -np.inf,
    ) -> list[list[Hit]]:
        """As :meth:`search`, for photographs and names."""
        if encoder.encoder_id != self.encoder:
            return self.search(np.zeros((0, self.encoder.dim), np.float32), encoder.encoder_id, k)
        return self.search(encoder.embed_queries(queries), self.encoder, k, where=where, threshold=threshold)

    def _nearest(self, query: Float32Array, k: int, condition: Any) -> list[Hit]:
        """The best objects of one query, scored in float64; the lower number wins a tie."""
        total = self.objects * self.rows_per_object
        wanted = max(self.config.candidates * k, self.config.least_candidates) * self.rows_per_object
        while True:
            wanted = min(wanted, total)
            points = self._candidates(query, wanted, condition)
            hits = _rescored(points, query)
            is_all = len(points) < wanted or wanted == total
            # What was not sent may be as near as the worst that was: then it may belong to the k best too.
            least = min((float(p.score) for p in points), default=0.0)
            if (
                is_all
                or wanted >= self.config.most_candidates
                or (len(hits) > k and hits[k - 1].score > least + ROUNDING)
            ):
                return hits[:k]
            wanted *= 4

    def _candidates(self, query: Float32Array, limit: int, condition: Any) -> list[Any]:
        from qdrant_client import models

        params = models.SearchParams(
            hnsw_ef=max(self.config.breadth, limit),
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0),
        )
        found = self.client.query_points(
            self.collection,
            query=query.tolist(),
            limit=limit,
            query_filter=condition,
            search_params=None if _is_local(self.client) else params,
            with_payload=True,
            with_vectors=True,
        )
        points: list[Any] = found.points
        return points

    def _scroll(self, fields: Any, condition: Any = None) -> Iterator[Any]:
        offset = None
        while True:
            points, offset = self.client.scroll(
                self.collection, condition, limit=1024, offset=offset, with_payload=fields, with_vectors=False
            )
            yield from points
            if offset is None:
                return

    def _write_about(self) -> None:
        from qdrant_client import models

        name = self.collection + _ABOUT
        size = models.VectorParams(size=1, distance=models.Distance.DOT)
        self.client.create_collection(name, size)
        about = {
            "format": FORMAT,
            "encoder": self.encoder.name,
            "dim": self.encoder.dim,
            "weights": self.encoder.weights,
            "objects": self.objects,
            "rows_per_object": self.rows_per_object,
        }
        self.client.upsert(name, [models.PointStruct(id=0, vector=[0.0], payload=about)], wait=True)


def _create(client: Any, collection: str, dim: int, config: QdrantConfig) -> None:
    require("qdrant_client", extra="qdrant")
    from qdrant_client import models

    in_bytes = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    )
    client.create_collection(
        collection,
        models.VectorParams(size=dim, distance=models.Distance.COSINE, on_disk=config.in_bytes),
        quantization_config=in_bytes if config.in_bytes else None,
        on_disk_payload=True,
        shard_number=config.shards,
        replication_factor=config.replicas,
    )
    if _is_local(client):  # it has no payload indices, and warns
        return
    for field in ("label", "licence", "tags"):
        client.create_payload_index(collection, field, models.PayloadSchemaType.KEYWORD)
    for field in ("faces", "animations"):
        client.create_payload_index(collection, field, models.PayloadSchemaType.INTEGER)


def _is_local(client: Any) -> bool:
    """Whether the client keeps everything itself, without a server."""
    return type(getattr(client, "_client", None)).__name__ == "QdrantLocal"


def _points(index: ObjectIndex, size: int) -> Iterator[list[Any]]:
    from qdrant_client import models

    values, each = index.rows.values, int(index.rows.values.shape[1])
    waiting: list[Any] = []
    for number, record in index.records.numbered():
        payload = _payload(record, number)
        for row in range(each):
            vector = values[number, row].astype(np.float32)  # as it is: its direction counts, and Qdrant makes it 1
            waiting.append(
                models.PointStruct(id=number * each + row, vector=vector.tolist(), payload=payload | {"row": row})
            )
            if len(waiting) == size:
                yield waiting
                waiting = []
    if waiting:
        yield waiting


def _payload(record: ObjectRecord, number: int) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(record, name) for name in _FIELDS if getattr(record, name) is not None}
    if record.label is not None:
        values["label"] = plain_label(record.label)
    return values | {"tags": list(record.tags), "number": number}


def _record(payload: Any) -> ObjectRecord:
    try:
        return ObjectRecord(
            **{name: payload.get(name) for name in _FIELDS if name != "tags"}, tags=tuple(payload["tags"])
        )
    except (KeyError, TypeError, AttributeError) as err:
        raise InputError(
            f"a record on the server is damaged ({type(err).__name__}: {err}): send the index again"
        ) from err


def _condition(where: RecordFilter) -> Any:
    """Qdrant's filter; None if nothing can pass."""
    from qdrant_client import models

    must: list[Any] = []
    for key, wanted in (("label", where.labels), ("licence", where.licences)):
        if wanted is not None:
            if not wanted:
                return None
            values = [plain_label(w) if key == "label" else w for w in wanted]
            must.append(models.FieldCondition(key=key, match=models.MatchAny(any=values)))
    must += [models.FieldCondition(key="tags", match=models.MatchValue(value=tag)) for tag in where.tags]
    for key, low, high in (("faces", where.min_faces, where.max_faces), ("animations", None, where.max_animations)):
        if low is not None or high is not None:
            must.append(models.FieldCondition(key=key, range=models.Range(gte=low, lte=high)))
    return models.Filter(must=must)


def _rescored(points: Sequence[Any], query: Float32Array) -> list[Hit]:
    """Hits of points, best first, each object once by its best row."""
    if not points:
        return []
    rows = np.array([p.vector for p in points], dtype=np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    # The server keeps float32 rows of length 1; what differs less than it can tell counts as equal.
    scores = (rows * query.astype(np.float64)).sum(axis=1).round(6)
    best: dict[int, tuple[float, int, Any]] = {}
    for score, point in zip(scores.tolist(), points, strict=True):
        number, row = int(point.payload["number"]), int(point.payload["row"])
        mine = best.get(number)
        if mine is None or (-score, row) < (-mine[0], mine[1]):
            best[number] = (score, row, point.payload)
    order = sorted(best, key=lambda number: (-best[number][0], number))
    return [Hit(_record(best[n][2]), best[n][0], best[n][1], n) for n in order]
