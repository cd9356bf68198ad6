"""Things that are worn, and things that are read."""

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
    move,
    ring,
    rod,
    sections,
    superellipse,
    tube,
    turn,
)


@makes("helmet", "", bicycle={}, hard_hat={"brim": True})
def helmet(brim: bool = False) -> Assembly:
    """A helmet as worn, hollow below, looking to +z."""
    out = Assembly(target_faces=2600)
    shell = ellipsoid((0.105, 0.125, 0.135), (0, 0, 0), 32).trim_by_plane([0.0, 1.0, 0.0], 0.0)
    hollow = ellipsoid((0.088, 0.104, 0.118), (0, -0.001, 0), 32)
    if brim:
        peak = [(x, z) for x, z in superellipse(0.225, 0.3, 2.1, 28)]
        out.add("brim", extrude([(x, z + 0.018 if z > 0 else z) for x, z in peak], 0.008, "y", (0, 0.004, 0.006)))
        ridge = ellipsoid((0.014, 0.132, 0.142), (0, 0, 0), 24).trim_by_plane([0.0, 1.0, 0.0], 0.04)
        out.add("shell", shell, ridge)
    else:
        vents = [
            move(
                sections("z", [(-0.09, 0.012, 0.05), (0.0, 0.02, 0.05), (0.1, 0.014, 0.05)], 3, 12),
                (x, 0.125 - 5 * x * x, 0.01),
            )
            for x in (-0.055, 0.0, 0.055)
        ]
        for vent in vents:
            shell = shell - vent
        out.add("shell", shell)
        out.add(
            "strap",
            tube(
                curve(
                    [
                        (0.09, 0.01, 0.0),
                        (0.075, -0.09, 0.03),
                        (0.0, -0.13, 0.055),
                        (-0.075, -0.09, 0.03),
                        (-0.09, 0.01, 0.0),
                    ],
                    20,
                ),
                0.008,
                flat=0.3,
                segments=6,
                up=(1, 0, 0),
            ),
        )
    return out.cut(hollow)


@makes("hat", "", fedora={}, straw={"brim": 0.2, "crown": 0.09}, baseball_cap={"cap": True})
def hat(brim: float = 0.155, crown: float = 0.115, cap: bool = False) -> Assembly:
    """A hat as worn, hollow below, looking to +z."""
    out = Assembly(target_faces=2400)
    if cap:
        dome = ellipsoid((0.088, 0.125, 0.105), (0, 0, 0), 32).trim_by_plane([0.0, 1.0, 0.0], 0.0)
        peak = [
            (-0.082, 0.04),
            (0.082, 0.04),
            (0.078, 0.12),
            (0.045, 0.165),
            (0.0, 0.178),
            (-0.045, 0.165),
            (-0.078, 0.12),
        ]
        out.add("crown", dome, ellipsoid((0.008, 0.005, 0.008), (0, 0.126, 0), 10))
        out.add("brim", turn(extrude(peak, 0.005, "y", (0, 0.006, 0)), (9, 0, 0), (0, 0.006, 0.08)))
        return out.cut(ellipsoid((0.084, 0.12, 0.101), (0, -0.001, 0), 32))
    out.add("brim", extrude([(0.86 * x, z) for x, z in superellipse(2 * brim, 2 * brim, 2, 36)], 0.004, "y"))
    rows = [(0, 0.17, 0.2), (0.6 * crown, 0.165, 0.19), (0.92 * crown, 0.145, 0.17), (crown, 0.11, 0.14)]
    out.add("crown", sections("y", rows, 2.1, 28)).add(
        "band", sections("y", [(0.003, 0.175, 0.205), (0.03, 0.174, 0.203)], 2.1, 28)
    )
    return out.cut(
        sections("y", [(-0.01, 0.163, 0.193), (0.6 * crown, 0.158, 0.183), (0.92 * crown, 0.136, 0.161)], 2.1, 28)
    )


@makes("sunglasses", "", glasses={})
def glasses() -> Assembly:
    """Spectacles as worn, looking to +z; the temples run back to -z."""
    out = Assembly(target_faces=2600)
    for side, s in (("left", 1), ("right", -1)):
        oval = superellipse(0.052, 0.042, 2.6, 24)
        at = np.array([s * 0.034, 0.0])
        out.add("frame", tube([(x, y, 0.0) for x, y in oval + at], 0.0026, closed=True, segments=6, up=(0, 0, 1)))
        out.add("lenses", extrude(oval * 0.97 + at, 0.002))
        temple = curve(
            [(s * 0.06, 0.008, 0), (s * 0.069, 0.008, -0.01), (s * 0.072, 0.008, -0.09), (s * 0.07, -0.02, -0.14)], 14
        )
        out.add(f"temple_{side}", tube(temple, 0.0027, segments=6))
    return out.add(
        "frame", tube(curve([(-0.01, 0.004, 0), (0, 0.009, 0.001), (0.01, 0.004, 0)], 7), 0.0026, segments=6)
    )


