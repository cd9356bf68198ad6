"""Moving a prediction onto the truth before it is measured: which vertices decide, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.errors import InputError

Align = Literal["none", "similarity", "rigid", "human_only", "hip"]
"""``similarity`` and ``rigid`` of body and object together, ``human_only`` the body alone, ``hip`` a shift."""


@dataclass(frozen=True)
class Similarity:
    """``x -> s R x + t`` (column vectors)."""

    R: FloatArray
    """(3, 3)"""
    t: FloatArray
    """(3,) metres."""
    s: float

    @classmethod
    def identity(cls) -> Similarity:
        """Nothing moves."""
        return cls(np.eye(3), np.zeros(3), 1.0)

    def apply(self, points: Any) -> FloatArray:
        """Move points (..., 3)."""
        moved: FloatArray = self.s * np.asarray(points, dtype=np.float64) @ self.R.T + self.t
        return moved


def procrustes(source: Any, target: Any, weights: Any = None, scale: bool = True) -> Similarity:
    """Similarity of least squares between corresponding points (Umeyama, PAMI 1991).

    Args:
        source: (N, 3).
        target: (N, 3).
        weights: (N,) non-negative; None weighs points alike, as the field does, so that 6,890 body vertices outvote a
            coarse object. Areas of vertices make it independent of the meshes' density.
        scale: False keeps the size.

    Raises:
        InputError: different shapes, weights that sum to nothing, points that all coincide.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((5, 3))
        >>> found = procrustes(x, 2 * x[:, [1, 2, 0]] + 1)
        >>> round(found.s, 6), found.t.round(6).tolist()
        (2.0, [1.0, 1.0, 1.0])
    """
    a, b = as_floats(source, ("N", 3), "source"), as_floats(target, ("N", 3), "target")
    if len(a) != len(b) or len(a) == 0:
        raise InputError(f"alignment needs pairs of points, got {len(a)} and {len(b)}")
    share = np.ones(len(a)) if weights is None else as_floats(weights, (len(a),), "weights")
    if share.min() < 0 or not share.sum() > 0:
        raise InputError("weights must be non-negative and not all zero")
    share = share / share.sum()
    middle, goal = share @ a, share @ b
    from_middle, from_goal = a - middle, b - goal
    spread = float(share @ (from_middle**2).sum(1))
    if spread < 1e-18:
        raise InputError("all source points coincide: a rotation cannot be found")
    u, singular, vt = np.linalg.svd((from_goal * share[:, None]).T @ from_middle)
    sign = np.array([1.0, 1.0, -1.0 if np.linalg.det(u @ vt) < 0 else 1.0])
    R = (u * sign) @ vt
    s = float((singular * sign).sum() / spread) if scale else 1.0
    return Similarity(R, goal - s * R @ middle, s)


def pair_alignment(
    human: Any,
    thing: Any,
    true_human: Any,
    true_thing: Any,
    how: Align = "similarity",
    weights: Any = None,
    hips: tuple[Any, Any] | None = None,
) -> Similarity:
    """The transform that an evaluator applies to the whole prediction.

    ``similarity`` and ``rigid`` use body and object vertices together if both meshes have the truth's numbers of
    vertices, and the body alone if the object's differ (CHORE's rule).

    Args:
        human: (V, 3) predicted body.
        thing: (W, 3) predicted object.
        true_human: (V, 3).
        true_thing: (X, 3).
        how: see :data:`Align`.
        weights: (V + W) or (V,) for what is aligned, None weighs vertices alike.
        hips: (3,) predicted and true root joint, for ``hip``.

    Raises:
        InputError: bodies of different topology, no hips for ``hip``, or an unknown way.
    """
    if how == "none":
        return Similarity.identity()
    if how == "hip":
        if hips is None:
            raise InputError("alignment 'hip' needs the root joints of both bodies: give joints")
        return Similarity(np.eye(3), as_floats(hips[1], (3,), "true hip") - as_floats(hips[0], (3,), "hip"), 1.0)
    body, true_body = as_floats(human, ("V", 3), "human"), as_floats(true_human, ("V", 3), "true human")
    if len(body) != len(true_body):
        raise InputError(
            f"alignment {how!r} needs bodies of one topology, got {len(body)} and {len(true_body)} vertices: use "
            "align='none' or convert one"
        )
    if how not in ("similarity", "rigid", "human_only"):
        raise InputError(f"unknown alignment {how!r}: use none, similarity, rigid, human_only or hip")
    source, target = body, true_body
    if how != "human_only" and len(thing) == len(true_thing):
        source, target = np.concatenate([body, thing]), np.concatenate([true_body, true_thing])
    share = None if weights is None else np.asarray(weights, dtype=np.float64)[: len(source)]
    return procrustes(source, target, share, scale=how != "rigid")
