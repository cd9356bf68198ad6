"""The loss of a batch: weighted sum of what its words, masks and contact in 3D cost.

contact_loss(masks, targets)                        # logits of the masks and what they should have been -> LossParts
contact_loss(masks, targets, LossConfig(faults=REFERENCE))     # with the reference's faults, number for number

Dwivedi et al., "InteractVLM" (CVPR 2025): ``CE + 2 focal + dice + 2 squared + 3 human + 3 object + 3 affordance``. The
single losses stand in ``mask_losses`` and ``contact_losses``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from hoirecon.contact.inference.queries import ROLE_OF_KIND, Kind
from hoirecon.contact.lifting import OBJECT_THRESHOLD, lift_human, lift_object_mesh, lift_object_points
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.rendering.types import Maps, PixelMaps, PointMaps
from hoirecon.contact.training.contact_losses import affordance_loss, human_contact_loss, object_contact_loss
from hoirecon.contact.training.mask_losses import IGNORE, dice_loss, focal_mask_loss, squared_loss
from hoirecon.errors import InputError


@dataclass(frozen=True)
class Faults:
    """Faults of the reference that change what is learned; none by default. :data:`REFERENCE` has those it has now."""

    constant_affordance: bool = False
    """Lifting is handed paths where it expects names of data sets, so it leaves every sample out: the predicted
    affordance is 0 everywhere and its loss a constant without gradient."""
    affordance_of_probabilities: bool = False
    """Affordance's masks become probabilities before their losses: where a sigmoid has rounded to 0 or 1, logarithms
    are cut at -100 and no gradient passes."""
    thresholded_objects: bool = False
    """An object's contact is lifted from pixels above 0.3 alone, as in inference: pixels below it, the misses, get no
    gradient, and an object on which nothing is predicted is not judged. Without the fault every pixel speaks."""
    unmasked_image_dice: bool = False
    """The dice of masks of the photograph itself counts ignored pixels as targets of -1, and empty targets cost 1."""
    silent_dice: bool = False
    """Before the correction: one view with an empty target makes the dice of all views 0."""
    hard_human_lifting: bool = False
    """Before the correction: contact on the body is lifted to 0 or 1, so its loss has no gradient."""


REFERENCE = Faults(
    constant_affordance=True, affordance_of_probabilities=True, thresholded_objects=True, unmasked_image_dice=True
)
"""What the reference does since its correction (released names with ``-fix``, ``-noParts``)."""
BEFORE_CORRECTION = Faults(True, True, True, True, silent_dice=True, hard_human_lifting=True)
"""What is known of the code that the other released models were trained with."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss; the defaults are those of the reference's joint model."""

    tokens: float = 1.0
    """Of the words' cross-entropy."""
    focal: float = 2.0
    """Of the masks' focal loss."""
    focal_alpha: float = 0.5
    """Factor within it."""
    dice: float = 1.0
    """Of the masks' dice loss."""
    dice_scale: float = 1.0
    """Divides the sums within it."""
    squared: float = 2.0
    """Of the squared error of affordance's masks; the reference takes the focal loss's weight."""
    human: float = 3.0
    """Of contact on the body in 3D; 0 leaves it out."""
    object: float = 3.0
    """Of contact on an object in 3D; 0 leaves it out."""
    affordance: float = 3.0
    """Of affordance in 3D; 0 leaves it out. The reference takes the object's weight."""
    faults: Faults = field(default_factory=Faults)
    """Which of the reference's faults to have."""

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name != "faults"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"the loss's {name} is {getattr(self, name)}: weights are finite and not negative")
        if self.dice_scale == 0:
            raise InputError("the loss's dice_scale divides, so it cannot be 0: take 1")

    @classmethod
    def of(cls, config: NetworkConfig, faults: Faults | None = None) -> LossConfig:
        """With the weights that a network's configuration says it was trained with."""
        weight = config.object_weight
        return cls(human=config.human_weight, object=weight, affordance=weight, faults=faults or Faults())


