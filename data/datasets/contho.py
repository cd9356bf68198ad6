"""CONTHO's packing of BEHAVE and InterCap (Nam et al., CVPR 2024): one COCO-like json per dataset and split.

``behave_test.json`` and the like hold ``images`` (``id, file_name, width, height, cam_param``) and ``annotations``
(``id, image_id, bbox`` x y width height, ``h2d_keypoints`` (73, 2) px, ``h3d_keypoints`` (73, 3), ``smpl_param``
``{pose (156), shape, trans, gender}``, ``obj_param`` ``{pose (3) rotation vector, trans (3), name}``, ``h_contacts``
per body vertex, ``o_contacts`` of 64 key points of the object). ``cam_param``: ``focal``, ``princpt``, and where the
pose is in another frame than the camera's, ``R`` (3, 3) and ``t`` (3): ``x_cam = R x + t``.

**Frame.** Truth is in the camera frame (OpenCV axes, metres): the object's pose is moved by R and t; the joints are in
it already. Body parameters stay as they are; with R or t in the file their names begin with ``world_``. The pose is
that of the CENTRED template (:mod:`hoirecon.data.datasets.behave`), which the json does not hold: it is read from
``objects`` beside it where a BEHAVE copy is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.camera import Camera
from hoirecon.data.datasets.behave import behave_template
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing
from hoirecon.data.datasets.listed import (
    ListedDataset,
    body_topology,
    moved,
    need,
    rotation,
    rotation_of_vector,
    translation,
)
from hoirecon.data.datasets.samples import BodyContactTruth, Question, ReconstructionTruth, Sample, Truth
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

LICENCE = "CONTHO's json: under the terms of BEHAVE and InterCap, non-commercial research only"
JOINTS = 73
KEY_POINTS = 64
"""Key points of an object that o_contacts labels."""
MAX_JSON_BYTES = 4 << 30
Source = Literal["behave", "intercap"]


@dataclass(frozen=True, eq=False)
class ConthoDataset(ListedDataset):
    """The list, and what has no place in the common types."""

    annotations: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """As the json has them, in the samples' order."""

    def keypoint_contact(self, index: int) -> FloatArray:
        """(64,) contact of the object's key points, 0 or 1."""
        where = f"o_contacts of {self.ids[index]}"
        return as_floats(np.ravel(self.annotations[index]["o_contacts"]), (KEY_POINTS,), where)

    def keypoints_px(self, index: int) -> FloatArray | None:
        """(73, 2) pixels of the annotated joints; no question holds them, as they are the true ones."""
        return _points(self.annotations[index].get("h2d_keypoints"), 2, f"annotation {self.ids[index]}")


def open_contho(root: str | Path, split: str = "test", source: Source = "behave") -> ConthoDataset:
    """Read one of CONTHO's json files.

    Args:
        root: folder of ``<source>_<split>.json``, or of ``annotations/`` with it; pictures are looked for in
            ``sequences`` (BEHAVE) or ``RGBD_Images`` (InterCap) beside it, templates in ``objects``.
        split: ``train`` or ``test``.
        source: ``behave`` or ``intercap``.

    Raises:
        InputError: no such file, ids that stand twice, annotations of images that are not listed.
    """
    root = Path(root)
    name = f"{source}_{split}.json"
    path = first_existing(root, name, f"annotations/{name}", f"base_data/annotations/{name}")
    if path is None:
        raise MissingFile(f"{root} has no {name}: download it from CONTHO's public repository's page")
    held = need(read_json(path, MAX_JSON_BYTES), ("images", "annotations"), str(path))
    images = _by_id(held["images"], f"images of {path}")
    rows = tuple(_by_id(held["annotations"], f"annotations of {path}").values())
    lost = [str(row["id"]) for row in rows if row.get("image_id") not in images]
    if lost:
        raise InputError(f"{path}: {len(lost)} annotations belong to no listed image ({', '.join(lost[:3])})")
    found = Findings(root)
    bare = set(images) - {row["image_id"] for row in rows}
    found.about("note", path, [str(images[i].get("file_name", i)) for i in sorted(bare)], "without an annotation")
    reader = _Reader(root, path, source, is_stand_in_folder(root))
    return ConthoDataset(
        name="contho",
        version=f"{source}-json",
        split=split,
        licence=LICENCE,
        ids=tuple(str(row["id"]) for row in rows),
        read=lambda k: reader.sample(rows[k], images[rows[k]["image_id"]]),
        root=root,
        label_files=(path,),
        stand_in=reader.stand_in,
        problems=found.tuple(),
        annotations=rows,
    )


def _by_id(rows: Any, where: str) -> dict[Any, Mapping[str, Any]]:
    if not isinstance(rows, list):
        raise InputError(f"{where} is a {type(rows).__name__}, expected a list")
    found: dict[Any, Mapping[str, Any]] = {}
    for row in rows:
        key = need(row, ("id",), where)["id"]
        if key in found:
            raise InputError(f"{where}: the id {key} stands twice: this copy is damaged or merged")
        found[key] = row
    return found


