"""What a method says of one sample, and how it is kept: one type, written as ``.npz`` or ``.json``, never as a pickle.

Frames and units: whatever a dataset's truth is in (``docs/datasets.md`` says it for each), so the camera frame (OpenCV
axes) and metres for all of ours. Contact is kept as the vertices that are not zero and their scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import FloatArray, IntArray, as_floats, as_ints
from hoirecon.errors import InputError
from hoirecon.files import check_writable, read_json, write_json
from hoirecon.pose import ObjectPose
from hoirecon.safe_io import Arrays, read_arrays, write_arrays

SCHEMA = "hoirecon-prediction"
SCHEMA_VERSION = 1
SUFFIXES = (".npz", ".json")
MAX_FILE_BYTES = 256 << 20
"""A body, an object and their contact take about half a megabyte."""
MAX_NAME = 180
"""Longer ids are cut in file names, with a digest of the whole; most file systems end at 255 bytes."""

_CONTACTS = ("body_contact", "object_contact", "affordance")
_POINTS = ("object_verts", "body_verts", "body_joints")
_FACES = ("object_faces", "body_faces")


@dataclass(frozen=True)
class Prediction:
    """The answer to one :class:`~hoirecon.data.datasets.samples.Question`; what a method does not say stays None.

    Example:
        >>> said = Prediction("a/1", body_contact=[0.0, 0.9, 0.0], topology="smpl")
        >>> said.body_contact.tolist(), said.failed
        ([0.0, 0.9, 0.0], '')
    """

    id: str
    """Id of the question."""
    body_contact: FloatArray | None = None
    """(V,) in [0, 1], contact with anything, or with the object that was asked about."""
    topology: str = ""
    """Mesh of the body's vertices, by the names of :mod:`hoirecon.data.datasets.topologies`."""
    by_object: Mapping[str, FloatArray] = field(default_factory=dict)
    """Object name, words with spaces -> (V,) scores, where a method tells objects apart."""
    object_contact: FloatArray | None = None
    """(Vo,) in [0, 1] on the vertices of the question's mesh."""
    affordance: FloatArray | None = None
    """(N,) in [0, 1] on the question's points."""
    object_pose: ObjectPose | None = None
    """The question's mesh to the camera frame."""
    object_verts: FloatArray | None = None
    """(Vo, 3) camera frame, metres, where a method has a mesh of its own."""
    body_verts: FloatArray | None = None
    """(V, 3) camera frame, metres."""
    body_joints: FloatArray | None = None
    """(J, 3) camera frame, metres."""
    object_faces: IntArray | None = None
    """(F, 3) triangles of ``object_verts``, where they are not those of the question's mesh."""
    body_faces: IntArray | None = None
    """(F, 3) triangles of ``body_verts``, where they are not those of the truth's body."""
    body_params: Mapping[str, FloatArray] = field(default_factory=dict)
    """By the names of the format that they are meant for, e.g. ``pose``, ``betas``, ``trans`` of RHOBIN."""
    failed: str = ""
    """Why there is no answer; it then counts as the worst case and is listed, never dropped."""
    seconds: float | None = None
    """Wall time of the method alone."""
    notes: tuple[str, ...] = ()
    """What the method says of its own answer."""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InputError(f"a prediction's id is the question's id, got {self.id!r}")
        what = f"of the prediction for '{self.id}'"
        for name in _CONTACTS:
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _scores(value, f"{name} {what}"))
        for name in _POINTS:
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else as_floats(value, ("V", 3), f"{name} {what}"))
        for name in _FACES:
            object.__setattr__(self, name, _triangles(getattr(self, name), self, name, what))
        scores = {str(k): _scores(v, f"by_object['{k}'] {what}") for k, v in self.by_object.items()}
        object.__setattr__(self, "by_object", scores)
        params = {str(k): _params(v, f"body_params['{k}'] {what}") for k, v in self.body_params.items()}
        object.__setattr__(self, "body_params", params)
        object.__setattr__(self, "notes", tuple(str(note) for note in self.notes))


def _scores(value: Any, name: str) -> FloatArray:
    scores = as_floats(value, ("V",), name)
    if len(scores) and (scores.min() < 0 or scores.max() > 1):
        raise InputError(f"{name} must lie in [0, 1], got {scores.min():.4g} to {scores.max():.4g}: give probabilities")
    return scores


