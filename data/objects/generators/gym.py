"""Weights, balls and mats."""

from __future__ import annotations

import numpy as np

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    Solid,
    arc,
    box,
    curve,
    disc,
    ellipsoid,
    extrude,
    lathe,
    move,
    ring,
    rod,
    sections,
    tube,
)

COMPETITION = ((0.225, 0.063), (0.16, 0.023))
TRAINING = ((0.225, 0.05),)
SMALL = ((0.14, 0.03), (0.1, 0.025))


@makes(
    "barbell",
    "x:inf y:2",
    olympic={"plates": COMPETITION},
    light={"plates": TRAINING},
    heavy={"plates": (*COMPETITION, (0.225, 0.05), (0.225, 0.04))},
    bare={"plates": ()},
    home={"length": 1.6, "shaft": 1.05, "plates": SMALL, "sleeve_radius": 0.0125, "bar_radius": 0.0125},
)
def barbell(
    plates: tuple[tuple[float, float], ...],
    length: float = 2.2,
    shaft: float = 1.31,
    bar_radius: float = 0.014,
    sleeve_radius: float = 0.025,
) -> Assembly:
    """A bar along x; `plates` are (radius, thickness) from the collar outward."""
    out = Assembly(longest_edge=0.06)
    centre = 0.2 * shaft
    out.add("bar_centre", rod((-centre, 0, 0), (centre, 0, 0), bar_radius))
    for side, sign in (("left", 1), ("right", -1)):
        end = sign * shaft / 2
        out.add(f"bar_{side}", rod((sign * centre, 0, 0), (end, 0, 0), bar_radius))
        out.add(f"sleeve_{side}", disc((end + sign * 0.015, 0, 0), "x", sleeve_radius + 0.012, 0.03, 16))
        out.add(f"sleeve_{side}", rod((end, 0, 0), (sign * length / 2, 0, 0), sleeve_radius, segments=16))
        at = abs(end) + 0.03
        for radius, thickness in plates:
            out.add(f"plates_{side}", _plate((sign * (at + thickness / 2), 0, 0), radius, thickness))
            at += thickness + 0.001
        if plates:
            out.add(f"sleeve_{side}", disc((sign * (at + 0.02), 0, 0), "x", sleeve_radius + 0.02, 0.04, 16))
    return out


def _plate(at: tuple[float, float, float], radius: float, thickness: float) -> Solid:
    """A disc with a raised rim and hub, as cast plates have."""
    t, r = thickness / 2, radius
    profile = [(0, -0.7 * t), (0.78 * r, -0.7 * t), (0.84 * r, -t), (r, -0.8 * t)]
    return move(lathe([*profile, *[(a, -b) for a, b in reversed(profile)]], 24, "x"), at)


@makes(
    "dumbbell",
    "x:6 y:2",
    hex={"weight_radius": 0.065, "length": 0.3},
    hex_small={"weight_radius": 0.045, "length": 0.21},
)
def hex_dumbbell(weight_radius: float, length: float) -> Assembly:
    """Two hexagonal heads on a handle along x."""
    out, grip = Assembly(target_faces=1200), 0.07
    out.add("handle", rod((-grip, 0, 0), (grip, 0, 0), 0.016, segments=12))
    for side, sign in (("left", 1), ("right", -1)):
        stops = [grip - 0.005, grip + 0.01, length / 2 - 0.012, length / 2]
        radii = [0.75 * weight_radius, weight_radius, weight_radius, 0.8 * weight_radius]
        out.add(f"head_{side}", tube([(sign * s, 0, 0) for s in stops], radii, segments=6))
    return out


@makes("dumbbell", "x:inf y:2", round={}, plates={"discs": 3}, vinyl={"radius": 0.045, "length": 0.18, "discs": 1})
def round_dumbbell(radius: float = 0.08, length: float = 0.34, discs: int = 1) -> Assembly:
    """A handle along x with one or more discs at each end."""
    out, grip = Assembly(target_faces=1600), min(0.075, 0.3 * length)
    out.add("handle", rod((-grip, 0, 0), (grip, 0, 0), 0.016, segments=12))
    room = length / 2 - grip
    for side, sign in (("left", 1), ("right", -1)):
        head = f"head_{side}"
        out.add(head, rod((sign * grip, 0, 0), (sign * length / 2, 0, 0), 0.016, segments=12))
        for k in range(discs):
            width = 0.8 * room / discs
            at = sign * (grip + (k + 0.5) * width)
            out.add(head, disc((at, 0, 0), "x", radius * (1 - 0.18 * k), 0.92 * width, 24))
    return out


