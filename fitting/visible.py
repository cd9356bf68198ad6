"""How well a posed object covers its mask where it can be seen."""

from __future__ import annotations

import torch
from torch import Tensor

from hoirecon.fitting.contour import HIDING, VISIBLE
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.object_terms import in_front
from hoirecon.fitting.raster import zbuffer

SOFTNESS = 0.02
"""Softness of the depth order between object and hiding thing, metres."""
BODY_OFF = 0.06
"""An object so much behind the body where it is seen may still be before the true one: the body is off, metres."""


def visible_iou(state: ObjectState, cells: int = 160, behind_is_missed: bool = True) -> Tensor:
    """(B,) overlap of the object with its visible mask; what hides it is taken from mask AND depth.

    The object counts as hidden only in cells where the person is seen and the body is nearer; there it may be or not.
    In such a cell an object in front of the body is a false positive, by the degree to which it is in front. In a cell
    of the mask an object clearly behind the body may be a miss: it is not what is seen there.

    Args:
        state: poses.
        cells: side of the raster.
        behind_is_missed: count such misses. They tell poses apart (a phone behind the head from one at the ear); as a
            figure of merit they would blame the object for fingers of the body model that are thicker than real ones.
    """
    told_apart, shown = visible_ious(state, cells)
    return told_apart if behind_is_missed else shown


def visible_ious(state: ObjectState, cells: int = 160) -> tuple[Tensor, Tensor]:
    """Both figures of :func:`visible_iou` from one drawing: (B,) with what lies behind the body missed, and without."""
    region = state.view.region
    n = region.cells
    verts = state.place(state.view.verts)
    points = torch.cat([region.project(verts) * (cells / n), verts[..., 2:]], -1)
    depth = zbuffer(points, state.view.topology.faces, cells, cells)
    nearest = ((torch.arange(cells, device=depth.device) + 0.5) * n / cells).long().clamp_max(n - 1)
    kind = region.kind[nearest[:, None], nearest[None]]
    front = region.front[nearest[:, None], nearest[None]]
    backdrop = region.backdrop[nearest[:, None], nearest[None]]
    drawn, visible = torch.isfinite(depth), kind == VISIBLE
    covered = (drawn & visible).to(depth.dtype)
    before = in_front(depth, backdrop + BODY_OFF, SOFTNESS)
    false = torch.where(kind == HIDING, in_front(depth, front, SOFTNESS), 1.0) * (drawn & ~visible)
    all_of_it = (visible.sum() + false.sum((1, 2))).clamp_min(1e-9)
    return (before * covered).sum((1, 2)) / all_of_it, covered.sum((1, 2)) / all_of_it
