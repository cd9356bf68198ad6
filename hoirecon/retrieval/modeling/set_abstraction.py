"""From the points of a patch to one feature: PointNet's set abstraction (Qi et al., "PointNet++", 2017)."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_groups import gather_points

HIDDEN = 64
"""Width of the first two layers."""


class SetAbstraction(nn.Module):
    """Three shared layers on every point of a patch, then the maximum over the patch.

    A point enters as its offset from the patch's centre and its own features. The layers are 1 x 1 convolutions with
    batch normalisation, named as the reference names them.
    """

    def __init__(self, config: PointBertConfig) -> None:
        super().__init__()
        widths = (3 + config.channels, HIDDEN, HIDDEN, config.patch_dim)
        pairs = list(pairwise(widths))
        self.mlp_convs = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in pairs)
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(after) for _, after in pairs)

    def forward(self, xyz: Tensor, features: Tensor, centres: Tensor, members: Tensor) -> Tensor:
        """Features of the patches.

        Args:
            xyz: (B, N, 3) points.
            features: (B, N, C) their features.
            centres: (B, P, 3).
            members: (B, P, K) indices of each patch's points.

        Returns:
            (B, P, patch_dim).
        """
        (first, *others), trains = [self._layer(i) for i in range(3)], self.training
        # The first layer is linear in (point - centre, features): once for each point and once for each centre, instead
        # of once for each pair of the two, of which there are many more.
        weight, bias = first
        of_point = F.linear(torch.cat([xyz, features], -1), weight, bias)
        of_centre = F.linear(centres, weight[:, :3])
        hidden = gather_points(of_point, members).sub_(of_centre[:, :, None])
        if trains:
            hidden = self._normalised(hidden, 0)
        for i, (weight, bias) in enumerate(others, start=1):
            hidden = F.linear(hidden.relu_(), weight, bias if trains or i < 2 else None)
            if trains:
                hidden = self._normalised(hidden, i)
        pooled = hidden.amax(dim=2)
        # Adding a constant and cutting at zero keep the order, so both can wait until one value per patch is left.
        return (pooled if trains else pooled + others[-1][1]).relu()

    def _layer(self, i: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of a layer; at inference with its normalisation, which is linear then, folded in."""
        conv, norm = cast(nn.Conv2d, self.mlp_convs[i]), cast(nn.BatchNorm2d, self.mlp_bns[i])
        weight, bias = conv.weight.flatten(1), cast(Tensor, conv.bias)
        if self.training:
            return weight, bias
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        return weight * scale[:, None], (bias - mean) * scale + norm.bias

    def _normalised(self, values: Tensor, i: int) -> Tensor:
        """Normalised by the batch's own statistics."""
        normed: Tensor = self.mlp_bns[i](values.flatten(0, 2)[:, :, None, None])
        return normed.view_as(values)
