"""Track B: the same fit on the same scenes, with contact from different sources; how much of the accuracy is kept.

hoirecon bench track-b --seeds 1000:1060 --sources given,tiny --page docs/track-b.md

Body, masks, mesh and landmarks of the fit are those of the noise level in every source; only contact differs. Figures
are paired scene by scene: the ratio of medians has an interval from resamples of scenes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from hoirecon.arrays import BoolArray
from hoirecon.contact.training.evaluation import f1
from hoirecon.contact_map import CONTACT_THRESHOLD
from hoirecon.data.closedworld import VERSION, ClosedWorldScene, NoisyObservation, load_scene, observe_scene
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.bench import Sample, problem_of, score
from hoirecon.evaluation.closedworld.methods import Prediction, Problem, fit_hoirecon, method_of
from hoirecon.evaluation.closedworld.summary import WORST
from hoirecon.evaluation.closedworld.track_b_contact import ContactOptions, Sources, Told, sides_of, thing_of
from hoirecon.evaluation.closedworld.track_b_page import Row
from hoirecon.files import read_json, write_json


@dataclass(frozen=True)
class TrackB:
    """One comparison."""

    seeds: tuple[int, ...]
    """Scenes; below 1000 for tuning."""
    sources: tuple[str, ...] = ("given", "tiny", "geometric", "category-mean", "none")
    """Where contact comes from; the first is what the others are held against."""
    level: str = "L2"
    """Noise of everything but the contact."""
    options: ContactOptions = field(default_factory=ContactOptions)
    """How contact is got and handed on."""
    noise_seed: int = 0
    """Another draw of the noise."""
    method: str = "hoirecon"
    """The fit, by its name in the benchmark; ``hoirecon-object`` leaves the body as it is and takes a quarter of the
    time."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise InputError("a comparison needs scene seeds of 0 or more, each once")
        if len(set(self.sources)) < len(self.sources) or not self.sources:
            raise InputError(f"name at least one source of contact, each once, got {', '.join(self.sources)}")
        if self.options.parts and self.method != "hoirecon":
            raise InputError("named parts are terms of the joint fit: leave parts out, or take the method hoirecon")
        for name in self.sources:
            sides_of(name)
        method_of(self.method)


def run_track_b(
    track: TrackB,
    sources: Sources | None = None,
    results: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Row]]:
    """Fit every scene with every source's contact.

    A fit that raises counts as worst case, as in the benchmark.

    Args:
        track: what is compared.
        sources: where contact comes from; None makes them by the track's options.
        results: folder of one JSON per scene and source, from which an interrupted run goes on; it knows nothing of
            changes of code or weights: take a new folder then.
        tell: takes lines of progress.

    Returns:
        Rows by source, in the order of the seeds.
    """
    asked = sources or Sources(track.options)
    rows: dict[str, list[Row]] = {name: [] for name in track.sources}
    for seed in track.seeds:
        seen = cache(partial(_scene, track, seed))
        for name in track.sources:
            path = None if results is None else results / f"{seed:05d}-{_key(track, name, asked.shards)}.json"
            row = read_json(path) if path is not None and path.is_file() else _row(track, name, asked, *seen())
            if path is not None and not path.is_file():
                write_json(path, row)
            rows[name].append(row)
            tell(f"{row['scene']:36s} {name:18s} {row['failed'] or str(row['chamfer_object_cm']) + ' cm'}")
    return rows


def _key(track: TrackB, name: str, shards: int) -> str:
    settings = [name, track.level, asdict(track.options), track.noise_seed, track.method, VERSION]
    if "category-mean" in sides_of(name) and shards != Sources.shards:  # of the usual number rows are kept already
        settings.append(shards)
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _scene(track: TrackB, seed: int) -> tuple[ClosedWorldScene, NoisyObservation]:
    scene = load_scene(seed)
    return scene, observe_scene(scene, track.level, track.noise_seed)


def _row(track: TrackB, name: str, sources: Sources, scene: ClosedWorldScene, given: NoisyObservation) -> Row:
    """One scene with one source's contact: figures, and CPU seconds of getting the contact and of the fit."""
    row: Row = {
        "scene": scene.name, "seed": scene.seed, "category": scene.category, "interaction": scene.interaction,
        "object": scene.thing.id, "trained_on": trained_on(scene),
    }  # fmt: skip
    try:
        start = time.process_time()
        told = sources.tell(name, scene, given, track.noise_seed)
        row |= {"contact_seconds": round(time.process_time() - start, 4), **_said(scene, told)}
        problem = problem_of(scene, given, Sample(scene.seed, scene.split, given.level, track.method, "none"))
        start = time.process_time()
        found = _fit(track.method, problem, told, sources.options, scene, given)
        row["cpu_seconds"] = round(time.process_time() - start, 4)
        return row | {"failed": None} | score(scene, given, found)
    except Exception as err:
        return {**row, "failed": f"{type(err).__name__}: {err}", **WORST}


def _fit(
    method: str, problem: Problem, told: Told | None, options: ContactOptions, scene: ClosedWorldScene,
    given: NoisyObservation,
) -> Prediction:  # fmt: skip
    from hoirecon.fitting.part_contact import part_terms

    with_contact = replace(problem, contacts=told.maps if told is not None and _usable(told) else None)
    if told is None or not options.parts:
        return method_of(method)(with_contact)
    return fit_hoirecon(with_contact, part_terms(scene.body_model, thing_of(scene, given), told.pairs))


def _usable(told: Told) -> bool:
    """Whether contact is said on both sides: without it the fit is told of none."""
    return all(bool((m.probability > CONTACT_THRESHOLD).any()) for m in told.maps)


def _said(scene: ClosedWorldScene, told: Told | None) -> Row:
    """How good the contact is that the fit was handed: F1 of vertices on both sides."""
    if told is None:
        return {"contact_f1_body": None, "contact_f1_thing": None, "handed": False}
    truth = scene.body_contact.probability > 0, scene.object_contact.probability > 0
    found = [m.probability > CONTACT_THRESHOLD for m in told.maps]
    same = len(found[1]) == len(truth[1])
    return {
        "contact_f1_body": _f1(found[0], truth[0]),
        "contact_f1_thing": _f1(found[1], truth[1]) if same else None,
        "handed": _usable(told),
    }


def _f1(found: BoolArray, truth: BoolArray) -> float:
    return round(float(f1(found[None], truth[None])[0]), 4)


def trained_on(scene: ClosedWorldScene) -> bool:
    """Whether the small model's training saw this very mesh (at other sizes, held in other ways)."""
    from hoirecon.contact.training.closedworld_data import object_ids, split_of_object

    return scene.thing.id in object_ids() and split_of_object(scene.thing.id) == "train"
