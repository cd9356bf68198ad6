"""The gallery of views: shapes ranked for a mask, and how the object may be turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray, IntArray
from hoirecon.errors import InputError
from hoirecon.files import read_json, write_json
from hoirecon.retrieval.embedded.encoder import EmbeddedEncoder, checked_mask, load_embedded
from hoirecon.retrieval.embedded.shape_views import ShapeViews
from hoirecon.retrieval.embedded.silhouettes import TEMPLATE_LENGTHS, overlaps, query_silhouettes, rotations_of
from hoirecon.retrieval.embedded.views import Float32Array
from hoirecon.safe_io import read_arrays, write_arrays

LIBRARY = Path(__file__).parent / "weights" / "library.npz"
"""The gallery of the object library that comes with the package."""
LEVELS = 127
"""Embeddings are stored as whole numbers, this for 1; that moves a cosine by about 0.001."""


@dataclass(frozen=True)
class RankWeights:
    """How the parts of a score are put together; chosen on the test's seeds 3 and 4."""

    points: float = 0.1
    """Weight of the cosine with the shape's points, beside that with its nearest view, which counts 1."""
    overlap: float = 2.0
    """Weight of the best silhouette's overlap."""
    missing: float = 0.5
    """Weight, in that overlap, of silhouette pixels that the mask lacks; 1 is intersection over union, less forgives
    what stands before the object."""
    longer: float = 0.07
    """What the overlap loses when the mask's box is taken to be longer by all of its side."""
    rerank: int = 500
    """Shapes whose silhouettes are compared, about 0.2 ms each; others keep their order behind them. The default takes
    all of the library."""


@dataclass(frozen=True)
class RankedShape:
    """A shape that fits a mask."""

    name: str
    """Of the shape; in the library `category/variant`."""
    score: float
    """Higher is better; comparable within one ranking."""
    rotations: FloatArray
    """(G, 3, 3) R_cam_obj, first guesses of how the object is turned, best first; camera x right, y down, z forward."""


@dataclass(frozen=True)
class ViewGallery:
    """Shapes to be ranked."""

    encoder: EmbeddedEncoder
    """What made its embeddings and embeds the queries."""
    shapes: tuple[ShapeViews, ...]
    """What is known of each shape."""
    weights: RankWeights = field(default_factory=RankWeights)
    """How scores are made."""

    def __post_init__(self) -> None:
        if not self.shapes:
            raise InputError("the gallery is empty: give it at least one shape")
        if len(set(self.names)) != len(self.names):
            raise InputError("two shapes of the gallery have the same name: names tell them apart")

    @property
    def names(self) -> list[str]:
        """Of the shapes."""
        return [shape.name for shape in self.shapes]

    def joined(self, other: ViewGallery) -> ViewGallery:
        """The shapes of both, such as the library's and a user's own.

        Raises:
            InputError: the galleries are of different encoders, or share a name.
        """
        if self.encoder.encoder_id != other.encoder.encoder_id:
            raise InputError(f"one gallery is of {self.encoder.encoder_id}, the other of {other.encoder.encoder_id}")
        return ViewGallery(self.encoder, self.shapes + other.shapes, self.weights)

    def rank(
        self, mask: Any, candidates: Sequence[str] | None = None, k: int = 5, normals: Any = None, guesses: int = 4
    ) -> list[RankedShape]:
        """The shapes that fit an object's mask best, best first.

        Args:
            mask: (H, W) the object's visible pixels.
            candidates: names of the shapes to choose among, such as those of the known category; None: all.
            k: how many to give.
            normals: (H, W, 3) in the camera frame, if something estimates them.
            guesses: first rotations of each.

        Raises:
            InputError: an empty mask, no candidates, a name that the gallery does not have, or nothing asked for.
        """
        if k < 1 or guesses < 1:
            raise InputError(f"k is {k} and guesses {guesses}, expected at least 1 of each")
        checked = checked_mask(mask)
        among = self._places(candidates)
        query = self.encoder.encode_query(checked, normals)
        scores, best, overlap = self.scores(query, query_silhouettes(checked), among, with_normals=normals is not None)
        order = np.argsort(-scores, kind="stable")[:k]
        at = {int(place): row for row, place in enumerate(best)}
        found = []
        for i in order:
            table = overlap[at[int(i)]] if int(i) in at else self._overlap(query_silhouettes(checked), among[[i]])[0]
            found.append(RankedShape(self.names[among[i]], float(scores[i]), rotations_of(table, guesses)))
        return found

    def scores(
        self, query: Float32Array, rolled: Any, among: IntArray, with_normals: bool = False
    ) -> tuple[Float32Array, IntArray, Float32Array]:
        """Scores (C,) of some shapes, which of them were compared by silhouettes (R,), and how those overlap (R, V, T).

        Args:
            query: (D,) embedding.
            rolled: its mask's silhouettes, of :func:`~hoirecon.retrieval.embedded.silhouettes.query_silhouettes`.
            among: (C,) places of the shapes in the gallery.
            with_normals: whether the query knows its normals.
        """
        views = (self._by_normals if with_normals else self._by_mask)[among]
        learned = (views @ query).max(1) + self.weights.points * (self._by_points[among] @ query)
        compared = self.weights.rerank if self.weights.overlap else 0
        best = np.argsort(-learned, kind="stable")[:compared]
        overlap = self._overlap(rolled, among[best])
        scores = learned - 2 * self.weights.overlap  # behind all that were compared, whose overlap is hardly below 0
        scores[best] = learned[best] + self.weights.overlap * overlap.max((1, 2))
        return scores, best, overlap

    def _overlap(self, rolled: Any, places: IntArray) -> Float32Array:
        found = overlaps(rolled, self._silhouettes[places], self.weights.missing)
        return found - np.float32(self.weights.longer) * TEMPLATE_LENGTHS

    def _places(self, candidates: Sequence[str] | None) -> IntArray:
        if candidates is None:
            return np.arange(len(self.shapes))
        unknown = [name for name in candidates if name not in self._place_of]
        if unknown or not candidates:
            raise InputError(f"the gallery has no shape {unknown[:3]}" if unknown else "there are no candidates")
        return np.array([self._place_of[name] for name in candidates])

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def _by_mask(self) -> Float32Array:
        return np.stack([shape.by_mask for shape in self.shapes])

    @cached_property
    def _by_normals(self) -> Float32Array:
        return np.stack([shape.by_normals for shape in self.shapes])

    @cached_property
    def _by_points(self) -> Float32Array:
        return np.stack([shape.by_points for shape in self.shapes])

    @cached_property
    def _silhouettes(self) -> ByteArray:
        return np.stack([shape.silhouettes for shape in self.shapes])


