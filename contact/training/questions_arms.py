"""The arms of the paper's questions: each changes one thing of the small model's training, and only that.

Every arm is trained on the same samples, from the same seed, for as many steps, and is asked about the same evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hoirecon.arrays import BoolArray
from hoirecon.contact.inference.asking import ANY_THING
from hoirecon.contact.lifting import lift_human
from hoirecon.contact.modeling.config import CameraEncoder
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.contact.modeling.sam_encoder import prepare_images
from hoirecon.contact.training.baselines import Lookup, category_mean, features_of_evidence
from hoirecon.contact.training.closedworld_data import Samples, category_names
from hoirecon.contact.training.direct_regressor import DirectRegressor, RegressorConfig, regress, regressor_step
from hoirecon.contact.training.engine import Engine, EngineConfig
from hoirecon.contact.training.evaluation import names_of, predict
from hoirecon.contact.training.lessons import LessonConfig, Lessons, vertex_area
from hoirecon.contact.training.quick_step import (
    Batch,
    BodyViews,
    QuickWeights,
    SideTasks,
    body_losses,
    distance_loss,
    lift_points,
    parts_loss,
)
from hoirecon.contact.training.tiny import TinySize
from hoirecon.contact.training.tiny_run import Model, TinyRun, engine_of, new_model
from hoirecon.data.closedworld.posing import body_model

Kind = Literal["network", "guide", "regressor", "mean", "lookup"]
REGRESSOR_LAYERS = 2
"""More layers that the regressor's tower has: with them both networks have about as many parameters."""
SAME_CPU = 4
"""Steps of the regressor that cost about as much as one of the network."""
UNNAMED_SHARE = 0.1
"""Share of questions of the regressor's training without the thing's name, as in the small model's."""


@dataclass(frozen=True)
class Arm:
    """One way to contact."""

    name: str
    """Short name; of the file of its result."""
    question: str
    """Which of the paper's questions it is for."""
    what: str
    """What is done otherwise, a phrase."""
    kind: Kind = "network"
    """What is trained; the last two are not trained at all."""
    camera_encoder: CameraEncoder = "vi_v1"
    """FeatLift, or ``none``."""
    guide: Literal["constant", "tower"] = "constant"
    """Of kind ``guide``: what prompts MV-Loc in place of the language model's state."""
    named: bool = True
    """Whether questions hold the thing's name."""
    anything: bool = False
    """Whether it learns contact with anything in the picture."""
    share: float = 1.0
    """Share of the training samples."""
    steps_factor: int = 1
    """Times as many steps as the other arms have."""
    lift: Literal["soft", "legacy"] = "soft"
    """How the masks of the answers are lifted."""
    trained_as: str = ""
    """Name of the arm whose training this one shares; '' trains its own."""


BASE = "full"
ARMS: tuple[Arm, ...] = (
    Arm(BASE, "", "the paper's network, small: evidence, language model, FeatLift, MV-Loc, soft lift"),
    Arm("regressor", "a", "a direct per-vertex regressor of equal size, as many steps", "regressor"),
    Arm("regressor-cpu", "a", f"the same, {SAME_CPU} times as many steps (about as much processor time)", "regressor",
        steps_factor=SAME_CPU),
    Arm("lookup", "a", "15 nearest neighbours on the landmark features, nothing trained", "lookup"),
    Arm("category-mean", "a", "mean map of the category, nothing trained", "mean"),
    Arm("no-featlift", "b", "without FeatLift: every view is prompted alike", camera_encoder="none"),
    Arm("constant-token", "c", "MV-Loc prompted by one learned token, the same for every picture", "guide"),
    Arm("tower-token", "c", "MV-Loc prompted by the tower's mean: no language model, no question", "guide",
        guide="tower"),
    Arm("unnamed", "d", "the question without the object's name", named=False),
    Arm("anything", "d", "binary: taught contact with anything, question without a name", named=False, anything=True),
    Arm("data-10", "e", "10 % of the data", share=0.1),
    Arm("data-20", "e", "20 % of the data", share=0.2),
    Arm("data-40", "e", "40 % of the data", share=0.4),
    Arm("data-70", "e", "70 % of the data", share=0.7),
    Arm("legacy-lift", "f", "the full model's masks lifted by the legacy rule (hard votes)", lift="legacy",
        trained_as=BASE),
)  # fmt: skip
"""Every arm; the first is what the others are held against."""


