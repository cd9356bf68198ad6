"""Triangle mesh: vertices in metres, faces, and a name for its topology."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray, IntArray, as_floats, as_ints, check_shape
from hoirecon.errors import InputError


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; which frame its vertices are in is said by the name of the variable that holds it."""

    verts: FloatArray
    """(V, 3) metres."""
    faces: IntArray
    """(F, 3) vertex indices, counter-clockwise seen from outside."""
    name: str = "mesh"
    """What to call it in errors and files."""
    colors: ByteArray | None = None
    """(V, 3) RGB per vertex, or None."""

    def __post_init__(self) -> None:
        verts = as_floats(self.verts, ("V", 3), f"verts of {self.name}")
        faces = as_ints(self.faces, ("F", 3), f"faces of {self.name}")
        if len(verts) == 0 or len(faces) == 0:
            raise InputError(f"{self.name} is empty ({len(verts)} vertices, {len(faces)} faces): give a mesh")
        if faces.min() < 0 or faces.max() >= len(verts):
            raise InputError(
                f"faces of {self.name} name vertices {faces.min()}..{faces.max()}, but there are only {len(verts)}"
            )
        object.__setattr__(self, "verts", verts)
        object.__setattr__(self, "faces", faces)
        if self.colors is not None:
            colors = np.array(self.colors, dtype=np.uint8)
            check_shape(colors, (len(verts), 3), f"colors of {self.name}")
            object.__setattr__(self, "colors", colors)

    @cached_property
    def topology(self) -> str:
        """Name of the connectivity: equal for two meshes exactly if vertex count and faces are equal.

        Per-vertex data such as a :class:`~hoirecon.contact_map.ContactMap` carries this name.
        """
        digest = hashlib.sha256(np.ascontiguousarray(self.faces, dtype="<i8").tobytes()).hexdigest()[:12]
        return f"mesh-{len(self.verts)}v-{digest}"

    @cached_property
    def face_normals(self) -> FloatArray:
        """(F, 3) unit normals; zero for degenerate faces."""
        a, b, c = (self.verts[self.faces[:, i]] for i in range(3))
        return _unit(np.cross(b - a, c - a))

    @cached_property
    def vert_normals(self) -> FloatArray:
        """(V, 3) unit normals, faces weighted by area."""
        a, b, c = (self.verts[self.faces[:, i]] for i in range(3))
        weighted = np.cross(b - a, c - a)
        normals = np.zeros_like(self.verts)
        for corner in range(3):
            np.add.at(normals, self.faces[:, corner], weighted)
        return _unit(normals)

    @property
    def extents(self) -> FloatArray:
        """(3,) size of the axis-aligned bounding box, metres."""
        size: FloatArray = np.ptp(self.verts, axis=0)
        return size

    @property
    def diagonal(self) -> float:
        """Length of the bounding box's diagonal, metres."""
        return float(np.linalg.norm(self.extents))

    def with_verts(self, verts: Any) -> Mesh:
        """The same mesh with other vertices (same count), e.g. after a rigid motion."""
        verts = as_floats(verts, (len(self.verts), 3), f"verts of {self.name}")
        return Mesh(verts, self.faces, self.name, self.colors)

    def to_trimesh(self) -> Any:
        """A :class:`trimesh.Trimesh` with the same vertex order (nothing merged)."""
        import trimesh

        return trimesh.Trimesh(self.verts, self.faces, vertex_colors=self.colors, process=False)

    @property
    def is_watertight(self) -> bool:
        """Whether every edge has exactly two faces that run through it in opposite directions."""
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        code = edges[:, 0] * len(self.verts) + edges[:, 1]
        back = edges[:, 1] * len(self.verts) + edges[:, 0]
        return len(np.unique(code)) == len(code) and bool(np.isin(code, back).all())


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: FloatArray = vectors / np.where(norms > 0, norms, 1.0)
    return unit
