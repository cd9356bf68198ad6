# ruff: noqa: UP018, RUF046, E741
# mypy: ignore-errors
# (the bodies of kernels are Warp's language; ``fused`` is typed around them)
"""Warp kernels of :mod:`hoirecon.fitting.fused`; imported only where Warp is installed.

One thread walks one pose from beginning to end, which is how a CPU likes it: nothing but the pose's normal equations
(cost, gradient of 7, Hessian of 7 x 7, in one row of 57) leaves the cache. Every kernel restates a torch function that
stays the reference; tests hold the two together. An index is always clamped as a float that may be NaN or infinite,
for a diverged pose may be anything. Warp reads annotations as types, hence no ``from __future__ import annotations``.
"""

import warp as wp

wp.set_module_options({"enable_backward": False})

vec7 = wp.types.vector(7, wp.float32)
mat77 = wp.types.matrix((7, 7), wp.float32)

NEAR = wp.constant(0.05)
NOTHING_BEFORE = wp.constant(1.0e6)
FAR = wp.constant(1.0e4)
FLOOR = wp.constant(0.1)


# ------------------------------------------------------------------------------------------------------------- common
@wp.func
def within(x: float, low: float, high: float) -> float:
    """x clamped; low if it is not a number."""
    r = low
    if x >= low:
        r = wp.min(x, high)
    return r


@wp.func
def project(p: wp.vec3, camera: wp.vec4) -> wp.vec2:
    """Cells of a point; camera is (fx, fy, cx, cy)."""
    inverse = 1.0 / wp.max(p[2], NEAR)
    return wp.vec2(camera[0] * p[0] * inverse + camera[2], camera[1] * p[1] * inverse + camera[3])


@wp.func
def in_front(depth: float, front: float, softness: float) -> float:
    return 1.0 / (1.0 + wp.exp((depth - front) / softness))


@wp.func
def pose_row(g: wp.vec3, a: wp.vec3) -> vec7:
    """Derivative by a step of a residual whose derivative by a point at arm a is g."""
    turn = wp.cross(a, g)
    return vec7(turn[0], turn[1], turn[2], g[0], g[1], g[2], wp.dot(g, a))


@wp.func
def shrink_factor(squared: float, robust: float) -> float:
    """k^2 / (r^2 + k^2): its product with r^2 is the robust cost, its square the weight; 1 without robust scale."""
    f = float(1.0)
    if robust > 0.0:
        f = robust * robust / (squared + robust * robust)
    return f


@wp.func
def put(out: wp.array2d(dtype=float), b: int, scale: float, cost: float, g: vec7, H: mat77):
    """Write a row: cost, gradient, Hessian."""
    out[b, 0] = scale * cost
    for i in range(7):
        out[b, 1 + i] = scale * g[i]
        for j in range(7):
            out[b, 8 + 7 * i + j] = scale * H[i, j]


