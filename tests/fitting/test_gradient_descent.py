"""The terms under Adam and L-BFGS: their gradient is the closed form's, and they end where the solver ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.gradient_descent import DescentConfig, Method, minimise_by_gradient, objective_value
from hoirecon.fitting.joint_state import RegionStack
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_state import ObjectState, limit_step
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Residuals, Term, linearise
from hoirecon.fitting.solver import LMConfig, levenberg_marquardt

CONFIG = FitConfig()
STAGE = replace(CONFIG.final, raster=48, model_samples=64, mask_samples=40)


@pytest.fixture(scope="module")
def problem(small_scene: Callable[..., Any]) -> ObjectProblem:
    scene = small_scene(kind="steps")
    obj = ObjectToFit(scene.mesh, "steps")
    return prepare(scene.observation, 0, scene.body, obj, scene.contact, (), CONFIG, dtype=torch.float64)


@pytest.fixture(scope="module")
def near(problem: ObjectProblem, small_scene: Callable[..., Any]) -> ObjectState:
    """Two poses some degrees and centimetres beside the truth."""
    pose = small_scene(kind="steps").pose
    R = torch.tensor(pose.R)[None]
    t = torch.tensor(pose.t)[None] + R[0] @ torch.tensor(problem.centre)
    truth = ObjectState(R, t, torch.zeros(1, dtype=torch.float64), problem.view(STAGE))
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([0.1] * 3 + [0.03] * 3 + [0.05])
    step = torch.randn(2, 7, generator=generator, dtype=torch.float64) * size
    region = RegionStack.of([problem.region] * 2)
    return truth.select(torch.zeros(2, dtype=torch.long)).retract(step).seen_by(replace(truth.view, region=region))


def of_own_region(state: ObjectState, problem: ObjectProblem) -> ObjectState:
    return state.seen_by(replace(state.view, region=problem.region))


def test_gradient_of_each_term_is_the_closed_form(problem: ObjectProblem, near: ObjectState) -> None:
    for term in problem.terms(STAGE, CONFIG):
        step = torch.zeros(2, 7, dtype=torch.float64, requires_grad=True)
        value = objective_value([term], near.retract(step))
        quad = linearise([term], near)
        torch.testing.assert_close(value.detach(), quad.cost)
        (gradient,) = torch.autograd.grad(value.sum(), [step], allow_unused=True)
        gradient = torch.zeros_like(step) if gradient is None else gradient
        allowed = 1e-8 * max(1.0, float(quad.gradient.abs().max()))
        assert torch.allclose(gradient, 2 * quad.gradient, rtol=1e-7, atol=allowed), term.name


@pytest.mark.parametrize(("method", "iterations"), [("adam", 60), ("lbfgs", 30)])
def test_reaches_the_loss_of_the_solver(
    method: Method, iterations: int, problem: ObjectProblem, near: ObjectState
) -> None:
    """Contact, penetration and size: no outline samples that jump, so that the two minima are one."""
    near = of_own_region(near, problem)
    terms = [t for t in problem.terms(STAGE, CONFIG) if t.name not in ("outline on mask", "mask on outline")]
    solved = levenberg_marquardt(
        near, partial(linearise, terms), ObjectState.retract, ObjectState.select, ObjectState.merge,
        LMConfig(iterations=20, tolerance=1e-5), limit_step,
    )  # fmt: skip
    found = minimise_by_gradient(terms, near, method, config=DescentConfig(iterations, rate=2e-2))
    before, best = linearise(terms, near).cost, solved.quadratic.cost
    assert (found.cost - best < 0.01 * (before - best)).all()
    torch.testing.assert_close(found.cost, objective_value(terms, found.state))


@pytest.mark.parametrize("method", [pytest.param("adam", marks=pytest.mark.slow), "lbfgs"])
def test_the_whole_objective_falls_towards_the_solver_s(
    method: Method, problem: ObjectProblem, near: ObjectState
) -> None:
    terms = problem.terms(STAGE, CONFIG)
    start = near.select(torch.tensor([0])).seen_by(replace(near.view, region=RegionStack.of([problem.region])))
    before = float(linearise(terms, start).cost)
    solved = levenberg_marquardt(
        start, partial(linearise, terms), ObjectState.retract, lambda s, i: s, lambda s, p, i: p,
        LMConfig(iterations=20), limit_step,
    )  # fmt: skip
    found = minimise_by_gradient(terms, start, method, config=DescentConfig(30 if method == "adam" else 25, 1e-2))
    after, best = float(found.cost), float(solved.quadratic.cost)
    assert after - best < 0.2 * (before - best)


@dataclass(frozen=True)
class Line:
    """A state of B numbers; a term of one's own needs no more."""

    x: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def retract(self, step: Tensor) -> Line:
        return Line(self.x + step)

    def select(self, index: Tensor) -> Line:
        return Line(self.x[index])

    def merge(self, part: Line, index: Tensor) -> Line:
        return Line(self.x.index_copy(0, index, part.x))


