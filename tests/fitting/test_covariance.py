"""Covariance against closed forms and a Monte Carlo twin; directions in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.errors import InputError
from hoirecon.fitting.covariance import (
    LEAST_MISFIT,
    USUAL_MISFIT,
    Covariance,
    contour_misfit,
    hypothesis_spread,
    laplace,
    split,
    tangent,
    weakest,
)
from hoirecon.fitting.objective import Quadratic
from hoirecon.fitting.so3 import exp_so3


def test_laplace_is_the_covariance_of_a_linear_fit() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 5))
    cov = laplace(torch.tensor(A.T @ A))
    assert np.allclose(cov, np.linalg.inv(A.T @ A))
    noise = rng.standard_normal((4000, 40))  # residuals are in sigmas: unit noise
    found = noise @ np.linalg.pinv(A).T
    assert np.allclose(np.cov(found.T), cov, atol=0.1 * cov.max())


def test_what_nothing_sees_is_very_uncertain_and_breaks_nothing() -> None:
    cov = laplace(torch.diag(torch.tensor([4.0, 0.0, 1.0])))
    assert np.isfinite(cov).all()
    assert cov[0, 0] == pytest.approx(0.25)
    assert cov[1, 1] > 1e6


def test_a_block_is_marginal_not_conditional() -> None:
    H = np.array([[2.0, 1.9], [1.9, 2.0]])
    blocks = split(laplace(torch.tensor(H)), {"a": slice(0, 1), "b": slice(1, 2), "fixed": slice(2, 2)})
    assert list(blocks) == ["a", "b"]
    assert blocks["a"][0, 0] == pytest.approx(np.linalg.inv(H)[0, 0])
    assert blocks["a"][0, 0] > 1 / 2.0


def test_spread_counts_hypotheses_by_their_energy() -> None:
    steps = np.zeros((3, 7))
    steps[1, 5], steps[2, 5] = 0.2, 5.0
    spread = hypothesis_spread(steps, np.array([0.0, 2.0, 4000.0]), 2.0)
    weight = np.exp(-1) / (1 + np.exp(-1))
    assert spread[5, 5] == pytest.approx(weight * 0.04)
    assert np.count_nonzero(spread) == 1
    assert not hypothesis_spread(steps[:1], np.zeros(1), 2.0).any()


def test_total_is_curvature_and_spread_and_names_are_checked() -> None:
    cov = Covariance(np.eye(7), {"cup": np.eye(7)}, {"cup": np.eye(7) * 3})
    assert np.allclose(cov.std("cup"), 2.0)
    with pytest.raises(InputError, match="there are: cup"):
        cov.of("mug")


@pytest.mark.parametrize(
    ("column", "words"), [(5, "depth"), (6, "size"), (1, "turning about its vertical axis"), (2, "turning in the pic")]
)
def test_the_weakest_direction_in_words(column: int, words: str) -> None:
    cov = np.eye(7) * 1e-8
    cov[column, column] = 1e-2
    found = weakest(cov, radius=0.5)
    assert found.words.startswith(words)
    assert found.std_m == pytest.approx(0.1 * (1.0 if column == 5 else 0.5))


def test_depth_and_size_go_together_in_words() -> None:
    d = np.array([0, 0, 0, 0, 0, 1.0, 2.0])
    found = weakest(1e-4 * np.outer(d, d) + 1e-9 * np.eye(7), radius=0.4)
    assert found.words.startswith("depth, with size: ")
    assert found.direction[5] > 0
    assert found.direction[6] > 0


def test_tangent_is_the_step_between_poses() -> None:
    generator = torch.Generator().manual_seed(0)
    R = exp_so3(torch.randn(1, 3, generator=generator, dtype=torch.float64))
    step = torch.tensor([[0.3, -0.2, 0.1, 0.5, 0.6, 0.7, 0.1]], dtype=torch.float64)
    t = torch.zeros(1, 3, dtype=torch.float64)
    poses = torch.cat([R, exp_so3(step[:, :3]) @ R]), torch.cat([t, t + step[:, 3:6]]), torch.tensor([0.0, 0.1])
    found = tangent(*poses)
    assert np.allclose(found[0], 0)
    assert np.allclose(found[1], step[0], atol=1e-7)


@pytest.mark.parametrize(("cost", "expected"), [(14.0, 1.0), (3.5, 0.25), (0.0, LEAST_MISFIT)])
def test_the_misfit_is_the_cost_of_the_contours_per_measurement(cost: float, expected: float) -> None:
    terms: list[Any] = [
        SimpleNamespace(name=name, weight=7.0) for name in ("outline on mask", "mask on outline", "contact")
    ]
    costs = {"outline on mask": cost / 2, "mask on outline": cost / 2, "contact": 99.0}
    none = torch.zeros(1)
    quad = Quadratic(none, none, none, {k: torch.tensor([v]) for k, v in costs.items()})
    assert contour_misfit(terms, quad) == pytest.approx(expected)
    assert contour_misfit(terms[2:], quad) == USUAL_MISFIT
