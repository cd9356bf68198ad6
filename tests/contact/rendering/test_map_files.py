"""Files of the reference's layout: read as written, by others too; what does not fit is refused by name."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.contact.rendering import map_files
from hoirecon.contact.rendering.map_files import (
    read_body_maps,
    read_body_views,
    read_object_maps,
    read_object_views,
    read_point_maps,
    write_body_views,
    write_mesh_maps,
    write_object_views,
    write_point_maps,
)
from hoirecon.contact.rendering.types import PixelMaps, PointMaps, RenderedViews
from hoirecon.errors import InputError

NAMES = ("topfront", "bottomfront", "topback", "bottomback")
SIZE, NUM_VERTS = 8, 20


def random_views(seed: int = 0) -> RenderedViews:
    rng = np.random.default_rng(seed)
    shape = (len(NAMES), SIZE, SIZE)
    seen = rng.random(shape)[..., None] < 0.5
    verts = np.where(seen, rng.integers(0, NUM_VERTS, (*shape, 3)), -1).astype(np.int32)
    bary = np.where(seen, rng.dirichlet(np.ones(3), shape), -1).astype(np.float32)
    images = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    return RenderedViews(images, PixelMaps(verts, bary, NUM_VERTS, NAMES))


def random_points() -> PointMaps:
    points = np.random.default_rng(0).integers(-1, NUM_VERTS, (len(NAMES), SIZE, SIZE)).astype(np.int32)
    return PointMaps(points, NUM_VERTS, NAMES)


def same(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    for name, value in vars(want).items():
        np.testing.assert_array_equal(getattr(got, name), value, strict=isinstance(value, np.ndarray))


def same_views(got: RenderedViews, want: RenderedViews) -> None:
    same(got.maps, want.maps)
    np.testing.assert_array_equal(got.images, want.images)


def lift_dict(views: RenderedViews) -> dict[str, Any]:
    assert isinstance(views.maps, PixelMaps)
    return {
        "pixel_to_vertices_map": [v.astype(np.int64) for v in views.maps.verts],
        "bary_coords_map": list(views.maps.bary),
        "num_vertices": NUM_VERTS,
    }


# ---------------------------------------------------------------------------------------------------------- bodies


def test_a_body_is_read_as_it_was_written(tmp_path: Path) -> None:
    views = random_views()
    write_body_views(views, tmp_path)
    same_views(read_body_views(tmp_path, NAMES, NUM_VERTS), views)
    turned = read_body_maps(tmp_path, NAMES[::-1], NUM_VERTS)
    assert isinstance(views.maps, PixelMaps)
    np.testing.assert_array_equal(turned.verts, views.maps.verts[::-1])  # views go by name, not by place


def test_a_body_is_written_as_the_reference_has_it(tmp_path: Path) -> None:
    views = random_views()
    assert isinstance(views.maps, PixelMaps)
    write_body_views(views, tmp_path)
    with np.load(tmp_path / "pixel_to_vertex_map_1024.npz") as ids, np.load(tmp_path / "bary_coords_map_1024.npz") as w:
        assert tuple(ids.files) == tuple(w.files) == NAMES
        assert (ids["topback"].dtype, w["topback"].dtype) == (np.int64, np.float32)
        np.testing.assert_array_equal(ids["topback"], views.maps.verts[2])
    with Image.open(tmp_path / "body_render_norm_bottomback.png") as picture:
        np.testing.assert_array_equal(np.array(picture), views.images[3])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / map_files.BARY_MAP).unlink(), "bary_coords_map_1024.npz does not exist"),
        (lambda f: np.savez(f / map_files.VERTEX_MAP, topfront=np.zeros((8, 8, 3), int)), "no view 'bottomfront'"),
        (lambda f: (f / map_files.VERTEX_MAP).write_bytes(b"PK"), "damaged"),
        (lambda f: (f / "body_render_norm_topback.png").unlink(), "topback.png does not exist"),
        (lambda f: (f / "body_render_norm_topback.png").write_bytes(b"no"), "topback.png is damaged"),
        (lambda f: Image.new("RGB", (4, 8)).save(f / "body_render_norm_topback.png"), "but its pixel map has"),
    ],
)
def test_a_body_folder_that_lacks_something_is_refused(
    tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    write_body_views(random_views(), tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message):
        read_body_views(tmp_path, NAMES, NUM_VERTS)


def spoiled_arrays(folder: Path, file: str, change: Callable[[Any], Any]) -> None:
    with np.load(folder / file) as read:
        arrays = dict(read)
    arrays["topback"] = change(arrays["topback"])
    np.savez(folder / file, **arrays)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (map_files.VERTEX_MAP, lambda a: a + 2**33, "another mesh"),  # would wrap to valid ids in 32 bits
        (map_files.VERTEX_MAP, lambda a: np.minimum(a, -7), "another mesh"),
        (map_files.VERTEX_MAP, lambda a: a.astype(float), "whole numbers"),
        (map_files.VERTEX_MAP, lambda a: a[:4], "alike"),
        (map_files.BARY_MAP, lambda a: a[:4], "do not fit"),
        (map_files.BARY_MAP, lambda a: a * np.nan, "NaN"),
    ],
)
def test_maps_with_wrong_numbers_are_refused(
    tmp_path: Path, file: str, change: Callable[[Any], Any], message: str
) -> None:
    write_body_views(random_views(), tmp_path)
    spoiled_arrays(tmp_path, file, change)
    with pytest.raises(InputError, match=message):
        read_body_maps(tmp_path, NAMES, NUM_VERTS)


def test_maps_of_another_body_are_refused(tmp_path: Path) -> None:
    write_body_views(random_views(), tmp_path)
    with pytest.raises(InputError, match="there are 10: it belongs to another mesh"):
        read_body_maps(tmp_path, NAMES, 10)


# --------------------------------------------------------------------------------------------------------- objects


def test_an_object_is_read_as_it_was_written(tmp_path: Path) -> None:
    views = random_views()
    write_object_views(views, tmp_path)
    same_views(read_object_views(tmp_path, NAMES, NUM_VERTS), views)
    same(read_object_maps(tmp_path, NAMES), views.maps)
    assert (tmp_path / "obj_render_color_topfront.png").is_file()


@pytest.mark.parametrize("compress", [0, 3])
def test_a_dictionary_of_joblib_is_read_and_ours_is_read_by_joblib(tmp_path: Path, compress: int) -> None:
    joblib = pytest.importorskip("joblib")
    views = random_views()
    path = tmp_path / "lift2d_dict.pkl"
    joblib.dump(lift_dict(views), path, compress=compress)
    same(read_object_maps(path, NAMES), views.maps)
    write_object_views(views, tmp_path / "ours")
    read = joblib.load(tmp_path / "ours" / "lift2d_dict.pkl")
    want = lift_dict(views)
    assert read.keys() == want.keys()
    assert read["num_vertices"] == NUM_VERTS
    for key in ("pixel_to_vertices_map", "bary_coords_map"):
        for one, other in zip(read[key], want[key], strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_maps_of_training_are_read_as_they_were_written(tmp_path: Path) -> None:
    views, points = random_views(), random_points()
    assert isinstance(views.maps, PixelMaps)
    write_mesh_maps(views.maps, tmp_path / "p2vmap_0.npz")
    same(read_object_maps(tmp_path / "p2vmap_0.npz", NAMES, NUM_VERTS), views.maps)
    files = [tmp_path / f"p2pmap_{name}.npz" for name in NAMES]
    write_point_maps(points, files)
    same(read_point_maps(files, NAMES, NUM_VERTS), points)
    np.savez(tmp_path / "p2pmap_all.npz", mapping=points.points.astype(np.int64))
    same(read_point_maps(tmp_path / "p2pmap_all.npz", NAMES, NUM_VERTS), points)


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_code_in_a_dictionary_is_refused_and_not_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "executed", tmp_path / "lift2d_dict.pkl"
    path.write_bytes(pickle.dumps({**lift_dict(random_views()), "extra": Attack(mark)}))
    with pytest.raises(InputError, match="does not need; it was not executed"):
        read_object_maps(path, NAMES)
    path.write_bytes(pickle.dumps({**lift_dict(random_views()), "num_vertices": Attack(mark)}))
    with pytest.raises(InputError, match="not executed"):
        read_object_maps(path, NAMES)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_vertices": 10}, "there are 10"),
        ({"num_vertices": -3}, "num_vertices"),
        ({"num_vertices": "many"}, "num_vertices"),
        ({"num_vertices": np.array([1, 2])}, "num_vertices"),
        ({"pixel_to_vertices_map": []}, "holds 0 views"),
        ({"pixel_to_vertices_map": 5}, "holds 0 views"),
        ({"pixel_to_vertices_map": ["a", "b", "c", "d"]}, "expected whole numbers"),
        ({"bary_coords_map": []}, "do not fit"),
        ({"bary_coords_map": [1, 2, 3, 4]}, "do not fit"),
    ],
)
def test_a_dictionary_with_wrong_values_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "lift2d_dict.pkl"
    path.write_bytes(pickle.dumps({**lift_dict(random_views()), **changes}))
    with pytest.raises(InputError, match=message):
        read_object_maps(path, NAMES)


def test_maps_of_another_mesh_and_missing_keys_are_refused(tmp_path: Path) -> None:
    write_object_views(random_views(), tmp_path)
    with pytest.raises(InputError, match="20 vertices, but this one has 21"):
        read_object_maps(tmp_path, NAMES, 21)
    np.savez(tmp_path / "p2vmap_a.npz", mapping=np.zeros((8, 8), int))
    with pytest.raises(InputError, match="no 'pixel_to_vertices_map'"):
        read_object_maps(tmp_path / "p2vmap_a.npz", NAMES)
    np.savez(tmp_path / "p2pmap_a.npz", other=np.zeros((8, 8), int))
    with pytest.raises(InputError, match="no 'mapping'"):
        read_point_maps([tmp_path / "p2pmap_a.npz"], NAMES)
    with pytest.raises(InputError, match="holds 0 views"):
        read_point_maps([], NAMES)


def test_files_that_are_too_large_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_body_views(random_views(), tmp_path)
    write_object_views(random_views(), tmp_path)
    monkeypatch.setattr(map_files, "MAX_BYTES", 5_000)
    with pytest.raises(InputError, match="limit of 5000"):
        read_body_maps(tmp_path, NAMES, NUM_VERTS)
    with pytest.raises(InputError, match="limit of 5000"):
        read_object_maps(tmp_path, NAMES)


def test_views_of_a_cloud_are_no_mesh(tmp_path: Path) -> None:
    views = RenderedViews(random_views().images, random_points())
    for write in (write_body_views, write_object_views):
        with pytest.raises(InputError, match="write_point_maps"):
            write(views, tmp_path / "none")
    with pytest.raises(InputError, match="one path each"):
        write_point_maps(random_points(), [tmp_path / "a.npz"])
