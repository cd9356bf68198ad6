"""Shapes that an image-to-3D model made, and the reader of what SAM 3D Objects writes.

SAM 3D Objects gives a mesh as GLB (y up, as glTF has it), the same as PLY, Gaussians as PLY (z up, without faces),
and a pose (quaternion, translation, scale) that belongs to the z-up frame and leads to pytorch3d's camera (x left,
y up, z forward). Nothing of that model is contained or run here: its files are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.data.objects.prepare import read_triangles
from hoirecon.data.objects.shell import shell_of_points
from hoirecon.errors import InputError
from hoirecon.files import check_mesh_file, read_json
from hoirecon.mesh import Mesh
from hoirecon.retrieval.protocols import ImageQuery
from hoirecon.safe_io import read_arrays

R_ZUP_YUP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Points with y up to points with z up: (x, y, z) to (x, -z, y)."""
R_CAM_PYTORCH3D = np.diag([-1.0, -1.0, 1.0])
"""pytorch3d's camera frame to ours."""
MIN_OPACITY = 0.3
"""Fainter Gaussians are haze, not surface."""
MAX_POINTS = 5_000_000
"""Most Gaussians of one file."""
_POSE_NAMES = ("rotation", "translation", "scale")


@dataclass(frozen=True)
class GeneratedShape:
    """What an image-to-3D model made of one object in one photograph."""

    mesh: Mesh
    """y up if the model says so; in no unit."""
    R_cam_source: FloatArray | None = None
    """(3, 3) from the mesh to the camera frame (x right, y down, z forward); None if the model does not say."""
    t_cam: FloatArray | None = None
    """(3,) where its origin lies in the camera frame, in the model's unit, metres if it knows depth."""
    scale: float | None = None
    """Metres per unit of the mesh by the model's own depth; usually a guess."""
    model: str = "generated"
    """Which model, and from which file."""
    licence: str = ""
    """Under which licence its outputs stand."""


@runtime_checkable
class ImageTo3D(Protocol):
    """A model that makes a mesh of what a mask holds."""

    def generate(self, query: ImageQuery) -> GeneratedShape:
        """One shape of one query."""
        ...


@dataclass(frozen=True)
class Sam3dFiles:
    """Reads what SAM 3D Objects wrote for one object; as :class:`ImageTo3D`, whatever the query.

    Example:
        shape = Sam3dFiles("chair.glb", pose="chair_pose.json").generate(query)
    """

    shape: str | Path
    """The mesh (GLB or PLY) or the Gaussians (PLY)."""
    pose: str | Path | Mapping[str, Any] | None = None
    """JSON or NPZ with ``rotation`` (quaternion w, x, y, z), ``translation`` and ``scale``, as the model gives them."""
    ply_up: str = "y"
    """Up axis of a PLY with faces: "y" if the GLB's mesh was exported, "z" if the mesh before that."""

    def generate(self, query: ImageQuery | None = None) -> GeneratedShape:
        """The shape in the files.

        Raises:
            InputError: missing, damaged, or neither mesh nor Gaussians.
        """
        path = Path(self.shape)
        if self.ply_up not in ("y", "z"):
            raise InputError(f"ply_up is {self.ply_up!r}, expected 'y' or 'z'")
        mesh = read_sam3d_shape(path, self.ply_up)
        if self.pose is None:
            return GeneratedShape(mesh, model=f"SAM 3D Objects ({path.name})", licence="SAM License")
        R, t, scale = sam3d_pose(_pose_values(self.pose))
        return GeneratedShape(mesh, R, t, scale, f"SAM 3D Objects ({path.name})", "SAM License")


def read_sam3d_shape(path: Path, ply_up: str = "y") -> Mesh:
    """The mesh of a file with y up; Gaussians get a skin round them.

    Raises:
        InputError: missing, damaged, or neither mesh nor Gaussians.
    """
    check_mesh_file(path, (".glb", ".ply"), 512 << 20)
    if path.suffix.lower() == ".ply" and (points := gaussian_centers(path)) is not None:
        return shell_of_points(points @ R_ZUP_YUP, name=path.stem)  # row vectors: z up to y up
    verts, faces = read_triangles(path)
    if path.suffix.lower() == ".ply" and ply_up == "z":
        verts = verts @ R_ZUP_YUP
    return Mesh(verts, faces, name=path.stem)


