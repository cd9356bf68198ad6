"""Which mesh ``reconstruct`` takes: by name and mask, by file, by hit, or by whoever brings one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trimesh

from hoirecon.camera import Camera
from hoirecon.data.objects import MeshRepairWarning, get_category, load_object
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.reconstruction import reconstruct
from hoirecon.requests import (
    ObjectRequest,
    choose_things,
    prepare_early,
    prepare_thing,
    read_requests,
    told_apart,
    usable_thing,
)
from hoirecon.retrieval.galleries import LibraryGallery
from hoirecon.retrieval.protocols import ImageQuery
from hoirecon.retrieval.retriever import Retriever
from hoirecon.retrieval.sources import GivenMesh, Preparation

BOX = (1.0, 1.0, 5.0, 5.0)
QUARTER = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])


class LastFirst:
    """A ranker that prefers the last name, and knows how everything is turned."""

    def rank(self, mask: Any, candidates: Sequence[str] | None, k: int) -> list[Any]:
        names = sorted(candidates or (), reverse=True)[:k]
        return [SimpleNamespace(name=name, score=0.5, rotations=QUARTER[None]) for name in names]


def seen(count: int = 1) -> Observation:
    mask = np.zeros((40, 60), bool)
    mask[5:20, 5:20] = True
    image = np.zeros((40, 60, 3), np.uint8)
    return Observation(image, Camera.from_focal(50, 60, 40), object_masks=(mask,) * count)


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default retriever with a ranker whose choice is known."""
    monkeypatch.setattr(Retriever, "default", lambda: Retriever(LibraryGallery(LastFirst())))


def test_the_mask_chooses_among_the_meshes_of_a_name_by_default() -> None:
    requests = [ObjectRequest("phone", BOX), ObjectRequest("phone", BOX), ObjectRequest("cup/paper", BOX)]
    early = prepare_early(requests)
    assert early[:2] == [None, None]  # the mask is to say
    things, notes = choose_things(requests, early, seen(3))
    assert [thing.name for thing in things] == ["cell phone", "cell phone 2", "cup"]
    first = things[0]
    assert first.contact.category is not None
    assert first.contact.category.name == "cell phone"
    assert first.contact.mesh.name != get_category("cell phone").default_id
    assert first.contact.parts  # the library's meshes keep their parts
    assert first.licence
    np.testing.assert_allclose(first.to_fit.initial_rotations, QUARTER[None])
    usual = prepare_thing(ObjectRequest(first.contact.mesh.name, BOX))
    assert first.to_fit.size_prior == usual.to_fit.size_prior
    assert first.to_fit.up_obj == usual.to_fit.up_obj
    assert notes == [f"cell phone: its mesh is {first.contact.mesh.name}, score 0.50"] * 2
    assert things[2].contact.mesh.name == "cup/paper"


def test_a_name_that_nobody_knows_is_looked_for_by_its_mask_and_a_slip_is_not() -> None:
    request = ObjectRequest("quipu", BOX)
    (thing,), notes = choose_things([request], prepare_early([request]), seen())
    assert thing.name == "quipu"
    assert thing.to_fit.size_prior[1] >= 0.7  # its size is as good as unknown
    assert any("no object is labelled 'quipu'" in note for note in notes)
    for slip in ("barbel", "cuup", ""):
        with pytest.raises(InputError, match="unknown object"):
            prepare_early([ObjectRequest(slip, BOX)])


def test_a_hit_or_a_ready_object_is_taken_as_it_is() -> None:
    hit = Retriever.by_name().search(label="chair", k=3)[2]
    for given in (hit, hit.usable):
        (request,) = read_requests(given, BOX, None, None, None)
        assert (request.name, request.box) == ("chair", BOX)
        thing = prepare_early([request])[0]
        assert thing is not None
        assert thing.contact.mesh.name == hit.id
    thing = prepare_thing(ObjectRequest("throne", BOX, mesh=hit))
    assert thing.name == "throne"
    with pytest.raises(InputError, match="given twice"):
        read_requests(hit, BOX, None, None, hit)


def test_a_file_is_named_by_its_name_and_sized_by_it(tmp_path: Path) -> None:
    pytest.importorskip("open3d")
    mesh = load_object("cup").mesh
    replace(mesh, verts=mesh.verts * 700).to_trimesh().export(tmp_path / "mug_03.ply")
    for given in (tmp_path / "mug_03.ply", str(tmp_path / "mug_03.ply")):
        (request,) = read_requests(given, BOX, None, None, None)
        assert (request.name, request.mesh_unit) == ("mug", "none")
    thing = prepare_thing(request)
    assert thing.contact.mesh.extents.max() == pytest.approx(get_category("mug").size_median)
    assert thing.contact.category is not None
    for bad in (tmp_path / "mug.txt", tmp_path):
        with pytest.raises(InputError, match="no mesh file"):
            read_requests(bad, BOX, None, None, None)


