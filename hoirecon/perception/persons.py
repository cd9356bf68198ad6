"""Which of the persons in a photograph is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray
from hoirecon.errors import InputError
from hoirecon.observation import Box, Keypoints, box_of_mask, check_box
from hoirecon.perception.protocols import PersonDetection, PersonDetector, ToldDetector

PersonChoice = str | int | Box
"""``"auto"``, a number counted from the left (0 is the leftmost person), or a box round the person."""

FILLS_WELL = 0.5
"""Landmarks that fill a told box so well need no second look."""
FILLS_BETTER = 0.1
"""Those of a second look must fill it better by so much."""
FILLS_AT_ALL = 0.1
"""Who fills the told box less than this, by box or by landmarks, is not the person in it."""


def find_persons(image: ByteArray, detector: PersonDetector, around: Sequence[Box] = ()) -> list[PersonDetection]:
    """Persons in the whole image, and in ever closer surroundings of boxes that none of them touches.

    A person who is small in a large photograph is lost when the detector shrinks the whole, but found in a cut-out;
    the widest one is tried first, for it does not cut the person off.

    Args:
        image: (H, W, 3) RGB.
        detector: what finds persons.
        around: boxes of the objects, pixels.

    Raises:
        InputError: nobody is found.
    """
    persons = list(detector.detect(image))
    height, width = image.shape[:2]
    for box in around:
        for factor in (6.0, 3.0, 1.5):
            if any(_touches(p, box) for p in persons):
                break
            found = detect_in(image, detector, enlarged(box, factor, width, height))
            persons += [new for new in found if not any(_same(new, p) for p in persons)]
    if not persons:
        raise InputError(
            "no person was found in the photograph (no detector score reached the gate): "
            "give person=x,y,width,height round the person, or person_mask and keypoints from another tool"
        )
    return persons


def _touches(person: PersonDetection, box: Box) -> bool:
    x, y, w, h = box
    part = person.mask[int(y) : int(np.ceil(y + h)), int(x) : int(np.ceil(x + w))]
    return bool((part > 0.5).any())


def _same(a: PersonDetection, b: PersonDetection) -> bool:
    """Whether two detections are one person, perhaps cut off in one of them."""
    mask_a, mask_b = a.mask > 0.5, b.mask > 0.5
    smaller = max(1, min(int(mask_a.sum()), int(mask_b.sum())))
    return int((mask_a & mask_b).sum()) > 0.5 * smaller


def detect_in(image: ByteArray, detector: PersonDetector, box: Box) -> list[PersonDetection]:
    """Persons in a cut-out of the image, in coordinates of the whole image."""
    height, width = image.shape[:2]
    x, y, w, h = check_box(box, width, height, "person box")
    x0, y0, x1, y1 = int(x), int(y), int(np.ceil(x + w)), int(np.ceil(y + h))
    if min(x1 - x0, y1 - y0) < 16:
        return []
    found = detector.detect(np.ascontiguousarray(image[y0:y1, x0:x1]))
    return [_shifted(person, x0, y0, (height, width)) for person in found]


def persons_in(image: ByteArray, detector: PersonDetector, box: Box) -> list[PersonDetection]:
    """Persons in and round a box that somebody says to hold one.

    Where none of them fills the box well with landmarks, the detector is told where to look; what it then says takes
    the place of the same person if it fills the box better.

    Args:
        image: (H, W, 3) RGB.
        detector: what finds persons; asked a second time only if it can be told (``detect_told``).
        box: x, y, width, height in pixels.
    """
    height, width = image.shape[:2]
    found = detect_in(image, detector, enlarged(box, 1.3, width, height))
    filled = max((landmarks_fill(p.keypoints, box, (height, width)) for p in found), default=0.0)
    if filled >= FILLS_WELL:
        return found
    told = [p for p in told_in(image, detector, box)
            if landmarks_fill(p.keypoints, box, (height, width)) > filled + FILLS_BETTER]  # fmt: skip
    return told + [p for p in found if not any(_same(p, other) for other in told)]


def landmarks_fill(keypoints: Keypoints, box: Box, size: tuple[int, int]) -> float:
    """How well the confident landmarks within the picture fill a person's box: intersection over union with the box
    round them; 0 with fewer than four. A body's landmarks fill some .85 of its box.

    Args:
        keypoints: landmarks, pixels.
        box: x, y, width, height in pixels, round the person's visible part.
        size: height and width of the picture.
    """
    seen = (keypoints.xy >= 0).all(axis=1) & (keypoints.xy <= np.array(size[::-1])).all(axis=1)
    points = keypoints.xy[seen & (keypoints.confidence > 0.5)]
    if len(points) < 4:
        return 0.0
    (x, y), (w, h) = points.min(axis=0), np.ptp(points, axis=0)
    return box_overlap((float(x), float(y), float(w), float(h)), box)


def told_in(image: ByteArray, detector: PersonDetector, box: Box) -> list[PersonDetection]:
    """Whom the detector sees in a box that somebody says to hold a person, though its own gate lets nobody through."""
    if not isinstance(detector, ToldDetector):
        return []
    found = detector.detect_told(image, box)
    return [] if found is None else [found]


def choose_person(
    persons: Sequence[PersonDetection], choice: PersonChoice, objects: Sequence[BoolArray]
) -> tuple[PersonDetection, tuple[str, ...]]:
    """Take one person, and say which if there were several.

    Args:
        persons: at least one.
        choice: ``"auto"`` takes the one whose mask covers most of the objects' regions, then the nearest to them;
            a number counts from the left; a box takes the one who fills it best.
        objects: (H, W) regions of the objects: masks, or filled boxes.

    Raises:
        InputError: a number beyond the persons, or a box that holds nobody.
    """
    ordered = sorted(persons, key=lambda p: p.box[0] + p.box[2] / 2)
    if isinstance(choice, str):
        if choice != "auto":
            raise InputError(f"person must be 'auto', a number, or a box x,y,width,height, got '{choice}'")
        picked = ordered[0] if len(ordered) == 1 else min(ordered, key=lambda p: (*_away(p, objects), -p.score))
        why = "taken: the one who touches the object most" if objects else "taken: the one seen best"
    elif isinstance(choice, (int, np.integer)):
        if not 0 <= choice < len(ordered):
            raise InputError(f"person {choice} was asked for, but {len(ordered)} were found: count from 0 at the left")
        picked, why = ordered[int(choice)], "taken: as asked"
    else:
        picked, why = max(ordered, key=lambda p: box_overlap(p.box, choice)), "taken: the one in the given box"
        filled = landmarks_fill(picked.keypoints, choice, (picked.mask.shape[0], picked.mask.shape[1]))
        if min(box_overlap(picked.box, choice), filled) < FILLS_AT_ALL:
            raise InputError(f"nobody was found in the person box {','.join(f'{v:g}' for v in choice)}")
    if len(ordered) == 1:
        return picked, ()
    number = next(i for i, p in enumerate(ordered) if p is picked)
    return picked, (f"{len(ordered)} persons were found; {why}, person {number} counted from 0 at the left",)


def _away(person: PersonDetection, objects: Sequence[BoolArray]) -> tuple[float, float]:
    """Minus the part of the objects' regions that the person covers, and the distance to them in pixels."""
    if not objects:
        return 0.0, 0.0
    from scipy.ndimage import distance_transform_edt

    region = np.logical_or.reduce(objects)
    mask = person.mask > 0.5
    covered = float((mask & region).sum()) / max(float(region.sum()), 1.0)
    if covered > 0 or not mask.any() or not region.any():
        return -covered, 0.0
    return 0.0, float(distance_transform_edt(~region)[mask].min())


def box_overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inter = max(w, 0.0) * max(h, 0.0)
    return inter / max(a[2] * a[3] + b[2] * b[3] - inter, 1e-9)


def enlarged(box: Box, factor: float, width: int, height: int) -> Box:
    """A square about the box whose side is ``factor`` x its longer side, cut to the image."""
    x, y, w, h = box
    side = max(w, h) * factor
    return check_box((x + w / 2 - side / 2, y + h / 2 - side / 2, side, side), width, height)


def person_from_parts(mask: BoolArray, keypoints: Keypoints) -> PersonDetection:
    """A detection from a mask and landmarks that came from elsewhere.

    Raises:
        InputError: the mask is empty.
    """
    return PersonDetection(box_of_mask(mask), 1.0, keypoints, mask.astype(np.float32))


def _shifted(person: PersonDetection, x: int, y: int, size: tuple[int, int]) -> PersonDetection:
    mask = np.zeros(size, dtype=np.float32)
    h, w = person.mask.shape
    mask[y : y + h, x : x + w] = person.mask
    moved = replace(person.keypoints, xy=person.keypoints.xy + np.array([x, y]))
    box = (person.box[0] + x, person.box[1] + y, person.box[2], person.box[3])
    return PersonDetection(box, person.score, moved, mask)
