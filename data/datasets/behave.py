"""BEHAVE (Bhatnagar et al., CVPR 2022): sequences of a person with one of 20 objects, seen by four Kinects.

Layout as the dataset's own page states it::

    split.json                                     {"train": [231 sequences], "test": [90 sequences]}
    calibs/<date>/config/<k>/config.json           rotation (9), translation (3): camera k to world
    calibs/intrinsics/<k>/calibration.json         color: fx, fy, cx, cy, width, height, opencv
    objects/<name>/<name>_f<n>.ply                 the template of the poses (its full scan <name>.obj beside it)
    sequences/<sequence>/info.json                 cat, gender, config, intrinsic, kinects
    sequences/<sequence>/t<seconds>.000/           k<k>.color.jpg, k<k>.person_mask.jpg, k<k>.obj_rend_mask.jpg,
        person/fit02/person_fit.pkl, .ply          pose (156), betas (10), trans (3) of SMPL-H (MANO v1.2); its mesh
        <name>/fit01/<name>_fit.pkl                angle (3), trans (3) of the CENTRED template
        <name>/fit01/<name>_fit_contact.npz        derived: arr_0 = {object_points, contact_label, contact_vertices}

and, for 30 frames a second, ``smpl_fit_all.npz`` and ``object_fit_all.npz`` per sequence.

**Frame.** The files' world is the colour camera of Kinect 1 (OpenCV axes, metres). Truth is given in the frame of the
camera that was asked for. ``centred`` means: the mean of the simplified template's vertices is moved to the origin (not
its box's middle). Body parameters stay in the world frame, as a root turns about a pelvis that only the licensed model
knows; for other cameras than 1 their names begin with ``world_``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.camera import Camera
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, need_file, need_folder
from hoirecon.data.datasets.listed import (
    ListedDataset,
    body_topology,
    first_file,
    kept_mesh_file,
    moved,
    need,
    read_mesh_file,
    rotation,
    rotation_of_vector,
    translation,
)
from hoirecon.data.datasets.object_arrays import ObjectArchive, read_objects
from hoirecon.data.datasets.samples import (
    WITH_DEPTH,
    BodyContactTruth,
    Question,
    ReconstructionTruth,
    Sample,
    Truth,
)
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

LICENCE = "BEHAVE: MPI, non-commercial research only; blur faces in pictures you publish"
Annotation = Literal["fit", "30fps"]
PARAM_SIZES = {"pose": 156, "betas": 10, "trans": 3}
BODY_FIT, OBJECT_FIT = "fit02", "fit01"
"""Names of the registrations of the released data."""
WINDOW = 300
"""Frames of the 30 fps files over which a tracker is aligned once (VisTracker, Xie et al., CVPR 2023)."""
_FOLDER_OF = {"chairwood": "chair", "chairblack": "chair", "basketball": "sports ball", "yogaball": "sports ball"}
"""Object -> the folder that its fit may lie in instead of its own."""


@dataclass(frozen=True)
class _Frame:
    sequence: Path
    name: str
    """E.g. ``t0005.000``."""
    row: int = 0
    """Place in the 30 fps files."""


def open_behave(
    root: str | Path,
    split: str = "test",
    camera: int = 1,
    annotation: Annotation = "fit",
    params: str | Path = "",
    depth: bool = False,
) -> ListedDataset:
    """Read BEHAVE.

    Args:
        root: the folder that holds ``split.json``.
        split: a key of ``split.json``, or ``all``.
        camera: Kinect 0 to 3; the field's protocols use 1.
        annotation: ``fit``: the registrations in the frames' folders (one a second); ``30fps``: the sequences' npz
            files, whose pictures are there only where the frame was extracted.
        params: folder of the 30 fps files, by sequence; empty: they lie in the sequences' folders.
        depth: hand out the Kinect's depth picture, ``question.extra["depth"]`` (millimetres; None where it is not
            there). Published figures are of colour pictures, so that runs on data with depth stand in no leaderboard.

    Raises:
        InputError: no such folder or split, a sequence of the split that is not there, or files that do not fit.
    """
    root = need_folder(Path(root), "give the folder that holds BEHAVE's split.json, objects and sequences")
    sequences, found = _sequences(root, split), Findings(root)
    frames: list[_Frame] = []
    for sequence in sequences:
        listed = list(_frames(sequence) if annotation == "fit" else _rows(sequence, _params_of(sequence, params)))
        usable = [frame for frame, reason in listed if not reason]
        without = [frame.name for frame, reason in listed if reason]
        found.about(
            "warning", sequence, without, "without registrations of both body and object", "they are no samples"
        )
        frames += usable
    suffix = "" if camera == 1 else f"/k{camera}"
    reader = _Reader(root, camera, annotation, str(params), is_stand_in_folder(root), suffix, depth)
    version = "sequences" if annotation == "fit" else "30fps"
    return ListedDataset(
        name="behave",
        version=f"{version}{WITH_DEPTH}" if depth else version,
        split=split,
        licence=LICENCE,
        ids=tuple(f"{f.sequence.name}/{f.name}{suffix}" for f in frames),
        read=lambda k: reader.sample(frames[k]),
        root=root,
        label_files=tuple(reader.label_files(frames)),
        stand_in=reader.stand_in,
        problems=found.tuple(),
    )


def _sequences(root: Path, split: str) -> list[Path]:
    if split == "all":
        return sorted(p.parent for p in (root / "sequences").glob("*/info.json"))
    path = need_file(root / "split.json", "download split.json too, or ask for split='all'")
    held = need(read_json(path), (split,), str(path))
    folders = [root / "sequences" / str(name) for name in held[split]]
    if len(set(folders)) < len(folders):
        raise InputError(f"{root / 'split.json'} names a sequence of '{split}' twice: this copy is damaged")
    missing = [f.name for f in folders if not f.is_dir()]
    if missing:
        raise MissingFile(
            f"{root / 'sequences'} lacks {len(missing)} of the {len(folders)} sequences of '{split}' "
            f"({', '.join(missing[:3])}): download them, or ask for split='all' and report it as a partial set"
        )
    return folders


def _frames(sequence: Path) -> Iterator[tuple[_Frame, str]]:
    name = _object_name(sequence)
    for folder in sorted(p for p in sequence.iterdir() if p.is_dir() and p.name.startswith("t")):
        reason = ""
        if not (folder / "person" / BODY_FIT / "person_fit.pkl").is_file():
            reason = f"no person/{BODY_FIT}/person_fit.pkl"
        elif _object_file(folder, name, ".pkl") is None:
            reason = f"no {name}/{OBJECT_FIT}/{name}_fit.pkl"
        yield _Frame(sequence, folder.name), reason


def _rows(sequence: Path, params: Path) -> Iterator[tuple[_Frame, str]]:
    body, thing = ObjectArchive(params / "smpl_fit_all.npz"), ObjectArchive(params / "object_fit_all.npz")
    times = [[str(t) for t in archive.objects("frame_times")] for archive in (body, thing)]
    if times[0] != times[1]:
        raise InputError(f"{params}: the frame_times of smpl_fit_all.npz and object_fit_all.npz differ")
    for row, time in enumerate(times[0]):
        yield _Frame(sequence, time, row), ""


def _params_of(sequence: Path, params: str | Path) -> Path:
    return Path(params) / sequence.name if str(params) else sequence


def _object_name(sequence: Path) -> str:
    return str(need(read_json(sequence / "info.json"), ("cat",), str(sequence / "info.json"))["cat"])


def _object_file(frame: Path, name: str, ending: str) -> Path | None:
    """The registration of the object, in its own folder or in that of its kind."""
    names = [name, _FOLDER_OF.get(name, name)]
    return first_file(*(frame / n / OBJECT_FIT / f"{n}_fit{ending}" for n in names))


@dataclass(frozen=True)
class _Reader:
    root: Path
    kinect: int
    annotation: Annotation
    params: str
    stand_in: bool
    suffix: str
    depth: bool

    def label_files(self, frames: list[_Frame]) -> Iterator[Path]:
        if (self.root / "split.json").is_file():
            yield self.root / "split.json"
        if self.annotation == "30fps":
            folders = dict.fromkeys(_params_of(f.sequence, self.params) for f in frames)
            kept = [f / n for f in folders for n in ("smpl_fit_all.npz", "object_fit_all.npz")]
            yield from (p for p in kept if p.is_relative_to(self.root))
            return
        for frame in frames:
            folder = frame.sequence / frame.name
            yield folder / "person" / BODY_FIT / "person_fit.pkl"
            if (path := _object_file(folder, _object_name(frame.sequence), ".pkl")) is not None:
                yield path

    def sample(self, frame: _Frame) -> Sample:
        info_path = frame.sequence / "info.json"
        info = need(read_json(info_path), ("cat", "gender", "config", "intrinsic"), str(info_path))
        name, folder = str(info["cat"]), frame.sequence / frame.name
        body, thing = self._fits(frame, name)
        R, t = _world_to_camera(frame.sequence / str(info["config"]), self.kinect)
        camera, lens = _camera(frame.sequence / str(info["intrinsic"]), self.kinect)
        k = f"k{self.kinect}"
        question = Question(
            id=f"{frame.sequence.name}/{frame.name}{self.suffix}",
            image=first_file(folder / f"{k}.color.jpg"),
            label=name,
            person_mask=first_file(*(folder / f"{k}.person_mask.{e}" for e in ("png", "jpg"))),
            object_mask=first_file(
                *(folder / f"{k}.obj_{w}.{e}" for w in ("rend_mask", "mask") for e in ("png", "jpg"))
            ),
            camera=camera,
            object_mesh=behave_template(self.root, name),
            extra={"gender": str(info["gender"]), "distortion": lens}
            | ({"depth": first_file(folder / f"{k}.depth.png")} if self.depth else {})
            | ({"window": frame.row // WINDOW} if self.annotation == "30fps" else {}),
        )
        truth: dict[str, Truth] = {"reconstruction": self._truth(folder, name, body, thing, R, t)}
        if (contact := self._contact(folder, name)) is not None:
            truth["body_contact"] = contact
        return Sample(question, truth, group=frame.sequence.name, category=name)

    def _fits(self, frame: _Frame, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Parameters of body and object; the object's by the names of the pickles."""
        if self.annotation == "30fps":
            params = _params_of(frame.sequence, self.params)
            found = {"pose": "poses", "betas": "betas", "trans": "trans"}
            body, thing = ObjectArchive(params / "smpl_fit_all.npz"), ObjectArchive(params / "object_fit_all.npz")
            return (
                {ours: body.array(theirs)[frame.row] for ours, theirs in found.items()},
                {"angle": thing.array("angles")[frame.row], "trans": thing.array("trans")[frame.row]},
            )
        folder = frame.sequence / frame.name
        person, path = folder / "person" / BODY_FIT / "person_fit.pkl", _object_file(folder, name, ".pkl")
        if path is None:
            raise InputError(f"{folder} has no {name}/{OBJECT_FIT}/{name}_fit.pkl")
        body_fit = need(read_objects(person, "a registration"), tuple(PARAM_SIZES), str(person))
        return body_fit, need(read_objects(path, "a registration"), ("angle", "trans"), str(path))

    def _truth(
        self, folder: Path, name: str, body: Mapping[str, Any], thing: Mapping[str, Any], R: FloatArray, t: FloatArray
    ) -> ReconstructionTruth:
        where = f"{folder.parent.name}/{folder.name}"
        world = ObjectPose(rotation_of_vector(thing["angle"], where), translation(thing["trans"], where))
        prefix = "" if self.kinect == 1 else "world_"
        params = {f"{prefix}{k}": _flat(body[k], n, f"{k} of {where}") for k, n in PARAM_SIZES.items()}
        mesh_path = folder / "person" / BODY_FIT / "person_fit.ply"
        mesh = read_mesh_file(mesh_path) if mesh_path.is_file() else None
        topology = "smpl" if mesh is None else body_topology(len(mesh.verts), self.stand_in, str(mesh_path))
        return ReconstructionTruth(
            object_pose=moved(world, R, t),
            object_name=name,
            body_verts=None if mesh is None else mesh.verts @ R.T + t,
            body_params=params,
            params_to_truth=ObjectPose(R, t),
            topology=topology,
            body_faces=None if mesh is None else mesh.faces,
        )

    def _contact(self, folder: Path, name: str) -> BodyContactTruth | None:
        """Body vertices nearest to the object's touching points, where the derived file and the body's mesh are."""
        path, mesh = _object_file(folder, name, "_contact.npz"), folder / "person" / BODY_FIT / "person_fit.ply"
        if path is None or not mesh.is_file():
            return None
        points = read_behave_contacts(path)
        verts = read_mesh_file(mesh).verts
        contact = np.zeros(len(verts))
        contact[points.body_vertices(verts)] = 1.0
        return BodyContactTruth(contact, body_topology(len(verts), self.stand_in, str(mesh)), {})


