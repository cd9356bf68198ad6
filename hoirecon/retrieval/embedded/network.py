"""The two small networks of the embedded default: pictures and point clouds into one space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoirecon.retrieval.modeling.config import PointBertConfig

EMBED_DIM = 128
"""Width of the embeddings."""


@dataclass(frozen=True)
class ViewNetConfig:
    """Sizes of the network of pictures."""

    widths: tuple[int, int, int, int] = (24, 48, 96, 160)
    """Channels of the stages, each at half the resolution of the one before."""
    size: int = 48
    """Side of its pictures, pixels; a multiple of 16."""
    embed_dim: int = EMBED_DIM
    """Width of the embedding."""


POINT_NET = PointBertConfig(
    dim=128, depth=4, heads=4, head_dim=32, mlp_dim=256, patch_dim=64, num_patches=64, radius=0.3, patch_points=32,
    channels=3, embed_dim=EMBED_DIM,
)  # fmt: skip
"""The network of points: OpenShape's PointBERT in small, without colours."""


class ViewNet(nn.Module):
    """Masks, with or without normals, to unit vectors; 1.05 million parameters.

    The last feature map is not averaged but unrolled: where in the picture a thing is says from where it is seen.

    Args:
        config: sizes.
    """

    def __init__(self, config: ViewNetConfig = ViewNetConfig()) -> None:
        super().__init__()
        self.config = config
        first, *rest = config.widths
        layers: list[nn.Module] = [_halving(5, first, 5)]
        for narrow, wide in zip(config.widths, rest, strict=False):
            layers += [_halving(narrow, wide, 3), _Residual(wide)]
        self.stages = nn.Sequential(*layers)
        cells = (config.size // 16) ** 2
        self.head = nn.Linear(cells * rest[-1], config.embed_dim)

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeddings (B, D) of length 1.

        Args:
            pictures: (B, 4, S, S) masks in 0..1 and normals in the camera frame times the mask. Normals that are zero
                everywhere count as unknown; a fifth channel tells the network so.
        """
        known = (pictures[:, 1:].abs().amax((1, 2, 3), keepdim=True) > 0).to(pictures.dtype)
        given = torch.cat([pictures, known.expand(-1, 1, *pictures.shape[2:])], 1)
        features = self.stages(given.contiguous(memory_format=torch.channels_last))
        return F.normalize(cast(Tensor, self.head(features.flatten(1))).float(), dim=1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(inner)))


def _halving(narrow: int, wide: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(narrow, wide, kernel, stride=2, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(wide), nn.ReLU())
