"""Regions of the body, so that contact of hands, feet or the seat has figures of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import BoolArray, FloatArray, IntArray, as_floats
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.counts import Counts, same_size

if TYPE_CHECKING:
    from hoirecon.data.body.parts import BodyParts

_SIDES = ("left_", "right_")
_FINGERS = ("thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger")
_MIDDLE: Mapping[str, tuple[str, ...]] = {
    "head": ("head", "face", "neck_front", "neck_back"),
    "torso": ("chest", "belly", "upper_back", "lower_back", "pelvis"),
}
_SIDED: Mapping[str, tuple[str, ...]] = {
    "head": ("ear",),
    "arms": ("shoulder", "upper_arm", "elbow", "forearm"),
    "hands": ("palm", "hand_back", *_FINGERS),
    "seat": ("buttock", "thigh_back"),
    "legs": ("hip", "thigh_front", "knee", "shin", "calf"),
    "feet": ("foot_top", "sole", "toes"),
}
REGIONS = ("head", "torso", "arms", "hands", "seat", "legs", "feet")
"""Names, from the top down. The seat is buttocks and the backs of the thighs: what chairs and saddles touch."""


def parts_of_region(name: str) -> tuple[str, ...]:
    """The body's parts that a region is made of; every part belongs to one region.

    Example:
        >>> parts_of_region("seat")
        ('left_buttock', 'left_thigh_back', 'right_buttock', 'right_thigh_back')
    """
    if name not in REGIONS:
        raise InputError(f"no region is called '{name}': there are {', '.join(REGIONS)}")
    sided = tuple(f"{side}{part}" for side in _SIDES for part in _SIDED.get(name, ()))
    return (*_MIDDLE.get(name, ()), *sided)


@dataclass(frozen=True)
class BodyRegions:
    """Which vertex of a body belongs to which region."""

    ids: IntArray
    """(V,) index into :data:`REGIONS`; -1 for none."""
    approximate: bool = False
    """Whether borders are a vertex or two off, as they were carried over from another mesh."""

    @property
    def num_verts(self) -> int:
        """Vertices of the body."""
        return len(self.ids)

    @classmethod
    def of_parts(cls, parts: BodyParts) -> BodyRegions:
        """Regions of a body whose parts are known (``model.parts``)."""
        region_of = {part: k for k, name in enumerate(REGIONS) for part in parts_of_region(name)}
        table = np.array([region_of.get(part, -1) for part in parts.names], dtype=np.int64)
        return cls(table[np.asarray(parts.ids)], parts.approximate)

    def carried_to(self, verts: Any, other_verts: Any) -> BodyRegions:
        """The same regions on another mesh of the same shape in the same pose: each vertex takes its nearest one's.

        Args:
            verts: (V, 3) of this body, metres.
            other_verts: (W, 3) of the other.
        """
        here = as_floats(verts, (self.num_verts, 3), "vertices")
        nearest = cKDTree(here).query(as_floats(other_verts, ("W", 3), "other vertices"))[1]
        return BodyRegions(self.ids[nearest], True)

    def mask_of(self, name: str) -> BoolArray:
        """(V,) True on the vertices of a region."""
        if name not in REGIONS:
            raise InputError(f"no region is called '{name}': there are {', '.join(REGIONS)}")
        return np.asarray(self.ids == REGIONS.index(name))


def region_counts(predicted: BoolArray, true: BoolArray, regions: BodyRegions) -> Counts:
    """Counts of each region, (R,) in the order of :data:`REGIONS`.

    Args:
        predicted: (V,) bool.
        true: (V,) bool.
        regions: of the same body.

    Raises:
        InputError: different numbers of vertices.
    """
    same_size(predicted, true)
    if len(true) != regions.num_verts:
        raise InputError(f"the maps have {len(true)} vertices, the body whose regions are known {regions.num_verts}")
    known = regions.ids >= 0

    def per_region(which: BoolArray) -> FloatArray:
        return np.bincount(regions.ids[which & known], minlength=len(REGIONS)).astype(np.float64)

    return Counts(per_region(predicted & true), per_region(predicted), per_region(true))