# ------------------------------------------------------------------------------------------------------------ outline
@wp.kernel
def outline(
    begin: int,
    sR: wp.array(dtype=wp.mat33),
    t: wp.array(dtype=wp.vec3),
    verts: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    edges: wp.array(dtype=wp.vec2i),
    sides: wp.array2d(dtype=int),
    camera: wp.vec4,
    ratio: float,
    cells: int,
    xy: wp.array2d(dtype=wp.vec2),
    facing: wp.array2d(dtype=int),
    layers: wp.array3d(dtype=int),
    chain: wp.array2d(dtype=wp.vec2i),
    points: wp.array2d(dtype=wp.vec3),
    seen: wp.array2d(dtype=wp.vec2),
    outer: wp.array2d(dtype=wp.uint8),
    along: wp.array2d(dtype=wp.vec2),
):
    """Samples of the outline: silhouette edges, coverage by their winding, even positions, outer side empty or not.

    ``facing`` holds how each face turns on the screen at F + 1 + f and the opposite at F - 1 - f, and 0 in the middle;
    ``sides`` says for each edge where to look, once for each face at it.
    """
    slot = wp.tid()
    b = begin + slot
    R = sR[b]
    shift = t[b]
    limit = float(cells)
    left = limit
    right = float(0.0)
    top = limit
    bottom = float(0.0)
    for v in range(verts.shape[0]):
        p = project(R * verts[v] + shift, camera) * ratio
        xy[slot, v] = p
        left = wp.min(left, p[0])
        right = wp.max(right, p[0])
        top = wp.min(top, p[1])
        bottom = wp.max(bottom, p[1])
    # Nothing is drawn outside the box of the vertices: the raster is used there only.
    j0 = int(within(wp.floor(left), 0.0, limit))
    j1 = int(within(wp.ceil(right) + 1.0, 0.0, limit))
    i0 = int(within(wp.floor(top), 0.0, limit))
    i1 = int(within(wp.ceil(bottom) + 1.0, 0.0, limit))
    middle = faces.shape[0]
    facing[slot, middle] = 0
    for f in range(middle):
        face = faces[f]
        p = xy[slot, face[0]]
        d1 = xy[slot, face[1]] - p
        d2 = xy[slot, face[2]] - p
        turn = d1[0] * d2[1] - d1[1] * d2[0]
        side = wp.where(turn > 0.0, 1, 0) - wp.where(turn < 0.0, 1, 0)
        facing[slot, middle + 1 + f] = side
        facing[slot, middle - 1 - f] = -side
    for i in range(i0, i1):
        for j in range(j0, j1 + 1):
            layers[slot, i, j] = 0
    count = int(0)
    total = wp.float64(0.0)
    for e in range(edges.shape[0]):
        m = facing[slot, sides[e, 0]]
        for k in range(1, sides.shape[1]):
            m += facing[slot, sides[e, k]]
        if m != 0:
            chain[slot, count] = wp.vec2i(e, m)
            count += 1
            p = xy[slot, edges[e][0]]
            q = xy[slot, edges[e][1]]
            total += wp.float64(wp.length(q - p))
            first = int(within(wp.ceil(wp.min(p[1], q[1]) - 0.5), float(i0), float(i1)))
            last = int(within(wp.ceil(wp.max(p[1], q[1]) - 0.5), float(i0), float(i1)))
            slope = (q[0] - p[0]) / (q[1] - p[1])
            value = m
            if q[1] < p[1]:
                value = -m
            for row in range(first, last):
                x = wp.ceil(p[0] + (float(row) + 0.5 - p[1]) * slope - 0.5)
                column = int(within(x, float(j0), float(j1)))
                layers[slot, row, column] = layers[slot, row, column] + value
    for i in range(i0, i1):
        wound = int(0)
        for j in range(j0, j1):
            wound += layers[slot, i, j]
            layers[slot, i, j] = wound
    samples = points.shape[1]
    at = int(0)
    before = wp.float64(0.0)
    for n in range(samples):
        if count == 0 or not (total > wp.float64(0.0)):
            points[b, n] = R * verts[0] + shift
            seen[b, n] = project(points[b, n], camera)
            outer[b, n] = wp.uint8(0)
            along[b, n] = wp.vec2(0.0, 0.0)
            if not wp.isfinite(points[b, n]):  # a lost pose must not pass for one that shows nothing
                outer[b, n] = wp.uint8(1)
        else:
            wanted = (wp.float64(n) + wp.float64(0.5)) / wp.float64(samples) * total
            link = chain[slot, at]
            p = xy[slot, edges[link[0]][0]]
            q = xy[slot, edges[link[0]][1]]
            length = wp.length(q - p)
            while at < count - 1 and before + wp.float64(length) < wanted:
                before += wp.float64(length)
                at += 1
                link = chain[slot, at]
                p = xy[slot, edges[link[0]][0]]
                q = xy[slot, edges[link[0]][1]]
                length = wp.length(q - p)
            u = within(float((wanted - before) / wp.float64(wp.max(length, 1.0e-12))), 0.0, 1.0)
            a = R * verts[edges[link[0]][0]] + shift
            c = R * verts[edges[link[0]][1]] + shift
            points[b, n] = a + u * (c - a)
            seen[b, n] = project(points[b, n], camera)
            along[b, n] = (q - p) * (float(total) / float(samples) / (ratio * wp.max(length, 1.0e-12)))
            away = 0.9 / wp.max(length, 1.0e-9)
            if link[1] < 0:
                away = -away
            x = wp.floor(p[0] + u * (q[0] - p[0]) + away * (q[1] - p[1]))
            y = wp.floor(p[1] + u * (q[1] - p[1]) - away * (q[0] - p[0]))
            empty = wp.uint8(1)
            in_box = x >= float(j0) and y >= float(i0) and x < float(j1) and y < float(i1)
            if in_box and layers[slot, int(y), int(x)] != 0:
                empty = wp.uint8(0)
            outer[b, n] = empty


