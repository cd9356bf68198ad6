"""Affordance datasets: lists of files by line, clouds of 2048 points with affordances, classes in file names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.folder_checks import Findings, need_file
from hoirecon.data.datasets.object_arrays import read_npy
from hoirecon.errors import InputError

NUM_POINTS = 2048
"""Points of every cloud; the evaluators divide by this number whatever the file has."""
MAX_CLOUD_BYTES = 16 << 20
MAX_LIST_BYTES = 64 << 20
TYPO = 0.8
"""How alike (difflib) a name must be to a known one to be taken for it."""
_SPELLED = {"Baseballbat": "baseball bat", "Tennisracket": "tennis racket"}


def read_list(path: Path, advice: str) -> list[str]:
    """Lines of a list, without blank ones; backslashes become slashes.

    Raises:
        InputError: missing, too large, not text, or empty.
    """
    need_file(path, advice)
    if path.stat().st_size > MAX_LIST_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_LIST_BYTES}")
    try:
        lines = [line.strip().replace("\\", "/") for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as err:
        raise InputError(f"{path} is not a text file: {err}") from err
    if not any(lines):
        raise InputError(f"{path} is empty: {advice}")
    return [line for line in lines if line]


class Finder:
    """Finds files that a list names relative to where its authors ran their program."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def find(self, line: str) -> Path:
        """The file below one of the folders whose path ends as the line does; a path that is no file if there is none.

        Never outside the folders. Of several such files it is the one with the longest path, whatever was looked for
        before, so that every shard of a run reads the same.
        """
        parts = tuple(part for part in PurePosixPath(line).parts if part not in ("..", "/"))
        tries = ((folder, drop) for folder in self._folders for drop in range(len(parts)))
        for folder, drop in tries:
            if (path := folder.joinpath(*parts[drop:])).is_file():
                return path
        return self._folders[0].joinpath(*parts)


def read_cloud(path: Path, columns: int, leading: int = 0) -> tuple[FloatArray, FloatArray]:
    """A cloud of text (rows of words) or ``.npy``.

    Args:
        path: the file.
        columns: affordances that a row must have; 0: any number but none.
        leading: words at the head of each row that are no numbers of the cloud (PIAD's id and class).

    Returns:
        (2048, 3) points as they lie in the file, and (2048, columns) affordances in [0, 1].

    Raises:
        InputError: missing, another number of rows or columns, NaN, or affordances outside [0, 1].
    """
    table = _table(need_file(path, "extract the point clouds again"), leading)
    if table.ndim != 2 or len(table) != NUM_POINTS:
        raise InputError(f"{path} has {len(table)} rows, expected {NUM_POINTS}: is it cut off?")
    have = table.shape[1] - 3
    if have < 1 or columns not in (0, have):
        raise InputError(
            f"{path} has {have} affordances per row, expected {columns or 'some'}: is it another dataset's?"
        )
    if not np.isfinite(table).all():
        raise InputError(f"{path} holds NaN or infinity: extract it again")
    affordances = table[:, 3:]
    if affordances.min() < 0 or affordances.max() > 1:
        low, high = affordances.min(), affordances.max()
        raise InputError(f"{path} has affordances of {low:.3g}..{high:.3g}, expected 0..1: are its columns shifted?")
    return table[:, :3], affordances


def _table(path: Path, leading: int) -> FloatArray:
    if path.stat().st_size > MAX_CLOUD_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_CLOUD_BYTES}")
    if path.suffix == ".npy":
        held = read_npy(path)
        if not isinstance(held, np.ndarray) or held.dtype.kind not in "fiu":
            raise InputError(f"{path} holds no numbers: expected rows of xyz and affordances")
        return np.array(held, dtype=np.float64)
    try:
        rows = [line.split()[leading:] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return np.array(rows, dtype=np.float64)
    except ValueError as err:
        raise InputError(f"{path} is not a table of numbers behind {leading} words per row ({err})") from err


def class_in_words(name: str) -> str:
    """A class as questions ask for it.

    Example:
        >>> class_in_words("StorageFurniture"), class_in_words("Tennisracket")
        ('storage furniture', 'tennis racket')
    """
    return _SPELLED.get(name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower())


def known_names(
    names: Sequence[str], known: Sequence[str], ids: Sequence[str], what: str, path: Path, found: Findings
) -> list[str]:
    """The names, misspelled ones as the known name that they are most alike; others become "".

    Both are findings.
    """
    mended: dict[str, str] = {}
    for name in set(names) - set(known):
        lower = {k.lower(): k for k in known}
        alike = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=TYPO)
        mended[name] = lower[alike[0]] if alike else ""
    for wrong, right in sorted(mended.items()):
        where = [i for i, name in zip(ids, names, strict=True) if name == wrong]
        if right:
            found.about("warning", path, where, f"with the {what} '{wrong}', taken for '{right}'")
        else:
            found.about("error", path, where, f"with the unknown {what} '{wrong}'", f"known are {', '.join(known)}")
    return [mended.get(name, name) for name in names]


def pair_by_line(images: Sequence[str], clouds: Sequence[str], path: Path) -> list[str | None]:
    """Image i goes with cloud i, as the evaluators do.

    Raises:
        InputError: lists of different lengths.
    """
    if len(images) != len(clouds):
        raise InputError(
            f"{path} lists {len(clouds)} clouds for {len(images)} images: they are paired by line, so one of the two "
            f"lists is of another version"
        )
    return list(clouds)


def pair_by_class(
    images: Sequence[str], clouds: Sequence[str], of_image: Callable[[str], Any], of_cloud: Callable[[str], Any]
) -> list[str | None]:
    """Each image goes with a cloud of its class, taking turns in the list's order; None where the class has none.

    The authors draw them at random at every step of training; this is the same for everybody.
    """
    by_class: dict[Any, list[str]] = {}
    for cloud in clouds:
        by_class.setdefault(of_cloud(cloud), []).append(cloud)
    turn: dict[Any, int] = {}
    chosen: list[str | None] = []
    for image in images:
        group = of_image(image)
        candidates = by_class.get(group, [])
        chosen.append(candidates[turn.get(group, 0) % len(candidates)] if candidates else None)
        turn[group] = turn.get(group, 0) + 1
    return chosen


def report_pairs(
    ids: Sequence[str], objects: Sequence[str], clouds: Sequence[str | None], of_cloud: Callable[[str], str],
    path: Path, found: Findings,
) -> None:  # fmt: skip
    """Findings about images without a cloud, or with one of another class (two lists whose lines have shifted)."""
    without = [i for i, cloud in zip(ids, clouds, strict=True) if cloud is None]
    found.about("error", path, without, "without a cloud of their class")
    other = [i for i, thing, cloud in zip(ids, objects, clouds, strict=True)
             if cloud is not None and of_cloud(cloud).lower() != thing.lower()]  # fmt: skip
    found.about("error", path, other, "paired by line with a cloud of another class", "are the lists of one version?")


def boxes_of(entry: Any, path: Path) -> Mapping[str, tuple[float, float, float, float]]:
    """Boxes of a labelme file (``shapes`` with ``label`` and two corners): label -> x, y, width, height.

    Raises:
        InputError: not such a file.
    """
    boxes = {}
    try:
        for shape in entry["shapes"]:
            (x0, y0), (x1, y1) = (map(float, point) for point in shape["points"])
            boxes[str(shape["label"])] = (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(f"{path} is not a labelme file of boxes ({type(err).__name__}: {err})") from err
    return boxes
