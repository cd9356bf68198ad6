"""What training scenes hold in place of the library's few meshes: other sizes, other proportions, other shapes.

Most categories have one or two meshes to learn from. A network that sees only those learns them by heart; what an
unseen mug needs is that the name tells the usual use and size, and the masks tell the shape. So training stretches
meshes widely, asks anew how a thing of that size is used, and lets other things of about the same proportions and the
same kind of use stand in: a mesh of another category, or a rounded block, of the size of what it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.contact.training.scene_plans import Use, draw_recipe, drawn_use, recipe_of, uses_of
from hoirecon.data.closedworld.recipes import Recipe
from hoirecon.data.objects import LibraryObject, load_object
from hoirecon.mesh import Mesh

ALIKE = 1.1
"""Two meshes are alike if the ratios of their boxes' three sides differ by no more than this, as logarithms."""
MOST_SPREADS = 2.0
"""Sizes are drawn within so many spreads."""
AROUND, ALONG = 20, 12
"""Vertices of a rounded block round its axis, and rings along it."""


@dataclass(frozen=True)
class Variety:
    """How far training leaves the library's meshes."""

    share: float = 1.0
    """Share of things that are varied at all; the others are as validation and test see them."""
    size: float = 0.25
    """Log-spread of the size of the whole."""
    stretch: float = 0.2
    """Log-spread of each axis beside it."""
    stand_in: float = 0.25
    """Share of varied things that are of another category's mesh."""
    block: float = 0.1
    """Share of varied things that are rounded blocks."""
    bearing: float = 2.5
    """How much likelier a category is drawn whose things are sat or stood on: seats are few and each other than the
    next, and what touches them is lost far more often than hands are."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A thing and what is done with it."""

    recipe: Recipe
    called: str
    """Library id of the mesh whose name it bears."""
    thing: LibraryObject
    """Whose mesh it has: that one's as it is in the library, or a varied one at its size in the scene."""
    varied: bool = False
    """Whether the mesh has its size already."""
    own: bool = True
    """Whether the mesh is, but for its size, the one that it is called by."""


def draw_plan(
    object_id: str, rng: np.random.Generator, variety: Variety | None = None, shapes: Sequence[str] = ()
) -> Plan | None:
    """What is to happen with a thing, or None if nothing that it is used for can be posed.

    Args:
        object_id: library id of what it is called.
        rng: all that is random.
        variety: how far to leave the library; None stays with it.
        shapes: library ids whose meshes may stand in for others.
    """
    category = object_id.split("/")[0]
    if variety is None or rng.random() > variety.share:
        recipe = draw_recipe(category, object_id, rng)
        return None if recipe is None else Plan(recipe, object_id, load_object(object_id))
    thing = _sized(_loaded(object_id), _scale(rng, variety))
    kind = rng.random()
    if kind < variety.stand_in + variety.block:
        found = _standing_in(thing, rng, shapes) if kind < variety.stand_in else _as_block(thing, rng)
        if found is not None:
            return found
    recipe = recipe_of(category, thing, rng)
    return None if recipe is None else Plan(recipe, object_id, thing, varied=True)


def _scale(rng: np.random.Generator, variety: Variety) -> FloatArray:
    spread = np.clip(rng.standard_normal(4), -MOST_SPREADS, MOST_SPREADS)
    return np.asarray(np.exp(variety.size * spread[0] + variety.stretch * spread[1:]))


@lru_cache(maxsize=512)
def _loaded(object_id: str) -> LibraryObject:
    """Shared; its arrays are not to be written to."""
    return load_object(object_id)


def _sized(thing: LibraryObject, scale: FloatArray) -> LibraryObject:
    return replace(thing, mesh=Mesh(thing.mesh.verts * scale, thing.mesh.faces, thing.id))


