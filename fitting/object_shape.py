"""What the fit needs to know of an object's mesh alone; computed once per mesh and kept for the next photograph."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from hoirecon.arrays import FloatArray
from hoirecon.errors import require
from hoirecon.fitting.contact_pairs import farthest_points, sample_surface
from hoirecon.fitting.sdf import DistanceGrid, distance_grid
from hoirecon.fitting.silhouette import EdgeTopology, edge_topology
from hoirecon.mesh import Mesh

OBJECT_SAMPLES = 400
"""Points of the object asked whether they are inside the body."""
PROBES = 40
"""Points that tell whether two poses are the same."""


@dataclass(frozen=True)
class ObjectShape:
    """A centred mesh with its distance grid, its lighter twin for silhouettes, and samples of its surface."""

    centre: FloatArray
    """(3,) what was subtracted from the mesh's vertices, metres."""
    mesh: Mesh
    """The whole mesh, centred."""
    light: Mesh
    """The mesh of the silhouette, centred."""
    topology: EdgeTopology
    """Edges of ``light``."""
    grid: DistanceGrid
    """Exact inside, rough outside; centred object frame."""
    samples: FloatArray
    """(OBJECT_SAMPLES, 3) centred object frame."""
    probe: FloatArray
    """(PROBES, 3) of the samples, spread out."""


def object_shape(
    mesh: Mesh, faces: int, seed: int = 0, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> ObjectShape:
    """The shape of a mesh; the last few are kept, by the content of the mesh.

    Args:
        mesh: the object as given, metres.
        faces: most faces of the mesh of the silhouette.
        seed: of the samples.
        device: where the tensors go.
        dtype: of the tensors.
    """
    return _kept_shape(_ByContent(mesh), faces, seed, str(device), dtype)


def forget_shapes() -> None:
    """Empty the store, e.g. to time a first fit."""
    _kept_shape.cache_clear()


class _ByContent:
    """A mesh as the key of a store: equal to another one with the same vertices and faces."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.content = (hashlib.sha256(np.ascontiguousarray(mesh.verts).tobytes()).digest(), mesh.topology)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByContent) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


@lru_cache(maxsize=16)
def _kept_shape(key: _ByContent, faces: int, seed: int, device: str, dtype: torch.dtype) -> ObjectShape:
    given = key.mesh
    centre = (given.verts.min(0) + given.verts.max(0)) / 2
    mesh = given.with_verts(given.verts - centre)
    light = lighter(mesh, faces)
    samples = sample_surface(mesh, OBJECT_SAMPLES, seed).interpolate(mesh.verts)
    return ObjectShape(
        centre=centre,
        mesh=mesh,
        light=light,
        topology=edge_topology(light.faces, device, dtype),
        grid=distance_grid(mesh, nodes=64, outside="rough").to(device, dtype),
        samples=samples,
        probe=samples[farthest_points(samples, PROBES)],
    )


def lighter(mesh: Mesh, faces: int) -> Mesh:
    """The mesh with equal vertices merged and, if it has more faces, simplified to about that many."""
    merged = mesh.to_trimesh()
    merged.merge_vertices()
    merged.update_faces(merged.nondegenerate_faces())
    if len(merged.faces) > faces:
        o3d = require("open3d", extra="render")
        dense = o3d.geometry.TriangleMesh(
            o3d.utility.Vector3dVector(merged.vertices), o3d.utility.Vector3iVector(merged.faces)
        )
        simple = dense.simplify_quadric_decimation(faces)
        return Mesh(np.asarray(simple.vertices), np.asarray(simple.triangles), mesh.name)
    merged.remove_unreferenced_vertices()
    return Mesh(merged.vertices, merged.faces, mesh.name)