# ------------------------------------------------------------------------------------------------------ contour terms
@wp.func
def flat_cell(at: wp.vec2, n: int) -> int:
    """Index of the cell at a point; the border's beyond it."""
    limit = float(n - 1)
    return int(within(wp.floor(at[1]), 0.0, limit)) * n + int(within(wp.floor(at[0]), 0.0, limit))


@wp.func
def bilinear(fields: wp.array3d(dtype=float), which: int, u: float, v: float) -> wp.vec3:
    """Value and gradient of one field at node coordinates; the distance outside is added."""
    n = fields.shape[1]
    limit = float(n) - 1.001
    iu = within(u, 0.0, limit)
    iv = within(v, 0.0, limit)
    i = int(iu)
    j = int(iv)
    a = iu - float(i)
    b = iv - float(j)
    f00 = fields[which, j, i]
    f01 = fields[which, j, i + 1]
    f10 = fields[which, j + 1, i]
    f11 = fields[which, j + 1, i + 1]
    top = f00 + a * (f01 - f00)
    bottom = f10 + a * (f11 - f10)
    ex = u - iu
    ey = v - iv
    beyond = wp.sqrt(ex * ex + ey * ey)
    gx = ex / wp.max(beyond, 1.0e-9)
    gy = ey / wp.max(beyond, 1.0e-9)
    if ex == 0.0:
        gx += (1.0 - b) * (f01 - f00) + b * (f11 - f10)
    if ey == 0.0:
        gy += bottom - top
    return wp.vec3(top + b * (bottom - top) + beyond, gx, gy)


@wp.func
def toward(p: wp.vec3, gx: float, gy: float, camera: wp.vec4) -> wp.vec3:
    """Derivative by a point of something with derivative (gx, gy) by its cell."""
    inverse = 1.0 / wp.max(p[2], NEAR)
    ux = camera[0] * inverse * gx
    vy = camera[1] * inverse * gy
    gz = float(0.0)
    if p[2] > NEAR:
        gz = -(ux * p[0] + vy * p[1]) * inverse
    return wp.vec3(ux, vy, gz)


@wp.kernel
def outline_on_mask(
    t: wp.array(dtype=wp.vec3),
    points: wp.array2d(dtype=wp.vec3),
    seen: wp.array2d(dtype=wp.vec2),
    outer: wp.array2d(dtype=wp.uint8),
    kind: wp.array(dtype=wp.uint8),
    fields: wp.array3d(dtype=float),
    front: wp.array(dtype=float),
    camera: wp.vec4,
    sigma: float,
    softness: float,
    robust: float,
    weight: float,
    out: wp.array2d(dtype=float),
):
    b = wp.tid()
    n = fields.shape[1]
    cost = float(0.0)
    counted = float(0.0)
    mass = float(0.0)
    g = vec7()
    H = mat77()
    for i in range(points.shape[1]):
        if outer[b, i] != wp.uint8(0):
            p = points[b, i]
            at = seen[b, i]
            cell = flat_cell(at, n)
            which = int(1)
            w = float(1.0)
            if kind[cell] == wp.uint8(0):
                which = 1
            else:
                which = 0
                if kind[cell] == wp.uint8(2):
                    w = in_front(p[2], front[cell], softness)
            found = bilinear(fields, which, at[0] - 0.5, at[1] - 0.5)
            r = found[0] / sigma
            f = shrink_factor(r * r, robust)
            counted += 1.0
            mass += w
            cost += w * r * r * f
            row = pose_row(toward(p, found[1] / sigma, found[2] / sigma, camera), p - t[b])
            scaled = w * f * f * row
            g += r * scaled
            H += wp.outer(scaled, row)
    put(out, b, weight / wp.max(mass + FLOOR * counted, 1.0e-9), cost, g, H)


