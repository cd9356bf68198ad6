"""Objects in the hands of a person: joint fits that know which part touches which, and hands that close on it.

What ``hoirecon.reconstruct`` does between contact and scene::

    fits = fit_objects(observation, body.body, objects, contacts, config.joint.objects)
    first = bring_together(observation, body, things, fits, config)     # body and objects, several hypotheses
    final = close_hands(observation, body, things, first, config)       # fingers close, all settle
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.contact.protocols import ContactEstimate, ContactObject
from hoirecon.data.body.state import BodyState
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.close_up import close_penetration
from hoirecon.fitting.grasp import GraspConfig, close_fingers
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import fit as fit_jointly
from hoirecon.fitting.joint_fit import hypotheses
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_fit import AMBIGUOUS
from hoirecon.fitting.object_types import ObjectAlternative, ObjectFit, ObjectToFit
from hoirecon.fitting.objective import Term, TermReport
from hoirecon.fitting.part_contact import PartContactConfig, part_terms
from hoirecon.fitting.reach import held_way_round
from hoirecon.fitting.report import JointFit
from hoirecon.fitting.term_names import speaks_of, thing_names
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

HAND_WORDS = ("palm", "thumb", "finger")
FINGER_WORDS = ("thumb", "finger")


@dataclass(frozen=True)
class Held:
    """An object, and what is thought of its contact with the person."""

    to_fit: ObjectToFit
    contact: ContactObject
    symmetry: FloatArray
    """(N, 3, 3) rotations under which it looks the same, the identity first."""
    estimate: ContactEstimate

    def way_round(self, body: SceneBody, pose: ObjectPose, fit: BodyFit) -> ObjectPose:
        """The pose, among those that look the same, in which named parts lie nearest to what touches them."""
        parts = fit.evidence.model.parts
        return held_way_round(body.verts, parts, self.contact, pose, self.estimate.pairs, self.symmetry)

    def sides(self, least: float) -> set[str]:
        """Hands that probably hold it."""
        pairs = [p for p in self.estimate.pairs if p.probability >= least]
        return {
            side
            for side in ("left", "right")
            for p in pairs
            if p.body_part.startswith(f"{side}_") and any(word in p.body_part for word in HAND_WORDS)
        }


def bring_together(
    observation: Observation,
    body: BodyFit,
    held: Sequence[Held],
    fits: Sequence[ObjectFit],
    config: JointConfig,
    parts: PartContactConfig,
) -> JointFit:
    """Body and objects in one problem, from the best few poses of the objects, each the way round it is held."""
    starts = [
        [h.way_round(body.body, pose, body) for h, pose in zip(held, poses, strict=True)]
        for poses in hypotheses(fits, config.carried)
    ]
    terms = _part_terms(body, held, parts)
    return _fit(observation, body, held, replace(config, body_first=False), terms, starts, fits)


def close_hands(
    observation: Observation,
    body: BodyFit,
    held: Sequence[Held],
    found: JointFit,
    config: JointConfig,
    parts: PartContactConfig,
    grasp: GraspConfig,
) -> JointFit:
    """The holding hands close on what they hold; then all settles, fingers free, with penetration seen close up."""
    poses = [h.way_round(found.best.bodies[0], pose, body) for h, pose in zip(held, found.best.poses, strict=True)]
    gripping = _closed(body, found.best.bodies[0], held, poses, parts.probability, grasp)
    terms = _part_terms(body, held, parts, fingers=False)
    for k, (h, pose) in enumerate(zip(held, poses, strict=True)):
        terms += close_penetration(h.contact.mesh, pose, gripping.verts, k)
    moved = with_body(body, gripping, found.landmark_errors_px[0][1])
    return _fit(observation, moved, held, replace(config, body_first=False, fingers=True), terms, [poses])


def object_fits(fits: Sequence[ObjectFit], first: JointFit, last: JointFit) -> list[ObjectFit]:
    """What joint fits found of each object, as the object fit reports it.

    Runners-up and how sure it is come from the first, which carried several hypotheses and knows what the search found;
    pose and residuals from the last.
    """
    called = thing_names([fit.name for fit in fits])
    own = [{n: r for n, r in last.terms.items() if len(fits) == 1 or speaks_of(n, thing)} for thing in called]
    return [_object_fit(k, fit, first, last, own[k]) for k, fit in enumerate(fits)]


def _object_fit(
    k: int, fit: ObjectFit, first: JointFit, last: JointFit, terms: dict[str, TermReport[Any]]
) -> ObjectFit:
    best = first.best.energy
    others = tuple(
        ObjectAlternative(a.poses[k], max(a.energy, best) - best + last.best.energy, a.iou_visible[k])
        for a in sorted(first.alternatives, key=lambda a: a.energy)
    )
    flags = [flag for flag in first.object_flags[k] if flag == AMBIGUOUS]
    flags += [flag for flag in last.object_flags[k] if flag != AMBIGUOUS]
    deepest = max((o.depth_mm for o in last.overlaps if o.obj == k), default=0.0)
    return replace(
        fit,
        pose=last.best.poses[k],
        energy=last.best.energy,
        alternatives=others,
        terms=terms,
        iou_visible=last.best.iou_visible[k],
        max_penetration_mm=deepest,
        flags=tuple(dict.fromkeys(flags)),
        predicted_error_m=first.predicted_error_m[k],
        chance_far=first.chance_far[k],
    )


def with_body(fit: BodyFit, body: SceneBody, landmark_error_px: float) -> BodyFit:
    """A fit whose body another stage has moved."""
    return replace(fit, body=body, params=body.params, landmark_error_px=landmark_error_px)


def _fit(
    observation: Observation,
    body: BodyFit,
    held: Sequence[Held],
    config: JointConfig,
    terms: Sequence[Term[JointView]],
    starts: Sequence[Sequence[ObjectPose]],
    searched: Sequence[ObjectFit] = (),
) -> JointFit:
    contacts = [(h.estimate.body, h.estimate.object) for h in held]
    things = [h.to_fit for h in held]
    return fit_jointly(observation, body, things, contacts, config, terms=terms, starts=starts, searched=searched)


def _part_terms(
    body: BodyFit, held: Sequence[Held], config: PartContactConfig, fingers: bool = True
) -> list[Term[JointView]]:
    terms: list[Term[JointView]] = []
    for k, h in enumerate(held):
        pairs = [p for p in h.estimate.pairs if fingers or not any(word in p.body_part for word in FINGER_WORDS)]
        terms += part_terms(body.evidence.model, h.contact, pairs, k, config=config)
    return terms


def _closed(
    fit: BodyFit,
    body: SceneBody,
    held: Sequence[Held],
    poses: Sequence[ObjectPose],
    least: float,
    config: GraspConfig,
) -> SceneBody:
    """The body with the fingers of each hand closed on what that hand holds."""
    model = fit.evidence.model
    state = BodyState.from_params(model, body.params)
    for side in ("left", "right"):
        things = [
            h.contact.mesh.with_verts(pose.apply(h.contact.mesh.verts))
            for h, pose in zip(held, poses, strict=True)
            if side in h.sides(least)
        ]
        state = close_fingers(model, state, things, [side], config) if things else state
    params = state.to_params(model.topology)[0]
    return model.pose(params.replace(betas=np.array(body.params.betas)))
