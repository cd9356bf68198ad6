"""Mesh files of a scene: one GLB with everything, coloured by contact, and plain OBJs in the camera frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.files import atomic_file
from hoirecon.mesh import Mesh
from hoirecon.scene import Scene
from hoirecon.views.look import part_contacts, part_names
from hoirecon.views.palette import contact_colors, to_bytes, to_linear
from hoirecon.views.surface import corner_normals

T_GLTF_CAM = np.diag([1.0, -1.0, -1.0, 1.0])
"""From the OpenCV camera frame (y down, z forward) to glTF's axes (y up, z backward): half a turn about x."""

GLTF_NOTE = (
    "glTF axes: x right, y up, z backward = (x, -y, -z) of the OpenCV camera frame; metres; colours show contact"
)
OBJ_NOTE = "OpenCV camera frame: x right, y down, z forward, origin at the camera; metres"


def scene_meshes(scene: Scene) -> list[Mesh]:
    """Meshes of bodies, then objects, in the frame ``cam``."""
    return [body.mesh for body in scene.bodies] + [obj.mesh_cam for obj in scene.objects]


def write_glb(scene: Scene, path: str | Path) -> None:
    """Write bodies and objects as one ``.glb``, vertices coloured by contact probability, in glTF's axes."""
    colors = [contact_colors(p) for p in part_contacts(scene)]
    data = glb_bytes(scene_meshes(scene), colors, part_names(scene), T_GLTF_CAM, GLTF_NOTE)
    with atomic_file(path) as tmp:
        tmp.write_bytes(data)


def glb_bytes(
    meshes: Sequence[Mesh],
    colors: Sequence[FloatArray],
    names: Sequence[str],
    T_new_cam: FloatArray,
    note: str,
    opacity: float = 1.0,
) -> bytes:
    """Meshes as one binary glTF file.

    Vertices are split where a crease needs two normals, so their order is not the mesh's: data per vertex are in
    ``scene.npz``.

    Args:
        meshes: in the frame ``cam``.
        colors: per mesh (3,) or (V, 3), sRGB in [0, 1].
        names: one node name per mesh.
        T_new_cam: (4, 4) rigid motion to the axes of the file.
        note: written into the file's ``extras``.
        opacity: below 1, what lies behind shines through.
    """
    import trimesh

    container = trimesh.Scene(metadata={"note": note})
    for mesh, color, name in zip(meshes, colors, names, strict=True):
        container.add_geometry(_display_mesh(mesh, color, T_new_cam, opacity), node_name=name, geom_name=name)
    data: bytes = container.export(file_type="glb", include_normals=True)
    return data


def _display_mesh(mesh: Mesh, color: FloatArray, T_new_cam: FloatArray, opacity: float) -> Any:
    import trimesh

    per_vertex = np.broadcast_to(color, mesh.verts.shape)
    R, t = T_new_cam[:3, :3], T_new_cam[:3, 3]
    corners = np.concatenate(
        [mesh.verts[mesh.faces] @ R.T + t, corner_normals(mesh) @ R.T, per_vertex[mesh.faces]], axis=-1
    ).reshape(-1, 9)
    rows, index = np.unique(corners.astype(np.float32), axis=0, return_inverse=True)
    shown = trimesh.Trimesh(rows[:, :3], index.reshape(-1, 3), vertex_normals=rows[:, 3:6], process=False)
    # A material of its own: glTF's default one is metal, and vertex colours are linear light there, not sRGB.
    shown.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(
            name="matte",
            metallicFactor=0.0,
            roughnessFactor=0.75,
            doubleSided=opacity == 1,  # through a front, the backs behind it would only confuse
            alphaMode="OPAQUE" if opacity == 1 else "BLEND",
        )
    )
    alpha = np.full((len(rows), 1), round(255 * opacity), dtype=np.uint8)
    shown.visual.vertex_attributes["color"] = np.concatenate([to_bytes(to_linear(rows[:, 6:])), alpha], axis=1)
    return shown


def write_objs(scene: Scene, folder: str | Path) -> list[Path]:
    """Write ``body.obj`` and ``object_<name>.obj`` in the frame ``cam``, vertices in the order of ``scene.npz``.

    Further bodies are ``body_2.obj`` and so on.
    """
    names = part_names(scene)
    paths = []
    for k, (mesh, name) in enumerate(zip(scene_meshes(scene), names, strict=True)):
        prefix = "" if k < len(scene.bodies) else "object_"
        path = Path(folder) / f"{prefix}{file_stem(name)}.obj"
        while path in paths:  # names that differ only in letters a file name cannot hold
            path = path.with_name(f"{path.stem}_{k}.obj")
        write_obj(mesh, path, name)
        paths.append(path)
    return paths


def write_obj(mesh: Mesh, path: str | Path, name: str) -> None:
    """Write a mesh as Wavefront OBJ with enough digits for a micrometre at a kilometre."""
    lines = [f"# hoirecon: {' '.join(name.split())}", f"# {OBJ_NOTE}"]
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.verts.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    with atomic_file(path) as tmp:
        tmp.write_text("\n".join(lines) + "\n", encoding="utf-8")


def file_stem(name: str) -> str:
    """A name as part of a file name on any system: letters, digits, ``-`` and ``_``, at most 60.

    Example:
        >>> file_stem("../My chair, red")
        'My_chair_red'
    """
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")[:60] or "object"
