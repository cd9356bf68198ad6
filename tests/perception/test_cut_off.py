"""People whom the picture's upper edge cuts off: what their landmarks are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoirecon.arrays import BoolArray
from hoirecon.images import read_image
from hoirecon.observation import Keypoints, runs_off
from hoirecon.perception.blazepose import BlazePose
from hoirecon.perception.cut_off import HEAD, HEAD_TRUST, LEAST_TRUST, NEAR_EDGE, distrust_cut_off, edge_trust
from hoirecon.perception.observe import observe

SIZE = (100, 80)


def _mask(top: int, bottom: int, left: int = 30, right: int = 50) -> BoolArray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def _standing(layout: str = "blazepose33") -> Keypoints:
    """Landmarks from the top of the picture to 90 pixels below it, from the first to the last."""
    count = {"blazepose33": 33, "coco17": 17, "other": 9}[layout]
    return Keypoints(layout, np.stack([np.full(count, 40.0), np.linspace(0, 90, count)], axis=1), np.full(count, 0.9))


@pytest.mark.parametrize(("mask", "edges"), [
    (_mask(10, 90), (False, False, False, False)),
    (_mask(0, 90), (True, False, False, False)),
    (_mask(10, 100), (False, True, False, False)),
    (_mask(10, 90, 0), (False, False, True, False)),
    (_mask(0, 100, 0, 80), (True, True, True, True)),
    (np.zeros(SIZE, dtype=bool), (False, False, False, False)),
])  # fmt: skip
def test_edges_that_a_mask_runs_off(mask: BoolArray, edges: tuple[bool, ...]) -> None:
    assert tuple(runs_off(mask)) == edges


def test_a_few_pixels_at_the_edge_are_noise() -> None:
    mask = _mask(1, 90)
    mask[0, 40:43] = True  # 3 of 90
    assert not runs_off(mask).top
    mask[0, 40:44] = True  # 4 of 90
    assert runs_off(mask).top


@pytest.mark.parametrize("layout", ["blazepose33", "coco17", "other"])
def test_the_head_and_what_is_near_the_top_are_hardly_believed(layout: str) -> None:
    seen = _standing(layout)
    trust = edge_trust(seen)
    heads = HEAD.get(layout, 0)
    expected = [max(LEAST_TRUST, min(1.0, y / (NEAR_EDGE * 90))) * (HEAD_TRUST if k < heads else 1)
                for k, y in enumerate(seen.xy[:, 1])]  # fmt: skip
    assert np.allclose(trust, expected)
    assert np.allclose(distrust_cut_off(seen, _mask(0, 90)).confidence, 0.9 * trust)
    assert trust[-1] == 1.0


@pytest.mark.parametrize("mask", [_mask(10, 90), _mask(10, 100), _mask(10, 90, 0), _mask(10, 90, 30, 80)])
def test_elsewhere_all_is_as_the_detector_says(mask: BoolArray) -> None:
    seen = _standing()
    assert distrust_cut_off(seen, mask) is seen


def test_a_photograph_cut_off_at_the_shoulders_says_so(blazepose: BlazePose, photos: Path) -> None:
    """The user's own landmarks are taken at their word; the whole photograph has nothing to say."""
    image = read_image(photos / "barbell_lunge.jpg").rgb
    (person, *_) = blazepose.detect(image)
    cut = int(person.keypoints.xy[11:13, 1].mean())
    headless, mask = np.ascontiguousarray(image[cut:]), person.mask[cut:] > 0.5
    seen = observe(headless, [], person_mask=mask, detector=blazepose)
    assert any("runs off the picture's top" in note for note in seen.notes)
    assert seen.keypoints is not None
    assert seen.keypoints.confidence[:11].max() <= HEAD_TRUST
    assert np.median(seen.keypoints.confidence[25:]) > 0.5
    own = observe(headless, [], person_mask=mask, detector=blazepose, keypoints=person.keypoints)
    assert own.keypoints is person.keypoints
    whole = observe(image, [], detector=blazepose)
    assert not any("runs off" in note for note in whole.notes)
