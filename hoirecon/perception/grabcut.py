"""An object's mask from a box, points or strokes by GrabCut, with the hands that hold it left out.

Rother, Kolmogorov, Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", 2004. It runs on a
cut-out round the prompt at a working resolution (small things are enlarged). What is known beforehand is stated as
definite: strokes on the object, the outside of the box, hands. The rest is "probable": with strokes or points, not the
object until its colours say so; with a box alone, the object until its colours say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, ByteArray, FloatArray, as_image
from hoirecon.observation import Box, Keypoints
from hoirecon.perception.hands import HandConfig, HandEvidence, find_hands
from hoirecon.perception.masks import drop_strays, fill_holes
from hoirecon.perception.protocols import MaskPrompt

_BG, _FG, _MAYBE_BG, _MAYBE_FG = 0, 1, 2, 3  # OpenCV's labels


@dataclass(frozen=True)
class GrabCutConfig:
    """Settings of the segmenter."""

    margin: float = 0.1
    """Width of the surroundings that teach the background's colours, in longer sides of the box."""
    short_side: int = 200
    """The box's shorter side is enlarged (at most 4 x) or the cut-out shrunk towards this many pixels."""
    max_side: int = 800
    """Longest side of the working image in pixels: bounds time and memory."""
    rounds: int = 5
    """Rounds of re-estimating colours and cutting."""
    votes: int = 3
    """With a box alone the first colours depend on chance: so many runs with other seeds vote on each pixel."""
    point_radius: float = 2.0
    """Radius in image pixels of a point prompt."""
    hole_part: float = 2e-3
    """Holes smaller than this part of the mask are filled."""
    stray_part: float = 0.02
    """Pieces smaller than this part of the mask that touch no prompt are dropped."""
    hands: HandConfig = field(default_factory=HandConfig)
    """How hands are told from the object."""


