"""Body and object in one least-squares problem, stage after stage: objects, the touching chain with them, all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.contact.protocols import ContactEstimate
from hoirecon.contact_map import ContactMap
from hoirecon.data.body.state import FreeParams
from hoirecon.errors import InputError
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.checks import check_fit
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.gradient_descent import objective_value
from hoirecon.fitting.ground import Ground, guess_ground, held_above, hull_points
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_edges import (
    Edge,
    Pair,
    PointPairs,
    by_pair,
    check_points,
    make_edges,
    maps_of_points,
    on_feet,
)
from hoirecon.fitting.joint_outline import person_region
from hoirecon.fitting.joint_person import PersonToFit, make_person, model_of
from hoirecon.fitting.joint_problem import JointProblem, together
from hoirecon.fitting.joint_result import make_result
from hoirecon.fitting.joint_state import NUM_BODY_JOINTS, JointState, limit_step
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_fit import fit_object, start_rotations
from hoirecon.fitting.object_problem import prepare
from hoirecon.fitting.object_types import ObjectFit, ObjectToFit
from hoirecon.fitting.objective import Quadratic, Term, linearise
from hoirecon.fitting.own_term import check_own_names
from hoirecon.fitting.report import JointFit
from hoirecon.fitting.resting import on_ground, twins_at_rest
from hoirecon.fitting.solver import LMConfig, levenberg_marquardt
from hoirecon.fitting.term_names import TERM_NAMES, NamedTerms
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

Contacts = Sequence[Pair | ContactEstimate | None] | Mapping[tuple[int, int], Pair | ContactEstimate]
Correspondences = Sequence[PointPairs | None] | Mapping[tuple[int, int], PointPairs]
AnyBody = PersonToFit | BodyFit | SceneBody

GUESSED_GROUND = "ground guessed from feet"
"""Flag: an object that nobody touches was put on a ground that only the standing people's feet tell."""


