"""Losses and whole training steps against the reference, with its faults switched on: ``losses/`` and ``full/*/train``.

Values within 1e-5, gradients within 1e-4 of their norm.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from hoirecon.contact.checkpoints.keys import to_ours
from hoirecon.contact.checkpoints.released import load_network
from hoirecon.contact.inference.queries import Kind
from hoirecon.contact.lifting import lift_human, lift_object_mesh, lift_object_points
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.rendering.types import Maps
from hoirecon.contact.training.contact_losses import affordance_loss, human_contact_loss, object_contact_loss
from hoirecon.contact.training.losses import REFERENCE, LossConfig, LossParts, Target, contact_loss
from hoirecon.contact.training.mask_losses import dice_loss, focal_mask_loss, squared_loss
from hoirecon.contact.training.step import Sample, training_step
from hoirecon.errors import InputError
from tests.contact.parity_data import configurations, parity_root, tensors, values
from tests.contact.parity_lifting import pixel_maps, point_maps

VALUE = 1e-5
"""Largest difference of a loss, relative to it where it is above 1."""
GRADIENT = 1e-4
"""Largest difference of a gradient, relative to its norm."""
NOTHING = 1e-7
"""A gradient below this is none: the reference's own rounding where the true gradient is zero."""
PART_NAMES = {
    "mask_bce": "focal",
    "mask_dice": "dice",
    "mask_l2": "squared",
    "hC": "human",
    "oC": "object",
    "oA": "affordance",
    "total": "total",
}
"""The reference's names of the parts in ``values.json``, and ours."""


def kind_of(dataset: str) -> Kind:
    """The reference tells by the name of the data set."""
    names: dict[str, Kind] = {"hcontact": "human", "ocontact": "object", "oafford": "affordance"}
    return next((kind for name, kind in names.items() if name in dataset), "image")


@cache
def maps_of(kind: Kind) -> Maps | None:
    if kind == "human":
        return pixel_maps("human_views")
    if kind == "object":
        return pixel_maps("object_views")
    return point_maps() if kind == "affordance" else None


def listed(name: str) -> dict[str, Any]:
    """The scalars of ``losses/``, or none without a set that has them."""
    try:
        found: dict[str, Any] = values("losses/values")
    except (pytest.skip.Exception, FileNotFoundError):
        return {}
    return {key: value for key, value in found.items() if key.startswith(name)}


def mask_entries() -> list[str]:
    """``DATASET.CASE.LOSS`` of every value or exception of the losses of masks whose input is stored."""
    keys = {key.removesuffix(".raises") for key in listed("")}
    chosen = sorted(key for key in keys if key.rpartition(".")[2] in ("focal", "dice", "mse"))
    stored = tensors("losses/mask_losses") if chosen else {}
    return [key for key in chosen if f"{key.rpartition('.')[0]}.input" in stored]


def same_value(ours: Tensor, theirs: float) -> None:
    assert abs(float(ours.detach()) - theirs) <= VALUE * max(1.0, abs(theirs))


def same_gradient_of_loss(ours: Tensor | None, theirs: Tensor) -> None:
    """Relative to the norm, or nothing where the reference has nothing."""
    ours = torch.zeros_like(theirs) if ours is None else ours
    assert ours.shape == theirs.shape
    if float(theirs.norm()) < NOTHING:
        assert float(ours.norm()) < NOTHING
    else:
        assert float((ours - theirs).norm() / theirs.norm()) <= GRADIENT


def check_gradient_summary(read: dict[str, Tensor], prefix: str, gradient: Tensor, least: int = 1) -> None:
    """A stored gradient, whole or summed over the pixels of each view (and of its absolute values)."""
    found = 0
    summaries = {"": gradient, "_sum": gradient.sum((-1, -2)), "_abs_sum": gradient.abs().sum((-1, -2))}
    for suffix, ours in summaries.items():
        if prefix + suffix in read:
            theirs = read[prefix + suffix]
            # Sums over a view nearly cancel, so their error is measured by what was summed.
            size = float(theirs.norm()) if suffix != "_sum" else float(summaries["_abs_sum"].norm())
            assert float((ours - theirs).norm()) <= GRADIENT * size + NOTHING
            found += 1
    assert found >= least


