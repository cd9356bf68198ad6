"""Optional fusion of language features into the image embeddings; off in every released model.

Named in the released implementation of Dwivedi et al., "InteractVLM", CVPR 2025; parameters have its names.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads and biased projections."""

    def __init__(self, dim: int, num_heads: int) -> None:
        """Random weights.

        Args:
            dim: width, a multiple of ``num_heads``.
            num_heads: heads.
        """
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def attention_map(self, query: Tensor, key: Tensor) -> Tensor:
        """(B, heads, N, L) how much each of N queries (B, N, dim) looks at each of L keys (B, L, dim)."""
        q, k = self._heads(self.q_proj(query)), self._heads(self.k_proj(key))
        return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, N, dim) mixture of values (B, L, dim) for each query (B, N, dim)."""
        mixed = self.attention_map(query, key) @ self._heads(self.v_proj(value))
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, dim) -> (B, heads, N, dim / heads)."""
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)


class LanguageFusion(nn.Module):
    """Every place of an image embedding looks at all language states, and adds what it finds."""

    def __init__(self, sam_dim: int, language_dim: int, hidden: int = 128, num_heads: int = 8) -> None:
        """Random weights.

        Args:
            sam_dim: channels of an image embedding.
            language_dim: width of the language model.
            hidden: width of the attention.
            num_heads: its heads.
        """
        super().__init__()
        self.sam_proj = nn.Linear(sam_dim, hidden)
        self.llava_proj = nn.Linear(language_dim, hidden)
        self.fusion = MultiHeadAttention(hidden, num_heads)
        self.output_proj = nn.Linear(hidden, sam_dim)

    def forward(self, features: Tensor, language: Tensor) -> Tensor:
        """Fuse.

        Args:
            features: (B, C, e, e) image embeddings.
            language: (B, L, H) hidden states of the language model.

        Returns:
            (B, C, e, e) in the weights' dtype.
        """
        dtype = self.sam_proj.weight.dtype
        features, language = features.to(dtype), language.to(dtype)
        places = features.flatten(2).transpose(1, 2)  # (B, e*e, C)
        words = self.llava_proj(language)
        found = self.output_proj(self.fusion(self.sam_proj(places), words, words))
        return features + torch.transpose(found, 1, 2).reshape(features.shape)
