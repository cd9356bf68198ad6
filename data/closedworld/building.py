"""One try at a scene: a person and an object brought into contact, and a judgement of whether that is a truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.body.skeleton import joint_index
from hoirecon.data.closedworld.posing import Distance, Figure, Reach, body_model, hand_verts
from hoirecon.data.closedworld.rays import Solid
from hoirecon.data.closedworld.recipes import Grip, Recipe, Spot
from hoirecon.data.objects import LibraryObject, load_object
from hoirecon.mesh import Mesh

DEEPEST_M = 0.012
"""A scene in which body and object share more depth than this is no truth and is drawn again, metres."""
TOUCH_M = 0.008
"""Each part that is said to touch must come this near, metres."""
APART_M = 0.05
"""Scenes without contact keep at least this distance, metres."""
FOREARM_M = 0.03
"""Radius of a forearm that must not run through head or trunk, metres."""
CORE_M = {
    ("head", 0.09): 0.09,
    ("neck", 0.04): 0.06,
    ("spine1", -0.02): 0.08,
    ("spine2", 0.0): 0.09,
    ("spine3", 0.0): 0.09,
}
"""Balls inside head and trunk: (joint, height above it) -> radius, metres."""
SINK_M = 0.002
"""How far a palm may sink in when it is laid on, metres."""
SIZE_SPREAD = 0.05
"""Log-spread of the objects' true sizes about the library's."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A person and an object, body frame."""

    recipe: Recipe
    figure: Figure
    thing: LibraryObject
    mesh: Mesh
    """Object at its true size, object frame."""
    R: FloatArray
    """(3, 3) from the object's frame to the body's."""
    t: FloatArray
    """(3,) metres."""

    def distance(self, points: FloatArray) -> FloatArray:
        """(N,) signed distances of body-frame points to the object."""
        return solid_of(self.mesh).signed_distance((points - self.t) @ self.R)


@dataclass(frozen=True)
class Verdict:
    """What a try looks like from outside."""

    deepest_m: float
    """Deepest point of either in the other."""
    farthest_touch_m: float
    """Largest distance of a part that should touch."""
    nearest_m: float
    """Distance of body and object."""
    expects_contact: bool
    arms_clear: bool
    """Whether no forearm runs through head or trunk."""

    @property
    def holds(self) -> bool:
        """Whether it can serve as truth."""
        if not self.expects_contact:
            return self.nearest_m > APART_M
        return self.arms_clear and self.deepest_m < DEEPEST_M and self.farthest_touch_m < TOUCH_M


def solid_of(mesh: Mesh) -> Solid:
    """The ray scene of a mesh, kept while the mesh lives."""
    found: Solid | None = mesh.__dict__.get("_closedworld_solid")
    if found is None:
        found = Solid(mesh)
        mesh.__dict__["_closedworld_solid"] = found
    return found


def attempt(recipe: Recipe, rng: np.random.Generator) -> Placed:
    """Draw a person, an object and a pose, and solve the contact."""
    recipe = recipe.mirrored() if rng.random() < 0.5 else recipe
    figure = Figure.drawn(recipe.base, rng)
    if recipe.lifts:
        figure.rotvecs[13] += (0, 0, 0.3)
        figure.rotvecs[14] += (0, 0, -0.3)
    thing = load_object(str(rng.choice(recipe.objects)))
    mesh = Mesh(thing.mesh.verts * np.exp(SIZE_SPREAD * rng.standard_normal()), thing.mesh.faces, thing.id)
    R = _rotation(recipe, rng)
    t = (
        anchor_point(figure, recipe)
        + rng.standard_normal(3) * 0.01 * np.array(recipe.free)
        - R @ _spot(mesh, thing, recipe.pin)
    )
    for side, (point, facing) in recipe.rest.items():
        figure.reach(side, Reach(np.array(point), np.array(facing)))
    return _solved(Placed(recipe, figure, thing, mesh, R, t))