@dataclass(frozen=True)
class ContactPoints:
    """Contact of points on an object's surface, as BEHAVE's own script derives it; world frame, metres."""

    object_points: FloatArray
    """(N, 3)."""
    contact_label: FloatArray
    """(N,) 0 or 1: nearer than 2 cm (an earlier script: 3 cm) or inside the body."""
    contact_vertices: FloatArray
    """(N, 3) nearest places on the body, or (N,) ids of its vertices, as the file has them."""

    def body_vertices(self, verts: FloatArray) -> Any:
        """Ids of the body's vertices that touch; the nearest one to each place."""
        from scipy.spatial import cKDTree

        touching = self.contact_vertices[self.contact_label > 0.5]
        if touching.ndim == 1:
            if len(touching) and touching.max() >= len(verts):
                raise InputError(f"contact_vertices names vertex {int(touching.max())} of a body of {len(verts)}")
            return np.unique(touching.astype(np.int64))
        return np.unique(cKDTree(verts).query(touching)[1]) if len(touching) else np.zeros(0, dtype=np.int64)


def read_behave_contacts(path: str | Path) -> ContactPoints:
    """Read a derived ``*_contact.npz``: one dictionary in an array of objects, ``arr_0``.

    Raises:
        InputError: keys that are missing, arrays of other lengths, or a file that asks for code.
    """
    held: Any = ObjectArchive(path).objects("arr_0")
    held = held[0] if isinstance(held, list) and len(held) == 1 else held
    held = need(held, ("object_points", "contact_label", "contact_vertices"), str(path))
    points = as_floats(held["object_points"], ("N", 3), f"object_points of {path}")
    label = as_floats(np.asarray(held["contact_label"]).astype(float), (len(points),), f"contact_label of {path}")
    nearest = np.asarray(held["contact_vertices"], dtype=np.float64)
    shape = (len(points),) if nearest.ndim == 1 else (len(points), 3)
    return ContactPoints(points, label, as_floats(nearest, shape, f"contact_vertices of {path}"))


