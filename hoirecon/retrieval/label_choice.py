"""Which labels of a gallery a user's name means: by spelling and aliases first, by nearness only as a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from hoirecon.data.objects.catalog import get_category, normalise
from hoirecon.errors import InputError
from hoirecon.retrieval.label_matching import TextVector, match_labels

SUGGESTIONS = 5
"""At most so many labels are suggested for a name that is not known."""
LEAST_SIMILARITY = 0.6
"""Labels whose names are less similar than this (cosine of text vectors, or of spelling) are not suggested."""


@dataclass(frozen=True)
class LabelChoice:
    """What a name means among some labels."""

    labels: tuple[str, ...] = ()
    """Labels that it names; empty if there are none."""
    suggestions: tuple[str, ...] = ()
    """Labels near to it, nearest first, where it names none."""

    def note(self, name: str) -> str:
        """What a user should know; empty if the name was found.

        Example:
            >>> LabelChoice(suggestions=("chair", "armchair")).note("chiar")
            "no object is labelled 'chiar': all were looked through by their shape; near are chair, armchair"
        """
        if self.labels:
            return ""
        near = f"; near are {', '.join(self.suggestions)}" if self.suggestions else ""
        return f"no object is labelled '{name}': all were looked through by their shape{near}"


def choose_labels(name: str, labels: Sequence[str], vector_of: TextVector | None = None) -> LabelChoice:
    """Labels of the same spelling, else those that the object library knows as the same thing, else suggestions.

    "Mobile phone" names "cell phone", because the library has it as an alias; a name of which nothing is known gets
    suggestions by its text vector, or by its spelling without one.

    Args:
        name: what is looked for.
        labels: what there is.
        vector_of: vectors of names, such as :func:`~hoirecon.retrieval.label_matching.text_vectors`.

    Raises:
        InputError: the name is empty.

    Example:
        >>> choose_labels("Mobile_Phone", ["cell phone", "chair"]).labels
        ('cell phone',)
        >>> choose_labels("chiar", ["cell phone", "chair"]).suggestions
        ('chair',)
    """
    wanted = _meaning(name)
    if not wanted:
        raise InputError("the name is empty: say what is looked for")
    same = tuple(label for label in labels if normalise(label) == normalise(name))
    meant = same or tuple(label for label in labels if _meaning(label) == wanted)
    return LabelChoice(meant) if meant else LabelChoice(suggestions=_near(name, labels, vector_of))


def _meaning(name: str) -> str:
    """The library's name of a thing where it has one, else the name in one spelling."""
    try:
        return get_category(name).name
    except InputError:
        return normalise(name)


def _near(name: str, labels: Sequence[str], vector_of: TextVector | None) -> tuple[str, ...]:
    if vector_of is not None:
        found = match_labels(name, labels, vector_of, LEAST_SIMILARITY)
        return tuple(match.label for match in found[:SUGGESTIONS])
    plain = {normalise(label): label for label in labels}
    key = normalise(name)
    inside = [known for known in plain if f" {key} " in f" {known} " or f" {known} " in f" {key} "]
    close = difflib.get_close_matches(key, list(plain), n=SUGGESTIONS, cutoff=LEAST_SIMILARITY)
    return tuple(plain[known] for known in dict.fromkeys([*inside, *close]))[:SUGGESTIONS]
