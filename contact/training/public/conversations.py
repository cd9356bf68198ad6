"""Questions answered in words: HOI-VQA and LLaVA's instructions, JSON of conversations on images.

[{"id": "...", "image": "coco.jpg", "conversations": [{"from": "human", "value": "<image>\\n..."},
                                                      {"from": "gpt", "value": "..."}, ...]}, ...]
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hoirecon.contact.prompting.tokenizer import IMAGE_WORD
from hoirecon.contact.training.public.lessons import Entry, Lesson
from hoirecon.errors import InputError
from hoirecon.files import read_json

MAX_BYTES = 1 << 30
"""Largest file; LLaVA's 150 000 instructions have 230 MB."""
MAX_TEXT = 20_000
"""Longest question or answer, characters."""
SPEAKERS = ("human", "gpt")


@dataclass(frozen=True, eq=False)
class ConversationSource:
    """Conversations as lessons in words; those that are damaged, or whose image is missing, are counted."""

    name: str
    fingerprint: str
    """Hash of the file and of the images that were found."""
    entries: tuple[Entry, ...]
    lessons: tuple[Lesson, ...] = field(repr=False)
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> number."""

    def lesson(self, entry: Entry) -> Lesson:
        """One conversation."""
        return self.lessons[entry.place]


def open_conversations(path: str | Path, images: str | Path, name: str = "") -> ConversationSource:
    """Read conversations.

    Args:
        path: the JSON file.
        images: folder of the photographs; a name in the file is looked for below it, with its folders and without.
        name: of the source; empty takes the file's.

    Raises:
        InputError: no such file, another structure, or nothing that can be taught.
    """
    path, images = Path(path), Path(images)
    rows = read_json(path, MAX_BYTES)
    if not isinstance(rows, list):
        raise InputError(f"{path} holds a {type(rows).__name__}, expected a list of conversations")
    lessons: list[Lesson] = []
    left_out: dict[str, int] = {}
    for row in rows:
        found = _lesson(row, images)
        if isinstance(found, str):
            left_out[found] = left_out.get(found, 0) + 1
        else:
            lessons.append(found)
    if not lessons:
        raise InputError(f"{path} holds nothing that can be taught with the images in {images}: {left_out}")
    entries = tuple(Entry(k, "words", "", lesson.image.stem) for k, lesson in enumerate(lessons))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    told = (digest, [entry.group for entry in entries])
    fingerprint = hashlib.sha256(repr(told).encode()).hexdigest()[:32]
    return ConversationSource(name or path.stem, fingerprint, entries, tuple(lessons), left_out)


def _lesson(row: Any, images: Path) -> Lesson | str:
    """The lesson of a row, or why it has none."""
    if not isinstance(row, dict) or not isinstance(row.get("image"), str):
        return "no image named"
    turns = _turns(row.get("conversations"))
    if isinstance(turns, str):
        return turns
    image = _find(images, row["image"])
    return "no photograph" if image is None else Lesson("words", image, turns=turns)


def _turns(said: Any) -> tuple[tuple[str, str], ...] | str:
    """Questions and answers, in turn; the mark of the image is taken off."""
    if not isinstance(said, Sequence) or len(said) < 2 or len(said) % 2:
        return "no question with an answer"
    texts = []
    for k, part in enumerate(said):
        if not isinstance(part, dict) or part.get("from") != SPEAKERS[k % 2] or not isinstance(part.get("value"), str):
            return "speakers not in turn"
        text = " ".join(part["value"].replace(IMAGE_WORD, " ").split(" ")).strip()
        if not text or len(text) > MAX_TEXT:
            return "empty or endless text"
        texts.append(text)
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def _find(images: Path, named: str) -> Path | None:
    """The file below the folder, never outside it."""
    parts = [part for part in PurePosixPath(named.replace("\\", "/")).parts if part not in ("..", "/", ".")]
    tries = [images.joinpath(*parts[k:]) for k in range(len(parts))]
    return next((path for path in tries if path.is_file()), None)
