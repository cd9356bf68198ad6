"""What a joint fit reports: the best hypothesis and the others, covariance, residuals, overlaps, flags."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.fitting.covariance import Covariance, contour_misfit, hypothesis_spread, laplace, split, tangent, weakest
from hoirecon.fitting.evidence_checks import INSIDE_OUT, OPEN_MESH, mesh_flags
from hoirecon.fitting.expected_error import ExpectedError, Opinion, error_of, is_ambiguous
from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.hypotheses import set_distance
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.joint_state import JointState
from hoirecon.fitting.object_fit import AMBIGUOUS, DEEP_MM, POOR_IOU, SCALE_UNSURE, surface_of
from hoirecon.fitting.object_search import MASK
from hoirecon.fitting.object_types import ObjectFit
from hoirecon.fitting.objective import Quadratic, report_term
from hoirecon.fitting.part_contact import PartsMeet
from hoirecon.fitting.report import JointFit, JointSolution, Overlap, exact_ious, overlap
from hoirecon.fitting.visible import visible_ious
from hoirecon.mesh import Mesh
from hoirecon.scene import SceneBody


def make_result(
    problem: JointProblem,
    state: JointState,
    quad: Quadratic,
    fits: Sequence[ObjectFit],
    dropped: int,
    seconds: dict[str, float],
) -> JointFit:
    """Rank the hypotheses and measure the best.

    Args:
        problem: what was solved.
        state: all hypotheses at the end.
        quad: the last stage's objective there.
        fits: of the first stage.
        dropped: how many starts were not finite.
        seconds: CPU seconds per stage so far.
    """
    clock = time.process_time()
    ious, shown = _visible_ious(state)
    ranked = ranking(quad, ious, problem.config.objects) - unheard(problem, quad)
    favoured = torch.zeros_like(ranked)
    favoured[0] = problem.config.first_choice
    order = torch.argsort(ranked - favoured, stable=True)
    state, ranked, shown = state.select(order), ranked[order], shown[order]
    hessian = quad.hessian[order[0]]
    solutions = [_solution(problem, state, b, float(ranked[b]), shown[b]) for b in range(len(state))]
    others = _distinct(problem, state)
    problem = problem.outlined(state)
    misfit = contour_misfit(problem.terms(problem.config.whole), quad.select(order[:1]))
    covariance = _covariance(problem, state, hessian, misfit, ranked, [0, *others])
    bodies, objects = problem.posed(state, 0)
    overlaps = _overlaps(problem, bodies, objects)
    first = state.select(torch.zeros(1, dtype=torch.long, device=ranked.device))
    view = problem.view(first)
    weak = {
        name: weakest(covariance.of(name), problem.objects[k].diagonal / 2)
        for k, name in enumerate(state.layout.objects)
    }
    errors = _errors(problem, solutions, covariance, fits)
    found = _findings(problem, solutions[0], covariance, errors, overlaps, dropped)
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
        flags=tuple(flag for flag in found[0] if any(own[flag] for own in found)),
        object_flags=tuple(tuple(flag for flag, is_set in own.items() if is_set) for own in found),
        seconds=seconds,
        predicted_error_m=tuple(e.error_m for e in errors),
        chance_far=tuple(e.chance_far for e in errors),
    )


def _visible_ious(state: JointState) -> tuple[Tensor, Tensor]:
    """Visible IoUs (B, K) of each object of each hypothesis, before its own bodies: for the ranking, and to be shown;
    see :func:`~hoirecon.fitting.visible.visible_ious`."""
    rows = []
    for b in range(len(state)):
        one = state.select(torch.tensor([b], device=state.objects[0].t.device))
        own = [o.seen_by(replace(o.view, region=o.view.region.row(0))) for o in one.objects]  # type: ignore[attr-defined]
        rows.append([torch.cat(ious) for ious in zip(*map(visible_ious, own), strict=True)])
    told_apart, shown = (torch.stack(ious) for ious in zip(*rows, strict=True))
    return told_apart, shown


def ranking(quad: Quadratic, ious: Tensor, config: FitConfig) -> Tensor:
    """(B,) the objective, as the object fit ranks: penetration capped, of the mask's contour a share, visible IoU as a
    mild extra."""
    names = [n for n in quad.terms if n.startswith(("body in object", "object in body", "object in object"))]
    deep = sum((quad.terms[n] for n in names), torch.zeros_like(quad.cost))
    own = sum((quad.terms[n] for n in quad.terms if n.startswith(MASK)), torch.zeros_like(quad.cost))
    lost = config.rank_iou_weight * (1 - ious).sum(1) - (1 - config.rank_mask_weight) * own
    return quad.cost - deep + deep.clamp_max(config.rank_penetration_cap) + lost


def unheard(problem: JointProblem, quad: Quadratic) -> Tensor:
    """(B,) what of the named parts' cost does not count when a hypothesis is chosen."""
    claims = [quad.terms[term.name] for term in problem.extra if isinstance(term, PartsMeet)]
    return (1 - problem.config.rank_parts_weight) * sum(claims, torch.zeros_like(quad.cost))


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