@makes("tie", "", long={})
def tie() -> Assembly:
    """A tied neck tie hanging down, outer side to +z."""
    out = Assembly(target_faces=1200, longest_edge=0.03)
    out.add("knot", extrude([(-0.026, 0.02), (0.026, 0.02), (0.015, -0.025), (-0.015, -0.025)], 0.022))
    return out.add(
        "blade", extrude([(-0.013, -0.02), (0.013, -0.02), (0.045, -0.42), (0.0, -0.47), (-0.045, -0.42)], 0.007)
    )


@makes("shoe", "", low={}, boot={"shaft": 0.16})
def shoe(shaft: float = 0.0) -> Assembly:
    """A right shoe, toe to +z, open above."""
    out = Assembly(target_faces=2200)
    sole = curve(
        [
            (0.0, 0.145),
            (0.04, 0.12),
            (0.048, 0.06),
            (0.035, -0.02),
            (0.034, -0.1),
            (0.0, -0.135),
            (-0.034, -0.1),
            (-0.034, -0.02),
            (-0.044, 0.06),
            (-0.032, 0.12),
        ],
        40,
        closed=True,
    )
    out.add("sole", extrude(sole, 0.024, "y", (0, 0.012, 0)))
    rows = [
        (0.02, 0.086, 0.268, 0.0, 0.005),
        (0.05, 0.082, 0.25, 0, -0.002),
        (0.075, 0.074, 0.19, 0, -0.035),
        (0.1, 0.072, 0.13, 0, -0.067),
    ]
    if shaft:
        rows += [(0.14, 0.08, 0.11, 0, -0.076), (0.1 + shaft, 0.095, 0.12, 0, -0.075)]
    top = rows[-1]
    out.add("upper", sections("y", rows, 2.4, 28))
    inside = [
        (0.035, 0.05, 0.16, 0, -0.045),
        (0.075, 0.058, 0.11, 0, -0.067),
        (top[0] + 0.002, top[1] - 0.008, top[2] - 0.01, 0, top[4]),
    ]
    return out.cut(sections("y", inside, 2.4, 24), "upper")


@makes("watch", "", wrist={})
def watch() -> Assembly:
    """A wrist watch closed around its strap, dial to +z."""
    strap = [(x, y) for x, y in superellipse(0.06, 0.05, 2.2, 30)]
    inner = [(x, y) for x, y in superellipse(0.056, 0.046, 2.2, 30)]
    out = Assembly(target_faces=1600).add("strap", extrude([strap, inner], 0.02, "y"))
    return out.add("dial", disc((0, 0, 0.027), "z", 0.0195, 0.01, 24), disc((0.021, 0, 0.027), "x", 0.003, 0.006, 8))


@makes("scarf", "", hanging={})
def scarf() -> Assembly:
    """A scarf as worn: round the neck, both ends hanging in front (+z)."""
    out = Assembly(target_faces=2000)
    path = curve(
        [
            (0.05, -0.5, 0.11),
            (0.055, -0.2, 0.115),
            (0.085, -0.02, 0.07),
            (0.07, 0.03, -0.03),
            (0.0, 0.045, -0.075),
            (-0.07, 0.03, -0.03),
            (-0.085, -0.02, 0.07),
            (-0.055, -0.2, 0.115),
            (-0.05, -0.5, 0.11),
        ],
        44,
    )
    return out.add("cloth", tube(path, 0.036, flat=0.4, segments=8, up=(0, 0, 1)))


def _pages(width: float, height: float, thick: float, cover: float) -> tuple[Solid, Solid]:
    """Page block and cover of a closed book standing upright, front cover to +z, spine at -x."""
    block = box((width - 0.006, height - 0.008, thick - 2 * cover), (-0.002, 0, 0))
    front, back = (box((width, height, cover), (0, 0, s * (thick - cover) / 2)) for s in (1, -1))
    spine = box((cover, height, thick), (-width / 2 + cover / 2, 0, 0))
    return block, front + back + spine


@makes(
    "book",
    "",
    closed={},
    thick={"size": (0.17, 0.24, 0.05)},
    paperback={"size": (0.115, 0.18, 0.022)},
    large={"size": (0.24, 0.31, 0.03)},
)
def book(size: tuple[float, float, float] = (0.15, 0.22, 0.03)) -> Assembly:
    """A closed book."""
    pages, cover = _pages(*size, 0.003)
    return Assembly(target_faces=1600, longest_edge=size[1] / 10).add("pages", pages).add("cover", cover)


