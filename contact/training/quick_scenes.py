"""Scenes of people with things, made in tens of milliseconds: training data, not a benchmark's truth.

The closed world's scenes (:mod:`hoirecon.data.closedworld`) are solved until nothing sinks into anything else, a few
per second. Here arms are posed in closed form (two bones and a palm), fingers close by steps, and what sinks in
deeper than flesh gives way is thrown away. Contact is what lies within :data:`BAND_M`, measured on the result, so it is
true of the scene whatever became of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.contact.training.scene_plans import draw_recipe
from hoirecon.data.body import body_landmarks
from hoirecon.data.body.skeleton import joint_index
from hoirecon.data.closedworld.building import anchor_point, arms_clear
from hoirecon.data.closedworld.posing import FINGERS, Figure, Reach, body_model, palm_of
from hoirecon.data.closedworld.rays import Solid
from hoirecon.data.closedworld.recipes import Recipe, Spot
from hoirecon.data.objects import LibraryObject, load_object
from hoirecon.mesh import Mesh

BAND_M = 0.025
"""Surfaces nearer than this touch, metres."""
DEEP_M, MOST_DEEP = 0.04, 60
"""More than so many body vertices deeper than this in an object: no scene."""
FEWEST, MOST = 15, 3500
"""Numbers of touching body vertices within which a scene is kept."""
SIZE_SPREAD, STRETCH = 0.08, 0.06
"""Log-spread of the objects' size, and of each axis beside it."""
FAR_M = 0.1
"""Distances are measured for what lies within the object's box and so much round it, metres."""
MISS_M = 0.04
"""A hand that would miss its goal by more is no grip, metres."""
CURL_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Bends per finger joint that a closing hand goes through, radians."""
EVERY = 6
"""Every so many vertices of a finger are watched while it closes."""
APART_M = (0.12, 0.8)
"""How far a thing is moved that is not to be touched, metres."""
CLEAR_M = 0.06
"""And how far from the body it is then at least, metres."""
SECOND = 0.35
"""Share of scenes in which a free hand holds a second thing."""
_POLES = np.array([[0.6, -0.8, -0.3], [1.0, -0.2, -0.1], [0.4, -0.3, -1.0], [0.9, 0.5, 0.1]])
"""Directions towards which elbows may point, for the left arm."""


@dataclass(frozen=True, eq=False)
class QuickObject:
    """One thing of a scene."""

    object_id: str
    verts: FloatArray
    """(Vo, 3) in the body frame, metres."""
    faces: np.ndarray
    """(Fo, 3)."""
    touched: BoolArray
    """(V,) body vertices within the band of its surface."""
    touching: BoolArray
    """(Vo,) its vertices within the band of a body vertex."""
    distance: FloatArray
    """(V,) of the body's vertices to its surface, 1 m where they are far away."""
    landmark_distance: FloatArray
    """(33,) of the body's landmarks (BlazePose's) to its surface, metres."""
    interaction: str


@dataclass(frozen=True, eq=False)
class QuickScene:
    """A posed body with one or two things; body frame (y up, z front), metres."""

    figure: Figure
    verts: FloatArray
    """(V, 3)."""
    landmarks: FloatArray
    """(33, 3) BlazePose's landmarks."""
    objects: tuple[QuickObject, ...]


def quick_scene(category: str, object_id: str, rng: np.random.Generator, others: Sequence[tuple[str, str]] = ()) -> (
    QuickScene | None
):  # fmt: skip
    """Try once to make a scene.

    Args:
        category: of the object.
        object_id: library id.
        rng: all that is random.
        others: (category, id) of what a free hand may hold.

    Returns:
        None if nothing came of it: an unreachable grip, things within one another, no contact.
    """
    recipe = draw_recipe(category, object_id, rng)
    if recipe is None:
        return None
    recipe = recipe.mirrored() if rng.random() < 0.5 else recipe
    figure = _figure(recipe, rng)
    placed = _place(recipe, figure, rng)
    wants = {**{side: _goal(placed, side) for side in recipe.hands}}
    if any(reach(figure, side, goal) > MISS_M for side, goal in wants.items()):
        return None
    for side, (point, facing) in recipe.rest.items():
        reach(figure, side, Reach(np.array(point, dtype=float), np.array(facing, dtype=float)))
    things = [placed]
    second = _second(recipe, figure, others, rng)
    things += [second] if second is not None else []
    for thing in things:
        for side in thing.recipe.hands:
            close_hand(figure, side, thing.solid, thing.recipe.loose)
    return _judged(figure, things)


