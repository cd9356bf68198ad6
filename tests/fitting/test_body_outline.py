"""A body brought onto the person's mask: what landmarks get wrong in common goes, hair and missing masks do no harm."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.data.body import load_body
from hoirecon.data.body.skeleton import joint_index
from hoirecon.errors import InputError
from hoirecon.fitting import OutlineConfig, body_on_mask, fit_body
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.random_people import CAMERA, Person, random_person
from hoirecon.observation import Observation
from hoirecon.perception.cut_off import distrust_cut_off

SEEDS = (3, 4, 5)


def mask_of(verts: FloatArray, faces: FloatArray) -> BoolArray:
    """(H, W) pixels of a mesh, filled face by face."""
    picture = np.zeros((CAMERA.height, CAMERA.width), dtype=np.uint8)
    for corners in CAMERA.project(verts)[faces]:
        cv2.fillConvexPoly(picture, np.round(corners).astype(np.int32), 1)
    return picture > 0


def seen(person: Person, shrink: float = 0.92, mask: BoolArray | None = None) -> Observation:
    """The person with landmarks that all lie too near their middle, and the true mask unless another is given."""
    middle = person.keypoints.xy.mean(0)
    keypoints = replace(person.keypoints, xy=middle + shrink * (person.keypoints.xy - middle))
    picture = np.zeros((CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
    mask = mask_of(person.body.verts, person.model.faces) if mask is None else mask
    return Observation(picture, CAMERA, mask, keypoints=keypoints)


def error_cm(fit: BodyFit, person: Person) -> float:
    """Mean distance of vertices, the body as it stands."""
    return 100 * float(np.linalg.norm(fit.body.verts - person.body.verts, axis=1).mean())


@pytest.fixture(scope="module")
def people() -> list[tuple[Person, Observation, BodyFit]]:
    """Three persons whose landmarks are a twelfth too small."""
    found = []
    for seed in SEEDS:
        person = random_person(load_body(), seed)
        observation = seen(person)
        found.append((person, observation, fit_body(observation, body_model=person.model)))
    return found


def test_what_landmarks_have_in_common_the_mask_takes_away(people: list[tuple[Person, Observation, BodyFit]]) -> None:
    falls = []
    for person, observation, fit in people:
        naked, usual = (body_on_mask(fit, observation, OutlineConfig(clothes=c)) for c in (1.0, 3.0))
        falls.append([error_cm(found, person) / error_cm(fit, person) for found in (naked, usual)])
    assert np.median(falls, axis=0)[0] < 0.6, falls
    assert np.max(falls) < 1.0, falls


def test_clothes_make_nobody_fatter(people: list[tuple[Person, Observation, BodyFit]]) -> None:
    """A mask that is 3 cm wider all round: who expects clothes changes the body's shape less."""
    person, observation, fit = people[1]
    width = round(0.03 * CAMERA.focal[0] / float(person.body.joints[0, 2]))
    wide = cv2.dilate(np.array(observation.person_mask).astype(np.uint8), np.ones((2 * width + 1, 2 * width + 1)))
    clothed = observation.replace(person_mask=wide > 0)
    girth = [np.abs(body_on_mask(fit, clothed, OutlineConfig(clothes=c)).params.betas).sum() for c in (1.0, 3.0)]
    assert girth[1] < 0.9 * girth[0]


