"""Files of the reference's layout: pixel maps and pictures of the body and of objects, read and written.

A body's folder (``hcontact_vitruvian``): ``pixel_to_vertex_map_1024.npz`` and ``bary_coords_map_1024.npz`` with one
array a view, and the pictures ``body_render_norm_<view>.png``. An object's folder (``sam_inp_objs``):
``lift2d_dict.pkl`` and ``obj_render_color_<view>.png``. Training data have ``p2vmap_*.npz`` and, for point clouds,
``p2pmap_*.npz``. Whoever has the released files can so use exactly the pictures that the models saw; nobody needs them.

Sizes are looked at before memory is taken, and nothing in a file is executed.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray
from hoirecon.contact.rendering.types import PixelMaps, PointMaps, RenderedViews
from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_writable
from hoirecon.restricted_pickle import read_pickle
from hoirecon.safe_io import Arrays, read_arrays, read_png, write_arrays, write_png

VERTEX_MAP = "pixel_to_vertex_map_1024.npz"
"""A body's vertex ids; the name stays whatever the size of the pictures is."""
BARY_MAP = "bary_coords_map_1024.npz"
"""A body's barycentric weights."""
BODY_PICTURE = "body_render_norm_{view}.png"
"""Picture of a body from one view."""
OBJECT_MAPS = "lift2d_dict.pkl"
"""An object's maps of all views."""
OBJECT_PICTURE = "obj_render_{kind}_{view}.png"
"""Picture of an object from one view; the networks see the kind ``color``."""
SMPLH_VERTS = 6890
"""Vertices of the body that the released maps are of."""
CLOUD_POINTS = 2048
"""Points of the clouds that the released point maps are of."""
MAX_BYTES = 1 << 30
"""Largest file, packed and unpacked; four views of 1024 x 1024 with ids of 8 bytes take 100 MB."""
MAX_PICTURE_BYTES = 64 << 20
"""Largest picture file."""


def read_body_maps(folder: str | Path, names: Sequence[str], num_verts: int = SMPLH_VERTS) -> PixelMaps:
    """Pixel maps of a body from the reference's folder.

    Args:
        folder: e.g. ``data/hcontact_vitruvian``.
        names: the views in the network's order, e.g. ``human_views("4MV-Z_Vitru").names``.
        num_verts: vertices of that body.

    Raises:
        InputError: a file is missing, damaged or too large, a view is missing, or its numbers do not fit.
    """
    folder = Path(folder)
    verts, bary = (_read_npz(folder / name) for name in (VERTEX_MAP, BARY_MAP))
    for read, file in ((verts, VERTEX_MAP), (bary, BARY_MAP)):
        missing = [name for name in names if name not in read]
        if missing:
            raise InputError(f"{folder / file} has no view '{missing[0]}', only {', '.join(sorted(read)[:20])}")
    return _pixel_maps([verts[n] for n in names], [bary[n] for n in names], num_verts, names, folder / VERTEX_MAP)


def read_body_views(folder: str | Path, names: Sequence[str], num_verts: int = SMPLH_VERTS) -> RenderedViews:
    """Pictures and maps of a body from the reference's folder; arguments and errors of :func:`read_body_maps`."""
    maps = read_body_maps(folder, names, num_verts)
    return RenderedViews(_read_pictures(Path(folder), BODY_PICTURE, names, maps.verts.shape[1:3]), maps)


def write_body_views(views: RenderedViews, folder: str | Path) -> None:
    """Write pictures and maps of a body in the reference's layout.

    Raises:
        InputError: views of a point cloud, or a folder that cannot be written.
    """
    maps, folder = _of_mesh(views), Path(folder)
    write_arrays({name: maps.verts[k].astype(np.int64) for k, name in enumerate(maps.names)}, folder / VERTEX_MAP)
    write_arrays({name: maps.bary[k] for k, name in enumerate(maps.names)}, folder / BARY_MAP)
    _write_pictures(views, folder, BODY_PICTURE)