@wp.kernel
def mask_on_outline(
    t: wp.array(dtype=wp.vec3),
    points: wp.array2d(dtype=wp.vec3),
    seen: wp.array2d(dtype=wp.vec2),
    outer: wp.array2d(dtype=wp.uint8),
    along: wp.array2d(dtype=wp.vec2),
    contour: wp.array(dtype=wp.vec2),
    front: wp.array(dtype=float),
    camera: wp.vec4,
    sigma: float,
    softness: float,
    robust: float,
    weight: float,
    kept: wp.array2d(dtype=wp.vec2),
    index: wp.array2d(dtype=int),
    out: wp.array2d(dtype=float),
):
    b = wp.tid()
    count = int(0)
    for i in range(points.shape[1]):
        if outer[b, i] != wp.uint8(0):
            kept[b, count] = seen[b, i]
            index[b, count] = i
            count += 1
    cost = float(0.0)
    mass = float(0.0)
    g = vec7()
    H = mat77()
    for m in range(contour.shape[0]):
        c = contour[m]
        if count == 0:
            r2 = 2.0 * FAR * FAR
            mass += 1.0
            cost += r2 * shrink_factor(r2, robust)
        else:
            best = float(1.0e30)
            near = int(0)
            for i in range(count):
                e = kept[b, i] - c
                d = e[0] * e[0] + e[1] * e[1]
                if d < best:
                    best = d
                    near = i
            p = points[b, index[b, near]]
            e = (kept[b, near] - c) / sigma
            way = along[b, index[b, near]]
            reach = wp.length(way)
            way = way / wp.max(reach, 1.0e-9)
            slid = wp.dot(e, way)
            e = e - way * within(slid, -reach / sigma, reach / sigma)
            free = float(0.0)  # as long as the point lies beside the sample's piece, sliding along it costs nothing
            if wp.abs(slid) < reach / sigma:
                free = 1.0
            w = float(1.0)
            if front[m] < NOTHING_BEFORE:
                w = in_front(p[2], front[m], softness)
            r2 = wp.dot(e, e)
            f = shrink_factor(r2, robust)
            mass += w
            cost += w * r2 * f
            arm = p - t[b]
            cross = -free * way[0] * way[1] / sigma
            row = pose_row(toward(p, (1.0 - free * way[0] * way[0]) / sigma, cross, camera), arm)
            scaled = w * f * f * row
            g += e[0] * scaled
            H += wp.outer(scaled, row)
            row = pose_row(toward(p, cross, (1.0 - free * way[1] * way[1]) / sigma, camera), arm)
            scaled = w * f * f * row
            g += e[1] * scaled
            H += wp.outer(scaled, row)
    put(out, b, weight / wp.max(mass + FLOOR * float(contour.shape[0]), 1.0e-9), cost, g, H)


@wp.kernel
def depth_order(
    t: wp.array(dtype=wp.vec3),
    points: wp.array2d(dtype=wp.vec3),
    seen: wp.array2d(dtype=wp.vec2),
    outer: wp.array2d(dtype=wp.uint8),
    backdrop: wp.array(dtype=float),
    side: int,
    sigma: float,
    tolerance: float,
    robust: float,
    weight: float,
    out: wp.array2d(dtype=float),
):
    b = wp.tid()
    cost = float(0.0)
    counted = float(0.0)
    says = float(0.0)
    g = vec7()
    H = mat77()
    for i in range(points.shape[1]):
        if outer[b, i] != wp.uint8(0):
            counted += 1.0
            body = backdrop[flat_cell(seen[b, i], side)]
            if body < NOTHING_BEFORE:
                says += 1.0
                behind = points[b, i][2] - body - tolerance
                if not (behind <= 0.0):
                    r = behind / sigma
                    f = shrink_factor(r * r, robust)
                    cost += r * r * f
                    row = pose_row(wp.vec3(0.0, 0.0, 1.0 / sigma), points[b, i] - t[b])
                    scaled = f * f * row
                    g += r * scaled
                    H += wp.outer(scaled, row)
    put(out, b, weight / wp.max(says + FLOOR * counted, 1.0e-9), cost, g, H)


