"""A scene as two files: ``scene.json`` (parameters a person can read) and ``scene.npz`` (arrays), and the photograph.

Nothing in them is ever executed: JSON, arrays without pickle, a PNG. Every number comes back bit for bit: Python writes
the shortest decimal that reads back to the same float64, and the arrays keep their bytes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray
from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_writable, read_json, write_json
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from hoirecon.pose import ObjectPose
from hoirecon.safe_io import Arrays, read_arrays, read_png, write_arrays, write_png
from hoirecon.scene import Measure, Scene, SceneBody, SceneObject, ScenePair, Unit

SCHEMA = "hoirecon-scene"
SCHEMA_VERSION = 1

JSON_NAME = "scene.json"
NPZ_NAME = "scene.npz"
PHOTO_NAME = "photo.png"

# A result of a 100-megapixel photograph with a dozen objects stays far below these; a zip bomb does not.
MAX_JSON_BYTES = 64 << 20
MAX_FILE_BYTES = 1 << 30

CONVENTIONS = {
    "frame": "cam: OpenCV camera axes, x right, y down, z forward, origin at the camera's centre",
    "units": "lengths in metres, angles in radians, image positions in pixels, unless a number names its unit",
    "pixels": "the pixel in column i and row j covers [i, i+1] x [j, j+1]; its centre is (i + 0.5, j + 0.5)",
    "object_pose": "x_cam = s * R @ x_obj + t (column vectors); mesh vertices are in the object frame, unscaled",
    "body_params": "SMPL-family names; rotation vectors; verts_cam = LBS(...) + transl, turning about the pelvis",
    "contact": "probability of contact per vertex, in [0, 1]; label, answer, named_parts, notes: the estimator's words",
    "masks": "visible pixels only; stored as bits, row by row (numpy.packbits), of the photograph's height x width",
    "object_mask": "object_mask_k belongs to objects[k]",
    "scene.glb": "glTF axes: x right, y up, z backward, i.e. (x, -y, -z) of cam; metres; colours show contact",
    "landmarks": "body_k_landmarks_cam: where body k has the keypoints of the photograph, in their order",
    "alternatives": "other poses of the object, best first; energy_above_best in squared sigmas",
    "obj_files": "vertices in the frame cam, metres, in the order of scene.npz",
}


def write_scene(scene: Scene, folder: str | Path) -> None:
    """Write ``scene.json``, ``scene.npz`` and ``photo.png`` into a folder; ``scene.json`` last, as the seal.

    Args:
        scene: what to write. Its ``config`` must hold plain values (see :func:`plain`); tuples come back as lists.
        folder: made if missing. Files of the same names are replaced, each as a whole; to replace a whole result
            folder use :meth:`Scene.save`.

    Raises:
        InputError: the folder cannot be written, or ``config`` holds something that is not a plain value.
    """
    folder = Path(folder)
    check_writable(folder)
    header = _scene_to_json(scene)
    with atomic_file(folder / PHOTO_NAME) as tmp:
        write_png(scene.observation.image, tmp)
    write_arrays(_scene_to_arrays(scene), folder / NPZ_NAME)
    header["files"] = {name: _fingerprint((folder / name).read_bytes()) for name in (PHOTO_NAME, NPZ_NAME)}
    write_json(folder / JSON_NAME, header)


def load_scene(folder: str | Path) -> Scene:
    """Read what :func:`write_scene` wrote, bit for bit.

    Args:
        folder: a result folder, or its ``scene.json``; only ``scene.json``, ``scene.npz`` and ``photo.png`` are read.

    Raises:
        InputError: not a result folder, written by another schema version, or a file is missing, damaged or too large.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == JSON_NAME else folder
    if not (folder / JSON_NAME).is_file():
        raise InputError(f"{folder} is not a result folder: it holds no {JSON_NAME}")
    header = read_json(folder / JSON_NAME, MAX_JSON_BYTES)
    _check_schema(header, folder)
    try:
        photo = _read_checked(folder, PHOTO_NAME, header)
        arrays = read_arrays(_read_checked(folder, NPZ_NAME, header), NPZ_NAME)
        return _scene_from(header, arrays, read_png(photo, PHOTO_NAME))
    except InputError as err:
        raise InputError(f"the result in {folder} cannot be read: {err}") from err
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as err:
        detail = f"{type(err).__name__}: {err}"
        raise InputError(f"the result in {folder} cannot be read: {JSON_NAME} is damaged ({detail})") from err


