"""What Qdrant's adapter says of collections that are there, missing or cut off; the rest is the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hoirecon.errors import InputError
from hoirecon.retrieval.galleries import IndexGallery
from hoirecon.retrieval.index.qdrant import QdrantConfig, QdrantIndex
from hoirecon.retrieval.protocols import ImageQuery
from tests.retrieval.index_cases import WHO, clustered, index_of

qdrant_client = pytest.importorskip("qdrant_client")


@pytest.fixture
def client() -> Iterator[Any]:
    """The client's local mode, in memory."""
    made = qdrant_client.QdrantClient(":memory:")
    yield made
    made.close()


def test_collections_are_not_overwritten_and_must_be_whole(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no whole index 'things'"):
        QdrantIndex.open(client, "things")
    QdrantIndex.upload(index_of(5), client, "things")
    with pytest.raises(InputError, match="'things' already"):
        QdrantIndex.upload(index_of(5), client, "things")
    client.set_payload("things-about", {"weights": "x"}, points=[0])
    with pytest.raises(InputError, match="damaged"):
        QdrantIndex.open(client, "things")

    def cut_off(*_: Any, **__: Any) -> None:
        raise ConnectionError("cable out")

    monkeypatch.setattr(QdrantIndex, "_write_about", cut_off)
    with pytest.raises(ConnectionError):
        QdrantIndex.upload(index_of(5), client, "half")
    with pytest.raises(InputError, match="no whole index 'half'"):
        QdrantIndex.open(client, "half")
    with pytest.raises(InputError, match="at least 1"):
        QdrantConfig(batch=0)


def test_a_retriever_looks_through_it(client: Any) -> None:
    class FirstRow:
        encoder_id = WHO

        def embed_queries(self, queries: Any) -> Any:
            return clustered(600)[:1, 0]

    index = QdrantIndex.upload(index_of(), client, "things")
    hits = IndexGallery(index, FirstRow()).find(ImageQuery(clustered_image()), 3)
    assert hits[0].record.id == "object 0"
    assert hits == index.search(clustered(600)[0], WHO, 3)[0]


def clustered_image() -> Any:
    """Any image."""
    import numpy as np

    return np.zeros((4, 4, 3), np.uint8)
