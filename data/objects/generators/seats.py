"""Things to sit on. Seats face +z; parts: seat, back, legs, arms."""

from __future__ import annotations

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    Solid,
    arc,
    box,
    curve,
    disc,
    ellipsoid,
    lathe,
    move,
    rod,
    sections,
    tube,
    turn,
    union,
)


@makes(
    "chair",
    plain={},
    wide={"width": 0.5, "depth": 0.48, "seat_height": 0.46, "back_height": 0.4},
    slatted={"back": "slats"},
    ladderback={"back": "rungs", "back_height": 0.6},
    low={"seat_height": 0.36, "width": 0.36, "depth": 0.34, "back_height": 0.32, "back": "rungs"},
)
def chair(
    width: float = 0.43,
    depth: float = 0.43,
    seat_height: float = 0.45,
    back_height: float = 0.44,
    back: str = "panel",
    leg: float = 0.035,
) -> Assembly:
    """A wooden chair with four legs; `back` is "panel", "slats" (upright) or "rungs" (level)."""
    out = Assembly(longest_edge=0.05)
    x, z, top = width / 2 - leg / 2, depth / 2 - leg / 2, seat_height + back_height
    out.add("seat", box((width, 0.03, depth), (0, seat_height - 0.015, 0), 0.008))
    for sx in (-x, x):
        out.add("legs", box((leg, seat_height - 0.01, leg), (sx, seat_height / 2 - 0.005, z)))
        out.add("legs", box((leg, seat_height - 0.01, leg), (sx, seat_height / 2 - 0.005, -z)))
        out.add("legs", box((0.02, 0.03, depth - leg), (sx, 0.35 * seat_height, 0)))
        out.add(
            "back",
            _leaning(box((leg, back_height + 0.02, leg), (sx, seat_height + back_height / 2, -z)), -z, seat_height),
        )
    out.add("legs", box((width - leg, 0.06, 0.02), (0, seat_height - 0.055, z)))
    inner = width - leg
    if back == "panel":
        pieces = [box((inner, 0.55 * back_height, 0.018), (0, top - 0.29 * back_height, -z), 0.006)]
    elif back == "slats":
        pieces = [
            box((inner, 0.06, 0.022), (0, top - 0.035, -z)),
            box((inner, 0.03, 0.02), (0, seat_height + 0.06, -z)),
        ]
        pieces += [
            box((0.03, back_height - 0.09, 0.014), (inner * (k - 1.5) / 4.6, seat_height + back_height / 2, -z))
            for k in range(4)
        ]
    else:
        pieces = [box((inner, 0.055, 0.018), (0, seat_height + back_height * f, -z), 0.006) for f in (0.3, 0.6, 0.9)]
    out.add("back", *[_leaning(p, -z, seat_height) for p in pieces])
    return out


def _leaning(solid: Solid, z: float, height: float, degrees: float = -8.0) -> Solid:
    return turn(solid, (degrees, 0, 0), (0, height, z))


@makes("chair", folding={})
def folding_chair(width: float = 0.44) -> Assembly:
    """A metal folding chair: crossed legs of tube, thin seat and back."""
    out = Assembly()
    for sx in (-width / 2, width / 2):
        out.add("legs", rod((sx, 0, 0.24), (sx, 0.5, -0.14), 0.011, segments=8))
        out.add("back", rod((sx, 0.5, -0.14), (sx, 0.8, -0.25), 0.011, segments=8))
        s = 0.93 * sx
        out.add("legs", rod((s, 0, -0.25), (s, 0.46, 0.14), 0.011, segments=8))
    for y, z, w in ((0.03, 0.22, 1.0), (0.03, -0.225, 0.93)):
        out.add("legs", rod((-width / 2 * w, y, z), (width / 2 * w, y, z), 0.009, segments=8))
    out.add("seat", turn(box((width - 0.02, 0.02, 0.4), (0, 0.455, 0.02), 0.008), (-3, 0, 0), (0, 0.455, 0)))
    out.add("back", turn(box((width, 0.2, 0.018), (0, 0.72, -0.215), 0.008), (-20, 0, 0), (0, 0.72, -0.215)))
    return out


