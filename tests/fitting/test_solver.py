"""The solver and the objective against closed forms, a known hard problem and hostile batches."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.objective import Quadratic, Residuals, Term, gmof, linearise, report_term
from hoirecon.fitting.solver import LMConfig, LMResult, damped_step, in_chunks, levenberg_marquardt


@dataclasses.dataclass(frozen=True)
class Linear:
    """r = A x - b, plain least squares."""

    A: Tensor
    b: Tensor
    name: str = "linear"
    weight: float = 1.0
    robust: float | None = None

    def residuals(self, state: Tensor) -> Residuals:
        r = torch.einsum("nd,bd->bn", self.A, state) - self.b
        J = self.A.expand(len(state), -1, -1)
        return Residuals(r[..., None], J[:, :, None], torch.ones_like(r))


@dataclasses.dataclass(frozen=True)
class Rosenbrock:
    """r = (10 (y - x^2), 1 - x): a curved valley, minimum at (1, 1)."""

    name: str = "rosenbrock"
    weight: float = 1.0
    robust: float | None = None

    def residuals(self, state: Tensor) -> Residuals:
        x, y = state.unbind(1)
        r = torch.stack([10 * (y - x**2), 1 - x], 1)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        J = torch.stack([torch.stack([-20 * x, 10 * one], 1), torch.stack([-one, zero], 1)], 1)
        return Residuals(r[..., None], J[:, :, None], torch.ones_like(r))


def solve(terms: list[Term[Tensor]], start: Tensor, config: LMConfig) -> LMResult[Tensor]:
    return levenberg_marquardt(
        start,
        lambda x: linearise(terms, x),
        lambda x, step: x + step,
        lambda x, index: x[index],
        lambda x, part, index: x.index_copy(0, index, part),
        config,
    )


def test_gmof_grows_like_the_square_and_saturates() -> None:
    squared = torch.tensor([1e-6, 1e12], dtype=torch.float64)
    rho, _ = gmof(squared, 3.0)
    torch.testing.assert_close(rho, torch.tensor([1e-6, 9.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_gmof_weight_is_the_derivative() -> None:
    squared = torch.linspace(0, 50, 20, dtype=torch.float64, requires_grad=True)
    rho, weight = gmof(squared, 2.5)
    (slope,) = torch.autograd.grad(rho.sum(), squared)
    torch.testing.assert_close(weight, slope)


@pytest.mark.parametrize("robust", [None, 1.5])
def test_gradient_of_the_energy_is_twice_the_quadratic_one(robust: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    term = Linear(torch.randn(9, 4, generator=generator, dtype=torch.float64),
                  torch.randn(9, generator=generator, dtype=torch.float64), weight=2.5, robust=robust)  # fmt: skip
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    quad = linearise([term], x)
    (slope,) = torch.autograd.grad(quad.cost.sum(), x)
    torch.testing.assert_close(2 * quad.gradient, slope)


def test_linear_problem_ends_at_the_closed_form() -> None:
    generator = torch.Generator().manual_seed(1)
    A = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    b = torch.randn(20, generator=generator, dtype=torch.float64)
    config = LMConfig(iterations=30, tolerance=0)
    found = solve([Linear(A, b)], torch.randn(6, 5, generator=generator, dtype=torch.float64), config)
    expected = torch.linalg.lstsq(A, b[:, None]).solution[:, 0].expand(6, -1)
    torch.testing.assert_close(found.state, expected, rtol=1e-6, atol=1e-6)


def test_rosenbrock_valley_is_followed_to_its_end() -> None:
    start = torch.tensor([[-1.2, 1.0], [2.0, -3.0], [0.0, 0.0]], dtype=torch.float64)
    found = solve([Rosenbrock()], start, LMConfig(iterations=100, tolerance=0, max_rejections=20))
    torch.testing.assert_close(found.state, torch.ones(3, 2, dtype=torch.float64), rtol=0, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Cliff(Rosenbrock):
    """Rosenbrock, but every step of the problem that starts beyond x = 100 ends in NaN."""

    def residuals(self, state: Tensor) -> Residuals:
        res = super().residuals(state)
        lost = (state[:, 0] > 100) & (state[:, 0] != 1000.0)
        return dataclasses.replace(res, r=torch.where(lost[:, None, None], torch.nan, res.r))


def test_a_diverging_problem_does_not_poison_its_batch() -> None:
    start = torch.tensor([[-1.2, 1.0], [1000.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    config = LMConfig(iterations=60, tolerance=0)
    together = solve([Cliff()], start, config).state
    alone = solve([Cliff()], start[[0, 2]], config).state
    assert torch.equal(together[[0, 2]], alone)
    assert torch.isfinite(together).all()


def test_cost_never_rises() -> None:
    start = torch.randn(16, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
    before = linearise([Rosenbrock()], start).cost
    for iterations in (1, 2, 5, 20):
        after = solve([Rosenbrock()], start, LMConfig(iterations=iterations)).quadratic.cost
        assert (after <= before).all()
        before = after


@dataclasses.dataclass(frozen=True)
class Rugged(Rosenbrock):
    """Rosenbrock whose cost jumps from cell to cell, as re-matched neighbours and samples make it do."""

    def residuals(self, state: Tensor) -> Residuals:
        res = super().residuals(state)
        jump = torch.frac(torch.sin((state * 50).floor() @ state.new_tensor([12.9898, 78.233])) * 43758.5453).abs()
        return Residuals(
            torch.cat([res.r, (0.3 + jump).sqrt()[:, None, None]], 1),
            torch.cat([res.J, torch.zeros_like(res.J[:, :1])], 1),
            torch.ones_like(res.w[:, [0, 0, 0]]),
        )


def test_lucky_dents_of_a_rugged_cost_do_not_end_the_descent() -> None:
    start = torch.rand(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 2
    strict, remembering = (
        solve([Rugged()], start, LMConfig(iterations=25, tolerance=0, memory=memory)) for memory in (1, 5)
    )
    assert remembering.quadratic.cost.mean() < 0.8 * strict.quadratic.cost.mean()
    left, stuck = ((found.state - 1).norm(dim=1).median() for found in (remembering, strict))
    assert left < 0.5 * stuck


def test_the_best_state_met_is_returned_not_the_last() -> None:
    start = torch.rand(16, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 2
    met: list[Tensor] = []

    def watched(x: Tensor) -> Quadratic:
        found = linearise([Rugged()], x)
        met.append(found.cost)
        return found

    found = levenberg_marquardt(
        start,
        watched,
        lambda x, step: x + step,
        lambda x, index: x[index],
        lambda x, part, index: x.index_copy(0, index, part),
        LMConfig(20, tolerance=-1.0, max_rejections=21),
    )
    costs = torch.stack(met)
    torch.testing.assert_close(found.quadratic.cost, costs.amin(0), rtol=0, atol=0)
    assert (costs[-1] > costs.amin(0)).any()
    torch.testing.assert_close(linearise([Rugged()], found.state).cost, found.quadratic.cost, rtol=0, atol=0)


def test_nothing_remembered_is_an_error() -> None:
    with pytest.raises(InputError, match="memory >= 1"):
        LMConfig(memory=0)


def test_reported_quadratic_belongs_to_the_reported_state() -> None:
    start = torch.randn(8, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = solve([Rosenbrock()], start, LMConfig(iterations=6))
    again = linearise([Rosenbrock()], found.state)
    for name in ("cost", "gradient", "hessian"):
        torch.testing.assert_close(getattr(found.quadratic, name), getattr(again, name))


def test_nan_start_is_an_error() -> None:
    with pytest.raises(InputError, match=r"not finite"):
        solve([Rosenbrock()], torch.tensor([[torch.nan, 0.0]]), LMConfig())


@dataclasses.dataclass(frozen=True)
class Broken(Linear):
    """Of one start, or of all, it knows nothing."""

    good: int = 0

    def residuals(self, state: Tensor) -> Residuals:
        """NaN from a start on."""
        found = super().residuals(state)
        return dataclasses.replace(
            found, r=torch.where(torch.arange(len(state))[:, None, None] < self.good, found.r, torch.nan)
        )


def test_terms_that_are_not_finite_are_named() -> None:
    """Somebody whose own term gives NaN must not look for it among thirty that do not."""
    start, eye = torch.zeros(2, 2), torch.eye(2)
    fine = Linear(eye, torch.zeros(2))
    own, other = Broken(eye, torch.zeros(2), "over the table"), Broken(eye, torch.zeros(2), "level", good=1)
    says = "cost of all 2 starting states is not finite, because of the term{}: check what they give and "
    with pytest.raises(InputError, match=says.format(" 'over the table'")):
        solve([fine, own], start, LMConfig())
    with pytest.raises(InputError, match=says.format("s 'over the table', 'level'")):
        solve([fine, own, other], start, LMConfig())
    assert torch.isfinite(solve([fine, other], start, LMConfig()).quadratic.cost).tolist() == [True, False]


def test_no_iterations_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one iteration"):
        LMConfig(iterations=0)


@pytest.mark.parametrize("terms", [[], [Rosenbrock(), Rosenbrock()]])
def test_terms_need_unique_names(terms: list[Term[Tensor]]) -> None:
    with pytest.raises(InputError, match="unique names"):
        linearise(terms, torch.zeros(1, 2))


def test_unseen_direction_gets_no_step() -> None:
    quad = Quadratic(torch.ones(1), torch.tensor([[1.0, 0.0]]), torch.diag(torch.tensor([2.0, 0.0]))[None], {})
    torch.testing.assert_close(damped_step(quad, torch.zeros(1)), torch.tensor([[-0.5, 0.0]]))


def test_chunks_change_nothing() -> None:
    x = torch.randn(11, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    whole = linearise([Rosenbrock()], x)
    parts = in_chunks(lambda s: linearise([Rosenbrock()], s), lambda s, i: s[i], len, 4)(x)
    for name in ("cost", "gradient", "hessian"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    torch.testing.assert_close(parts.terms["rosenbrock"], whole.terms["rosenbrock"])


def test_report_is_in_the_unit_of_the_term() -> None:
    class Fixed:
        name, weight, robust = "fixed", 2.0, None

        def residuals(self, state: Tensor) -> Residuals:
            r = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]]])
            return Residuals(r, torch.zeros(1, 3, 2, 2), torch.tensor([[0.25, 0.5, 0.25]]), sigma=2.0, unit="px")

    report = report_term(Fixed(), torch.zeros(1, 2))
    assert (report.name, report.unit, report.median) == ("fixed", "px", 2.0)
    assert report.cost == pytest.approx(2 * (0.25 * 25 + 0.5 + 0.25 * 100))
    assert report.rms == pytest.approx(2 * (0.25 * 25 + 0.5 + 0.25 * 100) ** 0.5)


def test_samples_with_noise_of_their_own_are_reported_in_the_unit() -> None:
    """Two of 2 sigmas and one of 1, the sigmas 5, 10 and 1 px."""

    class Uneven:
        name, weight, robust = "uneven", 1.0, None

        def residuals(self, state: Tensor) -> Residuals:
            r, w = torch.tensor([[[2.0], [2.0], [1.0]]]), torch.full((1, 3), 1 / 3)
            return Residuals(r, torch.zeros(1, 3, 1, 2), w, 5.0, "px", torch.tensor([1.0, 2.0, 0.2]))

    report = report_term(Uneven(), torch.zeros(1, 2))
    assert report.residual_px == pytest.approx(10.0)
    assert report.rms == pytest.approx(((100 + 400 + 1) / 3) ** 0.5)
    assert report.cost == pytest.approx(3.0)


def test_a_term_of_which_nothing_counts_reports_nothing() -> None:
    class Unheard:
        name, weight, robust = "unheard", 2.0, None

        def residuals(self, state: Tensor) -> Residuals:
            return Residuals(torch.ones(1, 3, 1), torch.zeros(1, 3, 1, 2), torch.zeros(1, 3), sigma=2.0, unit="px")

    report = report_term(Unheard(), torch.zeros(1, 2))
    assert (report.median, report.rms, report.cost) == (0.0, 0.0, 0.0)
