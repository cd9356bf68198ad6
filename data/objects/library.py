"""Meshes of the object library: list them, load them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from hoirecon.arrays import IntArray
from hoirecon.data.objects.catalog import Category, get_category
from hoirecon.data.objects.index import WHOLE, ObjectEntry, entries
from hoirecon.data.objects.storage import StoredMesh, read_mesh
from hoirecon.data.objects.symmetry import Symmetry
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh


@dataclass(frozen=True)
class LibraryObject:
    """A mesh of the library with everything known about it.

    Frame: y up, +z front, +x the object's own left, origin at the centre of the bounding box, metres.
    """

    id: str
    """`category/variant`."""
    category: Category
    """Size prior, symmetry, interactions."""
    mesh: Mesh
    """Closed mesh of at most 4000 faces, object frame, real size."""
    part_names: tuple[str, ...]
    """Names indexed by `face_parts` and `vert_parts`; `("whole",)` when the mesh could not be divided."""
    face_parts: IntArray
    """(F,) index into `part_names`."""
    vert_parts: IntArray
    """(V,) index into `part_names`: the part with the most faces around the vertex."""
    symmetry: Symmetry
    """Rotations under which this very mesh looks the same."""
    licence: str
    """SPDX name of the geometry's licence."""
    author: str
    """Who made it."""
    source: str
    """Generator, or package and path of the original."""
    modified: str
    """What was done to the original; empty for our own."""

    @cached_property
    def _by_part(self) -> dict[str, IntArray]:
        corners = {name: np.unique(self.mesh.faces[self.face_parts == k]) for k, name in enumerate(self.part_names)}
        return corners

    def part_verts(self, part: str) -> IntArray:
        """Vertex numbers of a part, its border included.

        An undivided mesh gives all its vertices for any part the category knows, since the part is somewhere on it;
        a divided mesh without that part (a chair without arms) gives an empty array.

        Raises:
            InputError: no mesh of the category has such a part.
        """
        if part in self._by_part:
            return self._by_part[part]
        if part not in self.category.parts:
            raise InputError(
                f"{self.category.name} has no part {part!r}: its parts are {', '.join(self.category.parts)}"
            )
        if self.part_names == (WHOLE,):
            return np.arange(len(self.mesh.verts))
        return np.zeros(0, dtype=np.int64)


def list_objects(category: str | None = None) -> list[ObjectEntry]:
    """All entries of the library, or those of one category (name or alias), sorted by id.

    Example:
        >>> {e.category for e in list_objects("phone")}
        {'cell phone'}

    Raises:
        InputError: unknown category.
    """
    if category is None:
        return list(entries().values())
    name = get_category(category).name
    return [entry for entry in entries().values() if entry.category == name]


def load_object(id_or_category: str) -> LibraryObject:
    """Load a mesh by id ("chair/plain") or the default mesh of a category ("chair", or an alias).

    Raises:
        InputError: neither an id nor a category; the message offers the nearest names.
    """
    entry = entries().get(id_or_category)
    if entry is None and "/" in id_or_category:
        entry = _by_loose_id(id_or_category)
    object_id = entry.id if entry is not None else get_category(id_or_category).default_id
    return _load(object_id)


def _by_loose_id(text: str) -> ObjectEntry:
    """The entry of an id whose category is given by an alias or in another spelling."""
    head, _, variant = text.partition("/")
    name = get_category(head).name
    entry = entries().get(f"{name}/{variant}")
    if entry is None:
        have = ", ".join(e.id for e in list_objects(name))
        raise InputError(f"the library has no object {text!r}: of {name} there are {have}")
    return entry


def _load(object_id: str) -> LibraryObject:
    entry = entries()[object_id]
    stored, vert_parts = _arrays(object_id)
    return LibraryObject(
        id=entry.id,
        category=get_category(entry.category),
        mesh=Mesh(stored.verts, stored.faces, name=entry.id),  # copies: a caller may change its own mesh
        part_names=entry.part_names,
        face_parts=stored.face_parts,
        vert_parts=vert_parts,
        symmetry=Symmetry.parse(entry.symmetry),
        licence=entry.licence,
        author=entry.author,
        source=entry.source,
        modified=entry.modified,
    )


@lru_cache(maxsize=64)
def _arrays(object_id: str) -> tuple[StoredMesh, IntArray]:
    """The file's arrays and the part of each vertex; shared between loads, hence read-only."""
    stored = read_mesh(entries()[object_id].file)
    vert_parts = majority_parts(stored.faces, stored.face_parts, len(stored.verts))
    for array in (stored.verts, stored.faces, stored.face_parts, vert_parts):
        array.setflags(write=False)
    return stored, vert_parts


def majority_parts(faces: IntArray, face_parts: IntArray, n_verts: int) -> IntArray:
    """(V,) the part that most faces around each vertex carry; the lower number wins a tie."""
    votes = np.zeros((n_verts, int(face_parts.max()) + 1), dtype=np.int64)
    np.add.at(votes, (faces, face_parts[:, None]), 1)
    winner: IntArray = votes.argmax(axis=1)
    return winner