def _rotation(recipe: Recipe, rng: np.random.Generator) -> FloatArray:
    jitter = Rotation.from_euler("xyz", rng.standard_normal(3) * recipe.tilt, degrees=True)
    R: FloatArray = (jitter * Rotation.from_euler("xyz", recipe.euler, degrees=True)).as_matrix()
    return R


def _solved(placed: Placed) -> Placed:
    """Hands to the object, object to the hands, hands again, fingers, a last small shift."""
    recipe, figure = placed.recipe, placed.figure
    for side in recipe.hands:
        figure.reach(side, _goal(placed, side))
    placed = _settled(placed)
    for side in recipe.hands:
        _lay_hand(placed, side)
        figure.close_hand(side, placed.distance, recipe.loose)
    return _settled(placed) if recipe.touching else placed


def _lay_hand(placed: Placed, side: str) -> None:
    """Reach again, and draw the palm back along its normal as far as it sank in (palms are not flat)."""
    figure, goal, back = placed.figure, _goal(placed, side), 0.0
    palm = body_model().parts.verts_of(f"{side}_palm")
    for _ in range(3):
        figure.reach(side, Reach(goal.point - back * goal.facing, goal.facing, goal.across), again=True)
        sunk = -float(placed.distance(figure.verts[palm]).min()) - SINK_M
        if sunk < 0.002:
            break
        back += sunk


def _goal(placed: Placed, side: str) -> Reach:
    grip = placed.recipe.hands[side]
    point = _grip_point(placed.mesh, placed.thing, grip)
    across = None if grip.across is None else placed.R @ _unit(grip.across)
    return Reach(placed.R @ point + placed.t, placed.R @ _unit(grip.facing), across)


def _unit(v: tuple[float, float, float]) -> FloatArray:
    unit: FloatArray = np.asarray(v, dtype=np.float64) / np.linalg.norm(v)
    return unit


def _part_mesh(mesh: Mesh, thing: LibraryObject, part: str) -> Mesh:
    if not part or part not in thing.part_names:
        return mesh
    faces = mesh.faces[thing.face_parts == thing.part_names.index(part)]
    return Mesh(mesh.verts, faces, part)


def _spot(mesh: Mesh, thing: LibraryObject, spot: Spot) -> FloatArray:
    """(3,) place in the object frame, metres."""
    part = _part_mesh(mesh, thing, spot.part)
    corners = part.verts[np.unique(part.faces)]
    low, high = corners.min(0), corners.max(0)
    return np.asarray((low + high) / 2 + np.array(spot.at) * (high - low) / 2)


def _grip_point(mesh: Mesh, thing: LibraryObject, grip: Grip) -> FloatArray:
    """Where the palm's skin comes: first surface of the part on the way through the spot, else the nearest."""
    solid = Solid(_part_mesh(mesh, thing, grip.spot.part))
    centre, facing = _spot(mesh, thing, grip.spot), _unit(grip.facing)
    found = solid.hit(centre - facing, facing)
    return solid.closest(centre[None])[0][0] if found is None else found


def anchor_point(figure: Figure, recipe: Recipe) -> FloatArray:
    """(3,) where the recipe's pin comes, body frame."""
    name, end = recipe.anchor
    points = figure.verts[_part_verts(name)]
    at = points.mean(0)
    axis, way = {
        "left": (0, 1),
        "right": (0, -1),
        "high": (1, 1),
        "low": (1, -1),
        "front": (2, 1),
        "rear": (2, -1),
    }.get(end, (0, 0))
    if way:
        at[axis] = points[:, axis].max() if way > 0 else points[:, axis].min()
    return np.asarray(at + recipe.offset)


@lru_cache(maxsize=64)
def _part_verts(name: str) -> IntArray:
    return hand_verts(name.removesuffix("_hand")) if name.endswith("_hand") else body_model().parts.verts_of(name)


