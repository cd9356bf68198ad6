"""The terms of a fit under Adam and L-BFGS: autograd follows their residuals.

Levenberg-Marquardt (:mod:`hoirecon.fitting.solver`) solves the same objective in far fewer evaluations. This is for
comparing, and for adding losses that are no sums of squares: soft silhouettes, priors by networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.objective import Term, check_terms, gmof

Method = Literal["adam", "lbfgs"]


class Movable(Protocol):
    """A batch of B problems: :class:`~hoirecon.fitting.object_state.ObjectState` or
    :class:`~hoirecon.fitting.joint_state.JointState`."""

    def __len__(self) -> int: ...

    def retract(self, step: Tensor) -> Any:
        """The state after a step (B, D)."""
        ...

    def select(self, index: Tensor) -> Any:
        """Some of the problems."""
        ...

    def merge(self, part: Any, index: Tensor) -> Any:
        """These problems with those at ``index`` replaced."""
        ...


S = TypeVar("S", bound=Movable)
Loss = Callable[[S], Tensor]
"""A loss of one's own: state to (B,) costs."""


@dataclass(frozen=True)
class DescentConfig:
    """Settings of :func:`minimise_by_gradient`."""

    iterations: int = 200
    """Steps of Adam, or most iterations of L-BFGS."""
    rate: float = 5e-3
    """First rate of Adam: about the step per iteration, radians and metres; it falls to zero along a cosine."""
    history: int = 20
    """Steps from which L-BFGS guesses the curvature."""
    tolerance: float = 1e-4
    """L-BFGS starts another round if the last one lowered the cost by more than this fraction."""

    def __post_init__(self) -> None:
        if self.iterations < 1 or not self.rate > 0 or self.history < 1:
            raise InputError(f"the descent needs positive iterations, rate and history, got {self}")


@dataclass(frozen=True)
class DescentResult(Generic[S]):
    """The best states on the way."""

    state: S
    cost: Tensor
    """(B,) value of the objective at :attr:`state`."""
    trace: Tensor
    """(B, E) value at each evaluation, infinite after a problem has ended."""

    @property
    def evaluations(self) -> int:
        """Evaluations per problem, of the one that took most."""
        return int(self.trace.shape[1])


def objective_value(terms: Sequence[Term[Any]], seen: Any) -> Tensor:
    """(B,) value of the objective at a state, as autograd can follow it.

    Sample weights, nearest neighbours and outline samples are held fixed in the derivative, as in the closed-form
    Jacobians, so that the gradient is ``2 J^T W r``: twice :attr:`~hoirecon.fitting.objective.Quadratic.gradient`.
    """
    values = []
    for term in terms:
        res = term.residuals(seen)
        rho, _ = gmof(res.r.square().sum(-1), term.robust)
        values.append(term.weight * (res.w.detach() * rho).sum(-1))
    return torch.stack(values).sum(0)


def minimise_by_gradient(
    terms: Sequence[Term[Any]],
    state: S,
    method: Method = "adam",
    *,
    view: Callable[[S], Any] | None = None,
    loss: Loss[S] | None = None,
    rates: Tensor | None = None,
    config: DescentConfig = DescentConfig(),
) -> DescentResult[S]:
    """Minimise terms, and a loss of one's own, by Adam or L-BFGS.

    Problems of a batch do not see each other: one that diverges costs the others nothing.

    Args:
        terms: the objective.
        state: starting state of B problems.
        method: ``adam``, all problems at once, or ``lbfgs`` (strong Wolfe), one after the other.
        view: state -> what the terms look at; ``problem.view`` of a joint problem, None for objects alone.
        loss: added to the terms; state -> (B,).
        rates: (D,) factor on each column of the step: what moves slowly gets a small one.
        config: iterations and rate.

    Raises:
        InputError: no terms, an unknown method, or a start whose cost or gradient is not finite.

    Example:
        >>> found = minimise_by_gradient(problem.terms(stage), state, "lbfgs")  # doctest: +SKIP
    """
    check_terms(terms)
    if method not in ("adam", "lbfgs"):
        raise InputError(f"unknown method '{method}': take adam or lbfgs")
    look = view or (lambda s: s)

    def value(moved: S) -> Tensor:
        cost = objective_value(terms, look(moved))
        return cost if loss is None else cost + loss(moved)

    J = _checked_start(terms, state, look)
    scale = J.new_ones(J.shape[-1]) if rates is None else rates.to(J)
    if method == "adam":
        return _adam(value, state, scale, config)
    parts = [_lbfgs(value, state.select(torch.tensor([b], device=J.device)), scale, config) for b in range(len(state))]
    return _together(state, parts, J.device)


