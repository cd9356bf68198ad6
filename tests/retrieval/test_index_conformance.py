"""What every index must do, wherever its rows are: exact, faiss, Qdrant (its client alone; a server if there is one).

The server is ``QDRANT_URL``, or is started from the ``qdrant`` binary if that is on the path. The client's local mode
is no server: it keeps all rows in this process, searches them exactly, and so tests the adapter but not a server.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.retrieval.index.faiss_search import FaissConfig, FaissSearch
from hoirecon.retrieval.index.object_index import ObjectIndex
from hoirecon.retrieval.index.qdrant import QdrantConfig, QdrantIndex
from hoirecon.retrieval.index.records import ObjectRecord, RecordFilter
from hoirecon.retrieval.protocols import ImageQuery
from tests.retrieval.index_cases import OTHER, WHO, clustered, index_of, records

KINDS = ("exact", "faiss flat", "faiss lists", "qdrant client, local mode", "qdrant server")


class Backend:
    """Puts an index somewhere, and opens it again from where it was saved."""

    def __init__(self, kind: str, folder: Path, server: str | None) -> None:
        self.kind, self.folder, self.server = kind, folder, server
        self.local: dict[str, str] = {"location": ":memory:"}
        self._names: list[str] = []
        self._clients: list[Any] = []

    def __call__(self, index: ObjectIndex) -> Any:
        if self.kind == "exact":
            return index
        if self.kind.startswith("faiss"):
            pytest.importorskip("faiss")
            lists = 0 if self.kind == "faiss flat" else 16
            config = FaissConfig(lists=lists, probes=8)
            return index.searched_by(lambda rows: FaissSearch.build(rows, config)) if len(index) else index
        self._names.append(f"test-{uuid.uuid4().hex[:12]}")
        return QdrantIndex.upload(index, self._client(), self._names[-1], QdrantConfig(batch=100))

    def saved_and_opened(self, index: ObjectIndex) -> Any:
        """The index after it was written and read again."""
        if "qdrant" in self.kind:
            self.local = {"path": str(self.folder / "qdrant")}
            if self.server is None:
                self._close_clients()
            self(index)
            if self.server is None:
                self._close_clients()
            return QdrantIndex.open(self._client(), self._names[-1])
        index.save(self.folder / "idx")
        return self(ObjectIndex.load(self.folder / "idx", verify=True))

    def _client(self) -> Any:
        qdrant_client = pytest.importorskip("qdrant_client")
        if self.server is not None:
            client = qdrant_client.QdrantClient(url=self.server)
        elif self._clients:
            return self._clients[-1]
        else:
            client = qdrant_client.QdrantClient(**self.local)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Leave nothing on a server."""
        for client in self._clients[-1:]:
            for name in self._names if self.server is not None else ():
                client.delete_collection(name)
                client.delete_collection(f"{name}-about")
        self._close_clients()

    def _close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Address of a Qdrant server; None if there is none."""
    if url := os.environ.get("QDRANT_URL"):
        yield url
        return
    binary = shutil.which("qdrant")
    if binary is None:
        yield None
        return
    folder = tmp_path_factory.mktemp("qdrant")
    ports = [_free_port(), _free_port()]
    settings = {"QDRANT__SERVICE__HTTP_PORT": str(ports[0]), "QDRANT__SERVICE__GRPC_PORT": str(ports[1]),
                "QDRANT__STORAGE__STORAGE_PATH": str(folder), "QDRANT__TELEMETRY_DISABLED": "true"}  # fmt: skip
    process = subprocess.Popen([binary], cwd=folder, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{ports[0]}"
        _wait_for(url + "/readyz")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(url: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer in {seconds:.0f} s")


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every backend in turn."""
    url = None
    if request.param == "qdrant server":
        url = request.getfixturevalue("server")
        if url is None:
            pytest.skip("no Qdrant server: set QDRANT_URL, or put the qdrant binary on the path")
    backend = Backend(request.param, tmp_path, url)
    yield backend
    backend.close()


def test_nearly_all_of_the_nearest_are_found(make: Backend) -> None:
    index = index_of(1500)
    fast = make(index)
    queries = clustered(40, seed=5)[:, 0]
    exact = [[hit.number for hit in hits] for hits in index.search(queries, WHO, 10)]
    found = [[hit.number for hit in hits] for hits in fast.search(queries, WHO, 10)]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall >= 0.95
    for hit, again in zip(index.search(queries[0], WHO)[0], fast.search(queries[0], WHO)[0], strict=True):
        assert hit.score == pytest.approx(again.score, abs=2e-6)
        assert (hit.record, hit.row, hit.number) == (again.record, again.row, again.number)


