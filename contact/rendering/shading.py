"""Phong shading per pixel, as pytorch3d's HardPhongShader does it with its default material; and masks of contact."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hoirecon.arrays import ByteArray, IntArray, as_ints
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.errors import InputError

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


def contact_masks(maps: PixelMaps, contact_vertices: IntArray, min_verts: int = 3) -> ByteArray:
    """Where contact is seen: the pictures that MV-Loc learns to draw.

    Args:
        maps: which triangle each pixel shows.
        contact_vertices: (K,) ids of the vertices in contact.
        min_verts: corners of a triangle that must be in contact for it to count (the released models were trained
            with 3, later ones with 2).

    Returns:
        (V, H, W) uint8, 255 in contact and 0 elsewhere.

    Raises:
        InputError: ids outside the mesh, or ``min_verts`` not 1, 2 or 3.
    """
    ids = as_ints(contact_vertices, ("K",), "contact_vertices")
    if min_verts not in (1, 2, 3):
        raise InputError(f"min_verts is {min_verts}: a triangle has 1 to 3 corners to count")
    if len(ids) and (ids.min() < 0 or ids.max() >= maps.num_verts):
        raise InputError(f"contact_vertices name {ids.min()}..{ids.max()}, but the mesh has {maps.num_verts} vertices")
    touched = np.zeros(maps.num_verts + 1, np.uint8)  # the last stands for -1, the background
    touched[ids] = 1
    count = touched[maps.verts].sum(axis=-1, dtype=np.uint8)
    return np.where(count >= min_verts, np.uint8(255), np.uint8(0))
