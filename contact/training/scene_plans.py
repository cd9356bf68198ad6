"""What happens in a quick scene: a recipe drawn for a category, from the closed world's table or from how the library
says that things of the category are used.

The table's recipes are exact descriptions of 54 interactions; the others are drawn wide: where a hand lies on a part,
from which side, where the object is held. Both are :class:`~hoirecon.data.closedworld.recipes.Recipe`, so that one
solver poses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from hoirecon.data.closedworld.recipes import RECIPES, Grip, Recipe, Spot, Triple
from hoirecon.data.objects import Category, LibraryObject, get_category, list_categories, load_object
from hoirecon.data.objects.library import list_objects

FROM_TABLE = 0.4
"""Share of scenes that take a recipe of the closed world's table where the category has one."""
SEAT_M = (0.25, 0.80)
"""Heights above the ground on which a person sits, metres."""
STEP_M = (0.02, 0.65)
"""Heights that a person stands on, metres."""
HELD_M, CARRIED_M, LEAST_TOP_M = 0.55, 1.1, 0.35
"""Longest side of what one hand holds, of what two hands carry, and least height of what a hand is laid on, metres."""
SLENDER = 0.35
"""A part whose other sides are at most this share of its longest is gripped across."""
_SIDES = ("left", "right")


def draw_recipe(category: str, object_id: str, rng: np.random.Generator) -> Recipe | None:
    """A recipe for one object, or None if nothing that its category is used for can be posed here."""
    known = [recipe for recipe in _table().get(category, ()) if _fits(recipe, object_id)]
    if known and rng.random() < FROM_TABLE:
        recipe = known[rng.integers(len(known))]
        return replace(recipe, objects=(object_id,))
    thing = load_object(object_id)
    uses = [use for use in _uses(get_category(category), thing) if use is not None]
    if not uses:
        return None
    return _drawn(uses[rng.integers(len(uses))], thing, rng)


def categories() -> tuple[str, ...]:
    """Categories of the library of which at least one mesh can be used."""
    return tuple(name for name in list_categories() if any(_usable(name, entry.id) for entry in list_objects(name)))


def held_things() -> tuple[tuple[str, str], ...]:
    """(category, library id) of everything that one hand can hold."""
    everything = ((name, entry.id) for name in categories() for entry in list_objects(name))
    return tuple((name, thing) for name, thing in everything if any(use[1] == "hold" for use in _uses_of(name, thing)))


@cache
def _usable(category: str, object_id: str) -> bool:
    known = any(_fits(recipe, object_id) for recipe in _table().get(category, ()))
    return known or bool(_uses(get_category(category), load_object(object_id)))


@cache
def _table() -> Mapping[str, tuple[Recipe, ...]]:
    """The closed world's recipes by category; those without contact are left out."""
    found: dict[str, list[Recipe]] = {}
    for recipe in RECIPES["all"]:
        for category in sorted(recipe.categories) if recipe.touching else ():
            found.setdefault(category, []).append(recipe)
    return {name: tuple(recipes) for name, recipes in found.items()}


def _fits(recipe: Recipe, object_id: str) -> bool:
    """Whether the object has the parts that a recipe names; a recipe's own objects do."""
    if object_id in recipe.objects:
        return True
    parts = {recipe.pin.part, *(grip.spot.part for grip in recipe.hands.values())} - {""}
    return bool(parts) and parts <= set(load_object(object_id).part_names)


# -------------------------------------------------------------------------------------------------- the library's uses
Use = tuple[str, str, Mapping[str, str]]
"""Name of the interaction, what kind of thing happens, and the object's part for each side or body part."""


@cache
def _uses_of(category: str, object_id: str) -> tuple[Use, ...]:
    thing = load_object(object_id)
    found = []
    for name, pairs in get_category(category).interactions.items():
        use = _use(name, dict(reversed(pairs)), thing)
        if use is not None:
            found.append(use)
    return tuple(found)


def _uses(category: Category, thing: LibraryObject) -> Sequence[Use]:
    return _uses_of(category.name, thing.id)


