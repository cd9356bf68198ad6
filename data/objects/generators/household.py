"""Cleaning and household things, sticks and umbrellas."""

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
    move,
    rod,
    sections,
    tube,
    turn,
)


@makes("broom", "", flat={}, push={"width": 0.45, "bristle": 0.07, "height": 1.5})
def broom(height: float = 1.4, width: float = 0.3, bristle: float = 0.13) -> Assembly:
    """A broom standing on its bristles; its stick leans straight up."""
    out = Assembly(target_faces=1800, longest_edge=0.06)
    out.add("bristles", sections("y", [(0, width * 1.1, 0.075), (bristle, width, 0.05)], 8, 20))
    out.add("head", box((width + 0.01, 0.04, 0.06), (0, bristle + 0.015, 0), 0.01))
    mid = height * 0.5
    out.add("stick", rod((0, bristle + 0.02, 0), (0, mid, 0), 0.0125, segments=10))
    return out.add("grip", rod((0, mid, 0), (0, height, 0), 0.0125, segments=10))


@makes("mop", "", string={})
def mop(height: float = 1.35) -> Assembly:
    """A string mop standing on its strands."""
    out = Assembly(target_faces=3600, longest_edge=0.09).add(
        "grip", rod((0, 0.7, 0), (0, height, 0), 0.0125, segments=10)
    )
    out.add("stick", rod((0, 0.2, 0), (0, 0.7, 0), 0.0125, segments=10)).add(
        "head", lathe([(0.02, 0.19), (0.035, 0.2), (0.03, 0.25), (0.013, 0.27)], 16)
    )
    for k in range(14):
        a = 2 * np.pi * k / 14
        c, s = float(np.cos(a)), float(np.sin(a))
        reach = 0.14 if k % 2 else 0.08
        path = curve(
            [(0.02 * c, 0.21, 0.02 * s), (0.6 * reach * c, 0.13, 0.6 * reach * s), (reach * c, 0.012, reach * s)], 7
        )
        out.add("strands", tube(path, 0.012, segments=5))
    return out


@makes("toothbrush", "", manual={})
def toothbrush() -> Assembly:
    """A toothbrush, head up, bristles to +z."""
    out = Assembly(target_faces=1400)
    out.add(
        "handle",
        sections(
            "y",
            [
                (-0.095, 0.008, 0.006),
                (-0.08, 0.013, 0.01),
                (-0.02, 0.0125, 0.01),
                (0.01, 0.008, 0.007),
                (0.055, 0.005, 0.005),
            ],
            2.5,
            12,
        ),
    )
    out.add(
        "head", box((0.012, 0.03, 0.005), (0, 0.078, 0), 0.002), rod((0, 0.05, 0), (0, 0.07, 0), 0.0026, segments=8)
    )
    return out.add("bristles", *[box((0.0095, 0.004, 0.012), (0, 0.068 + 0.0065 * i, 0.007)) for i in range(4)])


@makes("pen", "y:inf", ball_point={}, pencil={"length": 0.175, "radius": 0.0037}, marker={"radius": 0.0085})
def pen(length: float = 0.145, radius: float = 0.005) -> Assembly:
    """A pen, tip down."""
    r = radius
    out = Assembly(target_faces=900).add("tip", lathe([(0, 0), (0.2 * r, 0.002), (0.95 * r, 0.025)], 12))
    return out.add("barrel", lathe([(0.95 * r, 0.0249), (r, 0.03), (r, length - 0.004), (0.7 * r, length)], 12))


