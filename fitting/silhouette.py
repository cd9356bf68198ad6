"""The outline of a mesh in many poses at once, without drawing its faces.

Orient every face so that it turns the same way on the screen. The edges at which these face boundaries do not cancel
are the silhouette edges, and the winding number of that chain counts the layers of faces over a pixel. So coverage is
a sum over the few silhouette edges, at any mesh: closed or open, consistently oriented or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import IntArray

FAR = 1e4
"""Where samples that do not count are put, cells: no mask contour has them as its nearest."""


@dataclass(frozen=True)
class EdgeTopology:
    """Which faces meet at which edges."""

    faces: Tensor
    """(F, 3)."""
    edges: Tensor
    """(E, 2) vertex indices, the lower first."""
    edge_faces: Tensor
    """(K, E) faces at each edge; K is 2 for a manifold mesh."""
    edge_signs: Tensor
    """(K, E) 1 if the face runs through the edge from the lower to the higher vertex, -1 if against, 0 if unused."""


def edge_topology(
    faces: IntArray, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> EdgeTopology:
    """Collect the edges of any triangle mesh, manifold or not."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    owner = np.tile(np.arange(len(faces)), 3)
    sign = np.where(half[:, 0] < half[:, 1], 1.0, -1.0)
    stride = int(faces.max()) + 1
    code, index = np.unique(half.min(1) * stride + half.max(1), return_inverse=True)
    edges = np.stack([code // stride, code % stride], 1)
    order = np.argsort(index, kind="stable")
    index = index[order]
    first = np.concatenate([[0], np.nonzero(np.diff(index))[0] + 1])
    slot = np.arange(len(index)) - np.repeat(first, np.diff(np.concatenate([first, [len(index)]])))
    edge_faces = np.zeros((int(slot.max()) + 1, len(edges)), dtype=np.int64)
    edge_signs = np.zeros(edge_faces.shape)
    edge_faces[slot, index], edge_signs[slot, index] = owner[order], sign[order]
    return EdgeTopology(
        torch.as_tensor(faces, device=device),
        torch.as_tensor(edges, device=device),
        torch.as_tensor(edge_faces, device=device),
        torch.as_tensor(edge_signs, device=device, dtype=dtype),
    )


@dataclass(frozen=True)
class SilhouetteSamples:
    """Points along the silhouette edges, evenly spaced on the screen, a fixed number per pose."""

    a: Tensor
    """(B, N) lower vertex of each sample's edge."""
    b: Tensor
    """(B, N) higher vertex."""
    u: Tensor
    """(B, N) position on the edge; the sample is (1 - u) * verts[a] + u * verts[b]."""
    outer: Tensor
    """(B, N) whether nothing of the mesh lies beyond the edge: the sample is on the outline."""
    along: Tensor
    """(B, N, 2) direction of each sample's edge on the screen, as long as the spacing of the samples, cells."""


def silhouette_samples(pixels: Tensor, topology: EdgeTopology, count: int, cells: int) -> SilhouetteSamples:
    """Sample the outline of projected meshes.

    Args:
        pixels: (V, B, 2) projected vertices in units of raster cells; the raster spans [0, cells] squared.
        topology: edges of the mesh.
        count: samples per pose, inner silhouette edges included.
        cells: side of the coverage raster.
    """
    px, py = pixels[..., 0], pixels[..., 1]
    multiplicity = edge_multiplicity(px, py, topology).t().contiguous()  # (B, E)
    pose, edge = torch.nonzero(multiplicity, as_tuple=True)
    chain = multiplicity[pose, edge]
    a, b = topology.edges[edge].unbind(1)
    ax, ay, bx, by = px[a, pose], py[a, pose], px[b, pose], py[b, pose]
    covered = coverage(ax, ay, bx, by, chain, pose, px.shape[1], cells)
    if len(edge) == 0:  # every face is seen edge-on, or lies in a single point
        nothing = edge.new_zeros((px.shape[1], count))
        zero = nothing.to(px.dtype)
        return SilhouetteSamples(nothing, nothing, zero, nothing.bool(), zero[..., None].expand(-1, -1, 2))
    length = (bx - ax).hypot(by - ay)
    pick, u, spacing = _even_positions(length, pose, px.shape[1], count)
    outer = _is_outer(ax, ay, bx, by, chain, pick, u, covered) & (spacing > 0)
    along = torch.stack([bx - ax, by - ay], -1)[pick] * (spacing / length[pick].clamp_min(1e-12))[..., None]
    return SilhouetteSamples(a[pick], b[pick], u, outer, along)


def edge_multiplicity(px: Tensor, py: Tensor, topology: EdgeTopology) -> Tensor:
    """(E, B) how often the chain of screen-oriented face boundaries runs through each edge; 0 at inner edges.

    Args:
        px: (V, B) columns of the projected vertices.
        py: (V, B) rows.
        topology: edges of the mesh.
    """
    ax, bx, cx = (px[topology.faces[:, k]] for k in range(3))
    ay, by, cy = (py[topology.faces[:, k]] for k in range(3))
    facing = torch.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    total = topology.edge_signs[0][:, None] * facing[topology.edge_faces[0]]
    for signs, index in zip(topology.edge_signs[1:], topology.edge_faces[1:], strict=True):
        total += signs[:, None] * facing[index]
    return total


def coverage(
    ax: Tensor, ay: Tensor, bx: Tensor, by: Tensor, chain: Tensor, pose: Tensor, batch: int, cells: int
) -> Tensor:
    """(batch, cells, cells) True where the chain of edges winds round the cell's centre.

    Args:
        ax: (M,) column of each edge's start; ay its row; bx, by its end.
        ay: see ax.
        bx: see ax.
        by: see ax.
        chain: (M,) multiplicity of each edge.
        pose: (M,) to which of the batch it belongs.
        batch: number of poses.
        cells: side of the raster.
    """
    first = (torch.minimum(ay, by) - 0.5).ceil().clamp(0, cells).long()
    rows = (torch.maximum(ay, by) - 0.5).ceil().clamp(0, cells).long() - first
    entry = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), rows)
    row = torch.arange(len(entry), device=rows.device) - (rows.cumsum(0) - rows - first)[entry]
    slope = ((bx - ax) / (by - ay))[entry]
    column = (ax[entry] + (row + 0.5 - ay[entry]) * slope - 0.5).ceil().clamp(0, cells).long()
    value = (chain * torch.sign(by - ay))[entry]
    layers = torch.zeros(batch * cells * (cells + 1), dtype=ax.dtype, device=ax.device)
    layers.index_add_(0, (pose[entry] * cells + row) * (cells + 1) + column, value)
    return layers.view(batch, cells, cells + 1).cumsum(-1)[..., :cells].abs() > 0.5


