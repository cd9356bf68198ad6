"""Label rows and label lists of contact files: checked once when a dataset is opened, read one at a time after that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.datasets.folder_checks import Findings
from hoirecon.errors import InputError

Fractional = Literal["binarise", "keep"]
"""What to do with labels between 0 and 1: cut at one half, or keep them."""
LABEL_CUT = 0.5
"""Where fractional labels are cut: those that a transfer matrix leaves behind count from one half on."""
SLACK = 1e-3
"""How far outside [0, 1] a label may lie: sums of weights that are one but for rounding. It is clipped."""
ROWS_AT_ONCE = 256
"""How many rows are looked at together, so that a mapped file is never in memory whole."""


@dataclass(frozen=True)
class LabelRows:
    """(N, V) labels in [0, 1], mapped or in memory, and which rows cannot be used."""

    rows: npt.NDArray[Any]
    path: Path
    fractional: Fractional
    bad: frozenset[int]
    """Rows with NaN or values outside [0, 1]."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_verts(self) -> int:
        """Vertices per row."""
        return int(self.rows.shape[1])

    def row(self, index: int, name: str) -> FloatArray:
        """(V,) labels of one sample.

        Raises:
            InputError: NaN or values outside [0, 1].
        """
        if index in self.bad:
            raise InputError(f"the labels of {name} in {self.path} hold NaN or values outside [0, 1]: copy it again")
        row: FloatArray = np.clip(self.rows[index], 0, 1, dtype=np.float64)
        return cut(row) if self.fractional == "binarise" else row


def cut(labels: FloatArray) -> FloatArray:
    """Labels as 0 and 1, from one half on."""
    whole: FloatArray = (labels >= LABEL_CUT).astype(np.float64)
    return whole


def check_rows(
    rows: npt.NDArray[Any], path: Path, names: Sequence[str], fractional: Fractional, found: Findings
) -> LabelRows:
    """Look at every label once; NaN, values outside [0, 1] and fractions become findings.

    Raises:
        InputError: not one row of numbers per name.
    """
    if rows.ndim != 2 or rows.dtype.kind not in "biuf":
        raise InputError(f"{path} has labels of shape {rows.shape} and type {rows.dtype}, expected (images, vertices)")
    if len(rows) != len(names):
        raise InputError(f"{path} has {len(rows)} rows of labels for {len(names)} images: is it a mix of two versions?")
    bad: list[int] = []
    between: list[int] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = np.asarray(rows[start : start + ROWS_AT_ONCE])
        ones = (block == 1) | (block == 0)
        odd = np.flatnonzero(~ones.all(axis=1))
        usable = ((block[odd] >= -SLACK) & (block[odd] <= 1 + SLACK)).all(axis=1)
        bad += (start + odd[~usable]).tolist()
        between += (start + odd[usable]).tolist()
    found.about("error", path, [names[i] for i in bad], "with labels that are NaN or outside [0, 1]", "copy it again")
    how = {"binarise": "they count as contact from 0.5 on", "keep": "they are kept as they are"}[fractional]
    found.about("note", path, [names[i] for i in between], "with fractional labels", how)
    return LabelRows(rows, path, fractional, frozenset(bad))


def vertex_lists(
    entries: Sequence[Any], path: Path, names: Sequence[str], num_verts: int, found: Findings
) -> list[dict[str, IntArray]]:
    """Per image: object's name with spaces -> sorted ids of its vertices.

    Ids outside the body become a finding, and the object is left with the ids that are on it.

    Raises:
        InputError: not one dictionary per image.
    """
    if not isinstance(entries, list) or len(entries) != len(names):
        count = len(entries) if isinstance(entries, list) else "no"
        raise InputError(f"{path} has {count} dictionaries of objects for {len(names)} images: a mix of two versions?")
    lists, outside = [], []
    for name, entry in zip(names, entries, strict=True):
        if not isinstance(entry, Mapping):
            raise InputError(f"{path} has a {type(entry).__name__} for {name}, expected a dictionary of objects")
        objects = {words(str(label)): vertex_ids(ids, f"{path}: {name}, {label}") for label, ids in entry.items()}
        inside = {label: ids[(ids >= 0) & (ids < num_verts)] for label, ids in objects.items()}
        outside += [f"{name} {label}" for label, ids in objects.items() if len(inside[label]) < len(ids)]
        lists.append(inside)
    advice = "these ids were left out; is it a file of another body?"
    found.about("error", path, outside, f"with vertices outside 0..{num_verts - 1}", advice)
    return lists


def vertex_ids(value: Any, where: str) -> IntArray:
    """Sorted ids, each once.

    Raises:
        InputError: not whole numbers.
    """
    ids = np.asarray(value)
    if not ids.size:
        return np.empty(0, dtype=np.int64)
    if ids.dtype.kind not in "iuf" or (ids.dtype.kind == "f" and not (ids == np.round(ids)).all()):
        raise InputError(f"{where} has vertex ids of type {ids.dtype}, expected whole numbers")
    unique: IntArray = np.unique(ids.astype(np.int64))
    return unique


def mask_of(ids: IntArray, num_verts: int) -> FloatArray:
    """(V,) 1 at the ids."""
    labels = np.zeros(num_verts)
    labels[ids] = 1
    return labels


def words(name: str) -> str:
    """An object's name with spaces, as questions ask for it.

    Example:
        >>> words("dining_table")
        'dining table'
    """
    return name.replace("_", " ").strip()


def unique_ids(
    ids: Sequence[str], found: Findings, path: str | Path, severity: Literal["error", "note"] = "error"
) -> list[str]:
    """The ids; a second sample of the same name gets ``#2`` behind it and a finding, so that none is lost.

    Args:
        ids: as the files have them.
        found: gets the finding.
        path: of the file, for the finding.
        severity: ``note`` where a format has several samples of a name, such as two people in one picture.
    """
    seen: dict[str, int] = {}
    unique, twice = [], []
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            twice.append(name)
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    advice = "check that the copy is not two versions in one; the later ones are called name#2"
    found.about(severity, path, twice, "with an id that another one has", advice)
    return unique


def find_pictures(
    names: Sequence[str], files: Sequence[str], places: Sequence[Path], found: Findings, advice: str
) -> list[Path | None]:
    """Paths of photographs in the first of some folders that exists; None, and a finding, for those that are not there.

    Args:
        names: of the samples, for the finding.
        files: file names.
        places: folders.
        found: gets the finding.
        advice: where to get them.
    """
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        found.warning(places[0], "no folder of photographs", advice)
        return [None for _ in files]
    there = {path.name for path in folder.iterdir()}
    paths = [folder / name if name in there else None for name in files]
    absent = [name for name, path in zip(names, paths, strict=True) if path is None]
    found.about("warning", folder, absent, "without a photograph", advice)
    return paths
