"""Bats, rackets, clubs, sticks, boards and skis: grip below (-y), working end above, face to +z."""

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
    rod,
    sections,
    superellipse,
    tube,
    turn,
)


@makes(
    "baseball bat",
    "y:inf",
    adult={},
    youth={"length": 0.71, "barrel": 0.029},
    softball={"length": 0.86, "barrel": 0.0286},
)
def baseball_bat(length: float = 0.84, barrel: float = 0.033) -> Assembly:
    """A round bat, knob down."""
    out = Assembly(target_faces=1600)
    grip = 0.38 * length
    out.add("knob", lathe([(0.018, 0), (0.0255, 0.004), (0.0245, 0.014), (0.013, 0.02)], 20))
    out.add("handle", lathe([(0.0125, 0.018), (0.0125, 0.3 * length), (0.0145, grip)], 20))
    top = [
        (0.0145, grip),
        (0.7 * barrel, 0.52 * length),
        (barrel, 0.72 * length),
        (barrel, length - 0.02),
        (0.8 * barrel, length - 0.004),
        (0, length),
    ]
    return out.add("barrel", lathe(top, 20))


@makes("cricket bat", "", bat={})
def cricket_bat() -> Assembly:
    """A flat bat; its hitting face to +z, the ridge to -z."""
    out = Assembly(target_faces=1400).add("handle", rod((0, 0, 0), (0, 0.31, 0), 0.017, segments=14))
    shape = np.array([(-0.5, 0.4), (0.5, 0.4), (0.5, -0.1), (0.0, -0.6), (-0.5, -0.1)])
    rows = [(0.29, 0.04, 0.03), (0.34, 0.1, 0.035), (0.5, 0.108, 0.05), (0.76, 0.108, 0.062), (0.86, 0.105, 0.03)]
    rings = [np.stack([w * shape[:, 0], np.full(5, y), d * shape[:, 1]], 1) for y, w, d in rows]
    return out.add("blade", loft(np.stack(rings)))


def _head(width: float, height: float, centre: float, n: int = 32) -> list[tuple[float, float, float]]:
    """Points of a racket's oval, slightly narrower towards the throat."""
    t = np.arange(n) * 2 * np.pi / n
    taper = 1 - 0.12 * np.clip(-np.sin(t), 0, None)
    return [
        (float(width / 2 * np.cos(a) * k), float(centre + height / 2 * np.sin(a)), 0.0)
        for a, k in zip(t, taper, strict=True)
    ]


def _strings(width: float, height: float, centre: float, columns: int, rows: int, radius: float) -> list[Solid]:
    """A true grid of strings within an oval."""
    strings = []
    for x in np.linspace(-0.8, 0.8, columns) * width / 2:
        reach = height / 2 * float(np.sqrt(1 - (2 * x / width) ** 2)) * 0.97
        strings.append(rod((x, centre - reach, 0), (x, centre + reach, 0), radius, segments=4))
    for y in np.linspace(-0.8, 0.8, rows) * height / 2:
        reach = width / 2 * float(np.sqrt(1 - (2 * y / height) ** 2)) * 0.97
        strings.append(rod((-reach, centre + y, 0), (reach, centre + y, 0), radius, segments=4))
    return strings


@makes("tennis racket", "y:2", open={"strings": 0}, grid={}, junior={"length": 0.58, "width": 0.22})
def tennis_racket(length: float = 0.685, width: float = 0.26, strings: int = 7) -> Assembly:
    """A racket with an open throat; with `strings` a coarse but true grid, else an open frame."""
    out = Assembly(target_faces=3600)
    tall = 0.345 * length / 0.685
    centre = length - tall / 2 - 0.011
    out.add("frame", tube(_head(width - 0.02, tall, centre), 0.0105, closed=True, segments=8, up=(0, 0, 1)))
    grip = 0.3 * length
    out.add("grip", sections("y", [(0, 0.034, 0.038), (0.012, 0.031, 0.034), (grip, 0.028, 0.031)], 4, 12))
    for s in (-1, 1):
        path = curve(
            [(0.004 * s, grip - 0.01, 0), (0.02 * s, grip + 0.06, 0), (0.33 * width * s, centre - 0.4 * tall, 0)], 10
        )
        out.add("throat", tube(path, 0.009, segments=8))
    if strings:
        out.add("strings", *_strings(width - 0.02, tall, centre, strings, strings + 2, 0.0016))
    return out


