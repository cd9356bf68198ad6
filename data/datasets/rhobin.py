"""The packing of the RHOBIN challenges (CVPR workshops 2023 to 2025): BEHAVE, InterCap and IMHD in two pickles.

``ref/ref.pkl``::

    {"annotations": {id: {pose (156), betas (10), trans (3), obj_rot (3, 3), obj_trans (3),
                          meta: (dataset, gender, object)}},
     "templates": {object: {verts (V, 3), faces (F, 3), symmetries: [{R (3, 3), t (3)}, ...]}}}

``res/results.pkl``::

    {id: {pose, betas, trans | joints (24, 3) | vertices (6890, 3);  obj_rot, obj_trans;  hum_pts, obj_pts (6000, 3)}}

Of videos each array has one more axis in front, a row per frame; each frame is then a sample ``<id>/<frame>``, and
``question.extra["window"]`` counts windows of 300 frames, over which trackers are aligned.

Single images of the training, validation and test archives (without ``ref.pkl``) are read from ``<split>/gt/<id>.pkl``
(``pose, betas, trans, gender, obj_angle, obj_trans, verts_smpl, verts_obj``), which hold vertices, so that no body
model is needed; how their masks are named is not documented, so none are handed out.

**Frame.** That of the file (the evaluation aligns, so it does not matter there): ``x = obj_rot @ verts + obj_trans``,
metres, the template as it stands in the file.

Reading executes nothing: the unpickler answers numpy's own types and nothing else. Written files hold numpy arrays and
dictionaries only, under the names that numpy 1 and 2 both know, as the challenge's server needs them.
"""

from __future__ import annotations

import pickle
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.camera import Camera
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing
from hoirecon.data.datasets.listed import (
    LONGEST_OBJECT_M,
    ListedDataset,
    body_topology,
    first_file,
    in_metres,
    need,
    rotation,
    rotation_of_vector,
    translation,
)
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question, ReconstructionTruth, Sample
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.data.datasets.topologies import STAND_IN
from hoirecon.errors import InputError
from hoirecon.files import atomic_file
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

LICENCE = "RHOBIN: under the terms of BEHAVE, InterCap and IMHD, non-commercial research only"
PARAMS = {"pose": 156, "betas": 10, "trans": 3}
MAX_PICKLE_BYTES = 4 << 30
CAMERAS = {
    "behave": Camera(np.array([[979.784, 0, 1018.952], [0, 979.840, 779.486], [0, 0, 1]]), 2048, 1536),
    "icap": Camera(np.array([[912.862, 0, 956.720], [0, 912.676, 554.216], [0, 0, 1]]), 1920, 1080),
}
"""Dataset, as ``meta`` names it -> the one camera by which the challenge projects all its poses; others have none."""
WINDOW = 300
"""Frames over which a tracker is aligned once (VisTracker, Xie et al., CVPR 2023)."""
_SHAPES: Mapping[str, tuple[int | str, ...]] = {
    "pose": (156,), "betas": ("B",), "trans": (3,), "joints": ("J", 3), "vertices": ("V", 3), "obj_rot": (3, 3),
    "obj_trans": (3,), "hum_pts": ("N", 3), "obj_pts": ("N", 3),
}  # fmt: skip
"""What a result may hold, of one image."""


Only = Literal["all", "images", "videos"]