# ------------------------------------------------------------------------------------------------------------ contact
@wp.kernel
def contact(
    sR: wp.array(dtype=wp.mat33),
    t: wp.array(dtype=wp.vec3),
    body: wp.array(dtype=wp.vec3),
    body_weight: wp.array(dtype=float),
    obj: wp.array(dtype=wp.vec3),
    obj_weight: wp.array(dtype=float),
    sigma: float,
    dead_zone: float,
    robust: float,
    weight: float,
    placed: wp.array2d(dtype=wp.vec3),
    partner: wp.array2d(dtype=int),
    closest: wp.array2d(dtype=float),
    out: wp.array2d(dtype=float),
):
    b = wp.tid()
    O = obj.shape[0]
    N = body.shape[0]
    for i in range(N):
        closest[b, i] = float(1.0e30)
        partner[b, O + i] = 0
    for o in range(O):
        x = sR[b] * obj[o] + t[b]
        placed[b, o] = x
        best = float(1.0e30)
        near = int(0)
        for i in range(N):
            e = x - body[i]
            d = wp.dot(e, e)
            if d < best:
                best = d
                near = i
            if d < closest[b, i]:
                closest[b, i] = d
                partner[b, O + i] = o
        partner[b, o] = near
    cost = float(0.0)
    g = vec7()
    H = mat77()
    for k in range(O + N):
        o = k
        i = partner[b, k]
        w = float(0.0)
        if k < O:
            w = 0.5 * obj_weight[k]
        else:
            o = partner[b, k]
            i = k - O
            w = 0.5 * body_weight[i]
        e = placed[b, o] - body[i]
        length = wp.max(wp.length(e), 1.0e-9)
        if not (length <= dead_zone):
            arm = placed[b, o] - t[b]
            share = dead_zone / length
            r = e * ((1.0 - share) / sigma)
            r2 = wp.dot(r, r)
            f = shrink_factor(r2, robust)
            cost += w * r2 * f
            along = (share / (length * length)) * wp.outer(e, e)
            slope = ((1.0 - share) * wp.identity(n=3, dtype=float) + along) / sigma
            for c in range(3):
                row = pose_row(slope[c], arm)
                scaled = w * f * f * row
                g += r[c] * scaled
                H += wp.outer(scaled, row)
    put(out, b, weight, cost, g, H)


# -------------------------------------------------------------------------------------------------------- penetration
@wp.func
def grid_at(values: wp.array3d(dtype=float), node: wp.vec3, spacing: wp.vec3) -> wp.vec4:
    """Trilinear value and gradient at node coordinates inside the grid."""
    i = wp.min(int(node[0]), values.shape[0] - 2)
    j = wp.min(int(node[1]), values.shape[1] - 2)
    k = wp.min(int(node[2]), values.shape[2] - 2)
    x = node[0] - float(i)
    y = node[1] - float(j)
    z = node[2] - float(k)
    g00 = values[i, j, k + 1] - values[i, j, k]
    g01 = values[i, j + 1, k + 1] - values[i, j + 1, k]
    g10 = values[i + 1, j, k + 1] - values[i + 1, j, k]
    g11 = values[i + 1, j + 1, k + 1] - values[i + 1, j + 1, k]
    v00 = values[i, j, k] + z * g00
    v01 = values[i, j + 1, k] + z * g01
    v10 = values[i + 1, j, k] + z * g10
    v11 = values[i + 1, j + 1, k] + z * g11
    v0 = v00 + y * (v01 - v00)
    v1 = v10 + y * (v11 - v10)
    gy = (v01 - v00) + x * ((v11 - v10) - (v01 - v00))
    gz0 = g00 + y * (g01 - g00)
    gz1 = g10 + y * (g11 - g10)
    return wp.vec4(v0 + x * (v1 - v0), (v1 - v0) / spacing[0], gy / spacing[1], (gz0 + x * (gz1 - gz0)) / spacing[2])


