"""The whole stage: a photograph and prompts for its objects become one Observation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, as_mask
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.images import LoadedImage, read_image
from hoirecon.observation import Keypoints, Observation, box_of_mask
from hoirecon.perception.cameras import camera_for
from hoirecon.perception.cut_off import distrust_cut_off
from hoirecon.perception.importers import read_mask
from hoirecon.perception.mask_agrees import check_person_mask
from hoirecon.perception.persons import (
    PersonChoice,
    choose_person,
    find_persons,
    person_from_parts,
    persons_in,
)
from hoirecon.perception.protocols import (
    PERSON_DETECTORS,
    SEGMENTERS,
    MaskPrompt,
    PersonDetection,
    PersonDetector,
    Segmenter,
)

ObjectPrompt = Any
"""A :class:`MaskPrompt`, a box (x, y, width, height), a mask (H, W), or the path of a mask file."""

CUT_OFF = "the person runs off the picture's top: the detector's landmarks of the head are hardly believed"
"""Note."""
MIN_OBJECT_PIXELS = 16
"""Fewer visible pixels than this say nothing about where an object is."""


def observe(
    image: Any,
    object_prompts: Sequence[ObjectPrompt],
    *,
    camera: Camera | None = None,
    K: Any = None,
    focal_px: float | None = None,
    focal_35mm: float | None = None,
    person: PersonChoice = "auto",
    detector: PersonDetector | str = "blazepose",
    segmenter: Segmenter | str = "grabcut",
    person_mask: Any = None,
    keypoints: Keypoints | None = None,
    occluders: Any = None,
) -> Observation:
    """Read a photograph and find the person, the objects and the camera.

    Args:
        image: path, array (H, W, 3) uint8 RGB, or :class:`LoadedImage`.
        object_prompts: one per object: a :class:`MaskPrompt`, a box (x, y, width, height) in pixels, a mask (H, W),
            or the path of a mask file. May be empty.
        camera: the camera of exactly this image; else it comes from K, focal_px, focal_35mm, EXIF or the default
            (see :func:`~hoirecon.perception.cameras.camera_for`).
        person: ``"auto"`` (the one who touches the objects' regions most, then the nearest), a number counted from
            0 at the left, or a box round the person.
        detector: finds persons; a name of ``PERSON_DETECTORS`` or an object. Not used if mask and landmarks are given.
        segmenter: cuts objects out; a name of ``SEGMENTERS`` or an object. Not used for prompts that are masks.
        person_mask: visible pixels of the person, array or path of a file, in place of the detector's.
        keypoints: landmarks of the person, in place of the detector's.
        occluders: (H, W) other things that may stand before person or object; other persons are added by themselves.

    Returns:
        The observation; its ``notes`` say how the camera is known and which person was taken.

    Raises:
        InputError: unreadable image, no person, a person mask that is empty, the whole picture, or not where the
            person's landmarks are, a prompt outside the image, or an object mask that came out empty.
    """
    loaded = read_image(image)
    size = (loaded.height, loaded.width)
    if keypoints is not None and not isinstance(keypoints, Keypoints):
        raise InputError(f"keypoints are of type {type(keypoints).__name__}: give Keypoints(layout, xy, confidence)")
    camera, camera_note = _camera(loaded, camera, K, focal_px, focal_35mm)
    prompts = [_as_prompt(p, size, i) for i, p in enumerate(object_prompts)]
    regions = [_region(p, size) for p in prompts]
    given_mask = None if person_mask is None else _as_person(person_mask, size)
    taken, others, notes = _person(loaded, person, detector, regions, given_mask, keypoints)
    hiding = [] if occluders is None else [_as_mask(occluders, size, "occluders")]  # a file is read once
    if given_mask is not None:  # first by the prompts' regions: beside a wrong mask no object is found either
        check_person_mask(given_mask, taken.keypoints, [*regions, *hiding])
    body = given_mask if given_mask is not None else _clean_person(loaded, taken)
    cutter = SEGMENTERS.create(segmenter) if isinstance(segmenter, str) else segmenter
    masks: list[BoolArray] = []
    for i, prompt in enumerate(prompts):
        mask = (
            prompt
            if isinstance(prompt, np.ndarray)
            else cutter.segment(loaded.rgb, prompt, person_mask=body, keypoints=taken.keypoints)
        )
        for earlier in masks:  # a visible pixel belongs to one thing
            mask = mask & ~earlier
        _check_not_empty(mask, i, prompt)
        masks.append(mask)
        if segmenter == "grabcut" and isinstance(prompt, MaskPrompt) and len(prompt.on_object()) == 0:
            notes = (
                *notes,
                f"object {i}: cut out from a box by its colours alone: check the overlay, strokes are surer",
            )
    if given_mask is not None:
        check_person_mask(given_mask, taken.keypoints, [*masks, *hiding])
    landmarks = taken.keypoints if keypoints is not None else distrust_cut_off(taken.keypoints, body)
    if landmarks is not taken.keypoints:
        notes = (*notes, CUT_OFF)
    visible = body & ~np.logical_or.reduce([np.zeros(size, dtype=bool), *masks])
    return Observation(
        image=loaded.rgb,
        camera=camera,
        person_mask=visible,
        object_masks=tuple(masks),
        occluders=_occluders(hiding, others, [body, *masks], size),
        keypoints=landmarks,
        person_box=taken.box,
        notes=(camera_note, *notes),
    )


def _camera(
    image: LoadedImage, camera: Camera | None, K: Any, focal_px: float | None, focal_35mm: float | None
) -> tuple[Camera, str]:
    if camera is None:
        return camera_for(image, K=K, focal_px=focal_px, focal_35mm=focal_35mm)
    if K is not None or focal_px is not None or focal_35mm is not None:
        raise InputError("the camera is given twice: give either camera, or one of K, focal_px and focal_35mm")
    return camera, f"camera: {camera.source}, focal length {camera.focal[0]:.0f} px"


def _as_prompt(value: ObjectPrompt, size: tuple[int, int], index: int) -> MaskPrompt | BoolArray:
    if isinstance(value, MaskPrompt):
        return value.checked(size[1], size[0])
    if isinstance(value, (str, Path)):
        return _as_mask(value, size, f"object_masks[{index}]")
    array = np.asarray(value)
    if array.ndim == 0:
        raise InputError(f"object_prompts hold {value!r}, which is no prompt: give a list, one prompt per object, [..]")
    if array.ndim == 1:
        return MaskPrompt(box=tuple(array.tolist())).checked(size[1], size[0])
    return _as_mask(array, size, f"object_masks[{index}]")


def _as_mask(value: Any, size: tuple[int, int], name: str) -> BoolArray:
    if isinstance(value, (str, Path)):
        return read_mask(value, size)
    return as_mask(value, size, name)


def _as_person(value: Any, size: tuple[int, int]) -> BoolArray:
    mask = _as_mask(value, size, "person_mask")
    if not mask.any() or mask.all():
        raise InputError(
            f"person_mask is {'the whole picture' if mask.any() else 'empty'}: mark the person's visible pixels, or "
            f"leave it to the detector"
        )
    return mask


def _region(prompt: MaskPrompt | BoolArray, size: tuple[int, int]) -> BoolArray:
    """Where an object is, as far as the prompt says: its mask, or its filled box."""
    if isinstance(prompt, np.ndarray):
        return prompt
    x, y, w, h = prompt.region(size[1], size[0])
    region = np.zeros(size, dtype=bool)
    region[int(y) : int(np.ceil(y + h)), int(x) : int(np.ceil(x + w))] = True
    return region


def _person(
    image: LoadedImage,
    choice: PersonChoice,
    detector: PersonDetector | str,
    regions: list[BoolArray],
    mask: BoolArray | None,
    keypoints: Keypoints | None,
) -> tuple[PersonDetection, list[PersonDetection], tuple[str, ...]]:
    """The person meant, the others, and notes."""
    if mask is not None and keypoints is not None:
        return person_from_parts(mask, keypoints), [], ("person: mask and landmarks as given",)
    finder: PersonDetector = PERSON_DETECTORS.create(detector) if isinstance(detector, str) else detector
    if mask is not None:
        choice = box_of_mask(mask)
    elif keypoints is not None:
        seen = keypoints.xy[keypoints.confidence > 0]
        if len(seen) == 0:
            raise InputError("no landmark of keypoints has a confidence above 0: give the ones that are seen")
        low, high = seen.min(axis=0), seen.max(axis=0)
        choice = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    if isinstance(choice, tuple):
        persons = persons_in(image.rgb, finder, choice) or find_persons(image.rgb, finder)
    else:
        persons = find_persons(image.rgb, finder, [box_of_mask(r) for r in regions if r.any()])
    try:
        taken, notes = choose_person(persons, choice, regions)
    except InputError as err:
        if mask is None:
            raise
        raise InputError(
            f"{err}, which is the one round person_mask: is the mask inverted, or no person's? mend it, or give the "
            f"landmarks of the person too, as keypoints"
        ) from err
    others = [p for p in persons if p is not taken]
    if keypoints is not None:
        taken = PersonDetection(taken.box, taken.score, keypoints, taken.mask)
    score = f"detector score {taken.score:.2f}" if taken.score else "the detector saw nobody; taken at your word"
    return taken, others, (f"person: {score}", *notes)


def _clean_person(image: LoadedImage, person: PersonDetection) -> BoolArray:
    from hoirecon.perception.masks import refine_person_mask

    return refine_person_mask(image.rgb, person.mask)


def _check_not_empty(mask: BoolArray, index: int, prompt: MaskPrompt | BoolArray) -> None:
    if int(mask.sum()) >= MIN_OBJECT_PIXELS:
        return
    if isinstance(prompt, np.ndarray):
        raise InputError(
            f"the mask of object {index} marks {int(mask.sum())} pixels: give one with at least {MIN_OBJECT_PIXELS}"
        )
    raise InputError(
        f"no object was found at the prompt of object {index}: give a box that fits the object more closely, "
        f"add points or scribbles on it, or give a mask file"
    )


def _occluders(
    given: list[BoolArray], others: list[PersonDetection], own: list[BoolArray], size: tuple[int, int]
) -> BoolArray | None:
    """What was given, and other persons' pixels that are nobody else's."""
    if not given and not others:
        return None
    mask = np.asarray(np.logical_or.reduce([np.zeros(size, dtype=bool), *given]))
    for other in others:
        mask |= (other.mask > 0.5) & ~np.logical_or.reduce(own)
    return mask