def open_rhobin(root: str | Path, split: str = "test", images: str | Path = "", only: Only = "all") -> ListedDataset:
    """Read a reference file.

    Args:
        root: folder of ``ref/ref.pkl`` or ``ref.pkl``, or of ``<split>/gt/``.
        split: ``test``; also ``train`` and ``val`` of single images.
        images: folder of the set's pictures, ``<id>.jpg`` or ``.png``; empty: ``<split>/images`` below the root.
        only: the reference's single images, or the frames of its videos (the tracking challenge).

    Raises:
        InputError: no such file, nothing of the kind that is asked for, a file that asks for code, an object without
            template.
    """
    root = Path(root)
    path = first_existing(root, "ref/ref.pkl", "ref.pkl")
    folder = Path(images) if str(images) else root / split / "images"
    if path is None and (root / split / "gt").is_dir():
        return _open_single(root, split, folder)
    if path is None:
        raise MissingFile(f"{root} has no ref/ref.pkl and no {split}/gt: unpack the challenge's archives there")
    if split != "test":
        raise MissingFile(f"{path} is the reference of 'test', and {root} has no {split}/gt")
    held = read_objects(path, "a RHOBIN reference", MAX_PICKLE_BYTES)
    held = need(held, ("annotations", "templates"), str(path))
    rows = {str(id): need(row, (*PARAMS, "obj_rot", "obj_trans", "meta"), f"{path.name}, '{id}'")
            for id, row in need(held["annotations"], (), f"annotations of {path}").items()}  # fmt: skip
    templates = {
        str(name): _template(row, f"template '{name}' of {path.name}") for name, row in held["templates"].items()
    }
    found = Findings(root)
    unknown = [id for id, row in rows.items() if _meta(row, id)[2] not in templates]
    if unknown:
        raise InputError(f"{path.name}: {len(unknown)} ids name objects without a template ({unknown[0]}, ...)")
    entries = [(id, frame) for id, row in rows.items() for frame in _frames(row) if _wanted(frame, only)]
    if not entries:
        raise InputError(f"{path} holds no {only}: it is of another of the challenge's tracks")
    stand_in = is_stand_in_folder(path.parent)
    reader = _Reader(rows, templates, folder, f"{STAND_IN}6890" if stand_in else "smpl")
    return ListedDataset(
        name="rhobin",
        version="ref.pkl",
        split=split,
        licence=LICENCE,
        ids=tuple(id if frame is None else f"{id}/{frame:05d}" for id, frame in entries),
        read=lambda k: reader.sample(*entries[k]),
        root=root,
        label_files=(path,),
        stand_in=stand_in,
        problems=found.tuple(),
    )


def _wanted(frame: int | None, only: Only) -> bool:
    return only == "all" or (frame is None) == (only == "images")


@dataclass(frozen=True)
class _Template:
    mesh: Mesh
    symmetries: FloatArray
    """(S, 4, 4) motions of the template, in its own frame, that leave it as it looks; the identity among them."""


def _template(row: Any, where: str) -> _Template:
    row = need(row, ("verts", "faces"), where)
    mesh = in_metres(Mesh(row["verts"], row["faces"], where.split("'")[1]), where)
    return _Template(mesh, _symmetries(row.get("symmetries"), where))


def _symmetries(value: Any, where: str) -> FloatArray:
    """(S, 4, 4) motions, from BOP's list of ``{R, t}`` or from a stack of matrices (S, 3, 3) or (S, 4, 4)."""
    if value is None or len(value) == 0:
        return np.eye(4)[None]
    motions = []
    for k, item in enumerate(value):
        name = f"symmetry {k} of {where}"
        if isinstance(item, Mapping):
            need(item, ("R", "t"), name)
            R, t = item["R"], item["t"]
        else:
            square = np.asarray(item, dtype=np.float64)
            R, t = square[:3, :3], square[:3, 3] if square.shape == (4, 4) else np.zeros(3)
        motion = np.eye(4)
        motion[:3, :3] = rotation(np.asarray(R, dtype=np.float64), name)
        motion[:3, 3] = translation(np.asarray(t, dtype=np.float64), name)
        motions.append(motion)
    return np.stack(motions)


def _meta(row: Mapping[str, Any], id: str) -> tuple[str, str, str]:
    meta = row["meta"]
    if not isinstance(meta, list) or len(meta) != 3:
        raise InputError(f"meta of '{id}' is {meta!r:.60}, expected (dataset, gender, object)")
    return str(meta[0]), str(meta[1]), str(meta[2])


def _frames(row: Mapping[str, Any]) -> Iterable[int | None]:
    pose = np.asarray(row["pose"])
    return range(len(pose)) if pose.ndim == 2 and np.asarray(row["obj_rot"]).ndim == 3 else (None,)


def _of_frame(row: Mapping[str, Any], key: str, frame: int | None, where: str) -> Any:
    value = np.asarray(row[key])
    if frame is None:
        return value
    if len(value) <= frame:
        raise InputError(f"{where}: {key} has {len(value)} frames, frame {frame} is missing")
    return value[frame]


