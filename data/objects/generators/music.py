"""Musical instruments."""

from __future__ import annotations

import numpy as np

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    Array,
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


def _outline(half: list[tuple[float, float]], n: int = 20) -> Array:
    """A closed outline symmetric in x from points (half width, y), bottom to top."""
    right = curve([(max(w, 0.001), y) for w, y in half], n)
    return np.concatenate([right, right[::-1] * np.array([-1.0, 1.0])])


@makes("guitar", "", acoustic={})
@makes("ukulele", "", ukulele={"k": 0.58})
def guitar(k: float = 1.0) -> Assembly:
    """An acoustic guitar, neck up, strings to +z."""
    out = Assembly(target_faces=2800)
    half = [
        (0.0, 0.0),
        (0.13, 0.012),
        (0.195, 0.1),
        (0.19, 0.19),
        (0.125, 0.285),
        (0.135, 0.38),
        (0.135, 0.42),
        (0.08, 0.478),
        (0.0, 0.485),
    ]
    out.add("body", extrude(_outline([(k * w, k * y) for w, y in half], 26), 0.1 * k))
    out.cut(disc((0, 0.31 * k, 0.05 * k), "z", 0.05 * k, 0.06 * k, 24))
    out.add("bridge", box((0.16 * k, 0.025 * k, 0.012 * k), (0, 0.13 * k, 0.053 * k), 0.003 * k))
    neck = sections(
        "y", [(0.38 * k, 0.058 * k, 0.03 * k, 0, 0.043 * k), (0.84 * k, 0.048 * k, 0.022 * k, 0, 0.045 * k)], 3, 14
    )
    out.add("neck", neck).add("neck", box((0.055 * k, 0.46 * k, 0.008 * k), (0, 0.61 * k, 0.056 * k)))
    head = extrude(
        [
            (-0.024 * k, 0),
            (0.024 * k, 0),
            (0.037 * k, 0.03 * k),
            (0.034 * k, 0.17 * k),
            (-0.034 * k, 0.17 * k),
            (-0.037 * k, 0.03 * k),
        ],
        0.016 * k,
    )
    out.add("head", turn(head, (-12, 0, 0)).translate([0, 0.83 * k, 0.047 * k]))
    for s in (-1, 1):
        for i in range(3):
            y = (0.87 + 0.045 * i) * k
            out.add("head", rod((0, y, 0.038 * k), (s * 0.062 * k, y, 0.034 * k), 0.005 * k, segments=6))
    for i in range(6):
        x = (i - 2.5) * 0.0075 * k
        out.add(
            "strings", rod((x * 1.25, 0.125 * k, 0.0605 * k), (x * 0.8, 0.84 * k, 0.0605 * k), 0.001 * k, segments=4)
        )
    return out


@makes("guitar", "", electric={}, bass={"neck": 0.62})
def electric_guitar(neck: float = 0.45) -> Assembly:
    """A solid-body guitar with two horns, neck up, strings to +z."""
    out = Assembly(target_faces=2600)
    shape = curve(
        [
            (0.0, 0.0),
            (0.14, 0.02),
            (0.175, 0.11),
            (0.135, 0.21),
            (0.16, 0.31),
            (0.13, 0.37),
            (0.09, 0.33),
            (0.04, 0.3),
            (-0.04, 0.3),
            (-0.075, 0.36),
            (-0.12, 0.43),
            (-0.155, 0.36),
            (-0.13, 0.22),
            (-0.165, 0.11),
            (-0.12, 0.02),
        ],
        56,
        closed=True,
    )
    out.add("body", extrude(shape, 0.044))
    out.add("pickups", *[box((0.08, 0.022, 0.01), (0, y, 0.025), 0.002) for y in (0.15, 0.2, 0.25)])
    out.add("bridge", box((0.085, 0.02, 0.014), (0, 0.1, 0.026), 0.002))
    out.add("neck", sections("y", [(0.27, 0.056, 0.03, 0, 0.016), (0.3 + neck, 0.043, 0.022, 0, 0.016)], 3, 14))
    top = 0.3 + neck
    out.add(
        "head",
        extrude(
            [
                (-0.022, top - 0.01),
                (0.022, top - 0.01),
                (0.05, top + 0.03),
                (0.03, top + 0.19),
                (-0.01, top + 0.2),
                (-0.035, top + 0.03),
            ],
            0.014,
            at=(0, 0, 0.008),
        ),
    )
    out.add(
        "head",
        *[
            rod((-0.02, top + 0.04 + 0.025 * i, 0.008), (-0.05, top + 0.04 + 0.025 * i, 0.008), 0.004, segments=6)
            for i in range(6)
        ],
    )
    for i in range(5):
        x = (i - 2) * 0.009
        out.add("strings", rod((x * 1.2, 0.1, 0.034), (x * 0.8, top + 0.02, 0.031), 0.001, segments=4))
    return out


