"""Segmentation by words: what LISA learned from, as masks of the photograph.

``open_reasoning``: ReasonSeg (Lai et al., "LISA", CVPR 2024), a labelme JSON beside each photograph, with the questions
in ``text``. ``open_refcoco``: RefCOCO, RefCOCO+ and RefCOCOg (Yu et al., 2016; Mao et al., 2016), ``instances.json``
and ``refs(...).p`` (or ``refs.json``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hoirecon.arrays import FloatArray
from hoirecon.contact.prompting.tokenizer import neutralise
from hoirecon.contact.training.mask_losses import IGNORE
from hoirecon.contact.training.public.lessons import Entry, Lesson
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.errors import InputError
from hoirecon.files import read_json

MAX_BYTES = 1 << 30
PICTURES = (".jpg", ".jpeg", ".png")
Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Phrase:
    """One expression and the polygons it refers to."""

    image: Path
    text: str
    shapes: tuple[Polygon, ...]
    """Filled: what is meant."""
    size: tuple[int, int]
    """Width and height of the photograph."""
    ignored: tuple[Polygon, ...] = ()
    """Filled: what is not judged."""
    is_sentence: bool = False


@dataclass(frozen=True, eq=False)
class PhraseSource:
    """Expressions as lessons on the photograph itself."""

    name: str
    phrases: tuple[Phrase, ...] = field(repr=False)
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> number."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What can be drawn."""
        return tuple(Entry(k, "image", p.text, p.image.stem) for k, p in enumerate(self.phrases))

    @property
    def fingerprint(self) -> str:
        """Hash of names, words and polygons."""
        told = [(p.image.name, p.text, p.shapes, p.ignored, p.size) for p in self.phrases]
        return hashlib.sha256(repr((self.name, told)).encode()).hexdigest()[:32]

    def lesson(self, entry: Entry) -> Lesson:
        """One expression with its mask."""
        phrase = self.phrases[entry.place]
        return Lesson("image", phrase.image, phrase.text, mask=drawn_mask(phrase), is_sentence=phrase.is_sentence)


def drawn_mask(phrase: Phrase) -> FloatArray:
    """(H, W): 1 inside what is meant, -1 inside what is ignored and not meant, else 0."""
    mask = np.zeros(phrase.size[::-1])
    mask[_filled(phrase.ignored, phrase.size)] = IGNORE
    mask[_filled(phrase.shapes, phrase.size)] = 1.0
    return mask


def _filled(shapes: Sequence[Polygon], size: tuple[int, int]) -> Any:
    canvas = Image.new("1", size)
    for shape in shapes:
        ImageDraw.Draw(canvas).polygon(list(shape), fill=1, outline=1)
    return np.asarray(canvas)


# ----------------------------------------------------------------------------------------------------------- reasonseg
def open_reasoning(folder: str | Path, name: str = "reasonseg") -> PhraseSource:
    """Read a split's folder of ReasonSeg: ``<image>.jpg`` and ``<image>.json``.

    Args:
        folder: e.g. ``ReasonSeg/train``.
        name: of the source.

    Raises:
        InputError: no such folder, or nothing in it that can be taught.
    """
    folder, phrases = Path(folder), []
    left_out: dict[str, int] = {}
    for path in sorted(folder.glob("*.json")):
        image = next((p for e in PICTURES if (p := path.with_suffix(e)).is_file()), None)
        if image is None:
            left_out["no photograph"] = left_out.get("no photograph", 0) + 1
            continue
        phrases += _of_labelme(read_json(path), image, path)
    if not phrases:
        raise InputError(f"{folder} has no photograph with a JSON of questions and shapes beside it")
    return PhraseSource(name, tuple(phrases), left_out)


def _of_labelme(held: Any, image: Path, path: Path) -> list[Phrase]:
    texts = held.get("text") if isinstance(held, dict) else None
    shapes = held.get("shapes") if isinstance(held, dict) else None
    if not isinstance(texts, list) or not isinstance(shapes, list) or not all(isinstance(t, str) for t in texts):
        raise InputError(f"{path} has no list 'text' of questions and no list 'shapes': it is not ReasonSeg's")
    kinds: dict[bool, list[Polygon]] = {True: [], False: []}
    for shape in shapes:
        label = str(shape.get("label", "")).lower() if isinstance(shape, dict) else ""
        if label != "flag":  # a mark on the picture, no region
            kinds["ignore" not in label].append(
                _polygon(shape.get("points") if isinstance(shape, dict) else None, path)
            )
    if not kinds[True]:
        raise InputError(f"{path} has no shape that is meant")
    with Image.open(image) as picture:
        size = picture.size
    sentence = bool(held.get("is_sentence", False))
    meant, ignored = tuple(kinds[True]), tuple(kinds[False])
    return [Phrase(image, text, meant, size, ignored, sentence) for text in texts if _sayable(text)]