def _use(name: str, pairs: Mapping[str, str], thing: LibraryObject) -> Use | None:
    """What kind of thing an interaction is, or None if this module cannot pose it (lying, wearing, kicking ...)."""
    body = set(pairs)
    hands = {side: pairs[f"{side}_palm"] for side in _SIDES if f"{side}_palm" in pairs}
    fingers = {side: pairs[f"{side}_thumb"] for side in _SIDES if f"{side}_thumb" in pairs}
    hands = hands or fingers
    rest = {part for part in body if part.removeprefix("left_").removeprefix("right_") not in _OF_HANDS}
    height = _top(thing, pairs.get("left_buttock", pairs.get("left_sole", "")))
    if {"left_buttock", "right_buttock"} <= body and not hands and "head" not in body:
        return (name, "sit", {"seat": pairs["left_buttock"]}) if SEAT_M[0] < height < SEAT_M[1] else None
    if {"left_sole", "right_sole"} <= body and not hands:
        return (name, "stand", {"deck": pairs["left_sole"]}) if STEP_M[0] < height < STEP_M[1] else None
    if not hands or rest:
        return None
    longest = float(thing.mesh.extents.max())
    if longest > CARRIED_M or (longest > HELD_M and len(hands) == 1):
        return (name, "lean", hands) if float(thing.mesh.extents[1]) > LEAST_TOP_M else None
    return name, ("hold" if len(hands) == 1 else "carry"), hands


_OF_HANDS = ("palm", "thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger", "hand_back")


def _top(thing: LibraryObject, part: str) -> float:
    """Height of a part's upper end above the object's lower end, metres."""
    verts = thing.mesh.verts
    return float(np.quantile(verts[_ids(thing, part), 1], 0.98) - verts[:, 1].min())


def _ids(thing: LibraryObject, part: str) -> np.ndarray:
    return thing.part_verts(part) if part in thing.part_names else np.arange(len(thing.mesh.verts))


# ---------------------------------------------------------------------------------------------------------- the drawing
def _drawn(use: Use, thing: LibraryObject, rng: np.random.Generator) -> Recipe:
    name, kind, parts = use
    return {"sit": _sit, "stand": _stand, "hold": _hold, "carry": _carry, "lean": _lean}[kind](name, parts, thing, rng)


def _sit(name: str, parts: Mapping[str, str], thing: LibraryObject, rng: np.random.Generator) -> Recipe:
    pin = Spot(parts["seat"], (float(rng.uniform(-0.3, 0.3)), 1.0, float(rng.uniform(-0.1, 0.5))))
    hands = {s: ((g * 0.13, 0.03, 0.30), (0, -1, 0)) for s, g in (("left", 1), ("right", -1)) if rng.random() < 0.6}
    return Recipe(name, (thing.id,), ("seat", "low"), (0, -0.005, 0.05), pin, base="sit", rest=hands, touch=("seat",),
                  tilt=(1.0, 8.0, 1.0))  # fmt: skip


def _stand(name: str, parts: Mapping[str, str], thing: LibraryObject, rng: np.random.Generator) -> Recipe:
    turn = float(rng.choice([0.0, 90.0, 180.0]))
    pin = Spot(parts["deck"], (float(rng.uniform(-0.2, 0.2)), 1.0, float(rng.uniform(-0.2, 0.2))))
    base = str(rng.choice(["board", "stand"]))
    return Recipe(name, (thing.id,), ("both_foot", "low"), (0, 0.004, 0), pin, (0, turn, 0), base,
                  touch=("left_foot", "right_foot"), tilt=(0.5, 15.0, 0.5))  # fmt: skip


def _hold(name: str, parts: Mapping[str, str], thing: LibraryObject, rng: np.random.Generator) -> Recipe:
    """In one hand, anywhere before the body or beside it; drawn for the right hand, the solver mirrors half of all."""
    part = next(iter(parts.values()))
    offset = (float(rng.uniform(-0.45, 0.0)), float(rng.uniform(-0.45, 0.35)), float(rng.uniform(0.08, 0.4)))
    at = tuple(float(v) for v in rng.uniform(-0.5, 0.5, 3))
    across, ways = _grip_ways(thing, part)
    facing = ways[rng.integers(len(ways))]
    grip = Grip(Spot(part, at), facing, across)  # type: ignore[arg-type]
    euler = (float(rng.normal(0, 20)), float(rng.uniform(-90, 90)), float(rng.normal(0, 20)))
    return Recipe(name, (thing.id,), ("chest", "front"), offset, Spot(part), euler, _upright(rng),
                  hands={"right": grip}, tilt=(8, 20, 8), loose=float(rng.uniform(0.5, 1.1)))  # fmt: skip


