"""Predictions as the folders that other people's programs write and read, one per image.

``open3dhoi``: ``h_mesh.obj`` and ``object_mesh.obj``, placed, camera frame. ``interactvlm``: ``hcontact_vertices.npz``
(``pred_contact_3d_smplx`` or ``pred_contact_3d_smplh``) and ``ocontact_vertices.npz`` (``pred_contact_3d``), as
:mod:`hoirecon.contact_io` knows them. ``pico``: ``osx_human.npz`` (``smpl_vertices``, ``hps_*``), ``object.obj``,
placed. A folder's path below the root is the id of its sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact_io import load_contact, save_contact
from hoirecon.contact_map import ContactMap
from hoirecon.data.datasets.folder_checks import Finding, Findings
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Sample
from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_writable
from hoirecon.mesh import Mesh
from hoirecon.mesh_files import read_obj, write_obj
from hoirecon.safe_io import read_arrays, write_arrays

Layout = Literal["open3dhoi", "interactvlm", "pico"]
FILES: Mapping[str, tuple[str, ...]] = {
    "open3dhoi": ("h_mesh.obj", "object_mesh.obj"),
    "interactvlm": ("hcontact_vertices.npz", "ocontact_vertices.npz"),
    "pico": ("osx_human.npz", "object.obj"),
}
"""Layout -> files, any of which make a folder an answer."""
_REFERENCE = {"smpl": "smplh", "smplx": "smplx"}
"""Our name of a body -> the one that InteractVLM's key ends with."""


def write_prediction_folder(
    said: Prediction, sample: Sample, root: str | Path, layout: Layout, body_faces: IntArray | None = None
) -> Path:
    """Write one prediction as a folder.

    Args:
        said: what to write.
        sample: what it answers; its question's mesh is placed by the predicted pose.
        root: the folder is made below it, under the id.
        layout: of :data:`FILES`.
        body_faces: (F, 3) triangles of the predicted body; None: those of the truth, if the bodies have one size.

    Returns:
        The folder.

    Raises:
        InputError: unknown layout, an id that would leave the root, or a prediction that has nothing for the layout.
    """
    if layout not in FILES:
        raise InputError(f"a prediction's folder is one of {', '.join(FILES)}, got '{layout}'")
    folder = Path(root) / said.id
    if not folder.resolve().is_relative_to(Path(root).resolve()) or said.id != sample.id:
        raise InputError(
            f"the prediction for '{said.id}' cannot be written below {root} as the answer to '{sample.id}'"
        )
    writers: dict[str, Any] = {"open3dhoi": _meshes, "interactvlm": _contacts, "pico": _pico}
    files = writers[layout](said, sample, body_faces)
    if not files:
        raise InputError(f"the prediction for '{said.id}' has nothing that the layout '{layout}' holds")
    check_writable(folder)
    for name, write in files.items():
        with atomic_file(folder / name) as tmp:
            write(tmp)
    return folder


def _placed(said: Prediction, sample: Sample) -> Mesh | None:
    """The object's mesh where the prediction puts it."""
    if said.object_verts is not None and said.object_faces is not None:
        return Mesh(said.object_verts, said.object_faces, "object")
    mesh = sample.question.object_mesh
    if mesh is None:
        return None
    if said.object_verts is not None and len(said.object_verts) == len(mesh.verts):
        return mesh.with_verts(said.object_verts)
    return None if said.object_pose is None else mesh.with_verts(said.object_pose.apply(mesh.verts))


def _meshes(said: Prediction, sample: Sample, faces: IntArray | None) -> dict[str, Any]:
    files: dict[str, Any] = {}
    faces = _faces(said, sample) if faces is None else faces
    if said.body_verts is not None:
        if faces is None:
            raise InputError(f"the body of '{said.id}' needs its triangles for an OBJ: give body_faces")
        files["h_mesh.obj"] = _obj(Mesh(said.body_verts, faces, "body"))
    if (placed := _placed(said, sample)) is not None:
        files["object_mesh.obj"] = _obj(placed)
    return files


def _obj(mesh: Mesh) -> Any:
    return lambda path: write_obj(mesh, path)


def _faces(said: Prediction, sample: Sample) -> IntArray | None:
    truth: Any = sample.truth.get("reconstruction")
    if said.body_faces is not None:
        return said.body_faces
    same = said.body_verts is not None and truth is not None and truth.body_verts is not None
    if not same or len(truth.body_verts) != len(said.body_verts):  # type: ignore[arg-type]
        return None
    faces: IntArray | None = truth.body_faces
    return faces


def _contacts(said: Prediction, sample: Sample, faces: IntArray | None) -> dict[str, Any]:
    files: dict[str, Any] = {}
    if said.body_contact is not None:
        if said.topology not in _REFERENCE:
            known = " and ".join(_REFERENCE)
            raise InputError(f"InteractVLM's files hold contact on {known}, '{said.id}' is on '{said.topology}'")
        body = ContactMap(said.body_contact, _REFERENCE[said.topology], "prediction")
        files["hcontact_vertices.npz"] = lambda path: save_contact(body, path, "reference")
    if said.object_contact is not None:
        thing = ContactMap(said.object_contact, "object", "prediction")
        files["ocontact_vertices.npz"] = lambda path: save_contact(thing, path, "reference")
    return files


