"""Questions, answers and their ids: the published templates, body parts in words, and which ids are learned.

The words are those of Dwivedi et al., "InteractVLM" (CVPR 2025), see :mod:`hoirecon.contact.prompting.templates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.inference.queries import ROLE_OF_KIND
from hoirecon.contact.modeling.contact_tokens import ContactTokens
from hoirecon.contact.prompting.conversation import AFTER_ANSWER, image_prompt_ids, training_text
from hoirecon.contact.prompting.templates import answers, question, templates
from hoirecon.contact.prompting.tokenizer import RESERVED_WORDS, ContactTokenizer, break_words, neutralise
from hoirecon.contact.training.contact_losses import WORD_IGNORE
from hoirecon.contact.training.public.lessons import Lesson
from hoirecon.data.body import BodyParts
from hoirecon.data.datasets.object_arrays import read_objects
from hoirecon.errors import InputError
from hoirecon.files import read_json

Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class TextConfig:
    """How questions and answers are drawn; the defaults are those of the corrected model (``-damon-fix``)."""

    human_questions: Literal["parts", "simple"] = "parts"
    """Template of questions on the body."""
    affordance_questions: Literal["afford", "afford_obj", "simple"] = "afford"
    """Template of questions on affordance; contact on an object's mesh is always asked with ``simple``."""
    part_dropout: float = 0.5
    """Share of ``parts`` questions that become ``simple``, question and answer both, so that the mask does not lean on
    the words alone."""
    named_share: float = 0.1
    """A body part is named if this share of its vertices is in contact."""
    max_ids: int = 257
    """Longest text, the image counting as one; what goes beyond is cut off, as in the reference."""

    def __post_init__(self) -> None:
        for name, kind in (("human", self.human_questions), ("object", self.affordance_questions)):
            templates("human" if name == "human" else "object", kind)
        if not 0 <= self.part_dropout <= 1 or not 0 < self.named_share <= 1:
            raise InputError("part_dropout lies in [0, 1], named_share in (0, 1]")
        if self.max_ids < 16:
            raise InputError(f"texts of at most {self.max_ids} ids hold no question: the reference has 257")


@dataclass(frozen=True, eq=False)
class PartWords:
    """Names of body parts, and which vertices each has."""

    names: tuple[str, ...]
    """As answers spell them: words with spaces."""
    verts: tuple[IntArray, ...]
    """Vertices of each."""
    num_verts: int
    """Of the body."""

    @classmethod
    def of(cls, parts: BodyParts, groups: Sequence[str] = ()) -> PartWords:
        """The parts of a body, or some groups of them (``left_hand``, ``back``, ...).

        Raises:
            InputError: a group that the body does not have.
        """
        names = tuple(groups) or parts.names
        verts = tuple(parts.verts_of(name) for name in names)
        return cls(tuple(name.replace("_", " ") for name in names), verts, len(parts.ids))

    @classmethod
    def read(cls, path: str | Path, num_verts: int = 6890) -> PartWords:
        """From a user's file: ``smpl_segmentation_merged.pkl`` of the reference, or JSON, part -> vertex ids.

        Nothing from the file is executed.

        Raises:
            InputError: no such mapping, or ids that the body does not have.
        """
        path = Path(path)
        held = read_json(path) if path.suffix == ".json" else read_objects(path, "vertices by body part")
        if not isinstance(held, Mapping) or not held:
            raise InputError(f"{path} holds a {type(held).__name__}, expected names of parts with their vertex ids")
        names, verts = [], []
        for name, ids in held.items():
            array = np.asarray(ids)
            if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
                raise InputError(f"{path}: the part {str(name)[:40]!r} has no list of whole vertex ids")
            if array.min() < 0 or array.max() >= num_verts:
                raise InputError(f"{path}: the part {str(name)[:40]!r} names vertex {array.max()} of {num_verts}")
            names.append(neutralise(str(name)))
            verts.append(np.unique(array).astype(np.int64))
        return cls(tuple(names), tuple(verts), num_verts)

    def touched(self, contact: FloatArray, share: float = 0.1) -> tuple[str, ...]:
        """Parts with at least that share of their vertices in contact (0.5 and more), in this table's order.

        Args:
            contact: (V,) in [0, 1].
            share: of a part's vertices.

        Raises:
            InputError: contact on another body.
        """
        return tuple(self.names[k] for k in self._touched(contact, share))

    def on_touched(self, contact: FloatArray, share: float = 0.1) -> FloatArray:
        """(V,) the same contact on the vertices of parts that :meth:`touched` names, 0 elsewhere."""
        kept = np.zeros_like(contact)
        for k in self._touched(contact, share):
            kept[self.verts[k]] = contact[self.verts[k]]
        return kept

    def chosen(self, *names: str) -> PartWords:
        """Some of the parts.

        Raises:
            InputError: one that is not there.
        """
        if missing := [name for name in names if name not in self.names]:
            raise InputError(f"there is no part '{missing[0]}' among {', '.join(self.names)}")
        return PartWords(names, tuple(self.verts[self.names.index(name)] for name in names), self.num_verts)

    def _touched(self, contact: FloatArray, share: float) -> list[int]:
        if len(contact) != self.num_verts:
            raise InputError(f"contact on {len(contact)} vertices has no parts on a body of {self.num_verts}")
        whole = contact >= 0.5
        return [k for k, ids in enumerate(self.verts) if len(ids) and whole[ids].mean() >= share]


