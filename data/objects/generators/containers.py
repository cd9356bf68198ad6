"""Boxes, baskets, buckets, bins: things that hold other things."""

from __future__ import annotations

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.kitchen import vessel
from hoirecon.data.objects.generators.solids import (
    arc,
    box,
    curve,
    disc,
    lathe,
    ring,
    rod,
    sections,
    superellipse,
    tube,
    turn,
)


@makes(
    "box",
    "x:2 y:2",
    medium={},
    small={"size": (0.3, 0.2, 0.2)},
    flat={"size": (0.45, 0.12, 0.32)},
    long={"size": (0.9, 0.2, 0.2)},
    large={"size": (0.6, 0.45, 0.45)},
)
@makes("box", "x:4 y:4", cube={"size": (0.4, 0.4, 0.4)})
def cardboard_box(size: tuple[float, float, float] = (0.4, 0.3, 0.3)) -> Assembly:
    """A closed box whose six faces are parts named as its carrier's (who looks to +z) sides."""
    out = Assembly(target_faces=1800)
    w, h, d = size
    deep = 0.02 * min(size)
    out.add("top", box((w, deep, d), (0, (h - deep) / 2, 0)))
    out.add("bottom", box((w, deep, d), (0, -(h - deep) / 2, 0)))
    for side, s in (("left", 1), ("right", -1)):
        out.add(side, box((deep, h - 2 * deep, d), (s * (w - deep) / 2, 0, 0)))
    for side, s in (("front", 1), ("back", -1)):
        out.add(side, box((w - 2 * deep, h - 2 * deep, deep), (0, 0, s * (d - deep) / 2)))
    return out.add("inside", box((w - 1.9 * deep, h - 1.9 * deep, d - 1.9 * deep)))


@makes("box", "y:2", open={})
def open_box(w: float = 0.42, h: float = 0.28, d: float = 0.32, wall: float = 0.008) -> Assembly:
    """An open cardboard box with its four flaps turned out."""
    out = Assembly(target_faces=2200)
    out.add("bottom", box((w, wall, d), (0, wall / 2, 0)))
    for side, s in (("left", 1), ("right", -1)):
        out.add(side, box((wall, h, d), (s * (w - wall) / 2, h / 2, 0)))
        out.add(
            "flaps",
            turn(box((0.14, 0.006, d - 0.01), (s * 0.07, 0, 0)), (0, 0, -35 * s)).translate(
                [s * (w / 2 - 0.006), h - 0.003, 0]
            ),
        )
    for side, s in (("front", 1), ("back", -1)):
        out.add(side, box((w, h, wall), (0, h / 2, s * (d - wall) / 2)))
        out.add(
            "flaps",
            turn(box((w - 0.01, 0.006, 0.14), (0, 0, s * 0.07)), (35 * s, 0, 0)).translate(
                [0, h - 0.003, s * (d / 2 - 0.006)]
            ),
        )
    return out


@makes("crate", "y:2", bottle_crate={}, fruit={"size": (0.5, 0.16, 0.3), "slats": 2})
def crate(size: tuple[float, float, float] = (0.4, 0.27, 0.3), slats: int = 3) -> Assembly:
    """An open slatted crate with corner posts."""
    out, (w, h, d) = Assembly(target_faces=2400), size
    out.add("floor", box((w, 0.012, d), (0, 0.006, 0)))
    for sx in (-1, 1):
        for sz in (-1, 1):
            out.add("posts", box((0.03, h, 0.03), (sx * (w / 2 - 0.018), h / 2, sz * (d / 2 - 0.018))))
    step = h / slats
    for k in range(slats):
        y = (k + 0.52) * step
        part = "rim" if k == slats - 1 else "sides"
        for s in (-1, 1):
            out.add(
                part,
                box((w, 0.72 * step, 0.012), (0, y, s * (d / 2 - 0.006))),
                box((0.012, 0.72 * step, d), (s * (w / 2 - 0.006), y, 0)),
            )
    return out


@makes("basket", "y:2", wicker={}, low={"height": 0.15, "width": 0.42})
def basket(width: float = 0.38, depth: float = 0.28, height: float = 0.2) -> Assembly:
    """An oval basket with an arched handle across it."""
    out = Assembly(target_faces=3000)
    spec = [(0, 0.75 * width, 0.75 * depth), (0.5 * height, 0.92 * width, 0.92 * depth), (height, width, depth)]
    out.add("body", sections("y", spec, 2.4, 24))
    for k in range(1, 5):
        f = 0.22 * k
        hoop = superellipse(width * (0.77 + 0.23 * f), depth * (0.77 + 0.23 * f), 2.4, 24)
        out.add("body", tube([(x, f * height, z) for x, z in hoop], 0.006, closed=True, segments=6))
    out.cut(
        sections(
            "y",
            [
                (0.012, 0.72 * width, 0.7 * depth),
                (0.5 * height, 0.88 * width, 0.87 * depth),
                (height + 0.02, 0.97 * width, 0.95 * depth),
            ],
            2.4,
            24,
        )
    )
    rim = superellipse(0.985 * width, 0.98 * depth, 2.4, 24)
    out.add("rim", tube([(x, height, z) for x, z in rim], 0.0085, closed=True, segments=8))
    bow = arc((0, height, 0), 0.485 * width, 0, 180, 22)
    bow[:, 1] = height + (bow[:, 1] - height) * 1.05
    return out.add("handle", tube(bow, 0.011, segments=8, up=(1, 0, 0)))


