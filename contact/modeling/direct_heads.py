"""Direct heads: what a contact token's state knows of contact without any view, beside MV-Loc's masks.

Not in the paper and in none of the released models. A vector of a hundred numbers becomes a hundred thousand pixels of
masks only slowly; a number for every vertex is learned in minutes (Tripathi et al., "DECO: Dense Estimation of 3D
Human-Scene Contact In The Wild", ICCV 2023, predict contact so), and then the state that the masks are made from knows
already what they have to show. A model may also answer with the mean of both (``NetworkConfig.direct_share``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoirecon.errors import InputError

USUAL_LOGIT = -2.0
"""What heads say before they learn anything: most vertices touch nothing."""
WAVES = (0.5, 1.0, 2.0)
"""Waves along each side of half an object's box that tell places apart."""
PLACE_NUMBERS = 3 * (3 + 2 * len(WAVES))
"""Numbers of :func:`place_features`."""
LIFTED_EPS = 1e-4
"""Lifted probabilities are held this far from 0 and 1 before their logarithm is taken."""


class VertexHead(nn.Module):
    """A logit of contact for every vertex of one body, from the state before a contact token."""

    def __init__(self, hidden: int, verts: int) -> None:
        """Random weights.

        Args:
            hidden: width of the language model.
            verts: N vertices of the body that the model knows.
        """
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU())
        self.out = nn.Linear(hidden, verts)
        nn.init.constant_(self.out.bias, USUAL_LOGIT)

    def forward(self, states: Tensor) -> Tensor:
        """States (S, H) -> logits (S, N)."""
        logits: Tensor = self.out(self.mix(states.to(self.out.weight)))
        return logits


class ObjectHead(nn.Module):
    """A logit of contact for every vertex of an object: what is usual for its name, and what state and shape add.

    What is usual is a volume in the box of the mesh in its own frame, so that it says something only of meshes that
    stand and face as those that were trained on.
    """

    def __init__(self, hidden: int, words: int, grid: int, width: int = 64) -> None:
        """Nothing is usual, and the state adds nothing.

        Args:
            hidden: width of the language model.
            words: size of the vocabulary; each word that names an object has a row of its own.
            grid: g voxels along each side of the box.
            width: hidden width of what is added.
        """
        super().__init__()
        self.grid = grid
        self.usual = nn.Parameter(torch.full((words, grid**3), USUAL_LOGIT))
        self.asked = nn.Linear(hidden, width)
        self.place = nn.Linear(PLACE_NUMBERS + 1, width)
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, state: Tensor, word: int, places: Tensor) -> Tensor:
        """Logits (N,) of one object.

        Args:
            state: (H,) before the contact token.
            word: id of the word that names the object.
            places: (N, PLACE_NUMBERS) of :func:`place_features`.
        """
        kind = self.out.weight
        places = places.to(kind)
        usual = self.usual_at(word, places[:, :3])
        told = self.place(torch.cat([places, usual[:, None]], dim=1)) + self.asked(state.to(kind))
        added: Tensor = self.out(self.mix(told))[:, 0]
        return usual + added

    def usual_at(self, word: int, places: Tensor) -> Tensor:
        """(N,) the usual logit at places (N, 3) of the box, -1..1, trilinear between the voxels' middles."""
        volume = self.usual[word].reshape(1, 1, self.grid, self.grid, self.grid)
        grid = places.flip(-1)[None, None, None]  # grid_sample wants the last axis first
        return functional.grid_sample(volume, grid, align_corners=False, padding_mode="border")[0, 0, 0, 0]


def place_features(verts: Tensor) -> Tensor:
    """What an object's vertices (N, 3), metres, in its own frame, are told of where they lie.

    Returns:
        (N, PLACE_NUMBERS): place in the box, -1..1 along each axis and 0 along an axis without extent; waves of it;
        offset from the box's middle and the box's half sides, metres.

    Raises:
        InputError: no vertices, or of another shape.
    """
    if verts.ndim != 2 or verts.shape[1] != 3 or not len(verts):
        raise InputError(f"an object's vertices are (N, 3) with at least one, got {tuple(verts.shape)}")
    low, high = verts.amin(0), verts.amax(0)
    offset, half = verts - (low + high) / 2, (high - low) / 2
    place = (offset / half.clamp(min=1e-9)).clamp(-1, 1)
    waves = [f(k * torch.pi * place) for k in WAVES for f in (torch.sin, torch.cos)]
    return torch.cat([place, *waves, offset, half.expand_as(offset)], dim=1)


def blend(lifted: Tensor, direct: Tensor, share: float) -> Tensor:
    """Probabilities of what was lifted and of what a head says, blended as logits.

    Args:
        lifted: (..., N) probabilities from masks; 0 where no view shows the vertex, where the head speaks alone.
        direct: (..., N) logits of the head.
        share: of the head in the blend, 0 to 1.

    Returns:
        (..., N) probabilities.
    """
    direct = direct.to(lifted)
    mixed = share * direct + (1 - share) * torch.logit(lifted, LIFTED_EPS)
    return torch.where(lifted > 0, mixed, direct).sigmoid()
