"""Indices: every search by the same rules, records and filters, and folders that come back as they were written."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.retrieval.index import object_index, vectors
from hoirecon.retrieval.index.faiss_search import FaissConfig, FaissSearch
from hoirecon.retrieval.index.object_index import ObjectIndex
from hoirecon.retrieval.index.records import ObjectRecord, RecordFilter, RecordStore
from hoirecon.retrieval.index.vectors import EmbeddingRows, ExactSearch
from hoirecon.retrieval.label_matching import match_labels, text_vectors, word_vectors
from hoirecon.retrieval.protocols import ImageQuery
from hoirecon.retrieval.view_gallery import ViewGalleryEncoder
from hoirecon.retrieval.view_rendering import ViewSet
from tests.retrieval.index_cases import OTHER, WHO, clustered, index_of, plain_search, records
from tests.retrieval.stand_ins import MeanColorAndWords, colored_box


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
@pytest.mark.parametrize("each", [1, 5])
@pytest.mark.parametrize("chunk", [1 << 24, 800])
def test_the_exact_scan_is_the_slow_twins(each: int, kind: Any, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "CHUNK_VALUES", chunk)
    index = index_of(600, each, kind)
    queries = clustered(7, seed=5)[:, 0]
    some = RecordFilter(labels=("office chair",))
    half = RecordFilter(max_animations=0)
    for where in (RecordFilter(), some, half):
        allowed = index.records.passing(where, len(index))
        for query, hits in zip(queries, index.search(queries, WHO, 9, where=where), strict=True):
            expected = plain_search(index.rows.values, query.astype(np.float64), 9, allowed)
            assert [hit.number for hit in hits] == expected
            assert [hit.record.id for hit in hits] == [f"object {i}" for i in expected]
            best = index.rows.values[hits[0].number].astype(float)
            cosines = best @ query / np.linalg.norm(best, axis=1) / np.linalg.norm(query)
            assert hits[0].row == cosines.argmax()
            assert abs(hits[0].score - cosines.max()) < 1e-6


def test_bytes_keep_directions() -> None:
    values = clustered(200, 2)
    small = EmbeddingRows.of(values, "int8")
    cosines = (values * small.values).sum(2) / np.linalg.norm(values, axis=2) * small.inverse_norms
    assert cosines.min() > 0.9999
    assert small.values.nbytes * 4 == values.nbytes


def test_an_encoder_is_asked_only_if_it_is_the_indexs() -> None:
    class Never:
        encoder_id = OTHER

        def embed_queries(self, queries: Any) -> Any:
            raise AssertionError("embedded in vain")

    with pytest.raises(InputError, match="different encoders"):
        index_of(5).search_with(Never(), [ImageQuery(label="x")])


def test_embeddings_without_a_direction_are_refused() -> None:
    for bad in (0.0, np.nan, np.inf):
        for kind in ("float32", "int8"):
            values = clustered(4)
            values[2] = bad
            with pytest.raises(InputError, match="object 2 is zero, NaN or infinite"):
                ObjectIndex.of(WHO, values, records(4), kind)
    for values, said in (
        (clustered(4)[..., :9], "expected one record"),
        (clustered(3), "3 embeddings"),
        (np.ones(4), "shape"),
    ):
        with pytest.raises(InputError, match=said):
            ObjectIndex.of(WHO, values, records(4))
    with pytest.raises(InputError, match="same id"):
        ObjectIndex.of(WHO, clustered(2), [ObjectRecord("a"), ObjectRecord("a")])


def test_an_empty_index_finds_nothing_and_grows() -> None:
    index = ObjectIndex.of(WHO, np.zeros((0, 1, 16), np.float32), [])
    assert index.search(np.ones(16), WHO) == [[]]
    grown = index.with_added(WHO, clustered(3), records(3)).with_added(
        WHO, clustered(2, seed=1), [ObjectRecord("x"), ObjectRecord("y")]
    )
    assert (len(index), len(grown), len(grown.records)) == (0, 5, 5)
    assert grown.search(grown.rows.values[4, 0], WHO, 1)[0][0].record.id == "y"
    with pytest.raises(InputError, match="same id"):
        grown.with_added(WHO, clustered(1), records(1))
    with pytest.raises(InputError, match="each, expected"):
        grown.with_added(WHO, clustered(1, 2), [ObjectRecord("z")])
    bytes_too = index_of(10, kind="int8").with_added(WHO, clustered(2), [ObjectRecord("x"), ObjectRecord("y")])
    assert bytes_too.rows.kind == "int8"


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_a_folder_comes_back_as_it_was(tmp_path: Path, kind: Any) -> None:
    index = index_of(60, 2, kind)
    query = clustered(1, seed=3)[0, 0]
    before = index.search(query, WHO, 60)
    index.save(tmp_path / "idx")
    again = ObjectIndex.load(tmp_path / "idx", verify=True)
    assert again.search(query, WHO, 60) == before
    assert isinstance(again.rows.values, np.memmap)
    assert list(again.records) == list(index.records)
    assert again.records.labels() == ["lamp", "office chair"]
    again.with_added(WHO, clustered(1, 2), [ObjectRecord("new")]).save(tmp_path / "idx")  # onto itself
    assert len(ObjectIndex.load(tmp_path / "idx", verify=True)) == 61
    assert sorted(p.name for p in tmp_path.iterdir()) == ["idx"]


def test_pages_of_large_files_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_of(60, 2).save(tmp_path / "idx")
    query = clustered(1, seed=3)[0, 0]
    before = ObjectIndex.load(tmp_path / "idx").search(query, WHO, 9)
    monkeypatch.setattr(vectors, "LET_GO_ABOVE", 0)
    given_back: list[int] = []
    original = EmbeddingRows.let_go

    def counted(rows: EmbeddingRows) -> None:
        given_back.append(len(rows))
        original(rows)

    monkeypatch.setattr(EmbeddingRows, "let_go", counted)
    again = ObjectIndex.load(tmp_path / "idx")
    assert again.search(query, WHO, 9) == before
    assert again.search(query, WHO, 9) == before  # and are there again when they are needed
    assert given_back


def test_a_failed_save_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_of(5).save(tmp_path / "idx")

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(object_index, "write_json", full)
    with pytest.raises(OSError, match="no space"):
        index_of(6).save(tmp_path / "idx")
    assert len(ObjectIndex.load(tmp_path / "idx", verify=True)) == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["idx"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="not empty"):
        index_of(5).save(tmp_path / "mine")


class Bomb:
    """Runs a function of the attacker's choice where pickle is trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_hostile_folders(tmp_path: Path) -> None:
    folder = tmp_path / "idx"

    def fresh() -> dict[str, Any]:
        index_of(5).save(folder)
        read: dict[str, Any] = json.loads((folder / "index.json").read_text())
        return read

    def refused(said: str, verify: bool = False) -> None:
        with pytest.raises(InputError, match=said):
            ObjectIndex.load(folder, verify=verify)

    fresh()
    np.save(folder / "rows.npy", np.array([Bomb(tmp_path / "exploded")], dtype=object), allow_pickle=True)
    refused("cannot be read")
    assert not (tmp_path / "exploded").exists()
    for name in ("rows.npy", "inverse_norms.npy", "records.sqlite"):
        fresh()
        (folder / name).write_bytes((folder / name).read_bytes()[:50])
        refused(r"another sha256", verify=True)
        refused(r"cannot be read|not a file of records")
    for change, said in (
        ({"format": "x"}, "not a manifest"), ({"encoder": None}, "names no encoder"), ({"objects": 6}, "have shape"),
        ({"encoder": {"name": "n", "dim": 16, "weights": "zz"}}, "names no encoder"), ({"kind": "int8"}, "have shape"),
    ):  # fmt: skip
        manifest = fresh()
        (folder / "index.json").write_text(json.dumps(manifest | change))
        refused(said)
    fresh()
    db = sqlite3.connect(folder / "records.sqlite")
    db.executescript("ALTER TABLE objects RENAME TO t; CREATE VIEW objects AS SELECT * FROM t")
    db.close()
    refused("no table")
    with pytest.raises(InputError, match=r"holds no index\.json"):
        ObjectIndex.load(tmp_path)


