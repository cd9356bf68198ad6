"""Pinhole camera in the OpenCV convention: x right, y down, z forward, metres, pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.errors import InputError

CameraSource = Literal["given", "exif", "default"]

# 35 mm-equivalent focal length assumed when nothing is known: between a phone's main lens (24-28 mm) and a
# portrait lens (85 mm); f = 50/43.27 = 1.16 image diagonals. Depth scales with it, so results say it was assumed.
DEFAULT_FOCAL_35MM = 50.0
DIAGONAL_35MM = float(np.hypot(36.0, 24.0))


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one image; the camera stands at the origin of the frame ``cam``.

    Convention: a pixel in column i and row j covers [i, i+1] x [j, j+1], so its centre is (i + .5, j + .5) and the
    image covers [0, width] x [0, height].
    """

    K: FloatArray
    """(3, 3) matrix ``[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]`` in pixels; no skew."""
    width: int
    """Image width in pixels."""
    height: int
    """Image height in pixels."""
    source: CameraSource = "given"
    """How K is known: ``given`` by the user, from the file's ``exif``, or the stated ``default``."""

    def __post_init__(self) -> None:
        K = as_floats(self.K, (3, 3), "K")
        object.__setattr__(self, "K", K)
        if K[0, 0] <= 0 or K[1, 1] <= 0 or not np.allclose(K[2], [0, 0, 1]) or K[1, 0] != 0 or K[0, 1] != 0:
            raise InputError(
                f"K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with positive focal lengths, got {K.tolist()}"
            )
        if self.width < 1 or self.height < 1:
            raise InputError(f"the image size must be positive, got {self.width} x {self.height}")

    @classmethod
    def from_focal(cls, focal: float, width: int, height: int, source: CameraSource = "given") -> Camera:
        """Camera with one focal length in pixels and the principal point in the image centre.

        Raises:
            InputError: the focal length is no positive number.
        """
        focal = _focal(focal, "pixels")
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
        return cls(K, int(width), int(height), source)

    @classmethod
    def from_focal_35mm(cls, mm: float, width: int, height: int, source: CameraSource = "given") -> Camera:
        """Camera from a 35 mm-equivalent focal length in millimetres, related through the image diagonal.

        Example:
            >>> round(Camera.from_focal_35mm(43.2666, 300, 400).K[0, 0])
            500

        Raises:
            InputError: the focal length is no positive number.
        """
        mm = _focal(mm, "millimetres (35 mm-equivalent)")
        return cls.from_focal(mm / DIAGONAL_35MM * float(np.hypot(width, height)), width, height, source)

    @classmethod
    def default(cls, width: int, height: int) -> Camera:
        """Camera assumed when nothing is known: 50 mm-equivalent, principal point in the centre."""
        return cls.from_focal_35mm(DEFAULT_FOCAL_35MM, width, height, "default")

    @property
    def focal(self) -> tuple[float, float]:
        """(fx, fy) in pixels."""
        return float(self.K[0, 0]), float(self.K[1, 1])

    @property
    def centre(self) -> tuple[float, float]:
        """Principal point (cx, cy) in pixels."""
        return float(self.K[0, 2]), float(self.K[1, 2])

    def project(self, points_cam: Any) -> FloatArray:
        """Project points (..., 3) in the camera frame, metres, to pixels (..., 2).

        Points at or behind the camera plane (z <= 0) give NaN, so that nobody mistakes them for visible ones.

        Example:
            >>> Camera.from_focal(500, 640, 480).project([0.1, 0.0, 1.0]).tolist()
            [370.0, 240.0]
        """
        points = np.asarray(points_cam, dtype=np.float64)
        z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        pixels: FloatArray = points[..., :2] / z * np.diag(self.K)[:2] + self.K[:2, 2]
        return pixels

    def unproject(self, pixels: Any, depth: Any) -> FloatArray:
        """Lift pixels (..., 2) with depth (...) along z, metres, to points (..., 3) in the camera frame."""
        pixels = np.asarray(pixels, dtype=np.float64)
        depth = np.asarray(depth, dtype=np.float64)[..., None]
        rays = (pixels - self.K[:2, 2]) / np.diag(self.K)[:2]
        return np.concatenate([rays * depth, np.broadcast_to(depth, (*rays.shape[:-1], 1))], axis=-1)

    def resized(self, width: int, height: int) -> Camera:
        """Camera of the same view sampled at another image size."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return Camera(scale @ self.K, int(width), int(height), self.source)

    def cropped(self, x: float, y: float, width: int, height: int) -> Camera:
        """Camera of a crop whose upper left corner is the pixel position (x, y)."""
        shift = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
        return Camera(shift @ self.K, int(width), int(height), self.source)


def _focal(value: Any, unit: str) -> float:
    try:
        number = np.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not 0 < number < np.inf:
        raise InputError(f"the focal length must be a positive number of {unit}, got {value!r}")
    return number
