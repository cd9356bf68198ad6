"""The closed-world benchmark: many scenes, many methods, one JSON of figures with their intervals."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.closedworld import (
    VERSION,
    ClosedWorldScene,
    NoiseLevel,
    NoisyObservation,
    Split,
    level_of,
    load_scene,
    observe_scene,
    split_of_seed,
)
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.certainty import pose_error
from hoirecon.evaluation.closedworld.methods import METHODS as METHODS
from hoirecon.evaluation.closedworld.methods import ORACLES, Prediction, Problem, method_of
from hoirecon.evaluation.closedworld.overlap import drawn_masks, overlap
from hoirecon.evaluation.closedworld.summary import WORST, summary
from hoirecon.evaluation.metrics import adds_cm, chamfer_cm, contact_scores, iou, rotation_error_deg, surface_samples
from hoirecon.files import read_json, write_json
from hoirecon.pose import ObjectPose

Track = Literal["contact", "correspondences", "predicted", "none"]
TRACKS: tuple[Track, ...] = ("contact", "correspondences", "predicted", "none")
"""What is known of touching: the level's contact; that and correspondences; what :class:`GeometricContact` says of the
picture; nothing."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One scene with its noise, for one method."""

    seed: int
    split: Split
    level: NoiseLevel
    method: str
    track: Track = "contact"
    noise_seed: int = 0

    @property
    def key(self) -> str:
        """Digest of everything but the code, for the name of a result's file."""
        text = json.dumps({**asdict(self), "version": VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_bench(
    level: str | NoiseLevel = "L2",
    methods: Sequence[str] = ("hoirecon",),
    seeds: Iterable[int] = range(60),
    split: Split | None = None,
    limit: int | None = None,
    jobs: int = 1,
    track: Track = "contact",
    noise_seed: int = 0,
    results: str | Path | None = None,
    progress: Callable[[Row], None] | None = None,
) -> dict[str, Any]:
    """Compare methods on the same scenes.

    A method that raises counts as worst case in every figure and is listed with what it said.

    Args:
        level: noise level, by name or your own.
        methods: names in :data:`METHODS` or of the package's baselines.
        seeds: scene seeds; below 1000 for tuning, from 1000 for reporting.
        split: categories; None takes each seed's own half.
        limit: at most so many scenes.
        jobs: processes; with more than one, methods that you put into :data:`METHODS` yourself are not known there.
        track: what is known of touching.
        noise_seed: another draw of the noise.
        results: folder of one JSON per scene and method, from which an interrupted run goes on. It knows nothing of
            changes to a method's code: take a new folder then.
        progress: called with every row.

    Returns:
        ``{"level", "track", "seeds", "split", "methods": {name: figures}, "scenes": {name: rows}}``.

    Raises:
        InputError: unknown level, method, split or track; no scenes.
    """
    level = level_of(level)
    _check_settings(methods, limit, noise_seed, results)
    chosen = list(seeds)[:limit]
    _check(methods, chosen, split, track, jobs)
    samples = [
        Sample(seed, split_of_seed(seed) if split is None else split, level, method, track, noise_seed)
        for seed in chosen
        for method in methods
    ]
    rows: dict[str, list[Row]] = {name: [] for name in methods}
    for sample, row in zip(samples, _rows(samples, jobs, None if results is None else Path(results)), strict=True):
        rows[sample.method].append(row)
        if progress is not None:
            progress(row)
    oracle = rows.get("oracle-start")
    return {
        "level": level.name,
        "track": track,
        "seeds": chosen,
        "split": split or "by seed",
        "noise_seed": noise_seed,
        "methods": {name: summary(found, oracle) for name, found in rows.items()},
        "scenes": rows,
    }


def _check_settings(methods: Sequence[str], limit: int | None, noise_seed: int, results: str | Path | None) -> None:
    if isinstance(methods, str):
        raise InputError(f"methods is a list of names, got the text '{methods}': put it in brackets")
    if len(set(methods)) < len(methods):
        raise InputError(f"each method is compared once, got {', '.join(methods)}")
    if limit is not None and limit < 1:
        raise InputError(f"the limit is 1 scene or more, got {limit}: None takes all")
    if noise_seed < 0:
        raise InputError(f"the noise's seed is 0 or more, got {noise_seed}")
    if results is not None and Path(results).exists() and not Path(results).is_dir():
        raise InputError(f"results go to a folder, but {results} is a file: name another")


def _check(methods: Sequence[str], seeds: Sequence[int], split: Split | None, track: Track, jobs: int) -> None:
    """Refuse what cannot work before any work starts."""
    from hoirecon.data.closedworld.recipes import recipe_of

    if not seeds or not methods or jobs < 1:
        raise InputError(
            f"a benchmark needs scenes, methods and a process: got {len(seeds)}, {len(methods)} and {jobs}"
        )
    if track not in TRACKS:
        raise InputError(f"the track is one of {', '.join(TRACKS)}, got '{track}'")
    odd = [s for s in seeds if isinstance(s, bool) or not isinstance(s, int | np.integer) or s < 0]
    if odd:
        raise InputError(f"scene seeds are whole numbers, 0 or more, got {odd[0]}")
    if len(set(seeds)) < len(seeds):
        raise InputError("a scene's seed came twice: its figures would count double")
    recipe_of(seeds[0], split)
    for name in methods:
        method_of(name)


def _rows(samples: list[Sample], jobs: int, results: Path | None) -> Iterator[Row]:
    work = [(sample, results) for sample in samples]
    if jobs == 1:
        yield from map(_kept, work)
        return
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_kept, work)


def _kept(work: tuple[Sample, Path | None]) -> Row:
    """The row of a sample, from its file if there is one."""
    sample, folder = work
    path = None if folder is None else folder / f"{sample.seed:05d}-{sample.method}-{sample.key}.json"
    if path is not None and path.is_file():
        try:
            told = read_json(path)
        except InputError as err:
            raise InputError(f"{err}; delete it, and it is made anew") from err
        return check_row(told, sample, path)
    row = run_sample(sample)
    if path is not None:
        write_json(path, row)
    return row


def check_row(row: Any, sample: Sample, path: Path) -> Row:
    """A row that was read from a file, if it is whole and of this sample.

    Raises:
        InputError: it is not; names the file.
    """
    wanted = {"seed": sample.seed, "method": sample.method}
    told = row if isinstance(row, dict) else {}
    missing = sorted((_KEPT | {k for k, worst in WORST.items() if worst is not None}) - told.keys())
    numbers = {k: told.get(k) for k, worst in WORST.items() if not isinstance(worst, list)}
    odd = {k: v for k, v in numbers.items() if not (_number(v) or (v is None and k not in _ALWAYS))}
    if missing or odd or any(told.get(k) != v for k, v in wanted.items()):
        said = f"lacks {', '.join(missing)}" if missing else f"holds {odd}" if odd else "is of another scene or method"
        raise InputError(
            f"{path} is no result of {sample.method} on scene {sample.seed}: it {said}; delete it, and it is made anew"
        )
    return cast(Row, row)


_KEPT = frozenset({"scene", "method", "seed", "category", "interaction", "occluded", "failed"})
"""What a row holds whether its method failed or not, besides the figures."""


_ALWAYS = frozenset({"chamfer_object_cm", "chamfer_best_cm", "penetration_mm", "iou_visible"})
"""Figures that are defined in every scene."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def run_sample(sample: Sample) -> Row:
    """Make the scene, run the method, measure; one thread, CPU seconds of the method alone."""
    scene = load_scene(sample.seed, sample.split)
    given = observe_scene(scene, sample.level, sample.noise_seed)
    row: Row = {
        "scene": scene.name,
        "method": sample.method,
        "seed": scene.seed,
        "category": scene.category,
        "interaction": scene.interaction,
        "occluded": round(scene.occluded, 4),
    }
    try:
        problem, method = problem_of(scene, given, sample), method_of(sample.method)
        with _one_thread():
            start = time.process_time()
            said = method(problem)
            seconds = time.process_time() - start
        return row | {"failed": None, "cpu_seconds": round(seconds, 4)} | score(scene, given, said)
    except Exception as err:
        return {**row, "failed": f"{type(err).__name__}: {err}", **WORST}


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def problem_of(scene: ClosedWorldScene, given: NoisyObservation, sample: Sample) -> Problem:
    """What the track lets a method know; the truth only for oracles."""
    contacts = given.contacts if sample.track in ("contact", "correspondences") else None
    if sample.track == "predicted":
        contacts = _predicted(scene, given)
    pairs = None
    if sample.track == "correspondences" and given.correspondences is not None:
        pairs = given.correspondences.body_verts, given.correspondences.points(given.mesh)
    truth = ObjectPose(scene.pose.R, scene.pose.t, given.true_scale) if sample.method in ORACLES else None
    return Problem(
        given.observation, given.body, given.mesh, given.category, contacts, pairs, given.size_prior, scene.seed, truth
    )


def _predicted(scene: ClosedWorldScene, given: NoisyObservation) -> Any:
    from hoirecon.contact import ContactObject, GeometricContact

    thing = ContactObject(given.mesh, scene.thing.category, given.parts)
    found = GeometricContact(scene.body_model).estimate(given.observation, given.body, thing)
    return found.body, found.object


# ------------------------------------------------------------------------------------------------------------- scoring
def score(scene: ClosedWorldScene, given: NoisyObservation, said: Prediction, seed: int = 0) -> Row:
    """Every figure of one prediction."""
    true = surface_samples(scene.mesh.with_verts(scene.pose.apply(scene.mesh.verts)), seed=seed)
    on_mesh = surface_samples(given.mesh, seed=seed)
    chamfers = [chamfer_cm(pose.apply(on_mesh), true) for pose in (said.pose, *said.alternatives)]
    body = given.body if said.body is None else said.body
    placed = given.mesh.with_verts(said.pose.apply(given.mesh.verts))
    common, (visible, full) = overlap(body.mesh, placed, seed), drawn_masks(body.mesh, placed, scene.camera)
    contact = contact_scores(common.body_distance, scene.body_distance)
    figures = {
        "chamfer_object_cm": chamfers[0],
        "chamfer_best_cm": min(chamfers),
        "adds_cm": adds_cm(said.pose.apply(on_mesh), true),
        "rotation_deg": rotation_error_deg(said.pose.R, scene.pose.R, scene.thing.symmetry),
        "translation_cm": 100 * float(np.linalg.norm(said.pose.t - scene.pose.t)),
        "abs_log_scale": abs(float(np.log(said.pose.s / given.true_scale))),
        "iou_visible": iou(visible, scene.visible),
        "iou_full": iou(full, scene.full),
        "penetration_mm": common.deepest_mm,
        "penetration_cm3": common.volume_cm3,
        "contact_precision": contact.precision,
        "contact_recall": contact.recall,
        "contact_f1": contact.f1,
        **_body_errors(scene, given, body.verts),
        **_landmark_errors(scene, given, body.verts),
        "nse_per_dof": _sureness(scene, given, said),
        "chance_far": said.chance_far,
        "predicted_error_cm": None if said.error_m is None else 100 * said.error_m,
    }
    rounded = {k: None if v is None else round(float(v), 4) for k, v in figures.items()}
    return rounded | {"flags": list(said.flags)} | placement(said)


def placement(said: Prediction) -> Row:
    """Where a method put the object, and the body if it moved it, so that a picture needs no second run."""
    pose = {"R": said.pose.R.round(6).tolist(), "t": said.pose.t.round(5).tolist(), "s": round(said.pose.s, 5)}
    if said.body is None:
        return {"pose": pose}
    params = said.body.params
    return {"pose": pose, "body": {name: value.round(4).tolist() for name, value in params.arrays().items()}}


def _body_errors(scene: ClosedWorldScene, given: NoisyObservation, verts: FloatArray) -> dict[str, float | None]:
    """Mean error of the body, as given and as predicted, centimetres: the vertices that truly touch, the landmarks."""
    touching, figures = scene.body_contact.probability > 0, {}
    for name, v in (("_given", given.body.verts), ("", verts)):
        off = np.linalg.norm((v - scene.body_verts)[touching], axis=1)
        marks = np.linalg.norm(landmark_places(v) - landmark_places(scene.body_verts), axis=1)
        figures[f"touching{name}_cm"] = 100 * float(off.mean()) if len(off) else None
        figures[f"landmarks{name}_cm"] = 100 * float(marks.mean())
    return figures


def _landmark_errors(scene: ClosedWorldScene, given: NoisyObservation, verts: FloatArray) -> dict[str, float | None]:
    """Medians over the landmarks, as given and as predicted, pixels: from where they truly are in the picture, and from
    where they were seen (noisy)."""
    true, seen, figures = scene.camera.project(landmark_places(scene.body_verts)), given.observation.keypoints, {}
    for name, v in (("_given", given.body.verts), ("", verts)):
        drawn = scene.camera.project(landmark_places(v))
        figures[f"landmark{name}_px"] = _median_distance(drawn, true)
        used = np.zeros(len(drawn), bool) if seen is None else seen.confidence > 0
        figures[f"landmark_seen{name}_px"] = None if seen is None else _median_distance(drawn[used], seen.xy[used])
    return figures


def _median_distance(a: FloatArray, b: FloatArray) -> float | None:
    """Of the pairs that are both in front of the camera."""
    apart = np.linalg.norm(a - b, axis=1)
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if len(apart) else None


def _sureness(scene: ClosedWorldScene, given: NoisyObservation, said: Prediction) -> float | None:
    """Normalised squared error per degree of freedom of a pose that came with its covariance."""
    if said.covariance is None:
        return None
    centre = (given.mesh.verts.min(0) + given.mesh.verts.max(0)) / 2
    true = ObjectPose(scene.pose.R, scene.pose.t, given.true_scale)
    return pose_error(said.pose, true, centre, scene.thing.symmetry).normalised(said.covariance)


def landmark_places(verts: FloatArray) -> FloatArray:
    """(L, 3) the landmarks of a picture's person on the free body's vertices."""
    from hoirecon.data.body import body_landmarks
    from hoirecon.data.closedworld.landmarks import LAYOUT
    from hoirecon.data.closedworld.posing import body_model

    marks = body_landmarks(body_model(), LAYOUT)
    places: FloatArray = np.einsum("lk,lkc->lc", marks.w, verts[marks.idx])
    return places
