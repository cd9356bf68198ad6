"""Hands and feet stay about where the body that came in has them.

A body fitted to a photograph has joints that are off by several degrees, but their errors cancel along a limb: hands
and feet are off by centimetres, not by what the joints' errors would add up to. An anchor on joints alone cannot say
so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hoirecon.data.body.skeleton import joint_index
from hoirecon.fitting.body_terms import BodyView
from hoirecon.fitting.objective import Residuals

ENDS = tuple(joint_index(n) for n in ("left_middle1", "right_middle1", "left_foot", "right_foot"))
"""Joints that stand for hands and feet: the middle fingers' first, the balls of the feet."""


@dataclass(frozen=True)
class PlaceAnchor:
    """Offset of places of the body from where they were in the body that came in."""

    places: slice
    """Of them among the body's prepared points."""
    at: Tensor
    """(N, 3) metres, camera frame."""
    sigma: tuple[float, float, float]
    """Across, down and along the camera's axis, metres."""
    robust: float | None = None
    weight: float = 1.0
    name: str = "hands and feet"

    def residuals(self, view: BodyView) -> Residuals:
        """(B, N, 3); the unit is the first sigma's."""
        sigma = view.points.new_tensor(self.sigma)
        r = (view.points[:, self.places] - self.at) / sigma
        return Residuals(
            r, view.J_points[:, self.places] / sigma[:, None], torch.ones_like(r[..., 0]), 1e3 * self.sigma[0], "mm"
        )
