"""The whole stage with a fake detector and segmenter: who is taken, what is said, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from PIL import Image

from hoirecon.arrays import BoolArray, ByteArray
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.observation import Box, Keypoints
from hoirecon.perception import MaskPrompt, PersonDetection, PersonDetector, observe
from hoirecon.perception.persons import choose_person, detect_in, find_persons, landmarks_fill, persons_in

SIZE = (200, 300)
LEFT, RIGHT, BOX = (30, 40, 50, 120), (200, 40, 50, 120), (230, 60, 40, 20)


class Recorder(PersonDetector, Protocol):
    """A detector that remembers what it was shown."""

    calls: list[tuple[int, int]]


class FillBox:
    """Says that the whole box is the object, but for the person's hands at its left quarter."""

    def __init__(self) -> None:
        self.person_mask: BoolArray | None = None
        self.keypoints: Keypoints | None = None

    def segment(
        self,
        image: ByteArray,
        prompt: MaskPrompt,
        *,
        person_mask: BoolArray | None = None,
        keypoints: Keypoints | None = None,
    ) -> BoolArray:
        """Mask of the box."""
        self.person_mask, self.keypoints = person_mask, keypoints
        x, y, w, h = (int(v) for v in prompt.region(image.shape[1], image.shape[0]))
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[y : y + h, x : x + w] = True
        return mask


def _scene(boxes: list[tuple[int, int, int, int]]) -> ByteArray:
    image = np.full((*SIZE, 3), (90, 90, 90), dtype=np.uint8)
    for x, y, w, h in boxes:
        image[y : y + h, x : x + w] = (230, 20, 20)
    return image


def _see(image: Any, prompts: list[Any], detector: PersonDetector, **options: Any) -> Any:
    return observe(image, prompts, detector=detector, segmenter=options.pop("segmenter", FillBox()), **options)


def test_one_person_and_one_object(block_detector: PersonDetector) -> None:
    cutter = FillBox()
    seen = _see(_scene([RIGHT]), [MaskPrompt(box=BOX)], block_detector, segmenter=cutter)
    assert seen.person_box == RIGHT
    assert seen.object_masks[0].sum() == 40 * 20
    assert not (seen.person_mask & seen.object_masks[0]).any()
    assert seen.person_mask.sum() == 50 * 120 - 20 * 20  # what the object covers is not the person's
    assert seen.occluders is None
    assert cutter.person_mask is not None
    assert cutter.person_mask.sum() == 50 * 120
    assert cutter.keypoints is seen.keypoints
    assert any("camera" in note for note in seen.notes)
    assert not any("persons" in note for note in seen.notes)


@pytest.mark.parametrize(
    ("fill", "says"), [(False, "person_mask is empty"), (True, "person_mask is the whole picture")]
)
def test_a_person_mask_that_says_nothing_is_refused(block_detector: PersonDetector, fill: bool, says: str) -> None:
    image = _scene([RIGHT])
    with pytest.raises(InputError, match=f"{says}: mark the person's visible pixels"):
        _see(image, [MaskPrompt(box=BOX)], block_detector, person_mask=np.full(image.shape[:2], fill))


@pytest.mark.parametrize(
    ("box", "number"), [(BOX, 1), ((70, 60, 40, 20), 0), ((100, 60, 20, 20), 0), ((170, 60, 20, 9), 1)]
)
def test_of_two_the_one_who_touches_the_box_else_the_nearest(
    block_detector: PersonDetector, box: tuple[int, int, int, int], number: int
) -> None:
    seen = _see(_scene([LEFT, RIGHT]), [box], block_detector)
    assert seen.person_box == (LEFT, RIGHT)[number]
    (note,) = [n for n in seen.notes if "2 persons" in n]
    assert f"person {number} counted from 0" in note
    other = (LEFT, RIGHT)[1 - number]
    assert seen.occluders is not None
    assert seen.occluders[other[1] + 60, other[0] + 25]
    assert not (seen.occluders & (seen.person_mask | seen.object_masks[0])).any()


