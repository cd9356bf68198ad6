"""Things one rides, pushes or pulls; all travel to +z."""

from __future__ import annotations

import numpy as np

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    Solid,
    arc,
    box,
    curve,
    disc,
    extrude,
    lathe,
    move,
    ring,
    rod,
    sections,
    superellipse,
    tube,
    turn,
    union,
)


def _wheel(at: tuple[float, float, float], radius: float, tyre: float, spokes: int, rim_segments: int = 36) -> Solid:
    """An open spoked wheel whose axle is along x."""
    parts = [ring((0, 0, 0), "x", radius - tyre, tyre, rim_segments, 6), disc((0, 0, 0), "x", 0.022, 0.06, 10)]
    for k in range(spokes):
        a = 2 * np.pi * k / spokes
        end = (0.0, (radius - tyre) * float(np.cos(a)), (radius - tyre) * float(np.sin(a)))
        parts.append(rod((0.018 * (-1) ** k, 0, 0), end, 0.002, segments=4))
    return move(union(*parts), at)


@makes("bicycle", "", city={}, racing={"drop": True, "saddle": 0.98}, child={"k": 0.68})
def bicycle(k: float = 1.0, saddle: float = 0.95, drop: bool = False) -> Assembly:
    """A bicycle with open wheels, frame, cranks, saddle and bars."""
    out = Assembly(target_faces=3900, longest_edge=0.08)
    wheel, base = 0.335, 1.03
    rear, front = (0.0, wheel, -0.43), (0.0, wheel, base - 0.43)
    for at in (rear, front):
        out.add("wheels", _wheel(at, wheel, 0.018, 14))
    crank, seat_top, head_top, head_low = (0, 0.28, 0), (0, 0.76, -0.17), (0, 0.86, 0.44), (0, 0.7, 0.49)
    tubes = [(crank, seat_top), (seat_top, head_top), (crank, head_low), (head_top, head_low)]
    out.add("frame", *[rod(a, b, 0.016, segments=8) for a, b in tubes])
    for s in (-1, 1):
        dropout = (s * 0.045, rear[1], rear[2])
        out.add(
            "frame",
            rod((s * 0.01, 0.28, 0), dropout, 0.009, segments=6),
            rod((s * 0.01, 0.74, -0.165), dropout, 0.008, segments=6),
        )
        out.add(
            "frame",
            tube(
                [(s * 0.01, 0.72, 0.487), (s * 0.05, 0.64, 0.51), (s * 0.045, wheel, front[2])],
                [0.012, 0.012, 0.008],
                segments=6,
            ),
        )
        out.add(
            "frame",
            rod((0, wheel, rear[2]), (s * 0.055, wheel, rear[2]), 0.008, segments=6),
            rod((0, wheel, front[2]), (s * 0.055, wheel, front[2]), 0.008, segments=6),
        )
        foot = (s * 0.09, 0.28 + s * 0.12, -s * 0.12)
        out.add(
            "cranks",
            rod((0, 0.28, 0), (s * 0.07, 0.28, 0), 0.014, segments=8),
            rod((s * 0.07, 0.28, 0), (s * 0.075, foot[1], foot[2]), 0.009, segments=6),
        )
        side = "left" if s > 0 else "right"
        out.add(
            f"pedal_{side}",
            box((0.1, 0.022, 0.075), (s * 0.135, foot[1], foot[2]), 0.005),
            rod((s * 0.07, foot[1], foot[2]), (s * 0.13, foot[1], foot[2]), 0.006, segments=6),
        )
        if drop:
            bend = curve(
                [
                    (0, 0.95, 0.47),
                    (s * 0.17, 0.95, 0.48),
                    (s * 0.2, 0.94, 0.57),
                    (s * 0.205, 0.85, 0.6),
                    (s * 0.205, 0.8, 0.5),
                ],
                16,
            )
            out.add("handlebar", tube(bend[:7], 0.013, segments=6)).add(
                f"grip_{side}", tube(bend[6:], 0.016, segments=8)
            )
        else:
            bend = curve([(0, 0.97, 0.44), (s * 0.1, 0.985, 0.45), (s * 0.24, 1.02, 0.38), (s * 0.29, 1.02, 0.3)], 12)
            out.add("handlebar", tube(bend[:9], 0.011, segments=6)).add(
                f"grip_{side}", tube(bend[8:], 0.016, segments=8)
            )
    out.add("handlebar", rod(head_top, (0, 0.96, 0.44 if not drop else 0.47), 0.013, segments=8))
    out.add("frame", rod((0, 0.74, -0.165), (0, saddle - 0.02, -0.235), 0.013, segments=8)).add(
        "cranks", disc((0.035, 0.28, 0), "x", 0.09, 0.006, 20)
    )
    seat = sections(
        "z",
        [(-0.36, 0.11, 0.03), (-0.34, 0.16, 0.045), (-0.25, 0.12, 0.045), (-0.14, 0.05, 0.035), (-0.08, 0.035, 0.03)],
        2.5,
        12,
    )
    out.add("saddle", move(seat, (0, saddle, 0)))
    out.solids = [(name, solid.scale([k, k, k]).as_original()) for name, solid in out.solids]
    return out


