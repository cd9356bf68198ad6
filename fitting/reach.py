"""Once the object is placed: which way round it is held, where several ways look the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.contact.protocols import ContactObject, PartPair
from hoirecon.data.body.parts import BodyParts
from hoirecon.errors import InputError
from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

SAMPLES = 500
"""Points on an object part among which a part of the body finds its nearest."""


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
        pairs: which part touches which; what body or object do not have, and what surely does not touch, says nothing.
        symmetry: (N, 3, 3) rotations about the object frame's origin that leave the object looking the same, the
            identity first.

    Returns:
        The given pose if nothing is better by more than a millimetre.
    """
    sure = [p for p in pairs if p.object_part in obj.parts and p.probability > 0 and _has(parts, p.body_part)]
    if not sure or len(symmetry) < 2:
        return pose
    poses = [ObjectPose(pose.R @ turn, pose.t, pose.s) for turn in symmetry]
    costs = [_gap(verts_cam, parts, obj, candidate, sure) for candidate in poses]
    best = int(np.argmin(costs))
    return poses[best] if costs[best] < costs[0] - 1e-3 else pose


def _has(parts: BodyParts, name: str) -> bool:
    try:
        return bool(parts.expand(name))
    except InputError:  # of another body
        return False


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
