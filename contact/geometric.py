"""Contact without weights: from the posed body, the object's mask and what people typically do with such a thing.

1. :mod:`hoirecon.contact.proximity` measures how the body lies to the mask in the image.
2. :mod:`hoirecon.contact.placement` asks which of the parts one rigid object of about the usual size can touch at once.
3. :mod:`hoirecon.contact.interactions` weighs the category's typical interactions against one another and none.
4. Here the winners' probability is laid on the vertices: on the side of each body part that can touch, falling off with
   the distance to the object, and on the object's part that belongs to it.

It is the default until the user gives a learned estimator, and a baseline for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.interactions import (
    GENERIC_GROUPS,
    HAND_MEMBERS,
    NONE,
    PartView,
    ScoreConfig,
    group_of,
    is_pad,
    look_at,
    noise_of,
    part_probability,
    score_interactions,
    vertex_nearness,
    voter_weight,
)
from hoirecon.contact.placement import Agreement, Claim, PlacementConfig, agreement, spread
from hoirecon.contact.protocols import WHOLE, ContactEstimate, ContactObject, PartPair
from hoirecon.contact.proximity import Proximity, measure
from hoirecon.contact_map import ContactMap
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.parts import BodyParts
from hoirecon.data.body.skeleton import joint_index
from hoirecon.errors import InputError, TopologyError
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

Pair = tuple[str, str]


@dataclass(frozen=True)
class GeometricConfig:
    """Settings of the estimator."""

    score: ScoreConfig = field(default_factory=ScoreConfig)
    """How interactions are weighed."""
    placement: PlacementConfig = field(default_factory=PlacementConfig)
    """How agreement in space is looked for."""
    worth_placing: float = 0.02
    """Interactions less probable than this by the image alone are not looked at in space, to save time."""
    vertex_sigma_m: float = 0.06
    """Fall-off within a part: a vertex so far (in the image) from the object than the part's nearest counts 0.6."""
    wrong_side: float = 0.15
    """Factor for vertices of a part on the side where the object cannot be: back of the hand, far side of the chest."""
    pose_sigma_m: float = 0.04
    """If the object's pose is known: fall-off with the distance between body and object in space, metres."""
    least: float = 0.25
    """Pairs of parts less probable than this are not reported; vertices keep their values."""
    ambiguous: float = 0.2
    """Two interactions nearer than this in probability are reported as ambiguous."""
    generic_prior: float = 0.25
    """Probability before looking that a part touches an object of unknown kind; hands have twice the odds."""


