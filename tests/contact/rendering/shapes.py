"""Shapes that the rendering tests share, and how two drawings are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

from hoirecon.contact.rendering.cameras import view_cameras
from hoirecon.contact.rendering.surfaces import position_colors, vertex_normals
from hoirecon.contact.rendering.types import PixelMaps, RenderedViews, Surface, ViewTable

EDGE = 1e-3
"""A weight smaller than this: the pixel's centre lies on an edge."""
TIE = 1e-5
"""Depths nearer than this to each other are equal."""


def surface_of(verts: Any, faces: Any) -> Surface:
    """A lit surface coloured by position, where it is."""
    verts, faces = np.array(verts, np.float64), np.array(faces, np.int64)
    return Surface(verts, faces, position_colors(verts), vertex_normals(verts, faces))


def bodylike() -> Surface:
    """A trunk, a head, two arms and two legs that run into each other."""
    limbs = [((0, 0.1, 0), (0.18, 0.35, 0.1)), ((0, 0.6, 0), (0.1, 0.14, 0.1)), ((0.45, 0.35, 0), (0.4, 0.05, 0.05)),
             ((-0.45, 0.35, 0), (0.4, 0.05, 0.05)), ((0.2, -0.6, 0), (0.07, 0.45, 0.07)),
             ((-0.2, -0.6, 0), (0.07, 0.45, 0.07))]  # fmt: skip
    ball = trimesh.creation.icosphere(2)
    verts = [ball.vertices * size + place for place, size in limbs]
    faces = [ball.faces + k * len(ball.vertices) for k in range(len(limbs))]
    return surface_of(np.concatenate(verts), np.concatenate(faces))


def soup(faces: int, reach: float, seed: int = 0) -> Surface:
    """Random triangles that share random vertices: non-manifold, and through each other; far ones cross the camera."""
    rng = np.random.default_rng(seed)
    return surface_of(rng.uniform(-reach, reach, (faces, 3)), rng.integers(0, faces, (faces, 3)))


def interpenetrating() -> Surface:
    """A box and a ball through its sides."""
    box, ball = trimesh.creation.box((0.7, 0.7, 0.7)), trimesh.creation.icosphere(2)
    verts = np.concatenate([box.vertices, ball.vertices * 0.45])
    return surface_of(verts, np.concatenate([box.faces, ball.faces + len(box.vertices)]))


def tiny() -> Surface:
    """Triangles far smaller than a pixel."""
    ball = trimesh.creation.icosphere(3)
    return surface_of(ball.vertices * 0.04, ball.faces)


def box() -> Surface:
    """A cube whose edges run exactly through centres of pixels in some views."""
    cube = trimesh.creation.box((1, 1, 1))
    return surface_of(cube.vertices, cube.faces)


SHAPES = {
    "bodylike": bodylike(),
    "soup": soup(300, 0.5),
    "crossing the camera": soup(60, 1.3),
    "interpenetrating": interpenetrating(),
    "tiny": tiny(),
    "box": box(),
}


def depths(maps: PixelMaps, surface: Surface, table: ViewTable) -> Any:
    """(V, H, W) depth of what each pixel shows; infinite where nothing is."""
    import torch

    verts = torch.from_numpy(surface.verts).float()
    z = np.stack([camera.to_camera(verts)[:, 2].numpy() for camera in view_cameras(table)])
    seen = np.stack([z[v][maps.verts[v]] for v in range(len(z))])
    return np.where(maps.foreground, (seen * maps.bary).sum(-1), np.inf)


def uncertain(a: PixelMaps, b: PixelMaps, surface: Surface, table: ViewTable) -> Any:
    """(V, H, W) edge pixels: the centre lies on an edge of what either shows, or both show the same depth."""
    edge = [m.foreground & (m.bary.min(-1) < EDGE) for m in (a, b)]
    with np.errstate(invalid="ignore"):
        tie = np.abs(depths(a, surface, table) - depths(b, surface, table)) < TIE
    return edge[0] | edge[1] | tie


def assert_same_views(ours: RenderedViews, theirs: RenderedViews, surface: Surface, table: ViewTable) -> None:
    """Within one grey level on 99.9 % of pixels; the same triangles but on edges, and nearly there too."""
    assert isinstance(ours.maps, PixelMaps)
    assert isinstance(theirs.maps, PixelMaps)
    grey = np.abs(ours.images.astype(int) - theirs.images.astype(int)).max(-1)
    assert (grey <= 1).mean() >= 0.999
    differ = (ours.maps.verts != theirs.maps.verts).any(-1)
    assert not (differ & ~uncertain(ours.maps, theirs.maps, surface, table)).any()
    assert differ.sum() <= 0.001 * max(ours.maps.foreground.sum(), 1000)
    np.testing.assert_allclose(ours.maps.bary[~differ], theirs.maps.bary[~differ], atol=1e-4)
    assert ours.maps.foreground.any()
