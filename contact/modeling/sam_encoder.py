"""Segment Anything's image encoder with fused attention: same weights, names and numbers, a fraction of the memory.

Segment Anything (Kirillov et al., 2023) adds decomposed relative positions (Li et al., "MViTv2", 2022) to the attention
scores, and its published code therefore holds the scores of all pairs of places three times over: at 64 x 64 places and
16 heads one view in float32 takes 1 GiB for each copy. Here the positions go into ``scaled_dot_product_attention`` as
its bias, made for a few rows of the grid at a time, so that neither scores nor bias ever exist as a whole.

Measured for the attention of one global block (float32, one CPU core, 64 x 64 places, 12 heads of width 64):

=============================================  =====  =======
form                                           time   memory
=============================================  =====  =======
published code                                 3.1 s  2381 MB
bias at once                                   1.5 s  1601 MB
bias, 4 rows of the grid at a time             1.6 s   144 MB
folded into queries and keys, no bias          2.5 s  1938 MB
the same, values padded to that width          1.9 s   270 MB
=============================================  =====  =======

Folding, ``[q * scale, rel_h, rel_w] . [k, onehot_h, onehot_w]``, multiplies vectors of length d + 128 instead of d. The
bias by rows is the leanest and costs not one multiplication more than the published code. In windows that stick out of
the grid only real places are projected, which saves 5 % of the published ViT-H's operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoirecon.errors import InputError
from hoirecon.sam_network import PIXEL_MEAN, PIXEL_STD, SamConfig

MAX_BIAS = 1 << 26
"""Elements of attention bias that exist at once (256 MiB in float32), as far as one row of the grid allows."""
CHUNK = 4
"""Images that are encoded at once."""


class GridAttention(nn.Module):
    """Multi-head attention among the places of a grid or of each of its windows, with decomposed relative positions.

    Windows that stick out of the grid see nothing there but the projections' biases, as in the published code; those
    are filled in here instead of projecting zeros.
    """

    def __init__(self, eager: Any, window: int) -> None:
        """Share the parameters of ``segment_anything``'s attention, under their names.

        Args:
            eager: ``segment_anything.modeling.image_encoder.Attention``.
            window: side of a window in places; 0 for the whole grid.
        """
        super().__init__()
        self.num_heads: int = eager.num_heads
        self.window = window
        self.qkv: nn.Linear = eager.qkv
        self.proj: nn.Linear = eager.proj
        self.use_rel_pos: bool = eager.use_rel_pos
        if self.use_rel_pos:
            self.rel_pos_h: nn.Parameter = eager.rel_pos_h
            self.rel_pos_w: nn.Parameter = eager.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        qkv = self.qkv(x)
        if self.window:
            windows = split_windows(qkv, self.window, self.qkv.bias)
            mixed = join_windows(self._attend(windows), x.shape[1], x.shape[2])
        else:
            mixed = self._attend(qkv)
        projected: Tensor = self.proj(mixed)
        return projected

    def _attend(self, qkv: Tensor) -> Tensor:
        """(B, H, W, 3C) queries, keys and values -> (B, H, W, C), every place looking at all others."""
        batch, height, width, _ = qkv.shape
        heads = qkv.reshape(batch, height * width, 3, self.num_heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, H*W, d)
        if self.use_rel_pos:
            out = self._with_positions(q, k, v, height, width)
        else:
            out = functional.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).reshape(batch, height, width, -1)

    def _with_positions(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """Attention (B, heads, H*W, d), a few rows of queries at a time."""
        rows_of = relative_positions(self.rel_pos_h, height)
        cols_of = relative_positions(self.rel_pos_w, width)
        grid = q.reshape(*q.shape[:2], height, width, -1)
        step = max(1, MAX_BIAS // (q.shape[0] * q.shape[1] * width * height * width))
        parts = []
        for top in range(0, height, step):
            rows = slice(top, top + step)
            part = grid[:, :, rows]
            bias = position_bias(part, rows_of[rows], cols_of)
            parts.append(functional.scaled_dot_product_attention(part.flatten(2, 3), k, v, attn_mask=bias))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


class FusedBlock(nn.Module):
    """One block of the encoder with :class:`GridAttention`; names as in ``segment_anything``."""

    def __init__(self, eager: Any) -> None:
        """Share the parameters of ``segment_anything.modeling.image_encoder.Block``."""
        super().__init__()
        self.norm1: nn.Module = eager.norm1
        self.attn = GridAttention(eager.attn, eager.window_size)
        self.norm2: nn.Module = eager.norm2
        self.mlp: nn.Module = eager.mlp

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def split_windows(x: Tensor, side: int, fill: Tensor | None) -> Tensor:
    """(B, H, W, C) -> (B * windows, side, side, C), row by row; places beyond the grid hold ``fill`` (C,) or zeros."""
    batch, height, width, channels = x.shape
    down, across = -(-height // side), -(-width // side)
    if (down * side, across * side) != (height, width):
        whole = x.new_zeros(batch, down * side, across * side, channels)
        whole = whole if fill is None else whole + fill
        whole[:, :height, :width] = x
        x = whole
    grid = x.reshape(batch, down, side, across, side, channels)
    return grid.transpose(2, 3).reshape(-1, side, side, channels)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """The inverse of :func:`split_windows`: (B, height, width, C), what lies beyond the grid dropped."""
    side, channels = windows.shape[1], windows.shape[-1]
    down, across = -(-height // side), -(-width // side)
    grid = windows.reshape(-1, down, across, side, side, channels)
    return grid.transpose(2, 3).reshape(-1, down * side, across * side, channels)[:, :height, :width]


def relative_positions(table: Tensor, size: int) -> Tensor:
    """(size, size, d) entry for query i and key j along one axis, from a table (L, d) of distances.

    A table made for another size is interpolated, as the published code does.
    """
    length = 2 * size - 1
    if len(table) != length:
        table = functional.interpolate(table.T[None], size=length, mode="linear")[0].T
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places[None] + size - 1]


def position_bias(queries: Tensor, rows_of: Tensor, cols_of: Tensor) -> Tensor:
    """What relative positions add to the scores of some rows of queries.

    Args:
        queries: (B, heads, R, W, d), unscaled.
        rows_of: (R, H, d) entries of these rows' queries for each row of keys.
        cols_of: (W, W, d) entries for each column of keys.

    Returns:
        (B, heads, R*W, H*W).
    """
    by_row = torch.einsum("bnrwc,rkc->bnrwk", queries, rows_of)
    by_col = torch.einsum("bnrwc,wkc->bnrwk", queries, cols_of)
    bias = by_row[..., :, None] + by_col[..., None, :]
    return bias.flatten(4, 5).flatten(2, 3)


def build_image_encoder(config: SamConfig) -> nn.Module:
    """The encoder of these sizes with random weights and fused attention; names as in ``segment_anything``."""
    encoder: nn.Module = config.build().image_encoder
    return with_fused_attention(encoder)


def with_fused_attention(encoder: nn.Module) -> nn.Module:
    """Exchange, in place, every block of ``segment_anything``'s image encoder for a :class:`FusedBlock`."""
    eager: Any = encoder.blocks
    encoder.blocks = nn.ModuleList(FusedBlock(block) for block in eager)
    return encoder


