"""The search for one object's pose: from all rotations at once, then round the best poses, one energy ranking them all.

Stages: coarse steps from every start, the worse half dropped on the way; the best distinct ones annealed; fewer of them
finished with narrow robust scales; then kicks: the best poses turned, flipped and resized, and finished again, because
the contour has many shallow minima.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.hypotheses import distinct, mutual_distance, start_translations
from hoirecon.fitting.object_problem import ObjectProblem
from hoirecon.fitting.object_state import DOF, ObjectState, limit_step
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Quadratic, linearise
from hoirecon.fitting.so3 import exp_so3, super_fibonacci, upright_rotations
from hoirecon.fitting.solver import LMConfig, in_chunks, levenberg_marquardt
from hoirecon.fitting.visible import visible_iou

UP_CAM = (0.0, -1.0, 0.0)
"""Up for a level camera."""
PENETRATION = ("body in object", "object in body")
"""Names of the terms that are capped when poses are ranked."""
MASK = "mask on outline"
"""Name of the term of which a share counts when a pose is chosen."""
CONTACT = "contact"
"""Name of the term that counts for more when one is chosen of poses that are apart."""


@dataclass(frozen=True)
class Found:
    """Poses, best first; see :func:`by_neighbourhood`."""

    state: ObjectState
    quad: Quadratic
    """The last stage's objective at the poses."""
    energy: Tensor
    """(B,) what ranks."""
    evaluations: int
    """(pose, step) evaluations spent."""


def search(problem: ObjectProblem, rotations: Tensor, config: FitConfig) -> Found:
    """Search the pose of one prepared object.

    Args:
        problem: from :func:`hoirecon.fitting.object_problem.prepare`.
        rotations: (B, 3, 3) start rotations.
        config: settings.

    Raises:
        InputError: no start is finite.
    """
    run = Search(problem, config)
    state, quad = run.coarse(finite_ones(starts(problem, rotations, config)))
    kept = distinct(state, quad.cost, problem.probe, config.duplicate * problem.diagonal, config.keep)
    state, quad = run.finish(state.select(kept), config.finish)
    for number in range(config.kicks.rounds):
        state, quad = run.kick(state, quad, number)
    iou = visible_iou(state)
    energy = choice_energy(quad, iou, config)
    own = energy - contact_extra(quad, config)
    order = by_neighbourhood(mutual_distance(state.place(problem.probe)), energy, own, config.rank_apart)
    return Found(state.select(order), quad.select(order), energy[order], run.evaluations)


def start_rotations(obj: ObjectToFit, config: FitConfig) -> Tensor:
    """(B, 3, 3) rotations to start from: given ones, upright ones if an up axis is known, and an even cover."""
    parts = [] if obj.initial_rotations is None else [torch.tensor(obj.initial_rotations)]
    upright = config.hypotheses // 2 if obj.up_obj is not None else 0
    if obj.up_obj is not None:
        up_obj = torch.tensor(obj.up_obj, dtype=torch.float64)
        parts.append(upright_rotations(upright, up_obj, torch.tensor(UP_CAM, dtype=torch.float64)))
    parts.append(super_fibonacci(config.hypotheses - upright))
    rotations = torch.cat(parts)
    if len(rotations) == 0:
        raise InputError(f"{obj.name} has no start rotation: give initial_rotations or hypotheses > 0")
    return rotations


def starts(problem: ObjectProblem, rotations: Tensor, config: FitConfig) -> ObjectState:
    """A pose for each rotation, where contact and mask ask for it."""
    R = rotations.to(problem.verts)
    mean = problem.scale_prior[0]
    anchor = problem.contact.anchor() if problem.contact else None
    if anchor is not None:
        anchor = (anchor[0], anchor[1] * float(np.exp(mean)))
    t = start_translations(R, problem.verts * float(np.exp(mean)), problem.region, anchor, problem.body_depth)
    return ObjectState(R, t, torch.full_like(t[:, 0], mean), problem.view(config.coarse))


