"""Write small true instances of HOI-VQA, ReasonSeg and RefCOCO; they share no code with the readers."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_ASKED = (
    "Describe the human in terms of clothing, appearance or any distinctive feature.",
    "What part of the human's body is in contact with the {0}?",
    "Describe the interaction of human with {0}?",
)
_SAID = ("The person wears a blue coat.", "Both hands hold the {0}.", "They swing the {0} at a ball.")


@dataclass(frozen=True, eq=False)
class WordsContent:
    """What was written, for tests to compare with."""

    images: list[str]
    texts: list[Any]
    """Conversations as (question, answer), or expressions."""
    masks: list[Any]
    """(H, W) bool for each expression."""


def write_hoi_vqa(folder: str | Path, samples: int = 3, seed: int = 0, *, name: str = "damon") -> WordsContent:
    """Write ``<name>.json`` and ``images/``; a last row has no image, one before it an answer missing."""
    top, rng = Path(folder), np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    content = WordsContent([], [], [])
    for k in range(samples):
        thing = ("racket", "bench", "cup")[k % 3]
        turns = [(q.format(thing), a.format(thing)) for q, a in zip(_ASKED, _SAID, strict=True)]
        picture = f"hake_{k:05d}.jpg"
        _picture(top / "images" / picture, rng)
        talk = [{"from": s, "value": t} for pair in turns for s, t in zip(("human", "gpt"), pair, strict=True)]
        talk[0]["value"] = f"<image>\n{talk[0]['value']}"
        rows.append({"id": f"{k}", "image": f"images/{picture}", "conversations": talk})
        content.images.append(picture)
        content.texts.append(tuple(turns))
    rows.append({**rows[0], "conversations": rows[0]["conversations"][:-1]})
    rows.append({**rows[0], "image": "images/nowhere.jpg"})
    (top / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    return content


def write_reasonseg(folder: str | Path, samples: int = 2, seed: int = 0) -> WordsContent:
    """Write ``<name>.jpg`` and ``<name>.json``: a rectangle that is meant, one beside it that is ignored."""
    top, rng = Path(folder), np.random.default_rng(seed)
    content = WordsContent([], [], [])
    for k in range(samples):
        _picture(top / f"{k}.jpg", rng)
        x, y = (int(v) for v in rng.integers(1, 6, 2))
        shapes = [
            {"label": "target", "points": [[x, y], [x + 6, y], [x + 6, y + 4], [x, y + 4]]},
            {"label": "ignore", "points": [[16, 2], [20, 2], [20, 6], [16, 6]]},
        ]
        text = f"What in picture {k} would one drink from?"
        held = {"text": [text], "is_sentence": True, "shapes": shapes}
        (top / f"{k}.json").write_text(json.dumps(held), encoding="utf-8")
        mask = np.zeros((16, 24), dtype=bool)
        mask[y : y + 5, x : x + 7] = True
        content.images.append(f"{k}.jpg")
        content.texts.append(text)
        content.masks.append(mask)
    return content


def write_refcoco(folder: str | Path, samples: int = 2, seed: int = 0, *, packed: bool = True) -> WordsContent:
    """Write ``instances.json``, ``refs(unc).p`` (or ``refs.json``) and ``images/``; the last object is a crowd."""
    top, rng = Path(folder), np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    things: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    content = WordsContent([], [], [])
    for k in range(samples + 1):
        name = f"COCO_train2014_{k:012d}.jpg"
        _picture(top / "images" / name, rng)
        x, y = (int(v) for v in rng.integers(1, 6, 2))
        ring = [x, y, x + 9, y, x + 9, y + 3, x, y + 3]
        crowd = k == samples
        images.append({"id": 100 + k, "file_name": name, "width": 24, "height": 16})
        outline: Any = {"counts": [0, 384], "size": [16, 24]} if crowd else [ring]
        things.append({"id": 7 + k, "image_id": 100 + k, "segmentation": outline, "category_id": 1})
        said = [f"the red cup {k}", "cup on the left"]
        refs.append(
            {
                "ref_id": k,
                "ann_id": 7 + k,
                "image_id": 100 + k,
                "split": "train",
                "sentences": [{"sent": s} for s in said],
            }
        )
        if not crowd:
            mask = np.zeros((16, 24), dtype=bool)
            mask[y : y + 4, x : x + 10] = True
            for text in said:
                content.images.append(name)
                content.texts.append(text)
                content.masks.append(mask)
    (top / "instances.json").write_text(json.dumps({"images": images, "annotations": things}), encoding="utf-8")
    if packed:
        (top / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    else:
        (top / "refs.json").write_text(json.dumps(refs), encoding="utf-8")
    return content


def _picture(path: Path, rng: Any) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)).save(path)
