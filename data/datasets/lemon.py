"""3DIR (LEMON, CVPR 2024): contact on the person (SMPL-H) and affordance on the object's cloud, for one photograph.

For validation, image i of the list goes with cloud i. The part that was taken from BEHAVE is withheld by the authors:
its lines are left out, as a finding. Not read: curvature, the object's centre.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.clouds import (
    Finder,
    class_in_words,
    known_names,
    pair_by_class,
    pair_by_line,
    read_cloud,
    read_list,
    report_pairs,
)
from hoirecon.data.datasets.folder_checks import Findings, MissingFile, first_existing
from hoirecon.data.datasets.labels import cut, unique_ids
from hoirecon.data.datasets.listed import ListedDataset, body_topology
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.data.datasets.samples import AffordanceTruth, BodyContactTruth, Question, Sample, Truth
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.data.datasets.topologies import TOPOLOGY_SIZES
from hoirecon.errors import InputError
from hoirecon.files import read_json

AFFORDANCES = (
    "grasp", "lift", "open", "lay", "sit", "support", "wrapgrasp", "pour", "move", "pull", "listen", "press", "cut",
    "stab", "ride", "play", "carry",
)  # fmt: skip
"""Columns of a cloud behind x, y, z, in the file's order; not PIAD's, though both have 17."""
LICENCE = "for research only, by the authors' page; no licence file"
PLACES = "Data", ".", "lemon"
MAX_PARAMS_BYTES = 1 << 30


def open_lemon(root: Path, split: str, *, tell_affordance: bool = False, bodies: bool = False) -> ListedDataset:
    """Read 3DIR.

    Args:
        root: folder with ``Data/``, or with ``txt_scripts/`` itself.
        split: ``train`` or ``val``.
        tell_affordance: whether a question names the affordance.
        bodies: hand the estimated SMPL-H parameters to predictors, as LEMON does (``extra["smplh_param"]``, rotation
            matrices), and the person's box; the file is large.

    Raises:
        InputError: lists that are missing or of different lengths. Labels and clouds are read with their sample.
    """
    scripts = first_existing(root, *(f"{place}/txt_scripts" for place in PLACES))
    if scripts is None or not (scripts / f"{split}.txt").is_file():
        raise MissingFile(f"{root} has no Data/txt_scripts/{split}.txt")
    home, found = scripts.parent, Findings(root)
    images, clouds = _lists(scripts, split, found)
    ids = unique_ids([PurePosixPath(line).stem for line in images], found, scripts / f"{split}.txt")
    things, said = zip(*(_names(line) for line in images), strict=True)
    names = known_names(said, AFFORDANCES, ids, "affordance", scripts / f"{split}.txt", found)
    report_pairs(ids, things, clouds, _cloud_class, scripts / f"Point_{split}.txt", found)
    finder = Finder(home, root)
    labels = [_beside(home, line, "smplh_contact_pkl", ".pkl") for line in images]
    _report_absent(ids, images, labels, finder, home, found)
    stand_in = is_stand_in_folder(root) or is_stand_in_folder(home)
    params = cache(lambda: _parameters(home / "smplh_param" / "human_label.json"))

    def sample(place: int) -> Sample:
        truth: dict[str, Truth] = {}
        if labels[place].is_file():
            contact = _contact(labels[place])
            truth["body_contact"] = BodyContactTruth(contact, body_topology(len(contact), stand_in, str(labels[place])))
        points, line = None, clouds[place]
        if line is not None and names[place]:
            points, table = read_cloud(finder.find(line), len(AFFORDANCES))
            truth["affordance"] = AffordanceTruth(points, table[:, AFFORDANCES.index(names[place])], names[place])
        extra = _extra(home, images[place], params() if bodies else {})
        box = extra.pop("human_box", None)
        picture = finder.find(images[place])
        question = Question(
            id=ids[place],
            image=picture if picture.is_file() else None,
            label=class_in_words(things[place]),
            affordance=names[place] if tell_affordance else "",
            person_box=None if box is None else (box[0], box[1], box[2] - box[0], box[3] - box[1]),
            points=points,
            extra=extra,
        )
        return Sample(question, truth, group=ids[place], category=things[place])

    used = {path for line in set(clouds) if line and (path := finder.find(line)).is_file()}
    files = (
        scripts / f"{split}.txt",
        scripts / f"Point_{split}.txt",
        *sorted(used | {p for p in labels if p.is_file()}),
    )
    version = " ".join(["3dir", *(["affordance-told"] if tell_affordance else []), *(["bodies"] if bodies else [])])
    return ListedDataset("lemon", version, split, LICENCE, tuple(ids), sample, root, files, stand_in, found.tuple())


def _lists(scripts: Path, split: str, found: Findings) -> tuple[list[str], list[str | None]]:
    """Lines of the images and of the clouds that go with them, without the part that is withheld."""
    advice = "it comes with 3DIR's txt_scripts"
    images = read_list(scripts / f"{split}.txt", advice)
    listed = read_list(scripts / f"Point_{split}.txt", advice)
    here = scripts / f"Point_{split}.txt"
    clouds = (
        pair_by_line(images, listed, here)
        if split == "val"
        else pair_by_class(images, listed, lambda line: _names(line)[0], _cloud_class)
    )
    withheld = [line for line in images if "Behave" in PurePosixPath(line).parts]
    what = "of BEHAVE's part, which the authors withhold; left out"
    names = [PurePosixPath(line).stem for line in withheld]
    found.about("warning", scripts / f"{split}.txt", names, what, "figures over the rest are not the paper's")
    kept = [(i, c) for i, c in zip(images, clouds, strict=True) if "Behave" not in PurePosixPath(i).parts]
    if not kept:
        raise InputError(f"{scripts / f'{split}.txt'} lists nothing but BEHAVE's part, which is withheld")
    return [image for image, _ in kept], [cloud for _, cloud in kept]


def _names(line: str) -> tuple[str, str]:
    """Class and affordance, the first two words of an image's name."""
    words = [*PurePosixPath(line).stem.split("_"), "", ""]
    return words[0], words[1]