@makes("kick scooter", "", folding={}, tall={"height": 1.05})
def kick_scooter(height: float = 0.9) -> Assembly:
    """A kick scooter with a T bar."""
    out = Assembly(target_faces=2400, longest_edge=0.06).add(
        "deck", box((0.115, 0.025, 0.42), (0, 0.085, -0.05), 0.008)
    )
    out.add("frame", tube([(0, 0.09, 0.14), (0, 0.12, 0.2), (0, 0.22, 0.29)], 0.02))
    out.add("stem", rod((0, 0.1, 0.34), (0, height, 0.24), 0.016, segments=10))
    for at in ((0, 0.075, -0.33), (0, 0.075, 0.345)):
        out.add("wheels", disc(at, "x", 0.075, 0.026, 24))
    for s in (-1, 1):
        out.add(
            "frame",
            rod((s * 0.024, 0.075, 0.345), (s * 0.02, 0.18, 0.325), 0.008, segments=6),
            rod((s * 0.03, 0.085, -0.2), (s * 0.024, 0.075, -0.33), 0.01, segments=6),
        )
        out.add("stem", rod((0, height - 0.01, 0.24), (s * 0.1, height - 0.01, 0.24), 0.012, segments=8))
        out.add(
            f"grip_{'left' if s > 0 else 'right'}",
            rod((s * 0.1, height - 0.01, 0.24), (s * 0.2, height - 0.01, 0.235), 0.0165, segments=10),
        )
    return out.add("frame", box((0.07, 0.03, 0.05), (0, 0.18, 0.325), 0.005))


@makes("shopping cart", "", cart={})
def shopping_cart() -> Assembly:
    """A shopping trolley: wire basket open above, push bar behind (-z)."""
    out = Assembly(target_faces=3900, longest_edge=0.12)
    corners = {"top": (0.27, 0.95, -0.42, 0.2, 0.9, 0.45), "floor": (0.22, 0.55, -0.32, 0.16, 0.5, 0.38)}

    def rim(which: str) -> list[tuple[float, float, float]]:
        wr, yr, zr, wf, yf, zf = corners[which]
        return [(-wr, yr, zr), (wr, yr, zr), (wf, yf, zf), (-wf, yf, zf)]

    top, floor = np.array(rim("top")), np.array(rim("floor"))
    for loop, radius in ((top, 0.009), (floor, 0.006), (0.5 * (top + floor), 0.004)):
        out.add("basket", *[rod(loop[i], loop[(i + 1) % 4], radius, segments=6) for i in range(4)])
    for i in range(4):
        a, b = i, (i + 1) % 4
        for f in np.linspace(0, 1, 7 if i % 2 else 5)[:-1]:
            out.add("basket", rod(floor[a] * (1 - f) + floor[b] * f, top[a] * (1 - f) + top[b] * f, 0.004, segments=4))
    for f in np.linspace(0.15, 0.85, 5):
        out.add("basket", rod(floor[0] * (1 - f) + floor[1] * f, floor[3] * (1 - f) + floor[2] * f, 0.004, segments=4))
    for s in (-1, 1):
        out.add(
            "frame",
            tube(
                [(s * 0.27, 0.98, -0.46), (s * 0.25, 0.5, -0.4), (s * 0.24, 0.14, -0.36), (s * 0.2, 0.13, 0.42)],
                0.012,
                segments=6,
            ),
        )
        out.add("frame", rod((s * 0.2, 0.13, 0.3), (s * 0.16, 0.5, 0.3), 0.01, segments=6))
        for z in (-0.34, 0.4):
            x = s * (0.24 if z < 0 else 0.2)
            out.add(
                "wheels", disc((x, 0.06, z), "x", 0.06, 0.03, 16), rod((x, 0.06, z), (x, 0.14, z), 0.013, segments=6)
            )
    return out.add("handle", rod((-0.28, 0.99, -0.47), (0.28, 0.99, -0.47), 0.016, segments=10))


