"""Photographs of calibrated cameras with lens distortion, made straight: everything after this is a pinhole camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, as_floats, as_image
from hoirecon.camera import Camera
from hoirecon.errors import InputError, require

COUNTS = (4, 5, 8, 12, 14)
"""Numbers of coefficients that OpenCV's model knows."""


def undistort(image: Any, camera: Camera, distortion: Sequence[float]) -> ByteArray:
    """Resample a photograph as the pinhole camera of the same intrinsics would have taken it.

    Args:
        image: (H, W, 3) RGB, uint8, as the lens gave it.
        camera: intrinsics of the calibration; they hold for the result as well.
        distortion: coefficients in OpenCV's order (k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, tx, ty]]]]).

    Returns:
        (H, W, 3) uint8; black where the lens did not see.

    Raises:
        InputError: an image of another size than the camera's, or another number of coefficients.
        MissingExtraError: kornia is not installed (extra ``vlm``).
    """
    rgb = as_image(image)
    if rgb.shape[:2] != (camera.height, camera.width):
        raise InputError(
            f"the camera is for {camera.width} x {camera.height} pixels, the image has {rgb.shape[1]} x {rgb.shape[0]}"
        )
    coefficients = as_floats(np.atleast_1d(distortion), ("N",), "distortion")
    if len(coefficients) not in COUNTS:
        raise InputError(f"distortion has {len(coefficients)} coefficients, expected one of {COUNTS} in OpenCV's order")
    return _resample(rgb, camera, coefficients)


def _resample(rgb: ByteArray, camera: Camera, coefficients: Any) -> ByteArray:
    import torch

    calibration = require("kornia.geometry.calibration", extra="vlm")
    # kornia and OpenCV put integer coordinates on pixel centres; ours are half a pixel larger.
    K = camera.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255
    straight = calibration.undistort_image(
        pixels, torch.tensor(K)[None].float(), torch.tensor(coefficients)[None].float()
    )
    out: ByteArray = (straight[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    return out