def test_hair_is_no_body(people: list[tuple[Person, Observation, BodyFit]]) -> None:
    """A cap of hair as thick as a hand moves the body by less than a centimetre."""
    person, observation, fit = people[0]
    head = person.model.weights.argmax(1).numpy() == joint_index("head")
    pixels = CAMERA.project(person.body.verts[head])
    hair = np.array(observation.person_mask)
    high = pixels[pixels[:, 1] < np.quantile(pixels[:, 1], 0.6)]
    picture = hair.astype(np.uint8)
    size = 0.09 * CAMERA.focal[0] / float(person.body.joints[0, 2])
    for x, y in high[:: max(1, len(high) // 200)]:
        cv2.circle(picture, (round(x), round(y)), round(size), 1, -1)
    assert picture.sum() > hair.sum() * 1.02
    plain, hairy = body_on_mask(fit, observation), body_on_mask(fit, observation.replace(person_mask=picture > 0))
    assert np.linalg.norm(plain.body.verts - hairy.body.verts, axis=1).mean() < 0.01


def test_without_a_mask_or_without_rounds_the_fit_stays(people: list[tuple[Person, Observation, BodyFit]]) -> None:
    _, observation, fit = people[0]
    assert body_on_mask(fit, observation.replace(person_mask=None)) is fit
    assert body_on_mask(fit, observation, OutlineConfig(rounds=0)) is fit
    few = np.zeros_like(observation.person_mask)
    few[10, 10] = True
    assert body_on_mask(fit, observation.replace(person_mask=few)) is fit


def test_the_same_twice_and_finite(people: list[tuple[Person, Observation, BodyFit]]) -> None:
    _, observation, fit = people[1]
    one, again = body_on_mask(fit, observation), body_on_mask(fit, observation)
    assert np.array_equal(one.body.verts, again.body.verts)
    assert np.isfinite(one.body.verts).all()
    assert {r.name for r in one.reports} >= {"body on mask", "mask on body", "landmarks_2d"}


def test_what_an_object_hides_is_not_the_outline() -> None:
    """A board before the legs cuts the mask: known as an object it hides them, unknown it pulls them up."""
    person = random_person(load_body(), SEEDS[2])
    observation = seen(person, shrink=1.0)
    fit = fit_body(observation, body_model=person.model)
    mask = np.array(observation.person_mask)
    board = np.zeros_like(mask)
    board[int(np.quantile(np.flatnonzero(mask.any(1)), 0.7)) :, :] = True
    cut = observation.replace(person_mask=mask & ~board, object_masks=(board,))
    whole = body_on_mask(fit, observation).body.joints
    known, unknown = (body_on_mask(fit, o).body.joints for o in (cut, cut.replace(object_masks=())))
    ankles = [joint_index("left_ankle"), joint_index("right_ankle")]
    moved = [np.linalg.norm(j[ankles] - whole[ankles], axis=1).mean() for j in (known, unknown)]
    assert moved[0] < 0.5 * moved[1]


def cut_off(person: Person) -> Observation:
    """The picture begins at the person's neck, and a detector that squeezes people put the head just below its edge."""
    at = round(float(CAMERA.project(person.body.joints)[joint_index("neck"), 1]))
    camera = Camera(CAMERA.K - [[0, 0, 0], [0, 0, at], [0, 0, 0]], CAMERA.width, CAMERA.height - at)
    xy = person.keypoints.xy - [0, at]
    squeezed = np.stack([xy[:, 0], np.where(xy[:, 1] < 20, 20 + 0.1 * np.minimum(xy[:, 1], 0), xy[:, 1])], axis=1)
    picture = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    mask = mask_of(person.body.verts, person.model.faces)[at:]
    return Observation(picture, camera, mask, keypoints=replace(person.keypoints, xy=squeezed))


def test_who_is_cut_off_above_is_not_squeezed_into_the_picture() -> None:
    """Landmarks that are hardly believed, and an outline that counts for more: each brings the body nearer."""
    errors = []
    for seed in SEEDS:
        person = random_person(load_body(), seed)
        observation = cut_off(person)
        assert observation.keypoints is not None
        doubted = observation.replace(keypoints=distrust_cut_off(observation.keypoints, observation.person_mask))
        errors.append([
            error_cm(body_on_mask(fit_body(o, body_model=person.model), o, config), person)
            for o, config in ((observation, OutlineConfig(cut_off=1.0)), (observation, None), (doubted, None))
        ])  # fmt: skip
    plain, heavier, best = np.mean(errors, axis=0)
    assert heavier < 0.95 * plain, errors
    assert best < 0.7 * plain, errors


def test_the_outline_counts_more_only_for_those_cut_off_above(
    people: list[tuple[Person, Observation, BodyFit]],
) -> None:
    _, observation, fit = people[0]
    one, other = (body_on_mask(fit, observation, OutlineConfig(cut_off=c)) for c in (1.0, 5.0))
    assert np.array_equal(one.body.verts, other.body.verts)


@pytest.mark.parametrize(
    "wrong", [{"weight": 0.0}, {"sigma": -1.0}, {"rounds": -1}, {"iterations": 0}, {"clothes": 0.0}, {"cut_off": 0.0}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="outline needs"):
        OutlineConfig(**wrong)
