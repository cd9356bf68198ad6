"""What a gallery keeps of one shape."""

from __future__ import annotations

from dataclasses import dataclass

from hoirecon.arrays import ByteArray
from hoirecon.retrieval.embedded.views import Float32Array


@dataclass(frozen=True)
class ShapeViews:
    """A shape as the embedded encoder sees it."""

    name: str
    """What to call it."""
    by_mask: Float32Array
    """(36, D) unit vectors of its silhouettes; rows are views."""
    by_normals: Float32Array
    """(36, D) the same of silhouettes with normals."""
    by_points: Float32Array
    """(D,) unit vector of its points."""
    silhouettes: ByteArray
    """(96, 128) its silhouettes from more sides, 32 x 32 pixels as bits."""