def _cloud_class(line: str) -> str:
    """The folder of the cloud."""
    return PurePosixPath(line).parent.name


def _beside(home: Path, line: str, folder: str, ending: str) -> Path:
    """The file that goes with an image in a folder that mirrors ``Images``."""
    parts = PurePosixPath(line).parts
    inner = parts[parts.index("Images") + 1 :] if "Images" in parts else parts[-3:]
    return home.joinpath(folder, *inner).with_suffix(ending)


def _report_absent(
    ids: list[str], images: list[str], labels: list[Path], finder: Finder, home: Path, found: Findings
) -> None:
    unlabelled = [i for i, path in zip(ids, labels, strict=True) if not path.is_file()]
    advice = "they stay in the list without contact truth; extract it again"
    found.about("error", home / "smplh_contact_pkl", unlabelled, "without a contact label", advice)
    unseen = [i for i, line in zip(ids, images, strict=True) if not finder.find(line).is_file()]
    found.about("warning", home / "Images", unseen, "without a photograph", "extract the images again")


def _contact(path: Path) -> FloatArray:
    """(6890,) labels, of a file that has them as a row or a column too."""
    held = np.asarray(read_objects(path, "contact labels"))
    if held.dtype.kind not in "biuf" or held.size != TOPOLOGY_SIZES["smpl"]:
        raise InputError(
            f"{path} holds {held.size} values of type {held.dtype}, expected {TOPOLOGY_SIZES['smpl']} labels"
        )
    labels = held.reshape(-1).astype(np.float64)
    if not ((labels >= 0) & (labels <= 1)).all():  # NaN fails too
        raise InputError(f"{path} holds NaN or labels outside [0, 1]: extract it again")
    return cut(labels)


def _extra(home: Path, line: str, params: Mapping[str, Any]) -> dict[str, Any]:
    parts = PurePosixPath(line).parts
    key = "/".join(parts[parts.index("Images") :]) if "Images" in parts else line
    masks = (_beside(home, line, "mask", ".png"), home / "mask" / _names(line)[0] / f"{PurePosixPath(line).stem}.png")
    mask = next((path for path in masks if path.is_file()), None)
    extra: dict[str, Any] = {} if mask is None else {"interaction_mask": mask}
    entry = params.get(key, {})
    return extra | {name: entry[name] for name in ("smplh_param", "human_box") if name in entry}


def _parameters(path: Path) -> Mapping[str, Any]:
    held = read_json(path, MAX_PARAMS_BYTES)
    if not isinstance(held, dict):
        raise InputError(f"{path} holds a {type(held).__name__}, expected {{image: {{'smplh_param': ...}}}}")
    return held