@makes("chair", shell={}, shell_tall={"back_top": 0.9})
def shell_chair(back_top: float = 0.82) -> Assembly:
    """A moulded shell of seat and back on four splayed legs."""
    out = Assembly(longest_edge=0.05)
    side = curve([(0.22, 0.44), (0.12, 0.455), (-0.08, 0.435), (-0.17, 0.47), (-0.215, 0.6), (-0.25, back_top)], 16)
    strip = [(0.0, y, z) for z, y in side]
    seat, back = strip[:9], strip[8:]
    out.add("seat", tube(seat, [0.2, 0.225, 0.235, *[0.235] * 6], flat=0.06, segments=12, up=(0, 1, 0)))
    width = [0.235, 0.235, 0.235, 0.23, 0.225, 0.215, 0.2, 0.17]
    out.add("back", tube(back, width, flat=0.06, segments=12, up=(0, 1, 0.4)))
    for sx in (-1, 1):
        out.add("legs", rod((sx * 0.1, 0.43, 0.1), (sx * 0.22, 0, 0.22), 0.017, 0.012))
        out.add("legs", rod((sx * 0.1, 0.43, -0.08), (sx * 0.22, 0, -0.22), 0.017, 0.012))
    return out


@makes("chair", rocking={})
def rocking_chair(width: float = 0.5) -> Assembly:
    """A chair with arms on two curved runners."""
    out = Assembly(longest_edge=0.06)
    out.add("seat", box((width, 0.035, 0.46), (0, 0.41, 0.02), 0.01))
    for sx in (-width / 2, width / 2):
        runner = arc((sx, 1.05, 0), 1.05, -90 - 24, -90 + 24, 16, "zy")
        out.add("legs", tube([(sx, y, z) for _, y, z in runner], 0.018, segments=8))
        for z in (-0.2, 0.2):
            out.add("legs", rod((sx, 0.02, z), (sx, 0.41, z), 0.016, segments=8))
        out.add("arms", rod((sx, 0.4, 0.2), (sx, 0.62, 0.2), 0.014, segments=8))
        out.add("arms", box((0.06, 0.025, 0.46), (sx, 0.63, 0.02), 0.008))
        out.add("back", rod((sx, 0.41, -0.2), (sx, 1.05, -0.34), 0.017, segments=8))
    out.add("back", box((width + 0.05, 0.1, 0.025), (0, 1.04, -0.338), 0.008))
    out.add("back", *[rod((x, 0.42, -0.2), (x, 1.04, -0.336), 0.009, segments=8) for x in (-0.15, -0.05, 0.05, 0.15)])
    return out


@makes("office chair", task={}, executive={"back_height": 0.7, "thick": 0.1})
def office_chair(back_height: float = 0.52, thick: float = 0.06) -> Assembly:
    """A swivel chair: five-star base on castors, column, padded seat and back, arms."""
    out = Assembly(target_faces=3200, longest_edge=0.06)
    out.add("base", rod((0, 0.08, 0), (0, 0.42, 0), 0.028, segments=12))
    star = rod((0, 0.09, 0), (0, 0.075, 0.3), 0.028, 0.016, segments=8)
    wheel = ellipsoid((0.026, 0.03, 0.03), (0, 0.03, 0.3), 12)
    for k in range(5):
        out.add("base", turn(star, (0, 72 * k, 0))).add("castors", turn(wheel, (0, 72 * k, 0)))
        out.add("castors", turn(rod((0, 0.03, 0.3), (0, 0.08, 0.3), 0.01, segments=8), (0, 72 * k, 0)))
    out.add("seat", box((0.48, 0.08, 0.47), (0, 0.46, 0.02), 0.035, 12))
    back = sections(
        "y",
        [
            (0.56, 0.36, thick),
            (0.66, 0.46, thick),
            (0.5 + back_height, 0.44, thick),
            (0.56 + back_height, 0.34, 0.8 * thick),
        ],
        4,
    )
    out.add("back", turn(move(back, (0, 0, -0.22)), (-10, 0, 0), (0, 0.5, -0.2)))
    out.add("base", tube([(0, 0.42, -0.1), (0, 0.43, -0.25), (0, 0.62, -0.26)], 0.022))
    for sx in (-0.27, 0.27):
        out.add("arms", tube([(0.8 * sx, 0.43, 0), (sx, 0.44, 0), (sx, 0.66, 0)], 0.016))
        out.add("arms", box((0.07, 0.03, 0.26), (sx, 0.67, 0.02), 0.012))
    return out


@makes("armchair", soft={}, club={"width": 0.85, "back": 0.36})
def armchair(width: float = 0.8, back: float = 0.46) -> Assembly:
    """An upholstered chair with solid arms."""
    return _sofa(1, width - 0.32, back)


@makes("couch", two_seats={"seats": 2}, three_seats={"seats": 3}, low={"seats": 3, "back": 0.32, "seat": 0.66})
def couch(seats: int, seat: float = 0.6, back: float = 0.42) -> Assembly:
    """An upholstered sofa of several seats."""
    return _sofa(seats, seat, back)