def read_object_maps(path: str | Path, names: Sequence[str], num_verts: int | None = None) -> PixelMaps:
    """Pixel maps of an object: ``lift2d_dict.pkl``, or its folder, or a ``p2vmap_*.npz`` of training data.

    Args:
        path: the file, or the folder that holds ``lift2d_dict.pkl``.
        names: the views in the network's order, e.g. ``object_views("4MV-Z_HM").names``.
        num_verts: refuse maps of a mesh with another number of vertices; None takes what the file says.

    Raises:
        InputError: the file is missing, damaged, too large or asks for code, or its numbers do not fit.
    """
    path = Path(path)
    path = path / OBJECT_MAPS if path.is_dir() else path
    if path.suffix == ".npz":
        read: Mapping[str, Any] = _read_npz(path)
    else:
        read = read_pickle(path, what="a dictionary of pixel maps", max_bytes=MAX_BYTES)
    missing = [key for key in ("pixel_to_vertices_map", "bary_coords_map", "num_vertices") if key not in read]
    if missing:
        raise InputError(f"{path} has no '{missing[0]}': give a lift2d_dict.pkl or p2vmap_*.npz of the reference")
    count = _count(read["num_vertices"], path)
    if num_verts is not None and count != num_verts:
        raise InputError(f"{path} is of a mesh with {count} vertices, but this one has {num_verts}: render it anew")
    return _pixel_maps(
        _per_view(read["pixel_to_vertices_map"], 3), _per_view(read["bary_coords_map"], 3), count, names, path
    )


def read_object_views(
    folder: str | Path, names: Sequence[str], num_verts: int | None = None, kind: str = "color"
) -> RenderedViews:
    """Pictures and maps of an object from a ``sam_inp_objs`` folder; arguments and errors of :func:`read_object_maps`.

    Args:
        folder: with ``lift2d_dict.pkl`` and the pictures.
        names: the views in the network's order.
        num_verts: as in :func:`read_object_maps`.
        kind: ``color``, which the networks see, or ``grey``.
    """
    maps = read_object_maps(Path(folder) / OBJECT_MAPS, names, num_verts)
    template = OBJECT_PICTURE.replace("{kind}", kind)
    return RenderedViews(_read_pictures(Path(folder), template, names, maps.verts.shape[1:3]), maps)


def write_object_views(views: RenderedViews, folder: str | Path, kind: str = "color") -> None:
    """Write pictures and ``lift2d_dict.pkl`` (a plain pickle of plain arrays, which joblib reads too).

    Raises:
        InputError: views of a point cloud, or a folder that cannot be written.
    """
    maps, folder = _of_mesh(views), Path(folder)
    with atomic_file(folder / OBJECT_MAPS) as tmp, tmp.open("wb") as handle:
        pickle.dump(_lift_dict(maps), handle, protocol=4)
    _write_pictures(views, folder, OBJECT_PICTURE.replace("{kind}", kind))


def write_mesh_maps(maps: PixelMaps, path: str | Path) -> None:
    """Write a ``p2vmap_*.npz``, which :func:`read_object_maps` reads."""
    values = _lift_dict(maps)
    write_arrays({key: np.asarray(value) for key, value in values.items()}, path)


