"""BlazePose full, run by LiteRT alone: persons with 33 landmarks in 2D and 3D and a mask each.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020. A detector gives the hip centre and an
alignment point of every person; the square region they span is turned upright and given to the landmark network,
whose two last points place a better region for a second pass. The network then looks at that region in a few more
ways, also mirrored, and the mean of what it says counts: its errors are partly those of one look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray, FloatArray, as_image
from hoirecon.errors import InputError, require
from hoirecon.observation import Box, Keypoints, check_box
from hoirecon.perception import models
from hoirecon.perception.blazepose_decode import (
    DETECTOR_SIZE,
    LANDMARK_SIZE,
    Region,
    apply_affine,
    decode,
    invert_affine,
    letterbox,
    make_anchors,
    region_of,
    sample,
    sigmoid,
    weighted_nms,
)
from hoirecon.perception.masks import bounds
from hoirecon.perception.persons import landmarks_fill
from hoirecon.perception.protocols import Float32Array, PersonDetection, sorted_by_score

LANDMARKS = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index",
    "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip
"""Names of the 33 landmarks of layout ``blazepose33``, in order; left is the person's left."""


def _other(name: str) -> str:
    """The landmark's name on the other side."""
    return name.replace("left", "?").replace("right", "left").replace("?", "right")


_HIPS = (LANDMARKS.index("left_hip"), LANDMARKS.index("right_hip"))
_CENTRE, _TOP = 33, 34  # two extra points that place the region of the next pass
_SWAPPED = [LANDMARKS.index(_other(name)) for name in LANDMARKS]
_LOOKS = ((1.0, 0.0, False), (1.0, 0.0, True), (0.9, 0.0, False), (1.12, 0.0, True), (1.0, 0.15, False),
          (1.0, -0.15, True))  # fmt: skip
"""Side of the region, its turn in radians, and whether it is mirrored, look by look."""
_IN_BOX = ((1.25, 0.0, 0.0), (1.25, 0.0, 0.5 * np.pi), (1.25, 0.0, -0.5 * np.pi), (1.7, 0.0, 0.0), (1.7, -0.5, 0.0),
           (1.7, 0.5, 0.0), (2.3, 0.0, 0.0), (2.3, -0.5, 0.0), (2.3, 0.5, 0.0))  # fmt: skip
"""Regions when only a box is known: side in the box's longer one, by what share of the room that is left over it lies
higher (-) or lower, and its turn. Of somebody cut off by the picture's edge the box is only a part."""
_SLACK = 0.9
"""So much of that room is used: the box keeps a margin."""
_TOLD_LEAST = 0.4
"""Least presence times share of the box that landmarks fill; the best that noise got in nine looks was .35. Of 100
rendered tuning people (seeds 100 to 199 of the closed world) two stay below it."""


@dataclass(frozen=True)
class BlazePoseConfig:
    """Settings of the detector."""

    min_score: float = 0.5
    """Smallest detector score that counts as a person; on few images good ones had .57-.96, a false one .27."""
    min_presence: float = 0.5
    """Smallest presence that the landmark network must give its region."""
    max_persons: int = 6
    """At most so many persons are returned."""
    same_person: float = 0.25
    """Two hits whose landmarks differ on average by less than this part of the region's side are one person."""
    looks: int = len(_LOOKS)
    """How many looks at a person, one to six, the landmarks are the mean of; 1 is BlazePose as published."""
    threads: int = 2
    """Threads of LiteRT; the result does not depend on it on the machines tried."""


@dataclass(frozen=True)
class _Landmarks:
    """One pass of the landmark network, in image coordinates."""

    xy: FloatArray
    """(39, 2) pixels."""
    visibility: FloatArray
    """(39,)."""
    xyz: FloatArray
    """(39, 3) metres, camera axes."""
    presence: float
    mask: Float32Array
    """(256, 256) probability in the crop."""
    region: Region


