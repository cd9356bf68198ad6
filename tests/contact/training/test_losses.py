"""The weighted sum: what goes where, the reference's faults and that they are mended, gradients through lifting."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.contact.inference.queries import Kind
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.rendering.types import Maps, PixelMaps, PointMaps
from hoirecon.contact.training.contact_losses import affordance_loss
from hoirecon.contact.training.losses import (
    BEFORE_CORRECTION,
    REFERENCE,
    Faults,
    LossConfig,
    LossParts,
    Target,
    contact_loss,
)
from hoirecon.contact.training.mask_losses import dice_loss, focal_mask_loss, squared_loss
from hoirecon.errors import InputError

NO_FAULTS = Faults()
VIEWS, SIZE, VERTS = 2, 6, 8
SHAPE = (VIEWS, SIZE, SIZE)
KINDS: tuple[Kind, ...] = ("human", "object", "affordance", "image")


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps_of(kind: Kind, seed: int = 0) -> Maps:
    """Random tables with background; the last vertex is never seen."""
    rng = np.random.default_rng(seed)
    names = tuple(map(str, range(VIEWS)))
    if kind == "affordance":
        return PointMaps(rng.integers(-1, VERTS - 1, SHAPE).astype(np.int32), VERTS, names)
    verts = rng.integers(0, VERTS - 1, (*SHAPE, 3)).astype(np.int32)
    bary = rng.dirichlet(np.ones(3), SHAPE).astype(np.float32)
    background = rng.random(SHAPE) < 0.3
    verts[background], bary[background] = -1, -1
    return PixelMaps(verts, bary, VERTS, names)


def sample(kind: Kind, seed: int = 0) -> tuple[Tensor, Target]:
    """Float64 logits and their target."""
    logits = 2 * torch.randn(SHAPE, generator=draw(seed), dtype=torch.float64)
    mask = (torch.rand(SHAPE, generator=draw(seed + 1)) < 0.5).float()
    mask[torch.rand(SHAPE, generator=draw(seed + 2)) < 0.2] = -1
    if kind == "image":
        return logits, Target(kind, mask)
    contact = (torch.rand(VERTS, generator=draw(seed + 3)) < 0.5).float()
    return logits, Target(kind, mask, contact, maps_of(kind, seed))


def loss_of(logits: Tensor, target: Target, faults: Faults = NO_FAULTS, **weights: float) -> tuple[LossParts, Tensor]:
    """Parts of one sample and the gradient of their total."""
    values = logits.clone().requires_grad_()
    parts = contact_loss([values], [target], LossConfig(faults=faults, **weights))
    if not parts.total.requires_grad:  # a constant
        return parts, torch.zeros_like(values)
    return parts, torch.autograd.grad(parts.total, values)[0]


ONLY_3D = {"focal": 0.0, "dice": 0.0, "squared": 0.0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("faults", [Faults(), replace(REFERENCE, thresholded_objects=False)])
def test_gradients_through_lifting(kind: Kind, faults: Faults) -> None:
    logits, target = sample(kind, 3)
    config = LossConfig(faults=faults)
    logits = logits.clamp(-3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: contact_loss([x], [target], config).total, logits)


def test_every_part_is_its_weight_times_the_mean_over_its_samples() -> None:
    batch = [sample(kind, 7 * i) for i, kind in enumerate((*KINDS, *KINDS))]
    masks, targets = [m for m, _ in batch], [t for _, t in batch]
    config = LossConfig(0.5, 2.0, 0.25, 3.0, 10.0, 1.5, 4.0, 5.0, 6.0)
    parts = contact_loss(masks, targets, config, torch.tensor(0.7))
    alone = [contact_loss([m], [t], config) for m, t in batch]
    assert float(parts.tokens) == pytest.approx(0.35)
    assert float(parts.total) == pytest.approx(sum(v for k, v in parts.floats().items() if k != "total"))
    for name in ("focal", "dice"):
        assert float(getattr(parts, name)) == pytest.approx(sum(float(getattr(a, name)) for a in alone) / len(alone))
    for name, kind in (("squared", "affordance"), ("human", "human"), ("object", "object")):
        chosen = [float(getattr(a, name)) for a, t in zip(alone, targets, strict=True) if t.kind == kind]
        assert float(getattr(parts, name)) == pytest.approx(sum(chosen) / 2)
        assert all(float(getattr(a, name)) == 0 for a, t in zip(alone, targets, strict=True) if t.kind != kind)
    rows, flat = (masks[0], targets[0].mask), (masks[3].flatten()[None], targets[3].mask.flatten()[None])
    assert float(alone[0].focal) == pytest.approx(2 * float(focal_mask_loss(*rows, alpha=0.25)))
    assert float(alone[0].dice) == pytest.approx(3 * float(dice_loss(*rows, scale=10)))
    assert float(alone[3].focal) == pytest.approx(2 * float(focal_mask_loss(*flat, alpha=0.25)))
    assert float(alone[2].squared) == pytest.approx(1.5 * float(squared_loss(masks[2], targets[2].mask)))


@pytest.mark.parametrize("part", [f.name for f in fields(LossParts)])
def test_a_weight_scales_its_part_alone(part: str) -> None:
    batch = [sample(kind) for kind in KINDS]
    masks, targets = [m for m, _ in batch], [t for _, t in batch]
    before = contact_loss(masks, targets, LossConfig(), torch.tensor(1.0)).floats()
    config = replace(LossConfig(), **{part: 3 * getattr(LossConfig(), part)})
    after = contact_loss(masks, targets, config, torch.tensor(1.0)).floats()
    assert before[part] > 0
    assert after[part] == pytest.approx(3 * before[part])
    assert all(after[name] == before[name] for name in before if name not in (part, "total"))


def test_weights_of_a_network_are_those_it_was_trained_with() -> None:
    config = LossConfig.of(NetworkConfig(human_weight=2.5, object_weight=0.0), REFERENCE)
    assert (config.human, config.object, config.affordance) == (2.5, 0, 0)
    assert config.faults == REFERENCE
    assert LossConfig().faults == Faults()  # the faults are mended by default


def test_contact_of_weight_zero_or_without_a_target_is_not_lifted() -> None:
    logits, target = sample("human")
    assert float(loss_of(logits, target, human=0.0)[0].human) == 0
    assert float(contact_loss([logits], [Target("human", target.mask)]).human) == 0


# --- faults -----------------------------------------------------------------------------------------------------------


def test_affordance_learns_unless_it_is_constant() -> None:
    logits, target = sample("affordance")
    faulty, none = loss_of(logits, target, Faults(constant_affordance=True), **ONLY_3D)
    other, _ = loss_of(-logits, target, Faults(constant_affordance=True), **ONLY_3D)
    assert target.contact is not None
    constant = affordance_loss(torch.zeros(1, VERTS), target.contact[None])
    assert float(faulty.affordance) == float(other.affordance) == pytest.approx(3 * float(constant))
    assert not none.any()
    mended, gradient = loss_of(logits, target, **ONLY_3D)
    assert gradient.any()
    assert float(mended.affordance) < float(faulty.affordance)


def test_a_saturated_affordance_can_come_back() -> None:
    logits = torch.full(SHAPE, 40.0)  # a float32 sigmoid is 1 here
    target = Target("affordance", torch.zeros(SHAPE))
    _, gradient = loss_of(logits, target)
    assert bool((gradient > 1e-3).all())
    _, gradient = loss_of(logits, target, Faults(affordance_of_probabilities=True))
    assert not gradient.any()


def test_misses_on_an_object_are_told_unless_only_predictions_speak() -> None:
    target = replace(sample("object")[1], contact=torch.ones(VERTS))
    missed = torch.full(SHAPE, -2.0)  # a probability of .12
    parts, gradient = loss_of(missed, target, **ONLY_3D)
    assert isinstance(target.maps, PixelMaps)
    assert bool((gradient[torch.as_tensor(target.maps.foreground)] < 0).all())
    assert float(parts.object) > 0.1
    parts, gradient = loss_of(missed, target, Faults(thresholded_objects=True), **ONLY_3D)
    assert float(parts.object) == 0
    assert not gradient.any()
    missed[0, 0] = 2.0
    parts, gradient = loss_of(missed, target, Faults(thresholded_objects=True), **ONLY_3D)
    assert float(parts.object) > 0
    assert gradient[0, 0].any()
    assert not gradient[:, 1:].any()


def test_ignored_pixels_of_a_photograph_are_ignored_unless_counted() -> None:
    logits, target = sample("image")
    other = torch.where(target.mask == -1, -logits, logits)
    mended = [float(contact_loss([x], [target]).dice) for x in (logits, other)]
    assert mended[0] == mended[1]
    config = LossConfig(faults=Faults(unmasked_image_dice=True))
    faulty = [float(contact_loss([x], [target], config).dice) for x in (logits, other)]
    assert abs(faulty[0] - faulty[1]) > 1e-3
    empty = Target("image", torch.zeros(SHAPE))
    assert float(contact_loss([logits], [empty]).dice) == 0
    assert float(contact_loss([logits], [empty], config).dice) == pytest.approx(1, abs=1e-4)


def test_a_view_without_contact_leaves_the_others_their_dice_unless_silenced() -> None:
    logits, target = sample("human")
    mask = target.mask.clone()
    mask[0] = 0
    target = Target("human", mask)
    assert float(contact_loss([logits], [target]).dice) > 0
    assert float(contact_loss([logits], [target], LossConfig(faults=BEFORE_CORRECTION)).dice) == 0


def test_contact_on_the_body_learns_unless_lifted_hard() -> None:
    logits, target = sample("human")
    assert loss_of(logits, target, **ONLY_3D)[1].any()
    parts, gradient = loss_of(logits, target, Faults(hard_human_lifting=True), **ONLY_3D)
    assert float(parts.human) > 0
    assert not gradient.any()


def test_the_order_of_a_batch_does_not_matter() -> None:
    batch = [sample(kind, 7 * i) for i, kind in enumerate((*KINDS, *KINDS))]
    masks, targets = [m for m, _ in batch], [t for _, t in batch]
    there, back = contact_loss(masks, targets).floats(), contact_loss(masks[::-1], targets[::-1]).floats()
    assert there == pytest.approx(back)


def test_a_repeated_photograph_costs_what_it_costs_once() -> None:
    logits, target = sample("image")
    once = contact_loss([logits[:1]], [Target("image", target.mask[:1])]).floats()
    often = contact_loss([logits[:1].expand(4, -1, -1)], [Target("image", target.mask[:1].expand(4, -1, -1))]).floats()
    assert often == pytest.approx(once, rel=1e-5)


# --- hostile input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "feet"}, "no kind of contact"),
        ({"mask": torch.zeros(6, 6)}, r"\(views, rows, columns\)"),
        ({"mask": torch.full(SHAPE, 255.0)}, "divide 0..255 by 255"),
        ({"mask": torch.full(SHAPE, float("nan"))}, r"\[0, 1\]"),
        ({"mask": torch.zeros(VIEWS, SIZE, SIZE + 1)}, "do not fit maps"),
        ({"contact": torch.zeros(VERTS + 1)}, "do not fit maps"),
        ({"contact": torch.full((VERTS,), float("nan"))}, "one number per vertex"),
        ({"contact": torch.full((VERTS,), 2.0)}, "one number per vertex"),
        ({"maps": None}, "give the maps"),
        ({"maps": maps_of("affordance")}, "give the maps"),
    ],
)
def test_hostile_targets(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(sample("human")[1], **changes)


def test_hostile_batches() -> None:
    logits, target = sample("human")
    with pytest.raises(InputError, match="1 masks came with 2 targets"):
        contact_loss([logits], [target, target])
    with pytest.raises(InputError, match="nothing to judge"):
        contact_loss([], [])
    with pytest.raises(InputError, match="cannot be judged"):
        contact_loss([logits[:, :3]], [target])


@pytest.mark.parametrize("changes", [{"dice": -1.0}, {"human": float("nan")}, {"dice_scale": 0.0}])
def test_hostile_weights(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        LossConfig(**changes)