@makes("kettlebell", "y:2", standard={}, small={"radius": 0.075}, competition={"radius": 0.105, "thick": 0.0165})
def kettlebell(radius: float = 0.095, thick: float = 0.017) -> Assembly:
    """A ball with a flat foot and a loop handle in the plane z = 0."""
    out = Assembly(target_faces=1600)
    out.add("body", ellipsoid((radius, radius, radius)))
    out.cut(box((1, 1, 1), (0, -0.5 - 0.85 * radius, 0)))
    foot, top = 0.62 * radius, radius * 0.75 + 0.1
    loop = curve(
        [
            (-foot, 0.6 * radius, 0),
            (-foot * 1.12, top - 0.03, 0),
            (-0.55 * foot, top, 0),
            (0.55 * foot, top, 0),
            (foot * 1.12, top - 0.03, 0),
            (foot, 0.6 * radius, 0),
        ],
        22,
    )
    out.add("handle", tube(loop, thick, segments=10))
    return out


@makes(
    "sports ball",
    "ball",
    football={"radius": 0.11},
    basketball={"radius": 0.121},
    volleyball={"radius": 0.105},
    tennis={"radius": 0.0335},
    baseball={"radius": 0.0365},
    medicine={"radius": 0.14},
    bowling={"radius": 0.108},
)
@makes("yoga ball", "ball", small={"radius": 0.275}, medium={"radius": 0.325}, large={"radius": 0.375})
def ball(radius: float) -> Assembly:
    """A sphere."""
    return Assembly(target_faces=2048).add("surface", ellipsoid((radius, radius, radius), segments=48))


@makes("rugby ball", "y:inf x:2", rugby={}, american={"length": 0.28, "radius": 0.085})
def rugby_ball(length: float = 0.29, radius: float = 0.096) -> Assembly:
    """A prolate ball, long axis up."""
    t = np.linspace(-1, 1, 17)
    profile = [(radius * (1 - abs(x) ** 2) ** 0.75, x * length / 2) for x in t]
    return Assembly(target_faces=2000).add("surface", lathe(profile, 28))


@makes("exercise mat", "x:2 y:2", flat={}, thick={"length": 1.9, "width": 0.8, "height": 0.015})
def flat_mat(length: float = 1.73, width: float = 0.61, height: float = 0.006) -> Assembly:
    """A mat on the floor, long side along z."""
    out = Assembly(target_faces=1600, longest_edge=0.08)
    third = length / 3
    for part, k in (("foot_end", -1), ("middle", 0), ("head_end", 1)):
        out.add(part, box((width, height, third), (0, 0, -k * third)))
    return out


@makes("rolled mat", "", rolled={})
def rolled_mat(width: float = 0.61, thickness: float = 0.009) -> Assembly:
    """A mat rolled up, axis along x."""
    turns, first = 4.6, 0.018
    angle = np.arange(0, turns, 1 / 14) * 2 * np.pi
    gap = 1.25 * thickness
    r = first + gap * angle / (2 * np.pi)
    inner = np.stack([r * np.cos(angle), r * np.sin(angle)], 1)
    outer = np.stack([(r + thickness) * np.cos(angle), (r + thickness) * np.sin(angle)], 1)
    return Assembly(target_faces=2600).add("roll", extrude(np.concatenate([outer, inner[::-1]]), width, "x"))


