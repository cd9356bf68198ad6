"""Shapes by their pictures: any image encoder becomes a shape encoder, without a gap between photograph and shape."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.errors import InputError
from hoirecon.retrieval.protocols import (
    EncoderId,
    Float32Array,
    ImageEmbedder,
    ImageQuery,
    Shape,
    TextEmbedder,
    unit_rows,
)
from hoirecon.retrieval.query_vectors import QueryConfig, query_vectors
from hoirecon.retrieval.surfaces import Surface, as_surface
from hoirecon.retrieval.view_rendering import ViewSet, render_views

Renderer = Callable[[Surface, ViewSet], ByteArray]
"""Pictures (V, H, W, 3) of a surface."""


@dataclass(frozen=True)
class ViewGalleryEncoder:
    """Encoder of shapes and of queries by one image embedder.

    A shape is drawn from several sides and each picture embedded. With "mean" a shape is one vector; with "max" it is
    one for each view, the nearest of which counts and says from where the object is seen.

    Example:
        encoder = ViewGalleryEncoder(ClipTowers.from_folder("clip-vit-base-patch32"), pooling="max")
    """

    embedder: ImageEmbedder
    """What embeds pictures; names too, if it has ``embed_texts``."""
    views: ViewSet = field(default_factory=ViewSet)
    """From where shapes are drawn."""
    pooling: Literal["mean", "max"] = "mean"
    """What counts of a shape's views."""
    query: QueryConfig = field(default_factory=QueryConfig)
    """How image and name are put together."""
    renderer: Renderer = render_views
    """What draws the pictures."""

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "max"):
            raise InputError(f"pooling is {self.pooling!r}, expected 'mean' or 'max'")

    @property
    def encoder_id(self) -> EncoderId:
        """The embedder's, with the views and the pooling."""
        inner = self.embedder.encoder_id
        choice = f"{self.views.key}-{self.pooling}"
        weights = hashlib.sha256(f"{inner.weights} {choice}".encode()).hexdigest()
        return EncoderId(f"{inner.name}+{choice}", inner.dim, weights)

    @property
    def rows_per_shape(self) -> int:
        """One, or one for each view."""
        return 1 if self.pooling == "mean" else len(self.views)

    @property
    def row_rotations(self) -> FloatArray | None:
        """(V, 3, 3) R_cam_source that each row of a shape was drawn with; None if views are averaged."""
        return None if self.pooling == "mean" else self.views.rotations()

    def embed_shapes(self, shapes: Sequence[Shape]) -> Float32Array:
        """(S, 1 or V, dim) unit vectors of meshes, y up."""
        rows = np.zeros((len(shapes), self.rows_per_shape, self.embedder.encoder_id.dim), np.float32)
        for i, shape in enumerate(shapes):  # one after the other: the pictures of many shapes would fill the memory
            pictures = self.renderer(as_surface(shape), self.views)
            if pictures.ndim != 4 or len(pictures) != len(self.views):
                raise InputError(
                    f"the renderer gave pictures of shape {pictures.shape}, expected ({len(self.views)}, H, W, 3)"
                )
            embedded = self.embedder.embed_images(list(pictures))
            rows[i] = embedded.mean(0, keepdims=True) if self.pooling == "mean" else embedded
        return unit_rows(rows, "the views' embeddings") if len(rows) else rows

    def embed_queries(self, queries: Sequence[ImageQuery]) -> Float32Array:
        """(Q, dim) unit vectors."""
        texts = self.embedder if isinstance(self.embedder, TextEmbedder) else None
        return query_vectors(queries, self.embedder, texts, self.query)
