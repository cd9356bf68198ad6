"""Build every parametric mesh of the library and store it with its index entry.

Run ``python tools/build_objects/store_parametric.py`` after a generator or a category changed. Needs manifold3d. Files
whose mesh did not change keep their bytes. Entries of wrapped meshes are left alone; their part list stays as built.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

from hoirecon.data.objects.catalog import FOLDER
from hoirecon.data.objects.generators.assembly import Built, Variant
from hoirecon.data.objects.generators.registry import all_variants
from hoirecon.data.objects.index import ObjectEntry, entries, write_index
from hoirecon.data.objects.storage import StoredMesh, write_mesh


def main() -> None:
    """Store all variants and drop parametric files that no generator makes any more."""
    symmetry = category_symmetry()
    variants = all_variants()
    for old in entries().values():
        if old.kind == "parametric" and old.id not in variants:
            old.file.unlink(missing_ok=True)
    kept = [entry for entry in entries().values() if entry.kind != "parametric"]
    made = [store(variant, symmetry) for variant in variants.values()]
    write_index([*kept, *made])
    total = sum(entry.file.stat().st_size for entry in entries().values())
    print(f"{len(made)} parametric and {len(kept)} wrapped meshes, {total / 1e6:.2f} MB")


def category_symmetry() -> dict[str, str]:
    """The symmetry words of every category, from the category files."""
    rows: dict[str, str] = {}
    for file in Path(FOLDER).glob("*.toml"):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        rows |= {name: row.get("symmetry", "") for name, row in table.items()}
    return rows


def store(variant: Variant, symmetry: dict[str, str]) -> ObjectEntry:
    """Build one variant, write its file, return its entry."""
    built = variant.build()
    entry = entry_of(variant, built, symmetry)
    write_mesh(entry.file, StoredMesh(built.verts, built.faces, built.face_parts))
    return entry


def entry_of(variant: Variant, built: Built, symmetry: dict[str, str]) -> ObjectEntry:
    """The index entry of a built variant."""
    extents = np.ptp(built.verts, axis=0)
    return ObjectEntry(
        id=variant.id,
        category=variant.category,
        kind="parametric",
        licence="Apache-2.0",
        author="The hoirecon authors",
        source=f"{variant.make.__module__}.{variant.make.__name__}",
        modified="",
        symmetry=symmetry[variant.category] if variant.symmetry is None else variant.symmetry,
        part_names=built.part_names,
        n_verts=len(built.verts),
        n_faces=len(built.faces),
        extents=(round(float(extents[0]), 4), round(float(extents[1]), 4), round(float(extents[2]), 4)),
    )


if __name__ == "__main__":
    main()
