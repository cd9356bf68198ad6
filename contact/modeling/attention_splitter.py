"""Attention splitter: lets the views of one contact token exchange what they know, for human and object apart.

Part of the joint human and object model of Dwivedi et al., "InteractVLM", CVPR 2025; it stands after FeatLift.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.contact_tokens import Role


class AttentionSplitter(nn.Module):
    """Single-head attention over the views; human and object differ in their queries alone.

    There is neither residual nor norm, so what comes out replaces what went in.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        """Random weights.

        Args:
            dim: width of an embedding.
            hidden: width of queries, keys and values.
        """
        super().__init__()
        self.input_proj = nn.Linear(dim, hidden)
        self.query_human = nn.Linear(hidden, hidden)
        self.query_object = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.output_proj = nn.Linear(hidden, dim)

    def forward(self, embedding: Tensor, role: Role) -> Tensor:
        """Mix the views of each contact token.

        Args:
            embedding: (S, V, D) each token's embedding for each view.
            role: what the tokens speak of; ``general`` passes through untouched.

        Returns:
            (S, V, D).
        """
        if role == "general":
            return embedding
        x = self.input_proj(embedding)
        query = self.query_human if role == "human" else self.query_object
        scores = query(x) @ self.key(x).transpose(-2, -1) / math.sqrt(x.shape[-1])
        out: Tensor = self.output_proj(torch.softmax(scores, dim=-1) @ self.value(x))
        return out
