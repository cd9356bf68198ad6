"""Closed solids to build objects from: boxes, rods, tubes, lathed and lofted bodies, extruded outlines.

Frame: y up, +z front, +x the object's own left; metres. Every function returns a `manifold3d.Manifold`, which is
closed by construction, so anything that is assembled from these is closed too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from manifold3d import CrossSection, Manifold, Mesh64, OpType
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Point = Sequence[float] | Array

Solid = Manifold
"""What the functions return, for annotations elsewhere."""

UP = (0.0, 1.0, 0.0)


def from_arrays(verts: ArrayLike, faces: ArrayLike) -> Manifold:
    """A solid from vertices (V, 3) and outward faces (F, 3); inward winding is turned outward."""
    v = np.ascontiguousarray(verts, dtype=np.float64)
    f = np.ascontiguousarray(faces, dtype=np.uint64)
    a, b, c = v[f[:, 0].astype(int)], v[f[:, 1].astype(int)], v[f[:, 2].astype(int)]
    if float(np.einsum("ij,ij->", a, np.cross(b, c))) < 0:
        f = np.ascontiguousarray(f[:, ::-1])
    solid = Manifold(Mesh64(vert_properties=v, tri_verts=f))
    if solid.num_tri() == 0:
        raise ValueError(f"the surface of {len(v)} vertices and {len(f)} faces is not closed: {solid.status()}")
    return solid


def box(size: Point, at: Point = (0, 0, 0), rounding: float = 0.0, segments: int = 8) -> Manifold:
    """A box of `size` (x, y, z) metres centred at `at`; `rounding` > 0 rounds every edge by that radius."""
    w, h, d = (float(s) for s in size)
    if rounding <= 0:
        return Manifold.cube([w, h, d], True).translate(_p(at))
    r = min(rounding, 0.499 * min(w, h, d))
    ball = Manifold.sphere(r, segments)
    corners = [
        ball.translate([x * (w / 2 - r), y * (h / 2 - r), z * (d / 2 - r)])
        for x in (-1, 1)
        for y in (-1, 1)
        for z in (-1, 1)
    ]
    return Manifold.batch_hull(corners).translate(_p(at))


def ellipsoid(radii: Point, at: Point = (0, 0, 0), segments: int = 24) -> Manifold:
    """An ellipsoid with semi-axes `radii` (x, y, z) metres centred at `at`."""
    return Manifold.sphere(1.0, segments).scale(_p(radii)).translate(_p(at))


def rod(start: Point, end: Point, radius: float, end_radius: float | None = None, segments: int = 12) -> Manifold:
    """A straight round rod (or cone, with `end_radius`) between two points."""
    return tube([start, end], [radius, radius if end_radius is None else end_radius], segments=segments)


def disc(at: Point, axis: str, radius: float, thickness: float, segments: int = 24) -> Manifold:
    """A flat cylinder centred at `at` whose axis is "x", "y" or "z"."""
    half = np.eye(3)["xyz".index(axis)] * thickness / 2
    return rod(np.asarray(at, dtype=float) - half, np.asarray(at, dtype=float) + half, radius, segments=segments)


def tube(
    path: Sequence[Point] | Array,
    radius: float | Sequence[float] | Array = 0.01,
    *,
    flat: float = 1.0,
    closed: bool = False,
    segments: int = 8,
    up: Point = UP,
) -> Manifold:
    """A round (or flattened) tube along a path (N, 3).

    Args:
        path: points in metres; corners are mitred, so bend with several points (see `curve`).
        radius: metres, one for all or one per point.
        flat: section height over width; below 1 the tube is a strap, thin along `up` where the path allows.
        closed: join the last point to the first (a ring).
        segments: corners of the section.
        up: direction from which the section's thin axis is taken at the first point.
    """
    points = np.asarray(path, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(points))
    tangents = _tangents(points, closed)
    thin = _carried_normals(tangents, np.asarray(up, dtype=float))
    wide = np.cross(tangents, thin)
    angle = np.arange(segments) * (2 * np.pi / segments) + np.pi / segments
    ring = np.cos(angle)[None, :, None] * wide[:, None] + flat * np.sin(angle)[None, :, None] * thin[:, None]
    return loft(points[:, None] + radii[:, None, None] * ring, closed=closed)


def lathe(profile: Sequence[tuple[float, float]], segments: int = 24, axis: str = "y") -> Manifold:
    """A body of revolution from (radius, height) pairs in metres.

    The profile runs from bottom to top; to make a vessel, let it come back down inside. Points of radius zero are
    poles; a profile that starts or ends off the axis is closed by a flat disc. `axis` is the axis of revolution.
    """
    points = [(max(float(r), 0.0), float(h)) for r, h in profile]
    angle = np.arange(segments) * (2 * np.pi / segments)
    circle = np.stack([np.cos(angle), np.zeros(segments), -np.sin(angle)], axis=1)
    inner = [p for p in points[1:-1] if p[0] > 0] if points[0][0] == 0 or points[-1][0] == 0 else points[1:-1]
    first = [] if points[0][0] == 0 else [points[0]]
    last = [] if points[-1][0] == 0 else [points[-1]]
    rings = np.stack([r * circle + np.array([0.0, h, 0.0]) for r, h in [*first, *inner, *last]])
    poles = (np.array([0.0, points[0][1], 0.0]), np.array([0.0, points[-1][1], 0.0]))
    solid = loft(rings, poles=poles)
    return turn(solid, {"x": (0, 0, -90), "y": (0, 0, 0), "z": (90, 0, 0)}[axis])


def extrude(outline: ArrayLike | Sequence[ArrayLike], depth: float, axis: str = "z", at: Point = (0, 0, 0)) -> Manifold:
    """A plate of `depth` metres from outlines, centred on the plane of the outline.

    Args:
        outline: (N, 2) points, or a list of such (later ones inside the first cut holes).
        depth: thickness in metres.
        axis: normal of the plate. "z": the outline is (x, y); "y": (x, z); "x": (z, y).
        at: metres, added.
    """
    contours = _contours(outline)
    plate = CrossSection(contours).extrude(depth).translate([0, 0, -depth / 2])
    if axis == "y":  # (x, y, z) <- (x, depth, outline y)
        plate = plate.transform(np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]))
    if axis == "x":
        plate = plate.transform(np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]))
    return plate.translate(_p(at))


def loft(rings: Array | Sequence[Array], *, closed: bool = False, poles: tuple[Array, Array] | None = None) -> Manifold:
    """A skin over rings (N, S, 3) of equally many points, capped at both ends by fans around their centres.

    With `closed`, the last ring joins the first instead; `poles` gives the tips of the two caps.
    """
    stack = np.asarray(rings, dtype=float)
    n, s = stack.shape[:2]
    verts = stack.reshape(-1, 3)
    spans = n if closed else n - 1
    i, j = np.meshgrid(np.arange(spans), np.arange(s), indexing="ij")
    nxt, right = (i + 1) % n, (j + 1) % s
    a, b, c, d = i * s + j, i * s + right, nxt * s + right, nxt * s + j
    faces = [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    if not closed:
        tips = poles if poles is not None else (stack[0].mean(0), stack[-1].mean(0))
        verts = np.concatenate([verts, np.stack(tips)])
        rim = np.arange(s)
        faces.append(np.stack([(rim + 1) % s, rim, np.full(s, n * s)], -1))
        faces.append(np.stack([(n - 1) * s + rim, (n - 1) * s + (rim + 1) % s, np.full(s, n * s + 1)], -1))
    return from_arrays(verts, np.concatenate(faces))


def superellipse(width: float, height: float, power: float = 2.0, segments: int = 24) -> Array:
    """Points (S, 2) of |x/a|^p + |y/b|^p = 1 with full `width` and `height`; p = 2 ellipse, larger is boxier."""
    t = np.arange(segments) * (2 * np.pi / segments) + np.pi / segments
    c, s = np.cos(t), np.sin(t)
    x = np.sign(c) * np.abs(c) ** (2 / power)
    y = np.sign(s) * np.abs(s) ** (2 / power)
    return np.stack([x * width / 2, y * height / 2], axis=1)


def sections(axis: str, spec: Sequence[Sequence[float]], power: float = 2.0, segments: int = 24) -> Manifold:
    """A body lofted from ellipse-like sections across one axis.

    Each row of `spec` is (position along `axis`, width, height[, offset of width, offset of height]) in metres.
    Width and height lie along: "x" -> (z, y); "y" -> (x, z); "z" -> (x, y).
    """
    order = {"x": (2, 1, 0), "y": (0, 2, 1), "z": (0, 1, 2)}[axis]
    rings = []
    for row in spec:
        position, width, height, *offset = (float(x) for x in row)
        flat = superellipse(width, height, power, segments) + np.array((*offset, 0.0, 0.0)[:2])
        ring = np.full((segments, 3), position)
        ring[:, order[0]], ring[:, order[1]] = flat[:, 0], flat[:, 1]
        rings.append(ring)
    return loft(np.stack(rings))


def curve(points: Sequence[Point] | Array, n: int = 16, closed: bool = False) -> Array:
    """A smooth path (n, d) through the points (Catmull-Rom), for `tube` and `extrude`."""
    p = np.asarray(points, dtype=float)
    ext = (
        np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    )
    spans = len(p) if closed else len(p) - 1
    t = np.arange(n) * spans / (n if closed else n - 1)
    k = np.minimum(t.astype(int), spans - 1)
    u = (t - k)[:, None]
    a, b, c, d = ext[k], ext[k + 1], ext[k + 2], ext[k + 3]
    smooth: Array = 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3)
    return smooth


def arc(centre: Point, radius: float, start: float, stop: float, n: int = 12, plane: str = "xy") -> Array:
    """Points (n, 3) of a circular arc; angles in degrees from the first axis of `plane` to the second."""
    angle = np.radians(np.linspace(start, stop, n))
    points = np.tile(np.asarray(centre, dtype=float), (n, 1))
    points[:, "xyz".index(plane[0])] += radius * np.cos(angle)
    points[:, "xyz".index(plane[1])] += radius * np.sin(angle)
    return points


def ring(centre: Point, axis: str, radius: float, thickness: float, segments: int = 24, sides: int = 8) -> Manifold:
    """A torus around an axis; `radius` to the middle of the tube, `thickness` its radius, metres."""
    plane = {"x": "yz", "y": "zx", "z": "xy"}[axis]
    path = arc(centre, radius, 0, 360 * (1 - 1 / segments), segments, plane)
    return tube(path, thickness, closed=True, segments=sides, up=np.eye(3)["xyz".index(axis)])


def turn(solid: Manifold, degrees: Point, about: Point = (0, 0, 0)) -> Manifold:
    """Rotate about x, then y, then z (degrees) around a point."""
    at = np.asarray(about, dtype=float)
    return solid.translate(_p(-at)).rotate(_p(degrees)).translate(_p(at))


def move(solid: Manifold, by: Point) -> Manifold:
    """Translate by metres."""
    return solid.translate(_p(by))


def mirror_x(solid: Manifold) -> Manifold:
    """The same solid on the other side of the plane x = 0."""
    return solid.mirror([1.0, 0.0, 0.0])


def union(*solids: Manifold) -> Manifold:
    """One solid that holds all of these; its faces become one part."""
    return Manifold.batch_boolean(list(solids), OpType.Add)


def hull(*solids: Manifold) -> Manifold:
    """The convex hull of these solids."""
    return Manifold.batch_hull(list(solids))


def _p(point: Point) -> list[float]:
    return [float(x) for x in point]


def _contours(outline: ArrayLike | Sequence[ArrayLike]) -> list[Array]:
    try:
        single = np.asarray(outline, dtype=float)
        contours = [single] if single.ndim == 2 else list(single)
    except ValueError:  # contours of different lengths
        contours = [np.asarray(c, dtype=float) for c in outline]  # type: ignore[union-attr]
    return [_wound(c, outer=k == 0) for k, c in enumerate(contours)]


def _wound(contour: Array, outer: bool) -> Array:
    """Counter-clockwise outside, clockwise holes: what the extruder's fill rule asks for."""
    x, y = contour[:, 0], contour[:, 1]
    area = float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    return np.ascontiguousarray(contour if (area > 0) == outer else contour[::-1])


def _tangents(points: Array, closed: bool) -> Array:
    if closed:
        step = np.roll(points, -1, axis=0) - points
        unit = step / np.linalg.norm(step, axis=1, keepdims=True)
        t = unit + np.roll(unit, 1, axis=0)
    else:
        step = np.diff(points, axis=0)
        unit = step / np.linalg.norm(step, axis=1, keepdims=True)
        t = np.concatenate([unit[:1], unit[:-1] + unit[1:], unit[-1:]])
    out: Array = t / np.linalg.norm(t, axis=1, keepdims=True)
    return out


def _carried_normals(tangents: Array, up: Array) -> Array:
    """Normals carried along the path without twist, starting from `up`."""
    normal = up - tangents[0] * float(up @ tangents[0])
    if np.linalg.norm(normal) < 1e-3:
        other = np.array([0.0, 0.0, 1.0]) if abs(tangents[0][2]) < 0.9 else np.array([1.0, 0.0, 0.0])
        normal = other - tangents[0] * float(other @ tangents[0])
    normals = []
    for tangent in tangents:
        normal = normal - tangent * float(normal @ tangent)
        normal = normal / np.linalg.norm(normal)
        normals.append(normal)
    return np.stack(normals)