# ---------------------------------------------------------------------------------------------------------- to files


def _scene_to_json(scene: Scene) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "conventions": CONVENTIONS,
        "camera": {
            "K": scene.camera.K.tolist(),
            "width": int(scene.camera.width),
            "height": int(scene.camera.height),
            "source": scene.camera.source,
        },
        "observation": _observation_to_json(scene.observation),
        "bodies": [_body_to_json(body) for body in scene.bodies],
        "objects": [_object_to_json(obj) for obj in scene.objects],
        "contacts": [_pair_to_json(pair) for pair in scene.contacts],
        "measures": {
            name: {"value": _number(m.value), "unit": m.unit, "meaning": m.meaning}
            for name, m in scene.measures.items()
        },
        "flags": list(scene.flags),
        "versions": dict(scene.versions),
        "config": plain(scene.config, "config"),
    }


def _observation_to_json(observation: Observation) -> dict[str, Any]:
    points = observation.keypoints
    return {
        "keypoints": None if points is None else {"layout": points.layout, "has_xyz": points.xyz is not None},
        "has_person_mask": observation.person_mask is not None,
        "num_object_masks": len(observation.object_masks),
        "has_occluders": observation.occluders is not None,
        "person_box_xywh_px": None if observation.person_box is None else [float(v) for v in observation.person_box],
        "notes": list(observation.notes),
    }


def _body_to_json(body: SceneBody) -> dict[str, Any]:
    return {
        "topology": body.topology,
        "params": {name: value.tolist() for name, value in body.params.arrays().items()},
        "num_verts": len(body.verts),
        "num_faces": len(body.faces),
        "num_joints": len(body.joints),
        "num_landmarks": None if body.landmarks is None else len(body.landmarks),
    }


def _pose_to_json(pose: ObjectPose) -> dict[str, Any]:
    return {"R": pose.R.tolist(), "t": pose.t.tolist(), "s": pose.s}


def _object_to_json(obj: SceneObject) -> dict[str, Any]:
    energies = obj.alternative_energies or (None,) * len(obj.alternatives)
    return {
        "name": obj.name,
        "category": obj.category,
        "licence": obj.licence,
        "author": obj.author,
        "pose": _pose_to_json(obj.pose),
        "alternatives": [
            {**_pose_to_json(pose), "energy_above_best": energy}
            for pose, energy in zip(obj.alternatives, energies, strict=True)
        ],
        "mesh": {
            "name": obj.mesh.name,
            "topology": obj.mesh.topology,
            "num_verts": len(obj.mesh.verts),
            "num_faces": len(obj.mesh.faces),
            "has_colors": obj.mesh.colors is not None,
        },
    }


def _pair_to_json(pair: ScenePair) -> dict[str, Any]:
    return {
        "body_index": pair.body_index,
        "object_index": pair.object_index,
        "body_contact": pair.body_contact.to_dict(),
        "object_contact": pair.object_contact.to_dict(),
    }


def _scene_to_arrays(scene: Scene) -> Arrays:
    seen = scene.observation
    arrays: Arrays = {}
    for name in ("person_mask", "occluders"):
        if getattr(seen, name) is not None:
            arrays[name] = np.packbits(getattr(seen, name))
    for k, mask in enumerate(seen.object_masks):
        arrays[f"object_mask_{k}"] = np.packbits(mask)
    if seen.keypoints is not None:
        arrays["keypoints_xy"] = seen.keypoints.xy
        arrays["keypoints_confidence"] = seen.keypoints.confidence
        if seen.keypoints.xyz is not None:
            arrays["keypoints_xyz"] = seen.keypoints.xyz
    for k, body in enumerate(scene.bodies):
        arrays[f"body_{k}_verts_cam"] = body.verts
        arrays[f"body_{k}_faces"] = _small_ints(body.faces)
        arrays[f"body_{k}_joints_cam"] = body.joints
        if body.landmarks is not None:
            arrays[f"body_{k}_landmarks_cam"] = body.landmarks
    for k, obj in enumerate(scene.objects):
        arrays[f"object_{k}_verts_obj"] = obj.mesh.verts
        arrays[f"object_{k}_faces"] = _small_ints(obj.mesh.faces)
        if obj.mesh.colors is not None:
            arrays[f"object_{k}_colors"] = obj.mesh.colors
    for k, pair in enumerate(scene.contacts):
        arrays[f"contact_{k}_body"] = pair.body_contact.probability
        arrays[f"contact_{k}_object"] = pair.object_contact.probability
    return arrays