def prepare_images(images: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Images as the encoder takes them: normalised in float32, then zeros to the right and below.

    Args:
        images: (N, 3, h, w) RGB in 0..255, the longer side resized to ``size``, not padded.
        size: side of the square input.
        dtype: of the result.

    Returns:
        (N, 3, size, size).

    Raises:
        InputError: another shape, or larger than ``size``.
    """
    if images.ndim != 4 or images.shape[1] != 3 or max(images.shape[2:]) > size or min(images.shape[2:]) < 1:
        raise InputError(
            f"Segment Anything takes images (N, 3, h, w) with sides of 1 to {size}, got {tuple(images.shape)}: "
            "resize the longer side first"
        )
    pixels = images.float()
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    pixels = (pixels - mean) / std
    return functional.pad(pixels, (0, size - images.shape[3], 0, size - images.shape[2])).to(dtype)


@torch.no_grad()
def encode_images(encoder: nn.Module, images: Tensor, size: int, chunk: int = CHUNK) -> Tensor:
    """Image embeddings without gradients (the encoder is frozen in training, too), at most ``chunk`` images at once.

    Args:
        encoder: of :func:`build_image_encoder`.
        images: (N, 3, h, w) as in :func:`prepare_images`; uint8 saves memory.
        size: side of the encoder's square input.
        chunk: limit on images in memory.

    Returns:
        (N, C, e, e) in the weights' dtype.
    """
    if len(images) == 0 or chunk < 1:
        raise InputError(f"encoding needs at least one image and a chunk of at least 1, got {len(images)} and {chunk}")
    dtype = next(encoder.parameters()).dtype
    parts = [encoder(prepare_images(part, size, dtype)) for part in torch.split(images, chunk)]
    return torch.cat(parts)