# --- masks ------------------------------------------------------------------------------------------------------------


def mask_loss(name: str, dataset: str, mask: Tensor, target: Tensor, alpha: float, scale: float) -> Tensor:
    """One of the three losses as the reference applies it to a data set."""
    kind = kind_of(dataset)
    generic, probabilities = kind == "image", kind == "affordance"
    if generic:
        mask, target = mask.flatten()[None], target.flatten()[None]
    if name == "focal":
        return focal_mask_loss(mask, target, alpha, probabilities)
    if name == "mse":
        return squared_loss(mask, target, probabilities)
    return dice_loss(mask, target, scale, probabilities, skip_empty=not generic, count_ignored=generic)


@pytest.mark.parametrize("entry", mask_entries())
def test_mask_loss_is_the_references(entry: str) -> None:
    stated, read = listed(entry), tensors("losses/mask_losses")
    case, _, name = entry.rpartition(".")
    settings = re.search(r"scale([\d.]+)_alpha(\d*\.?\d+)", case)
    scale, alpha = (float(number) for number in settings.groups()) if settings else (1.0, 0.5)
    mask, target = read[f"{case}.input"].clone().requires_grad_(), read[f"{case}.target"]
    dataset = case.partition(".")[0]
    if f"{entry}.raises" in stated:
        with pytest.raises(InputError):
            mask_loss(name, dataset, mask, target, alpha, scale)
        return
    loss = mask_loss(name, dataset, mask, target, alpha, scale)
    same_value(loss, stated[entry])
    gradient = torch.autograd.grad(loss, mask)[0]
    assert bool(gradient.isfinite().all())
    if stated.get(f"{entry}.no_gradient"):
        assert not gradient.any()
    if f"{entry}.grad" in read:
        same_gradient_of_loss(gradient, read[f"{entry}.grad"])


def test_every_branch_of_the_mask_losses_was_compared() -> None:
    if not mask_entries():
        pytest.skip("the set has no losses")
    assert {kind_of(entry) for entry in mask_entries()} == {"human", "object", "affordance", "image"}
    assert {entry.rpartition(".")[2] for entry in mask_entries()} == {"focal", "dice", "mse"}


# --- contact in 3D ----------------------------------------------------------------------------------------------------

FILLS = {"saturated_high": 50.0, "saturated_low": -50.0, "nothing_selected": -4.0}
"""Cases whose masks are one number everywhere."""


def contact_cases(kind: str) -> list[str]:
    """Names of the cases of one loss in 3D."""
    return sorted({key.split(".")[1] for key in listed(f"{kind}.")})


def masks_and_target(kind: str, case: str) -> tuple[Tensor, Tensor]:
    read = tensors("losses/contact3d_losses")
    masks = read[f"{kind}.seg_maps"].clone()
    masks = torch.full_like(masks, FILLS[case]) if case in FILLS else masks
    return masks.requires_grad_(), read[f"{kind}.{case}.gt"].float()


def compare_in_3d(loss: Tensor, masks: Tensor, entry: str) -> None:
    stated, read = listed(entry), tensors("losses/contact3d_losses")
    same_value(loss, stated[entry])
    gradient = torch.autograd.grad(loss, masks)[0] if loss.requires_grad else torch.zeros_like(masks)
    if stated.get(f"{entry}.no_gradient"):
        assert not gradient.any()
        return
    largest = stated[f"{entry}.grad_absmax"]
    assert abs(float(gradient.abs().max()) - largest) <= GRADIENT * largest
    check_gradient_summary(read, f"{entry}.grad", gradient)


@pytest.mark.parametrize("case", contact_cases("human3d"))
def test_human_contact_loss_is_the_references(case: str) -> None:
    masks, target = masks_and_target("human3d", case)
    kept = slice(1, None) if case == "mixed_batch" else slice(None)  # sample 0 is then of another data set
    maps = pixel_maps("human_views")
    compare_in_3d(human_contact_loss(lift_human(masks[kept], maps), target[kept]), masks, f"human3d.{case}")


