"""Ray casting and exact signed distances of one closed mesh (open3d, one thread, float32)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.camera import Camera
from hoirecon.errors import require
from hoirecon.mesh import Mesh

_DIRECTIONS = np.array([[0.531, 0.617, 0.581], [-0.743, 0.311, 0.593], [0.211, -0.853, -0.477]])
"""Of the rays that tell inside from outside: along no axis or plane that meshes like."""


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed mesh that answers where rays hit it and how far points are from its surface."""

    mesh: Mesh

    @cached_property
    def _scene(self) -> Any:
        o3d = require("open3d", extra="render")
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(_tensor(self.mesh.verts), o3d.core.Tensor(self.mesh.faces.astype(np.uint32)))
        return scene

    def signed_distance(self, points: FloatArray) -> FloatArray:
        """(N,) distance of points (N, 3) to the surface, metres, negative inside."""
        if len(points) == 0:
            return np.zeros(0)
        distance = self._scene.compute_distance(_tensor(points), nthreads=1).numpy().astype(np.float64)
        return np.asarray(np.where(self.inside(points), -distance, distance))

    def inside(self, points: FloatArray) -> BoolArray:
        """(N,) whether points lie inside, by the majority of three rays (one alone may graze an edge)."""
        box = ((points > self.mesh.verts.min(0)) & (points < self.mesh.verts.max(0))).all(1)
        found = np.zeros(len(points), dtype=bool)
        if box.any():
            at = np.repeat(points[box][None], len(_DIRECTIONS), axis=0)
            rays = np.concatenate([at, np.broadcast_to(_DIRECTIONS[:, None], at.shape)], axis=-1)
            odd = self._scene.count_intersections(_tensor(rays), nthreads=1).numpy() % 2 == 1
            found[box] = odd.sum(0) * 2 > len(_DIRECTIONS)
        return found

    def closest(self, points: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
        """Nearest surface points (N, 3), their faces (N,) and barycentric weights (N, 3)."""
        found = self._scene.compute_closest_points(_tensor(points), nthreads=1)
        uv = found["primitive_uvs"].numpy().astype(np.float64)
        bary = np.concatenate([1 - uv.sum(1, keepdims=True), uv], axis=1)
        faces = found["primitive_ids"].numpy().astype(np.int64)
        return found["points"].numpy().astype(np.float64), faces, bary

    def hit(self, origin: FloatArray, direction: FloatArray) -> FloatArray | None:
        """First point of the surface on one ray, or None."""
        ray = np.concatenate([origin, direction])[None]
        t = float(self._scene.cast_rays(_tensor(ray), nthreads=1)["t_hit"].numpy()[0])
        return origin + t * direction if np.isfinite(t) else None

    def depth(self, camera: Camera, R_cam_here: FloatArray, t_cam_here: FloatArray) -> FloatArray:
        """(H, W) depth along the camera's z axis, metres; infinite where the ray of a pixel's centre meets nothing.

        Args:
            camera: intrinsics.
            R_cam_here: (3, 3) from the mesh's frame to the camera's.
            t_cam_here: (3,) metres.
        """
        rows, cols = np.mgrid[: camera.height, : camera.width] + 0.5
        along = camera.unproject(np.stack([cols, rows], -1), np.ones(rows.shape)) @ R_cam_here
        origin = np.broadcast_to(-R_cam_here.T @ t_cam_here, along.shape)
        rays = _tensor(np.concatenate([origin, along], -1))
        return np.asarray(self._scene.cast_rays(rays, nthreads=1)["t_hit"].numpy(), dtype=np.float64)


def _tensor(values: FloatArray) -> Any:
    o3d = require("open3d", extra="render")
    return o3d.core.Tensor(np.ascontiguousarray(values, dtype=np.float32))
