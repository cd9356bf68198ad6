"""Scene files: bit-exact round trips of made-up scenes, and one clear sentence for every kind of damage."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import tempfile
import zipfile
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from hoirecon.pose import ObjectPose
from hoirecon.safe_io import read_arrays, read_png, write_arrays
from hoirecon.scene import Measure, Scene, SceneBody, SceneObject, ScenePair
from hoirecon.scene_io import load_scene, plain, write_scene

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
COORD = st.floats(-1e6, 1e6)


def _floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Values over many magnitudes, with -0.0 and subnormals among them."""
    values = rng.normal(size=shape) * 10.0 ** rng.integers(-12, 6, shape)
    return np.where(rng.random(shape) < 0.05, rng.choice([-0.0, 5e-324, 1 / 3]), values)


def _mesh(rng: np.random.Generator, name: str, colored: bool) -> Mesh:
    count = int(rng.integers(3, 9))
    faces = np.array([rng.permutation(count)[:3] for _ in range(int(rng.integers(1, 6)))])
    colors = rng.integers(0, 256, (count, 3), dtype=np.uint8) if colored else None
    return Mesh(_floats(rng, count, 3), faces, name, colors)


def _pose(rng: np.random.Generator, scale: float = 1.0) -> ObjectPose:
    return ObjectPose(Rotation.random(random_state=rng).as_matrix(), _floats(rng, 3), scale)


def _body(rng: np.random.Generator, topology: str, landmarks: int | None = None) -> SceneBody:
    mesh = _mesh(rng, "body", False)
    sizes = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "transl": 3}
    params = BodyParams(
        betas=_floats(rng, int(rng.integers(1, 12))),
        topology=topology,
        **{name: _floats(rng, size) for name, size in sizes.items()},
    )
    points = None if landmarks is None else _floats(rng, landmarks, 3)
    return SceneBody(params, mesh.verts, mesh.faces, _floats(rng, 4, 3), points)


def _observation(rng: np.random.Generator, num_masks: int, notes: tuple[str, ...], full: bool) -> Observation:
    height, width = (int(v) for v in rng.integers(1, 14, 2))

    def mask() -> np.ndarray:
        return np.asarray(rng.random((height, width)) < 0.5)

    count = int(rng.integers(1, 5))
    xyz = _floats(rng, count, 3) if rng.random() < 0.5 else None
    return Observation(
        image=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        camera=Camera.from_focal(float(rng.uniform(1, 1e4)), width, height, "exif"),
        person_mask=mask() if full else None,
        object_masks=tuple(mask() for _ in range(num_masks)),
        occluders=mask() if full else None,
        keypoints=Keypoints("blazepose33", _floats(rng, count, 2), rng.random(count), xyz) if full else None,
        person_box=(0.1, 0.2, 3.0, 1 / 3) if full else None,
        notes=notes,
    )


@st.composite
def _objects(draw: st.DrawFn, rng: np.random.Generator) -> SceneObject:
    energies = draw(st.lists(FLOAT, max_size=3))
    others = tuple(_pose(rng, draw(st.floats(1e-3, 1e3))) for _ in energies)
    return SceneObject(
        draw(TEXT),
        draw(TEXT),
        _mesh(rng, draw(TEXT), draw(st.booleans())),
        _pose(rng, draw(st.floats(1e-3, 1e3))),
        draw(TEXT),
        draw(TEXT),
        others,
        tuple(energies) if draw(st.booleans()) else (),
    )


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 2))
    observation = _observation(rng, count, draw(st.lists(TEXT, max_size=2).map(tuple)), draw(st.booleans()))
    seen = None if observation.keypoints is None else len(observation.keypoints.xy)
    bodies = tuple(
        _body(rng, draw(TEXT), draw(st.sampled_from([None, seen or 3]))) for _ in range(draw(st.integers(1, 2)))
    )
    objects = tuple(draw(_objects(rng)) for _ in range(count))
    pairs = tuple(
        ScenePair(
            0,
            k,
            ContactMap(rng.random(len(bodies[0].verts)), bodies[0].topology, "geometric"),
            ContactMap(rng.random(len(obj.mesh.verts)), obj.mesh.topology, draw(TEXT)),
        )
        for k, obj in enumerate(objects)
    )
    units = st.sampled_from(["px", "mm", "deg", "m", "ratio", "count", "s"])
    config_values = st.recursive(
        st.none() | st.booleans() | st.integers() | FLOAT | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    )
    return Scene(
        observation=observation,
        bodies=bodies,
        objects=objects,
        contacts=pairs,
        measures=draw(
            st.dictionaries(TEXT, st.builds(Measure, FLOAT | st.just(float("inf")), units, TEXT), max_size=3)
        ),
        flags=tuple(draw(st.lists(TEXT, max_size=2))),
        versions=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        config=draw(st.dictionaries(TEXT, config_values, max_size=3)),
    )


