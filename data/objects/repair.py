"""Any mesh to one that a fit can take: clean, outward, closed, small. What was done is told.

`prepare_mesh` is for users' own meshes and refuses what it cannot mend; this is for meshes that were found or
generated, and puts a new skin round what cannot be mended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.objects.facing import face_outward
from hoirecon.data.objects.prepare import read_triangles
from hoirecon.data.objects.shell import ShellConfig, shell_of_mesh
from hoirecon.errors import InputError, require
from hoirecon.mesh import Mesh

MAX_FACES = 5_000_000
"""Meshes with more faces are refused before any work is done on them."""
SKINNED_FACES = 400_000
"""Larger meshes get a new skin without asking whether they are closed: decimating them would take longer."""
MERGE = 1e-6
"""Vertices closer than this, relative to the diagonal, are one."""
FLAT = 1e-6
"""A closed mesh encloses less than this, relative to the cube of its diagonal, only if it is a sheet."""


@dataclass(frozen=True)
class RepairConfig:
    """How a mesh is made usable."""

    target_faces: int = 4000
    """Decimate to about so many faces."""
    shell: Literal["auto", "always", "never"] = "auto"
    """When a new skin is put round the mesh; "auto": if it is not closed and its small holes cannot be filled."""
    skin: ShellConfig = field(default_factory=ShellConfig)
    """How fine that skin is."""

    def __post_init__(self) -> None:
        if self.target_faces < 4:
            raise InputError(f"target_faces is {self.target_faces}, expected at least 4")
        if self.shell not in ("auto", "always", "never"):
            raise InputError(f"shell is {self.shell!r}, expected 'auto', 'always' or 'never'")


@dataclass(frozen=True)
class RepairedMesh:
    """A mesh that can be used, in the frame and unit that it came in."""

    mesh: Mesh
    """Decimated; closed unless shell="never"."""
    notes: tuple[str, ...]
    """What was mended, in words; empty if nothing was."""
    has_new_skin: bool
    """Whether its surface is not the original's but a skin round it."""


def repair_mesh(source: Mesh | str | Path, config: RepairConfig | None = None) -> RepairedMesh:
    """Make a mesh usable.

    Args:
        source: a mesh, or a file (obj, ply, stl, off, glb).
        config: when it gets a new skin, and how large it may be.

    Raises:
        InputError: unreadable, too large, or nothing in it has an area.
        MissingExtraError: open3d is not installed (extra "render").

    Example:
        >>> import trimesh
        >>> box = trimesh.creation.box()
        >>> repaired = repair_mesh(Mesh(box.vertices, box.faces[:, ::-1]))
        >>> repaired.mesh.is_watertight, repaired.notes
        (True, ('faces turned outward',))
    """
    config = config or RepairConfig()
    if isinstance(source, Mesh):
        return repair_triangles(source.verts, source.faces, source.name, config)
    verts, faces = read_triangles(Path(source))
    return repair_triangles(verts, faces, Path(source).name, config)


def repair_triangles(verts: Any, faces: Any, name: str, config: RepairConfig | None = None) -> RepairedMesh:
    """As :func:`repair_mesh`, for bare arrays, which may hold NaN."""
    config = config or RepairConfig()
    notes: list[str] = []
    verts, faces = _cleaned(verts, faces, name, notes)
    # Worked on in a box of unit size, so that thresholds mean the same for millimetres and miles.
    low, diagonal = verts.min(0), float(np.linalg.norm(np.ptp(verts, axis=0)))
    unit = Mesh((verts - low) / diagonal, faces, name=name)
    solid = None if config.shell == "always" or len(faces) > SKINNED_FACES else _closed(unit, notes)
    has_new_skin = solid is None and config.shell != "never"
    if has_new_skin:
        notes.append("a new closed skin was put round it" + _why(unit, config))
        solid = shell_of_mesh(unit, config.skin)
    small = decimated(solid or unit, config.target_faces, notes)
    return RepairedMesh(Mesh(small.verts * diagonal + low, small.faces, name=name), tuple(notes), has_new_skin)


def decimated(mesh: Mesh, target: int, notes: list[str] | None = None) -> Mesh:
    """A mesh of at most about ``target`` faces, closed if the mesh is; of more faces if only so it stays closed."""
    if len(mesh.faces) <= target:
        return mesh
    closed = mesh.is_watertight
    for faces in (target, 2 * target, 4 * target):
        small = _simplified(mesh, faces)
        if not closed or small.is_watertight:
            return small
    if notes is not None:
        notes.append(f"it keeps its {len(mesh.faces)} faces: with fewer it would not be closed")
    return mesh


def _simplified(mesh: Mesh, target: int) -> Mesh:
    o3d: Any = require("open3d", extra="render")
    mesh = _without_flat_detail(mesh, target)
    if len(mesh.faces) <= target:
        return mesh
    full = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.verts), o3d.utility.Vector3iVector(mesh.faces.astype(np.int32))
    )
    small = full.simplify_quadric_decimation(target_number_of_triangles=target)
    small.remove_degenerate_triangles()
    small.remove_unreferenced_vertices()
    if not len(small.triangles):
        return mesh
    return Mesh(np.asarray(small.vertices), np.asarray(small.triangles), name=mesh.name)