class BlazePose:
    """Finds persons; a :class:`~hoirecon.perception.protocols.PersonDetector`.

    Args:
        config: settings; keyword arguments of the same names override single ones, e.g. ``BlazePose(threads=1)``.

    Raises:
        MissingExtraError: ``ai-edge-litert`` is not installed.
        InputError: a number of looks that there is not.
        MissingModelError: the model files are not there; the message names the command that fetches them.
    """

    def __init__(self, config: BlazePoseConfig | None = None, **changes: Any) -> None:
        base = config or BlazePoseConfig()
        self.config = BlazePoseConfig(**{**vars(base), **changes})
        if not 1 <= self.config.looks <= len(_LOOKS):
            raise InputError(f"looks of BlazePose is a number from 1 to {len(_LOOKS)}, got {self.config.looks}")
        self._detector = _load(models.POSE_DETECTION, self.config.threads)
        self._landmarker = _load(models.POSE_LANDMARK, self.config.threads)
        self._anchors = make_anchors()

    def detect(self, image: ByteArray) -> list[PersonDetection]:
        """Persons in an RGB image (H, W, 3), best detector score first; empty if none reaches the gate."""
        image = as_image(image)
        found: list[tuple[float, _Landmarks]] = []
        for points, score in zip(*self.candidates(image), strict=True):
            seen = self._landmarks(image, region_of(points[0], points[1]))
            if seen.presence >= self.config.min_presence and not self._is_known(seen, found):
                found.append((float(score), seen))
        persons = [_to_detection(seen, score, image.shape[:2]) for score, seen in found[: self.config.max_persons]]
        return sorted_by_score(persons)

    def detect_told(self, image: ByteArray, box: Box) -> PersonDetection | None:
        """The person in a box, where the detector finds nobody, or somebody else, but somebody says that there is one.

        The landmark network looks at regions of several sizes round the box, as the box may show a part of the person
        only; the one whose landmarks fill the box best is taken.

        Args:
            image: (H, W, 3) RGB.
            box: x, y, width, height in pixels, round the person.

        Returns:
            None if the landmark network denies it too.

        Raises:
            InputError: a box without area, or outside the image.
        """
        image = as_image(image)
        x, y, w, h = check_box(box, image.shape[1], image.shape[0], "person box")
        tries = []
        for scale, rise, turn in _IN_BOX:
            side = scale * max(w, h)
            centre = np.array([x + w / 2, y + h / 2 + _SLACK * rise * (side - h)])
            seen = self._placed(image, Region(centre, side, turn))
            if seen.presence >= self.config.min_presence:
                tries.append((landmarks_fill(_keypoints(seen), (x, y, w, h), image.shape[:2]) * seen.presence, seen))
        told = max(tries, key=lambda one: one[0], default=None)
        if told is None or told[0] < _TOLD_LEAST:
            return None
        return _to_detection(self._looked_again(image, told[1]), 0.0, image.shape[:2])

    def candidates(self, image: ByteArray, min_score: float | None = None) -> tuple[FloatArray, FloatArray]:
        """Hits of the detector: points (N, 4, 2) in pixels (hip centre, body top, ...) and scores (N,), best first."""
        to_image = letterbox(*image.shape[:2])
        pixels = sample(image, to_image, (DETECTOR_SIZE, DETECTOR_SIZE))
        out = _invoke(self._detector, pixels / 127.5 - 1)
        raw = next(o for o in out if o.shape[-1] == 12).astype(np.float64)
        scores = sigmoid(next(o for o in out if o.shape[-1] == 1)[:, 0])
        boxes, points = decode(raw, self._anchors)
        least = self.config.min_score if min_score is None else min_score
        points, scores = weighted_nms(boxes, points, scores, min_score=least)
        return apply_affine(to_image, points * DETECTOR_SIZE), scores

    def _landmarks(self, image: ByteArray, region: Region) -> _Landmarks:
        seen = self._placed(image, region)
        return self._looked_again(image, seen) if seen.presence >= self.config.min_presence else seen

    def _placed(self, image: ByteArray, region: Region) -> _Landmarks:
        """Seen in the region that a first pass finds better."""
        first = self._one_pass(image, region)
        return self._one_pass(image, region_of(first.xy[_CENTRE], first.xy[_TOP]))

    def _looked_again(self, image: ByteArray, seen: _Landmarks) -> _Landmarks:
        """The mean with the other looks at the same region."""
        looks = [seen]
        for scale, turn, mirrored in _LOOKS[1 : self.config.looks]:
            region = replace(seen.region, side=scale * seen.region.side, angle=seen.region.angle + turn)
            looks.append(self._one_pass(image, region, mirrored))
        return _mean(looks)

    def _one_pass(self, image: ByteArray, region: Region, mirrored: bool = False) -> _Landmarks:
        to_image = region.to_image()
        crop = sample(image, to_image, (LANDMARK_SIZE, LANDMARK_SIZE))
        crop = crop[:, ::-1] if mirrored else crop
        out = {o.shape: o for o in _invoke(self._landmarker, crop / 255)}
        points = out[(195,)].reshape(39, 5).astype(np.float64)
        xyz = out[(117,)].reshape(39, 3).astype(np.float64)
        if mirrored:
            points, xyz = _mirrored(points, LANDMARK_SIZE), _mirrored(xyz, 0.0)
        xyz[:, :2] = xyz[:, :2] @ region.axes().T  # the network sees the person upright: turn back to the camera's axes
        return _Landmarks(
            xy=apply_affine(to_image, points[:, :2]),
            visibility=sigmoid(points[:, 3]),
            xyz=xyz - xyz[list(_HIPS)].mean(axis=0),
            presence=float(out[(1,)][0]),
            mask=sigmoid(out[(LANDMARK_SIZE, LANDMARK_SIZE, 1)][..., 0]).astype(np.float32),
            region=region,
        )

    def _is_known(self, seen: _Landmarks, found: Sequence[tuple[float, _Landmarks]]) -> bool:
        for _, other in found:
            apart = np.linalg.norm(seen.xy[:33] - other.xy[:33], axis=1).mean()
            if apart < self.config.same_person * max(seen.region.side, other.region.side) / 2:
                return True
        return False


