"""The closed world written in the field's formats, so that every reader, and other people's programs, run on it.

``open3dhoi``: true meshes, masks, depth and camera; ``pico``: PICO-fit's per-image folders with pairs; ``rhobin``: a
reference pickle; ``damon``: the authors' npz, the contact carried to the stand-in with SMPL's 6890 vertices. Each
folder says by ``standin.json`` that its body is the free one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_writable, write_json
from hoirecon.mesh import Mesh
from hoirecon.mesh_files import write_obj

if TYPE_CHECKING:
    from hoirecon.data.closedworld import ClosedWorldScene

Format = Literal["open3dhoi", "pico", "rhobin", "damon"]
FORMATS: tuple[Format, ...] = ("open3dhoi", "pico", "rhobin", "damon")
TOPOLOGY_6890 = "standin-6890"


def export_closedworld(seeds: Iterable[int], out: str | Path, formats: Iterable[Format] = FORMATS) -> dict[str, Path]:
    """Write scenes, one folder per format.

    Args:
        seeds: of the scenes; below 1000 for tuning.
        out: the folders are made in it; what is there under the same names is written again.
        formats: of :data:`FORMATS`.

    Returns:
        Format -> its folder, which ``open_dataset`` reads.

    Raises:
        InputError: unknown format, or a folder that cannot be written.
    """
    from hoirecon.data.closedworld import load_scene

    formats = list(formats)
    if unknown := [name for name in formats if name not in FORMATS]:
        raise InputError(f"the closed world is written as {', '.join(FORMATS)}, not as '{unknown[0]}'")
    folders: dict[str, Path] = {name: Path(out) / name for name in formats}
    for folder in folders.values():
        check_writable(folder)
        _mark(folder)
    scenes = [load_scene(seed) for seed in seeds]
    for scene in scenes:
        if "open3dhoi" in folders:
            _open3dhoi(scene, folders["open3dhoi"])
        if "pico" in folders:
            _pico(scene, folders["pico"])
    if "rhobin" in folders:
        _rhobin(scenes, folders["rhobin"])
    if "damon" in folders:
        _damon(scenes, folders["damon"])
    return folders


def _mark(folder: Path) -> None:
    topologies = [TOPOLOGY_6890] if folder.name == "damon" else ["hoirecon-free-body-1"]
    write_json(folder / "standin.json", {"stand_in": True, "topologies": topologies, "what": "hoirecon's closed world"})


def _open3dhoi(scene: ClosedWorldScene, root: Path) -> None:
    from PIL import Image

    from hoirecon.data.closedworld.photograph import photograph
    from hoirecon.observation import box_of_mask

    folder = root / scene.category.replace(" ", "_") / scene.name
    folder.mkdir(parents=True, exist_ok=True)
    write_obj(Mesh(scene.body_verts, scene.body_model.faces), folder / "h_mesh.obj")
    write_obj(scene.mesh.with_verts(scene.pose.apply(scene.mesh.verts)), folder / "object_mesh.obj")
    Image.fromarray(photograph(scene)).save(folder / "image.jpg", quality=95)
    for name, mask in (("person", scene.person), ("object", scene.visible)):
        Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(folder / f"{name}_mask.png")
    depth = np.where(np.isfinite(scene.depth), scene.depth * 1000, 0).astype(np.uint16)
    Image.fromarray(depth).save(folder / "depth.png")
    boxes = {key: box_of_mask(mask) for key, mask in (("human", scene.person), ("obj", scene.visible)) if mask.any()}
    write_json(folder / "box_annotation.json", {k: [x, y, x + w, y + h] for k, (x, y, w, h) in boxes.items()})
    write_json(folder / "calibration.json", {"K": scene.camera.K.tolist()})
    write_json(folder / "extrinsic.json", {"rotation": np.eye(3).tolist(), "translation": [0.0, 0.0, 0.0]})
    write_json(folder / "smplx_parameters.json", _smplx_names(scene))


def _smplx_names(scene: ClosedWorldScene) -> dict[str, Any]:
    """The free body's parameters under SMPL-X's names; it has no face."""
    p = scene.params
    params = {"root_pose": p.global_orient, "body_pose": p.body_pose, "lhand_pose": p.left_hand_pose}
    params |= {"rhand_pose": p.right_hand_pose, "jaw_pose": np.zeros(3), "shape": p.betas, "expr": np.zeros(10)}
    held: dict[str, Any] = {key: [value.tolist()] for key, value in params.items()}
    lens = {"focal": list(scene.camera.focal), "princpt": list(scene.camera.centre)}
    return held | {"cam_trans": p.transl.tolist()} | lens


def _pico(scene: ClosedWorldScene, root: Path) -> None:
    from hoirecon.data.closedworld import observe_scene, write_folder

    write_folder(scene, observe_scene(scene, "L0"), root, "pico")


def _rhobin(scenes: list[ClosedWorldScene], root: Path) -> None:
    from hoirecon.data.datasets.rhobin import PlainPickler

    rows: dict[str, Any] = {}
    templates: dict[str, Any] = {}
    for scene in scenes:
        p = scene.params
        pose = np.concatenate([p.global_orient, p.body_pose, p.left_hand_pose, p.right_hand_pose])
        name = f"{scene.object_id}@{scene.seed}" if _other_size(templates, scene) else scene.object_id
        templates[name] = {"verts": scene.mesh.verts, "faces": scene.mesh.faces, "symmetries": _motions(scene)}
        rows[scene.name] = {"pose": pose, "betas": p.betas, "trans": p.transl, "obj_rot": scene.pose.R,
                            "obj_trans": scene.pose.t, "meta": ("closedworld", "neutral", name)}  # fmt: skip
    check_writable(root / "ref")
    with atomic_file(root / "ref" / "ref.pkl") as tmp, tmp.open("wb") as stream:
        PlainPickler(stream, protocol=3).dump({"annotations": rows, "templates": templates})


def _motions(scene: ClosedWorldScene) -> list[dict[str, Any]]:
    """The object's symmetries as BOP has them."""
    return [{"R": R, "t": np.zeros((3, 1))} for R in scene.symmetry]


