"""The published files of Objaverse, in small, and an enemy's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.errors import InputError
from hoirecon.retrieval.index import ObjectIndex, ObjectRecord, RecordFilter, objaverse
from hoirecon.retrieval.index.objaverse import fetch_mesh, published_encoder, read_objaverse, stream_entries
from hoirecon.retrieval.protocols import EncoderId

WHO = EncoderId("published", 32, "0" * 12)


def uid(i: int) -> str:
    return hashlib.md5(str(i).encode()).hexdigest()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Twelve objects: number 3 has no entry, number 5 an embedding of zeros."""
    feats = np.random.default_rng(0).integers(-127, 127, (12, 32)).astype(np.int8)
    feats[5] = 0
    torch.save({"us": [uid(i) for i in range(12)], "feats": torch.from_numpy(feats)}, tmp_path / "objaverse.pt")
    entries: list[dict[str, Any]] = [
        {"u": uid(i), "name": f'n "{i}" ]}}', "anims": 0, "tags": ["wood", "é"], "cats": ["furniture"],
         "faces": 100 * i, "lic": "by-nc" if i % 2 else "by", "glb": f"glbs/000-{i:03d}/{uid(i)}.glb"}
        for i in (11, *range(3), *range(4, 11), 0, 99)
    ]  # fmt: skip
    (tmp_path / "objaverse_meta.json").write_text(
        json.dumps({"entries": entries}, ensure_ascii=False), encoding="utf-8"
    )
    (tmp_path / "lvis.json").write_text(json.dumps([{"uid": uid(2), "category": "Rocking_Chair"}]))
    return tmp_path


def read(folder: Path) -> ObjectIndex:
    files = folder / "objaverse.pt", folder / "objaverse_meta.json"
    return read_objaverse(*files, categories=folder / "lvis.json", encoder=WHO)


@pytest.mark.parametrize("piece", [1 << 20, 64])
def test_the_published_files_become_an_index(published: Path, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objaverse, "_READ", piece)
    read(published).save(published / "idx")
    index = ObjectIndex.load(published / "idx", verify=True)
    assert (len(index), len(index.records), index.rows.kind) == (11, 10, "int8")
    feats = torch.load(published / "objaverse.pt")["feats"].numpy().astype(np.float32)
    for i in (2, 7, 11):
        hit = index.search(feats[i], WHO, 1)[0][0]
        assert (hit.record.id, hit.record.faces) == (uid(i), 100 * i)
        assert hit.score == pytest.approx(1, abs=1e-6)
    assert uid(3) not in {hit.record.id for hit in index.search(feats[3], WHO, 12)[0]}
    free = index.search(feats[7], WHO, 12, where=RecordFilter(licences=("by",)))[0]
    assert {hit.record.licence for hit in free} == {"by"}
    chairs = index.search(feats[7], WHO, 12, where=RecordFilter(labels=("rocking chair",)))[0]
    assert [hit.record.id for hit in chairs] == [uid(2)]
    assert chairs[0].record.tags == ("wood", "é", "furniture")


def test_the_published_embeddings_are_of_the_released_model() -> None:
    encoder = published_encoder()
    assert (encoder.name, encoder.dim) == ("openshape-pointbert-vitg14-rgb", 1280)
    assert encoder.weights.startswith("34949c162aca01b6")


def test_odd_files_are_refused(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = published / "objaverse_meta.json"
    whole = meta.read_bytes()
    for text, said in (
        (whole[:-200], "damaged"),
        (b'{"entries": [3]}', "holds a int"),
        (b"{}", "no list"),
        (b"\xff" * 9, "not JSON"),
    ):
        meta.write_bytes(text)
        with pytest.raises(InputError, match=said):
            read(published)
    monkeypatch.setattr(objaverse, "_LONGEST_ENTRY", 1000)
    meta.write_text('{"entries": [{"u": "' + "x" * (3 << 20))
    with pytest.raises(InputError, match="damaged"):
        list(stream_entries(meta, "entries"))
    meta.write_bytes(whole)
    (published / "lvis.json").write_text("{}")
    with pytest.raises(InputError, match=r"lvis\.json"):
        read(published)
    torch.save({"us": [uid(0)], "feats": torch.zeros(2, 32)}, published / "objaverse.pt")
    with pytest.raises(InputError, match="'us' and 'feats' of 32 values"):
        read(published)


def test_meshes_are_fetched_once_whole_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    content = [b"gl", b"TF", b"\2\0\0\0 and so on"]

    def fetcher(address: str) -> list[bytes]:
        asked.append(address)
        return content

    record = ObjectRecord("it", source="glbs/000-001/abc.glb")
    good = hashlib.sha256(b"".join(content)).hexdigest()
    path = fetch_mesh(record, fetcher, tmp_path, sha256=good)
    assert path.read_bytes() == b"".join(content)
    assert fetch_mesh(record, fetcher, tmp_path, sha256=good) == path
    assert asked == [objaverse.ADDRESS + "glbs/000-001/abc.glb"]
    with pytest.raises(InputError, match="another sha256"):
        fetch_mesh(record, fetcher, tmp_path / "b", sha256="0" * 64)
    content[0] = b"<html>"
    with pytest.raises(InputError, match="no GLB"):
        fetch_mesh(record, fetcher, tmp_path / "b")
    monkeypatch.setattr(objaverse, "MAX_MESH_BYTES", 5)
    with pytest.raises(InputError, match="more than"):
        fetch_mesh(record, fetcher, tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []
    for source in (
        None,
        "http://elsewhere/x.glb",
        "../../x.glb",
        "glbs/../../x.glb",
        "/etc/passwd",
        "glbs/x.exe",
        "a.glb\n",
    ):
        with pytest.raises(InputError, match="no mesh of Objaverse"):
            fetch_mesh(ObjectRecord("it", source=source), fetcher, tmp_path)
