"""Body and object in one least-squares problem, stage after stage: objects, the touching chain with them, all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray
from hoirecon.contact_map import ContactMap
from hoirecon.data.body.state import FreeParams
from hoirecon.errors import InputError
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.fitting.covariance import Covariance, hypothesis_spread, laplace, split, tangent, weakest
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.hypotheses import set_distance
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_outline import person_region
from hoirecon.fitting.joint_problem import JointProblem, PersonToFit, make_edges, make_person, together
from hoirecon.fitting.joint_state import NUM_BODY_JOINTS, JointState, limit_step
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_fit import AMBIGUOUS, DEEP_MM, POOR_IOU, SCALE_UNSURE, fit_object, start_rotations
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_types import ObjectFit, ObjectToFit
from hoirecon.fitting.objective import Quadratic, Term, gmof, linearise, report_term
from hoirecon.fitting.report import JointFit, JointSolution, Overlap, exact_ious, overlap
from hoirecon.fitting.solver import LMConfig, levenberg_marquardt
from hoirecon.fitting.visible import visible_iou
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

Pair = tuple[ContactMap, ContactMap]
Contacts = Sequence[Pair | None] | Mapping[tuple[int, int], Pair]
AnyBody = PersonToFit | BodyFit | SceneBody


def fit(
    observation: Observation,
    body: AnyBody | Sequence[AnyBody],
    objects: Sequence[ObjectToFit],
    contacts: Contacts,
    config: FitConfig | JointConfig | None = None,
    *,
    terms: Sequence[Term[JointView]] = (),
    starts: Sequence[Sequence[ObjectPose]] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> JointFit:
    """Find objects and bodies together.

    First the objects alone, from scratch; then, for the best few hypotheses, the objects and the joints between the
    torso and the touching parts; then everything. A body that touches nothing stays as it came in. All bodies
    and objects are one problem; contact acts between the pairs that are given, penetration between all that come near.

    Args:
        observation: masks (``object_masks[k]`` belongs to ``objects[k]``; ``person_mask`` shows all persons), camera.
        body: what :func:`~hoirecon.fitting.body_fit.fit_body` gives, a bare posed body (then its own pose is all that
            holds it), or a list.
        objects: meshes with their size priors.
        contacts: per object the probabilities on (body, object) or None; with several bodies a mapping from (index of
            the body, index of the object) to them.
        config: settings; a :class:`FitConfig` sets the first stage alone.
        terms: terms of your own, added to the joint stages.
        starts: hypotheses to start from, each with one pose per object; the first stage is then left out.
        device: where to compute.
        dtype: of the computation; results are float64.

    Returns:
        The best solution, the others, covariance, residuals per term with units, flags.

    Raises:
        InputError: empty masks, unusable meshes or bodies, lists of different lengths, contact on another mesh.
    """
    config = config if isinstance(config, JointConfig) else JointConfig(objects=config or FitConfig())
    people = [PersonToFit.of(b) for b in ([body] if isinstance(body, AnyBody) else body)]
    pairs = _check(observation, people, objects, contacts, starts)
    clock, seconds = time.process_time(), {}
    problem, fits = prepare_joint(observation, people, objects, pairs, config, starts, device, dtype)
    problem = replace(problem, extra=tuple(terms))
    seconds["objects"] = time.process_time() - clock
    clock = time.process_time()
    state, dropped = finite_ones(problem.start(starts or hypotheses(fits, config.hypotheses)))
    problem = problem.with_surfaces(state)
    state, quad = solve_stages(problem, state)
    seconds["joint"] = time.process_time() - clock
    return _result(problem, state, quad, fits, dropped, seconds)


def _check(
    observation: Observation,
    people: Sequence[PersonToFit],
    objects: Sequence[ObjectToFit],
    contacts: Contacts,
    starts: Sequence[Sequence[ObjectPose]] | None,
) -> dict[tuple[int, int], Pair]:
    """The pairs that touch, by (body, object); refuses what does not fit together."""
    if not people or not objects or len(objects) != len(observation.object_masks):
        raise InputError(
            f"got {len(people)} bodies, {len(objects)} objects and {len(observation.object_masks)} object masks: give "
            f"at least one of each and one mask for each object"
        )
    if not isinstance(contacts, Mapping):
        if len(people) > 1:
            raise InputError(
                "with several bodies say who touches what: contacts={(body, object): (on_body, on_object)}"
            )
        if len(contacts) != len(objects):
            raise InputError(f"got {len(contacts)} contacts for {len(objects)} objects: give one (or None) for each")
        contacts = {(0, k): pair for k, pair in enumerate(contacts) if pair is not None}
    for (i, k), (on_body, on_object) in contacts.items():
        if not (0 <= i < len(people) and 0 <= k < len(objects)):
            raise InputError(f"contacts speak of body {i} and object {k}, which are not there")
        on_body.check_on(people[i].body.topology, len(people[i].body.verts), "the body")
        on_object.check_on(objects[k].mesh.topology, len(objects[k].mesh.verts), objects[k].name)
    if starts is not None and (not starts or any(len(h) != len(objects) for h in starts)):
        raise InputError(f"starts need at least one hypothesis, each with {len(objects)} poses, one per object")
    return dict(contacts)


def prepare_joint(
    observation: Observation,
    people: Sequence[PersonToFit],
    objects: Sequence[ObjectToFit],
    pairs: dict[tuple[int, int], Pair],
    config: JointConfig,
    starts: Sequence[Sequence[ObjectPose]] | None,
    device: torch.device | str,
    dtype: torch.dtype,
) -> tuple[JointProblem, list[ObjectFit]]:
    """Prepare everything and, unless told where to start, place one object after another before the bodies."""
    edges, verts = make_edges(people, objects, pairs, config, device, dtype)
    persons = tuple(make_person(p, observation, v, device, dtype) for p, v in zip(people, verts, strict=True))
    problem = JointProblem(observation, persons, (), tuple(obj.mesh for obj in objects), tuple(edges), config)
    if len(persons) == 1 and config.silhouette_weight > 0:  # the mask of several persons is one
        one = persons[0]
        region = person_region(observation, one.mesh, one.figure.model.v_template)
        problem = replace(problem, people=(replace(one, region=region),))
    if config.body_first:
        problem = bodies_first(problem)
    crowd = together([p.mesh for p in problem.people])
    fits: list[ObjectFit] = []
    problems: list[ObjectProblem] = []
    placed: list[tuple[BoolArray, Mesh]] = []
    for k, obj in enumerate(objects):
        contact = _contact_with_all(people, k, pairs)
        prepared = prepare(observation, k, crowd, obj, contact, tuple(placed), config.objects, device, dtype)
        problems.append(prepared)
        if starts is None:
            fits.append(fit_object(prepared, start_rotations(obj, config.objects), obj.mesh, crowd, config.objects))
        pose = fits[-1].pose if starts is None else starts[0][k]
        placed.append((observation.object_masks[k], obj.mesh.with_verts(pose.apply(obj.mesh.verts))))
    return replace(problem, objects=tuple(problems)), fits


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
    view = problem.view(state.retract(step))
    total = torch.zeros_like(step[:, 0])
    for term in terms:
        res = term.residuals(view)
        rho, _ = gmof(res.r.square().sum(-1), term.robust)
        total = total + term.weight * (res.w.detach() * rho).sum(-1)
    return total


def _result(
    problem: JointProblem,
    state: JointState,
    quad: Quadratic,
    fits: Sequence[ObjectFit],
    dropped: int,
    seconds: dict[str, float],
) -> JointFit:
    clock = time.process_time()
    ious = _visible_ious(state)
    ranked = ranking(quad, ious, problem.config.objects)
    order = torch.argsort(ranked, stable=True)
    state, ranked, ious = state.select(order), ranked[order], ious[order]
    hessian = quad.hessian[order[0]]
    solutions = [_solution(problem, state, b, float(ranked[b]), ious[b]) for b in range(len(state))]
    others = _distinct(problem, state)
    problem = problem.outlined(state)
    covariance = _covariance(problem, state, hessian, ranked)
    bodies, objects = problem.posed(state, 0)
    overlaps = _overlaps(problem, bodies, objects)
    first = state.select(torch.zeros(1, dtype=torch.long, device=ranked.device))
    view = problem.view(first)
    weak = {
        name: weakest(covariance.of(name), problem.objects[k].diagonal / 2)
        for k, name in enumerate(state.layout.objects)
    }
    gaps = [float(ranked[b] - ranked[0]) for b in others]
    exact = exact_ious(problem.observation.object_masks, problem.observation.camera, bodies, objects)
    seconds["report"] = time.process_time() - clock
    return JointFit(
        best=solutions[0],
        alternatives=tuple(solutions[b] for b in others),
        covariance=covariance,
        terms={term.name: report_term(term, view) for term in problem.terms(problem.config.whole)},
        iou_exact=exact,
        overlaps=overlaps,
        weakest=weak,
        landmark_errors_px=tuple(
            (p.landmark_error_px(p.anchor), p.landmark_error_px(b))
            for p, b in zip(problem.people, first.bodies, strict=True)
        ),
        object_fits=tuple(fits),
        flags=_flags(problem, solutions[0], covariance, gaps, overlaps, dropped),
        seconds=seconds,
    )


def _visible_ious(state: JointState) -> Tensor:
    """(B, K) visible IoU of each object of each hypothesis, before its own bodies."""
    rows = []
    for b in range(len(state)):
        one = state.select(torch.tensor([b], device=state.objects[0].t.device))
        own = [o.seen_by(replace(o.view, region=o.view.region.row(0))) for o in one.objects]  # type: ignore[attr-defined]
        rows.append(torch.cat([visible_iou(o) for o in own]))
    return torch.stack(rows)


def ranking(quad: Quadratic, ious: Tensor, config: FitConfig) -> Tensor:
    """(B,) the objective with penetration capped, and visible IoU as a mild extra; as the object fit ranks."""
    names = [n for n in quad.terms if n.startswith(("body in object", "object in body"))]
    deep = sum((quad.terms[n] for n in names), torch.zeros_like(quad.cost))
    lost = config.rank_iou_weight * (1 - ious).sum(1)
    return quad.cost - deep + deep.clamp_max(config.rank_penetration_cap) + lost


def _solution(problem: JointProblem, state: JointState, index: int, value: float, ious: Tensor) -> JointSolution:
    row = torch.tensor([index], device=ious.device)
    bodies = []
    for person, body, free in zip(problem.people, state.bodies, state.layout.free, strict=True):
        given = person.given.body
        if free.size == 0:
            bodies.append(given)
            continue
        own = body.select(row)
        out = own.forward(person.figure.model)
        verts, joints = (x[0].detach().cpu().double().numpy() for x in (out.verts, out.joints))
        bodies.append(SceneBody(person.params(own), verts, given.faces, joints))
    return JointSolution(tuple(bodies), tuple(problem.poses(state, index)), value, tuple(ious.tolist()))


def _distinct(problem: JointProblem, state: JointState) -> list[int]:
    """Hypotheses in which some object is really elsewhere than in any better one, best first."""
    kept = [0]
    far = problem.config.objects.ambiguous_distance
    placed = [o.place(p.probe) for o, p in zip(state.objects, problem.objects, strict=True)]
    for b in range(1, len(state)):
        apart = torch.stack([set_distance(x[b], x[kept]) for x in placed])  # (K, kept)
        if float(apart.amax(0).min()) > far:
            kept.append(b)
    return kept[1:]


def _covariance(problem: JointProblem, state: JointState, hessian: Tensor, ranked: Tensor) -> Covariance:
    matrix = laplace(hessian)
    values = ranked.detach().double().cpu().numpy()
    heat = problem.config.spread_temperature
    spread = {
        name: hypothesis_spread(tangent(o.R, o.t, o.log_s), values, heat)
        for name, o in zip(state.layout.objects, state.objects, strict=True)
    }
    return Covariance(matrix, split(matrix, state.layout.columns), spread)


def _overlaps(problem: JointProblem, bodies: list[Mesh], objects: list[Mesh]) -> tuple[Overlap, ...]:
    found = []
    for i, skin in enumerate(bodies):
        for k, thing in enumerate(objects):
            low = np.maximum(skin.verts.min(0), thing.verts.min(0))
            if np.all(low < np.minimum(skin.verts.max(0), thing.verts.max(0))):
                samples = sample_surface(thing, 2000, problem.config.objects.seed).interpolate(thing.verts)
                found.append(overlap(i, k, skin, thing, samples))
    return tuple(found)


def _flags(
    problem: JointProblem,
    best: JointSolution,
    covariance: Covariance,
    gaps: list[float],
    overlaps: tuple[Overlap, ...],
    dropped: int,
) -> tuple[str, ...]:
    touched = {edge.obj for edge in problem.edges}
    names = list(covariance.spread)
    unsure = any(
        p.scale_prior[1] > 2e-3 and np.sqrt(covariance.blocks[n][6, 6]) > SCALE_UNSURE * p.scale_prior[1]
        for n, p in zip(names, problem.objects, strict=True)
    )
    found = {
        AMBIGUOUS: any(gap < problem.config.objects.ambiguous_energy for gap in gaps),
        "no contact": len(touched) < len(problem.objects),
        "scale set by prior": unsure or len(touched) < len(problem.objects),
        "covers the mask poorly": min(best.iou_visible) < POOR_IOU,
        "penetrates the body": any(o.depth_mm > DEEP_MM for o in overlaps),
        "starts dropped": dropped > 0,
    }
    return tuple(flag for flag, is_set in found.items() if is_set)