@pytest.mark.parametrize("case", contact_cases("object_mesh3d"))
def test_object_contact_loss_is_the_references(case: str) -> None:
    masks, target = masks_and_target("object_mesh3d", case)
    if case == "no_object_sample":  # a batch without any sample of this kind
        sample = Target("image", torch.zeros_like(masks))
        parts = contact_loss([masks], [sample], LossConfig(object=1, faults=REFERENCE))
        compare_in_3d(parts.object, masks, f"object_mesh3d.{case}")
        return
    lifted = lift_object_mesh(masks[None], pixel_maps("object_views"))
    loss = object_contact_loss(lifted, target[None], skip_nothing=True)
    compare_in_3d(loss, masks, f"object_mesh3d.{case}")


@pytest.mark.parametrize("case", contact_cases("object_point3d"))
@pytest.mark.parametrize("names", ["as_written", "names_passed"])
def test_affordance_loss_is_the_references(case: str, names: str) -> None:
    """``as_written`` has the reference's fault; ``names_passed`` is the loss without it, which is our default."""
    masks, target = masks_and_target("object_point3d", case)
    maps = point_maps()
    lifted = torch.zeros(1, maps.num_points) if names == "as_written" else lift_object_points(masks[None], maps)
    compare_in_3d(affordance_loss(lifted, target[None]), masks, f"object_point3d.{case}.{names}")


# --- the weighted sum -------------------------------------------------------------------------------------------------


def combined_batches() -> list[str]:
    return sorted({key.split(".")[1] for key in listed("combined.")})


def combined(batch: str, config: LossConfig) -> tuple[list[Tensor], LossParts]:
    """A batch's predictions, and its loss in float64: affordance is stored as probabilities and taken as logits."""
    read, datasets = tensors("losses/combined_loss"), listed(f"combined.{batch}.")[f"combined.{batch}.ds_names"]
    predictions, masks, targets = [], [], []
    for i, dataset in enumerate(datasets):
        kind, prefix = kind_of(dataset), f"{batch}.{i}."
        prediction = read[prefix + "pred"].double().requires_grad_()
        contact = None if kind == "image" else read[prefix + "gt_contact"].float()
        predictions.append(prediction)
        masks.append(torch.logit(prediction) if kind == "affordance" else prediction)
        targets.append(Target(kind, read[prefix + "gt_mask"].float(), contact, maps_of(kind)))
    return predictions, contact_loss(masks, targets, config)


COMBINED = LossConfig(human=3.0, object=1.5, affordance=1.5, faults=REFERENCE)
"""The weights of the set."""


@pytest.mark.parametrize("batch", combined_batches())
def test_the_weighted_sum_is_the_references(batch: str) -> None:
    predictions, parts = combined(batch, COMBINED)
    stated, read = listed(f"combined.{batch}."), tensors("losses/combined_loss")
    for theirs, ours in PART_NAMES.items():
        same_value(getattr(parts, ours), stated[f"combined.{batch}.{theirs}"])
    assert stated[f"combined.{batch}.uncertainty"] == 0  # a part that the reference never computes
    gradients = torch.autograd.grad(parts.total, predictions)
    for i, gradient in enumerate(gradients):
        check_gradient_summary(read, f"{batch}.{i}.grad_total", gradient.float())


@pytest.mark.parametrize("batch", combined_batches())
def test_a_constant_affordance_loss_is_mended_by_default(batch: str) -> None:
    config = replace(COMBINED, faults=replace(REFERENCE, constant_affordance=False))
    predictions, parts = combined(batch, config)
    datasets = listed(f"combined.{batch}.")[f"combined.{batch}.ds_names"]
    kinds = [kind_of(dataset) for dataset in datasets]
    if "affordance" not in kinds:
        assert float(parts.affordance) == 0
        return
    stated = listed(f"combined.{batch}.")[f"combined.{batch}.oA"]
    assert float(parts.affordance.detach()) < stated - 100 * VALUE
    gradient = torch.autograd.grad(parts.affordance, predictions[kinds.index("affordance")])[0]
    assert gradient.any()