@makes("badminton racket", "y:2", racket={})
def badminton_racket(length: float = 0.67, width: float = 0.215) -> Assembly:
    """A light racket with a thin shaft."""
    out = Assembly(target_faces=3600)
    tall, grip = 0.25, 0.19
    centre = length - tall / 2 - 0.006
    out.add("frame", tube(_head(width - 0.011, tall, centre), 0.0055, closed=True, segments=8, up=(0, 0, 1)))
    out.add("shaft", rod((0, grip - 0.01, 0), (0, centre - tall / 2, 0), 0.0045, segments=8))
    out.add("grip", sections("y", [(0, 0.028, 0.03), (0.01, 0.025, 0.027), (grip, 0.022, 0.024)], 4, 12))
    return out.add("strings", *_strings(width - 0.011, tall, centre, 7, 9, 0.0012))


@makes("table tennis paddle", "y:2", paddle={})
def table_tennis_paddle() -> Assembly:
    """A table tennis bat."""
    out = Assembly(target_faces=1500)
    blade = superellipse(0.152, 0.156, 2.2, 32) + np.array([0.0, 0.19])
    out.add("blade", extrude(blade, 0.011)).add(
        "blade", extrude([(-0.016, 0.09), (0.016, 0.09), (0.05, 0.14), (-0.05, 0.14)], 0.0112)
    )
    return out.add("handle", sections("y", [(0, 0.034, 0.025), (0.05, 0.028, 0.023), (0.105, 0.026, 0.022)], 3, 16))


@makes("golf club", "", iron={}, driver={"length": 1.14, "wood": True}, putter={"length": 0.87, "flat": True})
def golf_club(length: float = 0.95, wood: bool = False, flat: bool = False) -> Assembly:
    """A club held with its grip up and its head on the ground at +x."""
    out = Assembly(target_faces=1400, longest_edge=0.04)
    out.add("grip", rod((0, length - 0.27, 0), (0, length, 0), 0.0105, 0.0135, 12))
    out.add("shaft", rod((0, 0.03, 0), (0, length - 0.26, 0), 0.0045, 0.0072, 10))
    if wood:
        return out.add("head", ellipsoid((0.058, 0.03, 0.05), (0.045, 0.03, -0.02), 20))
    if flat:
        return out.add("head", box((0.11, 0.024, 0.03), (0.04, 0.018, 0), 0.006))
    blade = extrude([(-0.012, 0.012), (0.02, 0.0), (0.078, 0.004), (0.084, 0.05), (0.07, 0.056), (0.0, 0.035)], 0.013)
    return out.add("head", turn(blade, (-25, 0, 0), (0, 0.02, 0)))


@makes("hockey stick", "", ice={}, field={"length": 0.93, "blade": 0.11, "hook": True})
def hockey_stick(length: float = 1.5, blade: float = 0.3, hook: bool = False) -> Assembly:
    """A stick with its blade on the ground at +x."""
    out = Assembly(target_faces=1600, longest_edge=0.05)
    if hook:
        path = curve([(0, length, 0), (0, 0.3 * length, 0), (0.002, 0.06, 0), (0.05, 0.012, 0), (blade, 0.05, 0)], 30)
        cut = 18
        out.add("shaft", tube(path[:cut], 0.021, flat=0.75, segments=10, up=(0, 0, 1)))
        return out.add("blade", tube(path[cut - 1 :], 0.0235, flat=0.65, segments=10, up=(0, 0, 1)))
    out.add("grip", box((0.03, 0.3, 0.021), (0, length - 0.15, 0), 0.005))
    out.add("shaft", box((0.03, length - 0.33, 0.021), (0, (length - 0.27) / 2 + 0.02, 0), 0.005))
    foot = [(-0.02, 0.0), (blade, 0.012), (blade, 0.075), (0.1, 0.075), (0.014, 0.11), (-0.016, 0.11)]
    return out.add("blade", extrude(foot, 0.013))


