"""Chamfer distance with its conventions said, the floor that sampling sets, and the exact distance of surfaces."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import as_floats
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.sampling import sample_surface, seed_of, surface_area, surface_distance

Directions = Literal["sum", "mean"]
"""Whether the two one-way means are added, as the field does, or averaged."""


def chamfer(points: Any, true_points: Any, directions: Directions = "sum") -> float:
    """Chamfer distance of two clouds: mean distance to the nearest point, one way and back; not squared.

    Args:
        points: (N, 3).
        true_points: (M, 3).
        directions: ``sum`` (CHORE, CONTHO, RHOBIN), or ``mean``, which is half of it.

    Returns:
        In the unit of the points.

    Example:
        >>> chamfer([[0.0, 0, 0]], [[3.0, 0, 4]]), chamfer([[0.0, 0, 0]], [[3.0, 0, 4]], "mean")
        (10.0, 5.0)
    """
    a, b = _cloud(points, "points"), _cloud(true_points, "true points")
    there, back = float(cKDTree(b).query(a)[0].mean()), float(cKDTree(a).query(b)[0].mean())
    return _joined(there, back, directions)


def sampled_chamfer(
    verts: Any,
    faces: Any,
    true_verts: Any,
    true_faces: Any,
    count: int = 6000,
    *,
    sample: str = "",
    part: str = "",
    directions: Directions = "sum",
) -> float:
    """Chamfer distance of points drawn independently from both surfaces, the field's way but with a seed.

    A perfect prediction does not score 0 but :func:`chamfer_floor`.

    Args:
        verts: (V, 3) metres.
        faces: (F, 3).
        true_verts: (W, 3) metres.
        true_faces: (G, 3).
        count: points on each; CONTHO and RHOBIN take 6,000, CHORE 10,000.
        sample: id of the sample; with `part` it sets the seeds.
        part: e.g. ``human``.
        directions: see :func:`chamfer`.

    Returns:
        Metres.
    """
    ours = sample_surface(verts, faces, count, seed_of(sample, f"{part} prediction"))
    theirs = sample_surface(true_verts, true_faces, count, seed_of(sample, f"{part} truth"))
    return chamfer(ours, theirs, directions)


def chamfer_floor(area: float, count: int, directions: Directions = "sum") -> float:
    """What :func:`sampled_chamfer` gives in expectation for two equal surfaces, metres.

    The nearest of points strewn independently with density d lies 1 / (2 sqrt d) away on average in the plane; both
    ways, that is 1 / sqrt d.

    Args:
        area: square metres.
        count: points on each surface.
        directions: see :func:`chamfer`.

    Example:
        >>> round(100 * chamfer_floor(1.9, 6000), 2)  # a body at CONTHO's sampling, centimetres
        1.78
    """
    if not (area > 0 and count > 0):
        raise InputError(f"a floor needs area and points, got {area} square metres and {count}")
    one_way = 0.5 * float(np.sqrt(area / count))
    return _joined(one_way, one_way, directions)


def surface_chamfer(
    verts: Any,
    faces: Any,
    true_verts: Any,
    true_faces: Any,
    count: int = 3000,
    *,
    sample: str = "",
    part: str = "",
    directions: Directions = "mean",
) -> float:
    """Chamfer distance with exact distances: points drawn on one surface, measured to the other one's triangles.

    A perfect prediction scores 0 to rounding; sampling only averages over the surface.

    Args:
        verts: (V, 3) metres.
        faces: (F, 3).
        true_verts: (W, 3).
        true_faces: (G, 3).
        count: points on each.
        sample: id of the sample, for the seeds.
        part: e.g. ``human``.
        directions: ``mean`` reads as "how far apart are the surfaces"; ``sum`` compares with sampled figures.

    Returns:
        Metres.
    """
    ours = sample_surface(verts, faces, count, seed_of(sample, f"{part} prediction"))
    theirs = sample_surface(true_verts, true_faces, count, seed_of(sample, f"{part} truth"))
    there = float(surface_distance(ours, true_verts, true_faces).mean())
    back = float(surface_distance(theirs, verts, faces).mean())
    return _joined(there, back, directions)


def floor_of(true_verts: Any, true_faces: Any, count: int, directions: Directions = "sum") -> float:
    """The floor for one true surface, metres."""
    return chamfer_floor(surface_area(true_verts, true_faces), count, directions)


def _joined(there: float, back: float, directions: Directions) -> float:
    if directions not in ("sum", "mean"):
        raise InputError(f"directions are 'sum' or 'mean', got {directions!r}")
    return there + back if directions == "sum" else (there + back) / 2


def _cloud(points: Any, name: str) -> Any:
    cloud = as_floats(points, ("N", 3), name)
    if len(cloud) == 0:
        raise InputError(f"{name} are empty: a Chamfer distance needs at least one point on either side")
    return cloud