@makes("brush", "", paint={}, hair={"hair": True})
def brush(hair: bool = False) -> Assembly:
    """A paint brush, or a hair brush with its bristles to +z; working end up."""
    out = Assembly(target_faces=2200)
    if hair:
        out.add("handle", sections("y", [(-0.12, 0.016, 0.012), (-0.06, 0.024, 0.016), (0.0, 0.016, 0.012)], 2.3, 14))
        out.add(
            "head",
            sections(
                "y", [(-0.005, 0.016, 0.012), (0.03, 0.055, 0.017), (0.085, 0.055, 0.017), (0.11, 0.02, 0.01)], 2.3, 18
            ),
        )
        return out.add(
            "bristles",
            *[
                rod((x, y, 0.004), (x, y, 0.026), 0.0025, segments=5)
                for x in (-0.014, 0.0, 0.014)
                for y in np.linspace(0.025, 0.09, 6)
            ],
        )
    out.add(
        "handle",
        sections("y", [(-0.14, 0.012, 0.009), (-0.06, 0.022, 0.014), (0.0, 0.014, 0.01), (0.02, 0.03, 0.012)], 2.3, 14),
    )
    out.add("head", box((0.05, 0.04, 0.015), (0, 0.035, 0), 0.002))
    return out.add("bristles", sections("y", [(0.054, 0.049, 0.013), (0.1, 0.05, 0.01), (0.11, 0.046, 0.003)], 6, 14))


@makes("umbrella", "y:8", open={})
def open_umbrella(radius: float = 0.5, shaft: float = 0.86) -> Assembly:
    """An open umbrella: eight ribs, a canopy as a thin closed shell, a straight grip."""
    out = Assembly(target_faces=3800, longest_edge=0.09)
    depth, t, n = 0.26 * radius / 0.5, 0.004, 6
    rows = [
        (radius * f, shaft - depth * (1 - np.sqrt(max(0.0, 1 - (0.93 * f) ** 2))) / (1 - np.sqrt(1 - 0.93**2)))
        for f in np.linspace(0, 1, n)
    ]
    upper = [(float(r), float(h)) for r, h in rows]
    lower = [(r, h - t) for r, h in upper]
    out.add("canopy", turn(lathe([*lower, *reversed(upper)], 8), (0, 22.5, 0)))
    rib = curve([(0.006, shaft - 0.011, 0), *[(0.985 * r, h - 0.011, 0) for r, h in upper[1:]]], 8)
    for k in range(8):
        out.add("ribs", turn(tube(rib, 0.003, segments=4), (0, 45 * k + 22.5, 0)))
        strut = rod((0.008, shaft - 0.28, 0), (0.5 * radius, upper[3][1] - 0.012, 0), 0.002, segments=4)
        out.add("ribs", turn(strut, (0, 45 * k + 22.5, 0)))
    out.add(
        "shaft",
        rod((0, 0.1, 0), (0, shaft + 0.05, 0), 0.006, segments=8),
        disc((0, shaft - 0.28, 0), "y", 0.012, 0.03, 12),
    )
    return out.add("handle", lathe([(0.013, -0.03), (0.016, 0.0), (0.013, 0.11), (0.006, 0.12)], 16))


@makes("umbrella", "", crook={}, walking={"canopy": 0.045, "length": 0.95})
def closed_umbrella(length: float = 0.9, canopy: float = 0.035) -> Assembly:
    """A rolled umbrella, tip down, with a crook handle above."""
    out = Assembly(target_faces=1800).add(
        "canopy", lathe([(0.006, 0.07), (0.018, 0.1), (canopy, 0.62), (0.02, 0.66), (0.009, 0.67)], 12)
    )
    out.add(
        "shaft",
        rod((0, 0.0, 0), (0, 0.09, 0), 0.003, 0.006, 8),
        rod((0, 0.6, 0), (0, length - 0.12, 0), 0.007, segments=8),
    )
    hook = [
        (0, length - 0.14, 0),
        *map(tuple, arc((0, length - 0.05, 0.045), 0.045, 180, 0, 10, "zy")),
        (0, length - 0.08, 0.09),
    ]
    return out.add("handle", tube([(x, y, z) for x, y, z in hook], 0.0115, segments=10))


