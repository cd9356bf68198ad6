"""Take wrapped meshes into the library: check them, store them, write their index entries.

Run ``python tools/build_objects/store_wrapped.py WRAPPED_FOLDER`` after `wrap.py` made every id of selection.toml.
Entries of parametric meshes are left alone; wrapped ones that are no longer selected are dropped.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import trimesh
from store_parametric import category_symmetry

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.objects.generators.assembly import MAX_FACES
from hoirecon.data.objects.index import ObjectEntry, entries, write_index
from hoirecon.data.objects.storage import StoredMesh, read_mesh, write_mesh
from hoirecon.data.objects.symmetry import Symmetry

MODIFIED = "turned and scaled to metres, alpha-wrapped, decimated; colours and textures dropped"
CRUMB = 1e-3
"""Shells with less than this share of the largest shell's volume are dropped."""
SYMMETRIC_WITHIN = 0.015
"""A category's symmetry word is kept for a wrapped mesh if it moves no point of the surface by more than this share
of the diagonal (98th percentile)."""


def main(wrapped: Path) -> None:
    """Store every selected id."""
    chosen = tomllib.loads((Path(__file__).parent / "selection.toml").read_text(encoding="utf-8"))
    for old in entries().values():
        if old.kind == "wrapped" and old.id not in chosen:
            old.file.unlink(missing_ok=True)
    words = category_symmetry()
    taken = {e.id for e in entries().values() if e.kind != "wrapped"} & set(chosen)
    if taken:
        raise ValueError(f"parametric meshes already have these ids: {sorted(taken)}")
    rows = [store(object_id, wrapped, words) for object_id in chosen]
    write_index([*[e for e in entries().values() if e.kind != "wrapped"], *rows])
    print(f"{len(rows)} wrapped meshes, {sum(r.file.stat().st_size for r in rows) / 1e6:.2f} MB")


def store(object_id: str, wrapped: Path, words: dict[str, str]) -> ObjectEntry:
    """Check one wrapped mesh, write its file, return its entry."""
    stem = wrapped / object_id.replace("/", "__")
    facts = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(stem.with_suffix(".npz"), allow_pickle=False) as data:
        mesh, face_parts = without_crumbs(data["verts"], data["faces"], data["face_parts"])
    stored = StoredMesh(mesh.vertices, mesh.faces, face_parts)
    if not mesh.is_watertight or mesh.volume <= 0 or len(mesh.faces) > MAX_FACES:
        raise ValueError(f"{object_id}: watertight {mesh.is_watertight}, volume {mesh.volume}, {len(mesh.faces)} faces")
    extents = np.ptp(mesh.vertices, axis=0)
    category = object_id.partition("/")[0]
    entry = ObjectEntry(
        id=object_id,
        category=category,
        kind="wrapped",
        licence=facts["licence"],
        author=facts["author"],
        source=facts["source"],
        modified=MODIFIED,
        symmetry=" ".join(w for w in words[category].split() if w != "ball" and holds(w, mesh)),
        part_names=tuple(facts["part_names"]),
        n_verts=len(mesh.vertices),
        n_faces=len(mesh.faces),
        extents=(round(float(extents[0]), 4), round(float(extents[1]), 4), round(float(extents[2]), 4)),
    )
    write_mesh(entry.file, stored)
    read_mesh(entry.file)
    return entry


def without_crumbs(verts: FloatArray, faces: IntArray, parts: IntArray) -> tuple[trimesh.Trimesh, IntArray]:
    """Drop closed hollows (inside-out shells) and specks that the wrap left; centre what remains."""
    mesh = trimesh.Trimesh(verts, faces, process=False)
    groups = trimesh.graph.connected_components(mesh.face_adjacency, nodes=np.arange(len(faces)))
    volumes = [trimesh.Trimesh(verts, faces[group], process=False).volume for group in groups]
    kept = np.sort(np.concatenate([g for g, v in zip(groups, volumes, strict=True) if v > CRUMB * max(volumes)]))
    used, renumbered = np.unique(faces[kept], return_inverse=True)
    verts = verts[used] - (verts[used].max(axis=0) + verts[used].min(axis=0)) / 2
    return trimesh.Trimesh(verts, renumbered.reshape(-1, 3), process=False), parts[kept]


def holds(word: str, mesh: trimesh.Trimesh) -> bool:
    """Whether one symmetry word is true of the geometry."""
    turns: FloatArray = Symmetry.parse(word).rotations(steps=7)[1:]
    points = trimesh.sample.sample_surface(mesh, 800, seed=0)[0]
    for R in turns:
        distance = trimesh.proximity.closest_point(mesh, points @ R.T)[1]
        if float(np.percentile(distance, 98)) > SYMMETRIC_WITHIN * mesh.scale:
            return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
