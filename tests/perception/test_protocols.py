"""Prompts and the tables of names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.perception.protocols import PERSON_DETECTORS, SEGMENTERS, MaskPrompt, Scribble


def test_prompt_from_plain_values() -> None:
    value = {
        "file": "left alone",
        "box": [1, 2, 30, 40],
        "points": [[5, 6]],
        "negative_points": [[7, 8]],
        "scribbles": [{"points": [[1, 2], [3, 4]], "width": 5, "positive": False}, {"points": [[9, 9]]}],
    }
    prompt = MaskPrompt.from_dict(value)
    assert prompt.box == (1, 2, 30, 40)
    assert prompt.negative_points == ((7, 8),)
    assert [(s.width, s.positive) for s in prompt.scribbles] == [(5, False), (3, True)]
    assert prompt.on_object().tolist() == [[5, 6], [9, 9]]


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "box",
        {"box": [1, 2, 3]},
        {"box": [1, 2, 3, float("nan")]},
        {"box": "1,2,3,4"},
        {"points": [[1]]},
        {"points": [["a", "b"]]},
        {"negative_points": [[1, 2]]},
        {"scribbles": [[1, 2]]},
        {"scribbles": [{"width": 3}]},
        {"scribbles": [{"points": [[1, 2]], "width": 0}]},
        {"scribbles": [{"points": [], "width": 1}]},
        {"scribbles": 7},
        {"scribbles": [{"points": [[1, 2]], "positive": False}]},
    ],
)
def test_bad_prompts_are_refused(value: Any) -> None:
    with pytest.raises(InputError):
        MaskPrompt.from_dict(value)


def test_region_holds_the_marks_with_a_margin() -> None:
    x, y, w, h = MaskPrompt(points=((50, 60), (90, 60))).region(200, 100)
    assert x <= 30
    assert x + w >= 110
    assert y < 60 < y + h
    assert y + h <= 100
    assert MaskPrompt(box=(150, 50, 100, 100)).region(200, 100) == (150, 50, 50, 50)


def test_negative_marks_do_not_widen_the_region() -> None:
    far = Scribble(np.array([[190.0, 90]]), 2, positive=False)
    assert MaskPrompt(points=((50, 60),), scribbles=(far,)).region(200, 100) == MaskPrompt(points=((50, 60),)).region(
        200, 100
    )


def test_unknown_names_are_answered_with_the_known() -> None:
    with pytest.raises(InputError, match=r"grabcut, sam"):
        SEGMENTERS.create("magic")
    with pytest.raises(InputError, match="blazepose"):
        PERSON_DETECTORS.create("magic")
    with pytest.raises(InputError, match=r"'sam' needs your checkpoint: give SamSegmenter\(FILE\)"):
        SEGMENTERS.create("sam")
    assert type(SEGMENTERS.create("grabcut", rounds=2)).__name__ == "GrabCutSegmenter"
