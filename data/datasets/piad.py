"""PIAD (IAGNet, ICCV 2023) and PIADv2 (GREAT, CVPR 2025): where an object is used, on clouds of 2048 points.

A sample is a photograph and a cloud of the same class; truth is one affordance on that cloud. For testing, image i of
the list goes with cloud i. Points are as the file has them; the authors' programs move them to their mean and divide by
the largest radius.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.clouds import (
    Finder,
    boxes_of,
    class_in_words,
    known_names,
    pair_by_class,
    pair_by_line,
    read_cloud,
    read_list,
    report_pairs,
)
from hoirecon.data.datasets.folder_checks import Findings, MissingFile
from hoirecon.data.datasets.labels import unique_ids
from hoirecon.data.datasets.listed import ListedDataset
from hoirecon.data.datasets.samples import AffordanceTruth, Question, Sample
from hoirecon.data.datasets.stand_in import is_stand_in_folder
from hoirecon.errors import InputError
from hoirecon.files import read_json

AFFORDANCES = (
    "grasp", "contain", "lift", "open", "lay", "sit", "support", "wrapgrasp", "pour", "move", "display", "push",
    "listen", "wear", "press", "cut", "stab",
)  # fmt: skip
"""PIAD's columns, in the file's order."""
AFFORDANCES_V2 = (*AFFORDANCES, "carry", "ride", "clean", "play", "beat", "speak", "pull")
"""Names of PIADv2; its clouds have a column for one affordance, that of their folder, or for all of these."""
LICENCE = "none stated in the authors' repository: ask them before you use it for more than research"


@dataclass(frozen=True)
class _Format:
    """How one version names its files."""

    name: str
    affordances: tuple[str, ...]
    lists: tuple[str, str]
    """Names of the lists of images and clouds."""
    folders: dict[str, tuple[str, ...]]
    """Setting -> folders, below the copy's root, that may hold its lists."""
    names: Callable[[str], tuple[str, str]]
    """Line of an image -> class and affordance."""
    cloud_class: Callable[[str], str]
    cloud_key: Callable[[str], tuple[str, ...]]
    """Line of a cloud -> what an image must have to go with it in training."""
    image_key: Callable[[str], tuple[str, ...]]
    image_id: Callable[[str], str]
    leading: int


def _tokens(line: str) -> list[str]:
    return PurePosixPath(line).stem.split("_")


def _folders(line: str) -> tuple[str, ...]:
    return ("", "", "", *PurePosixPath(line).parts)


PIAD = _Format(
    name="piad",
    affordances=AFFORDANCES,
    lists=("Img_{0}.txt", "Point_{0}.txt"),
    folders={"seen": ("Data/Seen", "Seen", "piad_ocontact_seen", "."),
             "unseen": ("Data/Unseen", "Unseen", "piad_ocontact_unseen")},
    names=lambda line: (["", "", "", *_tokens(line)][-3], ["", "", *_tokens(line)][-2]),
    cloud_class=lambda line: ["", *_tokens(line)][-2],
    cloud_key=lambda line: (["", *_tokens(line)][-2],),
    image_key=lambda line: (["", "", *_tokens(line)][-3],),
    image_id=lambda line: PurePosixPath(line).stem,
    leading=2,
)  # fmt: skip
PIAD_V2 = _Format(
    name="piadv2",
    affordances=AFFORDANCES_V2,
    lists=("Img_{0}.txt", "Point_{0}.txt"),
    folders={"seen": ("Data/Seen", "Seen"), "unseen_obj": ("Data/Unseen_obj", "Unseen_obj"),
             "unseen_aff": ("Data/Unseen_aff", "Unseen_aff")},
    names=lambda line: (_folders(line)[-4], _folders(line)[-2]),
    cloud_class=lambda line: _folders(line)[-4],
    cloud_key=lambda line: (_folders(line)[-4], _folders(line)[-2]),
    image_key=lambda line: (_folders(line)[-4], _folders(line)[-2]),
    image_id=lambda line: str(PurePosixPath(*PurePosixPath(line).parts[-4:]).with_suffix("")),
    leading=0,
)  # fmt: skip


def open_piad(root: Path, split: str, *, tell_affordance: bool = False) -> ListedDataset:
    """Read PIAD.

    Args:
        root: folder with ``Data/Seen`` and ``Data/Unseen``, or InteractVLM's ``piad_ocontact_seen`` and ``_unseen``.
        split: ``seen-train``, ``seen-test``, ``unseen-train`` or ``unseen-test``.
        tell_affordance: whether a question names the affordance, as InteractVLM's does; IAGNet's finds it itself.

    Raises:
        InputError: lists that are missing or of different lengths. Clouds are read with their sample.
    """
    return _open(root, split, PIAD, tell_affordance)