def _mirrored(points: FloatArray, width: float) -> FloatArray:
    """Points (39, ...) of a mirrored crop as they lie in the crop itself, left and right by their true names."""
    points = points.copy()
    points[:, 0] = width - points[:, 0]
    points[: len(LANDMARKS)] = points[_SWAPPED]
    return points


def _mean(looks: Sequence[_Landmarks]) -> _Landmarks:
    """Means of points and visibilities; region, mask and presence are the first look's."""
    xy, visibility, xyz = (np.mean([getattr(s, name) for s in looks], axis=0) for name in ("xy", "visibility", "xyz"))
    return replace(looks[0], xy=xy, visibility=visibility, xyz=xyz)


def _to_detection(seen: _Landmarks, score: float, size: tuple[int, int]) -> PersonDetection:
    mask = sample(seen.mask, invert_affine(seen.region.to_image()), size)
    keypoints = _keypoints(seen)
    return PersonDetection(_box(mask, keypoints), score, keypoints, mask)


def _keypoints(seen: _Landmarks) -> Keypoints:
    return Keypoints("blazepose33", seen.xy[:33], seen.visibility[:33], seen.xyz[:33])


def _box(mask: Float32Array, keypoints: Keypoints) -> Box:
    """Box round the mask and the visible landmarks, cut to the image."""
    found = bounds(mask > 0.5)
    corners = [] if found is None else [found[:2], found[2:]]
    points = np.concatenate([np.reshape(corners, (-1, 2)), keypoints.xy[keypoints.confidence > 0.5]])
    points = points if len(points) else keypoints.xy
    x0, y0 = np.clip(points.min(axis=0), 0, mask.shape[::-1])
    x1, y1 = np.clip(points.max(axis=0), 0, mask.shape[::-1])
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def _load(file: models.ModelFile, threads: int) -> Any:
    path = models.model_path(file)
    litert = require("ai_edge_litert.interpreter", extra="perception")
    interpreter = litert.Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def _invoke(interpreter: Any, pixels: npt.NDArray[np.floating]) -> list[npt.NDArray[np.float32]]:
    """Run on one image (S, S, 3); outputs without the batch axis."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None].astype(np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"])[0] for d in interpreter.get_output_details()]
