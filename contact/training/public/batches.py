"""From a mixture to batches of :func:`hoirecon.contact.training.step.training_step`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.contact.inference.preprocess import clip_pixels, sam_pixels
from hoirecon.contact.inference.queries import Query
from hoirecon.contact.modeling.config import VisionConfig
from hoirecon.contact.prompting.templates import question
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.training.losses import Target
from hoirecon.contact.training.public.lessons import Lesson, Source
from hoirecon.contact.training.public.mixing import Draw, Mixture
from hoirecon.contact.training.public.stage import Stage
from hoirecon.contact.training.public.texts import PartWords, TextConfig, drawn_text
from hoirecon.contact.training.step import Sample
from hoirecon.errors import InputError
from hoirecon.images import read_image


class SampleMaker:
    """Turns lessons into samples for one network.

    Args:
        stage: draws and encodes for that network.
        tokenizer: its vocabulary.
        parts: names of body parts for answers; None asks about bodies in the simple way.
        config: how texts are drawn.

    Raises:
        InputError: a network that reads landmarks in place of photographs.
    """

    def __init__(
        self,
        stage: Stage,
        tokenizer: ContactTokenizer,
        parts: PartWords | None = None,
        config: TextConfig | None = None,
    ) -> None:
        network = stage.gallery.network.config
        if not isinstance(network.vision, VisionConfig):
            raise InputError("this network reads landmarks, not photographs: public data train networks with CLIP")
        self.stage, self.tokenizer, self.parts, self.config = stage, tokenizer, parts, config or TextConfig()
        self._side, self._sam_side, self._tokens = network.vision.image_size, network.sam.img_size, network.tokens

    def sample(self, lesson: Lesson, rng: np.random.Generator) -> Sample:
        """Words, photograph, views and truth of a lesson.

        Raises:
            InputError: a photograph that cannot be read, or truth that does not fit.
        """
        ids, labels = drawn_text(self.tokenizer, lesson, self._tokens, self.parts, self.config, rng)
        rgb = read_image(lesson.image).rgb
        image = torch.from_numpy(clip_pixels(rgb, self._side))
        if lesson.task == "words":
            return Sample(ids, labels, image)
        if lesson.task == "image":
            views = torch.from_numpy(sam_pixels(rgb, self._sam_side))[None]
            return Sample(ids, labels, image, _photograph_target(lesson, rgb.shape[:2]), views)
        scene = self.stage.scene(lesson)
        return Sample(ids, labels, image, scene.target, scene.views, scene.features, cameras=scene.cameras)


def _photograph_target(lesson: Lesson, size: tuple[int, ...]) -> Target:
    if lesson.mask is None or lesson.mask.shape != tuple(size):
        shape = None if lesson.mask is None else lesson.mask.shape
        raise InputError(f"{lesson.image} has {size[0]} rows and {size[1]} columns, its mask is {shape}")
    return Target("image", torch.as_tensor(lesson.mask, dtype=torch.float32)[None])


@dataclass(frozen=True)
class Position:
    """Where a run stands; all that is needed to go on, besides the same data and settings."""

    epoch: int
    index: int
    """Draws of the epoch that are done, over all processes."""
    fingerprint: str
    """Of the mixture."""


class TrainingSet:
    """Batches by the number of their step: the same step gives the same batch, whatever came before.

    :func:`ahead` makes them beside the training.

    Args:
        mixture: what is drawn; its ``per_epoch`` is cut to whole steps.
        maker: turns draws into samples.
        batch: samples of a step on this process.
        rank, world: this process among how many; each takes its own part of every step.
    """

    def __init__(self, mixture: Mixture, maker: SampleMaker, batch: int = 8, rank: int = 0, world: int = 1) -> None:
        if batch < 1 or not 0 <= rank < world:
            raise InputError(f"a batch holds at least one sample, and rank {rank} is one of {world} processes")
        self.mixture, self.maker, self.batch_size, self.rank, self.world = mixture, maker, batch, rank, world
        self.steps_per_epoch = mixture.per_epoch // (batch * world)
        if not self.steps_per_epoch:
            raise InputError(f"an epoch of {mixture.per_epoch} draws has no step of {batch} on {world} processes")
        self._plan: tuple[int, list[Draw]] = (-1, [])

    def __len__(self) -> int:
        """Steps of one epoch."""
        return self.steps_per_epoch

    def batch(self, step: int) -> list[Sample]:
        """The samples of a step, counted from 0 over all epochs."""
        return [self.maker.sample(self.mixture.lesson(d), np.random.default_rng(d.speech)) for d in self.draws(step)]

    def draws(self, step: int) -> list[Draw]:
        """What a step reads."""
        if step < 0:
            raise InputError(f"steps are counted from 0, got {step}")
        epoch, within = divmod(step, self.steps_per_epoch)
        if self._plan[0] != epoch:
            self._plan = epoch, self.mixture.plan(epoch)
        first = (within * self.world + self.rank) * self.batch_size
        return self._plan[1][first : first + self.batch_size]

    def position(self, step: int) -> Position:
        """State of a run that has done so many steps."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return Position(epoch, within * self.world * self.batch_size, self.mixture.fingerprint)

    def step_at(self, position: Position) -> int:
        """The step to go on with.

        Raises:
            InputError: the state of a run with other data, seed, rates or size of steps.
        """
        if position.fingerprint != self.mixture.fingerprint:
            raise InputError("this run was begun with other data, rates or seed: go on with the same, or begin anew")
        within, rest = divmod(position.index, self.world * self.batch_size)
        if rest:
            raise InputError(
                f"the run stands at draw {position.index} of its epoch, which is no whole step of "
                f"{self.world * self.batch_size}: go on with the same batch and number of processes"
            )
        return position.epoch * self.steps_per_epoch + within


