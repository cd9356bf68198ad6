"""Tables, desks, beds and other things to lean, lie or stand on."""

from __future__ import annotations

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import box, disc, lathe, rod, sections, tube, turn, union


@makes(
    "dining table",
    "y:2",
    rectangular={},
    long={"length": 2.2, "width": 0.95},
    small={"length": 1.2, "width": 0.7},
)
@makes("dining table", "y:4", square={"length": 0.9, "width": 0.9})
@makes("coffee table", "y:2", low={"length": 1.1, "width": 0.6, "height": 0.42})
def table(length: float = 1.6, width: float = 0.85, height: float = 0.74) -> Assembly:
    """A table on four legs, long side along x."""
    out = Assembly(target_faces=2000, longest_edge=0.08)
    x, z = length / 2 - 0.05, width / 2 - 0.05
    out.add("top", box((length, 0.035, width), (0, height - 0.0175, 0), 0.006))
    for sx in (-x, x):
        out.add("legs", *[box((0.06, height - 0.02, 0.06), (sx, height / 2 - 0.01, sz)) for sz in (-z, z)])
    for s in (-1, 1):
        out.add(
            "legs",
            box((2 * x, 0.08, 0.02), (0, height - 0.07, s * z)),
            box((0.02, 0.08, 2 * z), (s * x, height - 0.07, 0)),
        )
    return out


@makes("dining table", "y:inf", pedestal={}, bistro={"radius": 0.3, "height": 1.08})
@makes("coffee table", "y:inf", round={"radius": 0.4, "height": 0.45})
def round_table(radius: float = 0.55, height: float = 0.74) -> Assembly:
    """A round top on a column with a round foot."""
    out = Assembly(longest_edge=0.08)
    out.add("top", disc((0, height - 0.015, 0), "y", radius, 0.03, 32))
    foot = 0.55 * radius
    column = [
        (0, 0),
        (foot, 0),
        (foot, 0.015),
        (0.6 * foot, 0.03),
        (0.045, 0.08),
        (0.035, height - 0.1),
        (0.07, height - 0.02),
        (0, height - 0.02),
    ]
    return out.add("legs", lathe(column, 24))


@makes("desk", "", drawers={}, plain={"drawers": False, "length": 1.2}, standing={"drawers": False, "height": 1.05})
def desk(length: float = 1.4, width: float = 0.7, height: float = 0.74, drawers: bool = True) -> Assembly:
    """A desk whose user sits at +z."""
    out = Assembly(longest_edge=0.08)
    out.add("top", box((length, 0.03, width), (0, height - 0.015, 0), 0.005))
    out.add("legs", box((0.03, height - 0.02, width - 0.04), (length / 2 - 0.03, height / 2 - 0.01, 0)))
    out.add("legs", box((0.03, height - 0.02, width - 0.04), (-length / 2 + 0.03, height / 2 - 0.01, 0)))
    out.add("legs", box((length - 0.06, 0.3, 0.02), (0, height - 0.18, -width / 2 + 0.05)))
    if drawers:
        x = -length / 2 + 0.25
        out.add("drawers", box((0.42, height - 0.08, width - 0.08), (x, height / 2 + 0.01, -0.01)))
        for k in range(3):
            y = 0.16 + k * (height - 0.12) / 3
            out.add("drawers", box((0.38, (height - 0.16) / 3, 0.02), (x, y, width / 2 - 0.045), 0.004))
            out.add("drawers", rod((x - 0.06, y, width / 2 - 0.02), (x + 0.06, y, width / 2 - 0.02), 0.008, segments=8))
    return out


