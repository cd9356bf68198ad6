"""Vessels, cutlery and pans."""

from __future__ import annotations

import numpy as np

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    Solid,
    box,
    curve,
    disc,
    ellipsoid,
    extrude,
    lathe,
    loft,
    move,
    sections,
    tube,
    turn,
)

Profile = list[tuple[float, float]]


def vessel(outside: Profile, wall: float, floor: float, segments: int = 28) -> Solid:
    """An open vessel: the outer profile from the centre of the foot up to the rim, made `wall` thick."""
    inside = [(max(r - wall, 0.001), h) for r, h in outside if r > wall and h > floor]
    inside[-1] = (inside[-1][0], outside[-1][1])
    radius_at_floor = float(np.interp(floor, [h for _, h in outside[1:]], [r for r, _ in outside[1:]])) - wall
    return lathe([*outside, *reversed(inside), (max(radius_at_floor, 0.001), floor), (0, floor)], segments)


@makes(
    "bottle",
    "y:inf",
    water={},
    wine={"body": 0.037, "height": 0.3, "neck": 0.0145, "shoulder": 0.62, "slope": 0.1},
    large={"body": 0.044, "height": 0.32, "neck": 0.014, "shoulder": 0.7, "slope": 0.16},
    small={"body": 0.029, "height": 0.17, "neck": 0.013, "shoulder": 0.65, "slope": 0.15},
    sport={"body": 0.036, "height": 0.2, "neck": 0.021, "shoulder": 0.75, "slope": 0.07},
)
def bottle(
    body: float = 0.033, height: float = 0.22, neck: float = 0.0135, shoulder: float = 0.68, slope: float = 0.16
) -> Assembly:
    """A closed bottle, cap up."""
    h = height
    top = [
        (body, shoulder * h),
        (0.92 * body, (shoulder + 0.3 * slope) * h),
        (0.5 * (body + neck), (shoulder + 0.65 * slope) * h),
        (neck, (shoulder + slope) * h),
        (neck, h - 0.018),
    ]
    out = Assembly(target_faces=1800)
    out.add("body", lathe([(0, 0), (0.9 * body, 0), (body, 0.012), (body, shoulder * h)], 24))
    out.add("neck", lathe([*top, (0, h - 0.018)], 24))
    return out.add("cap", lathe([(neck + 0.002, h - 0.022), (neck + 0.002, h)], 24))


@makes(
    "wine glass",
    "y:inf",
    red={},
    white={"bowl": 0.036, "height": 0.2},
    flute={"bowl": 0.026, "height": 0.23, "stem": 0.085},
)
def wine_glass(bowl: float = 0.044, height: float = 0.21, stem: float = 0.09) -> Assembly:
    """A stemmed glass, open above."""
    t = 0.0018
    foot: Profile = [(0, 0), (0.037, 0), (0.037, 0.003), (0.012, 0.008), (0.004, 0.016), (0.0038, stem)]
    cup: Profile = [
        (0.3 * bowl, stem + 0.003),
        (0.8 * bowl, stem + 0.22 * (height - stem)),
        (bowl, stem + 0.5 * (height - stem)),
        (0.8 * bowl, height),
    ]
    inside = [(r - t, h) for r, h in reversed(cup)]
    whole = lathe([*foot, *cup, *inside, (0, stem + 0.006)], 28)
    out = Assembly(target_faces=2600)
    below = stem - 0.005
    out.add("bowl", whole.trim_by_plane([0.0, 1.0, 0.0], below))
    lower = whole.trim_by_plane([0.0, -1.0, 0.0], -below)
    return out.add("stem", lower.trim_by_plane([0.0, 1.0, 0.0], 0.012)).add(
        "foot", lower.trim_by_plane([0.0, -1.0, 0.0], -0.012)
    )


@makes(
    "cup",
    "y:inf",
    tumbler={},
    paper={"radius": 0.045, "height": 0.12, "taper": 0.7, "wall": 0.0012},
    shot={"radius": 0.025, "height": 0.06},
)
def cup(radius: float = 0.04, height: float = 0.11, taper: float = 0.85, wall: float = 0.003) -> Assembly:
    """A drinking cup without a handle."""
    outside: Profile = [(0, 0), (taper * radius, 0), (radius, height)]
    return Assembly(target_faces=2000).add("body", vessel(outside, wall, 2 * wall))


@makes("cup", "y:inf", takeaway={})
def takeaway_cup(radius: float = 0.042, height: float = 0.125) -> Assembly:
    """A paper cup with a lid."""
    out = Assembly(target_faces=1800).add(
        "body", lathe([(0.68 * radius, 0), (radius, height), (radius, height + 0.001)], 28)
    )
    return out.add(
        "lid",
        lathe(
            [
                (radius + 0.002, height - 0.004),
                (radius + 0.003, height + 0.004),
                (radius - 0.004, height + 0.006),
                (radius - 0.006, height + 0.015),
                (0, height + 0.013),
            ],
            28,
        ),
    )


