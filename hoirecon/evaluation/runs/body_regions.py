"""Regions of the body that labels are on: of our own bodies without a file, of the licensed ones by the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hoirecon.mesh import Mesh

if TYPE_CHECKING:
    from hoirecon.evaluation.metrics.regions import BodyRegions

HANDS_ALONE = ("mano", "standin-778")
"""Bodies that are one hand: they have no regions to compare."""


def regions_of(topology: str, mesh: Mesh, body: Path | None = None) -> BodyRegions | None:
    """Which vertex belongs to which region.

    Args:
        topology: of the labels.
        mesh: its rest surface; a stand-in's vertices take the regions of the free body's nearest.
        body: the user's model file, for licensed bodies.

    Returns:
        None for hands alone.
    """
    from hoirecon.data.body import load_body
    from hoirecon.data.datasets.topologies import is_stand_in
    from hoirecon.evaluation.metrics.regions import BodyRegions

    if topology in HANDS_ALONE:
        return None
    ours = is_stand_in(topology) or topology.startswith("hoirecon-")
    model = load_body() if ours or body is None else load_body(body)
    regions = BodyRegions.of_parts(model.parts)
    return regions.carried_to(model.rest_verts, mesh.verts) if is_stand_in(topology) else regions
