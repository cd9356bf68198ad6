"""Region losses of a hard silhouette with the exact gradient: integrals over it, differentiated along its outline.

A hard silhouette S has no gradient inside pixels, but an integral of a field f over it has: moving the outline by v
changes it by the integral of f (v . n) along the outline (Reynolds). Its value follows from the same outline by the
divergence theorem. So nothing is blurred and nothing is biased, unlike soft silhouettes, whose blur makes a mesh look
too large; the price is that only the outline sees the field, so a start beside the mask sees a flat cost.

The outline is found exactly: an edge of the mesh belongs to it where all its faces project to one side and no face
covers the other. Pieces of an edge are tested at their middle, so the error is that of the last piece at a crossing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.soft_raster import check_faces

OUTSIDE = 1e-3
"""How far beyond an edge it is asked whether a face covers, pixels."""
TESTS = 4_000_000
"""Pairs of point and face tested at once, about 200 MB."""


@dataclass(frozen=True)
class Outline:
    """Pieces of the outline of a silhouette, in pixels."""

    points: Tensor
    """(P, 2) middles, differentiable with respect to the vertices."""
    normals: Tensor
    """(P, 2) unit normals to the outside, constant."""
    lengths: Tensor
    """(P,) constant."""


def region_integral(verts_cam: Tensor, faces: Tensor, K: Tensor, field: Tensor, spacing: float = 0.25) -> Tensor:
    """Integral of a field over the silhouette of a mesh, with the exact gradient to its vertices.

    Args:
        verts_cam: (V, 3) vertices, OpenCV camera frame, metres.
        faces: (F, 3) vertex indices; the mesh may be open, and parts may overlap.
        K: (3, 3) intrinsics in pixels of the field.
        field: (H, W) cost per pixel covered, constant within a pixel and 0 beyond the image.
        spacing: longest piece of the outline, pixels.

    Returns:
        () the integral, in pixels times the field's unit.

    Raises:
        InputError: wrong shapes, or a vertex at or behind the camera plane.
    """
    if verts_cam.ndim != 2 or verts_cam.shape[1] != 3 or field.ndim != 2:
        raise InputError(f"verts_cam is {tuple(verts_cam.shape)}, field {tuple(field.shape)}: expected (V, 3), (H, W)")
    xy = project_checked(verts_cam[None], faces, K)[0]
    outline = find_outline(xy, faces, spacing)
    field = field.to(verts_cam)
    here = outline.points.detach()
    value = (_along_row(field, here) * outline.normals[:, 0] * outline.lengths).sum()
    speed = (_at(field, here) * outline.lengths)[:, None] * outline.normals
    return value + (speed * (outline.points - here)).sum()


def project_checked(verts_cam: Tensor, faces: Tensor, K: Tensor) -> Tensor:
    """(B, V, 2) pixels of vertices (B, V, 3), checked with their faces.

    Raises:
        InputError: wrong shapes, or a vertex at or behind the camera plane.
    """
    if verts_cam.ndim != 3 or verts_cam.shape[-1] != 3:
        raise InputError(f"verts_cam has shape {tuple(verts_cam.shape)}, expected (B, V, 3)")
    if not bool((verts_cam[..., 2] > 0).all()):
        raise InputError("a vertex lies at or behind the camera plane (z <= 0): move the mesh in front of the camera")
    check_faces(faces, verts_cam.shape[1])
    K = K.to(verts_cam)
    return verts_cam[..., :2] / verts_cam[..., 2:] * torch.stack([K[0, 0], K[1, 1]]) + K[:2, 2]


def pixel_coverage(xy: Tensor, faces: Tensor, size: tuple[int, int], spacing: float = 0.25) -> Tensor:
    """(H, W) share of each pixel inside the silhouette of projected vertices (V, 2), with the exact gradient.

    ``(field * pixel_coverage).sum()`` has the gradient of :func:`region_integral` of the field. A piece of the outline
    that crosses a column's border counts in the column of its middle.
    """
    height, width = size
    outline = find_outline(xy, faces, spacing)
    here = outline.points.detach()
    column, row = here.floor().long().unbind(1)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    moved = ((outline.points - here) * outline.normals).sum(1) * outline.lengths  # zero, with the area's derivative
    at = (row * width + column)[inside]
    change = xy.new_zeros(height * width).index_add(0, at, moved[inside]).view(height, width)
    return _area_in_pixels(here, outline.normals, outline.lengths, size) + change


def _area_in_pixels(middle: Tensor, normals: Tensor, lengths: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) share of each pixel left of the pieces that face to the right, less those that face to the left."""
    height, width = size
    middle, rise = _split_at_rows(middle, normals, lengths)
    column, row = middle.floor().long().unbind(1)
    shown = (row >= 0) & (row < height) & (column >= 0)
    at = row[shown] * (width + 1) + column[shown].clamp_max(width)
    own = torch.where(column < width, middle[:, 0] - column, 0.0)[shown]
    whole, part = (
        rise.new_zeros(height * (width + 1)).index_add(0, at, amount).view(height, width + 1)
        for amount in (rise[shown], rise[shown] * own)
    )
    before = whole.flip(1).cumsum(1).flip(1) - whole  # of the pieces in later columns
    return (before + part)[:, :width].clamp(0, 1)