def fit(
    observation: Observation,
    body: AnyBody | Sequence[AnyBody],
    objects: Sequence[ObjectToFit],
    contacts: Contacts,
    config: FitConfig | JointConfig | None = None,
    *,
    correspondences: Correspondences | None = None,
    ground: Ground | None = None,
    terms: Sequence[Term[JointView]] = (),
    starts: Sequence[Sequence[ObjectPose]] | None = None,
    searched: Sequence[ObjectFit] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> JointFit:
    """Find objects and bodies together.

    First the objects alone, from scratch; then, for the best few hypotheses, the objects and the joints between the
    torso and the touching parts; then everything. A body that touches nothing stays as it came in. All bodies
    and objects are one problem; contact acts between the pairs that are given, penetration between all that come near.
    An object that nobody touches rests on the ground, which the feet of standing people tell unless it is given, if
    nothing speaks against it; one that somebody touches does not sink into it and may stand on it.

    Args:
        observation: masks (``object_masks[k]`` belongs to ``objects[k]``; ``person_mask`` shows all persons), camera.
        body: what :func:`~hoirecon.fitting.body_fit.fit_body` gives, a bare posed body (then its own pose is all that
            holds it), or a list.
        objects: meshes with their size priors.
        contacts: per object the probabilities on (body, object), or what an estimator gave; None, or maps without any
            contact, if nothing is known to touch; with several bodies a mapping from (index of the body, index of the
            object) to them.
        config: settings; a :class:`FitConfig` sets the first stage alone.
        correspondences: pairs of points that touch, like ``contacts`` per object or by (body, object): N vertices of
            the body and N points (N, 3) of the object. They take the place of that pair's contact, which may be None.
        ground: what things stand on; nothing sinks into it.
        terms: terms of your own, added to the joint stages; see :func:`~hoirecon.fitting.own_term.own_term`.
        starts: hypotheses to start from, best first, each with one pose per object; the first stage is then left out.
        searched: fits of the objects alone that ``starts`` were taken from, one per object; every pose that they ended
            with is asked how sure the result is. Without them only the starts are.
        device: where to compute.
        dtype: of the computation; results are float64.

    Returns:
        The best solution, the others, covariance, residuals per term with units, flags.

    Raises:
        InputError: empty masks, unusable meshes or bodies, lists of different lengths, contact on another mesh,
            ``searched`` without ``starts``.
    """
    people, pairs, config = check_fit(observation, body, objects, contacts, config, terms, starts, device, dtype)
    check_own_names(terms, TERM_NAMES)
    points = check_points(by_pair(correspondences or {}, len(people), len(objects), "correspondences"), people)
    _check_form(config, pairs, points)
    _check_searched(searched, starts, objects)
    clock, seconds = time.process_time(), {}
    problem, fits = prepare_joint(
        observation, people, objects, pairs, config, starts, device, dtype, correspondences=points, ground=ground
    )
    problem = replace(problem, extra=tuple(terms))
    seconds["objects"] = time.process_time() - clock
    clock = time.process_time()
    state, dropped = finite_ones(problem.start(starts or hypotheses(fits, config.carried)))
    problem = problem.with_surfaces(state)
    state, quad = solve_stages(problem, state)
    seconds["joint"] = time.process_time() - clock
    return with_names(problem, make_result(problem, state, quad, fits or list(searched), dropped, seconds))


def with_names(problem: JointProblem, result: JointFit) -> JointFit:
    """The result with terms that know their names, and a flag if the ground was guessed."""
    guessed = problem.ground is not None and problem.ground.source != "given"
    used = guessed and any(name.startswith("ground support") for name in result.terms)
    if used:
        own = [(*said, GUESSED_GROUND) if k in problem.resting else said for k, said in enumerate(result.object_flags)]
        result = replace(result, flags=(*result.flags, GUESSED_GROUND), object_flags=tuple(own))
    return replace(result, terms=NamedTerms(result.terms))


def _check_form(config: JointConfig, pairs: dict[tuple[int, int], Pair], points: Mapping[tuple[int, int], Any]) -> None:
    missing = [pair for pair in pairs if pair not in points]
    if config.contact == "correspondences" and missing:
        raise InputError(
            f"JointConfig(contact='correspondences') needs given pairs, but (body, object) {missing} have none: give "
            f"fit(correspondences=...) or another form of contact"
        )


def _check_searched(
    searched: Sequence[ObjectFit], starts: Sequence[Sequence[ObjectPose]] | None, objects: Sequence[ObjectToFit]
) -> None:
    if searched and (starts is None or len(searched) != len(objects)):
        lacking = ", without starts" if starts is None else ""
        raise InputError(
            f"searched holds {len(searched)} fits for {len(objects)} objects{lacking}: give what fit_objects returned, "
            f"with starts taken from it, or neither"
        )


def prepare_joint(
    observation: Observation,
    people: Sequence[PersonToFit],
    objects: Sequence[ObjectToFit],
    pairs: dict[tuple[int, int], Pair],
    config: JointConfig,
    starts: Sequence[Sequence[ObjectPose]] | None,
    device: torch.device | str,
    dtype: torch.dtype,
    *,
    correspondences: Mapping[tuple[int, int], tuple[IntArray, FloatArray]] | None = None,
    ground: Ground | None = None,
) -> tuple[JointProblem, list[ObjectFit]]:
    """Prepare everything and, unless told where to start, place one object after another before the bodies."""
    points = correspondences or {}
    edges, verts = make_edges(people, objects, pairs, config, device, dtype, points)
    told = {(i, k): maps_of_points(*points[i, k], people[i], objects[k].mesh) for i, k in points}
    pairs = {**told, **pairs}
    if ground is None and config.guess_ground:
        ground = guess_ground([(p.body, model_of(p)) for p in _on_floor(people, edges)])
    persons = tuple(make_person(p, observation, v, device, dtype) for p, v in zip(people, verts, strict=True))
    meshes = tuple(obj.mesh for obj in objects)
    problem = JointProblem(observation, persons, (), meshes, tuple(edges), config, ground=ground)
    one = persons[0]
    # Exact landmarks say more than the silhouette, and the mask of several persons is one.
    wanted = one.landmarks is None or config.silhouette_beside_landmarks
    if len(persons) == 1 and wanted and config.silhouette_weight > 0:
        region = person_region(observation, one.mesh, one.figure.model.v_template)
        problem = replace(problem, people=(replace(one, region=region),))
    if config.body_first:
        problem = bodies_first(problem)
    crowd = together([p.mesh for p in problem.people])
    fits: list[ObjectFit] = []
    placed: list[tuple[BoolArray, Mesh]] = []
    for k, obj in enumerate(objects):
        contact = _contact_with_all(people, k, pairs)
        prepared = prepare(observation, k, crowd, obj, contact, tuple(placed), config.objects, device, dtype)
        # Not the maps themselves: maps without any contact are given too, and say that nobody holds it.
        if prepared.contact is not None and ground is not None and config.held_support > 0:
            prepared = replace(prepared, extra=held_above(hull_points(prepared.verts), ground, config.held_support))
        problem = replace(problem, objects=(*problem.objects, prepared))
        if starts is None:
            fits.append(fit_object(prepared, start_rotations(obj, config.objects), obj.mesh, crowd, config.objects))
            found = [fits[-1].pose, *(a.pose for a in fits[-1].alternatives)]
        else:
            found = [h[k] for h in starts]
        twins = _twins(problem, k, found)
        if twins is not None:
            problem = replace(problem, resting=problem.resting | {k})
            fits[k:] = [on_ground(fit, twins) for fit in fits[k:]]
        pose = fits[-1].pose if starts is None else starts[0][k]
        placed.append((observation.object_masks[k], obj.mesh.with_verts(pose.apply(obj.mesh.verts))))
    return problem, fits


def _on_floor(people: Sequence[PersonToFit], edges: Sequence[Edge]) -> list[PersonToFit]:
    """The people whose feet touch none of the objects."""
    return [p for i, p in enumerate(people) if not any(on_feet(e) for e in edges if e.body == i)]


def _twins(problem: JointProblem, k: int, poses: Sequence[ObjectPose]) -> list[ObjectPose | None] | None:
    """Poses of an object on the ground, if nobody touches it and it seems to stand there."""
    config = problem.config
    if problem.ground is None or problem.touched(k) or config.support_weight == 0:
        return None
    return twins_at_rest(problem.objects[k], poses, problem.meshes[k].verts, problem.ground, config.objects)


def bodies_first(problem: JointProblem) -> JointProblem:
    """The problem with each touching body started where its own landmarks, silhouette and anchor want it."""
    people = []
    for i, person in enumerate(problem.people):
        touches = any(edge.body == i for edge in problem.edges)
        if touches and (person.landmarks is not None or person.region is not None):
            free = FreeParams(tuple(range(NUM_BODY_JOINTS)), 0, True)
            for _ in range(2):  # the outline is sampled anew in between
                one = replace(problem, people=(person.outlined(person.start),), objects=(), edges=())
                terms = one.people[0].terms(0, "", problem.config)
                state, _ = solve_terms(one, terms, one.start([[]]).freed([free]), 6)
                person = replace(one.people[0], start=state.bodies[0])
        people.append(person)
    return replace(problem, people=tuple(people))


def _contact_with_all(people: Sequence[PersonToFit], k: int, pairs: dict[tuple[int, int], Pair]) -> Pair | None:
    """Contact of an object with all bodies taken as one mesh."""
    own = {i: pair for (i, obj), pair in pairs.items() if obj == k}
    if not own:
        return None
    if len(people) == 1:
        return own[0]
    skin = [own[i][0].probability if i in own else np.zeros(len(p.body.verts)) for i, p in enumerate(people)]
    thing = np.max([pair[1].probability for pair in own.values()], axis=0)
    return ContactMap(np.concatenate(skin), "all bodies"), ContactMap(thing, next(iter(own.values()))[1].topology)


def hypotheses(fits: Sequence[ObjectFit], most: int) -> list[list[ObjectPose]]:
    """The best poses of all objects, then, by how little worse they are, those with one object's runner-up instead."""
    best = [f.pose for f in fits]
    others = sorted((a.energy - f.energy, k, n) for k, f in enumerate(fits) for n, a in enumerate(f.alternatives))
    found = [best]
    for _, k, n in others[: most - 1]:
        found.append([fits[k].alternatives[n].pose if j == k else pose for j, pose in enumerate(best)])
    return found


def finite_ones(state: JointState) -> tuple[JointState, int]:
    """The hypotheses without NaN, and how many were dropped.

    Raises:
        InputError: none is left.
    """
    good = torch.nonzero(state.finite())[:, 0]
    if len(good) == 0:
        raise InputError("no start is finite: check poses and body for NaN")
    return (state, 0) if len(good) == len(state) else (state.select(good), len(state) - len(good))


def solve_stages(problem: JointProblem, state: JointState) -> tuple[JointState, Quadratic]:
    """Chain, then all, then the polish, the bodies drawn anew in between; hypotheses keep their order.

    Returns:
        The state, and the model of the third stage's objective at it, in which the polish's penetration is not heavier.
    """
    config = problem.config
    stages = [(config.whole, max(1, config.whole.iterations // (config.refreshes + 1)))] * (config.refreshes + 1)
    if config.polish is not None:
        stages.append((config.polish, config.polish.iterations))
    if any(free.size for free in problem.moving(chain=True)) and config.chain.iterations > 0:
        state = problem.redrawn(state).freed(problem.moving(chain=True))
        state, _ = solve(problem.outlined(state), state, config.chain)
    state = state.freed(problem.moving(chain=False))
    for stage, iterations in stages:
        if stage is not config.polish:
            state = problem.redrawn(state)
            problem = problem.outlined(state)
        state, _ = solve(problem, state, stage, iterations)
    state = problem.seen_in(state, config.whole)
    return state, linearise(problem.terms(config.whole), problem.view(state))


def solve(
    problem: JointProblem, state: JointState, stage: StageConfig, iterations: int | None = None
) -> tuple[JointState, Quadratic]:
    """One stage of Levenberg-Marquardt on all hypotheses."""
    count = stage.iterations if iterations is None else iterations
    return solve_terms(problem, problem.terms(stage), problem.seen_in(state, stage), count)


def solve_terms(
    problem: JointProblem, terms: Sequence[Term[JointView]], state: JointState, iterations: int
) -> tuple[JointState, Quadratic]:
    """Minimise a list of terms over all hypotheses."""
    result = levenberg_marquardt(
        state,
        lambda s: linearise(terms, problem.view(s)),
        JointState.retract,
        JointState.select,
        JointState.merge,
        LMConfig(iterations=iterations),
        lambda step: limit_step(step, state.layout),
    )
    return result.state, result.quadratic


def energy(problem: JointProblem, terms: Sequence[Term[JointView]], state: JointState, step: Tensor) -> Tensor:
    """(B,) value of the objective after a step (B, D), as autograd can follow it: for Adam, L-BFGS, or a loss of one's
    own. Sample weights and nearest neighbours are held fixed in the derivative, as in the closed-form Jacobians.

    Example:
        >>> step = torch.zeros(len(state), state.layout.size, requires_grad=True)  # doctest: +SKIP
        >>> energy(problem, terms, state, step).sum().backward()  # doctest: +SKIP
    """
    return objective_value(terms, problem.view(state.retract(step)))