def assert_same(a: Any, b: Any, where: str = "scene") -> None:
    """Walk two values side by side; arrays must have equal dtype, shape and bytes."""
    assert type(a) is type(b), f"{where}: {type(a)} against {type(b)}"
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        assert a.shape == b.shape, where
        assert a.tobytes() == b.tobytes(), where
    elif is_dataclass(a):
        for f in fields(a):
            assert_same(getattr(a, f.name), getattr(b, f.name), f"{where}.{f.name}")
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{k}]")
    elif isinstance(a, float):
        assert np.float64(a).tobytes() == np.float64(b).tobytes(), where
    else:
        assert a == b, where


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenes())
def test_every_bit_comes_back(scene: Scene) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_scene(scene, folder)
        assert_same(load_scene(folder), scene)
        assert_same(load_scene(f"{folder}/scene.json"), scene)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    obj_mesh = _mesh(rng, "box", True)
    body = _body(rng, "toy")
    scene = Scene(
        observation=_observation(rng, 1, (), True),
        bodies=(body,),
        objects=(SceneObject("box", "box", obj_mesh, ObjectPose(np.eye(3), np.array([0, 0, 2.0]), 1.0)),),
        contacts=(
            ScenePair(
                0,
                0,
                ContactMap(rng.random(len(body.verts)), "toy"),
                ContactMap(rng.random(len(obj_mesh.verts)), obj_mesh.topology),
            ),
        ),
        measures={"landmarks": Measure(3.5, "px", "median")},
        versions={"hoirecon": "0.1.0"},
    )
    write_scene(scene, tmp_path / "out")
    return tmp_path / "out"


def _edit(folder: Path, **changes: Any) -> None:
    header = json.loads((folder / "scene.json").read_text())
    header.update(changes)
    (folder / "scene.json").write_text(json.dumps(header))


def _header(folder: Path) -> dict[str, Any]:
    header: dict[str, Any] = json.loads((folder / "scene.json").read_text())
    return header


def test_the_header_says_frame_units_and_axes_in_words(result: Path) -> None:
    header = _header(result)
    assert "x right, y down, z forward" in header["conventions"]["frame"]
    assert "metres" in header["conventions"]["units"]
    assert header["measures"]["landmarks"] == {"value": 3.5, "unit": "px", "meaning": "median"}


def test_a_folder_without_a_scene_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a result folder"):
        load_scene(tmp_path)


@pytest.mark.parametrize("name", ["scene.npz", "photo.png"])
@pytest.mark.parametrize("damage", ["missing", "cut", "one bit", "empty"])
def test_damaged_files_are_refused(result: Path, name: str, damage: str) -> None:
    path = result / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "one bit":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(InputError, match=name):
        load_scene(result)


