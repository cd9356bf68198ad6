"""Batched Levenberg-Marquardt: every problem of the batch has its own damping and its own end.

Objectives with nearest neighbours and samples that are taken anew at every evaluation are rugged: their cost jumps a
little wherever a match changes. A solver that takes only steps that lower the cost ends in the first lucky dent. So a
step is taken as long as the cost stays below the highest of the last few (Grippo, Lampariello and Lucidi's condition),
and the best state met is what is returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.objective import Quadratic

State = TypeVar("State")


@dataclass(frozen=True)
class LMConfig:
    """Settings of the solver."""

    iterations: int = 20
    """Most steps tried per problem."""
    damping: float = 1e-2
    """Start of the damping, relative to the Hessian's diagonal; larger makes first steps shorter."""
    damping_down: float = 0.25
    """Factor after an accepted step."""
    damping_up: float = 5.0
    """Factor after a refused step."""
    tolerance: float = 1e-3
    """A problem ends when a step lowers its lowest cost by less than this fraction."""
    max_rejections: int = 4
    """A problem ends after this many steps in a row that do not lower its lowest cost."""
    memory: int = 5
    """A step is taken if its cost is below the highest of so many last ones; 1 asks every step to lower the cost."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"the solver needs at least one iteration, got {self.iterations}")
        if self.memory < 1:
            raise InputError(f"the solver needs to remember at least the last cost (memory >= 1), got {self.memory}")


@dataclass(frozen=True)
class LMResult(Generic[State]):
    """The best state met of each problem."""

    state: State
    quadratic: Quadratic
    """Cost, gradient, Hessian and per-term costs at ``state``."""
    evaluations: int
    """Number of (problem, step) evaluations, stopped problems not counted."""


def levenberg_marquardt(
    state: State,
    linearise: Callable[[State], Quadratic],
    retract: Callable[[State, Tensor], State],
    select: Callable[[State, Tensor], State],
    merge: Callable[[State, State, Tensor], State],
    config: LMConfig = LMConfig(),
    limit_step: Callable[[Tensor], Tensor] | None = None,
) -> LMResult[State]:
    """Minimise a batch of independent least-squares problems.

    A problem takes a step only if its cost stays below the highest of its last few (:attr:`LMConfig.memory`); problems
    that have ended leave the batch, so that one that diverges or converges late costs the others nothing. A non-finite
    cost counts as a refused step.

    Args:
        state: starting state of B problems.
        linearise: state -> :class:`~hoirecon.fitting.objective.Quadratic` of the same batch.
        retract: (state, step (B, D)) -> moved state.
        select: (state, indices (K,)) -> state of those K problems.
        merge: (state, part, indices (K,)) -> state in which those problems are replaced by the part.
        config: damping and stopping.
        limit_step: optional map of steps (B, D) -> (B, D), e.g. a trust limit of 0.6 rad.

    Returns:
        The best states and their quadratic model.

    Raises:
        InputError: the cost of no starting state is finite. If it is of some, the others are left where they are, at an
            infinite cost.
    """
    quad = linearise(state)
    finite = torch.isfinite(quad.cost)
    if not finite.any():
        raise InputError(
            f"the cost of all {len(finite)} starting states is not finite{_culprits(quad)}the inputs for NaN"
        )
    quad = replace(quad, cost=torch.where(finite, quad.cost, torch.inf))
    best, best_quad = state, quad
    recent = quad.cost.repeat(config.memory, 1)
    damping = torch.full_like(quad.cost, config.damping)
    vain = torch.zeros_like(quad.cost, dtype=torch.long)  # steps in a row without a new lowest cost
    active = torch.nonzero(finite).flatten()  # what starts at NaN stays there, at an infinite cost
    evaluations = len(finite)
    for count in range(config.iterations):
        if len(active) == 0:
            break
        whole = len(active) == len(finite)
        now = quad if whole else quad.select(active)
        step = damped_step(now, damping[active])
        step = step if limit_step is None else limit_step(step)
        tried = retract(state if whole else select(state, active), step)
        new = linearise(tried)
        evaluations += len(active)
        taken = torch.isfinite(new.cost) & (new.cost < recent[:, active].amax(0))
        state, quad = _replaced(state, quad, tried, new, active, taken, select, merge)
        recent[count % config.memory, active] = quad.cost[active]
        damping[active] = _next_damping(damping[active], taken, new.cost < now.cost, config)
        lowest = best_quad.cost[active]
        better = taken & (new.cost < lowest)
        best, best_quad = _replaced(best, best_quad, tried, new, active, better, select, merge)
        vain[active] = torch.where(better, 0, vain[active] + 1)
        slow = better & (lowest - new.cost < config.tolerance * lowest)
        active = active[~slow & (vain[active] < config.max_rejections)]
    return LMResult(best, best_quad, evaluations)


def _culprits(quad: Quadratic) -> str:
    """The terms whose cost is not finite, in words, and what to do; one of the user's own may be the whole matter."""
    names = [repr(name) for name, cost in quad.terms.items() if not bool(torch.isfinite(cost).all())]
    if not names:
        return ": check "
    return f", because of the term{'s' if len(names) > 1 else ''} {', '.join(names)}: check what they give and "


def _next_damping(damping: Tensor, taken: Tensor, lower: Tensor, config: LMConfig) -> Tensor:
    """Smaller after a step that lowers the cost, the same after one that is taken all the same, larger after others."""
    kept = torch.where(taken, damping, damping * config.damping_up)
    return torch.where(taken & lower, (damping * config.damping_down).clamp_min(1e-7), kept)


def _replaced(
    state: State,
    quad: Quadratic,
    tried: State,
    new: Quadratic,
    active: Tensor,
    chosen: Tensor,
    select: Callable[[State, Tensor], State],
    merge: Callable[[State, State, Tensor], State],
) -> tuple[State, Quadratic]:
    """States and their quadratics with the chosen ones of the tried problems in place."""
    index = torch.nonzero(chosen).flatten()
    if len(index) == 0:
        return state, quad
    if len(index) == len(quad.cost):  # all of them: nothing to copy
        return tried, new
    where = active[index]
    return merge(state, select(tried, index), where), quad.merge(new.select(index), where)


def in_chunks(
    linearise: Callable[[State], Quadratic],
    select: Callable[[State, Tensor], State],
    length: Callable[[State], int],
    chunk: int,
) -> Callable[[State], Quadratic]:
    """The same linearisation, evaluated for at most ``chunk`` problems at once so that they stay in the cache."""

    def chunked(state: State) -> Quadratic:
        count = length(state)
        if count <= chunk:
            return linearise(state)
        starts = range(0, count, chunk)
        parts = [linearise(select(state, torch.arange(s, min(s + chunk, count)))) for s in starts]
        return Quadratic.joined(parts)

    return chunked


def damped_step(quad: Quadratic, damping: Tensor) -> Tensor:
    """(B, D) solution of (H + damping diag(H) + tiny) step = -g, in float64 for stability.

    A direction that no term sees gets a zero step.
    """
    H = quad.hessian.double()
    g = quad.gradient.double()
    diagonal = H.diagonal(dim1=-2, dim2=-1)
    floor = 1e-9 * diagonal.amax(-1, keepdim=True) + 1e-12
    A = H + torch.diag_embed(damping.double()[:, None] * diagonal + floor)
    factor, info = torch.linalg.cholesky_ex(A)
    step = -torch.cholesky_solve(g[..., None], factor)[..., 0]
    step = torch.where((info == 0)[:, None] & torch.isfinite(step), step, torch.zeros_like(step))
    return step.to(quad.gradient.dtype)