@dataclass(frozen=True)
class GeometricContact:
    """Estimates contact from geometry and common sense; a :class:`~hoirecon.contact.protocols.ContactEstimator`.

    Example::

        estimator = GeometricContact(body_model)
        estimate = estimator.estimate(observation, fit.body, ContactObject.of(load_object("barbell")))
    """

    body_model: BodyModel
    """Gives the names of the parts and the side of hand and foot that touches."""
    config: GeometricConfig = field(default_factory=GeometricConfig)

    @property
    def name(self) -> str:
        """``geometric``."""
        return "geometric"

    def estimate(
        self,
        observation: Observation,
        body: SceneBody,
        obj: ContactObject,
        pose: ObjectPose | None = None,
        object_index: int = 0,
    ) -> ContactEstimate:
        """Estimate contact; see :class:`~hoirecon.contact.protocols.ContactEstimator`.

        Raises:
            TopologyError: the body is not of this estimator's body model.
            InputError: the observation has no such object mask, or it is empty.
        """
        self._check(observation, body, object_index)
        near = measure(
            body,
            observation.camera,
            observation.object_masks[object_index],
            observation.person_mask,
            observation.occluders,
        )
        nearness = vertex_nearness(near, self.config.score)
        views = self._views(nearness, near, body)
        scores, found = self._happenings(views, near, body, obj)
        pairs, parts = _pairs(found), _sums(found, 0)
        return ContactEstimate(
            body=self._on_body(parts, near, body, obj, pose),
            object=self._on_object(_sums(found, 1), pairs, body, obj, pose),
            pairs=tuple(p for p in pairs if p.probability >= self.config.least),
            parts=parts,
            interaction=max((n for n in scores if n != NONE), key=lambda n: scores[n], default=NONE)
            if scores[NONE] < 0.5
            else NONE,
            scores={n: p for n, p in scores.items() if n != NONE},
            flags=self._flags(scores, obj),
        )

    # ------------------------------------------------------------------------------------------------ what is likely

    def _check(self, observation: Observation, body: SceneBody, object_index: int) -> None:
        model = self.body_model
        if body.topology != model.topology or len(body.verts) != model.num_verts:
            raise TopologyError(
                f"the body is '{body.topology}' with {len(body.verts)} vertices, but this estimator was made for "
                f"'{model.topology}' with {model.num_verts}: make it from the model the body was posed with"
            )
        if not 0 <= object_index < len(observation.object_masks):
            raise InputError(
                f"there is no mask of object {object_index}: the observation has {len(observation.object_masks)} "
                f"object masks; segment the object first"
            )
        if not observation.object_masks[object_index].any():
            raise InputError(f"the mask of object {object_index} is empty: mark the object's visible pixels")

    @cached_property
    def _parts(self) -> BodyParts:
        return self.body_model.parts

    @cached_property
    def _voters(self) -> dict[str, IntArray]:
        """Voter -> its vertices."""
        groups: dict[str, list[str]] = {}
        for part in self._parts.names:
            groups.setdefault(group_of(part), []).append(part)
        found = {voter: self._parts.verts_of(*parts) for voter, parts in groups.items()}
        return {voter: ids for voter, ids in found.items() if len(ids)}

    def _views(self, nearness: FloatArray, near: Proximity, body: SceneBody) -> dict[str, PartView]:
        base, slope = self.config.score.background
        inside = near.in_image
        average = float(nearness[inside].mean()) if inside.any() else 0.0
        background = min(base + slope * average, 0.9)
        return {
            voter: look_at(ids, nearness, near, body, background, self.config.score)
            for voter, ids in self._voters.items()
        }

    def _happenings(
        self, views: Mapping[str, PartView], near: Proximity, body: SceneBody, obj: ContactObject
    ) -> tuple[dict[str, float], list[_Happening]]:
        """Probability of each interaction, and of each pair of parts in each interaction."""
        if obj.category is None or not obj.category.interactions:
            return self._generic(views)
        score, size, flexed = self.config.score, obj.category.size_median, _hips_flexed(body)
        pairs = {
            name: [p for p in dict.fromkeys(listed) if group_of(p[0]) in views and p[0] in self._parts.names]
            for name, listed in obj.category.interactions.items()
        }
        named = {name: [b for b, _ in listed] for name, listed in pairs.items()}
        by_image = score_interactions(named, views, size, flexed, score)
        worth = [n for n, p in by_image.items() if n != NONE and p >= self.config.worth_placing]
        placed = {n: self._in_space(pairs[n], near, body, obj) for n in worth if self.config.placement.rotations > 0}
        fits = {n: dict(zip(pairs[n], found.fits.tolist(), strict=True)) for n, found in placed.items()}
        misses = {n: found.misses for n, found in placed.items()}
        voters = {name: _by_voter(fit) for name, fit in fits.items()}
        scores = score_interactions(named, views, size, flexed, score, voters, misses)
        return scores, [
            _Happening(name, *pair, scores[name] * self._taking_part(pair, views, fits.get(name, {})))
            for name, listed in pairs.items()
            for pair in listed
            if name in scores
        ]

    def _taking_part(self, pair: Pair, views: Mapping[str, PartView], fits: Mapping[Pair, float]) -> float:
        """Probability of a pair, given its interaction."""
        voter = group_of(pair[0])
        rivals = [fit for (part, at), fit in fits.items() if group_of(part) == voter and at != pair[1] and is_pad(part)]
        best = 0.0 if is_pad(pair[0]) else max(rivals, default=0.0)
        return part_probability(views[voter], self.config.score, fits.get(pair), best)

    def _in_space(self, pairs: Sequence[Pair], near: Proximity, body: SceneBody, obj: ContactObject) -> Agreement:
        """How well each pair of one interaction agrees with the others, the mask and the usual size."""
        assert obj.category is not None
        count = Counter(group_of(b) for b, _ in pairs)
        weights = {v: voter_weight(v, self.config.score) / n for v, n in count.items()}
        claims = [self._claim(b, o, weights[group_of(b)], body, obj) for b, o in pairs]
        usual = float(np.log(obj.category.size_median / obj.mesh.extents.max()))
        prior = (usual, obj.category.size_log_sigma)
        return agreement(claims, obj.mesh, prior, near.seen_object, self.config.placement)

    def _claim(self, body_part: str, object_part: str, weight: float, body: SceneBody, obj: ContactObject) -> Claim:
        most = self.config.placement.part_points
        on_body, on_object = self._parts.verts_of(body_part), obj.part_verts(object_part)
        on_body = on_body[spread(body.verts[on_body], most)]
        on_object = on_object[spread(obj.mesh.verts[on_object], most)]
        noise, depth_noise = noise_of(body_part, self.config.score)
        return Claim(
            body.verts[on_body],
            obj.mesh.verts[on_object],
            noise,
            depth_noise,
            body.mesh.vert_normals[on_body],
            obj.mesh.vert_normals[on_object],
            group_of(body_part),
            weight,
        )

    def _generic(self, views: Mapping[str, PartView]) -> tuple[dict[str, float], list[_Happening]]:
        """Each part by itself, against the whole surface, where nothing is known about the object."""
        found, none = [], 1.0
        for voter, view in views.items():
            bare = voter.removeprefix("left_").removeprefix("right_")
            if bare in GENERIC_GROUPS:
                odds = view.ratio * self.config.generic_prior / (1 - self.config.generic_prior)
                odds *= 2 if bare == "hand" else 1
                parts = [p for p in self._parts.names if group_of(p) == voter]
                found += [_Happening("touch", part, WHOLE, odds / (1 + odds)) for part in parts]
                none *= 1 / (1 + odds)
        return {NONE: none}, found

    # -------------------------------------------------------------------------------------------------- on the surfaces

    def _on_body(
        self,
        by_part: Mapping[str, float],
        near: Proximity,
        body: SceneBody,
        obj: ContactObject,
        pose: ObjectPose | None,
    ) -> ContactMap:
        probability = np.zeros(len(body.verts))
        surface = None if pose is None else pose.apply(obj.mesh.verts)
        for part, p in by_part.items():
            ids = self._parts.verts_of(part) if part in self._parts.names else np.zeros(0, dtype=np.int64)
            if len(ids):
                fall = self._fall_off(ids, near) if surface is None else self._from_surface(body.verts[ids], surface)
                probability[ids] = p * fall * self._side(part, ids, near)
        return ContactMap(probability, body.topology, self.name)

    def _fall_off(self, ids: IntArray, near: Proximity) -> FloatArray:
        """(N,) 1 at the part's vertices nearest to the object in the image, less farther away."""
        distance = np.minimum(near.distance_m, near.hidden_distance_m)[ids]
        beyond = distance - np.quantile(distance, 0.1)
        return np.asarray(np.exp(-0.5 * (np.maximum(beyond, 0) / self.config.vertex_sigma_m) ** 2))

    def _from_surface(self, verts: FloatArray, surface: FloatArray) -> FloatArray:
        from scipy.spatial import cKDTree

        distance = cKDTree(surface).query(verts)[0]
        return np.asarray(np.exp(-0.5 * (distance / self.config.pose_sigma_m) ** 2))

    def _side(self, part: str, ids: IntArray, near: Proximity) -> FloatArray:
        """(N,) 1 on the side of a part that can touch, ``wrong_side`` on the other.

        Fingers and soles touch with the side that looks down in the T-pose. Elsewhere the camera decides: where the
        object is seen over a part, it touches the side towards the camera; where the part hides it, the other.
        """
        bare = part.removeprefix("left_").removeprefix("right_")
        if bare in HAND_MEMBERS or bare in ("sole", "toes"):
            cosine = -self._rest_normals[ids, 1]
            cosine = cosine + (0.35 if bare in ("thumb", "toes") else 0.0)  # a thumb's pad looks forwards as well
        elif near.on_mask[ids].any():
            cosine = near.towards_camera[ids]
        elif (near.distance_m[ids] > near.hidden_distance_m[ids] + 0.01).mean() > 0.5:
            cosine = -near.towards_camera[ids]
        else:
            return np.ones(len(ids))
        rise = np.clip(0.5 + 2.5 * cosine, 0.0, 1.0)
        return np.asarray(self.config.wrong_side + (1 - self.config.wrong_side) * rise)

    @cached_property
    def _rest_normals(self) -> FloatArray:
        from hoirecon.mesh import Mesh

        return Mesh(self.body_model.rest_verts, self.body_model.faces).vert_normals

    def _on_object(
        self,
        by_part: Mapping[str, float],
        pairs: Sequence[PartPair],
        body: SceneBody,
        obj: ContactObject,
        pose: ObjectPose | None,
    ) -> ContactMap:
        probability = np.zeros(len(obj.mesh.verts))
        for part, p in by_part.items():
            ids = obj.part_verts(part)
            fall = np.ones(len(ids))
            touching = [q.body_part for q in pairs if q.object_part == part and q.body_part in self._parts.names]
            if pose is not None and touching:
                fall = self._from_surface(pose.apply(obj.mesh.verts[ids]), body.verts[self._parts.verts_of(*touching)])
            probability[ids] = np.maximum(probability[ids], p * fall)
        return ContactMap(probability, obj.mesh.topology, self.name)

    def _flags(self, scores: Mapping[str, float], obj: ContactObject) -> tuple[str, ...]:
        flags = []
        ranked = sorted(((p, n) for n, p in scores.items() if n != NONE), reverse=True)
        if scores.get(NONE, 0.0) > 0.5:
            flags.append(f"nothing of the person seems to touch {obj.mesh.name}: no contact was assumed")
        elif len(ranked) > 1 and ranked[0][0] - ranked[1][0] < self.config.ambiguous:
            flags.append(f"two interactions are about equally likely: {ranked[0][1]} and {ranked[1][1]}")
        if obj.category is None:
            flags.append("the object's category is unknown: contact was judged part by part, anywhere on its surface")
        elif not obj.parts:
            flags.append("the mesh has no named parts: contact may be anywhere on its surface")
        return tuple(flags)