@makes("wheelchair", "", manual={})
def wheelchair() -> Assembly:
    """A manual wheelchair with hand rims, foot plates and push grips."""
    out = Assembly(target_faces=3900, longest_edge=0.09)
    out.add("seat", box((0.43, 0.03, 0.42), (0, 0.5, 0.02), 0.01)).add(
        "back", turn(box((0.42, 0.42, 0.025), (0, 0.73, -0.21), 0.01), (-6, 0, 0), (0, 0.5, -0.2))
    )
    for s in (-1, 1):
        side = "left" if s > 0 else "right"
        x = s * 0.27
        out.add("wheels", _wheel((x, 0.3, -0.13), 0.3, 0.015, 10, 30))
        out.add(
            f"hand_rim_{side}",
            ring((x + s * 0.035, 0.3, -0.13), "x", 0.255, 0.008, 30, 6),
            *[
                rod(
                    (x, 0.3 + 0.255 * c, -0.13 + 0.255 * d),
                    (x + s * 0.035, 0.3 + 0.255 * c, -0.13 + 0.255 * d),
                    0.004,
                    segments=4,
                )
                for c, d in ((0.0, 1.0), (0.87, -0.5), (-0.87, -0.5))
            ],
        )
        out.add("frame", rod((s * 0.22, 0.3, -0.13), (x, 0.3, -0.13), 0.012, segments=8))
        out.add(
            "frame", tube([(s * 0.22, 0.14, -0.2), (s * 0.22, 0.5, -0.2), (s * 0.22, 0.93, -0.245)], 0.013, segments=6)
        )
        out.add("frame", tube([(s * 0.22, 0.3, -0.2), (s * 0.22, 0.3, 0.2), (s * 0.22, 0.5, 0.22)], 0.012, segments=6))
        out.add(f"push_grip_{side}", rod((s * 0.22, 0.92, -0.24), (s * 0.22, 0.92, -0.36), 0.017, segments=8))
        out.add(
            "arms",
            box((0.05, 0.03, 0.3), (s * 0.235, 0.7, -0.02), 0.01),
            rod((s * 0.235, 0.5, 0.1), (s * 0.235, 0.7, 0.1), 0.012, segments=6),
        )
        out.add(
            "frame", tube([(s * 0.2, 0.49, 0.2), (s * 0.18, 0.45, 0.28), (s * 0.14, 0.13, 0.42)], 0.011, segments=6)
        )
        out.add("foot_plates", box((0.15, 0.012, 0.17), (s * 0.1, 0.12, 0.46), 0.004))
        out.add(
            "casters",
            disc((s * 0.2, 0.08, 0.25), "x", 0.08, 0.025, 18),
            rod((s * 0.2, 0.08, 0.25), (s * 0.215, 0.3, 0.19), 0.012, segments=6),
        )
    return out


@makes("wheelbarrow", "", barrow={})
def wheelbarrow() -> Assembly:
    """A wheelbarrow, wheel in front, two grips behind (-z)."""
    out = Assembly(target_faces=2800, longest_edge=0.08)
    tray = sections("y", [(0.33, 0.34, 0.5, 0, 0.02), (0.62, 0.62, 0.85, 0, 0.0)], 4, 24)
    out.add("tray", tray - sections("y", [(0.345, 0.32, 0.48, 0, 0.02), (0.63, 0.6, 0.83, 0, 0.0)], 4, 24))
    out.add("wheel", ring((0, 0.19, 0.58), "x", 0.145, 0.045, 24, 10), disc((0, 0.19, 0.58), "x", 0.12, 0.03, 20))
    for s in (-1, 1):
        path = curve(
            [(s * 0.06, 0.19, 0.6), (s * 0.13, 0.3, 0.28), (s * 0.26, 0.36, -0.25), (s * 0.28, 0.55, -0.62)], 12
        )
        out.add("frame", tube(path, 0.017, segments=8), rod((s * 0.075, 0.19, 0.58), (0, 0.19, 0.58), 0.01, segments=6))
        out.add(
            "frame",
            tube(
                [(s * 0.25, 0.36, -0.2), (s * 0.25, 0.0, -0.26), (s * 0.25, 0.0, -0.34), (s * 0.26, 0.38, -0.28)],
                0.013,
                segments=6,
            ),
        )
        out.add(
            f"grip_{'left' if s > 0 else 'right'}",
            rod((s * 0.28, 0.545, -0.6), (s * 0.283, 0.59, -0.74), 0.02, segments=10),
        )
    return out