def _settled(placed: Placed) -> Placed:
    """Shift the object a little so that the parts touch and nothing sinks in."""
    from scipy.optimize import least_squares

    recipe, verts = placed.recipe, placed.figure.verts
    free = np.flatnonzero(recipe.free)
    if len(free) == 0:
        return placed
    near = verts[placed.distance(verts) < 0.06]
    near = near[np.linspace(0, len(near) - 1, min(len(near), 700)).astype(int)] if len(near) else near
    groups = [_nearest(placed.distance, verts[_part_verts(name)], 60) for name in recipe.touching]
    wanted = [0.0005 if name.endswith("_hand") else -0.005 for name in recipe.touching]  # weight presses flesh in
    sizes = [len(near), *(len(g) for g in groups)]
    points = np.concatenate([near, *groups])
    person, samples = Solid(Mesh(verts, body_model().faces)), _near_samples(placed, verts)

    def residual(shift: FloatArray) -> FloatArray:
        move = np.zeros(3)
        move[free] = shift
        distance = placed.distance(points - move)
        into_body = person.signed_distance(samples + move)
        parts = np.split(distance[sizes[0] :], np.cumsum(sizes[1:])[:-1])
        gaps = [np.sort(part)[:6].mean() - at for part, at in zip(parts, wanted, strict=True)]
        sunk = [np.clip(-distance[: sizes[0]] - 0.002, 0, None), np.clip(-into_body - 0.002, 0, None)]
        return np.concatenate([*(60 * s for s in sunk), 90 * np.clip(gaps, 0, None), 1.0 * shift])

    best = least_squares(residual, np.zeros(len(free)), diff_step=1e-3, x_scale=0.02, max_nfev=8)
    t = placed.t.copy()
    t[free] += best.x
    return Placed(recipe, placed.figure, placed.thing, placed.mesh, placed.R, t)


def _nearest(distance: Distance, points: FloatArray, count: int) -> FloatArray:
    nearest: FloatArray = points[np.argsort(distance(points), kind="stable")[:count]]
    return nearest


def _near_samples(placed: Placed, verts: FloatArray, count: int = 250) -> FloatArray:
    """Points on the object (vertices and face centres) that lie near the body."""
    from scipy.spatial import cKDTree

    mesh = placed.mesh
    points = np.concatenate([mesh.verts, mesh.verts[mesh.faces].mean(1)]) @ placed.R.T + placed.t
    inside = points[((points > verts.min(0) - 0.05) & (points < verts.max(0) + 0.05)).all(1)]
    if len(inside) == 0:
        return points[:0]
    close: FloatArray = inside[np.argsort(cKDTree(verts).query(inside)[0], kind="stable")[: 4 * count]]
    return close[:: max(len(close) // count, 1)]


def judge(placed: Placed) -> Verdict:
    """Look at a try with exact distances of all vertices and of points on the object's faces."""
    verts = placed.figure.verts
    to_object = placed.distance(verts)
    to_body = Solid(Mesh(verts, body_model().faces)).signed_distance(_near_samples(placed, verts, 1500))
    far = [float(to_object[_part_verts(name)].min()) for name in placed.recipe.touching]
    nearest = float(min(to_object.min(), to_body.min(initial=np.inf)))
    return Verdict(-nearest, max(far, default=-np.inf), nearest, bool(placed.recipe.touching),
                   arms_clear(placed.figure))  # fmt: skip


def arms_clear(figure: Figure) -> bool:
    """Whether both forearms keep out of the balls inside head and trunk."""
    shares = np.linspace(0, 1, 9)[:, None]
    for side in ("left", "right"):
        elbow, wrist = (figure.frame(joint_index(f"{side}_{n}"))[1] for n in ("elbow", "wrist"))
        line = (1 - shares) * elbow + shares * wrist
        for (name, height), radius in CORE_M.items():
            R, t = figure.frame(joint_index(name))
            centre = t + R @ np.array([0.0, height, 0.02])
            if np.linalg.norm(line - centre, axis=1).min() < radius + FOREARM_M:
                return False
    return True