def _carry(name: str, parts: Mapping[str, str], thing: LibraryObject, rng: np.random.Generator) -> Recipe:
    """In both hands: on a bar where the part is one, else from both sides or from below."""
    offset = (float(rng.normal(0, 0.04)), float(rng.uniform(-0.35, 0.25)), float(rng.uniform(0.02, 0.22)))
    part = parts.get("left", next(iter(parts.values())))
    slender = _slender(thing, part)
    if slender is not None:
        return _on_a_bar(name, thing, part, slender, offset, rng)
    heights = float(rng.uniform(-0.6, 0.4)), float(rng.uniform(-0.4, 0.4))
    hands = {
        "left": Grip(Spot("", (1, *heights)), (-1, 0, 0)),
        "right": Grip(Spot("", (-1, *heights)), (1, 0, 0)),
    }
    if rng.random() < 0.25:
        hands = {s: Grip(Spot("", (g * 0.6, -1, 0.0)), (0, 1, 0)) for s, g in (("left", 1), ("right", -1))}
    pin = Spot("", (0, 0, -1))
    return Recipe(name, (thing.id,), ("chest", "front"), offset, pin, (8, 0, 0), _upright(rng), hands, tilt=(8, 6, 5))


def _on_a_bar(
    name: str, thing: LibraryObject, part: str, axis: int, offset: Triple, rng: np.random.Generator
) -> Recipe:
    turn = {0: (0.0, 0.0, 0.0), 1: (0.0, 0.0, 90.0), 2: (0.0, 90.0, 0.0)}[axis]
    apart = float(rng.uniform(0.25, 0.8))
    facing = [(0, -1, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1)][rng.integers(4)]
    back = _turned_back(turn, facing)
    along = _turned_back(turn, (1, 0, 0))
    hands = {
        s: Grip(Spot(part, tuple(g * apart * v for v in along)), back, along)  # type: ignore[arg-type]
        for s, g in (("left", 1), ("right", -1))
    }
    forward = (offset[0], offset[1], offset[2] + 0.15)
    return Recipe(name, (thing.id,), ("chest", "front"), forward, Spot(part), turn, _upright(rng), hands,
                  tilt=(6, 6, 10), loose=1.0)  # fmt: skip


def _lean(name: str, parts: Mapping[str, str], thing: LibraryObject, rng: np.random.Generator) -> Recipe:
    """The object stands before the person, hands lie on top of it."""
    turn = float(rng.choice([0.0, 180.0, 90.0]))
    apart = float(rng.uniform(0.2, 0.7))
    one = rng.random() < 0.4 or len(parts) == 1
    part = next(iter(parts.values()))
    depth = float(rng.uniform(-1, 0.2))
    hands = {}
    for side, g in (("left", 1), ("right", -1)):
        at = _turned_back((0, turn, 0), (g * apart, 0, depth))
        hands[side] = Grip(Spot(part, (at[0], 1.0, at[2])), (0, -1, 0))
    if one:
        del hands["left"]
    near = {0.0: Spot("", (0, -1, -1)), 180.0: Spot("", (0, -1, 1)), 90.0: Spot("", (1, -1, 0))}[turn]
    base = str(rng.choice(["stoop", "stand", "stride"]))
    return Recipe(name, (thing.id,), ("both_foot", "low"), (float(rng.normal(0, 0.1)), 0, float(rng.uniform(0.2, 0.4))),
                  near, (0, turn, 0), base, hands, tilt=(0.5, 8, 0.5), loose=0.5)  # fmt: skip


def _upright(rng: np.random.Generator) -> str:
    return str(rng.choice(["stand", "stand", "stride", "sit", "stoop"]))


def _slender(thing: LibraryObject, part: str) -> int | None:
    """Axis along which a part is long and thin, or None."""
    corners = thing.mesh.verts[_ids(thing, part)]
    sides = corners.max(0) - corners.min(0)
    axis = int(sides.argmax())
    others = np.delete(sides, axis)
    return axis if others.max() < SLENDER * sides[axis] else None


def _grip_ways(thing: LibraryObject, part: str) -> tuple[Triple | None, list[Triple]]:
    """The bar's direction if the part is one, and from where palms may come: never along a bar."""
    axis = _slender(thing, part)
    everything: list[Triple] = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1)]
    if axis is None:
        return None, everything
    across: Triple = ((1, 0, 0), (0, 1, 0), (0, 0, 1))[axis]
    return across, [way for way in everything if way[axis] == 0]


def _turned_back(euler: Triple, way: Triple) -> Triple:
    """A direction of the body frame as the object frame has it."""
    from scipy.spatial.transform import Rotation

    x, y, z = Rotation.from_euler("xyz", euler, degrees=True).inv().apply(way)
    return float(x), float(y), float(z)
