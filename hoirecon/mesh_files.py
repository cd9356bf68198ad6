"""Triangle meshes as OBJ text with every digit and in the file's own order, which per-vertex labels depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hoirecon.errors import InputError
from hoirecon.files import check_mesh_file
from hoirecon.mesh import Mesh

MAX_OBJ_BYTES = 256 << 20
"""Larger files are refused before they are opened."""


def write_obj(mesh: Mesh, path: Path) -> None:
    """Write a mesh as OBJ with every digit, vertices in order."""
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in mesh.verts.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_obj(path: Path) -> Mesh:
    """Read vertices and faces of an OBJ; texture, normals and colours are passed over, polygons become fans.

    No vertex is merged, split or moved to another place in the list, as general mesh readers do where textures ask
    for it.

    Raises:
        InputError: missing, too large, not an OBJ, empty, or NaN.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    check_mesh_file(path, (".obj",), MAX_OBJ_BYTES)
    try:
        verts: list[list[float]] = []
        corners: list[list[int]] = []
        for row in (line.split() for line in path.read_text(encoding="utf-8").splitlines()):
            if row[:1] == ["v"]:
                verts.append([float(x) for x in row[1:4]])
            elif row[:1] == ["f"]:
                corners.append([_corner(x, len(verts)) for x in row[1:]])
        faces = [[c[0], c[k], c[k + 1]] for c in corners for k in range(1, len(c) - 1)]
        return Mesh(np.array(verts), np.array(faces), path.stem)
    except ValueError as err:
        raise InputError(f"{path} is not an OBJ of triangles: {err}") from err


def _corner(text: str, count: int) -> int:
    """Vertex of a face's corner such as ``7``, ``7/2/7`` or ``-1``, the last of the ``count`` that stand before it."""
    number = int(text.split("/")[0])
    return number - 1 if number > 0 else count + number