def _sofa(seats: int, seat: float, back: float) -> Assembly:
    out = Assembly(longest_edge=0.09)
    inner = seats * seat
    out.add("base", box((inner + 0.3, 0.22, 0.82), (0, 0.19, 0), 0.02))
    for k in range(seats):
        at = (k - (seats - 1) / 2) * seat
        out.add("seat", box((seat - 0.004, 0.16, 0.62), (at, 0.36, 0.09), 0.04))
        cushion = box((seat - 0.004, back, 0.18), (at, 0.42 + back / 2, -0.22), 0.05)
        out.add("back", turn(cushion, (-9, 0, 0), (at, 0.42, -0.22)))
    out.add("back", box((inner + 0.28, 0.32 + 0.8 * back, 0.14), (0, 0.1 + 0.16 + 0.4 * back, -0.36), 0.04))
    for side, sx in (("left", 1), ("right", -1)):
        out.add(f"arm_{side}", box((0.16, 0.5, 0.84), (sx * (inner / 2 + 0.08), 0.34, 0), 0.05))
    for sx in (-1, 1):
        for z in (-0.34, 0.34):
            out.add("legs", rod((sx * (inner / 2 + 0.06), 0, z), (sx * (inner / 2 + 0.06), 0.1, z), 0.025))
    return out


@makes("stool", "", three_legs={"legs": 3})
@makes("stool", "y:4", four_legs={"legs": 4}, bar={"legs": 4, "height": 0.75, "radius": 0.16, "ring_at": 0.3})
@makes("stool", "y:4", counter={"legs": 4, "height": 0.64, "radius": 0.17, "ring_at": 0.24})
def round_stool(legs: int, height: float = 0.46, radius: float = 0.17, ring_at: float = 0.0) -> Assembly:
    """A round seat on splayed legs."""
    out = Assembly()
    out.add("seat", disc((0, height - 0.018, 0), "y", radius, 0.036, 24))
    leg = rod((0, height - 0.02, 0.7 * radius), (0, 0, 1.15 * radius), 0.017, 0.013, 8)
    for k in range(legs):
        out.add("legs", turn(leg, (0, 360 / legs * (k + 0.5), 0)))
    if ring_at:
        reach = radius * (1.15 - 0.45 * ring_at / height)
        circle = arc((0, ring_at, 0), reach, 0, 345, 24, "zx")
        out.add("footrest", tube(circle, 0.009, closed=True, segments=6))
    return out


@makes("stool", "y:2", square={}, step={"height": 0.24, "width": 0.4, "depth": 0.26})
def square_stool(height: float = 0.45, width: float = 0.36, depth: float = 0.3) -> Assembly:
    """A four-legged stool with a rectangular seat."""
    out = Assembly()
    x, z = width / 2 - 0.03, depth / 2 - 0.03
    out.add("seat", box((width, 0.03, depth), (0, height - 0.015, 0), 0.008))
    for sx in (-x, x):
        out.add("legs", *[box((0.035, height - 0.01, 0.035), (sx, height / 2 - 0.005, sz)) for sz in (-z, z)])
        out.add("legs", box((0.02, 0.03, 2 * z), (sx, 0.35 * height, 0)))
    return out.add(
        "legs", box((2 * x, 0.04, 0.02), (0, height - 0.05, z)), box((2 * x, 0.04, 0.02), (0, height - 0.05, -z))
    )


@makes("ottoman", "y:inf", round={})
def pouf(radius: float = 0.27, height: float = 0.4) -> Assembly:
    """A round soft seat."""
    r, h = radius, height
    profile = [
        (0, 0),
        (0.85 * r, 0.01),
        (0.97 * r, 0.15 * h),
        (r, 0.5 * h),
        (0.97 * r, 0.85 * h),
        (0.8 * r, 0.97 * h),
        (0, h),
    ]
    whole = lathe(profile, 28)
    lower = whole.trim_by_plane([0.0, -1.0, 0.0], -0.8 * h)
    return Assembly().add("side", lower).add("seat", whole.trim_by_plane([0.0, 1.0, 0.0], 0.8 * h))


@makes("ottoman", "y:2", square={})
def square_ottoman(width: float = 0.6, depth: float = 0.45, height: float = 0.42) -> Assembly:
    """An upholstered box on short legs."""
    out = Assembly(longest_edge=0.07)
    out.add("seat", box((width, 0.12, depth), (0, height - 0.06, 0), 0.03))
    out.add("side", box((width - 0.02, height - 0.15, depth - 0.02), (0, height / 2, 0), 0.02))
    for sx in (-1, 1):
        out.add(
            "legs",
            *[
                rod((sx * (width / 2 - 0.05), 0, z), (sx * (width / 2 - 0.05), 0.1, z), 0.018)
                for z in (-depth / 2 + 0.05, depth / 2 - 0.05)
            ],
        )
    return out