def _covariance(
    problem: JointProblem, state: JointState, hessian: Tensor, misfit: float, ranked: Tensor, kept: list[int]
) -> Covariance:
    """Of the best solution; poses that look the same (a turned bottle) are no spread."""
    matrix = laplace(hessian) * misfit * problem.config.covariance_scale
    values = ranked[kept].detach().double().cpu().numpy()
    heat = problem.config.spread_temperature
    spread = {
        name: hypothesis_spread(tangent(o.R, o.t, o.log_s)[kept], values, heat)
        for name, o in zip(state.layout.objects, state.objects, strict=True)
    }
    return Covariance(matrix, split(matrix, state.layout.columns), spread)


def _errors(
    problem: JointProblem, solutions: Sequence[JointSolution], covariance: Covariance, fits: Sequence[ObjectFit]
) -> list[ExpectedError]:
    """Of each object of the best solution, from all poses that its search ended with, and from the joint hypotheses.

    A hypothesis that is a little better than the chosen one (``first_choice``) counts as equal.
    """
    config, best, found = problem.config, solutions[0], []
    for k, (name, thing) in enumerate(zip(covariance.spread, problem.objects, strict=True)):
        hypotheses = [(s.poses[k], max(s.energy, best.energy)) for s in solutions]
        opinions = [Opinion(hypotheses, config.ambiguous_temperature)]
        if fits and fits[k].candidates:
            searched = [(c.pose, c.energy) for c in fits[k].candidates]
            opinions.append(Opinion(searched, config.objects.ambiguous_temperature))
        limit = config.objects.ambiguous_distance
        found.append(error_of(best.poses[k], opinions, covariance.blocks[name], surface_of(thing), limit))
    return found


def _overlaps(problem: JointProblem, bodies: list[Mesh], objects: list[Mesh]) -> tuple[Overlap, ...]:
    found = []
    for i, skin in enumerate(bodies):
        for k, thing in enumerate(objects):
            low = np.maximum(skin.verts.min(0), thing.verts.min(0))
            if np.all(low < np.minimum(skin.verts.max(0), thing.verts.max(0))):
                samples = sample_surface(thing, 2000, problem.config.objects.seed).interpolate(thing.verts)
                found.append(overlap(i, k, skin, thing, samples))
    return tuple(found)


def _findings(
    problem: JointProblem,
    best: JointSolution,
    covariance: Covariance,
    errors: list[ExpectedError],
    overlaps: tuple[Overlap, ...],
    dropped: int,
) -> list[dict[str, bool]]:
    """Of each object every flag and whether it is set, always in the same order."""
    touched, found = {edge.obj for edge in problem.edges}, []
    for k, (name, thing) in enumerate(zip(covariance.spread, problem.objects, strict=True)):
        sigma, std = thing.scale_prior[1], np.sqrt(covariance.blocks[name][6, 6])
        torn = mesh_flags(problem.meshes[k])
        flags = {
            AMBIGUOUS: is_ambiguous(errors[k].chance_far, problem.config.ambiguous_odds),
            "no contact": k not in touched,
            "scale set by prior": k not in touched or (sigma > 2e-3 and std > SCALE_UNSURE * sigma),
            "covers the mask poorly": best.iou_visible[k] < POOR_IOU,
            "penetrates the body": any(o.depth_mm > DEEP_MM for o in overlaps if o.obj == k),
            "starts dropped": dropped > 0,
            **{flag: flag in torn for flag in (OPEN_MESH, INSIDE_OUT)},
        }
        found.append(flags)
    return found
