"""The real networks on real photographs; skipped where files are missing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hoirecon.arrays import ByteArray
from hoirecon.contact.training.front_end import MIRRORED
from hoirecon.errors import InputError
from hoirecon.images import read_image
from hoirecon.observation import Box, box_of_mask
from hoirecon.perception import blazepose as blazepose_module
from hoirecon.perception.blazepose import LANDMARKS, BlazePose
from hoirecon.perception.observe import observe
from hoirecon.perception.persons import find_persons
from hoirecon.perception.protocols import PersonDetection, PersonDetector

TABLET, BARBELL, PHONE = "tablet_two_hands.jpg", "barbell_lunge.jpg", "phone_at_ear.jpg"


@pytest.fixture(scope="module")
def astronaut() -> ByteArray:
    """A public-domain portrait that comes with scikit-image (no download)."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    if not path.is_file():
        pytest.skip("this scikit-image has no astronaut.png inside")
    return read_image(path).rgb


def _at(name: str) -> int:
    return LANDMARKS.index(name)


def test_it_is_a_detector(blazepose: BlazePose) -> None:
    assert isinstance(blazepose, PersonDetector)


def test_portrait(blazepose: BlazePose, astronaut: ByteArray) -> None:
    (person,) = blazepose.detect(astronaut)
    xy = person.keypoints.xy
    assert person.score > 0.7
    # read off the picture by eye, 512 x 512
    for name, place in {"nose": (222, 125), "left_eye": (240, 110), "right_eye": (205, 110)}.items():
        assert np.linalg.norm(xy[_at(name)] - place) < 15, name
    assert xy[_at("left_shoulder")][0] > xy[_at("right_shoulder")][0]  # she faces us: her left is at our right
    assert person.mask.shape == (512, 512)
    assert person.mask[200, 220] > 0.9
    assert person.mask[20, 20] < 0.1


def test_nobody_in_a_cup_of_coffee(blazepose: BlazePose) -> None:
    import skimage

    image = read_image(Path(skimage.__file__).parent / "data" / "coffee.png").rgb
    assert blazepose.detect(image) == []
    assert blazepose.detect(np.full((300, 300, 3), 128, np.uint8)) == []


