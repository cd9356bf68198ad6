"""Rotations by six numbers, closed-form alignment, and the simple placements that baselines start from.

Points are rows and are multiplied from the left here (``x @ R``), as in the codes these baselines restate; poses are
turned into the library's columns where they leave.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.fitting.baselines.types import BaselineProblem
from hoirecon.pose import ObjectPose

UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""The object's frame (y up, z to the front) before a level camera (y down, z forward), facing it."""
NEAREST = 0.01
"""Least depth at which a vertex may be drawn, metres."""


def matrix_of_6d(vectors: Tensor) -> Tensor:
    """(..., 6) numbers to (..., 3, 3) rotations: a 3 x 2 matrix whose columns become the first two axes (Zhou 2019)."""
    pairs = vectors.reshape(*vectors.shape[:-1], 3, 2)
    first = torch.nn.functional.normalize(pairs[..., 0], dim=-1)
    second = pairs[..., 1] - (first * pairs[..., 1]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def six_of_matrix(R: Tensor) -> Tensor:
    """(..., 3, 3) rotations to the six numbers of their first two columns."""
    return R[..., :2].flatten(-2)


def start_rotations(count: int) -> FloatArray:
    """(K, 3, 3) turns of an upright object to start from, rows; the first is none.

    Up to 23 are even turns about the upright axis; 24 are the turns that map a cube to itself.

    Raises:
        InputError: a count outside 1..24.
    """
    if not 1 <= count <= 24:
        raise InputError(f"starts are 1 to 24, got {count}")
    if count == 24:
        turns = Rotation.create_group("O").as_matrix()
        return np.asarray(turns[np.argsort(-np.trace(turns, axis1=1, axis2=2), kind="stable")])
    return np.asarray(Rotation.from_euler("y", 360.0 * np.arange(count)[:, None] / count, degrees=True).as_matrix())


def transform(points: Tensor, R: Tensor, t: Tensor, s: Tensor | float = 1.0) -> Tensor:
    """``(points * s) @ R + t``, row vectors."""
    return (points * s) @ R + t


def align(
    source: FloatArray,
    target: FloatArray,
    weights: FloatArray | None = None,
    scale: bool = False,
    reflect: bool = False,
) -> tuple[FloatArray, FloatArray, float]:
    """Similarity ``s * source @ R + T`` nearest to the target in least squares (Umeyama 1991).

    Args:
        source: (N, 3) points.
        target: (N, 3) points.
        weights: (N,) non-negative, None means one each; they weigh the centroids once and the spread squared, as
            pytorch3d's alignment does.
        scale: whether to find s; otherwise it is 1.
        reflect: whether a mirrored "rotation" is allowed.

    Returns:
        R (3, 3) for row vectors, T (3,), s.
    """
    share = np.full(len(source), 1.0) if weights is None else np.asarray(weights, dtype=np.float64)
    share = share / share.sum()
    middle, goal = share @ source, share @ target
    a, b = source - middle, target - goal
    u, singular, vt = np.linalg.svd((a * share[:, None]).T @ (b * share[:, None]))
    sign = np.ones(3)
    if not reflect:
        sign[2] = -1.0 if np.linalg.det(u @ vt) < 0 else 1.0
    R = (u * sign) @ vt
    s = float((singular * sign).sum() / max(float(share**2 @ (a**2).sum(1)), 1e-12)) if scale else 1.0
    return R, goal - s * middle @ R, s


def column_pose(R: FloatArray, t: FloatArray, s: float) -> ObjectPose:
    """The pose of ``(x * s) @ R + t``; R may be a rotation to float32's precision only."""
    u, _, vt = np.linalg.svd(np.asarray(R, dtype=np.float64).T)
    return ObjectPose(u @ vt, np.asarray(t, dtype=np.float64), float(s))


def contact_depth(problem: BaselineProblem) -> float:
    """Mean depth of the touching body vertices; of all of them if none is known to touch."""
    on_body, _ = problem.touching()
    return float((on_body if len(on_body) else problem.body.verts)[:, 2].mean())


def translation_to_box(problem: BaselineProblem, turned: FloatArray, depth: float, steps: int = 4) -> FloatArray:
    """(3,) translation that puts the projected box of turned vertices (V, 3) round the middle of the mask's box.

    Args:
        problem: camera and mask.
        turned: vertices scaled and rotated but not moved, metres.
        depth: depth of the translation, metres.
        steps: fixed-point steps; perspective makes one step inexact.
    """
    x, y, width, height = problem.box
    goal = np.array([x + width / 2, y + height / 2])
    depth = max(depth, NEAREST - float(turned[:, 2].min()))
    t = problem.camera.unproject(goal, depth)
    for _ in range(steps):
        pixels = problem.camera.project(turned + t)
        middle = (pixels.min(0) + pixels.max(0)) / 2
        t = t + problem.camera.unproject(goal, depth) - problem.camera.unproject(middle, depth)
    return np.asarray(t)


def box_depth(problem: BaselineProblem, turned: FloatArray, steps: int = 4) -> FloatArray:
    """(3,) translation at which the projected box of turned vertices (V, 3) has the mask's place and size."""
    size = float(np.hypot(*problem.box[2:]))
    depth = float(np.hypot(*np.ptp(turned[:, :2], axis=0))) * problem.camera.focal[0] / size
    for _ in range(steps):
        t = translation_to_box(problem, turned, depth, 1)
        drawn = np.ptp(problem.camera.project(turned + t), axis=0)
        depth = float(t[2]) * float(np.hypot(*drawn)) / size
    return translation_to_box(problem, turned, depth)
