"""Contact straight from evidence to vertices: the line that render, localise and lift have to pass.

One network looks and gives a number for every vertex of the body, as in Tripathi et al., "DECO: Dense Estimation of 3D
Human-Scene Contact In The Wild", ICCV 2023, there from a photograph. Here the eye is the small model's evidence tower,
so that what is told is the same; the object's name comes in as a learned vector that asks the tower's tokens. No
language model, no views, no lift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.evidence_tower import EvidenceConfig, EvidenceTower
from hoirecon.contact.training.quick_step import (
    Batch,
    QuickWeights,
    distance_loss,
    parts_loss,
    unseen_body_losses,
)
from hoirecon.errors import InputError


@dataclass(frozen=True)
class RegressorConfig:
    """Sizes of a direct regressor; with the defaults it has about as many parameters as the small model (a test
    holds that)."""

    tower: EvidenceConfig
    """Sizes of its eye."""
    verts: int
    """V vertices of the body."""
    names: int
    """Objects that are known by name; one more vector stands for a thing whose name is not told."""
    parts: int
    """Parts of the body that a side task of training tells."""

    def __post_init__(self) -> None:
        if min(self.verts, self.names, self.parts) < 1:
            raise InputError("a regressor needs vertices, names and parts")


class DirectRegressor(nn.Module):
    """Evidence and a name in, a logit for every vertex out."""

    def __init__(self, config: RegressorConfig) -> None:
        """Random weights."""
        super().__init__()
        self.config = config
        width = config.tower.hidden_size
        self.tower = EvidenceTower(config.tower)
        self.name = nn.Embedding(config.names + 1, width)
        self.look = nn.MultiheadAttention(width, config.tower.num_heads, batch_first=True)
        self.mix = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU())
        self.verts = nn.Linear(width, config.verts)
        self.distance = nn.Linear(width, 1)
        self.parts = nn.Linear(width, config.parts)
        nn.init.constant_(self.verts.bias, -2.0)  # most vertices touch nothing

    @property
    def unnamed(self) -> int:
        """Index of the vector for a thing whose name is not told."""
        return self.config.names

    def forward(self, packed: Tensor, names: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look at evidence.

        Args:
            packed: (B, packed_size) evidence.
            names: (B,) index of each thing's name, :attr:`unnamed` if it is not told.

        Returns:
            Logits (B, V) of contact, the tower's tokens (B, P, H), and the state (B, H) that speaks.
        """
        seen = self.tower(packed)
        asking = self.name(names)
        found, _ = self.look(asking[:, None], seen, seen, need_weights=False)
        state = self.mix(torch.cat([found[:, 0], asking], dim=1))
        return self.verts(state), seen, state


def regressor_step(
    model: DirectRegressor, batch: Batch, names: Tensor, area: Tensor, weights: QuickWeights
) -> dict[str, Tensor]:
    """Losses of a batch by name, weighted as the small model's: the same side tasks, no words.

    Args:
        model: what is trained.
        batch: evidence and truth; its words are not looked at.
        names: (B,) what each thing is called.
        area: (V,) share of the body's surface that each vertex stands for.
        weights: of the losses.
    """
    logits, seen, state = model(batch.evidence, names)
    return {
        **unseen_body_losses(logits, batch.contact, area, weights),
        "distance": weights.distance * distance_loss(model.distance, seen, batch),
        "parts": weights.parts * parts_loss(model.parts, state, batch),
    }


@torch.no_grad()
def regress(model: DirectRegressor, packed: Tensor, names: Sequence[int], at_once: int = 64) -> Tensor:
    """(n, V) probabilities of contact, in evaluation mode.

    Args:
        model: trained.
        packed: (n, packed_size) evidence.
        names: index of each thing's name.
        at_once: pictures looked at together.
    """
    was, _ = model.training, model.eval()
    asked = torch.tensor(list(names))
    logits = [model(packed[i : i + at_once], asked[i : i + at_once])[0] for i in range(0, len(packed), at_once)]
    model.train(was)
    return torch.cat(logits).sigmoid()
