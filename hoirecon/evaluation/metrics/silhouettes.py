"""Overlap of two meshes' silhouettes in one camera."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import BoolArray
from hoirecon.camera import Camera
from hoirecon.data.closedworld.rays import Solid
from hoirecon.evaluation.metrics.masks import iou
from hoirecon.mesh import Mesh


def silhouette(mesh: Mesh, camera: Camera) -> BoolArray:
    """(H, W) pixels whose centres a mesh covers, nothing hiding it; exact, by ray casting.

    Args:
        mesh: camera frame, metres.
        camera: of the picture; what lies outside of it is not seen.

    Raises:
        MissingExtraError: open3d is not installed.
    """
    box = _box(mesh, camera)
    covered = np.zeros((camera.height, camera.width), dtype=bool)
    if box is None:
        return covered
    x0, y0, x1, y1 = box
    seen = Solid(mesh).depth(camera.cropped(x0, y0, x1 - x0, y1 - y0), np.eye(3), np.zeros(3))
    covered[y0:y1, x0:x1] = np.isfinite(seen)
    return covered


def silhouette_iou(mesh: Mesh, true_mesh: Mesh, camera: Camera) -> float:
    """IoU of the silhouettes of two meshes in one picture; 1 where neither is in it.

    Args:
        mesh: predicted, camera frame, metres.
        true_mesh: true, same frame.
        camera: of the picture.
    """
    return iou(silhouette(mesh, camera), silhouette(true_mesh, camera))


def _box(mesh: Mesh, camera: Camera) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of the pixels that the mesh may cover; the whole picture if it reaches behind the camera."""
    if mesh.verts[:, 2].max() <= 0:
        return None
    if mesh.verts[:, 2].min() <= 0:
        return 0, 0, camera.width, camera.height
    pixels = camera.project(mesh.verts)
    low = np.clip(np.floor(pixels.min(0)), 0, [camera.width, camera.height]).astype(int)
    high = np.clip(np.ceil(pixels.max(0)), 0, [camera.width, camera.height]).astype(int)
    return None if (high <= low).any() else (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
