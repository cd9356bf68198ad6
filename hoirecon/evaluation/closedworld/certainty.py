"""Is a method as sure as it says? The error of its pose in units of the covariance that it states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.data.objects import Symmetry
from hoirecon.errors import InputError
from hoirecon.pose import ObjectPose

FLOOR = 1e-14
"""Least variance of any direction, square radians or metres: a pose that is fixed is still one of float numbers."""


@dataclass(frozen=True)
class PoseError:
    """The step from a pose to the truth, and which steps change nothing because the object looks the same."""

    step: FloatArray
    """(7,) turn (radians), shift of the mesh's centre (metres), log scale; camera axes."""
    idle: FloatArray
    """(7, N) steps that no photograph shows: one for a continuous axis of symmetry, three for a ball."""

    @property
    def dof(self) -> int:
        """Directions in which there can be an error."""
        return 7 - int(self.idle.shape[1])

    def normalised(self, covariance: FloatArray) -> float:
        """Squared Mahalanobis length of the step divided by :attr:`dof`: 1 in the mean if the covariance is right, and
        0.91 in the median of seven directions.

        Args:
            covariance: (7, 7) of the step.

        Raises:
            InputError: not a covariance.
        """
        cov = check_covariance(covariance)
        # Any matrix whose kernel is the idle steps gives the same result; left singular vectors are one.
        rest = np.linalg.svd(np.concatenate([self.idle, np.zeros((7, 1))], axis=1))[0][:, self.idle.shape[1] :]
        error, spread = rest.T @ self.step, rest.T @ cov @ rest
        scale = np.sqrt(np.diag(spread))
        solved = np.linalg.solve(spread / scale[:, None] / scale[None], error / scale)
        return float(error / scale @ solved) / self.dof


def check_covariance(covariance: FloatArray) -> FloatArray:
    """The covariance as a symmetric array with no variance below :data:`FLOOR`.

    Raises:
        InputError: wrong shape, NaN, not symmetric, or a negative variance.
    """
    cov = as_floats(covariance, (7, 7), "the covariance of a pose")
    scale = np.sqrt(np.diag(cov).clip(FLOOR))
    unit = cov / scale[:, None] / scale[None]
    if np.diag(cov).min() < 0 or not np.allclose(unit, unit.T, atol=1e-4) or np.linalg.eigvalsh(unit).min() < -1e-4:
        raise InputError(
            "the covariance of a pose must be symmetric without negative variances: give that of (turn, shift, log "
            "scale), radians and metres, camera axes"
        )
    return np.asarray((cov + cov.T) / 2 + FLOOR * np.eye(7))


def pose_error(
    pose: ObjectPose, true: ObjectPose, centre_obj: FloatArray, symmetry: Symmetry | None = None
) -> PoseError:
    """The step from a pose to the nearest true one, as a fit counts its steps: turns are about the mesh's centre.

    Args:
        pose: as said.
        true: for the same mesh.
        centre_obj: (3,) centre of the mesh's bounding box, object frame.
        symmetry: of the object, about its frame's axes; of all true poses the one with the smallest turn counts.
    """
    symmetry = symmetry or Symmetry()
    R_true = nearest_rotation(pose.R, true.R, symmetry)
    centre_obj = np.asarray(centre_obj, dtype=np.float64)
    centre, true_centre = pose.apply(centre_obj), ObjectPose(R_true, true.t, true.s).apply(centre_obj)
    turn = Rotation.from_matrix(R_true @ pose.R.T).as_rotvec()
    step = np.concatenate([turn, true_centre - centre, [np.log(true.s / pose.s)]])
    axes = [pose.R[:, "xyz".index(a)] for a in symmetry.continuous]
    idle = [np.concatenate([u, np.cross(u, centre - pose.t), [0.0]]) for u in axes]
    return PoseError(step, np.stack(idle, axis=1) if idle else np.zeros((7, 0)))


def nearest_rotation(R: FloatArray, R_true: FloatArray, symmetry: Symmetry) -> FloatArray:
    """(3, 3) of all rotations that look like the true one, the nearest to ``R``.

    Example:
        >>> quarter = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
        >>> bool(np.allclose(nearest_rotation(quarter, np.eye(3), Symmetry.parse("y:inf")), quarter))
        True
    """
    if len(symmetry.continuous) == 3:
        return np.array(R)
    same = R_true @ Symmetry((), symmetry.discrete).rotations()
    if symmetry.continuous:
        same = np.stack([_spun(R, other, "xyz".index(symmetry.continuous[0])) for other in same])
    return np.asarray(same[np.einsum("ij,kij->k", R, same).argmax()])


def _spun(R: FloatArray, other: FloatArray, k: int) -> FloatArray:
    """``other`` after the turn about its own axis k that brings it nearest to ``R``, in closed form."""
    i, j = (k + 1) % 3, (k + 2) % 3
    M = R.T @ other
    angle = np.arctan2(M[i, j] - M[j, i], M[i, i] + M[j, j])
    axis = np.zeros(3)
    axis[k] = angle
    return np.asarray(other @ Rotation.from_rotvec(axis).as_matrix())