@makes("frisbee", "y:inf", classic={}, golf={"radius": 0.105, "height": 0.018}, large={"radius": 0.14})
def frisbee(radius: float = 0.136, height: float = 0.032) -> Assembly:
    """A flying disc, dome up, open below."""
    r, h, t = radius, height, 0.0025
    outer = [(r - 0.006, 0.0), (r - 0.001, 0.002), (r, 0.4 * h), (r - 0.012, 0.82 * h), (0.8 * r, 0.96 * h), (0, h)]
    inner = [(0, h - t), (0.8 * r - t, 0.96 * h - t), (r - 0.014, 0.8 * h - t), (r - 0.006, 0.3 * h)]
    return Assembly(target_faces=2200).add("disc", lathe([*inner, *outer], 40))


@makes("hula hoop", "y:inf x:2", adult={}, child={"radius": 0.35})
def hula_hoop(radius: float = 0.47) -> Assembly:
    """A ring lying flat."""
    return Assembly(target_faces=2000).add("ring", ring((0, 0, 0), "y", radius, 0.011, 48, 8))


@makes("weight plate", "z:inf y:2", big={}, small={"radius": 0.14, "thickness": 0.03})
def weight_plate(radius: float = 0.225, thickness: float = 0.045) -> Assembly:
    """A plate standing on its rim, faces to ±z, with a hole for the bar."""
    out = Assembly(target_faces=2400)
    plate = _plate((0, 0, 0), radius, thickness).rotate([0.0, 90.0, 0.0])
    return out.add("plate", plate - rod((0, 0, -0.2), (0, 0, 0.2), 0.0255, segments=20))


@makes("boxing glove", "", right={})
def boxing_glove() -> Assembly:
    """A right-hand glove, fist up, knuckles to +z, thumb at -x (the palm faces -z)."""
    out = Assembly(target_faces=2600)
    cuff = [(-0.16, 0.115, 0.09), (-0.15, 0.12, 0.095), (-0.075, 0.11, 0.09), (-0.06, 0.1, 0.085)]
    fist = [
        (-0.06, 0.1, 0.085),
        (-0.03, 0.125, 0.105, 0, 0.008),
        (0.02, 0.15, 0.14, 0, 0.02),
        (0.075, 0.155, 0.165, 0, 0.024),
        (0.115, 0.14, 0.15, 0, 0.018),
        (0.135, 0.1, 0.1, 0, 0.01),
    ]
    thumb = curve([(-0.035, -0.05, -0.02), (-0.082, -0.01, -0.03), (-0.08, 0.045, -0.045), (-0.05, 0.085, -0.055)], 10)
    out.add("cuff", sections("y", cuff, 2.3)).add("fist", sections("y", fist, 2.3))
    radii = [0.026, 0.028, 0.029, 0.029, 0.029, 0.028, 0.027, 0.025, 0.021, 0.012]
    return out.add("thumb", tube(thumb, radii, segments=12))


@makes("jump rope", "", hanging={})
def jump_rope() -> Assembly:
    """Two handles with the rope hanging in a loop between them."""
    out = Assembly(target_faces=2400)
    path = curve(
        [
            (0.25, 0.45, 0),
            (0.27, 0.1, 0.02),
            (0.2, -0.35, 0.03),
            (0, -0.5, 0.04),
            (-0.2, -0.35, 0.03),
            (-0.27, 0.1, 0.02),
            (-0.25, 0.45, 0),
        ],
        50,
    )
    out.add("rope", tube(path, 0.004, segments=6))
    for side, x in (("left", 0.25), ("right", -0.25)):
        out.add(f"handle_{side}", _turned_handle(x))
    return out


def _turned_handle(x: float) -> Solid:
    """A turned grip of 14 cm whose lower end is at the rope."""
    return move(lathe([(0.009, 0.43), (0.014, 0.45), (0.012, 0.5), (0.015, 0.56), (0.011, 0.57)], 12), (x, 0, 0))


@makes("resistance band", "x:2 y:2 z:2", loop={})
def resistance_band() -> Assembly:
    """A flat elastic loop, stretched a little, broad side outward."""
    outer, inner = (
        np.concatenate([arc((0.13, 0, 0), r, -90, 90, 8), arc((-0.13, 0, 0), r, 90, 270, 8)])[:, :2]
        for r in (0.0315, 0.03)
    )
    return Assembly(target_faces=1200, longest_edge=0.025).add("band", extrude([outer, inner], 0.05))
