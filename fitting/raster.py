"""A hard z-buffer: every triangle is expanded to the cells of its box, the nearest depth wins.

Batched over poses of one mesh, on the device of its inputs. It is not differentiable and does not need to be: the fit
differentiates the silhouette's geometry, and asks the z-buffer only what hides what.
"""

from __future__ import annotations

import torch
from torch import Tensor

import hoirecon.fitting.fused as fused
from hoirecon.fitting.soft_raster import check_faces
from hoirecon.ragged import expand, rounds


def zbuffer(points: Tensor, faces: Tensor, height: int, width: int, near: float = 0.05) -> Tensor:
    """Depth of the nearest surface at every cell centre.

    Args:
        points: (B, V, 3) column, row (cell (i, j) spans [i, i+1] x [j, j+1]) and depth in metres of the vertices.
        faces: (F, 3) vertex indices; both sides are drawn.
        height: rows.
        width: columns.
        near: faces with a vertex nearer than this are dropped, metres.

    Returns:
        (B, height, width) depth, infinite where nothing is; perspective-correct.
    """
    if fused.usable(points):
        check_faces(faces, points.shape[1])  # compiled loops do not look
        return fused.zbuffer(points, faces, height, width, near)
    return zbuffer_torch(points, faces, height, width, near)


def zbuffer_torch(points: Tensor, faces: Tensor, height: int, width: int, near: float = 0.05) -> Tensor:
    """The same on any device and in any precision: the reference of the compiled loops."""
    depth = torch.full((len(points) * height * width,), torch.inf, dtype=points.dtype, device=points.device)
    x0, y0, columns, rows = _cell_boxes(points, faces, height, width, near)
    counts = (columns * rows).flatten()
    for batch in rounds(counts):
        _draw(depth, points, faces, (x0, y0, columns), counts, batch, height, width)
    return depth.view(len(points), height, width)


def _cell_boxes(
    points: Tensor, faces: Tensor, height: int, width: int, near: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First column and row, and number of columns and rows, of the cells whose centre a face may cover: (B, F) each."""
    corners = points[:, faces]  # (B, F, 3, 3)
    low, high = corners.amin(2), corners.amax(2)
    drawn = (low[..., 2] > near) & torch.isfinite(high).all(-1)
    size = torch.tensor([width, height], dtype=points.dtype, device=points.device)
    first = (low[..., :2] - 0.5).ceil().clamp_min(0).minimum(size)
    last = (high[..., :2] - 0.5).floor().minimum(size - 1)
    count = torch.where(drawn[..., None], last - first + 1, 0).clamp_min(0).nan_to_num().long()
    first = first.nan_to_num().long()
    return first[..., 0], first[..., 1], count[..., 0], count[..., 1]


def _draw(
    depth: Tensor,
    points: Tensor,
    faces: Tensor,
    boxes: tuple[Tensor, Tensor, Tensor],
    counts: Tensor,
    span: tuple[int, int],
    height: int,
    width: int,
) -> None:
    counts = counts[span[0] : span[1]]
    entry, within = expand(counts)
    x0, y0, columns = (b.flatten()[span[0] : span[1]][entry] for b in boxes)
    column = x0 + within % columns
    row = y0 + torch.div(within, columns, rounding_mode="floor")
    entry = entry + span[0]
    pose, face = torch.div(entry, len(faces), rounding_mode="floor"), entry % len(faces)
    inside, z = _cover(points, faces[face] + pose[:, None] * points.shape[1], column, row)
    cell = (pose * height + row) * width + column
    depth.scatter_reduce_(0, cell[inside], z[inside], "amin")


def _cover(points: Tensor, corners: Tensor, column: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each cell centre lies in its triangle, and the depth there (1/z is linear on the screen)."""
    a, b, c = (points.reshape(-1, 3)[corners[:, k]].unbind(-1) for k in range(3))
    x, y = column + 0.5, row + 0.5
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    wa = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
    wb = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
    wc = 1 - wa - wb
    inside = (area.abs() > 1e-12) & (wa >= -1e-6) & (wb >= -1e-6) & (wc >= -1e-6)
    return inside, 1 / (wa / a[2] + wb / b[2] + wc / c[2])