@makes("laundry basket", "y:2", laundry={})
def laundry_basket(w: float = 0.58, d: float = 0.4, h: float = 0.28) -> Assembly:
    """A plastic basket with slots and two grips cut into the short sides."""
    out = Assembly(target_faces=3200)
    out.add("body", sections("y", [(0, 0.78 * w, 0.76 * d), (h, 0.95 * w, 0.93 * d)], 5, 32))
    out.add("rim", sections("y", [(h - 0.02, w, d), (h, w, d)], 5, 32))
    out.cut(sections("y", [(0.006, 0.76 * w, 0.74 * d), (h + 0.01, 0.935 * w, 0.91 * d)], 5, 32))
    for k in range(-2, 3):
        out.cut(box((0.035, 0.1, 2 * d), (k * 0.09, 0.45 * h, 0)), "body")
    out.cut(box((2 * w, 0.03, 0.12), (0, h - 0.045, 0)), "body")
    return out


@makes("bucket", "y:2", bucket={}, small={"radius": 0.11, "height": 0.2})
def bucket(radius: float = 0.145, height: float = 0.27) -> Assembly:
    """An open bucket with its bail up."""
    r, h = radius, height
    out = Assembly(target_faces=2600)
    out.add(
        "body",
        vessel([(0, 0), (0.72 * r, 0), (r, h - 0.008), (r + 0.006, h - 0.006), (r + 0.006, h)], 0.006, 0.006, 32),
    )
    bail = curve(
        [
            (r + 0.004, h - 0.03, 0),
            (0.95 * r, h + 0.35 * r, 0),
            (0.5 * r, h + 0.85 * r, 0),
            (0, h + 1.0 * r, 0),
            (-0.5 * r, h + 0.85 * r, 0),
            (-0.95 * r, h + 0.35 * r, 0),
            (-r - 0.004, h - 0.03, 0),
        ],
        28,
    )
    out.add("handle", tube(bail, 0.0045, segments=6, up=(0, 0, 1)))
    return out.add("handle", rod((-0.05, h + r, 0), (0.05, h + r, 0), 0.011, segments=10))


@makes("trash bin", "y:inf", round={}, office={"radius": 0.14, "height": 0.32})
@makes("barrel", "y:inf", drum={"radius": 0.29, "height": 0.88, "closed": True})
def round_bin(radius: float = 0.2, height: float = 0.6, closed: bool = False) -> Assembly:
    """A round waste bin (open), or a closed drum with two hoops."""
    r, h = radius, height
    out = Assembly(target_faces=2400, longest_edge=0.07)
    if closed:
        out.add("body", lathe([(0.97 * r, 0), (r, 0.02), (r, h - 0.02), (0.97 * r, h)], 32))
        return out.add("hoops", *[ring((0, f * h, 0), "y", r, 0.012, 32, 8) for f in (0.34, 0.66)])
    out.add("body", vessel([(0, 0), (0.78 * r, 0), (0.97 * r, h - 0.02)], 0.006, 0.008, 32))
    return out.add("rim", ring((0, h - 0.015, 0), "y", 0.97 * r - 0.003, 0.011, 32, 8))


@makes("trash bin", "", wheeled={})
def wheeled_bin() -> Assembly:
    """A large wheeled bin with a lid; handle and wheels behind (-z)."""
    out = Assembly(target_faces=2200, longest_edge=0.07)
    out.add("body", sections("y", [(0, 0.42, 0.44), (0.88, 0.54, 0.6)], 8, 28))
    out.add("lid", sections("y", [(0.88, 0.58, 0.68), (0.93, 0.58, 0.68), (0.99, 0.46, 0.5)], 8, 28))
    out.add("handle", rod((-0.22, 0.92, -0.38), (0.22, 0.92, -0.38), 0.014))
    for sx in (-1, 1):
        out.add("handle", box((0.03, 0.05, 0.1), (sx * 0.2, 0.915, -0.33)))
        out.add("wheels", disc((sx * 0.24, 0.1, -0.24), "x", 0.1, 0.05, 20))
    return out.add("wheels", rod((-0.24, 0.1, -0.24), (0.24, 0.1, -0.24), 0.015))


@makes("vase", "y:inf", tall={}, round={"height": 0.2, "belly": 0.1, "neck": 0.04})
def vase(height: float = 0.3, belly: float = 0.07, neck: float = 0.035) -> Assembly:
    """A flower vase, open above."""
    h = height
    outside = [
        (0.0, 0.0),
        (0.6 * belly, 0),
        (0.95 * belly, 0.25 * h),
        (belly, 0.42 * h),
        (0.75 * belly, 0.66 * h),
        (neck, 0.85 * h),
        (1.25 * neck, h),
    ]
    return Assembly(target_faces=2200).add("body", vessel(outside, 0.005, 0.01, 28))


@makes("watering can", "", can={})
def watering_can() -> Assembly:
    """A can; spout to -x, handle at +x."""
    out = Assembly(target_faces=2600).add("body", lathe([(0, 0), (0.09, 0), (0.09, 0.18), (0.06, 0.2), (0, 0.2)], 28))
    out.add("spout", tube([(-0.08, 0.05, 0), (-0.2, 0.16, 0), (-0.29, 0.27, 0)], [0.02, 0.014, 0.011], segments=10))
    out.add("spout", rod((-0.28, 0.26, 0), (-0.315, 0.3, 0), 0.012, 0.034, 16))
    loop = curve([(0.0, 0.195, 0), (0.03, 0.27, 0), (0.13, 0.26, 0), (0.16, 0.15, 0), (0.085, 0.06, 0)], 20)
    return out.add("handle", tube(loop, 0.01, segments=8, up=(0, 0, 1)))


@makes("basin", "y:inf", wash={})
def basin() -> Assembly:
    """A washing-up bowl."""
    return Assembly(target_faces=2200).add(
        "body", vessel([(0, 0), (0.14, 0), (0.185, 0.12), (0.2, 0.125), (0.2, 0.13)], 0.004, 0.006, 36)
    )