@makes("walker", "", frame={})
def walker() -> Assembly:
    """A walking frame, open to its user at -z."""
    out = Assembly(target_faces=2400, longest_edge=0.07)
    for s in (-1, 1):
        x = s * 0.28
        loop = [
            (x, 0, 0.26),
            (x, 0.8, 0.2),
            *[(x, 0.8 + 0.08 * float(np.sin(a)), 0.12 + 0.08 * float(np.cos(a))) for a in np.linspace(0.3, 1.57, 5)],
            (x, 0.88, -0.08),
            *[(x, 0.8 + 0.08 * float(np.sin(a)), -0.1 + 0.08 * float(np.cos(a))) for a in np.linspace(1.8, 2.9, 4)],
            (x, 0, -0.24),
        ]
        out.add("frame", tube(loop, 0.0125, segments=8))
        out.add(f"grip_{'left' if s > 0 else 'right'}", rod((x, 0.88, -0.08), (x, 0.88, 0.09), 0.017, segments=10))
        out.add("frame", rod((x, 0.4, 0.23), (x, 0.4, -0.17), 0.011, segments=8))
        out.add("feet", *[rod((x, 0, z), (x, 0.04, z), 0.017, segments=10) for z in (0.26, -0.24)])
    return out.add(
        "frame",
        rod((-0.28, 0.4, 0.23), (0.28, 0.4, 0.23), 0.012, segments=8),
        rod((-0.28, 0.75, 0.204), (0.28, 0.75, 0.204), 0.012, segments=8),
    )


@makes("hand truck", "", sack={})
def hand_truck() -> Assembly:
    """A sack truck: toe plate and load to +z, its user behind (-z)."""
    out = Assembly(target_faces=2400, longest_edge=0.08)
    for s in (-1, 1):
        out.add(
            "frame",
            tube(
                curve([(s * 0.2, 0.03, 0.0), (s * 0.2, 0.6, 0.0), (s * 0.2, 1.1, -0.03), (s * 0.2, 1.2, -0.11)], 12),
                0.015,
                segments=8,
            ),
        )
        out.add(
            "wheels",
            disc((s * 0.24, 0.12, -0.08), "x", 0.12, 0.055, 22),
            rod((s * 0.2, 0.12, -0.08), (s * 0.2, 0.16, 0.0), 0.012, segments=6),
        )
    out.add("frame", *[rod((-0.2, y, 0.0), (0.2, y, 0.0), 0.012, segments=8) for y in (0.25, 0.5, 0.75, 1.0)])
    out.add("frame", rod((-0.24, 0.12, -0.08), (0.24, 0.12, -0.08), 0.012, segments=8))
    out.add("handle", rod((-0.215, 1.2, -0.11), (0.215, 1.2, -0.11), 0.019, segments=10))
    return out.add("toe_plate", box((0.4, 0.012, 0.22), (0, 0.025, 0.1)))


@makes("sled", "", wooden={})
def sled() -> Assembly:
    """A slatted sled on two runners that curl up in front."""
    out = Assembly(target_faces=2400, longest_edge=0.07)
    for s in (-1, 1):
        runner = curve(
            [
                (s * 0.17, 0.0, -0.45),
                (s * 0.17, 0.0, 0.2),
                (s * 0.17, 0.05, 0.42),
                (s * 0.17, 0.2, 0.5),
                (s * 0.17, 0.26, 0.42),
            ],
            20,
        )
        out.add("runners", tube(runner, 0.016, segments=8))
        out.add("runners", *[box((0.03, 0.2, 0.035), (s * 0.17, 0.1, z)) for z in (-0.35, 0.0, 0.28)])
    return out.add(
        "seat",
        *[box((0.07, 0.018, 0.9), (x, 0.205, -0.06), 0.004) for x in (-0.13, -0.043, 0.043, 0.13)],
        *[box((0.34, 0.025, 0.05), (0, 0.185, z)) for z in (-0.35, 0.28)],
    )