def _triangles(value: Any, said: Prediction, name: str, what: str) -> IntArray | None:
    if value is None:
        return None
    verts, faces = getattr(said, name.replace("faces", "verts")), as_ints(value, ("F", 3), f"{name} {what}")
    if verts is None:
        raise InputError(f"{name} {what} are triangles of nothing: give {name.replace('faces', 'verts')} too")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(verts)):
        raise InputError(f"{name} {what} names vertices {faces.min()}..{faces.max()} of {len(verts)}")
    return faces


def _params(value: Any, name: str) -> FloatArray:
    array = np.asarray(value)
    return as_floats(array, array.shape, name)


# ------------------------------------------------------------------------------------------------------- one file each
def prediction_name(id: str) -> str:
    """File name, without suffix, of an id: every sign but letters, digits and ``_.-~`` is written as ``%XX``.

    So is a dot in front, as readers pass over files whose names begin with one.

    Example:
        >>> prediction_name("Date03/t0005.000")
        'Date03%2Ft0005.000'
    """
    name = quote(id, safe="")
    if len(name) > MAX_NAME:
        name = f"{name[: MAX_NAME - 17]}-{hashlib.sha256(id.encode()).hexdigest()[:16]}"
    return f"%2E{name[1:]}" if name.startswith(".") else name


def write_prediction(said: Prediction, folder: str | Path, suffix: str = ".npz") -> Path:
    """Write one prediction into a folder, whole or not at all, under the name that its id gives.

    Args:
        said: what to write.
        folder: made if it is missing.
        suffix: ``.npz``, small and exact; ``.json``, exact too and readable, ten times larger.

    Raises:
        InputError: another suffix, or a folder that cannot be written.
    """
    if suffix not in SUFFIXES:
        raise InputError(f"predictions are written as one of {', '.join(SUFFIXES)}, got '{suffix}'")
    check_writable(folder)
    path = Path(folder) / f"{prediction_name(said.id)}{suffix}"
    header, arrays = pack_prediction(said)
    if suffix == ".json":
        write_json(path, {**header, "arrays": {name: array.tolist() for name, array in arrays.items()}})
    else:
        text = json.dumps(header, ensure_ascii=True, allow_nan=False).encode("ascii")
        write_arrays({"header": np.frombuffer(text, dtype=np.uint8), **arrays}, path)
    return path


def read_prediction(path: str | Path) -> Prediction:
    """Read one prediction.

    Raises:
        InputError: missing, damaged, too large, not a prediction, or with values that cannot be (NaN, a left-handed
            rotation, scores outside [0, 1], indices beyond the mesh).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path.name} has {path.stat().st_size} bytes, more than the limit of {MAX_FILE_BYTES}")
    header, arrays = _read_json(path) if path.suffix == ".json" else _read_npz(path)
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise InputError(f"{path.name} is not a prediction of this library: its schema is not '{SCHEMA}'")
    if header.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path.name} has schema version {header.get('schema_version')!r:.40}, this library reads "
            f"{SCHEMA_VERSION}: write it again, or use the version of hoirecon that wrote it"
        )
    try:
        return _unpack(header, arrays)
    except InputError as err:
        raise InputError(f"{path.name}: {err}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as err:
        raise InputError(f"{path.name} is not a whole prediction ({type(err).__name__}: {err})") from None


def write_predictions(said: Iterable[Prediction], folder: str | Path, suffix: str = ".npz") -> int:
    """Write many predictions, one file each; returns how many.

    Raises:
        InputError: two predictions of one id (the ones before them are written).
    """
    seen: set[str] = set()
    for prediction in said:
        if prediction.id in seen:
            raise InputError(f"there are two predictions for '{prediction.id}': give each sample one answer")
        seen.add(prediction.id)
        write_prediction(prediction, folder, suffix)
    return len(seen)


def prediction_files(folder: str | Path) -> list[Path]:
    """Files of predictions in a folder, sorted by name; other files are passed over.

    Raises:
        InputError: not a folder.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds one .npz or .json per sample")
    return sorted(p for p in Path(folder).iterdir() if p.suffix in SUFFIXES and not p.name.startswith("."))


def iter_predictions(folder: str | Path) -> Iterator[Prediction]:
    """Predictions of a folder, one at a time, sorted by file name.

    Raises:
        InputError: a file that is not a prediction, or a second answer for an id.
    """
    seen: dict[str, str] = {}
    for path in prediction_files(folder):
        said = read_prediction(path)
        if said.id in seen:
            raise InputError(f"{path.name} and {seen[said.id]} both answer '{said.id}': keep one of them")
        seen[said.id] = path.name
        yield said