@makes("violin", "", violin={})
@makes("cello", "", cello={"k": 2.05, "spike": True})
def violin(k: float = 1.0, spike: bool = False) -> Assembly:
    """A violin (or cello), scroll up, strings to +z."""
    out = Assembly(target_faces=2600)
    half = [
        (0.0, 0.0),
        (0.07, 0.006),
        (0.104, 0.06),
        (0.098, 0.11),
        (0.085, 0.135),
        (0.056, 0.165),
        (0.056, 0.205),
        (0.075, 0.23),
        (0.083, 0.28),
        (0.07, 0.33),
        (0.03, 0.354),
        (0, 0.356),
    ]
    out.add("body", extrude(_outline([(k * w, k * y) for w, y in half], 30), 0.038 * k))
    out.add(
        "neck",
        sections(
            "y", [(0.34 * k, 0.032 * k, 0.026 * k, 0, 0.02 * k), (0.5 * k, 0.025 * k, 0.02 * k, 0, 0.012 * k)], 2.6, 12
        ),
    )
    board = sections(
        "y", [(0.22 * k, 0.042 * k, 0.007 * k, 0, 0.043 * k), (0.5 * k, 0.025 * k, 0.007 * k, 0, 0.026 * k)], 3, 12
    )
    out.add("fingerboard", board).add(
        "bridge",
        extrude(
            [(-0.02 * k, 0.019 * k), (0.02 * k, 0.019 * k), (0.015 * k, 0.05 * k), (-0.015 * k, 0.05 * k)],
            0.005 * k,
            "y",
            (0, 0.185 * k, 0),
        ),
    )
    out.add(
        "scroll",
        sections(
            "y",
            [(0.495 * k, 0.025 * k, 0.022 * k, 0, 0.014 * k), (0.56 * k, 0.022 * k, 0.026 * k, 0, 0.006 * k)],
            3,
            12,
        ),
        disc((0, 0.575 * k, 0.004 * k), "x", 0.02 * k, 0.022 * k, 16),
    )
    out.add(
        "scroll",
        *[
            rod(
                (-0.032 * k, (0.51 + 0.018 * i) * k, 0.012 * k),
                (0.032 * k, (0.51 + 0.018 * i) * k, 0.012 * k),
                0.004 * k,
                segments=6,
            )
            for i in range(3)
        ],
    )
    out.add(
        "tailpiece",
        sections(
            "y", [(0.01 * k, 0.02 * k, 0.006 * k, 0, 0.026 * k), (0.11 * k, 0.04 * k, 0.008 * k, 0, 0.036 * k)], 3, 12
        ),
        box((0.02 * k, 0.02 * k, 0.02 * k), (0, 0.012 * k, 0.022 * k)),
    )
    if spike:
        return out.add("spike", rod((0, 0.02, 0), (0, -0.3, 0), 0.006, segments=8))
    return out.add(
        "chin_rest", sections("z", [(0.012, 0.05, 0.03, -0.055, 0.03), (0.03, 0.06, 0.045, -0.055, 0.03)], 2.3, 16)
    )


@makes(
    "drum",
    "y:inf",
    snare={},
    djembe={"radius": 0.16, "height": 0.6, "waist": 0.45},
    tambourine={"radius": 0.13, "height": 0.05},
)
def drum(radius: float = 0.178, height: float = 0.14, waist: float = 1.0) -> Assembly:
    """A round drum, head up; with `waist` below 1 a goblet drum."""
    r, h = radius, height
    out = Assembly(target_faces=2000)
    if waist < 1:
        out.add(
            "body",
            lathe(
                [(0.7 * r, 0), (0.62 * r, 0.1 * h), (waist * r, 0.42 * h), (0.75 * r, 0.62 * h), (0.97 * r, h - 0.02)],
                28,
            ),
        )
    else:
        out.add("body", lathe([(r, 0), (r, h)], 32)).add("hoop", lathe([(r + 0.006, 0.0), (r + 0.006, 0.015)], 32))
    return out.add("hoop", lathe([(r + 0.007, h - 0.02), (r + 0.007, h + 0.002)], 32)).add(
        "head", lathe([(r - 0.004, h - 0.002), (r - 0.006, h + 0.004), (0, h + 0.004)], 32)
    )


@makes("drum sticks", "", pair={})
def drum_sticks() -> Assembly:
    """Two drum sticks side by side, tips up."""
    out = Assembly(target_faces=1000)
    for side, s in (("left", -1), ("right", 1)):
        stick = lathe([(0.0065, 0), (0.0072, 0.01), (0.0072, 0.3), (0.003, 0.39), (0.0045, 0.398), (0, 0.407)], 12)
        out.add(f"stick_{side}", stick.translate([s * 0.03, 0, 0]))
    return out


