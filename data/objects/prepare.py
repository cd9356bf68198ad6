"""A user's own mesh, made fit for contact and fitting: metres, merged, outward, small, centred."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError, require
from hoirecon.files import check_mesh_file
from hoirecon.mesh import Mesh

Unit = Literal["m", "cm", "mm", "auto"]

FORMATS = (".obj", ".ply", ".stl", ".off", ".glb")
"""File types that are read: none of them can carry code, and none needs a second file for its geometry."""
MAX_BYTES = 256 << 20
"""Larger files are refused before they are opened."""
MAX_FACES = 2_000_000
"""Meshes with more faces are refused before any work is done on them."""
PLAUSIBLE = (0.005, 10.0)
"""Shortest and longest believable longest side of an object that a person handles, metres."""

_FACTORS = {"m": 1.0, "cm": 0.01, "mm": 0.001}


class MeshRepairWarning(UserWarning):
    """Something in a user's mesh was mended or assumed; the text says what."""


def prepare_mesh(mesh_or_path: Mesh | str | Path, unit: Unit = "m", target_faces: int = 4000) -> Mesh:
    """Make a user's mesh ready to be fitted.

    Vertices at the same place are merged, degenerate and double faces and unused vertices dropped, winding made
    consistent and outward, small holes filled, the mesh decimated and the centre of its bounding box moved to the
    origin. The axes are left as they are. What was mended is said by a `MeshRepairWarning`.

    Args:
        mesh_or_path: a mesh, or a file (obj, ply, stl, off, glb; scenes are joined, materials ignored).
        unit: unit of the coordinates. "auto" takes metres when the longest side is believable for a thing that a
            person handles (5 mm to 10 m), else millimetres, and says so.
        target_faces: decimate to about this many faces (needs open3d, extra "render", when there are more).

    Returns:
        The mesh in metres; `is_watertight` tells whether it is closed.

    Raises:
        InputError: unreadable, too large, empty, NaN or infinite coordinates, flat, edges with three or more faces,
            or a size that is not believable in the unit.
    """
    if unit not in (*_FACTORS, "auto"):
        raise InputError(f"unit is {unit!r}, expected one of 'm', 'cm', 'mm', 'auto'")
    if target_faces < 4:
        raise InputError(f"target_faces is {target_faces}, expected at least 4")
    if isinstance(mesh_or_path, Mesh):
        name, verts, faces = mesh_or_path.name, mesh_or_path.verts, mesh_or_path.faces
    else:
        name = Path(mesh_or_path).name
        verts, faces = read_triangles(Path(mesh_or_path))
    verts, faces = _checked(np.asarray(verts, dtype=np.float64), np.asarray(faces, dtype=np.int64), name)
    verts = verts * unit_scale(verts, unit, name)
    verts, faces = _mended(verts, faces, name)
    if len(faces) > target_faces:
        verts, faces = _decimated(verts, faces, target_faces)
    return Mesh(verts - (verts.max(0) + verts.min(0)) / 2, faces, name=name)


def read_triangles(path: Path) -> tuple[FloatArray, IntArray]:
    """Vertices and faces of a mesh file, as they stand there: NaN and all.

    Raises:
        InputError: missing, too large, of another format, or damaged.
    """
    import trimesh

    check_mesh_file(path, FORMATS, MAX_BYTES)
    try:
        loaded = trimesh.load(path, process=False, skip_materials=True)
        joined = loaded.to_mesh() if isinstance(loaded, trimesh.Scene) else loaded
        return np.asarray(joined.vertices, dtype=np.float64), np.asarray(joined.faces, dtype=np.int64)
    except Exception as err:  # the readers of trimesh raise anything on a broken file
        raise InputError(f"{path.name} cannot be read as a mesh ({type(err).__name__}: {err})") from err


def _checked(verts: FloatArray, faces: IntArray, name: str) -> tuple[FloatArray, IntArray]:
    if verts.ndim != 2 or len(verts) == 0 or faces.ndim != 2 or len(faces) == 0:
        raise InputError(f"{name} holds no triangles (a point cloud, or empty): give a surface mesh")
    if len(faces) > MAX_FACES:
        raise InputError(f"{name} has {len(faces)} faces, more than {MAX_FACES}: decimate it first")
    mesh = Mesh(verts, faces, name=name)  # refuses NaN and faces that name missing vertices
    return mesh.verts, mesh.faces