def _sayable(text: str) -> bool:
    """Whether a prompt can hold it: some words, and not too many."""
    try:
        return bool(neutralise(text))
    except InputError:
        return False


def _polygon(points: Any, path: Path) -> Polygon:
    array = np.asarray(points if points is not None else [], dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < 3 or not np.isfinite(array).all():
        raise InputError(f"{path} has a shape that is no polygon of at least three points (x, y)")
    return tuple((float(x), float(y)) for x, y in array)


# ------------------------------------------------------------------------------------------------------------- refcoco
def open_refcoco(
    folder: str | Path, images: str | Path, split: str = "train", split_by: str = "", name: str = "refcoco"
) -> PhraseSource:
    """Read RefCOCO or one of its kin.

    Args:
        folder: with ``instances.json`` and ``refs(<split_by>).p`` or ``refs.json``.
        images: COCO's photographs.
        split: ``train``, ``val``, ``testA``, ...
        split_by: ``unc``, ``google`` or ``umd``; empty takes the only one there is.
        name: of the source.

    Objects whose mask is no polygon (COCO's crowds) and photographs that are missing are counted.

    Raises:
        InputError: files that are missing or of another structure, or nothing in the split.
    """
    folder, images = Path(folder), Path(images)
    held = read_json(folder / "instances.json", MAX_BYTES)
    pictures, things = _by_id(held, "images", folder), _by_id(held, "annotations", folder)
    phrases: list[Phrase] = []
    left_out: dict[str, int] = {}
    for ref in _refs(folder, split_by):
        if not isinstance(ref, Mapping) or ref.get("split") != split:
            continue
        found = _of_ref(ref, pictures, things, images, folder)
        if isinstance(found, str):
            left_out[found] = left_out.get(found, 0) + 1
        else:
            phrases += found
    if not phrases:
        raise InputError(f"{folder} has no expression of split '{split}' with the photographs in {images}: {left_out}")
    return PhraseSource(name, tuple(phrases), left_out)


def _refs(folder: Path, split_by: str) -> list[Any]:
    plain = folder / "refs.json"
    packed = sorted(folder.glob(f"refs({split_by or '*'}).p"))
    if not plain.is_file() and len(packed) != 1:
        names = ", ".join(path.name for path in packed) or "none"
        raise InputError(f"{folder} needs one refs(...).p, it has {names}: give split_by")
    held = read_json(plain, MAX_BYTES) if plain.is_file() else read_objects(packed[0], "referring expressions")
    if not isinstance(held, list):
        raise InputError(f"{folder}: the referring expressions are a {type(held).__name__}, expected a list")
    return held


def _by_id(held: Any, key: str, folder: Path) -> dict[int, Mapping[str, Any]]:
    rows = held.get(key) if isinstance(held, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
        raise InputError(f"{folder / 'instances.json'} has no list '{key}' with ids: it is not COCO's")
    return {int(row["id"]): row for row in rows}


def _of_ref(
    ref: Mapping[str, Any], pictures: Mapping[int, Any], things: Mapping[int, Any], images: Path, folder: Path
) -> list[Phrase] | str:
    """Its expressions, or why it has none."""
    try:
        picture, thing = pictures[int(ref["image_id"])], things[int(ref["ann_id"])]
        texts = [str(sentence["sent"]) for sentence in ref["sentences"]]
        size = int(picture["width"]), int(picture["height"])
        image = images / PurePosixPath(str(picture["file_name"])).name
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(
            f"{folder}: an expression does not fit instances.json ({err!r}): are they of one copy?"
        ) from err
    if not image.is_file():
        return "no photograph"
    rings = thing.get("segmentation")
    if not isinstance(rings, list) or not rings:
        return "no polygon"
    shapes = tuple(_polygon(np.asarray(ring, dtype=np.float64).reshape(-1, 2), folder) for ring in rings)
    return [Phrase(image, text.strip(), shapes, size) for text in texts if _sayable(text)] or "no words"