def read_point_maps(
    paths: str | Path | Sequence[str | Path], names: Sequence[str], num_points: int = CLOUD_POINTS
) -> PointMaps:
    """Point maps from ``p2pmap_*.npz`` (key ``mapping``): one file a view in the network's order, or one of all views.

    Raises:
        InputError: a file is missing, damaged or too large, or its numbers do not fit.
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    found: list[npt.NDArray[Any]] = []
    for path in map(Path, files):
        read = _read_npz(path)
        if "mapping" not in read:
            raise InputError(f"{path} has no 'mapping': give a p2pmap_*.npz of the reference")
        found += _per_view(read["mapping"], 2)
    points = _ids(found, (), num_points, names, Path(files[0]) if files else Path("p2pmap"))
    return PointMaps(points, num_points, tuple(names))


def write_point_maps(maps: PointMaps, paths: Sequence[str | Path]) -> None:
    """Write one ``p2pmap_*.npz`` a view.

    Raises:
        InputError: another number of files than views.
    """
    if len(paths) != len(maps.names):
        raise InputError(f"{len(paths)} files for {len(maps.names)} views: give one path each")
    for path, points in zip(paths, maps.points, strict=True):
        write_arrays({"mapping": points.astype(np.int64)}, path)


def _read_npz(path: Path) -> Arrays:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_BYTES}")
    return read_arrays(path.read_bytes(), str(path), MAX_BYTES)


def _per_view(value: Any, ndim: int) -> list[npt.NDArray[Any]]:
    """A list of arrays, one array of all views, or the array of a single view: as a list of arrays of ``ndim``."""
    if isinstance(value, np.ndarray):
        return [value] if value.ndim == ndim else list(value)
    return list(value) if isinstance(value, list | tuple) else []


def _pixel_maps(verts: Any, bary: Any, num_verts: int, names: Sequence[str], path: Path) -> PixelMaps:
    ids = _ids(verts, (3,), num_verts, names, path)
    shapes = {getattr(b, "shape", None) for b in bary}
    if len(bary) != len(ids) or shapes != {ids.shape[1:]}:
        raise InputError(f"{path}: weights of shape {shapes} do not fit ids of shape {ids.shape[1:]}")
    weights = np.stack(bary).astype(np.float32)
    if not np.isfinite(weights).all():
        raise InputError(f"{path}: the weights hold NaN or infinity: get the file again")
    return PixelMaps(ids, weights, num_verts, tuple(names))


def _ids(arrays: Any, last: tuple[int, ...], count: int, names: Sequence[str], path: Path) -> npt.NDArray[np.int32]:
    """(V, H, W, *last) int32 ids that exist."""
    if not all(isinstance(a, np.ndarray) for a in arrays):
        raise InputError(f"{path} holds views that are no arrays, expected whole numbers")
    shapes = {a.shape for a in arrays}
    if len(arrays) != len(names) or len(shapes) != 1:
        raise InputError(f"{path} holds {len(arrays)} views of shapes {sorted(shapes)}, expected {len(names)} alike")
    (shape,) = shapes
    if len(shape) != 2 + len(last) or shape[2:] != last or any(a.dtype.kind not in "iu" for a in arrays):
        raise InputError(f"{path} holds views of shape {shape} and type {arrays[0].dtype}, expected whole numbers "
                         f"(rows, columns{', 3' if last else ''})")  # fmt: skip
    low = min((int(a.min(initial=0)) for a in arrays), default=0)
    high = max((int(a.max(initial=-1)) for a in arrays), default=-1)
    if low < -1 or high >= count:
        raise InputError(f"{path} names vertices {low} to {high}, but there are {count}: it belongs to another mesh")
    return np.stack(arrays).astype(np.int32)


def _count(value: Any, path: Path) -> int:
    number = np.asarray(value)
    if number.size != 1 or number.dtype.kind not in "iu" or not 0 < int(number.reshape(())) < 1 << 31:
        raise InputError(f"{path}: num_vertices is {value!r:.40}, expected a whole number above 0")
    return int(number.reshape(()))


def _lift_dict(maps: PixelMaps) -> dict[str, Any]:
    return {
        "pixel_to_vertices_map": [view.astype(np.int64) for view in maps.verts],
        "bary_coords_map": [np.array(view) for view in maps.bary],
        "num_vertices": int(maps.num_verts),
    }


def _of_mesh(views: RenderedViews) -> PixelMaps:
    if not isinstance(views.maps, PixelMaps):
        raise InputError("these views are of a point cloud: write its maps with write_point_maps")
    return views.maps


def _read_pictures(folder: Path, template: str, names: Sequence[str], size: tuple[int, ...]) -> ByteArray:
    pictures = []
    for name in names:
        path = folder / template.format(view=name)
        if not path.is_file():
            raise InputError(f"{path} does not exist: it is the picture of view '{name}'")
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_PICTURE_BYTES}")
        picture = read_png(path.read_bytes(), str(path))
        if picture.shape[:2] != size:
            raise InputError(f"{path} has {picture.shape[:2]} rows and columns, but its pixel map has {size}")
        pictures.append(picture)
    return np.stack(pictures)


def _write_pictures(views: RenderedViews, folder: Path, template: str) -> None:
    check_writable(folder)
    for image, name in zip(views.images, views.maps.names, strict=True):
        with atomic_file(folder / template.format(view=name)) as tmp:
            write_png(image, tmp)