# --- a training step of whole networks --------------------------------------------------------------------------------


def trained_configurations() -> list[str]:
    return [name for name in configurations() if "train" in values(f"full/{name}/meta")]


def training_samples(config: str) -> list[Sample]:
    read, meta = tensors(f"full/{config}/tensors"), values(f"full/{config}/meta")
    return [training_sample(read, meta, row, case) for row, case in enumerate(meta["train"]["batch_order"])]


def training_sample(read: dict[str, Tensor], meta: Any, row: int, case: str) -> Sample:
    """The padding, which the reference tells by the id 0, is taken off: we tell it by lengths."""
    kind = kind_of(meta["cases"][case]["ds_name"])
    ids = read["train/input_ids"][row]
    length = int(ids.nonzero()[-1]) + 1
    assert ids[:length].all(), "a token 0 within a text would be padding to the reference"
    contact = None if kind == "image" else read[f"train/gt_contact.{case}"].float()
    mask = read[f"train/gt_mask.{case}"][:, 0].float()
    return Sample(
        input_ids=ids[:length],
        labels=read["train/labels"][row, :length],
        image=read[f"{case}/images_clip"][0],
        target=Target(kind, mask, contact, maps_of(kind)),
        views=read[f"{case}/sam_raw_uint8"],
        cameras=read[f"{case}/cam_params"][0],
    )


@cache
def trained(config: str) -> tuple[LossParts, dict[str, Tensor | None]]:
    """Parts of the loss and gradients of all parameters, by our names."""
    network = training_network(config)
    parts = training_step(network, training_samples(config), LossConfig.of(network.config, REFERENCE))
    named = dict(network.named_parameters())
    gradients = torch.autograd.grad(parts.total, list(named.values()), allow_unused=True)
    return parts, dict(zip(named, gradients, strict=True))


def training_network(config: str) -> InteractVLMNetwork:
    full = parity_root() / "full"
    network = load_network(
        full / config, vision_tower=full / "clip-tiny", dtype=torch.float32, separate_decoders="keep"
    )
    return network.requires_grad_(True)


@pytest.mark.parametrize("config", trained_configurations())
def test_losses_of_a_training_step_are_the_references(config: str) -> None:
    parts, _ = trained(config)
    stated = values(f"full/{config}/meta")["train"]["losses"]
    ours = {f"{theirs}_loss": getattr(parts, name) for theirs, name in PART_NAMES.items() if theirs != "total"}
    ours |= {
        "loss": parts.total,
        "ce_loss": parts.tokens,
        "mask_loss": parts.focal + parts.dice + parts.squared,
    }
    assert set(stated) == set(ours)
    for name, theirs in stated.items():
        same_value(ours[name], theirs)


@pytest.mark.parametrize("config", trained_configurations())
def test_gradients_of_a_training_step_are_the_references(config: str) -> None:
    _, gradients = trained(config)
    read, norms = tensors(f"full/{config}/tensors"), values(f"full/{config}/meta")["train"]["grad_norms"]
    stored = {key.removeprefix("train/grad."): theirs for key, theirs in read.items() if key.startswith("train/grad.")}
    assert len(stored) >= 5
    for name, theirs in stored.items():
        same_gradient_of_loss(gradients[to_ours(name)], theirs)
    largest = max(norm for norm in norms.values() if norm is not None)
    for name, norm in norms.items():
        gradient = gradients[to_ours(name)]
        ours = 0.0 if gradient is None else float(gradient.norm())
        assert abs(ours - (norm or 0.0)) <= GRADIENT * (norm or 0.0) + NOTHING * largest, name


@pytest.mark.parametrize("config", trained_configurations())
def test_image_encoders_get_no_gradient(config: str) -> None:
    _, gradients = trained(config)
    encoders = [name for name in gradients if name.startswith(("vlm.vision_tower.", "mv_loc.image_encoder."))]
    assert encoders
    assert all(gradients[name] is None for name in encoders)
