"""Data sets mixed by rates: what is drawn is a function of the seed and the place in the run alone.

The state of a run is (epoch, index): whatever was drawn before is worked out again, nothing is stored.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import IntArray
from hoirecon.contact.training.public.lessons import Entry, Lesson, Source
from hoirecon.errors import InputError

_CHOOSE, _SHUFFLE, _SPEAK = 1, 2, 3  # of which draws a stream of random numbers is


@dataclass(frozen=True, eq=False)
class Share:
    """Sources that share one rate."""

    rate: float
    """How often, relative to the other shares'."""
    sources: tuple[Source, ...]
    """Each is drawn equally often, however large it is, as in the reference."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"a share's rate is above 0, got {self.rate}: leave the share out")
        if not self.sources:
            raise InputError("a share holds at least one source")


@dataclass(frozen=True)
class Draw:
    """What is drawn at one place of a run."""

    source: int
    """Which of the mixture's sources."""
    entry: int
    """Which of its entries."""
    speech: tuple[int, ...]
    """Seed of the words."""


class Mixture:
    """Sources drawn by the rates of their shares.

    A share is drawn with probability rate / sum of rates, then one of its sources, equally likely, then the next entry
    of that source's shuffled list: every entry is seen once before any is seen again. (The reference draws entries
    with replacement: of as many draws as there are entries, it never sees 37 %.)

    Args:
        shares: what is mixed.
        per_epoch: draws of an epoch; the reference has 500 steps of the batch.
        seed: of everything that is drawn.

    Raises:
        InputError: nothing to mix, or a source without entries.
    """

    def __init__(self, shares: Sequence[Share], per_epoch: int = 4000, seed: int = 0) -> None:
        if not shares or per_epoch < 1:
            raise InputError("a mixture needs at least one share, and at least one draw in an epoch")
        self.sources = tuple(source for share in shares for source in share.sources)
        if empty := [source.name for source in self.sources if not source.entries]:
            raise InputError(f"'{empty[0]}' has nothing to draw: leave it out, or make the validation share smaller")
        total = sum(share.rate for share in shares)
        self.chances = tuple(s.rate / total / len(s.sources) for s in shares for _ in s.sources)
        self.per_epoch, self.seed = per_epoch, seed
        self._visits: list[IntArray] = [np.zeros(len(self.sources), dtype=np.int64)]
        self._orders: dict[int, tuple[int, IntArray]] = {}

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides what is drawn."""
        told = ([source.fingerprint for source in self.sources], self.chances, self.per_epoch, self.seed)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:32]

    def plan(self, epoch: int) -> list[Draw]:
        """All draws of an epoch."""
        chosen, visits = self._chosen(epoch), self._visits_before(epoch).copy()
        draws = []
        for index, source in enumerate(chosen.tolist()):
            draws.append(Draw(source, self._entry(source, int(visits[source])), (self.seed, _SPEAK, epoch, index)))
            visits[source] += 1
        return draws

    def entry(self, draw: Draw) -> Entry:
        """What a draw names."""
        return self.sources[draw.source].entries[draw.entry]

    def lesson(self, draw: Draw) -> Lesson:
        """Read a draw."""
        return self.sources[draw.source].lesson(self.entry(draw))

    def _chosen(self, epoch: int) -> IntArray:
        rng = np.random.default_rng([self.seed, _CHOOSE, epoch])
        return rng.choice(len(self.sources), self.per_epoch, p=self.chances).astype(np.int64)

    def _visits_before(self, epoch: int) -> IntArray:
        """(S,) how often each source was drawn in the epochs before."""
        while len(self._visits) <= epoch:
            counts = np.bincount(self._chosen(len(self._visits) - 1), minlength=len(self.sources))
            self._visits.append(self._visits[-1] + counts)
        return self._visits[epoch]

    def _entry(self, source: int, visit: int) -> int:
        """The entry of a source's visit: round by round in another order."""
        turn, place = divmod(visit, len(self.sources[source].entries))
        if self._orders.get(source, (-1,))[0] != turn:
            rng = np.random.default_rng([self.seed, _SHUFFLE, source, turn])
            self._orders[source] = turn, rng.permutation(len(self.sources[source].entries))
        return int(self._orders[source][1][place])