def test_records_of_a_file_stay_as_they_are(tmp_path: Path) -> None:
    RecordStore.of(records(3)).save(tmp_path / "r.sqlite")
    store = RecordStore.open(tmp_path / "r.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.append([ObjectRecord("new")], 3)
    with pytest.raises(InputError, match="row 7 has no record"):
        store.read([0, 7])
    with pytest.raises(InputError, match="no id"):
        ObjectRecord("")


def test_faiss_saves_and_loads(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    index = index_of(400)
    search = FaissSearch.build(index.rows, FaissConfig(lists=8, probes=8))
    search.save(tmp_path / "faiss.index")
    again = FaissSearch.load(tmp_path / "faiss.index", index.rows, search.config)
    query = clustered(2, seed=4)[:, 0]
    assert index.searched_by(lambda _: again).search(query, WHO) == index.searched_by(lambda _: search).search(
        query, WHO
    )
    with pytest.raises(InputError, match="which are not these"):
        FaissSearch.load(tmp_path / "faiss.index", index_of(399).rows)
    (tmp_path / "bad").write_bytes(b"abc" * 20)
    for name, said in (("bad", "not a file of faiss"), ("none", "does not exist")):
        with pytest.raises(InputError, match=said):
            FaissSearch.load(tmp_path / name, index.rows)


def test_recall_grows_with_the_lists_that_are_looked_into() -> None:
    pytest.importorskip("faiss")
    rows = EmbeddingRows.of(np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32))
    queries = np.random.default_rng(1).normal(size=(30, 16)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    truth = [set(objects.tolist()) for _, objects, _ in ExactSearch(rows).search(queries, 10)]
    built = FaissSearch.build(rows, FaissConfig(lists=32))
    recall = []
    for probes in (1, 4, 16, 32):
        found = FaissSearch(rows, built.faiss_index, FaissConfig(probes=probes)).search(queries, 10)
        recall.append(np.mean([len(t & set(o.tolist())) / 10 for t, (_, o, _) in zip(truth, found, strict=True)]))
    assert recall == sorted(recall)
    assert recall[0] < 0.8
    assert recall[-1] > 0.99


def test_an_index_needs_no_torch() -> None:
    code = "import sys, hoirecon.retrieval.index; sys.exit(bool({'torch', 'trimesh', 'faiss'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_from_meshes_to_hits() -> None:
    pytest.importorskip("open3d")
    encoder = ViewGalleryEncoder(MeanColorAndWords(), ViewSet(azimuths=3, size=16), "max")
    colors = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
    shapes = (colored_box(color) for color in colors.values())
    done: list[int] = []
    index = ObjectIndex.build(encoder, shapes, [ObjectRecord(name) for name in colors], "float16", done.append)
    assert done == [3]
    image = np.full((30, 30, 3), colors["blue"], np.uint8)
    hits = index.search_with(encoder, [ImageQuery(image), ImageQuery(label="green thing")], 2)
    assert [one[0].record.id for one in hits] == ["blue", "green"]
    with pytest.raises(InputError, match="expected one record"):
        ObjectIndex.build(encoder, [colored_box((1, 2, 3))], [])


def test_labels_by_words_and_by_texts() -> None:
    table = {"chair": [1.0, 0.0], "arm": [0.8, 0.6], "lamp": [0.0, 1.0], "zero": [0.0, 0.0]}
    labels = ["Lamp", "arm_chair", "CHAIR", "thingamajig", "zero"]
    found = match_labels("Chair", labels, word_vectors(table), 0.9)
    assert [(m.label, round(m.similarity, 3)) for m in found] == [("CHAIR", 1.0), ("arm_chair", 0.949)]
    assert match_labels("unheard", labels, word_vectors(table)) == []
    assert [m.label for m in match_labels("Thingamajig", labels, word_vectors(table))] == ["thingamajig"]
    assert [m.label for m in match_labels("red", ["dark red", "blue"], text_vectors(MeanColorAndWords()))] == [
        "dark red"
    ]
    with pytest.raises(InputError, match="empty"):
        match_labels(" _", labels, word_vectors(table))
