"""The transformer's blocks for inference on a processor: the same numbers up to rounding, in half the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoirecon.retrieval.modeling.packed_linear import PackedLinear, linear_pointwise

LONG = 128
"""Tokens from which attention goes head by head through oneDNN; below it one call of torch's own is cheaper."""


@dataclass(frozen=True)
class PackedBlock:
    """One block's layers, weights laid out for oneDNN; the parameters stay the module's own."""

    attend_norm: nn.LayerNorm
    to_qkv: PackedLinear
    """To queries, scaled as attention wants them, keys and values."""
    to_out: PackedLinear
    feed_norm: nn.LayerNorm
    widen: PackedLinear
    narrow: PackedLinear
    heads: int

    @classmethod
    def pack(
        cls, attend_norm: nn.LayerNorm, attention: Any, feed_norm: nn.LayerNorm, net: Any, rows: int
    ) -> PackedBlock:
        """Lay out a block: its attention and its MLP, each with the normalisation before it."""
        queries, keys, values = cast(Tensor, attention.to_qkv.weight).detach().chunk(3)
        return cls(
            attend_norm=attend_norm,
            to_qkv=PackedLinear.pack(torch.cat([queries * attention.scale, keys, values]), None, rows),
            to_out=PackedLinear.pack(attention.to_out[0].weight, attention.to_out[0].bias, rows),
            feed_norm=feed_norm,
            widen=PackedLinear.pack(net[0].weight, net[0].bias, rows, "gelu"),
            narrow=PackedLinear.pack(net[3].weight, net[3].bias, rows),
            heads=attention.heads,
        )

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, T, dim) to the same."""
        tokens = self.to_out.added_to(tokens, self._mixed(self.attend_norm(tokens)))
        return self.narrow.added_to(tokens, self.widen(self.feed_norm(tokens)))

    def _mixed(self, normed: Tensor) -> Tensor:
        """(B, T, heads x head_dim) values, mixed by how well keys answer queries."""
        clouds, count, _ = normed.shape
        by_head = self.to_qkv(normed).view(clouds, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if count < LONG:
            mixed = F.scaled_dot_product_attention(by_head[0], by_head[1], by_head[2], scale=1.0)
            return mixed.transpose(1, 2).flatten(2)
        pairs = [zip(*parts, strict=True) for parts in zip(*by_head.contiguous(), strict=True)]
        return torch.stack([torch.cat([_mix(q, k, v) for q, k, v in heads], -1) for heads in pairs])


def _mix(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(T, head_dim) of one head of one cloud, whose logits stay in the cache until they are used.

    Both products stand as linear layers, whose weight is the second factor's transpose.
    """
    return linear_pointwise(torch.softmax(linear_pointwise(queries, keys), -1), values.T)
