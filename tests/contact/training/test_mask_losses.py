"""Losses of masks: closed forms, slow twins, gradients in float64, ignored pixels and hostile input."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hoirecon.contact.training.mask_losses import IGNORE, dice_loss, focal_mask_loss, squared_loss
from hoirecon.errors import InputError

Loss = Callable[..., Tensor]
each_loss = pytest.mark.parametrize("loss", [focal_mask_loss, dice_loss, squared_loss])


def random_masks(seed: int = 0, shape: tuple[int, ...] = (3, 4, 5)) -> tuple[Tensor, Tensor]:
    """Float64 logits, and targets of which some are soft and some ignored."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=draw, dtype=torch.float64)
    target = torch.rand(shape, generator=draw, dtype=torch.float64)
    target[torch.rand(shape, generator=draw) < 0.3] = IGNORE
    return logits, target


def judged_pairs(logits: Tensor, target: Tensor, view: int) -> list[tuple[float, float]]:
    """(probability, target) of the judged pixels of a view."""
    pairs = zip(logits[view].flatten().tolist(), target[view].flatten().tolist(), strict=True)
    return [(1 / (1 + math.exp(-x)), t) for x, t in pairs if t != IGNORE]


def test_focal_is_its_formula_pixel_by_pixel() -> None:
    logits, target = random_masks()
    views = []
    for view in range(len(logits)):
        costs = []
        for p, t in judged_pairs(logits, target, view):
            bce = -t * math.log(p) - (1 - t) * math.log(1 - p)
            costs.append(0.3 * (1 - math.exp(-bce)) ** 2 * bce)
        views.append(sum(costs) / len(costs))
    assert float(focal_mask_loss(logits, target, alpha=0.3)) == pytest.approx(sum(views) / len(views), rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_dice_is_its_formula_pixel_by_pixel(scale: float) -> None:
    logits, target = random_masks()
    target[1] = torch.where(target[1] == IGNORE, IGNORE, 0.0)  # empty: adds 0
    views = []
    for view in range(len(logits)):
        pairs = judged_pairs(logits, target, view)
        overlap, size = sum(p * t for p, t in pairs) / scale, sum(p + t for p, t in pairs) / scale
        views.append(0 if view == 1 else 1 - (2 * overlap + 1e-5) / (size + 1e-5))
    assert float(dice_loss(logits, target, scale)) == pytest.approx(sum(views) / len(views), rel=1e-12)


def test_squared_is_its_formula_pixel_by_pixel() -> None:
    logits, target = random_masks()
    views = []
    for view in range(len(logits)):
        costs = [(p - t) ** 2 for p, t in judged_pairs(logits, target, view)]
        views.append(sum(costs) / len(costs))
    assert float(squared_loss(logits, target)) == pytest.approx(sum(views) / len(views), rel=1e-12)


@each_loss
def test_logits_and_their_probabilities_cost_the_same(loss: Loss) -> None:
    logits, target = random_masks()
    torch.testing.assert_close(loss(logits, target), loss(logits.sigmoid(), target, probabilities=True))


@each_loss
def test_a_perfect_prediction_costs_nothing_and_the_contrary_most(loss: Loss) -> None:
    target = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    perfect = (2 * target - 1) * 60
    assert float(loss(perfect, target)) == pytest.approx(0, abs=1e-6)
    assert float(loss(-perfect, target)) > 0.999
    assert float(focal_mask_loss(-perfect, target)) == pytest.approx(0.5 * 60)


@each_loss
@pytest.mark.parametrize("as_probabilities", [False, True])
def test_gradients(loss: Loss, as_probabilities: bool) -> None:
    logits, target = random_masks(1)
    values = (logits.sigmoid() if as_probabilities else logits).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, probabilities=as_probabilities), values)


@each_loss
def test_what_lies_in_ignored_pixels_never_matters(loss: Loss) -> None:
    logits, target = random_masks(2)
    ignored = target == IGNORE
    results = []
    for fill in (0.0, 1e4, float("inf"), float("nan")):
        values = torch.where(ignored, fill, logits).requires_grad_()
        value = loss(values, target)
        torch.autograd.backward(value)
        assert values.grad is not None
        results.append((value.detach(), values.grad))
    assert not results[0][1][ignored].any()
    for value, gradient in results[1:]:
        torch.testing.assert_close((value, gradient), results[0], rtol=0, atol=0)


@each_loss
def test_views_without_a_judged_pixel_add_nothing(loss: Loss) -> None:
    logits, target = random_masks(3)
    none = torch.full_like(target, IGNORE)
    values = logits.clone().requires_grad_()
    nothing = loss(values, none)
    torch.autograd.backward(nothing)
    assert float(nothing.detach()) == 0
    assert values.grad is not None
    assert not values.grad.any()
    torch.testing.assert_close(loss(torch.cat([logits, logits]), torch.cat([target, none])), loss(logits, target) / 2)


@each_loss
@pytest.mark.parametrize("as_probabilities", [False, True])
def test_nan_in_a_judged_pixel_is_seen(loss: Loss, as_probabilities: bool) -> None:
    values, target = random_masks(4)[0].sigmoid(), torch.ones(3, 4, 5)
    values[1, 2, 3] = float("nan")
    assert bool(loss(values, target, probabilities=as_probabilities).isnan())


def test_an_empty_target_has_no_dice_unless_asked_for() -> None:
    logits, target = random_masks(5)[0].requires_grad_(), torch.zeros(3, 4, 5)
    skipped = dice_loss(logits, target)
    assert float(skipped.detach()) == 0
    assert not torch.autograd.grad(skipped, logits)[0].any()
    assert float(dice_loss(logits, target, skip_empty=False).detach()) == pytest.approx(1, abs=1e-4)


def test_the_faults_of_dice() -> None:
    logits, target = random_masks(6)
    ones, ignored = torch.ones_like(target), torch.full_like(target, IGNORE)
    assert float(dice_loss(logits, ignored, skip_empty=False, count_ignored=True)) < 0
    assert float(dice_loss(logits, ones, silence=True)) == float(dice_loss(logits, ones)) > 0
    ones[1] = 0
    assert float(dice_loss(logits, ones)) > 0
    assert float(dice_loss(logits, ones, silence=True)) == 0


@each_loss
def test_halves_are_summed_in_full_precision(loss: Loss) -> None:
    """Sums over this many pixels are beyond float16, and far beyond the steps of bfloat16."""
    logits, target = torch.full((1, 400, 400), 2.0), torch.ones(1, 400, 400)
    for dtype in (torch.float16, torch.bfloat16):
        torch.testing.assert_close(loss(logits.to(dtype), target.to(dtype)), loss(logits, target))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(logits, target), loss(logits, target))
        assert loss(logits, target).dtype == torch.float32


@each_loss
def test_hostile_masks(loss: Loss) -> None:
    for values, target in (
        (torch.zeros(2, 3, 4), torch.zeros(2, 4, 3)),
        (torch.zeros(0, 3, 4), torch.zeros(0, 3, 4)),
        (torch.zeros(5), torch.zeros(5)),
    ):
        with pytest.raises(InputError, match="views"):
            loss(values, target)
    with pytest.raises(InputError, match="no probabilities"):
        loss(torch.full((1, 4), 1.5), torch.zeros(1, 4), probabilities=True)
