"""An object's mask by Segment Anything, when the user gives a checkpoint; none comes with hoirecon.

Kirillov et al., "Segment Anything", 2023, through the ``segment-anything`` package (Apache-2.0). The network's sizes
are read off the checkpoint's own tensors, so that ViT-B, -L, -H and smaller trainings of the same design all load.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray, FloatArray, as_image
from hoirecon.errors import InputError, require
from hoirecon.observation import Keypoints
from hoirecon.perception.hands import find_hands
from hoirecon.perception.masks import components
from hoirecon.perception.protocols import MaskPrompt, Scribble
from hoirecon.sam_network import build_sam, read_checkpoint

POINTS_PER_STROKE = 6
"""A stroke becomes so many points."""


class SamSegmenter:
    """Segment Anything behind the :class:`~hoirecon.perception.protocols.Segmenter` protocol.

    Args:
        checkpoint: ``.pth`` with plain tensors (pickles with code are refused) or ``.safetensors``.
        model_type: ``auto`` reads the sizes off the checkpoint; ``vit_b``, ``vit_l``, ``vit_h`` demand that one.
        device: where torch runs it, e.g. ``cpu`` or ``cuda``.

    Raises:
        InputError: the file is missing, too large, not plain tensors, or not SAM's weights.
        MissingExtraError: ``segment-anything`` is not installed.
    """

    def __init__(self, checkpoint: str | Path, model_type: str = "auto", device: str = "cpu") -> None:
        anything = require("segment_anything", extra="sam")
        state = read_checkpoint(checkpoint)
        _check_type(state, model_type, checkpoint)
        model = build_sam(state, checkpoint).to(device).eval()
        self._predictor = anything.SamPredictor(model)

    def segment(
        self,
        image: ByteArray,
        prompt: MaskPrompt,
        *,
        person_mask: BoolArray | None = None,
        keypoints: Keypoints | None = None,
    ) -> BoolArray:
        """Mask (H, W) of the object's visible pixels: SAM's best guess, cut to the box.

        Hands inside the box become negative points where landmarks are known. The person's mask gives none: a
        detector's outline often includes the object that is held.
        """
        image = as_image(image)
        height, width = image.shape[:2]
        prompt = prompt.checked(width, height)
        positive, negative = _points(prompt, True), _points(prompt, False)
        hands = _hand_points(image, keypoints, person_mask, prompt)
        points = np.concatenate([positive, negative, hands])
        labels = np.concatenate([np.ones(len(positive)), np.zeros(len(negative) + len(hands))])
        box = prompt.region(width, height)
        corners = None if prompt.box is None else np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])
        self._predictor.set_image(np.ascontiguousarray(image), image_format="RGB")
        masks, scores, _ = self._predictor.predict(
            point_coords=points if len(points) else None,
            point_labels=labels if len(points) else None,
            box=corners,
            multimask_output=corners is None,  # a lone point is ambiguous (part or whole): take the surest of three
        )
        best: BoolArray = np.asarray(masks[int(np.argmax(scores))], dtype=bool)
        return best & _inside(box, (height, width)) if prompt.box is not None else best


def _check_type(state: dict[str, Any], model_type: str, name: str | Path) -> None:
    widths = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}
    if model_type == "auto":
        return
    if model_type not in widths:
        raise InputError(f"there is no model type '{model_type}': choose auto, {', '.join(widths)}")
    pos = state.get("image_encoder.pos_embed")
    if pos is None or pos.shape[-1] != widths[model_type]:
        raise InputError(f"the checkpoint {name} is not a {model_type}: leave model_type at auto")


def _points(prompt: MaskPrompt, positive: bool) -> FloatArray:
    """(N, 2) points of one sign: those given, and some along each stroke."""
    given = np.reshape(prompt.points if positive else prompt.negative_points, (-1, 2))
    strokes = [_along(s) for s in prompt.scribbles if s.positive == positive]
    return np.concatenate([given, *strokes])


def _along(stroke: Scribble) -> FloatArray:
    """Points at equal distances along a polyline."""
    steps = np.linalg.norm(np.diff(stroke.points, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    if length[-1] == 0:
        return stroke.points[:1]
    at = np.linspace(0, length[-1], POINTS_PER_STROKE)
    return np.column_stack([np.interp(at, length, stroke.points[:, k]) for k in (0, 1)])


def _hand_points(
    image: ByteArray, keypoints: Keypoints | None, person_mask: BoolArray | None, prompt: MaskPrompt
) -> FloatArray:
    """(N, 2) middles of the hands that lie in the prompt's region."""
    hands = find_hands(image, keypoints)
    if hands is None:
        return np.zeros((0, 2))
    sure = hands.sure & _inside(prompt.region(image.shape[1], image.shape[0]), image.shape[:2])
    if person_mask is not None:
        sure &= person_mask
    labels, areas = components(sure)
    middles = []
    for i in range(1, len(areas)):
        rows, cols = np.nonzero(labels == i)
        nearest = np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2)  # a pixel of the hand itself
        middles.append([cols[nearest] + 0.5, rows[nearest] + 0.5])
    return np.reshape(middles, (-1, 2)).astype(np.float64)


def _inside(box: tuple[float, float, float, float], size: tuple[int, ...]) -> BoolArray:
    x, y, w, h = box
    inside = np.zeros(size, dtype=bool)
    inside[int(y) : int(np.ceil(y + h)), int(x) : int(np.ceil(x + w))] = True
    return inside