@makes("cane", "", crook={}, straight={"hook": False})
def cane(length: float = 0.9, hook: bool = True) -> Assembly:
    """A walking stick, foot down; a crook or a T grip above, pointing to +z."""
    out = Assembly(target_faces=1500, longest_edge=0.04).add("foot", rod((0, 0, 0), (0, 0.04, 0), 0.015, segments=12))
    if hook:
        out.add("shaft", rod((0, 0.03, 0), (0, length - 0.1, 0), 0.0095, 0.011, 10))
        path = [
            (0, length - 0.11, 0),
            *[tuple(p) for p in arc((0, length - 0.055, 0.045), 0.045, 180, 0, 10, "zy")],
            (0, length - 0.08, 0.09),
        ]
        return out.add("handle", tube([(x, y, z) for x, y, z in path], 0.0115, segments=10))
    out.add("shaft", rod((0, 0.03, 0), (0, length - 0.02, 0), 0.0095, 0.011, 10))
    return out.add(
        "handle",
        tube(
            curve([(0, length - 0.005, -0.045), (0, length - 0.02, 0.0), (0, length - 0.012, 0.07)], 9),
            [0.01, 0.014, 0.0155, 0.0155, 0.015, 0.014, 0.0135, 0.013, 0.009],
            segments=10,
        ),
    )


@makes("crutch", "", forearm={})
def forearm_crutch(length: float = 1.05) -> Assembly:
    """A forearm crutch: hand grip to +z, cuff above, open to +z."""
    out = Assembly(target_faces=2000, longest_edge=0.05).add("foot", rod((0, 0, 0), (0, 0.045, 0), 0.018, segments=12))
    grip = length - 0.27
    out.add(
        "shaft",
        rod((0, 0.03, 0), (0, grip, 0), 0.011, segments=10),
        rod((0, grip, 0), (0, length - 0.03, -0.06), 0.011, segments=10),
    )
    out.add("handle", rod((0, grip, -0.01), (0, grip + 0.012, 0.12), 0.0155, segments=12))
    cuff = [(x, z) for x, _, z in arc((0, 0, -0.025), 0.047, -235, 55, 18, "xz")]
    inner = [(x, z) for x, _, z in arc((0, 0, -0.025), 0.043, -235, 55, 18, "xz")]
    return out.add("cuff", extrude(cuff + inner[::-1], 0.06, "y", (0, length - 0.03, 0)))


@makes("crutch", "y:2", underarm={})
def underarm_crutch(length: float = 1.3) -> Assembly:
    """An underarm crutch: two bows, hand grip between them, a pad above."""
    out = Assembly(target_faces=2200, longest_edge=0.06).add("foot", rod((0, 0, 0), (0, 0.045, 0), 0.019, segments=12))
    out.add("shaft", rod((0, 0.03, 0), (0, 0.5, 0), 0.012, segments=10))
    for s in (-1, 1):
        bow = curve(
            [(0.008 * s, 0.38, 0), (0.035 * s, 0.6, 0), (0.062 * s, 0.85, 0), (0.075 * s, length - 0.03, 0)], 14
        )
        out.add("shaft", tube(bow, 0.011, segments=8))
    out.add("handle", rod((-0.062, 0.85, 0), (0.062, 0.85, 0), 0.0155, segments=12))
    return out.add(
        "pad",
        sections(
            "x",
            [
                (-0.105, 0.035, 0.03, 0, length - 0.008),
                (-0.08, 0.045, 0.045, 0, length - 0.012),
                (0, 0.045, 0.04, 0, length - 0.02),
                (0.08, 0.045, 0.045, 0, length - 0.012),
                (0.105, 0.035, 0.03, 0, length - 0.008),
            ],
            2.5,
            16,
        ),
    )


