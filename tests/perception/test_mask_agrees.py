"""A person's mask that contradicts the landmarks is refused; a hidden, cut off or tightly marked person's is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hoirecon.arrays import BoolArray, ByteArray
from hoirecon.errors import InputError
from hoirecon.observation import Box, Keypoints, Observation
from hoirecon.perception import MaskPrompt, PersonDetector, observe

SIZE = (200, 300)
LEFT, RIGHT, BOX = (30, 40, 50, 120), (200, 40, 50, 120), (230, 60, 40, 20)
GREY = np.full((*SIZE, 3), 90, dtype=np.uint8)


class FillBox:
    """Says that the whole box is the object, but for what is the person's."""

    def segment(
        self, image: ByteArray, prompt: MaskPrompt, *, person_mask: BoolArray | None = None, **_: Any
    ) -> BoolArray:
        """Mask of the box."""
        assert prompt.box is not None
        x, y, w, h = (int(v) for v in prompt.box)
        mask = _block((x, y, w, h))
        return mask if person_mask is None else mask & ~person_mask


def _block(box: tuple[int, int, int, int]) -> BoolArray:
    mask = np.zeros(SIZE, dtype=bool)
    x, y, w, h = box
    mask[y : y + h, x : x + w] = True
    return mask


def _within(box: Box) -> Keypoints:
    """Seventeen landmarks on the middle line of a box, surely seen."""
    x, y, w, h = box
    rows = np.linspace(y + 0.05 * h, y + 0.95 * h, 17)
    return Keypoints("coco17", np.stack([np.full(17, x + w / 2), rows], axis=1), np.ones(17))


def _see(prompt: Any, mask: BoolArray, keypoints: Keypoints, **options: Any) -> Observation:
    return observe(GREY, [prompt], segmenter=FillBox(), person_mask=mask, keypoints=keypoints, **options)


@pytest.mark.parametrize("wrong", [~_block(RIGHT), _block(LEFT)], ids=["inverted", "somebody else's"])
@pytest.mark.parametrize("prompt", [(260, 60, 40, 20), _block(BOX)], ids=["box", "mask"])
def test_a_mask_that_the_landmarks_contradict_is_refused(wrong: BoolArray, prompt: Any) -> None:
    """Before the object is cut out: beside an inverted mask no object would be found, and the box be blamed."""
    says = r"person_mask contradicts the landmarks: [0-3] of 17 sure ones lie on it or on an object; is it inverted"
    with pytest.raises(InputError, match=says):
        _see(prompt, wrong, _within(RIGHT))


def test_a_box_round_everything_excuses_no_mask() -> None:
    """All landmarks lie in the object's box, but not on what is found to be the object there."""

    class Lower(FillBox):
        """Finds the object in the lowest rows of its box."""

        def segment(self, image: ByteArray, prompt: MaskPrompt, **_: Any) -> BoolArray:
            return super().segment(image, prompt) & (np.arange(SIZE[0])[:, None] > 150)

    with pytest.raises(InputError, match="contradicts the landmarks"):
        observe(GREY, [(190, 30, 70, 140)], segmenter=Lower(), person_mask=_block(LEFT), keypoints=_within(RIGHT))


def test_an_inverted_mask_of_somebody_small_is_not_called_a_box(block_detector: PersonDetector) -> None:
    image = np.full((1000, 1500, 3), 90, dtype=np.uint8)
    image[500:600, 700:760] = (230, 20, 20)
    with pytest.raises(InputError, match=r"which is the one round person_mask: is the mask inverted"):
        observe(image, [(760, 510, 40, 12)], detector=block_detector, person_mask=image[..., 0] < 200)


def test_who_is_behind_an_object_is_not_refused() -> None:
    head, counter = _block((200, 40, 50, 20)), _block((150, 60, 140, 120))
    for prompt, occluders in ((counter, None), ((150, 60, 140, 120), None), (BOX, counter)):
        seen = _see(prompt, head, _within(RIGHT), occluders=occluders)
        assert seen.person_mask is not None
        assert seen.person_mask.sum() == 50 * 20


def test_landmarks_outside_the_picture_and_unsure_ones_are_not_asked() -> None:
    seen = _within(RIGHT)
    below = replace(seen, xy=seen.xy + np.array([0.0, 110.0]))  # six in the picture, on the mask
    assert _see(BOX, _block((200, 150, 50, 50)), below)
    unsure = replace(seen, confidence=np.r_[np.ones(5), np.full(12, 0.49)])  # five are too few
    assert _see(BOX, _block(LEFT), unsure)
    with pytest.raises(InputError, match="0 of 6 sure"):
        _see(BOX, _block(LEFT), replace(seen, confidence=np.r_[np.ones(6), np.full(11, 0.49)]))


def test_a_mask_drawn_tightly_is_not_refused() -> None:
    seen = _within(RIGHT)
    outside = np.where(np.arange(17)[:, None] < 4, 0.0, [[25.5, 0.0]])  # all but four, half a pixel beside the mask
    assert _see((260, 60, 40, 20), _block(RIGHT), replace(seen, xy=seen.xy + outside))
