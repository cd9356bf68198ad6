"""The door of retrieval: the library by name and by mask, folders of meshes as indices, and objects for the fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hoirecon.data.objects import get_category, list_objects, load_object
from hoirecon.data.objects.orientation import OrientationConfig
from hoirecon.data.objects.usable import UsableConfig
from hoirecon.data.objects.usable_cache import ObjectCache
from hoirecon.errors import InputError
from hoirecon.retrieval.galleries import LibraryGallery
from hoirecon.retrieval.index.object_index import ObjectIndex
from hoirecon.retrieval.index.records import ObjectRecord, RecordFilter
from hoirecon.retrieval.mesh_folders import BuildConfig, BuiltIndex, MeshFolder
from hoirecon.retrieval.protocols import EncoderId, Float32Array, ImageQuery, unit_rows
from hoirecon.retrieval.retriever import Retriever
from hoirecon.retrieval.sources import ObjectSource, Preparation
from hoirecon.retrieval.surfaces import as_surface
from tests.retrieval.stand_ins import colored_box

MASK = np.zeros((40, 60), bool)
MASK[10:30, 20:40] = True
PICTURE = np.full((40, 60, 3), 90, np.uint8)
QUARTER = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])


@dataclass(frozen=True)
class LastFirst:
    """Ranks the library's meshes against their order, and says that each is turned by a quarter."""

    asked: list[Any]

    def rank(self, mask: Any, candidates: Sequence[str] | None, k: int) -> list[Any]:
        assert candidates is not None
        self.asked.append((mask.sum(), tuple(candidates), k))
        names = sorted(candidates, reverse=True)[:k]
        return [SimpleNamespace(name=n, score=0.9 - 0.1 * i, rotations=QUARTER[None]) for i, n in enumerate(names)]


class Proportions:
    """Embeds a shape by the sides of its box, and an image by its mean colour as if that were sides."""

    def __init__(self, weights: str = "0123456789ab") -> None:
        self.encoder_id = EncoderId("proportions", 3, weights)
        self.rows_per_shape = 1
        self.embedded = 0

    def embed_shapes(self, shapes: Sequence[Any]) -> Float32Array:
        surfaces = [as_surface(shape) for shape in shapes]
        if any(s.face_areas.sum() == 0 for s in surfaces):
            raise InputError("a shape without area")
        self.embedded += len(shapes)
        return unit_rows(np.array([[np.ptp(s.verts, axis=0)] for s in surfaces]).reshape(-1, 1, 3), "sides")

    def embed_queries(self, queries: Sequence[ImageQuery]) -> Float32Array:
        return unit_rows([q.image[q.mask].mean(0) for q in queries if q.image is not None], "colours")


