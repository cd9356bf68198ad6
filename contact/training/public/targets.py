"""Masks of the views from contact in 3D: what MV-Loc should have found in every picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.contact.rendering.types import Maps, PixelMaps, PointMaps, ViewTable
from hoirecon.contact.training.mask_losses import IGNORE
from hoirecon.errors import InputError

CONTACT_CUT = 0.5
"""Vertices from here on are in contact, where a mask needs a yes or no."""
TWO_OF_THREE = "_mv2"
"""Ending of the names of view tables in whose masks two of a triangle's vertices in contact are enough."""


def min_vertices(table: ViewTable) -> int:
    """How many of a triangle's vertices must touch for its pixels to: 2 for tables ``..._mv2``, else 3."""
    return 2 if table.name.endswith(TWO_OF_THREE) else 3


def view_masks(contact: FloatArray, maps: Maps, least: int = 3) -> Tensor:
    """(V, H, W) masks; ``IGNORE`` (-1) where nothing is seen.

    A triangle's pixels are 1 if at least ``least`` of its vertices are in contact (0.5 and more), else 0. A point's
    pixels have its own value.

    Args:
        contact: (N,) in [0, 1] per vertex or point of the maps.
        maps: what each pixel shows.
        least: 1 to 3 vertices of a triangle; no part of it in clouds.

    Raises:
        InputError: another number of vertices, or of ``least``.
    """
    if least not in (1, 2, 3):
        raise InputError(f"a triangle has three vertices: least is 1, 2 or 3, got {least}")
    count = maps.num_verts if isinstance(maps, PixelMaps) else maps.num_points
    if contact.shape != (count,):
        raise InputError(f"contact of shape {contact.shape} does not fit maps of {count} vertices: another mesh's?")
    seen = maps.foreground
    masks = np.full(seen.shape, IGNORE, np.float32)
    masks[seen] = (
        _of_points(contact, maps, seen) if isinstance(maps, PointMaps) else _of_faces(contact, maps, seen, least)
    )
    return torch.from_numpy(masks)


def _of_faces(contact: FloatArray, maps: PixelMaps, seen: npt.NDArray[np.bool_], least: int) -> npt.NDArray[np.bool_]:
    touching = (contact >= CONTACT_CUT).astype(np.int8)
    return np.asarray(touching[maps.verts[seen]].sum(axis=1) >= least)


def _of_points(contact: FloatArray, maps: PointMaps, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    return contact.astype(np.float32)[maps.points[seen]]
