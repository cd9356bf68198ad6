"""Losses of contact in 3D, per vertex or point, and of the answer's words.

Dwivedi et al., "InteractVLM" (CVPR 2025). Predictions are what lifting makes of the masks (``contact/lifting.py``), so
through them a mask learns from all views together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hoirecon.contact.training.mask_losses import GAMMA, binary_cross_entropy, in_full
from hoirecon.errors import InputError

CONTACT_ALPHA = 0.25
"""Focal factor of contact, for both classes."""
SPARSITY = 0.01
"""Weight of the mean prediction."""
PROBABILITY_EPS = 1e-6
"""Predictions are clamped to [eps, 1 - eps]; beyond it there is no gradient."""
POSITIVE_ALPHA = 0.25
"""Focal factor of the affordance's positive part; the negative part has the rest."""
FOCAL_WEIGHT, DICE_WEIGHT, SQUARED_WEIGHT, ABSOLUTE_WEIGHT = 0.5, 0.3, 0.8, 0.4
"""Weights of the parts of the affordance loss."""
WORD_IGNORE = -100
"""Label of tokens that are not learned: the question, and padding."""


def token_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the answer's tokens, mean over all tokens of the batch that are learned.

    Args:
        scores: (..., vocabulary) of the token that each label names; shift before.
        labels: (...) token ids, ``WORD_IGNORE`` where nothing is learned.

    Returns:
        Scalar; 0 if nothing is learned (plain cross-entropy would be NaN).

    Raises:
        InputError: shapes that do not fit, or labels outside the vocabulary.
    """
    if scores.ndim < 2 or scores.shape[:-1] != labels.shape:
        raise InputError(
            f"labels {tuple(labels.shape)} need scores of that shape and one more axis for the vocabulary, "
            f"got {tuple(scores.shape)}"
        )
    known = labels != WORD_IGNORE
    if bool((known & ((labels < 0) | (labels >= scores.shape[-1]))).any()):
        raise InputError(f"a label is not in the vocabulary of {scores.shape[-1]}: use the tokenizer of this network")
    with torch.autocast(scores.device.type, enabled=False):
        flat = in_full(scores).flatten(0, -2)
        total = functional.cross_entropy(flat, labels.flatten(), ignore_index=WORD_IGNORE, reduction="sum")
        return total / known.sum().clamp(min=1)


def human_contact_loss(contact: Tensor, target: Tensor) -> Tensor:
    """Contact on bodies: ``mean(0.25 (1 - pt)^2 bce) + 0.01 mean(p)`` with ``pt = exp(-bce)``.

    p is clamped to [1e-6, 1 - 1e-6]. Means go over all vertices of all bodies of the batch. The last term asks for
    little contact. A prediction beyond the clamp has no gradient; the masks' own losses still have one there.

    Args:
        contact: (B, N) predicted probability per vertex.
        target: (B, N) in [0, 1].

    Returns:
        Scalar >= 0.

    Raises:
        InputError: shapes that differ, or no vertex.
    """
    contact, target = _prepared(contact, target)
    with torch.autocast(contact.device.type, enabled=False):
        p = contact.clamp(PROBABILITY_EPS, 1 - PROBABILITY_EPS)
        bce = binary_cross_entropy(p, target, probabilities=True)
        return (CONTACT_ALPHA * (1 - torch.exp(-bce)) ** GAMMA * bce).mean() + SPARSITY * p.mean()


def object_contact_loss(contact: Tensor, target: Tensor, skip_nothing: bool = False) -> Tensor:
    """Contact on an object's mesh: the formula of :func:`human_contact_loss`.

    Args:
        contact: (B, N) predicted probability per vertex.
        target: (B, N) in [0, 1].
        skip_nothing: the reference's fault: an object on which nothing at all is predicted has the loss 0, as if that
            were right.

    Returns:
        Scalar >= 0.

    Raises:
        InputError: shapes that differ, or no vertex.
    """
    loss = human_contact_loss(contact, target)
    return torch.where(contact.sum() == 0, 0, loss) if skip_nothing else loss


def affordance_loss(affordance: Tensor, target: Tensor) -> Tensor:
    """Affordance per point of an object: ``0.5 focal + 0.3 (1.5 - dice+ - dice-) + 0.8 mean (p-t)^2 + 0.4 mean |p-t|``.

    With p clamped to [1e-6, 1 - 1e-6]: ``focal = mean(-.25 t (1-p)^2 log p - .75 (1-t) p^2 log(1-p))``, ``dice+ =
    (sum p t + 1e-6) / (sum(p + t) + 1e-6)`` and dice- the same of 1 - p and 1 - t; a dice has no factor 2, so that both
    are 1/2 at best.

    Args:
        affordance: (B, N) predicted probability per point.
        target: (B, N) in [0, 1].

    Returns:
        Scalar; its least value, at a perfect hard prediction with both classes, is 0.15.

    Raises:
        InputError: shapes that differ, or no point.
    """
    affordance, t = _prepared(affordance, target)
    with torch.autocast(affordance.device.type, enabled=False):
        p = affordance.clamp(PROBABILITY_EPS, 1 - PROBABILITY_EPS)
        positive = -POSITIVE_ALPHA * t * (1 - p) ** GAMMA * p.log()
        negative = -(1 - POSITIVE_ALPHA) * (1 - t) * p**GAMMA * (1 - p).log()
        dice = _dice(p, t) + _dice(1 - p, 1 - t)
        return (
            FOCAL_WEIGHT * (positive + negative).mean()
            + DICE_WEIGHT * (1.5 - dice).mean()
            + SQUARED_WEIGHT * ((p - t) ** 2).mean()
            + ABSOLUTE_WEIGHT * (p - t).abs().mean()
        )


def _dice(p: Tensor, t: Tensor) -> Tensor:
    """(B,)."""
    return ((p * t).sum(1) + PROBABILITY_EPS) / ((p + t).sum(1) + PROBABILITY_EPS)


def _prepared(contact: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if contact.shape != target.shape or contact.ndim != 2 or not contact.numel():
        raise InputError(
            f"prediction and target are both (batch, vertices) and not empty, got {tuple(contact.shape)} and "
            f"{tuple(target.shape)}"
        )
    contact = in_full(contact)
    return contact, target.to(contact)
