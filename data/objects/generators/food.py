"""Things to eat."""

from __future__ import annotations

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    arc,
    disc,
    ellipsoid,
    extrude,
    lathe,
    ring,
    rod,
    tube,
)


@makes("apple", "y:inf", apple={})
def apple(radius: float = 0.04) -> Assembly:
    """An apple with its stalk up."""
    r = radius
    profile: list[tuple[float, float]] = [
        (0, -0.78 * r),
        (0.3 * r, -0.9 * r),
        (0.72 * r, -0.62 * r),
        (0.95 * r, -0.1 * r),
        (r, 0.2 * r),
        (0.86 * r, 0.65 * r),
        (0.45 * r, 0.88 * r),
        (0.15 * r, 0.74 * r),
        (0, 0.6 * r),
    ]
    return (
        Assembly(target_faces=1400)
        .add("flesh", lathe(profile, 24))
        .add("stalk", rod((0, 0.55 * r, 0), (0, 1.12 * r, 0), 0.002, segments=6))
    )


@makes("orange", "ball", orange={}, lemon_sized={"radius": 0.03})
def orange(radius: float = 0.039) -> Assembly:
    """A round fruit."""
    return Assembly(target_faces=1200).add("flesh", ellipsoid((radius, radius, radius), segments=32))


@makes("banana", "", banana={})
def banana() -> Assembly:
    """A banana, stalk up, bent to +x."""
    path = arc((0.12, 0, 0), 0.12, 132, 228, 14)
    radii = [0.006, 0.007, 0.011, 0.015, 0.0175, 0.0185, 0.019, 0.019, 0.0185, 0.0175, 0.0155, 0.012, 0.008, 0.004]
    return Assembly(target_faces=1400).add("flesh", tube(path, radii, segments=8))


@makes("donut", "y:inf", donut={})
def donut() -> Assembly:
    """A ring of dough lying flat."""
    return Assembly(target_faces=1400).add("dough", ring((0, 0, 0), "y", 0.028, 0.0165, 32, 14))


@makes("sandwich", "", triangle={}, burger={"round_bun": True})
def sandwich(round_bun: bool = False) -> Assembly:
    """Two slices of bread with a filling; a triangle, or a round bun."""
    out = Assembly(target_faces=1600)
    if round_bun:
        out.add("bread", lathe([(0.048, 0), (0.053, 0.008), (0.05, 0.016), (0, 0.016)], 24))
        out.add("filling", lathe([(0.055, 0.0155), (0.057, 0.024), (0.054, 0.033), (0, 0.033)], 24))
        return out.add("bread", lathe([(0.053, 0.032), (0.054, 0.042), (0.044, 0.056), (0.025, 0.064), (0, 0.066)], 24))
    outline = [(-0.07, -0.035), (0.07, -0.035), (0, 0.035)]
    grown = [(1.04 * x, 1.04 * y) for x, y in outline]
    out.add("bread", extrude(outline, 0.013, "y", (0, 0.0065, 0)), extrude(outline, 0.013, "y", (0, 0.0315, 0)))
    return out.add("filling", extrude(grown, 0.0124, "y", (0, 0.019, 0)))


@makes("pizza", "y:inf", whole={})
def pizza(radius: float = 0.15) -> Assembly:
    """A round pizza with a raised crust."""
    r = radius
    crust: list[tuple[float, float]] = [
        (0, 0),
        (r, 0),
        (r + 0.004, 0.009),
        (r - 0.006, 0.019),
        (r - 0.018, 0.012),
        (0, 0.01),
    ]
    return Assembly(target_faces=1800).add("crust", lathe(crust, 36))


@makes("cake", "y:inf", round={})
def cake(radius: float = 0.12, height: float = 0.09) -> Assembly:
    """A round cake on a board."""
    out = Assembly(target_faces=1600).add("board", disc((0, 0.003, 0), "y", radius + 0.02, 0.006, 32))
    return out.add(
        "cake", lathe([(radius, 0.005), (radius, height - 0.006), (radius - 0.006, height), (0, height)], 32)
    )
