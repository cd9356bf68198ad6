"""The names of the terms of a joint fit, and help for those who misspell one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hoirecon.errors import InputError
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.objective import Residuals, Term, TermReport

TERM_NAMES = (
    "outline on mask", "mask on outline", "depth order", "scale prior", "depth prior", "near people", "ground support",
    "perhaps on ground", "object above ground", "feet above ground", "landmarks_2d", "joint_limits", "body on mask",
    "mask on body", "hands and feet", "pose anchor", "finger range", "contact", "skin on object",
    "object on skin", "body in object", "object in body",
    "object in object", "even motion", "even pose",
)  # fmt: skip
"""Terms that a joint fit has where they apply; of several things each has its own: ``contact (person 0, cup)``."""


def thing_names(names: Sequence[str]) -> list[str]:
    """What objects are called in the names of terms: as they are, numbered where several are called the same.

    Example:
        >>> thing_names(["cup", "lamp", "cup"])
        ['cup 0', 'lamp', 'cup 2']
    """
    called = [name if names.count(name) == 1 else f"{name} {k}" for k, name in enumerate(names)]
    return called if len(set(called)) == len(called) else [f"{name} {k}" for k, name in enumerate(names)]


def speaks_of(term: str, thing: str) -> bool:
    """Whether a term, by its name, is one of a thing's, which is called as in :func:`thing_names`.

    Example:
        >>> [speaks_of("contact (person, cup 1)", thing) for thing in ("cup 1", "cup")]
        [True, False]
    """
    return term.endswith((f" ({thing})", f", {thing})")) or f" ({thing}, " in term


def advice(name: object, known: Iterable[str]) -> str:
    """The sentence that answers an unknown name."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return f"no term is called '{name}': {hint}there are {', '.join(names)}"


class NamedTerms(dict[str, TermReport[Any]]):
    """Reports of terms by name; an unknown name is answered with the names there are."""

    def __missing__(self, name: object) -> TermReport[Any]:
        raise InputError(advice(name, self))


def check_factors(factors: Mapping[str, float]) -> None:
    """Raise :class:`InputError` unless all names are known and all factors are 0 or more."""
    for name, factor in factors.items():
        if name not in TERM_NAMES:
            raise InputError(advice(name, TERM_NAMES))
        if not factor >= 0:
            raise InputError(f"the factor of '{name}' is 0 (leave it out) or more, got {factor}")


@dataclass(frozen=True)
class Weighted:
    """A term whose weight is multiplied by a factor."""

    term: Term[JointView]
    factor: float

    @property
    def name(self) -> str:
        """As the term's."""
        return self.term.name

    @property
    def weight(self) -> float:
        """The term's times the factor."""
        return self.term.weight * self.factor

    @property
    def robust(self) -> float | None:
        """As the term's."""
        return self.term.robust

    def residuals(self, view: JointView) -> Residuals:
        """As the term's."""
        return self.term.residuals(view)


def weighed(terms: Iterable[Term[JointView]], factors: Mapping[str, float]) -> list[Term[JointView]]:
    """Terms with the factors of their kind; those with factor 0 are left out."""
    found: list[Term[JointView]] = []
    for term in terms:
        factor = factors.get(term.name.split(" (")[0], 1.0)
        if factor != 1.0:
            term = Weighted(term, factor)
        if factor > 0:
            found.append(term)
    return found