@makes("iron", "", flat_iron={})
def flat_iron() -> Assembly:
    """A flat iron on its sole, tip to +z."""
    out = Assembly(target_faces=1800)
    sole = [(-0.055, -0.13), (0.055, -0.13), (0.058, 0.0), (0.035, 0.09), (0.0, 0.14), (-0.035, 0.09), (-0.058, 0.0)]
    out.add("sole", extrude(sole, 0.012, "y", (0, 0.006, 0)))
    out.add("body", extrude([(0.94 * x, 0.94 * z) for x, z in sole], 0.05, "y", (0, 0.036, 0)))
    grip = curve([(0, 0.055, 0.075), (0, 0.12, 0.045), (0, 0.13, -0.05), (0, 0.055, -0.105)], 16)
    return out.add("handle", tube(grip, 0.0165, segments=12))


@makes("vacuum cleaner", "", upright={})
def vacuum_cleaner() -> Assembly:
    """A stick vacuum cleaner: floor head to +z, grip above."""
    out = Assembly(target_faces=2200, longest_edge=0.06).add(
        "floor_head", box((0.28, 0.07, 0.12), (0, 0.035, 0.12), 0.02)
    )
    out.add("tube", tube([(0, 0.06, 0.1), (0, 0.12, 0.06), (0, 0.85, -0.15)], 0.018, segments=10))
    out.add(
        "body",
        turn(lathe([(0.03, 0), (0.055, 0.02), (0.055, 0.2), (0.035, 0.25)], 20), (-16, 0, 0)).translate(
            [0, 0.7, -0.13]
        ),
    )
    loop = curve([(0, 0.95, -0.19), (0, 1.1, -0.19), (0, 1.12, -0.3), (0, 0.98, -0.27), (0, 0.88, -0.2)], 18)
    return out.add("handle", tube(loop, 0.0155, segments=10))


@makes("selfie stick", "", stick={})
def selfie_stick(length: float = 0.75) -> Assembly:
    """A drawn-out stick with a phone in its clamp, screen to -z of the clamp (towards its user below)."""
    out = Assembly(target_faces=1500, longest_edge=0.04).add("grip", rod((0, 0, 0), (0, 0.16, 0), 0.0145, segments=14))
    out.add("shaft", rod((0, 0.155, 0), (0, length, 0), 0.007, 0.0045, 10))
    return out.add(
        "phone", move(turn(box((0.147, 0.0715, 0.009), (0, 0, 0), 0.003), (20, 0, 0)), (0, length + 0.04, 0))
    )


@makes("spray bottle", "", spray={})
def spray_bottle() -> Assembly:
    """A trigger sprayer, nozzle to +z."""
    out = Assembly(target_faces=1800).add(
        "body", sections("y", [(0, 0.08, 0.065), (0.12, 0.08, 0.065), (0.17, 0.04, 0.04), (0.21, 0.03, 0.03)], 2.8, 20)
    )
    out.add(
        "head",
        sections(
            "z",
            [
                (-0.03, 0.02, 0.03, 0, 0.235),
                (0.0, 0.026, 0.04, 0, 0.235),
                (0.05, 0.022, 0.024, 0, 0.245),
                (0.06, 0.014, 0.014, 0, 0.245),
            ],
            3,
            14,
        ),
    )
    return out.add("trigger", tube(curve([(0, 0.235, 0.025), (0, 0.2, 0.03), (0, 0.17, 0.042)], 8), 0.006, segments=8))


@makes("plunger", "y:inf", plunger={})
def plunger() -> Assembly:
    """A sink plunger, cup down."""
    out = Assembly(target_faces=1400).add(
        "cup",
        lathe(
            [
                (0.06, 0),
                (0.066, 0.0),
                (0.05, 0.05),
                (0.018, 0.075),
                (0, 0.075),
                (0, 0.068),
                (0.013, 0.066),
                (0.045, 0.045),
            ],
            24,
        ),
    )
    return out.add("handle", rod((0, 0.07, 0), (0, 0.5, 0), 0.011, segments=12))