@dataclass(frozen=True)
class ArmBudget:
    """What all arms have alike."""

    steps: int = 300
    """Steps of training."""
    seed: int = 0
    """Of weights and of everything that is drawn."""
    batch: int = 24
    """Questions in a step."""
    rate: float = 1.2e-3
    """Highest learning rate."""
    size: TinySize = field(default_factory=lambda: TinySize(objects=False, vertex_head=False))
    """Of the network; contact on objects is left out."""

    def run_of(self, arm: Arm) -> TinyRun:
        """What the arm's training is made of."""
        steps = self.steps * arm.steps_factor
        engine = EngineConfig(steps=steps, rate=self.rate, warmup=min(80, steps // 5 + 1), seed=self.seed,
                              checkpoint_every=50)  # fmt: skip
        lessons = LessonConfig(batch=self.batch, things=0, share=arm.share, unnamed=UNNAMED_SHARE if arm.named else 1.0)
        return TinyRun(
            engine=engine, lessons=lessons, size=replace(self.size, camera_encoder=arm.camera_encoder), apart_scenes=0
        )


@dataclass(frozen=True, eq=False)
class Made:
    """An arm that is ready to be asked."""

    ask: Callable[[Samples, Tensor], np.ndarray]
    """(samples, evidence) -> (n, V) probabilities."""
    parameters: int = 0
    """Numbers that were trained."""
    cpu_seconds: float = 0.0
    """Processor time of the training."""


def with_anything(samples: Samples) -> Samples:
    """The same samples, contact of each being with anything that the body touches in that picture.

    Samples of one picture have the same landmarks.
    """
    touched = samples.touched.copy()
    _, picture = np.unique(samples.xyz.reshape(len(samples), -1), axis=0, return_inverse=True)
    for number in np.unique(picture[samples.several.astype(bool)]):
        rows = np.flatnonzero(picture == number)
        touched[rows] = np.bitwise_or.reduce(samples.touched[rows], axis=0)
    return Samples(**{f.name: touched if f.name == "touched" else getattr(samples, f.name) for f in fields(Samples)})


def make(arm: Arm, budget: ArmBudget, train: Samples, folder: Path, tell: Callable[[str], None] = print) -> Made:
    """Train an arm, or go on training it from the checkpoint in its folder.

    Args:
        arm: which.
        budget: what all arms have alike.
        train: all training samples.
        folder: of this arm's checkpoint.
        tell: takes lines of progress.
    """
    if arm.kind == "mean":
        return Made(lambda samples, _: category_mean(train, samples))
    if arm.kind == "lookup":
        lookup = Lookup(train)
        return Made(lambda samples, evidence: lookup(samples, features_of_evidence(evidence), same_category=False))
    taught = with_anything(train) if arm.anything else train
    trainers = {"network": _network, "guide": _guided, "regressor": _regressor}
    return trainers[arm.kind](arm, budget, taught, folder, tell)


# ------------------------------------------------------------------------------------------------- the network itself
def _network(arm: Arm, budget: ArmBudget, train: Samples, folder: Path, tell: Callable[[str], None]) -> Made:
    run = budget.run_of(arm)
    model = new_model(run)
    engine = engine_of(run, model, train, folder)
    engine.run(tell=tell)
    model.network.eval()
    model.gallery.forget()

    def ask(samples: Samples, evidence: Tensor) -> np.ndarray:
        names = names_of(samples) if arm.named else [ANY_THING] * len(samples)
        found = predict(model.network, model.tokenizer, model.gallery, model.body, evidence, names, arm.lift)
        return found.contact

    return Made(ask, _count(model.network), engine.seconds)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ----------------------------------------------------------------------------------------------- without the language
class Guide(nn.Module):
    """What prompts MV-Loc in place of the language model's state."""

    def __init__(self, kind: Literal["constant", "tower"], tower_width: int, hidden: int) -> None:
        """Random weights."""
        super().__init__()
        self.token = nn.Parameter(torch.randn(hidden)) if kind == "constant" else None
        self.mix = nn.Sequential(nn.Linear(tower_width, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def forward(self, seen: Tensor) -> Tensor:
        """(B, H) states of the tower's tokens (B, P, W)."""
        state: Tensor = self.mix(seen.mean(1)) if self.token is None else self.token.expand(len(seen), -1)
        return state


def guided_logits(model: Model, guide: Guide, cameras: Tensor, features: Tensor, seen: Tensor) -> Tensor:
    """(B, V, h, w) masks of MV-Loc as a guide prompts it by the tower's tokens (B, P, W)."""
    states = guide(seen)
    token = model.network.config.tokens.id_of("human")
    prompts = model.network.contact_prompts(states, [token] * len(states), cameras)
    return model.network.mv_loc.localize_many(prompts, features, "human")


def guided_step(
    model: Model, guide: Guide, side: SideTasks, views: BodyViews, batch: Batch, area: Tensor, weights: QuickWeights
) -> dict[str, Tensor]:
    """Losses of a batch by name, weighted as the small model's; no words are read or said."""
    seen = model.network.vlm.image_features(batch.evidence)
    pictures = prepare_images(views.pictures, model.network.config.sam.img_size, seen.dtype)
    features = model.network.mv_loc.image_encoder(pictures)
    probability, at = lift_points(guided_logits(model, guide, views.cameras, features, seen), views)
    return {
        **body_losses(probability, at, views.seen, batch.contact, area, weights),
        "distance": weights.distance * distance_loss(side.distance, seen, batch),
        "parts": weights.parts * parts_loss(side.parts, guide(seen), batch),
    }


def _guided(arm: Arm, budget: ArmBudget, train: Samples, folder: Path, tell: Callable[[str], None]) -> Made:
    run = budget.run_of(arm)
    model = new_model(run)
    vision = _vision(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.engine.seed + 1)
        hidden = model.network.config.language.hidden_size
        guide = Guide(arm.guide, vision.hidden_size, hidden)
        side = SideTasks(vision.hidden_size, hidden, len(body_model().parts.names))
    views, area = BodyViews.of(model.gallery, model.body), vertex_area()
    lessons = Lessons(train, model.tokenizer, vision, run.lessons, run.engine.seed)
    used = nn.ModuleDict({
        "tower": model.network.vlm.vision_tower, "projection": model.network.token_projection, "guide": guide,
        "lift": model.network.feat_lift or nn.Identity(),
        "splitter": model.network.attention_splitter or nn.Identity(), "mv_loc": model.network.mv_loc, "side": side,
    })  # fmt: skip

    def losses(step: int) -> Mapping[str, Tensor]:
        return guided_step(model, guide, side, views, lessons.batch(step), area, run.weights)

    engine = Engine(used, losses, run.engine, folder)
    engine.run(tell=tell)
    model.network.eval()
    model.gallery.forget()
    return Made(lambda _, evidence: _ask_guided(model, guide, evidence), _count(used) - _count(side), engine.seconds)


@torch.no_grad()
def _ask_guided(model: Model, guide: Guide, evidence: Tensor) -> np.ndarray:
    network, gallery, body = model.network, model.gallery, model.body
    features, cameras, maps = gallery.features(body), gallery.cameras(body), gallery.rendered(body).maps
    assert cameras is not None
    side, drawn, contact = network.config.sam.img_size, network.config.map_side, []
    seen = network.vlm.image_features(evidence)
    for i in range(len(seen)):
        low = guided_logits(model, guide, cameras, features, seen[i : i + 1])
        masks = network.mv_loc.upscale(low, (side, side), (drawn, drawn))
        contact.append(lift_human(masks, maps)[0].numpy())  # type: ignore[arg-type]
    return np.stack(contact)


def _vision(model: Model) -> EvidenceConfig:
    vision = model.network.config.vision
    assert isinstance(vision, EvidenceConfig)  # a small model has no other
    return vision


# ------------------------------------------------------------------------------------------------------ no masks at all
def _regressor(arm: Arm, budget: ArmBudget, train: Samples, folder: Path, tell: Callable[[str], None]) -> Made:
    run = budget.run_of(arm)
    model = new_model(run)  # for its vocabulary and its tower's sizes
    vision = _vision(model)
    deeper = replace(vision, num_layers=vision.num_layers + REGRESSOR_LAYERS)
    parts, verts = len(body_model().parts.names), body_model().num_verts
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.engine.seed)
        regressor = DirectRegressor(RegressorConfig(deeper, verts, len(category_names()), parts))
    area, lessons = vertex_area(), Lessons(train, model.tokenizer, vision, run.lessons, run.engine.seed)

    def losses(step: int) -> Mapping[str, Tensor]:
        names = torch.as_tensor(lessons.samples.category[lessons.rows(step)])
        hidden = np.random.default_rng([run.engine.seed, 5, step]).random(len(names)) < run.lessons.unnamed
        asked = names.masked_fill(torch.as_tensor(hidden), regressor.unnamed)
        return regressor_step(regressor, lessons.batch(step), asked, area, run.weights)

    engine = Engine(nn.ModuleDict({"regressor": regressor}), losses, run.engine, folder)
    engine.run(tell=tell)

    def ask(samples: Samples, evidence: Tensor) -> np.ndarray:
        return regress(regressor, evidence, samples.category.tolist()).numpy()

    return Made(ask, _count(regressor), engine.seconds)


def of_several(samples: Samples) -> BoolArray:
    """(n,) samples whose picture shows more than one touched thing."""
    return np.asarray(samples.several.astype(bool))