@dataclass(frozen=True, eq=False)
class Target:
    """What the masks of one sample should have been."""

    kind: Kind
    """Of what; ``image`` are masks of the photograph itself."""
    mask: Tensor
    """(V, H, W) in [0, 1]; ``IGNORE`` (-1) where nothing is judged, as on the background of a render."""
    contact: Tensor | None = None
    """(N,) in [0, 1] per vertex or point; None has no loss in 3D."""
    maps: Maps | None = None
    """Which vertices the pixels of the masks show; needed with ``contact``."""

    def __post_init__(self) -> None:
        if self.kind not in ROLE_OF_KIND:
            raise InputError(f"there is no kind of contact '{self.kind}': choose {', '.join(ROLE_OF_KIND)}")
        if self.mask.ndim != 3 or not self.mask.numel():
            raise InputError(f"a target's mask is (views, rows, columns), got {tuple(self.mask.shape)}")
        if not bool((((self.mask >= 0) & (self.mask <= 1)) | (self.mask == IGNORE)).all()):
            raise InputError("a target's mask lies in [0, 1], or is -1 where nothing is judged: divide 0..255 by 255")
        if self.contact is not None:
            self._check_contact(self.contact)

    def _check_contact(self, contact: Tensor) -> None:
        if self.maps is None or (self.kind == "human" and not isinstance(self.maps, PixelMaps)):
            raise InputError(
                f"contact of kind '{self.kind}' came with {type(self.maps).__name__}: give the maps that its masks "
                "were drawn with (PixelMaps; PointMaps for a point cloud)"
            )
        size, count = _table(self.maps)
        if size != tuple(self.mask.shape) or tuple(contact.shape) != (count,):
            raise InputError(
                f"mask {tuple(self.mask.shape)} and contact {tuple(contact.shape)} do not fit maps of {size} pixels "
                f"and {count} vertices"
            )
        if not bool(((contact >= 0) & (contact <= 1)).all()):
            raise InputError("a target's contact lies in [0, 1], one number per vertex")


@dataclass(frozen=True, eq=False)
class LossParts:
    """Scalars, weights included; ``total`` is their sum and what is differentiated."""

    tokens: Tensor
    """Cross-entropy of the words."""
    focal: Tensor
    """Masks: mean over samples."""
    dice: Tensor
    """Masks: mean over samples."""
    squared: Tensor
    """Masks of affordance: mean over such samples."""
    human: Tensor
    """Body in 3D: mean over such samples."""
    object: Tensor
    """Objects in 3D: mean over such samples."""
    affordance: Tensor
    """Affordance in 3D: mean over such samples."""

    @property
    def total(self) -> Tensor:
        """The sum."""
        return torch.stack([getattr(self, f.name) for f in fields(self)]).sum()

    def floats(self) -> dict[str, float]:
        """Plain numbers by name, ``total`` first, for a log."""
        names = ("total", *(f.name for f in fields(self)))
        return {name: float(getattr(self, name).detach()) for name in names}


def contact_loss(
    masks: Sequence[Tensor], targets: Sequence[Target], config: LossConfig | None = None, tokens: Tensor | None = None
) -> LossParts:
    """Weigh the losses of a batch.

    Every part is a mean over the samples it applies to: focal and dice over all, squared and affordance over those of
    affordance, human and object over theirs. A part that applies to none is 0.

    Args:
        masks: (V, H, W) logits of each sample, also of affordance.
        targets: one for each.
        config: weights and faults.
        tokens: unweighted cross-entropy of the words; None for masks alone.

    Returns:
        The weighted parts; NaN in a judged pixel comes out as NaN.

    Raises:
        InputError: nothing to judge, another number of targets than of masks, or shapes that differ.
    """
    config = config or LossConfig()
    if len(masks) != len(targets):
        raise InputError(f"{len(masks)} masks came with {len(targets)} targets: give one for each")
    if not len(masks) and tokens is None:
        raise InputError("there is nothing to judge: give masks, or the loss of the words")
    zero = (masks[0] if tokens is None else tokens).new_zeros((), dtype=torch.float32)
    if any(mask.dtype == torch.float64 for mask in masks):
        zero = zero.double()
    pairs = list(zip(masks, targets, strict=True))

    def mean(weight: float, loss: Callable[[Tensor, Target, LossConfig], Tensor], *kinds: Kind) -> Tensor:
        chosen = [pair for pair in pairs if pair[1].kind in kinds] if weight else []
        return weight * torch.stack([loss(*pair, config) for pair in chosen]).mean() if chosen else zero

    def lifted(weight: float, kind: Kind) -> Tensor:
        chosen = [pair for pair in pairs if pair[1].kind == kind and pair[1].contact is not None] if weight else []
        return weight * torch.stack([_in_3d(*pair, config.faults) for pair in chosen]).mean() if chosen else zero

    every: tuple[Kind, ...] = tuple(ROLE_OF_KIND)
    return LossParts(
        tokens=zero if tokens is None else config.tokens * tokens.to(zero.dtype),
        focal=mean(config.focal, _focal, *every),
        dice=mean(config.dice, _dice, *every),
        squared=mean(config.squared, _squared, "affordance"),
        human=lifted(config.human, "human"),
        object=lifted(config.object, "object"),
        affordance=lifted(config.affordance, "affordance"),
    )


