"""Numbers behind BlazePose's two networks: anchors, box decoding, joining of overlapping hits, regions of interest.

Facts from the published graph of the model (SSD anchors with fixed unit size, strides 8, 16, 32, 32, 32 on 224 pixels,
region = square about the hip centre whose half side is 1.25 x the distance to the alignment point, turned upright).
All positions are continuous pixels: the centre of pixel (i, j) is (i + .5, j + .5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray, FloatArray

DETECTOR_SIZE = 224
LANDMARK_SIZE = 256
STRIDES = (8, 16, 32, 32, 32)
ANCHORS_PER_CELL = 2
ROI_ENLARGE = 1.25


@dataclass(frozen=True)
class Region:
    """A turned square of the image that the landmark network looks at."""

    centre: FloatArray
    """(2,) pixels."""
    side: float
    """Pixels."""
    angle: float
    """Radians; 0 is upright, positive turns the person clockwise in the image (y down)."""

    def axes(self) -> FloatArray:
        """(2, 2) columns: the region's x and y direction in the image."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, -s], [s, c]])

    def to_image(self, size: int = LANDMARK_SIZE) -> FloatArray:
        """(2, 3) affine map from continuous pixels of the crop (side ``size``) to those of the image."""
        A = self.axes() * (self.side / size)
        return np.column_stack([A, self.centre - A @ np.full(2, size / 2)])


def make_anchors() -> FloatArray:
    """Centres (2254, 2) of the detector's anchors in [0, 1]; layers of the same stride share one grid."""
    grids = []
    for stride in sorted(set(STRIDES)):
        per_cell = ANCHORS_PER_CELL * STRIDES.count(stride)
        cells = DETECTOR_SIZE // stride
        rows, cols = np.mgrid[:cells, :cells]
        centres = (np.stack([cols, rows], axis=-1).reshape(-1, 2) + 0.5) / cells
        grids.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(grids)


def sigmoid(x: npt.NDArray[np.floating]) -> FloatArray:
    """Logistic function, safe for large arguments."""
    return 1.0 / (1.0 + np.exp(-np.clip(x.astype(np.float64), -60, 60)))


def decode(raw_boxes: FloatArray, anchors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn raw outputs (A, 12) into boxes (A, 4) x0, y0, x1, y1 and points (A, 4, 2), in detector pixels / 224."""
    centre = raw_boxes[:, :2] / DETECTOR_SIZE + anchors
    half = raw_boxes[:, 2:4] / DETECTOR_SIZE / 2
    points = raw_boxes[:, 4:].reshape(-1, 4, 2) / DETECTOR_SIZE + anchors[:, None]
    return np.concatenate([centre - half, centre + half], axis=1), points


def weighted_nms(
    boxes: FloatArray, points: FloatArray, scores: FloatArray, *, min_score: float, min_iou: float = 0.3
) -> tuple[FloatArray, FloatArray]:
    """Join hits that overlap: the best one stands for its group, its points are the group's mean weighted by score.

    Returns:
        points (N, 4, 2) and scores (N,) of the groups, best first.
    """
    left = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] >= min_score]
    group_points, group_scores = [], []
    while left:
        best = left[0]
        overlap = box_iou(boxes[best], boxes[left])
        group = [i for i, o in zip(left, overlap, strict=True) if o > min_iou or i == best]
        weights = scores[group] / scores[group].sum()
        group_points.append(np.einsum("n,nkd->kd", weights, points[group]))
        group_scores.append(scores[best])
        left = [i for i in left if i not in set(group)]
    return np.reshape(group_points, (-1, 4, 2)), np.array(group_scores)


def box_iou(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """Intersection over union of one box (4,) with boxes (N, 4), all x0, y0, x1, y1."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    iou: FloatArray = inter / np.maximum(area - inter, 1e-12)
    return iou


def region_of(centre: FloatArray, top: FloatArray) -> Region:
    """Region about the hip centre, upright along the line to the alignment point, both in pixels."""
    up = top - centre
    radius = float(np.hypot(up[0], up[1]))
    return Region(centre, 2 * radius * ROI_ENLARGE, float(np.arctan2(up[0], -up[1])))


def letterbox(height: int, width: int) -> FloatArray:
    """(2, 3) affine map from the detector's input (continuous pixels, 224 a side) to the image, centred, padded."""
    scale = max(height, width) / DETECTOR_SIZE
    return np.array([[scale, 0, (width - max(height, width)) / 2], [0, scale, (height - max(height, width)) / 2]])


def apply_affine(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Move points (..., 2) by a (2, 3) affine map."""
    moved: FloatArray = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def sample(
    image: ByteArray | npt.NDArray[np.float32], to_image: FloatArray, size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Sample an image bilinearly on a grid ``size`` = (height, width), zero outside; shrunk first where it aliases.

    Args:
        image: (H, W) or (H, W, C).
        to_image: (2, 3) affine map from continuous output pixels to continuous input pixels.
    """
    import cv2

    shrink = float(np.sqrt(abs(np.linalg.det(to_image[:, :2]))))
    if shrink > 1.5:  # area-average to about the output's resolution, then warp
        h, w = image.shape[:2]
        small = (max(1, round(w / shrink)), max(1, round(h / shrink)))
        scale = np.array([small[0] / w, small[1] / h])
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        to_image = to_image * scale[:, None]
    # OpenCV counts pixel centres at whole numbers, we at halves
    matrix = to_image.copy()
    matrix[:, 2] += to_image[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(warped, dtype=np.float32)


def invert_affine(matrix: FloatArray) -> FloatArray:
    """Inverse of a (2, 3) affine map."""
    A = np.linalg.inv(matrix[:, :2])
    return np.column_stack([A, -A @ matrix[:, 2]])
