"""Write scenes as the per-image folders that the field's programs read, and read them again.

``interactvlm`` is the layout of InteractVLM's ``optim_data``, ``pico`` that of PICO-fit (September 2025), ``hoirecon``
our own. The first two know only a virtual camera made of the person's box, with focal lengths 5000 w / 192 and
5000 h / 256 and its principal point in the box's centre; the box written is the one that gives the scene's camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.camera import Camera
from hoirecon.data.closedworld.noise import NoisyObservation
from hoirecon.data.closedworld.scene import ClosedWorldScene, Correspondences
from hoirecon.errors import InputError
from hoirecon.files import check_writable, read_json, write_json
from hoirecon.mesh import Mesh
from hoirecon.mesh_files import read_obj as read_obj
from hoirecon.mesh_files import write_obj as write_obj
from hoirecon.observation import Keypoints, box_of_mask
from hoirecon.safe_io import Arrays, read_arrays, read_png, write_arrays, write_png

Layout = Literal["interactvlm", "pico", "hoirecon"]
LAYOUTS: tuple[Layout, ...] = ("interactvlm", "pico", "hoirecon")
FOCAL_OF_BOX = (5000 / 192, 5000 / 256)
"""Focal length of the virtual camera per pixel of the person's box, across and down."""


@dataclass(frozen=True, eq=False)
class FolderContents:
    """What a per-image folder says."""

    camera: Camera
    body_verts: FloatArray
    """(V, 3) camera frame, metres."""
    body_faces: IntArray | None
    mesh: Mesh
    """The object, its own frame, metres."""
    person_mask: BoolArray
    object_mask: BoolArray
    body_contact: FloatArray | None = None
    """(V,) probabilities."""
    object_contact: FloatArray | None = None
    """(Vo,) probabilities."""
    correspondences: Correspondences | None = None
    keypoints: Keypoints | None = None
    """Landmarks of the person; only the layout ``hoirecon`` has a place for them."""


def write_folder(
    scene: ClosedWorldScene, given: NoisyObservation, out: str | Path, layout: Layout = "interactvlm"
) -> Path:
    """Write what a method is given of a scene; the truth goes along only in the layout ``hoirecon``.

    Args:
        scene: for names and truth.
        given: what is written.
        out: folder in which a folder with the scene's name is made.
        layout: one of :data:`LAYOUTS`.

    Returns:
        The folder of this scene.

    Raises:
        InputError: unknown layout, or a folder that cannot be written.
    """
    writers = {"interactvlm": _write_interactvlm, "pico": _write_pico, "hoirecon": _write_own}
    if layout not in writers:
        raise InputError(f"a folder's layout is one of {', '.join(LAYOUTS)}, got '{layout}'")
    folder = Path(out) / scene.name
    check_writable(folder)
    write_png(given.observation.image, folder / f"{scene.name}.png")
    writers[layout](scene, given, folder)
    return folder


def read_folder(folder: str | Path, layout: Layout = "interactvlm") -> FolderContents:
    """Read a folder of :func:`write_folder`.

    Raises:
        InputError: unknown layout; a file that is missing or damaged.
    """
    readers = {"interactvlm": _read_interactvlm, "pico": _read_pico, "hoirecon": _read_own}
    if layout not in readers:
        raise InputError(f"a folder's layout is one of {', '.join(LAYOUTS)}, got '{layout}'")
    return readers[layout](Path(folder))


# -------------------------------------------------------------------------------------------------------- interactvlm
def _write_interactvlm(scene: ClosedWorldScene, given: NoisyObservation, folder: Path) -> None:
    body = {"smpl_vertices": given.body.verts[None], "smpl_faces": given.body.faces}
    write_arrays(body | {"bbox_2": box_of_camera(given.observation.camera)}, folder / "osx_human2.npz")
    maps = given.contacts
    hands = np.zeros(len(given.body.verts)) if maps is None else maps[0].probability
    grips = np.zeros(len(given.mesh.verts)) if maps is None else maps[1].probability
    write_arrays({"pred_contact_3d_smplx": hands}, folder / "hcontact_vertices.npz")
    write_arrays({"pred_contact_3d": grips}, folder / "ocontact_vertices.npz")
    write_obj(given.mesh, folder / "object_mesh.obj")
    for name, mask in _masks(given).items():
        name = _FILE_NAMES[name]
        write_png(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2), folder / f"{name}_mask.png")
        write_json(folder / f"{name}_detection.json", {"bbox": _box(mask), "mask": mask.astype(int).tolist()})