@pytest.mark.parametrize("name", ["scene.npz", "photo.png"])
def test_files_of_another_result_are_refused(result: Path, tmp_path: Path, name: str) -> None:
    """Whole and readable, but not what scene.json was written with."""
    scene = load_scene(result)
    image = 255 - scene.observation.image
    body = replace(scene.body, verts=scene.body.verts + 1)
    other = replace(scene, observation=scene.observation.replace(image=image), bodies=(body,))
    write_scene(other, tmp_path / "other")
    (result / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(InputError, match=f"{name} is not the file"):
        load_scene(result)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": "other"}', "\x00\xff"])
def test_a_damaged_header_is_refused(result: Path, text: str) -> None:
    (result / "scene.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError):
        load_scene(result)


def test_another_schema_version_says_who_wrote_it(result: Path) -> None:
    _edit(result, schema_version=99, versions={"hoirecon": "9.9"})
    with pytest.raises(InputError, match=r"schema version 99.*hoirecon 9\.9"):
        load_scene(result)


HEADER_PARTS = ["camera", "observation", "bodies", "objects", "contacts", "measures", "flags", "versions", "files"]


@pytest.mark.parametrize("key", HEADER_PARTS)
@pytest.mark.parametrize("value", [None, 7, "text", [1], {"a": 1}, [{}]])
def test_any_wrong_part_of_the_header_ends_in_an_input_error(result: Path, key: str, value: Any) -> None:
    harmless = (key == "flags" and isinstance(value, list | dict | str)) or (key == "versions" and value == {"a": 1})
    _edit(result, **{key: value})
    if harmless:
        load_scene(result)
    else:
        with pytest.raises(InputError):
            load_scene(result)


@pytest.mark.parametrize("key", HEADER_PARTS)
def test_any_missing_part_of_the_header_ends_in_an_input_error(result: Path, key: str) -> None:
    header = _header(result)
    del header[key]
    (result / "scene.json").write_text(json.dumps(header))
    with pytest.raises(InputError):
        load_scene(result)


def test_results_from_before_landmarks_and_alternatives_are_read(result: Path) -> None:
    header = _header(result)
    del header["bodies"][0]["num_landmarks"]
    del header["objects"][0]["alternatives"]
    (result / "scene.json").write_text(json.dumps(header))
    scene = load_scene(result)
    assert scene.body.landmarks is None
    assert scene.objects[0].alternatives == ()
    assert scene.objects[0].alternative_energies == ()


@pytest.mark.parametrize("value", [7, "text", [1], {"a": 1}, [{}], [{"R": 1, "t": 2, "s": 3}]])
def test_damaged_alternatives_end_in_an_input_error(result: Path, value: Any) -> None:
    header = _header(result)
    header["objects"][0]["alternatives"] = value
    (result / "scene.json").write_text(json.dumps(header))
    with pytest.raises(InputError):
        load_scene(result)


def test_landmarks_must_be_those_of_the_photograph(result: Path) -> None:
    scene = load_scene(result)
    assert scene.observation.keypoints is not None
    count = len(scene.observation.keypoints.xy)
    replace(scene, bodies=(replace(scene.body, landmarks=np.zeros((count, 3))),))
    with pytest.raises(InputError, match="same order"):
        replace(scene, bodies=(replace(scene.body, landmarks=np.zeros((count + 1, 3))),))


def test_each_alternative_has_its_energy_or_none_has(result: Path) -> None:
    obj = load_scene(result).objects[0]
    with pytest.raises(InputError, match="1 alternatives but 2"):
        replace(obj, alternatives=(obj.pose,), alternative_energies=(1.0, 2.0))


def _npz(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("the pickle was executed",)


def test_pickles_are_never_executed() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    for data in (stream.getvalue(), pickle.dumps(Bomb())):
        with pytest.raises(InputError):
            read_arrays(_npz({"a.npy": data}), "evil.npz")
    with pytest.raises(InputError):
        read_arrays(pickle.dumps(Bomb()), "evil.npz")


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    data = _npz({"a.npy": _npy(np.zeros(10_000_000, np.uint8))})
    assert len(data) < 20_000
    with pytest.raises(InputError, match="limit"):
        read_arrays(data, "bomb.npz", max_bytes=1_000_000)


def test_a_header_that_claims_more_than_it_holds_is_refused() -> None:
    claimed = _npy(np.zeros(10)).replace(b"(10,)", b"(10000000000000,)")
    with pytest.raises(InputError, match="states shape"):
        read_arrays(_npz({"a.npy": claimed}), "liar.npz")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255))
def test_no_changed_byte_of_an_npz_ends_in_anything_but_an_input_error(place: int, value: int) -> None:
    data = bytearray(_npz({"a.npy": _npy(np.arange(6.0)), "b.npy": _npy(np.ones((2, 3), bool))}))
    data[place % len(data)] = value
    with contextlib.suppress(InputError):
        read_arrays(bytes(data), "x.npz")


def test_arrays_keep_order_dtype_and_strides_do_not_matter(tmp_path: Path) -> None:
    arrays = {"f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "s": np.arange(10, dtype=np.int16)[::3]}
    write_arrays(arrays, tmp_path / "a.npz")
    back = read_arrays((tmp_path / "a.npz").read_bytes(), "a.npz")
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_object_arrays_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="numbers"):
        write_arrays({"a": np.array([{}])}, tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_is_no_png_is_refused() -> None:
    with pytest.raises(InputError, match="damaged"):
        read_png(b"GIF89a" + bytes(100), "photo.png")


def test_plain_values() -> None:
    value = plain({"p": Path("a/b"), "t": (1, 2), "n": np.float32(0.5), "i": float("inf"), 3: {1}}, "config")
    assert value == {"p": "a/b", "t": [1, 2], "n": 0.5, "i": "inf", "3": [1]}
    with pytest.raises(InputError, match=r"config\.f"):
        plain({"f": print}, "config")


def test_nothing_is_written_when_the_config_cannot_be(result: Path, tmp_path: Path) -> None:
    scene = replace(load_scene(result), config={"f": print})
    with pytest.raises(InputError):
        write_scene(scene, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
