"""Errors of a body: joints and vertices, as they are, with roots moved together, or after the best similarity."""

from __future__ import annotations

from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.alignment import Similarity, procrustes

PCK_LIMIT_M = 0.2
"""AUC of PCK runs from 0 to here."""


def mpjpe(joints: Any, true_joints: Any, root: int | None = 0) -> FloatArray:
    """(N,) mean distance of joints, metres.

    Args:
        joints: (N, J, 3) metres.
        true_joints: (N, J, 3).
        root: joint that is moved onto the true one first (0, the pelvis, in SMPL's order); None leaves bodies be.

    Raises:
        InputError: different shapes, NaN, no such joint.

    Example:
        >>> mpjpe([[[0.0, 0, 0], [0, 0, 1]]], [[[1.0, 0, 0], [1, 0, 2]]]).tolist()
        [0.5]
    """
    a, b = _both(joints, true_joints)
    return _mean_distance(_at_root(a, root), _at_root(b, root))


def pa_mpjpe(joints: Any, true_joints: Any) -> FloatArray:
    """(N,) mean distance of joints after the similarity of least squares, metres."""
    a, b = _both(joints, true_joints)
    moved = np.stack([procrustes(p, q).apply(p) for p, q in zip(a, b, strict=True)])
    return _mean_distance(moved, b)


def v2v(
    verts: Any, true_verts: Any, joints: Any = None, true_joints: Any = None, *, root: int = 0, turn: bool = False
) -> FloatArray:
    """(N,) mean distance of vertices, metres.

    Args:
        verts: (N, V, 3) metres.
        true_verts: (N, V, 3).
        joints: (N, J, 3); if given, the roots are moved together first.
        true_joints: (N, J, 3).
        root: joint for that.
        turn: also turn the body about its root by the rotation (not the scale) that fits the vertices best, as
            RHOBIN's human track does.
    """
    a, b = _both(verts, true_verts)
    if joints is not None:
        ours, theirs = _both(joints, true_joints)
        a, b = a - ours[:, root : root + 1], b - theirs[:, root : root + 1]
    if turn:
        a = np.stack([p @ procrustes(p, q, scale=False).R.T for p, q in zip(a, b, strict=True)])
    return _mean_distance(a, b)


def pck_auc(joints: Any, true_joints: Any, root: int | None = 0, limit: float = PCK_LIMIT_M) -> FloatArray:
    """(N,) area under the share of joints nearer than a threshold, over 0..200 mm, in [0, 1].

    Integrated exactly: a joint off by e adds max(0, 1 - e / 200 mm). Scripts that sum over a grid of thresholds differ
    by half a step at most.
    """
    a, b = _both(joints, true_joints)
    error = _distance(_at_root(a, root), _at_root(b, root))
    return np.asarray(np.maximum(0.0, 1 - error / limit).mean(1), dtype=np.float64)


def acceleration_error(joints: Any, true_joints: Any, fps: float | None = None) -> FloatArray:
    """(T - 2,) mean distance of joints' accelerations between consecutive frames (Kanazawa et al., CVPR 2019).

    Args:
        joints: (T, J, 3) one sequence, metres.
        true_joints: (T, J, 3).
        fps: frames per second for metres per second squared; None gives metres per frame squared.
    """
    a, b = _both(joints, true_joints)
    if len(a) < 3:
        raise InputError(f"accelerations need three frames, got {len(a)}")
    second = [x[2:] - 2 * x[1:-1] + x[:-2] for x in (a, b)]
    return _mean_distance(second[0], second[1]) * (1.0 if fps is None else fps**2)


def window_alignment(verts: Any, true_verts: Any, every: int = 10) -> Similarity:
    """One similarity for a window of frames, from every 10th of them (RHOBIN's tracking, VisTracker).

    Args:
        verts: (T, V, 3) body and object vertices together, metres; windows are 300 frames.
        true_verts: (T, V, 3).
        every: frames that decide.
    """
    a, b = _both(verts, true_verts)
    return procrustes(a[::every].reshape(-1, 3), b[::every].reshape(-1, 3))


def _both(one: Any, other: Any) -> tuple[FloatArray, FloatArray]:
    a, b = as_floats(one, ("N", "J", 3), "prediction"), as_floats(other, ("N", "J", 3), "truth")
    if a.shape != b.shape or a.shape[1] == 0:
        raise InputError(f"prediction and truth must have one shape (N, J, 3), got {a.shape} and {b.shape}")
    return a, b


def _at_root(points: FloatArray, root: int | None) -> FloatArray:
    if root is None:
        return points
    if not 0 <= root < points.shape[1]:
        raise InputError(f"root must be one of the {points.shape[1]} joints, got {root}")
    return points - points[:, root : root + 1]


def _distance(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(a - b, axis=-1), dtype=np.float64)


def _mean_distance(a: FloatArray, b: FloatArray) -> FloatArray:
    """(N,) over the joints or vertices of each row."""
    return np.asarray(_distance(a, b).mean(1), dtype=np.float64)
