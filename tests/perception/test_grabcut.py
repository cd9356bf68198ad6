"""GrabCut on made scenes with known masks, hands before the object, and on the photographs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hoirecon.arrays import BoolArray, ByteArray, FloatArray
from hoirecon.errors import InputError
from hoirecon.images import read_image
from hoirecon.observation import Keypoints
from hoirecon.perception.blazepose import BlazePose
from hoirecon.perception.grabcut import GrabCutSegmenter
from hoirecon.perception.hands import find_hands
from hoirecon.perception.protocols import MaskPrompt, Scribble, Segmenter

SIZE = (240, 320)
SKIN = np.array([205, 160, 135.0])


def _iou(a: BoolArray, b: BoolArray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def _ground(seed: int = 0) -> FloatArray:
    """Blurred green and brown blotches."""
    noise = np.random.default_rng(seed).normal(0, 1, (*SIZE, 1))
    blotches = cv2.GaussianBlur(noise, (0, 0), 12)[..., None] * 400
    ground: FloatArray = np.clip(np.array([90, 110, 60]) + blotches * [0.6, 0.3, 0.1], 0, 255)
    return ground


def _paint(layers: list[tuple[BoolArray, FloatArray]]) -> ByteArray:
    image = _ground()
    for mask, colour in layers:
        image[mask] = colour
    noise = np.random.default_rng(1).normal(0, 5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _slab() -> BoolArray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.array([[100, 80], [220, 110], [200, 180], [80, 150]]), 1)
    return mask > 0


def _hand_at(x: float, y: float) -> tuple[BoolArray, Keypoints]:
    """A skin-coloured hand as capsules, and landmarks of which only that arm's are seen."""
    xy = np.zeros((33, 2)) - 500
    arm = {14: (x + 90, y + 60), 16: (x + 30, y + 15), 18: (x + 6, y + 14), 20: (x, y), 22: (x + 12, y - 10)}
    for i, place in arm.items():
        xy[i] = place
    xy[[11, 12]] = [[x + 100, y - 60], [x + 10, y - 60]]
    confidence = np.zeros(33)
    confidence[list(arm)] = 0.9
    drawn, pixel = np.zeros(SIZE, dtype=np.uint8), xy.astype(int).tolist()
    for tip in (18, 20, 22):
        cv2.line(drawn, pixel[16], pixel[tip], 1, 13)
    cv2.line(drawn, pixel[14], pixel[16], 1, 20)
    return drawn > 0, Keypoints("blazepose33", xy, confidence)


def test_it_is_a_segmenter() -> None:
    assert isinstance(GrabCutSegmenter(), Segmenter)


def test_box_alone_on_a_plain_object() -> None:
    slab = _slab()
    image = _paint([(slab, np.array([120, 125, 130.0]))])
    got = GrabCutSegmenter().segment(image, MaskPrompt(box=(75, 75, 150, 110)))
    assert _iou(got, slab) > 0.97


def test_fingers_before_the_object_are_left_out() -> None:
    slab = _slab()
    hand, keypoints = _hand_at(190, 130)
    image = _paint([(slab, np.array([120, 125, 130.0])), (hand, SKIN)])
    visible = slab & ~hand
    prompt = MaskPrompt(box=(75, 75, 220, 125))  # holds the whole arm, so that nothing outside teaches its colour
    got = GrabCutSegmenter().segment(image, prompt, person_mask=slab | hand, keypoints=keypoints)
    without = GrabCutSegmenter().segment(image, prompt)
    assert _iou(got, visible) > 0.95
    assert (got & hand).sum() < 0.03 * hand.sum()
    assert _iou(without, visible) < 0.8


def test_a_bare_arm_in_the_box_is_not_the_object() -> None:
    """The arm lies far from any hand and wholly in the box, so that nothing else tells it from the object."""
    slab, arm = np.zeros(SIZE, dtype=bool), np.zeros(SIZE, dtype=np.uint8)
    slab[70:110, 60:260] = True
    cv2.line(arm, (100, 140), (220, 140), 1, 26)
    xy, confidence = np.full((33, 2), 5.0), np.zeros(33)
    xy[[12, 14, 16, 18, 20, 22]] = [[100, 140], [220, 140], [300, 230], [305, 235], [300, 236], [296, 234]]
    xy[[11, 23, 24]] = [[40, 140], [40, 142], [100, 142]]
    confidence[[12, 14, 16, 18, 20, 22]] = 0.9
    hand = np.zeros(SIZE, dtype=bool)
    hand[222:240, 285:315] = True  # teaches the colour
    image = _paint([(slab, np.array([70, 80, 160.0])), ((arm > 0) | hand, SKIN)])
    prompt, keypoints = MaskPrompt(box=(50, 60, 220, 105)), Keypoints("blazepose33", xy, confidence)
    got = GrabCutSegmenter().segment(image, prompt, person_mask=(arm > 0) | hand, keypoints=keypoints)
    assert _iou(got, slab) > 0.95
    assert _iou(GrabCutSegmenter().segment(image, prompt), slab) < 0.9


def test_an_object_of_the_hands_colour_is_not_lost() -> None:
    slab = _slab()
    hand, keypoints = _hand_at(190, 130)
    image = _paint([(slab, SKIN * 0.9), (hand, SKIN)])
    prompt = MaskPrompt(box=(75, 75, 150, 110))
    got = GrabCutSegmenter().segment(image, prompt, person_mask=slab | hand, keypoints=keypoints)
    assert (got & slab & ~hand).sum() > 0.9 * (slab & ~hand).sum()


