"""What is rendered, from where, and what comes out: the types between views, renderers and lifting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray, FloatArray, IntArray
from hoirecon.errors import InputError

Floats32 = npt.NDArray[np.float32]
Ints32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class View:
    """One camera round the thing: angles in degrees, distance in the thing's own units."""

    name: str
    distance: float
    elevation: float
    azimuth: float
    x_shift: float = 0.0
    y_shift: float = 0.0

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """Distance, elevation, azimuth, shift to x, shift to y: FeatLift's camera vector before scaling."""
        return (self.distance, self.elevation, self.azimuth, self.x_shift, self.y_shift)


@dataclass(frozen=True)
class ViewTable:
    """The views of one kind of thing, in the order in which the network knows them."""

    name: str
    views: tuple[View, ...]
    size: int = 1024
    """Side of each square picture, pixels."""
    render_distance: float | None = None
    """Distance at which pictures are drawn if it is not the one that FeatLift is told (the released models' objects
    are drawn at 1.5 and told as 2.0); None draws at the views' own."""
    conditioned: bool = True
    """Whether FeatLift is told the cameras at all."""
    folder: str = ""
    """Folder of the released data that holds its precomputed files."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(view.name for view in self.views)


@dataclass(frozen=True)
class Surface:
    """What a renderer draws: triangles, or points if ``faces`` is None."""

    verts: FloatArray
    """(N, 3)."""
    faces: IntArray | None
    """(F, 3) vertex indices; both sides are drawn."""
    colors: FloatArray
    """(N, 3) RGB in [0, 1]."""
    normals: FloatArray | None = None
    """(N, 3) unit vectors for shading; None draws unlit."""


@dataclass(frozen=True)
class PixelMaps:
    """For every pixel of every view the three vertices of the triangle seen there, and its barycentric weights."""

    verts: Ints32
    """(V, H, W, 3) vertex ids; -1 where nothing is seen."""
    bary: Floats32
    """(V, H, W, 3) weights; -1 where nothing is seen."""
    num_verts: int
    """Vertices of the mesh, those never seen included."""
    names: tuple[str, ...]
    """Names of the views."""

    def __post_init__(self) -> None:
        if self.verts.ndim != 4 or self.verts.shape[-1] != 3 or self.verts.shape != self.bary.shape:
            raise InputError(f"pixel maps are (views, rows, columns, 3), got {self.verts.shape} and {self.bary.shape}")
        if len(self.names) != len(self.verts):
            raise InputError(f"{len(self.verts)} pixel maps, but {len(self.names)} names of views")

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """(V, H, W) where the mesh is seen."""
        return np.asarray((self.verts >= 0).all(axis=-1))


@dataclass(frozen=True)
class PointMaps:
    """For every pixel of every view the point seen there."""

    points: Ints32
    """(V, H, W) point ids; -1 where nothing is seen."""
    num_points: int
    """Points of the cloud."""
    names: tuple[str, ...]
    """Names of the views."""

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """(V, H, W) where a point is seen."""
        return np.asarray(self.points >= 0)


Maps = PixelMaps | PointMaps
"""Which vertices or points each pixel shows."""


@dataclass(frozen=True)
class RenderedViews:
    """Pictures of one thing from every view of a table, and what each pixel shows."""

    images: ByteArray
    """(V, H, W, 3) RGB."""
    maps: Maps


Lights = tuple[tuple[float, float, float], ...]
"""Where the light stands in each view, in the surface's frame."""


class Renderer(Protocol):
    """Draws a surface from every view of a table."""

    @property
    def name(self) -> str:
        """Short name, part of a cache's key."""
        ...

    def render(
        self, surface: Surface, table: ViewTable, lights: tuple[tuple[float, float, float], ...]
    ) -> RenderedViews:
        """Draw.

        Args:
            surface: in the frame that the views turn round.
            table: the views; drawn at ``render_distance`` if it is given.
            lights: place of the light in each view, in the surface's frame.
        """
        ...
