"""Questions with true answers from quick scenes: what a front end would see of them, and what truly touches.

A sample holds evidence in place of a picture: BlazePose's landmarks in 2D and 3D, exact, and masks of person, object
and other things, drawn small. :mod:`hoirecon.contact.training.front_end` spoils them anew each time.

Three splits have nothing in common: objects are held out by name, and so are cells of interaction and camera octant.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.contact.training.quick_scenes import QuickObject, QuickScene, moved_apart, quick_scene
from hoirecon.contact.training.scene_plans import categories, held_things
from hoirecon.data.closedworld.posing import body_model
from hoirecon.data.objects.library import list_objects
from hoirecon.errors import InputError
from hoirecon.files import atomic_file

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
VERSION = 1
"""Goes up when the same seed would give other samples."""
LAYOUT = 2
"""Goes up when samples are kept in other fields."""
MOST_VERTS = 2048
"""Vertices of an object that a sample has room for; the library's meshes have at most 2004."""
SIDE = 64
"""Side of the masks, pixels."""
VIEWS = 4
"""Cameras per training scene."""
OCTANTS, HELD_OUT = 8, 6
"""Directions of the camera, and one cell in so many of (interaction, direction) that is never trained on."""
ROOM = 1.15
"""Side of the square that is looked at, relative to the person and the object in it."""
CUT = 0.3
"""Share of views in which the picture's lower edge cuts the person."""
HIDDEN_M = 0.12
"""A landmark so far behind what is seen is hidden, metres: joints lie inside the body."""
MANY_POINTS = 5000
"""Points on an object's surface with which its mask is drawn."""
HIPS = (23, 24)
"""The landmarks in whose middle the 3D landmarks have their origin."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Many samples; N is their number, V that of the body's vertices."""

    xy: np.ndarray
    """(N, 33, 2) landmarks in the square that is looked at, -1..1, x to the right, y down."""
    xyz: np.ndarray
    """(N, 33, 3) relative to the middle of the hips, camera axes, metres."""
    hidden: np.ndarray
    """(N, 33) behind something, or outside the picture."""
    masks: np.ndarray
    """(N, 3, SIDE, SIDE / 8) packed bits: person, object, other things, as far as they are seen."""
    touched: np.ndarray
    """(N, V / 8) packed bits: body vertices within 2.5 cm of the object."""
    touching: np.ndarray
    """(N, MOST_VERTS / 8) packed bits: the object's vertices within 2.5 cm of the body, in its mesh's order."""
    landmark_distance: np.ndarray
    """(N, 33) from landmark to object, metres."""
    part_distance: np.ndarray
    """(N, P) from each part of the body to the object, at most 1 m."""
    category: np.ndarray
    """(N,) index into :func:`category_names`."""
    instance: np.ndarray
    """(N,) index into :func:`object_ids`."""
    cell: np.ndarray
    """(N,) hash of interaction and octant."""
    several: np.ndarray
    """(N,) whether the body touches another object too."""
    azimuth: np.ndarray
    """(N,) degrees of the camera round the person, 0 in front."""

    def __len__(self) -> int:
        return len(self.xy)

    def contact(self, rows: IntArray | slice) -> BoolArray:
        """(n, V) touched vertices."""
        return np.unpackbits(self.touched[rows], axis=1)[:, : body_model().num_verts].astype(bool)

    def object_contact(self, rows: IntArray | slice) -> BoolArray:
        """(n, MOST_VERTS) touching vertices of each sample's object; the mesh's own come first, then zeros."""
        return np.unpackbits(self.touching[rows], axis=1).astype(bool)

    def pictures(self, rows: IntArray | slice) -> BoolArray:
        """(n, 3, SIDE, SIDE) masks."""
        return np.unpackbits(self.masks[rows], axis=3).astype(bool)

    def take(self, rows: IntArray | slice) -> Samples:
        """Some of them."""
        return Samples(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def joined(parts: list[Samples]) -> Samples:
        """All in one."""
        return Samples(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Samples)))

    def save(self, path: Path) -> None:
        """Write an npz file, whole or not at all."""
        with atomic_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(*(stored[f.name] for f in fields(cls)))


