"""Bags and cases: things that are worn or carried by a handle or strap."""

from __future__ import annotations

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    box,
    curve,
    disc,
    move,
    sections,
    tube,
)


@makes("suitcase", "", trolley={}, large={"size": (0.5, 0.7, 0.3)}, folded={"reach": 0.02})
def suitcase(size: tuple[float, float, float] = (0.36, 0.52, 0.22), reach: float = 0.4) -> Assembly:
    """A trolley case standing on four wheels, its drawn-out handle behind (-z)."""
    out, (w, h, d) = Assembly(target_faces=2600, longest_edge=0.05), size
    out.add("body", box(size, (0, h / 2 + 0.035, 0), 0.04, 12))
    for k in range(5):
        x = (k - 2) * w * 0.18
        out.add("body", box((0.02, 0.82 * h, d + 0.012), (x, h / 2 + 0.035, 0), 0.006))
    top = h + 0.035
    for sx in (-1, 1):
        out.add(
            "pull_rods",
            tube(
                [(sx * 0.09, top - 0.06, -d / 2 + 0.035), (sx * 0.09, top + reach, -d / 2 + 0.035)], 0.008, segments=8
            ),
        )
        for sz in (-1, 1):
            at = (sx * (w / 2 - 0.05), 0.022, sz * (d / 2 - 0.045))
            out.add("wheels", disc(at, "x", 0.022, 0.03, 16), tube([(at[0], 0.02, at[2]), (at[0], 0.06, at[2])], 0.012))
    out.add("pull_handle", box((0.22, 0.03, 0.03), (0, top + reach, -d / 2 + 0.035), 0.012))
    grip = curve(
        [(-0.08, top - 0.01, 0.01), (-0.065, top + 0.025, 0.01), (0.065, top + 0.025, 0.01), (0.08, top - 0.01, 0.01)],
        14,
    )
    return out.add("top_handle", tube(grip, 0.009, segments=8))


@makes("briefcase", "", case={}, toolbox={"size": (0.42, 0.22, 0.2)})
def briefcase(size: tuple[float, float, float] = (0.43, 0.31, 0.1)) -> Assembly:
    """A flat case with a handle on top."""
    out, (w, h, d) = Assembly(target_faces=1600), size
    out.add("body", box(size, (0, h / 2, 0), 0.015))
    grip = curve([(-0.07, h - 0.004, 0), (-0.058, h + 0.035, 0), (0.058, h + 0.035, 0), (0.07, h - 0.004, 0)], 14)
    out.add("handle", tube(grip, 0.01, segments=8))
    return out.add(
        "locks",
        box((0.04, 0.04, 0.012), (-0.3 * w, h - 0.06, d / 2)),
        box((0.04, 0.04, 0.012), (0.3 * w, h - 0.06, d / 2)),
    )


@makes("backpack", "", daypack={}, small={"scale": 0.75}, hiking={"scale": 1.3})
def backpack(scale: float = 1.0) -> Assembly:
    """A backpack; straps at -z (toward the wearer's back), so that worn it looks backward along +z."""
    k = scale
    out = Assembly(target_faces=3200)
    main = [
        (0, 0.25, 0.13),
        (0.02, 0.3, 0.16),
        (0.2, 0.31, 0.17),
        (0.36, 0.29, 0.15),
        (0.43, 0.23, 0.11),
        (0.455, 0.13, 0.06),
    ]
    out.add("body", sections("y", [(k * a, k * b, k * c) for a, b, c in main], 3.2, 28))
    pocket = [(0.03, 0.2, 0.06), (0.05, 0.24, 0.09), (0.18, 0.24, 0.09), (0.22, 0.18, 0.05)]
    out.add("pocket", move(sections("y", [(k * a, k * b, k * c) for a, b, c in pocket], 3.2, 24), (0, 0, 0.085 * k)))
    for side, s in (("left", 1), ("right", -1)):
        # Seen by the wearer, whose back is at -z and who looks to -z: his left is at -x.
        path = curve(
            [
                (-s * 0.07, 0.415, -0.03),
                (-s * 0.085, 0.43, -0.115),
                (-s * 0.1, 0.33, -0.19),
                (-s * 0.115, 0.17, -0.185),
                (-s * 0.125, 0.05, -0.07),
            ],
            18,
        )
        out.add(f"strap_{side}", tube(k * path, 0.027 * k, flat=0.3, segments=8, up=(0, 0.3, 1)))
    loop = curve([(-0.035, 0.43, -0.02), (-0.03, 0.475, -0.025), (0.03, 0.475, -0.025), (0.035, 0.43, -0.02)], 12)
    return out.add("top_handle", tube(k * loop, 0.007 * k, segments=8))