def _read_interactvlm(folder: Path) -> FolderContents:
    body = _arrays(folder / "osx_human2.npz")
    masks = {name: _read_mask(folder / f"{name}_mask.png") for name in ("human", "object")}
    return FolderContents(
        camera=camera_of_box(body["bbox_2"], masks["object"].shape),
        body_verts=body["smpl_vertices"][0],
        body_faces=body["smpl_faces"],
        mesh=read_obj(folder / "object_mesh.obj"),
        person_mask=masks["human"],
        object_mask=masks["object"],
        body_contact=_arrays(folder / "hcontact_vertices.npz")["pred_contact_3d_smplx"],
        object_contact=_arrays(folder / "ocontact_vertices.npz")["pred_contact_3d"],
    )


# --------------------------------------------------------------------------------------------------------------- pico
def _write_pico(scene: ClosedWorldScene, given: NoisyObservation, folder: Path) -> None:
    params = given.body.params
    poses = {
        "hps_betas": params.betas,
        "hps_body_pose": params.body_pose,
        "hps_global_orient": params.global_orient,
        "hps_left_hand_pose": params.left_hand_pose,
        "hps_right_hand_pose": params.right_hand_pose,
    }
    unused = {f"hps_{name}": np.zeros(size) for name, size in (("jaw_pose", 3), ("leye_pose", 3), ("reye_pose", 3),
                                                               ("expression", 10))}  # fmt: skip
    body = {"bbox": box_of_camera(given.observation.camera), "smpl_vertices": given.body.verts[None]}
    write_arrays(body | poses | unused, folder / "osx_human.npz")
    for name, mask in _masks(given).items():
        write_arrays({"bbox": np.array(_box(mask)), "mask": mask}, folder / f"{_FILE_NAMES[name]}_detection.npz")
    write_obj(given.mesh, folder / "object.obj")
    write_json(folder / "corresponding_contacts.json", {"data": _pico_pairs(given.correspondences)})


_FILE_NAMES = {"person": "human", "object": "object"}


def _pico_pairs(pairs: Correspondences | None) -> list[dict[str, Any]]:
    """Pairs of a body vertex and a face with weights, in one part: our bodies have other vertex numbers than SMPL."""
    if pairs is None:
        return []
    rows = zip(pairs.faces.tolist(), pairs.bary.tolist(), strict=True)
    return [
        {"name": "humanShape0", "contactPoints": [f"v {v}" for v in pairs.body_verts.tolist()]},
        {"name": "objShape0", "contactPoints": [f"f {f} {b[0]!r} {b[1]!r} {b[2]!r}" for f, b in rows]},
    ]


def _read_pico(folder: Path) -> FolderContents:
    body = _arrays(folder / "osx_human.npz")
    masks = {n: _arrays(folder / f"{n}_detection.npz")["mask"].astype(bool) for n in ("human", "object")}
    return FolderContents(
        camera=camera_of_box(body["bbox"], masks["object"].shape),
        body_verts=body["smpl_vertices"][0],
        body_faces=None,
        mesh=read_obj(folder / "object.obj"),
        person_mask=masks["human"],
        object_mask=masks["object"],
        correspondences=_read_pairs(folder / "corresponding_contacts.json"),
    )


def _read_pairs(path: Path) -> Correspondences | None:
    shapes = read_json(path).get("data", [])
    hands = [p for s in shapes if s["name"].startswith("humanShape") for p in s["contactPoints"]]
    grips = [p for s in shapes if s["name"].startswith("objShape") for p in s["contactPoints"]]
    if not hands:
        return None
    try:
        places = np.array([[float(x) for x in text.split()[1:]] for text in grips])
        verts = np.array([int(text.split()[1]) for text in hands])
        return Correspondences(verts, places[:, 0].astype(np.int64), places[:, 1:])
    except (ValueError, IndexError) as err:
        raise InputError(f"{path} holds a contact point that is not 'v id' or 'f face b0 b1 b2': {err}") from err


