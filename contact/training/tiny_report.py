"""Figures of a small model beside the lines that it has to pass, and its card.

Every figure is of generated answers on objects, and on cells of interaction and camera, that were not trained on;
thresholds come from the validation split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

import numpy as np
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.contact.training.baselines import (
    Lookup,
    category_mean,
    features_of_evidence,
    hands_always,
    true_parts_mean,
)
from hoirecon.contact.training.closedworld_data import Samples
from hoirecon.contact.training.evaluation import (
    TABLE_HEAD,
    Predicted,
    Scores,
    best_threshold,
    compared,
    names_of,
    predict,
    score,
    single_hands,
)
from hoirecon.contact.training.front_end import FrontEnd, spoilt
from hoirecon.contact.training.lessons import vertex_area
from hoirecon.contact.training.objects_report import HEAD as OBJECT_HEAD
from hoirecon.contact.training.objects_report import ObjectScores, objects_compared
from hoirecon.contact.training.tiny import touched_groups
from hoirecon.contact.training.tiny_run import TEST_SEED, VAL_SEED, Model, TinyRun, samples_of, train_samples
from hoirecon.contact_map import CONTACT_THRESHOLD

NOISE_SEED = 5
"""Of the noise that validation and test are spoilt with."""
OWN = "small model"
"""What the model is called in tables."""
DOUBLED = 2.0
"""Factor of the test with more noise."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A split as every method is given it."""

    samples: Samples
    evidence: Tensor
    """(n, packed_size)."""
    truth: BoolArray
    """(n, V)."""

    @classmethod
    def of(cls, samples: Samples, noise: float = 1.0) -> Asked:
        """Spoilt once, for all methods alike."""
        rng = np.random.default_rng([NOISE_SEED, int(100 * noise)])
        evidence = spoilt(samples, np.arange(len(samples)), rng, FrontEnd(noise=noise))
        return cls(samples, evidence, samples.contact(slice(None)))


@dataclass(frozen=True, eq=False)
class Report:
    """What came out."""

    scores: tuple[Scores, ...]
    """The model first, then the lines to pass."""
    doubled: tuple[Scores, ...]
    """The same with errors of twice the size."""
    lines: tuple[str, ...]
    """Everything else, a sentence each."""
    objects: tuple[ObjectScores, ...] = ()
    """Contact on objects: the model's, then the line to pass; empty if it was not taught."""

    @property
    def table(self) -> str:
        """Markdown."""
        body = [TABLE_HEAD, *(s.row() for s in self.scores), *(s.row() for s in self.doubled)]
        return "\n".join([*body, *(["", OBJECT_HEAD, *(s.row() for s in self.objects)] if self.objects else [])])

    def plain(self) -> dict[str, Mapping[str, float | int | str]]:
        """Plain values, for JSON."""
        names = ("threshold", "macro", "low", "high", "area", "hand_right", "hand_swapped", "hands")
        found: dict[str, Mapping[str, float | int | str]] = {
            s.name: {k: getattr(s, k) for k in names} for s in (*self.scores, *self.doubled)
        }
        shown = ("threshold", "macro", "low", "high")
        return found | {f"objects, {o.name}": {k: getattr(o, k) for k in shown} for o in self.objects}


def report(run: TinyRun, model: Model, cache: Path, tell: Callable[[str], None] = print) -> Report:
    """Ask the model and the baselines the same questions.

    Args:
        run: what the model was made of.
        model: trained.
        cache: folder of drawn samples.
        tell: takes lines of progress.
    """
    train = train_samples(run, cache, tell)
    val = Asked.of(samples_of("val", VAL_SEED, run.val_scenes, cache, tell))
    test = Asked.of(samples_of("test", TEST_SEED, run.test_scenes, cache, tell))
    more = Asked.of(test.samples, DOUBLED)
    area = vertex_area().double().numpy()
    tell("asking the model")
    methods, say = _methods(train, model)
    scores, doubled = [], []
    for name, method in methods.items():
        settled = name == OWN and model.network.vertex_head is not None
        threshold = CONTACT_THRESHOLD if settled else best_threshold(method(val), val.truth)
        scores.append(score(name, method(test), test.truth, threshold, area))
        doubled.append(score(f"{name}, noise doubled", method(more), test.truth, threshold, area))
        tell(scores[-1].row())
    lines = [*_lines(scores, test, say(test)), *_nothing_touches(run, model, cache, scores[0].threshold, tell)]
    objects = tuple[ObjectScores, ...]()
    if run.size.objects:
        tell("asking about objects")
        objects = objects_compared(model, train, (val.samples, val.evidence), (test.samples, test.evidence))
        lines += [f"on objects, {compared(*objects)}", _several_objects(objects[0], test)]
    return Report(tuple(scores), tuple(doubled[:2]), tuple(lines), objects)