@makes("bench", "y:2", plain={}, short={"length": 0.9}, gym={"length": 1.2, "width": 0.28, "height": 0.43, "pad": 0.07})
def bench(length: float = 1.4, width: float = 0.34, height: float = 0.45, pad: float = 0.0) -> Assembly:
    """A bench without a back, long side along x; with `pad` an upholstered gym bench."""
    out = Assembly(longest_edge=0.07)
    board = pad or 0.04
    out.add("seat", box((length, board, width), (0, height - board / 2, 0), 0.02 if pad else 0.008))
    for sx in (-1, 1):
        x = sx * (length / 2 - 0.15)
        if pad:
            out.add("legs", box((0.05, height - 0.05, 0.06), (x, height / 2 - 0.03, 0)))
            out.add("legs", box((0.06, 0.05, 0.5), (x, 0.025, 0)))
        else:
            out.add("legs", box((0.05, height - 0.02, width - 0.06), (x, height / 2 - 0.01, 0)))
    return out.add("legs", box((length - 0.3, 0.05 if pad else 0.08, 0.05), (0, height * (0.82 if pad else 0.5), 0)))


@makes("bench", "", park={}, park_long={"length": 1.8})
def park_bench(length: float = 1.3) -> Assembly:
    """A slatted park bench with a back and arm rests."""
    out = Assembly(target_faces=3200, longest_edge=0.09)
    for k in range(4):
        out.add("seat", box((length, 0.03, 0.085), (0, 0.44, 0.19 - 0.105 * k), 0.008))
    for k in range(3):
        y, z = 0.56 + 0.13 * k, -0.21 - 0.03 * k
        out.add("back", turn(box((length, 0.1, 0.028), (0, y, z), 0.008), (-13, 0, 0), (0, y, z)))
    for sx in (-1, 1):
        x = sx * (length / 2 - 0.1)
        out.add("legs", rod((x, 0, 0.2), (x, 0.43, 0.18), 0.022, segments=8))
        out.add("legs", rod((x, 0, -0.26), (x, 0.43, -0.17), 0.022, segments=8))
        out.add("legs", box((0.04, 0.04, 0.42), (x, 0.41, 0.01)))
        out.add("back", rod((x, 0.42, -0.19), (x, 0.88, -0.3), 0.02, segments=8))
        out.add("arms", rod((x, 0.42, 0.18), (x, 0.64, 0.19), 0.018, segments=8))
        out.add("arms", box((0.06, 0.03, 0.46), (x, 0.65, -0.01), 0.008))
    return out


@makes("toilet", "", standard={})
def toilet() -> Assembly:
    """A bowl with a seat ring, an open pit and a cistern behind."""
    out = Assembly(target_faces=3000)
    bowl = sections(
        "y",
        [
            (0, 0.24, 0.36, 0, -0.06),
            (0.12, 0.2, 0.32, 0, -0.05),
            (0.24, 0.28, 0.42, 0, 0.0),
            (0.36, 0.36, 0.5, 0, 0.03),
            (0.39, 0.37, 0.51, 0, 0.03),
        ],
        2.3,
    )
    out.add("bowl", union(bowl, box((0.3, 0.39, 0.22), (0, 0.195, -0.22), 0.02)))
    out.add("seat", sections("y", [(0.39, 0.37, 0.48, 0, 0.05), (0.415, 0.365, 0.475, 0, 0.05)], 2.3))
    out.cut(sections("y", [(0.24, 0.08, 0.12, 0, 0.03), (0.34, 0.2, 0.28, 0, 0.05), (0.5, 0.23, 0.31, 0, 0.05)], 2.2))
    out.add("cistern", box((0.42, 0.38, 0.18), (0, 0.58, -0.28), 0.03))
    lid = sections("y", [(0, 0.36, 0.025), (0.2, 0.36, 0.03), (0.31, 0.3, 0.025), (0.345, 0.16, 0.02)], 2.5)
    return out.add("lid", turn(move(lid, (0, 0.4, -0.165)), (-8, 0, 0), (0, 0.4, -0.165)))


@makes("swing", "", board={})
def swing() -> Assembly:
    """A board seat hung on two ropes (the ropes end 1.9 m above it)."""
    out = Assembly(target_faces=1800)
    out.add("seat", box((0.46, 0.03, 0.2), (0, 0, 0), 0.006))
    for side, x in (("left", 0.21), ("right", -0.21)):
        out.add(f"rope_{side}", rod((x, -0.02, 0), (x, 1.9, 0), 0.011, segments=8))
    return out
