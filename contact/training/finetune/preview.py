"""A look at a run before it starts: what a batch holds, in words and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import ByteArray
from hoirecon.contact.training.contact_losses import WORD_IGNORE
from hoirecon.contact.training.mask_losses import IGNORE
from hoirecon.contact.training.public.batches import SampleMaker, TrainingSet
from hoirecon.contact.training.public.lessons import Lesson
from hoirecon.contact.training.step import Sample
from hoirecon.files import atomic_file
from hoirecon.images import read_image

TILE = 256
"""Side of a picture in the sheet, pixels."""
CONTACT = np.array([230, 20, 20], np.float64)
"""Colour of true contact."""
LINES = 4


def batch_text(lessons: TrainingSet, samples: Sequence[Sample], step: int = 0) -> str:
    """Lines on each sample of a batch."""
    mixture, tokenizer = lessons.mixture, lessons.maker.tokenizer
    lines = []
    for draw, sample in zip(lessons.draws(step), samples, strict=True):
        lesson = mixture.lesson(draw)
        learned = [i for i in sample.labels.tolist() if i != WORD_IGNORE]
        told = tokenizer.decode(learned, skip_special=True)
        part = ""
        if sample.target is not None:
            judged = sample.target.mask != IGNORE
            share = float((sample.target.mask[judged] >= 0.5).float().mean()) if bool(judged.any()) else 0.0
            part = f"; {100 * share:.1f} % of what the views show is contact"
        lines.append(f"{mixture.sources[draw.source].name}: {lesson.image.name}, {lesson.label or 'words'}{part}")
        lines.append(f"    {len(sample.input_ids)} ids, learned: {told}")
    return "\n".join(lines)


def batch_picture(lessons: TrainingSet, samples: Sequence[Sample], path: Path, step: int = 0) -> None:
    """Draw a batch: one row for each sample, the photograph, its views with the true contact in red, and its words."""
    from PIL import Image

    mixture, maker = lessons.mixture, lessons.maker
    rows = []
    for draw, sample in zip(lessons.draws(step), samples, strict=True):
        rows.append(_row(mixture.lesson(draw), sample, maker))
    with atomic_file(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, format="PNG")


def _row(lesson: Lesson, sample: Sample, maker: SampleMaker) -> ByteArray:
    tiles = [_fitted(read_image(lesson.image).rgb)]
    tiles += [_fitted(view) for view in _views(lesson, sample, maker)][:LINES]
    blank = np.full((TILE, TILE, 3), 255, np.uint8)
    tiles += [blank] * (LINES + 1 - len(tiles))
    return np.concatenate([*tiles, _words(sample, maker)], axis=1)


def _views(lesson: Lesson, sample: Sample, maker: SampleMaker) -> list[ByteArray]:
    if sample.target is None:
        return []
    masks = sample.target.mask.cpu().numpy()
    if lesson.task == "image":
        pictures = read_image(lesson.image).rgb[None]
    else:
        gallery, subject = maker.stage.subject(lesson)
        pictures = gallery.rendered(subject).images
    return [_marked(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]


def _marked(picture: ByteArray, mask: np.ndarray) -> ByteArray:
    """Contact in red on a picture made pale, so that the red stands out; what is not judged is paler still."""
    value = np.clip(mask, 0, 1)[..., None]
    grey = picture.mean(axis=-1, keepdims=True)
    pale = 0.5 * grey + 0.2 * picture + 0.3 * 255
    seen = pale * (1 - value) + CONTACT * value
    return np.where((mask == IGNORE)[..., None], 0.5 * picture + 127.5, seen).round().astype(np.uint8)


def _fitted(picture: ByteArray) -> ByteArray:
    """Shrunk or enlarged into a tile, its shape kept, with a margin."""
    from PIL import Image

    inner = TILE - 6
    scale = inner / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    tile = Image.new("RGB", (TILE, TILE), "white")
    tile.paste(Image.fromarray(picture).resize(size), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return np.asarray(tile)


def _words(sample: Sample, maker: SampleMaker) -> ByteArray:
    """The question in grey, what is learned in black."""
    from PIL import Image, ImageDraw

    tile = Image.new("RGB", (3 * TILE, TILE), "white")
    pen = ImageDraw.Draw(tile)
    asked, said = _spoken(sample, maker)
    top = 10
    for text, colour in ((asked, (120, 120, 120)), (said, (0, 0, 0))):
        for line in _wrapped(text, 88):
            pen.text((8, top), line, fill=colour)
            top += 14
        top += 8
    return np.asarray(tile)


def _spoken(sample: Sample, maker: SampleMaker) -> tuple[str, str]:
    ids, labels = sample.input_ids, sample.labels
    decode: Any = maker.tokenizer.decode
    question = _after_system(decode(_plain(ids[labels == WORD_IGNORE]), skip_special=True))
    return question, decode(labels[labels != WORD_IGNORE].tolist(), skip_special=True)


def _plain(ids: Tensor) -> list[int]:
    return [int(i) for i in ids]


def _after_system(text: str) -> str:
    """Without the system's sentence, which is the same in all."""
    return text[text.find("USER:") :] if "USER:" in text else text


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    ascii_text = text.encode("ascii", "replace").decode("ascii")
    return textwrap.wrap(ascii_text, width)[:5] or [""]


def batch_of(lessons: TrainingSet, step: int = 0) -> list[Sample]:
    """A batch for looking at; no gradient is needed."""
    with torch.no_grad():
        return lessons.batch(step)
