"""Once the object is placed: where the parts of the body that touch it should go, and which way round it is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.protocols import ContactObject, PartPair
from hoirecon.data.body.parts import BodyParts
from hoirecon.errors import InputError
from hoirecon.fitting.body_types import PointTarget
from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

SAMPLES = 500
"""Points on an object part among which a part of the body finds its nearest."""


@dataclass(frozen=True)
class ReachConfig:
    """Settings of :func:`reach_targets`."""

    sigma_m: float = 0.045
    """How exactly touching parts are brought to the object, metres; smaller pulls hands off their landmarks."""
    limit_m: float = 0.3
    """Parts farther than this from the object are not pulled to it: the contact is then more likely wrong."""
    probability: float = 0.5
    """Pairs less sure than this pull nothing."""
    closest: float = 0.25
    """Largest share of a part's vertices, the nearest ones, that is meant to touch; the rest is thickness."""
    band_m: float = 0.02
    """Only vertices at most this much farther than the nearest are meant to touch: a back meets a bar in a line."""

    def __post_init__(self) -> None:
        if not (self.sigma_m > 0 and self.limit_m > 0 and self.band_m > 0 and 0 < self.closest <= 1):
            raise InputError("sigma_m, limit_m and band_m must be positive, and closest a share between 0 and 1")


def reach_targets(
    verts_cam: FloatArray,
    parts: BodyParts,
    obj: ContactObject,
    pose: ObjectPose,
    pairs: Sequence[PartPair],
    config: ReachConfig | None = None,
) -> list[PointTarget]:
    """Where the touching parts of the body should go: each to the nearest points of the object's part.

    Args:
        verts_cam: (V, 3) posed body, metres.
        parts: names of its parts.
        obj: the object.
        pose: where it is.
        pairs: which part touches which.
        config: settings.

    Returns:
        One target per pair that is sure and near enough; for :func:`~hoirecon.fitting.body_fit.refine_body`.
    """
    config = config or ReachConfig()
    found = [
        _target(verts_cam, parts.verts_of(pair.body_part), _part_points(obj, pose, pair), pair, config)
        for pair in pairs
        if pair.probability > config.probability
    ]
    return [target for target in found if target is not None]


def held_way_round(
    verts_cam: FloatArray,
    parts: BodyParts,
    obj: ContactObject,
    pose: ObjectPose,
    pairs: Sequence[PartPair],
    symmetry: FloatArray,
) -> ObjectPose:
    """The pose, among those that look the same, in which named parts lie nearest to what touches them.

    A barbell looks the same end for end, and the fit cannot tell; but its left half is the one in the left hand.

    Args:
        verts_cam: (V, 3) posed body, metres.
        parts: names of its parts.
        obj: the object.
        pose: one of the equivalent poses.
        pairs: which part touches which.
        symmetry: (N, 3, 3) rotations about the object frame's origin that leave the object looking the same, the
            identity first.

    Returns:
        The given pose if nothing is better by more than a millimetre.
    """
    sure = [pair for pair in pairs if pair.object_part in obj.parts]
    if not sure or len(symmetry) < 2:
        return pose
    poses = [ObjectPose(pose.R @ turn, pose.t, pose.s) for turn in symmetry]
    costs = [_gap(verts_cam, parts, obj, candidate, sure) for candidate in poses]
    best = int(np.argmin(costs))
    return poses[best] if costs[best] < costs[0] - 1e-3 else pose


def _gap(
    verts_cam: FloatArray, parts: BodyParts, obj: ContactObject, pose: ObjectPose, pairs: Sequence[PartPair]
) -> float:
    """Mean distance of touching parts' middles, weighted by probability, metres."""
    middles = [
        np.linalg.norm(verts_cam[parts.verts_of(p.body_part)].mean(axis=0) - _part_points(obj, pose, p).mean(axis=0))
        for p in pairs
    ]
    return float(np.average(middles, weights=[p.probability for p in pairs]))


def _part_points(obj: ContactObject, pose: ObjectPose, pair: PartPair) -> FloatArray:
    """(N, 3) points all over a part of the placed object; its vertices alone would miss the middle of flat sides."""
    ids = obj.part_verts(pair.object_part)
    faces = obj.mesh.faces[np.isin(obj.mesh.faces, ids).all(axis=1)]
    points = obj.mesh.verts[ids]
    if len(faces):
        part = Mesh(obj.mesh.verts, faces, pair.object_part)
        points = np.concatenate([points, sample_surface(part, SAMPLES).interpolate(part.verts)])
    return pose.apply(points)


def _target(
    verts_cam: FloatArray, ids: IntArray, part_points: FloatArray, pair: PartPair, config: ReachConfig
) -> PointTarget | None:
    distance, nearest = cKDTree(part_points).query(verts_cam[ids])
    if distance.min() > config.limit_m:
        return None
    within = int((distance < distance.min() + config.band_m).sum())
    close = np.argsort(distance)[: max(5, min(within, round(len(ids) * config.closest)))]
    gaps = part_points[nearest[close]] - verts_cam[ids[close]]
    # The whole patch moves until its nearest point touches; its mean on the surface would push half of it inside.
    share = distance[close].min() / max(distance[close].mean(), 1e-9)
    goal = verts_cam[ids[close]].mean(axis=0) + share * gaps.mean(axis=0)
    return PointTarget(ids[close], np.ones(len(close)), goal, config.sigma_m, f"{pair.body_part} at {pair.object_part}")
