"""DAMON (DECO, ICCV 2023): contact of people with objects in photographs of the internet, on SMPL.

Two versions are read. ``npz``: the authors' ``hot_dca_trainval.npz`` and ``hot_dca_test.npz``. ``interactvlm-repack``:
the folder of InteractVLM (CVPR 2025), ``<train|test>/imgname.npy`` and ``contact_label_objectwise.pkl``.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing, some
from hoirecon.data.datasets.labels import (
    Fractional,
    LabelRows,
    check_rows,
    find_pictures,
    mask_of,
    unique_ids,
    vertex_lists,
)
from hoirecon.data.datasets.listed import ListedDataset, body_topology
from hoirecon.data.datasets.object_arrays import ObjectArchive, read_npy, read_objects
from hoirecon.data.datasets.samples import BodyContactTruth, Question, Sample
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.data.datasets.topologies import TOPOLOGY_SIZES
from hoirecon.errors import InputError

Per = Literal["image", "object"]
LICENCE = "MPI licence for non-commercial research, no redistribution"
SUPPORTING = "supporting"
"""The pseudo-object of everything that carries a person's weight."""
ARCHIVES = {"trainval": "hot_dca_trainval.npz", "test": "hot_dca_test.npz"}
PLACES = "", "damon", "Release_Datasets/damon", "datasets/Release_Datasets/damon"
"""Folders, below the one that is given, in which the archives are looked for."""
REPACK_SPLITS = {"trainval": "train", "test": "test"}
IMAGE_FOLDERS = "images", "HOT-Annotated/images", "../images", "../HOT-Annotated/images"
BODY_KEYS = "pose", "shape", "transl", "cam_k"
"""The archive's estimates of bodies and cameras (by CLIFF), handed to predictors as ``extra["body_estimate"]``."""
VIEWS = 4
"""Pictures per object that InteractVLM's loader wants."""

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "transport": ("motorcycle", "bicycle", "boat", "car", "truck", "bus", "train", "airplane"),
    "accessory": ("backpack", "tie", "handbag", "baseball glove"),
    "furniture": ("bench", "chair", "couch", "bed", "toilet", "dining table"),
    "daily": ("book", "umbrella", "cell phone", "laptop", "kite", "suitcase", "bottle", "remote", "toothbrush",
              "teddy bear", "scissors", "keyboard", "hair drier", "traffic light", "fire hydrant", "stop sign", "tv",
              "vase", "parking meter", "clock", "potted plant", "mouse"),
    "sports": ("frisbee", "sports ball", "tennis racket", "baseball bat", "skateboard", "snowboard", "skis",
               "surfboard"),
    "food": ("banana", "cake", "apple", "carrot", "pizza", "donut", "hot dog", "sandwich", "broccoli", "orange"),
    "kitchen": ("knife", "spoon", "cup", "wine glass", "oven", "fork", "bowl", "refrigerator", "toaster", "sink",
                "microwave"),
}  # fmt: skip
"""The seven categories of the semantic challenge; ``supporting`` and what else occurs belong to none."""
CATEGORY_OF = {label: category for category, labels in CATEGORIES.items() for label in labels}


@dataclass(frozen=True, eq=False)
class _Damon:
    """What either version says, image by image."""

    version: str
    files: tuple[Path, ...]
    """Label files."""
    names: list[str]
    """File names without ending, each once."""
    pictures: list[str]
    """File names of the photographs."""
    objects: list[dict[str, IntArray]]
    """Per image: object's name -> its vertices."""
    topology: str
    num_verts: int
    stand_in: bool
    labels: LabelRows | None = None
    """None in the repack, whose binary truth is the union of its objects."""
    bodies: Mapping[str, Any] = field(default_factory=dict)

    def sample(self, image: int, label: str, picture: Path | None) -> Sample:
        """The sample of an image, or of an image and an object."""
        name = self.names[image]
        given = {key: rows[image] for key, rows in self.bodies.items()}
        extra = {"body_estimate": given} if given else {}
        question = Question(_pair_id(name, label), picture, label=label, extra=extra)
        objects = {label: self.objects[image][label]} if label else self.objects[image]
        truth = BodyContactTruth(self._contact(image, label), self.topology, objects)
        return Sample(question, {"body_contact": truth}, group=name, category=CATEGORY_OF.get(label, label))

    def _contact(self, image: int, label: str) -> FloatArray:
        if label:
            return mask_of(self.objects[image][label], self.num_verts)
        if self.labels is not None:
            return self.labels.row(image, self.names[image])
        touched = [np.empty(0, np.int64), *self.objects[image].values()]
        return mask_of(np.concatenate(touched), self.num_verts)


def _pair_id(name: str, label: str) -> str:
    return f"{name}_{label.replace(' ', '_')}" if label else name


