"""Open3DHOI (Wen et al., CVPR 2025): photographs with a body and an object in 3D; also our own import of scene folders.

Layout, one folder per image::

    <object>/<image>/smplx_parameters.json   root_pose, body_pose, lhand_pose, rhand_pose, jaw_pose, shape, expr,
                                             cam_trans, focal (fx, fy), princpt (cx, cy); each as [[...]] or [...]
                     h_mesh.obj              the body (SMPL-X, 10475 vertices)
                     object_mesh.obj         the object beside it
                     image.jpg, person_mask.png, object_mask.png, depth.png
                     box_annotation.json     {"human": [x1, y1, x2, y2], "obj": [...]}
                     calibration.json        {"K"}; in its optimiser's test data
                     extrinsic.json          {"rotation", "translation"}: mesh to camera; likewise

**Frame.** Meshes are taken as they lie, moved by ``extrinsic.json`` where there is one: the camera frame, OpenCV axes,
metres. That they stand in front of the camera is checked. Lenses are long (thousands of pixels) and depths tens of
metres, as the body estimator behind the data assumes. Boxes are read as two corners, as the two published examples
have them.

The dataset has no templates: an object's mesh is the truth itself. So the question holds no mesh, unless one is asked
for by ``template="unposed"``: then it is the true mesh, turned at random (seeded by the id), moved to its vertices'
mean and divided by the diagonal of its box, and the truth holds the pose that undoes this.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.camera import Camera
from hoirecon.data.datasets.folder_checks import Findings, first_existing, need_file, need_folder
from hoirecon.data.datasets.listed import (
    ListedDataset,
    body_topology,
    first_file,
    image_size,
    need,
    read_mesh_file,
    rotation,
    translation,
)
from hoirecon.data.datasets.samples import Question, ReconstructionTruth, Sample
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

LICENCE = "Open3DHOI: annotations for research; images under the licences of HICO-DET and the like"
Template = Literal["none", "unposed"]
OBJECT_MESHES = ("object_mesh.obj", "obj_pcd_h_align.obj")
"""Names of the placed object: the dataset's, and that of the optimiser's test data."""
NEEDED = ("smplx_parameters.json", "h_mesh.obj")


def open_open3dhoi(root: str | Path, split: str = "test", template: Template = "none") -> ListedDataset:
    """Read Open3DHOI, or folders of the same layout.

    Args:
        root: the folder of object folders, or of image folders.
        split: ``test``: all of it, as no split is published.
        template: ``none``: the question has no mesh, as in-the-wild protocols want it; ``unposed``: see above.

    Raises:
        InputError: no image folder is there.
    """
    root = need_folder(Path(root), "give the folder that holds <object>/<image>/smplx_parameters.json")
    if template not in ("none", "unposed"):
        raise InputError(f"template is 'none' or 'unposed', got {template!r}")
    found, folders = Findings(root), []
    for folder in _image_folders(root):
        lacking = [name for name in NEEDED if not (folder / name).is_file()]
        lacking += [] if first_existing(folder, *OBJECT_MESHES) else [OBJECT_MESHES[0]]
        if lacking:
            found.warning(folder, f"lacks {', '.join(lacking)}", "it is no sample; download it again")
        else:
            folders.append(folder)
    stand_in = is_stand_in_folder(root)
    return ListedDataset(
        name="open3dhoi",
        version="folders",
        split=split,
        licence=LICENCE,
        ids=tuple(str(f.relative_to(root)) for f in folders),
        read=lambda k: _sample(root, folders[k], template, stand_in),
        root=root,
        label_files=tuple(path for f in folders for path in _labels(f)),
        stand_in=stand_in,
        problems=found.tuple(),
    )


def _image_folders(root: Path) -> list[Path]:
    """Folders, one or two steps down, that hold any file of the layout."""
    names = (*NEEDED, *OBJECT_MESHES)
    return sorted({p.parent for depth in ("*", "*/*") for name in names for p in root.glob(f"{depth}/{name}")})


def _labels(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in NEEDED)
    yield from (
        folder / name for name in (*OBJECT_MESHES, "calibration.json", "extrinsic.json") if (folder / name).is_file()
    )


def _sample(root: Path, folder: Path, template: Template, stand_in: bool) -> Sample:
    params = _params(folder / "smplx_parameters.json")
    R, t = _extrinsic(folder / "extrinsic.json")
    thing_path = next(folder / name for name in OBJECT_MESHES if (folder / name).is_file())
    body, thing = read_mesh_file(folder / "h_mesh.obj"), read_mesh_file(thing_path)
    body_cam, thing_cam = body.verts @ R.T + t, thing.verts @ R.T + t
    _in_front(folder, body_cam, thing_cam)
    image = first_file(*(folder / f"image.{e}" for e in ("jpg", "png")))
    boxes = _boxes(folder / "box_annotation.json")
    label = _label(root, folder)
    id = str(folder.relative_to(root))
    mesh, pose = _unposed(Mesh(thing_cam, thing.faces, label), id) if template == "unposed" else (None, None)
    question = Question(
        id=id,
        image=image,
        label=label,
        person_mask=first_file(folder / "person_mask.png"),
        object_mask=first_file(folder / "object_mask.png"),
        person_box=boxes.get("human"),
        object_box=boxes.get("obj"),
        camera=_camera(folder, params, image),
        object_mesh=mesh,
        extra={"depth": first_file(folder / "depth.png"), "mesh_has_size": template == "none"},
    )
    truth = ReconstructionTruth(
        object_pose=pose,
        object_verts=thing_cam,
        object_name=label,
        body_verts=body_cam,
        body_params={k: v for k, v in params.items() if k not in ("focal", "princpt")},
        topology=body_topology(len(body_cam), stand_in, str(folder / "h_mesh.obj")),
        body_faces=body.faces,
        object_faces=thing.faces,
    )
    return Sample(question, {"reconstruction": truth}, group=id, category=label)


def _label(root: Path, folder: Path) -> str:
    """The object's folder, or that of the image where there is no other, in words."""
    return (folder if folder.parent == root else folder.parent).name.replace("_", " ")


