"""Look back: before a contact token's state speaks of contact, it looks once more at what the tower saw.

Not in the paper and in none of the released models, whose towers and language models come trained. A small network that
begins with nothing has to carry every detail through the language model otherwise, and learns several times slower.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STATES_AT_FIRST = 0.1
"""How much the language model's states count before anything is learned."""


class LookBack(nn.Module):
    """One attention of states over the picture's vectors, and a mix of what is found with what was asked."""

    def __init__(self, hidden: int, heads: int, words: int) -> None:
        """Random weights.

        Args:
            hidden: width of the language model.
            heads: of the attention.
            words: size of the vocabulary; each word that names an object has a vector of its own.
        """
        super().__init__()
        self.name = nn.Embedding(words, hidden)
        self.gate = nn.Parameter(torch.full((hidden,), STATES_AT_FIRST))
        self.look = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.mix = nn.Sequential(nn.LayerNorm(2 * hidden), nn.Linear(2 * hidden, hidden), nn.GELU())

    def forward(self, states: Tensor, pictures: Tensor, words: Sequence[int]) -> Tensor:
        """Look.

        Args:
            states: (S, H) of the language model before contact tokens.
            pictures: (S, P, H) vectors of each one's picture as the language model sees them.
            words: (S,) ids of the words that name the objects.

        Returns:
            (S, H).
        """
        named = self.name(torch.tensor(list(words), device=self.gate.device))
        asking = named + self.gate * states.to(named)
        pictures = pictures.to(asking)
        found, _ = self.look(asking[:, None], pictures, pictures, need_weights=False)
        mixed: Tensor = self.mix(torch.cat([found[:, 0], asking], dim=1))
        return mixed
