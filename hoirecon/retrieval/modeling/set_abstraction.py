"""From the points of a patch to one feature: PointNet's set abstraction (Qi et al., "PointNet++", 2017)."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.packed_linear import PackedLinear, can_pack
from hoirecon.retrieval.modeling.point_groups import gather_points

HIDDEN = 64
"""Width of the first two layers."""
ROWS = 2048
"""Points that go through the layers at once where patches are worked off in turn."""


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
        if not self.training and can_pack([xyz, features, *self.parameters()]):
            return self._packed(xyz, features, centres, members)
        (_, *others), trains = [self._layer(i) for i in range(3)], self.training
        of_point, of_centre = self._first_layer(xyz, features, centres)
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

    def _first_layer(self, xyz: Tensor, features: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 64) of the points and (B, P, 64) of the centres: the layer of a pair is their difference.

        The layer is linear in (point - centre, features): once for each point and once for each centre, instead of once
        for each pair of the two, of which there are many more.
        """
        weight, bias = self._layer(0)
        return F.linear(torch.cat([xyz, features], -1), weight, bias), F.linear(centres, weight[:, :3])

    def _packed(self, xyz: Tensor, features: Tensor, centres: Tensor, members: Tensor) -> Tensor:
        """The same for inference on a processor.

        Some patches at a time, so that their values stay in its cache; those with about as many points together, so
        that short ones are not filled up.
        """
        of_point, of_centre = self._first_layer(xyz, features, centres)
        (middle, middle_bias), (last, last_bias) = self._layer(1), self._layer(2)
        step = max(1, ROWS // members.shape[-1])
        to_middle = PackedLinear.pack(middle, middle_bias, ROWS, "relu")
        to_last = PackedLinear.pack(last, None, ROWS)
        starts = torch.arange(len(xyz))[:, None, None] * xyz.shape[1]
        rows, values, places = (members + starts).flatten(0, 1), of_point.flatten(0, 1), of_centre.flatten(0, 1)
        pooled = places.new_empty((len(rows), len(last)))
        used = _used(rows)
        order = used.argsort()
        for some in torch.split(order, step):
            its = rows[some, : int(used[some[-1]])]
            hidden = values.index_select(0, its.flatten()).view(*its.shape, -1)
            hidden = hidden.sub_(places[some, None]).relu_().flatten(0, 1)
            pooled[some] = to_last(to_middle(hidden)).view(*its.shape, -1).amax(1)
        return pooled.add_(last_bias).relu_().view(*members.shape[:2], -1)

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


def _used(members: Tensor) -> Tensor:
    """(P,) how many of (P, K) points come before nothing but repetitions of the first: a maximum needs no more."""
    places = torch.arange(members.shape[-1])
    return torch.where(members != members[:, :1], places, 0).amax(-1) + 1