def _checked_start(terms: Sequence[Term[Any]], state: S, look: Callable[[S], Any]) -> Tensor:
    """A Jacobian, for its columns, type and device; raises if a term has no finite value or gradient at the start."""
    with torch.no_grad():
        J = terms[0].residuals(look(state)).J
    step = J.new_zeros(len(state), J.shape[-1]).requires_grad_()
    for term in terms:
        value = objective_value([term], look(state.retract(step)))
        if not bool(torch.isfinite(value).all()):
            raise InputError(
                f"the cost of {term.name} at a start is not finite: {value.tolist()}; check poses and body for NaN"
            )
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value.sum(), [step], allow_unused=True)
            if gradient is not None and not bool(torch.isfinite(gradient).all()):
                raise InputError(
                    f"the gradient of {term.name} at a start is not finite: autograd cannot follow it there"
                )
    return J


class _Best(Generic[S]):
    """The best step of each problem so far."""

    def __init__(self, like: Tensor) -> None:
        self.step, self.knobs = torch.zeros_like(like), torch.zeros_like(like)
        self.cost = torch.full_like(like[:, 0], torch.inf)
        self.trace: list[Tensor] = []

    def note(self, step: Tensor, cost: Tensor, knobs: Tensor) -> None:
        cost = cost.detach()
        self.trace.append(cost)
        better = cost < self.cost  # False for NaN
        self.cost = torch.where(better, cost, self.cost)
        self.step = torch.where(better[:, None], step.detach(), self.step)
        self.knobs = torch.where(better[:, None], knobs.detach(), self.knobs)

    def result(self, state: S) -> DescentResult[S]:
        return DescentResult(state.retract(self.step), self.cost, torch.stack(self.trace, 1))


def _adam(value: Callable[[S], Tensor], state: S, scale: Tensor, config: DescentConfig) -> DescentResult[S]:
    knobs = scale.new_zeros(len(state), len(scale)).requires_grad_()
    best: _Best[S] = _Best(knobs.detach())
    optimiser = torch.optim.Adam([knobs], lr=config.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.iterations)
    for _ in range(config.iterations):
        cost = value(state.retract(knobs * scale))
        best.note(knobs * scale, cost, knobs)
        (gradient,) = torch.autograd.grad(cost.sum(), [knobs])
        knobs.grad = torch.where(torch.isfinite(gradient).all(1, keepdim=True), gradient, 0.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        best.note(knobs * scale, value(state.retract(knobs * scale)), knobs)
    return best.result(state)


def _lbfgs(value: Callable[[S], Tensor], state: S, scale: Tensor, config: DescentConfig) -> DescentResult[S]:
    """Rounds of L-BFGS, each from the best so far: a matched point that jumps ends a line search, not the descent."""
    knobs = scale.new_zeros(1, len(scale)).requires_grad_()
    best: _Best[S] = _Best(knobs.detach())

    def closure() -> Tensor:
        cost = value(state.retract(knobs * scale))
        best.note(knobs * scale, cost, knobs)
        (knobs.grad,) = torch.autograd.grad(cost.sum(), [knobs])
        return cost.sum()

    left, before = config.iterations, torch.inf
    while left > 0:
        optimiser = torch.optim.LBFGS(
            [knobs], max_iter=left, history_size=config.history, line_search_fn="strong_wolfe"
        )
        optimiser.step(closure)  # type: ignore[no-untyped-call]
        left -= max(1, int(optimiser.state[knobs].get("n_iter", 1)))
        now = float(best.cost)
        if not now < before - config.tolerance * abs(now):
            break
        before = now
        with torch.no_grad():
            knobs.copy_(best.knobs)
    return best.result(state)


def _together(state: S, parts: Sequence[DescentResult[S]], device: torch.device) -> DescentResult[S]:
    longest = max(p.evaluations for p in parts)
    traces = []
    for b, part in enumerate(parts):
        state = state.merge(part.state, torch.tensor([b], device=device))
        traces.append(torch.nn.functional.pad(part.trace, (0, longest - part.evaluations), value=torch.inf))
    return DescentResult(state, torch.cat([p.cost for p in parts]), torch.cat(traces))