def _params(path: Path) -> dict[str, FloatArray]:
    """Flat parameters by the file's names; a batch of one, as the file has them, is taken out of it."""
    held: Any = need(read_json(path), ("body_pose", "cam_trans"), str(path))
    try:
        return {str(k): _finite(np.ravel(np.asarray(v, dtype=np.float64)), f"{k} of {path}") for k, v in held.items()}
    except (TypeError, ValueError) as err:
        raise InputError(f"{path} holds something else than lists of numbers: {err}") from None


def _finite(values: FloatArray, where: str) -> FloatArray:
    return as_floats(values, ("N",), where)


def _extrinsic(path: Path) -> tuple[FloatArray, FloatArray]:
    if not path.is_file():
        return np.eye(3), np.zeros(3)
    held = need(read_json(path), ("rotation", "translation"), str(path))
    return rotation(held["rotation"], str(path)), translation(held["translation"], str(path))


def _camera(folder: Path, params: Mapping[str, FloatArray], image: Path | None) -> Camera | None:
    """K of calibration.json, else of the body's parameters; None where neither or no picture is there."""
    path = folder / "calibration.json"
    if path.is_file():
        K = as_floats(need(read_json(path), ("K",), str(path))["K"], (3, 3), f"K of {path}")
    elif {"focal", "princpt"} <= set(params):
        (fx, fy), (cx, cy) = params["focal"], params["princpt"]
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    else:
        return None
    return None if image is None else Camera(K, *image_size(image))


def _boxes(path: Path) -> dict[str, tuple[float, float, float, float]]:
    """Boxes as x, y, width, height."""
    if not path.is_file():
        return {}
    held = need(read_json(path), (), str(path))
    boxes = {}
    for name, corners in held.items():
        x1, y1, x2, y2 = (float(v) for v in as_floats(corners, (4,), f"box '{name}' of {path}"))
        if x2 <= x1 or y2 <= y1:
            raise InputError(f"{path}: box '{name}' is {corners}, expected x1, y1, x2, y2 with x1 < x2 and y1 < y2")
        boxes[str(name)] = (x1, y1, x2 - x1, y2 - y1)
    return boxes


def _in_front(folder: Path, body_cam: FloatArray, thing_cam: FloatArray) -> None:
    """Refuse meshes in other axes than the camera's."""
    if np.median(body_cam[:, 2]) <= 0 or np.median(thing_cam[:, 2]) <= 0:
        raise InputError(
            f"{folder}: the meshes lie behind or at the camera (median depth of the body "
            f"{np.median(body_cam[:, 2]):.2f} m, of the object {np.median(thing_cam[:, 2]):.2f} m): are they in OpenGL "
            f"axes, or is cam_trans not added?"
        )


def _unposed(placed: Mesh, id: str) -> tuple[Mesh, ObjectPose]:
    """A mesh that tells nothing of its pose, and the pose."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.random(random_state=np.random.default_rng(zlib.crc32(id.encode()))).as_matrix()
    centre, scale = placed.verts.mean(0), placed.diagonal
    return Mesh((placed.verts - centre) @ turn.T / scale, placed.faces, placed.name), ObjectPose(turn.T, centre, scale)


def read_open3dhoi_folder(folder: str | Path) -> Sample:
    """One image's folder of this layout, wherever it lies: our import of a scene.

    Raises:
        InputError: files that are missing or wrong.
    """
    folder = Path(folder)
    for name in NEEDED:
        need_file(folder / name, "a scene folder holds the body's parameters and mesh")
    if first_existing(folder, *OBJECT_MESHES) is None:
        need_file(folder / OBJECT_MESHES[0], "a scene folder holds the object's mesh")
    return _sample(folder.parent, folder, "none", is_stand_in_folder(folder))
