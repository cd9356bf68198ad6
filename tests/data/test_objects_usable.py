"""From a mesh to an object for the fit: symmetry, up, size, frames, cache."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from hoirecon.data.objects import Symmetry, get_category, load_object
from hoirecon.data.objects.orientation import OrientationConfig, guess_orientation, right_angle_turns
from hoirecon.data.objects.size import MetricSize, metric_size
from hoirecon.data.objects.symmetry_detection import SymmetryConfig, detect_symmetry, turn
from hoirecon.data.objects.usable import UsableObject, usable_from_library, usable_object
from hoirecon.data.objects.usable_cache import ObjectCache, content_key
from hoirecon.errors import InputError
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.mesh import Mesh

pytest.importorskip("open3d")


def _mesh(shape: Any) -> Mesh:
    return Mesh(shape.vertices, shape.faces)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (trimesh.creation.icosphere(4), "ball"),
        (trimesh.creation.cylinder(1, 3, sections=96), "z:inf x:2"),
        (trimesh.creation.cone(1, 3, sections=96), "z:inf"),
        (trimesh.creation.box((1, 2, 3)), "x:2 y:2 z:2"),
        (trimesh.creation.box((1, 1, 3)), "x:2 y:2 z:4"),
        (trimesh.creation.cylinder(1, 0.5, sections=6), "x:2 y:2 z:6"),
        (trimesh.creation.cone(1, 1, sections=4), "z:4"),
    ],
)
def test_symmetry_of_solids(shape: Any, words: str) -> None:
    assert detect_symmetry(_mesh(shape)) == Symmetry.parse(words)


def test_symmetry_moves_with_the_mesh_and_needs_no_place() -> None:
    cup = load_object("bottle").mesh
    assert detect_symmetry(cup).continuous == ("y",)
    tipped = cup.with_verts(cup.verts @ turn("x", np.pi / 2).T * 40 + 7)
    assert detect_symmetry(tipped).continuous == ("z",)
    assert detect_symmetry(load_object("chair").mesh).is_trivial
    with pytest.raises(InputError, match="cannot look for"):
        SymmetryConfig(tolerance=0)


def test_there_are_24_right_angle_turns_and_they_are_a_group() -> None:
    turns = right_angle_turns()
    assert turns.shape == (24, 3, 3)
    np.testing.assert_array_equal(turns[0], np.eye(3))
    assert np.allclose(np.linalg.det(turns), 1)
    products = {tuple((a @ b).ravel().astype(int)) for a in turns for b in turns}
    assert len(products) == 24


@pytest.mark.parametrize("name", ["chair", "couch", "toilet"])
def test_up_and_front_are_found_by_the_category(name: str) -> None:
    obj = load_object(name)
    for k in (0, 5, 13, 22):
        R = right_angle_turns()[k]
        guess = guess_orientation(obj.mesh.with_verts(3 * obj.mesh.verts @ R.T - 5), name, leave_out=(obj.id,))
        np.testing.assert_allclose(guess.R_obj_source @ R, np.eye(3), atol=1e-12)
        assert guess.evidence == "category"


def test_axes_that_are_known_are_taken() -> None:
    chair = load_object("chair").mesh
    z_up = chair.with_verts(chair.verts @ turn("x", np.pi / 2).T)
    given = guess_orientation(z_up, None, OrientationConfig(axes="+z"))
    np.testing.assert_allclose(given.R_obj_source @ [0, 0, 1], [0, 1, 0])
    assert given.evidence == "given"
    np.testing.assert_array_equal(guess_orientation(z_up, "chair", OrientationConfig("keep")).R_obj_source, np.eye(3))
    front_too = guess_orientation(z_up, "chair", OrientationConfig(axes="+z"))
    np.testing.assert_allclose(front_too.R_obj_source, turn("x", -np.pi / 2), atol=1e-12)
    with pytest.raises(InputError, match="axes is"):
        OrientationConfig(axes="up")
    with pytest.raises(InputError, match="file_up"):
        OrientationConfig(file_up=0)


def test_the_file_counts_where_nothing_else_is_known() -> None:
    vase = load_object("vase").mesh
    np.testing.assert_array_equal(guess_orientation(vase).R_obj_source[1], [0, 1, 0])


def test_sizes_and_who_states_them() -> None:
    chair = get_category("chair")
    assert metric_size("chair") == MetricSize(chair.size_median, chair.size_log_sigma, "category")
    assert metric_size("chair", 0.5).longest == 0.5
    assert metric_size("chair", lambda name: 0.7) == MetricSize(0.7, 0.25, "callable")
    assert metric_size("chair", lambda name: (0.7, 0.1)) == MetricSize(0.7, 0.1, "callable")
    for nonsense in (None, "big", -3, math.nan, math.inf, (1, 2, 3), 1e9):
        assert metric_size("chair", lambda name, n=nonsense: n).evidence == "category"  # type: ignore[misc]
    assert metric_size(None).evidence == "unknown"
    for wrong in (-1.0, math.nan, 0, True, "large"):
        with pytest.raises(InputError):
            metric_size("chair", wrong)
    both = MetricSize(1.0, 0.1).with_other(MetricSize(2.0, 0.3))
    assert math.log(both.longest) == pytest.approx(math.log(2) * (1 / 0.09) / (1 / 0.09 + 1 / 0.01))
    assert MetricSize(1.0, 0.0).with_other(MetricSize(2.0, 0.3)).longest == 1.0


def test_millimetres_with_z_up_become_a_chair_of_usual_size(tmp_path: Path) -> None:
    obj = load_object("chair/plain")
    R = turn("x", np.pi / 2)
    source = obj.mesh.with_verts(1000 * obj.mesh.verts @ R.T + [300, 20, 5])
    thing = usable_object(source, "Chair", cache=ObjectCache(tmp_path))
    assert thing.category == "chair"
    assert thing.size.evidence == "category"
    assert thing.up_obj == (0, 1, 0)
    scale = thing.mesh.extents.max() / obj.mesh.extents.max()
    np.testing.assert_allclose(thing.mesh.extents, obj.mesh.extents * scale, rtol=1e-4)
    # The similarity takes the source to the object, point by point.
    homogeneous = np.c_[source.verts, np.ones(len(source.verts))] @ thing.T_obj_source.T
    np.testing.assert_allclose(np.ptp(homogeneous[:, :3], axis=0), thing.mesh.extents, rtol=1e-4)
    np.testing.assert_allclose(homogeneous[:, :3], obj.mesh.verts * scale, atol=2e-3)
    assert thing.grid is not None
    assert thing.grid.values.min() < 0 < thing.grid.values.max()
    fit = ObjectToFit(**thing.fit_arguments())
    assert fit.size_prior == pytest.approx((0.0, get_category("chair").size_log_sigma))
    by_unit = usable_object(source, "chair", unit="mm", cache=ObjectCache(tmp_path))
    np.testing.assert_allclose(by_unit.mesh.extents, obj.mesh.extents, rtol=1e-4)
    assert usable_object(source, "chair", unit="mm", size=1.5, cache=ObjectCache(tmp_path)).size.longest == 1.5


def test_rotations_of_the_source_are_carried_over(tmp_path: Path) -> None:
    obj = load_object("chair/plain")
    R = turn("x", np.pi / 2)
    thing = usable_object(obj.mesh.with_verts(obj.mesh.verts @ R.T), "chair", cache=ObjectCache(tmp_path))
    R_cam_source = turn("z", 0.4) @ turn("y", 1.1)
    seen = thing.with_source_rotations(R_cam_source)
    assert seen.initial_rotations is not None
    np.testing.assert_allclose(seen.initial_rotations[0], R_cam_source @ R, atol=1e-9)


def test_the_library_needs_nothing_made_good() -> None:
    obj = load_object("cup")
    thing = usable_from_library(obj, size=0.2)
    assert thing.mesh.topology == obj.mesh.topology
    assert thing.symmetry == obj.symmetry
    assert thing.size_prior[0] == pytest.approx(math.log(0.2 / obj.mesh.extents.max()))
    assert thing.licence == obj.licence
    assert thing.up_obj is None


def test_the_second_time_comes_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, cache = load_object("bowl").mesh, ObjectCache(tmp_path)
    first = usable_object(mesh, "bowl", cache=cache)

    def fail(*args: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr("hoirecon.data.objects.usable._made", fail)
    second = usable_object(mesh, "bowl", cache=cache)
    np.testing.assert_array_equal(first.mesh.verts, second.mesh.verts)
    assert (first.symmetry, first.notes, first.size) == (second.symmetry, second.notes, second.size)
    assert first.grid is not None
    assert second.grid is not None
    np.testing.assert_array_equal(first.grid.values, second.grid.values)
    monkeypatch.undo()
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:200])
    again = usable_object(mesh, "bowl", cache=cache)
    np.testing.assert_array_equal(first.mesh.verts, again.mesh.verts)


def test_the_cache_stays_within_its_size_and_drops_the_longest_unused(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, max_bytes=3_000)
    noise = np.random.default_rng(0).random((100,))
    for k, key in enumerate("abcd"):
        cache.write(key, {"x": noise}, {"k": k})
        for file in tmp_path.glob(f"{key}.npz"):
            os.utime(file, (k + 1, k + 1))
        if key == "b":
            assert cache.read("a") is not None  # used again: b is now the older one
    assert cache.read("b") is None
    assert cache.read("d") is not None
    assert sum(f.stat().st_size for f in tmp_path.glob("*")) <= 3_000
    ObjectCache(tmp_path / "none", max_bytes=0).write("a", {"x": noise}, {})
    assert not (tmp_path / "none").exists()
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    ObjectCache(blocked).write("a", {"x": noise}, {})  # no reason to fail


def test_keys_differ_by_everything_that_counts() -> None:
    x = np.arange(6.0)
    keys = {
        content_key("1", (), [x]),
        content_key("2", (), [x]),
        content_key("1", ("chair",), [x]),
        content_key("1", (SymmetryConfig(),), [x]),
        content_key("1", (SymmetryConfig(seed=1),), [x]),
        content_key("1", (), [x.reshape(2, 3)]),
        content_key("1", (), [x.astype(np.float32)]),
    }
    assert len(keys) == 7


def test_wrong_units_and_rotations_are_refused() -> None:
    mesh = load_object("cup").mesh
    with pytest.raises(InputError, match="unit is"):
        usable_object(mesh, "cup", unit="inch")
    thing: UsableObject = usable_from_library(load_object("cup"))
    with pytest.raises(InputError, match="initial_rotations"):
        replace(thing, initial_rotations=np.eye(3))