@makes("skateboard", "", street={}, longboard={"length": 1.05, "width": 0.235, "tails": 0.3})
def skateboard(length: float = 0.8, width: float = 0.2, tails: float = 1.0) -> Assembly:
    """A board on four wheels, nose to +z."""
    out = Assembly(target_faces=2400)
    n = 25
    t = np.linspace(-1, 1, n)
    lift = tails * 0.055 * np.clip(np.abs(t) - 0.62, 0, None) / 0.38
    half = width / 2 * np.maximum(1 - np.abs(t) ** 7, 0.06) ** 0.5
    rows = [(float(a) * length / 2, 2 * float(w), 0.011, 0, float(h)) for a, w, h in zip(t, half, lift, strict=True)]
    out.add("deck", sections("z", rows, 5, 16))
    for s in (-1, 1):
        z = s * 0.27 * length
        out.add(
            "trucks",
            rod((-0.085, -0.045, z), (0.085, -0.045, z), 0.009, segments=8),
            box((0.045, 0.045, 0.05), (0, -0.022, z), 0.008),
        )
        out.add("wheels", *[disc((x, -0.045, z), "x", 0.027, 0.032, 18) for x in (-0.08, 0.08)])
    return out


def _plank(length: float, width: float, thick: float, nose: float, tail: float, rocker: float, n: int = 27) -> Solid:
    """A board along z whose outline closes with powers `nose` and `tail` and whose nose lifts by `rocker`."""
    t = np.linspace(-0.998, 0.998, n)
    power = np.where(t > 0, nose, tail)
    half = width / 2 * np.maximum(1 - np.abs(t) ** power, 0.003) ** (1 / 1.8)
    body = thick * np.maximum(1 - np.abs(t) ** 6, 0.12)
    lift = rocker * np.where(t > 0, t**4, 0.4 * t**4)
    rows = [
        (float(a) * length / 2, 2 * float(w), float(b), 0, float(h))
        for a, w, b, h in zip(t, half, body, lift, strict=True)
    ]
    return sections("z", rows, 3, 18)


@makes(
    "surfboard",
    "",
    short={},
    long={"length": 2.74, "width": 0.57, "nose": 3.6},
)
@makes(
    "bodyboard", "", bodyboard={"length": 1.05, "width": 0.54, "thick": 0.055, "nose": 7.0, "tail": 12.0, "fins": False}
)
def surfboard(
    length: float = 1.85,
    width: float = 0.49,
    thick: float = 0.063,
    nose: float = 2.1,
    tail: float = 3.4,
    fins: bool = True,
) -> Assembly:
    """A surfboard lying flat, deck up, nose to +z, fins below the tail."""
    out = Assembly(target_faces=2400).add("deck", _plank(length, width, thick, nose, tail, 0.11 * length / 1.85))
    if fins:
        fin = [(-0.055, 0.0), (0.055, 0.0), (-0.03, -0.11), (-0.06, -0.115)]
        for x, z in ((0, -0.43), (0.13, -0.38), (-0.13, -0.38)):
            out.add("fins", extrude([(a, b) for a, b in fin], 0.007, "x", (x * width, -0.012, z * length)))
    return out


@makes("snowboard", "y:2", freestyle={}, long={"length": 1.65})
def snowboard(length: float = 1.55, width: float = 0.29) -> Assembly:
    """A snowboard lying flat with two bindings."""
    t = np.linspace(-0.998, 0.998, 27)
    half = width / 2 * np.maximum(1 - np.abs(t) ** 7, 0.003) ** 0.5 * (0.86 + 0.14 * t**2)
    lift = 0.07 * np.clip(np.abs(t) - 0.74, 0, None) / 0.26
    rows = [(float(a) * length / 2, 2 * float(w), 0.011, 0, float(h)) for a, w, h in zip(t, half, lift, strict=True)]
    out = Assembly(target_faces=2600).add("deck", sections("z", rows, 5, 14))
    for s in (-1, 1):
        out.add("bindings", box((0.24, 0.02, 0.12), (0, 0.012, s * 0.26), 0.006))
        out.add(
            "bindings",
            box((0.012, 0.05, 0.1), (0.114, 0.035, s * 0.26)),
            box((0.012, 0.05, 0.1), (-0.114, 0.035, s * 0.26)),
        )
    return out


