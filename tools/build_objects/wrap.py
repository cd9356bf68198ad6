"""Wrap one third-party mesh: closed, at most 4000 faces, metres, library frame, parts where a rule gives them.

Run in an environment with pymeshlab (GPL, build time only): ``python wrap.py SH3D_FOLDER "chair/oak" OUT_FOLDER``.
SH3D_FOLDER holds the unpacked .sh3f archives, one folder each. Writes OUT_FOLDER/chair__oak.npz and .json.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pymeshlab
import trimesh
from part_rules import RULES

TARGET_FACES = 4000
LICENCES = {
    "BlendSwap-CC-0": "CC0-1.0",
    "BlendSwap-CC-BY": "CC-BY-3.0",
    "KatorLegaz": "CC-BY-3.0-US",
    "Scopia": "CC-BY-3.0",
}

AUTHORS = {
    "KatorLegaz": "Andrew Kator & Jennifer Legaz",
    "Scopia": "Emmanuel Puybaret / eTeks and Scopia Visual Interfaces Systems, s.l.",
}
"""Libraries whose licence file asks for one attribution for all models; elsewhere the catalogue names the creator."""


def catalogue(folder: Path) -> dict[str, dict[str, str]]:
    """The catalogue of one furniture library: model stem -> its properties."""
    text = (folder / "PluginFurnitureCatalog.properties").read_text(encoding="latin1").replace("\\\n", "")
    rows: dict[str, dict[str, str]] = {}
    for key, number, value in re.findall(r"^\s*([A-Za-z]+)#(\d+)\s*=\s*(.*)$", text, re.MULTILINE):
        rows.setdefault(number, {})[key] = value.strip()
    return {Path(row["model"]).stem: row for row in rows.values() if "model" in row}


def load(folder: Path, row: dict[str, str], turn: list[float], scale: float) -> trimesh.Trimesh:
    """The original in metres, turned into the library frame, bounding box centred."""
    mesh = trimesh.load(folder / row["model"].lstrip("/"), force="mesh", skip_materials=True)
    mesh = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)
    verts = np.array(mesh.vertices)
    if "modelRotation" in row:
        verts = verts @ np.array(row["modelRotation"].split(), dtype=float).reshape(3, 3).T
    want = np.array([float(row[k]) for k in ("width", "height", "depth")]) / 100 * scale
    verts = verts * (want / np.maximum(np.ptp(verts, axis=0), 1e-9))
    R = trimesh.transformations.euler_matrix(*np.radians(turn), axes="sxyz")[:3, :3]
    verts = verts @ R.T
    return trimesh.Trimesh(verts - (verts.max(0) + verts.min(0)) / 2, mesh.faces, process=False)


def wrap(mesh: trimesh.Trimesh, alpha: float) -> trimesh.Trimesh:
    """Alpha wrap (Portaneri et al. 2022), then quadric decimation that keeps the surface a manifold."""
    work = pymeshlab.MeshSet()
    work.add_mesh(pymeshlab.Mesh(np.array(mesh.vertices), np.array(mesh.faces)))
    work.generate_alpha_wrap(alpha=pymeshlab.PercentageValue(alpha), offset=pymeshlab.PercentageValue(0.2))
    work.meshing_decimation_quadric_edge_collapse(targetfacenum=TARGET_FACES, preservetopology=True, planarquadric=True)
    done = work.current_mesh()
    return trimesh.Trimesh(done.vertex_matrix(), done.face_matrix(), process=False)


def deviation(source: trimesh.Trimesh, wrapped: trimesh.Trimesh) -> float:
    """95th percentile of the distance from the original's surface to the wrap, as a share of the diagonal.

    Inner faces of the original, which no wrap reaches, count too; so this is an upper bound for what is seen.
    """
    points = trimesh.sample.sample_surface(source, 3000, seed=0)[0]
    return float(np.percentile(trimesh.proximity.closest_point(wrapped, points)[1], 95) / source.scale)


def main(sh3d: Path, object_id: str, out: Path) -> None:
    """Wrap the mesh of one library id and write arrays and facts."""
    chosen: dict[str, Any] = tomllib.loads((Path(__file__).parent / "selection.toml").read_text())[object_id]
    library, model = chosen["model"].split("/")
    row = catalogue(sh3d / library)[model]
    source = load(sh3d / library, row, chosen.get("turn", [0, 0, 0]), chosen.get("scale", 1.0))
    wrapped = wrap(source, chosen.get("alpha", 1.2))
    wrapped.vertices -= wrapped.bounds.mean(axis=0)
    options = {"level_range": tuple(chosen["level"])} if "level" in chosen else {}
    names, parts = RULES[chosen.get("rule", "whole")](wrapped, **options)
    stem = object_id.replace("/", "__")
    np.savez(out / f"{stem}.npz", verts=wrapped.vertices, faces=wrapped.faces, face_parts=parts)
    facts = {
        "id": object_id,
        "licence": chosen.get("licence", LICENCES[library]),
        "author": AUTHORS.get(library, row.get("creator", "unknown")),
        "source": f"sweethome3d-furniture 1.8-1: {library}{row['model']}",
        "part_names": names,
        "watertight": bool(wrapped.is_watertight and wrapped.is_volume),
        "faces": len(wrapped.faces),
        "deviation_95": round(deviation(source, wrapped), 5),
    }
    (out / f"{stem}.json").write_text(json.dumps(facts, indent=1))
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
