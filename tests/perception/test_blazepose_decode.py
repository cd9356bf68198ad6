"""BlazePose's arithmetic against closed forms and slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoirecon.perception.blazepose_decode import (
    Region,
    apply_affine,
    box_iou,
    decode,
    invert_affine,
    letterbox,
    make_anchors,
    region_of,
    sample,
    sigmoid,
    weighted_nms,
)


def test_anchors_follow_the_published_layout() -> None:
    anchors = make_anchors()
    # 28^2 cells x 2 + 14^2 x 2 + 7^2 x 6 (three layers of stride 32)
    assert len(anchors) == 28**2 * 2 + 14**2 * 2 + 7**2 * 6 == 2254
    assert np.allclose(anchors[0], [0.5 / 28, 0.5 / 28])
    assert np.allclose(anchors[2], [1.5 / 28, 0.5 / 28])  # x runs first, two anchors a cell
    assert np.allclose(anchors[28**2 * 2], [0.5 / 14, 0.5 / 14])
    assert np.allclose(anchors[-1], [6.5 / 7, 6.5 / 7])
    assert np.allclose(anchors.mean(axis=0), 0.5)


def test_decode_is_relative_to_the_anchor() -> None:
    raw = np.zeros((1, 12))
    raw[0, :4] = [22.4, -22.4, 44.8, 22.4]
    raw[0, 4:6] = [112, 0]
    boxes, points = decode(raw, np.array([[0.5, 0.5]]))
    assert np.allclose(boxes, [[0.5, 0.35, 0.7, 0.45]])
    assert np.allclose(points[0, 0], [1.0, 0.5])
    assert np.allclose(points[0, 1], [0.5, 0.5])


def _iou_naive(a: list[float], b: list[float]) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def test_iou_equals_its_slow_twin() -> None:
    low = np.random.default_rng(0).uniform(0, 1, (40, 2))
    boxes = np.concatenate([low, low + np.random.default_rng(1).uniform(0.1, 1, (40, 2))], axis=1)
    want = [_iou_naive(boxes[0].tolist(), b.tolist()) for b in boxes]
    assert np.allclose(box_iou(boxes[0], boxes), want)
    assert want[0] == pytest.approx(1)


def test_nms_joins_overlapping_hits_by_score() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [5, 5, 6, 6], [0.0, 0, 1, 1]])
    points = np.arange(4)[:, None, None] * np.ones((4, 4, 2))
    scores = np.array([0.6, 0.9, 0.7, 0.2])
    joined, best = weighted_nms(boxes, points, scores, min_score=0.5)
    assert best.tolist() == [0.9, 0.7]
    assert joined[0, 0, 0] == pytest.approx((0.6 * 0 + 0.9 * 1) / 1.5)
    assert joined[1, 0, 0] == 2


def test_nms_of_nothing_is_empty() -> None:
    points, scores = weighted_nms(np.zeros((3, 4)), np.zeros((3, 4, 2)), np.zeros(3), min_score=0.5)
    assert points.shape == (0, 4, 2)
    assert len(scores) == 0


def test_sigmoid_is_safe() -> None:
    assert np.allclose(sigmoid(np.array([-1e9, 0.0, 1e9])), [0, 0.5, 1])


def test_region_of_an_upright_person_is_not_turned() -> None:
    region = region_of(np.array([100.0, 200.0]), np.array([100.0, 120.0]))
    assert region.angle == 0
    assert region.side == 200  # 2 x 80 x 1.25
    to_image = region.to_image(256)
    assert np.allclose(
        apply_affine(to_image, np.array([[0.0, 0], [256, 256], [128, 128]])), [[0, 100], [200, 300], [100, 200]]
    )


@given(st.floats(-3, 3), st.floats(5, 500), st.floats(-100, 100), st.floats(-100, 100))
def test_the_alignment_point_is_above_the_centre_in_the_crop(angle: float, radius: float, x: float, y: float) -> None:
    centre = np.array([x, y])
    top = centre + radius * np.array([np.sin(angle), -np.cos(angle)])
    crop = apply_affine(invert_affine(region_of(centre, top).to_image(256)), np.stack([centre, top]))
    assert np.allclose(crop[0], [128, 128], atol=1e-6)
    assert np.allclose(crop[1], [128, 128 - 128 / 1.25], atol=1e-6)


@given(st.floats(-3, 3), st.floats(5, 500))
def test_inverse_affine_is_a_round_trip(angle: float, side: float) -> None:
    matrix = Region(np.array([3.0, 4.0]), side, angle).to_image()
    points = np.array([[0.0, 0], [7, 9], [-5, 100]])
    assert np.allclose(apply_affine(matrix, apply_affine(invert_affine(matrix), points)), points)


def test_letterbox_pads_the_short_side_evenly() -> None:
    matrix = letterbox(100, 300)
    assert np.allclose(apply_affine(matrix, np.array([[0.0, 0], [224, 224]])), [[0, -100], [300, 200]])


def test_sampling_keeps_pixel_centres() -> None:
    """A linear ramp is reproduced exactly by bilinear sampling only if centres are where they should be."""
    cols = np.arange(64) + 0.5
    ramp = np.repeat(cols[None], 48, axis=0).astype(np.float32)
    region = Region(np.array([30.0, 24.0]), 20.0, 0.0)
    to_image = region.to_image(32)
    got = sample(ramp, to_image, (32, 32))
    centres = apply_affine(to_image, np.stack(np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5), -1))
    assert np.allclose(got, centres[..., 0], atol=0.05)  # OpenCV interpolates with 5 bits


def test_shrinking_averages_and_keeps_place() -> None:
    """A disc shrunk 8 x keeps its mass and its centre; plain bilinear sampling would alias."""
    rows, cols = np.mgrid[:512, :512] + 0.5
    disc = ((cols - 203) ** 2 + (rows - 310) ** 2 < 60**2).astype(np.float32)
    to_image = np.array([[8.0, 0, 0], [0, 8.0, 0]])
    small = sample(disc, to_image, (64, 64))
    r, c = np.mgrid[:64, :64] + 0.5
    assert small.sum() * 64 == pytest.approx(disc.sum(), rel=0.01)
    assert np.allclose([(small * c).sum() / small.sum() * 8, (small * r).sum() / small.sum() * 8], [203, 310], atol=0.3)


def test_mask_warped_there_and_back_stays() -> None:
    rows, cols = np.mgrid[:200, :300] + 0.5
    blob = (((cols - 140) / 50) ** 2 + ((rows - 90) / 40) ** 2 < 1).astype(np.float32)
    to_image = Region(np.array([140.0, 90.0]), 150.0, 0.4).to_image(256)
    crop = sample(blob, to_image, (256, 256))
    back = sample(crop, invert_affine(to_image), (200, 300)) > 0.5
    assert (back & (blob > 0)).sum() / (back | (blob > 0)).sum() > 0.98
