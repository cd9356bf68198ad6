"""Hands and feet stay about where the body that came in has them.

A body fitted to a photograph has joints that are off by several degrees, but their errors cancel along a limb: hands
and feet are off by centimetres, not by what the joints' errors would add up to. An anchor on joints alone cannot say
so, and beside :class:`PlaceAnchor` it must not speak of them: what moves hands and feet is known by where these are,
and only the joints' other turns are left to the anchor on joints (:func:`null_space`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hoirecon.data.body.jacobian import landmarks_with_jacobian, points_of_joints
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.skeleton import joint_index
from hoirecon.data.body.state import BodyState, FreeParams
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


def null_space(model: BodyModel, body: BodyState, sigmas: Tensor) -> Tensor:
    """(3 N, 3 N) projection of turns of the first N joints, in sigmas, on those that leave hands and feet in place.

    For turns q of unit variance and places A q to first order, what is known of q once A q is known is its part in the
    null space of A, of the same variance: ``I - pinv(A) A``.

    Args:
        model: of the body.
        body: where the turns are taken, a batch of one.
        sigmas: (N,) of each component of a joint's rotation vector, radians.
    """
    free = FreeParams(tuple(range(len(sigmas))), 0, False)
    with torch.no_grad():
        _, J = landmarks_with_jacobian(model, body, points_of_joints(model, ENDS), free)
    A: Tensor = J[0].flatten(0, 1).double() * sigmas.to(J.device).double().repeat_interleave(3)
    kept = torch.eye(A.shape[1], dtype=A.dtype, device=A.device) - torch.linalg.pinv(A) @ A
    return torch.as_tensor(kept, dtype=J.dtype)