# ------------------------------------------------------------------------------------------------------------ stand-ins
def _standing_in(thing: LibraryObject, rng: np.random.Generator, shapes: Sequence[str]) -> Plan | None:
    """Another category's mesh in the box of a thing, held or sat on as that one is; None if none is alike."""
    others = alike(thing.id, tuple(shapes))
    if not others:
        return None
    other = _loaded(others[int(rng.integers(len(others)))])
    shape = _sized(other, thing.mesh.extents / np.maximum(other.mesh.extents, 1e-6))
    return _used_as(thing, shape, _common(uses_of(thing), uses_of(shape)), rng)


@cache
def alike(object_id: str, shapes: tuple[str, ...]) -> tuple[str, ...]:
    """Of the meshes, those of other categories with about the same proportions along the same axes."""
    category, own = object_id.split("/")[0], _sides(object_id)
    ratios = ((name, own - _sides(name)) for name in shapes if name.split("/")[0] != category)
    return tuple(name for name, ratio in ratios if np.ptp(ratio) < ALIKE)


@cache
def _sides(object_id: str) -> FloatArray:
    return np.asarray(np.log(np.maximum(_loaded(object_id).mesh.extents, 1e-3)))


def _common(own: Sequence[Use], other: Sequence[Use]) -> list[Use]:
    """Uses of the first with the parts of the second, where both are of one kind and by the same sides."""
    return [
        (name, kind, parts) for name, kind, sides in own for _, same, parts in other
        if same == kind and set(parts) == set(sides)
    ]  # fmt: skip


def _as_block(thing: LibraryObject, rng: np.random.Generator) -> Plan | None:
    """A rounded block in the box of a thing, used as it is."""
    exponents = rng.uniform(0.15, 1.0, 2)
    mesh = rounded_block(float(exponents[0]), float(exponents[1]), int(rng.integers(3)))
    sides = thing.mesh.extents / np.maximum(mesh.extents, 1e-6)
    nothing = np.zeros(len(mesh.faces), dtype=np.int64), np.zeros(len(mesh.verts), dtype=np.int64)
    shape = replace(thing, mesh=Mesh(mesh.verts * sides, mesh.faces, thing.id), part_names=("whole",),
                    face_parts=nothing[0], vert_parts=nothing[1])  # fmt: skip
    return _used_as(thing, shape, list(uses_of(shape)), rng)


def _used_as(thing: LibraryObject, shape: LibraryObject, uses: Sequence[Use], rng: np.random.Generator) -> Plan | None:
    if not uses:
        return None
    recipe = drawn_use(uses[int(rng.integers(len(uses)))], shape, rng)
    return Plan(recipe, thing.id, shape, varied=True, own=False)


def rounded_block(around: float, along: float, axis: int) -> Mesh:
    """A closed superellipsoid in the box -1..1: exponents of 1 make a ball, small ones a block; (1, 0.2) a cylinder.

    Args:
        around: exponent of its outline seen along the axis.
        along: exponent of its outline seen from the side.
        axis: 0, 1 or 2.
    """
    v, u = np.linspace(-np.pi / 2, np.pi / 2, ALONG + 1)[1:-1], np.arange(AROUND) * 2 * np.pi / AROUND
    ring = np.stack([_power(np.cos(u), around), _power(np.sin(u), around)], -1)
    rings = [np.c_[ring * _power(np.cos(a), along), np.full(AROUND, _power(np.sin(a), along))] for a in v]
    verts = np.concatenate([*rings, [[0, 0, -1], [0, 0, 1]]])
    k, turn = np.arange(AROUND), (np.arange(AROUND) + 1) % AROUND
    bands = [
        r * AROUND + f
        for r in range(len(v) - 1)
        for f in (np.stack([k, turn, turn + AROUND], -1), np.stack([k, turn + AROUND, k + AROUND], -1))
    ]
    low, high, top = len(verts) - 2, len(verts) - 1, (len(v) - 1) * AROUND
    ends = [np.stack([turn, k, np.full(AROUND, low)], -1), np.stack([k + top, turn + top, np.full(AROUND, high)], -1)]
    return Mesh(np.roll(verts, axis + 1, axis=1), np.concatenate([*bands, *ends]), "block")


def _power(values: FloatArray, exponent: float) -> FloatArray:
    return np.asarray(np.sign(values) * np.abs(values) ** exponent)
