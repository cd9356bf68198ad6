"""Joints from the rest surface, and landmarks that keep to their joints in every pose."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.optimize import nnls

from tools.build_free_body.makehuman import Floats, Ints
from tools.build_free_body.rig import JOINTS, MIRROR_JOINTS, PARENTS


def shape_modes(verts: Floats, joints: Floats, count: int) -> Floats:
    """Mean and main modes of surface and joints together.

    Returns:
        (count + 1, V + 52, 3): the mean, then `count` modes of one standard deviation each.
    """
    both = np.concatenate([verts, joints], axis=1)
    mean = both.mean(0)
    _, s, vt = np.linalg.svd((both - mean).reshape(len(both), -1), full_matrices=False)
    modes = (vt[:count] * (s[:count, None] / np.sqrt(len(both) - 1))).reshape(count, *mean.shape)
    return np.concatenate([mean[None], modes])


def surface_joints(verts: Floats, joints: Floats, weights: Floats, mirror: Ints, near: int = 300) -> Floats:
    """(52, V) rows that carry the mean joints (52, 3) by the mean surface (V, 3) all round them, in every pose.

    MakeHuman's joint cubes drift against the skin from one body to the next (the upper spine joint moves 4 cm forward
    with the breasts, the knee 3 cm along the leg with the height), so only their mean place is used. The rows make the
    moments of `joint_landmark` vanish, hence they hold in any pose, and spread over the vertices round the joint.
    """
    rows = np.zeros((52, len(verts)))
    for j, name in enumerate(JOINTS):
        if name.startswith("right"):
            continue
        bones = [j] if PARENTS[j] < 0 else [j, PARENTS[j]]
        own, offset = weights[:, bones].sum(1), verts - joints[j]
        gap = np.linalg.norm(offset, axis=1)
        pick = np.flatnonzero(own > 0.6)
        pick = pick[np.argsort(gap[pick], kind="stable")[:near]]
        moments = [(offset[pick] * weights[pick, b][:, None]).T for b in bones]
        stray = 0.1 * (1 - own[pick])[None]
        matrix = np.vstack([*moments, offset[pick].T, stray, 0.1 * np.diag(gap[pick]), np.ones((1, len(pick)))])
        goal = np.zeros(len(matrix))
        goal[-1] = 1.0
        rows[j, pick] = nnls(matrix, goal, maxiter=20000)[0]
    return symmetric_rows(rows, mirror)


def symmetric_rows(rows: Floats, mirror: Ints) -> Floats:
    """Right rows become mirror images of left ones, middle rows symmetric; all sum to 1."""
    for j, name in enumerate(JOINTS):
        if name.startswith("right"):
            rows[j] = rows[MIRROR_JOINTS[j]][mirror]
        elif not name.startswith("left"):
            rows[j] = 0.5 * (rows[j] + rows[j][mirror])
    return np.asarray(rows / rows.sum(1, keepdims=True))


def joint_regressor(verts: Floats, joints: Floats, mirror: Ints, near: int = 2000, modes: int = 40) -> Floats:
    """(52, V) non-negative rows that give the rest joints of N shapes (N, V, 3), (N, 52, 3).

    Each row matches the mean and the main shape modes in least squares, over the `near` nearest vertices: enough to lie
    all round the joint in the trunk too. A last equation asks for a small mean distance from the joint.
    """
    basis = shape_modes(verts, joints, modes)
    surface, target = basis[:, : verts.shape[1]], basis[:, verts.shape[1] :]
    rows = np.zeros((52, verts.shape[1]))
    for j, name in enumerate(JOINTS):
        if name.startswith("right"):
            continue
        gap = np.linalg.norm(surface[0] - target[0, j], axis=1)
        pick = np.argsort(gap, kind="stable")[:near]
        # Relative to the joint, so the row sum (weight 1 m) does not fight the position.
        moments = (surface[:, pick] - target[:, None, j]).transpose(0, 2, 1).reshape(-1, near)
        matrix = np.vstack([moments, np.ones((1, near)), 1e-3 * gap[pick][None]])
        goal = np.zeros(len(matrix))
        goal[-2] = 1.0
        w, _ = nnls(matrix, goal, maxiter=20 * near)
        rows[j, pick] = np.where(w > 1e-4 * w.max(), w, 0)
    return symmetric_rows(rows, mirror)


def joint_landmark(
    template: Floats,
    dirs: Floats,
    weights: Floats,
    regressor: Floats,
    joint: int,
    parent: int,
    k: int = 12,
) -> tuple[Ints, Floats]:
    """k vertices (k,) and weights (k,) whose mean stays on a joint in every pose and shape.

    A joint is a fixed point of its own and of its parent's rigid motion, so for weights a_i the posed landmark misses
    the posed joint by R_parent m_parent + R_own m_own with the moments m_b = sum_i a_i w_ib (v_i - joint). Driving both
    moments to zero (for the mean and for every shape component) keeps the landmark on the joint at all bends;
    skinning weight on third bones is driven out too.
    """
    joint_rest = regressor[joint] @ template
    offset = template - joint_rest
    offsets = np.concatenate([offset[None], np.moveaxis(dirs - regressor[joint] @ dirs.transpose(1, 0, 2), -1, 0)])
    gap = np.linalg.norm(offset, axis=1)
    own = weights[:, joint] + weights[:, parent]
    pick = np.flatnonzero(own > 0.9)
    pick = pick[np.argsort(gap[pick], kind="stable")[:300]]
    target_scale = np.array([1.0] + [0.5] * dirs.shape[-1])

    def solve(idx: Ints) -> Floats:
        moments = [
            (target_scale[:, None, None] * offsets[:, idx] * weights[idx, b][None, :, None]).transpose(0, 2, 1)
            for b in (joint, parent)
        ]
        stray = 0.1 * (1 - own[idx])[None]
        matrix = np.vstack([m.reshape(-1, len(idx)) for m in moments] + [stray, np.ones((1, len(idx)))])
        ridge = 2e-3 * np.diag(gap[idx])
        goal = np.zeros(len(matrix) + len(idx))
        goal[len(matrix) - 1] = 1.0
        return np.asarray(nnls(np.vstack([matrix, ridge]), goal, maxiter=10000)[0])

    while True:
        w = solve(pick)
        order = np.argsort(-w, kind="stable")
        if len(pick) <= k:
            break
        # Drop the weakest quarter (never below k) and solve again: gentler than cutting to k at once.
        alive = int((w > 1e-6).sum())
        pick = pick[order[: max(k, min(alive, int(0.8 * len(pick))))]]
    return pick[order], w[order] / w.sum()


def point_landmark(template: Floats, faces: Ints, point: Floats, k: int = 12) -> tuple[Ints, Floats]:
    """The surface point nearest to a rest-pose point, as barycentric weights padded to k places."""
    corners = template[faces]
    near = trimesh.triangles.closest_point(corners, np.tile(point, (len(faces), 1)))
    face = int(np.linalg.norm(near - point, axis=1).argmin())
    bary = np.clip(trimesh.triangles.points_to_barycentric(corners[face][None], near[face][None])[0], 0, None)
    idx, w = np.full(k, faces[face, 0]), np.zeros(k)
    idx[:3], w[:3] = faces[face], bary / bary.sum()
    return idx, w
