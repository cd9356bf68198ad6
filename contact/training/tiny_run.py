"""One run of the small model: samples, training, figures, weights and their card, by one command.

``hoirecon train --config tiny-closedworld --out runs/tiny``. Everything is drawn from the seed. A run that was
interrupted goes on where its last checkpoint lies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hoirecon.contact.inference.asking import word_of
from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.modeling.direct_heads import ObjectHead
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.contact.training.closedworld_data import LAYOUT, VERSION, Samples, Split, category_names, draw_samples
from hoirecon.contact.training.engine import Engine, EngineConfig
from hoirecon.contact.training.lessons import LessonConfig, Lessons, vertex_area
from hoirecon.contact.training.object_means import VoxelMean
from hoirecon.contact.training.quick_step import BodyViews, QuickWeights, SideTasks, quick_step
from hoirecon.contact.training.tiny import TOKEN_TYPE, TinySize, tiny_config, tiny_tokenizer
from hoirecon.data.body import load_body
from hoirecon.data.closedworld.posing import body_model
from hoirecon.data.objects import load_object

USUAL_EPS = 3e-3
"""Rates of contact are held this far from 0 and 1 before their logarithm is taken."""
VAL_SEED, TEST_SEED = 0, 1000
"""Seeds of the scenes that choose thresholds, and of those that are reported."""


@dataclass(frozen=True)
class TinyRun:
    """What a run is made of."""

    shards: int = 30
    """Sets of training scenes, each from its own seed."""
    scenes: int = 800
    """Scenes in each; a scene gives about four samples."""
    val_scenes: int = 500
    """Scenes of validation; some give no sample."""
    test_scenes: int = 650
    """Scenes of the test."""
    apart_scenes: int = 500
    """Scenes of training in which nothing touches."""
    apart_asked: int = 150
    """The same of validation and of the test, each."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """How parameters are moved."""
    lessons: LessonConfig = field(default_factory=LessonConfig)
    """What is taught how often."""
    weights: QuickWeights = field(default_factory=QuickWeights)
    """Of the losses."""
    size: TinySize = field(default_factory=TinySize)
    """Of the network."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network with what is needed to ask it."""

    network: InteractVLMNetwork
    tokenizer: ContactTokenizer
    gallery: Gallery
    body: Subject


def samples_of(
    split: Split, seed: int, scenes: int, folder: Path, tell: Callable[[str], None] = print, apart: bool = False
) -> Samples:
    """Samples of a seed, drawn once and kept in a folder; ``apart`` are those in which nothing touches."""
    path = folder / f"{split}-{seed}-{scenes}{'-apart' * apart}-v{VERSION}.{LAYOUT}.npz"
    if not path.is_file():
        tell(f"drawing {scenes} {split} scenes of seed {seed}{', nothing touching' * apart}")
        draw_samples(split, seed, scenes, apart).save(path)
    return Samples.load(path)


def train_samples(run: TinyRun, folder: Path, tell: Callable[[str], None] = print) -> Samples:
    """All training samples of a run in which something touches."""
    return Samples.joined([samples_of("train", k, run.scenes, folder, tell) for k in range(run.shards)])


def lesson_samples(run: TinyRun, folder: Path, tell: Callable[[str], None] = print) -> Samples:
    """What is taught: those, and some in which nothing touches, among them."""
    touching = train_samples(run, folder, tell)
    if not run.apart_scenes:
        return touching
    apart = samples_of("train", 0, run.apart_scenes, folder, tell, apart=True)
    joined = Samples.joined([touching, apart])
    return joined.take(np.random.default_rng([run.engine.seed, 4]).permutation(len(joined)))


def new_model(run: TinyRun) -> Model:
    """Random weights of the run's seed, and its vocabulary."""
    with tempfile.TemporaryDirectory(prefix="hoirecon-tiny-") as folder:
        names = [name.replace(" ", "_") for name in category_names()]
        tokenizer = tiny_tokenizer(Path(folder), names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.engine.seed)
        network = InteractVLMNetwork(tiny_config(tokenizer.vocab_size, tokenizer.contact_tokens(TOKEN_TYPE), run.size))
    gallery = Gallery(network, ZBufferRenderer())
    return Model(network, tokenizer, gallery, gallery.body(load_body()))


def engine_of(run: TinyRun, model: Model, train: Samples, folder: Path) -> Engine:
    """The engine of a run; it goes on from a checkpoint that lies in the folder."""
    config = model.network.config
    vision = config.vision
    assert isinstance(vision, EvidenceConfig)  # tiny_config has no other
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.engine.seed + 1)
        side = SideTasks(vision.hidden_size, config.language.hidden_size, len(body_model().parts.names))
    if model.network.object_head is not None:
        learn_usual(model.network.object_head, model.tokenizer, train)
    views, area = BodyViews.of(model.gallery, model.body), vertex_area()
    meshes = object_views(model) if run.size.objects else None
    taught = replace(run.lessons, glances=min(run.lessons.glances, run.engine.steps // 3))
    heads = model.network.vertex_head is not None
    lessons = Lessons(train, model.tokenizer, vision, taught, run.engine.seed, meshes, heads)
    modules = nn.ModuleDict({"network": model.network, "side": side})

    def losses(step: int) -> dict[str, torch.Tensor]:
        return quick_step(model.network, side, views, lessons.before, lessons.batch(step), area, run.weights)

    return Engine(modules, losses, replace(run.engine, again=taught.glances * heads), folder)


def learn_usual(head: ObjectHead, tokenizer: ContactTokenizer, train: Samples) -> None:
    """Write into a head what is usual for each category, from training samples; it is not trained further."""
    mean = VoxelMean(train, head.grid)
    logits = torch.logit(torch.as_tensor(mean.smooth, dtype=torch.float32), USUAL_EPS)
    with torch.no_grad():
        head.usual.copy_(torch.logit(torch.as_tensor(mean.any, dtype=torch.float32), USUAL_EPS).expand_as(head.usual))
        for category, name in enumerate(category_names()):
            head.usual[word_of(name, tokenizer)] = logits[category]
    head.usual.requires_grad_(False)


def object_views(model: Model) -> Callable[[str], BodyViews]:
    """Views of the library's meshes, each drawn when it is first asked for."""

    @cache
    def views(object_id: str) -> BodyViews:
        found = BodyViews.of(model.gallery, model.gallery.object(load_object(object_id).mesh))
        model.gallery.forget()
        return found

    return views


def train(
    run: TinyRun, out: Path, samples: Path, until: int | None = None, tell: Callable[[str], None] = print
) -> Model:
    """Train, or go on training; the model is ready to be asked.

    Args:
        run: what it is made of.
        out: folder of checkpoints.
        samples: folder of drawn samples.
        until: stop after this step, to go on later; None trains to the end.
        tell: takes lines of progress.
    """
    samples.mkdir(parents=True, exist_ok=True)
    taught = lesson_samples(run, samples, tell)
    model = new_model(run)
    engine_of(run, model, taught, out).run(until, tell)
    model.network.eval()
    model.gallery.forget()
    return model
