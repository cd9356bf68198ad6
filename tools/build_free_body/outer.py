"""The closed outer surface: mouth and eye sockets capped, one half decimated, then mirrored.

Every vertex of the result is a fixed linear combination of MakeHuman base vertices (`Surface.combine`), so that each
phenotype and the skinning weights carry over exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pymeshlab  # type: ignore[import-not-found]  # GPL, build time only
from scipy import sparse
from scipy.spatial import cKDTree

from tools.build_free_body.makehuman import Floats, Human, Ints, bone_heads

# Edge loops of the base mesh, found once by ray casting (faces beyond them see less than 7 % of the sky).
EYE_LOOP = [
    1062,
    1088,
    1087,
    1086,
    1085,
    1084,
    1083,
    1081,
    1082,
    1099,
    1100,
    1101,
    1106,
    1102,
    1103,
    1104,
    1105,
    1098,
    5104,
    1097,
    1096,
    1095,
    1094,
    1093,
    1092,
    1091,
    5103,
    1090,
    1089,
    1063,
]
MOUTH_LOOP = [
    420,
    436,
    3731,
    434,
    431,
    432,
    3707,
    444,
    437,
    475,
    519,
    518,
    517,
    523,
    7264,
    7265,
    7266,
    7230,
    7197,
    7204,
    10375,
    7192,
    7191,
    7194,
    10399,
    7196,
    7180,
    7269,
    7270,
    7278,
    7263,
    11962,
    7262,
    7261,
    7268,
    7267,
    520,
    521,
    522,
    514,
    515,
    5360,
    516,
    533,
    525,
    524,
]
EYE_RINGS = (0.55,)  # rings of the eye cap between the lid and the cornea's apex, as fractions of the way in


@dataclass(frozen=True)
class DecimationConfig:
    """How many faces the half body keeps and where."""

    half_faces: int = 6900
    """Triangles of one half; the whole has twice as many."""
    hand: float = 1.5
    """Extra quality weight of the hand (0: as the rest); more keeps more vertices in the fingers."""
    head: float = 0.5
    """Extra quality weight of head and face."""
    foot: float = 1.0
    """Extra quality weight of foot and toes."""
    toe_slimming: float = 0.15
    """Share by which toes shrink towards their bones: MakeHuman's neighbouring toes touch for some body shapes."""
    limb: float = 4.0
    """Extra quality weight of the rings round shoulder, elbow, hip and knee, which bend."""


@dataclass(frozen=True)
class Surface:
    """A closed, mirror-symmetric triangle mesh on linear combinations of the base vertices."""

    combine: sparse.csr_matrix
    """(V, B) rows sum to 1."""
    faces: Ints
    """(F, 3) outward triangles."""
    mirror: Ints
    """(V,) index of the vertex mirrored in x."""


def inside_faces(quads: Ints, loop: list[int]) -> npt.NDArray[np.bool_]:
    """The smaller set of faces that the edge loop cuts off (the cavity)."""
    cut = {frozenset(e) for e in zip(loop, loop[1:] + loop[:1], strict=True)}
    edges: dict[frozenset[int], list[int]] = {}
    for i, quad in enumerate(quads.tolist()):
        for e in zip(quad, quad[1:] + quad[:1], strict=True):
            edges.setdefault(frozenset(e), []).append(i)
    pairs = np.array([f for e, f in edges.items() if e not in cut])
    graph = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(quads), len(quads)))
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    sizes = np.bincount(label)
    inside = np.zeros(len(quads), bool)
    for part in np.argsort(sizes)[:-1]:
        inside |= label == part
    return inside


def cap_polygon(points: Floats, loop: list[int]) -> list[list[int]]:
    """Triangles of least total area that close a loop (dynamic programme of Barequet & Sharir 1995)."""
    n = len(loop)
    cost = np.zeros((n, n))
    pick = np.zeros((n, n), int)
    x = points[loop]
    for span in range(2, n):
        for a in range(n - span):
            c = a + span
            between = np.arange(a + 1, c)
            area = np.linalg.norm(np.cross(x[between] - x[a], x[c] - x[a]), axis=1)
            total = cost[a, between] + cost[between, c] + area
            pick[a, c] = between[total.argmin()]
            cost[a, c] = total.min()
    out, stack = [], [(0, n - 1)]
    while stack:
        a, c = stack.pop()
        if c - a > 1:
            b = int(pick[a, c])
            out.append([loop[a], loop[b], loop[c]])
            stack += [(a, b), (b, c)]
    return out


