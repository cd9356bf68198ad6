"""Print how well object masks match outlines drawn by eye, from a box alone and from the kept prompts.

Run from the repository root; the photographs are not part of it:

    python tools/mask_figures.py --photos FOLDER [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hoirecon.arrays import BoolArray
from hoirecon.observation import Observation
from hoirecon.perception import MaskPrompt, observe
from hoirecon.perception.blazepose import BlazePose

ROOT = Path(__file__).resolve().parents[1]


def drawn_mask(entry: dict[str, Any], size: tuple[int, int]) -> BoolArray:
    """Mask of outlines minus holes; continuous pixels to OpenCV's, with 4 fractional bits."""
    mask = np.zeros(size, dtype=np.uint8)
    for key, value in (("outer", 1), ("holes", 0)):
        for polygon in entry[key]:
            cv2.fillPoly(mask, [np.round((np.array(polygon) - 0.5) * 16).astype(np.int32)], value, shift=4)
    return mask > 0


def save_picture(seen: Observation, path: Path) -> None:
    """The photograph with the person tinted green, the object magenta, and the landmarks as dots."""
    picture = np.array(seen.image)[..., ::-1].astype(np.float64)
    for mask, colour in ((seen.person_mask, (0, 200, 0)), (seen.object_masks[0], (220, 0, 220))):
        if mask is not None:
            picture[mask] = 0.65 * picture[mask] + 0.35 * np.array(colour)
    picture = np.ascontiguousarray(picture.astype(np.uint8))
    if seen.keypoints is not None:
        for xy, confidence in zip(seen.keypoints.xy, seen.keypoints.confidence, strict=True):
            colour = (0, 255, 255) if confidence > 0.5 else (0, 0, 255)
            cv2.circle(picture, (int(xy[0]), int(xy[1])), 3, colour, -1, cv2.LINE_AA)
    cv2.imwrite(str(path), picture)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the three photographs")
    parser.add_argument("--pictures", type=Path, default=None, help="also write overlays to this folder")
    arguments = parser.parse_args()
    outlines = json.loads((ROOT / "tests/perception/photo_polygons.json").read_text())
    detector = BlazePose()
    print("| photograph | object | IoU, box alone | IoU, kept prompt | seconds |\n| --- | --- | --- | --- | --- |")
    for entry in json.loads((ROOT / "docs/photos.json").read_text())["photos"]:
        figures = []
        for prompt in (MaskPrompt(box=tuple(entry["box"])), MaskPrompt.from_dict(entry)):
            start = time.perf_counter()
            seen = observe(arguments.photos / entry["file"], [prompt], detector=detector)
            seconds = time.perf_counter() - start
            truth, mask = drawn_mask(outlines[entry["file"]], seen.size), seen.object_masks[0]
            figures.append((truth & mask).sum() / (truth | mask).sum())
        if arguments.pictures is not None:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            save_picture(seen, arguments.pictures / f"{Path(entry['file']).stem}.png")
        print(f"| {entry['file']} | {entry['object']} | {figures[0]:.2f} | {figures[1]:.2f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
