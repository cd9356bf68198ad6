# mypy: ignore-errors
# (the bodies of kernels are Warp's language; ``soft_raster`` is typed around them)
"""Warp kernels of :mod:`hoirecon.fitting.soft_raster`; imported only when a silhouette is drawn.

One thread per (mesh, face) walks the pixels of the face's blurred box, so cost follows the covered area and no list of
nearest faces per pixel is kept. Warp reads annotations as types, hence no ``from __future__ import annotations`` here.
"""

from functools import cache
from typing import Any

import torch
import warp as wp


@cache
def kernels(dtype: torch.dtype) -> tuple[Any, Any]:
    """The forward and backward kernels for float32 or float64; compiled once, cached on disk by Warp."""
    real = {torch.float32: wp.float32, torch.float64: wp.float64}[dtype]
    vec2 = {torch.float32: wp.vec2, torch.float64: wp.vec2d}[dtype]
    vec3 = {torch.float32: wp.vec3, torch.float64: wp.vec3d}[dtype]

    @wp.func
    def edge(p: vec2, a: vec2, b: vec2) -> real:
        """Twice the signed area of (a, b, p)."""
        return (p[0] - a[0]) * (b[1] - a[1]) - (p[1] - a[1]) * (b[0] - a[0])

    @wp.func
    def along(p: vec2, a: vec2, b: vec2, tiny: real) -> real:
        """Where on the segment (0 at a, 1 at b) the point nearest to p lies; a segment without length is b."""
        ab = b - a
        length2 = wp.dot(ab, ab)
        t = real(1.0)
        if length2 > tiny:
            t = wp.clamp(wp.dot(p - a, ab) / length2, real(0.0), real(1.0))
        return t

    @wp.func
    def nearest(p: vec2, a: vec2, b: vec2, c: vec2, tiny: real) -> vec3:
        """(side, t, squared distance) of the triangle's outline: side 0 is ab, 1 is ac, 2 is bc."""
        t0 = along(p, a, b, tiny)
        t1 = along(p, a, c, tiny)
        t2 = along(p, b, c, tiny)
        e0 = p - a - t0 * (b - a)
        e1 = p - a - t1 * (c - a)
        e2 = p - b - t2 * (c - b)
        d0 = wp.dot(e0, e0)
        d1 = wp.dot(e1, e1)
        d2 = wp.dot(e2, e2)
        best = vec3(real(0.0), t0, d0)
        if d1 < d0 and d1 <= d2:
            best = vec3(real(1.0), t1, d1)
        elif d2 < d0 and d2 < d1:
            best = vec3(real(2.0), t2, d2)
        return best

    @wp.func
    def sign(p: vec2, a: vec2, b: vec2, c: vec2, area: real) -> real:
        """-1 inside the triangle, +1 outside, whatever its winding."""
        s = real(1.0)
        if area * edge(p, a, b) > real(0.0) and area * edge(p, b, c) > real(0.0) and area * edge(p, c, a) > real(0.0):
            s = real(-1.0)
        return s

    @wp.func
    def first(x: real, count: int) -> int:
        """First pixel of 0..count whose centre does not lie before x; clamped as a float, for x may be anything."""
        return int(wp.ceil(wp.clamp(x - real(0.5), real(0.0), real(count))))

    @wp.func
    def reached(a: vec2, b: vec2, c: vec2, area: real, blur: real, tiny: real, height: int, width: int) -> wp.vec4i:
        """Rows from, to and columns from, to of the pixels that a face may touch; none if it has no area."""
        box = wp.vec4i(0, 0, 0, 0)
        if wp.abs(area) > tiny and wp.isfinite(area):
            pad = wp.sqrt(blur)
            box[0] = first(wp.min(wp.min(a[1], b[1]), c[1]) - pad, height)
            box[1] = first(wp.max(wp.max(a[1], b[1]), c[1]) + pad, height)
            box[2] = first(wp.min(wp.min(a[0], b[0]), c[0]) - pad, width)
            box[3] = first(wp.max(wp.max(a[0], b[0]), c[0]) + pad, width)
        return box

    @wp.func
    def touched(d: real, s: real, blur: real) -> bool:
        """Whether a pixel at squared distance d of the outline, s inside or outside, is drawn by the face."""
        return s < real(0.0) or d < blur

    # A pixel whose sum exceeds 40 is full: exp(-40) is under float64's resolution of 1.
    @wp.kernel(module="unique", enable_backward=False)
    def forward(
        xy: wp.array2d(dtype=vec2),
        faces: wp.array2d(dtype=wp.int32),
        sigma: real,
        blur: real,
        tiny: real,
        total: wp.array3d(dtype=real),
    ) -> None:
        n, f = wp.tid()
        a = xy[n, faces[f, 0]]
        b = xy[n, faces[f, 1]]
        c = xy[n, faces[f, 2]]
        area = edge(c, a, b)
        box = reached(a, b, c, area, blur, tiny, total.shape[1], total.shape[2])
        for i in range(box[0], box[1]):
            for j in range(box[2], box[3]):
                if total[n, i, j] < real(40.0):
                    p = vec2(real(j) + real(0.5), real(i) + real(0.5))
                    d = nearest(p, a, b, c, tiny)[2]
                    s = sign(p, a, b, c, area)
                    if touched(d, s, blur):
                        x = -s * d / sigma
                        wp.atomic_add(total, n, i, j, wp.max(x, real(0.0)) + wp.log(real(1.0) + wp.exp(-wp.abs(x))))

    @wp.kernel(module="unique", enable_backward=False)
    def backward(
        xy: wp.array2d(dtype=vec2),
        faces: wp.array2d(dtype=wp.int32),
        sigma: real,
        blur: real,
        tiny: real,
        total: wp.array3d(dtype=real),
        grad_total: wp.array3d(dtype=real),
        grad_xy: wp.array2d(dtype=vec2),
    ) -> None:
        n, f = wp.tid()
        a = xy[n, faces[f, 0]]
        b = xy[n, faces[f, 1]]
        c = xy[n, faces[f, 2]]
        area = edge(c, a, b)
        box = reached(a, b, c, area, blur, tiny, total.shape[1], total.shape[2])
        ga = vec2(real(0.0), real(0.0))
        gb = vec2(real(0.0), real(0.0))
        gc = vec2(real(0.0), real(0.0))
        for i in range(box[0], box[1]):
            for j in range(box[2], box[3]):
                g = grad_total[n, i, j]
                if total[n, i, j] < real(40.0) and g != real(0.0):
                    p = vec2(real(j) + real(0.5), real(i) + real(0.5))
                    near = nearest(p, a, b, c, tiny)
                    s = sign(p, a, b, c, area)
                    if touched(near[2], s, blur):
                        # d total / d(signed squared distance), times its derivative by the nearest outline point.
                        w = s * g * real(2.0) / sigma / (real(1.0) + wp.exp(wp.min(s * near[2] / sigma, real(80.0))))
                        t = near[1]
                        if near[0] < real(0.5):
                            e = w * (p - a - t * (b - a))
                            ga += (real(1.0) - t) * e
                            gb += t * e
                        elif near[0] < real(1.5):
                            e = w * (p - a - t * (c - a))
                            ga += (real(1.0) - t) * e
                            gc += t * e
                        else:
                            e = w * (p - b - t * (c - b))
                            gb += (real(1.0) - t) * e
                            gc += t * e
        wp.atomic_add(grad_xy, n, faces[f, 0], ga)
        wp.atomic_add(grad_xy, n, faces[f, 1], gb)
        wp.atomic_add(grad_xy, n, faces[f, 2], gc)

    return forward, backward
