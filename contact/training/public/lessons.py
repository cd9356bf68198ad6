"""What one training sample is about, before it becomes tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from hoirecon.arrays import FloatArray
from hoirecon.mesh import Mesh

Task = Literal["human", "object", "affordance", "image", "words"]
"""Kinds of contact, and ``words``: answers without a contact token."""
TASKS: tuple[Task, ...] = ("human", "object", "affordance", "image", "words")


@dataclass(frozen=True)
class Entry:
    """One line of a source's list: what can be drawn."""

    place: int
    """Where in the dataset."""
    task: Task
    label: str
    """Name of the object, words with spaces; ``scene`` for the ground and what else supports."""
    group: str
    """Entries of one photograph (or sequence) share it; splits never part a group."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is asked about one photograph and what is true."""

    task: Task
    image: Path
    """The photograph."""
    label: str = ""
    """Name of the object; the phrase or sentence of a referring expression."""
    contact: FloatArray | None = None
    """(N,) in [0, 1] per vertex of the body or ``thing``, or per point of ``thing``."""
    topology: str = ""
    """Of the body that ``contact`` is on."""
    thing: Mesh | FloatArray | None = None
    """The object's mesh, or its points (N, 3)."""
    affordance: str = ""
    """What the answer names."""
    mask: FloatArray | None = None
    """(H, W) of the photograph: 1, 0, and -1 where nothing is judged."""
    is_sentence: bool = False
    """Whether ``label`` is a whole sentence."""
    turns: tuple[tuple[str, str], ...] = ()
    """Questions and answers in words alone."""
    dataset: str = ""
    """Name of the dataset; clouds of LEMON are drawn in a way of their own."""


class Source(Protocol):
    """A list of entries that can be drawn from."""

    @property
    def name(self) -> str:
        """E.g. ``damon human``."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of what was read and how."""
        ...

    @property
    def entries(self) -> Sequence[Entry]:
        """What can be drawn."""
        ...

    def lesson(self, entry: Entry) -> Lesson:
        """Read one entry."""
        ...