def test_a_source_is_asked_with_the_mask() -> None:
    asked: list[ImageQuery] = []

    class Source:
        def objects(self, query: ImageQuery, k: int = 1) -> Any:
            asked.append(query)
            mesh = load_object("cup").mesh
            return GivenMesh(mesh, "m", Preparation(), "CC0-1.0").objects(query, k)

    request = ObjectRequest("goblet", BOX, mesh=Source())
    (thing,), _ = choose_things([request], prepare_early([request]), seen())
    assert (thing.name, thing.licence) == ("goblet", "CC0-1.0")
    assert asked[0].mask is not None
    assert asked[0].mask.sum() == 225
    with pytest.raises(InputError, match="when its mask is"):
        prepare_thing(request)


def test_rotations_of_a_source_are_starts_of_the_fit() -> None:
    hit = Retriever(LibraryGallery(LastFirst())).search(seen().image, mask=seen().object_masks[0], label="chair")[0]
    rotations = usable_thing(hit.usable, "chair").to_fit.initial_rotations
    np.testing.assert_allclose(rotations, QUARTER[None])


def test_every_thing_has_a_name_of_its_own() -> None:
    """Measures of a scene are kept by the names of its objects."""
    cup = prepare_thing(ObjectRequest("cup"))
    things = [replace(cup, name=name) for name in ("cup", "cup", "cup 2", "cup")]
    assert [thing.name for thing in told_apart(things)] == ["cup", "cup 3", "cup 2", "cup 4"]
    assert [thing.name for thing in told_apart([cup, cup, cup])] == ["cup", "cup 2", "cup 3"]


def test_a_trimesh_is_a_mesh_with_the_same_vertices() -> None:
    box = trimesh.creation.box((0.3, 0.2, 0.1))
    mesh = prepare_thing(ObjectRequest("parcel", BOX, mesh=box)).contact.mesh
    np.testing.assert_array_equal(mesh.verts, box.vertices)
    assert mesh.name == "parcel"
    with pytest.raises(InputError, match=r"the mesh of the parcel is of type ndarray: give a Mesh, a trimesh"):
        ObjectRequest("parcel", BOX, mesh=np.zeros((3, 3)))


def test_the_unit_of_a_mesh_in_memory_counts_as_that_of_a_file_does() -> None:
    box = trimesh.creation.box((300, 200, 100))
    given = Mesh(box.vertices, box.faces)
    for unit, metres in (("mm", 0.001), ("cm", 0.01), ("auto", 0.001)):
        request = ObjectRequest("parcel", BOX, mesh=given, mesh_unit=unit)
        if unit == "auto":
            with pytest.warns(MeshRepairWarning, match="read as millimetres"):
                thing = prepare_thing(request)
        else:
            thing = prepare_thing(request)
        np.testing.assert_allclose(thing.to_fit.mesh.verts, box.vertices * metres)  # in their order: labels still fit
    with pytest.raises(InputError, match=r"mesh_unit of the parcel is 'inch': give one of m, cm, mm, auto, none"):
        ObjectRequest("parcel", BOX, mesh=given, mesh_unit="inch")


@pytest.mark.parametrize("kind", ["mesh", "trimesh", "file"])
def test_a_mesh_that_is_absurd_in_its_unit_is_refused_before_any_work(kind: str, tmp_path: Path) -> None:
    box = trimesh.creation.box((300, 200, 100))
    box.export(tmp_path / "parcel.ply")
    given: Any = {"mesh": Mesh(box.vertices, box.faces), "trimesh": box, "file": tmp_path / "parcel.ply"}[kind]
    says = r"parcel.* would be 300 m long in unit 'm': give unit='mm' \(mesh_unit of an ObjectRequest"
    with pytest.raises(InputError, match=says):
        reconstruct("missing.jpg", "parcel", object_box=BOX, object_mesh=given, progress=False)


@pytest.mark.parametrize("thing", [None, trimesh.creation.box(), ["cup", "chair"], {"name": "cup"}, []])
def test_what_is_no_object_is_told_by_its_kind(thing: Any) -> None:
    with pytest.raises(InputError, match=r"give the name of an object .* got (NoneType|Trimesh|list|dict)"):
        read_requests(thing, BOX, None, None, None)
