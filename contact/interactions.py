"""Which typical interaction is going on: each is a hypothesis that some parts of the body are at the object.

Every group of parts (a hand, a foot, the upper back) votes by a likelihood ratio: how near it lies to the object's
mask against how near a part that has nothing to do with the object would lie. Parts nobody can see do not vote. An
interaction whose parts are farther apart in space than the object is large loses by its excess; one that needs a bent
hip (sitting) loses on a straight one. "None of them" is a hypothesis too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.proximity import Proximity
from hoirecon.scene import SceneBody

NONE = ""
"""Name of the hypothesis that nothing touches."""

GENERIC_GROUPS = ("hand", "foot", "forearm", "buttock", "thigh_front", "thigh_back", "upper_back", "lower_back",
                  "belly", "chest", "shoulder", "head", "hip")  # fmt: skip
"""Parts asked about when the object's category says nothing."""

HAND_MEMBERS = ("palm", "thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger")
FOOT_MEMBERS = ("sole", "toes")
NEIGHBOURS = ("upper_arm", "elbow", "forearm")
"""Parts that lie before an object because the hand beside them does: their vote hardly adds to the hand's."""
TRUNK = ("upper_back", "lower_back", "neck_back", "chest", "belly", "shoulder", "hip", "ear", "head", "face")


@dataclass(frozen=True)
class ScoreConfig:
    """How nearness becomes a vote."""

    near_sigma_m: float = 0.05
    """Distance to the mask at which a vertex counts as 0.6 near; the error to be expected of a body fit, metres."""
    hidden_discount: float = 0.8
    """Worth of being where the object surely goes on behind the body, against where it is seen."""
    part_share: float = 0.25
    """A part is as near as its nearest so many vertices are on average."""
    background: tuple[float, float] = (0.15, 0.7)
    """Nearness of unrelated parts: 0.15 plus 0.7 of the whole body's: before a bed that fills the image all is near."""
    floor: float = 0.05
    """Least nearness a part can have: landmarks fail, so no single part rules an interaction out."""
    unseen_ratio: float = 0.7
    """Likelihood ratio of a part outside the image: an interaction that needs it is a little less likely."""
    trunk_weight: float = 0.5
    """Weight of the vote of parts of trunk, head and arm, which neighbour one another, against that of a hand."""
    misfit_cost: float = 2.5
    """Cost of an interaction per unit of its voters' mean misfit in space: one size of object cannot be at all."""
    miss_cost: float = 6.0
    """Cost of an interaction per unit by which the object would look less like its mask than in the best one."""
    misfit_floor: float = 0.08
    """Agreement in space below which a part is taken for not touching at all."""
    rivalry: float = 6.0
    """Power by which a finger's odds fall with its agreement in space relative to the palm's or sole's, if that is
    at another part of the object."""
    usual_fit: float = 0.6
    """Agreement in space of parts that do touch, on average: noise makes it less than one."""
    end_noise_m: tuple[float, float] = (0.05, 0.25)
    """Noise of hands and feet, and of their depth, of which a photograph says little, metres."""
    limb_noise_m: tuple[float, float] = (0.04, 0.10)
    """The same for arms and legs."""
    trunk_noise_m: tuple[float, float] = (0.04, 0.06)
    """The same for trunk and head."""
    spread_sigma_m: float = 0.2
    """Parts farther apart than the object is large by so much cost half a unit, metres."""
    depth_trust: float = 0.5
    """Factor of distances along the line of sight, which a body fit knows least."""
    rank_cost: float = 0.25
    """Cost per place in the category's list, whose first interaction is the most typical."""
    none_bonus: float = -2.5
    """Log-odds for "nothing touches" before looking, against any one interaction: who names an object mostly means one
    that is touched. 0.3 missed a third of the touched things (docs/closedworld.md, "What geometry takes for
    untouched"); 0 or more is for things that may as well stand in the background."""
    straight_cost: float = 2.0
    """Cost of an interaction by buttocks if the hips are flexed by less than 40 degrees."""
    part_prior: float = 0.8
    """Probability before looking that a part takes part in its interaction when that goes on."""


@dataclass(frozen=True)
class PartView:
    """A group of body parts as a voter."""

    nearness: float
    """0 to 1."""
    ratio: float
    """Likelihood of that nearness if the part touches over that if it does not; 1 if it cannot be seen."""
    place: FloatArray
    """(3,) metres, camera frame: mean of its vertices that are nearest to the mask."""


def group_of(part: str) -> str:
    """The voter that a part belongs to: palm and fingers vote as one hand.

    Example:
        >>> group_of("left_index_finger"), group_of("right_sole"), group_of("upper_back")
        ('left_hand', 'right_foot', 'upper_back')
    """
    side, _, rest = part.partition("_")
    if side in ("left", "right"):
        if rest in HAND_MEMBERS:
            return f"{side}_hand"
        if rest in FOOT_MEMBERS:
            return f"{side}_foot"
    return part


def is_pad(part: str) -> bool:
    """Whether a part is the middle of a hand or foot: palm or sole."""
    return part.endswith(("palm", "sole"))


def vertex_nearness(near: Proximity, config: ScoreConfig) -> FloatArray:
    """(V,) how near each vertex is to the object, 0 to 1."""
    seen = np.exp(-0.5 * (near.distance_m / config.near_sigma_m) ** 2)
    hidden = np.exp(-0.5 * (near.hidden_distance_m / config.near_sigma_m) ** 2)
    nearness: FloatArray = np.maximum(seen, config.hidden_discount * near.goes_on_behind * hidden)
    return nearness