def test_a_person_can_be_asked_for(block_detector: PersonDetector) -> None:
    image = _scene([LEFT, RIGHT])
    assert _see(image, [BOX], block_detector, person=0).person_box == LEFT
    assert _see(image, [BOX], block_detector, person=(28.0, 38.0, 54.0, 124.0)).person_box == LEFT
    with pytest.raises(InputError, match="2 were found"):
        _see(image, [BOX], block_detector, person=2)
    with pytest.raises(InputError, match="'auto'"):
        _see(image, [BOX], block_detector, person="bob")
    with pytest.raises(InputError, match="nobody"):
        _see(image, [BOX], block_detector, person=(120.0, 10.0, 40.0, 40.0))


def test_nobody_ends_in_one_sentence(block_detector: PersonDetector) -> None:
    with pytest.raises(InputError, match="no person was found"):
        _see(_scene([]), [BOX], block_detector)


def test_the_surroundings_of_the_object_are_searched_too(block_detector: Recorder) -> None:
    image = np.full((1000, 1500, 3), 90, dtype=np.uint8)
    image[500:540, 700:720] = (230, 20, 20)  # 800 pixels: too small for the detector in the whole image
    seen = _see(image, [(715, 510, 40, 12)], block_detector)
    assert seen.person_box == (700, 500, 20, 40)
    assert block_detector.calls[0] == (1000, 1500)
    assert len(block_detector.calls) > 1


def test_a_small_person_at_the_object_beats_a_large_one_elsewhere(block_detector: PersonDetector) -> None:
    image = np.full((1000, 1500, 3), 90, dtype=np.uint8)
    image[200:900, 100:400] = image[500:540, 1200:1220] = (230, 20, 20)
    seen = _see(image, [(1215, 510, 40, 12)], block_detector)
    assert seen.person_box == (1200, 500, 20, 40)


def test_the_same_person_is_not_found_twice(block_detector: PersonDetector) -> None:
    image = _scene([LEFT])
    assert len(find_persons(image, block_detector, [(100, 60, 20, 20)])) == 1


def test_detection_in_a_cut_out_is_in_whole_image_pixels(block_detector: PersonDetector) -> None:
    (person,) = detect_in(_scene([RIGHT]), block_detector, (180, 20, 100, 170))
    assert person.box == RIGHT
    assert np.allclose(person.keypoints.xy[0], [225, 100])
    assert person.mask.sum() == 50 * 120


def test_no_object_takes_the_surest(block_detector: PersonDetector) -> None:
    persons = block_detector.detect(_scene([LEFT, RIGHT]))
    surer = PersonDetection(persons[1].box, 0.99, persons[1].keypoints, persons[1].mask)
    picked, notes = choose_person([persons[0], surer], "auto", [])
    assert picked is surer
    assert len(notes) == 1


def test_masks_may_be_given_as_arrays_and_files(block_detector: PersonDetector, tmp_path: Path) -> None:
    mask = np.zeros(SIZE, dtype=bool)
    mask[60:80, 230:270] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "m.png")
    np.savez(tmp_path / "m.npz", mask=mask)
    for prompt in (mask, mask.astype(np.uint8) * 255, tmp_path / "m.png", str(tmp_path / "m.npz")):
        seen = _see(_scene([RIGHT]), [prompt], block_detector, segmenter="grabcut")
        assert np.array_equal(seen.object_masks[0], mask)


def test_given_mask_and_landmarks_need_no_detector() -> None:
    class Never:
        def detect(self, image: ByteArray) -> list[PersonDetection]:
            pytest.fail("not needed")

    body = np.zeros(SIZE, dtype=bool)
    body[40:160, 30:80] = True
    keypoints = Keypoints("coco17", np.full((17, 2), 50.0), np.ones(17))
    seen = _see(_scene([]), [BOX], Never(), person_mask=body, keypoints=keypoints)
    assert np.array_equal(seen.person_mask, body)
    assert seen.keypoints is keypoints
    assert seen.person_box == LEFT


def test_a_given_mask_or_landmarks_choose_the_person(block_detector: PersonDetector) -> None:
    body = np.zeros(SIZE, dtype=bool)
    body[40:160, 30:80] = True
    seen = _see(_scene([LEFT, RIGHT]), [BOX], block_detector, person_mask=body)
    assert seen.person_box == LEFT
    around = np.array([[200.0, 45], [250, 160]] * 8 + [[220, 60]])
    own = Keypoints("coco17", around, np.ones(17))
    seen = _see(_scene([LEFT, RIGHT]), [(35, 60, 20, 20)], block_detector, keypoints=own)
    assert seen.person_box == RIGHT
    assert seen.keypoints is own