@dataclass(frozen=True, eq=False)
class _Placed:
    recipe: Recipe
    thing: LibraryObject
    mesh: Mesh
    """Body frame."""
    own: Mesh
    """Object frame, at its size."""
    R: FloatArray
    solid: Solid


def _figure(recipe: Recipe, rng: np.random.Generator) -> Figure:
    figure = Figure.drawn(recipe.base, rng)
    for name in ("spine1", "spine2", "neck", "head"):
        figure.rotvecs[joint_index(name)] += 0.06 * rng.standard_normal(3)
    if recipe.lifts:
        figure.rotvecs[13] += (0, 0, 0.3)
        figure.rotvecs[14] += (0, 0, -0.3)
    for side, g in (("left", 1.0), ("right", -1.0)):
        if side not in recipe.hands and rng.random() < 0.35:
            _idle(figure, side, g, rng)
    figure.moved()
    return figure


def _idle(figure: Figure, side: str, g: float, rng: np.random.Generator) -> None:
    """An arm that does something of its own somewhere."""
    chest = figure.frame(joint_index("spine3"))[1]
    point = chest + np.array([g * rng.uniform(0.1, 0.6), rng.uniform(-0.6, 0.5), rng.uniform(0.0, 0.45)])
    facing = rng.standard_normal(3)
    reach(figure, side, Reach(point, facing / np.linalg.norm(facing)))
    figure.curl(side, dict.fromkeys(FINGERS, float(rng.uniform(0.0, 0.9))))


def _place(recipe: Recipe, figure: Figure, rng: np.random.Generator) -> _Placed:
    thing = load_object(recipe.objects[0])
    scale = np.exp(SIZE_SPREAD * rng.standard_normal() + STRETCH * rng.standard_normal(3))
    own = Mesh(thing.mesh.verts * scale, thing.mesh.faces, thing.id)
    jitter = Rotation.from_euler("xyz", rng.standard_normal(3) * recipe.tilt, degrees=True)
    R = (jitter * Rotation.from_euler("xyz", recipe.euler, degrees=True)).as_matrix()
    t = anchor_point(figure, recipe) + 0.01 * rng.standard_normal(3) * np.array(recipe.free)
    mesh = own.with_verts(own.verts @ R.T + (t - R @ _spot(own, thing, recipe.pin)))
    return _Placed(recipe, thing, mesh, own, R, Solid(mesh))


def _second(
    recipe: Recipe, figure: Figure, others: Sequence[tuple[str, str]], rng: np.random.Generator
) -> _Placed | None:
    """Something in a hand that is free; None where it is not to be, or does not come about."""
    free = [side for side in ("left", "right") if side not in recipe.hands and side not in recipe.rest]
    if not free or not others or rng.random() > SECOND:
        return None
    category, object_id = others[int(rng.integers(len(others)))]
    held = draw_recipe(category, object_id, rng)
    if held is None or held.touch or set(held.hands) != {"right"}:
        return None
    side = free[rng.integers(len(free))]
    held = held if side == "right" else held.mirrored()
    placed = _place(held, figure, rng)
    before = figure.rotvecs.copy()
    if reach(figure, side, _goal(placed, side)) > MISS_M:
        figure.rotvecs[:] = before
        figure.moved()
        return None
    return placed


def _goal(placed: _Placed, side: str) -> Reach:
    grip = placed.recipe.hands[side]
    facing = _unit(placed.R @ np.array(grip.facing, dtype=float))
    part = _part(placed.mesh, placed.thing, grip.spot.part)
    through = placed.R @ _spot(placed.own, placed.thing, grip.spot)
    centre = through + placed.mesh.verts[0] - placed.R @ placed.own.verts[0]
    solid = Solid(part)
    found = solid.hit(centre - facing, facing)
    point = solid.closest(centre[None])[0][0] if found is None else found
    across = None if grip.across is None else placed.R @ _unit(np.array(grip.across, dtype=float))
    return Reach(point, facing, across)


def _part(mesh: Mesh, thing: LibraryObject, part: str) -> Mesh:
    if part not in thing.part_names:
        return mesh
    return Mesh(mesh.verts, mesh.faces[thing.face_parts == thing.part_names.index(part)], part)


def _spot(mesh: Mesh, thing: LibraryObject, spot: Spot) -> FloatArray:
    """(3,) place of a spot in the frame of ``mesh``."""
    part = _part(mesh, thing, spot.part)
    corners = part.verts[np.unique(part.faces)]
    low, high = corners.min(0), corners.max(0)
    return np.asarray((low + high) / 2 + np.array(spot.at) * (high - low) / 2)


def _unit(v: FloatArray) -> FloatArray:
    return np.asarray(v / np.linalg.norm(v))


