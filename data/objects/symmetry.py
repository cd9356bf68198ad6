"""The rotations under which an object looks the same, so that a fit need not tell such poses apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError

_AXES = "xyz"


@dataclass(frozen=True)
class Symmetry:
    """A group of rotations about the axes of the object frame (mirror images are not part of it).

    Example:
        >>> Symmetry.parse("x:inf y:2").rotations(steps=8).shape  # a bare bar: any roll, and end for end
        (16, 3, 3)
    """

    continuous: tuple[str, ...] = ()
    """Axes about which any angle fits: none, one ("y" for a bottle), or all three (a ball)."""
    discrete: tuple[tuple[str, int], ...] = ()
    """(axis, order): rotation about the axis by 360/order degrees fits."""

    @classmethod
    def parse(cls, text: str) -> Symmetry:
        """Read the short form of the catalogue: "" (none), "ball", or words such as "y:inf" and "z:2".

        Raises:
            InputError: another word.
        """
        if text == "ball":
            return cls(continuous=("x", "y", "z"))
        continuous: list[str] = []
        discrete: list[tuple[str, int]] = []
        for word in text.split():
            axis, _, order = word.partition(":")
            if axis not in _AXES or not (order == "inf" or (order.isdigit() and int(order) >= 2)):
                raise InputError(f"symmetry word {word!r} is not an axis and an order such as 'y:inf' or 'z:2'")
            if order == "inf":
                continuous.append(axis)
            else:
                discrete.append((axis, int(order)))
        return cls(tuple(continuous), tuple(discrete))

    @property
    def is_trivial(self) -> bool:
        """Whether no rotation but the identity belongs to the group."""
        return not self.continuous and not self.discrete

    @cached_property
    def generators(self) -> FloatArray:
        """(G, 3, 3) rotations that generate the discrete part of the group; the identity first."""
        turns = [_rotation(axis, 2 * np.pi / order) for axis, order in self.discrete]
        return np.stack([np.eye(3), *turns])

    def rotations(self, steps: int = 24) -> FloatArray:
        """The group as matrices (N, 3, 3), the identity first.

        Args:
            steps: how finely a continuous axis is sampled (angles per turn). A ball is sampled about each axis,
                which covers its group only coarsely: ask `continuous` instead where it matters.
        """
        group = [np.eye(3)]
        turns = [_rotation(axis, 2 * np.pi / steps) for axis in self.continuous]
        turns += list(self.generators[1:])
        fresh = group
        limit = 60 * max(steps, 1)  # more than any group of axis rotations we admit
        while fresh and len(group) < limit:
            found = [turn @ element for element in fresh for turn in turns]
            fresh = []
            for candidate in found:
                if not any(np.abs(candidate - known).max() < 1e-6 for known in group):
                    group.append(candidate)
                    fresh.append(candidate)
            if len(self.continuous) == 3 and len(group) >= 3 * steps:
                break
        return np.stack(group)


def _rotation(axis: str, angle: float) -> FloatArray:
    c, s = np.cos(angle), np.sin(angle)
    k = _AXES.index(axis)
    i, j = (k + 1) % 3, (k + 2) % 3
    R = np.eye(3)
    R[i, i], R[i, j], R[j, i], R[j, j] = c, -s, s, c
    return R
