"""What person and object do to each other: contact by distance, and how far one runs into the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import BoolArray, FloatArray, as_floats
from hoirecon.data.objects.signed_distance import inside_by_vote, inside_depth, ray_scene
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.sampling import surface_distance
from hoirecon.mesh import Mesh

CONTACT_WITHIN_M = {"5mm": 0.005, "2cm": 0.02, "5cm": 0.05}
"""Distances at which bodies count as touching: the closed world's, BEHAVE's own, CONTHO's."""
VOLUME_SPACING_M = 0.01
"""Cells of the volume that two meshes share: a cubic centimetre."""


@dataclass(frozen=True)
class Penetration:
    """How far a body runs into an object."""

    max_m: float
    """Greatest depth of a body vertex below the object's surface, metres."""
    mean_m: float
    """Mean depth of the body's vertices inside; 0 if none is."""
    share_inside: float
    """Of all body vertices."""
    volume_m3: float
    """Shared volume, counted in cubes."""
    watertight: bool
    """Whether the object is closed. If not, inside is what most of six directions see: holes are bridged, and an open
    shell may count as full or as empty."""


def contact_distance(
    body_verts: Any, object_verts: Any, object_faces: Any, to: Literal["surface", "verts"] = "surface"
) -> FloatArray:
    """(V,) unsigned distance of body vertices to the object, metres; a vertex deep inside is far from it, too.

    Args:
        body_verts: (V, 3) metres.
        object_verts: (W, 3) metres, same frame.
        object_faces: (F, 3); not read for ``verts``.
        to: ``surface`` is exact; ``verts`` is CONTHO's and depends on how fine the template is.
    """
    if to == "verts":
        points = as_floats(object_verts, ("W", 3), "object vertices")
        return np.asarray(cKDTree(points).query(as_floats(body_verts, ("V", 3), "body vertices"))[0], dtype=np.float64)
    return surface_distance(body_verts, object_verts, object_faces)


def contact_within(
    body_verts: Any,
    object_mesh: Mesh,
    within_m: float,
    to: Literal["surface", "verts"] = "surface",
    inside_counts: bool = False,
) -> BoolArray:
    """(V,) which body vertices touch an object.

    Args:
        body_verts: (V, 3) metres.
        object_mesh: same frame.
        within_m: nearer counts, equal does not.
        to: see :func:`contact_distance`.
        inside_counts: whether any vertex inside counts however deep, as in BEHAVE's signed distance < 2 cm.
    """
    if not within_m > 0:
        raise InputError(f"contact needs a distance above 0, got {within_m}")
    touches: BoolArray = contact_distance(body_verts, object_mesh.verts, object_mesh.faces, to) < within_m
    if inside_counts:
        touches |= inside_depth(object_mesh, np.asarray(body_verts, dtype=np.float64)) > 0
    return touches


def share_inside(body_verts: Any, object_mesh: Mesh) -> float:
    """Share of body vertices inside the object: the collision of ScoreHOI and TeHOR.

    Raises:
        MissingExtraError: open3d is not installed.
    """
    verts = as_floats(body_verts, ("V", 3), "body vertices")
    return float((inside_depth(object_mesh, verts) > 0).mean())


def penetration(body: Mesh, object_mesh: Mesh, spacing_m: float = VOLUME_SPACING_M) -> Penetration:
    """Depth, share and volume of a body inside an object.

    Args:
        body: same frame as the object, metres.
        object_mesh: inside is what most of six directions see, so that small holes do not matter.
        spacing_m: edge of the cubes that count the volume; its error is about half a cube over the shared surface.

    Raises:
        MissingExtraError: open3d is not installed.
    """
    depth = inside_depth(object_mesh, body.verts)
    inside = depth > 0
    return Penetration(
        float(depth.max()),
        float(depth[inside].mean()) if inside.any() else 0.0,
        float(inside.mean()),
        shared_volume(body, object_mesh, spacing_m),
        object_mesh.is_watertight,
    )


def shared_volume(one: Mesh, other: Mesh, spacing_m: float = VOLUME_SPACING_M) -> float:
    """Volume inside both meshes, cubic metres, by cubes whose centres are inside both."""
    low = np.maximum(one.verts.min(0), other.verts.min(0))
    high = np.minimum(one.verts.max(0), other.verts.max(0))
    if not (high > low).all():
        return 0.0
    counts = np.maximum(np.ceil((high - low) / spacing_m).astype(int), 1)
    steps = (high - low) / counts
    axes = [low[k] + steps[k] * (np.arange(counts[k]) + 0.5) for k in range(3)]
    both = inside_by_vote(ray_scene(one), one, axes) & inside_by_vote(ray_scene(other), other, axes)
    return float(both.sum() * np.prod(steps))
