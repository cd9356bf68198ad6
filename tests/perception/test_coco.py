"""COCO annotations: the run-length decoder against a slow encoder, polygons against the area formula."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoirecon.arrays import BoolArray
from hoirecon.errors import InputError
from hoirecon.perception.coco import (
    box_from_coco,
    decode_runs,
    decode_segmentation,
    keypoints_from_coco,
    mask_from_coco,
    person_from_coco,
    read_coco,
)


def _runs(mask: BoolArray) -> list[int]:
    """Run lengths down the columns, background first, one pixel at a time."""
    runs, current = [0], False
    for col in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if bool(mask[row, col]) != current:
                current = not current
                runs.append(0)
            runs[-1] += 1
    return runs


def _text(runs: list[int]) -> str:
    """COCO's compressed form, written from its description."""
    out = ""
    for i, run in enumerate(runs):
        x = run - runs[i - 2] if i > 2 else run
        while True:
            bits = x & 31
            x >>= 5
            done = (x == 0 and not bits & 16) or (x == -1 and bool(bits & 16))
            out += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return out


@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 2**32))
def test_run_lengths_round_trip(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) > 0.6
    runs = _runs(mask)
    assert np.array_equal(decode_runs(runs, height, width), mask)
    for counts in (runs, _text(runs), _text(runs).encode()):
        segmentation = {"size": [height, width], "counts": counts}
        assert np.array_equal(decode_segmentation(segmentation, height, width), mask)


def test_long_runs_need_several_characters() -> None:
    mask = np.zeros((700, 900), dtype=bool)
    mask[100:650, 3:890] = True
    segmentation = {"size": [700, 900], "counts": _text(_runs(mask))}
    assert np.array_equal(decode_segmentation(segmentation, 700, 900), mask)


def test_known_text_from_the_format() -> None:
    """The example that COCO's own source gives for its compressed form."""
    runs = [6, 1, 40, 4, 5, 4, 5, 4, 21]
    assert _text(runs) == "61X13mN000`0"
    mask = decode_segmentation({"size": [9, 10], "counts": "61X13mN000`0"}, 9, 10)
    assert np.array_equal(mask, decode_runs(runs, 9, 10))


def test_polygons_cover_their_area() -> None:
    square = [10, 10, 30, 10, 30, 25, 10, 25]
    mask = decode_segmentation([square], 40, 50)
    assert mask.sum() == pytest.approx(20 * 15, abs=40)  # Pillow also draws the border pixels
    assert mask[12:24, 12:28].all()
    triangle = [100.0, 20, 300, 40, 150, 220]
    area = 0.5 * abs((300 - 100) * (220 - 20) - (150 - 100) * (40 - 20))
    assert decode_segmentation([triangle], 300, 400).sum() == pytest.approx(area, rel=0.02)
    both = decode_segmentation([square, triangle], 300, 400)
    assert both[15, 15]
    assert both[100, 180]


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        "x",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [["a"] * 6],
        {"size": [5, 5], "counts": [25]},
        {"size": [4, 4], "counts": [3, 3]},
        {"size": [4, 4], "counts": [-1, 17]},
        {"size": [4, 4], "counts": [10**30]},
        {"size": [4, 4], "counts": "~~~~"},
        {"size": [4, 4], "counts": "oooooooooooooooooooooooooooo0"},
        {"size": [4, 4], "counts": "o"},
        {"size": [4, 4], "counts": None},
        {"size": None, "counts": "0"},
    ],
)
def test_bad_segmentations_end_in_one_sentence(segmentation: Any) -> None:
    with pytest.raises(InputError) as caught:
        decode_segmentation(segmentation, 4, 4)
    assert "\n" not in str(caught.value)


def test_keypoint_flags_become_confidence() -> None:
    values = [[10, 20, 0], [11, 21, 1], [12, 22, 2]] + [[1, 2, 2]] * 14
    keypoints = keypoints_from_coco(np.ravel(values).tolist())
    assert keypoints.layout == "coco17"
    assert keypoints.confidence[:3].tolist() == [0, 0.5, 1]
    assert keypoints.xy[0].tolist() == [10.5, 20.5]  # whole numbers are pixel indices
    scored = keypoints_from_coco(np.ravel([[10.25, 20, 0.7]] * 17).tolist())
    assert np.allclose(scored.confidence, 0.7)
    assert scored.xy[0].tolist() == [10.25, 20]
    with pytest.raises(InputError, match="51"):
        keypoints_from_coco([1, 2, 3])


def _file(tmp_path: Path) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "dir/a.jpg", "height": 40, "width": 50}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "person"}],
        "annotations": [
            {
                "image_id": 1,
                "category_id": 3,
                "bbox": [10, 10, 20, 15],
                "segmentation": [[10, 10, 30, 10, 30, 25, 10, 25]],
                "keypoints": [15, 15, 2] * 17,
            },
            {"image_id": 2, "category_id": 3, "segmentation": []},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return tmp_path / "coco.json"


def test_a_person_from_a_file(tmp_path: Path) -> None:
    (annotation,) = read_coco(_file(tmp_path), "a.jpg")
    assert annotation["category"] == "person"
    assert box_from_coco(annotation) == (10, 10, 20, 15)
    person = person_from_coco(annotation)
    assert np.array_equal(person.mask > 0.5, mask_from_coco(annotation))
    assert np.allclose(person.keypoints.xy, 15.5)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"images": [], "annotations": []}', '{"images": [1], "annotations": []}', "{", ""]
)
def test_bad_files_end_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_coco(tmp_path / "coco.json")
    assert "\n" not in str(caught.value)


def test_an_image_must_be_named_if_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name exactly one"):
        read_coco(_file(tmp_path))
    with pytest.raises(InputError, match="0 images"):
        read_coco(_file(tmp_path), "c.jpg")
    with pytest.raises(InputError, match="lacks"):
        read_coco(_file(tmp_path), "b.jpg")
