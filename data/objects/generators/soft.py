"""Soft and decorative things."""

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
    rod,
    sections,
    tube,
    turn,
)


@makes("potted plant", "y:6", plant={})
def potted_plant() -> Assembly:
    """A pot with broad leaves."""
    out = Assembly(target_faces=3200)
    out.add(
        "pot",
        lathe([(0.075, 0), (0.105, 0.17), (0.115, 0.17), (0.115, 0.2), (0.1, 0.2), (0.098, 0.185), (0, 0.185)], 24),
    )
    leaf = _leaf(0.3, 0.075)
    for k in range(6):
        out.add("leaves", turn(turn(leaf, (28, 0, 0)), (0, 60 * k, 0)).translate([0, 0.17, 0]))
        out.add(
            "leaves",
            turn(turn(leaf.scale([0.85, 0.85, 0.85]), (58, 0, 0)), (0, 60 * k + 30, 0)).translate([0, 0.17, 0]),
        )
    return out


def _leaf(length: float, width: float) -> Solid:
    t = np.linspace(0, 1, 8)
    rows = [
        (
            length * a,
            2 * width * float(np.sin(np.pi * min(a + 0.03, 0.985)) ** 0.8) + 0.004,
            0.005,
            0,
            0.25 * length * a * a,
        )
        for a in t
    ]
    return sections("y", rows, 2, 8)


@makes("pillow", "x:2 y:2 z:2", square={"w": 0.45, "h": 0.45, "d": 0.15}, bed={"w": 0.7, "h": 0.48, "d": 0.17})
def pillow(w: float, h: float, d: float) -> Assembly:
    """A cushion standing upright, broad sides to ±z."""
    t = np.linspace(-0.985, 0.985, 15)
    rows = [(x * h / 2, w * (1 - 0.10 * (1 - abs(x) ** 3)), max(0.012, d * float(1 - x**4) ** 0.75)) for x in t]
    return Assembly(target_faces=1800).add("surface", _pinched(rows))


def _pinched(rows: list[tuple[float, float, float]]) -> Solid:
    """Lens-shaped sections: thick in the middle, thin at the seam."""
    u = np.linspace(-1, 1, 13)
    rings = []
    for y, w, d in rows:
        bulge = np.maximum((1 - u**4) ** 0.75, 0.06) * d / 2
        front = np.stack([u * w / 2, np.full(13, y), bulge], 1)
        back = np.stack([u[::-1] * w / 2, np.full(13, y), -bulge[::-1]], 1)
        rings.append(np.concatenate([front, back]))
    return loft(np.stack(rings))


@makes("teddy bear", "", sitting={}, large={"scale": 2.2})
def teddy_bear(scale: float = 1.0) -> Assembly:
    """A sitting plush bear."""
    k, out = scale, Assembly(target_faces=3600)

    def blob(part: str, radii: tuple[float, float, float], at: tuple[float, float, float], tilt: float = 0.0) -> None:
        solid = turn(ellipsoid(radii, (0, 0, 0), 16), (0, 0, tilt)).translate(list(at))
        out.add(part, solid.scale([k, k, k]))

    blob("body", (0.08, 0.095, 0.07), (0, 0.095, 0))
    blob("head", (0.072, 0.066, 0.064), (0, 0.235, 0.01))
    blob("head", (0.032, 0.026, 0.028), (0, 0.222, 0.068))
    for side, s in (("left", 1), ("right", -1)):
        blob("head", (0.027, 0.027, 0.014), (s * 0.06, 0.292, 0.005))
        blob(f"arm_{side}", (0.03, 0.068, 0.03), (s * 0.095, 0.125, 0.03), 38 * s)
        blob(f"leg_{side}", (0.037, 0.035, 0.078), (s * 0.06, 0.035, 0.09))
        blob(f"leg_{side}", (0.036, 0.045, 0.022), (s * 0.064, 0.045, 0.158))
    return out


@makes("gift box", "y:2", ribbon={})
def gift_box() -> Assembly:
    """A box with a lid, ribbon and bow."""
    out = Assembly(target_faces=2000).add("body", box((0.24, 0.13, 0.18), (0, 0.065, 0)))
    out.add("lid", box((0.25, 0.035, 0.19), (0, 0.145, 0)))
    out.add("ribbon", box((0.03, 0.167, 0.194), (0, 0.0835, 0)), box((0.254, 0.167, 0.03), (0, 0.0835, 0)))
    for s in (-1, 1):
        loop = curve(
            [(0, 0.165, 0), (s * 0.035, 0.2, 0), (s * 0.07, 0.185, 0), (s * 0.05, 0.168, 0), (0, 0.166, 0)], 12
        )
        out.add("ribbon", tube(loop, 0.012, flat=0.3, segments=8, up=(0, 1, 0)))
    return out


@makes("lamp", "y:inf", table={}, floor={"height": 1.6, "foot": 0.14, "shade": 0.2})
def lamp(height: float = 0.5, foot: float = 0.08, shade: float = 0.14) -> Assembly:
    """A lamp with a conical shade."""
    out, h = Assembly(target_faces=2400), height
    tall = 1.3 * shade
    out.add("foot", lathe([(foot, 0), (foot, 0.012), (0.02, 0.03), (0, 0.03)], 28)).add(
        "stem", rod((0, 0.02, 0), (0, h - 0.5 * tall, 0), 0.012)
    )
    t = 0.003
    rims = [(shade, h - tall), (0.62 * shade, h), (0.62 * shade - t, h), (shade - t, h - tall)]
    out.add("shade", extrude_ring(rims))
    return out.add(
        "shade",
        rod((-0.66 * shade, h - 0.25 * tall, 0), (0.66 * shade, h - 0.25 * tall, 0), 0.003, segments=6),
        disc((0, h - 0.5 * tall, 0), "y", 0.02, 0.06, 16),
    )


def extrude_ring(section: list[tuple[float, float]], segments: int = 32) -> Solid:
    """A ring around y swept by a closed section of (radius, height) points."""
    angle = np.arange(segments) * (2 * np.pi / segments)
    rings = [np.array([(r * np.cos(a), h, -r * np.sin(a)) for r, h in section]) for a in angle]
    return loft(np.stack(rings), closed=True)


@makes("letter", "x:2 y:2 z:2", envelope={})
@makes("paper", "x:2 y:2 z:2", sheet={"w": 0.21, "h": 0.297, "t": 0.0012})
def sheet_of_paper(w: float = 0.22, h: float = 0.11, t: float = 0.002) -> Assembly:
    """A flat sheet, upright, with a little thickness so that it is closed."""
    return Assembly(target_faces=900, longest_edge=h / 8).add(
        "sheet", extrude([(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)], t)
    )