def _ski(length: float, width: float) -> Solid:
    t = np.linspace(-0.998, 0.998, 27)
    half = width / 2 * np.maximum(1 - np.abs(t) ** 16, 0.004) ** 0.6 * (0.72 + 0.28 * t**2)
    lift = 0.09 * (np.clip(t - 0.8, 0, None) / 0.2) ** 1.5
    rows = [(float(a) * length / 2, 2 * float(w), 0.012, 0, float(h)) for a, w, h in zip(t, half, lift, strict=True)]
    return sections("z", rows, 5, 12)


@makes("skis", "", pair={}, long={"length": 1.85, "width": 0.1})
def skis(length: float = 1.68, width: float = 0.11, gap: float = 0.22) -> Assembly:
    """A pair of skis side by side, tips to +z, with bindings."""
    out = Assembly(target_faces=2800)
    for side, s in (("left", 1), ("right", -1)):
        x = s * gap / 2
        out.add(f"ski_{side}", move(_ski(length, width), (x, 0, 0)))
        out.add(
            "bindings",
            box((0.075, 0.045, 0.09), (x, 0.026, 0.14), 0.01),
            box((0.075, 0.055, 0.1), (x, 0.03, -0.2), 0.01),
        )
    return out


@makes("ski pole", "y:inf", pole={}, trekking={"length": 1.1})
def ski_pole(length: float = 1.2) -> Assembly:
    """A pole with its grip up and a basket above the tip."""
    out = Assembly(target_faces=1400, longest_edge=0.05)
    out.add(
        "grip",
        lathe(
            [
                (0.012, length - 0.13),
                (0.0165, length - 0.1),
                (0.014, length - 0.03),
                (0.019, length),
                (0, length + 0.005),
            ],
            14,
        ),
    )
    out.add("shaft", rod((0, 0, 0), (0, length - 0.12, 0), 0.0035, 0.008, 10))
    return out.add("basket", lathe([(0.006, 0.055), (0.045, 0.062), (0.045, 0.067), (0.006, 0.075)], 20))


@makes("paddle", "", canoe={}, kayak={"length": 2.2, "double": True})
def paddle(length: float = 1.45, double: bool = False) -> Assembly:
    """A paddle, blade down; a kayak's has a second blade above, and its shaft is held in the middle."""
    out = Assembly(target_faces=1800, longest_edge=0.06)
    rows = [(0.0, 0.1, 0.008), (0.05, 0.19, 0.012), (0.3, 0.2, 0.018), (0.42, 0.11, 0.024), (0.5, 0.032, 0.03)]
    blade = sections("y", rows, 2.5, 16)
    out.add("blade", blade)
    if double:
        out.add("blade", turn(blade, (0, 0, 180)).translate([0, length, 0]))
        third = (length - 0.96) / 2
        out.add("shaft", rod((0, 0.48, 0), (0, length - 0.48, 0), 0.0145))
        return out.add("shaft", rod((0, length / 2 - third / 2, 0), (0, length / 2 + third / 2, 0), 0.016))
    out.add("shaft", rod((0, 0.48, 0), (0, length - 0.03, 0), 0.0145))
    return out.add(
        "grip",
        sections("y", [(length - 0.05, 0.03, 0.03), (length - 0.02, 0.1, 0.035), (length, 0.09, 0.025)], 2.5, 16),
    )


@makes("fishing rod", "", rod={}, short={"length": 1.5})
def fishing_rod(length: float = 2.1) -> Assembly:
    """A rod, butt down, with a reel at +z."""
    out = Assembly(target_faces=2000, longest_edge=0.06)
    out.add("handle", rod((0, 0, 0), (0, 0.4, 0), 0.013, 0.011, 12)).add(
        "rod", rod((0, 0.39, 0), (0, length, 0), 0.006, 0.0014, 8)
    )
    out.add("reel", disc((0, 0.3, 0.065), "y", 0.028, 0.045, 18), box((0.012, 0.05, 0.04), (0, 0.3, 0.022)))
    out.add(
        "crank",
        rod((0.0, 0.3, 0.065), (0.06, 0.3, 0.065), 0.005, segments=8),
        rod((0.058, 0.3, 0.065), (0.058, 0.3, 0.105), 0.008, segments=10),
    )
    for f in (0.35, 0.55, 0.75, 0.9):
        out.add("rod", disc((0, f * length, 0.012), "y", 0.009, 0.004, 10))
    return out


