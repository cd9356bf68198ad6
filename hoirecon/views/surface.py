"""A surface made ready for drawing: triangles whose corners carry normal, colour and how much ambient light they get.

Corners are kept per triangle (a "soup"), so an edge of a box can have two normals and a colour may jump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import require
from hoirecon.mesh import Mesh

CREASE_DEG = 40.0
"""Neighbouring faces that bend by more than this stay sharp against each other."""
MAX_EDGE = 0.04
"""Metres; longer edges are halved before ambient light is computed, which is known at corners only."""
MAX_FACES = 40_000
"""Halving stops before this many triangles."""
OCCLUSION_REACH = 0.5
"""Metres; things farther away do not darken."""
OCCLUSION_RAYS = 40
_SELF_OFFSET = 2e-3  # metres; starts a ray off its own surface, above the 1e-4 of float32 at 10 m


@dataclass(frozen=True)
class Surface:
    """Triangles ready for drawing, in one frame, metres."""

    corners: FloatArray
    """(F, 3, 3) corner positions."""
    normals: FloatArray
    """(F, 3, 3) unit normals at the corners."""
    colors: FloatArray
    """(F, 3, 3) sRGB in [0, 1] at the corners."""
    openness: FloatArray
    """(F, 3) share of ambient light that reaches each corner; 1 is a free plane."""

    def moved(self, T_new_old: FloatArray) -> Surface:
        """The surface in another frame; (4, 4) rigid motion."""
        R, t = T_new_old[:3, :3], T_new_old[:3, 3]
        return replace(self, corners=self.corners @ R.T + t, normals=self.normals @ R.T)


def make_surface(mesh: Mesh, colors: FloatArray, crease_deg: float = CREASE_DEG) -> Surface:
    """Prepare a mesh for drawing.

    Args:
        mesh: vertices in the frame to draw in, metres.
        colors: (3,) one colour, or (V, 3) per vertex; sRGB in [0, 1].
        crease_deg: see :data:`CREASE_DEG`.
    """
    per_vertex = np.broadcast_to(np.asarray(colors, dtype=np.float64), mesh.verts.shape)
    return Surface(
        corners=mesh.verts[mesh.faces],
        normals=corner_normals(mesh, crease_deg),
        colors=per_vertex[mesh.faces],
        openness=np.ones(mesh.faces.shape),
    )


def corner_normals(mesh: Mesh, crease_deg: float = CREASE_DEG) -> FloatArray:
    """(F, 3, 3) normals: at each corner, the area-weighted mean over those faces at the vertex that bend little.

    Args:
        mesh: any mesh; degenerate faces weigh nothing.
        crease_deg: faces whose normals differ by more than this from the corner's own face are left out.
    """
    a, b, c = (mesh.verts[mesh.faces[:, i]] for i in range(3))
    weighted, unit = np.cross(b - a, c - a), mesh.face_normals
    first, second = _corners_at_same_vertex(mesh.faces)
    near = np.einsum("ij,ij->i", unit[first // 3], unit[second // 3]) >= np.cos(np.deg2rad(crease_deg))
    first, second = first[near], second[near]
    total = np.stack([np.bincount(first, weighted[second // 3, i], mesh.faces.size) for i in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    own = np.repeat(unit, 3, axis=0)
    normals: FloatArray = np.where(length > 0, total / np.where(length > 0, length, 1), own)
    return normals.reshape(-1, 3, 3)


def _corners_at_same_vertex(faces: IntArray) -> tuple[IntArray, IntArray]:
    """All ordered pairs of corners (numbered 3 * face + place) that share a vertex, a corner with itself included."""
    vertex = faces.reshape(-1)
    order = np.argsort(vertex, kind="stable")
    counts = np.bincount(vertex)
    counts = counts[counts > 0]
    starts = np.cumsum(counts) - counts
    per_corner = np.repeat(counts, counts)  # of each sorted corner: how many share its vertex
    first = np.repeat(order, per_corner)
    group_start = np.repeat(np.repeat(starts, counts), per_corner)
    within = np.arange(len(first)) - np.repeat(np.cumsum(per_corner) - per_corner, per_corner)
    return first, order[group_start + within]


def refine(surface: Surface, max_edge: float = MAX_EDGE, max_faces: int = MAX_FACES) -> Surface:
    """Cut every triangle in four, again and again, until edges are short; looks and outline stay exactly the same."""
    while 4 * len(surface.corners) <= max_faces and _longest_edge(surface.corners) > max_edge:
        normals = _quarter(surface.normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
        surface = Surface(
            corners=_quarter(surface.corners),
            normals=normals,
            colors=_quarter(surface.colors),
            openness=_quarter(surface.openness[..., None])[..., 0],
        )
    return surface


def _longest_edge(corners: FloatArray) -> float:
    return float(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max())


def _quarter(values: FloatArray) -> FloatArray:
    """(F, 3, A) to (4F, 3, A): three corner triangles and the middle one; a shared edge gets one common midpoint."""
    a, b, c = values[:, 0], values[:, 1], values[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [np.stack(p, axis=1) for p in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate(parts)


def with_ambient_light(
    surfaces: list[Surface], reach: float = OCCLUSION_REACH, rays: int = OCCLUSION_RAYS
) -> list[Surface]:
    """Find how much ambient light reaches every corner, each surface shading itself and the others.

    Needs the extra ``render``. From every corner ``rays`` rays go out, spread evenly over the cosine-weighted
    half-space; a hit nearer than ``reach`` metres darkens, the nearer the more.
    """
    if not surfaces:
        return []
    surfaces = [refine(surface) for surface in surfaces]
    points = np.concatenate([np.concatenate([s.corners, s.normals], axis=-1).reshape(-1, 6) for s in surfaces])
    unique, inverse = np.unique(points.astype(np.float32), axis=0, return_inverse=True)
    openness = _openness(unique.astype(np.float64), surfaces, reach, rays)[inverse.reshape(-1)].reshape(-1, 3)
    starts = np.cumsum([0, *(len(s.corners) for s in surfaces)])
    return [
        replace(surface, openness=openness[start : start + len(surface.corners)])
        for surface, start in zip(surfaces, starts, strict=False)
    ]


def _openness(points: FloatArray, surfaces: list[Surface], reach: float, rays: int) -> FloatArray:
    from hoirecon.views.raycast import ray_scene

    o3d = require("open3d", extra="render")
    scene, normals = ray_scene(surfaces), points[:, 3:]
    tangent = np.cross(normals, np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    axes = np.stack([tangent, np.cross(normals, tangent), normals], axis=1)
    origin = points[:, :3] + _SELF_OFFSET * normals
    blocked = np.zeros(len(points))
    for local in half_space_directions(rays):
        batch = np.concatenate([origin, np.einsum("i,nij->nj", local, axes)], axis=1).astype(np.float32)
        distance = scene.cast_rays(o3d.core.Tensor(batch))["t_hit"].numpy()
        blocked += np.clip(1 - distance / reach, 0, 1)
    openness: FloatArray = 1 - blocked / rays
    return openness


def half_space_directions(count: int) -> FloatArray:
    """(count, 3) unit vectors with z > 0, cosine-weighted, on a golden-angle spiral: even, and the same every time."""
    k = np.arange(count) + 0.5
    radius, angle = np.sqrt(k / count), np.pi * (3 - np.sqrt(5)) * np.arange(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - k / count)], axis=1)
