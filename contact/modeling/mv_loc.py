"""MV-Loc: localises contact in several views of one thing with Segment Anything, prompted by contact tokens.

Dwivedi et al., "InteractVLM", CVPR 2025; Kirillov et al., "Segment Anything", 2023. Parameters are named as in
checkpoints under ``visual_model``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.modeling.fusion import LanguageFusion
from hoirecon.contact.modeling.sam_encoder import CHUNK, encode_images, with_fused_attention
from hoirecon.contact.modeling.uncertainty import UncertaintyHead
from hoirecon.errors import InputError


@dataclass(frozen=True)
class LowRes:
    """What the mask decoder says of S prompts on V views."""

    logits: Tensor
    """(S, V, 4e, 4e) for an image embedding of side e."""
    iou: Tensor
    """(S, V) the decoder's own guess of the mask's quality."""


class MVLoc(nn.Module):
    """Segment Anything whose prompts are embeddings of contact tokens, on all views together.

    Example:
        features = mv_loc.encode(renders)                      # (V, C, e, e)
        found = mv_loc.localize(prompts, features, "human")    # prompts (S, V, D), one per contact token and view
        masks = mv_loc.upscale(found.logits, (1024, 1024), (1024, 1024))
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Random weights on torch's default device.

        Args:
            config: sizes, and which parts exist.
        """
        super().__init__()
        sam: Any = config.sam.build()
        self.sam_config = config.sam
        self.image_encoder: Any = with_fused_attention(sam.image_encoder)
        self.prompt_encoder: Any = sam.prompt_encoder
        self.mask_decoder: Any = sam.mask_decoder
        self.human_mask_decoder: Any = config.sam.build_decoder() if config.separate_decoders else None
        self.object_mask_decoder: Any = config.sam.build_decoder() if config.separate_decoders else None
        width = config.sam.out_chans
        self.fusion = LanguageFusion(width, config.language.hidden_size) if config.fusion else None
        self.uncertainty = UncertaintyHead(width) if config.uncertainty else None

    def encode(self, images: Tensor, chunk: int = CHUNK) -> Tensor:
        """Image embeddings, without gradients.

        Args:
            images: (N, 3, h, w) RGB in 0..255, uint8 or float, the longer side as the network's, not padded.
            chunk: most images that are encoded at once.

        Returns:
            (N, C, e, e) in the weights' dtype.

        Raises:
            InputError: no image, another shape, or too large.
        """
        return encode_images(self.image_encoder, images, self.sam_config.img_size, chunk)

    def fuse(self, features: Tensor, language: Tensor) -> Tensor:
        """Add what the language model's states (L, H) say to image embeddings (V, C, e, e), if the model does that."""
        if self.fusion is None:
            return features
        fused: Tensor = self.fusion(features, language.expand(len(features), -1, -1))
        return fused

    def localize(self, prompts: Tensor, features: Tensor, role: Role) -> LowRes:
        """Decode every prompt on every view.

        The embeddings of a contact token for its V views are told to each view's decoder all together, as T = V sparse
        tokens of one prompt. (One would expect view v to hear embedding v alone; the released models were trained so.)

        Args:
            prompts: (S, T, D) S prompts of T tokens.
            features: (V, C, e, e) image embeddings of the views.
            role: whose mask is wanted; chooses the decoder where there are several.

        Returns:
            Logits (S, V, 4e, 4e) and quality (S, V).

        Raises:
            InputError: widths that do not fit the network.
        """
        self._check(prompts, features)
        position, no_mask = self.dense_position(), self.no_mask()
        features, prompts = features.to(no_mask.dtype), prompts.to(no_mask.dtype)
        decoder = self.decoder_of(role)
        side = 4 * self.sam_config.grid
        logits = features.new_empty(len(prompts), len(features), side, side)
        iou = features.new_empty(len(prompts), len(features))
        decoded = [self._decode(decoder, tokens, features, position, no_mask) for tokens in prompts]
        if decoded:
            logits, iou = (torch.stack(parts) for parts in zip(*decoded, strict=True))
        return LowRes(logits, iou)

    @staticmethod
    def _decode(
        decoder: Any, tokens: Tensor, features: Tensor, position: Tensor, no_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One prompt's tokens (T, D) on V views: logits (V, 4e, 4e) and quality (V,).

        The decoder takes a batch of prompts for one image, or, by broadcasting, one prompt for a batch of images. The
        second form computes what is the same in every view (the tokens' first attention) once.
        """
        masks, iou = decoder(
            image_embeddings=features,
            image_pe=position,
            sparse_prompt_embeddings=tokens[None],
            dense_prompt_embeddings=no_mask,
            multimask_output=False,
        )
        return masks[:, 0], iou[:, 0]

    def localize_many(self, prompts: Tensor, features: Tensor, role: Role) -> Tensor:
        """Logits (S, V, 4e, 4e) of S prompts (S, T, D) as :meth:`localize` gives them, all in one pass.

        For training small networks on many questions at a time; a large one would not fit into memory so. ``features``
        are (V, C, e, e) of views that all prompts share, or (S, V, C, e, e) of each one's own.
        """
        own_views = features if features.ndim == 5 else features.expand(len(prompts), *features.shape)
        self._check(prompts, own_views[0])
        decoder, position = self.decoder_of(role), self.dense_position()
        count, views, width = own_views.shape[:3]
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(count, -1, -1)
        tokens = torch.cat([own, prompts.to(own)], dim=1).repeat_interleave(views, dim=0)
        image = (own_views + self.no_mask()).flatten(0, 1)
        states, image_states = decoder.transformer(image, position.expand(len(image), -1, -1, -1), tokens)
        grid = image_states.transpose(1, 2).reshape(len(image), width, *own_views.shape[-2:])
        fine = decoder.output_upscaling(grid)
        mask = decoder.output_hypernetworks_mlps[0](states[:, 1])
        found: Tensor = torch.einsum("nc,nchw->nhw", mask, fine)
        return found.reshape(count, views, *found.shape[-2:])

    def decoder_of(self, role: Role) -> Any:
        """The mask decoder that answers for a role: its own one if there is one, else the common one."""
        own = {"human": self.human_mask_decoder, "object": self.object_mask_decoder, "general": None}[role]
        return self.mask_decoder if own is None else own

    def collapse_decoders(self) -> None:
        """Make the object's decoder the only one.

        The reference gives the three decoders of such a checkpoint one common module before it reads the weights, so
        that the object's, which are read last, answer for everything. Do the same to reproduce its numbers.
        """
        if self.object_mask_decoder is not None:
            self.mask_decoder = self.object_mask_decoder
            self.human_mask_decoder = self.object_mask_decoder = None

    def no_mask(self) -> Tensor:
        """(1, C, e, e) dense prompt that says that no mask is given: one learned vector everywhere."""
        side = self.sam_config.grid
        vector: Tensor = self.prompt_encoder.no_mask_embed.weight
        return vector[:, :, None, None].expand(1, -1, side, side)

    def dense_position(self) -> Tensor:
        """(1, C, e, e) random Fourier features of each place's centre, every step in the weights' own dtype.

        Segment Anything computes them in float32. The released models computed them in bfloat16, where the rounding can
        be seen, and so does this network as soon as its weights are bfloat16.
        """
        gaussian: Tensor = self.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix  # (2, C / 2)
        side = self.sam_config.grid
        ones = gaussian.new_ones(side, side)
        x, y = (ones.cumsum(dim=1) - 0.5) / side, (ones.cumsum(dim=0) - 0.5) / side
        phase = 2 * math.pi * ((2 * torch.stack([x, y], dim=-1) - 1) @ gaussian)
        return torch.cat([phase.sin(), phase.cos()], dim=-1).permute(2, 0, 1)[None]

    def upscale(self, logits: Tensor, resized: tuple[int, int], original: tuple[int, int]) -> Tensor:
        """Masks at the size of the picture, in float32 whatever came in.

        Args:
            logits: (..., 4e, 4e).
            resized: (h, w) of the image as it was encoded, before padding.
            original: (h, w) of the picture.

        Returns:
            (..., h, w) logits.
        """
        size = self.sam_config.img_size
        if min(*resized, *original) < 1 or max(resized) > size:
            raise InputError(f"a mask of {resized} within {size} x {size} cannot be brought to {original}")
        flat = logits.float().reshape(-1, 1, *logits.shape[-2:])
        flat = functional.interpolate(flat, (size, size), mode="bilinear", align_corners=False)
        flat = flat[..., : resized[0], : resized[1]]
        flat = functional.interpolate(flat, original, mode="bilinear", align_corners=False)
        return flat.reshape(*logits.shape[:-2], *original)

    def _check(self, prompts: Tensor, features: Tensor) -> None:
        width, side = self.sam_config.out_chans, self.sam_config.grid
        if prompts.ndim != 3 or prompts.shape[-1] != width:
            raise InputError(f"prompts are (prompts, tokens, {width}), got {tuple(prompts.shape)}")
        if features.ndim != 4 or tuple(features.shape[1:]) != (width, side, side):
            raise InputError(
                f"image embeddings are (views, {width}, {side}, {side}), got {tuple(features.shape)}: "
                "encode the views with this model"
            )
