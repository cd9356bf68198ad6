"""The region round an object's visible mask: distance fields, sub-pixel contour, and what may stand before it.

Each cell of the region is of one of three kinds. *Background*: the object is not there. *Visible*: it is. *Hiding*: a
person, another object or the edge of the picture is seen there, and the object may go on behind it. How far away the
hiding thing is decides, sample by sample, whether the object would be hidden or would have been seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from skimage.measure import find_contours
from torch import Tensor

import hoirecon.fitting.fused as fused
from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.fitting.raster import zbuffer
from hoirecon.mesh import Mesh

BACKGROUND, VISIBLE, HIDING = 0, 1, 2
NOTHING_BEFORE = 1e6
"""Depth of the hiding thing where there is none, metres."""
MOST_CELLS_ROUNDED = 1024
"""Side of the largest mask whose single-precision distances, squared, surely round to the right whole number."""
MIN_PIXELS = 12
"""Masks with fewer pixels say nothing about a pose."""


@dataclass(frozen=True)
class Region:
    """A square of the image round the mask, in cells; all arrays are (n, n) on one device."""

    camera: Camera
    """Intrinsics for the region's cells."""
    px_per_cell: float
    """Image pixels per cell; 1 unless the mask is large."""
    distance: Tensor
    """(2, n, n) signed distance in cells, negative inside, to the visible mask and to visible-or-hiding."""
    kind: Tensor
    """(n, n) int64: background 0, visible 1, hiding 2."""
    front: Tensor
    """(n, n) depth of the hiding thing in hiding cells, metres; 0 if unknown, very far elsewhere."""
    backdrop: Tensor
    """(n, n) depth of the body in visible cells, where it must lie behind the object, metres; very far elsewhere."""
    contour: Tensor
    """(Q, 2) points on the contour of the visible mask, cells."""
    contour_front: Tensor
    """(Q,) depth of the hiding thing beside each contour point, metres; very far if there is none beside it."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom of the visible mask, cells."""
    free_sides: tuple[bool, bool, bool, bool]
    """Whether each side of the box is the object's own and not cut off by something before it."""

    @property
    def cells(self) -> int:
        """Side of the region in cells."""
        return int(self.kind.shape[0])

    def project(self, points_cam: Tensor, near: float = 0.05) -> Tensor:
        """(..., 2) cells of points (..., 3); points nearer than ``near`` are seen as if at that depth."""
        (fx, fy), (cx, cy) = self.camera.focal, self.camera.centre
        x, y, z = points_cam.unbind(-1)
        inverse = 1 / z.clamp_min(near)
        return torch.stack([fx * x * inverse + cx, fy * y * inverse + cy], -1)

    def lookup(self, cells_xy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the region says at points (..., 2).

        Returns:
            Kind of the cell (...); signed distance in cells (...) to visible-or-hiding for background cells and to the
            visible mask elsewhere; its gradient (..., 2); depth of the hiding thing (...). Outside the region the
            distance to its border is added.
        """
        x, y = cells_xy.unbind(-1)
        nearest = self._nearest_cell(x, y)
        kind = self.kind.reshape(-1)[nearest]
        value, gx, gy = _bilinear(self.distance, (kind == BACKGROUND).long(), x - 0.5, y - 0.5)
        return kind, value, torch.stack([gx, gy], -1), self.front.reshape(-1)[nearest]

    def body_behind(self, cells_xy: Tensor) -> Tensor:
        """(...) depth of the body in the visible cells at points (..., 2), metres; very far if there is none."""
        return self.backdrop.reshape(-1)[self._nearest_cell(*cells_xy.unbind(-1))]

    def _nearest_cell(self, x: Tensor, y: Tensor) -> Tensor:
        n = self.cells
        return y.floor().clamp(0, n - 1).long() * n + x.floor().clamp(0, n - 1).long()

    @cached_property
    def compiled(self) -> dict[str, Any]:
        """Its arrays for :mod:`hoirecon.fitting.fused`."""
        return fused.region_arrays(self)

    def contour_points(self, count: int) -> tuple[Tensor, Tensor]:
        """At most ``count`` evenly chosen contour points (M, 2) and the depth beside them (M,)."""
        total = len(self.contour)
        index = torch.linspace(0, total - 1, min(count, total), device=self.contour.device).long()
        return self.contour[index], self.contour_front[index]


def _bilinear(fields: Tensor, which: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value and gradient of field ``which`` (...) of (K, n, n) at node coordinates; distance outside is added."""
    n = fields.shape[-1]
    inner_u, inner_v = u.clamp(0, n - 1.001), v.clamp(0, n - 1.001)
    i, j = inner_u.floor(), inner_v.floor()
    a, b = inner_u - i, inner_v - j
    base = (which * n + j.long()) * n + i.long()
    flat = fields.reshape(-1)
    f00, f01, f10, f11 = flat[base], flat[base + 1], flat[base + n], flat[base + n + 1]
    top, bottom = f00 + a * (f01 - f00), f10 + a * (f11 - f10)
    ex, ey = u - inner_u, v - inner_v
    squared = ex.square() + ey.square()
    beyond = torch.where(squared > 0, squared.clamp_min(1e-30).sqrt(), 0.0)  # a root at zero has no derivative
    outward = 1 / beyond.clamp_min(1e-9)
    gx = torch.where(ex == 0, (1 - b) * (f01 - f00) + b * (f11 - f10), 0) + ex * outward
    gy = torch.where(ey == 0, bottom - top, 0) + ey * outward
    return top + b * (bottom - top) + beyond, gx, gy


def make_region(
    mask: BoolArray,
    camera: Camera,
    person: tuple[BoolArray | None, Mesh],
    occluders: BoolArray | None = None,
    placed: tuple[tuple[BoolArray, Mesh], ...] = (),
    max_cells: int = 512,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Region:
    """Prepare the region of one object.

    Args:
        mask: (H, W) visible pixels of the object.
        camera: intrinsics of the image.
        person: visible pixels of the person (None: as the body is drawn, but for ``placed`` and what is beyond the
            picture) and the posed body, camera frame.
        occluders: (H, W) pixels of things at unknown depth.
        placed: visible pixels and meshes (camera frame) of objects that are fitted already.
        max_cells: larger regions are averaged down to this side.
        device: where the tensors go.
        dtype: of the tensors.

    Raises:
        InputError: the mask is empty or has fewer than a dozen pixels.
    """
    if int(mask.sum()) < MIN_PIXELS:
        raise InputError(
            f"the object mask has {int(mask.sum())} pixels, at least {MIN_PIXELS} are needed: "
            f"give a box or mask that shows the object"
        )
    square = _square_around(mask)
    cells = min(square[2], max_cells)
    local = camera.cropped(square[0], square[1], square[2], square[2]).resized(cells, cells)
    visible = _crop(mask, square, cells, keep_thin=True)
    front, backdrop = _depths(mask, visible, local, person, occluders, placed)
    return _assemble(visible, front, backdrop, local, square[2] / cells, device, dtype)


def with_depths(
    region: Region,
    mask: BoolArray,
    person: tuple[BoolArray | None, Mesh],
    occluders: BoolArray | None = None,
    placed: tuple[tuple[BoolArray, Mesh], ...] = (),
) -> Region:
    """A region whose masks stay, when body and objects have moved: how far away what hides the object is now.

    Args:
        region: what :func:`make_region` gave.
        mask: as it was given to that.
        person: visible pixels as they were; the body as it is now.
        occluders: as they were.
        placed: visible pixels as they were, meshes as they are now.
    """
    visible = (region.kind == VISIBLE).cpu().numpy()
    front, backdrop = _depths(mask, visible, region.camera, person, occluders, placed)
    contour = region.contour.detach().cpu().double().numpy()
    contour_front = _beside_contour(contour, *_nearest_hiding((front < NOTHING_BEFORE) & ~visible, front))
    like = region.front
    near, behind, beside = (torch.as_tensor(depth).to(like) for depth in (front, backdrop, contour_front))
    return replace(region, front=near, backdrop=behind, contour_front=beside)


def _depths(
    mask: BoolArray,
    visible: BoolArray,
    local: Camera,
    person: tuple[BoolArray | None, Mesh],
    occluders: BoolArray | None,
    placed: tuple[tuple[BoolArray, Mesh], ...],
) -> tuple[FloatArray, FloatArray]:
    """Depth of what hides the object, where something does, and of the body in visible cells; very far elsewhere."""
    square, cells = _square_around(mask), len(visible)
    front = np.full((cells, cells), NOTHING_BEFORE)
    outside = ~_crop(np.ones_like(mask), square, cells)
    front[outside] = 0.0
    for pixels, mesh in (*placed, person):  # the person last: its depth is the one that `backdrop` asks for
        depth = _depth(mesh, local)
        # Without a person mask the body hides where it is drawn, but for what is seen before it and beyond the picture.
        drawn = np.isfinite(depth) & (front == NOTHING_BEFORE)
        shown = drawn if pixels is None else _crop(pixels, square, cells)
        front[shown] = _filled(depth)[shown]
    if occluders is not None:
        front[_crop(occluders, square, cells)] = 0.0
    front[visible] = NOTHING_BEFORE
    return front, np.where(visible & np.isfinite(depth), depth, NOTHING_BEFORE)


def _square_around(mask: BoolArray) -> tuple[int, int, int]:
    """Left, top and side in pixels of the region: 1.7 times the mask's longer side and a rim of 12 pixels."""
    rows, cols = np.nonzero(mask)
    left, right, top, bottom = cols.min(), cols.max() + 1, rows.min(), rows.max() + 1
    side = int(1.7 * max(right - left, bottom - top) + 24)
    return int((left + right - side) // 2), int((top + bottom - side) // 2), side


def _crop(mask: BoolArray, square: tuple[int, int, int], cells: int, keep_thin: bool = False) -> BoolArray:
    """The mask in the region; False outside the image; averaged and cut at one half if the region is scaled down.

    With ``keep_thin`` a mask so thin that no cell is half full is cut at half of its fullest cell: a string shows too.
    """
    left, top, side = square
    out = np.zeros((side, side), dtype=np.float32)
    y0, y1 = max(top, 0), min(top + side, mask.shape[0])
    x0, x1 = max(left, 0), min(left + side, mask.shape[1])
    out[y0 - top : y1 - top, x0 - left : x1 - left] = mask[y0:y1, x0:x1]
    if cells != side:
        import cv2

        out = cv2.resize(out, (cells, cells), interpolation=cv2.INTER_AREA)
    level = 0.5 * float(out.max()) if keep_thin and not (out > 0.5).any() else 0.5
    return np.asarray(out > level)


def _depth(mesh: Mesh, camera: Camera) -> FloatArray:
    points = np.concatenate([camera.project(mesh.verts), mesh.verts[:, 2:]], axis=1)
    points[~np.isfinite(points)] = 0.0  # behind the camera; depth 0 drops its faces
    drawn = zbuffer(torch.as_tensor(points)[None].float(), torch.as_tensor(mesh.faces), camera.height, camera.width)
    return np.asarray(drawn[0].numpy(), dtype=np.float64)


def _filled(depth: FloatArray) -> FloatArray:
    """Depth everywhere: cells without any take the nearest cell's; 0 (unknown) if there is none at all."""
    known = np.isfinite(depth)
    if not known.any():
        return np.zeros_like(depth)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(depth[tuple(nearest)])


def signed_distance_cells(mask: BoolArray) -> FloatArray:
    """Signed distance of cell centres to the mask's border, negative inside.

    Distances between cell centres are half a cell too long for the border between the cells.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, -1e3 if mask.all() else 1e3)
    return np.where(mask, 0.5 - _distance_cells(mask), _distance_cells(~mask) - 0.5)


def _distance_cells(mask: BoolArray) -> FloatArray:
    """Distance of cells inside a mask to the nearest one outside, to the last bit as SciPy's, in a fifth of its time.

    OpenCV's single-precision distances differ in their last bit from call to call; their squares are whole numbers.
    """
    if max(mask.shape) > MOST_CELLS_ROUNDED:
        return np.asarray(distance_transform_edt(mask))
    import cv2

    found = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.sqrt(np.rint(found.astype(np.float64) ** 2)))


def mask_contour(mask: BoolArray) -> FloatArray:
    """(Q, 2) x, y of the marching-squares contour, cells (a cell's centre is at + 0.5)."""
    lines = find_contours(np.pad(mask, 1).astype(float), 0.5)
    return np.asarray(np.concatenate(lines)[:, ::-1] - 0.5)


def _assemble(
    visible: BoolArray,
    front: FloatArray,
    backdrop: FloatArray,
    camera: Camera,
    px_per_cell: float,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Region:
    hiding = (front < NOTHING_BEFORE) & ~visible
    kind = np.where(visible, VISIBLE, np.where(hiding, HIDING, BACKGROUND))
    contour = mask_contour(visible)
    to_hiding, beside = _nearest_hiding(hiding, front)
    contour_front = _beside_contour(contour, to_hiding, beside)
    rows, cols = np.nonzero(visible)
    box = (float(cols.min()), float(rows.min()), float(cols.max() + 1), float(rows.max() + 1))
    at_side = (cols == cols.min(), rows == rows.min(), cols == cols.max(), rows == rows.max())
    left, top, right, bottom = (bool(np.median(to_hiding[rows[s], cols[s]]) > 3) for s in at_side)
    fields = np.stack([signed_distance_cells(visible), signed_distance_cells(visible | hiding)])

    def tensor(value: FloatArray) -> Tensor:
        return torch.as_tensor(value, device=device, dtype=dtype)

    return Region(
        camera, px_per_cell, tensor(fields), torch.as_tensor(kind.astype(np.int64), device=device), tensor(front),
        tensor(backdrop),
        tensor(contour), tensor(contour_front), box, (left, top, right, bottom),
    )  # fmt: skip


def _nearest_hiding(hiding: BoolArray, front: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance to the nearest hiding cell, and the depth there."""
    if not hiding.any():
        return np.full(hiding.shape, 1e3), np.full(hiding.shape, NOTHING_BEFORE)
    distance, index = distance_transform_edt(~hiding, return_indices=True)
    return np.asarray(distance), front[tuple(index)]


def _beside_contour(contour: FloatArray, to_hiding: FloatArray, beside: FloatArray) -> FloatArray:
    """(Q,) depth of the hiding cell nearest to each contour point (Q, 2), very far if none is within 3 cells."""
    column, row = np.clip(contour.astype(int), 0, len(to_hiding) - 1).T
    return np.where(to_hiding[row, column] < 3, beside[row, column], NOTHING_BEFORE)