def _focal(logits: Tensor, target: Target, config: LossConfig) -> Tensor:
    values, mask, as_probabilities = _judged(logits, target, config.faults)
    return focal_mask_loss(values, mask, config.focal_alpha, as_probabilities)


def _dice(logits: Tensor, target: Target, config: LossConfig) -> Tensor:
    values, mask, as_probabilities = _judged(logits, target, config.faults)
    unmasked = config.faults.unmasked_image_dice and target.kind == "image"
    return dice_loss(
        values,
        mask,
        config.dice_scale,
        as_probabilities,
        skip_empty=not unmasked,
        count_ignored=unmasked,
        silence=config.faults.silent_dice,
    )


def _squared(logits: Tensor, target: Target, config: LossConfig) -> Tensor:
    return squared_loss(*_judged(logits, target, config.faults))


def _judged(logits: Tensor, target: Target, faults: Faults) -> tuple[Tensor, Tensor, bool]:
    """Values, target, and whether the values are probabilities.

    Renders are averaged view by view. A photograph's masks, which are repetitions of one, are one row, as in the
    reference.
    """
    if logits.shape != target.mask.shape:
        raise InputError(f"a mask {tuple(logits.shape)} cannot be judged by a target {tuple(target.mask.shape)}")
    if target.kind == "image":
        return logits.flatten()[None], target.mask.flatten()[None], False
    if target.kind == "affordance" and faults.affordance_of_probabilities:
        return logits.sigmoid(), target.mask, True
    return logits, target.mask, False


def _in_3d(logits: Tensor, target: Target, faults: Faults) -> Tensor:
    """The loss in 3D of one sample that has contact."""
    contact, maps = target.contact, target.maps
    assert contact is not None  # the caller chose so
    assert maps is not None  # Target sees to it
    lifted, wanted = _lift(logits[None], target.kind, maps, faults), contact[None]
    if target.kind == "human":
        return human_contact_loss(lifted, wanted)
    if target.kind == "object":
        return object_contact_loss(lifted, wanted, skip_nothing=faults.thresholded_objects)
    return affordance_loss(lifted, wanted)


def _lift(logits: Tensor, kind: Kind, maps: Maps, faults: Faults) -> Tensor:
    """(1, N) contact from (1, V, H, W) logits."""
    if kind == "affordance" and faults.constant_affordance:
        return logits.new_zeros(1, _table(maps)[1])
    if isinstance(maps, PointMaps):
        return lift_object_points(logits.sigmoid(), maps)
    if kind == "human":
        return lift_human(logits, maps, "legacy" if faults.hard_human_lifting else "soft")
    return lift_object_mesh(logits, maps, OBJECT_THRESHOLD if faults.thresholded_objects else 0.0)


def _table(maps: Maps) -> tuple[tuple[int, ...], int]:
    """(V, H, W), and the number of vertices or points."""
    if isinstance(maps, PixelMaps):
        return maps.verts.shape[:3], maps.num_verts
    return maps.points.shape, maps.num_points
