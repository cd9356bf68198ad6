"""Which lessons a dataset of :mod:`hoirecon.data.datasets` holds, found once and kept by its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hoirecon.arrays import FloatArray
from hoirecon.contact.prompting.templates import SCENE_WORD, SUPPORT_WORD
from hoirecon.contact.training.public.lessons import TASKS, Entry, Lesson, Task
from hoirecon.contact.training.public.texts import PartWords
from hoirecon.data.datasets import (
    AffordanceTruth,
    BodyContactTruth,
    Dataset,
    ObjectContactTruth,
    Sample,
)
from hoirecon.errors import InputError
from hoirecon.files import read_json, write_json

Found = tuple[FloatArray, str, Any, str]
"""Contact, topology of the body, the thing, the affordance."""
VERSION = 1
"""Of the kept lists: raised when they change their meaning."""


@dataclass(frozen=True, eq=False)
class ContactSource:
    """A dataset's samples as lessons.

    Left out are samples without a photograph, without anything in contact, and those whose label is renamed to
    nothing; ``left_out`` counts them.

    Raises:
        InputError: no kind of lesson that such a dataset has, or nothing is left.
    """

    dataset: Dataset
    """As :func:`hoirecon.data.datasets.open_dataset` gives it; DAMON with ``per="object"``."""
    tasks: tuple[Task, ...] = ("human",)
    """Which of its truths are taught: ``human``, ``object``, ``affordance``."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Label -> what prompts call it, e.g. ``foot ground`` -> ``scene``; an empty name leaves it out."""
    feet: PartWords | None = None
    """The two feet: of contact with what supports a person (DAMON's ``supporting``) only what they touch is kept, as
    for the models that know the ground; None keeps all of it."""
    folder: Path | None = None
    """Where lists are kept between runs; None reads all samples anew (6 ms of processor time for a
    cloud, 0.04 ms for an image and object of DAMON)."""

    def __post_init__(self) -> None:
        if unknown := [task for task in self.tasks if task not in TASKS[:3]]:
            raise InputError(
                f"{self.dataset.name} has no lessons of kind '{unknown[0]}': choose {', '.join(TASKS[:3])}"
            )

    @property
    def name(self) -> str:
        """Dataset, split and kinds."""
        return f"{self.dataset.name} {self.dataset.split} {'+'.join(self.tasks)}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what was read and how."""
        feet = None if self.feet is None else [ids.tolist() for ids in self.feet.verts]
        told = (VERSION, self.dataset.name, self.dataset.fingerprint, self.tasks, sorted(self.rename.items()), feet)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:32]

    @cached_property
    def _listed(self) -> tuple[tuple[Entry, ...], dict[str, int]]:
        path = None if self.folder is None else self.folder / f"{self.fingerprint}.json"
        kept = _read(path, len(self.dataset)) if path is not None and path.is_file() else None
        if kept is None:
            kept = self._list()
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, {"entries": [asdict(entry) for entry in kept[0]], "left_out": kept[1]})
        if not kept[0]:
            raise InputError(f"{self.name} holds no lesson: {kept[1]} were left out")
        return kept

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What can be drawn, in the dataset's order."""
        return self._listed[0]

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> number of samples that cannot be drawn."""
        return self._listed[1]

    def _list(self) -> tuple[tuple[Entry, ...], dict[str, int]]:
        entries: list[Entry] = []
        left_out: dict[str, int] = {}
        for place, sample in enumerate(self.dataset):
            for task, reason in self._tasks_of(sample):
                if reason:
                    left_out[reason] = left_out.get(reason, 0) + 1
                else:
                    entries.append(Entry(place, task, self._label(sample), sample.group or sample.id))
        return tuple(entries), left_out

    def _tasks_of(self, sample: Sample) -> Iterator[tuple[Task, str]]:
        """Kinds of lessons in a sample, each with the reason why it cannot be drawn, if any."""
        for task in self.tasks:
            found = self._truth(sample, task)
            if sample.question.image is None:
                yield task, "no photograph"
            elif not self._label(sample):
                yield task, "label left out"
            elif found is None:
                yield task, f"no truth of kind {task}"
            elif not _positive(found[0], task):
                yield task, "nothing in contact"
            else:
                yield task, ""

    def _truth(self, sample: Sample, task: Task) -> Found | None:
        found = _truth(sample, task)
        if found is None or self.feet is None or task != "human" or sample.question.label != SUPPORT_WORD:
            return found
        return (self.feet.on_touched(found[0]), *found[1:])

    def _label(self, sample: Sample) -> str:
        label = sample.question.label or SCENE_WORD  # of the datasets here only RICH has no names, and it is of scenes
        return self.rename.get(label, label)

    def lesson(self, entry: Entry) -> Lesson:
        """Read one entry.

        Raises:
            InputError: the dataset has changed since the list was made.
        """
        sample = self.dataset[entry.place]
        found = self._truth(sample, entry.task)
        if sample.question.image is None or found is None:
            raise InputError(f"{self.name}: {sample.id} has changed since it was listed: remove the kept list")
        contact, topology, thing, affordance = found
        return Lesson(
            entry.task,
            sample.question.image,
            entry.label,
            contact,
            topology,
            thing,
            affordance,
            dataset=self.dataset.name,
        )


def _truth(sample: Sample, task: Task) -> Found | None:
    """Contact, topology of the body, the thing, and the affordance of one kind; None if the sample has none."""
    key = {"human": "body_contact", "object": "object_contact", "affordance": "affordance"}[task]
    truth = sample.truth.get(key)
    if isinstance(truth, BodyContactTruth):
        return truth.contact, truth.topology, None, ""
    if isinstance(truth, ObjectContactTruth):
        return truth.contact, "", truth.mesh, ""
    if isinstance(truth, AffordanceTruth):
        return truth.affordance, "", truth.points, truth.name
    return None


def _positive(contact: FloatArray, task: Task) -> bool:
    return bool((contact > 0).any() if task == "affordance" else (contact >= 0.5).any())


def _read(path: Path, count: int) -> tuple[tuple[Entry, ...], dict[str, int]] | None:
    """A kept list; None if it is damaged."""
    try:
        held = read_json(path, 1 << 30)
        entries = tuple(Entry(**row) for row in held["entries"])
        left_out = {str(reason): int(number) for reason, number in held["left_out"].items()}
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        return None
    fits = all(isinstance(e.place, int) and 0 <= e.place < count and e.task in TASKS for e in entries)
    return (entries, left_out) if fits else None


def groups_of(sources: Sequence[Any]) -> frozenset[str]:
    """Every group of some sources, e.g. the photographs of a test split, to be kept out of training."""
    return frozenset(entry.group for source in sources for entry in source.entries)