class Builder:
    """Collects rows of linear combinations and triangles of the left half."""

    def __init__(self, human: Human) -> None:
        self.human = human
        self.rows: list[dict[int, float]] = [{i: 1.0} for i in range(len(human.verts))]
        self.tris: list[list[int]] = []

    def add(self, row: dict[int, float]) -> int:
        self.rows.append(row)
        return len(self.rows) - 1

    def matrix(self) -> sparse.csr_matrix:
        r, c, w = zip(*[(i, j, x) for i, row in enumerate(self.rows) for j, x in row.items()], strict=True)
        return sparse.csr_matrix((w, (r, c)), shape=(len(self.rows), len(self.human.verts)))


def mix(*parts: tuple[float, dict[int, float]]) -> dict[int, float]:
    """Weighted sum of combination rows."""
    out: dict[int, float] = {}
    for weight, row in parts:
        for j, x in row.items():
            out[j] = out.get(j, 0.0) + weight * x
    return out


def position(human: Human, row: dict[int, float]) -> Floats:
    return np.asarray(sum(w * human.verts[j] for j, w in row.items()))


def cap_eye(build: Builder) -> None:
    """Closes the left eye opening with a piece of the eyeball: rings pushed onto its sphere, and an apex."""
    human, ball = build.human, build.human.groups["helper-l-eye"]
    centre = {int(j): 1.0 / len(ball) for j in ball}
    c = position(human, centre)
    radius = float(np.linalg.norm(human.verts[ball] - c, axis=1).max())
    loop = [human.mirror[i] for i in EYE_LOOP] if human.verts[EYE_LOOP[0], 0] < 0 else EYE_LOOP
    middle = {int(j): 1.0 / len(loop) for j in loop}

    def on_ball(row: dict[int, float]) -> dict[int, float]:
        # Never inside the chord through the lid, so the cap cannot dent inwards.
        s = max(1.0, radius / float(np.linalg.norm(position(human, row) - c)))
        return mix((1 - s, centre), (s, row))

    rings = [[int(j) for j in loop]]
    for t in EYE_RINGS:
        rings.append([build.add(on_ball(mix((1 - t, {int(j): 1.0}), (t, middle)))) for j in loop])
    apex = build.add(on_ball(middle))
    n = len(loop)
    for outer, inner in pairwise(rings):
        for k in range(n):
            a, b, d, e = outer[k], outer[(k + 1) % n], inner[k], inner[(k + 1) % n]
            build.tris += [[a, b, d], [b, e, d]]
    build.tris += [[rings[-1][k], rings[-1][(k + 1) % n], apex] for k in range(n)]


def oriented(tris: Ints, fixed: int) -> Ints:
    """Flips the triangles after the first `fixed` until every shared edge runs both ways."""
    tris = tris.copy()
    done = list(range(fixed))
    todo = set(range(fixed, len(tris)))
    directed = {(t[i], t[(i + 1) % 3]) for t in tris[done].tolist() for i in range(3)}
    while todo:
        before = len(todo)
        for k in sorted(todo):
            t = tris[k].tolist()
            edges = [(t[i], t[(i + 1) % 3]) for i in range(3)]
            if any((b, a) in directed for a, b in edges):
                pass
            elif any(e in directed for e in edges):
                tris[k] = t[::-1]
                edges = [(b, a) for a, b in edges]
            else:
                continue
            directed |= set(edges)
            todo.discard(k)
        if len(todo) == before:
            raise RuntimeError("a cap does not touch the body")
    return tris


def half_surface(human: Human) -> tuple[sparse.csr_matrix, Ints]:
    """Combination rows and triangles of the capped left half (x >= 0), boundary on x = 0."""
    build = Builder(human)
    right_eye = [int(human.mirror[i]) for i in EYE_LOOP]
    drop = inside_faces(human.quads, EYE_LOOP) | inside_faces(human.quads, right_eye)
    drop |= inside_faces(human.quads, MOUTH_LOOP)
    left = (human.verts[human.quads][..., 0] >= -1e-7).all(1)
    quads = human.quads[left & ~drop]
    build.tris = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).tolist()
    fixed = len(build.tris)
    mouth = [i for i in MOUTH_LOOP if human.verts[i, 0] >= -1e-7]
    ends = [k for k, i in enumerate(mouth) if human.mirror[i] == i]
    mouth = mouth[ends[1] :] + mouth[: ends[0] + 1] if ends[1] - ends[0] > 1 and ends[0] > 0 else mouth
    build.tris += cap_polygon(human.verts, mouth)
    cap_eye(build)
    return build.matrix(), oriented(np.array(build.tris), fixed)


