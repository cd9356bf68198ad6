"""New shapes of the object library's kinds: its parametric generators with other arguments, and mild deformations.

The generators make what is trained on and what is tested on; which is which is decided by the seed of a draw alone.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.objects.generators.assembly import Variant
from hoirecon.errors import InputError, require
from hoirecon.mesh import Mesh

Rng = np.random.Generator
TRIES = 6
"""How often a draw is repeated, each time nearer to the generator's own arguments, when its parts do not fit."""


@dataclass(frozen=True)
class ShapeSpread:
    """How far drawn shapes lie from those of the library."""

    arguments: float = 0.2
    """Standard deviation of the logarithm of each size that a generator takes."""
    counts: float = 0.3
    """How often a count (of legs, of shelves) is one more or one less."""
    stretch: float = 0.12
    """Standard deviation of the logarithm of the stretch along each axis."""
    alike: float = 0.5
    """How often x and z are stretched alike, so that round things stay round."""
    taper: float = 0.2
    """Largest part by which a tapered shape is wider or narrower at its top and bottom; a third of the shapes are."""


@dataclass(frozen=True)
class DrawnShape:
    """One shape."""

    name: str
    """`category/variant#draw`."""
    category: str
    """Category of the object library."""
    mesh: Mesh
    """Frame y up, +z front, bounding box centred at the origin, metres."""


def parametric_variants() -> dict[str, Variant]:
    """The library's parametric variants by id, sorted.

    Raises:
        MissingExtraError: manifold3d is not installed.
    """
    require("manifold3d", extra="objects")
    from hoirecon.data.objects.generators.registry import all_variants

    return all_variants()


def draw_shape(variant: Variant, seed: int, draw: int, spread: ShapeSpread = ShapeSpread()) -> DrawnShape:
    """A shape near a variant of the library.

    Args:
        variant: which generator, and round which arguments.
        seed: of the set of shapes; shapes of different seeds are independent.
        draw: which shape of the set.
        spread: how far from the variant.

    Raises:
        InputError: the generator fails with its own arguments too.
    """
    rng = np.random.default_rng([seed, draw, zlib.crc32(variant.id.encode())])
    for attempt in range(TRIES):
        width = spread.arguments * (1 - attempt / TRIES)
        chance = spread.counts if attempt < TRIES // 2 else 0.0
        arguments = drawn_arguments(variant, rng, width, chance)
        try:
            with np.errstate(all="raise"):
                built = variant.make(**arguments).build()
            mesh = Mesh(_centred(deformed(built.verts, rng, spread)), built.faces, name=variant.id)
        except (ArithmeticError, ValueError, IndexError):  # sizes that contradict each other
            continue
        return DrawnShape(f"{variant.id}#{draw}", variant.category, mesh)
    raise InputError(f"{variant.id} could not be drawn in {TRIES} tries: use a smaller spread")


def drawn_arguments(variant: Variant, rng: Rng, width: float, chance: float) -> dict[str, Any]:
    """Arguments of a variant's generator with every size and count drawn anew; names and switches stay."""
    defaults = {name: p.default for name, p in inspect.signature(variant.make).parameters.items()}
    known: Mapping[str, Any] = defaults | dict(variant.arguments)
    return {name: _drawn(value, rng, width, chance) for name, value in known.items()}


def deformed(verts: FloatArray, rng: Rng, spread: ShapeSpread) -> FloatArray:
    """Vertices (V, 3) stretched along the axes and perhaps tapered along the height."""
    stretch = np.exp(rng.normal(0, spread.stretch, 3).clip(-2 * spread.stretch, 2 * spread.stretch))
    if rng.random() < spread.alike:
        stretch[2] = stretch[0]
    moved: FloatArray = verts * stretch
    if rng.random() < 1 / 3:
        half = max(float(np.abs(moved[:, 1]).max()), 1e-9)
        moved[:, [0, 2]] *= 1 + rng.uniform(-spread.taper, spread.taper) * moved[:, 1:2] / half
    return moved


def _drawn(value: Any, rng: Rng, width: float, chance: float) -> Any:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return value * float(np.exp(rng.normal(0, width) if width else 0.0).clip(0.5, 2.0))
    if isinstance(value, int):
        return value + int(rng.choice((-1, 1))) if value > 1 and rng.random() < chance else value
    return tuple(_drawn(item, rng, width, chance) for item in value)


def _centred(verts: FloatArray) -> FloatArray:
    middle: FloatArray = (verts.max(0) + verts.min(0)) / 2
    return verts - middle