def _pico(said: Prediction, sample: Sample, faces: IntArray | None) -> dict[str, Any]:
    files: dict[str, Any] = {}
    if said.body_verts is not None:
        arrays = {"smpl_vertices": said.body_verts[None], **{f"hps_{k}": v for k, v in said.body_params.items()}}
        files["osx_human.npz"] = lambda path: write_arrays(arrays, path)
    if (placed := _placed(said, sample)) is not None:
        files["object.obj"] = _obj(placed)
    return files


# ------------------------------------------------------------------------------------------------------------- reading
def read_prediction_folder(folder: str | Path, id: str, layout: Layout) -> Prediction:
    """Read one folder.

    Raises:
        InputError: unknown layout; no file of the layout; damaged ones.
    """
    if layout not in FILES:
        raise InputError(f"a prediction's folder is one of {', '.join(FILES)}, got '{layout}'")
    folder = Path(folder)
    there = {name: folder / name for name in FILES[layout] if (folder / name).is_file()}
    if not there:
        raise InputError(f"{folder} has neither {' nor '.join(FILES[layout])}")
    readers: dict[str, Any] = {"open3dhoi": _read_meshes, "interactvlm": _read_contacts, "pico": _read_pico}
    return Prediction(id=id, **readers[layout](there))


def layout_of(root: str | Path) -> Layout | None:
    """The layout that the folders below a root have; None if none of them has any.

    ``object.obj`` alone is PICO-db's own data, not an answer.
    """
    marks: Mapping[Layout, str] = {"open3dhoi": "object_mesh.obj", "interactvlm": "?contact_vertices.npz",
                                   "pico": "osx_human.npz"}  # fmt: skip
    return next((layout for layout, name in marks.items() if next(Path(root).rglob(name), None) is not None), None)


def iter_prediction_folders(
    root: str | Path, layout: Layout, found: list[Finding] | None = None
) -> Iterator[Prediction]:
    """Predictions of all folders below a root, at any depth, sorted by path; those that cannot be read are failures.

    Args:
        root: where they lie.
        layout: of :data:`FILES`.
        found: takes a finding for each folder that cannot be read.

    Yields:
        A prediction per folder; ``failed`` says why where a folder is damaged, so that none is lost.
    """
    root = Path(root)
    if layout not in FILES:
        raise InputError(f"a prediction's folder is one of {', '.join(FILES)}, got '{layout}'")
    folders: Iterable[Path] = {path.parent for name in FILES[layout] for path in root.rglob(name)}
    for folder in sorted(folders):
        id = folder.relative_to(root).as_posix()
        try:
            yield read_prediction_folder(folder, id, layout)
        except InputError as err:
            if found is not None:
                problems = Findings(root)
                problems.error(folder, str(err), "it counts as the worst case")
                found.extend(problems.tuple())
            yield Prediction(id, failed=str(err))


def _read_meshes(there: Mapping[str, Path]) -> dict[str, Any]:
    meshes = {{"h_mesh.obj": "body", "object_mesh.obj": "object"}[n]: read_obj(path) for n, path in there.items()}
    verts = {f"{part}_verts": mesh.verts for part, mesh in meshes.items()}
    return {**verts, **{f"{part}_faces": mesh.faces for part, mesh in meshes.items()}}


def _read_contacts(there: Mapping[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (path := there.get("hcontact_vertices.npz")) is not None:
        topology, contact = _body_contact(path)
        found |= {"body_contact": contact, "topology": topology}
    if (path := there.get("ocontact_vertices.npz")) is not None:
        found["object_contact"] = load_contact(path, "object").probability
    return found


def _body_contact(path: Path) -> tuple[str, FloatArray]:
    """The body's contact, on SMPL where the file has both."""
    keys = read_arrays(path.read_bytes(), path.name)
    ours = "smpl" if "pred_contact_3d_smplh" in keys else "smplx"
    return ours, load_contact(path, _REFERENCE[ours]).probability


def _read_pico(there: Mapping[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (path := there.get("osx_human.npz")) is not None:
        arrays = read_arrays(path.read_bytes(), path.name)
        if "smpl_vertices" not in arrays:
            raise InputError(f"{path} has no smpl_vertices, only {', '.join(sorted(arrays)[:8])}")
        found["body_verts"] = np.asarray(arrays["smpl_vertices"], dtype=np.float64).reshape(-1, 3)
        found["body_params"] = {k.removeprefix("hps_"): v for k, v in arrays.items() if k.startswith("hps_")}
    if (path := there.get("object.obj")) is not None:
        mesh = read_obj(path)
        found |= {"object_verts": mesh.verts, "object_faces": mesh.faces}
    return found