def look_at(
    ids: IntArray, nearness: FloatArray, near: Proximity, body: SceneBody, background: float, config: ScoreConfig
) -> PartView:
    """One voter: the vertices ``ids`` of a group of parts."""
    values = nearness[ids]
    count = max(3, int(np.ceil(config.part_share * len(ids))))
    best = ids[np.argsort(-values, kind="stable")[:count]]
    place = body.verts[best].mean(axis=0)
    value = max(float(nearness[best].mean()), config.floor)
    if near.in_image[ids].mean() < 0.3:  # cut off by the picture's border: says little
        return PartView(value, config.unseen_ratio, place)
    return PartView(value, value / background, place)


def score_interactions(
    interactions: Mapping[str, Sequence[str]],
    views: Mapping[str, PartView],
    size_m: float,
    hips_flexed: bool,
    config: ScoreConfig,
    fits: Mapping[str, Mapping[str, float]] | None = None,
    misses: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Probability of each interaction and of :data:`NONE`; they sum to one.

    Args:
        interactions: name -> body parts, the most typical first.
        views: voter -> what is seen of it.
        size_m: longest extent of the object, metres.
        hips_flexed: whether the pose is a seated one.
        config: weights and costs.
        fits: interaction -> voter -> agreement in space with the interaction's other parts; interactions and voters
            that are missing are taken to agree.
        misses: interaction -> how badly the object would look like its mask if those parts touch it; only differences
            count.
    """
    least = min((misses or {}).values(), default=0.0)
    logits = {NONE: config.none_bonus}
    for rank, (name, parts) in enumerate(interactions.items()):
        voters = _voters(parts, views)
        if not voters:
            continue
        weights = {v: share * voter_weight(v, config) for v, share in voters.items()}
        fit = {v: (fits or {}).get(name, {}).get(v, config.usual_fit) for v in voters}
        votes = sum(w * _vote(views[v].ratio, fit[v], config) for v, w in weights.items())
        logits[name] = float(votes) - config.rank_cost * rank - _excess_cost([views[v] for v in voters], size_m, config)
        misfit = sum(w * -np.log(_relative(fit[v], config)) for v, w in weights.items()) / sum(weights.values())
        logits[name] -= config.misfit_cost * float(misfit)
        logits[name] -= config.miss_cost * ((misses or {}).get(name, least) - least)
        if any("buttock" in p for p in parts) and not hips_flexed:
            logits[name] -= config.straight_cost
    top = max(logits.values())
    odds = {name: float(np.exp(value - top)) for name, value in logits.items()}
    total = sum(odds.values())
    return {name: value / total for name, value in odds.items()}


def part_probability(view: PartView, config: ScoreConfig, fit: float | None = None, best: float = 0.0) -> float:
    """Probability that a part touches, given that its interaction goes on.

    Args:
        view: how it lies to the mask.
        config: weights.
        fit: agreement in space with the interaction's other parts, 0 to 1; None if that was not looked at.
        best: agreement of its hand's palm or foot's sole with another part of the object: if the palm lies at the
            side of a box much better than the fingers lie at its bottom, the fingers are not there.
    """
    odds = view.ratio * config.part_prior / (1 - config.part_prior)
    if fit is not None:
        odds *= _relative(fit, config) ** 2
        odds *= (_relative(fit, config) / _relative(max(best, fit), config)) ** config.rivalry
    return odds / (1 + odds)


def noise_of(voter: str, config: ScoreConfig) -> tuple[float, float]:
    """Noise of a voter's place across and along the line of sight, metres."""
    bare = voter.removeprefix("left_").removeprefix("right_")
    if bare in ("hand", "foot", *HAND_MEMBERS, *FOOT_MEMBERS):
        return config.end_noise_m
    return config.trunk_noise_m if bare in TRUNK else config.limb_noise_m


def _relative(fit: float, config: ScoreConfig) -> float:
    """Agreement in space over that of parts that touch: below one speaks against contact, above one for it."""
    return (fit + config.misfit_floor) / (config.usual_fit + config.misfit_floor)


def _vote(ratio: float, fit: float, config: ScoreConfig) -> float:
    """Log-likelihood ratio; what speaks for contact in the image counts as far as it agrees in space."""
    vote = float(np.log(ratio))
    return vote * _relative(fit, config) if vote > 0 else vote


def _voters(parts: Sequence[str], views: Mapping[str, PartView]) -> dict[str, float]:
    """Voter -> weight: 1 if a palm or sole takes part, else the root of its share of parts: a fingertip says less."""
    members: dict[str, set[str]] = {}
    for part in parts:
        if group_of(part) in views:
            members.setdefault(group_of(part), set()).add(part)
    full = {"hand": len(HAND_MEMBERS), "foot": len(FOOT_MEMBERS)}
    weights = {}
    for voter, chosen in members.items():
        share = len(chosen) / full.get(voter.split("_")[-1], len(chosen))
        weights[voter] = 1.0 if any(is_pad(p) for p in chosen) else float(np.sqrt(share))
    return weights


def voter_weight(voter: str, config: ScoreConfig) -> float:
    """How much a voter's vote counts against that of a hand."""
    bare = voter.removeprefix("left_").removeprefix("right_")
    return config.trunk_weight if bare in (*TRUNK, *NEIGHBOURS) else 1.0


def _excess_cost(views: Sequence[PartView], size_m: float, config: ScoreConfig) -> float:
    """Cost of parts that lie farther apart than the object reaches; at most 3."""
    near = [v for v in views if v.ratio > 1]
    axes = np.array([1.0, 1.0, config.depth_trust])
    apart = max((float(np.linalg.norm((a.place - b.place) * axes)) for a in near for b in near), default=0.0)
    excess = max(0.0, apart - size_m)
    return min(0.5 * (excess / config.spread_sigma_m) ** 2, 3.0)
