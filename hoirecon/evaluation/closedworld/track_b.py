"""Track B: the same fit on the same scenes, with contact from different sources; how much of the accuracy is kept.

python -m hoirecon.evaluation.closedworld.track_b --seeds 1000:1060 --sources given,tiny --page docs/track-b.md

Body, masks, mesh and landmarks of the fit are those of the noise level in every source; only contact differs. Figures
are paired scene by scene: the ratio of medians has an interval from resamples of scenes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from hoirecon.arrays import BoolArray
from hoirecon.contact_map import CONTACT_THRESHOLD
from hoirecon.data.closedworld import VERSION, ClosedWorldScene, NoisyObservation, load_scene, observe_scene
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.bench import Sample, problem_of, score
from hoirecon.evaluation.closedworld.methods import Prediction, Problem, fit_hoirecon, method_of
from hoirecon.evaluation.closedworld.summary import WORST
from hoirecon.evaluation.closedworld.track_b_contact import ContactOptions, Sources, Told, sides_of, thing_of
from hoirecon.evaluation.closedworld.track_b_page import Row, page
from hoirecon.files import atomic_file, read_json, write_json


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
            path = None if results is None else results / f"{seed:05d}-{_key(track, name)}.json"
            row = read_json(path) if path is not None and path.is_file() else _row(track, name, asked, *seen())
            if path is not None and not path.is_file():
                write_json(path, row)
            rows[name].append(row)
            tell(f"{row['scene']:36s} {name:18s} {row['failed'] or str(row['chamfer_object_cm']) + ' cm'}")
    return rows


def _key(track: TrackB, name: str) -> str:
    settings = [name, track.level, asdict(track.options), track.noise_seed, track.method, VERSION]
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
        "contact_f1_body": round(f1(found[0], truth[0]), 4),
        "contact_f1_thing": round(f1(found[1], truth[1]), 4) if same else None,
        "handed": _usable(told),
    }


def f1(found: BoolArray, truth: BoolArray) -> float:
    """F1 of vertices; 1 where both are empty.

    Example:
        >>> import numpy as np
        >>> f1(np.array([True, True, False]), np.array([True, False, True]))
        0.5
    """
    both, either = int((found & truth).sum()), int(found.sum()) + int(truth.sum())
    return 2 * both / either if either else 1.0


def trained_on(scene: ClosedWorldScene) -> bool:
    """Whether the small model's training saw this very mesh (at other sizes, held in other ways)."""
    from hoirecon.contact.training.closedworld_data import object_ids, split_of_object

    return scene.thing.id in object_ids() and split_of_object(scene.thing.id) == "train"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:60", help="scene seeds; below 1000 for tuning, from 1000 for reporting")
    parser.add_argument("--sources", default=",".join(TrackB.sources), help="sources of contact, the first is the line")
    parser.add_argument("--method", default="hoirecon", help="the fit, by its name in the benchmark")
    parser.add_argument("--level", default="L2", help="noise of everything but the contact")
    parser.add_argument("--landmarks", default="blazepose", help="errors of what the model is told: blazepose or level")
    parser.add_argument("--form", default=ContactOptions.form, help="soft, shifted or hard")
    parser.add_argument("--threshold", type=float, default=ContactOptions.threshold)
    parser.add_argument("--object-threshold", type=float, default=ContactOptions.object_threshold)
    parser.add_argument("--guess-threshold", type=float, default=ContactOptions.guess_threshold)
    parser.add_argument("--parts", action="store_true", help="named parts that touch become terms of the fit")
    parser.add_argument("--noise-seed", type=int, default=0)
    parser.add_argument("--samples", type=Path, help="folder of drawn training samples, for category-mean")
    parser.add_argument("--shards", type=int, default=3, help="sets of training scenes for category-mean")
    parser.add_argument("--results", type=Path, help="folder of rows, from which an interrupted run goes on")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    given = parser.parse_args(arguments)
    options = ContactOptions(given.landmarks, given.form, given.threshold, given.object_threshold,
                             given.guess_threshold, given.parts)  # fmt: skip
    track = TrackB(_seeds(given.seeds), tuple(given.sources.split(",")), given.level, options, given.noise_seed,
                   given.method)  # fmt: skip
    rows = run_track_b(track, Sources(options, given.samples, given.shards), given.results, _tell)
    text = page(track, rows, _command(given))
    if given.page is not None:
        with atomic_file(given.page) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(text)


def _seeds(text: str) -> tuple[int, ...]:
    """``1000:1060``, the end left out, or ``3,5,8``."""
    try:
        first, colon, last = text.partition(":")
        return tuple(range(int(first), int(last))) if colon else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"seeds are like 0:60 or 3,5,8, got '{text}'") from None


def _command(given: argparse.Namespace) -> str:
    """The command that makes the same figures; folders of kept files left out."""
    o = (
        f" --threshold {given.threshold:g} --object-threshold {given.object_threshold:g} --guess-threshold "
        f"{given.guess_threshold:g}{' --parts' * given.parts}"
    )
    return (
        f"python -m hoirecon.evaluation.closedworld.track_b --seeds {given.seeds} --sources {given.sources} --method "
        f"{given.method} --level {given.level} --landmarks {given.landmarks} --form {given.form}{o} --noise-seed "
        f"{given.noise_seed} --shards {given.shards} --page docs/track-b.md"
    )


def _tell(line: str) -> None:
    import sys

    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