def test_a_hit_of_the_detector_alone_is_no_person(blazepose: BlazePose) -> None:
    """The picture of a retina passes the detector's gate (.60); the second network sees nobody there."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / "retina.jpg"
    if not path.is_file():
        pytest.skip("this scikit-image has no retina.jpg inside")
    image = read_image(path).rgb
    assert len(blazepose.candidates(image)[1]) > 0
    assert blazepose.detect(image) == []


def test_two_persons_side_by_side(blazepose: BlazePose, astronaut: ByteArray) -> None:
    persons = blazepose.detect(np.hstack([astronaut, astronaut]))
    assert len(persons) == 2
    assert persons[0].score >= persons[1].score
    left, right = sorted(persons, key=lambda p: p.box[0])
    apart = (right.keypoints.xy - left.keypoints.xy)[: _at("left_shoulder")]  # the face; arms are cut off by the seam
    assert np.allclose(apart, [512, 0], atol=10)
    assert left.mask[:, 600:].mean() < 0.02
    assert right.mask[:, :420].mean() < 0.02


def test_same_input_same_output_whatever_the_threads(blazepose: BlazePose, astronaut: ByteArray) -> None:
    one, again = blazepose.detect(astronaut)[0], BlazePose(threads=2).detect(astronaut)[0]
    assert np.array_equal(one.keypoints.xy, again.keypoints.xy)
    assert np.array_equal(one.mask, again.mask)


def test_mirrored_image_swaps_left_and_right(blazepose: BlazePose, photos: Path) -> None:
    image = read_image(photos / BARBELL).rgb
    person, mirrored = blazepose.detect(image)[0], blazepose.detect(np.ascontiguousarray(image[:, ::-1]))[0]
    swap = [_at(n.replace("left", "#").replace("right", "left").replace("#", "right")) for n in LANDMARKS]
    flipped = mirrored.keypoints.xy[swap] * [-1, 1] + [image.shape[1], 0]
    body = slice(_at("left_shoulder"), None)
    apart = np.linalg.norm(flipped - person.keypoints.xy, axis=1)[body]
    assert np.median(apart) < 0.03 * person.box[3]  # seen from behind, left and right are still told apart


def test_world_landmarks_are_in_camera_axes(blazepose: BlazePose, photos: Path) -> None:
    """x right and y down: 3D points seen from far (x, y) match the pixels up to one positive scale and a shift."""
    person = blazepose.detect(read_image(photos / BARBELL).rgb)[0]
    xyz, xy = person.keypoints.xyz, person.keypoints.xy
    assert xyz is not None
    hips = [_at("left_hip"), _at("right_hip")]
    assert np.allclose(xyz[hips].mean(axis=0), 0, atol=1e-9)
    for k in (0, 1):
        assert np.corrcoef(xyz[:, k], xy[:, k])[0, 1] > 0.9
    metres = np.ptp(xyz[:, 1])
    assert 1.0 < metres < 1.7  # a lunging man, head to heel


def test_depth_grows_away_from_the_camera(blazepose: BlazePose, photos: Path) -> None:
    xyz = blazepose.detect(read_image(photos / TABLET).rgb)[0].keypoints.xyz
    assert xyz is not None
    for side in ("left", "right"):  # she holds the tablet before her
        assert xyz[_at(f"{side}_wrist")][2] < xyz[_at(f"{side}_shoulder")][2] - 0.1


def test_turning_the_image_turns_the_landmarks(blazepose: BlazePose, photos: Path) -> None:
    image = read_image(photos / BARBELL).rgb
    h, w = image.shape[:2]
    turn = cv2.getRotationMatrix2D((w / 2 - 0.5, h / 2 - 0.5), -25, 1)  # clockwise as seen, y down: +25 degrees
    turned = cv2.warpAffine(image, turn, (w, h), borderMode=cv2.BORDER_REPLICATE)
    before, after = blazepose.detect(image)[0].keypoints, blazepose.detect(turned)[0].keypoints
    c, s = np.cos(np.radians(25)), np.sin(np.radians(25))
    R = np.array([[c, -s], [s, c]])
    middle = np.array([w / 2, h / 2])
    apart = np.linalg.norm((before.xy - middle) @ R.T + middle - after.xy, axis=1)
    assert np.median(apart) < 15
    assert before.xyz is not None
    assert after.xyz is not None
    assert np.median(np.linalg.norm(before.xyz[:, :2] @ R.T - after.xyz[:, :2], axis=1)) < 0.06


def test_a_small_person_is_found_near_the_object(blazepose: BlazePose, photos: Path) -> None:
    small = cv2.resize(read_image(photos / BARBELL).rgb, (200, 300), interpolation=cv2.INTER_AREA)
    large = np.full((1500, 2000, 3), 128, np.uint8)
    large[700:1000, 1200:1400] = small
    box = (1200.0, 835.0, 200.0, 60.0)
    assert blazepose.detect(large) == []
    (person,) = find_persons(large, blazepose, [box])
    assert person.box[0] > 1200
    assert person.box[1] > 700
    assert person.mask.shape == (1500, 2000)


def test_mean_of_looks_moves_less_with_the_picture(photos: Path) -> None:
    """A picture shifted by some pixels shows the same person: the mean of six looks depends less on where it began."""
    image = read_image(photos / BARBELL).rgb
    spread = {}
    for looks in (1, 6):
        detector = BlazePose(threads=1, looks=looks)
        found = [detector.detect(np.ascontiguousarray(image[k:, k:]))[0].keypoints.xy + k for k in (0, 5, 11, 17)]
        spread[looks] = float(np.std(found, axis=0).mean())
    assert spread[6] < 0.8 * spread[1]


def test_mirrored_looks_name_sides_as_the_plain_one_does(blazepose: BlazePose, photos: Path) -> None:
    image = read_image(photos / TABLET).rgb
    one, six = BlazePose(threads=1, looks=1).detect(image)[0], blazepose.detect(image)[0]
    apart = np.linalg.norm(one.keypoints.xy - six.keypoints.xy, axis=1)
    assert np.median(apart) < 0.02 * one.box[3]
    assert one.keypoints.xyz is not None
    assert six.keypoints.xyz is not None
    assert np.median(np.linalg.norm(one.keypoints.xyz - six.keypoints.xyz, axis=1)) < 0.05


@pytest.mark.parametrize("looks", [0, 7])
def test_a_number_of_looks_that_there_is_not(looks: int) -> None:
    with pytest.raises(InputError, match="looks"):
        BlazePose(looks=looks)


def test_who_is_told_where_a_person_is_asks_the_landmarks_alone(blazepose: BlazePose, photos: Path) -> None:
    """The detector's gate does not matter then, but a wall is no person, whatever is told."""
    image = read_image(photos / BARBELL).rgb
    (person, *_) = blazepose.detect(image)
    told = blazepose.detect_told(image, person.box)
    assert told is not None
    assert told.score == 0.0
    assert np.median(np.linalg.norm(told.keypoints.xy - person.keypoints.xy, axis=1)) < 0.03 * person.box[3]
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for wall, box in ((np.full((300, 300, 3), 128, np.uint8), (50, 50, 100, 200)), (noise, (6, 5, 51, 38))):
        assert blazepose.detect_told(wall, box) is None


@pytest.mark.parametrize(("name", "limit"), [(BARBELL, 0.05), (PHONE, 0.09)])
def test_somebody_cut_off_at_the_shoulders_is_found_when_told(
    blazepose: BlazePose, photos: Path, name: str, limit: float
) -> None:
    """Without a head the detector finds nobody; a region that is larger than the box shows what of a person it is."""
    image = read_image(photos / name).rgb
    whole = blazepose.detect(image)[0]
    cut = int(whole.keypoints.xy[11:13, 1].mean())
    headless = np.ascontiguousarray(image[cut:])
    true = whole.keypoints.xy - [0, cut]
    assert blazepose.detect(headless) == []
    told = blazepose.detect_told(headless, box_of_mask(whole.mask[cut:] > 0.5))
    assert told is not None
    left = np.linalg.norm(told.keypoints.xy - true, axis=1)[true[:, 1] > 0]
    assert np.median(left) < limit * whole.box[3]


def test_an_observation_takes_the_user_at_their_word(blazepose: BlazePose, photos: Path) -> None:
    image = read_image(photos / BARBELL).rgb
    (person, *_) = blazepose.detect(image)

    class Blind:
        """A detector whose gate lets nobody through."""

        def detect(self, image: ByteArray) -> list[PersonDetection]:
            return []

        def detect_told(self, image: ByteArray, box: Box) -> PersonDetection | None:
            return blazepose.detect_told(image, box)

    seen = observe(image, [], person=person.box, detector=Blind())
    assert any("taken at your word" in note for note in seen.notes)
    with pytest.raises(InputError, match="no person"):
        observe(image, [], detector=Blind())


def test_training_mirrors_landmarks_as_the_detector_does() -> None:
    """The evidence of the small model is mirrored by a table of its own: neither room may import the other."""
    assert MIRRORED.tolist() == blazepose_module._SWAPPED