def gaussian_centers(path: Path) -> FloatArray | None:
    """(N, 3) centres of the Gaussians of a PLY that are opaque, in the file's frame; None if it holds a mesh.

    Raises:
        InputError: damaged, or nothing opaque in it.
    """
    import trimesh

    with path.open("rb") as handle:
        head = handle.read(8192).split(b"end_header")[0]
    if b"property float opacity" not in head:
        return None
    try:
        with path.open("rb") as handle:
            loaded: Any = trimesh.exchange.ply.load_ply(handle)
        data = loaded["metadata"]["_ply_raw"]["vertex"]["data"]
        points = np.stack([np.asarray(data[k], dtype=np.float64).ravel() for k in "xyz"], axis=1)
        opacity = 1 / (1 + np.exp(-np.clip(np.asarray(data["opacity"], dtype=np.float64).ravel(), -50, 50)))
    except Exception as err:  # the reader of trimesh raises anything on a broken file
        raise InputError(f"{path.name} cannot be read as Gaussians ({type(err).__name__}: {str(err)[:120]})") from err
    if len(points) > MAX_POINTS:
        raise InputError(f"{path.name} holds {len(points)} Gaussians, more than {MAX_POINTS}: thin them out first")
    keep = np.isfinite(points).all(axis=1) & (opacity > MIN_OPACITY)
    if not keep.any():
        raise InputError(f"{path.name} holds no Gaussian more opaque than {MIN_OPACITY}: nothing to see in it")
    return points[keep]


def sam3d_pose(values: Mapping[str, Any]) -> tuple[FloatArray, FloatArray, float]:
    """R_cam_source (3, 3), t_cam (3,) and scale of the y-up mesh, from the model's quaternion, translation and scale.

    The model multiplies row vectors from the left, so that its matrix is the transpose of the rotation of columns.

    Raises:
        InputError: values missing, of other shapes, or a scale that differs by axis.

    Example:
        >>> R, t, s = sam3d_pose({"rotation": [1, 0, 0, 0], "translation": [0, 0, 2], "scale": [0.5] * 3})
        >>> (R @ [0.0, 1.0, 0.0]).tolist(), t.tolist(), s  # what is up in the mesh points away from the camera
        ([0.0, 0.0, 1.0], [0.0, 0.0, 2.0], 0.5)
    """
    if missing := [name for name in _POSE_NAMES if name not in values]:
        raise InputError(f"the pose lacks {', '.join(missing)}: expected {', '.join(_POSE_NAMES)}")
    q = as_floats(np.asarray(values["rotation"], dtype=np.float64).ravel(), (4,), "rotation")
    t = as_floats(np.asarray(values["translation"], dtype=np.float64).ravel(), (3,), "translation")
    scales = as_floats(np.asarray(values["scale"], dtype=np.float64).ravel(), ("N",), "scale")
    if len(scales) not in (1, 3) or not (scales > 0).all() or np.ptp(scales) > 1e-3 * scales.max():
        raise InputError(f"scale is {scales.tolist()}, expected one positive number, or the same three times")
    if not np.linalg.norm(q) > 1e-6:
        raise InputError("rotation is a quaternion of length 0: expected w, x, y, z")
    R_columns = _matrix(q / np.linalg.norm(q)).T
    return R_CAM_PYTORCH3D @ R_columns @ R_ZUP_YUP, R_CAM_PYTORCH3D @ t, float(scales.mean())


def _matrix(q: FloatArray) -> FloatArray:
    """(3, 3) rotation of a unit quaternion w, x, y, z."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _pose_values(pose: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(pose, Mapping):
        return pose
    path = Path(pose)
    if path.suffix.lower() == ".npz" and path.is_file():
        return read_arrays(path.read_bytes(), path.name, max_bytes=1 << 20)
    values = read_json(path, max_bytes=1 << 20)
    if not isinstance(values, dict):
        raise InputError(f"{path.name} is not a pose ({json.dumps(values)[:60]}): expected {', '.join(_POSE_NAMES)}")
    return values
