"""Hand and garden tools: grip below (-y), working end above."""

from __future__ import annotations

import numpy as np

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    arc,
    box,
    curve,
    disc,
    extrude,
    lathe,
    rod,
    sections,
    tube,
    turn,
)


@makes(
    "hammer",
    "",
    claw={},
    mallet={"length": 0.32, "k": 1.3, "claw": False},
)
@makes("sledge hammer", "", sledge={"length": 0.9, "k": 1.9, "claw": False})
def hammer(length: float = 0.33, k: float = 1.0, claw: bool = True) -> Assembly:
    """A hammer, head up, striking face to +z."""
    out = Assembly(target_faces=1400)
    grip = 0.45 * length
    out.add("handle", sections("y", [(0, 0.03 * k**0.5, 0.036 * k**0.5), (grip, 0.026 * k**0.5, 0.03 * k**0.5)], 3, 14))
    out.add(
        "shaft",
        sections("y", [(grip, 0.021 * k**0.5, 0.026 * k**0.5), (length - 0.01, 0.018 * k**0.5, 0.024 * k**0.5)], 3, 14),
    )
    y = length - 0.018 * k
    if not claw:
        return out.add("head", box((0.042 * k, 0.045 * k, 0.105 * k), (0, y, 0), 0.006))
    out.add(
        "head",
        rod((0, y, -0.015), (0, y, 0.042), 0.011, segments=14),
        disc((0, y, 0.046), "z", 0.0145, 0.016, 18),
        box((0.024, 0.032, 0.03), (0, y, 0), 0.005),
    )
    for s in (-1, 1):
        out.add(
            "claw",
            tube(
                [(s * 0.004, y, -0.01), (s * 0.008, y + 0.002, -0.04), (s * 0.013, y - 0.018, -0.075)],
                [0.008, 0.007, 0.003],
                segments=6,
            ),
        )
    return out


@makes("rake", "", leaf={})
def rake(height: float = 1.5) -> Assembly:
    """A garden rake with its tines down, pointing to +z."""
    out = Assembly(target_faces=2400, longest_edge=0.07)
    out.add("stick", rod((0, 0.06, 0), (0, 0.75, 0), 0.014)).add("grip", rod((0, 0.75, 0), (0, height, 0), 0.014))
    out.add("head", box((0.4, 0.025, 0.02), (0, 0.06, 0), 0.004))
    return out.add(
        "head",
        *[
            tube([(x, 0.06, 0), (x, 0.05, 0.045), (x, 0.0, 0.06)], [0.005, 0.0045, 0.003], segments=5)
            for x in np.linspace(-0.18, 0.18, 12)
        ],
    )


@makes("shovel", "", spade={}, snow={"width": 0.45, "blade": 0.35})
def shovel(length: float = 1.15, width: float = 0.2, blade: float = 0.29) -> Assembly:
    """A shovel, blade down, its hollow to +z, a D grip above."""
    out = Assembly(target_faces=1800, longest_edge=0.06)
    rows = [
        (0, 0.7 * width, 0.004, 0, 0.012),
        (0.04, 0.95 * width, 0.005, 0, 0.008),
        (0.8 * blade, width, 0.006, 0, 0),
        (blade, 0.9 * width, 0.007, 0, 0),
    ]
    out.add("blade", sections("y", rows, 6, 20))
    out.add("shaft", rod((0, blade - 0.1, -0.006), (0, length - 0.12, -0.012), 0.0165, segments=10))
    top = length - 0.13
    frame = [(0.0, top, -0.012), (0.055, top + 0.05, -0.012), (0.058, length - 0.01, -0.012)]
    out.add("grip", tube(frame, 0.01), tube([(-x, y, z) for x, y, z in frame], 0.01))
    return out.add("grip", rod((-0.062, length - 0.012, -0.012), (0.062, length - 0.012, -0.012), 0.014, segments=10))


@makes("axe", "", felling={}, hatchet={"length": 0.36, "k": 0.8})
def axe(length: float = 0.75, k: float = 1.0) -> Assembly:
    """An axe, head up, edge to +z."""
    out = Assembly(target_faces=1400, longest_edge=0.04)
    path = curve([(0, 0, 0.012), (0, 0.12 * length, -0.004), (0, 0.6 * length, 0.0), (0, length, 0.0)], 14)
    out.add("handle", tube(path[:7], 0.0155 * k, flat=1.35, segments=10, up=(0, 0, 1))).add(
        "shaft", tube(path[6:], 0.0145 * k, flat=1.35, segments=10, up=(0, 0, 1))
    )
    y = length - 0.06 * k
    outline = (
        np.array(
            [(-0.045, 0.03), (-0.045, -0.03), (0.02, -0.028), (0.085, -0.06), (0.098, 0.0), (0.085, 0.06), (0.02, 0.03)]
        )
        * k
    )
    blade = extrude(outline, 0.034 * k, "x", (0, y, 0))
    wedge = extrude(
        [
            (-0.017 * k, -0.05 * k),
            (0.017 * k, -0.05 * k),
            (0.017 * k, 0.02 * k),
            (0.001, 0.1 * k),
            (-0.001, 0.1 * k),
            (-0.017 * k, 0.02 * k),
        ],
        0.2,
        "y",
        (0, y, 0),
    )
    return out.add("head", blade ^ wedge)


