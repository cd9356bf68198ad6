"""Phong shading per pixel, as pytorch3d's HardPhongShader does it with its default material."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

AMBIENT = 0.5
"""Light from everywhere."""
DIFFUSE = 0.3
"""Light by the angle of the surface to the lamp."""
SPECULAR = 0.2
"""Mirrored light of the lamp, of the lamp's colour."""
SHININESS = 64
"""Exponent of the mirrored light; a power of two, taken by squaring."""
EPS = 1e-6
"""Shortest vector that is normalised."""


def phong(points: Tensor, normals: Tensor, colors: Tensor, light: Tensor, eye: Tensor) -> Tensor:
    """Colour of lit points: ``(ambient + diffuse) * colour + specular``.

    Args:
        points: (P, 3) world frame.
        normals: (P, 3) interpolated, of any length; a zero vector gets ambient light only.
        colors: (P, 3) in [0, 1].
        light: (3,) place of the lamp, world frame.
        eye: (3,) place of the camera.

    Returns:
        (P, 3) in [0, 1].
    """
    normals = F.normalize(normals, dim=-1, eps=EPS)
    to_light = F.normalize(light - points, dim=-1, eps=EPS)
    to_eye = F.normalize(eye - points, dim=-1, eps=EPS)
    cosine = (normals * to_light).sum(-1, keepdim=True)
    # The mirrored ray is 2 (n.l) n - l; its cosine with the eye needs no vector of its own.
    mirrored = 2 * cosine * (normals * to_eye).sum(-1, keepdim=True) - (to_light * to_eye).sum(-1, keepdim=True)
    mirrored = torch.where(cosine > 0, mirrored.clamp_min(0), 0.0)
    for _ in range(SHININESS.bit_length() - 1):
        mirrored = mirrored * mirrored
    return (AMBIENT + DIFFUSE * cosine.clamp_min(0)) * colors + SPECULAR * mirrored


def to_bytes(colors: Tensor) -> Tensor:
    """Colours in [0, 1] -> uint8, truncated and not rounded, as the released pictures are."""
    return (colors * 255).clamp(0, 255).to(torch.uint8)