def _nothing_touches(
    run: TinyRun, model: Model, cache: Path, threshold: float, tell: Callable[[str], None]
) -> list[str]:
    """What is said where nothing touches."""
    if not run.apart_scenes:
        return []
    asked = Asked.of(samples_of("test", TEST_SEED, run.apart_asked, cache, tell, apart=True))
    said = predict(
        model.network, model.tokenizer, model.gallery, model.body, asked.evidence, names_of(asked.samples)
    )  # fmt: skip
    silent, empty = ~said.any_token, ~(said.contact > threshold).any(1)
    return [
        f"nothing touches (the things of the same poses moved 6 cm to 80 cm away, n = {len(silent)}): said to touch "
        f"nothing in {silent.mean():.3f}, no vertex above the threshold in {empty.mean():.3f}"
    ]


def _several_objects(found: ObjectScores, test: Asked) -> str:
    several = test.samples.several.astype(bool)
    return (
        f"on objects, two things touched in one picture: macro F1 {found.each[several].mean():.3f}, one thing: "
        f"{found.each[~several].mean():.3f}"
    )


Method = Callable[[Asked], np.ndarray]


def _methods(train: Samples, model: Model) -> tuple[dict[str, Method], Callable[[Asked], Predicted]]:
    """Each method's way to contact, and what the model says when it is asked; it is asked once."""
    lookup = Lookup(train)

    @once
    def say(asked: Asked) -> Predicted:
        names = names_of(asked.samples)
        return predict(model.network, model.tokenizer, model.gallery, model.body, asked.evidence, names)

    def look_up(asked: Asked) -> np.ndarray:
        return lookup(asked.samples, features_of_evidence(asked.evidence), same_category=False)

    def look_up_in_category(asked: Asked) -> np.ndarray:
        return lookup(asked.samples, features_of_evidence(asked.evidence), same_category=True)

    methods: dict[str, Method] = {
        OWN: lambda asked: say(asked).contact,
        "15 nearest neighbours": look_up,
        "15 nearest of the category": look_up_in_category,
        "category mean": lambda asked: category_mean(train, asked.samples),
        "hands always": lambda asked: hands_always(asked.samples),
        "oracle: mean of the true parts": lambda asked: true_parts_mean(train, asked.samples),
    }
    if model.network.vertex_head is not None:
        methods["its masks alone"] = lambda asked: say(asked).masks
        methods["its vertex head alone"] = lambda asked: say(asked).direct
    return methods, say


def _lines(scores: list[Scores], test: Asked, spoken: Predicted) -> list[str]:
    model, *others = scores
    silent = (~spoken.any_token).mean()
    several = test.samples.several.astype(bool)
    right, swapped, count = single_hands(spoken.said, touched_groups(test.truth))
    exact = (spoken.said == touched_groups(test.truth)).all(1).mean()
    lines = [compared(model, other) for other in others]
    lines += [
        f"words: of {count} single touching hands {right:.3f} are named right and {swapped:.3f} swapped; all parts "
        f"named right in {exact:.3f}; exactly one contact token in {spoken.one_token.mean():.3f} of the answers, "
        f"none (said to touch nothing, which is never so here) in {silent:.3f}",
        f"two things touched in one picture: macro F1 {model.each[several].mean():.3f} (n = {several.sum()}), one "
        f"thing: {model.each[~several].mean():.3f} (n = {(~several).sum()})",
        "macro F1 by camera: " + ", ".join(_by_side(model.each, np.abs(test.samples.azimuth))),
    ]
    return lines


def _by_side(each: FloatArray, azimuth: FloatArray) -> list[str]:
    bounds = {"front": (0, 60), "side": (60, 120), "back": (120, 181)}
    found = {name: (azimuth >= a) & (azimuth < b) for name, (a, b) in bounds.items()}
    return [f"{name} {each[which].mean():.3f} (n = {which.sum()})" for name, which in found.items()]


def card(run: TinyRun, found: Report, facts: Mapping[str, str], trusted: bool = False) -> str:
    """The model's card, Markdown; ``trusted`` says that its weights answer for objects too."""
    about = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    told = "\n".join(f"- {line}" for line in found.lines)
    return CARD.format(
        taught=TAUGHT[trusted], about=about, table=found.table, n=len(found.scores[0].each), told=told, run=run
    )


TAUGHT = {
    True: "Contact on the body. Contact on objects is\nwhat is usual at the places of its category's boxes and hardly "
    "more (figures below): only for meshes in the library's axes.",
    False: "Contact on the body. Contact on objects is not good enough to be used\n(figures below, if it was taught at "
    "all): `estimate` takes it from geometry, and says so.",
}

CARD = """# Card of the small contact model `tiny`

Written by the run that made the weights. {taught} It sees landmarks and masks of a front end, no colours.

{about}

## Figures

Closed world, objects and cells of (interaction, camera octant) that were not trained on, n = {n}; answers generated,
thresholds from the validation split, evidence spoilt by BlazePose's measured errors. Sides of hands are read off the
thresholded contact.

{table}

{told}

## What it is not

Everything above is of rendered bodies with library objects in drawn poses. On photographs it depends on what BlazePose
and the segmenter give; nothing here measures that. Lying people, several people and feet on the ground were not
trained. One body (the free body); no licence but the package's own binds the weights.
"""