@dataclass(frozen=True)
class _Reader:
    root: Path
    path: Path
    source: Source
    stand_in: bool

    def sample(self, row: Mapping[str, Any], image: Mapping[str, Any]) -> Sample:
        where = f"annotation {row['id']} of {self.path.name}"
        need(image, ("file_name", "width", "height", "cam_param"), f"image {image['id']} of {self.path.name}")
        need(row, ("bbox", "h3d_keypoints", "smpl_param", "obj_param", "h_contacts", "o_contacts"), where)
        camera, R, t = _camera(image, where)
        thing = need(row["obj_param"], ("pose", "trans", "name"), f"obj_param of {where}")
        name, file_name = str(thing["name"]), str(image["file_name"])
        pose = moved(ObjectPose(rotation_of_vector(thing["pose"], where), translation(thing["trans"], where)), R, t)
        contact = as_floats(np.ravel(row["h_contacts"]), ("V",), f"h_contacts of {where}")
        topology = body_topology(len(contact), self.stand_in, f"h_contacts of {where}")
        picture, person, mask = self._pictures(file_name)
        question = Question(
            id=str(row["id"]),
            image=picture,
            label=name,
            person_mask=person,
            object_mask=mask,
            person_box=_box(row["bbox"], where),
            camera=camera,
            object_mesh=self._template(name),
            extra={"file_name": file_name, "gender": str(need(row["smpl_param"], (), where).get("gender", ""))},
        )
        truth = ReconstructionTruth(
            object_pose=pose,
            object_name=name,
            body_joints=_points(row["h3d_keypoints"], 3, where),
            body_params=_params(row["smpl_param"], bool({"R", "t"} & set(image["cam_param"])), where),
            params_to_truth=ObjectPose(R, t),
            topology=topology,
            body_contact=contact,
        )
        kinds: dict[str, Truth] = {"reconstruction": truth, "body_contact": BodyContactTruth(contact, topology)}
        return Sample(question, kinds, group=_sequence(file_name), category=name)

    def _pictures(self, file_name: str) -> tuple[Path | None, Path | None, Path | None]:
        """Picture, person, object; None where they are not there, or the name leaves the folder."""
        folder = first_existing(self.root, *(("sequences",) if self.source == "behave" else ("RGBD_Images",)))
        image = (folder or self.root) / file_name
        if not image.resolve().is_relative_to(self.root.resolve()):
            raise InputError(f"{self.path.name} names the picture {file_name}, which lies outside {self.root}")
        if self.source == "behave":
            names = [file_name.replace(".color.", ".person_mask."), file_name.replace(".color.", ".obj_rend_mask.")]
        else:
            masks, stem = Path(file_name.replace("color", "mask")).parent, image.stem
            names = [str(masks / f"{stem}_human.png"), str(masks / f"{stem}_object.png")]
        paths = (image, *((folder or self.root) / name for name in names))
        picture, person, thing = (p if p.is_file() else None for p in paths)
        return picture, person, thing

    def _template(self, name: str) -> Mesh | None:
        if not (self.root / "objects" / name).is_dir() or "/" in name or name.startswith("."):
            return None
        return behave_template(self.root, name)


def _camera(image: Mapping[str, Any], where: str) -> tuple[Camera, FloatArray, FloatArray]:
    """Camera, and R, t of ``x_cam = R x + t``."""
    held = need(image["cam_param"], ("focal", "princpt"), f"cam_param of {where}")
    fx, fy = as_floats(held["focal"], (2,), f"focal of {where}")
    cx, cy = as_floats(held["princpt"], (2,), f"princpt of {where}")
    R = rotation(np.reshape(held["R"], (3, 3)), f"cam_param of {where}") if "R" in held else np.eye(3)
    t = translation(held["t"], f"cam_param of {where}") if "t" in held else np.zeros(3)
    return Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), int(image["width"]), int(image["height"])), R, t


def _box(value: Any, where: str) -> tuple[float, float, float, float]:
    x, y, w, h = (float(v) for v in as_floats(value, (4,), f"bbox of {where}"))
    if w <= 0 or h <= 0:
        raise InputError(f"bbox of {where} is {list(value)}, expected x, y, width, height, both sizes positive")
    return x, y, w, h


def _points(value: Any, width: int, where: str) -> FloatArray | None:
    if value is None:
        return None
    return as_floats(
        np.reshape(np.asarray(value, dtype=np.float64), (-1, width)), (JOINTS, width), f"key points, {where}"
    )


def _params(held: Any, in_world: bool, where: str) -> dict[str, FloatArray]:
    held = need(held, ("pose", "shape", "trans"), f"smpl_param of {where}")
    numbers = {k: np.ravel(np.asarray(held[k], dtype=np.float64)) for k in ("pose", "shape", "trans")}
    if numbers["pose"].shape != (156,):
        raise InputError(f"smpl_param of {where} has a pose of {len(numbers['pose'])} numbers, expected 156 (SMPL-H)")
    prefix = "world_" if in_world else ""
    return {f"{prefix}{k}": as_floats(v, ("N",), f"{k} of {where}") for k, v in numbers.items()}


def _sequence(file_name: str) -> str:
    """BEHAVE: the first folder; InterCap: what stands before the camera's folder."""
    parts = Path(file_name).parts
    at = next((k for k, part in enumerate(parts) if part.startswith("Frames_Cam")), min(1, len(parts)))
    return "/".join(parts[:at])
