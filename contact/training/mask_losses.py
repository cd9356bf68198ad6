"""Losses of masks in 2D: focal, dice and squared error, with places where there is no target.

Dwivedi et al., "InteractVLM" (CVPR 2025), on LISA's form (Lai et al., 2024). Masks are (G, ...): each of the G leading
entries (the views) is averaged over its own pixels, then the G means are averaged. Pixels with the target ``IGNORE``
count nowhere: whatever the prediction holds there, NaN included, has no part in value or gradient. NaN elsewhere comes
out as NaN, for the trainer to see.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hoirecon.errors import InputError

IGNORE = -1.0
"""Target of pixels that are not judged: the background of a render."""
GAMMA = 2.0
"""Focal exponent of all losses of contact."""
DICE_EPS = 1e-5
"""Added to numerator and denominator of the mask's dice."""


def focal_mask_loss(values: Tensor, target: Tensor, alpha: float = 0.5, probabilities: bool = False) -> Tensor:
    """Focal loss (Lin et al., 2017): ``alpha (1 - pt)^2 bce`` with ``pt = exp(-bce)``, mean per view, then over views.

    ``alpha`` is one factor for both classes, so nothing is balanced; the reference has it so.

    Args:
        values: (G, ...) logits, or probabilities.
        target: (G, ...) in [0, 1], ``IGNORE`` where nothing is known.
        alpha: factor.
        probabilities: whether values are probabilities. Logits are better: where a probability has rounded to 0 or 1,
            its logarithm is cut at -100, and a sigmoid before it passes no gradient.

    Returns:
        Scalar >= 0; a view without any judged pixel adds 0.

    Raises:
        InputError: shapes that differ, or "probabilities" outside [0, 1].
    """
    values, target, judged = _prepared(values, target, probabilities)
    with torch.autocast(values.device.type, enabled=False):
        bce = binary_cross_entropy(values, target, probabilities)
        focal = alpha * (1 - torch.exp(-bce)) ** GAMMA * bce
        return _mean(focal, judged).mean()


def dice_loss(
    values: Tensor,
    target: Tensor,
    scale: float = 1.0,
    probabilities: bool = False,
    *,
    skip_empty: bool = True,
    count_ignored: bool = False,
    silence: bool = False,
) -> Tensor:
    """Dice loss (Milletari et al., 2016): ``1 - (2 sum(p t)/s + eps) / (sum(p)/s + sum(t)/s + eps)``, eps 1e-5.

    Args:
        values: (G, ...) logits, or probabilities.
        target: (G, ...) in [0, 1], ``IGNORE`` where nothing is known.
        scale: s, which only sets how much eps weighs.
        probabilities: whether values are probabilities.
        skip_empty: whether a view whose target is empty adds 0, without a gradient, to the mean over views; otherwise
            it adds ``1 - eps / (sum(p)/s + eps)``, nearly 1.
        count_ignored: the reference's fault in its generic branch: ignored pixels count with the target -1, so the
            loss may be negative or above 1.
        silence: the reference's fault before its correction: one view with an empty target makes the whole 0.

    Returns:
        Scalar.

    Raises:
        InputError: as :func:`focal_mask_loss`.
    """
    values, known, judged = _prepared(values, target, probabilities, count_ignored)
    with torch.autocast(values.device.type, enabled=False):
        seen = values if probabilities else values.sigmoid()
        seen = torch.where(judged, seen, 0)
        overlap, predicted, wanted = ((x / scale).flatten(1).sum(1) for x in (seen * known, seen, known))
        loss = 1 - (2 * overlap + DICE_EPS) / (predicted + wanted + DICE_EPS)
        empty = torch.where(judged, known, 0).flatten(1).sum(1) == 0
        if skip_empty:
            loss = torch.where(empty, 0, loss)
        if silence:
            loss = torch.where(empty.any(), 0, loss)
        return loss.mean()


def squared_loss(values: Tensor, target: Tensor, probabilities: bool = False) -> Tensor:
    """Mean of ``(p - t)^2`` over the judged pixels of each view, then over views.

    Args:
        values: (G, ...) logits, or probabilities.
        target: (G, ...) in [0, 1], ``IGNORE`` where nothing is known.
        probabilities: whether values are probabilities.

    Returns:
        Scalar >= 0; a view without any judged pixel adds 0.

    Raises:
        InputError: as :func:`focal_mask_loss`.
    """
    values, target, judged = _prepared(values, target, probabilities)
    with torch.autocast(values.device.type, enabled=False):
        seen = values if probabilities else values.sigmoid()
        return _mean((seen - target) ** 2, judged).mean()


def binary_cross_entropy(values: Tensor, target: Tensor, probabilities: bool) -> Tensor:
    """``-t log p - (1 - t) log(1 - p)`` per element; logarithms of probabilities are cut at -100."""
    if not probabilities:
        return functional.binary_cross_entropy_with_logits(values, target, reduction="none")
    lost = values.isnan()  # torch stops at those, on CUDA the whole process; here they come out as they are
    bce = functional.binary_cross_entropy(torch.where(lost, 0, values), target, reduction="none")
    return torch.where(lost, values, bce)


def in_full(values: Tensor) -> Tensor:
    """Float32 at least: sums over a million pixels do not fit into halves."""
    return values if values.dtype == torch.float64 else values.float()


def check_probabilities(values: Tensor) -> None:
    """Raise :class:`InputError` for values outside [0, 1]; NaN passes, for the loss to show."""
    if bool(((values < 0) | (values > 1)).any()):
        raise InputError(
            f"these are no probabilities: they reach from {float(values.min()):.4g} to {float(values.max()):.4g}. "
            "Give logits, or apply a sigmoid first"
        )


def _prepared(
    values: Tensor, target: Tensor, probabilities: bool, count_ignored: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and targets with harmless zeros at ignored pixels, and which pixels are judged."""
    if values.shape != target.shape or values.ndim < 2 or not values.numel():
        raise InputError(
            f"prediction and target are both (views, ...) with at least one pixel, got {tuple(values.shape)} and "
            f"{tuple(target.shape)}"
        )
    values, target = in_full(values), target.to(values.device, in_full(values).dtype)
    judged = torch.ones_like(target, dtype=torch.bool) if count_ignored else target != IGNORE
    # Before, not after: 0 times the gradient of something infinite would be NaN.
    values, target = torch.where(judged, values, 0), torch.where(judged, target, 0)
    if probabilities:
        check_probabilities(values)
    return values, target, judged


def _mean(losses: Tensor, judged: Tensor) -> Tensor:
    """(G,) mean over the judged elements of each row, 0 if there are none."""
    count = judged.flatten(1).sum(1)
    return torch.where(judged, losses, 0).flatten(1).sum(1) / count.clamp(min=1)