# ----------------------------------------------------------------------------------------------------------------- own
def _write_own(scene: ClosedWorldScene, given: NoisyObservation, folder: Path) -> None:
    camera, maps = given.observation.camera, given.contacts
    arrays: Arrays = {"body_verts": given.body.verts, "body_faces": given.body.faces}
    arrays |= {f"mask_{name}": mask for name, mask in _masks(given).items()}
    if given.observation.occluders is not None:
        arrays["mask_occluders"] = given.observation.occluders
    if maps is not None:
        arrays |= {"body_contact": maps[0].probability, "object_contact": maps[1].probability}
    if (pairs := given.correspondences) is not None:
        arrays |= {"pair_verts": pairs.body_verts, "pair_faces": pairs.faces, "pair_bary": pairs.bary}
    seen = given.observation.keypoints
    if seen is not None:
        arrays |= {"keypoints_xy": seen.xy, "keypoints_confidence": seen.confidence}
    write_arrays(arrays, folder / "given.npz")
    write_obj(given.mesh, folder / "object.obj")
    given_facts: dict[str, Any] = {
        "level": given.level.name,
        "category": given.category,
        "log_scale_prior": list(given.size_prior),
    }
    given_facts |= {"keypoints": None if seen is None else seen.layout}
    truth = {"R_cam_obj": scene.pose.R.tolist(), "t_cam_obj": scene.pose.t.tolist(), "scale": given.true_scale}
    facts = {"schema": 1, "seed": scene.seed, "interaction": scene.interaction, "object": scene.object_id}
    size = {"K": camera.K.tolist(), "width": camera.width, "height": camera.height, "axes": "OpenCV, metres"}
    write_json(folder / "scene.json", facts | {"camera": size, "given": given_facts, "truth": truth})
    exact = {"body_verts": scene.body_verts, "visible": scene.visible, "full": scene.full, "depth": scene.depth}
    write_arrays(exact, folder / "truth.npz")


def _read_own(folder: Path) -> FolderContents:
    facts, arrays = read_json(folder / "scene.json"), _arrays(folder / "given.npz")
    camera, layout = facts["camera"], facts["given"].get("keypoints")
    has_pairs = "pair_verts" in arrays
    return FolderContents(
        camera=Camera(np.array(camera["K"]), camera["width"], camera["height"]),
        body_verts=arrays["body_verts"],
        body_faces=arrays["body_faces"],
        mesh=read_obj(folder / "object.obj"),
        person_mask=arrays["mask_person"].astype(bool),
        object_mask=arrays["mask_object"].astype(bool),
        body_contact=arrays.get("body_contact"),
        object_contact=arrays.get("object_contact"),
        correspondences=Correspondences(*(arrays[f"pair_{k}"] for k in ("verts", "faces", "bary")))
        if has_pairs
        else None,
        keypoints=Keypoints(layout, arrays["keypoints_xy"], arrays["keypoints_confidence"]) if layout else None,
    )


# -------------------------------------------------------------------------------------------------------------- pieces
def box_of_camera(camera: Camera) -> FloatArray:
    """(4,) x, y, width, height of the person's box whose virtual camera is this one."""
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    w, h = fx / FOCAL_OF_BOX[0], fy / FOCAL_OF_BOX[1]
    return np.array([cx - w / 2, cy - h / 2, w, h])


def camera_of_box(box: FloatArray, shape: tuple[int, ...]) -> Camera:
    """The virtual camera of a person's box in a picture of (height, width)."""
    x, y, w, h = (float(v) for v in np.ravel(box))
    K = np.array([[FOCAL_OF_BOX[0] * w, 0, x + w / 2], [0, FOCAL_OF_BOX[1] * h, y + h / 2], [0, 0, 1]])
    return Camera(K, shape[1], shape[0])


def _masks(given: NoisyObservation) -> Mapping[str, BoolArray]:
    person = given.observation.person_mask
    empty = np.zeros(given.observation.size, dtype=bool)
    return {"person": empty if person is None else person, "object": given.observation.object_masks[0]}


def _box(mask: BoolArray) -> list[float]:
    return list(box_of_mask(mask)) if mask.any() else [0.0, 0.0, 0.0, 0.0]


def _read_mask(path: Path) -> BoolArray:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    return np.asarray(read_png(path.read_bytes(), path.name)[..., 0] > 127)


def _arrays(path: Path) -> Arrays:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    return read_arrays(path.read_bytes(), path.name)