@makes("stroller", "", pushchair={})
def stroller() -> Assembly:
    """A push chair: child looks to +z, the person who pushes stands at -z."""
    out = Assembly(target_faces=3600, longest_edge=0.08)
    out.add(
        "seat",
        box((0.34, 0.03, 0.3), (0, 0.48, 0.05), 0.01),
        turn(box((0.34, 0.5, 0.03), (0, 0.72, -0.12), 0.01), (-18, 0, 0), (0, 0.48, -0.1)),
    )
    hood = [(x, y, z) for x, y, z in arc((0, 0.86, -0.22), 0.22, 10, 150, 10, "zy")]
    out.add("canopy", tube(hood, 0.18, flat=0.06, segments=10, up=(0, 1, 0.3)))
    for s in (-1, 1):
        out.add(
            "frame", tube([(s * 0.23, 0.1, 0.45), (s * 0.22, 0.42, 0.1), (s * 0.21, 1.02, -0.5)], 0.013, segments=8)
        )
        out.add(
            "frame", tube([(s * 0.22, 0.1, -0.35), (s * 0.21, 0.5, -0.05), (s * 0.19, 0.48, 0.18)], 0.012, segments=8)
        )
        for z in (0.45, -0.35):
            out.add("wheels", disc((s * 0.235, 0.095, z), "x", 0.095, 0.035, 20))
    out.add(
        "frame",
        rod((-0.22, 0.1, -0.35), (0.22, 0.1, -0.35), 0.011, segments=8),
        rod((-0.2, 0.46, -0.05), (0.2, 0.46, -0.05), 0.011, segments=8),
    )
    out.add("foot_rest", box((0.36, 0.015, 0.1), (0, 0.2, 0.32)), box((0.4, 0.02, 0.02), (0, 0.2, 0.34)))
    return out.add("handle", rod((-0.22, 1.02, -0.5), (0.22, 1.02, -0.5), 0.018, segments=10))


@makes("unicycle", "", unicycle={})
def unicycle() -> Assembly:
    """A unicycle with an open wheel."""
    out = Assembly(target_faces=3000, longest_edge=0.06).add("wheel", _wheel((0, 0.25, 0), 0.25, 0.022, 12, 32))
    for s in (-1, 1):
        out.add(
            "frame",
            tube([(s * 0.045, 0.25, 0), (s * 0.045, 0.55, 0), (0, 0.6, 0)], 0.013, segments=8),
            rod((0, 0.25, 0), (s * 0.07, 0.25, 0), 0.012, segments=8),
        )
        foot = 0.25 - s * 0.11
        out.add("frame", rod((s * 0.07, 0.25, 0), (s * 0.075, foot, 0), 0.009, segments=6))
        out.add(f"pedal_{'left' if s > 0 else 'right'}", box((0.1, 0.022, 0.08), (s * 0.13, foot, 0), 0.005))
    out.add("frame", rod((0, 0.58, 0), (0, 0.8, 0), 0.015, segments=10))
    return out.add(
        "saddle",
        sections(
            "z",
            [
                (-0.16, 0.08, 0.04, 0, 0.85),
                (-0.13, 0.12, 0.06, 0, 0.83),
                (0, 0.08, 0.05, 0, 0.8),
                (0.13, 0.1, 0.055, 0, 0.83),
                (0.16, 0.07, 0.04, 0, 0.85),
            ],
            2.5,
            14,
        ),
    )


@makes("balance board", "y:2", rocker={})
def balance_board() -> Assembly:
    """A board across a roller."""
    deck = [(x, z) for x, z in superellipse(0.75, 0.28, 4, 28)]
    out = Assembly(target_faces=1400).add("deck", extrude(deck, 0.016, "y", (0, 0.128, 0)))
    return out.add("roller", lathe([(0.06, -0.14), (0.06, 0.14)], 24, "z").translate([0, 0.06, 0]))