@makes("mug", "", mug={}, large={"radius": 0.046, "height": 0.11})
@makes("mug", "", tea_cup={"radius": 0.046, "height": 0.065, "taper": 0.55})
def mug(radius: float = 0.041, height: float = 0.095, taper: float = 0.96) -> Assembly:
    """A cup with a handle at +x."""
    outside: Profile = [
        (0, 0),
        (taper * radius * 0.95, 0),
        (0.5 * (taper + 1) * radius, 0.3 * height),
        (radius, height),
    ]
    out = Assembly(target_faces=2400)
    loop = curve(
        [
            (radius * 0.93, 0.78 * height, 0),
            (radius + 0.028, 0.75 * height, 0),
            (radius + 0.03, 0.4 * height, 0),
            (radius * (0.5 + 0.4 * taper), 0.22 * height, 0),
        ],
        14,
    )
    out.add("handle", tube(loop, 0.0055, flat=1.3, segments=8, up=(0, 0, 1)))
    solid = lathe([*outside, (0, height)], 28)
    out.cut(solid)
    return out.add("body", vessel(outside, 0.0035, 0.006))


@makes("bowl", "y:inf", soup={}, salad={"radius": 0.13, "height": 0.09}, small={"radius": 0.06, "height": 0.05})
def bowl(radius: float = 0.08, height: float = 0.06) -> Assembly:
    """A round bowl."""
    t = np.linspace(0.12, 1, 7)
    side = [(radius * (0.42 + 0.58 * float(np.sin(x * np.pi / 2))), height * float(x) ** 1.4) for x in t]
    outside: Profile = [(0, 0), (0.42 * radius, 0), *side]
    return Assembly(target_faces=2200).add("body", vessel(outside, 0.004, 0.007))


@makes("plate", "y:inf", dinner={}, side={"radius": 0.09})
def plate(radius: float = 0.135, height: float = 0.022) -> Assembly:
    """A shallow plate."""
    outside: Profile = [(0, 0), (0.62 * radius, 0), (0.72 * radius, 0.45 * height), (radius, height)]
    return Assembly(target_faces=2200).add("surface", vessel(outside, 0.005, 0.005))


def _bent_strip(path: list[tuple[float, float]], half: list[float], thick: float, n: int = 15) -> Solid:
    """A strip along y whose depth z follows the path of (y, z), with half widths in x, `thick` through."""
    fine = curve([(0.0, a, b) for a, b in path], n)
    width = np.interp(fine[:, 1], [p[0] for p in path], half)
    angle = np.arange(12) * (2 * np.pi / 12)
    rings = []
    for point, w in zip(fine, width, strict=True):
        circle = np.stack([w * np.cos(angle), np.zeros(12), thick / 2 * np.sin(angle)], 1)
        rings.append(point + circle)
    return loft(np.stack(rings))


def _handle(length: float) -> Solid:
    """A flat cutlery handle from y = -length to 0, widening to its end."""
    return _bent_strip(
        [(-length, -0.002), (-0.7 * length, 0.002), (-0.2 * length, 0.003), (0.004, 0)],
        [0.006, 0.0095, 0.0045, 0.0035],
        0.003,
    )


@makes("spoon", "", table={}, tea={"length": 0.14}, ladle={"length": 0.3, "scale": 1.5})
def spoon(length: float = 0.2, scale: float = 0.0) -> Assembly:
    """A spoon, bowl up, its hollow to +z."""
    k = scale or length / 0.2
    out = Assembly(target_faces=1600)
    out.add("handle", _handle(length - 0.062 * k))
    shell = ellipsoid((0.021 * k, 0.032 * k, 0.012 * k), (0, 0.03 * k, 0.004), 24)
    hollow = ellipsoid((0.0192 * k, 0.0302 * k, 0.0105 * k), (0, 0.03 * k, 0.0045 + 0.0005 * k), 24)
    return out.add("bowl", (shell - hollow).trim_by_plane([0.0, 0.0, -1.0], -0.004))