@dataclass(frozen=True)
class _Frame:
    """The cut-out that is worked on: image pixels x0..x1, y0..y1, enlarged by ``scale``."""

    x0: int
    y0: int
    x1: int
    y1: int
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the working image."""
        return max(1, round((self.y1 - self.y0) * self.scale)), max(1, round((self.x1 - self.x0) * self.scale))

    def points(self, xy: FloatArray) -> npt.NDArray[np.int32]:
        """Image positions (N, 2) as whole pixels of the working image."""
        return np.floor((xy - [self.x0, self.y0]) * self.scale).astype(np.int32)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def bring(self, part: BoolArray) -> BoolArray:
        """A mask of the cut-out at the working size."""
        import cv2

        return np.asarray(cv2.resize(part.astype(np.uint8), self.size[::-1], interpolation=cv2.INTER_NEAREST)) > 0


class GrabCutSegmenter:
    """Cuts an object out by colours; a :class:`~hoirecon.perception.protocols.Segmenter`.

    Args:
        config: settings; keyword arguments of the same names override single ones.
    """

    def __init__(self, config: GrabCutConfig | None = None, **changes: Any) -> None:
        self.config = GrabCutConfig(**{**vars(config or GrabCutConfig()), **changes})

    def segment(
        self,
        image: ByteArray,
        prompt: MaskPrompt,
        *,
        person_mask: BoolArray | None = None,
        keypoints: Keypoints | None = None,
    ) -> BoolArray:
        """Mask (H, W) of the object's visible pixels; may be empty if nothing stands out.

        Args:
            image: (H, W, 3) RGB.
            prompt: where the object is.
            person_mask: (H, W) the person; a hand's colour counts only on it (its outline often includes the object,
                so the rest of it is not taken as background).
            keypoints: landmarks of the person, from which the hands are found.
        """
        image = as_image(image)
        height, width = image.shape[:2]
        prompt = prompt.checked(width, height)
        frame = _frame(prompt.region(width, height), width, height, self.config)
        work = _resized(image, frame)
        hands = find_hands(image, keypoints, self.config.hands, frame.window)
        labels = self._labels(work, frame, prompt, hands, person_mask)
        if not np.isin(labels, (_FG, _MAYBE_FG)).any() or not np.isin(labels, (_BG, _MAYBE_BG)).any():
            return np.zeros((height, width), dtype=bool)
        votes = 1 if len(prompt.on_object()) else self.config.votes
        cut = np.sum([self._cut(work, labels, seed) for seed in range(votes)], axis=0) * 2 > votes
        return self._finish(cut, frame, prompt, (height, width))

    def _cut(self, work: ByteArray, labels: npt.NDArray[np.uint8], seed: int) -> BoolArray:
        import cv2

        labels = labels.copy()
        cv2.setRNGSeed(seed)  # its k-means starts at random
        cv2.grabCut(work, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), self.config.rounds, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, (_FG, _MAYBE_FG))

    def _labels(
        self,
        work: ByteArray,
        frame: _Frame,
        prompt: MaskPrompt,
        hands: HandEvidence | None,
        person_mask: BoolArray | None,
    ) -> npt.NDArray[np.uint8]:
        inside = _box_mask(prompt, frame)
        positive, negative = _strokes(prompt, frame, self.config, True), _strokes(prompt, frame, self.config, False)
        beside = _strokes(prompt, frame, self.config, True, widen=3)  # there the colours decide, not the hand's reach
        hand = _hand_pixels(frame, hands, person_mask, beside, inside, self.config.hands)
        rest = _MAYBE_BG if positive.any() else _MAYBE_FG
        labels = np.where(inside, rest, _BG).astype(np.uint8)
        labels[hand | negative] = _BG
        labels[positive & ~negative] = _FG
        return labels

    def _finish(self, cut: BoolArray, frame: _Frame, prompt: MaskPrompt, size: tuple[int, int]) -> BoolArray:
        """Clean at working resolution, then bring to the image by area: a pixel counts if half of it is covered."""
        import cv2

        marks = _strokes(prompt, frame, self.config, True)
        cut = fill_holes(cut, max(4, int(self.config.hole_part * cut.sum())))
        cut = drop_strays(cut, self.config.stray_part, keep=marks if marks.any() else None)
        small = cv2.resize(
            cut.astype(np.float32), (frame.x1 - frame.x0, frame.y1 - frame.y0), interpolation=cv2.INTER_AREA
        )
        mask = np.zeros(size, dtype=bool)
        mask[frame.window] = small > 0.5
        return mask


def _frame(box: Box, width: int, height: int, config: GrabCutConfig) -> _Frame:
    x, y, w, h = box
    margin = max(4.0, config.margin * max(w, h))
    x0, y0 = max(0, int(x - margin)), max(0, int(y - margin))
    x1, y1 = min(width, int(np.ceil(x + w + margin))), min(height, int(np.ceil(y + h + margin)))
    scale = float(np.clip(config.short_side / min(w, h), 0.05, 4.0))
    scale = min(scale, config.max_side / max(x1 - x0, y1 - y0))
    return _Frame(x0, y0, x1, y1, scale)


def _resized(image: ByteArray, frame: _Frame) -> ByteArray:
    import cv2

    part = np.ascontiguousarray(image[frame.window])
    how = cv2.INTER_CUBIC if frame.scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(part, frame.size[::-1], interpolation=how), dtype=np.uint8)


def _box_mask(prompt: MaskPrompt, frame: _Frame) -> BoolArray:
    """Where the object may be: in the box, or anywhere in the cut-out if there is no box."""
    if prompt.box is None:
        return np.ones(frame.size, dtype=bool)
    x, y, w, h = prompt.box
    (c0, r0), (c1, r1) = np.round((np.array([[x, y], [x + w, y + h]]) - [frame.x0, frame.y0]) * frame.scale).astype(int)
    inside = np.zeros(frame.size, dtype=bool)
    inside[r0 : max(r1, r0 + 1), c0 : max(c1, c0 + 1)] = True
    return inside


def _strokes(prompt: MaskPrompt, frame: _Frame, config: GrabCutConfig, positive: bool, widen: float = 1) -> BoolArray:
    """Points and scribbles of one sign, drawn at working resolution, ``widen`` x as wide as given."""
    import cv2

    drawn = np.zeros(frame.size, dtype=np.uint8)
    for xy in prompt.points if positive else prompt.negative_points:
        (pixel,) = frame.points(np.array([xy])).tolist()
        cv2.circle(drawn, pixel, max(1, round(widen * config.point_radius * frame.scale)), 1, -1)
    for stroke in prompt.scribbles:
        if stroke.positive == positive:
            points, width = frame.points(stroke.points), max(1, round(widen * stroke.width * frame.scale))
            if len(points) == 1:
                cv2.circle(drawn, points[0].tolist(), max(1, width // 2), 1, -1)
            cv2.polylines(drawn, [points], False, 1, width)
    return drawn > 0


def _hand_pixels(
    frame: _Frame,
    hands: HandEvidence | None,
    person_mask: BoolArray | None,
    positive: BoolArray,
    inside: BoolArray,
    config: HandConfig,
) -> BoolArray:
    """Pixels that are surely a hand: its strokes, and its colour within reach, unless the object is alike."""
    if hands is None:
        return np.zeros(frame.size, dtype=bool)
    sure, near, alike = frame.bring(hands.sure), frame.bring(hands.near), frame.bring(hands.alike)
    elsewhere = positive if positive.any() else inside & ~near
    if elsewhere.any() and alike[elsewhere].mean() > config.max_alike:
        return sure & ~positive
    # a box alone tells nothing of the object's colours, so bare arms and shoulders are ruled out as well
    coloured = alike & (near if positive.any() else near | frame.bring(hands.trunk))
    if person_mask is not None:
        coloured &= frame.bring(person_mask[frame.window])
    return (sure | coloured) & ~positive
