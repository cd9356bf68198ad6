"""Sizes of a PointBERT shape encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoirecon.errors import InputError

Axis = Literal["y", "z"]
"""Which axis points up in the cloud that an encoder takes."""


@dataclass(frozen=True)
class PointBertConfig:
    """Sizes of the network; the defaults are OpenShape's ViT-bigG-14 model."""

    dim: int = 512
    """Width of a token."""
    depth: int = 12
    """Blocks of the transformer."""
    heads: int = 8
    """Heads of each block's attention."""
    head_dim: int = 64
    """Width of a head."""
    mlp_dim: int = 1536
    """Hidden width of each block's MLP."""
    patch_dim: int = 256
    """Width of a patch's feature, before it is lifted to a token."""
    num_patches: int = 384
    """Patches of a cloud, the class token aside."""
    radius: float = 0.2
    """Radius of a patch in a cloud that fills the unit ball."""
    patch_points: int = 64
    """Points of a patch."""
    channels: int = 6
    """Features of a point: 6 (x, y, z, r, g, b) or 3 (x, y, z)."""
    embed_dim: int | None = 1280
    """Width of the embedding; None gives the class token as it is, without a projection."""
    relative_bias: bool = False
    """Whether attention knows where patches lie relative to one another; off in all released models."""

    def __post_init__(self) -> None:
        sizes = {
            name: getattr(self, name)
            for name in ("dim", "depth", "heads", "head_dim", "mlp_dim", "patch_dim", "num_patches", "patch_points")
        }
        if self.embed_dim is not None:
            sizes["embed_dim"] = self.embed_dim
        if odd := next((name for name, value in sizes.items() if value < 1), None):
            raise InputError(f"{odd} is {sizes[odd]}, expected at least 1")
        if self.channels < 3:
            raise InputError(f"channels is {self.channels}, expected at least 3: a point's features begin with x, y, z")
        if not self.radius > 0:
            raise InputError(f"radius is {self.radius}, expected more than 0")

    @property
    def output_dim(self) -> int:
        """Width of what the encoder gives."""
        return self.dim if self.embed_dim is None else self.embed_dim
