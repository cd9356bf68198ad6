"""Photographs and models if this machine has them, and a detector that needs neither."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hoirecon.arrays import ByteArray
from hoirecon.errors import HoireconError
from hoirecon.observation import Keypoints
from hoirecon.perception.blazepose import BlazePose
from hoirecon.perception.protocols import PersonDetection

PHOTO_NAMES = ("barbell_lunge.jpg", "phone_at_ear.jpg", "tablet_two_hands.jpg")


@pytest.fixture(scope="session")
def photos() -> Path:
    """Folder of the three photographs, which are not part of the repository."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("HOIRECON_PHOTOS", root.parent / "shared" / "photos"))
    if not all((folder / name).is_file() for name in PHOTO_NAMES):
        pytest.skip("the photographs are not here: set HOIRECON_PHOTOS to their folder")
    return folder


@pytest.fixture(scope="session")
def blazepose() -> BlazePose:
    """The real detector."""
    try:
        return BlazePose(threads=1)
    except HoireconError as err:
        pytest.skip(str(err))


class BlockPersons:
    """Sees a person wherever a saturated red block is; boxes are exact. Stands in for a real detector."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def detect(self, image: ByteArray) -> list[PersonDetection]:
        """One person per 8-connected red block of at least 1/400 of the image."""
        from hoirecon.perception.masks import components

        self.calls.append((image.shape[0], image.shape[1]))
        red = (image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] < 60)
        labels, areas = components(red)
        found = []
        for i in range(1, len(areas)):
            if areas[i] * 400 >= red.size:
                found.append(block_person(labels == i))
        return sorted(found, key=lambda p: -p.score)


def block_person(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], score: float = 0.9) -> PersonDetection:
    """A detection whose landmarks lie in the middle of a mask and at the sides of its box, in turn."""
    rows, cols = np.nonzero(mask)
    box = (
        float(cols.min()),
        float(rows.min()),
        float(cols.max() + 1 - cols.min()),
        float(rows.max() + 1 - rows.min()),
    )
    middle = np.array([cols.mean() + 0.5, rows.mean() + 0.5])
    x, y, w, h = box
    sides = [middle, (x, y), (x + w, y), (x, y + h), (x + w, y + h)]
    keypoints = Keypoints("coco17", np.array([sides[k % 5] for k in range(17)], dtype=np.float64), np.ones(17))
    return PersonDetection(box, score, keypoints, mask.astype(np.float32))


def red_blocks(
    size: tuple[int, int], boxes: Sequence[tuple[int, int, int, int]], ground: tuple[int, int, int] = (90, 90, 90)
) -> ByteArray:
    """Image (H, W, 3) with red blocks (x, y, w, h) on a plain ground."""
    image = np.full((*size, 3), ground, dtype=np.uint8)
    for x, y, w, h in boxes:
        image[y : y + h, x : x + w] = (230, 20, 20)
    return image


@pytest.fixture
def block_detector() -> BlockPersons:
    """See :class:`BlockPersons`."""
    return BlockPersons()