@makes("fork", "", table={}, dessert={"length": 0.155})
def fork(length: float = 0.2) -> Assembly:
    """A fork with four tines, tips up, bent to +z."""
    k = length / 0.2
    out = Assembly(target_faces=2000).add("handle", _handle(length - 0.065 * k))
    palm = [
        (-0.0035, 0),
        (0.0035, 0),
        (0.0125 * k, 0.018 * k),
        (0.0125 * k, 0.03 * k),
        (-0.0125 * k, 0.03 * k),
        (-0.0125 * k, 0.018 * k),
    ]
    out.add("head", extrude(palm, 0.0025))
    for i in range(4):
        x = (i - 1.5) * 0.0067 * k
        tine = [(x, 0.026 * k, 0.0), (x, 0.045 * k, -0.002), (x, 0.063 * k, 0.004)]
        out.add("head", tube(tine, [0.0019 * k, 0.0018 * k, 0.0009 * k], segments=6))
    return out


@makes("knife", "", table={}, chef={"length": 0.33, "depth": 0.045, "thick": 0.011})
def knife(length: float = 0.23, depth: float = 0.02, thick: float = 0.006) -> Assembly:
    """A knife, blade up, edge to +x."""
    grip, blade = 0.42 * length, 0.58 * length
    out = Assembly(target_faces=1200)
    out.add(
        "handle",
        sections(
            "y",
            [(-grip, 0.8 * depth * 0.7 + 0.004, thick), (-0.5 * grip, 0.018, 1.6 * thick), (0, 0.016, 1.3 * thick)],
            3,
            12,
        ),
    )
    outline = [
        (-0.008, 0),
        (depth - 0.01, 0.004),
        (depth - 0.008, 0.55 * blade),
        (0.3 * depth, 0.9 * blade),
        (-0.004, blade),
        (-0.008, 0.9 * blade),
    ]
    return out.add("blade", extrude(outline, 0.0022))


@makes("frying pan", "", pan={}, small={"radius": 0.1}, wok={"radius": 0.16, "height": 0.085})
def frying_pan(radius: float = 0.14, height: float = 0.045, handle: float = 0.2) -> Assembly:
    """A pan whose handle points to +z, to its user."""
    out = Assembly(target_faces=2400)
    outside: Profile = [(0, 0), (0.75 * radius, 0), (0.9 * radius, 0.35 * height), (radius, height)]
    path = curve(
        [
            (0, 0.85 * height, 0.9 * radius),
            (0, height + 0.02, radius + 0.3 * handle),
            (0, height + 0.03, radius + handle),
        ],
        12,
    )
    out.add("handle", tube(path, [*np.linspace(0.009, 0.013, 11), 0.009], flat=0.7, segments=10))
    out.cut(lathe([*outside, (0, height)], 32))
    return out.add("pan", vessel(outside, 0.004, 0.005, 32))


@makes("pot", "y:2", pot={}, low={"height": 0.09, "radius": 0.14})
def pot(radius: float = 0.12, height: float = 0.15) -> Assembly:
    """A cooking pot with two side handles and no lid."""
    out = Assembly(target_faces=2400)
    for side, s in (("left", -1), ("right", 1)):
        loop = curve(
            [
                (s * (radius - 0.004), 0.8 * height, -0.04),
                (s * (radius + 0.035), 0.82 * height, -0.03),
                (s * (radius + 0.035), 0.82 * height, 0.03),
                (s * (radius - 0.004), 0.8 * height, 0.04),
            ],
            14,
        )
        out.add(f"handle_{side}", tube(loop, 0.006, segments=8))
    out.cut(lathe([(0.98 * radius, 0.0), (radius, height)], 32))
    return out.add("body", vessel([(0, 0), (0.96 * radius, 0), (radius, 0.01), (radius, height)], 0.003, 0.005, 32))


def _pitcher(radius: float, height: float, neck: float) -> Profile:
    return [
        (0, 0),
        (0.75 * radius, 0),
        (radius, 0.3 * height),
        (0.9 * radius, 0.6 * height),
        (neck, 0.82 * height),
        (1.12 * neck, height),
    ]


@makes("pitcher", "", jug={}, tall={"height": 0.27, "radius": 0.065})
def pitcher(radius: float = 0.075, height: float = 0.22, neck: float = 0.05) -> Assembly:
    """A jug; handle at +x."""
    outside = _pitcher(radius, height, neck)
    out = Assembly(target_faces=2600)
    loop = curve(
        [
            (1.05 * neck, 0.93 * height, 0),
            (radius + 0.045, 0.88 * height, 0),
            (radius + 0.035, 0.5 * height, 0),
            (0.9 * radius, 0.35 * height, 0),
        ],
        16,
    )
    out.add("handle", tube(loop, 0.0085, flat=1.2, segments=8, up=(0, 0, 1)))
    out.cut(lathe([*outside, (0, height)], 32))
    return out.add("body", vessel(outside, 0.004, 0.008, 32))


