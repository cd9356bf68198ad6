"""Small pictures of meshes, masks and normals, by a z-buffer of our own: a view takes about a millisecond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.errors import InputError
from hoirecon.ragged import expand, rounds
from hoirecon.retrieval.surfaces import Surface

Float32Array = npt.NDArray[np.float32]

SIZE = 48
"""Side of a picture, pixels."""
MARGIN = 0.1
"""Empty border of a picture on each side, of the longer side of the object's box."""
GALLERY_DISTANCE = 4.0
"""How far the gallery's camera stands from the object, in radii of its bounding sphere."""
DEPTH_STEPS = 1 << 30
"""Steps of the z-buffer's inverse depths, which share a number with the index of a face."""


@dataclass(frozen=True)
class Views:
    """Pictures of one shape."""

    masks: Float32Array
    """(V, S, S) covered part of every pixel, 0..1."""
    normals: Float32Array
    """(V, S, S, 3) mean unit normals in the camera frame (x right, y down, z forward) times the covered part."""


def render(
    surface: Surface, R_cam_obj: FloatArray, distance: FloatArray | float = GALLERY_DISTANCE, size: int = SIZE,
    samples: int = 2,
) -> Views:  # fmt: skip
    """Pictures of a shape whose box fills each of them but for the margin.

    Args:
        surface: the shape.
        R_cam_obj: (V, 3, 3) how it is turned in each view; camera x right, y down, z forward.
        distance: (V,) or one for all: from the camera to the middle of its box, in radii of its bounding sphere; small
            values give strong perspective. At least 1.3.
        size: side of a picture, pixels.
        samples: rays per pixel side; 1 gives masks of 0 and 1.

    Raises:
        InputError: a shape without extent, or a camera within it.
    """
    verts = unit_verts(surface)
    distances = np.broadcast_to(np.asarray(distance, np.float64), (len(R_cam_obj),))
    if len(distances) and distances.min() < 1.3:
        raise InputError(f"distance is {distances.min():g}, expected at least 1.3 radii of the object")
    verts_cam = torch.from_numpy(np.einsum("vij,nj->vni", R_cam_obj, verts).astype(np.float32))
    verts_cam[..., 2] += torch.from_numpy(distances.astype(np.float32))[:, None]
    plane = framed(verts_cam[..., :2] / verts_cam[..., 2:]) * (size * samples)
    corners = torch.cat([plane, 1 / verts_cam[..., 2:]], -1)
    faces = torch.from_numpy(np.ascontiguousarray(surface.faces, dtype=np.int64))
    seen = visible_faces(corners[:, faces], size * samples)
    normals = torch.from_numpy(_face_normals(surface, verts).astype(np.float32)) @ torch.from_numpy(
        R_cam_obj.astype(np.float32)
    ).transpose(1, 2)
    return _pooled(seen, _toward_camera(normals, verts_cam, faces), size, samples)


def unit_verts(surface: Surface) -> FloatArray:
    """Vertices (N, 3) with the middle of the box at the origin and the farthest at distance 1."""
    verts = surface.verts - (surface.verts.max(0) + surface.verts.min(0)) / 2
    radius = float(np.linalg.norm(verts, axis=1).max())
    if not radius > 0:
        raise InputError(f"{surface.name} is a single point: give a mesh with extent")
    unit: FloatArray = verts / radius
    return unit


def framed(plane: Tensor) -> Tensor:
    """Points (V, N, 2) of image planes moved and scaled so that a square with a margin round them is 0..1."""
    low, high = plane.amin(1, keepdim=True), plane.amax(1, keepdim=True)
    side = (high - low).amax(-1, keepdim=True).clamp_min(1e-9) * (1 + 2 * MARGIN)
    return (plane - (low + high) / 2) / side + 0.5


