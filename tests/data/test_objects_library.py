"""Every stored mesh: closed, outward, small, labelled, licensed, in the library's frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from _pytest.mark import ParameterSet

from hoirecon.data.objects import get_category, list_objects, load_object
from hoirecon.data.objects.index import ASSETS, INDEX, WHOLE
from hoirecon.data.objects.library import majority_parts
from hoirecon.data.objects.storage import StoredMesh, read_mesh, write_mesh
from hoirecon.errors import InputError

ENTRIES = list_objects()
IDS = [entry.id for entry in ENTRIES]
LICENCES = {"Apache-2.0", "CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US"}
SEATS = ("chair", "armchair", "office chair", "couch", "stool", "bench", "toilet", "ottoman", "wheelchair", "swing")


def sweep(ids: list[str], every: int = 8) -> list[ParameterSet]:
    """All ids; every eighth runs always, the others with the slow tests."""
    return [pytest.param(i, id=i, marks=() if k % every == 0 else pytest.mark.slow) for k, i in enumerate(ids)]


def test_there_are_enough_meshes_and_they_are_light() -> None:
    assert len(ENTRIES) >= 150
    assert sum(file.stat().st_size for file in ASSETS.iterdir()) < 8e6
    assert {file.name for file in ASSETS.iterdir()} == {entry.file.name for entry in ENTRIES}


@pytest.mark.parametrize("object_id", sweep(IDS))
def test_mesh_is_closed_outward_small_and_centred(object_id: str) -> None:
    obj = load_object(object_id)
    mesh, tri = obj.mesh, obj.mesh.to_trimesh()
    assert len(mesh.faces) <= 4000
    assert mesh.is_watertight  # every edge has two faces that run through it in opposite directions
    assert tri.volume > 0
    _, components = _components(mesh.faces)
    for faces in components:
        assert trimesh.Trimesh(mesh.verts, faces, process=False).volume > 0, "a component is inside out"
    np.testing.assert_allclose(mesh.verts.max(0) + mesh.verts.min(0), 0, atol=1e-9)
    assert len(np.unique(mesh.faces)) == len(mesh.verts), "unused vertices"


def _components(faces: np.ndarray) -> tuple[int, list[np.ndarray]]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = int(faces.max()) + 1
    graph = coo_matrix((np.ones(len(faces) * 2), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())), shape=(n, n))
    count, label = connected_components(graph, directed=False)
    of_face = label[faces[:, 0]]
    return count, [faces[of_face == k] for k in range(count)]


@pytest.mark.parametrize("object_id", sweep(IDS))
def test_labels_and_facts_are_complete(object_id: str) -> None:
    obj = load_object(object_id)
    assert obj.face_parts.shape == (len(obj.mesh.faces),)
    assert obj.vert_parts.shape == (len(obj.mesh.verts),)
    assert set(np.unique(obj.face_parts)) == set(range(len(obj.part_names))), "a named part has no face"
    assert obj.licence in LICENCES
    assert obj.author
    assert obj.source
    assert bool(obj.modified) == (obj.licence != "Apache-2.0")
    covered = np.unique(np.concatenate([obj.part_verts(name) for name in obj.part_names]))
    assert len(covered) == len(obj.mesh.verts)


@pytest.mark.parametrize("object_id", sweep([entry.id for entry in ENTRIES if entry.category in SEATS], every=3))
def test_seats_face_up_and_backs_face_front(object_id: str) -> None:
    obj = load_object(object_id)
    if obj.part_names == (WHOLE,):
        pytest.skip("undivided")
    tri = obj.mesh.to_trimesh()
    seat = obj.face_parts == obj.part_names.index("seat")
    above = seat & (tri.triangles_center[:, 1] >= np.median(tri.triangles_center[seat, 1]))
    upward = (tri.area_faces * tri.face_normals[:, 1])[above].sum() / tri.area_faces[above].sum()
    assert upward > 0.2, "the upper side of the seat does not face up"  # upholstery: its rounded borders count too
    if "back" in obj.part_names:
        back = tri.triangles_center[obj.face_parts == obj.part_names.index("back")].mean(0)
        centre = tri.triangles_center[seat].mean(0)
        assert back[2] < centre[2], "the back is not behind the seat"
        assert back[1] > centre[1]


def test_what_is_held_upright_has_its_grip_below() -> None:
    for object_id, grip in (
        ("hammer/claw", "handle"),
        ("tennis racket/grid", "grip"),
        ("baseball bat/adult", "handle"),
    ):
        obj = load_object(object_id)
        assert obj.mesh.verts[obj.part_verts(grip), 1].mean() < 0


def test_users_left_is_left() -> None:
    bar = load_object("barbell")
    assert bar.mesh.verts[bar.part_verts("bar_left"), 0].min() > 0  # its user looks to +z, like the bar
    tablet = load_object("tablet")
    assert tablet.mesh.verts[tablet.part_verts("edge_left"), 0].max() < 0  # its user looks to -z


def test_ids_names_and_aliases_load() -> None:
    assert load_object("barbell").id == get_category("barbell").default_id
    assert load_object("sofa").category.name == "couch"
    assert load_object("Phone/large").id == "cell phone/large"


@pytest.mark.parametrize("wrong", ["chair/of_gold", "sofa/", "/", "chair/../chair/plain"])
def test_unknown_ids_say_what_there_is(wrong: str) -> None:
    with pytest.raises(InputError, match=r"there are|unknown object"):
        load_object(wrong)


def test_part_verts_of_missing_parts() -> None:
    chair = load_object("chair/plain")
    assert len(chair.part_verts("arms")) == 0  # other chairs have arms
    with pytest.raises(InputError, match="its parts are"):
        chair.part_verts("propeller")
    whole = next(load_object(e.id) for e in ENTRIES if e.part_names == (WHOLE,) and get_category(e.category).parts)
    assert len(whole.part_verts(whole.category.parts[0])) == len(whole.mesh.verts)


def test_majority_parts_slow_twin() -> None:
    obj = load_object("mug")
    for vertex in range(0, len(obj.mesh.verts), 37):
        around = [int(p) for f, p in zip(obj.mesh.faces, obj.face_parts, strict=True) if vertex in f]
        best = max(sorted(set(around)), key=around.count)
        assert obj.vert_parts[vertex] == best
    assert majority_parts(np.array([[0, 1, 2]]), np.array([1]), 3).tolist() == [1, 1, 1]


def test_a_caller_cannot_spoil_the_next_load() -> None:
    first = load_object("box")
    for array in (first.face_parts, first.vert_parts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    before = first.mesh.verts.copy()
    if first.mesh.verts.flags.writeable:
        first.mesh.verts[:] = 0
    np.testing.assert_array_equal(load_object("box").mesh.verts, before)


def test_storage_rounds_finely_and_repeats_bytes(tmp_path: Path) -> None:
    box = trimesh.creation.box((2.0, 0.3, 0.1))
    stored = StoredMesh(np.asarray(box.vertices), np.asarray(box.faces), np.arange(12) % 3)
    write_mesh(tmp_path / "a.npz", stored)
    write_mesh(tmp_path / "b.npz", stored)
    back = read_mesh(tmp_path / "a.npz")
    np.testing.assert_allclose(back.verts, stored.verts, atol=2.0 / 65535)
    np.testing.assert_array_equal(back.faces, stored.faces)
    np.testing.assert_array_equal(back.face_parts, stored.face_parts)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"x" * 100])
def test_broken_storage_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.npz"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a library mesh"):
        read_mesh(file)


def test_storage_never_unpickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", verts=np.array([print], dtype=object), step=1.0, faces=[[0, 1, 2]], face_parts=[0])
    with pytest.raises(InputError, match="not a library mesh"):
        read_mesh(tmp_path / "evil.npz")


def test_attribution_lists_every_third_party_mesh() -> None:
    page = Path(__file__).parents[2] / "docs" / "attribution" / "objects.md"
    if not page.is_file():
        pytest.skip("the documentation is not beside the tests")
    text = page.read_text(encoding="utf-8")
    for row in json.loads(INDEX.read_text(encoding="utf-8")):
        if row["kind"] == "wrapped":
            for fact in (row["id"], row["author"], row["licence"], row["source"].split(": ")[1]):
                assert fact in text, f"{row['id']}: {fact} is not on the attribution page"
