"""Where things are usually touched: the mean contact of the places of a category's boxes."""

from __future__ import annotations

from functools import cache

import numpy as np

from hoirecon.arrays import IntArray
from hoirecon.contact.training.closedworld_data import MOST_VERTS, Samples, category_names, object_ids
from hoirecon.data.objects import load_object

SMOOTH = 20.0
"""Vertices that :attr:`VoxelMean.smooth` adds to each voxel."""


class VoxelMean:
    """Mean contact of the places of a category's boxes, over all its samples and meshes in training.

    Args:
        train: what it is the mean of.
        grid: g voxels along each side of the box.

    Attributes:
        mean: (categories, g^3) share of vertices that are touched in each voxel; where there are none, of all.
        smooth: (categories, g^3) the same as if every voxel had held some more vertices of the usual share.
        any: (g^3,) share over all categories.
    """

    def __init__(self, train: Samples, grid: int) -> None:
        self.grid = grid
        shape = len(category_names()), grid**3
        touched, seen = np.zeros(shape), np.zeros(shape)
        for instance in np.unique(train.instance):
            rows = np.flatnonzero(train.instance == instance)
            places = voxels(object_ids()[instance], grid)
            rate = train.object_contact(rows)[:, : len(places)].sum(0)
            category = train.category[rows[0]]
            np.add.at(touched[category], places, rate)
            np.add.at(seen[category], places, len(rows))
        whole = touched.sum(1) / np.maximum(seen.sum(1), 1)
        whole = np.where(seen.sum(1) > 0, whole, touched.sum() / max(seen.sum(), 1))
        self.mean = np.where(seen > 0, touched / np.maximum(seen, 1), whole[:, None])
        self.any = touched.sum(0) / np.maximum(seen.sum(0), 1)
        self.smooth = (touched + SMOOTH * whole[:, None]) / (seen + SMOOTH)

    def __call__(self, asked: Samples) -> np.ndarray:
        """(n, MOST_VERTS)."""
        found = np.zeros((len(asked), MOST_VERTS), dtype=np.float32)
        for row, (instance, category) in enumerate(zip(asked.instance, asked.category, strict=True)):
            places = voxels(object_ids()[instance], self.grid)
            found[row, : len(places)] = self.mean[category][places]
        return found


@cache
def voxels(object_id: str, grid: int) -> IntArray:
    """(No,) the voxel of its mesh's box in which each vertex lies."""
    verts = load_object(object_id).mesh.verts
    low, high = verts.min(0), verts.max(0)
    cell = np.clip((verts - low) / np.maximum(high - low, 1e-9) * grid, 0, grid - 1).astype(int)
    return np.asarray(cell @ np.array([grid * grid, grid, 1]))