# --------------------------------------------------------------------------------------------------------------- splits
@cache
def category_names() -> tuple[str, ...]:
    """Names of the categories, in order."""
    return categories()


@cache
def object_ids() -> tuple[str, ...]:
    """Library ids of their meshes, in order."""
    return tuple(entry.id for name in category_names() for entry in list_objects(name))


def split_of_object(object_id: str) -> Split:
    """To which split a mesh belongs: of two in a category one is for the test, of three or more another for
    validation; single ones are trained on."""
    known = [entry.id for entry in list_objects(object_id.split("/")[0])]
    if len(known) < 2:
        return "train"
    order = sorted(known, key=lambda name: zlib.crc32(name.encode()))
    if object_id == order[0]:
        return "test"
    return "val" if len(known) > 2 and object_id == order[1] else "train"


@cache
def _things(split: Split) -> tuple[tuple[str, str], ...]:
    return tuple((i.split("/")[0], i) for i in object_ids() if split_of_object(i) == split)


@cache
def _by_category(split: Split) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for category, thing in _things(split):
        found.setdefault(category, []).append(thing)
    return {name: tuple(things) for name, things in found.items()}


@cache
def _held(split: Split) -> tuple[tuple[str, str], ...]:
    own = {thing for _, thing in _things(split)}
    return tuple((name, thing) for name, thing in held_things() if thing in own)


