"""Whatever a user has of a body or object, made ready for the renderer: placed, sized, coloured as the models expect.

Vertices stay in order and all stay there, the unreferenced ones too: a contact map has one number for each.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, IntArray, as_floats
from hoirecon.contact.rendering.mesh_files import MAX_FACES as MAX_FACES
from hoirecon.contact.rendering.mesh_files import checked, scene_parts
from hoirecon.contact.rendering.mesh_files import read_thing as read_thing
from hoirecon.contact.rendering.types import Surface, ViewTable
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

COLOR_LOW, COLOR_HIGH = 0.1, 0.9
"""Colours of the least and the greatest coordinate of an object."""
MEASURABLE = (1e-30, 1e30)
"""Sizes between which areas neither vanish nor overflow."""


def object_surface(thing: Any) -> Surface:
    """An object as the released models know it: of unit size round the origin, coloured by position.

    A mesh is moved so that the mean of its vertices is the origin and divided by the longest side of its box; a cloud
    is moved likewise and divided so that it fits the unit sphere. The axes are left as they are: y up, z to the front.

    Args:
        thing: a :class:`~hoirecon.mesh.Mesh`, anything with a ``mesh`` (``LibraryObject``, ``ContactObject``), a
            trimesh mesh, scene or point cloud, (N, 3) points, (vertices, faces), or a file.

    Returns:
        The surface; ``faces`` is None for points.

    Raises:
        InputError: NaN or infinite coordinates, no extent, more than 5 000 000 faces, an unreadable file, or
            something else altogether.
    """
    shape = _thing(thing)
    if isinstance(shape, Mesh):
        verts = _normalized(shape.verts, float(shape.extents.max()), shape.name)
        return Surface(verts, shape.faces, position_colors(verts), vertex_normals(verts, shape.faces))
    centred = shape - shape.mean(axis=0)
    verts = _normalized(shape, float(np.linalg.norm(centred, axis=1).max()), "the point cloud")
    return Surface(verts, None, position_colors(verts))


def body_surface(verts: FloatArray, faces: IntArray) -> Surface:
    """A body as the released models know it: where it is, in metres, coloured by its normals.

    Args:
        verts: (N, 3) in the body's rest frame (y up, z to the front), in the pose to be drawn.
        faces: (F, 3).

    Raises:
        InputError: NaN, faces that name vertices that are not there, or no extent.
    """
    body = checked(as_floats(verts, ("N", 3), "verts of the body"), faces, "the body")
    if not isinstance(body, Mesh):
        raise InputError("the body has no faces: give those of its model, e.g. body_model.faces")
    if not MEASURABLE[0] < body.extents.max() < MEASURABLE[1]:
        raise InputError("the vertices of the body are all at one place, or too far off: pose it first, in metres")
    normals = vertex_normals(body.verts, body.faces)
    return Surface(body.verts, body.faces, (normals + 1) / 2, normals)


def position_colors(verts: FloatArray) -> FloatArray:
    """(N, 3) RGB in [0.1, 0.9] by the place along each axis; one half along an axis without extent."""
    low, size = verts.min(axis=0), np.ptp(verts, axis=0)
    share = np.where(size > 0, (verts - low) / np.where(size > 0, size, 1.0), 0.5)
    return np.asarray(COLOR_LOW + (COLOR_HIGH - COLOR_LOW) * share)


def vertex_normals(verts: FloatArray, faces: IntArray) -> FloatArray:
    """(N, 3) unit normals, faces weighted by area; zero where there is none (unused vertices, faces that cancel)."""
    a, b, c = (verts[faces[:, k]] for k in range(3))
    weighted = np.cross(b - a, c - a)
    corners = faces.T.ravel()
    sums = [np.bincount(corners, np.tile(weighted[:, k], 3), minlength=len(verts)) for k in range(3)]
    normals = np.stack(sums, axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.where(length > 0, length, 1.0))


def topology(surface: Surface) -> str:
    """Name that a contact map on this surface carries: that of ``Mesh.topology``, or one of the cloud's points."""
    if surface.faces is not None:
        return Mesh(surface.verts, surface.faces).topology
    digest = hashlib.sha256(np.ascontiguousarray(surface.verts, "<f8").tobytes()).hexdigest()[:12]
    return f"points-{len(surface.verts)}p-{digest}"


def content_hash(surface: Surface, table: ViewTable) -> str:
    """Name of what the views of a table show of a surface (sha256, hex), for a cache; lights and renderer apart."""
    digest = hashlib.sha256()
    for array, kind in (
        (surface.verts, "<f8"), (surface.faces, "<i8"), (surface.colors, "<f8"), (surface.normals, "<f8"),
    ):  # fmt: skip
        digest.update(b"-" if array is None else repr(array.shape).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array, kind).data)
    digest.update(repr(table).encode())
    return digest.hexdigest()


def _normalized(verts: FloatArray, size: float, name: str) -> FloatArray:
    if not MEASURABLE[0] < size < MEASURABLE[1]:
        raise InputError(f"{name} is {size:.3g} in size: its vertices are all at one place, or too far off to measure")
    return np.asarray((verts - verts.mean(axis=0)) / size)


def _thing(thing: Any) -> Mesh | FloatArray:
    """A mesh or (N, 3) points, checked."""
    if isinstance(thing, (str, Path)):
        return read_thing(thing)
    inner = getattr(thing, "mesh", None)
    if isinstance(inner, Mesh):
        thing = inner
    if isinstance(thing, Mesh):
        return checked(thing.verts, thing.faces, thing.name)
    if hasattr(thing, "graph") and hasattr(thing, "geometry"):
        return checked(*scene_parts(thing), "the scene")
    if hasattr(thing, "vertices"):
        return checked(thing.vertices, getattr(thing, "faces", None), "the mesh")
    if isinstance(thing, tuple) and len(thing) == 2:
        return checked(thing[0], thing[1], "the mesh")
    return checked(_points(thing), None, "the point cloud")


def _points(thing: Any) -> FloatArray:
    if hasattr(thing, "detach"):  # a torch tensor, without importing torch
        thing = thing.detach().cpu().numpy()
    try:
        if thing is None:
            raise TypeError("nothing was given")
        return np.asarray(thing, np.float64)
    except (TypeError, ValueError) as err:
        raise InputError(
            f"{type(thing).__name__} is not a shape: give a mesh, a trimesh object, (N, 3) points, or a file"
        ) from err
