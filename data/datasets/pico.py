"""PICO-db (PICO, CVPR 2025): which vertex of the body touches which place of the object's mesh.

Two versions are read. ``pico-db`` (split ``all``): a folder per sample with ``object.obj`` and
``corresponding_contacts.json``. ``interactvlm-repack`` (``train``, ``test``): InteractVLM's folder, which has the side
of the object alone, as a label per vertex: all three corners of each face that a contact point lies on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing, need_file
from hoirecon.data.datasets.labels import mask_of, unique_ids, words
from hoirecon.data.datasets.listed import ListedDataset
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.data.datasets.samples import (
    BodyContactTruth,
    CorrespondenceTruth,
    ObjectContactTruth,
    Question,
    Sample,
    Truth,
)
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.data.datasets.topologies import STAND_IN, TOPOLOGY_SIZES
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.mesh import Mesh
from hoirecon.mesh_files import read_obj

LICENCE = "MPI licence for non-commercial research"
PAIRS, MESH = "corresponding_contacts.json", "object.obj"
GIVEN = "osx_human.npz", "human_detection.npz", "human_detection.json", "object_detection.npz", "object_detection.json"
"""Estimates beside a sample; their paths are handed to predictors by these names."""
PICTURES = ".jpg", ".jpeg", ".png"
DB_FOLDERS = "pico_db", "pico-db", "PICO-db", "PICO-DB"
"""Where PICO-db's meshes are looked for beside the repack."""
MESH_FOLDERS = "lowpoly_mesh_0507", "midpoly_mesh_0507"
SLACK = 0.01
"""How far barycentric weights may be from summing to one or below zero."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """What a ``corresponding_contacts.json`` says."""

    body_verts: IntArray
    """(N,)"""
    faces: IntArray
    """(N,)"""
    barycentric: FloatArray
    """(N, 3), they sum to one."""
    orphans: tuple[str, ...]
    """Patches without a partner, left out as the authors do."""


def read_pairs(path: Path) -> Pairs:
    """Read the pairs of one sample: patches ``humanShape<part>`` and ``objShape<part>``, point by point.

    Raises:
        InputError: not such a file, points of another kind, partners of different lengths, or weights that are none.
    """
    held = read_json(path)
    if not isinstance(held, dict) or not isinstance(held.get("data"), list):
        raise InputError(f"{path} has no list 'data' of patches: it is not PICO's")
    patches: dict[str, list[str]] = {}
    for patch in held["data"]:
        if not isinstance(patch, dict) or not isinstance(patch.get("contactPoints"), list) or "name" not in patch:
            raise InputError(f"{path} has a patch without 'name' and 'contactPoints'")
        if patch["name"] in patches:
            raise InputError(f"{path} has the patch '{patch['name']}' twice")
        patches[str(patch["name"])] = patch["contactPoints"]
    parts = [name.removeprefix("humanShape") for name in patches if name.startswith("humanShape")]
    both = [part for part in parts if f"objShape{part}" in patches]
    used = {f"{side}{part}" for part in both for side in ("humanShape", "objShape")}
    verts, places = [], []
    for part in both:
        human, thing = patches[f"humanShape{part}"], patches[f"objShape{part}"]
        if len(human) != len(thing):
            raise InputError(f"{path}: patch '{part}' pairs {len(human)} points with {len(thing)}: copy it again")
        verts += [_numbers(point, "v", 1, path) for point in human]
        places += [_numbers(point, "f", 4, path) for point in thing]
    ids = np.array(verts).reshape(-1, 1)[:, 0].astype(np.int64)
    table = np.array(places).reshape(-1, 4)
    _check_weights(table[:, 1:], path)
    return Pairs(ids, table[:, 0].astype(np.int64), table[:, 1:], tuple(sorted(set(patches) - used)))


def _numbers(point: Any, kind: str, count: int, path: Path) -> list[float]:
    """The numbers of ``v <id>`` or ``f <face> <b0> <b1> <b2>``."""
    tokens = str(point).split()
    try:
        numbers = [float(token) for token in tokens[1:]]
    except ValueError:
        numbers = []
    whole = bool(numbers) and numbers[0] >= 0 and numbers[0] == int(numbers[0]) if _finite(numbers) else False
    if tokens[:1] != [kind] or len(numbers) != count or not whole:
        forms = {"v": "'v <vertex>'", "f": "'f <face> <b0> <b1> <b2>'"}
        raise InputError(f"{path} has the point '{point}', expected {forms[kind]}")
    return numbers


def _finite(numbers: list[float]) -> bool:
    return bool(np.isfinite(numbers).all())


def _check_weights(weights: FloatArray, path: Path) -> None:
    off = (np.abs(weights.sum(axis=1) - 1) > SLACK) | (weights < -SLACK).any(axis=1)
    if off.any():
        place = int(np.flatnonzero(off)[0])
        raise InputError(f"{path}: point {place} has weights {weights[place].tolist()}, which are not barycentric")


def open_pico(
    root: Path,
    split: str,
    *,
    body: Literal["auto", "smpl", "smplx"] = "auto",
    meshes: str | Path | None = None,
) -> ListedDataset:
    """Read PICO-db in either version.

    Args:
        root: folder of the samples (``<object>__<image>/`` or ``<object>/<image>/``), or InteractVLM's ``pico``.
        split: ``all`` of PICO-db; ``train`` or ``test`` of the repack.
        body: whose vertices the ids are. The first release has SMPL's, a later one SMPL-X's. ``auto``: SMPL-X if any
            id of the whole copy is 6890 or more, which one sample alone cannot tell.
        meshes: for the repack: folder of PICO-db, whose meshes its labels belong to; None: ``pico_db`` in the root.

    Raises:
        InputError: neither version is there. Every sample's pairs are read when the dataset is opened.
    """
    if split == "all":
        return _open_db(root, body)
    return _open_repack(root, split, None if meshes is None else Path(meshes))


# ------------------------------------------------------------------------------------------------------------- pico-db
def _open_db(root: Path, body: str) -> ListedDataset:
    files = sorted(root.rglob(PAIRS))
    if not files:
        raise MissingFile(f"{root} has no {PAIRS} in any folder")
    found, stand_in = Findings(root), is_stand_in_folder(root)
    ids = unique_ids([_name(path.parent, root) for path in files], found, root)
    read: dict[int, Pairs | InputError] = {}
    for place, path in enumerate(files):
        try:
            read[place] = read_pairs(path)
        except InputError as err:
            read[place] = err
            found.error(path, str(err))
    topology = _topology(read, body, stand_in, found)
    _report(read, ids, found, [path.parent for path in files])

    def sample(place: int) -> Sample:
        pairs, folder = read[place], files[place].parent
        if isinstance(pairs, InputError):
            raise pairs
        mesh = read_obj(need_file(folder / MESH, "extract PICO-db again"))
        truth = _truth(pairs, mesh, topology, files[place])
        extra: dict[str, Any] = {name: folder / name for name in GIVEN if (folder / name).is_file()}
        question = Question(ids[place], _picture(folder), _label(ids[place]), object_mesh=mesh, extra=extra)
        return Sample(question, truth, group=ids[place].rpartition("__")[2], category=_label(ids[place]))

    labels = tuple(files) + tuple(path for file in files if (path := file.parent / MESH).is_file())
    version = f"pico-db {topology}"
    return ListedDataset("pico", version, "all", LICENCE, tuple(ids), sample, root, labels, stand_in, found.tuple())


def _topology(read: Mapping[int, Pairs | InputError], body: str, stand_in: bool, found: Findings) -> str:
    """Whose vertices the ids are; told as a finding."""
    highest = max(
        (int(p.body_verts.max()) for p in read.values() if isinstance(p, Pairs) and len(p.body_verts)), default=0
    )
    name = body if body != "auto" else ("smplx" if highest >= TOPOLOGY_SIZES["smpl"] else "smpl")
    size = TOPOLOGY_SIZES[name]
    if highest >= size:
        raise InputError(f"{found.root} names body vertex {highest}, but {name} has {size}: give body='smplx'")
    if body == "auto":
        found.note(
            found.root, f"the highest body vertex is {highest}, so ids are taken for {name}'s", "body= overrides it"
        )
    return f"{STAND_IN}{size}" if stand_in else name


def _report(read: Mapping[int, Pairs | InputError], ids: list[str], found: Findings, folders: list[Path]) -> None:
    orphans = [ids[k] for k, pairs in read.items() if isinstance(pairs, Pairs) and pairs.orphans]
    found.about("note", found.root, orphans, "with a patch that has no partner", "it is left out, as by the authors")
    empty = [ids[k] for k, pairs in read.items() if isinstance(pairs, Pairs) and not len(pairs.faces)]
    found.about("warning", found.root, empty, "without any pair")
    bare = [name for name, folder in zip(ids, folders, strict=True) if not (folder / MESH).is_file()]
    found.about("error", found.root, bare, f"without {MESH}", "extract PICO-db again")
    unseen = [name for name, folder in zip(ids, folders, strict=True) if _picture(folder) is None]
    found.about(
        "warning", found.root, unseen, "without a photograph", "get the HOT images; each is named as its folder"
    )


def _truth(pairs: Pairs, mesh: Mesh, topology: str, path: Path) -> dict[str, Truth]:
    if len(pairs.faces) and pairs.faces.max() >= len(mesh.faces):
        raise InputError(f"{path} names face {pairs.faces.max()}, but the mesh has {len(mesh.faces)}: of another copy?")
    size = TOPOLOGY_SIZES.get(topology) or int(topology.removeprefix(STAND_IN))
    body = BodyContactTruth(mask_of(pairs.body_verts, size), topology)
    thing = ObjectContactTruth(mask_of(mesh.faces[pairs.faces].ravel(), len(mesh.verts)), mesh)
    matches = CorrespondenceTruth(pairs.body_verts, pairs.faces, pairs.barycentric, topology, mesh)
    return {"body_contact": body, "object_contact": thing, "correspondences": matches}


def _name(folder: Path, root: Path) -> str:
    """``<object>__<image>``, also where the folder is ``<object>/<image>``."""
    return folder.name if "__" in folder.name or folder.parent == root else f"{folder.parent.name}__{folder.name}"


def _label(name: str) -> str:
    return words(name.partition("__")[0])


def _picture(folder: Path) -> Path | None:
    names = (folder.name, f"{folder.parent.name}__{folder.name}")
    return next((p for n in names for e in PICTURES if (p := folder / f"{n}{e}").is_file()), None)


# -------------------------------------------------------------------------------------------------------------- repack
def _open_repack(root: Path, split: str, meshes: Path | None) -> ListedDataset:
    folder = first_existing(root, f"{split}", f"pico/{split}")
    listing = folder and first_existing(folder, *(f"{split}_imglist{end}.pkl" for end in ("", "_lowpoly", "_midpoly")))
    if folder is None or listing is None:
        raise MissingFile(f"{root} has no {split}/{split}_imglist.pkl")
    labels = first_existing(folder, *MESH_FOLDERS)
    if labels is None:
        raise InputError(f"{folder} has none of {', '.join(MESH_FOLDERS)}: extract pico.tar.gz again")
    found, meshes = Findings(root), meshes or first_existing(root, *DB_FOLDERS)
    if listing.name != f"{split}_imglist.pkl":
        found.note(listing, "is not the name that InteractVLM's reader wants", "it is read all the same")
    entries = read_objects(listing, "a list of images")
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise InputError(f"{listing} holds no list of image names")
    names = [re.sub(r"\.(jpe?g|png)$", "", PureWindowsPath(entry).name, flags=re.IGNORECASE) for entry in entries]
    ids = unique_ids(names, found, listing)
    paths = [_labels_of(labels, name) for name in names]
    found.about("error", labels, [i for i, p in zip(ids, paths, strict=True) if not p.is_file()], "without labels")
    shapes = [_mesh_of(name, labels, meshes) for name in names]
    bare = [i for i, p in zip(ids, shapes, strict=True) if p is None]
    found.about("error", labels, bare, "without their mesh", "the repack has none: put PICO-db into pico_db beside it")

    def sample(place: int) -> Sample:
        shape, picture = shapes[place], folder / "images"
        mesh = None if shape is None else read_obj(shape)
        truth: dict[str, Truth] = {}
        if mesh is not None and paths[place].is_file():
            truth["object_contact"] = ObjectContactTruth(_vertex_labels(paths[place], mesh), mesh)
        image = next((p for e in PICTURES if (p := picture / f"{names[place]}{e}").is_file()), None)
        question = Question(ids[place], image, _label(names[place]), object_mesh=mesh)
        return Sample(question, truth, group=names[place].rpartition("__")[2], category=_label(names[place]))

    files = (listing, *(p for p in paths if p.is_file()), *sorted({p for p in shapes if p is not None}))
    version, stand_in = "interactvlm-repack", is_stand_in_folder(root) or is_stand_in_folder(folder)
    return ListedDataset("pico", version, split, LICENCE, tuple(ids), sample, root, files, stand_in, found.tuple())


def _labels_of(labels: Path, name: str) -> Path:
    thing, _, image = name.rpartition("__")
    return labels / thing / f"contact_vertices_{image}.pkl"


def _mesh_of(name: str, labels: Path, meshes: Path | None) -> Path | None:
    thing, _, image = name.rpartition("__")
    places = [labels / thing / f"{image}.obj"]
    if meshes is not None:
        places += [meshes / name / MESH, meshes / thing / image / MESH]
    return next((path for path in places if path.is_file()), None)


def _vertex_labels(path: Path, mesh: Mesh) -> FloatArray:
    held = np.asarray(read_objects(path, "contact labels"))
    if held.dtype.kind not in "biuf" or held.size != len(mesh.verts):
        raise InputError(
            f"{path} has {held.size} labels, but the mesh has {len(mesh.verts)} vertices: of another copy?"
        )
    labels = held.reshape(-1).astype(np.float64)
    if not ((labels >= 0) & (labels <= 1)).all():  # NaN fails too
        raise InputError(f"{path} holds NaN or labels outside [0, 1]: extract it again")
    return labels