def test_landmarks_of_which_none_is_seen_are_refused_in_words(block_detector: PersonDetector) -> None:
    unseen = Keypoints("coco17", np.full((17, 2), 50.0), np.zeros(17))
    with pytest.raises(InputError, match="no landmark of keypoints"):
        _see(_scene([LEFT]), [BOX], block_detector, keypoints=unseen)


def test_two_objects_share_no_pixel(block_detector: PersonDetector) -> None:
    seen = _see(_scene([RIGHT]), [(230, 60, 40, 20), (250, 60, 40, 20)], block_detector)
    first, second = seen.object_masks
    assert first.sum() == 800
    assert second.sum() == 400
    assert not (first & second).any()


def test_an_empty_object_is_answered_with_advice(block_detector: PersonDetector) -> None:
    class Nothing(FillBox):
        def segment(self, image: ByteArray, prompt: MaskPrompt, **_: Any) -> BoolArray:
            return np.zeros(image.shape[:2], dtype=bool)

    with pytest.raises(InputError, match="scribbles"):
        _see(_scene([RIGHT]), [BOX], block_detector, segmenter=Nothing())
    with pytest.raises(InputError, match="marks 0 pixels"):
        _see(_scene([RIGHT]), [np.zeros(SIZE, dtype=bool)], block_detector)


@pytest.mark.parametrize(
    "prompt",
    [(1, 2, 3), (400, 10, 5, 5), (10, 10, 0, 5), 7, np.zeros((5, 5), bool), "missing.png", np.full(SIZE, 0.5j)],
)
def test_bad_prompts_end_in_one_sentence(block_detector: PersonDetector, prompt: Any) -> None:
    with pytest.raises(InputError) as caught:
        _see(_scene([RIGHT]), [prompt], block_detector)
    assert "\n" not in str(caught.value)


def test_a_box_without_its_list_and_landmarks_without_their_names_are_told(block_detector: PersonDetector) -> None:
    with pytest.raises(InputError, match="one prompt per object"):
        _see(_scene([RIGHT]), list(BOX), block_detector)
    with pytest.raises(InputError, match=r"of type ndarray: give Keypoints\(layout, xy, confidence\)"):
        _see(_scene([RIGHT]), [BOX], block_detector, keypoints=np.zeros((17, 2)))


def test_cameras_are_handed_on(block_detector: PersonDetector) -> None:
    image = _scene([RIGHT])
    own = Camera.from_focal(321, SIZE[1], SIZE[0])
    assert _see(image, [BOX], block_detector, camera=own).camera is own
    assert _see(image, [BOX], block_detector, focal_px=500).camera.focal == (500, 500)
    with pytest.raises(InputError, match="twice"):
        _see(image, [BOX], block_detector, camera=own, focal_px=500)
    with pytest.raises(InputError, match="resized"):
        _see(image, [BOX], block_detector, camera=Camera.from_focal(321, 30, 20))


def test_a_box_alone_is_said_to_be_unsure(block_detector: PersonDetector) -> None:
    image = _scene([RIGHT])
    image[60:80, 252:290] = (20, 30, 200)
    box, stroke = MaskPrompt(box=(248, 55, 46, 30)), {"box": [248, 55, 46, 30], "points": [[270, 70]]}
    alone = observe(image, [box], detector=block_detector)
    assert any("box" in note for note in alone.notes)
    assert alone.object_masks[0].sum() == pytest.approx(20 * 38, rel=0.25)
    marked = observe(image, [MaskPrompt.from_dict(stroke)], detector=block_detector)
    assert not any("box" in note for note in marked.notes)


def test_given_occluders_are_kept(block_detector: PersonDetector) -> None:
    table = np.zeros(SIZE, dtype=bool)
    table[170:] = True
    seen = _see(_scene([LEFT, RIGHT]), [BOX], block_detector, occluders=table)
    assert seen.occluders[170:].all()
    assert seen.occluders[100, 50]


def _landmarks(box: Box, confidence: float = 1.0) -> Keypoints:
    """Seventeen landmarks that span a box."""
    x, y, w, h = box
    t = np.linspace(0, 1, 17)
    return Keypoints("coco17", np.stack([x + w * t, y + h * t**2], axis=1), np.full(17, confidence))


