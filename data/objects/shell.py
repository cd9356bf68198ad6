"""A closed skin round any triangles or points: holes bridged, overlaps and inner walls gone, sheets given thickness.

On a grid, space is solid where it is near the surface, where nothing from outside can get without crossing the
surface, or where the surface winds around it. The last is the indicator function of Kazhdan, "Reconstruction of Solid
Models from Oriented Point Sets", 2005 (for a closed surface, the winding number): the divergence of the outward
normals, integrated by one Fourier transform, so that holes close as a soap film would close them. Marching cubes turn
the grid into a closed mesh, and its vertices are moved on to the surface where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, label
from scipy.spatial import cKDTree

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.data.objects.facing import Facing, face_outward
from hoirecon.errors import InputError, require
from hoirecon.mesh import Mesh

BARRIER = 0.9
"""Thickness on either side of the surface, in cells: above the half diagonal of a cell nothing leaks through."""
SNAP = 0.15
"""Where vertices end above the surface, in cells; not on it, so that thin things keep two sides."""
REACH = 2.2
"""Vertices farther from the surface than this, in cells, close a hole and stay where they are."""
PAD = 4
"""Free cells round the object."""


@dataclass(frozen=True)
class ShellConfig:
    """How fine the skin is."""

    cells: int = 600_000
    """About so many cells in the box: long things, whose box is small, get finer ones."""
    most_per_side: int = 240
    """At most so many cells along the longest side."""
    least_per_side: int = 64
    """At least so many."""
    seed: int = 0
    """Of the rays that look for the outside, and of points on the surface."""


@dataclass(frozen=True)
class _Grid:
    low: FloatArray
    step: float
    shape: tuple[int, int, int]

    def cells_of(self, points: FloatArray) -> IntArray:
        """(N, 3) nearest node of points."""
        nodes: IntArray = np.rint((points - self.low) / self.step).astype(np.int64)
        return nodes


def shell_of_mesh(mesh: Mesh, config: ShellConfig | None = None) -> Mesh:
    """A watertight skin of a mesh, however broken; the more holes, the more of it is a guess.

    Args:
        mesh: its winding does not count. Vertices at one place should be merged, so that what belongs together is seen.
        config: how fine.

    Raises:
        InputError: no extent at all.
        MissingExtraError: open3d is not installed.
    """
    config = config or ShellConfig()
    grid = _grid_of(mesh.verts, config)
    facing = face_outward(mesh.verts, mesh.faces, config.seed)
    scene = _scene(Mesh(mesh.verts, facing.faces))
    points, normals = _surface_points(mesh.verts, facing, grid.step, config.seed)
    near = _near(grid, points)
    distance = np.full(grid.shape, 10 * grid.step)
    distance[near] = _distance(scene, _positions(grid, near))
    verts, faces = _contour(distance, _winding(grid, points, normals), grid)

    def closest(query: FloatArray) -> FloatArray:
        return _closest(scene, query)

    return Mesh(_snapped(verts, closest, grid.step), faces, name=mesh.name)


def shell_of_points(points: FloatArray, config: ShellConfig | None = None, name: str = "points") -> Mesh:
    """A watertight skin of points that lie on or in an object, such as the centres of Gaussians.

    Without faces there is no side to trust: what nothing can enter from outside is inside, and gaps up to three
    times the usual distance of points are bridged.

    Raises:
        InputError: fewer than 50 points, or no extent.
    """
    config = config or ShellConfig()
    if len(points) < 50:
        raise InputError(f"{name} holds {len(points)} points: at least 50 are needed to tell a shape")
    tree = cKDTree(points)
    some = points[np.random.default_rng(config.seed).permutation(len(points))[:5000]]
    gap = 3 * float(np.quantile(tree.query(some, k=2)[0][:, 1], 0.9))
    grid = _grid_of(points, config, coarsest=gap)
    near = _near(grid, points)
    distance = np.full(grid.shape, 10 * grid.step)
    distance[near] = tree.query(_positions(grid, near))[0]
    verts, faces = _contour(distance, np.zeros(grid.shape), grid)

    def closest(query: FloatArray) -> FloatArray:
        several = np.asarray(tree.query(query, k=4)[1])
        mean: FloatArray = points[several].mean(axis=1)
        return mean

    return Mesh(_snapped(verts, closest, grid.step, level=0.25), faces, name=name)


def _grid_of(verts: FloatArray, config: ShellConfig, coarsest: float = 0.0) -> _Grid:
    low, high = verts.min(0), verts.max(0)
    size = high - low
    longest = float(size.max())
    if not longest > 0:
        raise InputError("the object has no extent: all of its points are one")
    # Flat things would get endless cells: no side counts for less than a tenth of the longest.
    volume = float(np.prod(np.maximum(size, 0.1 * longest)))
    step = (volume / config.cells) ** (1 / 3)
    step = float(np.clip(step, longest / config.most_per_side, longest / config.least_per_side))
    step = max(step, min(coarsest, longest / 24))
    shape = np.ceil(size / step).astype(int) + 1 + 2 * PAD
    center = (low + high) / 2
    return _Grid(center - (shape - 1) / 2 * step, step, (int(shape[0]), int(shape[1]), int(shape[2])))


def _scene(mesh: Mesh) -> Any:
    o3d: Any = require("open3d", extra="render")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.verts.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    return scene


def _distance(scene: Any, points: FloatArray) -> FloatArray:
    o3d: Any = require("open3d", extra="render")
    return np.asarray(scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy(), dtype=np.float64)


def _closest(scene: Any, points: FloatArray) -> FloatArray:
    o3d: Any = require("open3d", extra="render")
    answer = scene.compute_closest_points(o3d.core.Tensor(points.astype(np.float32)))
    return np.asarray(answer["points"].numpy(), dtype=np.float64)


def _surface_points(
    verts: FloatArray, facing: Facing, step: float, seed: int, most: int = 3_000_000
) -> tuple[FloatArray, FloatArray]:
    """Points all over the surface, at least one per half a cell, and the outward area (N, 3) that each stands for."""
    a, b, c = (verts[facing.faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1) / 2
    longest = np.sqrt(np.maximum.reduce([((b - a) ** 2).sum(1), ((c - b) ** 2).sum(1), ((a - c) ** 2).sum(1)]))
    wanted = np.ceil(5 * area / step**2 + 3 * longest / step).astype(np.int64) + 1
    if wanted.sum() > most:
        wanted = np.maximum(wanted * most // wanted.sum(), 1)
    face = np.repeat(np.arange(len(wanted)), wanted)
    u = np.random.default_rng(seed).random((2, len(face)))
    root = np.sqrt(u[0])
    bary = np.stack([1 - root, root * (1 - u[1]), root * u[1]], axis=1)
    points = bary[:, :1] * a[face] + bary[:, 1:2] * b[face] + bary[:, 2:] * c[face]
    share = (facing.solid[:, None] * cross / 2 / wanted[:, None])[face]
    return points, share


def _near(grid: _Grid, points: FloatArray) -> BoolArray:
    """(X, Y, Z) nodes within two and a half cells of the points."""
    i, j, k = np.clip(grid.cells_of(points), 0, np.array(grid.shape) - 1).T
    marked = np.zeros(grid.shape, dtype=bool)
    marked[i, j, k] = True
    wide: BoolArray = binary_dilation(marked, np.ones((3, 3, 3)), iterations=2)
    return wide


def _positions(grid: _Grid, mask: BoolArray) -> FloatArray:
    positions: FloatArray = grid.low + grid.step * np.argwhere(mask)
    return positions


def _winding(grid: _Grid, points: FloatArray, areas: FloatArray) -> FloatArray:
    """(X, Y, Z) how often the outward areas wind round each node, smoothed over a cell."""
    import scipy.fft as fft

    shape = tuple(fft.next_fast_len(n + max(grid.shape) // 3, real=True) for n in grid.shape)
    field = _splat(grid, points, areas)
    frequencies = [2 * np.pi * fft.fftfreq(n) for n in shape[:2]] + [2 * np.pi * fft.rfftfreq(shape[2])]
    kx, ky, kz = np.meshgrid(*frequencies, indexing="ij", sparse=True)
    square = kx**2 + ky**2 + kz**2
    square[0, 0, 0] = 1.0
    total: Any = 0.0
    for axis, k in enumerate((kx, ky, kz)):
        total = total + 1j * k * fft.rfftn(field[axis], shape)
    # grad(chi) = -normals on the surface, so laplace(chi) = -div(normals): in frequencies, -k^2 chi = -i k . n
    spectrum = total / square / grid.step**2
    spectrum[0, 0, 0] = 0.0
    winding = fft.irfftn(spectrum, shape)[tuple(slice(n) for n in grid.shape)]
    corner = np.concatenate([winding[0].ravel(), winding[-1].ravel(), winding[:, 0].ravel(), winding[:, -1].ravel()])
    level: FloatArray = winding - np.median(corner)  # outside is nought; the transform knows it up to a constant
    return level


def _splat(grid: _Grid, points: FloatArray, areas: FloatArray) -> FloatArray:
    """(3, X, Y, Z) areas shared out among the eight nodes round each point."""
    place = (points - grid.low) / grid.step
    first = np.clip(np.floor(place).astype(np.int64), 0, np.array(grid.shape) - 2)
    f = place - first
    size = int(np.prod(grid.shape))
    strides = np.array([grid.shape[1] * grid.shape[2], grid.shape[2], 1])
    flat = first @ strides
    field = np.zeros((3, size))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(np.array(corner) == 1, f, 1 - f), axis=1)
        node = flat + np.array(corner) @ strides
        for axis in range(3):
            field[axis] += np.bincount(node, weight * areas[:, axis], minlength=size)
    return field.reshape(3, *grid.shape)


def _contour(distance: FloatArray, winding: FloatArray, grid: _Grid) -> tuple[FloatArray, IntArray]:
    """Vertices and outward faces of the skin."""
    from skimage.measure import marching_cubes

    skin = distance / grid.step - BARRIER
    free, _ = label(skin >= 0)
    outside = free == free[0, 0, 0]
    field = np.minimum(skin, 3.0 * (0.5 - winding))
    field[~outside & (skin >= 0)] = -1.0
    field = _without_crumbs(np.pad(field[1:-1, 1:-1, 1:-1], 1, constant_values=3.0))
    # Exact zeros at nodes make faces without area.
    field[np.abs(field) < 1e-3] = 1e-3
    verts, faces, _, _ = marching_cubes(field.astype(np.float32), 0.0, spacing=(grid.step,) * 3)
    placed: FloatArray = verts.astype(np.float64) + grid.low
    return placed, faces.astype(np.int64)


def _without_crumbs(field: FloatArray) -> FloatArray:
    """Pockets of air inside the solid are filled: nobody sees or touches them."""
    air, _ = label(field >= 0)
    field[(air > 0) & (air != air[0, 0, 0])] = -1.0
    return field


def _snapped(verts: FloatArray, closest: Any, step: float, level: float = SNAP) -> FloatArray:
    """Vertices moved to just above the nearest point of the surface; those over holes stay."""
    nearest = closest(verts)
    away = verts - nearest
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    wanted = nearest + away / np.where(distance > 0, distance, 1.0) * np.minimum(level * step, distance)
    moved: FloatArray = np.where(distance < REACH * step, wanted, verts)
    return moved
