"""Reads mesh and point files with every vertex in the file's own order, the unused ones too.

Contact is one number per vertex, so a reader that merges, splits or drops vertices would hand back numbers that belong
nowhere. OBJ has a reader of its own here: others split vertices at seams of texture or change of material.

STL stays the triangle soup that the format is: it stores three corners for each face and no shared vertices, so a mesh
of F faces has 3 F vertices, in the file's order, and neighbouring faces do not touch. Corners at one place get contact
each on its own; whatever needs neighbours (smoothing, areas by vertex, transfer) sees single triangles. Export ply or
obj where the mesh's own vertices matter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError
from hoirecon.files import check_mesh_file
from hoirecon.mesh import Mesh

FORMATS = (".obj", ".ply", ".off", ".glb", ".stl")
"""File types that are read: none of them can carry code, and none needs a second file for its geometry."""
MAX_BYTES = 1 << 30
"""Larger files are refused before they are opened."""
MAX_FACES = 5_000_000
"""Meshes with more faces are refused before any work is done on them."""

DIGITS = 32
"""Longest number of an OBJ file that is read the fast way, characters."""


def read_thing(path: str | Path) -> Mesh | FloatArray:
    """Read a mesh, or a cloud of points, from a file.

    Args:
        path: obj, ply, off, glb or stl; scenes are joined with their transforms, materials ignored, polygons cut
            into triangles. An stl of F faces gives 3 F vertices, none of them shared.

    Returns:
        A mesh with the file's vertices in the file's order, or (N, 3) points if the file has no faces.

    Raises:
        InputError: missing, unreadable, too large, empty, NaN, or faces that name vertices that are not there.
    """
    path = Path(path)
    check_mesh_file(path, FORMATS, MAX_BYTES)
    try:
        verts, faces = _read_obj(path.read_bytes()) if path.suffix.lower() == ".obj" else _read_other(path)
    except InputError:
        raise
    except Exception as err:  # readers raise anything on a broken file
        raise InputError(
            f"{path.name} cannot be read as a mesh ({type(err).__name__}: {err}): export it again, e.g. as binary ply"
        ) from err
    return checked(verts, faces, path.name)


def checked(points: Any, faces: Any | None, name: str) -> Mesh | FloatArray:
    """A mesh if there are faces, else points.

    Raises:
        InputError: nothing there, NaN, too many faces, or faces that name vertices that are not there.
    """
    verts: FloatArray = np.asarray(points, np.float64)
    if verts.ndim != 2 or verts.shape[1] != 3 or len(verts) == 0:
        raise InputError(f"{name} has vertices of shape {verts.shape}, expected (N, 3) and at least one: give a mesh")
    if not np.isfinite(verts).all():
        bad = int((~np.isfinite(verts)).any(axis=1).sum())
        raise InputError(f"{bad} of {len(verts)} vertices of {name} are NaN or infinite: mend or drop them first")
    if faces is None or len(faces) == 0:
        return verts
    if len(faces) > MAX_FACES:
        raise InputError(f"{name} has {len(faces)} faces, more than {MAX_FACES}: decimate it first")
    return Mesh(verts, faces, name=name)


def scene_parts(scene: Any) -> tuple[FloatArray, IntArray | None]:
    """Vertices and faces of a trimesh scene, every instance placed by its transform; points only if it has no mesh."""
    meshes: list[tuple[FloatArray, IntArray]] = []
    points: list[FloatArray] = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        verts = np.asarray(geometry.vertices, np.float64) @ transform[:3, :3].T + transform[:3, 3]
        faces = getattr(geometry, "faces", None)
        if faces is None:
            points.append(verts)
        else:
            meshes.append((verts, np.asarray(faces, np.int64)))
    if not meshes:
        return np.concatenate(points) if points else np.zeros((0, 3)), None
    starts = np.cumsum([0, *(len(verts) for verts, _ in meshes[:-1])])
    faces = np.concatenate([part + start for (_, part), start in zip(meshes, starts, strict=True)])
    return np.concatenate([verts for verts, _ in meshes]), faces


def _read_other(path: Path) -> tuple[FloatArray, IntArray | None]:
    import trimesh

    loaded = trimesh.load(path, process=False, skip_materials=True)
    if isinstance(loaded, trimesh.Scene):
        return scene_parts(loaded)
    faces = getattr(loaded, "faces", None)
    return np.asarray(loaded.vertices, np.float64), None if faces is None else np.asarray(faces, np.int64)


def _read_obj(text: bytes) -> tuple[FloatArray, IntArray | None]:
    """Vertices and faces of an OBJ file; texture, normals, groups and materials are passed over."""
    text = text.replace(b"\\\n", b" ").replace(b"\\\r\n", b" ")
    vertex_lines = re.findall(rb"^[ \t]*v[ \t]+([^\r\n#]*)", text, re.M)
    face_lines = re.findall(rb"^[ \t]*f[ \t]+([^\r\n#]*)", text, re.M)
    verts = _vertices(vertex_lines)
    if not face_lines:
        return verts, None
    return verts, _faces(text, face_lines, len(verts))


def _vertices(lines: list[bytes]) -> FloatArray:
    """The first three numbers of every line; colours may follow, on all lines or on some."""
    if not lines:
        raise InputError("the obj file has no line that starts with 'v': it holds no vertices")
    words = b" ".join(lines).split()
    width, rest = divmod(len(words), len(lines))
    is_short = max(map(len, words), default=0) <= DIGITS  # what is longer would be cut, its exponent too
    if is_short and not rest and width >= 3 and all(len(line.split()) == width for line in lines):
        return np.array(words, dtype=f"S{DIGITS}").astype(np.float64).reshape(-1, width)[:, :3]
    return np.array([[float(x) for x in line.split()[:3]] for line in lines], dtype=np.float64)


def _faces(text: bytes, lines: list[bytes], num_verts: int) -> IntArray:
    """(F, 3) from 0; polygons become fans. Negative numbers count back from the last vertex before the line."""
    corners = [re.sub(rb"/[^\s]*", b"", line).split() for line in lines]
    if min(map(len, corners)) < 3:
        raise InputError("the obj file has a face with fewer than three corners: export it again")
    sizes = {len(c) for c in corners}
    if sizes == {3}:
        faces = np.array(corners, dtype="S12").astype(np.int64)
    else:
        fans = [(c[0], c[k], c[k + 1]) for c in corners for k in range(1, len(c) - 1)]
        faces = np.array(fans, dtype="S12").astype(np.int64)
    if (faces < 0).any():
        before = np.repeat(_vertices_before_faces(text), [len(c) - 2 for c in corners])
        faces = np.where(faces < 0, before[:, None] + faces + 1, faces)
    if faces.min() < 1 or faces.max() > num_verts:
        raise InputError(f"the obj file's faces name vertices {faces.min()}..{faces.max()} of 1..{num_verts}")
    return np.asarray(faces - 1)


def _vertices_before_faces(text: bytes) -> IntArray:
    """(lines of faces,) vertices that stand before each."""
    kinds = np.array(re.findall(rb"^[ \t]*([vf])[ \t]", text, re.M))
    return np.asarray(np.cumsum(kinds == b"v")[kinds == b"f"], np.int64)