@makes("bow", "", recurve={})
def bow() -> Assembly:
    """A strung bow held upright, arrow direction +z, string at -z."""
    out = Assembly(target_faces=1800, longest_edge=0.05)
    limb = curve([(0, 0.1, 0.0), (0, 0.45, -0.05), (0, 0.72, -0.19), (0, 0.83, -0.175)], 20)
    radius = np.linspace(0.016, 0.007, 20)
    out.add("limbs", tube(limb, radius, flat=0.6, segments=8, up=(0, 0, 1)))
    out.add("limbs", tube(limb * np.array([1, -1, 1]), radius, flat=0.6, segments=8, up=(0, 0, 1)))
    out.add("grip", sections("y", [(-0.12, 0.03, 0.035), (0, 0.032, 0.045), (0.12, 0.03, 0.035)], 2.5, 14))
    return out.add("string", rod((0, -0.74, -0.18), (0, 0.74, -0.18), 0.0025, segments=6))


@makes("baseball glove", "", mitt={})
def baseball_glove() -> Assembly:
    """A fielder's glove for the left hand, fingers up, its pocket open to +z, thumb at -x."""
    out = Assembly(target_faces=3000)
    palm = sections("y", [(-0.02, 0.1, 0.05), (0.03, 0.19, 0.06), (0.1, 0.22, 0.065), (0.15, 0.2, 0.055)], 2.6, 24)
    out.add("pocket", palm - ellipsoid((0.085, 0.095, 0.05), (0, 0.09, 0.055), 24))
    for k, (x, top, lean) in enumerate(
        ((-0.03, 0.285, 0.02), (0.015, 0.295, 0.02), (0.058, 0.28, 0.025), (0.092, 0.245, 0.035))
    ):
        path = curve([(0.85 * x, 0.12, -0.008), (x, 0.2, 0.0), (1.04 * x, top, lean)], 8)
        out.add(
            "fingers", tube(path, [0.025, 0.0255, 0.026, 0.026, 0.0255, 0.024, 0.02, 0.012 + 0.001 * k], segments=10)
        )
    thumb = curve([(-0.075, 0.03, 0.0), (-0.115, 0.1, 0.02), (-0.11, 0.19, 0.05)], 9)
    out.add("thumb", tube(thumb, [0.026, 0.028, 0.029, 0.029, 0.028, 0.027, 0.025, 0.021, 0.013], segments=10))
    web = [(-0.1, 0.1), (-0.03, 0.15), (-0.035, 0.25), (-0.1, 0.2)]
    out.add("web", turn(extrude(web, 0.01), (12, 8, 0), (-0.06, 0.15, 0)).translate([0, 0, 0.018]))
    return out.add("cuff", sections("y", [(-0.06, 0.11, 0.07), (-0.01, 0.12, 0.065)], 2.4, 20))


@makes("kite", "", diamond={})
def kite() -> Assembly:
    """A diamond kite as a thin closed plate with its spars behind (-z) and a short tail."""
    out = Assembly(target_faces=1800)
    out.add("sail", extrude([(0, -0.55), (0.36, 0.12), (0, 0.4), (-0.36, 0.12)], 0.004))
    out.add(
        "spars",
        rod((0, -0.55, -0.005), (0, 0.4, -0.005), 0.005, segments=6),
        rod((-0.36, 0.12, -0.005), (0.36, 0.12, -0.005), 0.005, segments=6),
    )
    tail = curve([(0, -0.54, 0), (0.06, -0.75, 0.02), (-0.05, -0.95, 0), (0.03, -1.15, 0.02)], 20)
    return out.add("tail", tube(tail, 0.012, flat=0.3, segments=6, up=(0, 0, 1)))


@makes("exercise wheel", "x:inf y:2", ab_roller={})
def ab_roller() -> Assembly:
    """A wheel with a grip on either side, axle along x."""
    out = Assembly(target_faces=1600).add(
        "wheel", lathe([(0.02, -0.02), (0.085, -0.022), (0.092, 0.0), (0.085, 0.022), (0.02, 0.02)], 28, "x")
    )
    for side, s in (("left", 1), ("right", -1)):
        out.add(f"grip_{side}", rod((s * 0.015, 0, 0), (s * 0.17, 0, 0), 0.0155, segments=14))
    return out