@dataclass(frozen=True)
class Towards:
    """x is at a place; nothing is finite beyond ten."""

    place: Tensor
    name: str = "towards"
    weight: float = 1.0
    robust: float | None = None

    def residuals(self, state: Line) -> Residuals:
        r = torch.where(state.x.abs() < 10, state.x - self.place, torch.nan)
        J = torch.eye(2, dtype=r.dtype).expand(len(r), 1, 2, 2)
        return Residuals(r[:, None], J, torch.ones_like(r[:, :1]))


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_a_quadratic_is_solved_and_a_lost_problem_costs_the_others_nothing(method: Method) -> None:
    place = torch.tensor([[1.0, -2.0], [30.0, 0.0], [0.5, 0.5]], dtype=torch.float64)  # the second leads to NaN
    start = Line(torch.zeros(3, 2, dtype=torch.float64))
    terms: list[Term[Line]] = [Towards(place)] if method == "adam" else []
    config = DescentConfig(300, 0.3)
    if method == "lbfgs":  # one after the other: each with its own place
        for b in (0, 2):
            alone = minimise_by_gradient([Towards(place[b : b + 1])], Line(start.x[b : b + 1]), method, config=config)
            torch.testing.assert_close(alone.state.x, place[b : b + 1], atol=1e-6, rtol=0)
        return
    found = minimise_by_gradient(terms, start, method, config=config)
    torch.testing.assert_close(found.state.x[[0, 2]], place[[0, 2]], atol=1e-3, rtol=0)
    assert torch.isfinite(found.cost).all()
    assert torch.isfinite(found.state.x).all()


def test_a_loss_of_one_s_own_and_column_rates() -> None:
    place = torch.tensor([[1.0, 1.0]])
    found = minimise_by_gradient(
        [Towards(place)], Line(torch.zeros(1, 2)), "lbfgs",
        loss=lambda s: (s.x[:, 0] - 3.0).square(), rates=torch.tensor([1.0, 0.0]),
    )  # fmt: skip
    torch.testing.assert_close(found.state.x, torch.tensor([[2.0, 0.0]]), atol=1e-4, rtol=0)
    assert found.trace.shape == (1, found.evaluations)
    assert float(found.cost) == pytest.approx(float(found.trace.min()))


@dataclass(frozen=True)
class Rooted(Towards):
    """A term that autograd cannot follow at zero: the root of a square."""

    name: str = "rooted"

    def residuals(self, state: Line) -> Residuals:
        res = super().residuals(state)
        return replace(res, r=state.x.square().sqrt()[:, None])


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_a_term_that_autograd_cannot_follow_is_named(method: Method) -> None:
    terms: list[Term[Line]] = [Towards(torch.ones(1, 2)), Rooted(torch.ones(1, 2))]
    with pytest.raises(InputError, match="gradient of rooted"):
        minimise_by_gradient(terms, Line(torch.zeros(1, 2)), method)


def test_unusable_input_is_refused() -> None:
    term, start = Towards(torch.zeros(1, 2)), Line(torch.zeros(1, 2))
    with pytest.raises(InputError, match="adam or lbfgs"):
        minimise_by_gradient([term], start, "sgd")
    with pytest.raises(InputError, match="at least one term"):
        minimise_by_gradient([], start)
    with pytest.raises(InputError, match="not finite"):
        minimise_by_gradient([term], Line(torch.full((1, 2), 11.0)))
    with pytest.raises(InputError, match="positive"):
        DescentConfig(iterations=0)
