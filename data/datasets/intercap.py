"""InterCap (Huang et al., GCPR 2022): ten people with ten objects, SMPL-X, six cameras.

Layout::

    RGBD_Images/<subject>/<object>/Seg_<k>/Frames_Cam<c>/color/<frame>.jpg
    Res/<subject>/<object>/Seg_<k>/Mesh/<frame>_second.ply        the body (SMPL-X, 10475 vertices), world
    Res/<subject>/<object>/Seg_<k>/Mesh/<frame>_second_obj.ply    the object, world
    Res/<subject>/<object>/Seg_<k>/res.pkl                        parameters, where they are
    calibration_third/Color.json, Color_2.json ... Color_6.json   R (rotation vector), T, f, c, k: x_cam = R x_world + T
    objs/<object>.ply                                             templates

How sure this is: the picture folders, the names of the meshes and the calibration were seen in public programs that
read the dataset; that ``Res`` holds one ``res.pkl`` per segment with ``ob_pose``, ``ob_trans`` and SMPL-X's names is
recalled, not verified, so parameters are passed on where such a file is and nothing rests on them. The object's pose is
the rigid motion between the template and its placed mesh, vertex by vertex, which needs no convention.

**Frame.** Truth is in the frame of the camera that was asked for (OpenCV axes, metres); the template's origin is the
mean of its vertices. Parameters stay in the world frame, their names begin with ``world_``. There is no official split:
without a ``split.json`` (``{"test": ["<subject>_<object>_<k>", ...]}``) only ``all`` can be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.camera import Camera
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing, need_file, need_folder
from hoirecon.data.datasets.listed import (
    ListedDataset,
    body_topology,
    image_size,
    kept_mesh_file,
    need,
    read_mesh_file,
    rigid_between,
    rotation_of_vector,
    translation,
)
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.data.datasets.samples import Question, ReconstructionTruth, Sample
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

LICENCE = "InterCap: MPI, non-commercial research only, no redistribution"
OBJECTS = {
    "01": "suitcase", "02": "skateboard", "03": "sports ball", "04": "umbrella", "05": "tennis racket",
    "06": "suitcase", "07": "chair", "08": "bottle", "09": "cup", "10": "chair",
}  # fmt: skip
"""Folder of the object -> what it is, in words (two suitcases, two chairs: templates go by the folder)."""
RIGID_M = 2e-3
"""A placed mesh that is farther from every rigid motion of the template is another mesh, metres."""


@dataclass(frozen=True)
class _Frame:
    subject: str
    thing: str
    segment: str
    """E.g. ``Seg_0``."""
    frame: str

    @property
    def sequence(self) -> str:
        return f"{self.subject}_{self.thing}_{self.segment.removeprefix('Seg_')}"


def open_intercap(root: str | Path, split: str = "all", camera: int = 1) -> ListedDataset:
    """Read InterCap.

    Args:
        root: the folder that holds ``Res``, ``RGBD_Images`` and the calibration.
        split: ``all``, or a key of a ``split.json`` of your own beside ``Res``.
        camera: 1 to 6.

    Raises:
        InputError: files or sequences of the split that are missing.
    """
    root = Path(root)
    need_folder(root / "Res", "unpack Res.zip there")
    found = Findings(root)
    frames = []
    for folder in sorted((root / "Res").glob("*/*/Seg_*")):
        subject, thing, segment = folder.relative_to(root / "Res").parts
        bodies = sorted((folder / "Mesh").glob("*_second.ply"))
        names = [path.name.removesuffix("_second.ply") for path in bodies]
        without = [name for name in names if not (folder / "Mesh" / f"{name}_second_obj.ply").is_file()]
        found.about("warning", folder, without, "without a mesh of the object", "they are no samples")
        frames += [_Frame(subject, thing, segment, name) for name in names if name not in without]
    frames = _of_split(root, split, frames)
    suffix = "" if camera == 1 else f"/cam{camera}"
    reader = _Reader(root, camera, suffix, is_stand_in_folder(root))
    return ListedDataset(
        name="intercap",
        version="Res",
        split=split,
        licence=LICENCE,
        ids=tuple(f"{f.sequence}/{f.frame}{suffix}" for f in frames),
        read=lambda k: reader.sample(frames[k]),
        root=root,
        label_files=tuple(path for f in frames for path in reader.meshes(f)),
        stand_in=reader.stand_in,
        problems=found.tuple(),
    )


def _of_split(root: Path, split: str, frames: list[_Frame]) -> list[_Frame]:
    if split == "all":
        return frames
    path = need_file(root / "split.json", "InterCap has no official split: write one, or ask for split='all'")
    wanted = [str(name) for name in need(read_json(path), (split,), str(path))[split]]
    have = {f.sequence for f in frames}
    if missing := [name for name in wanted if name not in have]:
        raise MissingFile(f"Res lacks {len(missing)} of the {len(wanted)} sequences of '{split}' ({missing[0]}, ...)")
    return [f for f in frames if f.sequence in set(wanted)]


@dataclass(frozen=True)
class _Reader:
    root: Path
    number: int
    suffix: str
    stand_in: bool

    def meshes(self, f: _Frame) -> tuple[Path, Path]:
        folder = self.root / "Res" / f.subject / f.thing / f.segment / "Mesh"
        return folder / f"{f.frame}_second.ply", folder / f"{f.frame}_second_obj.ply"

    def sample(self, f: _Frame) -> Sample:
        images = self.root / "RGBD_Images" / f.subject / f.thing / f.segment / f"Frames_Cam{self.number}" / "color"
        image = images / f"{f.frame}.jpg"
        held = _calibration(self.root, self.number)
        K = np.array([[held["f"][0], 0, held["c"][0]], [0, held["f"][1], held["c"][1]], [0, 0, 1.0]])
        size = image_size(image) if image.is_file() else (1920, 1080)
        template = intercap_template(self.root, f.thing)
        question = Question(
            id=f"{f.sequence}/{f.frame}{self.suffix}",
            image=image if image.is_file() else None,
            label=OBJECTS.get(f.thing, f.thing),
            camera=Camera(K, *size),
            object_mesh=template,
            extra={"distortion": held["k"]},
        )
        truth = self._truth(f, template, held)
        return Sample(question, {"reconstruction": truth}, group=f.sequence, category=OBJECTS.get(f.thing, f.thing))

    def _truth(self, f: _Frame, template: Mesh | None, held: Mapping[str, Any]) -> ReconstructionTruth:
        R, t = rotation_of_vector(held["R"], "the calibration"), translation(held["T"], "the calibration")
        body_path, thing_path = self.meshes(f)
        body_mesh, thing_mesh = read_mesh_file(body_path), read_mesh_file(thing_path)
        body, thing = (mesh.verts @ R.T + t for mesh in (body_mesh, thing_mesh))
        pose = None
        if template is not None and len(template.verts) == len(thing):
            pose, left = rigid_between(template.verts, thing)
            if left > RIGID_M:
                raise InputError(
                    f"{thing_path} is no rigid motion of objs/{f.thing}.ply ({1000 * left:.1f} mm are left): its "
                    f"template is another mesh or another size"
                )
        return ReconstructionTruth(
            object_pose=pose,
            object_verts=thing,
            object_name=f.thing,
            body_verts=body,
            body_params=_params(body_path.parent.parent / "res.pkl", f.frame),
            params_to_truth=ObjectPose(R, t),
            topology=body_topology(len(body), self.stand_in, str(body_path)),
            body_faces=body_mesh.faces,
            object_faces=thing_mesh.faces,
        )


def intercap_template(root: Path, thing: str) -> Mesh | None:
    """Template of an object, the mean of its vertices at the origin; None where the copy has none."""
    path = first_existing(root, f"objs/{thing}.ply", f"Data/objs/{thing}.ply", f"objs/{thing}.obj")
    if path is None:
        return None
    mesh = kept_mesh_file(path)
    return Mesh(mesh.verts - mesh.verts.mean(0), mesh.faces, f"intercap-{thing}")


def _calibration(root: Path, camera: int) -> Mapping[str, Any]:
    name = "Color.json" if camera == 1 else f"Color_{camera}.json"
    path = first_existing(root, f"calibration_third/{name}", f"Data/calibration_third/{name}")
    if path is None:
        raise MissingFile(f"{root} has no calibration_third/{name}: it stands in the dataset's public code repository")
    held = need(read_json(path), ("R", "T", "f", "c"), str(path))
    sizes: dict[str, int | str] = {"R": 3, "T": 3, "f": 2, "c": 2, "k": "K"}
    return {k: _numbers(held.get(k, []), n, f"{k} of {path}") for k, n in sizes.items()}


def _numbers(value: Any, count: int | str, where: str) -> FloatArray:
    """(count,) numbers of a calibration.

    Raises:
        InputError: another count, or no numbers.
    """
    try:
        return as_floats(np.ravel(np.asarray(value, dtype=np.float64)), (count,), where)
    except (TypeError, ValueError):
        raise InputError(f"{where} is {value!r:.60}, expected {count} numbers: this is another calibration") from None


@lru_cache(maxsize=8)
def _results(path: Path, changed: int) -> Any:
    return read_objects(path, "InterCap's parameters")


def _params(path: Path, frame: str) -> dict[str, FloatArray]:
    """Parameters of a frame in the world frame, from a list of dictionaries or a dictionary of stacks."""
    if not path.is_file() or not frame.isdigit():
        return {}
    held, row = _results(path, path.stat().st_mtime_ns), int(frame)
    if isinstance(held, list):
        held = held[row] if row < len(held) else {}
    elif isinstance(held, dict):
        held = {k: v[row] for k, v in held.items() if isinstance(v, np.ndarray) and v.ndim > 1 and row < len(v)}
    if not isinstance(held, dict):
        return {}
    numbers = {k: np.asarray(v) for k, v in held.items()}
    return {f"world_{k}": v.astype(np.float64) for k, v in numbers.items() if v.dtype.kind in "fiu"}