# ----------------------------------------------------------------------------------------------------------------- arms
def reach(figure: Figure, side: str, goal: Reach) -> float:
    """Pose an arm in closed form so that the palm comes to the goal; metres by which it misses.

    Of all directions in which the fingers may lie on the goal and of a few in which the elbow may point, those are
    taken that bend the wrist least and keep the elbow out of the ribs.
    """
    g = 1.0 if side == "left" else -1.0
    shoulder, elbow, wrist = (joint_index(f"{side}_{n}") for n in ("shoulder", "elbow", "wrist"))
    rest = figure.rest_joints
    collar = joint_index(f"{side}_collar")
    R0, t0 = figure.frame(collar)
    start = R0 @ (rest[shoulder] - rest[collar]) + t0
    upper, lower = rest[elbow] - rest[shoulder], rest[wrist] - rest[elbow]
    hands = _hand_frames(goal, g)
    a, b, y, _T, miss = _bones(start, hands, goal.point, palm_of(side).point, upper, lower, g)
    fingers = g * hands[:, None, :, 0]
    bend = np.arccos(np.clip((fingers * b).sum(-1), -1, 1))
    inward = np.minimum(g * (start + np.linalg.norm(upper) * a)[..., 0] - 0.16, 0.0)
    cost = (25 * miss[:, None]) ** 2 + bend**2 + (12 * inward) ** 2 + 0.15 * np.arange(len(_POLES))
    i, k = np.unravel_index(int(cost.argmin()), cost.shape)
    G1 = _bone_frame(a[i, k], y[i, k]) @ _bone_frame(_unit(upper), np.array([0.0, 1.0, 0.0])).T
    G2 = _bone_frame(b[i, k], y[i, k]) @ _bone_frame(_unit(lower), np.array([0.0, 1.0, 0.0])).T
    G2 = G2 @ _half_twist(G2.T @ hands[i], _unit(lower))
    for joint, local in ((shoulder, R0.T @ G1), (elbow, G1.T @ G2), (wrist, G2.T @ hands[i])):
        figure.rotvecs[joint] = Rotation.from_matrix(local).as_rotvec()
    figure.moved()
    return float(miss[i])


def _hand_frames(goal: Reach, g: float) -> FloatArray:
    """(K, 3, 3) rotations of a hand whose palm faces as wanted, fingers every way round or across the bar."""
    f = goal.facing
    first = None if goal.across is None else np.cross(goal.across, f)
    if first is None or np.linalg.norm(first) < 0.3:
        first = np.cross(f, [0.3, 1.0, 0.2] if abs(f[1]) < 0.9 else [1.0, 0.0, 0.0])
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    else:
        angles = np.array([0.0, np.pi])
    first = _unit(first)
    fingers = np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * np.cross(f, first)
    x, y = g * fingers, np.broadcast_to(-f, fingers.shape)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _bones(
    start: FloatArray,
    hands: FloatArray,
    point: FloatArray,
    palm: FloatArray,
    upper: FloatArray,
    lower: FloatArray,
    g: float,
) -> tuple[FloatArray, ...]:
    """Directions of upper arm and forearm (K, P, 3), their bending axis, wrists (K, 3) and misses (K,)."""
    l1, l2 = float(np.linalg.norm(upper)), float(np.linalg.norm(lower))
    T = point - hands @ palm
    way = T - start
    far = np.linalg.norm(way, axis=-1)
    reached = np.clip(far, abs(l1 - l2) + 0.06, 0.995 * (l1 + l2))
    u = way / np.maximum(far, 1e-6)[:, None]
    along = (l1**2 - l2**2 + reached**2) / (2 * reached)
    out = np.sqrt(np.maximum(l1**2 - along**2, 1e-6))
    poles = _POLES * (g, 1.0, 1.0)
    side = poles[None] - u[:, None] * (u @ poles.T)[..., None]
    side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
    elbow = along[:, None, None] * u[:, None] + out[:, None, None] * side
    a = elbow / l1
    b = (reached[:, None] * u)[:, None] - elbow
    b /= np.linalg.norm(b, axis=-1, keepdims=True)
    y = g * np.cross(b, a)
    y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-6)
    return a, b, y, T, np.abs(far - reached)


def _bone_frame(bone: FloatArray, y: FloatArray) -> FloatArray:
    """(3, 3) with the bone as first column and the second as near to ``y`` as can be."""
    second = _unit(y - bone * (y @ bone))
    return np.stack([bone, second, np.cross(bone, second)], axis=-1)


