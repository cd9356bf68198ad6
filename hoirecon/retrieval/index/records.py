"""What is known of each object beside its embedding, in SQLite: filters do not read ten million records to keep ten."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray
from hoirecon.errors import InputError

MAX_TEXT = 100_000
"""Longest text of a record, characters."""
_TABLE = (
    "CREATE TABLE objects (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, label TEXT, licence TEXT, faces INTEGER, "
    "animations INTEGER, tags TEXT NOT NULL, source TEXT)"
)
_BY_LABEL = "CREATE INDEX by_label ON objects (label)"
_COLUMNS = "row, id, label, licence, faces, animations, tags, source"


@dataclass(frozen=True)
class ObjectRecord:
    """One object of an index; None where nothing is known."""

    id: str
    """Its name in the index."""
    label: str | None = None
    """What it is, such as "office chair"."""
    licence: str | None = None
    """Under which licence, such as "CC0-1.0" or "by-nc"."""
    faces: int | None = None
    """Number of its faces."""
    animations: int | None = None
    """Number of its animations; moving objects often stand in odd poses."""
    tags: tuple[str, ...] = ()
    """Words that its author gave it."""
    source: str | None = None
    """Where the mesh is: a path or an address."""

    def __post_init__(self) -> None:
        texts = [self.id, self.label, self.licence, self.source, *self.tags]
        if not self.id or any(text is not None and not 0 <= len(text) <= MAX_TEXT for text in texts):
            raise InputError(f"the record {self.id[:60]!r} has no id, or a text of more than {MAX_TEXT} characters")
        object.__setattr__(self, "tags", tuple(self.tags))


@dataclass(frozen=True)
class RecordFilter:
    """Which objects may be found; what is not set does not count, and what is unknown of an object does not pass.

    Example:
        >>> RecordFilter(labels=("chair",), licences=("CC0-1.0", "by"), max_faces=100_000).is_empty
        False
    """

    labels: tuple[str, ...] | None = None
    """Any of these, written anyhow: "Office_Chair" is "office chair"."""
    licences: tuple[str, ...] | None = None
    """Any of these."""
    tags: tuple[str, ...] = ()
    """All of these."""
    min_faces: int | None = None
    """At least so many faces."""
    max_faces: int | None = None
    """At most so many faces."""
    max_animations: int | None = None
    """At most so many animations."""

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        return self == EVERYTHING

    def clauses(self) -> tuple[str, list[Any]]:
        """SQL condition and its values."""
        parts: list[str] = []
        values: list[Any] = []
        for column, wanted in (("label", self.labels), ("licence", self.licences)):
            if wanted is not None:
                parts.append(f"{column} IN (SELECT value FROM json_each(?))")
                values.append(json.dumps([plain_label(w) if column == "label" else w for w in wanted]))
        for tag in self.tags:
            parts.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)")
            values.append(tag)
        for condition, limit in (
            ("faces >= ?", self.min_faces),
            ("faces <= ?", self.max_faces),
            ("animations <= ?", self.max_animations),
        ):
            if limit is not None:
                parts.append(condition)
                values.append(limit)
        return " AND ".join(parts) or "1", values


EVERYTHING = RecordFilter()
"""The filter that all pass."""


class RecordStore:
    """Records by row of the embeddings; a row may have none, and is then never found.

    Args:
        connection: to a database of the table; use the constructors below.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._count: int | None = None

    @classmethod
    def of(cls, records: Iterable[ObjectRecord | None]) -> RecordStore:
        """Records in the order of the rows, in memory.

        Raises:
            InputError: two of one id.
        """
        store = cls(sqlite3.connect(":memory:", check_same_thread=False))
        store._db.execute(_TABLE)
        store._db.execute(_BY_LABEL)
        store.append(records, 0)
        return store

    @classmethod
    def open(cls, path: str | Path) -> RecordStore:
        """Records of a file, which stays as it is.

        Raises:
            InputError: not a file of records.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path} does not exist: the index is not whole")
        uri = f"{path.resolve().as_uri()}?mode=ro"
        db = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            # A file may bring triggers and views of its own; none of these is needed or run.
            db.execute("PRAGMA trusted_schema = OFF")
            kind = db.execute("SELECT type FROM sqlite_schema WHERE name = 'objects'").fetchone()
            db.execute(f"SELECT {_COLUMNS} FROM objects LIMIT 1").fetchone()
        except sqlite3.Error as err:
            db.close()
            raise InputError(f"{path} is not a file of records ({err}): build the index again") from err
        if kind != ("table",):
            db.close()
            raise InputError(f"{path} is not a file of records ('objects' is no table): build the index again")
        return cls(db)

    def save(self, path: Path) -> None:
        """Write all records to a new file."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    def copy(self) -> RecordStore:
        """A copy in memory."""
        store = RecordStore(sqlite3.connect(":memory:", check_same_thread=False))
        self._db.backup(store._db)
        return store

    def append(self, records: Iterable[ObjectRecord | None], first_row: int) -> None:
        """Add records to a store in memory, for the rows from ``first_row`` on.

        Raises:
            InputError: an id that is there already; nothing is added then.
        """
        self.append_rows((first_row + i, record) for i, record in enumerate(records) if record is not None)

    def append_rows(self, records: Iterable[tuple[int, ObjectRecord]]) -> None:
        """Add records with their rows, in any order.

        Raises:
            InputError: an id or row that is there already; nothing is added then.
        """
        self._count = None
        rows = (_values(row, record) for row, record in records)
        try:
            with self._db:
                self._db.executemany(f"INSERT INTO objects ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.IntegrityError as err:
            raise InputError(f"two objects have the same id ({err}): ids name objects across saves") from err

    def __len__(self) -> int:
        if self._count is None:  # counting reads all of a table
            self._count = int(self._db.execute("SELECT count(*) FROM objects").fetchone()[0])
        return self._count

    def passing(self, where: RecordFilter, count: int) -> BoolArray:
        """(count,) which rows have a record that passes a filter."""
        condition, values = where.clauses()
        found = self._db.execute(f"SELECT row FROM objects WHERE {condition}", values)
        rows = np.fromiter((row for (row,) in found), dtype=np.int64)
        allowed = np.zeros(count, dtype=bool)
        allowed[rows[(rows >= 0) & (rows < count)]] = True
        return allowed

    def read(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[ObjectRecord]:
        """Records of rows, in their order.

        Raises:
            InputError: a row without a record.
        """
        asked = json.dumps([int(row) for row in rows])
        query = f"SELECT {_COLUMNS} FROM objects WHERE row IN (SELECT value FROM json_each(?))"
        found = {row: _record(values) for row, *values in self._db.execute(query, [asked])}
        if missing := [int(row) for row in rows if int(row) not in found]:
            raise InputError(f"the row {missing[0]} has no record: the index is not whole")
        return [found[int(row)] for row in rows]

    def labels(self) -> list[str]:
        """All labels, sorted."""
        found = self._db.execute("SELECT DISTINCT label FROM objects WHERE label IS NOT NULL ORDER BY label")
        return [str(label) for (label,) in found]

    def __iter__(self) -> Iterator[ObjectRecord]:
        return (record for _, record in self.numbered())

    def numbered(self) -> Iterator[tuple[int, ObjectRecord]]:
        """All records with their rows, in the order of the rows."""
        for row, *values in self._db.execute(f"SELECT {_COLUMNS} FROM objects ORDER BY row"):
            yield int(row), _record(values)


def plain_label(label: str) -> str:
    """One spelling for all: small letters, single spaces.

    Example:
        >>> plain_label("Rocking_Chair ")
        'rocking chair'
    """
    return " ".join(label.replace("_", " ").lower().split())


def _values(row: int, record: ObjectRecord) -> tuple[Any, ...]:
    label = None if record.label is None else plain_label(record.label)
    tags = json.dumps(list(record.tags))
    return row, record.id, label, record.licence, record.faces, record.animations, tags, record.source


def _record(values: list[Any]) -> ObjectRecord:
    name, label, licence, faces, animations, tags, source = values
    try:
        words = tuple(str(tag) for tag in json.loads(tags))
    except (TypeError, ValueError) as err:
        raise InputError(f"the record {str(name)[:60]!r} is damaged ({err}): build the index again") from err
    return ObjectRecord(str(name), label, licence, faces, animations, words, source)