@makes("teapot", "", teapot={})
@makes("kettle", "", kettle={"radius": 0.09, "height": 0.15, "lift": 0.11})
def teapot(radius: float = 0.075, height: float = 0.12, lift: float = 0.0) -> Assembly:
    """A teapot (handle at +x) or, with `lift`, a kettle whose handle spans the top; spout at -x."""
    out, r, h = Assembly(target_faces=2600), radius, height
    out.add(
        "body",
        lathe([(0, 0), (0.7 * r, 0), (r, 0.35 * h), (0.92 * r, 0.65 * h), (0.5 * r, 0.95 * h), (0, 0.97 * h)], 28),
    )
    out.add(
        "lid",
        lathe([(0.46 * r, 0.93 * h), (0.4 * r, h), (0.12 * r, 1.06 * h), (0, 1.06 * h)], 24),
        ellipsoid((0.012, 0.012, 0.012), (0, 1.1 * h, 0), 12),
    )
    spout = curve([(-0.8 * r, 0.3 * h, 0), (-1.35 * r, 0.5 * h, 0), (-1.7 * r, 0.98 * h, 0)], 10)
    out.add("spout", tube(spout, np.linspace(0.02, 0.009, 10), segments=10))
    if lift:
        loop = curve(
            [
                (0.72 * r, 0.8 * h, 0),
                (0.75 * r, h + 0.7 * lift, 0),
                (0, h + lift, 0),
                (-0.75 * r, h + 0.7 * lift, 0),
                (-0.72 * r, 0.8 * h, 0),
            ],
            22,
        )
    else:
        loop = curve(
            [(0.8 * r, 0.8 * h, 0), (1.55 * r, 0.85 * h, 0), (1.5 * r, 0.35 * h, 0), (0.9 * r, 0.25 * h, 0)], 16
        )
    return out.add("handle", tube(loop, 0.0075, segments=8, up=(0, 0, 1)))


@makes("can", "y:inf", drink={}, slim={"radius": 0.028, "height": 0.145}, food={"radius": 0.0375, "height": 0.11})
def can(radius: float = 0.033, height: float = 0.12) -> Assembly:
    """A metal can."""
    r = radius
    side = [
        (0, 0.004),
        (0.78 * r, 0.004),
        (0.82 * r, 0),
        (r, 0.012),
        (r, height - 0.012),
        (0.84 * r, height),
        (0.8 * r, height - 0.004),
        (0, height - 0.004),
    ]
    return Assembly(target_faces=1800).add("body", lathe(side, 28))


@makes("tray", "y:2", serving={})
def tray(length: float = 0.45, width: float = 0.32, height: float = 0.045) -> Assembly:
    """A tray with a raised rim and two hand holes, long side along x."""
    out = Assembly(target_faces=2200)
    out.add("rim", box((length, height, width), (0, height / 2, 0), 0.008))
    out.cut(box((length - 0.016, height, width - 0.016), (0, height / 2 + 0.006, 0)))
    out.cut(box((2 * length, 0.015, 0.09), (0, 0.68 * height, 0)))
    return out.add("floor", box((length - 0.014, 0.006, width - 0.014), (0, 0.003, 0)))


@makes("rolling pin", "x:inf y:2", pin={})
def rolling_pin() -> Assembly:
    """A roller with two grips, along x."""
    out = Assembly(target_faces=1600).add("roller", disc((0, 0, 0), "x", 0.028, 0.25, 20))
    for side, s in (("left", 1), ("right", -1)):
        profile = [(0.009, 0.12), (0.009, 0.135), (0.0145, 0.16), (0.013, 0.205), (0.007, 0.215)]
        out.add(f"grip_{side}", turn(lathe(profile, 16), (0, 0, -90 * s)))
    return out


@makes("spatula", "", turner={})
def spatula() -> Assembly:
    """A kitchen turner, blade up."""
    out = Assembly(target_faces=1200).add(
        "handle", sections("y", [(-0.19, 0.018, 0.012), (-0.1, 0.022, 0.014), (-0.06, 0.014, 0.01)], 2.5, 12)
    )
    out.add("handle", tube([(0, -0.07, 0), (0, 0.03, 0.0), (0, 0.075, 0.022)], 0.004, segments=6))
    blade = extrude([(-0.025, 0), (0.025, 0), (0.038, 0.1), (-0.038, 0.1)], 0.002)
    blade = (
        blade
        - move(box((0.004, 0.06, 0.01)), (-0.014, 0.055, 0))
        - move(box((0.004, 0.06, 0.01)), (0.0, 0.055, 0))
        - move(box((0.004, 0.06, 0.01)), (0.014, 0.055, 0))
    )
    return out.add("blade", move(blade, (0, 0.07, 0.0205)))
