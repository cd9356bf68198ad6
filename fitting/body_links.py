"""What contact with one object says about the body alone: parts that touch it cannot be far apart.

A hand that holds a telephone to the ear is near the ear, wherever the telephone turns out to be. Landmarks of one
photograph know the hand's depth poorly, so this is worth having before the object's pose is known.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.interactions import group_of
from hoirecon.contact.protocols import ContactEstimate, ContactObject, PartPair
from hoirecon.data.body.model import BodyModel
from hoirecon.fitting.body_types import BodyLine, BodyLink

SLACK_M = 0.04
"""Flesh between a part's middle and its skin, and the object's own size being a guess, metres."""
LEAST_PROBABILITY = 0.4
"""Pairs less sure than this say nothing."""
SIGMA_M = 0.02
"""Noise of a link whose contact is certain and whose object's size is known, metres."""
LIMB_ENDS = ("_hand", "_foot")
FIST_M = 0.04
"""What is thicker than this is held with open hands, not in a fist, metres."""
SAMPLES = 60
"""Vertices of an object part that are looked at."""


def contact_links(
    estimate: ContactEstimate, obj: ContactObject, model: BodyModel, *, scale: float | None = None
) -> list[BodyLink]:
    """Links between all parts of the body (a hand counts as one) that probably touch the object.

    Two parts may be as far apart as nine tenths of all pairs of points on their object parts are, plus
    :data:`SLACK_M`. One of the two is a hand or foot: what trunk and head may do among themselves is known. A link
    is as loose as the object's size is uncertain, and looser the less sure either contact is.

    Args:
        estimate: contact of the body with the object.
        obj: the object; its parts say how far apart they are.
        model: body model of the estimate.
        scale: true size over the mesh's own; None takes the category's usual size, or 1.
    """
    size = _usual_scale(obj) if scale is None else scale
    spread = 0.0 if scale is not None or obj.category is None else obj.category.size_log_sigma
    best = _surest(estimate, model)
    links = []
    for one, two in combinations(sorted(best), 2):
        if not (one.endswith(LIMB_ENDS) or two.endswith(LIMB_ENDS)):
            continue
        at_most = _apart(_sample(obj, best[one]), _sample(obj, best[two])) * size + SLACK_M
        sure = best[one].probability * best[two].probability
        sigma = float(np.hypot(SIGMA_M, (at_most - SLACK_M) * spread)) / sure
        ends = (_verts(estimate, model, one), _verts(estimate, model, two))
        links.append(BodyLink(*ends, at_most, f"{one}-{two}", sigma))
    return links


def contact_lines(estimate: ContactEstimate, obj: ContactObject, model: BodyModel) -> list[BodyLine]:
    """A line through both hands and the part of the trunk between them that probably touch one straight, thin thing.

    A bar on the shoulders is straight, so hands and nape are in one line; landmarks of one photograph do not say so.
    """
    best = _surest(estimate, model)
    hands = [voter for voter in ("left_hand", "right_hand") if voter in best]
    trunk = [voter for voter in best if not voter.endswith(LIMB_ENDS)]
    if len(hands) < 2 or not trunk or not _is_straight(obj, [best[v].object_part for v in (*hands, *trunk)]):
        return []
    middle = np.unique(np.concatenate([_verts(estimate, model, voter) for voter in trunk]))
    first, last = (_verts(estimate, model, voter) for voter in hands)
    return [BodyLine(first, middle, last, f"{hands[0]}-{'+'.join(trunk)}-{hands[1]}")]


def grip_of(estimate: ContactEstimate, obj: ContactObject, model: BodyModel) -> dict[str, float]:
    """How far each hand closes before the object's pose is known: a fist round a bar, none round a tablet, 0 to 1."""
    best = _surest(estimate, model)
    grip = {}
    for side, surely in estimate.hand_grip.items():
        pair = best.get(f"{side}_hand")
        grip[side] = surely if pair is None or _thickness(obj, pair) < FIST_M else 0.0
    return grip


def _thickness(obj: ContactObject, pair: PartPair) -> float:
    """Second longest extent of the part that is touched, metres at the usual size."""
    points = obj.mesh.verts[obj.part_verts(pair.object_part)]
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return float(np.sort(np.ptp(points @ axes.T, axis=0))[1]) * _usual_scale(obj)


def _surest(estimate: ContactEstimate, model: BodyModel) -> dict[str, PartPair]:
    """Voter -> its most probable pair, if probable at all."""
    best: dict[str, PartPair] = {}
    for pair in estimate.pairs:
        if pair.probability >= LEAST_PROBABILITY and pair.body_part in model.parts.names:
            best.setdefault(group_of(pair.body_part), pair)
    return best


def _is_straight(obj: ContactObject, parts: list[str]) -> bool:
    """Whether those parts of the object together are at least ten times as long as thick."""
    points = obj.mesh.verts[np.unique(np.concatenate([obj.part_verts(part) for part in parts]))]
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[0] > 10 * spread[1])


def _usual_scale(obj: ContactObject) -> float:
    longest = float(obj.mesh.extents.max())
    return obj.category.size_median / longest if obj.category is not None else 1.0


def _sample(obj: ContactObject, pair: PartPair) -> FloatArray:
    ids = obj.part_verts(pair.object_part)
    keep = np.linspace(0, len(ids) - 1, min(SAMPLES, len(ids))).astype(int)
    points: FloatArray = obj.mesh.verts[ids[keep]]
    return points


def _apart(a: FloatArray, b: FloatArray) -> float:
    return float(np.quantile(np.linalg.norm(a[:, None] - b[None], axis=-1), 0.9))


def _verts(estimate: ContactEstimate, model: BodyModel, voter: str) -> IntArray:
    """The voter's vertices that touch most surely."""
    parts = [name for name in model.parts.names if group_of(name) == voter]
    ids = model.parts.verts_of(*parts)
    p = estimate.body.probability[ids]
    chosen: IntArray = ids[p >= 0.7 * p.max()]
    return chosen