def write_box(path: Path, sides: tuple[float, float, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colored_box((10, 20, 30), sides).to_trimesh().export(path)


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    folder = tmp_path / "meshes"
    write_box(folder / "box" / "flat.ply", (1, 0.2, 1))
    write_box(folder / "box" / "tall.obj", (0.2, 1, 0.2))
    write_box(folder / "ski_02.glb", (0.1, 0.1, 2))
    facts = {"box/tall.obj": {"label": "Tower", "licence": "CC0-1.0", "tags": ["old"]}}
    (folder / "objects.json").write_text(json.dumps(facts))
    return folder


def light() -> Preparation:
    return Preparation(
        config=UsableConfig(orientation=OrientationConfig("keep"), grid_nodes=0), cache=ObjectCache(max_bytes=0)
    )


def photo_of(sides: tuple[float, float, float]) -> Any:
    return np.broadcast_to(np.array(sides) * 100, (40, 60, 3)).astype(np.uint8)


class TestLibrary:
    """Without weights."""

    def test_a_name_or_an_alias_gives_its_meshes_the_usual_one_first(self) -> None:
        for name in ("cell phone", "Mobile_Phone"):
            hits = Retriever.by_name().search(label=name, k=9)
            assert hits[0].id == get_category("cell phone").default_id
            assert {hit.id for hit in hits} == {entry.id for entry in list_objects("cell phone")}
        first = hits[0]
        assert (first.licence, first.up, first.source) == ("Apache-2.0", "+y", f"library:{first.id}")
        assert first.size.longest == get_category("cell phone").size_median
        assert first.mesh.topology == load_object("cell phone").mesh.topology
        assert first.size_prior[1] == get_category("cell phone").size_log_sigma
        assert first.rotations is None
        assert not first.notes

    def test_the_mask_chooses_among_those_of_the_name(self) -> None:
        ranker = LastFirst([])
        retriever = Retriever(LibraryGallery(ranker))
        hits = retriever.search(PICTURE, mask=MASK, label="phone", k=2)
        ids = sorted(entry.id for entry in list_objects("cell phone"))
        assert ranker.asked == [(400, tuple(ids), 2)]
        assert [hit.id for hit in hits] == ids[:-3:-1]
        assert hits[0].score == pytest.approx(0.9)
        np.testing.assert_allclose(hits[0].rotations, QUARTER[None])
        usable = retriever.objects(ImageQuery(PICTURE, MASK, "phone"))[0]
        assert (usable.source, usable.category, usable.score) == (f"library:{ids[-1]}", "cell phone", hits[0].score)
        assert isinstance(retriever, ObjectSource)

    def test_the_usual_mesh_is_kept_unless_another_is_clearly_better(self) -> None:
        usual = get_category("cell phone").default_id
        ids = [hit.id for hit in Retriever(LibraryGallery(LastFirst([]))).search(PICTURE, mask=MASK, label="phone")]
        behind = 0.1 * ids.index(usual)
        for bonus, first in ((behind - 0.05, ids[0]), (behind + 0.05, usual)):
            retriever = Retriever(LibraryGallery(LastFirst([]), typical=bonus))
            assert retriever.search(PICTURE, mask=MASK, label="phone", k=1)[0].id == first

    def test_an_unknown_name_gets_suggestions_and_all_are_looked_through(self) -> None:
        ranker = LastFirst([])
        hits = Retriever(LibraryGallery(ranker)).search(PICTURE, mask=MASK, label="chiar", k=1)
        assert len(ranker.asked[0][1]) == len(list_objects())
        assert "no object is labelled 'chiar'" in hits[0].notes[0]
        assert "chair" in hits[0].notes[0]
        assert hits[0].size.log_sigma >= 0.7
        assert hits[0].usable.name == "chiar"
        assert hits[0].usable.notes[-1] == hits[0].notes[0]
        with pytest.raises(InputError, match=r"did you mean .*chair"):
            Retriever.by_name().search(label="chiar")
        with pytest.raises(InputError, match="mask= or label="):
            Retriever.by_name().search(PICTURE)
        with pytest.raises(InputError, match="query is empty"):
            Retriever.by_name().search()
        with pytest.raises(InputError, match="name is empty"):
            Retriever.by_name().search(PICTURE, label=" _")

    def test_filters(self) -> None:
        retriever = Retriever(LibraryGallery(LastFirst([])))
        free = RecordFilter(licences=("CC0-1.0",))
        hits = retriever.search(PICTURE, mask=MASK, k=500, where=free)
        assert {hit.licence for hit in hits} == {"CC0-1.0"}
        assert len(hits) == sum(entry.licence == "CC0-1.0" for entry in list_objects())
        small = RecordFilter(labels=("chair",), max_faces=2200)
        hits = retriever.search(PICTURE, mask=MASK, label="cup", k=500, where=small)  # what is said wins
        assert hits
        assert all(hit.hit.record.label == "chair" and (hit.hit.record.faces or 9999) <= 2200 for hit in hits)
        assert retriever.search(PICTURE, mask=MASK, where=RecordFilter(licences=("none",))) == []
        with pytest.raises(InputError, match="no mesh for the object was found"):
            Retriever(LibraryGallery(LastFirst([])), fetch=_no_mesh).objects(ImageQuery(PICTURE, MASK))

    def test_the_size_is_the_callers_if_it_says_so(self) -> None:
        retriever = replace(Retriever.by_name(), preparation=Preparation(size=lambda name: 1.5))
        hit = retriever.search(label="chair", k=1)[0]
        assert (hit.size.longest, hit.size.evidence) == (1.5, "callable")
        assert hit.size_prior[0] == pytest.approx(np.log(1.5 / hit.mesh.extents.max()))


def _no_mesh(record: ObjectRecord) -> Any:
    raise InputError("not today")


class TestFolders:
    """Any folder of meshes becomes an index."""

    def test_from_meshes_to_objects_and_back_from_disk(self, meshes: Path, tmp_path: Path) -> None:
        pytest.importorskip("open3d")
        made = Retriever.build(meshes, Proportions(), progress=False)
        made.save(tmp_path / "idx")
        again = Retriever.load(tmp_path / "idx", encoder=Proportions())
        for retriever in (made, again):
            hits = retriever.search(photo_of((0.2, 1, 0.2)), mask=MASK, k=3)
            assert [hit.id for hit in hits] == ["box/tall.obj", "box/flat.ply", "ski_02.glb"]
            assert (hits[0].licence, hits[0].label, hits[0].hit.record.tags) == ("CC0-1.0", "tower", ("old",))
            assert hits[0].score == pytest.approx(1, abs=1e-3)
        ready = replace(again, preparation=light())
        thing = ready.objects(ImageQuery(photo_of((0.1, 0.1, 2)), MASK, "magic wand"))[0]
        assert thing.mesh.is_watertight
        assert thing.source == "ski_02.glb"
        assert thing.name == "magic wand"
        assert "no object is labelled 'magic wand'" in thing.notes[-1]
        named = ready.objects(ImageQuery(photo_of((0.1, 0.1, 2)), MASK, "box"))[0]
        assert named.source == "box/flat.ply"
        assert named.mesh.extents.max() == pytest.approx(get_category("box").size_median)

    def test_a_name_alone_gives_its_objects_in_their_order(self, meshes: Path) -> None:
        hits = Retriever.build(meshes, Proportions(), progress=False).search(label="Tower")
        assert [(hit.id, hit.score) for hit in hits] == [("box/tall.obj", 1.0)]
        with pytest.raises(InputError, match="did you mean tower"):
            Retriever.build(meshes, Proportions(), progress=False).search(label="towr")

    def test_only_what_is_new_is_embedded(self, meshes: Path, tmp_path: Path) -> None:
        out = tmp_path / "idx"
        counts = []

        def build(encoder: Proportions) -> BuiltIndex:
            built = Retriever.build(meshes, encoder, out=out, progress=False).built
            assert built is not None
            counts.append((built.embedded, encoder.embedded, len(built.index)))
            return built

        build(Proportions())
        write_box(meshes / "new.ply", (3, 2, 1))
        (meshes / "box" / "flat.ply").rename(meshes / "moved.ply")
        (meshes / "ski_02.glb").unlink()
        (meshes / "same.obj").write_bytes((meshes / "box" / "tall.obj").read_bytes())
        built = build(Proportions())
        assert [record.id for record in built.index.records] == ["box/tall.obj", "moved.ply", "new.ply", "same.obj"]
        assert built.index.records.read([1])[0].faces == 12
        build(Proportions("f" * 12))  # other weights: nothing of the earlier counts
        assert counts == [(3, 3, 3), (1, 1, 4), (3, 3, 4)]

    def test_bad_files_are_named_and_skipped(
        self, meshes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (meshes / "broken.glb").write_bytes(b"not a mesh")
        write_box(meshes / "point.ply", (0, 0, 0))
        made = Retriever.build(meshes, Proportions(), out=tmp_path / "idx")
        printed = capsys.readouterr().out
        assert "skipped broken.glb" in printed
        assert "skipped point.ply: a shape without area" in printed
        assert made.built is not None
        assert set(made.built.meshes.skipped) == {"broken.glb", "point.ply"}
        assert len(made.built.index) == 3
        assert set(BuiltIndex.load(tmp_path / "idx").meshes.skipped) == {"broken.glb", "point.ply"}
        bad = tmp_path / "bad"
        bad.mkdir()
        (bad / "broken.glb").write_bytes(b"not a mesh")
        with pytest.raises(InputError, match=r"can be embedded \(broken.glb"):
            Retriever.build(bad, Proportions(), progress=False)

    def test_an_interrupted_build_goes_on(self, meshes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from hoirecon.retrieval import mesh_folders

        monkeypatch.setattr(mesh_folders, "BATCH", 1)

        class Tired(Proportions):
            def embed_shapes(self, shapes: Sequence[Any]) -> Float32Array:
                if self.embedded == 2:
                    raise KeyboardInterrupt
                return super().embed_shapes(shapes)

        with pytest.raises(KeyboardInterrupt):
            Retriever.build(meshes, Tired(), out=tmp_path / "idx", config=BuildConfig(save_every=1), progress=False)
        assert len(ObjectIndex.load(tmp_path / "idx", verify=True)) == 2
        fresh = Proportions()
        Retriever.build(meshes, fresh, out=tmp_path / "idx", progress=False)
        assert fresh.embedded == 1

    def test_what_cannot_be_is_said(self, meshes: Path, tmp_path: Path) -> None:
        Retriever.build(meshes, Proportions(), out=tmp_path / "idx", progress=False)
        with pytest.raises(InputError, match="different encoders cannot be compared"):
            Retriever.load(tmp_path / "idx", encoder=Proportions("f" * 12))
        with pytest.raises(InputError, match="nothing to save"):
            Retriever.by_name().save(tmp_path / "x")
        with pytest.raises(InputError, match="there is no encoder 'magic'"):
            Retriever.build(meshes, "magic")
        with pytest.raises(InputError, match="needs weights"):
            Retriever.build(meshes, "openshape-pointbert-vitg14-rgb")
        with pytest.raises(InputError, match="does not exist"):
            Retriever.build(meshes, weights=tmp_path / "nowhere")
        with pytest.raises(InputError, match="holds no weights"):
            Retriever.build(meshes, weights=meshes)
        with pytest.raises(InputError, match="is no folder"):
            Retriever.build(tmp_path / "nowhere", Proportions())
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="holds no mesh"):
            Retriever.build(tmp_path / "empty", Proportions())
        with pytest.raises(InputError, match="not empty"):  # before the work
            Retriever.build(meshes, Proportions(), out=meshes)
        (meshes / "objects.json").write_text("[1]")
        with pytest.raises(InputError, match="no table of files"):
            Retriever.build(meshes, Proportions(), progress=False)

    def test_records_reach_no_file_outside_the_folder(self, meshes: Path, tmp_path: Path) -> None:
        write_box(tmp_path / "secret.ply", (1, 1, 1))
        listed = MeshFolder(meshes, "")
        for source in ("../secret.ply", str(tmp_path / "secret.ply"), "objects.json"):
            with pytest.raises(InputError, match="no mesh in"):
                listed.fetch(ObjectRecord("a", source=source))
        with pytest.raises(InputError, match="not there any more"):
            listed.fetch(ObjectRecord("a", source="gone.ply"))
        for text in ("{}", json.dumps({"format": "hoirecon-meshes-1", "hashes": [1], "skipped": {}})):
            (tmp_path / "meshes.json").write_text(text)
            with pytest.raises(InputError, match="build the index again"):
                MeshFolder.read(tmp_path)