def test_a_thin_bar_from_one_stroke() -> None:
    bar = np.zeros(SIZE, dtype=np.uint8)
    cv2.line(bar, (20, 150), (300, 100), 1, 7)
    image = _paint([(bar > 0, np.array([190, 190, 195.0]))])
    prompt = MaskPrompt(box=(10, 90, 300, 70), scribbles=(Scribble(np.array([[30.0, 148], [290, 102]]), 3),))
    assert _iou(GrabCutSegmenter().segment(image, prompt), bar > 0) > 0.9


def test_points_without_a_box_and_negative_points() -> None:
    left, right = np.zeros(SIZE, dtype=bool), np.zeros(SIZE, dtype=bool)
    left[90:150, 90:140], right[90:150, 170:220] = True, True
    image = _paint([(left | right, np.array([40, 40, 160.0]))])
    cutter = GrabCutSegmenter(point_radius=4)
    both = cutter.segment(image, MaskPrompt(points=((115, 120), (195, 120))))
    assert _iou(both, left | right) > 0.95
    one = cutter.segment(image, MaskPrompt(box=(60, 60, 200, 120), points=((115, 120),)))
    assert _iou(one, left) > 0.95  # alike, but it touches no mark
    none = cutter.segment(
        image, MaskPrompt(box=(60, 60, 200, 120), points=((115, 120),), negative_points=((115, 120),))
    )
    assert not none[115:125, 112:118].any()


def test_nothing_outside_the_box_and_the_same_twice() -> None:
    image = _paint([(_slab(), np.array([120, 125, 130.0]))])
    prompt = MaskPrompt(box=(100, 100, 60, 40))
    first = GrabCutSegmenter().segment(image, prompt)
    cv2.setRNGSeed(77)
    assert np.array_equal(first, GrabCutSegmenter().segment(image, prompt))
    outside = first.copy()
    outside[100:140, 100:160] = False
    assert not outside.any()


def test_shifting_the_image_shifts_the_mask() -> None:
    image = _paint([(_slab(), np.array([120, 125, 130.0]))])
    got = GrabCutSegmenter().segment(image, MaskPrompt(box=(75, 75, 150, 110)))
    moved = np.roll(image, (10, -20), axis=(0, 1))
    got_moved = GrabCutSegmenter().segment(moved, MaskPrompt(box=(55, 85, 150, 110)))
    assert np.array_equal(np.roll(got, (10, -20), axis=(0, 1)), got_moved)


def test_an_image_that_the_box_fills_is_no_crash() -> None:
    image = _paint([(_slab(), np.array([120, 125, 130.0]))])
    got = GrabCutSegmenter().segment(image, MaskPrompt(box=(0, 0, 320, 240)))
    assert got.shape == SIZE


def test_prompts_outside_are_refused() -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    for prompt in (MaskPrompt(box=(400, 10, 20, 20)), MaskPrompt(box=(1, 1, 0, 5)), MaskPrompt(points=((-5, 3),))):
        with pytest.raises(InputError):
            GrabCutSegmenter().segment(image, prompt)


def test_hand_colour_is_told_from_grey_that_mirrors_it() -> None:
    hand, keypoints = _hand_at(150, 120)
    mirror = np.zeros(SIZE, dtype=bool)
    mirror[60:100, 100:200] = True
    tint = np.array([150, 150, 150.0]) + 0.3 * (SKIN - SKIN.mean())
    hands = find_hands(_paint([(mirror, tint), (hand, SKIN)]), keypoints)
    assert hands is not None
    assert hands.alike[hand].mean() > 0.9
    assert hands.alike[mirror].mean() < 0.1
    assert (hands.sure & ~hand).sum() < 0.1 * hands.sure.sum()
    assert not hands.near[:, :40].any()


def test_no_hands_without_landmarks() -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    assert find_hands(image, None) is None
    assert find_hands(image, Keypoints("coco17", np.ones((17, 2)), np.ones(17))) is None
    assert find_hands(image, Keypoints("blazepose33", np.ones((33, 2)), np.zeros(33))) is None


# Intersection over union with outlines drawn by eye (photo_polygons.json) must stay above these; measured when they
# were set: .88, .77, .90. The phone's right edge is dark on dark hair: its outline is itself a guess.
PHOTO_FLOORS = {"barbell_lunge.jpg": 0.85, "phone_at_ear.jpg": 0.70, "tablet_two_hands.jpg": 0.86}


def drawn_mask(entry: dict[str, list[list[list[float]]]], size: tuple[int, int]) -> BoolArray:
    """Mask of outlines minus holes; continuous pixels to OpenCV's, with 4 fractional bits."""
    mask = np.zeros(size, dtype=np.uint8)
    for key, value in (("outer", 1), ("holes", 0)):
        for polygon in entry[key]:
            cv2.fillPoly(mask, [np.round((np.array(polygon) - 0.5) * 16).astype(np.int32)], value, shift=4)
    return mask > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTO_FLOORS)
def test_photograph_masks_match_outlines_drawn_by_eye(name: str, photos: Path, blazepose: BlazePose) -> None:
    root = Path(__file__).resolve().parents[2]
    outlines = json.loads((root / "tests/perception/photo_polygons.json").read_text())
    prompts = json.loads((root / "docs/photos.json").read_text())["photos"]
    prompt = MaskPrompt.from_dict(next(p for p in prompts if p["file"] == name))
    image = read_image(photos / name).rgb
    person = blazepose.detect(image)[0]
    got = GrabCutSegmenter().segment(image, prompt, person_mask=person.mask > 0.5, keypoints=person.keypoints)
    assert _iou(got, drawn_mask(outlines[name], image.shape[:2])) > PHOTO_FLOORS[name]