def test_several_rows_of_an_object_count_once_by_the_best(make: Backend) -> None:
    index = index_of(300, 6)
    target = index.rows.values[17, 4]
    hits = make(index).search(target, WHO, 20)[0]
    assert (hits[0].number, hits[0].row) == (17, 4)
    assert hits[0].score == pytest.approx(1, abs=1e-6)
    assert len({hit.number for hit in hits}) == len(hits) == 20


def test_filters_hold_always(make: Backend) -> None:
    index = make(index_of(900))
    cases: list[tuple[RecordFilter, Callable[[ObjectRecord], bool]]] = [
        (RecordFilter(labels=("OFFICE  chair",)), lambda r: r.label == "office chair"),
        (RecordFilter(licences=("by", "CC0-1.0")), lambda r: r.licence in ("by", "CC0-1.0")),
        (RecordFilter(tags=("wood", "old")), lambda r: r.tags == ("wood", "old")),
        (RecordFilter(min_faces=100, max_faces=150), lambda r: 100 <= (r.faces or 0) <= 150),
        (RecordFilter(max_animations=0, labels=("lamp",)), lambda r: r.animations == 0 and r.label == "lamp"),
        (RecordFilter(labels=()), lambda r: False),
        (RecordFilter(labels=("'; DROP TABLE objects; --",)), lambda r: False),
    ]
    known = list(index_of(900).records)
    for where, passes in cases:
        hits = index.search(clustered(1, seed=7)[0, 0], WHO, 30, where=where)[0]
        assert all(passes(hit.record) for hit in hits)
        assert len(hits) == min(30, sum(passes(record) for record in known))
        assert [hit.record for hit in index.named(where, 7)] == [r for r in known if passes(r)][:7]
    assert index.labels() == ["lamp", "office chair"]


def test_what_is_unknown_of_an_object_does_not_pass(make: Backend) -> None:
    index = make(ObjectIndex.of(WHO, clustered(3), [ObjectRecord("a"), None, ObjectRecord("c", faces=5)]))
    query = clustered(1, seed=7)[0, 0]
    assert {hit.record.id for hit in index.search(query, WHO)[0]} == {"a", "c"}
    for where in (RecordFilter(max_faces=9), RecordFilter(min_faces=1)):
        assert [hit.record.id for hit in index.search(query, WHO, where=where)[0]] == ["c"]
    assert index.search(query, WHO, where=RecordFilter(max_animations=3))[0] == []


def test_equal_embeddings_come_in_the_order_of_the_index(make: Backend) -> None:
    values = np.repeat(clustered(1), 300, 0)
    values[::2] *= 4  # length does not count
    index = make(ObjectIndex.of(WHO, values, records(300)))
    for k in (1, 7, 299, 999):
        assert [hit.number for hit in index.search(values[0, 0], WHO, k)[0]] == list(range(min(k, 300)))


def test_more_than_there_are_and_thresholds(make: Backend) -> None:
    plain = index_of(20)
    index = make(plain)
    query = plain.rows.values[3, 0]
    assert len(index.search(query, WHO, 500)[0]) == 20
    above = index.search(query, WHO, 500, threshold=0.5)[0]
    assert 1 <= len(above) < 20
    assert all(hit.score > 0.5 for hit in above)
    assert index.search(np.zeros((0, 16)), WHO) == []


def test_an_empty_index_finds_nothing(make: Backend) -> None:
    index = make(ObjectIndex.of(WHO, np.zeros((0, 1, 16), np.float32), []))
    assert len(index) == 0
    assert index.search(np.ones(16), WHO) == [[]]
    assert index.labels() == []


def test_another_encoders_query_is_refused(make: Backend) -> None:
    index = make(index_of(20))
    with pytest.raises(InputError, match=r"made by someone \(16-d, weights 0+\) and this came from .* weights 1+"):
        index.search(np.ones(16), OTHER)
    for query, said in ((np.zeros(16), "no direction"), (np.full(16, np.nan), "no direction"), (np.ones(15), "shape")):
        with pytest.raises(InputError, match=said):
            index.search(query, WHO)
    with pytest.raises(InputError, match="k is 0"):
        index.search(np.ones(16), WHO, 0)

    class Never:
        encoder_id = OTHER

        def embed_queries(self, queries: Any) -> Any:
            raise AssertionError("embedded in vain")

    with pytest.raises(InputError, match="different encoders"):
        index.search_with(Never(), [ImageQuery(label="x")])


def test_it_comes_back_as_it_was(make: Backend) -> None:
    index = index_of(60, 2)
    query = clustered(1, seed=3)[0, 0]
    before = make(index).search(query, WHO, 60)[0]
    again = make.saved_and_opened(index)
    assert (len(again), again.encoder, again.labels()) == (60, WHO, ["lamp", "office chair"])
    for hit, was in zip(again.search(query, WHO, 60)[0], before, strict=True):
        assert (hit.record, hit.row, hit.number) == (was.record, was.row, was.number)
        assert hit.score == pytest.approx(was.score, abs=2e-6)
