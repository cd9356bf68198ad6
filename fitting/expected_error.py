"""How far off is the chosen pose? From every pose that the search ended with, and from the chosen one's covariance.

A search ends with some thirty poses, each a minimum of the same objective. Softened, their energies say how likely each
of them is the true one, and their distances from the chosen pose how far off that one then is. A few polished
runners-up tell less: many poses a little worse than the best are as good a reason to doubt it as one that is equal. On
tuning scenes at L2 this one number tells failures from successes better than the runners-up's odds did, and neither
contact residuals, sizes, overlaps nor poses mirrored in depth added to it (docs/closedworld.md).

The hypotheses of a joint fit are asked likewise. A frame of a video is judged by its own search, not by its neighbours.

Distances are between the surfaces as they lie in space: poses of a symmetric thing that look the same are no doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.errors import InputError
from hoirecon.pose import ObjectPose

OWN_SPREAD = 0.7
"""Share of the curvature's spread that is added to each pose's distance. Less than all of it, as poses that the search
found along the same valley tell of that spread too."""
LARGEST_TURN, LARGEST_GROWTH = 1.0, 1.0
"""Steps of the covariance are taken to be no larger, radians and log scale: what no term sees has a huge variance."""


@dataclass(frozen=True)
class ExpectedError:
    """What the evidence says of the error of a pose: the distance of its surface from the true one, both ways."""

    error_m: float
    """Expected distance, metres."""
    chance_far: float
    """Chance, 0..1, that the distance is more than a limit."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Points of an object for distances between poses."""

    samples_obj: FloatArray
    """(N, 3) dense points of the surface, in the frame of the mesh as given, metres."""
    probe_obj: FloatArray
    """(P, 3) fewer points of it, spread out."""
    centre_obj: FloatArray
    """(3,) what the covariance's turns are about: the centre of the mesh's bounding box."""

    @cached_property
    def tree(self) -> cKDTree:
        """Of the dense points."""
        return cKDTree(self.samples_obj)

    def distance(self, one: ObjectPose, other: ObjectPose) -> float:
        """Mean distance of each posed surface to the nearest points of the other, both ways on average, metres."""
        return (self._one_way(one, other) + self._one_way(other, one)) / 2

    def _one_way(self, one: ObjectPose, other: ObjectPose) -> float:
        seen = (one.apply(self.probe_obj) - other.t) @ other.R / other.s  # in the frame of the other one's mesh
        return float(other.s * self.tree.query(seen)[0].mean())


def own_spread_m(pose: ObjectPose, covariance: FloatArray, surface: Surface) -> float:
    """How far the surface moves by one sigma of a pose's covariance: root of the sum over its axes of the mean square
    of the distances a step along the axis and back gives, metres.

    Args:
        pose: the pose.
        covariance: (7, 7) of a step about it: turn about the centre, shift, log scale; radians, metres, camera axes.
        surface: the object's points.

    Raises:
        InputError: the covariance is not one.
    """
    cov = as_floats(covariance, (7, 7), "the covariance of a pose")
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    steps = (vectors * np.sqrt(values.clip(0))).T
    squared = [surface.distance(pose, moved(pose, way * step, surface.centre_obj)) ** 2
               for step in steps for way in (1, -1)]  # fmt: skip
    return float(np.sqrt(sum(squared) / 2))


def moved(pose: ObjectPose, step: FloatArray, centre_obj: FloatArray) -> ObjectPose:
    """A pose after a step (7,) as :class:`~hoirecon.fitting.object_state.ObjectState` counts them: turn about the
    object's centre, shift, growth about the centre; turn and growth shortened to what is meant to be a small step."""
    turn = step[:3] * min(1.0, LARGEST_TURN / max(float(np.linalg.norm(step[:3])), 1e-12))
    grow = float(np.exp(np.clip(step[6], -LARGEST_GROWTH, LARGEST_GROWTH)))
    R, s = Rotation.from_rotvec(turn).as_matrix() @ pose.R, pose.s * grow
    return ObjectPose(R, pose.apply(centre_obj[None])[0] + step[3:6] - s * R @ centre_obj, s)


