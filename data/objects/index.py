"""What lies in the library: one entry per mesh, from `index.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from hoirecon.files import read_json, write_json

ASSETS = Path(__file__).parent / "assets"
"""Folder of the stored meshes."""
INDEX = Path(__file__).parent / "index.json"

WHOLE = "whole"
"""Part name of a mesh (or of the rest of a mesh) that no geometric rule could divide."""


@dataclass(frozen=True)
class ObjectEntry:
    """One mesh of the library, without its arrays."""

    id: str
    """`category/variant`."""
    category: str
    """Canonical category name."""
    kind: str
    """"parametric" (made by `hoirecon.data.objects.generators`) or "wrapped" (from a third party's model)."""
    licence: str
    """SPDX name."""
    author: str
    """Who made the geometry."""
    source: str
    """Where it comes from: the generator, or package and path of the original."""
    modified: str
    """What was done to the original; empty for our own."""
    symmetry: str
    """This mesh's own symmetry in the short form of `Symmetry.parse`."""
    part_names: tuple[str, ...]
    """Object parts of the mesh, indexed by `face_parts`."""
    n_verts: int
    """Number of vertices."""
    n_faces: int
    """Number of faces."""
    extents: tuple[float, float, float]
    """Size of the bounding box along x, y, z, metres."""

    @property
    def file(self) -> Path:
        """Where the arrays are stored."""
        return ASSETS / (self.id.replace("/", "__") + ".npz")


@cache
def entries() -> dict[str, ObjectEntry]:
    """All entries by id, in the order of the index (sorted by id)."""
    rows = read_json(INDEX) if INDEX.is_file() else []
    found = (
        ObjectEntry(**{**row, "part_names": tuple(row["part_names"]), "extents": tuple(row["extents"])}) for row in rows
    )
    return {entry.id: entry for entry in found}


def write_index(rows: list[ObjectEntry]) -> None:
    """Write `index.json` (build time)."""
    write_json(INDEX, [asdict(row) for row in sorted(rows, key=lambda e: e.id)])
    entries.cache_clear()