@dataclass(frozen=True)
class _Reader:
    rows: Mapping[str, Mapping[str, Any]]
    templates: Mapping[str, _Template]
    images: Path
    topology: str

    def sample(self, id: str, frame: int | None) -> Sample:
        row = self.rows[id]
        where = f"'{id}'" if frame is None else f"'{id}', frame {frame}"
        dataset, gender, name = _meta(row, id)
        template = self.templates[name]
        params = {k: np.ravel(_of_frame(row, k, frame, where)).astype(np.float64) for k in PARAMS}
        for key, size in PARAMS.items():
            if len(params[key]) != size:
                raise InputError(f"{where}: {key} has {len(params[key])} numbers, expected {size}")
            as_floats(params[key], (size,), f"{key} of {where}")
        pose = ObjectPose(
            rotation(_of_frame(row, "obj_rot", frame, where), where),
            translation(_of_frame(row, "obj_trans", frame, where), where),
        )
        image = _image(self.images, id) if frame is None else None
        question = Question(
            id=id if frame is None else f"{id}/{frame:05d}",
            image=image,
            label=name,
            camera=CAMERAS.get(dataset),
            object_mesh=template.mesh,
            extra={"dataset": dataset, "gender": gender, "symmetries": template.symmetries}
            | ({} if frame is None else {"window": frame // WINDOW}),
        )
        truth = ReconstructionTruth(object_pose=pose, object_name=name, body_params=params, topology=self.topology)
        return Sample(question, {"reconstruction": truth}, group=id, category=name)


def _image(folder: Path, id: str) -> Path | None:
    """The picture of an id, unless the id would leave the folder."""
    safe = "/" not in id and "\\" not in id and not id.startswith(".")
    return first_file(*(folder / f"{id}.{e}" for e in ("jpg", "png"))) if safe else None


# ------------------------------------------------------------------------------------------------------- single images
def _open_single(root: Path, split: str, images: Path) -> ListedDataset:
    files = sorted((root / split / "gt").glob("*.pkl"))
    stand_in = is_stand_in_folder(root)
    return ListedDataset(
        name="rhobin",
        version="gt",
        split=split,
        licence=LICENCE,
        ids=tuple(path.stem for path in files),
        read=lambda k: _single(files[k], images, stand_in),
        root=root,
        label_files=tuple(files),
        stand_in=stand_in,
    )


def _single(path: Path, images: Path, stand_in: bool) -> Sample:
    keys = (*PARAMS, "gender", "obj_angle", "obj_trans", "verts_smpl", "verts_obj")
    row = need(read_objects(path, "a RHOBIN annotation"), keys, str(path))
    where = f"{path.parent.parent.name}/{path.name}"
    params = {k: np.ravel(np.asarray(row[k], dtype=np.float64)) for k in PARAMS}
    if len(params["pose"]) != PARAMS["pose"] or len(params["trans"]) != PARAMS["trans"]:
        raise InputError(f"{where}: pose and trans have {len(params['pose'])} and {len(params['trans'])} numbers")
    body = as_floats(row["verts_smpl"], ("V", 3), f"verts_smpl of {where}")
    thing = as_floats(row["verts_obj"], ("V", 3), f"verts_obj of {where}")
    if max(np.ptp(body, axis=0).max(), np.ptp(thing, axis=0).max()) > LONGEST_OBJECT_M:
        raise InputError(f"{where}: body or object is longer than {LONGEST_OBJECT_M:g} m: in millimetres? give metres")
    R, t = rotation_of_vector(row["obj_angle"], where), translation(row["obj_trans"], where)
    truth = ReconstructionTruth(
        object_pose=ObjectPose(R, t),
        object_verts=thing,
        body_verts=body,
        body_params={k: as_floats(v, ("N",), f"{k} of {where}") for k, v in params.items()},
        topology=body_topology(len(body), stand_in, where),
    )
    question = Question(id=path.stem, image=_image(images, path.stem), extra={"gender": str(row["gender"])})
    return Sample(question, {"reconstruction": truth}, group=path.stem)


# -------------------------------------------------------------------------------------------------------------- results
def read_rhobin_results(path: str | Path, ids: Container[str] = ()) -> dict[str, Prediction]:
    """Read a results file as predictions by id; frames of a video as ``<id>/<frame>``.

    Parameters are kept by their names; ``vertices`` or ``hum_pts`` become ``body_verts``, ``joints`` ``body_joints``,
    ``obj_pts`` ``object_verts``.

    Args:
        path: the file.
        ids: what is asked, if known: an entry whose arrays all have a leading axis of 1 answers its id where that is a
            sample's; otherwise it reads as a video of one frame.

    Raises:
        InputError: a file that asks for code; arrays of other shapes, NaN, left-handed or scaled rotations, entries
            that answer nothing; each named by its id.
    """
    held = read_objects(path, "RHOBIN results", MAX_PICKLE_BYTES)
    found: dict[str, Prediction] = {}
    for id, row in need(held, (), str(path)).items():
        for key, said in _results(str(id), row, Path(path).name, str(id) in ids):
            found[key] = said
    return found


def _results(id: str, row: Any, name: str, asked: bool) -> Iterable[tuple[str, Prediction]]:
    row = {k: np.asarray(v) for k, v in need(row, (), f"{name}, '{id}'").items() if v is not None}
    strange = [str(key) for key in row if key not in _SHAPES]
    if strange or not row:
        known = ", ".join(_SHAPES)
        raise InputError(f"{name}, '{id}' holds {', '.join(strange[:4]) or 'nothing'}: known are {known}")
    if ("obj_rot" in row) != ("obj_trans" in row):
        raise InputError(f"{name}, '{id}' has only one of obj_rot and obj_trans: a pose needs both")
    if all(value.ndim == len(_SHAPES[key]) + 1 for key, value in row.items()):
        counts = {key: len(value) for key, value in row.items()}
        if len(set(counts.values())) > 1:
            raise InputError(f"{name}, '{id}': arrays of different numbers of frames, {counts}")
        if asked and set(counts.values()) == {1}:  # networks leave the axis of their batch
            yield id, _prediction(id, row, name)
            return
        for frame in range(next(iter(counts.values()))):
            key = f"{id}/{frame:05d}"
            yield key, _prediction(key, {k: v[frame] for k, v in row.items()}, name)
        return
    yield id, _prediction(id, row, name)


def _prediction(id: str, row: Mapping[str, Any], name: str) -> Prediction:
    where = f"{name}, '{id}'"
    squeezed = {k: v[0] if v.ndim == len(_SHAPES[k]) + 1 and len(v) == 1 else v for k, v in row.items()}
    values = {k: as_floats(v, _SHAPES[k], f"{k} of {where}") for k, v in squeezed.items()}
    pose = None
    if "obj_rot" in values:
        pose = ObjectPose(rotation(values["obj_rot"], where), translation(values["obj_trans"], where))
    verts = values.get("vertices", values.get("hum_pts"))
    return Prediction(
        id=id,
        topology=body_topology(len(values["vertices"]), False, where) if "vertices" in values else "",
        object_pose=pose,
        object_verts=values.get("obj_pts"),
        body_verts=verts,
        body_joints=values.get("joints"),
        body_params={k: values[k] for k in PARAMS if k in values},
    )


def write_rhobin_results(said: Iterable[Prediction], path: str | Path) -> int:
    """Write a results file of single images, whole or not at all; returns how many ids it answers.

    Parameters go in by their names where all three are there; else joints and vertices as float16, as the challenge
    asks. A prediction that failed has no entry, so that the challenge's rule of 98 % of the ids counts it.

    Raises:
        InputError: a pose with a scale, two predictions of one id, or one that answers nothing that the format has.
    """
    rows: dict[str, dict[str, Any]] = {}
    for p in said:
        if p.failed:
            continue
        if p.id in rows:
            raise InputError(f"there are two predictions for '{p.id}': give each sample one answer")
        rows[p.id] = _row(p)
    with atomic_file(path) as tmp, tmp.open("wb") as stream:
        PlainPickler(stream, protocol=3).dump(rows)
    return len(rows)


def _row(p: Prediction) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if set(PARAMS) <= set(p.body_params):
        row |= {key: p.body_params[key] for key in PARAMS}
    else:
        row |= {} if p.body_joints is None else {"joints": p.body_joints.astype(np.float16)}
        row |= {} if p.body_verts is None else {"vertices": p.body_verts.astype(np.float16)}
    if p.object_pose is not None:
        if abs(p.object_pose.s - 1) > 1e-9:
            raise InputError(f"RHOBIN has no scale, but the pose of '{p.id}' has s = {p.object_pose.s:.6g}")
        row |= {"obj_rot": p.object_pose.R, "obj_trans": p.object_pose.t}
    elif p.object_verts is not None:
        row |= {"obj_pts": p.object_verts}
        if p.body_verts is not None:
            row = {k: v for k, v in row.items() if k != "vertices"} | {"hum_pts": p.body_verts}
    if not row:
        raise InputError(f"the prediction for '{p.id}' has nothing that RHOBIN knows: parameters, points or a pose")
    return row


class PlainPickler(pickle._Pickler):
    """Writes numpy arrays under the module names that numpy 1 has and numpy 2 still answers."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write the name of a function or class; numpy's private modules by their old names."""
        module = getattr(obj, "__module__", None) or ""
        if not module.startswith("numpy._core"):
            super().save_global(obj, name)  # type: ignore[misc]
            return
        text = f"c{module.replace('numpy._core', 'numpy.core')}\n{name or obj.__qualname__}\n"
        self.write(text.encode("ascii"))  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]