def open_damon(
    root: Path,
    split: str,
    *,
    per: Per = "image",
    topology: Literal["smpl", "smplx"] = "smpl",
    images: str | Path | None = None,
    fractional: Fractional = "binarise",
    supporting: bool = True,
    foot_ground: bool = False,
    as_interactvlm: bool = False,
    views: str = "hcontact_vitruvian",
) -> ListedDataset:
    """Read DAMON in either version.

    Args:
        root: folder with the archives (or ``damon/`` in it), or with ``train`` and ``test`` of the repack.
        split: ``trainval`` or ``test``; DECO calls the test file its validation set too.
        per: ``image``: all contact of an image; ``object``: a sample for each image and object.
        topology: which labels of the archive; the SMPL-X ones were transferred and are fractional.
        images: folder of the photographs; None: looked for beside the labels.
        fractional: what to do with labels between 0 and 1.
        supporting: keep the pseudo-object ``supporting`` with ``per="object"``.
        foot_ground: the repack's ``contact_label_objectwise_wFootGround.pkl``.
        as_interactvlm: drop samples as InteractVLM does without saying so: empty vertex lists, and images without one
            of the four pictures in ``views``; the binary truth is then the union of what survives. They are findings.
        views: folder of those pictures.

    Raises:
        InputError: neither version is there, keys are missing, or rows do not fit together.
    """
    if per not in ("image", "object"):
        raise InputError(f"per is 'image' or 'object', got '{per}'")
    found = Findings(root)
    archive = first_existing(root, *(f"{place}/{ARCHIVES[split]}".lstrip("/") for place in PLACES))
    folder = root / REPACK_SPLITS[split]
    if archive is not None:
        if as_interactvlm or foot_ground:
            raise InputError("as_interactvlm and foot_ground belong to the repack, but this copy is the authors' npz")
        read = _from_archive(root, archive, topology, fractional, found)
    elif (folder / "imgname.npy").is_file():
        if topology != "smpl":
            raise InputError("the repack has labels on SMPL only: use the authors' npz for SMPL-X")
        read = _from_repack(root, folder, foot_ground, found)
        if as_interactvlm:
            _drop_as_interactvlm(read, folder / views, found)
    else:
        raise MissingFile(f"{root} has neither {ARCHIVES[split]} nor {REPACK_SPLITS[split]}/imgname.npy")
    labels_in = read.files[0].parent
    places = [Path(images)] if images is not None else [labels_in / place for place in IMAGE_FOLDERS]
    pictures = find_pictures(read.names, read.pictures, places, found, "get the HOT images, or give images=FOLDER")
    pairs = _pairs(read, per, supporting, found)

    def sample(place: int) -> Sample:
        image, label = pairs[place]
        return read.sample(image, label, pictures[image])

    flags = {"wFootGround": foot_ground, "as_interactvlm": as_interactvlm, "smplx": topology == "smplx",
             "fractional": fractional == "keep"}  # fmt: skip
    version = " ".join([read.version, *(name for name, given in flags.items() if given)])
    ids = tuple(unique_ids([_pair_id(read.names[image], label) for image, label in pairs], found, labels_in))
    return ListedDataset("damon", version, split, LICENCE, ids, sample, root, read.files, read.stand_in, found.tuple())


# ----------------------------------------------------------------------------------------------------------------- npz
def _from_archive(root: Path, path: Path, topology: str, fractional: Fractional, found: Findings) -> _Damon:
    archive = ObjectArchive(path)
    label_key = {"smpl": "contact_label", "smplx": "contact_label_smplx"}[topology]
    objects_key = f"{label_key}_objectwise"
    if missing := [key for key in ("imgname", label_key) if key not in archive.keys]:
        raise InputError(f"{path} has no '{missing[0]}', only {some(sorted(archive.keys))}: it is not DAMON's archive")
    names, pictures = _names(archive.objects("imgname"), path, found)
    labels = check_rows(archive.array(label_key), path / label_key, names, fractional, found)
    if labels.num_verts != TOPOLOGY_SIZES[topology]:
        raise InputError(f"{path}/{label_key} has {labels.num_verts} vertices, expected {TOPOLOGY_SIZES[topology]}")
    objects: list[dict[str, IntArray]] = [{} for _ in names]
    if objects_key in archive.keys:
        objects = vertex_lists(archive.objects(objects_key), path / objects_key, names, labels.num_verts, found)
        _compare(labels, objects, names, path, found)
    else:
        found.warning(path, f"has no '{objects_key}'", "samples per object cannot be read from this copy")
    if "has_smpl" in archive.keys:
        found.note(path, "holds 'has_smpl', on which DECO's own loader fails", "hoirecon reads it")
    stand_in = is_stand_in_folder(path.parent) or is_stand_in_folder(root)
    body = body_topology(labels.num_verts, stand_in, str(path))
    bodies = _rows_of(archive, BODY_KEYS, len(names), found)
    return _Damon("npz", (path,), names, pictures, objects, body, labels.num_verts, stand_in, labels, bodies)