@makes(
    "bed", "", single={"width": 0.9}, double={"width": 1.6, "pillows": 2}, low={"width": 1.4, "pillows": 2, "head": 0.5}
)
def bed(width: float, length: float = 2.0, pillows: int = 1, head: float = 0.95) -> Assembly:
    """A bed; the head end at -z, so that a person who sits up in it looks to +z."""
    out = Assembly(longest_edge=0.12)
    out.add("frame", box((width + 0.08, 0.2, length + 0.06), (0, 0.24, 0), 0.01))
    out.add("mattress", box((width, 0.22, length), (0, 0.42, 0.0), 0.05))
    out.add("headboard", box((width + 0.08, head, 0.06), (0, head / 2, -length / 2 - 0.04), 0.015))
    for k in range(pillows):
        at = (k - (pillows - 1) / 2) * width / pillows
        pillow = sections(
            "x", [(-0.3, 0.2, 0.02), (-0.26, 0.36, 0.08), (0, 0.4, 0.15), (0.26, 0.36, 0.08), (0.3, 0.2, 0.02)], 2.6
        )
        out.add("pillow", pillow.translate([at, 0.56, -length / 2 + 0.28]))
    for sx in (-1, 1):
        for sz in (-1, 1):
            out.add("frame", box((0.07, 0.2, 0.07), (sx * (width / 2 - 0.03), 0.1, sz * (length / 2 - 0.05))))
    return out


@makes("ladder", "", step={}, step_tall={"steps": 7})
def step_ladder(steps: int = 4, rise: float = 0.25) -> Assembly:
    """An A-shaped ladder that one climbs from +z."""
    out = Assembly(target_faces=2800, longest_edge=0.1)
    top, run = (steps + 0.2) * rise, 0.13
    reach = steps * run
    for sx in (-1, 1):
        foot, head = sx * (0.24 + 0.02 * steps), sx * 0.19
        out.add("rails", tube([(foot, 0, reach / 2), (head, top, -0.02)], 0.022, flat=0.6, segments=4))
        out.add("support", tube([(foot, 0, -reach / 2 - 0.05), (head, top - 0.05, -0.08)], 0.018, flat=0.7, segments=4))
    for k in range(1, steps + 1):
        f = k * rise / top
        w, z = 2 * ((0.24 + 0.02 * steps) * (1 - f) + 0.19 * f), reach / 2 * (1 - f) - 0.02 * f
        out.add("rungs", box((w, 0.025, 0.09 if k < steps else 0.22), (0, k * rise, z - (0.0 if k < steps else 0.06))))
    f = 0.35
    w = 2 * ((0.24 + 0.02 * steps) * (1 - f) + 0.19 * f)
    z = (-reach / 2 - 0.05) * (1 - f) - 0.08 * f
    return out.add("support", rod((-w / 2, f * (top - 0.05), z), (w / 2, f * (top - 0.05), z), 0.012, segments=6))


@makes("ladder", "y:2 x:2", straight={}, long={"rungs": 13})
def straight_ladder(rungs: int = 8, rise: float = 0.28, width: float = 0.42) -> Assembly:
    """Two rails and round rungs, upright."""
    out, height = Assembly(target_faces=2600, longest_edge=0.1), (rungs + 0.0) * rise
    for sx in (-width / 2, width / 2):
        out.add("rails", box((0.028, height, 0.065), (sx, 0, 0)))
    for k in range(rungs):
        y = (k - (rungs - 1) / 2) * rise
        out.add("rungs", rod((-width / 2, y, 0), (width / 2, y, 0), 0.016, segments=8))
    return out


@makes("bathtub", "y:2", oval={})
def bathtub(length: float = 1.6, width: float = 0.72, height: float = 0.56) -> Assembly:
    """A free-standing tub, long side along x."""
    shell = sections(
        "y",
        [(0, 0.8 * length, 0.74 * width), (0.3 * height, 0.9 * length, 0.86 * width), (height, length, width)],
        2.6,
        36,
    )
    pit = sections(
        "y",
        [
            (0.1, 0.66 * length, 0.6 * width),
            (0.35 * height, 0.8 * length, 0.76 * width),
            (height + 0.01, 0.94 * length, 0.89 * width),
        ],
        2.6,
        36,
    )
    rim = sections("y", [(height - 0.03, length + 0.03, width + 0.03), (height, length + 0.03, width + 0.03)], 2.6, 36)
    out = Assembly(longest_edge=0.1).add("outside", shell).add("rim", rim)
    out.cut(pit)
    return out


@makes("shelf", "", bookcase={}, low={"shelves": 3, "height": 0.9})
def shelf(shelves: int = 5, width: float = 0.8, height: float = 1.8, depth: float = 0.3) -> Assembly:
    """An open bookcase."""
    out = Assembly(longest_edge=0.12)
    for sx in (-1, 1):
        out.add("side", box((0.02, height, depth), (sx * (width / 2 - 0.01), 0, 0)))
    out.add("back", box((width, height, 0.012), (0, 0, -depth / 2 + 0.006)))
    for k in range(shelves):
        y = -height / 2 + 0.03 + k * (height - 0.04) / (shelves - 1)
        out.add("boards" if k < shelves - 1 else "top", box((width - 0.02, 0.02, depth), (0, y, 0)))
    return out


