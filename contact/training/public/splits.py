"""Validation apart from training and from the test split: by photograph, by a hash, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from hoirecon.contact.training.public.lessons import Entry, Lesson, Source
from hoirecon.errors import InputError

Part = Literal["train", "validation"]


def part_of(group: str, share: float = 0.05, salt: int = 0) -> Part:
    """Whether a photograph trains or validates: a hash of its name decides, so that datasets that share photographs
    (DAMON and PICO) and samples that share one (several objects) are never parted.

    Args:
        group: name of the photograph or sequence.
        share: of groups that validate.
        salt: another one makes another split.

    Example:
        >>> part_of("hake_train2015_00000001", share=1.0)
        'validation'
    """
    digest = hashlib.sha256(f"{salt}\0{group}".encode()).digest()
    return "validation" if int.from_bytes(digest[:8], "big") < share * 2**64 else "train"


@dataclass(frozen=True, eq=False)
class Subset:
    """One part of a source."""

    source: Source
    part: Part
    share: float = 0.05
    """Of groups that validate; the reference validates, and chooses its best epoch, on the test split."""
    salt: int = 0
    without: frozenset[str] = frozenset()
    """Groups that are in neither part, e.g. ``groups_of`` a test split of another dataset of the same photographs."""

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(f"the share of groups that validate lies in [0, 1), got {self.share}")

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    @cached_property
    def fingerprint(self) -> str:
        """Of the source and the split."""
        told = (self.source.fingerprint, self.part, self.share, self.salt, sorted(self.without))
        return hashlib.sha256(repr(told).encode()).hexdigest()[:32]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """What is in this part, in the source's order."""
        return tuple(
            entry
            for entry in self.source.entries
            if entry.group not in self.without and part_of(entry.group, self.share, self.salt) == self.part
        )

    def lesson(self, entry: Entry) -> Lesson:
        """Read one entry."""
        return self.source.lesson(entry)


def train_and_validation(
    sources: Iterable[Source], share: float = 0.05, salt: int = 0, without: frozenset[str] = frozenset()
) -> tuple[list[Subset], list[Subset]]:
    """Both parts of each source, by the same hash."""
    listed = list(sources)
    train = [Subset(source, "train", share, salt, without) for source in listed]
    return train, [Subset(source, "validation", share, salt, without) for source in listed]
