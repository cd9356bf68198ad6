"""Phones, computers, cameras and other things with buttons."""

from __future__ import annotations

from hoirecon.data.objects.generators.assembly import Assembly, makes
from hoirecon.data.objects.generators.solids import (
    Solid,
    arc,
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


@makes(
    "cell phone",
    "",
    phone={},
    small={"size": (0.067, 0.138, 0.0075)},
    large={"size": (0.078, 0.163, 0.0085)},
)
@makes(
    "tablet",
    "",
    tablet={"size": (0.178, 0.25, 0.0065), "corner": 0.012, "bezel": 0.009},
    small={"size": (0.135, 0.2, 0.0065), "corner": 0.01, "bezel": 0.008},
    large={"size": (0.215, 0.281, 0.0062), "corner": 0.014, "bezel": 0.009},
)
def slab(
    size: tuple[float, float, float] = (0.0715, 0.147, 0.008), corner: float = 0.011, bezel: float = 0.003
) -> Assembly:
    """A phone or tablet held upright, screen to +z; edges are named after the user's hands (user at +z)."""
    w, h, d = size
    out = Assembly(target_faces=1800, longest_edge=h / 14)
    body = extrude(superellipse(w, h, 14, 40), d)
    thirds = w / 3
    for part, x in (("edge_left", -thirds), ("back", 0.0), ("edge_right", thirds)):
        out.add(part, body ^ box((thirds, h, d), (x, 0, 0)))
    out.add("screen", extrude(superellipse(w - 2 * bezel, h - 2 * bezel, 12, 40), 0.0016, at=(0, 0, d / 2 - 0.0006)))
    out.add("back", extrude(superellipse(0.3 * w, 0.3 * w, 5, 20), 0.003, at=(0.26 * w, h / 2 - 0.24 * w, -d / 2)))
    return out


@makes("laptop", "", open={}, small={"width": 0.3, "depth": 0.21}, wide_open={"angle": 130.0})
def laptop(width: float = 0.35, depth: float = 0.24, angle: float = 108.0) -> Assembly:
    """An open laptop; the user sits at +z, the screen stands at the far edge."""
    out = Assembly(target_faces=2200)
    base = 0.016
    out.add("base", box((width, base, depth), (0, 0, 0), 0.005))
    out.add(
        "screen",
        turn(box((width, depth * 0.96, 0.007), (0, depth * 0.49, 0), 0.003), (90 - angle, 0, 0)).translate(
            [0, base / 2, -depth / 2 + 0.004]
        ),
    )
    out.add("keyboard", *_keys(width * 0.84, depth * 0.42, base / 2, -0.2 * depth, 5, 12))
    out.add("touchpad", box((0.3 * width, 0.002, 0.26 * depth), (0, base / 2, 0.3 * depth)))
    return out


def _keys(
    width: float, depth: float, y: float, z: float, rows: int, columns: int, height: float = 0.003
) -> list[Solid]:
    """A grid of separate key caps."""
    px, pz = width / columns, depth / rows
    return [
        box(
            (0.82 * px, height, 0.82 * pz),
            ((i + 0.5) * px - width / 2, y + height / 2 - 0.0005, z + (k + 0.5) * pz - depth / 2),
        )
        for i in range(columns)
        for k in range(rows)
    ]


@makes("keyboard", "", full={}, compact={"width": 0.29, "columns": 12})
def keyboard(width: float = 0.44, depth: float = 0.135, columns: int = 18) -> Assembly:
    """A computer keyboard, flat, user at +z."""
    out = Assembly(target_faces=3000).add("body", box((width, 0.018, depth), (0, 0, 0), 0.005))
    return out.add("keys", *_keys(width - 0.02, depth - 0.02, 0.009, 0, 5, columns, 0.007))


@makes("mouse", "", mouse={}, small={"length": 0.095, "width": 0.055})
def mouse(length: float = 0.118, width: float = 0.063, height: float = 0.038) -> Assembly:
    """A computer mouse; its user sits at +z, so the buttons point to -z."""
    n = 9
    spec = []
    for k in range(n):
        f = k / (n - 1)
        bulge = (1 - abs(2 * f - 1) ** 3.2) ** 0.5 if 0 < f < 1 else 0.25
        tall = height * bulge * (0.62 + 0.38 * f)
        spec.append(((f - 0.5) * length, width * bulge * (0.88 + 0.12 * f), 2 * tall))
    shell = sections("z", spec, 2.4).trim_by_plane([0.0, 1.0, 0.0], 0.0)
    out = Assembly(target_faces=1600)
    front = box((1, 1, 0.45 * length), (0, 0, -0.275 * length))
    out.add("body", shell - front).add(
        "buttons", (shell ^ front) - box((0.0015, 1, 0.4 * length), (0, 0.51, -0.3 * length))
    )
    return out.add("wheel", disc((0, 0.5 * height, -0.27 * length), "x", 0.011, 0.007, 16))


@makes("remote", "", remote={}, slim={"size": (0.038, 0.14, 0.012), "rows": 4})
def remote(size: tuple[float, float, float] = (0.048, 0.19, 0.02), rows: int = 7) -> Assembly:
    """A television remote control held upright, buttons to +z."""
    w, h, d = size
    out = Assembly(target_faces=2200).add("body", box(size, (0, 0, 0), 0.006))
    for k in range(rows):
        for i in (-1, 0, 1):
            out.add(
                "buttons",
                disc((i * 0.28 * w, h * (0.28 - 0.6 * k / max(rows - 1, 1) * 0.95), d / 2), "z", 0.09 * w, 0.003, 10),
            )
    return out.add("buttons", disc((0, h * 0.4, d / 2), "z", 0.2 * w, 0.004, 16))


@makes("monitor", "", wide={}, square={"width": 0.41, "height": 0.33})
@makes(
    "tv", "", stand={"width": 1.23, "height": 0.71, "foot": 0.04}, small={"width": 0.72, "height": 0.42, "foot": 0.06}
)
def monitor(width: float = 0.55, height: float = 0.33, foot: float = 0.14) -> Assembly:
    """A flat screen on a foot, screen to +z."""
    out = Assembly(target_faces=1800)
    out.add("screen", box((width, height, 0.022), (0, foot + height / 2, 0), 0.006))
    out.add("back", box((0.6 * width, 0.6 * height, 0.025), (0, foot + height / 2, -0.02), 0.008))
    out.add("foot", box((0.12 * width + 0.02, foot + 0.3 * height, 0.016), (0, foot / 2 + 0.15 * height, -0.03)))
    return out.add("foot", box((0.45 * width, 0.012, 0.2), (0, 0.006, -0.02), 0.004))


@makes(
    "camera",
    "",
    mirror_reflex={},
    compact={"size": (0.105, 0.062, 0.028), "lens": 0.022, "reach": 0.018, "prism": False},
)
def camera(
    size: tuple[float, float, float] = (0.14, 0.1, 0.065), lens: float = 0.034, reach: float = 0.075, prism: bool = True
) -> Assembly:
    """A photo camera, lens to +z; grip and release at its user's right hand (user at -z, looking to +z)."""
    w, h, d = size
    out = Assembly(target_faces=2200).add("body", box(size, (0, 0, 0), 0.01))
    out.add("lens", rod((0, -0.04 * h, 0), (0, -0.04 * h, d / 2 + reach), lens, segments=24))
    out.add(
        "lens", rod((0, -0.04 * h, d / 2 + 0.55 * reach), (0, -0.04 * h, d / 2 + 0.9 * reach), 1.08 * lens, segments=24)
    )
    out.cut(rod((0, -0.04 * h, d / 2 + 0.9 * reach), (0, -0.04 * h, d), 0.8 * lens, 0.86 * lens, 24), "lens")
    out.add("release", disc((-0.36 * w, h / 2, 0.1 * d), "y", 0.008, 0.012, 12))
    if prism:
        hump = extrude([(-0.035, 0), (0.035, 0), (0.022, 0.028), (-0.022, 0.028)], 0.8 * d, "z", (0, h / 2 - 0.004, 0))
        out.add("viewfinder", hump)
        out.add("grip", box((0.035, 0.95 * h, d + 0.03), (-w / 2 + 0.014, -0.01 * h, 0.012), 0.012))
    return out


@makes("microphone", "y:inf", hand={}, small={"length": 0.18})
def microphone(length: float = 0.25) -> Assembly:
    """A hand microphone, head up."""
    out, neck = Assembly(target_faces=1600), length / 2 - 0.055
    out.add(
        "handle",
        lathe([(0.011, -length / 2), (0.0125, -length / 2 + 0.01), (0.0175, neck - 0.01), (0.019, neck + 0.006)], 20),
    )
    return out.add(
        "head",
        ellipsoid((0.026, 0.031, 0.026), (0, length / 2 - 0.031, 0), 24),
        ring((0, length / 2 - 0.034, 0), "y", 0.0255, 0.003, 24, 6),
    )


@makes("microphone stand", "", straight={})
def microphone_on_stand(height: float = 1.5) -> Assembly:
    """A microphone on a straight stand with a round foot, tilted to its speaker at +z."""
    out = Assembly(target_faces=2000, longest_edge=0.08)
    out.add("foot", lathe([(0.14, 0), (0.14, 0.012), (0.02, 0.03), (0.0, 0.03)], 24))
    out.add("stand", rod((0, 0.02, 0), (0, height, 0), 0.01, segments=10))
    mic = lathe([(0.011, -0.09), (0.018, 0.05), (0.02, 0.065)], 16) + ellipsoid((0.026, 0.031, 0.026), (0, 0.09, 0), 20)
    return out.add("head", turn(mic, (50, 0, 0)).translate([0, height + 0.02, 0.02]))


@makes("headphones", "", over_ear={})
def headphones() -> Assembly:
    """Over-ear headphones as worn: band over the top, cups at both ears."""
    out = Assembly(target_faces=2400)
    band = arc((0, 0, 0), 0.085, 8, 172, 20)
    out.add("band", tube(band, 0.013, flat=0.35, segments=8, up=(1, 0, 0)))
    for side, sx in (("left", 1), ("right", -1)):
        cup = sections("x", [(-0.012, 0.055, 0.075), (-0.004, 0.08, 0.1), (0.012, 0.08, 0.1), (0.022, 0.06, 0.08)], 2.2)
        pad = tube([(0.0, 0.04 * s, 0.03 * c) for c, s in superellipse(2, 2, 2, 18)], 0.011, closed=True, segments=8)
        cup = cup if sx > 0 else cup.mirror([1.0, 0.0, 0.0])
        out.add(f"cup_{side}", move(cup, (sx * 0.083, -0.02, 0)), move(pad, (sx * 0.068, -0.02, 0)))
    return out


@makes("game controller", "", pad={})
def game_controller() -> Assembly:
    """A gamepad, buttons up, its user at +z: grips point to the user."""
    out = Assembly(target_faces=2400)
    out.add(
        "body", sections("x", [(-0.055, 0.05, 0.03), (-0.04, 0.07, 0.04), (0.04, 0.07, 0.04), (0.055, 0.05, 0.03)], 3)
    )
    for side, sx in (("left", -1), ("right", 1)):
        path = curve(
            [
                (sx * 0.035, 0, -0.02),
                (sx * 0.062, -0.002, 0.01),
                (sx * 0.07, -0.014, 0.055),
                (sx * 0.066, -0.02, 0.075),
            ],
            10,
        )
        out.add(
            f"grip_{side}",
            tube(path, [0.022, 0.025, 0.025, 0.024, 0.023, 0.022, 0.021, 0.02, 0.017, 0.01], segments=12),
        )
        out.add(
            "buttons",
            rod((sx * 0.025, 0.01, 0.016), (sx * 0.025, 0.024, 0.016), 0.006, segments=12),
            disc((sx * 0.025, 0.026, 0.016), "y", 0.009, 0.005, 16),
        )
    for x, z in ((0.048, -0.012), (0.058, -0.002), (0.038, -0.002), (0.048, 0.008)):
        out.add("buttons", disc((x, 0.021, z), "y", 0.0045, 0.012, 10))
    out.add(
        "buttons",
        box((0.024, 0.012, 0.008), (-0.048, 0.02, -0.002)),
        box((0.008, 0.012, 0.024), (-0.048, 0.02, -0.002)),
    )
    return out


@makes("hair drier", "", drier={})
def hair_drier() -> Assembly:
    """A hair drier, outlet to +z, handle down."""
    out = Assembly(target_faces=2200)
    out.add(
        "barrel",
        lathe([(0.0, -0.085), (0.034, -0.08), (0.043, -0.05), (0.042, 0.02), (0.031, 0.08), (0.026, 0.085)], 24, "z"),
    )
    out.add("nozzle", sections("z", [(0.075, 0.06, 0.06), (0.12, 0.085, 0.02)], 2.5))
    out.cut(sections("z", [(0.09, 0.05, 0.03), (0.13, 0.078, 0.012)], 2.5))
    grip = curve([(0, -0.02, -0.02), (0, -0.08, -0.014), (0, -0.165, -0.03)], 8)
    return out.add("handle", tube(grip, 0.0165, flat=1.25, segments=12)).add(
        "handle", rod((0, -0.16, -0.03), (0, -0.2, -0.035), 0.005, segments=8)
    )


@makes("flashlight", "y:inf", torch={})
def flashlight(length: float = 0.2) -> Assembly:
    """A torch, light up."""
    top = length / 2
    out = Assembly(target_faces=1400).add(
        "handle", lathe([(0.013, -top), (0.016, -top + 0.01), (0.0155, top - 0.06)], 20)
    )
    head = lathe(
        [(0.0155, top - 0.062), (0.026, top - 0.03), (0.027, top), (0.023, top), (0.02, top - 0.01), (0, top - 0.012)],
        20,
    )
    return out.add("head", head)


@makes("telephone", "", handset={})
def telephone() -> Assembly:
    """A classic telephone handset, upright: ear piece up, both pieces to +z."""
    out = Assembly(target_faces=1800)
    grip = curve([(0, -0.085, 0.0), (0, -0.05, -0.022), (0, 0.05, -0.022), (0, 0.085, 0.0)], 12)
    out.add("handle", tube(grip, 0.015, flat=0.85, segments=10, up=(0, 0, 1)))
    for part, y in (("ear_piece", 0.088), ("mouth_piece", -0.088)):
        cup = lathe([(0.0, -0.018), (0.018, -0.016), (0.028, 0.006), (0.026, 0.014), (0, 0.012)], 20, "z")
        out.add(part, move(cup, (0, y, 0.006)))
    return out