def cell_of(interaction: str, category: str, azimuth: float) -> int:
    """Hash of an interaction and the octant from which it is seen; multiples of ``HELD_OUT`` are not trained on."""
    octant = int((azimuth + 180.0) // (360.0 / OCTANTS)) % OCTANTS
    name = interaction.removesuffix("_left").removesuffix("_right")
    return zlib.crc32(f"{category}/{name}/{octant}".encode()) & 0x7FFFFFFF


# -------------------------------------------------------------------------------------------------------------- drawing
def draw_samples(split: Split, seed: int, scenes: int, apart: bool = False) -> Samples:
    """Samples of so many scenes of a split; the same for the same seed.

    Test and validation scenes are of objects that are not trained on, seen once each from a direction in which their
    interaction is not trained on.

    Args:
        split: which objects and views.
        seed: of everything that is drawn.
        scenes: how many.
        apart: nothing touches: the same poses, each with its thing moved away.

    Raises:
        InputError: an unknown split, or fewer than one scene.
    """
    if split not in SPLITS or scenes < 1:
        raise InputError(f"samples are of one of {', '.join(SPLITS)} and of at least one scene, got {split}, {scenes}")
    rows = [seen.row for seen in draw_seen(split, seed, scenes, apart)]
    return Samples(*(np.stack([row[f.name] for row in rows]) for f in fields(Samples)))


@dataclass(frozen=True, eq=False)
class Seen:
    """One sample with the scene that it is of."""

    scene: QuickScene
    view: View
    which: int
    """Which of the scene's objects is asked for."""
    row: dict[str, np.ndarray]
    """The sample's fields."""


def draw_seen(split: Split, seed: int, scenes: int, apart: bool = False) -> Iterator[Seen]:
    """The samples of :func:`draw_samples` one by one, with their scenes."""
    rng = np.random.default_rng([VERSION, SPLITS.index(split), seed, *([1] if apart else [])])
    for _ in range(scenes):
        scene = draw_scene(split, rng)
        found = moved_apart(scene, rng) if apart else scene
        if found is not None:
            yield from _seen(found, split, rng)


def draw_scene(split: Split, rng: np.random.Generator) -> QuickScene:
    """One scene of a split, every category as likely."""
    kinds = _by_category(split)
    names = tuple(kinds)
    while True:
        things = kinds[category := names[rng.integers(len(names))]]
        scene = quick_scene(category, things[rng.integers(len(things))], rng, _held(split))
        if scene is not None:
            return scene


@dataclass(frozen=True, eq=False)
class Marks:
    """Where the landmarks truly are."""

    at: FloatArray
    """(33, 2) in the picture, units of the focal length."""
    xyz: FloatArray
    """(33, 3) relative to the middle of the hips, camera axes, metres."""
    hidden: BoolArray
    """(33,) behind something."""


def landmarks_seen(scene: QuickScene, view: View) -> Marks:
    """The landmarks as a camera sees them, all of the person in the picture."""
    body = view.points(np.concatenate([scene.verts, scene.verts[_large_faces()].mean(1)]))
    clouds = [body, *(view.points(o.verts) for o in scene.objects)]
    marks, low, high = view.points(scene.landmarks), body[:, :2].min(0), body[:, :2].max(0)
    _, depth = _splat(clouds, low, high, np.inf)
    cell = np.clip(((marks[:, :2] - low) / (high - low) * SIDE).astype(int), 0, SIDE - 1)
    at_cam = scene.landmarks @ view.R.T
    hidden = marks[:, 2] > depth[cell[:, 1], cell[:, 0]] + HIDDEN_M
    return Marks(marks[:, :2], at_cam - at_cam[list(HIPS)].mean(0), hidden)


def _seen(scene: QuickScene, split: Split, rng: np.random.Generator) -> Iterator[Seen]:
    """A scene from some cameras, each object asked for."""
    clouds = [surface_points(thing, rng) for thing in scene.objects]
    body = np.concatenate([scene.verts, scene.verts[_large_faces()].mean(1)])
    for _ in range(VIEWS if split == "train" else 1):
        for _ in range(40):
            view = View.drawn(scene, rng)
            if _allowed(scene, view, split):
                break
        else:
            continue
        for which, _thing in enumerate(scene.objects):
            row = _row(scene, view, which, [body, *clouds], rng)
            if row is not None:
                yield Seen(scene, view, which, row)


def _allowed(scene: QuickScene, view: View, split: Split) -> bool:
    """Whether what is seen from there belongs to the split: by the first object, the others are beside the point."""
    thing = scene.objects[0]
    cell = cell_of(thing.interaction, thing.object_id.split("/")[0], view.azimuth)
    return (cell % HELD_OUT == 0) == (split != "train")


@dataclass(frozen=True, eq=False)
class View:
    """From where a scene is seen; pictures are in units of the focal length."""

    azimuth: float
    """Degrees round the person, 0 in front."""
    R: FloatArray
    """(3, 3) from the body frame to the camera's (x right, y down, z forward)."""
    t: FloatArray
    """(3,) metres."""

    @classmethod
    def drawn(cls, scene: QuickScene, rng: np.random.Generator) -> View:
        """Anywhere round the person, a little below to well above the horizon."""
        azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(-0.1, 0.5)
        away = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
        right = np.cross(-away, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(-away, right), -away])
        roll = 0.05 * rng.standard_normal()
        c, s = np.cos(roll), np.sin(roll)
        R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ R
        centre = (scene.verts.min(0) + scene.verts.max(0)) / 2
        return cls(float(np.degrees(azimuth)), R, np.array([0, 0, rng.uniform(2.0, 5.0)]) - R @ centre)

    def points(self, points: FloatArray) -> FloatArray:
        """(N, 3) x / z, y / z and depth."""
        seen = points @ self.R.T + self.t
        return np.concatenate([seen[:, :2] / np.maximum(seen[:, 2:], 0.2), seen[:, 2:]], axis=1)


