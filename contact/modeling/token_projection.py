"""Token projection: from the language model's state at a contact token to the prompt of MV-Loc's mask decoder.

Dwivedi et al., "InteractVLM", CVPR 2025, after LISA (Lai et al., CVPR 2024).
"""

from __future__ import annotations

from torch import nn


class TokenProjection(nn.Sequential):
    """Linear, ReLU, Linear: (..., in_dim) -> (..., out_dim). Checkpoints call it ``text_hidden_fcs.0``.

    Example:
        >>> sorted(TokenProjection(8, 4).state_dict())
        ['0.bias', '0.weight', '2.bias', '2.weight']
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        """Random weights.

        Args:
            in_dim: width of the language model.
            out_dim: width of a prompt.
        """
        super().__init__(nn.Linear(in_dim, in_dim), nn.ReLU(), nn.Linear(in_dim, out_dim))