class Tellable:
    """Sees one person, and when told where to look, sees them otherwise."""

    def __init__(self, seen: Box | None, told: Box | None) -> None:
        self.seen, self.told, self.asked = seen, told, 0

    def _person(self, box: Box, image: ByteArray) -> PersonDetection:
        mask = (image[..., 0] > 200).astype(np.float32)
        left, top = np.argwhere(mask).min(axis=0)[::-1] - RIGHT[:2]  # of the whole picture, in this cut-out
        x, y, w, h = box
        return PersonDetection(
            (RIGHT[0] + left, RIGHT[1] + top, *RIGHT[2:]), 0.9, _landmarks((x + left, y + top, w, h)), mask
        )

    def detect(self, image: ByteArray) -> list[PersonDetection]:
        """The red block, with landmarks elsewhere."""
        return [] if self.seen is None else [self._person(self.seen, image)]

    def detect_told(self, image: ByteArray, box: Box) -> PersonDetection | None:
        """Counts how often it is asked."""
        self.asked += 1
        return None if self.told is None else self._person(self.told, image)


SQUEEZED = (210.0, 60.0, 20.0, 30.0)
"""Landmarks that fill a twelfth of the person's box."""


@pytest.mark.parametrize(
    ("seen", "told", "expected", "asked"),
    [
        (RIGHT, SQUEEZED, RIGHT, 0),  # seen well: nobody asks again
        (SQUEEZED, RIGHT, RIGHT, 1),  # squeezed, and better when told
        ((205, 45, 30, 70), SQUEEZED, (205, 45, 30, 70), 1),  # worse when told
        (SQUEEZED, None, SQUEEZED, 1),
        (None, RIGHT, RIGHT, 1),
        (None, None, None, 1),
    ],
)
def test_landmarks_that_do_not_fill_the_told_box_are_asked_for_again(
    seen: Box | None, told: Box | None, expected: Box | None, asked: int
) -> None:
    detector = Tellable(seen, told)
    image = _scene([RIGHT])
    found = persons_in(image, detector, RIGHT)
    assert detector.asked == asked
    if expected is None:
        assert found == []
        return
    (person,) = found
    low, high = person.keypoints.xy.min(axis=0), person.keypoints.xy.max(axis=0)
    assert np.allclose([*low, *(high - low)], expected)


def test_others_in_the_told_box_stay_beside_the_one_who_was_told() -> None:
    """The mask of a neighbour is an occluder's: only the same person is replaced."""

    class Two(Tellable):
        """Sees somebody at the left edge of its picture too."""

        def detect(self, image: ByteArray) -> list[PersonDetection]:
            mask = np.zeros(image.shape[:2], dtype=np.float32)
            mask[:, :20] = 1
            return [*super().detect(image), PersonDetection((0, 0, 20, 90), 0.8, _landmarks((5, 5, 9, 9)), mask)]

    found = persons_in(_scene([RIGHT]), Two(SQUEEZED, RIGHT), RIGHT)
    assert [round(p.box[2]) for p in found] == [50, 20]
    assert np.allclose(found[0].keypoints.xy[0], RIGHT[:2])


def test_how_landmarks_fill_a_box() -> None:
    size = (200, 300)
    assert landmarks_fill(_landmarks(RIGHT), RIGHT, size) == pytest.approx(1.0)
    assert landmarks_fill(_landmarks(SQUEEZED), RIGHT, size) == pytest.approx(20 * 30 / (50 * 120))
    assert landmarks_fill(_landmarks(RIGHT, confidence=0.4), RIGHT, size) == 0.0  # a guess
    assert landmarks_fill(_landmarks(LEFT), RIGHT, size) == 0.0
    outside = _landmarks((200.0, 40.0, 50.0, 400.0))  # what lies below the picture's edge shows nothing
    assert 0.5 < landmarks_fill(outside, (200, 40, 50, 160), size) < 0.7


def test_who_hardly_fills_the_told_box_is_not_the_person_in_it() -> None:
    """A mask in the right place does not help, if the landmarks are all on one spot."""
    mask = np.zeros(SIZE, dtype=np.float32)
    mask[40:160, 200:250] = 1
    on_a_spot = PersonDetection(RIGHT, 0.9, _landmarks((220.0, 90.0, 9.0, 9.0)), mask)
    with pytest.raises(InputError, match="nobody was found in the person box"):
        choose_person([on_a_spot], RIGHT, [])
    assert choose_person([on_a_spot], "auto", [])[0] is on_a_spot
