"""The transformer over a class token and the patches: pre-norm blocks (Dosovitskiy et al., "ViT", 2020)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.packed_linear import can_pack, state_of
from hoirecon.retrieval.modeling.packed_transformer import PackedBlock

BIAS_HIDDEN = 64
"""Hidden width of the network that turns offsets between patches into a bias."""


class PreNorm(nn.Module):
    """A branch behind a layer normalisation."""

    def __init__(self, dim: int, branch: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = branch


class Attention(nn.Module):
    """Self-attention with one bias-free projection to queries, keys and values."""

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads = config.heads
        self.scale: float = config.head_dim**-0.5
        self.to_qkv = nn.Linear(config.dim, 3 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, config.dim))
        self.pe: nn.Module | None = None
        if config.relative_bias:
            self.pe = nn.Sequential(nn.Conv2d(3, BIAS_HIDDEN, 1), nn.ReLU(), nn.Conv2d(BIAS_HIDDEN, 1, 1))

    def forward(self, tokens: Tensor, offsets: Tensor | None = None, only_first: bool = False) -> Tensor:
        """What each token takes from all.

        Args:
            tokens: (B, T, dim).
            offsets: (B, 3, T, T) from token j to token i, needed with a relative bias.
            only_first: ask for the first token alone.

        Returns:
            (B, T, dim), or (B, 1, dim).
        """
        bias = self._bias(offsets, 1 if only_first else tokens.shape[1])
        if only_first:
            return cast(Tensor, self.to_out(self._first(tokens, bias)))
        queries, keys, values = (self._by_head(part) for part in self.to_qkv(tokens).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=self.scale)
        return cast(Tensor, self.to_out(mixed.transpose(1, 2).flatten(2)))

    def _first(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """(B, 1, heads x head_dim) mixed values for the first token, without any other token's key or value.

        A logit is q . (W_k x): q W_k, once, in place of W_k x for every token. Likewise a head's output is W_v applied
        to its mean of tokens, not the mean of W_v applied to each.
        """
        of_query, of_key, of_value = self.to_qkv.weight.view(3, self.heads, -1, tokens.shape[-1])
        query = torch.einsum("hed,bd->bhe", of_query, tokens[:, 0])
        logits = torch.einsum("bhe,hed->bhd", query, of_key) @ tokens.transpose(1, 2) * self.scale
        if bias is not None:
            logits = logits + bias[:, :, 0]
        mean = logits.softmax(-1) @ tokens
        return torch.einsum("bhd,hed->bhe", mean, of_value).flatten(1)[:, None]

    def _bias(self, offsets: Tensor | None, count: int) -> Tensor | None:
        """(B, 1, count, T) what offsets add to the first tokens' scaled logits."""
        if self.pe is None:
            return None
        if offsets is None:
            raise ValueError("attention with a relative bias needs the offsets between tokens")
        # The reference adds the bias before the logits are scaled.
        bias: Tensor = self.pe(offsets[:, :, :count])
        return bias * self.scale

    def _by_head(self, values: Tensor) -> Tensor:
        """(B, T, heads x head_dim) to (B, heads, T, head_dim)."""
        return values.reshape(*values.shape[:2], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Two layers on each token, GELU between them."""

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        # The reference has dropout at places 2 and 4, which inference never sees; the names keep count of it.
        self.net = nn.Sequential(
            nn.Linear(config.dim, config.mlp_dim), nn.GELU(), nn.Identity(), nn.Linear(config.mlp_dim, config.dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, dim) to the same."""
        return cast(Tensor, self.net(tokens))


class Transformer(nn.Module):
    """Blocks of attention and MLP, each added to the tokens; without a normalisation at the end."""

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([PreNorm(config.dim, Attention(config)), PreNorm(config.dim, FeedForward(config))])
            for _ in range(config.depth)
        )
        self._packed: tuple[object, list[PackedBlock]] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Without the packed weights: they are a copy, and no layout to be saved."""
        return {**self.__dict__, "_packed": None}

    def forward(self, tokens: Tensor, offsets: Tensor | None = None, only_first: bool = False) -> Tensor:
        """The tokens after all blocks.

        Args:
            tokens: (B, T, dim).
            offsets: (B, 3, T, T), needed with a relative bias.
            only_first: give the first token alone; the last block then does nothing for the others.

        Returns:
            (B, T, dim), or (B, 1, dim).
        """
        packed = self._packed_blocks(tokens, offsets)
        for i, block in enumerate(self.layers):
            attend, feed = cast(list[PreNorm], block)
            cut = only_first and i == len(self.layers) - 1
            if packed and not cut:
                tokens = packed[i](tokens)
                continue
            taken = attend.fn(attend.norm(tokens), offsets, cut)
            tokens = (tokens[:, :1] if cut else tokens) + taken
            tokens = tokens + feed.fn(feed.norm(tokens))
        return tokens

    def _packed_blocks(self, tokens: Tensor, offsets: Tensor | None) -> list[PackedBlock]:
        """The blocks laid out for inference, made at their first use and again when a weight changed.

        None where a plain pass is asked for: training, gradients, other devices and types, a relative bias.
        """
        weights = list(self.parameters())
        if self.training or offsets is not None or not can_pack([tokens, *weights]):
            return []
        state = state_of(weights)
        if self._packed is None or self._packed[0] != state:
            rows = tokens.shape[0] * tokens.shape[1]
            pairs = (cast(list[PreNorm], block) for block in self.layers)
            self._packed = state, [PackedBlock.pack(a.norm, a.fn, f.norm, f.fn.net, rows) for a, f in pairs]
        return self._packed[1]


def pairwise_offsets(centres: Tensor) -> Tensor:
    """(B, 3, P + 1, P + 1) from centre j to centre i of (B, P, 3); the class token lies at the origin."""
    with_class = torch.cat([torch.zeros_like(centres[:, :1]), centres], dim=1).transpose(1, 2)
    return with_class[:, :, :, None] - with_class[:, :, None, :]
