"""Where an object stands: rotation, translation and scale from its own frame to the camera frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.errors import InputError


@dataclass(frozen=True)
class ObjectPose:
    """Similarity ``x_cam = s * R @ x_obj + t`` (column vectors, metres).

    Example:
        >>> pose = ObjectPose(np.eye(3), [0, 0, 2], 0.5)
        >>> pose.apply([[2.0, 0, 0]]).tolist()
        [[1.0, 0.0, 2.0]]
    """

    R: FloatArray
    """(3, 3) rotation ``R_cam_obj``."""
    t: FloatArray
    """(3,) position of the object frame's origin in the camera frame, metres."""
    s: float = 1.0
    """Scale that multiplies the mesh before the rotation; 1 keeps the mesh's own metric size."""

    def __post_init__(self) -> None:
        R = as_floats(self.R, (3, 3), "R")
        if not np.allclose(R @ R.T, np.eye(3), atol=1e-4) or np.linalg.det(R) < 0:
            raise InputError(
                f"R must be a rotation (R R^T = 1, det +1), got det {np.linalg.det(R):.4f}; keep scale in s"
            )
        object.__setattr__(self, "R", R)
        object.__setattr__(self, "t", as_floats(self.t, (3,), "t"))
        object.__setattr__(self, "s", float(self.s))
        if not (np.isfinite(self.s) and self.s > 0):
            raise InputError(f"s must be a positive number, got {self.s}")

    @property
    def T_cam_obj(self) -> FloatArray:
        """(4, 4) homogeneous matrix, scale included."""
        T = np.eye(4)
        T[:3, :3] = self.s * self.R
        T[:3, 3] = self.t
        return T

    @classmethod
    def from_matrix(cls, T_cam_obj: Any) -> ObjectPose:
        """Split a (4, 4) similarity into R, t, s.

        Raises:
            InputError: the upper left block is not a scaled rotation.
        """
        T = as_floats(T_cam_obj, (4, 4), "T_cam_obj")
        det = float(np.linalg.det(T[:3, :3]))
        if det <= 0:
            raise InputError(f"T_cam_obj mirrors or flattens (det {det:.4g}): give a similarity with det > 0")
        s = det ** (1 / 3)
        return cls(T[:3, :3] / s, T[:3, 3], s)

    def apply(self, points_obj: Any) -> FloatArray:
        """Move points (..., 3) from the object frame to the camera frame."""
        moved: FloatArray = self.s * np.asarray(points_obj, dtype=np.float64) @ self.R.T + self.t
        return moved

    def apply_inverse(self, points_cam: Any) -> FloatArray:
        """Move points (..., 3) from the camera frame to the object frame."""
        moved: FloatArray = (np.asarray(points_cam, dtype=np.float64) - self.t) @ self.R / self.s
        return moved
