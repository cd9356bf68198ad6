"""Undistortion against OpenCV's, and on what cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.perception.undistort import undistort

pytest.importorskip("kornia")
CAMERA = Camera(np.array([[110, 0, 62.0], [0, 105, 47.0], [0, 0, 1]]), 120, 96)
K1 = (-0.25, 0.06, 0.002, -0.001, 0.0)


def _smooth_image() -> np.ndarray:
    y, x = np.mgrid[:96, :120]
    waves = [np.sin(x / 9) * np.cos(y / 7), np.cos(x / 13 + y / 11), np.sin((x + y) / 10)]
    return (127 + 100 * np.stack(waves, -1)).astype(np.uint8)


def test_agrees_with_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    image = _smooth_image()
    K = CAMERA.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    theirs = cv2.undistort(image, K, np.array(K1)).astype(int)
    ours = undistort(image, CAMERA, K1).astype(int)
    assert np.abs(ours - theirs)[8:-8, 8:-8].max() <= 2  # both interpolate linearly; OpenCV in fixed point
    assert np.abs(image.astype(int) - theirs)[8:-8, 8:-8].max() > 20  # and there was something to do


def test_no_distortion_changes_nothing() -> None:
    image = _smooth_image()
    assert np.abs(undistort(image, CAMERA, (0, 0, 0, 0)).astype(int) - image)[1:-1, 1:-1].max() <= 1


def test_what_cannot_be_used() -> None:
    with pytest.raises(InputError, match="3 coefficients"):
        undistort(_smooth_image(), CAMERA, (0, 0, 0))
    with pytest.raises(InputError, match="camera is for 120 x 96"):
        undistort(np.zeros((10, 10, 3), np.uint8), CAMERA, K1)