@makes("door", "", panel={})
def door(width: float = 0.85, height: float = 2.03) -> Assembly:
    """A door leaf with lever handles on both faces, hinged at +x."""
    out = Assembly(longest_edge=0.14, target_faces=2000).add("panel", box((width, height, 0.04)))
    for sz in (-1, 1):
        x, y, z = -width / 2 + 0.06, -0.0, sz * 0.02
        lever = union(
            rod((x, y, z), (x, y, z + sz * 0.05), 0.01), rod((x, y, z + sz * 0.05), (x + 0.12, y, z + sz * 0.05), 0.009)
        )
        out.add("handle", lever, disc((x, y, z), "z", 0.025, 0.02, 16))
    return out


@makes("railing", "y:2", posts={})
def railing(length: float = 1.5, height: float = 1.0) -> Assembly:
    """A hand rail on posts, along x: to lean on, to hold."""
    out = Assembly(target_faces=2600, longest_edge=0.08)
    out.add("rail", rod((-length / 2, height, 0), (length / 2, height, 0), 0.024, segments=10))
    out.add("posts", rod((-length / 2 + 0.05, 0.12, 0), (length / 2 - 0.05, 0.12, 0), 0.015, segments=8))
    n = 9
    for k in range(n):
        x = (k - (n - 1) / 2) * (length - 0.12) / (n - 1)
        big = k in (0, n - 1)
        out.add("posts", rod((x, 0 if big else 0.12, 0), (x, height, 0), 0.018 if big else 0.008, segments=8))
    return out


@makes("hammock", "", hung={})
def hammock(length: float = 2.2, width: float = 0.9) -> Assembly:
    """A cloth that hangs in an arc along z, gathered at both ends, as two thin surfaces."""
    n = 15
    path = [(0.0, 1.2 * (2 * k / (n - 1) - 1) ** 2 * 0.55, length * (k / (n - 1) - 0.5)) for k in range(n)]
    half = [max(0.04, width / 2 * (1 - abs(2 * k / (n - 1) - 1) ** 3)) for k in range(n)]
    cloth = tube(path, half, flat=0.03, segments=14)
    ropes = [
        rod((0, path[k][1], path[k][2]), (0, path[k][1] + 0.35, path[k][2] * 1.28), 0.012, segments=8) for k in (0, -1)
    ]
    return Assembly(target_faces=2000).add("cloth", cloth).add("ropes", *ropes)


@makes("stairs", "", four={"steps": 4}, two={"steps": 2})
def stairs(steps: int, rise: float = 0.17, run: float = 0.29, width: float = 0.9) -> Assembly:
    """A block of steps that one climbs from +z towards -z."""
    out = Assembly(longest_edge=0.12)
    for k in range(steps):
        depth = (steps - k) * run
        out.add("steps", box((width, rise, depth), (0, (k + 0.5) * rise, depth / 2)))
    return out


@makes("piano", "", upright={})
def piano() -> Assembly:
    """An upright piano; its player sits at +z."""
    out = Assembly(longest_edge=0.1)
    out.add("case", box((1.5, 1.2, 0.35), (0, 0.6, -0.12), 0.01), box((1.5, 0.14, 0.3), (0, 0.64, 0.18), 0.008))
    out.cut(box((1.3, 0.1, 0.16), (0, 0.72, 0.23)))
    out.add("keys", box((1.28, 0.03, 0.15), (0, 0.68, 0.23)))
    for sx in (-1, 1):
        out.add("case", box((0.06, 0.6, 0.06), (sx * 0.7, 0.3, 0.26)), box((0.08, 0.04, 0.42), (sx * 0.7, 0.02, 0.1)))
        out.add("pedals", box((0.04, 0.012, 0.1), (sx * 0.07, 0.05, 0.09)))
    return out.add("case", turn(box((0.7, 0.22, 0.012), (0, 0.98, 0.09)), (-12, 0, 0), (0, 0.9, 0.09)))