def behave_template(root: Path, name: str) -> Mesh:
    """The simplified template of an object with the mean of its vertices at the origin, as the poses mean it.

    Raises:
        InputError: no ``<name>*_f<n>.ply``, or one that is not in metres.
    """
    folder = root / "objects" / name
    found = sorted(folder.glob("*_f[0-9]*.ply"))
    if not found:
        raise MissingFile(f"{folder} has no simplified template ({name}_f1000.ply or the like): the poses need it")
    mesh = kept_mesh_file(found[0])
    return Mesh(mesh.verts - mesh.verts.mean(0), mesh.faces, name)


def _flat(value: Any, size: int, where: str) -> FloatArray:
    """Flat parameters; SMPL-H files of 16 betas keep them all."""
    flat = np.ravel(np.asarray(value, dtype=np.float64))
    return as_floats(flat, (max(size, len(flat)) if where.startswith("betas") else size,), where)


def _world_to_camera(config: Path, kinect: int) -> tuple[FloatArray, FloatArray]:
    """R, t of ``x_cam = R x_world + t``: the inverse of what the file states."""
    path = config / str(kinect) / "config.json"
    held = need(read_json(path), ("rotation", "translation"), str(path))
    R = rotation(np.reshape(np.asarray(held["rotation"], dtype=np.float64), (3, 3)), str(path))
    t = translation(held["translation"], str(path))
    return R.T, -R.T @ t


def _camera(intrinsic: Path, kinect: int) -> tuple[Camera, FloatArray]:
    """Colour camera, and its distortion in OpenCV's order, which :class:`Camera` does not model."""
    path = intrinsic / str(kinect) / "calibration.json"
    where = f"color of {path}"
    color = need(
        need(read_json(path), ("color",), str(path))["color"], ("fx", "fy", "cx", "cy", "width", "height"), where
    )
    K = np.array([[color["fx"], 0, color["cx"]], [0, color["fy"], color["cy"]], [0, 0, 1.0]])
    lens = np.asarray(color.get("opencv", [])[4:], dtype=np.float64)
    return Camera(K, int(color["width"]), int(color["height"])), lens
