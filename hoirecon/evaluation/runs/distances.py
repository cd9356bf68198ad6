"""Distances on the body's surface for geodesic errors: whose body, and each front walked once."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError, TopologyError
from hoirecon.evaluation.runs.bodies import body_file
from hoirecon.evaluation.runs.body_regions import HANDS_ALONE, regions_of
from hoirecon.mesh import Mesh

if TYPE_CHECKING:
    from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
    from hoirecon.evaluation.metrics.regions import BodyRegions

KEPT_BYTES = 256 << 20
"""Memory for fronts that were walked: 4,800 of a body of 6,890 vertices."""


class CachedDistances:
    """The same distances, each set's front walked once: several errors and protocols ask for the same sets."""

    def __init__(self, inner: SurfaceDistances, kept_bytes: int = KEPT_BYTES) -> None:
        self.inner = inner
        self._kept: OrderedDict[tuple[str, bytes], FloatArray] = OrderedDict()
        self._most = max(2, kept_bytes // (8 * inner.num_verts))

    @property
    def num_verts(self) -> int:
        """Vertices of the body."""
        return self.inner.num_verts

    @property
    def diameter_m(self) -> float:
        """Longest distance on the surface, metres."""
        return self.inner.diameter_m

    @property
    def regions(self) -> BodyRegions | None:
        """Which vertex belongs to which region of the body, where it is known."""
        return getattr(self.inner, "regions", None)

    def to_set(self, verts: IntArray) -> FloatArray:
        """(V,) distance of each vertex to the nearest of a set, metres."""
        return self._found("to", verts)

    def from_set(self, verts: IntArray) -> FloatArray:
        """(V,) distance of each vertex from the nearest of a set, metres."""
        return self._found("from", verts)

    def _found(self, way: str, verts: IntArray) -> FloatArray:
        from hoirecon.evaluation.metrics.geodesic import MeshDistances

        both = "both" if isinstance(self.inner, MeshDistances) else way  # paths on a mesh have no direction
        key = both, verts.tobytes()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        found = self.inner.to_set(verts) if way == "to" else self.inner.from_set(verts)
        self._kept[key] = found
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found


def distances_of(topology: str, body: str | Path | None = None) -> SurfaceDistances | None:
    """Distances on the surface that labels are on, for geodesic errors.

    Args:
        topology: of the labels. A stand-in's own mesh needs no file.
        body: for the licensed bodies, the user's SMPL-family model file (``.npz``, ``.pkl``) or a folder of them, or a
            stored matrix of distances (``.npy``); None leaves geodesic errors out.

    Returns:
        None where nothing is known of the surface.

    Raises:
        InputError: the file cannot be read, or is another body.
    """
    import numpy as np

    from hoirecon.data.datasets.topologies import TOPOLOGY_SIZES
    from hoirecon.evaluation.metrics.geodesic import MatrixDistances, MeshDistances

    found: SurfaceDistances
    body = body_file(body)
    if body is not None and body.suffix.lower() == ".npy":
        try:
            found = MatrixDistances(np.load(body, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as err:
            raise InputError(f"{body} is no matrix of distances: {err}") from err
        wanted = TOPOLOGY_SIZES.get(topology, found.num_verts)
        if found.num_verts != wanted:
            raise TopologyError(f"{body} is of {found.num_verts} vertices, but the labels on '{topology}' of {wanted}")
        return found
    mesh = mesh_of(topology, body)
    if mesh is None:
        return None
    return MeshDistances(mesh.verts, mesh.faces, regions=regions_of(topology, mesh, body))


def mesh_of(topology: str, body: str | Path | None = None) -> Mesh | None:
    """The rest surface that labels are on: our own bodies without a file, the licensed ones out of the user's.

    Args:
        topology: of the labels.
        body: the user's SMPL-family model file; None, or a matrix of distances, has no surface, and no such file is
            that of a hand alone.

    Raises:
        InputError: the file cannot be read.
        TopologyError: it is another body.
    """
    from hoirecon.data.body import load_body
    from hoirecon.data.datasets.topologies import TOPOLOGY_SIZES, is_stand_in

    if is_stand_in(topology):
        from hoirecon.data.datasets.stand_in_body import stand_in_mesh

        return stand_in_mesh(topology)
    if topology.startswith("hoirecon-"):
        free = load_body()
        return Mesh(free.rest_verts, free.faces, topology) if free.topology == topology else None
    body = body_file(body)
    if body is None or body.suffix.lower() == ".npy" or topology in HANDS_ALONE:
        return None  # a body that the environment names is nobody's hand, and no reason to refuse one
    model = load_body(body)
    if model.num_verts != TOPOLOGY_SIZES.get(topology, model.num_verts):
        raise TopologyError(
            f"{body} has {model.num_verts} vertices, but the labels are on '{topology}' with "
            f"{TOPOLOGY_SIZES[topology]}: give that body"
        )
    return Mesh(model.rest_verts, model.faces, topology)
