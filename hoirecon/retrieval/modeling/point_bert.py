"""PointBERT as OpenShape has it: a cloud with colours becomes one vector in the space of CLIP's images and texts.

Liu et al., "OpenShape", 2023, after Yu et al., "Point-BERT", 2022. Names of the parameters are those of the released
checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hoirecon.errors import InputError
from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_groups import farthest_points, gather_points, points_in_balls
from hoirecon.retrieval.modeling.set_abstraction import SetAbstraction
from hoirecon.retrieval.modeling.transformer import Transformer, pairwise_offsets


@dataclass(frozen=True)
class PatchGroups:
    """Which points make the patches of a batch of clouds."""

    centre_index: Tensor
    """(B, P) indices of the centres."""
    members: Tensor
    """(B, P, K) indices of each patch's points."""


class _Transposed(nn.Module):
    """(B, C, P) to (B, P, C); has a place, and no parameters, in the reference's list of layers."""

    def forward(self, values: Tensor) -> Tensor:
        return values.transpose(1, 2)


class PointPatchTransformer(nn.Module):
    """A cloud to the class token of a transformer over its patches.

    Args:
        config: sizes.
    """

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.randn(config.dim))
        self.sa = SetAbstraction(config)
        self.lift = nn.Sequential(
            nn.Conv1d(config.patch_dim + 3, config.dim, 1), _Transposed(), nn.LayerNorm(config.dim)
        )
        self.transformer = Transformer(config)

    def group(self, xyz: Tensor, start: int = 0) -> PatchGroups:
        """Divide clouds (B, N, 3) into patches, on indices only."""
        config = self.config
        centre_index = farthest_points(xyz, config.num_patches, start)
        centres = gather_points(xyz, centre_index)
        return PatchGroups(centre_index, points_in_balls(xyz, centres, config.radius, config.patch_points))

    def tokens(self, xyz: Tensor, features: Tensor, groups: PatchGroups) -> tuple[Tensor, Tensor]:
        """Tokens (B, P, dim) of the patches and their centres (B, P, 3), in the parameters' type."""
        xyz, features = xyz.to(self.cls_token.dtype), features.to(self.cls_token.dtype)
        centres = gather_points(xyz, groups.centre_index)
        patches = self.sa(xyz, features, centres, groups.members)
        lifted: Tensor = self.lift(torch.cat([centres, patches], -1).transpose(1, 2))
        return lifted, centres

    def forward(self, xyz: Tensor, features: Tensor, start: int = 0) -> Tensor:
        """Class tokens of a batch of clouds.

        Args:
            xyz: (B, N, 3) points, centred, the farthest at distance 1.
            features: (B, N, C) their features, beginning with x, y, z.
            start: index of the first centre of farthest-point sampling.

        Returns:
            (B, dim) in the parameters' type, not normalised.

        Raises:
            InputError: shapes that do not fit, or fewer points than patches.
        """
        self._check(xyz, features, start)
        tokens, centres = self.tokens(xyz, features, self.group(xyz, start))
        tokens = torch.cat([self.cls_token.expand(len(tokens), 1, -1), tokens], dim=1)
        offsets = pairwise_offsets(centres) if self.config.relative_bias else None
        return cast(Tensor, self.transformer(tokens, offsets, only_first=True))[:, 0]

    def _check(self, xyz: Tensor, features: Tensor, start: int) -> None:
        shape = (*xyz.shape[:2], self.config.channels)
        if xyz.ndim != 3 or xyz.shape[-1] != 3 or tuple(features.shape) != shape:
            raise InputError(
                f"points have shape {tuple(xyz.shape)} and features {tuple(features.shape)}, expected (B, N, 3) and "
                f"(B, N, {self.config.channels})"
            )
        if xyz.shape[1] < self.config.num_patches or not 0 <= start < xyz.shape[1]:
            raise InputError(
                f"a cloud has {xyz.shape[1]} points and starts at point {start}: give at least as many points as "
                f"patches ({self.config.num_patches}), and a start among them"
            )


class PointBert(nn.Module):
    """The transformer and, behind it, the projection to the width of CLIP's embeddings.

    Args:
        config: sizes, with ``embed_dim``.
    """

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        if config.embed_dim is None:
            raise InputError("embed_dim is None: a PointBert without projection is a PointPatchTransformer")
        self.config = config
        self.ppat = PointPatchTransformer(config)
        self.proj = nn.Linear(config.dim, config.embed_dim)

    def forward(self, xyz: Tensor, features: Tensor, start: int = 0) -> Tensor:
        """Embeddings (B, embed_dim) of a batch of clouds; see :meth:`PointPatchTransformer.forward`."""
        return cast(Tensor, self.proj(self.ppat(xyz, features, start)))


def build_point_encoder(config: PointBertConfig) -> PointBert | PointPatchTransformer:
    """The network of a configuration with random weights, on torch's default device.

    Example:
        >>> with torch.device("meta"):
        ...     net = build_point_encoder(PointBertConfig())
        >>> sum(p.numel() for p in net.parameters())
        32326080
    """
    return PointPatchTransformer(config) if config.embed_dim is None else PointBert(config)
