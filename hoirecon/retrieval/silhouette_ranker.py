"""Meshes of the library ranked by the overlap of silhouettes alone: needs no weights, drawn when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.data.objects.library import list_objects, load_object
from hoirecon.errors import InputError
from hoirecon.retrieval.surfaces import Surface

MISSING = 0.5
"""Weight of silhouette pixels that the mask lacks: less than 1, because hands and people may be before the object."""
LONGER = np.float32(0.07)
"""What the overlap loses when the mask's box is taken to be longer, by all of its side, because its end is hidden."""
GUESSES = 4
"""First rotations of each mesh."""


@dataclass(frozen=True)
class SilhouetteMatch:
    """A mesh that fits a mask."""

    name: str
    """Its id in the library."""
    score: float
    """Overlap of its best view with the mask, at most 1."""
    rotations: FloatArray
    """(G, 3, 3) R_cam_obj of its best views, best first."""


@dataclass(frozen=True)
class SilhouetteRanker:
    """A ranker of masks for :class:`~hoirecon.retrieval.galleries.LibraryGallery` without learned parts.

    Every mesh is drawn from 96 sides (24 azimuths, elevations from -2 to 46 degrees), and each view compared with the
    mask over 7 rolls of the camera, both cut to their boxes. Views are kept for the process.
    """

    missing: float = MISSING
    """Weight of silhouette pixels that the mask lacks; 1 is intersection over union."""

    def rank(self, mask: Any, candidates: Sequence[str] | None = None, k: int = 5) -> list[SilhouetteMatch]:
        """The candidates (ids; None: all of the library) that fit a mask best, best first.

        Raises:
            InputError: an empty mask, or k below 1.
        """
        from hoirecon.retrieval.embedded.silhouettes import TEMPLATE_LENGTHS, overlaps, query_silhouettes, rotations_of

        if k < 1:
            raise InputError(f"k is {k}, expected at least 1")
        given = np.asarray(mask, dtype=bool)
        if not given.any():
            raise InputError("the mask is empty: it must hold the object's visible pixels")
        names = [entry.id for entry in list_objects()] if candidates is None else list(candidates)
        if not names:
            return []
        table = overlaps(query_silhouettes(given), np.stack([_silhouettes(name) for name in names]), self.missing)
        table = table - LONGER * TEMPLATE_LENGTHS
        scores = table.max((1, 2))
        order = np.argsort(-scores, kind="stable")[:k]
        return [SilhouetteMatch(names[i], float(scores[i]), rotations_of(table[i], GUESSES)) for i in order]


@lru_cache(maxsize=1024)
def _silhouettes(name: str) -> ByteArray:
    from hoirecon.retrieval.embedded.silhouettes import shape_silhouettes

    return shape_silhouettes(Surface.from_mesh(load_object(name).mesh))