def _half_twist(local: FloatArray, bone: FloatArray) -> FloatArray:
    """The part of the wrist's turning about the forearm that the forearm itself makes."""
    q = Rotation.from_matrix(local).as_quat()
    angle = 2 * np.arctan2(q[:3] @ bone, q[3])
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(Rotation.from_rotvec(0.6 * angle * bone).as_matrix())


def close_hand(figure: Figure, side: str, solid: Solid, loose: float) -> None:
    """Close each finger until it comes within a finger's skin of the object, or to ``loose`` if it never does."""
    import torch

    model = body_model()
    names = [f"{side}_{f}" if f == "thumb" else f"{side}_{f}_finger" for f in FINGERS]
    verts = [model.parts.verts_of(name)[::EVERY] for name in names]
    kept = figure.rotvecs.copy()
    turns = []
    for angle in CURL_STEPS:
        figure.curl(side, dict.fromkeys(FINGERS, angle))
        turns.append(Rotation.from_rotvec(figure.rotvecs).as_matrix())
    figure.rotvecs[:] = kept
    with torch.no_grad():
        posed = model.forward_rotations(
            torch.tensor(np.stack(turns)), torch.tensor(figure.betas)[None], None, np.concatenate(verts)
        ).verts.numpy()
    gap = near_distance(solid, posed.reshape(-1, 3), 0.03).reshape(len(CURL_STEPS), -1)
    ends = np.cumsum([0, *(len(v) for v in verts)])
    angles = {}
    for finger, first, last in zip(FINGERS, ends[:-1], ends[1:], strict=True):
        met = np.flatnonzero(gap[:, first:last].min(1) < 0.002)
        angles[finger] = CURL_STEPS[int(met[0])] if len(met) else loose
    figure.curl(side, angles)


# ------------------------------------------------------------------------------------------------------------ judgement
def near_distance(solid: Solid, points: FloatArray, within: float) -> FloatArray:
    """(N,) signed distances to a mesh; points outside its box by more than ``within`` are said to be 1 m away."""
    low, high = solid.mesh.verts.min(0) - within, solid.mesh.verts.max(0) + within
    near = ((points > low) & (points < high)).all(1)
    found = np.ones(len(points))
    found[near] = solid.signed_distance(points[near])
    return found


def _judged(figure: Figure, things: Sequence[_Placed]) -> QuickScene | None:
    """The scene if it can be believed."""
    verts, landmarks = figure.verts, landmarks_of(figure.verts)
    objects = []
    for placed in things:
        distance = near_distance(placed.solid, verts, FAR_M)
        touched = distance < BAND_M
        if (distance < -DEEP_M).sum() > MOST_DEEP or not FEWEST <= touched.sum() <= MOST:
            return None
        near = verts[distance < 0.08]
        touching = cKDTree(near).query(placed.mesh.verts, distance_upper_bound=BAND_M)[0] < BAND_M
        objects.append(
            QuickObject(placed.thing.id, placed.mesh.verts, placed.mesh.faces, touched, touching,
                        np.clip(distance, 0, 1), np.abs(placed.solid.signed_distance(landmarks)),
                        placed.recipe.interaction)
        )  # fmt: skip
    return QuickScene(figure, verts, landmarks, tuple(objects)) if arms_clear(figure) else None


def landmarks_of(verts: FloatArray) -> FloatArray:
    """(33, 3) BlazePose's landmarks of a body's vertices (V, 3)."""
    known = body_landmarks(body_model(), "blazepose33")
    return np.asarray(np.einsum("lk,lkc->lc", known.w, verts[known.idx]))


# ----------------------------------------------------------------------------------------------------- nothing touches
def moved_apart(scene: QuickScene, rng: np.random.Generator, tries: int = 10) -> QuickScene | None:
    """The scene's person with its first thing moved away until nothing touches, or None if that fails.

    The pose stays that of somebody who holds it or sits on it, so that only the place of the thing tells.
    """
    thing = scene.objects[0]
    for _ in range(tries):
        way = _unit(rng.standard_normal(3)) * rng.uniform(*APART_M)
        mesh = Mesh(thing.verts + way, thing.faces, thing.object_id)
        solid = Solid(mesh)
        distance = near_distance(solid, scene.verts, FAR_M)
        if distance.min() < CLEAR_M:
            continue
        nothing = np.zeros_like(thing.touched), np.zeros_like(thing.touching)
        there = np.abs(solid.signed_distance(scene.landmarks))
        moved = QuickObject(thing.object_id, mesh.verts, mesh.faces, *nothing, np.clip(distance, 0, 1), there,
                            thing.interaction)  # fmt: skip
        return QuickScene(scene.figure, scene.verts, scene.landmarks, (moved,))
    return None
