"""From a photograph, a mask and a name to one vector in the space of an image embedder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoirecon.errors import InputError
from hoirecon.retrieval.crops import BACKGROUNDS, object_square
from hoirecon.retrieval.protocols import Float32Array, ImageEmbedder, ImageQuery, TextEmbedder, unit_rows

PROMPT = "a photo of {article} {label}"
"""How a name is asked for."""


@dataclass(frozen=True)
class QueryConfig:
    """How the parts of a query are put together."""

    backgrounds: tuple[int, ...] = BACKGROUNDS
    """Grey levels on which a masked object is laid; the mean of the embeddings counts."""
    text_weight: float = 0.4
    """Weight of the name's embedding beside the image's, which counts 1."""

    def __post_init__(self) -> None:
        if not self.backgrounds or not all(0 <= level <= 255 for level in self.backgrounds):
            raise InputError(f"backgrounds are {self.backgrounds}, expected at least one grey level in 0..255")
        if not 0 <= self.text_weight < np.inf:
            raise InputError(f"text_weight is {self.text_weight}, expected 0 or more")


def prompt_of(label: str) -> str:
    """The text that is embedded for a name.

    Example:
        >>> prompt_of("rocking_chair"), prompt_of("umbrella")
        ('a photo of a rocking chair', 'a photo of an umbrella')
    """
    words = " ".join(label.replace("_", " ").split())
    return PROMPT.format(article="an" if words[:1].lower() in "aeiou" else "a", label=words)


def query_vectors(
    queries: Sequence[ImageQuery],
    images: ImageEmbedder,
    texts: TextEmbedder | None,
    config: QueryConfig = QueryConfig(),
) -> Float32Array:
    """(Q, dim) unit vectors: the image's plus the weighted name's, so that one product with a shape's scores both.

    Names are left out where no text embedder is there, unless a query has nothing else.

    Raises:
        InputError: a query without an image, and no text embedder.
    """
    total = np.zeros((len(queries), images.encoder_id.dim), np.float32)
    squares, owners = [], []
    for i, query in enumerate(queries):
        if query.image is None:
            continue
        # Without a mask the background only fills up the square, and one is enough.
        for level in config.backgrounds if query.mask is not None else config.backgrounds[:1]:
            squares.append(object_square(query.image, query.mask, level))
            owners.append(i)
    if squares:
        summed = np.zeros_like(total)
        np.add.at(summed, owners, images.embed_images(squares))
        seen = sorted(set(owners))
        total[seen] = unit_rows(summed[seen], "the images' embeddings")
    _add_names(total, queries, texts, config.text_weight)
    return unit_rows(total, "the queries' embeddings") if len(total) else total


def _add_names(
    total: Float32Array, queries: Sequence[ImageQuery], texts: TextEmbedder | None, text_weight: float
) -> None:
    named = [i for i, query in enumerate(queries) if query.label and (text_weight > 0 or query.image is None)]
    if texts is None:
        if any(queries[i].image is None for i in named):
            raise InputError("a query has a label and no image, but this encoder embeds no texts: give an image too")
        return
    if named:
        embedded = texts.embed_texts([prompt_of(queries[i].label or "") for i in named])
        weights = np.array([text_weight if queries[i].image is not None else 1.0 for i in named], np.float32)
        total[named] += weights[:, None] * embedded