def _rows_of(archive: ObjectArchive, keys: tuple[str, ...], count: int, found: Findings) -> dict[str, Any]:
    """Further arrays of one row per image; those that do not fit are findings."""
    rows = {}
    for key in (key for key in keys if key in archive.keys):
        values = archive.objects(key) if archive.holds_objects(key) else archive.array(key)
        if len(values) == count:
            rows[key] = values
        else:
            found.error(archive.path, f"'{key}' has {len(values)} rows for {count} images", "it was left out")
    return rows


def _compare(
    labels: LabelRows, objects: list[dict[str, IntArray]], names: list[str], path: Path, found: Findings
) -> None:
    """Whether an image's contact is the union of its objects' contacts, as the annotation was made."""
    differ = []
    for index, (name, parts) in enumerate(zip(names, objects, strict=True)):
        if index in labels.bad:
            continue
        union = np.unique(np.concatenate([np.empty(0, np.int64), *parts.values()]))
        if not np.array_equal(np.flatnonzero(labels.rows[index] >= 0.5), union):
            differ.append(name)
    severity: Literal["warning", "note"] = "warning" if 2 * len(differ) > len(names) else "note"
    what = "whose contact label is not the union of the lists of its objects"
    found.about(severity, path, differ, what, "if it is most of them, the rows of one key are in another order")


# -------------------------------------------------------------------------------------------------------------- repack
def _from_repack(root: Path, folder: Path, foot_ground: bool, found: Findings) -> _Damon:
    stem = "contact_label_objectwise" + ("_wFootGround" if foot_ground else "")
    lists = first_existing(folder, f"{stem}.pkl", f"{stem}.npy")
    if lists is None:
        raise InputError(f"{folder} has no {stem}.pkl: extract damon.tar.gz of InteractVLM again")
    listing, count = folder / "imgname.npy", TOPOLOGY_SIZES["smpl"]
    entries = read_npy(listing)
    names, pictures = _names(entries.tolist() if isinstance(entries, np.ndarray) else entries, listing, found)
    held = read_objects(lists) if lists.suffix == ".pkl" else read_npy(lists)
    objects = vertex_lists(held, lists, names, count, found)
    stand_in = is_stand_in_folder(folder) or is_stand_in_folder(root)
    body = body_topology(count, stand_in, str(lists))
    return _Damon("interactvlm-repack", (listing, lists), names, pictures, objects, body, count, stand_in)


def _drop_as_interactvlm(read: _Damon, views: Path, found: Findings) -> None:
    """Leave out objects with an empty list or without their pictures, as InteractVLM's loader does in silence."""
    empty, unseen = [], []
    for name, objects in zip(read.names, read.objects, strict=True):
        for label in list(objects):
            if not len(objects[label]):
                empty.append(_pair_id(name, label))
            elif len(_pictures(views, name, label)) < VIEWS:
                unseen.append(_pair_id(name, label))
            else:
                continue
            del objects[label]
    found.about("note", views, empty, "dropped for an empty vertex list, as InteractVLM does")
    found.about("warning", views, unseen, "dropped for missing pictures, as InteractVLM does", "extract it again")


def _pictures(views: Path, name: str, label: str) -> list[Path]:
    """Pictures of an image's object, one per view: ``<views>/<object>/<image>_<view>.png``."""
    folder = next((views / form for form in (label, label.replace(" ", "_")) if (views / form).is_dir()), None)
    return [] if folder is None else list(folder.glob(f"{glob.escape(name)}_[!_]*.png"))


# -------------------------------------------------------------------------------------------------------------- pieces
def _names(entries: Any, path: Path, found: Findings) -> tuple[list[str], list[str]]:
    """Unique names of the images, and their file names."""
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise InputError(f"{path} has image names that are no texts: it is not DAMON's")
    files = [PureWindowsPath(entry).name for entry in entries]  # takes both kinds of slashes
    return unique_ids([PureWindowsPath(name).stem for name in files], found, path), files


def _pairs(read: _Damon, per: Per, supporting: bool, found: Findings) -> list[tuple[int, str]]:
    """Image and object of each sample; objects without vertices stay, as a finding."""
    if per == "image":
        return [(image, "") for image in range(len(read.names))]
    pairs = [(image, label) for image, objects in enumerate(read.objects) for label in objects]
    if not supporting:
        pairs = [pair for pair in pairs if pair[1] != SUPPORTING]
    empty = [_pair_id(read.names[i], label) for i, label in pairs if not len(read.objects[i][label])]
    advice = "they are kept; InteractVLM drops them (as_interactvlm=True)"
    found.about("note", read.files[0], empty, "with an empty vertex list", advice)
    return pairs
