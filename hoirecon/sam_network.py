"""Segment Anything's network from sizes or from a file: shared by the segmenter of perception and by MV-Loc of contact.

Kirillov et al., "Segment Anything", 2023, through the ``segment-anything`` package (Apache-2.0). The sizes are read off
a checkpoint's own tensors, so that ViT-B, -L, -H and smaller trainings of the same design all load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoirecon.errors import InputError, require
from hoirecon.tensor_files import plain_tensors, read_tensor_table

MAX_CHECKPOINT_BYTES = 4 << 30
"""Largest checkpoint that is opened (ViT-H has 2.6 GB)."""
PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of RGB that the network's input is freed of."""
PIXEL_STD = (58.395, 57.12, 57.375)
"""Deviation of RGB that it is divided by."""


@dataclass(frozen=True)
class SamConfig:
    """Sizes of the network; the defaults are the published ViT-H."""

    img_size: int = 1024
    """Side of the square input, pixels."""
    patch_size: int = 16
    """Side of a patch, pixels."""
    embed_dim: int = 1280
    """Width of the image encoder."""
    depth: int = 32
    """Blocks of the image encoder."""
    num_heads: int = 16
    """Heads of each block."""
    window_size: int = 14
    """Side of an attention window, patches."""
    global_attn_indexes: tuple[int, ...] = (7, 15, 23, 31)
    """Blocks that attend to the whole image."""
    mlp_ratio: float = 4.0
    """Hidden width of the blocks' MLP, relative to ``embed_dim``."""
    out_chans: int = 256
    """Channels of an image embedding, of prompts and of the decoder."""
    qkv_bias: bool = True
    """Whether the projections to queries, keys and values have a bias."""
    use_rel_pos: bool = True
    """Whether attention knows relative positions."""
    norm_eps: float = 1e-6
    """Epsilon of the encoder's norms."""
    decoder_depth: int = 2
    """Layers of the decoder's two-way transformer."""
    decoder_heads: int = 8
    """Heads of its attention; not visible in the tensors, 8 in every published model."""
    decoder_mlp_dim: int = 2048
    """Hidden width of its MLP."""
    iou_head_depth: int = 3
    """Layers of the head that guesses the quality of a mask."""
    iou_head_hidden_dim: int = 256
    """Its hidden width."""
    mask_in_chans: int = 16
    """Channels of the mask prompt's convolutions."""
    num_multimask_outputs: int = 3
    """Masks for an ambiguous prompt, besides the single one."""

    @property
    def grid(self) -> int:
        """Side of an image embedding, patches."""
        return self.img_size // self.patch_size

    @classmethod
    def of_state(cls, shapes: Mapping[str, tuple[int, ...]], name: str | Path = "checkpoint") -> SamConfig:
        """Sizes that a checkpoint's tensors have.

        Args:
            shapes: shape of each tensor by Segment Anything's own names.
            name: what to call the checkpoint in errors.

        Raises:
            InputError: tensors are missing or do not fit together.
        """
        try:
            return _sizes(shapes)
        except (KeyError, ValueError, IndexError, ZeroDivisionError) as err:
            raise _not_sam(name, err) from err

    def build(self) -> Any:
        """A ``segment_anything.modeling.Sam`` of these sizes with random weights, on torch's default device."""
        modeling = require("segment_anything.modeling", extra="sam")
        torch = require("torch", extra="sam")
        from functools import partial

        encoder = modeling.ImageEncoderViT(
            img_size=self.img_size,
            patch_size=self.patch_size,
            embed_dim=self.embed_dim,
            depth=self.depth,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            norm_layer=partial(torch.nn.LayerNorm, eps=self.norm_eps),
            qkv_bias=self.qkv_bias,
            use_rel_pos=self.use_rel_pos,
            global_attn_indexes=list(self.global_attn_indexes),
            window_size=self.window_size,
            out_chans=self.out_chans,
        )
        prompts = modeling.PromptEncoder(
            embed_dim=self.out_chans,
            image_embedding_size=(self.grid, self.grid),
            input_image_size=(self.img_size, self.img_size),
            mask_in_chans=self.mask_in_chans,
        )
        return modeling.Sam(
            encoder, prompts, self.build_decoder(), pixel_mean=list(PIXEL_MEAN), pixel_std=list(PIXEL_STD)
        )

    def build_decoder(self) -> Any:
        """A ``segment_anything.modeling.MaskDecoder`` of these sizes with random weights."""
        modeling = require("segment_anything.modeling", extra="sam")
        return modeling.MaskDecoder(
            num_multimask_outputs=self.num_multimask_outputs,
            transformer=modeling.TwoWayTransformer(
                depth=self.decoder_depth,
                embedding_dim=self.out_chans,
                mlp_dim=self.decoder_mlp_dim,
                num_heads=self.decoder_heads,
            ),
            transformer_dim=self.out_chans,
            iou_head_depth=self.iou_head_depth,
            iou_head_hidden_dim=self.iou_head_hidden_dim,
        )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Tensors of a checkpoint by name, without executing anything from the file.

    Raises:
        InputError: missing, too large, or not plain tensors.
    """
    path, what = Path(path), "a Segment Anything checkpoint"
    return plain_tensors(read_tensor_table(path, MAX_CHECKPOINT_BYTES, what, "sam"), path, what)


def build_sam(state: Mapping[str, Any], name: str | Path = "checkpoint") -> Any:
    """A Sam of the sizes that the tensors have, with them loaded.

    Raises:
        InputError: tensors are missing or do not fit together.
    """
    config = SamConfig.of_state({key: tuple(value.shape) for key, value in state.items()}, name)
    try:
        sam = config.build()
        sam.load_state_dict(state)
    except (RuntimeError, AssertionError, ValueError) as err:
        raise _not_sam(name, err) from err
    return sam


def _not_sam(name: str | Path, err: Exception) -> InputError:
    first = str(err).strip().splitlines()[:1]
    return InputError(f"{name} is not a Segment Anything checkpoint ({''.join(first)[:120]})")


def _sizes(s: Mapping[str, tuple[int, ...]]) -> SamConfig:
    _, grid, _, width = s["image_encoder.pos_embed"]
    patch = s["image_encoder.patch_embed.proj.weight"][2]
    depth = _count(s, r"image_encoder\.blocks\.(\d+)\.")
    reach = [s[f"image_encoder.blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
    window, whole = _attention([length for length, _ in reach], grid)
    return SamConfig(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // reach[0][1],
        window_size=window,
        global_attn_indexes=whole,
        mlp_ratio=s["image_encoder.blocks.0.mlp.lin1.weight"][0] / width,
        out_chans=s["image_encoder.neck.0.weight"][0],
        qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in s,
        decoder_depth=_count(s, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        decoder_mlp_dim=s["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
        iou_head_depth=_count(s, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
        iou_head_hidden_dim=s["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        mask_in_chans=s["prompt_encoder.mask_downscaling.3.weight"][0],
        num_multimask_outputs=s["mask_decoder.mask_tokens.weight"][0] - 1,
    )


def _attention(lengths: list[int], grid: int) -> tuple[int, tuple[int, ...]]:
    """Window size and the blocks that see the whole image, from the lengths of the relative positions.

    A side of n patches has 2 n - 1 of them. A window may be larger than the image (which is then padded to it). If no
    block has a window of its own, all see the whole image: windows as large as the image come to the same.

    Raises:
        ValueError: windows of several sizes, or lengths that no side has.
    """
    whole = tuple(i for i, length in enumerate(lengths) if length == 2 * grid - 1)
    others = {length for length in lengths if length != 2 * grid - 1}
    if len(others) > 1 or any(length < 1 or length % 2 == 0 for length in others):
        raise ValueError(f"relative positions of lengths {sorted(set(lengths))} for {grid} x {grid} patches")
    return ((others.pop() + 1) // 2 if others else grid), whole


def _count(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    """How many numbered blocks there are."""
    return 1 + max(int(match[1]) for key in shapes if (match := re.match(pattern, key)))
