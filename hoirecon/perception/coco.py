"""Read COCO annotations: polygons, run-length masks and 17 keypoints, by our own decoder.

Format facts (COCO data format): ``segmentation`` is a list of polygons [x0, y0, x1, y1, ...], or
``{"size": [h, w], "counts": ...}`` with run lengths down the columns, background first, as numbers or as text in which
each number is stored in groups of 5 bits, from the third on as the difference to the number two before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, as_floats
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.images import MAX_PIXELS
from hoirecon.observation import Box, Keypoints
from hoirecon.perception.persons import person_from_parts
from hoirecon.perception.protocols import PersonDetection

_CONFIDENCE = {0: 0.0, 1: 0.5, 2: 1.0}  # COCO's visibility flag: not labelled, hidden, visible


def decode_segmentation(segmentation: Any, height: int, width: int) -> BoolArray:
    """Mask (H, W) of a COCO ``segmentation``: polygons, or run lengths as numbers or text.

    Raises:
        InputError: not one of these forms, or of another image size.
    """
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if list(size or []) != [height, width]:
            raise InputError(f"the run-length mask is for size {size}, the image has [{height}, {width}]")
        counts = segmentation.get("counts")
        runs = _runs_from_text(counts) if isinstance(counts, (str, bytes)) else counts
        return decode_runs(runs, height, width)
    if isinstance(segmentation, (list, tuple)) and segmentation:
        return _fill_polygons(segmentation, height, width)
    raise InputError("a COCO segmentation must be a list of polygons or an object with size and counts")


def decode_runs(runs: Any, height: int, width: int) -> BoolArray:
    """Mask from run lengths down the columns, background first.

    Raises:
        InputError: the runs are not whole numbers or do not fill the image.

    Example:
        >>> decode_runs([1, 2, 1], 2, 2).tolist()
        [[False, True], [True, False]]
    """
    if height * width > MAX_PIXELS:
        raise InputError(f"the mask has {width} x {height} pixels, more than the limit of {MAX_PIXELS}")
    try:
        lengths = [int(r) for r in runs]
    except (TypeError, ValueError) as err:
        raise InputError(f"run lengths must be whole numbers ({err})") from err
    if any(n < 0 for n in lengths) or sum(lengths) != height * width:
        raise InputError(f"the run lengths cover {sum(lengths)} pixels, the image has {height * width}")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape((width, height)).T.copy()


def _runs_from_text(text: str | bytes) -> list[int]:
    """Numbers of COCO's compressed run lengths: 5 bits a character, the sixth says "more", low bits first."""
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    runs: list[int] = []
    value, shift = 0, 0
    for byte in data:
        bits = byte - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError("the compressed run lengths hold a character that does not belong there")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # negative, in two's complement
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise InputError("the compressed run lengths end in the middle of a number")
    return runs


def _fill_polygons(polygons: Sequence[Any], height: int, width: int) -> BoolArray:
    """Union of polygons; a pixel counts if its centre lies inside."""
    from PIL import Image, ImageDraw

    if height * width > MAX_PIXELS:
        raise InputError(f"the mask has {width} x {height} pixels, more than the limit of {MAX_PIXELS}")
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        flat = as_floats(polygon, ("N",), "a COCO polygon")
        if len(flat) < 6 or len(flat) % 2:
            raise InputError(f"a COCO polygon needs at least three x,y pairs, got {len(flat)} numbers")
        # Pillow counts pixel centres at whole numbers, COCO and we at halves
        draw.polygon([tuple(p) for p in (flat.reshape(-1, 2) - 0.5).tolist()], fill=1)
    return np.array(canvas, dtype=bool)


def read_coco(path: str | Path, image_name: str | None = None) -> list[dict[str, Any]]:
    """Annotations of one image, each with its ``category`` name and the image's ``height`` and ``width`` added.

    Args:
        path: COCO json with ``images`` and ``annotations``.
        image_name: file name of the image; None if the file holds only one.

    Raises:
        InputError: not COCO json, or the image is not in it.
    """
    content = read_json(path, max_bytes=1 << 30)
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise InputError(f"{path} is not COCO json: it needs the lists images and annotations")
    try:
        images = [i for i in content["images"] if image_name is None or Path(i["file_name"]).name == image_name]
        if len(images) != 1:
            raise InputError(f"{path} holds {len(images)} images that fit '{image_name or 'any'}': name exactly one")
        image = images[0]
        names = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
        size = {"height": int(image["height"]), "width": int(image["width"])}
        return [
            {**a, **size, "category": names.get(a.get("category_id"), "")}
            for a in content["annotations"]
            if a["image_id"] == image["id"]
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"{path} is not COCO json: an entry lacks {err}") from err


def mask_from_coco(annotation: dict[str, Any]) -> BoolArray:
    """Mask (H, W) of an annotation from :func:`read_coco`."""
    return decode_segmentation(annotation.get("segmentation"), annotation["height"], annotation["width"])


def keypoints_from_coco(values: Any) -> Keypoints:
    """17 landmarks from COCO's flat list x, y, v.

    A v of 0, 1, 2 (not labelled, hidden, visible) becomes a confidence of 0, 0.5, 1; other values between 0 and 1, as
    detectors write them, stay. COCO's whole numbers are pixel indices: half a pixel is added.

    Raises:
        InputError: not 51 numbers.
    """
    table = as_floats(values, (51,), "COCO keypoints").reshape(17, 3)
    v = table[:, 2]
    if np.isin(v, (0, 1, 2)).all():
        confidence = np.array([_CONFIDENCE[int(flag)] for flag in v])
    else:
        confidence = np.clip(v, 0, 1)
    whole = np.array_equal(table[:, :2], np.round(table[:, :2]))
    return Keypoints("coco17", table[:, :2] + (0.5 if whole else 0.0), confidence)


def person_from_coco(annotation: dict[str, Any]) -> PersonDetection:
    """A person from an annotation with segmentation and keypoints.

    Raises:
        InputError: either is missing.
    """
    if annotation.get("keypoints") is None or annotation.get("segmentation") is None:
        raise InputError("the COCO annotation needs both keypoints and segmentation to stand for a person")
    return person_from_parts(mask_from_coco(annotation), keypoints_from_coco(annotation["keypoints"]))


def box_from_coco(annotation: dict[str, Any]) -> Box:
    """Box (x, y, width, height) of an annotation."""
    x, y, w, h = as_floats(annotation.get("bbox"), (4,), "bbox").tolist()
    return x, y, w, h