def _even_positions(length: Tensor, pose: Tensor, batch: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Edge index and position on it of ``count`` evenly spaced samples per pose, and their spacing (batch, 1).

    Lengths are summed pose by pose, so that no pose's samples depend on what else is in the batch. ``pose`` is sorted.
    """
    edges = torch.bincount(pose, minlength=batch)
    first = edges.cumsum(0) - edges
    local = torch.arange(len(pose), device=pose.device) - first[pose]
    table = length.new_zeros((batch, int(edges.max())), dtype=torch.float64)
    table[pose, local] = length.double()
    ends = table.cumsum(1)
    offset = (torch.arange(count, dtype=torch.float64, device=length.device) + 0.5) / count
    wanted = ends[:, -1:] * offset
    at = torch.searchsorted(ends, wanted).minimum((edges - 1).clamp_min(0)[:, None])
    inside = (wanted - (ends - table).gather(1, at)) / table.gather(1, at).clamp_min(1e-12)
    pick = (first[:, None] + at).clamp_max(len(length) - 1)
    return pick, inside.clamp(0, 1).to(length.dtype), (ends[:, -1:] / count).to(length.dtype)


def _is_outer(
    ax: Tensor, ay: Tensor, bx: Tensor, by: Tensor, chain: Tensor, pick: Tensor, u: Tensor, covered: Tensor
) -> Tensor:
    """(B, N) whether the cell just beyond the edge is empty; what lies outside the raster is."""
    cells = covered.shape[-1]
    dx, dy = bx - ax, by - ay
    shift = 0.9 * torch.sign(chain) / dx.hypot(dy).clamp_min(1e-9)
    column = (ax[pick] + u * dx[pick] + (dy * shift)[pick]).floor()
    row = (ay[pick] + u * dy[pick] - (dx * shift)[pick]).floor()
    inside = (column >= 0) & (row >= 0) & (column < cells) & (row < cells)
    index = (row.clamp(0, cells - 1) * cells + column.clamp(0, cells - 1)).long()
    hit = covered.flatten(1).gather(1, index)
    return ~(inside & hit)