@makes("handbag", "y:2", shopper={}, small={"size": (0.24, 0.17, 0.09), "drop": 0.12})
def handbag(size: tuple[float, float, float] = (0.34, 0.28, 0.13), drop: float = 0.2) -> Assembly:
    """A bag with two arched handles."""
    out, (w, h, d) = Assembly(target_faces=2200), size
    out.add(
        "body",
        sections(
            "y",
            [(0, 0.86 * w, d), (0.05 * h, 0.9 * w, 1.05 * d), (0.6 * h, 0.97 * w, 0.9 * d), (h, w, 0.45 * d)],
            3.5,
            28,
        ),
    )
    for s in (-1, 1):
        z = s * 0.2 * d
        path = curve(
            [
                (-0.22 * w, 0.8 * h, 1.8 * z),
                (-0.2 * w, h + 0.3 * drop, z),
                (-0.09 * w, h + drop, 0.6 * z),
                (0.09 * w, h + drop, 0.6 * z),
                (0.2 * w, h + 0.3 * drop, z),
                (0.22 * w, 0.8 * h, 1.8 * z),
            ],
            26,
        )
        out.add("handles", tube(path, 0.008, segments=8))
    return out


@makes("handbag", "", shoulder={})
@makes("messenger bag", "", messenger={"size": (0.38, 0.3, 0.1), "drop": 0.55})
def shoulder_bag(size: tuple[float, float, float] = (0.27, 0.2, 0.09), drop: float = 0.42) -> Assembly:
    """A bag with a flap on a long strap."""
    out, (w, h, d) = Assembly(target_faces=2200), size
    out.add("body", box(size, (0, h / 2, 0), 0.025))
    out.add("flap", box((0.98 * w, 0.62 * h, 0.012), (0, 0.68 * h, d / 2), 0.005))
    path = curve(
        [
            (-w / 2 + 0.005, 0.8 * h, 0),
            (-0.48 * w, h + 0.3 * drop, 0),
            (-0.2 * w, h + 0.9 * drop, 0),
            (0, h + drop, 0),
            (0.2 * w, h + 0.9 * drop, 0),
            (0.48 * w, h + 0.3 * drop, 0),
            (w / 2 - 0.005, 0.8 * h, 0),
        ],
        30,
    )
    return out.add("strap", tube(path, 0.016, flat=0.22, segments=8, up=(-1, 0, 0)))


@makes("shopping bag", "y:2", paper={})
def shopping_bag(w: float = 0.3, h: float = 0.38, d: float = 0.15) -> Assembly:
    """A paper bag, open above, with two cord handles."""
    out = Assembly(target_faces=2200).add("body", box((w, h, d), (0, h / 2, 0)))
    out.cut(box((w - 0.006, h, d - 0.006), (0, h / 2 + 0.005, 0)))
    for s in (-1, 1):
        z = s * (d / 2 - 0.004)
        path = curve(
            [(-0.07, h - 0.03, z), (-0.06, h + 0.1, 0.8 * z), (0.06, h + 0.1, 0.8 * z), (0.07, h - 0.03, z)], 16
        )
        out.add("handles", tube(path, 0.004, segments=6))
    return out