def unit_scale(verts: FloatArray, unit: Unit, name: str) -> float:
    """What coordinates (V, 3) in a unit are multiplied with to be metres.

    Raises:
        InputError: the size is not believable in that unit; the message names one in which it is.
    """
    longest = float(np.ptp(verts, axis=0).max())
    low, high = PLAUSIBLE
    if unit == "auto":
        if low <= longest <= high:
            return 1.0
        if low <= longest * 0.001 <= high:
            _say(f"{name} is {longest:.4g} units long: read as millimetres")
            return 0.001
        raise InputError(f"{name} is {longest:.4g} units long, neither metres nor millimetres: scale it, or give unit")
    factor = _FACTORS[unit]
    if not low <= longest * factor <= high:
        fits = [u for u, f in _FACTORS.items() if low <= longest * f <= high]
        option = "(mesh_unit of an ObjectRequest, --mesh-unit on the command line)"
        advice = f"give unit={fits[-1]!r} {option}" if fits else "scale it to metres first"
        raise InputError(f"{name} would be {longest * factor:.4g} m long in unit {unit!r}: {advice}")
    return factor


def _mended(verts: FloatArray, faces: IntArray, name: str) -> tuple[FloatArray, IntArray]:
    import trimesh

    mesh = trimesh.Trimesh(verts, faces, process=False)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    _drop_bad_faces(mesh, name)
    if _crowded_edges(mesh.faces):
        # Solids that only touch along an edge become non-manifold by merging: try without.
        plain = trimesh.Trimesh(verts, faces, process=False)
        _drop_bad_faces(plain, name)
        crowded = _crowded_edges(plain.faces)
        if crowded:
            raise InputError(
                f"{name} is not a manifold: {crowded} edges have three or more faces; make it manifold first, "
                "e.g. by alpha wrapping or voxel remeshing"
            )
        mesh = plain
    if float(np.ptp(mesh.vertices, axis=0).min()) <= 0:
        raise InputError(f"{name} is flat (no thickness along one axis): give a closed mesh")
    _orient_and_fill(mesh, name)
    return np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)


def _drop_bad_faces(mesh: Any, name: str) -> None:
    before = len(mesh.faces)
    mesh.update_faces(mesh.nondegenerate_faces(height=0.0))
    mesh.update_faces(mesh.unique_faces())
    mesh.remove_unreferenced_vertices()
    if len(mesh.faces) == 0:
        raise InputError(f"{name} has only degenerate faces: give a surface mesh")
    if len(mesh.faces) < before:
        _say(f"{name}: dropped {before - len(mesh.faces)} degenerate or double faces")


def _crowded_edges(faces: IntArray) -> int:
    """How many edges have more than two faces."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return int((counts > 2).sum())


def _orient_and_fill(mesh: Any, name: str) -> None:
    import trimesh

    if not mesh.is_watertight:
        mesh.fill_holes()
        _say(f"{name} was open: " + ("its small holes are filled" if mesh.is_watertight else "it still is, so that "
             "penetration into it is only measured where it is closed"))  # fmt: skip
    if not mesh.is_winding_consistent:
        trimesh.repair.fix_winding(mesh)
        _say(f"{name}: faces turned so that neighbours agree")
    if mesh.is_watertight:
        before = mesh.faces.copy()
        trimesh.repair.fix_inversion(mesh, multibody=True)
        if not np.array_equal(before, mesh.faces):
            _say(f"{name}: faces turned outward")


def _decimated(verts: FloatArray, faces: IntArray, target: int) -> tuple[FloatArray, IntArray]:
    o3d: Any = require("open3d", extra="render")
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(verts), o3d.utility.Vector3iVector(faces.astype(np.int32))
    )
    small = mesh.simplify_quadric_decimation(target_number_of_triangles=target)
    small.remove_degenerate_triangles()
    small.remove_unreferenced_vertices()
    return np.asarray(small.vertices, dtype=np.float64), np.asarray(small.triangles, dtype=np.int64)


def _say(text: str) -> None:
    warnings.warn(text, MeshRepairWarning, stacklevel=4)
