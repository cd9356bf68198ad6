"""Which labels of an index a name means: by vectors of words, or of whole texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.retrieval.index.records import plain_label
from hoirecon.retrieval.protocols import TextEmbedder
from hoirecon.retrieval.query_vectors import prompt_of

TextVector = Callable[[str], FloatArray | None]
"""Vector of a name in one spelling (small letters, spaces); None if nothing is known of it."""


@dataclass(frozen=True)
class LabelMatch:
    """A label that a name may mean."""

    label: str
    """As it stands in the list."""
    similarity: float
    """Cosine of the two names' vectors."""


def match_labels(name: str, labels: Sequence[str], vector_of: TextVector, threshold: float = 0.75) -> list[LabelMatch]:
    """Labels near enough to a name, nearest first, those of equal similarity in the order of the list.

    Spelling does not count: "Rocking_Chair" is "rocking chair". A name of which nothing is known matches only itself.

    Args:
        name: what is looked for.
        labels: what there is.
        vector_of: vectors of names; see :func:`word_vectors` and :func:`text_vectors`.
        threshold: least similarity.

    Raises:
        InputError: the name is empty.

    Example:
        >>> table = {"chair": [1, 0], "arm": [0.6, 0.8], "lamp": [0, 1]}
        >>> [match.label for match in match_labels("chair", ["Chair", "arm_chair", "lamp"], word_vectors(table))]
        ['Chair', 'arm_chair']
    """
    plain = plain_label(name)
    if not plain:
        raise InputError("the name is empty: say what is looked for")
    wanted = vector_of(plain)
    found = []
    for label in labels:
        other = plain_label(label)
        similarity = 1.0 if other == plain else _cosine(wanted, vector_of(other))
        if similarity is not None and similarity >= threshold:
            found.append(LabelMatch(label, similarity))
    return sorted(found, key=lambda match: -match.similarity)


def word_vectors(table: Mapping[str, Any]) -> TextVector:
    """Vectors of names from vectors of words: the name's own if it is in the table, else the mean over known words."""

    def vector_of(name: str) -> FloatArray | None:
        words = [name] if name in table else [word for word in name.split() if word in table]
        if not words:
            return None
        mean: FloatArray = np.mean([np.asarray(table[word], dtype=np.float64) for word in words], axis=0)
        return mean

    return vector_of


def text_vectors(embedder: TextEmbedder) -> TextVector:
    """Vectors of names from a text embedder such as CLIP's; each name is embedded once."""
    known: dict[str, FloatArray] = {}

    def vector_of(name: str) -> FloatArray | None:
        if name not in known:
            known[name] = embedder.embed_texts([prompt_of(name)])[0].astype(np.float64)
        return known[name]

    return vector_of


def _cosine(a: FloatArray | None, b: FloatArray | None) -> float | None:
    if a is None or b is None:
        return None
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else None
