"""Contact maps: words and parts that go with the numbers, and files of both layouts, friendly and hostile."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap, PartContact
from hoirecon.errors import InputError, TopologyError
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import Scene, SceneBody, SceneObject, ScenePair
from hoirecon.scene_io import load_scene, write_scene

TEXT = st.text(max_size=12)  # lone surrogates among them: they come back replaced, never as a crash
UNIT = st.floats(0, 1)


def full_map(count: int = 4, **changes: Any) -> ContactMap:
    fields: dict[str, Any] = {
        "probability": np.linspace(0, 1, count),
        "topology": "m",
        "source": "interactvlm",
        "label": "tennis racket",
        "answer": "The contacting body parts are left hand, and the contact region is [SEG].",
        "named_parts": ("left hand",),
        "notes": ("several contact tokens: first taken",),
        "parts": {"left hand": [0, count - 1]},
        "view_masks": {"topfront": np.linspace(0, 1, 6).reshape(2, 3)},
    }
    return ContactMap(**{**fields, **changes})


def assert_equal(a: ContactMap, b: ContactMap) -> None:
    assert a.probability.tobytes() == b.probability.tobytes()
    for name in ("topology", "source", "label", "answer", "named_parts", "notes"):
        assert getattr(a, name) == getattr(b, name)
    assert list(a.parts) == list(b.parts)
    assert all(np.array_equal(a.parts[name], b.parts[name]) for name in a.parts)
    assert (a.view_masks is None) == (b.view_masks is None)
    for name, mask in (a.view_masks or {}).items():
        other = (b.view_masks or {})[name]
        assert mask.dtype == other.dtype == np.float32
        np.testing.assert_array_equal(mask, other)


class TestFields:
    def test_a_map_of_numbers_alone_is_complete(self) -> None:
        bare = ContactMap([0.2, 0.8], "m")
        assert (bare.label, bare.answer, bare.named_parts, bare.notes) == ("", "", (), ())
        assert bare.parts == {}
        assert bare.view_masks is None

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"label": 3}, "label.*must be text, got int"),
            ({"answer": None}, "answer.*must be text"),
            ({"notes": "one text"}, "notes.*list of texts"),
            ({"named_parts": ("hand", 7)}, "named_parts.*must be text, got int"),
            ({"parts": {"hand": [0, 4]}}, r"'hand' names vertices 0\.\.4, but there are only 4"),
            ({"parts": {"hand": [-1]}}, r"names vertices -1"),
            ({"parts": {"hand": [0.5]}}, "whole numbers"),
            ({"parts": [1, 2]}, "map names to vertex ids"),
            ({"view_masks": {"top": np.zeros(3)}}, r"shape \(3,\)"),
            ({"view_masks": {"top": [[2.0]]}}, "apply the sigmoid"),
            ({"view_masks": {"top": [[np.nan]]}}, r"\[0, 1\]"),
            ({"view_masks": np.zeros((1, 2, 2))}, "map names of views"),
        ],
    )
    def test_wrong_words_parts_and_masks_are_refused_by_name(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            full_map(**changes)

    def test_what_is_given_is_copied(self) -> None:
        mask, ids = np.zeros((2, 2), np.float32), np.array([0, 1])
        contact = full_map(view_masks={"top": mask}, parts={"hand": ids})
        mask[:], ids[:] = 1, 3
        assert contact.view_masks is not None
        assert contact.view_masks["top"].max() == 0
        assert contact.parts["hand"].tolist() == [0, 1]

    def test_repr_fits_a_line_and_says_what_matters(self) -> None:
        text = repr(full_map(answer="x" * 5000, notes=("n" * 500, "b"), label="very\nlong " * 50))
        assert "\n" not in text
        assert len(text) < 300
        assert "2 of 4 vertices above 0.5, highest 1.00" in text
        assert "names left hand" in text
        assert "2 notes" in text
        assert repr(ContactMap([0.0], "m")) == (
            "<ContactMap: contact on m; 0 of 1 vertices above 0.5, highest 0.00; from unknown>"
        )

    def test_replace_keeps_the_rest_and_checks(self) -> None:
        assert full_map().replace(label="bat").answer == full_map().answer
        with pytest.raises(InputError):
            full_map().replace(probability=[2.0])


class TestMerge:
    @settings(max_examples=30, deadline=None)
    @given(hnp.arrays(np.float64, (3, 5), elements=UNIT))
    def test_each_vertex_has_the_highest_probability_whatever_the_order(self, values: np.ndarray) -> None:
        maps = [ContactMap(row, "m") for row in values]
        merged = ContactMap.merge(maps)
        assert merged.probability.tolist() == [max(column) for column in values.T.tolist()]
        assert merged.probability.tolist() == ContactMap.merge(maps[::-1]).probability.tolist()
        # Contact with any: the union of the single contacts.
        assert merged.binary().tolist() == np.logical_or.reduce([m.binary() for m in maps]).tolist()

    def test_words_are_gathered_each_once(self) -> None:
        first = full_map(label="bench", answer="a", named_parts=("seat", "left hand"), notes=())
        second = full_map(label="bottle", answer="b", parts={"left hand": [1], "sole": [2]})
        merged = ContactMap.merge([first, second], source="mine")
        assert (merged.label, merged.answer, merged.source) == ("bench, bottle", "a\nb", "mine")
        assert merged.named_parts == ("seat", "left hand")
        assert merged.notes == ("several contact tokens: first taken",)
        assert {name: ids.tolist() for name, ids in merged.parts.items()} == {"left hand": [0, 3], "sole": [2]}
        assert merged.view_masks is None

    def test_maps_of_different_meshes_are_refused(self) -> None:
        with pytest.raises(TopologyError, match="map 1"):
            ContactMap.merge([full_map(4), full_map(5)])
        with pytest.raises(InputError, match="at least one"):
            ContactMap.merge([])


class ToyParts:
    names = ("palm", "sole", "empty")
    ids = np.array([0, 0, 0, 1])

    def verts_of(self, *names: str) -> np.ndarray:
        return np.flatnonzero(self.ids == self.names.index(names[0]))


class TestToParts:
    def test_closed_form(self) -> None:
        contact = ContactMap([0.9, 0.5, 0.1, 0.6], "m")
        found = contact.to_parts({"palm": [0, 1, 2], "sole": [3], "nothing": []})
        assert list(found) == ["palm", "sole"]
        palm = found["palm"]
        assert palm.share == pytest.approx(1 / 3)  # one half is not above one half
        assert (palm.highest, palm.num_verts) == (0.9, 3)
        assert palm.mean == pytest.approx(0.5)
        assert found["sole"] == PartContact(1.0, 0.6, 0.6, 1)
        assert contact.to_parts({"palm": [0, 1, 2]}, threshold=0.05)["palm"].share == 1.0

    def test_an_object_with_names_gives_what_its_mapping_gives(self) -> None:
        contact = ContactMap([0.9, 0.5, 0.1, 0.6], "m")
        assert contact.to_parts(ToyParts()) == contact.to_parts({"palm": [0, 1, 2], "sole": [3]})

    def test_the_maps_own_parts_are_the_default(self) -> None:
        assert full_map().to_parts() == full_map().to_parts({"left hand": [0, 3]})
        assert full_map().to_parts()["left hand"].share == 0.5

    @pytest.mark.parametrize(("touched", "named"), [(0, False), (1, True), (2, True)])
    def test_a_part_is_named_from_a_tenth_of_its_vertices_on(self, touched: int, named: bool) -> None:
        contact = ContactMap(np.arange(10) < touched, "m")
        assert contact.touched_parts({"hand": range(10)}) == (("hand",) if named else ())
        assert ContactMap(np.arange(11) < 1, "m").touched_parts({"hand": range(11)}) == ()

    def test_a_vertex_named_twice_counts_once(self) -> None:
        assert ContactMap([1.0, 0.0], "m").to_parts({"hand": [0, 0, 0, 1]})["hand"].share == 0.5

    def test_advice_where_no_parts_fit(self) -> None:
        with pytest.raises(InputError, match="no parts of 'm' are known: give them"):
            ContactMap([0.0], "m").to_parts()
        with pytest.raises(TopologyError, match=r"mesh of 4 vertices.*5 vertices"):
            full_map(5).to_parts(ToyParts())
        with pytest.raises(InputError, match="got list"):
            full_map().to_parts(["hand"])
        with pytest.raises(InputError, match="only 4"):
            full_map().to_parts({"hand": [9]})

    def test_parts_of_the_free_body(self) -> None:
        pytest.importorskip("torch")
        from hoirecon.data.body import load_body

        model = load_body()
        palm = model.parts.verts_of("left_palm")
        contact = ContactMap(np.isin(np.arange(model.num_verts), palm), model.topology)
        assert contact.touched_parts(model.parts) == ("left_palm",)
        assert contact.to_parts(model.parts)["left_palm"] == PartContact(1.0, 1.0, 1.0, len(palm))


@st.composite
def maps(draw: st.DrawFn) -> ContactMap:
    probability = draw(hnp.arrays(np.float64, st.integers(1, 6), elements=UNIT))
    ids = st.lists(st.integers(0, len(probability) - 1), max_size=4)
    mask = hnp.arrays(np.float32, (2, 3), elements=st.floats(0, 1, width=32))
    texts = st.lists(TEXT, max_size=3).map(tuple)
    parts, views = st.dictionaries(TEXT, ids, max_size=3), st.dictionaries(TEXT, mask, max_size=2)
    topology, source, label, answer = (draw(TEXT) for _ in range(4))
    given = draw(parts), draw(st.none() | views)
    return ContactMap(probability, topology, source, label, answer, draw(texts), draw(texts), *given)


class TestOurFiles:
    @settings(max_examples=40, deadline=None)
    @given(maps())
    def test_every_bit_comes_back(self, contact: ContactMap) -> None:
        with tempfile.TemporaryDirectory() as folder:
            contact.save(Path(folder) / "a.npz")
            assert_equal(ContactMap.load(Path(folder) / "a.npz"), contact)

    def test_the_path_comes_back_and_another_kind_of_file_is_refused(self, tmp_path: Path) -> None:
        assert full_map().save(str(tmp_path / "a.npz")) == tmp_path / "a.npz"
        with pytest.raises(InputError, match=r"contact maps are written as .npz, got 'cm.json': name it cm.npz"):
            full_map().save(tmp_path / "cm.json")
        assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]

    def test_another_mesh_than_asked_for_is_refused(self, tmp_path: Path) -> None:
        full_map().save(tmp_path / "a.npz")
        assert ContactMap.load(tmp_path / "a.npz", topology="m").label == "tennis racket"
        with pytest.raises(TopologyError, match="on 'm', but 'chair'"):
            ContactMap.load(tmp_path / "a.npz", topology="chair")

    @pytest.mark.parametrize(
        "changes",
        [
            {"schema": "x"},
            {"schema_version": 2},
            {"label": 3},
            {"notes": "text"},
            {"notes": [1]},
            {"parts": None},
            {"parts": ["a"] * 20_000},
            {"parts": ["a", "b"]},
            {"views": 1},
            {"views": ["topfront", "more"]},
        ],
    )
    def test_a_changed_header_is_an_input_error(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        _rewrite(tmp_path, changes, {})
        with pytest.raises(InputError, match=r"a\.npz"):
            ContactMap.load(tmp_path / "a.npz")

    @pytest.mark.parametrize("key", ["topology", "source", "label", "answer", "named_parts", "notes", "parts", "views"])
    def test_a_missing_key_is_an_input_error(self, tmp_path: Path, key: str) -> None:
        _rewrite(tmp_path, {key: ...}, {})
        with pytest.raises(InputError, match=f"damaged.*{key}"):
            ContactMap.load(tmp_path / "a.npz")

    @pytest.mark.parametrize(
        "arrays",
        [
            {"header": np.frombuffer(b"[" * 200_000, np.uint8)},
            {"header": np.frombuffer(b"\xff{}", np.uint8)},
            {"header": np.frombuffer(b"[]", np.uint8)},
            {"probability": np.array([np.nan, 0, 0, 0])},
            {"probability": np.array([1.0001, 0, 0, 0])},
            {"probability": np.zeros((2, 2))},
            {"probability": np.zeros(0)},
            {"part_0": np.array([99])},
            {"view_0": np.full((2, 2), 7.0)},
        ],
    )
    def test_hostile_arrays_are_an_input_error(self, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
        _rewrite(tmp_path, {}, arrays)
        with pytest.raises(InputError, match=r"a\.npz"):
            ContactMap.load(tmp_path / "a.npz")

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 3000), st.integers(0, 255))
    def test_no_changed_byte_ends_in_anything_but_an_input_error(self, place: int, value: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.npz"
            full_map().save(path)
            data = bytearray(path.read_bytes())
            data[place % len(data)] = value
            path.write_bytes(data)
            with contextlib.suppress(InputError):
                ContactMap.load(path)


def _rewrite(folder: Path, changes: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    full_map().save(folder / "a.npz")
    with np.load(folder / "a.npz") as file:
        held = dict(file)
    header = json.loads(held["header"].tobytes())
    header = {k: v for k, v in {**header, **changes}.items() if v is not ...}
    held["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(folder / "a.npz", **{**held, **arrays})


class TestFilesOfTheReference:
    def test_a_persons_file_has_its_keys_shapes_and_types(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        body, other = ContactMap(rng.random(6890), "smplh"), ContactMap(rng.random(10475), "smplx")
        body.save(tmp_path / "a_hcontact_vertices.npz", layout="reference", smplx=other)
        with np.load(tmp_path / "a_hcontact_vertices.npz") as file:
            kinds = {name: (array.shape, str(array.dtype)) for name, array in file.items()}
        assert kinds == {
            "pred_contact_3d_smplh": ((1, 6890), "float32"),
            "pred_contact_3d_smplx": ((10475,), "float32"),
        }
        for topology, wanted in ((None, body), ("smplh", body), ("smplx", other)):
            back = ContactMap.load(tmp_path / "a_hcontact_vertices.npz", topology)
            assert (back.topology, back.source) == (wanted.topology, "interactvlm")
            np.testing.assert_array_equal(back.probability, wanted.probability.astype(np.float32))
        assert ContactMap.load(tmp_path / "a_hcontact_vertices.npz", "smpl").topology == "smpl"

    def test_an_objects_file_has_its_key_shape_and_type(self, tmp_path: Path) -> None:
        full_map().save(tmp_path / "a.npz", layout="reference")
        with np.load(tmp_path / "a.npz") as file:
            assert {n: (a.shape, str(a.dtype)) for n, a in file.items()} == {"pred_contact_3d": ((1, 4), "float32")}
        back = ContactMap.load(tmp_path / "a.npz", topology="m")
        np.testing.assert_allclose(back.probability, full_map().probability, atol=1e-7)
        with pytest.raises(InputError, match=r"4 vertices.*topology=mesh\.topology"):
            ContactMap.load(tmp_path / "a.npz")
        with pytest.raises(TopologyError, match="4 values, but smplh has 6890"):
            ContactMap.load(tmp_path / "a.npz", topology="smplh")

    def test_smplx_alone_is_written_and_read_as_such(self, tmp_path: Path) -> None:
        ContactMap.none(10475, "smplx").save(tmp_path / "a.npz", layout="reference")
        assert ContactMap.load(tmp_path / "a.npz").topology == "smplx"
        with pytest.raises(TopologyError, match="no contact on smplh"):
            ContactMap.load(tmp_path / "a.npz", topology="smplh")

    def test_rounding_outside_the_unit_interval_is_cut_off_and_more_is_refused(self, tmp_path: Path) -> None:
        values = np.array([[-1e-6, 1 + 1e-6, 0.5]], np.float32)
        np.savez(tmp_path / "a.npz", pred_contact_3d=values)
        assert ContactMap.load(tmp_path / "a.npz", "m").probability.tolist() == [0.0, 1.0, 0.5]
        np.savez(tmp_path / "a.npz", pred_contact_3d=values * 2)
        with pytest.raises(InputError, match="probabilities in"):
            ContactMap.load(tmp_path / "a.npz", "m")

    def test_what_the_layout_does_not_know_is_refused_with_advice(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        with pytest.raises(InputError, match="transfer the"):
            ContactMap.none(6902, "hoirecon-free-body-1").save(path, layout="reference")
        with pytest.raises(TopologyError, match="6890"):
            ContactMap.none(5, "smplh").save(path, layout="reference")
        with pytest.raises(TopologyError, match="one on smplx"):
            ContactMap.none(6890, "smplh").save(path, layout="reference", smplx=full_map())
        with pytest.raises(InputError, match="unknown layout 'csv'"):
            full_map().save(path, layout="csv")
        with pytest.raises(InputError, match="file of its own"):
            full_map().save(path, smplx=full_map())
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("array", [np.zeros((2, 3)), np.zeros((1, 0)), np.full((1, 3), np.nan), np.float32(1)])
    def test_wrong_arrays_are_refused_by_key(self, tmp_path: Path, array: np.ndarray) -> None:
        np.savez(tmp_path / "a.npz", pred_contact_3d=array)
        with pytest.raises(InputError, match="pred_contact_3d"):
            ContactMap.load(tmp_path / "a.npz", "m")

    def test_strangers_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        with pytest.raises(InputError, match="does not exist"):
            ContactMap.load(path)
        np.savez(path, other=np.zeros(3))
        with pytest.raises(InputError, match=r"holds no contact map.*but other"):
            ContactMap.load(path)
        np.savez(path, pred_contact_3d=np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(InputError):
            ContactMap.load(path, "m")
        path.write_bytes(b"no zip")
        with pytest.raises(InputError, match="damaged"):
            ContactMap.load(path)

    def test_a_zip_bomb_is_refused_before_it_is_unpacked(self, tmp_path: Path) -> None:
        stream = io.BytesIO()
        np.save(stream, np.zeros(1, np.float32))
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("pred_contact_3d.npy", stream.getvalue() + bytes(300 << 20))
        assert (tmp_path / "a.npz").stat().st_size < 1 << 20
        with pytest.raises(InputError, match="limit"):
            ContactMap.load(tmp_path / "a.npz", "m")


def _scene(pair: tuple[ContactMap, ContactMap]) -> Scene:
    mesh = Mesh(np.eye(4)[:, :3], [[0, 1, 2], [0, 2, 3]], "thing")
    body = SceneBody(BodyParams.rest(topology="m"), np.eye(4)[:, :3], [[0, 1, 2]], np.zeros((1, 3)))
    thing = SceneObject("thing", "", mesh, ObjectPose(np.eye(3), [0, 0, 2], 1.0))
    seen = Observation(np.zeros((4, 5, 3), np.uint8), Camera.default(5, 4))
    return Scene(seen, (body,), (thing,), (ScenePair(0, 0, pair[0], pair[1].replace(topology=mesh.topology)),))


class TestScenes:
    def test_a_scene_keeps_the_words_but_not_the_masks(self, tmp_path: Path) -> None:
        write_scene(_scene((full_map(), full_map(label="Löffel \u2028"))), tmp_path / "s")
        pair = load_scene(tmp_path / "s").contacts[0]
        assert_equal(pair.body_contact, full_map(parts={}, view_masks=None))
        assert pair.object_contact.label == "Löffel \u2028"

    def test_scenes_from_before_the_words_are_read(self, tmp_path: Path) -> None:
        write_scene(_scene((full_map(), full_map())), tmp_path / "s")
        header = json.loads((tmp_path / "s" / "scene.json").read_text(encoding="utf-8"))
        for side in ("body_contact", "object_contact"):
            for key in ("label", "answer", "named_parts", "notes"):
                del header["contacts"][0][side][key]
        (tmp_path / "s" / "scene.json").write_text(json.dumps(header))
        contact = load_scene(tmp_path / "s").contacts[0].body_contact
        assert (contact.label, contact.answer, contact.named_parts, contact.notes) == ("", "", (), ())


def test_thresholds_are_moved_to_one_half() -> None:
    values = np.linspace(0, 1, 101)
    shifted = ContactMap(values, "mesh", label="bat").with_threshold_at_half(0.25)
    assert shifted.probability[25] == pytest.approx(0.5)
    assert (np.diff(shifted.probability) > 0).all()
    assert (shifted.probability[0], shifted.probability[-1], shifted.label) == (0.0, 1.0, "bat")
    for threshold in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            shifted.with_threshold_at_half(threshold)
