"""Losses of contact at vertices, and how much each vertex counts in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class QuickWeights:
    """Weights of the losses."""

    words: float = 0.5
    vertices: float = 2.0
    dice: float = 1.5
    distance: float = 0.3
    parts: float = 0.3
    direct: float = 1.0
    """Of what the heads without views say, relative to the masks."""
    objects: float = 0.4
    """Of losses on objects, relative to the same on the body."""
    alone: float = 0.5
    """Of the vertex head by itself, where a local head is beside it and both are taught together."""
    area_share: float = 0.5
    """How much of a vertex's weight is by the area round it; the rest is the same for all."""
    balance: float = 0.5
    """How far small contacts count as much as large ones in the cross-entropy: 0 leaves every vertex alike, so that
    the dense hands outweigh seat and feet; 1 gives the touched vertices of every sample the same weight together."""


EMPTY = 3e-4
"""Added to both sides of dice, a share of all vertices."""
USUAL_SHARE, MOST_BOOST = 0.1, 6.0
"""Share of all weight that touched vertices have in the middle, and how much more a small contact may count at most."""


def vertex_losses(
    probability: Tensor, logits: Tensor, seen: Tensor, truth: Tensor, share: Tensor | None = None,
    balance: float = 0.0, even: Tensor | None = None, size: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Cross-entropy in every view that shows a vertex, and dice of what is lifted, both means over the batch.

    Args:
        probability: (B, N) of :func:`lift_points`.
        logits: (B, V, N) of the same.
        seen: (V, N) 1 where a view shows the vertex.
        truth: (B, N).
        share: (N,) weight of each vertex in the cross-entropy, sums to 1; None is the same for all. Dice is the mean
            of dice by these weights and of dice that counts all vertices alike, as F1 does.
        balance: see :class:`QuickWeights`.
        even: (N,) weight of each vertex where all count alike, sums to 1; given where vertices were drawn unevenly.
        size: (B, 1) touched share of the body by ``share``, where not all vertices are there; None takes these.
    """
    even = torch.full_like(truth[0], 1 / truth.shape[1]) if even is None else even
    share = even if share is None else share
    size = ((truth * share).sum(1, keepdim=True) if size is None else size).clamp(min=1e-4)
    boost = (USUAL_SHARE / size).pow(balance).clamp(1 / MOST_BOOST, MOST_BOOST)
    weight = (share * (1 + truth * (boost - 1)))[:, None] * seen
    each = functional.binary_cross_entropy_with_logits(logits, truth[:, None].expand_as(logits), reduction="none")
    bce = (each * weight).sum() / (share * seen).sum().clamp(min=1e-6) / len(truth)
    p, t = probability, truth * (seen.amax(0) > 0)
    dice = torch.stack([1 - (2 * (p * t) @ w + EMPTY) / (p @ w + t @ w + EMPTY) for w in (even, share)])
    return bce, dice.mean()


def local_loss(logits: Tensor, contact: Tensor, verts: Tensor | None, area: Tensor, weights: QuickWeights) -> Tensor:
    """The same loss of logits (B, n) at some vertices (n,), each counted for those that were not drawn."""
    if verts is None:
        return direct_loss(logits, contact, area, weights)
    share, odds = vertex_share(area, weights), vertex_chances(area)[verts]
    even, drawn = 1 / odds / (1 / odds).sum(), share[verts] / odds / (share[verts] / odds).sum()
    size = (contact * share).sum(1, keepdim=True)
    everywhere = torch.ones_like(logits[:1])
    bce, dice = vertex_losses(
        logits.sigmoid(), logits[:, None], everywhere, contact[:, verts], drawn, weights.balance, even, size
    )
    return weights.vertices * bce + weights.dice * dice


def vertex_chances(area: Tensor) -> Tensor:
    """(N,) how likely each vertex is drawn for the local head: half by area, half by number, as in F1's two forms."""
    return 0.5 * area + 0.5 / len(area)


def direct_loss(logits: Tensor, contact: Tensor, area: Tensor, weights: QuickWeights) -> Tensor:
    """Of logits (B, N) that came from no mask."""
    everywhere, share = torch.ones_like(logits[:1]), vertex_share(area, weights)
    bce, dice = vertex_losses(logits.sigmoid(), logits[:, None], everywhere, contact, share, weights.balance)
    return weights.vertices * bce + weights.dice * dice


def vertex_share(area: Tensor, weights: QuickWeights) -> Tensor:
    """(N,) how much each vertex of the body counts; sums to 1."""
    return weights.area_share * area + (1 - weights.area_share) / len(area)