def slim_toes(human: Human, combine: sparse.csr_matrix, mean_verts: Floats, amount: float) -> sparse.csr_matrix:
    """Moves the skin of each left toe towards its bone axis by `amount`, fading in over the toe's first third."""
    heads = bone_heads(human)
    points, out = combine @ mean_verts, combine.tolil()
    for toe in range(1, 6):
        names = [f"toe{toe}-{k}.L" for k in range(1, 4) if f"toe{toe}-{k}.L" in human.bones]
        weight = np.zeros(len(human.verts))
        for name in names:
            np.add.at(weight, *human.weights[name])
        skin = combine @ weight
        stations = [heads[n] for n in names] + [human.groups[human.bones[names[-1]]["tail"]["cube_name"]]]
        line = np.array([mean_verts[s].mean(0) for s in stations])
        first, last = line[0], line[-1]
        along = (points - first) @ (last - first) / ((last - first) @ (last - first))
        for i in np.flatnonzero((skin > 0.3) & (along > 0)):
            s = amount * min(1.0, 3 * along[i]) * min(1.0, skin[i])
            t = min(along[i], 1.0) * (len(stations) - 1)
            k = min(int(t), len(stations) - 2)
            out[i] = out[i] * (1 - s)
            for station, share in ((stations[k], 1 - (t - k)), (stations[k + 1], t - k)):
                out[i, station] = out[i, station].toarray() + s * share / len(station)
    return out.tocsr()


def decimate(points: Floats, tris: Ints, quality: Floats, faces: int) -> tuple[Ints, Ints]:
    """Quadric edge collapse onto existing vertices: indices kept (n,) and triangles (m, 3) into them."""
    used = np.unique(tris)
    local = np.searchsorted(used, tris)
    mesh = pymeshlab.MeshSet(verbose=False)
    mesh.add_mesh(pymeshlab.Mesh(points[used], local, v_scalar_array=quality[used]))
    mesh.meshing_decimation_quadric_edge_collapse(
        targetfacenum=faces,
        preserveboundary=True,
        boundaryweight=1000.0,
        preservenormal=True,
        preservetopology=True,
        optimalplacement=False,
        qualityweight=True,
        qualitythr=0.5,
        planarquadric=True,
        planarweight=0.002,
    )
    result = mesh.current_mesh()
    away, nearest = cKDTree(points[used]).query(result.vertex_matrix())
    if away.max() > 1e-6:
        raise RuntimeError(f"decimation moved a vertex by {away.max():.1e} m")
    return used[nearest], np.asarray(result.face_matrix(), np.int64)


def mirrored(
    human: Human, combine: sparse.csr_matrix, keep: Ints, tris: Ints, middle: npt.NDArray[np.bool_]
) -> Surface:
    """Welds the half to its mirror image along the vertices of the middle plane."""
    half = combine[keep]
    n, side = len(keep), np.flatnonzero(~middle)
    twin = np.arange(n)
    twin[side] = n + np.arange(len(side))
    swap = sparse.csr_matrix((np.ones(len(human.mirror)), (np.arange(len(human.mirror)), human.mirror)))
    rows = sparse.vstack([half, half[side] @ swap]).tocsr()
    faces = np.concatenate([tris, twin[tris][:, ::-1]])
    return Surface(rows, faces, np.concatenate([twin, side]))


def build_surface(human: Human, mean_verts: Floats, quality: Floats, config: DecimationConfig) -> Surface:
    """The closed outer body.

    Args:
        mean_verts: (B, 3) mean base vertices, on which the decimation measures its error.
        quality: (B,) weight of each base vertex in the decimation.
    """
    combine, tris = half_surface(human)
    combine = slim_toes(human, combine, mean_verts, config.toe_slimming)
    points = combine @ mean_verts
    middle = np.abs(combine @ human.verts)[:, 0] < 1e-7
    keep, faces = decimate(points, tris, abs(combine) @ quality, config.half_faces)
    return mirrored(human, combine, keep, faces, middle[keep])