def likelihoods(energies: FloatArray | Sequence[float], temperature: float) -> FloatArray:
    """(K,) share of each pose: exp(-energy / temperature), summing to one.

    Args:
        energies: (K,) squared sigmas; what is not finite counts as impossible.
        temperature: gap that makes a pose e times less likely; 2 if the energy were an exact chi-square.

    Raises:
        InputError: no energy is finite, or the temperature is not positive.
    """
    value = np.asarray(energies, dtype=np.float64)
    if not temperature > 0:
        raise InputError(f"the temperature that softens energies is positive, got {temperature}")
    if value.ndim != 1 or not np.isfinite(value).any():
        raise InputError("the poses' energies are a list of numbers, one of them finite: there is nothing to weigh")
    gaps = np.where(np.isfinite(value), value - value[np.isfinite(value)].min(), np.inf)
    weight = np.exp(-gaps / temperature)
    return np.asarray(weight / weight.sum())


def chances_far(distances: FloatArray, spread: float, limit: float) -> FloatArray:
    """(K,) chance that a surface whose distance is d, and that moves by ``spread`` besides, is farther than a limit.

    P(d^2 + (spread x)^2 > limit^2) for normal x: 1 for d beyond the limit, else
    erfc(sqrt(limit^2 - d^2) / (sqrt(2) spread)). Grows with the distance and with the spread.

    Args:
        distances: (K,) metres.
        spread: metres.
        limit: metres.
    """
    short = np.sqrt(np.maximum(limit**2 - np.square(distances), 0.0))
    return np.asarray(np.where(distances >= limit, 1.0, erfc(short / (sqrt(2) * max(spread, 1e-9)))))


def expected_error(
    energies: FloatArray | Sequence[float],
    distances: FloatArray | Sequence[float],
    spread: float,
    temperature: float,
    limit: float,
) -> ExpectedError:
    """What poses and their energies say of the error of the chosen one.

    Args:
        energies: (K,) of the poses, the chosen one or one near it among them, squared sigmas.
        distances: (K,) of each from the chosen one, metres.
        spread: one sigma of the motion of the chosen one's surface, metres (:func:`own_spread_m`).
        temperature: energy gap in squared sigmas that makes a pose e times less likely.
        limit: metres.

    Raises:
        InputError: lists of different lengths, NaN or negative distances, nothing to weigh.

    Example:
        >>> two = expected_error([3.0, 3.0], [0.0, 0.2], 0.0, 6.0, 0.05)  # two poses 20 cm apart, equally good
        >>> round(two.error_m, 3), round(two.chance_far, 3)
        (0.1, 0.5)
    """
    weight, d = likelihoods(energies, temperature), np.asarray(distances, dtype=np.float64)
    if d.shape != weight.shape or not np.isfinite(d).all() or (d < 0).any():
        raise InputError(f"each of the {len(weight)} poses needs its distance in metres, 0 or more, got {d.shape}")
    if not (np.isfinite(spread) and spread >= 0):
        raise InputError(f"the spread of a pose is in metres, 0 or more, got {spread}")
    own = OWN_SPREAD * spread
    return ExpectedError(float(weight @ np.hypot(d, own)), float(weight @ chances_far(d, own, limit)))


def is_ambiguous(chance: float, odds: float) -> bool:
    """Whether chance to one less chance is more than some odds."""
    return chance > odds * (1 - chance)


@dataclass(frozen=True)
class Opinion:
    """Poses that a stage of the fit ended with."""

    found: Sequence[tuple[ObjectPose, float]]
    """Each with its energy, squared sigmas."""
    temperature: float
    """Energy gap that makes a pose e times less likely."""


def error_of(
    pose: ObjectPose, opinions: Sequence[Opinion], covariance: FloatArray, surface: Surface, limit: float
) -> ExpectedError:
    """The expected error of a pose: the larger that any of several stages says, with the pose's covariance.

    Energies of different stages do not compare, and what one stage rules out another may not.

    Args:
        pose: the chosen one.
        opinions: of one stage or several, on the same object.
        covariance: (7, 7) of the chosen pose, as :func:`own_spread_m` takes it.
        surface: the object's points.
        limit: metres.

    Raises:
        InputError: as of :func:`expected_error` and :func:`own_spread_m`; no opinion at all.
    """
    if not opinions:
        raise InputError("the error of a pose is expected from the poses that a search found: give at least its own")
    spread, said = own_spread_m(pose, covariance, surface), []
    for one in opinions:
        distances = [surface.distance(pose, other) for other, _ in one.found]
        said.append(expected_error([e for _, e in one.found], distances, spread, one.temperature, limit))
    return ExpectedError(max(e.error_m for e in said), max(e.chance_far for e in said))