def finite_ones(state: ObjectState) -> ObjectState:
    """The poses without those that hold NaN, which no distance field can be asked about."""
    numbers = torch.cat([state.R.flatten(1), state.t, state.log_s[:, None]], 1)
    good = torch.nonzero(torch.isfinite(numbers).all(1)).flatten()
    if len(good) == 0:
        raise InputError("no start is finite: check rotations, mesh and body for NaN")
    return state if len(good) == len(state) else state.select(good)


class Search:
    """Runs stages on one problem and counts what they cost."""

    def __init__(self, problem: ObjectProblem, config: FitConfig) -> None:
        self.problem = problem
        self.config = config
        self.evaluations = 0

    def coarse(self, state: ObjectState) -> tuple[ObjectState, Quadratic]:
        """The first stage, with the worse half dropped on the way."""
        stage, early = self.config.coarse, self.config.prune_after
        if 0 < early < stage.iterations:
            state, quad = self.refine(state, stage, early)
            half = max(self.config.keep, (len(quad.cost) + 1) // 2)
            state = state.select(torch.argsort(quad.cost, stable=True)[:half])
            return self.refine(state, stage, stage.iterations - early)
        return self.refine(state, stage)

    def finish(self, state: ObjectState, keep: int, iterations: int | None = None) -> tuple[ObjectState, Quadratic]:
        """Anneal all poses, finish the best ``keep`` of them."""
        state, quad = self.refine(state, self.config.anneal, iterations)
        if len(state) > keep:
            energy = ranking_energy(quad, visible_iou(state), self.config)
            state = state.select(distinct(state, energy, self.problem.probe, self._near(0.5), keep))
        return self.refine(state, self.config.final)

    def kick(self, state: ObjectState, quad: Quadratic, number: int) -> tuple[ObjectState, Quadratic]:
        """The poses and, finished, what the best distinct ones become when kicked."""
        kicks = self.config.kicks
        energy = ranking_energy(quad, visible_iou(state), self.config)
        best = state.select(distinct(state, energy, self.problem.probe, self._near(0.75), kicks.best))
        generator = torch.Generator().manual_seed(self.config.seed + number)
        new = [_flipped(best, axis) for axis in range(3)] if number == 0 and kicks.flips else []
        new += [_kicked(best, kicks.turn, kicks.growth, generator) for _ in range(kicks.each)]
        if not new:  # half turns alone were asked for, and they belong to the first round
            return state, quad
        moved, new_quad = self.finish(_joined(new), kicks.keep, kicks.iterations)
        return _joined([state.seen_by(moved.view), moved]), Quadratic.joined([quad, new_quad])

    def refine(
        self, state: ObjectState, stage: StageConfig, iterations: int | None = None
    ) -> tuple[ObjectState, Quadratic]:
        """One stage of Levenberg-Marquardt on all poses."""
        terms = self.problem.terms(stage, self.config)

        def evaluate(batch: ObjectState) -> Quadratic:
            return linearise(terms, batch)

        result = levenberg_marquardt(
            state.seen_by(self.problem.view(stage)),
            in_chunks(evaluate, ObjectState.select, len, self.config.chunk),
            ObjectState.retract,
            ObjectState.select,
            ObjectState.merge,
            LMConfig(iterations=stage.iterations if iterations is None else iterations),
            limit_step,
        )
        self.evaluations += result.evaluations
        return result.state, result.quadratic

    def _near(self, factor: float) -> float:
        """Distance under which poses are one, metres."""
        return factor * self.config.duplicate * self.problem.diagonal


def ranking_energy(quad: Quadratic, iou: Tensor, config: FitConfig) -> Tensor:
    """(B,) what ranks poses during the search: Laplace's evidence of the objective, and visible IoU as a mild extra.

    Penetration is capped, as a displaced hand must not decide. The logarithm of the Hessian's determinant favours wide
    minima over narrow ones of the same depth: more poses near them explain the photograph.
    """
    deep = sum((quad.terms[n] for n in PENETRATION if n in quad.terms), torch.zeros_like(quad.cost))
    capped = quad.cost - deep + deep.clamp_max(config.rank_penetration_cap)
    return capped + config.rank_iou_weight * (1 - iou) + config.rank_width_weight * log_curvature(quad).to(iou)


def choice_energy(quad: Quadratic, iou: Tensor, config: FitConfig) -> Tensor:
    """(B,) what ranks the poses that were found: as during the search, but of the mask's contour, part of which may be
    a hand's, a share counts (:attr:`~hoirecon.fitting.fit_config.FitConfig.rank_mask_weight`), and contact counts for
    more (:attr:`~hoirecon.fitting.fit_config.FitConfig.rank_contact_weight`)."""
    energy = ranking_energy(quad, iou, config) - (1 - config.rank_mask_weight) * quad.terms[MASK]
    return energy + contact_extra(quad, config)


def contact_extra(quad: Quadratic, config: FitConfig) -> Tensor:
    """(B,) what contact counts for beyond its own weight when one is chosen of poses that are apart; never below 0, and
    0 where contact is left out."""
    if CONTACT not in quad.terms or config.contact_weight == 0:
        return torch.zeros_like(quad.cost)
    return quad.terms[CONTACT] * max(config.rank_contact_weight / config.contact_weight - 1, 0.0)


def by_neighbourhood(apart: Tensor, energy: Tensor, own: Tensor, near: float) -> Tensor:
    """Order (B,) of poses: neighbourhood after neighbourhood by the lowest energy in each; the first of each is the one
    with the lowest energy of its own kind.

    Evidence that tells poses apart which are far from each other need not tell which of two near ones is better.

    Args:
        apart: (B, B) distances of the poses, metres.
        energy: (B,) ranks neighbourhoods.
        own: (B,) ranks the poses within one.
        near: poses closer than this to the best of the rest are in its neighbourhood, metres.
    """
    order: list[int] = []
    rest = torch.argsort(energy, stable=True).tolist()
    while rest:
        group = [i for i in rest if i == rest[0] or float(apart[rest[0], i]) < near]
        first = min(group, key=lambda i: float(own[i]))
        order += [first, *(i for i in group if i != first)]
        rest = [i for i in rest if i not in group]
    return torch.tensor(order, device=energy.device)


def log_curvature(quad: Quadratic) -> Tensor:
    """(B,) logarithm of the determinant of half the Hessian, float64."""
    H = quad.hessian.double()
    eye = torch.eye(DOF, dtype=H.dtype, device=H.device)
    value: Tensor = torch.linalg.slogdet(H + 1e-6 * eye).logabsdet
    return value


def _kicked(state: ObjectState, turn: float, growth: float, generator: torch.Generator) -> ObjectState:
    """Each pose turned about the object's centre by half to one and a half times an angle, and moved along its line of
    sight; its size makes up for half of that in the picture."""
    count = len(state)
    axis = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    angle = turn * (0.5 + torch.rand(count, 1, generator=generator))
    grow = (growth * torch.randn(count, generator=generator)).clamp(-3 * growth, 3 * growth).to(state.t)
    R = exp_so3((axis * angle).to(state.R)) @ state.R
    return ObjectState(R, state.t * grow.exp()[:, None], state.log_s + grow / 2, state.view)


def _flipped(state: ObjectState, axis: int) -> ObjectState:
    """Each pose turned by half a turn about an axis of the object."""
    half = -torch.ones(3, dtype=state.R.dtype, device=state.R.device)
    half[axis] = 1.0
    return ObjectState(state.R * half, state.t, state.log_s, state.view)


def _joined(states: list[ObjectState]) -> ObjectState:
    R, t, log_s = (torch.cat([getattr(s, name) for s in states]) for name in ("R", "t", "log_s"))
    return ObjectState(R, t, log_s, states[0].view)