@makes("flute", "", transverse={}, recorder={"length": 0.32, "radius": 0.0125, "upright": True})
def flute(length: float = 0.67, radius: float = 0.0095, upright: bool = False) -> Assembly:
    """A flute along x (mouth hole at the -x end: its player looks to -z), or an upright recorder."""
    out = Assembly(target_faces=1800)
    out.add("mouthpiece", rod((0, 0, 0), (0.2 * length, 0, 0), radius, segments=14))
    out.add("body", rod((0.2 * length, 0, 0), (length, 0, 0), radius, segments=14))
    out.add("mouthpiece", disc((0.1 * length, radius, 0), "y", 0.011 if not upright else 0.006, 0.005, 14))
    out.add(
        "keys",
        *[
            disc(((0.36 + 0.055 * i) * length, radius + 0.001, 0), "y", 0.0075, 0.007, 10)
            for i in range(10 if not upright else 7)
        ],
    )
    if upright:  # the same pipe stood up: mouth end above, holes to +z
        out.solids = [(n, turn(x, (90, 0, -90)).as_original()) for n, x in out.solids]
    return out


@makes("trumpet", "", trumpet={})
def trumpet() -> Assembly:
    """A trumpet, bell to +z, mouthpiece at -z, three valves up."""
    out = Assembly(target_faces=3000)
    bell = [
        (0.0055, -0.12),
        (0.006, 0.1),
        (0.011, 0.18),
        (0.022, 0.225),
        (0.061, 0.255),
        (0.058, 0.256),
        (0.018, 0.225),
        (0.004, 0.19),
        (0, 0.19),
    ]
    out.add("bell", lathe(bell, 24, "z"))
    out.add(
        "tubes",
        tube(
            [
                (0, 0, -0.11),
                *[(0, -0.045 + 0.045 * np.cos(a), -0.12 - 0.045 * np.sin(a)) for a in np.linspace(0, np.pi, 10)],
                (0, -0.09, 0.13),
                *[(0, -0.06 - 0.03 * np.cos(a), 0.13 + 0.03 * np.sin(a)) for a in np.linspace(0.3, np.pi - 0.3, 8)],
                (0, -0.03, 0.12),
                (0, -0.03, -0.24),
            ],
            0.006,
            segments=8,
        ),
    )
    out.add(
        "mouthpiece",
        lathe([(0.006, -0.27), (0.0135, -0.29), (0.0135, -0.3), (0, -0.296)], 16, "z").translate([0, -0.03, 0.035]),
    )
    for i in range(3):
        z = -0.03 + 0.035 * i
        out.add(
            "valves",
            rod((0, -0.125, z), (0, 0.012, z), 0.0125, segments=14),
            rod((0, 0.01, z), (0, 0.035, z), 0.003, segments=8),
            disc((0, 0.036, z), "y", 0.009, 0.004, 14),
        )
    return out


@makes("accordion", "", piano_keys={})
def accordion() -> Assembly:
    """An accordion as worn: bellows in the middle, keys at the player's right (-x), buttons at the left (+x)."""
    out = Assembly(target_faces=3000)
    out.add("treble", box((0.13, 0.42, 0.2), (-0.17, 0, 0), 0.015)).add(
        "keys", box((0.03, 0.4, 0.13), (-0.245, 0, 0.04), 0.005)
    )
    out.add("bass", box((0.11, 0.4, 0.19), (0.17, 0, 0), 0.015))
    out.add(
        "bellows",
        *[box((0.018, 0.4 if i % 2 else 0.37, 0.19 if i % 2 else 0.165), (-0.1 + 0.0225 * i, 0, 0)) for i in range(10)],
        box((0.24, 0.36, 0.16)),
    )
    for side, s in (("left", 1), ("right", -1)):
        strap = curve(
            [(s * 0.14, 0.19, -0.09), (s * 0.15, 0.12, -0.2), (s * 0.15, -0.1, -0.21), (s * 0.14, -0.18, -0.09)], 16
        )
        out.add(f"strap_{side}", tube(strap, 0.022, flat=0.25, segments=8, up=(0, 0, 1)))
    return out


@makes("harmonica", "x:2 y:2 z:2", harp={})
def harmonica() -> Assembly:
    """A mouth organ along x."""
    return Assembly(target_faces=800, longest_edge=0.008).add(
        "body",
        sections(
            "x", [(-0.05, 0.022, 0.014), (-0.046, 0.027, 0.02), (0.046, 0.027, 0.02), (0.05, 0.022, 0.014)], 5, 16
        ),
    )
