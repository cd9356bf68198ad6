"""Which way is up, and which is the front: guesses for meshes whose file does not keep to y up.

With a category that the library knows, the mesh is laid over the library's meshes of it in all 24 ways of turning by
right angles; otherwise its geometry decides (what stands, stands broadly and low), with the file's own axes as a prior.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial import ConvexHull, QhullError, cKDTree

from hoirecon.arrays import FloatArray
from hoirecon.data.objects.library import list_objects, load_object
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

POINTS = 600
"""Points of a surface that are compared."""
FEATURE_WEIGHTS = (0.77, -0.77, 0.42, 0.78, 1.34, 0.41, -0.08, 0.47)
"""Of `upright_features`, in log-odds: fitted by `tools/usable_bench.py up --fit` to every third mesh of the library."""


@dataclass(frozen=True)
class OrientationConfig:
    """How a mesh is turned into the library's frame."""

    axes: str = "guess"
    """"guess", or what the file is known to have: "+y" (glTF), "+z" (many OBJ, STL) and so on; the front is then only
    guessed with a category."""
    file_up: float = 0.9
    """Chance that the file's y axis is up; geometry alone is a weak witness and seldom outvotes it. 1/6: no idea."""
    prior: float = 0.005
    """How much nearer, in diagonals, the library's meshes must be in another turn than as the file has it."""
    siblings: int = 4
    """At most so many meshes of the category are compared."""

    def __post_init__(self) -> None:
        if self.axes not in ("guess", "keep", *(sign + axis for sign in "+-" for axis in "xyz")):
            raise InputError(f"axes is {self.axes!r}, expected 'guess', 'keep', or an up axis such as '+z'")
        if not 0 < self.file_up < 1:
            raise InputError(f"file_up is {self.file_up}, expected a chance between 0 and 1")


@dataclass(frozen=True)
class Orientation:
    """How a mesh has to be turned."""

    R_obj_source: FloatArray
    """(3, 3) from the mesh's own axes to y up, z front."""
    evidence: str
    """"kept", "given", "category" (laid over the library's meshes) or "geometry"."""
    margin: float
    """How clearly the best beat the best with another up axis: 0 is a toss-up."""


def guess_orientation(
    mesh: Mesh,
    category: str | None = None,
    config: OrientationConfig | None = None,
    leave_out: Sequence[str] = (),
) -> Orientation:
    """Find up and front.

    Args:
        mesh: any size, at any place, in axes that are those of the library up to right angles.
        category: canonical name of a category of the library, if it is one.
        config: what is known of the axes.
        leave_out: ids of library meshes that are not compared (for measuring).
    """
    config = config or OrientationConfig()
    if config.axes == "keep":
        return Orientation(np.eye(3), "kept", 0.0)
    turns = right_angle_turns()
    if config.axes != "guess":
        up = "xyz".index(config.axes[1])
        turns = turns[turns[:, 1, up] == (1.0 if config.axes[0] == "+" else -1.0)]
        turns = turns[np.argsort(-np.trace(turns, axis1=1, axis2=2), kind="stable")]
    others = _siblings(category, config.siblings, tuple(leave_out))
    if others:
        cost, evidence = _distances(mesh, turns, others), "category"
        cost = cost + config.prior * (np.arange(len(turns)) > 0)
    elif config.axes != "guess":
        return Orientation(turns[0], "given", 0.0)
    else:
        cost, evidence = _upright_cost(mesh, turns, config.file_up), "geometry"
    best = int(cost.argmin())
    rivals = (turns[:, 1] != turns[best, 1]).any(axis=1)
    margin = float(cost[rivals].min() - cost[best]) if rivals.any() else 0.0
    return Orientation(turns[best], evidence, margin)