def _split_at_rows(middle: Tensor, normals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """(2P, 2) middles and (2P,) heights of the pieces cut where they cross from one row into the next.

    Heights are negative where the inside lies to the right; half of them are zero if nothing is cut.
    """
    along = torch.stack([-normals[:, 1], normals[:, 0]], 1) * lengths[:, None] / 2
    along = along * torch.where(along[:, 1:] < 0, -1.0, 1.0)
    start, end = middle - along, middle + along
    border = start[:, 1].floor() + 1
    span = end[:, 1] - start[:, 1]
    share = torch.where(end[:, 1] > border, (border - start[:, 1]) / span.clamp_min(1e-12), 1.0).clamp(0, 1)[:, None]
    cut = start + share * (end - start)
    rise = normals[:, 0] * lengths
    return torch.cat([(start + cut) / 2, (cut + end) / 2]), torch.cat([share[:, 0] * rise, (1 - share[:, 0]) * rise])


def mask_mismatch(
    verts_cam: Tensor, faces: Tensor, K: Tensor, target: Tensor, keep: Tensor | None = None, spacing: float = 0.25
) -> Tensor:
    """() pixels in which silhouette and mask differ, counted where ``keep`` (H, W) is 1; arguments as above."""
    target = target.to(verts_cam)
    counted = torch.ones_like(target) if keep is None else keep.to(verts_cam)
    over = region_integral(verts_cam, faces, K, counted * (1 - 2 * target), spacing)
    return over + (counted * target).sum()


def find_outline(xy: Tensor, faces: Tensor, spacing: float = 0.25) -> Outline:
    """Pieces of the outline of projected vertices (V, 2), pixels; points keep their gradient."""
    flat = xy.detach()
    faces = faces.long()
    edges, outward = _candidates(flat, faces)
    a, b = flat[edges[:, 0]], flat[edges[:, 1]]
    length = (b - a).norm(dim=1)
    count = (length / spacing).ceil().clamp_min(1).long()
    edge = torch.repeat_interleave(torch.arange(len(edges), device=xy.device), count)
    first = count.cumsum(0) - count
    t = ((torch.arange(len(edge), device=xy.device) - first[edge]).to(xy) + 0.5) / count[edge]
    middle = a[edge] + t[:, None] * (b - a)[edge]
    open_side = ~_covered(middle + OUTSIDE * outward[edge], flat, faces)
    edge, t = edge[open_side], t[open_side, None]
    points = (1 - t) * xy[edges[edge, 0]] + t * xy[edges[edge, 1]]
    return Outline(points, outward[edge], (length / count)[edge])


def _candidates(xy: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """(E, 2) edges whose faces all project to one side, and (E, 2) their unit normals away from the faces."""
    a, b, c = (xy[faces[:, k]] for k in range(3))
    faces = faces[_cross(b - a, c - a).abs() > 1e-12]
    half = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    third = torch.cat([faces[:, 2], faces[:, 0], faces[:, 1]])
    edges, which = torch.unique(half.sort(1).values, dim=0, return_inverse=True)
    along = xy[edges[:, 1]] - xy[edges[:, 0]]
    side = torch.sign(_cross(along[which], xy[third] - xy[edges[which, 0]]))
    total = torch.zeros(len(edges), dtype=xy.dtype, device=xy.device).index_add_(0, which, side)
    number = torch.bincount(which, minlength=len(edges)).to(xy)
    one_sided = (total.abs() == number) & (along.norm(dim=1) > 1e-9)
    along, sign = along[one_sided], torch.sign(total[one_sided])
    normal = torch.stack([along[:, 1], -along[:, 0]], 1) * sign[:, None]
    return edges[one_sided], normal / along.norm(dim=1, keepdim=True)


def _covered(points: Tensor, xy: Tensor, faces: Tensor) -> Tensor:
    """(P,) whether any face covers a point (P, 2)."""
    a, b, c = (xy[faces[:, k]] for k in range(3))
    low, high = torch.minimum(torch.minimum(a, b), c), torch.maximum(torch.maximum(a, b), c)
    found = torch.zeros(len(points), dtype=torch.bool, device=xy.device)
    for some in torch.split(torch.arange(len(points), device=xy.device), max(1, TESTS // max(len(faces), 1))):
        p = points[some][:, None]
        row, face = torch.nonzero(((p >= low) & (p <= high)).all(-1), as_tuple=True)
        q = points[some][row]
        sides = [_cross(end[face] - begin[face], q - begin[face]) for begin, end in ((a, b), (b, c), (c, a))]
        inside = ((sides[0] >= 0) == (sides[1] >= 0)) & ((sides[1] >= 0) == (sides[2] >= 0))
        found[some[row[inside]]] = True
    return found


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _at(field: Tensor, points: Tensor) -> Tensor:
    """(P,) field at points (P, 2), 0 beyond the image."""
    height, width = field.shape
    column, row = points.floor().long().unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return torch.where(inside, field[row.clamp(0, height - 1), column.clamp(0, width - 1)], 0.0)


def _along_row(field: Tensor, points: Tensor) -> Tensor:
    """(P,) integral of the field along the row of each point, from the image's left side to the point."""
    height, width = field.shape
    before = torch.cat([field.new_zeros(height, 1), field.cumsum(1)], 1)
    row = points[:, 1].floor().long()
    x = points[:, 0].clamp(0, width)
    column = x.floor().long().clamp_max(width - 1)
    inside = (row >= 0) & (row < height)
    row = row.clamp(0, height - 1)
    return torch.where(inside, before[row, column] + (x - column) * field[row, column], 0.0)