@dataclass(frozen=True)
class _Happening:
    """A pair of parts that touch in one interaction, with the probability of both."""

    interaction: str
    body_part: str
    object_part: str
    probability: float


def _pairs(found: Sequence[_Happening]) -> list[PartPair]:
    """Pairs of parts over all interactions, most likely first; interactions exclude one another, so they add up."""
    total: dict[Pair, float] = {}
    for h in found:
        total[h.body_part, h.object_part] = total.get((h.body_part, h.object_part), 0.0) + h.probability
    pairs = [PartPair(b, o, min(p, 1.0)) for (b, o), p in total.items()]
    return sorted(pairs, key=lambda pair: -pair.probability)


def _sums(found: Sequence[_Happening], side: int) -> dict[str, float]:
    """Probability that a part of the body (side 0) or the object (1) touches at all.

    Within an interaction a part touches as surely as its surest pair; over interactions these add up.
    """
    best: dict[Pair, float] = {}
    for h in found:
        key = (h.interaction, (h.body_part, h.object_part)[side])
        best[key] = max(best.get(key, 0.0), h.probability)
    total: dict[str, float] = {}
    for (_, part), p in best.items():
        total[part] = min(total.get(part, 0.0) + p, 1.0)
    return total


def _by_voter(fits: Mapping[Pair, float]) -> dict[str, float]:
    """Voter -> mean agreement of its pairs."""
    groups: dict[str, list[float]] = {}
    for (part, _), fit in fits.items():
        groups.setdefault(group_of(part), []).append(fit)
    return {voter: float(np.mean(values)) for voter, values in groups.items()}


def _hips_flexed(body: SceneBody) -> bool:
    """Whether either thigh is bent by at least 40 degrees from the line of the trunk."""
    at = {name: body.joints[joint_index(name)] for name in ("pelvis", "spine3", *_LEGS)}
    trunk = at["spine3"] - at["pelvis"]
    for side in ("left", "right"):
        thigh = at[f"{side}_knee"] - at[f"{side}_hip"]
        cosine = -float(trunk @ thigh) / max(float(np.linalg.norm(trunk) * np.linalg.norm(thigh)), 1e-9)
        if cosine < np.cos(np.deg2rad(40)):
            return True
    return False


_LEGS = ("left_hip", "right_hip", "left_knee", "right_knee")
