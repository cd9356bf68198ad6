"""The picture in which a baseline compares its soft silhouette with the mask: the whole image, or a small crop."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.fitting.baselines.types import BaselineProblem
from hoirecon.observation import box_of_mask


@dataclass(frozen=True)
class MaskView:
    """Masks and camera of the picture in which silhouettes are drawn."""

    K: Tensor
    """(3, 3) intrinsics in its pixels."""
    size: tuple[int, int]
    """Height and width in its pixels."""
    target: Tensor
    """(H, W) share of each pixel that shows the object, 0..1."""
    person: Tensor
    """(H, W) likewise, the person."""
    scale: float
    """Its pixels per pixel of the image."""
    softness: float
    """Factor on a sigma stated for the whole image (in squared NDC units) that keeps the blur in image pixels."""


def mask_view(problem: BaselineProblem, resolution: int | None = None, margin: float = 2.5) -> MaskView:
    """The whole image, or a square crop round the object's mask.

    Args:
        problem: masks and camera.
        resolution: side of the crop in its own pixels; None keeps the whole image as it is.
        margin: side of the crop relative to the longer side of the mask's box.
    """
    camera = problem.camera
    if resolution is None:
        size, scale, softness = (camera.height, camera.width), 1.0, 1.0
        masks = [torch.as_tensor(m, dtype=torch.float32) for m in (problem.object_mask, problem.person_mask)]
        K = camera.K
    else:
        x, y, width, height = box_of_mask(problem.object_mask)
        side = margin * max(width, height)
        corner = (x + width / 2 - side / 2, y + height / 2 - side / 2)
        size, scale = (resolution, resolution), resolution / side
        softness = (min(camera.height, camera.width) / side) ** 2
        K = _crop_camera(camera, corner, scale)
        masks = [crop_mask(m, corner, side, resolution) for m in (problem.object_mask, problem.person_mask)]
    return MaskView(torch.as_tensor(K, dtype=torch.float32), size, masks[0], masks[1], scale, softness)


def crop_mask(mask: BoolArray, corner: tuple[float, float], side: float, resolution: int) -> Tensor:
    """(N, N) share of object in each cell of a square whose upper left corner may lie outside the image."""
    fine = max(1, int(np.ceil(side / resolution)))  # samples per cell along each axis, then averaged
    n = resolution * fine
    warp = np.array([[side / n, 0, corner[0] + 0.5 * side / n - 0.5], [0, side / n, corner[1] + 0.5 * side / n - 0.5]])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(mask.astype(np.float32), warp, (n, n), flags=flags)
    return torch.as_tensor(drawn.reshape(resolution, fine, resolution, fine).mean((1, 3)))


def _crop_camera(camera: Camera, corner: tuple[float, float], scale: float) -> FloatArray:
    shift = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]], [0, 0, 1]])
    return np.asarray(shift @ camera.K)
