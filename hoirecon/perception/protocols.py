"""What a person detector and a segmenter must do, and the table of those that come with hoirecon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray, FloatArray, as_floats
from hoirecon.errors import InputError
from hoirecon.observation import Box, Keypoints, check_box

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PersonDetection:
    """One person found in an image."""

    box: Box
    """x, y, width, height in pixels, round the person's visible pixels."""
    score: float
    """How sure the detector is that there is a person, in [0, 1]."""
    keypoints: Keypoints
    """Landmarks, pixels of the image."""
    mask: Float32Array
    """(H, W) probability that the pixel is the person's; things held are often included."""


@dataclass(frozen=True)
class Scribble:
    """A stroke that says "this is the object" or "this is not"."""

    points: FloatArray
    """(N, 2) pixels, the corners of a polyline; one point makes a dot."""
    width: float = 3.0
    """Width of the stroke, pixels of the image."""
    positive: bool = True
    """True: on the object; False: not on it."""

    def __post_init__(self) -> None:
        points = as_floats(np.atleast_2d(self.points), ("N", 2), "scribble points")
        if len(points) == 0 or not (np.isfinite(self.width) and self.width > 0):
            raise InputError("a scribble needs at least one point x,y and a positive width in pixels")
        object.__setattr__(self, "points", points)


@dataclass(frozen=True)
class MaskPrompt:
    """Where an object is, as a person would point at it: a box, points, strokes, or several of these.

    Example:
        >>> MaskPrompt(box=(10, 20, 30, 40)).region(100, 100)
        (10.0, 20.0, 30.0, 40.0)
    """

    box: Box | None = None
    """x, y, width, height in pixels; nothing outside it is the object."""
    points: tuple[tuple[float, float], ...] = ()
    """Pixels on the object."""
    negative_points: tuple[tuple[float, float], ...] = ()
    """Pixels not on the object."""
    scribbles: tuple[Scribble, ...] = ()
    """Strokes on the object or beside it."""

    def __post_init__(self) -> None:
        for name in ("points", "negative_points"):
            given = getattr(self, name)
            value = as_floats(given, ("N", 2), name) if len(given) else ()
            object.__setattr__(self, name, tuple((float(x), float(y)) for x, y in value))
        object.__setattr__(self, "scribbles", tuple(self.scribbles))
        if self.box is None and not self.points and not any(s.positive for s in self.scribbles):
            raise InputError("the prompt says nowhere where the object is: give a box, a point or a stroke on it")

    @classmethod
    def from_dict(cls, value: Any) -> MaskPrompt:
        """A prompt from plain values, as kept in JSON.

        Keys, all optional: ``box`` [x, y, width, height]; ``points`` and ``negative_points`` [[x, y], ...];
        ``scribbles`` [{"points": [[x, y], ...], "width": 3, "positive": true}, ...]. Other keys are left alone.

        Raises:
            InputError: a value has the wrong form.

        Example:
            >>> MaskPrompt.from_dict({"box": [1, 2, 3, 4], "points": [[2, 3]]}).points
            ((2.0, 3.0),)
        """
        if not isinstance(value, dict):
            raise InputError(f"a prompt is an object with box, points or scribbles, got {type(value).__name__}")
        try:
            strokes = tuple(
                Scribble(s["points"], float(s.get("width", 3.0)), bool(s.get("positive", True)))
                for s in value.get("scribbles") or ()
            )
        except (TypeError, KeyError, AttributeError, ValueError) as err:
            raise InputError(f"scribbles must be a list of objects with points and width ({err})") from err
        box = value.get("box")
        return cls(
            None if box is None else tuple(as_floats(box, (4,), "box").tolist()),
            value.get("points") or (),
            value.get("negative_points") or (),
            strokes,
        )

    def checked(self, width: int, height: int) -> MaskPrompt:
        """The same prompt with the box cut to the image.

        Raises:
            InputError: the box is empty or outside the image, or a point on the object is outside.
        """
        box = None if self.box is None else check_box(self.box, width, height)
        for x, y in self.on_object():
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError(
                    f"the point {x:g},{y:g} on the object lies outside the image of {width} x {height} pixels"
                )
        return MaskPrompt(box, self.points, self.negative_points, self.scribbles)

    def on_object(self) -> FloatArray:
        """(N, 2) all pixels said to be on the object: points, and corners of positive strokes."""
        strokes = [s.points for s in self.scribbles if s.positive]
        return np.concatenate([np.reshape(self.points, (-1, 2)), *strokes])

    def region(self, width: int, height: int) -> Box:
        """Box that holds the object as far as the prompt says: the box, or the marks enlarged by half their extent."""
        if self.box is not None:
            return check_box(self.box, width, height)
        marks = self.on_object()
        low, high = marks.min(axis=0), marks.max(axis=0)
        margin = max(0.5 * float((high - low).max()), 0.08 * min(width, height))
        low, high = low - margin, high + margin
        return check_box((low[0], low[1], high[0] - low[0], high[1] - low[1]), width, height)


Model = TypeVar("Model")


@runtime_checkable
class PersonDetector(Protocol):
    """Finds persons with landmarks and masks."""

    def detect(self, image: ByteArray) -> list[PersonDetection]:
        """Persons in an RGB image (H, W, 3), best score first; an empty list if there is none."""
        ...


@runtime_checkable
class ToldDetector(Protocol):
    """A :class:`PersonDetector` that can also be told where a person is."""

    def detect_told(self, image: ByteArray, box: Box) -> PersonDetection | None:
        """The person in a box x, y, width, height, pixels; None if there is none to be seen.

        Raises:
            InputError: a box without area, or outside the image.
        """
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Cuts one object out of an image."""

    def segment(
        self,
        image: ByteArray,
        prompt: MaskPrompt,
        *,
        person_mask: BoolArray | None = None,
        keypoints: Keypoints | None = None,
    ) -> BoolArray:
        """Mask (H, W) of the object's visible pixels; person and landmarks help to leave hands out."""
        ...


@dataclass(frozen=True)
class ModelTable(Generic[Model]):
    """Names to constructors, so that a model can be chosen by a word on the command line."""

    kind: str
    """What the models are, for the error."""
    constructors: dict[str, Callable[..., Model]] = field(default_factory=dict)
    """Name to constructor."""

    def create(self, name: str, **options: Any) -> Model:
        """Make the model of that name.

        Raises:
            InputError: unknown name; the message lists the known ones.
        """
        if name not in self.constructors:
            raise InputError(f"there is no {self.kind} '{name}': choose one of {', '.join(sorted(self.constructors))}")
        return self.constructors[name](**options)


def _blazepose(**options: Any) -> PersonDetector:
    from hoirecon.perception.blazepose import BlazePose

    return BlazePose(**options)


def _grabcut(**options: Any) -> Segmenter:
    from hoirecon.perception.grabcut import GrabCutSegmenter

    return GrabCutSegmenter(**options)


def _sam(**options: Any) -> Segmenter:
    from hoirecon.perception.sam import SamSegmenter

    if "checkpoint" not in options:
        raise InputError(
            "the segmenter 'sam' needs your checkpoint: give SamSegmenter(FILE) of hoirecon.perception.sam"
        )
    return SamSegmenter(**options)


PERSON_DETECTORS: ModelTable[PersonDetector] = ModelTable("person detector", {"blazepose": _blazepose})
SEGMENTERS: ModelTable[Segmenter] = ModelTable("segmenter", {"grabcut": _grabcut, "sam": _sam})


def sorted_by_score(persons: Sequence[PersonDetection]) -> list[PersonDetection]:
    """Best score first."""
    return sorted(persons, key=lambda p: -p.score)