def turns_of(
    lesson: Lesson, tokens: ContactTokens, parts: PartWords | None, config: TextConfig, rng: np.random.Generator
) -> Turns:
    """Draw the question and the answer of a lesson.

    Question and answer are drawn apart, as the models learned them. A body on which no part is touched enough to be
    named is asked about in the simple way.

    Raises:
        InputError: nothing that the answer needs is known (the affordance, the turns).
    """
    if lesson.task == "words":
        return _plain_turns(lesson)
    role = ROLE_OF_KIND[lesson.task]
    kind, named = _kind(lesson, parts, config, rng)
    asked = templates(role, kind).questions
    said = answers(role, kind, lesson.label, tokens.word_of(role), named, lesson.affordance)
    first = question(role, kind, lesson.label, int(rng.integers(len(asked))))
    return [(first, said[int(rng.integers(len(said)))])]


def _kind(
    lesson: Lesson, parts: PartWords | None, config: TextConfig, rng: np.random.Generator
) -> tuple[str, tuple[str, ...]]:
    """Kind of template, and the parts that are named."""
    if lesson.task == "human":
        dropped = rng.random() < config.part_dropout  # always drawn, so that the rest does not depend on the template
        if config.human_questions == "simple" or dropped or parts is None or lesson.contact is None:
            return "simple", ()
        named = parts.touched(lesson.contact, config.named_share)
        return ("parts", named) if named else ("simple", ())
    if lesson.task == "image":
        return ("sentence" if lesson.is_sentence else "segment"), ()
    return ("simple" if lesson.task == "object" else config.affordance_questions), ()


def _plain_turns(lesson: Lesson) -> Turns:
    """A file's own questions and answers: no word of them is a contact token or a speaker's name."""
    if not lesson.turns:
        raise InputError(f"{lesson.image.name} has no question with an answer in words")
    return [(asked, break_words(said, RESERVED_WORDS)) for asked, said in lesson.turns]


def ids_and_labels(tokenizer: ContactTokenizer, turns: Turns, max_ids: int = 257) -> tuple[Tensor, Tensor]:
    """(T,) ids of a conversation, -200 for the image, and (T,) labels: the answers with their end, -100 elsewhere.

    What stands before an answer has the very ids that it has when an answer is generated.

    Args:
        tokenizer: of the checkpoint.
        turns: questions and answers; the image belongs to the first.
        max_ids: what goes beyond is cut off.

    Raises:
        InputError: nothing that is learned is left.
    """
    ids = image_prompt_ids(tokenizer, training_text(turns))
    labels = [WORD_IGNORE] * len(ids)
    for k, (asked, _) in enumerate(turns):
        start = len(
            image_prompt_ids(tokenizer, training_text([*turns[:k], (asked, "")]).removesuffix(f" {AFTER_ANSWER}"))
        )
        end = len(image_prompt_ids(tokenizer, training_text(turns[: k + 1])))
        labels[start:end] = ids[start:end]
    ids, labels = ids[:max_ids], labels[:max_ids]
    if all(label == WORD_IGNORE for label in labels):
        raise InputError(f"the first {max_ids} ids hold no part of an answer: the question is too long")
    return torch.tensor(ids), torch.tensor(labels)


def drawn_text(
    tokenizer: ContactTokenizer,
    lesson: Lesson,
    tokens: ContactTokens,
    parts: PartWords | None,
    config: TextConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Ids and labels of :func:`ids_and_labels` for a drawn question and answer of :func:`turns_of`.

    A body of which more parts touch than a text has room for is asked about in the simple way: an answer that is cut
    off would lose its contact token, without which nothing can be localised.

    Raises:
        InputError: as those two, naming question and picture, or the answer's contact token does not fit.
    """
    for named in (parts, None):
        turns = turns_of(lesson, tokens, named, config, rng)
        try:
            ids, labels = ids_and_labels(tokenizer, turns, config.max_ids)
        except InputError as err:
            raise InputError(
                f'{err}: "{turns[0][0][:60]}" on {lesson.image}; shorten it, leave it out, or give a larger max_ids'
            ) from err
        if lesson.task == "words" or set(tokens.ids) & set(ids.tolist()):
            return ids, labels
    raise InputError(
        f"the question on '{lesson.label[:40]}' in {lesson.image.name} leaves no room for an answer within "
        f"{config.max_ids} ids: shorten it, or give a larger max_ids"
    )
