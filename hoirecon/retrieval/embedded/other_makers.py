"""Meshes that other people made, which no training saw: is one of the right kind found among our own?"""

from __future__ import annotations

import numpy as np

from hoirecon.data.objects import list_objects, load_object
from hoirecon.retrieval.embedded.gallery import ViewGallery
from hoirecon.retrieval.embedded.views import render, view_rotation
from hoirecon.retrieval.surfaces import Surface

VIEWS = 4
"""Random views of each mesh."""
SIZE = 96
"""Side of their masks, pixels."""


def figures_of_other_makers(gallery: ViewGallery, seed: int) -> dict[str, float]:
    """How often the library's wrapped meshes (third parties' models) bring one of our own of their category.

    The index holds the library's parametric meshes only; asked are the wrapped ones whose category is among them, from
    four random views each, clean. This is nearer to a photograph than drawn shapes are: the object's maker is another.

    Returns:
        The number of queries, category@1 and category@5 without a label.
    """
    entries = list_objects()
    ours = [entry.id for entry in entries if entry.kind == "parametric"]
    known = {name.partition("/")[0] for name in ours}
    asked = [entry for entry in entries if entry.kind == "wrapped" and entry.category in known]
    rng = np.random.default_rng([seed, 3])
    first, five = [], []
    for entry in asked:
        elevation, roll = np.radians(rng.uniform(-6, 50, VIEWS)), np.radians(rng.uniform(-14, 14, VIEWS))
        R_cam_obj = view_rotation(rng.uniform(0, 2 * np.pi, VIEWS), elevation, roll)
        surface = Surface.from_mesh(load_object(entry.id).mesh)
        for mask in render(surface, R_cam_obj, rng.uniform(2, 7, VIEWS), SIZE, samples=1).masks > 0:
            hits = [hit.name.partition("/")[0] == entry.category for hit in gallery.rank(mask, ours, k=5, guesses=1)]
            first.append(hits[0])
            five.append(any(hits))
    return {
        "queries": float(len(first)),
        "category_at_1": round(float(np.mean(first)), 4),
        "category_at_5": round(float(np.mean(five)), 4),
    }
