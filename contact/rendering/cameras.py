"""The cameras of the views: pytorch3d's look-at and field-of-view camera, in the few lines that are needed of them.

Frames. World: the thing's own, y up, +z to its front. Camera: x to the LEFT, y up, z forward (pytorch3d's; ours
elsewhere is x right, y down). Points are rows: ``x_camera = x_world @ R + T``. NDC: ``f x / z``, the square picture
covers [-1, 1]^2, +x is its left and +y its top; depth stays in the camera's units. Everything is float32, in the order
of pytorch3d's own sums, so that both renderers see the same pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hoirecon.contact.rendering.types import View, ViewTable
from hoirecon.contact.rendering.views import drawn_views

FIELD_OF_VIEW = 60.0
"""Degrees, both ways."""
Z_NEAR = 1.0
"""Near plane; it only sets where triangles are cut."""
Z_FAR = 100.0
"""Far plane; nothing is cut there."""
Z_CLIP = Z_NEAR / 2
"""Triangles are cut at this depth, as pytorch3d's rasteriser does."""
FOCAL = float(1 / torch.tan(torch.tensor(math.pi / 180 * FIELD_OF_VIEW) / 2))
"""Focal length in NDC (half the picture is 1), with float32's last bit."""


@dataclass(frozen=True)
class ViewCamera:
    """Camera of one view."""

    R: Tensor
    """(3, 3): ``x_camera = x_world @ R + T``."""
    T: Tensor
    """(3,)."""

    @property
    def center(self) -> Tensor:
        """(3,) where it stands, world frame."""
        return -(self.R @ self.T)

    def to_camera(self, points: Tensor) -> Tensor:
        """(N, 3) world -> (N, 3) camera frame."""
        ones = torch.ones_like(points[:, :1])
        return torch.cat([points, ones], dim=1) @ torch.cat([self.R, self.T[None]])

    def to(self, device: torch.device | str) -> ViewCamera:
        """The same camera on another device."""
        return ViewCamera(self.R.to(device), self.T.to(device))


def project(camera_points: Tensor) -> Tensor:
    """(..., 3) camera frame -> (..., 2) NDC; only for points before the camera."""
    return FOCAL * camera_points[..., :2] / camera_points[..., 2:]


def view_camera(view: View, shift_x: bool = True) -> ViewCamera:
    """Camera that looks at the origin from a distance, elevation and azimuth, then shifted in its own frame.

    Args:
        view: distance in the thing's units, angles in degrees.
        shift_x: whether ``x_shift`` counts (it does not where point clouds are drawn).
    """
    eye = _eye(view.distance, view.elevation, view.azimuth)
    R = _look_at_origin(eye)
    T = -(eye @ R)
    shift = torch.tensor([view.x_shift if shift_x else 0.0, view.y_shift, 0.0])
    return ViewCamera(R, T + shift)


def view_cameras(table: ViewTable, points: bool = False) -> tuple[ViewCamera, ...]:
    """Cameras of a table at the distance from which it is drawn; ``points`` leaves shifts to x out."""
    return tuple(view_camera(view, shift_x=not points) for view in drawn_views(table))


def _eye(distance: float, elevation: float, azimuth: float) -> Tensor:
    """(3,) place of the camera; degrees."""
    elev, azim = (math.pi / 180 * torch.tensor([elevation, azimuth])).unbind()
    out = distance * elev.cos()
    return torch.stack([out * azim.sin(), distance * elev.sin(), out * azim.cos()])


def _look_at_origin(eye: Tensor) -> Tensor:
    """(3, 3) whose columns are the camera's axes: left, up, forward. Straight above or below, where "up" says nothing,
    pytorch3d takes left from the (then rounding-sized) up axis; the same is done here."""
    up = eye.new_tensor([0.0, 1.0, 0.0])
    z = F.normalize(-eye, dim=0, eps=1e-5)
    x = F.normalize(torch.linalg.cross(up, z), dim=0, eps=1e-5)
    y = F.normalize(torch.linalg.cross(z, x), dim=0, eps=1e-5)
    if bool(torch.isclose(x, torch.zeros_like(x), atol=5e-3).all()):
        x = F.normalize(torch.linalg.cross(y, z), dim=0, eps=1e-5)
    return torch.stack([x, y, z], dim=1)
