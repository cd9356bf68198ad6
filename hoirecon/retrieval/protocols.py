"""What an encoder of shapes and an encoder of queries must do, so that one index serves any of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray, as_image, as_mask
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.retrieval.surfaces import Surface

Float32Array = npt.NDArray[np.float32]
Shape = Surface | Mesh
"""What is embedded as a shape; y up."""


@dataclass(frozen=True)
class EncoderId:
    """Which encoder made an embedding: only embeddings of one encoder can be compared.

    Example:
        >>> str(EncoderId("openshape-pointbert-vitg14-rgb", 1280, "34949c162aca01b6"))
        'openshape-pointbert-vitg14-rgb (1280-d, weights 34949c162aca)'
    """

    name: str
    """The encoder and, if it has choices, what was chosen."""
    dim: int
    """Width of its embeddings."""
    weights: str
    """SHA-256 of its weights, in hexadecimal (or its first part, at least 12 digits)."""

    def __post_init__(self) -> None:
        if not self.name or self.dim < 1 or not re.fullmatch(r"[0-9a-f]{12,64}", self.weights):
            raise InputError(
                f"an encoder is called {self.name!r}, with {self.dim} values and weights {self.weights!r}: expected a "
                "name, at least one value and at least 12 hexadecimal digits of a hash"
            )

    def __str__(self) -> str:
        return f"{self.name} ({self.dim}-d, weights {self.weights[:12]})"


@dataclass(frozen=True)
class ImageQuery:
    """What is looked for: an object in a photograph, and its name if it is known; or the name alone."""

    image: ByteArray | None = None
    """(H, W, 3) RGB."""
    mask: BoolArray | None = None
    """(H, W) the object's visible pixels; None: all of the image is the object."""
    label: str | None = None
    """Its name, such as "office chair"."""

    def __post_init__(self) -> None:
        if self.image is None and not self.label:
            raise InputError("the query is empty: give an image, a label, or both")
        if self.image is None and self.mask is not None:
            raise InputError("the query has a mask without an image: give the image too")
        if self.image is not None:
            image = as_image(self.image, "image")
            object.__setattr__(self, "image", image)
            if self.mask is not None:
                mask = as_mask(self.mask, image.shape[:2], "mask")
                if not mask.any():
                    raise InputError("the mask is empty: it must hold the object's visible pixels")
                object.__setattr__(self, "mask", mask)


@runtime_checkable
class ShapeEncoder(Protocol):
    """Turns shapes into embeddings."""

    @property
    def encoder_id(self) -> EncoderId:
        """Which encoder this is."""
        ...

    @property
    def rows_per_shape(self) -> int:
        """Embeddings of one shape; a shape's score is its best row's."""
        ...

    def embed_shapes(self, shapes: Sequence[Shape]) -> Float32Array:
        """(S, rows_per_shape, dim) unit vectors."""
        ...


@runtime_checkable
class QueryEncoder(Protocol):
    """Turns queries into embeddings in the same space."""

    @property
    def encoder_id(self) -> EncoderId:
        """Which shape encoder's embeddings these can be compared with."""
        ...

    def embed_queries(self, queries: Sequence[ImageQuery]) -> Float32Array:
        """(Q, dim) unit vectors."""
        ...


@runtime_checkable
class ImageEmbedder(Protocol):
    """Turns images into vectors: any CLIP, SigLIP or DINO."""

    @property
    def encoder_id(self) -> EncoderId:
        """Which model this is."""
        ...

    def embed_images(self, images: Sequence[ByteArray]) -> Float32Array:
        """(N, dim) unit vectors of images (H, W, 3), RGB."""
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """Turns texts into vectors in the space of an image embedder."""

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """(N, dim) unit vectors."""
        ...


def unit_rows(values: Any, what: str) -> Float32Array:
    """Vectors (..., dim) brought to length 1.

    Raises:
        InputError: NaN, infinity, or a vector of length 0.
    """
    array = np.asarray(values, dtype=np.float32)
    norms = np.linalg.norm(array.astype(np.float64), axis=-1, keepdims=True)
    if not np.isfinite(norms).all() or not (norms > 0).all():
        raise InputError(f"{what} holds a vector that is zero, NaN or infinite: it has no direction to compare")
    unit: Float32Array = (array / norms).astype(np.float32)
    return unit


def check_encoder(made_by: EncoderId, asked_by: EncoderId) -> None:
    """Refuse to compare embeddings of two encoders.

    Raises:
        InputError: they are not the same.
    """
    if asked_by != made_by:
        raise InputError(
            f"the index was made by {made_by} and this came from {asked_by}: embeddings of different encoders "
            "cannot be compared; load the index's encoder, or build the index again"
        )