def rank(mask: Any, candidates: Sequence[str] | None = None, k: int = 5, normals: Any = None) -> list[RankedShape]:
    """The object library's meshes that fit an object's mask best; see :meth:`ViewGallery.rank`.

    Example:
        hits = rank(mask, [entry.id for entry in list_objects("chair")])
        mesh = load_object(hits[0].name).mesh
    """
    return library_gallery().rank(mask, candidates, k, normals)


@cache
def library_gallery() -> ViewGallery:
    """The gallery of the object library, from the file that comes with the package.

    Raises:
        InputError: the file belongs to other weights than those beside it.
    """
    return read_gallery(LIBRARY, load_embedded())


def write_gallery(shapes: Sequence[ShapeViews], encoder: EmbeddedEncoder, path: Path) -> None:
    """Write shapes as a compressed npz, with their names and the encoder's hash beside it as JSON."""
    arrays = {
        name: np.round(LEVELS * np.stack([getattr(shape, name) for shape in shapes])).astype(np.int8)
        for name in ("by_mask", "by_normals", "by_points")
    }
    write_arrays(arrays | {"silhouettes": np.stack([shape.silhouettes for shape in shapes])}, path)
    names = [shape.name for shape in shapes]
    write_json(
        path.with_suffix(".json"),
        {"encoder": str(encoder.encoder_id), "weights": encoder.weights_sha256, "names": names},
    )


def read_gallery(path: Path, encoder: EmbeddedEncoder) -> ViewGallery:
    """A gallery from the files of :func:`write_gallery`.

    Raises:
        InputError: missing or damaged, or made by another encoder.
    """
    about = read_json(path.with_suffix(".json"))
    if about["weights"] != encoder.weights_sha256:
        raise InputError(f"{path.name} was made by {about['encoder']}, not by {encoder.encoder_id}: make it again")
    arrays = read_arrays(path.read_bytes(), path.name, max_bytes=256 << 20)
    by = {name: _unit(arrays[name]) for name in ("by_mask", "by_normals", "by_points")}
    shapes = [
        ShapeViews(name, by["by_mask"][i], by["by_normals"][i], by["by_points"][i], arrays["silhouettes"][i])
        for i, name in enumerate(about["names"])
    ]
    return ViewGallery(encoder, tuple(shapes))


def _unit(levels: Any) -> Float32Array:
    values = levels.astype(np.float32)
    unit: Float32Array = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-9)
    return unit
