"""What is missing or wrong in a user's copy of a dataset, in words: findings, and what gathers them.

Readers report what they find (``dataset.problems``) and drop nothing silently; :func:`check_data` opens every split of
a copy, reads samples across it and hands out all findings. Errors make a figure wrong, warnings make it incomplete,
notes say what a reader of the figure should know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hoirecon.errors import InputError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

NAMED = 3
"""How many ids or paths a finding names before it counts the rest."""
SAMPLES_READ = 64
"""How many samples of a split :func:`check_data` reads, spread over it."""
WHOLE_HASH_BYTES = 4 << 20
"""Files up to this size are hashed whole when a dataset has more than :data:`MANY_FILES` label files."""
MANY_FILES = 64


class MissingFile(InputError):
    """A file or folder of a dataset is not there; other splits may be."""


@dataclass(frozen=True)
class Finding:
    """One thing that is missing, wrong or worth knowing in a copy of a dataset."""

    severity: Severity
    path: str
    """File or folder, relative to the dataset's root where it lies below it."""
    what: str
    """One sentence."""
    advice: str = ""
    """What to do about it."""

    def __str__(self) -> str:
        """One line for a terminal."""
        tail = f": {self.advice}" if self.advice else ""
        return f"{self.severity}  {self.path}  {self.what}{tail}"


@dataclass
class Findings:
    """Gathers findings while a folder is read."""

    root: Path
    items: list[Finding] = field(default_factory=list)

    def error(self, path: str | Path, what: str, advice: str = "") -> None:
        """Something that makes figures wrong."""
        self._add("error", path, what, advice)

    def warning(self, path: str | Path, what: str, advice: str = "") -> None:
        """Something that makes figures incomplete."""
        self._add("warning", path, what, advice)

    def note(self, path: str | Path, what: str, advice: str = "") -> None:
        """Something that readers of figures should know."""
        self._add("note", path, what, advice)

    def about(self, severity: Severity, path: str | Path, ids: Sequence[str], what: str, advice: str = "") -> None:
        """One finding for many ids (or none, if there are none): ``3 samples ...: a, b, c``."""
        if ids:
            plural = "sample" if len(ids) == 1 else "samples"
            self._add(severity, path, f"{len(ids)} {plural} {what} ({some(ids)})", advice)

    def _add(self, severity: Severity, path: str | Path, what: str, advice: str) -> None:
        self.items.append(Finding(severity, shown(path, self.root), what, advice))

    def tuple(self) -> tuple[Finding, ...]:
        """All so far, the worst first."""
        return tuple(sorted(self.items, key=lambda item: SEVERITIES.index(item.severity)))


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are.

    Example:
        >>> some(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    names = list(names)
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def shown(path: str | Path, root: Path) -> str:
    """A path relative to the root if it lies below it."""
    path = Path(path)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def need_folder(path: Path, advice: str) -> Path:
    """The folder, or a :class:`MissingFile` with advice."""
    if not path.is_dir():
        raise MissingFile(f"the folder {path} does not exist: {advice}")
    return path


def need_file(path: Path, advice: str) -> Path:
    """The file, or a :class:`MissingFile` with advice."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist: {advice}")
    return path


def first_existing(root: Path, *names: str) -> Path | None:
    """The first of several files or folders below ``root`` that exists; mirrors of a dataset lay it out differently."""
    return next((root / name for name in names if (root / name).exists()), None)


def fingerprint(root: Path, files: Iterable[Path], extra: str = "") -> str:
    """Hash of files: names below ``root``, sizes and contents.

    Of more than :data:`MANY_FILES` files, those larger than 4 MiB count by their first and last MiB, so that a tree of
    ten thousand labels does not take minutes.

    Args:
        root: what names are relative to.
        files: in any order.
        extra: options of the reader that change what it gives.
    """
    digest = hashlib.sha256(extra.encode())
    paths = sorted(set(files))
    for path in paths:
        size = path.stat().st_size
        digest.update(f"\0{shown(path, root)}\0{size}\0".encode())
        with path.open("rb") as stream:
            if len(paths) <= MANY_FILES or size <= WHOLE_HASH_BYTES:
                while block := stream.read(1 << 20):
                    digest.update(block)
            else:
                digest.update(stream.read(1 << 20))
                stream.seek(size - (1 << 20))
                digest.update(stream.read())
    return digest.hexdigest()


def check_data(root: str | Path, dataset: str, samples: int = SAMPLES_READ) -> list[Finding]:
    """What is missing or wrong in a copy of a dataset.

    Args:
        root: the copy's folder.
        dataset: a name of :func:`hoirecon.data.datasets.registry.list_datasets`.
        samples: how many samples of each split are read; 0: none, only lists and heads of files.

    Returns:
        Findings, the worst first; an empty list says that nothing was found.

    Raises:
        InputError: no such dataset.
    """
    from hoirecon.data.datasets.registry import get_entry

    entry, root = get_entry(dataset), Path(root)
    if not root.is_dir():
        return [Finding("error", str(root), "the folder does not exist", f"get it from {entry.where}")]
    found, absent = Findings(root), []
    for split in entry.splits:
        try:
            _check_split(root, dataset, split, samples, found)
        except MissingFile as err:
            absent.append((split, err))
        except InputError as err:
            found.error(split, str(err))
    for split, missing in absent:
        severity: Severity = "error" if len(absent) == len(entry.splits) else "note"
        found.items.append(Finding(severity, split, f"the split is not in this copy ({missing})", f"see {entry.where}"))
    return list(dict.fromkeys(found.tuple()))


def _check_split(root: Path, dataset: str, split: str, samples: int, found: Findings) -> None:
    from hoirecon.data.datasets.registry import open_dataset

    data = open_dataset(dataset, root, split)
    found.items.extend(getattr(data, "problems", ()))
    if not len(data):
        found.error(split, "the split has no samples", "is this the right folder?")
    if data.stand_in:
        found.note(split, "the labels are on a free stand-in body", "its figures never stand beside real ones")
    step = max(1, len(data) // samples) if samples else len(data) + 1
    bad: dict[str, list[int]] = {}
    for index in range(0, len(data), step) if samples else ():
        try:
            if not data[index].truth:
                bad.setdefault("the sample has no truth", []).append(index)
        except InputError as err:
            bad.setdefault(str(err), []).append(index)
    for what, places in bad.items():
        found.error(split, f"sample {some(map(str, places))}: {what}")
