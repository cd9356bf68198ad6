"""Figures of merit of a placed object: pure functions of arrays, raw (nothing is aligned first)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import FloatArray
from hoirecon.data.objects import Symmetry
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.chamfer import chamfer
from hoirecon.mesh import Mesh


@dataclass(frozen=True)
class Scores:
    """Precision, recall and their harmonic mean; None where they are not defined (nothing touches in truth)."""

    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Interval:
    """A median with its bootstrap interval."""

    median: float
    ci95: tuple[float, float]


def surface_samples(mesh: Mesh, count: int = 1500, seed: int = 0) -> FloatArray:
    """(N, 3) points drawn evenly over the area of a mesh, the same for the same seed."""
    corners = mesh.verts[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not area.sum() > 0:
        raise InputError(f"{mesh.name} has no area: nothing to sample")
    rng = np.random.default_rng(seed)
    # One point in each equal share of the area: less spread than independent draws.
    at = (np.arange(count) + rng.random(count)) / count
    faces = np.minimum(np.searchsorted(np.cumsum(area) / area.sum(), at), len(area) - 1)
    a, b = rng.random((2, count))
    flip = a + b > 1
    a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
    weights = np.stack([1 - a - b, a, b], axis=1)
    points: FloatArray = np.einsum("nk,nkc->nc", weights, corners[faces])
    return points


def chamfer_cm(points: FloatArray, true_points: FloatArray) -> float:
    """Mean of the two one-way mean distances to the nearest point, centimetres; not squared.

    Example:
        >>> round(chamfer_cm(np.zeros((1, 3)), np.array([[0.03, 0.0, 0.04]])), 6)
        5.0
    """
    return 50 * chamfer(points, true_points)


def adds_cm(points: FloatArray, true_points: FloatArray) -> float:
    """ADD-S: mean distance from each true point to the nearest fitted one, centimetres."""
    return float(100 * cKDTree(points).query(true_points)[0].mean())


def rotation_error_deg(R: FloatArray, R_true: FloatArray, symmetry: Symmetry | None = None) -> float:
    """Smallest angle between a rotation and the true one over the object's symmetries, degrees.

    Example:
        >>> quarter = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
        >>> round(rotation_error_deg(quarter, np.eye(3))), round(rotation_error_deg(quarter, np.eye(3),
        ...     Symmetry.parse("y:inf")))
        (90, 0)
    """
    symmetry = symmetry or Symmetry()
    if len(symmetry.continuous) == 3:
        return 0.0
    discrete = Symmetry((), symmetry.discrete).rotations()
    if symmetry.continuous:
        k = "xyz".index(symmetry.continuous[0])
        cosines = (R_true @ discrete)[:, :, k] @ R[:, k]  # only the axis itself can be told
    else:
        cosines = (np.einsum("ij,kij->k", R, R_true @ discrete) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosines.max(), -1.0, 1.0))))


def contact_scores(distance: FloatArray, true_distance: FloatArray, within_m: float = 0.05) -> Scores:
    """Body vertices nearer to the object than a distance, against those that truly are.

    Args:
        distance: (V,) distances of the body's vertices to the fitted object, metres.
        true_distance: (V,) of the true body's to the true object.
        within_m: what counts as contact.
    """
    said, true = distance < within_m, true_distance < within_m
    if not true.any():
        return Scores(None, None, None)
    hits = float((said & true).sum())
    precision, recall = hits / max(int(said.sum()), 1), hits / int(true.sum())
    return Scores(precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0)


def share_below(values: Sequence[float] | FloatArray, limit: float) -> float:
    """Share of values below a limit; of nothing, 0."""
    values = np.asarray(values, dtype=np.float64)
    return float((values < limit).mean()) if len(values) else 0.0


def median_interval(values: Sequence[float] | FloatArray, draws: int = 2000, seed: int = 0) -> Interval | None:
    """Median and the 95 % interval of medians of bootstrap draws; None of nothing."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        return None
    rows = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(np.median(values[rows], axis=1), [0.025, 0.975])
    return Interval(float(np.median(values)), (float(low), float(high)))


def as_json(interval: Interval | None) -> dict[str, Any] | None:
    """An interval as the benchmark's JSON has it, three decimals."""
    if interval is None:
        return None
    return {"median": round(interval.median, 3), "ci95": [round(v, 3) for v in interval.ci95]}
