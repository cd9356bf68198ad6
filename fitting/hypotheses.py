"""Start poses: an even cover of rotations, each with the translation that contact and mask ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from hoirecon.fitting.contour import Region
from hoirecon.fitting.object_state import ObjectState

NEAREST_START = 0.3
"""No start is nearer to the camera than this, metres."""


def start_translations(
    R: Tensor, verts: Tensor, region: Region, anchor: tuple[Tensor, Tensor] | None, depth: float
) -> Tensor:
    """(B, 3) translation for each rotation: depth from contact (or a guess), x and y from the mask's box.

    Sides of the box that something hides are not matched; with contact, a box without any free side leaves x or y to
    the contact, as far as the object then still covers the mask: a part of the contact may be wrong and far away.

    Args:
        R: (B, 3, 3).
        verts: (V, 3) object frame, at the expected scale.
        region: the mask.
        anchor: centroids (3,) of the contact points on the body (camera frame) and object (object frame), or None.
        depth: depth of the object's centre if there is no contact, metres.
    """
    placed = verts @ R.transpose(1, 2)
    if anchor is None:
        t = verts.new_tensor([0.0, 0.0, depth]).repeat(len(R), 1)
        t[:, 2] = _depth_by_size(placed, region).clamp(0.5 * depth, 2 * depth)
    else:
        t = anchor[0] - R @ anchor[1]
    t[:, 2].clamp_(min=NEAREST_START)
    focal = verts.new_tensor(region.camera.focal)
    for _ in range(2):  # the projection is not linear in depth; two rounds settle it to a cell
        t[:, :2] += _box_shift(placed + t[:, None], region, anchor is None) * t[:, 2:] / focal
    return t


def _depth_by_size(placed: Tensor, region: Region) -> Tensor:
    """(B,) depth at which the rotated object is as large as the mask's box, metres."""
    left, top, right, bottom = region.box
    size = placed[..., :2].amax(1) - placed[..., :2].amin(1)
    seen = placed.new_tensor([right - left, bottom - top])
    depth: Tensor = (size * placed.new_tensor(region.camera.focal)).norm(dim=1) / seen.norm()
    return depth


def _box_shift(placed: Tensor, region: Region, always: bool) -> Tensor:
    """(B, 2) shift in cells that brings the projected box onto the free sides of the mask's box."""
    cells = region.project(placed, near=0.2)
    low, high = cells.amin(1), cells.amax(1)
    left, top, right, bottom = region.box
    shifts = []
    for axis, (near, far) in enumerate(((left, right), (top, bottom))):
        free_near, free_far = region.free_sides[axis], region.free_sides[axis + 2]
        to_near, to_far = near - low[:, axis], far - high[:, axis]
        if free_near == free_far:
            shift = (to_near + to_far) / 2 if free_near or always else _covering(to_near, to_far)
        else:
            shift = to_near if free_near else to_far
        shifts.append(shift)
    return torch.stack(shifts, 1)


def _covering(to_near: Tensor, to_far: Tensor) -> Tensor:
    """(B,) least shift by which a projected box covers the mask's, whose sides are (B,) off its own; a box smaller than
    the mask's comes amid it."""
    least, most = torch.minimum(to_near, to_far), torch.maximum(to_near, to_far)
    amid = (to_near + to_far) / 2
    return torch.where(to_far <= to_near, torch.zeros_like(amid).clamp(least, most), amid)


def distinct(state: ObjectState, energy: Tensor, probe: Tensor, distance: float, keep: int) -> Tensor:
    """Indices of the best poses, best first, none closer than ``distance`` to a better one.

    Closeness is the mean distance from one posed point set to the nearest points of the other: two poses of a
    symmetric object that look the same are the same, without anybody naming the symmetry.

    Args:
        state: poses.
        energy: (B,) lower is better.
        probe: (P, 3) points spread over the object.
        distance: metres.
        keep: most indices returned.
    """
    points = state.place(probe)
    kept: list[int] = []
    for index in torch.argsort(energy, stable=True).tolist():
        if not kept or float(set_distance(points[index], points[kept]).min()) >= distance:
            kept.append(index)
        if len(kept) == keep:
            break
    return torch.tensor(kept, device=points.device)


def set_distance(one: Tensor, many: Tensor) -> Tensor:
    """(K,) mean distance from the points (P, 3) to the nearest points of each set (K, P, 3)."""
    return torch.cdist(one.expand(len(many), -1, -1), many).amin(2).mean(1)


def mutual_distance(points: Tensor) -> Tensor:
    """(B, B) mean distance from the points of each set (B, P, 3) to the nearest of each other, both ways on average."""
    one_way = torch.stack([set_distance(one, points) for one in points])
    return (one_way + one_way.T) / 2