def _other_size(templates: dict[str, Any], scene: ClosedWorldScene) -> bool:
    """Whether the object's template is there already, but as another mesh."""
    have = templates.get(scene.object_id)
    return have is not None and not np.array_equal(have["verts"], scene.mesh.verts)


def _damon(scenes: list[ClosedWorldScene], root: Path) -> None:
    nearest = _nearest_of_stand_in()
    labels = np.stack([scene.body_contact.probability[nearest] for scene in scenes])
    parts = [{scene.category.replace(" ", "_"): np.flatnonzero(row).tolist()}
             for scene, row in zip(scenes, labels, strict=True)]  # fmt: skip
    arrays: dict[str, Any] = {
        "imgname": np.array([f"images/{scene.name}.jpg" for scene in scenes]),
        "pose": np.stack([_pose72(scene) for scene in scenes]),
        "shape": np.stack([scene.params.betas for scene in scenes]),
        "transl": np.stack([scene.params.transl for scene in scenes]),
        "cam_k": np.stack([scene.camera.K for scene in scenes]),
        "contact_label": labels,
        "contact_label_objectwise": np.array([part if any(part.values()) else {} for part in parts], dtype=object),
    }
    with atomic_file(root / "hot_dca_test.npz") as tmp, tmp.open("wb") as stream:
        np.savez(stream, **arrays)


def _pose72(scene: ClosedWorldScene) -> FloatArray:
    """SMPL's 24 joints: ours without fingers, its two hand joints at rest."""
    return np.concatenate([scene.params.global_orient, scene.params.body_pose, np.zeros(6)])


def _nearest_of_stand_in() -> Any:
    """For every vertex of the 6890-vertex stand-in, the nearest one of the free body, both at rest."""
    from scipy.spatial import cKDTree

    from hoirecon.data.closedworld.posing import body_model
    from hoirecon.data.datasets.stand_in_body import stand_in_mesh

    return cKDTree(body_model().rest_verts).query(stand_in_mesh(TOPOLOGY_6890).verts)[1]
