"""Contact labels turned into a few well-spread points with weights, on the body and on the object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap
from hoirecon.mesh import Mesh

CLUSTER_GAP = 0.06
"""Contact points farther apart than this belong to different touching parts, metres (a hand is closed inside that)."""
TOUCHED_WHOLE_M = 0.5
"""Only things smaller than this can be touched all over, metres (diagonal)."""
ANYWHERE_POINTS = 8
"""Times as many points stand for the whole surface of an object as for the touched part of one."""
NO_WEIGHT = 1e-6
"""Stands for none where a weight of zero would divide zero by zero."""
SMALL_CLUSTER = 0.15
"""A patch with less than this share of the largest one's points weighs in proportion; noise must not become a part."""


@dataclass(frozen=True)
class ContactPoints:
    """Points of contact on one surface."""

    points: FloatArray
    """(N, 3) metres, in the frame of the mesh they were taken from."""
    weights: FloatArray
    """(N,) positive, sum 1; of an object that is touched anywhere, next to nothing."""
    index: IntArray | None = None
    """(N,) vertices that they are; None if they are not vertices."""


@dataclass(frozen=True)
class SurfaceSamples:
    """Evenly scattered points of a mesh, as barycentric combinations of its vertices."""

    faces: IntArray
    """(N, 3) vertices of each sample's face."""
    weights: FloatArray
    """(N, 3) barycentric weights."""

    def interpolate(self, values: FloatArray) -> FloatArray:
        """(N, ...) per-vertex values (V, ...) at the samples."""
        mixed: FloatArray = np.einsum("nk,nk...->n...", self.weights, values[self.faces])
        return mixed


def sample_surface(mesh: Mesh, count: int, seed: int = 0) -> SurfaceSamples:
    """Scatter points over a mesh, evenly by area (stratified over the faces, so that none is forgotten)."""
    a, b, c = (mesh.verts[mesh.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    rng = np.random.default_rng(seed)
    ends = np.cumsum(area) / max(area.sum(), 1e-300)
    face = np.searchsorted(ends, (np.arange(count) + rng.random(count)) / count).clip(0, len(area) - 1)
    u, v = rng.random(count), rng.random(count)
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    return SurfaceSamples(mesh.faces[face], np.stack([1 - u - v, u, v], 1))


def farthest_points(points: FloatArray, count: int, start: int = 0) -> IntArray:
    """Indices of a well-spread subset: each next point is the farthest from those taken."""
    if len(points) <= count:
        return np.arange(len(points))
    taken = [start]
    distance = np.linalg.norm(points - points[start], axis=1)
    while len(taken) < count:
        taken.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[taken[-1]], axis=1))
    return np.array(taken)


def body_contact_points(mesh_cam: Mesh, contact: ContactMap, count: int) -> ContactPoints:
    """Contact vertices of the body; every touching part (hands, feet, seat) carries the same mass.

    Parts are found as clusters in space, so that any body mesh will do.
    """
    index = np.nonzero(contact.binary())[0]
    points, probability = mesh_cam.verts[index], contact.probability[index]
    if len(index) == 0:
        return ContactPoints(np.zeros((0, 3)), np.zeros(0), index)
    spread = farthest_points(points, count, int(probability.argmax()))
    points, weights = points[spread], probability[spread]
    return ContactPoints(points, weights * _share_by_cluster(points, weights), index[spread])


def _share_by_cluster(points: FloatArray, weights: FloatArray) -> FloatArray:
    """(N,) factor that gives each cluster of points the same mass, and all together mass 1."""
    if len(points) == 1:
        return 1 / weights
    cluster = fcluster(linkage(points, "single"), CLUSTER_GAP, "distance") - 1
    mass = np.bincount(cluster, weights)
    wanted = np.minimum(mass / (SMALL_CLUSTER * mass.max()), 1.0)
    return np.asarray((wanted / mass / wanted.sum())[cluster])


def anywhere(contact: ContactMap) -> bool:
    """Whether a map says that its surface is touched but not where: the same probability all over it, not certainty.

    That is what an estimator says of a mesh without named parts. (1 all over says that every vertex touches.)
    """
    low, high = float(contact.probability.min(initial=1.0)), float(contact.probability.max(initial=0.0))
    return low > CONTACT_THRESHOLD and high < 1.0 and high - low < 1e-6


def object_contact_points(mesh: Mesh, contact: ContactMap, count: int, seed: int = 0) -> ContactPoints:
    """Contact points of the object: vertices and samples of faces above the threshold, weighted by probability.

    Of a large thing that is touched :func:`anywhere` they are points all over it with hardly any weight: what touches
    it finds its place among them, but they need not all be touched.
    """
    samples = sample_surface(mesh, 3000, seed)
    points = np.concatenate([samples.interpolate(mesh.verts), mesh.verts])
    probability = np.concatenate([samples.interpolate(contact.probability), contact.probability])
    index = np.nonzero(probability > CONTACT_THRESHOLD)[0]
    if len(index) == 0:
        return ContactPoints(np.zeros((0, 3)), np.zeros(0))
    points, probability = points[index], probability[index]
    loose = anywhere(contact) and mesh.diagonal > TOUCHED_WHOLE_M
    spread = farthest_points(points, count * (ANYWHERE_POINTS if loose else 1), int(probability.argmax()))
    weights = probability[spread] / probability[spread].sum()
    return ContactPoints(points[spread], weights * (NO_WEIGHT if loose else 1.0))