@makes("book", "", open={})
def open_book(width: float = 0.15, height: float = 0.21, thick: float = 0.014, angle: float = 22.0) -> Assembly:
    """A book held open: pages to +z, halves tilted towards the reader at +z; sides named as the reader's."""
    out = Assembly(target_faces=2000, longest_edge=0.02)
    for side, s in (("left", -1), ("right", 1)):
        cover = turn(
            box((width + 0.004, height + 0.006, 0.003), (s * (width + 0.004) / 2, 0, -thick)), (0, -s * angle, 0)
        )
        bulge = curve(
            [(0.0, 0.0), (0.12 * width, 0.35 * thick), (0.45 * width, 0.25 * thick), (width, -0.45 * thick)], 8
        )
        outline = [(s * x, z) for x, z in bulge] + [(s * width, -thick), (0.0, -thick)]
        out.add("cover", cover).add(f"page_{side}", turn(extrude(outline, height, "y"), (0, -s * angle, 0)))
    return out.add("cover", rod((0, -height / 2, -0.8 * thick), (0, height / 2, -0.8 * thick), 0.006, segments=8))


@makes("newspaper", "", open={})
def newspaper(width: float = 0.3, height: float = 0.42, angle: float = 18.0) -> Assembly:
    """An open newspaper, read from +z; sides named as the reader's."""
    out = Assembly(target_faces=1600, longest_edge=0.04)
    for side, s in (("left", -1), ("right", 1)):
        out.add(f"page_{side}", turn(box((width, height, 0.004), (s * width / 2, 0, 0)), (0, -s * angle, 0)))
    return out.add("fold", rod((0, -height / 2, 0), (0, height / 2, 0), 0.003, segments=6))


@makes("sign", "", placard={}, picket={"stick": 0.8})
def sign(width: float = 0.6, height: float = 0.45, stick: float = 0.0) -> Assembly:
    """A placard shown to +z, with or without a stick."""
    out = Assembly(target_faces=1400, longest_edge=0.05)
    out.add("board", box((width, height, 0.008), (0, stick + height / 2, 0)))
    if stick:
        out.add("stick", box((0.035, stick + 0.9 * height, 0.018), (0, (stick + 0.9 * height) / 2, -0.012)))
    return out


@makes("flower", "", rose={}, bouquet={"stems": 7})
def flower(stems: int = 1, length: float = 0.5) -> Assembly:
    """A long-stemmed flower, or a bouquet, blossoms up."""
    out = Assembly(target_faces=3600)
    for i in range(stems):
        a = 2 * np.pi * i / 6
        spread = 0.0 if i == 6 or stems == 1 else 0.09
        top = np.array([spread * np.cos(a), length - (0 if i == 6 else 0.03), spread * np.sin(a)])
        foot = np.array([-0.012 * np.cos(a), 0.0, -0.012 * np.sin(a)]) if spread else np.zeros(3)
        out.add("stem", rod(foot, top, 0.004, 0.003, 6))
        out.add(
            "blossom",
            lathe([(0, -0.02), (0.024, -0.005), (0.035, 0.022), (0.028, 0.04), (0.01, 0.03), (0, 0.03)], 10).translate(
                list(top)
            ),
        )
    if stems == 1:
        for s, y in ((1, 0.22), (-1, 0.3)):
            leaf = sections(
                "x", [(0, 0.004, 0.003), (0.03, 0.04, 0.004), (0.07, 0.03, 0.004), (0.1, 0.003, 0.002)], 2, 8
            )
            out.add("leaves", turn(leaf, (0, 0, 35)).scale([float(s), 1.0, 1.0]).translate([0, y, 0]))
    else:
        out.add("wrap", lathe([(0.025, 0.08), (0.1, 0.42), (0.097, 0.42), (0.022, 0.1), (0, 0.1)], 18))
    return out


@makes("ring buoy", "z:inf y:2", life={})
def ring_buoy() -> Assembly:
    """A life ring or swim ring upright, hole along z."""
    return Assembly(target_faces=1600).add("ring", ring((0, 0, 0), "z", 0.29, 0.075, 36, 14))


@makes("clock", "", wall={})
def wall_clock() -> Assembly:
    """A round wall clock, dial to +z."""
    out = (
        Assembly(target_faces=1800)
        .add("case", ring((0, 0, 0), "z", 0.14, 0.014, 36, 10))
        .add("dial", disc((0, 0, -0.004), "z", 0.14, 0.014, 36))
    )
    out.add(
        "hands",
        turn(box((0.009, 0.09, 0.004), (0, 0.035, 0.006)), (0, 0, 60)),
        turn(box((0.007, 0.12, 0.004), (0, 0.048, 0.008)), (0, 0, -40)),
    )
    return out.add(
        "hands",
        *[
            box((0.008, 0.02, 0.004), (0.115 * float(np.sin(a)), 0.115 * float(np.cos(a)), 0.004))
            for a in np.arange(12) * np.pi / 6
        ],
    )
