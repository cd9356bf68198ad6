"""From samples to batches: which rows a step takes, what is asked of them, and what the true answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, IntArray
from hoirecon.contact.inference.asking import ANY_THING, word_of
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.modeling.direct_heads import place_features
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.contact.prompting.conversation import prefix_ids, question_ids
from hoirecon.contact.prompting.templates import question
from hoirecon.contact.prompting.tokenizer import IMAGE_ID, ContactTokenizer
from hoirecon.contact.training.closedworld_data import Samples, category_names, object_ids
from hoirecon.contact.training.front_end import MIRRORED, FrontEnd, mirror, spoilt
from hoirecon.contact.training.quick_scenes import BAND_M
from hoirecon.contact.training.quick_step import Batch, BodyViews, Things
from hoirecon.contact.training.tiny import ANSWER_THING, NO_CONTACT, TOKEN_TYPE, answer_text, touched_groups
from hoirecon.data.body.skeleton import mirror_name
from hoirecon.data.closedworld.posing import body_model
from hoirecon.data.objects import load_object


@dataclass(frozen=True)
class LessonConfig:
    """What is taught how often."""

    batch: int = 24
    """Questions on the body in a step."""
    glances: int = 2000
    """First steps, in which the tower learns by glances only (:class:`~hoirecon.contact.training.quick_step.Batch`),
    so that the language model and the masks find a tower that sees; at most a third of a run, and none if the network
    has no vertex head."""
    masked: int = 8
    """Questions on the body in a step whose masks are decoded; the vertex head learns from all of them, for a tenth of
    the time. A network without that head decodes all."""
    things: int = 6
    """Questions on objects in a step, on as many of the same pictures; 0 teaches the body only."""
    things_from: int = 0
    """Step from which they are asked."""
    things_masked: int = 2
    """Of those, how many have masks decoded: each costs as much as two masks on the body, its views being its own."""
    true_words: float = 0.5
    """Share of answers whose true body parts are learned; the others have those of another sample before the contact
    token, and only what follows is learned, so that a wrong word need not make a wrong mask."""
    unnamed: float = 0.1
    """Share of questions in which the thing is called an object."""
    share: float = 1.0
    """Share of the training samples that is used, the first of them; for curves over the amount of data."""
    front_end: FrontEnd = field(default_factory=FrontEnd)
    """How evidence is spoilt."""


class Lessons:
    """Batches of one set of samples, each made from the seed and its number alone.

    Args:
        samples: of the training split.
        tokenizer: the network's vocabulary.
        vision: the network's tower.
        config: what is taught how often.
        seed: of everything that is drawn.
        views: views of the mesh with a library id, for questions on objects; None asks none.
        heads: whether the network has a vertex head; else nobody glances and masks are decoded for every question.
    """

    def __init__(
        self, samples: Samples, tokenizer: ContactTokenizer, vision: EvidenceConfig, config: LessonConfig, seed: int,
        views: Callable[[str], BodyViews] | None = None, heads: bool = False,
    ) -> None:  # fmt: skip
        self.samples = samples.take(slice(0, max(int(config.share * len(samples)), 1)))
        self.tokenizer, self.vision, self.config, self.seed, self.views = tokenizer, vision, config, seed, views
        self.heads = heads
        self._order: tuple[int, IntArray] = (-1, np.zeros(0, dtype=np.int64))

    @cached_property
    def before(self) -> list[int]:
        """Ids before the picture."""
        ids = prefix_ids(self.tokenizer)
        return ids[: ids.index(IMAGE_ID)]

    def asked(self, name: str, role: Role = "human") -> list[int]:
        """Ids between the picture and the answer."""
        ids = prefix_ids(self.tokenizer)
        text = question(role, "parts" if role == "human" else "simple", name)
        return [*ids[ids.index(IMAGE_ID) + 1 :], *question_ids(self.tokenizer, text)]

    def rows(self, step: int) -> IntArray:
        """Which samples a step takes: all once in random order, then all again."""
        size = self.config.batch
        per_round = max(len(self.samples) // size, 1)
        turn = step // per_round
        if self._order[0] != turn:
            self._order = turn, np.random.default_rng([self.seed, 1, turn]).permutation(len(self.samples))
        start = step % per_round * size
        return self._order[1][start : start + size]

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng, rows = np.random.default_rng([self.seed, 2, step]), self.rows(step)
        flip = rng.random(len(rows)) < 0.5
        evidence = spoilt(self.samples, rows, rng, self.config.front_end)
        things = self._things(step, rows, rng)
        if things is not None:
            flip[things.rows.numpy()] = False  # a mirrored mesh is none of the library's
        contact = self.samples.contact(rows)
        contact[flip] = contact[flip][:, mirror_verts()]
        groups = touched_groups(contact)
        parts = self.samples.part_distance[rows] < BAND_M
        parts[flip] = parts[flip][:, _mirror_parts()]
        distance = self.samples.landmark_distance[rows].copy()
        distance[flip] = distance[flip][:, MIRRORED]
        answers, learned = self._answers(groups, np.asarray(contact.any(axis=1)), rng)
        called = [self._called(row, rng) for row in rows]
        return Batch(
            mirror(evidence, torch.as_tensor(flip), self.vision),
            [self.asked_once(name, "human") for name in called],
            answers,
            learned,
            torch.as_tensor(contact, dtype=torch.float32),
            torch.as_tensor(distance),
            torch.as_tensor(parts, dtype=torch.float32),
            self.config.masked if self.heads else None,
            things,
            [word_of(name, self.tokenizer) for name in called],
            self.heads and step < self.config.glances,
        )

    def _called(self, row: int, rng: np.random.Generator) -> str:
        return ANY_THING if rng.random() < self.config.unnamed else category_names()[self.samples.category[row]]

    def asked_once(self, name: str, role: Role = "human") -> list[int]:
        """As :meth:`asked`, made once for each name."""
        made: dict[tuple[str, str], list[int]] = self.__dict__.setdefault("_asked", {})
        if (name, role) not in made:
            made[name, role] = self.asked(name, role)
        return made[name, role]

    def _things(self, step: int, rows: IntArray, rng: np.random.Generator) -> Things | None:
        """Questions on the objects of the first samples in which something touches."""
        if (
            self.views is None
            or not self.config.things
            or step < max(self.config.things_from, self.heads * self.config.glances)
        ):
            return None
        contact = self.samples.object_contact(rows)
        chosen = np.flatnonzero(contact.any(1))[: self.config.things]
        if not len(chosen):
            return None
        ids = [object_ids()[self.samples.instance[row]] for row in rows[chosen]]
        places = [object_places(name) for name in ids]
        masked = self.config.things_masked if self.heads else len(chosen)
        answer = self._answer(ANSWER_THING.format(token=self._token("object")))
        called = [self._called(row, rng) for row in rows[chosen]]
        return Things(
            torch.as_tensor(chosen),
            [self.asked_once(name, "object") for name in called],
            [answer] * len(chosen),
            [word_of(name, self.tokenizer) for name in called],
            places,
            [torch.as_tensor(contact[i, : len(p)], dtype=torch.float32) for i, p in zip(chosen, places, strict=True)],
            [self.views(name) for name in ids[:masked]],
        )

    def _token(self, role: Role) -> str:
        return self.tokenizer.contact_tokens(TOKEN_TYPE).word_of(role)

    def _answer(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(text, bos=False), self.tokenizer.eos_id]

    def _answers(
        self, groups: BoolArray, touches: BoolArray, rng: np.random.Generator
    ) -> tuple[list[list[int]], list[int]]:
        """Ids of the answers, and from where each is learned."""
        token = self._token("human")
        contact_id = self.tokenizer.id_of(token)
        others = groups[rng.permutation(len(groups))]
        answers, learned = [], []
        for own, other, any_contact in zip(groups, others, touches, strict=True):
            true = rng.random() < self.config.true_words or not any_contact
            ids = self._answer(answer_text(own if true else other, token) if any_contact else NO_CONTACT)
            answers.append(ids)
            learned.append(0 if true else ids.index(contact_id))
        return answers, learned


@cache
def object_places(object_id: str) -> Tensor:
    """(No, PLACE_NUMBERS) where the vertices of a library mesh lie in it."""
    return place_features(torch.as_tensor(load_object(object_id).mesh.verts, dtype=torch.float32))


def mirror_verts() -> IntArray:
    """(V,) the vertex of the body on the other side."""
    annotations = body_model().annotations
    assert annotations is not None  # the free body has them
    return annotations.mirror


def _mirror_parts() -> IntArray:
    """Index of each part on the other side."""
    names = body_model().parts.names
    return np.array([names.index(mirror_name(name)) for name in names])


def vertex_area() -> Tensor:
    """(V,) share of the body's surface that each vertex stands for; sums to 1."""
    model = body_model()
    corners = model.rest_verts[model.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    share = np.bincount(model.faces.ravel(), np.repeat(area, 3), model.num_verts)
    return torch.as_tensor(share / share.sum(), dtype=torch.float32)