def visible_faces(triangles: Tensor, size: int) -> Tensor:
    """Which face is seen in every pixel: (V, size, size), -1 for none.

    Args:
        triangles: (V, F, 3, 3) corners: x, y in pixels and inverse depth.
        size: side of the pictures.
    """
    views, count = triangles.shape[:2]
    flat = triangles.reshape(-1, 3, 3)
    low = (flat[..., :2].amin(1) - 0.5).ceil().clamp(0, size).long()
    high = (flat[..., :2].amax(1) - 0.5).floor().clamp(-1, size - 1).long()
    width = (high - low + 1).clamp_min(0)
    counts = width.prod(1)
    nearest = torch.full((views * size * size,), -1, dtype=torch.int64)
    for start, stop in rounds(counts):
        entry, place = expand(counts[start:stop])
        entry = entry + start
        column = low[entry, 0] + place % width[entry, 0]
        row = low[entry, 1] + place // width[entry, 0]
        inside, inverse = _inverse_depth(flat[entry], column + 0.5, row + 0.5)
        entry = entry[inside]
        pixel = ((entry // count) * size + row[inside]) * size + column[inside]
        steps = (inverse[inside].double() * DEPTH_STEPS / 4).long().clamp(0, DEPTH_STEPS - 1)
        nearest.scatter_reduce_(0, pixel, steps << 32 | entry % count, "amax")
    return torch.where(nearest < 0, nearest, nearest & 0xFFFFFFFF).reshape(views, size, size)


def _inverse_depth(triangles: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether points lie in their triangles (C, 3, 3), and the inverse depth there, which is linear in the image."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (triangles[:, i].unbind(1) for i in range(3))
    u = (bx - x) * (cy - y) - (by - y) * (cx - x)
    v = (cx - x) * (ay - y) - (cy - y) * (ax - x)
    w = (ax - x) * (by - y) - (ay - y) * (bx - x)
    area = u + v + w
    inside = ((u >= 0) & (v >= 0) & (w >= 0)) | ((u <= 0) & (v <= 0) & (w <= 0))
    return inside & (area.abs() > 1e-12), (u * az + v * bz + w * cz) / area


def _face_normals(surface: Surface, verts: FloatArray) -> FloatArray:
    a, b, c = (verts[surface.faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    unit: FloatArray = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return unit


def _toward_camera(normals: Tensor, verts_cam: Tensor, faces: Tensor) -> Tensor:
    """Normals (V, F, 3) turned to the side that is seen."""
    away = (normals * verts_cam[:, faces[:, 0]]).sum(-1, keepdim=True) > 0
    return torch.where(away, -normals, normals)


def _pooled(seen: Tensor, normals: Tensor, size: int, samples: int) -> Views:
    views = len(seen)
    hit = seen >= 0
    view = torch.arange(views)[:, None, None].expand_as(seen)[hit]
    fine = torch.zeros((*seen.shape, 4))
    fine[hit] = torch.cat([torch.ones(len(view), 1), normals[view, seen[hit]]], 1)
    pooled = fine.reshape(views, size, samples, size, samples, 4).mean((2, 4)).numpy()
    return Views(pooled[..., 0], pooled[..., 1:])


def view_rotation(azimuth: FloatArray, elevation: FloatArray, roll: FloatArray) -> FloatArray:
    """(V, 3, 3) R_cam_obj of cameras that look at an object from azimuth and elevation and are rolled; radians.

    With roll 0 these are the rotations of :class:`~hoirecon.retrieval.view_rendering.ViewSet`.
    """
    level = np.cos(elevation)
    toward = -np.stack([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level], axis=1)
    right = np.stack([np.cos(azimuth), np.zeros_like(azimuth), -np.sin(azimuth)], axis=1)
    upright = np.stack([right, np.cross(toward, right), toward], axis=1)
    turned: FloatArray = rolls(roll) @ upright
    return turned


def rolls(angle: FloatArray) -> FloatArray:
    """(V, 3, 3) turns of the camera's picture about its viewing direction; positive turns it clockwise as seen."""
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    rows = [[np.cos(angle), -np.sin(angle), zero], [np.sin(angle), np.cos(angle), zero], [zero, zero, one]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def mask_square(mask: BoolArray | Float32Array) -> tuple[int, int, int]:
    """Left, top and side of the square round a mask's pixels, with the margin; it may reach beyond the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    side = max(round(max(height, width) * (1 + 2 * MARGIN)), 1)
    left = int(columns[0]) - (side - width) // 2
    return left, int(rows[0]) - (side - height) // 2, side
