"""Shape round the vertices of an object's mesh: what says that a place can be held, sat on or leaned on.

Place in a box tells nothing of a mesh whose handle is elsewhere. How thick the thing is there, which way its surface
looks, whether something lies opposite, and how flat or long it is round about are the same on things that were never
seen. Thickness is Shapira et al.'s shape diameter (2008), looked up among points in place of rays; flatness and length
are the roots of the covariance's eigenvalues of the surface round a vertex, as in Weinmann et al. (2015).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hoirecon.errors import InputError

CLOUD = 600
"""Points on the surface that stand for it, drawn once in fixed order."""
REACHES_M = (0.03, 0.08, 0.2)
"""Distances within which the surface round a vertex is described, metres."""
FAR_M = 0.5
"""Thickness and gaps are cut off here, metres."""
OPPOSITE = -0.3
"""Surfaces whose normals have less than this as their product look away from one another."""
CONE, APART = 0.35, 0.9
"""A point is straight ahead if it lies aside by no more than this share of its distance, and this share of the way from
one point to the next more."""
AT_ONCE = 1024
"""Vertices described together."""
SHAPE_NUMBERS = 6 + 5 * len(REACHES_M) + 4
"""Numbers of :func:`shape_features`."""


def shape_features(verts: Tensor, faces: Tensor) -> Tensor:
    """What the vertices of an object's mesh are told of its shape.

    Args:
        verts: (N, 3) metres, in its own frame, y up.
        faces: (F, 3) with at least one.

    Returns:
        (N, SHAPE_NUMBERS) float32: normal; thickness (10 cm), a fade of it, and one of the gap before the surface; for
        each reach the three half axes of the surface round the vertex, relative to the reach, and how far its middle
        lies along the normal and at all; height above the lowest vertex and the box's sides (metres).

    Raises:
        InputError: no faces, or arrays of another shape.
    """
    if verts.ndim != 2 or verts.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise InputError(
            f"shape needs vertices (N, 3) and faces (F, 3), got {tuple(verts.shape)}, {tuple(faces.shape)}"
        )
    verts, faces = (verts - (verts.amin(0) + verts.amax(0)) / 2).float(), faces.to(verts.device).long()
    corners = verts[faces]
    across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.zeros_like(verts)
    for k in range(3):
        normals.index_add_(0, faces[:, k], across)
    normals = functional.normalize(normals, dim=-1)
    points, facing = _cloud(corners, across)
    apart = APART * float((across.norm(dim=-1).sum() / 2 / CLOUD).sqrt())
    parts = [slice(k, k + AT_ONCE) for k in range(0, len(verts), AT_ONCE)]
    told = torch.cat([_around(verts[part], normals[part], points, facing, apart) for part in parts])
    above = verts - verts.amin(0)
    return torch.cat([normals, told, above[:, 1:2], above.amax(0).expand_as(verts)], dim=1)


def _cloud(corners: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """(CLOUD, 3) points spread evenly by area, the same for the same mesh, and their normals."""
    share = (across.norm(dim=-1).double() + 1e-12).cumsum(0)
    at = (torch.arange(CLOUD, device=share.device, dtype=share.dtype) + 0.5) / CLOUD * share[-1]
    face = torch.searchsorted(share, at).clamp(max=len(corners) - 1)
    uv = torch.rand(CLOUD, 2, generator=torch.Generator().manual_seed(0)).to(corners)
    uv = torch.where(uv.sum(1, keepdim=True) > 1, 1 - uv, uv)
    weights = torch.cat([1 - uv.sum(1, keepdim=True), uv], dim=1)
    return (weights[..., None] * corners[face]).sum(1), functional.normalize(across[face], dim=-1)


def _around(verts: Tensor, normals: Tensor, points: Tensor, facing: Tensor, apart: float) -> Tensor:
    """(n, 3 + 5 * len(REACHES_M)) thickness, gap and half axes."""
    offset = points[None] - verts[:, None]
    distance, along = offset.norm(dim=-1), (offset * normals[:, None]).sum(-1)
    aside, opposite = (distance.square() - along.square()).clamp(min=0).sqrt(), normals @ facing.T < OPPOSITE
    straight = opposite & (aside < CONE * along.abs() + apart)
    far = torch.full_like(along, FAR_M)
    thick = torch.where(straight & (along < 0), -along, far).amin(1).clamp(max=FAR_M)
    gap = torch.where(straight & (along > 0), along, far).amin(1).clamp(max=FAR_M)
    told = [(thick / 0.1).clamp(max=3), torch.exp(-thick / 0.03), torch.exp(-gap / 0.06)]
    found = [torch.stack(told, dim=1)]
    for reach in REACHES_M:
        weight = torch.exp(-(distance / reach).square())
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
        middle = (weight[..., None] * offset).sum(1)
        spread = offset - middle[:, None]
        axes = torch.linalg.eigvalsh((weight[..., None] * spread).transpose(1, 2) @ spread).clamp(min=0).sqrt()
        out = (middle * normals).sum(-1, keepdim=True)
        found.append(torch.cat([axes, out, middle.norm(dim=-1, keepdim=True)], dim=1) / reach)
    return torch.cat(found, dim=1)
