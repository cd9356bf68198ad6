"""Losses of contact in 3D and of words: closed forms, slow twins, gradients in float64, hostile input."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hoirecon.contact.training.contact_losses import (
    WORD_IGNORE,
    affordance_loss,
    human_contact_loss,
    object_contact_loss,
    token_loss,
)
from hoirecon.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]
each_loss = pytest.mark.parametrize("loss", [human_contact_loss, object_contact_loss, affordance_loss])
EPS = 1e-6


def random_contact(seed: int = 0, shape: tuple[int, int] = (2, 9)) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    contact = 0.05 + 0.9 * torch.rand(shape, generator=draw, dtype=torch.float64)
    return contact, torch.rand(shape, generator=draw, dtype=torch.float64).round()


def test_contact_is_its_formula_vertex_by_vertex() -> None:
    contact, target = random_contact()
    total = 0.0
    for p, t in zip(contact.flatten().tolist(), target.flatten().tolist(), strict=True):
        right = p if t else 1 - p
        total += -0.25 * (1 - right) ** 2 * math.log(right) + 0.01 * p
    expected = total / contact.numel()
    assert float(human_contact_loss(contact, target)) == pytest.approx(expected, rel=1e-12)
    assert float(object_contact_loss(contact, target)) == pytest.approx(expected, rel=1e-12)


def test_affordance_is_its_formula_point_by_point() -> None:
    contact, _ = random_contact(1, (1, 9))
    target = random_contact(2, (1, 9))[0]  # soft
    pairs = list(zip(contact[0].tolist(), target[0].tolist(), strict=True))
    focal = -sum(
        0.25 * t * (1 - p) ** 2 * math.log(p) + 0.75 * (1 - t) * p**2 * math.log(1 - p) for p, t in pairs
    ) / len(pairs)
    positive = (sum(p * t for p, t in pairs) + EPS) / (sum(p + t for p, t in pairs) + EPS)
    negative = (sum((1 - p) * (1 - t) for p, t in pairs) + EPS) / (sum(2 - p - t for p, t in pairs) + EPS)
    squared = sum((p - t) ** 2 for p, t in pairs) / len(pairs)
    absolute = sum(abs(p - t) for p, t in pairs) / len(pairs)
    expected = 0.5 * focal + 0.3 * (1.5 - positive - negative) + 0.8 * squared + 0.4 * absolute
    assert float(affordance_loss(contact, target)) == pytest.approx(expected, rel=1e-12)


def test_perfect_predictions() -> None:
    target = torch.tensor([[1.0, 0, 0, 1, 0]])
    for loss in (human_contact_loss, object_contact_loss):
        assert float(loss(target, target)) == pytest.approx(0.01 * 2 / 5, abs=1e-6)
    assert float(affordance_loss(target, target)) == pytest.approx(0.15, abs=1e-5)


def test_wrong_everywhere_is_what_the_clamp_allows() -> None:
    zeros, ones = torch.zeros(1, 7), torch.ones(1, 7)
    assert float(human_contact_loss(zeros, ones)) == pytest.approx(-0.25 * math.log(EPS), rel=1e-5)
    expected = -0.125 * math.log(EPS) + 0.45 + 0.8 + 0.4
    assert float(affordance_loss(zeros, ones)) == pytest.approx(expected, rel=1e-5)


def test_an_empty_target_asks_for_nothing() -> None:
    contact, target = torch.full((1, 6), 0.4, requires_grad=True), torch.zeros(1, 6)
    for loss in (human_contact_loss, object_contact_loss, affordance_loss):
        assert bool((torch.autograd.grad(loss(contact, target), contact)[0] > 0).all())


@each_loss
def test_gradients_of_contact(loss: Loss) -> None:
    contact, target = random_contact(3)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), contact.requires_grad_())


@each_loss
def test_the_order_of_vertices_does_not_matter(loss: Loss) -> None:
    contact, target = random_contact(4)
    order = torch.randperm(contact.shape[1], generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(loss(contact[:, order], target[:, order]), loss(contact, target))


def test_an_object_without_any_prediction_is_judged_unless_told_not_to() -> None:
    nothing, target = torch.zeros(1, 6), torch.ones(1, 6)
    assert float(object_contact_loss(nothing, target)) > 1
    assert float(object_contact_loss(nothing, target, skip_nothing=True)) == 0
    something = torch.eye(6)[:1]
    assert float(object_contact_loss(something, target, skip_nothing=True)) > 1


@each_loss
def test_nan_is_seen(loss: Loss) -> None:
    contact, target = random_contact()
    contact[0, 0] = float("nan")
    assert bool(loss(contact, target).isnan())


@each_loss
def test_hostile_contact(loss: Loss) -> None:
    for contact, target in (
        (torch.zeros(1, 6), torch.zeros(1, 5)),
        (torch.zeros(6), torch.zeros(6)),
        (torch.zeros(0, 6), torch.zeros(0, 6)),
    ):
        with pytest.raises(InputError, match="vertices"):
            loss(contact, target)


# --- words ------------------------------------------------------------------------------------------------------------


def test_words_that_are_not_learned_do_not_count() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 4, 7, generator=draw, dtype=torch.float64)
    labels = torch.tensor([[WORD_IGNORE, 3, 6, WORD_IGNORE], [0, WORD_IGNORE, WORD_IGNORE, WORD_IGNORE]])
    costs = [
        math.log(sum(math.exp(x) for x in scores[b, t].tolist())) - float(scores[b, t, labels[b, t]])
        for b, t in ((0, 1), (0, 2), (1, 0))
    ]
    assert float(token_loss(scores, labels)) == pytest.approx(sum(costs) / 3, rel=1e-12)


def test_nothing_to_learn_costs_nothing() -> None:
    scores = torch.randn(1, 3, 5, requires_grad=True)
    loss = token_loss(scores, torch.full((1, 3), WORD_IGNORE))
    assert float(loss.detach()) == 0
    assert not torch.autograd.grad(loss, scores)[0].any()
    assert float(token_loss(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long))) == 0


def test_gradients_of_words() -> None:
    scores = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.tensor([4, WORD_IGNORE, 0])
    assert torch.autograd.gradcheck(lambda s: token_loss(s, labels), scores)


def test_hostile_words() -> None:
    with pytest.raises(InputError, match="vocabulary"):
        token_loss(torch.zeros(2, 3, 5), torch.zeros(2, 4, dtype=torch.long))
    for label in (5, -1):
        with pytest.raises(InputError, match="not in the vocabulary of 5"):
            token_loss(torch.zeros(1, 5), torch.tensor([label]))