def open_piadv2(root: Path, split: str, *, tell_affordance: bool = False) -> ListedDataset:
    """Read PIADv2.

    Args:
        root: folder with ``Data/Seen``, ``Data/Unseen_obj`` and ``Data/Unseen_aff``.
        split: ``seen-train``, ``seen-val``, ``seen-test``, and so on.
        tell_affordance: whether a question names the affordance.

    Raises:
        InputError: as :func:`open_piad`.
    """
    return _open(root, split, PIAD_V2, tell_affordance)


def _open(root: Path, split: str, form: _Format, tell: bool) -> ListedDataset:
    setting, part = split.rsplit("-", 1)
    folder, part = _folder_of(root, form, setting, part)
    image_list, cloud_list = (folder / name.format(part) for name in form.lists)
    images = read_list(image_list, f"it lists the images of {form.name}")
    listed = read_list(cloud_list, f"it lists the clouds of {form.name}")
    found, finder = Findings(root), Finder(root, folder)
    ids = unique_ids([form.image_id(line) for line in images], found, image_list)
    classes, said = zip(*map(form.names, images), strict=True)
    names = known_names(said, form.affordances, ids, "affordance", image_list, found)
    clouds = _pairs(images, listed, form, part, cloud_list)
    report_pairs(ids, classes, clouds, form.cloud_class, cloud_list, found)
    pictures = [finder.find(line) for line in images]
    absent = [i for i, path in zip(ids, pictures, strict=True) if not path.is_file()]
    found.about("warning", folder, absent, "without a photograph", "extract the images again")
    boxes = _lines(folder, f"Box_{part}.txt", len(images), found)
    knowledge = {word: _lines(folder, f"{key}_{part.lower()}.txt", len(images), found)
                 for key, word in (("hk", "human_knowledge"), ("ok", "object_knowledge"))}  # fmt: skip

    def sample(place: int) -> Sample:
        cloud, box = clouds[place], boxes[place]
        corners = _boxes(finder.find(box)) if box else {}
        points, truth = _truth(finder.find(cloud), form, names[place]) if cloud and names[place] else (None, None)
        question = Question(
            id=ids[place],
            image=pictures[place] if pictures[place].is_file() else None,
            label=class_in_words(classes[place]),
            affordance=names[place] if tell else "",
            person_box=corners.get("subject"),
            object_box=corners.get("object"),
            points=points,
            extra={word: lines[place] for word, lines in knowledge.items() if lines[place]},
        )
        return Sample(question, {"affordance": truth} if truth else {}, group=ids[place], category=classes[place])

    files = (image_list, cloud_list, *sorted({p for c in set(clouds) if c and (p := finder.find(c)).is_file()}))
    version = f"{form.name} affordance-told" if tell else form.name
    stand_in = is_stand_in_folder(root)
    return ListedDataset(form.name, version, split, LICENCE, tuple(ids), sample, root, files, stand_in, found.tuple())


def _folder_of(root: Path, form: _Format, setting: str, part: str) -> tuple[Path, str]:
    """Where a setting's lists lie, and how they spell the split."""
    for place in form.folders[setting]:
        for spelled in (part.capitalize(), part):
            if (root / place / form.lists[0].format(spelled)).is_file():
                return root / place, spelled
    wanted = form.lists[0].format(part.capitalize())
    raise MissingFile(f"{root} has no {wanted} in any of {', '.join(form.folders[setting])}")


def _pairs(images: list[str], listed: list[str], form: _Format, part: str, path: Path) -> list[str | None]:
    if part.lower() == "train":
        return pair_by_class(images, listed, form.image_key, form.cloud_key)
    return pair_by_line(images, listed, path)


def _truth(path: Path, form: _Format, name: str) -> tuple[FloatArray, AffordanceTruth]:
    columns = 0 if form.name == "piadv2" else len(form.affordances)
    points, table = read_cloud(path, columns, form.leading if path.suffix == ".txt" else 0)
    if table.shape[1] not in (1, len(form.affordances)):
        wanted = f"1 or {len(form.affordances)}"
        raise InputError(f"{path} has {table.shape[1]} affordances per row, expected {wanted}: another dataset's?")
    column = 0 if table.shape[1] == 1 else form.affordances.index(name)
    return points, AffordanceTruth(points, table[:, column], name)


def _lines(folder: Path, name: str, count: int, found: Findings) -> list[str]:
    """Lines of a further list, one per image; empty ones where it is missing or has another length."""
    if not (folder / name).is_file():
        return [""] * count
    lines = read_list(folder / name, "it is optional")
    if len(lines) != count:
        found.error(folder / name, f"has {len(lines)} lines for {count} images", "it was left out")
        return [""] * count
    return lines


def _boxes(path: Path) -> dict[str, tuple[float, float, float, float]]:
    return dict(boxes_of(read_json(path), path)) if path.is_file() else {}