def _small_ints(indices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    fits = indices.size == 0 or (indices.min() >= -(2**31) and indices.max() < 2**31)
    return indices.astype(np.int32) if fits else indices  # they come back as int64


# -------------------------------------------------------------------------------------------------------- from files


def _scene_from(header: dict[str, Any], arrays: Arrays, image: ByteArray) -> Scene:
    camera = header["camera"]
    return Scene(
        observation=_observation_from(
            header["observation"],
            arrays,
            image,
            Camera(np.array(camera["K"]), int(camera["width"]), int(camera["height"]), camera["source"]),
        ),
        bodies=tuple(_body_from(entry, k, arrays) for k, entry in enumerate(header["bodies"])),
        objects=tuple(_object_from(entry, k, arrays) for k, entry in enumerate(header["objects"])),
        contacts=tuple(_pair_from(entry, k, arrays) for k, entry in enumerate(header["contacts"])),
        measures={str(name): _measure_from(entry) for name, entry in header["measures"].items()},
        flags=tuple(str(flag) for flag in header["flags"]),
        versions={str(name): str(version) for name, version in header["versions"].items()},
        config=dict(header["config"]),
    )


def _observation_from(entry: dict[str, Any], arrays: Arrays, image: ByteArray, camera: Camera) -> Observation:
    size = image.shape[0], image.shape[1]
    keypoints = None
    if entry["keypoints"] is not None:
        xyz = _array(arrays, "keypoints_xyz") if entry["keypoints"]["has_xyz"] else None
        xy, confidence = _array(arrays, "keypoints_xy"), _array(arrays, "keypoints_confidence")
        keypoints = Keypoints(str(entry["keypoints"]["layout"]), xy, confidence, xyz)
    box = entry["person_box_xywh_px"]
    return Observation(
        image=image,
        camera=camera,
        person_mask=_mask(arrays, "person_mask", size) if entry["has_person_mask"] else None,
        object_masks=tuple(_mask(arrays, f"object_mask_{k}", size) for k in range(int(entry["num_object_masks"]))),
        occluders=_mask(arrays, "occluders", size) if entry["has_occluders"] else None,
        keypoints=keypoints,
        person_box=None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        notes=tuple(str(note) for note in entry["notes"]),
    )


# Results from before `num_landmarks`, `alternatives` and a contact's words were written lack these keys: "none".


def _body_from(entry: dict[str, Any], k: int, arrays: Arrays) -> SceneBody:
    has_landmarks = entry.get("num_landmarks") is not None
    return SceneBody(
        params=BodyParams(topology=str(entry["topology"]), **entry["params"]),
        verts=_array(arrays, f"body_{k}_verts_cam"),
        faces=_array(arrays, f"body_{k}_faces"),
        joints=_array(arrays, f"body_{k}_joints_cam"),
        landmarks=_array(arrays, f"body_{k}_landmarks_cam") if has_landmarks else None,
    )


def _object_from(entry: dict[str, Any], k: int, arrays: Arrays) -> SceneObject:
    mesh = Mesh(
        verts=_array(arrays, f"object_{k}_verts_obj"),
        faces=_array(arrays, f"object_{k}_faces"),
        name=str(entry["mesh"]["name"]),
        colors=_array(arrays, f"object_{k}_colors") if entry["mesh"]["has_colors"] else None,
    )
    others = entry.get("alternatives", [])
    energies = [other["energy_above_best"] for other in others]
    return SceneObject(
        name=str(entry["name"]),
        category=str(entry["category"]),
        mesh=mesh,
        pose=_pose_from(entry["pose"]),
        licence=str(entry["licence"]),
        author=str(entry["author"]),
        alternatives=tuple(_pose_from(other) for other in others),
        alternative_energies=() if all(energy is None for energy in energies) else tuple(energies),
    )


def _pose_from(entry: dict[str, Any]) -> ObjectPose:
    return ObjectPose(entry["R"], entry["t"], entry["s"])


def _pair_from(entry: dict[str, Any], k: int, arrays: Arrays) -> ScenePair:
    def contact(side: str) -> ContactMap:
        about = entry[f"{side}_contact"]
        return ContactMap(
            _array(arrays, f"contact_{k}_{side}"),
            str(about["topology"]),
            str(about["source"]),
            label=str(about.get("label", "")),
            answer=str(about.get("answer", "")),
            named_parts=tuple(str(part) for part in about.get("named_parts", ())),
            notes=tuple(str(note) for note in about.get("notes", ())),
        )

    return ScenePair(int(entry["body_index"]), int(entry["object_index"]), contact("body"), contact("object"))


def _measure_from(entry: dict[str, Any]) -> Measure:
    if entry["unit"] not in get_args(Unit):
        raise InputError(f"unknown unit '{entry['unit']}' of a measure; known: {', '.join(get_args(Unit))}")
    value = entry["value"]  # float() reads the words nan, inf and -inf too
    return Measure(value if type(value) in (int, float) else float(value), entry["unit"], str(entry["meaning"]))


def _array(arrays: Arrays, name: str) -> npt.NDArray[Any]:
    if name not in arrays:
        raise InputError(f"{NPZ_NAME} holds no array '{name}'")
    return arrays[name]


def _mask(arrays: Arrays, name: str, size: tuple[int, int]) -> BoolArray:
    bits, count = _array(arrays, name), size[0] * size[1]
    if bits.dtype != np.uint8 or bits.shape != ((count + 7) // 8,):
        raise InputError(f"the mask '{name}' does not fit the photograph of {size[1]} x {size[0]} pixels")
    return np.unpackbits(bits, count=count).astype(np.bool_).reshape(size)


def _check_schema(header: Any, folder: Path) -> None:
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise InputError(f"{folder / JSON_NAME} is not the description of a scene (no schema '{SCHEMA}')")
    if header.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{folder / JSON_NAME} has schema version {header.get('schema_version')!r}, this hoirecon reads "
            f"{SCHEMA_VERSION}: read it with the hoirecon that wrote it ({_writer(header)})"
        )


def _writer(header: dict[str, Any]) -> str:
    versions = header.get("versions")
    return f"hoirecon {versions.get('hoirecon', '?')}" if isinstance(versions, dict) else "version not recorded"


# ------------------------------------------------------------------------------------------------- plain values, files


def plain(value: Any, name: str) -> Any:
    """Turn settings into JSON values: dataclasses to dicts, tuples to lists, paths to text, NaN and infinity to words.

    Raises:
        InputError: something else, e.g. a function, is inside; the message names where.

    Example:
        >>> plain({"box": (1, 2.5)}, "config")
        {'box': [1, 2.5]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [plain(item, f"{name}[{k}]") for k, item in enumerate(items)]
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    raise InputError(f"{name} is a {type(value).__name__}: settings must be numbers, text, lists or dicts to be saved")


def _number(value: float) -> float | str:
    """JSON knows no NaN and no infinity: they are written as words."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if math.isfinite(value) else str(float(value))


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _read_checked(folder: Path, name: str, header: dict[str, Any]) -> bytes:
    path = folder / name
    if not path.is_file():
        raise InputError(f"{name} is missing")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{name} has {path.stat().st_size} bytes, more than the limit of {MAX_FILE_BYTES}")
    data = path.read_bytes()
    expected = header["files"][name]
    if _fingerprint(data) != expected:
        raise InputError(f"{name} is not the file that {JSON_NAME} was written with: it was changed or cut off")
    return data