def _without_flat_detail(mesh: Mesh, target: int) -> Mesh:
    """Large flat areas of a closed mesh in larger faces: quadric decimation takes minutes over those.

    Done where manifold3d (Apache-2.0, extra "objects") is installed; else the mesh stays as it is.
    """
    try:
        import manifold3d
    except ImportError:
        return mesh
    if len(mesh.faces) < 10 * target or not mesh.is_watertight:
        return mesh
    size = float(mesh.extents.max())
    solid = manifold3d.Manifold(manifold3d.Mesh(mesh.verts.astype(np.float32), mesh.faces.astype(np.uint32)))
    if solid.status() != manifold3d.Error.NoError:
        return mesh
    solid = solid.simplify(2e-4 * size)
    if solid.num_tri() < target // 4:  # so few that contact would have no vertices to lie on
        solid = solid.refine_to_length(size / 16)
    parts = solid.to_mesh()
    if not len(parts.tri_verts):
        return mesh
    return Mesh(np.asarray(parts.vert_properties)[:, :3], np.asarray(parts.tri_verts), name=mesh.name)


def _cleaned(verts: Any, faces: Any, name: str, notes: list[str]) -> tuple[FloatArray, IntArray]:
    """Finite, merged, without degenerate and double faces."""
    verts, faces = np.asarray(verts, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    if verts.ndim != 2 or faces.ndim != 2 or not len(verts) or not len(faces):
        raise InputError(f"{name} holds no triangles (a point cloud, or empty): give a surface mesh")
    if len(faces) > MAX_FACES:
        raise InputError(f"{name} has {len(faces)} faces, more than {MAX_FACES}: decimate it first")
    if faces.min() < 0 or faces.max() >= len(verts):
        raise InputError(f"faces of {name} name vertices that it does not have: export it again")
    whole = (np.abs(verts) < 1e30).all(axis=1)[faces].all(axis=1)
    if not whole.all():
        notes.append(f"{int((~whole).sum())} faces with NaN or infinite corners dropped")
        faces = faces[whole]
    before = len(faces)
    verts, faces = _merged(verts, faces, name)
    if before > len(faces):
        notes.append(f"{before - len(faces)} degenerate or double faces dropped")
    return verts, faces


def _merged(verts: FloatArray, faces: IntArray, name: str) -> tuple[FloatArray, IntArray]:
    used = np.unique(faces)
    size = float(np.linalg.norm(np.ptp(verts[used], axis=0))) if len(used) else 0.0
    if not size > 0 or size < 1e-9 * float(np.abs(verts[used]).max()):
        raise InputError(f"{name} has no face with an area: give a surface mesh")
    keys = np.rint((verts[used] - verts[used].min(0)) / (MERGE * size)).astype(np.int64)
    _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    renamed = np.full(len(verts), -1)
    renamed[used] = number.ravel()
    verts, faces = verts[used][first], renamed[faces]
    a, b, c = (verts[faces[:, i]] for i in range(3))
    faces = faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-14 * size**2]
    _, keep = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(keep)]
    if not len(faces):
        raise InputError(f"{name} has no face with an area: give a surface mesh")
    used, faces = np.unique(faces, return_inverse=True)
    return verts[used], faces.reshape(-1, 3)


def _closed(unit: Mesh, notes: list[str]) -> Mesh | None:
    """The mesh closed and outward, or None if that takes more than turning faces and filling small holes."""
    filled = _filled(unit)
    if filled is None:
        return None
    if len(filled.faces) > len(unit.faces):
        notes.append(f"small holes filled by {len(filled.faces) - len(unit.faces)} faces")
    turned = Mesh(filled.verts, face_outward(filled.verts, filled.faces).faces, name=unit.name)
    if not turned.is_watertight or volume_of(turned) < FLAT:
        return None
    if not np.array_equal(turned.faces, filled.faces):
        notes.append("faces turned outward")
    return turned


def _filled(unit: Mesh) -> Mesh | None:
    """With holes of three or four edges filled; None if others stay, or an edge has more than two faces."""
    import trimesh

    counts = _faces_per_edge(unit.faces)
    if counts.max() > 2:
        return None
    if counts.min() == 2:
        return unit
    mesh = unit.to_trimesh()
    trimesh.repair.fix_winding(mesh)
    mesh.fill_holes()
    faces = np.asarray(mesh.faces, dtype=np.int64)
    return Mesh(mesh.vertices, faces, name=unit.name) if (_faces_per_edge(faces) == 2).all() else None


def _faces_per_edge(faces: IntArray) -> IntArray:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    code = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    counts: IntArray = np.unique(code, return_counts=True)[1]
    return counts


def volume_of(mesh: Mesh) -> float:
    """Signed volume that a closed mesh encloses."""
    a, b, c = (mesh.verts[mesh.faces[:, i]] - mesh.verts[0] for i in range(3))
    return float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6)


def _why(unit: Mesh, config: RepairConfig) -> str:
    if config.shell == "always":
        return ""
    if len(unit.faces) > SKINNED_FACES:
        return f": it has {len(unit.faces)} faces"
    counts = _faces_per_edge(unit.faces)
    open_edges, crowded = int((counts == 1).sum()), int((counts > 2).sum())
    if not open_edges and not crowded:
        return ": it encloses nothing"
    return f": {open_edges} edges were open and {crowded} had three or more faces"