@cache
def right_angle_turns() -> FloatArray:
    """(24, 3, 3) all rotations that take axes to axes, the identity first."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            R = np.zeros((3, 3))
            R[range(3), order] = signs
            if np.linalg.det(R) > 0:
                found.append(R)
    found.sort(key=lambda R: -float(np.trace(R)))
    turns = np.stack(found)
    turns.setflags(write=False)
    return turns


def _siblings(category: str | None, most: int, leave_out: tuple[str, ...]) -> list[FloatArray]:
    if category is None:
        return []
    ids = [entry.id for entry in list_objects(category) if entry.id not in leave_out]
    return [_library_points(one) for one in ids[:most]]


@cache
def _library_points(object_id: str) -> FloatArray:
    points = unit_points(load_object(object_id).mesh)
    points.setflags(write=False)  # shared between calls
    return points


def unit_points(mesh: Mesh) -> FloatArray:
    """(N, 3) points on the surface, the bounding box centred, its diagonal 1."""
    import trimesh

    points = trimesh.sample.sample_surface(mesh.to_trimesh(), POINTS, seed=0)[0]
    center = (mesh.verts.max(0) + mesh.verts.min(0)) / 2
    unit: FloatArray = (np.asarray(points, dtype=np.float64) - center) / mesh.diagonal
    return unit


def _distances(mesh: Mesh, turns: FloatArray, others: list[FloatArray]) -> FloatArray:
    """(N,) mean distance of the turned mesh to the nearest of its kind, both ways, in diagonals."""
    mine = unit_points(mesh)
    best = np.full(len(turns), np.inf)
    own_tree = cKDTree(mine)
    for other in others:
        tree = cKDTree(other)
        for i, R in enumerate(turns):
            there = tree.query(mine @ R.T)[0].mean()
            back = own_tree.query(other @ R)[0].mean()
            best[i] = min(best[i], there + back)
    return best


def _upright_cost(mesh: Mesh, turns: FloatArray, file_up: float) -> FloatArray:
    """(N,) minus log-odds by up axis; among turns with one up axis the least turn is taken."""
    ups = np.unique(turns[:, 1], axis=0)
    speaks_for = upright_features(mesh, ups) @ np.array(FEATURE_WEIGHTS)
    by_up = {tuple(up): -float(value) for up, value in zip(ups, speaks_for, strict=True)}
    is_file = turns[:, 1, 1] == 1
    prior = -np.log(np.where(is_file, file_up, (1 - file_up) / 5))
    twist = 1e-4 * np.arange(len(turns))  # turns are sorted by how little they turn
    cost: FloatArray = np.array([by_up[tuple(up)] for up in turns[:, 1]]) + prior + twist
    return cost


def upright_features(mesh: Mesh, ups: FloatArray) -> FloatArray:
    """(6, 8) what speaks for each of six up axes: of each axis alone, and beside the opposite one.

    Of each: how much of the footprint's hull touches the ground, how low the middle of the surface is, how much of the
    surface lies flat on the ground, whether the middle stands above its support, and mirror symmetry with a vertical
    plane. Beside the opposite: the first, third and fourth.
    """
    alone = np.stack([_one_axis(mesh, up) for up in ups])
    opposite = [int(np.nonzero((ups == -up).all(axis=1))[0][0]) for up in ups]
    both: FloatArray = np.concatenate([alone, alone[:, [0, 2, 3]] - alone[opposite][:, [0, 2, 3]]], axis=1)
    return both


def _one_axis(mesh: Mesh, up: FloatArray) -> FloatArray:
    """(5,) the features of one axis, about 0..1 each."""
    points = unit_points(mesh)
    normals = mesh.face_normals
    height = points @ up
    low, high = float(height.min()), float(height.max())
    tall = max(high - low, 1e-6)
    flat = points - np.outer(height, up)
    across = [flat @ e for e in np.eye(3)[np.abs(up) < 0.5]]
    plan = np.stack(across, axis=1)
    at_ground = plan[height < low + max(0.03 * tall, 0.01)]
    center = plan.mean(0)
    footprint, support = _hull(plan), _hull(at_ground)
    area = _area(footprint)
    ratio = _area(support) / area if area > 1e-9 else 0.0
    lowness = 1 - (float(height.mean()) - low) / tall
    corners = mesh.verts[mesh.faces]
    face_height = corners.mean(1) @ up
    area_of = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    verts_height = mesh.verts @ up
    bottom = face_height < verts_height.min() + 0.02 * np.ptp(verts_height)
    down = float((area_of * bottom * (normals @ up < -0.95)).sum() / max(area_of.sum(), 1e-12))
    stands = _inside(support, center)
    mirror = max(_mirror(points, axis) for axis in np.eye(3)[np.abs(up) < 0.5])
    return np.array([ratio, lowness, min(4 * down, 1.0), stands, mirror])


def _hull(points: FloatArray) -> FloatArray:
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):
        return points[:0]
    corners: FloatArray = points[hull.vertices]
    return corners


def _area(polygon: FloatArray) -> float:
    if len(polygon) < 3:
        return 0.0
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _inside(polygon: FloatArray, point: FloatArray) -> float:
    """1 if the point lies in the convex polygon (counter-clockwise), else 0."""
    if len(polygon) < 3:
        return 0.0
    edges = np.roll(polygon, -1, axis=0) - polygon
    to = point - polygon
    return float((edges[:, 0] * to[:, 1] - edges[:, 1] * to[:, 0] >= 0).all())


def _mirror(points: FloatArray, axis: FloatArray) -> float:
    """1 for a mesh that is its own mirror image across a plane, falling to 0."""
    mirrored = points - 2 * np.outer(points @ axis, axis)
    distance = cKDTree(points).query(mirrored)[0].mean()
    return float(np.clip(1 - (distance - 0.02) / 0.05, 0.0, 1.0))