def _row(
    scene: QuickScene, view: View, which: int, points: list[FloatArray], rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    """One sample of points on the body and on each object, or None if too little of the object is seen."""
    thing = scene.objects[which]
    body, *clouds = (view.points(cloud) for cloud in points)
    marks = view.points(scene.landmarks)
    low, high, floor = _window(body, clouds[which], rng)
    owner, depth = _splat([body, clouds[which], *(c for i, c in enumerate(clouds) if i != which)], low, high, floor)
    masks = np.stack([owner == 0, owner == 1, owner > 1])
    if masks[1].sum() < 4 or masks[0].sum() < 40:
        return None
    xy = 2 * (marks[:, :2] - low) / (high - low) - 1
    cell = np.clip(((xy + 1) / 2 * SIDE).astype(int), 0, SIDE - 1)
    behind = marks[:, 2] > depth[cell[:, 1], cell[:, 0]] + HIDDEN_M
    outside = (np.abs(xy) > 1).any(1) | (marks[:, 1] > floor)
    at_cam = scene.landmarks @ view.R.T
    hips = at_cam[list(HIPS)].mean(0)
    category = thing.object_id.split("/")[0]
    return {
        "xy": xy.astype(np.float32),
        "xyz": (at_cam - hips).astype(np.float32),
        "hidden": behind | outside,
        "masks": np.packbits(masks, axis=2),
        "touched": np.packbits(thing.touched),
        "touching": np.packbits(np.pad(thing.touching, (0, MOST_VERTS - len(thing.touching)))),
        "landmark_distance": thing.landmark_distance.astype(np.float32),
        "part_distance": np.array([thing.distance[ids].min() for ids in _part_verts()], dtype=np.float32),
        "category": np.int64(category_names().index(category)),
        "instance": np.int64(object_ids().index(thing.object_id)),
        "cell": np.int64(cell_of(thing.interaction, category, view.azimuth)),
        "several": np.bool_(len(scene.objects) > 1),
        "azimuth": np.float32(view.azimuth),
    }


@cache
def _part_verts() -> tuple[IntArray, ...]:
    """Vertices of each part of the body."""
    parts = body_model().parts
    return tuple(parts.verts_of(name) for name in parts.names)


@cache
def _large_faces() -> IntArray:
    """Faces of the body in whose middles more points are needed: hands have vertices enough."""
    corners = body_model().rest_verts[body_model().faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.asarray(body_model().faces[area > np.quantile(area, 0.55)])


def surface_points(thing: QuickObject, rng: np.random.Generator) -> FloatArray:
    """Points spread evenly over an object's surface, and its vertices."""
    corners = thing.verts[thing.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) + 1e-12
    face = np.searchsorted(np.cumsum(area) / area.sum(), rng.random(MANY_POINTS)).clip(0, len(area) - 1)
    u, v = rng.random((2, MANY_POINTS, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    inside = corners[face, 0] * (1 - u - v) + corners[face, 1] * u + corners[face, 2] * v
    return np.concatenate([inside, thing.verts])


def _window(body: FloatArray, thing: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, float]:
    """The square that is looked at, and the picture's lower edge."""
    floor = np.inf
    if rng.random() < CUT:
        top, bottom = body[:, 1].min(), body[:, 1].max()
        floor = max(top + rng.uniform(0.35, 0.9) * (bottom - top), np.quantile(thing[:, 1], 0.6))
    points = np.concatenate([body, thing])[:, :2]
    points = points[points[:, 1] <= floor]
    low, high = points.min(0), points.max(0)
    side = ROOM * rng.uniform(0.97, 1.1) * (high - low).max()
    centre = (low + high) / 2 + 0.02 * side * rng.standard_normal(2)
    return centre - side / 2, centre + side / 2, float(floor)


def _splat(clouds: list[FloatArray], low: FloatArray, high: FloatArray, floor: float) -> tuple[IntArray, FloatArray]:
    """Whose pixel each is, -1 for nobody's, and its depth; points are dense enough to cover surfaces."""
    points = np.concatenate(clouds)
    owner = np.repeat(np.arange(len(clouds)), [len(c) for c in clouds])
    cell = np.floor((points[:, :2] - low) / (high - low) * SIDE).astype(int)
    inside = ((cell >= 0) & (cell < SIDE)).all(1) & (points[:, 1] <= floor) & (points[:, 2] > 0.2)
    cell, owner, z = cell[inside], owner[inside], points[inside, 2]
    flat = cell[:, 1] * SIDE + cell[:, 0]
    steps = ((z.max(initial=1.0) - z) / 4.0 * 65535).clip(0, 65535).astype(np.uint16)
    order = np.argsort(steps, kind="stable")  # the nearest is written last; short integers sort fastest
    whose, depth = np.full(SIDE * SIDE, -1), np.full(SIDE * SIDE, np.inf)
    whose[flat[order]], depth[flat[order]] = owner[order], z[order]
    return _mended(whose.reshape(SIDE, SIDE)), depth.reshape(SIDE, SIDE)


def _mended(whose: IntArray) -> IntArray:
    """Holes between points of the person, filled where most neighbours are the person's."""
    person = np.pad(whose == 0, 1).astype(int)
    around = sum(np.roll(person, (r, c), (0, 1)) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0))
    return np.where(np.asarray(around)[1:-1, 1:-1] >= 5, np.where(whose == 1, 1, 0), whose)