@makes("screwdriver", "", flat={})
def screwdriver() -> Assembly:
    """A screwdriver, tip up."""
    out = Assembly(target_faces=1200).add(
        "handle", lathe([(0.008, 0), (0.0155, 0.008), (0.0165, 0.05), (0.013, 0.08), (0.014, 0.1), (0.006, 0.106)], 12)
    )
    return out.add(
        "shaft",
        rod((0, 0.1, 0), (0, 0.2, 0), 0.0032, segments=8),
        sections("y", [(0.195, 0.0064, 0.006), (0.22, 0.008, 0.001)], 4, 8),
    )


@makes("wrench", "", open_end={})
def wrench(length: float = 0.25) -> Assembly:
    """An open-ended wrench, jaw up, ring below."""
    out = Assembly(target_faces=1400).add(
        "handle",
        sections(
            "y", [(-length / 2 + 0.02, 0.022, 0.008), (0, 0.019, 0.007), (length / 2 - 0.03, 0.024, 0.009)], 3, 14
        ),
    )
    jaw = disc((0, length / 2 - 0.02, 0), "z", 0.026, 0.011, 24) - turn(
        box((0.021, 0.05, 0.05), (0, 0.022, 0)), (0, 0, 15)
    ).translate([0, length / 2 - 0.02, 0])
    eye = disc((0, -length / 2 + 0.017, 0), "z", 0.019, 0.011, 24) - disc(
        (0, -length / 2 + 0.017, 0), "z", 0.0105, 0.1, 6
    )
    return out.add("jaw", jaw).add("ring", eye)


@makes("saw", "", hand={})
def saw() -> Assembly:
    """A hand saw: grip at -z, blade to +z, teeth down."""
    out = Assembly(target_faces=1800)
    blade = [(-0.2, -0.055), (0.3, -0.055), (0.3, -0.005), (-0.2, 0.055)]
    out.add("blade", extrude(blade, 0.002, "x"))
    frame = extrude(
        [
            [(-0.33, -0.06), (-0.2, -0.06), (-0.17, 0.05), (-0.21, 0.075), (-0.34, 0.06)],
            [(-0.3, -0.03), (-0.23, -0.03), (-0.22, 0.04), (-0.31, 0.03)],
        ],
        0.022,
        "x",
    )
    return out.add("handle", frame)


@makes("drill", "", cordless={})
def drill() -> Assembly:
    """A cordless drill: bit to +z, grip down, battery below."""
    out = Assembly(target_faces=2000)
    out.add("body", lathe([(0.02, -0.1), (0.031, -0.09), (0.031, 0.03), (0.024, 0.06), (0.02, 0.065)], 20, "z"))
    out.add("chuck", rod((0, 0, 0.06), (0, 0, 0.11), 0.021, 0.014, 18)).add(
        "bit", rod((0, 0, 0.105), (0, 0, 0.19), 0.0035, segments=8)
    )
    out.add("handle", tube([(0, -0.015, -0.045), (0, -0.13, -0.065)], [0.021, 0.02], flat=1.2, segments=14))
    out.add("trigger", box((0.014, 0.035, 0.02), (0, -0.05, -0.022), 0.005))
    return out.add("battery", box((0.075, 0.045, 0.115), (0, -0.15, -0.055), 0.01))


@makes("pliers", "", combination={})
def pliers() -> Assembly:
    """Pliers, jaws up, slightly open."""
    out = Assembly(target_faces=1800)
    for s in (-1, 1):
        grip = curve([(0.004 * s, 0.01, 0), (0.03 * s, -0.03, 0), (0.032 * s, -0.08, 0), (0.024 * s, -0.125, 0)], 12)
        out.add("handles", tube(grip, [0.007, *[0.008] * 10, 0.006], flat=0.8, segments=10, up=(0, 0, 1)))
        out.add(
            "jaws",
            extrude(
                [(0.001 * s, 0), (0.014 * s, 0.005), (0.012 * s, 0.03), (0.005 * s, 0.06), (0.002 * s, 0.06)], 0.012
            ),
        )
    return out.add("jaws", disc((0, 0.006, 0), "z", 0.013, 0.013, 18))


@makes("scissors", "", scissors={}, shears={"k": 1.35})
def scissors(k: float = 1.0) -> Assembly:
    """Scissors, tips up, a little open, finger rings below."""
    out = Assembly(target_faces=2400)
    for side, s in (("left", 1), ("right", -1)):
        blade = extrude(
            [
                (-0.006 * k, -0.004 * k),
                (0.007 * k, -0.004 * k),
                (0.005 * k, 0.05 * k),
                (0.0, 0.1 * k),
                (-0.005 * k, 0.05 * k),
            ],
            0.0018 * k,
        )
        out.add("blades", turn(blade, (0, 0, -6 * s)).translate([0, 0, 0.001 * k * s]))
        arm = [(0, 0, 0), (-0.011 * s * k, -0.03 * k, 0), (-0.014 * s * k, -0.045 * k, 0)]
        out.add("arms", tube(arm, 0.0042 * k, segments=8))
        loop = arc((-0.021 * s * k, -0.068 * k, 0), 0.0175 * k, 0, 345, 20)
        loop[:, 1] = -0.068 * k + (loop[:, 1] + 0.068 * k) * 1.4
        out.add(f"ring_{side}", tube(loop, 0.0042 * k, closed=True, segments=8, up=(0, 0, 1)))
    return out.add("arms", disc((0, 0, 0), "z", 0.006 * k, 0.007 * k, 14))