def read_predictions(folder: str | Path) -> dict[str, Prediction]:
    """All predictions of a folder by id; see :func:`iter_predictions` for many."""
    return {said.id: said for said in iter_predictions(folder)}


# ------------------------------------------------------------------------------------------------------ header, arrays
def pack_prediction(said: Prediction) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """A prediction as a header of plain values and its arrays by name: what its file holds."""
    header: dict[str, Any] = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "id": said.id}
    header |= {"topology": said.topology, "failed": said.failed, "seconds": said.seconds, "notes": list(said.notes)}
    arrays: Arrays = {}
    sizes: dict[str, int] = {}
    contacts = {name: getattr(said, name) for name in _CONTACTS}
    contacts |= {f"of_{k}": scores for k, scores in enumerate(said.by_object.values())}
    for name, scores in contacts.items():
        if scores is not None:
            ids = np.flatnonzero(scores)
            sizes[name] = len(scores)
            arrays |= {f"{name}_ids": ids, f"{name}_scores": scores[ids]}
    arrays |= {name: value for name in (*_POINTS, *_FACES) if (value := getattr(said, name)) is not None}
    if (pose := said.object_pose) is not None:
        arrays |= {"R": pose.R, "t": pose.t, "s": np.array(pose.s)}
    arrays |= {f"param_{k}": value for k, value in enumerate(said.body_params.values())}
    header |= {"sizes": sizes, "objects": list(said.by_object), "params": list(said.body_params)}
    return header, arrays


def same_prediction(one: Prediction, other: Prediction) -> bool:
    """Whether two predictions say the same, bit by bit; the wall time and notes count as well.

    Example:
        >>> same_prediction(Prediction("a", affordance=[0.5]), Prediction("a", affordance=[0.5]))
        True
    """
    (header, arrays), (other_header, others) = pack_prediction(one), pack_prediction(other)
    same_names = header == other_header and arrays.keys() == others.keys()
    return same_names and all(np.array_equal(arrays[name], others[name]) for name in arrays)


def _unpack(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> Prediction:
    contacts: dict[str, Any] = {name: _dense(arrays, name, size) for name, size in dict(header["sizes"]).items()}
    pose = ObjectPose(arrays["R"], arrays["t"], float(np.asarray(arrays["s"]))) if "R" in arrays else None
    seconds = header["seconds"]
    return Prediction(
        id=header["id"],
        topology=str(header["topology"]),
        by_object={str(name): contacts[f"of_{k}"] for k, name in enumerate(header["objects"])},
        object_pose=pose,
        body_params={str(name): arrays[f"param_{k}"] for k, name in enumerate(header["params"])},
        failed=str(header["failed"]),
        seconds=None if seconds is None else float(seconds),
        notes=tuple(header["notes"]),
        **{name: contacts[name] for name in _CONTACTS if name in contacts},
        **cast(Any, {name: arrays[name] for name in (*_POINTS, *_FACES) if name in arrays}),
    )


def _dense(arrays: Mapping[str, Any], name: str, size: Any) -> FloatArray:
    ids, scores = np.asarray(arrays[f"{name}_ids"]), np.asarray(arrays[f"{name}_scores"], dtype=np.float64)
    if not isinstance(size, int) or not 0 <= size <= 10_000_000 or ids.shape != scores.shape or ids.ndim != 1:
        raise InputError(f"{name} has {ids.shape} ids and {scores.shape} scores for {size!r:.40} vertices")
    dense = np.zeros(size)
    if len(ids):
        ids = ids.astype(np.int64)
        if ids.min() < 0 or ids.max() >= size or len(np.unique(ids)) < len(ids):
            raise InputError(f"{name} names vertices {ids.min()}..{ids.max()} of {size}, or one of them twice")
        dense[ids] = scores
    return dense


def _read_npz(path: Path) -> tuple[Any, Mapping[str, Any]]:
    arrays = read_arrays(path.read_bytes(), path.name)
    if "header" not in arrays:
        raise InputError(f"{path.name} is not a prediction of this library (no header): write_prediction makes one")
    try:
        return json.loads(arrays.pop("header").tobytes().decode("ascii")), arrays
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as err:
        raise InputError(f"{path.name} has a damaged header: {err}") from err


def _read_json(path: Path) -> tuple[Any, Mapping[str, Any]]:
    held = read_json(path, MAX_FILE_BYTES)
    arrays = held.get("arrays") if isinstance(held, dict) else None
    if not isinstance(arrays, dict):
        raise InputError(f"{path.name} is not a prediction of this library (no arrays): write_prediction makes one")
    return held, arrays
