"""Mask mending against slow twins and closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from hoirecon.arrays import BoolArray
from hoirecon.perception.masks import drop_strays, fill_holes, largest_component, refine_person_mask

RANDOM = np.random.default_rng(0).random((40, 50)) > 0.6


def iou(a: BoolArray, b: BoolArray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_largest_component_equals_its_slow_twin() -> None:
    labels, count = ndimage.label(RANDOM, np.ones((3, 3)))
    areas = [(labels == i).sum() for i in range(1, count + 1)]
    assert np.array_equal(largest_component(RANDOM), labels == 1 + int(np.argmax(areas)))
    assert not largest_component(np.zeros((5, 5), dtype=bool)).any()


def test_holes_up_to_a_size_are_filled() -> None:
    mask = np.ones((30, 40), dtype=bool)
    mask[5, 5] = mask[10:13, 10:13] = mask[20:26, 20:26] = False
    mask[:, 0] = mask[15, :3] = False  # a bay is no hole
    filled = fill_holes(mask, 9)
    assert filled[5, 5]
    assert filled[10:13, 10:13].all()
    assert not filled[20:26, 20:26].any()
    assert not filled[15, :3].any()


@pytest.mark.parametrize("limit", [0, 2, 10_000])
def test_fill_holes_equals_its_slow_twin(limit: int) -> None:
    labels, count = ndimage.label(~RANDOM)
    want = RANDOM.copy()
    for i in range(1, count + 1):
        piece = labels == i
        on_border = piece[0].any() or piece[-1].any() or piece[:, 0].any() or piece[:, -1].any()
        if not on_border and piece.sum() <= limit:
            want |= piece
    assert np.array_equal(fill_holes(RANDOM, limit), want)


def test_strays_go_unless_a_mark_is_on_them() -> None:
    mask = np.zeros((20, 40), dtype=bool)
    mask[2:12, 2:12] = mask[15:17, 30:32] = True
    assert np.array_equal(drop_strays(mask, 0.1), largest_component(mask))
    mark = np.zeros_like(mask)
    mark[15, 30] = True
    assert drop_strays(mask, 0.1, keep=mark).sum() == 4
    assert np.array_equal(drop_strays(mask, 0.01), mask)


def test_a_blurred_outline_is_brought_to_the_edge() -> None:
    rows, cols = np.mgrid[:300, :240]
    truth = (((cols - 120) / 60) ** 2 + ((rows - 150) / 110) ** 2 < 1) | ((abs(cols - 120) < 12) & (rows < 60))
    noise = np.random.default_rng(1).normal(0, 8, (300, 240, 3))
    image = np.clip(np.where(truth[..., None], [150, 60, 40], [60, 90, 140]) + noise, 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(np.roll(truth, 2, axis=1).astype(np.float32), (0, 0), 4)
    refined = refine_person_mask(image, blurred)
    assert iou(blurred > 0.5, truth) < 0.97
    assert iou(refined, truth) > 0.99


def test_refining_moves_the_outline_by_the_band_at_most() -> None:
    """On an image without any edge at the outline, the mask's inner part and outer part stay."""
    image = np.random.default_rng(2).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    rows, cols = np.mgrid[:256, :256]
    distance = np.hypot(rows - 128, cols - 128)
    refined = refine_person_mask(image, (distance < 100).astype(np.float32), band=4.0)
    reach = 4.0 * 200 / 256 + 2
    assert refined[distance < 100 - reach].all()
    assert not refined[distance > 100 + reach].any()


def test_refining_nothing_gives_nothing() -> None:
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    assert not refine_person_mask(image, np.zeros((20, 30))).any()
    assert refine_person_mask(image, np.ones((20, 30))).all()
