"""What readers of datasets share: samples by index, findings, a fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hoirecon.data.datasets.folder_checks import Finding, Findings, fingerprint
from hoirecon.data.datasets.samples import Sample


@dataclass
class ListedDataset(ABC):
    """Base of the readers: a list of samples that are made when they are asked for."""

    root: Path
    """Folder of the user's copy."""
    split: str
    name: str = ""
    version: str = ""
    """Of the format that was read."""
    licence: str = ""
    stand_in: bool = False
    """True if the labels are on a free stand-in body."""
    problems: tuple[Finding, ...] = ()
    """What was missing or wrong when the dataset was opened, the worst first."""
    label_files: tuple[Path, ...] = field(default=(), repr=False)
    """Files whose names, sizes and contents make the fingerprint."""
    options: str = ""
    """Options of the reader that change what it gives, as text, for the fingerprint."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what was read (:func:`hoirecon.data.datasets.folder_checks.fingerprint`)."""
        return fingerprint(self.root, self.label_files, f"{self.name} {self.version} {self.split} {self.options}")

    @abstractmethod
    def __len__(self) -> int:
        """How many samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """One sample; IndexError behind the last."""

    def __iter__(self) -> Iterator[Sample]:
        """All samples, in the dataset's order."""
        return (self[index] for index in range(len(self)))


def unique_ids(ids: Sequence[str], found: Findings, path: str | Path) -> list[str]:
    """The ids; a second sample of the same name gets ``#2`` behind it and a finding, so that none is lost."""
    seen: dict[str, int] = {}
    unique, twice = [], []
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            twice.append(name)
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    advice = "check that the copy is not two versions in one; the later ones are called name#2"
    found.about("error", path, twice, "have an id that another one has", advice)
    return unique


def words(name: str) -> str:
    """An object's name with spaces, as questions ask for it.

    Example:
        >>> words("dining_table")
        'dining table'
    """
    return name.replace("_", " ").strip()