def ahead(lessons: TrainingSet, first: int, last: int) -> Iterator[list[Sample]]:
    """The batches of some steps, each made by a thread beside the step before it.

    Args:
        lessons: what is taught.
        first, last: steps, the last one left out.
    """
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(lessons.batch, first) if first < last else None
        for step in range(first, last):
            assert coming is not None  # there is a step
            made = coming.result()
            coming = beside.submit(lessons.batch, step + 1) if step + 1 < last else None
            yield made


def to_device(batch: Sequence[Sample], device: torch.device | str) -> list[Sample]:
    """The same batch with its photographs, views and targets on a device; ids stay, they are read as numbers."""
    moved: dict[int, Tensor] = {}

    def there(value: Tensor | None) -> Any:
        return None if value is None else moved.setdefault(id(value), value.to(device))

    return [
        replace(
            sample,
            image=there(sample.image),
            views=there(sample.views),
            features=there(sample.features),
            cameras=there(sample.cameras),
            target=None
            if sample.target is None
            else replace(sample.target, mask=there(sample.target.mask), contact=there(sample.target.contact)),
        )
        for sample in batch
    ]


def queries_of(source: Source, limit: int | None = None) -> list[tuple[Query, Lesson]]:
    """Questions of a source for validation by generated answers (``InteractVLM.ask``), each with what is true.

    Args:
        source: e.g. a validation part.
        limit: so many of its entries, evenly spread; None takes all.

    Returns:
        Nothing of the truth is in the query.
    """
    entries = [entry for entry in source.entries if entry.task != "words"]
    if limit is not None and limit < len(entries):
        entries = [entries[i * len(entries) // limit] for i in range(limit)]
    pairs = []
    for entry in entries:
        lesson = source.lesson(entry)
        assert lesson.task != "words"  # chosen so
        asked = None
        if lesson.task == "image":
            asked = question("general", "sentence" if lesson.is_sentence else "segment", lesson.label)
        query = Query(lesson.task, str(lesson.image), lesson.label, mesh=lesson.thing, question=asked)
        pairs.append((query, lesson))
    return pairs


def settings(lessons: TrainingSet) -> dict[str, Any]:
    """What a run's card says of its data: plain values."""
    mixture = lessons.mixture
    return {
        "sources": [
            {"name": s.name, "entries": len(s.entries), "chance": c}
            for s, c in zip(mixture.sources, mixture.chances, strict=True)
        ],
        "text": asdict(lessons.maker.config),
        "seed": mixture.seed,
        "steps_per_epoch": lessons.steps_per_epoch,
        "fingerprint": mixture.fingerprint,
    }
