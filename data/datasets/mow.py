"""MOW (ICCV 2021) with HACO's contact labels (NeurIPS 2025): hands that hold objects, in photographs, on MANO.

MOW itself has poses and no contact; HACO made labels of them: vertices of the hand less than 3.5 cm from the object's
surface (1 cm in motion-capture sets, 5 mm between hands), kept as ``preprocessed_data/<split>/contact_data/<id>.npy``.
They are not made again here: that needs MANO, and meshes made watertight in HACO's way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing
from hoirecon.data.datasets.labels import cut, unique_ids, words
from hoirecon.data.datasets.listed import ListedDataset, body_topology
from hoirecon.data.datasets.object_arrays import read_npy
from hoirecon.data.datasets.samples import BodyContactTruth, Question, Sample, Truth
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.data.datasets.topologies import TOPOLOGY_SIZES
from hoirecon.errors import InputError
from hoirecon.files import read_json

LICENCE = "MOW: none stated; HACO's labels: CC BY-NC 4.0"
CONTACT_M = 0.035
"""Distance from the object's surface below which HACO's labels of this dataset call a vertex of the hand in contact."""


def open_mow(root: Path, split: str) -> ListedDataset:
    """Read MOW as HACO lays it out.

    Args:
        root: folder with ``data/poses.json`` (or ``poses.json``), ``splits/`` and ``preprocessed_data/``.
        split: ``train`` or ``test``.

    Raises:
        InputError: files that are missing, or ids of the split that ``poses.json`` lacks.
    """
    poses = first_existing(root, "data/poses.json", "poses.json")
    listing = first_existing(root, f"splits/mow_{split}.npy", f"mow_{split}.npy")
    if poses is None or listing is None:
        raise MissingFile(f"{root} has no {'data/poses.json' if poses is None else f'splits/mow_{split}.npy'}")
    found, home = Findings(root), poses.parent
    entries = _entries(poses)
    held = read_npy(listing)
    names = [str(name) for name in (held.ravel().tolist() if isinstance(held, np.ndarray) else held)]
    if unknown := [name for name in names if name not in entries]:
        raise InputError(
            f"{poses} has no '{unknown[0]}' of {listing.name} ({len(unknown)} in all): of another version?"
        )
    ids = unique_ids(names, found, listing)
    labels = [root / "preprocessed_data" / split / "contact_data" / f"{name}.npy" for name in names]
    bare = [i for i, path in zip(ids, labels, strict=True) if not path.is_file()]
    found.about("error", root / "preprocessed_data", bare, "without a contact label", "get HACO's preprocessed data")
    pictures = [home / "images" / f"{name}.jpg" for name in names]
    unseen = [i for i, path in zip(ids, pictures, strict=True) if not path.is_file()]
    found.about("warning", home / "images", unseen, "without a photograph", "get mow.zip from MOW's page")
    stand_in = is_stand_in_folder(root)

    def sample(place: int) -> Sample:
        name, truth = names[place], dict[str, Truth]()
        if labels[place].is_file():
            contact = _labels(labels[place])
            truth["body_contact"] = BodyContactTruth(contact, body_topology(len(contact), stand_in, str(labels[place])))
        picture, mask = pictures[place], home / "masks" / "both" / f"{name}.jpg"
        label = words(str(entries[name].get("obj_name", "")))
        extra = {"interaction_mask": mask} if mask.is_file() else {}
        question = Question(ids[place], picture if picture.is_file() else None, label=label, extra=extra)
        return Sample(question, truth, group=name, category=label)

    files = (poses, listing, *(path for path in labels if path.is_file()))
    return ListedDataset("mow", "haco", split, LICENCE, tuple(ids), sample, root, files, stand_in, found.tuple())


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    held = read_json(path)
    if not isinstance(held, list) or not all(isinstance(entry, dict) and "image_id" in entry for entry in held):
        raise InputError(f"{path} is no list of entries with 'image_id': it is not MOW's")
    return {str(entry["image_id"]): entry for entry in held}


def _labels(path: Path) -> FloatArray:
    """(778,) 0 or 1."""
    held = read_npy(path)
    values = np.asarray(held)
    if values.dtype.kind not in "biuf" or values.size != TOPOLOGY_SIZES["mano"]:
        raise InputError(f"{path} has {values.size} values, expected {TOPOLOGY_SIZES['mano']} labels of a hand")
    labels = values.reshape(-1).astype(np.float64)
    if not ((labels >= 0) & (labels <= 1)).all():  # NaN fails too
        raise InputError(f"{path} holds NaN or labels outside [0, 1]: get it again")
    return cut(labels)
