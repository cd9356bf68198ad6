"""Datasets by name: what they are, where to get them, who reads them.

dataset = open_dataset("damon", "~/data/damon", "test")
for entry in list_datasets(): print(entry.name, entry.licence, entry.where)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from hoirecon.data.datasets.folder_checks import MissingFile
from hoirecon.data.datasets.listed import damage_named
from hoirecon.data.datasets.samples import Dataset
from hoirecon.errors import InputError

_ENTRIES_IN = ("hoirecon.data.datasets.contact_entries", "hoirecon.data.datasets.reconstruction_entries")
"""Modules whose ``ENTRIES`` make the list."""


GENERATED = "generated"
"""Format of data that is made and not read: its folder need not be there."""


@dataclass(frozen=True)
class DatasetEntry:
    """What is known of a dataset without having it."""

    name: str
    """What to type, e.g. ``damon``."""
    title: str
    """One line: what it holds."""
    licence: str
    """One line; the data is always the user's own copy."""
    where: str
    """The public page's name and what to download there."""
    formats: tuple[str, ...]
    """Versions that the reader knows (``Dataset.version``)."""
    splits: tuple[str, ...]
    truth: tuple[str, ...]
    """Kinds of truth that its samples have (:class:`~hoirecon.data.datasets.samples.Sample`)."""
    reader: str
    """``module:function``, called with (root, split, **options)."""
    layout: str = ""
    """What the folder should hold, in short."""


def list_datasets() -> tuple[DatasetEntry, ...]:
    """All datasets that can be read, by name."""
    return tuple(sorted(_entries().values(), key=lambda entry: entry.name))


def get_entry(name: str) -> DatasetEntry:
    """What is known of one dataset.

    Raises:
        InputError: no such dataset.
    """
    if name not in _entries():
        raise InputError(f"no dataset is called '{name}'; known are {', '.join(sorted(_entries()))}")
    return _entries()[name]


def open_dataset(name: str, root: str | Path, split: str = "test", **options: Any) -> Dataset:
    """Read a user's copy of a dataset.

    Args:
        name: of :func:`list_datasets`.
        root: its folder.
        split: of the entry's ``splits``.
        **options: of the dataset's reader; each reader's page in ``docs/datasets.md`` lists them.

    Raises:
        InputError: no such dataset, split or option; files that are missing or cannot be read.
    """
    entry, root = get_entry(name), Path(root).expanduser()
    if split not in entry.splits:
        raise InputError(f"{name} has no split '{split}', only {', '.join(entry.splits)}")
    if not root.is_dir() and GENERATED not in entry.formats:
        raise MissingFile(f"the folder {root} does not exist: get {name} from {entry.where}")
    with damage_named(f"{name} in {root}"):
        return _reader(entry)(root, split, **_known(entry, options))


@cache
def _entries() -> dict[str, DatasetEntry]:
    return {entry.name: entry for module in _ENTRIES_IN for entry in import_module(module).ENTRIES}


def _reader(entry: DatasetEntry) -> Callable[..., Dataset]:
    module, function = entry.reader.split(":")
    return cast(Callable[..., Dataset], getattr(import_module(module), function))


def _known(entry: DatasetEntry, options: dict[str, Any]) -> dict[str, Any]:
    """The options, if the reader has them all."""
    import inspect

    known = [name for name in inspect.signature(_reader(entry)).parameters if name not in ("root", "split")]
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"{entry.name} has no option '{unknown[0]}', only {', '.join(known) or 'none'}")
    return options
