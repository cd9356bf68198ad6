"""Where a body's vertices lie between its landmarks: what the local head reads the evidence by, fitted once on poses.

Every vertex is a fixed combination of the landmarks and of a few points beside them (:func:`~hoirecon.contact.modeling.
local_head.body_points`), the same for all three axes, so that a turned body has turned vertices. The fit is a ridge
regression whose penalty is what errors of the landmarks would do to it: noise of that size laid on the landmarks of
infinitely many copies of the poses gives the same answer.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.contact.modeling.local_head import LocalHead, body_points
from hoirecon.contact.training.front_end import MIRRORED
from hoirecon.contact.training.lessons import mirror_verts
from hoirecon.contact.training.quick_scenes import landmarks_of, reach
from hoirecon.data.body.skeleton import joint_index
from hoirecon.data.closedworld.posing import BASES, FINGERS, Figure, Reach, body_model
from hoirecon.mesh import Mesh

POSES, SEED = 160, 0
"""Poses that the fit is of (their mirror images are added), and their seed."""
NOISE_M, NORMAL_NOISE = 0.03, 0.02
"""Errors of landmarks that the combinations are made for, metres, and a further penalty on those of the normals."""
FREE_ARM = 0.7
"""Share of arms that are raised somewhere; the others hang."""


def learn_places(head: LocalHead) -> None:
    """Write the combinations into a head's buffers."""
    place, normal = fitted_places()
    with torch.no_grad():
        head.place.copy_(place)
        head.normal.copy_(normal)


@cache
def fitted_places() -> tuple[Tensor, Tensor]:
    """(V, P) each, combinations of :func:`body_points`: vertices, metres from the hips' middle, and normals."""
    verts, landmarks = _with_mirrors(*posed_bodies(POSES, SEED))
    hips = landmarks[:, [23, 24]].mean(1, keepdims=True)
    points = body_points(torch.as_tensor(landmarks - hips)).numpy()
    told, penalty = _rows(points), 3 * len(points) * NOISE_M**2
    gram, eye = told.T @ told, np.eye(points.shape[1])
    place = np.linalg.solve(gram + penalty * eye, told.T @ _rows(verts - hips)).T
    more = penalty + 3 * len(points) * NORMAL_NOISE**2
    normal = np.linalg.solve(gram + more * eye, told.T @ _rows(vertex_normals(verts))).T
    return torch.as_tensor(place, dtype=torch.float32), torch.as_tensor(normal, dtype=torch.float32)


def posed_bodies(count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """(n, V, 3) vertices and (n, 33, 3) landmarks of people in the closed world's postures, arms anywhere."""
    rng, bases, verts = np.random.default_rng(seed), tuple(BASES), []
    for k in range(count):
        figure = Figure.drawn(bases[k % len(bases)], rng)
        for name in ("spine1", "spine2", "neck", "head"):
            figure.rotvecs[joint_index(name)] += 0.06 * rng.standard_normal(3)
        figure.moved()
        for side, g in (("left", 1.0), ("right", -1.0)):
            if rng.random() < FREE_ARM:
                _raise(figure, side, g, rng)
        verts.append(figure.verts)
    return np.stack(verts), np.stack([landmarks_of(v) for v in verts])


def _raise(figure: Figure, side: str, g: float, rng: np.random.Generator) -> None:
    """A hand comes to somewhere before or beside the chest, the fingers bent by chance."""
    chest, facing = figure.frame(joint_index("spine3"))[1], rng.standard_normal(3)
    point = chest + np.array([g * rng.uniform(-0.1, 0.6), rng.uniform(-0.7, 0.5), rng.uniform(0.0, 0.45)])
    reach(figure, side, Reach(point, facing / np.linalg.norm(facing)))
    figure.curl(side, dict.fromkeys(FINGERS, float(rng.uniform(0.0, 1.3))))


def _with_mirrors(verts: FloatArray, landmarks: FloatArray) -> tuple[FloatArray, FloatArray]:
    flip = np.array([-1.0, 1.0, 1.0])
    seen = verts[:, mirror_verts()] * flip, landmarks[:, MIRRORED] * flip
    return np.concatenate([verts, seen[0]]), np.concatenate([landmarks, seen[1]])


def vertex_normals(verts: FloatArray) -> FloatArray:
    """(n, V, 3) unit normals of bodies (n, V, 3), outwards."""
    return np.stack([Mesh(one, body_model().faces).vert_normals for one in verts])


def _rows(points: FloatArray) -> FloatArray:
    """(n, P, 3) -> (3 n, P): each axis is an example of its own."""
    return points.transpose(0, 2, 1).reshape(-1, points.shape[1])