@wp.func
def inside_box(node: wp.vec3, values: wp.array3d(dtype=float)) -> bool:
    return (
        node[0] >= 0.0
        and node[1] >= 0.0
        and node[2] >= 0.0
        and node[0] < float(values.shape[0] - 1)
        and node[1] < float(values.shape[1] - 1)
        and node[2] < float(values.shape[2] - 1)
    )


@wp.kernel
def penetration(
    of_body: bool,
    R: wp.array(dtype=wp.mat33),
    log_s: wp.array(dtype=float),
    t: wp.array(dtype=wp.vec3),
    points: wp.array(dtype=wp.vec3),
    values: wp.array3d(dtype=float),
    low: wp.vec3,
    spacing: wp.vec3,
    sigma: float,
    tolerance: float,
    robust: float,
    weight: float,
    out: wp.array2d(dtype=float),
):
    """Points of the body in the object's grid (``of_body``), or points of the object in the body's grid."""
    b = wp.tid()
    s = wp.exp(log_s[b])
    turn = s * R[b]
    scale = float(1.0)
    if of_body:
        turn = wp.transpose(R[b]) * (1.0 / s)
        scale = s
    cost = float(0.0)
    g = vec7()
    H = mat77()
    for i in range(points.shape[0]):
        arm = points[i] - t[b]
        where = turn * arm
        if not of_body:
            arm = turn * points[i]
            where = arm + t[b]
        node = wp.cw_div(where - low, spacing)
        if inside_box(node, values):
            found = grid_at(values, node, spacing)
            distance = found[0] * scale
            if distance < -tolerance:
                slope = wp.vec3(found[1], found[2], found[3])
                row = vec7()
                if of_body:
                    row = pose_row(R[b] * slope / sigma, arm)
                    row[6] = row[6] - distance / sigma
                else:
                    row = pose_row(-slope / sigma, arm)
                r = -(distance + tolerance) / sigma
                f = shrink_factor(r * r, robust)
                cost += r * r * f
                scaled = f * f * row
                g += r * scaled
                H += wp.outer(scaled, row)
    put(out, b, weight, cost, g, H)


# ----------------------------------------------------------------------------------------------------------- z-buffer
@wp.kernel
def zbuffer(
    points: wp.array2d(dtype=wp.vec3),
    faces: wp.array2d(dtype=int),
    near: float,
    depth: wp.array3d(dtype=float),
):
    """Nearest depth at cell centres; depth comes in as infinity."""
    n = wp.tid()
    height = depth.shape[1]
    width = depth.shape[2]
    for f in range(faces.shape[0]):
        a = points[n, faces[f, 0]]
        b = points[n, faces[f, 1]]
        c = points[n, faces[f, 2]]
        finite = wp.isfinite(a) and wp.isfinite(b) and wp.isfinite(c)
        if finite and wp.min(wp.min(a[2], b[2]), c[2]) > near:
            area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
            j0 = int(within(wp.ceil(wp.min(wp.min(a[0], b[0]), c[0]) - 0.5), 0.0, float(width)))
            i0 = int(within(wp.ceil(wp.min(wp.min(a[1], b[1]), c[1]) - 0.5), 0.0, float(height)))
            j1 = int(within(wp.floor(wp.max(wp.max(a[0], b[0]), c[0]) - 0.5), -1.0, float(width - 1)))
            i1 = int(within(wp.floor(wp.max(wp.max(a[1], b[1]), c[1]) - 0.5), -1.0, float(height - 1)))
            if wp.abs(area) > 1.0e-12:
                for i in range(i0, i1 + 1):
                    y = float(i) + 0.5
                    for j in range(j0, j1 + 1):
                        x = float(j) + 0.5
                        wa = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                        wb = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                        wc = 1.0 - wa - wb
                        if wa >= -1.0e-6 and wb >= -1.0e-6 and wc >= -1.0e-6:
                            z = 1.0 / (wa / a[2] + wb / b[2] + wc / c[2])
                            if z < depth[n, i, j]:
                                depth[n, i, j] = z
