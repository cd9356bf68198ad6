"""From predictions and truth to a run: every sample gets a row, every figure an interval, nothing is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.data.datasets.predictions import Prediction, iter_predictions
from hoirecon.data.datasets.samples import AffordanceTruth, BodyContactTruth, Dataset, ObjectContactTruth, Sample
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import Preset, PresetScores, category_macro, get_metric
from hoirecon.evaluation.metrics.aggregate import Statistic
from hoirecon.evaluation.runs.bodies import Bodies, MissingBodyError
from hoirecon.evaluation.runs.bootstrap import Interval, bootstrap
from hoirecon.evaluation.runs.distances import CachedDistances, distances_of
from hoirecon.evaluation.runs.fingerprints import code_fingerprint, package_versions
from hoirecon.evaluation.runs.foreign import take_answer
from hoirecon.evaluation.runs.pairing import check_answer, lacks, pair_of, readable
from hoirecon.evaluation.runs.results import SCHEMA, SCHEMA_VERSION, Run, SampleRow, Score, Status
from hoirecon.progress import shown

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel
    from hoirecon.evaluation.metrics.geodesic import SurfaceDistances
    from hoirecon.evaluation.tasks.task import Task

Find = Callable[[Sample], Prediction | None]
"""The prediction of a sample; None if there is none."""
TOP, BOTTOM = ".top", ".bottom"
"""Endings of the columns of samples.csv that a pooled figure divides by one another."""
NAMED = 5
"""How many ids an error names."""


@dataclass(frozen=True)
class Answered:
    """One sample with what was said of it, ready for the presets."""

    id: str
    category: str
    group: str
    status: Status
    reason: str
    seconds: float | None
    pair: tuple[Any, Any]
    """(prediction, truth) as the task's kind of preset takes them; a prediction of None failed."""


def evaluate(
    task: Task,
    predictions: Mapping[str, Prediction] | Iterable[Prediction] | str | Path,
    data: str | Path | Dataset,
    protocol: str | None = None,
    distances: SurfaceDistances | None = None,
    method: str = "predictions",
    limit: int | None = None,
    body: BodyModel | Bodies | None = None,
    progress: bool = True,
) -> tuple[Run, list[Answered]]:
    """See :meth:`hoirecon.evaluation.tasks.task.Task.evaluate`; gives the samples with their answers as well."""
    presets = task.presets(protocol)
    dataset = task.open(data) if isinstance(data, str | Path) else data
    given = by_id(predictions)
    used: set[str] = set()

    def find(sample: Sample) -> Prediction | None:
        used.update((sample.id, sample.group))
        return take_answer(given, sample, task)

    answered = answer_all(task, dataset, find, limit, strict=True, body=body, leading=presets[0], progress=progress)
    strange = [name for name in given if name not in used] if limit is None else []
    if strange:
        raise InputError(
            f"{len(strange)} predictions are of samples that {dataset.name} {dataset.split} does not have "
            f"({', '.join(strange[:NAMED])}): its ids are like '{answered[0].id}'"
        )
    about = about_run(task, dataset, presets, method, {}, limited=limit is not None)
    if distances is None:
        distances = distances_of(about["data"]["topology"])
    return score_run(task, answered, presets, about, distances), answered


def pictured(task: Task, answered: Sequence[Answered]) -> dict[str, Any]:
    """Id -> (prediction or None, truth) of contact on one body, for pictures; empty for other tasks."""
    return {a.id: a.pair for a in answered} if task.truth == "body_contact" else {}


def by_id(predictions: Mapping[str, Prediction] | Iterable[Prediction] | str | Path) -> dict[str, Prediction]:
    """Predictions by id, from a mapping, an iterable or a folder.

    Raises:
        InputError: no predictions, an id twice, or one under another id's name.
    """
    if isinstance(predictions, str | Path):
        predictions = iter_predictions(predictions)
    if isinstance(predictions, Mapping):
        for name, said in predictions.items():
            _check_kind(said)
            if said.id != name:
                raise InputError(f"the prediction of '{said.id}' stands under the id '{name}'")
        return dict(predictions)
    found: dict[str, Prediction] = {}
    for said in predictions:
        _check_kind(said)
        if said.id in found:
            raise InputError(f"there are two predictions for '{said.id}': give each sample one answer")
        found[said.id] = said
    return found


def _check_kind(said: Any) -> None:
    if not isinstance(said, Prediction):
        raise InputError(
            f"a prediction is of type {type(said).__name__}: give Prediction(id, body_contact=..., topology=...) of "
            f"hoirecon.data.datasets.predictions"
        )


def answer_all(
    task: Task,
    dataset: Dataset,
    find: Find,
    limit: int | None = None,
    strict: bool = False,
    body: BodyModel | Bodies | None = None,
    leading: Preset | None = None,
    progress: bool = False,
) -> list[Answered]:
    """Every sample with its answer, in the dataset's order.

    Args:
        task: says what is compared.
        dataset: the samples.
        find: gives predictions.
        limit: only the first samples.
        strict: an answer of the wrong size or kind is an error; otherwise the sample has failed and says why.
        body: the user's body model or models, for reconstructions whose truth holds their parameters alone.
        leading: the protocol that decides whether an answer can be scored; None takes the task's first.
        progress: show a progress bar of the samples on stderr, if they take more than a few seconds.

    Raises:
        InputError: no samples, an id twice, or (strict) an answer that cannot be scored; names the sample.
    """
    if limit is not None and limit < 1:
        raise InputError(f"the limit is 1 sample or more, got {limit}: leave it out for all")
    bodies, leading = Bodies.of(body), leading or task.presets()[0]
    total = len(dataset) if limit is None else min(limit, len(dataset))
    samples = shown(islice(dataset, limit), total, f"reading {dataset.name} {dataset.split}", progress)
    answered = [_answered(task, sample, find(sample), strict, bodies, leading) for sample in samples]
    if not answered:
        raise InputError(f"{dataset.name} {dataset.split} has no samples: check the copy with `bench check-data`")
    _check_unique([a.id for a in answered], dataset)
    return answered


def _check_unique(ids: Sequence[str], dataset: Dataset) -> None:
    seen: set[str] = set()
    twice = [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if twice:
        raise InputError(f"{dataset.name} {dataset.split} has '{twice[0]}' more than once: check it with check-data")


def _answered(
    task: Task, sample: Sample, said: Prediction | None, strict: bool, bodies: Bodies | None, leading: Preset
) -> Answered:
    truth = task.truth_of(sample)
    group = sample.group or sample.id

    def answered(status: Status, reason: str, pair: tuple[Any, Any]) -> Answered:
        seconds = None if said is None else said.seconds
        return Answered(sample.id, sample.category, group, status, " ".join(reason.split())[:300], seconds, pair)

    none = partial(pair_of, task, sample, None, truth, bodies)
    if said is None:
        return answered("missing", "no prediction was given", none())
    if said.failed:
        return answered("failed", said.failed, none())
    try:
        check_answer(task, sample, said, truth)
        pair = pair_of(task, sample, said, truth, bodies)
        if leading.kind == "reconstruction" and (why := lacks(leading, *pair)):
            raise InputError(why)
        return answered("ok", "", pair)
    except MissingBodyError:
        raise
    except InputError as err:
        pair = none()  # what is wrong with the truth is told first, and is no failure of the method
        if strict:
            raise InputError(f"sample '{sample.id}': {err}") from err
        return answered("failed", str(err), pair)


# -------------------------------------------------------------------------------------------------------------- figures
def score_run(
    task: Task,
    answered: Sequence[Answered],
    presets: Sequence[Preset],
    about: Mapping[str, Any],
    distances: SurfaceDistances | None = None,
) -> Run:
    """Score by every preset; the first is the run's protocol.

    Args:
        task: what is scored.
        answered: all samples.
        presets: the protocols.
        about: what :func:`about_run` gave.
        distances: on the body, for geodesic errors.
    """
    ids, groups = [a.id for a in answered], [a.group for a in answered]
    cached = None if distances is None or task.truth != "body_contact" else CachedDistances(distances)
    found = [
        p.evaluate([readable(p, a.pair) for a in answered], ids=ids, groups=groups, distances=cached) for p in presets
    ]
    scores = [s for preset, told in zip(presets, found, strict=True) for s in _scores(preset, told, answered)]
    coverage = {status: sum(a.status == status for a in answered) for status in ("ok", "failed", "missing")}
    facts = {**about, "coverage": {"targets": len(answered), **coverage}, "geodesic": cached is not None}
    rows = tuple(_rows(answered, presets, found))
    return Run(facts, rows, tuple(scores), _by_category(presets[0], found[0], answered))


def _rows(
    answered: Sequence[Answered], presets: Sequence[Preset], found: Sequence[PresetScores]
) -> Iterator[SampleRow]:
    """A row per sample. What a preset says of a whole image stands at the image's first sample."""
    values: dict[str, dict[str, float | None]] = {a.id: {} for a in answered}
    first_of = {a.group: a.id for a in reversed(answered)}
    for k, (preset, told) in enumerate(zip(presets, found, strict=True)):
        for name, column in _columns(preset, told).items():
            label = name if k == 0 else f"{preset.name}.{name}"
            for row, value in zip(told.ids, column, strict=True):
                at = row if row in values else first_of[row]
                values[at][label] = None if np.isnan(value) else float(value)
    for a in answered:
        yield SampleRow(a.id, a.category, a.group, a.status, a.reason, a.seconds, values[a.id])


def _columns(preset: Preset, told: PresetScores) -> dict[str, FloatArray]:
    """Values of the rows, and what each adds to a pooled figure, so that a comparison can pool anew."""
    columns = dict(told.per_sample)
    for name, statistic in told.statistics.items():
        if aggregator_of(preset, name) == "pooled":
            columns |= {f"{name}{TOP}": statistic.columns[:, 0], f"{name}{BOTTOM}": statistic.columns[:, 1]}
    return columns


def _scores(preset: Preset, told: PresetScores, answered: Sequence[Answered]) -> list[Score]:
    groups, failed = _groups(told, answered), _failed(told)
    categories = _categories(told, answered)
    headline = preset.metrics[0].name
    order = {info.name: k for k, info in enumerate(preset.metrics)}
    statistics = dict(sorted(told.statistics.items(), key=lambda item: order.get(item[0], len(order))))
    if headline in statistics and len(set(categories)) > 1 and all(categories):
        statistics[f"{headline}.macro"] = category_macro(statistics[headline], categories)
    intervals = bootstrap(list(statistics.values()), groups)
    return [
        _score(preset, name, told, statistic, interval, failed)
        for (name, statistic), interval in zip(statistics.items(), intervals, strict=True)
    ]


def _score(
    preset: Preset, name: str, told: PresetScores, statistic: Statistic, interval: Interval, failed: BoolArray
) -> Score:
    info = get_metric(name.removesuffix(".macro"))
    ok, column = ~failed, told.per_sample.get(info.name)
    defined = np.ones(len(failed), bool) if column is None else ~np.isnan(column)
    value_ok = float(statistic.finish(statistic.columns[ok].sum(0))) if ok.any() else np.nan
    return Score(
        metric=name,
        value=_known(interval.value),
        ci95=None if np.isnan(interval.low) or defined.sum() < 2 else (interval.low, interval.high),
        n=int(defined.sum()),
        n_failed=int((failed & defined).sum()),
        unit=info.unit,
        direction="up" if info.higher_is_better else "down",
        aggregator="category_macro" if name.endswith(".macro") else aggregator_of(preset, name),
        protocol=preset.name,
        value_ok=_known(value_ok),
        n_ok=int((ok & defined).sum()),
    )


def aggregator_of(preset: Any, metric: str) -> str:
    """How values of samples become a figure: ``pooled``, ``per_sample_mean``, ``per_pair_mean``, ..."""
    named: Mapping[str, str] = getattr(preset, "aggregators", {})
    if metric in named:
        return named[metric]
    if metric == "f1_of_means":
        return "harmonic_mean_of_means"
    if getattr(preset, "pooled_precision_recall", False) and metric in ("precision", "recall"):
        return "pooled"
    return f"{getattr(preset, 'mean', 'per_sample')}_mean"


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _failed(told: PresetScores) -> BoolArray:
    flag = told.flags.get("failed")
    return np.zeros(len(told.ids), bool) if flag is None else np.asarray(flag) > 0


def _groups(told: PresetScores, answered: Sequence[Answered]) -> list[str]:
    """What the bootstrap draws, of each row; a row that is a whole image is its own group."""
    group_of = {a.id: a.group for a in answered}
    return [group_of.get(row, row) for row in told.ids]


def _categories(told: PresetScores, answered: Sequence[Answered]) -> list[str]:
    """Category of each row; none for an image whose objects have several."""
    of_row: dict[str, set[str]] = {}
    for a in answered:
        of_row.setdefault(a.id, set()).add(a.category)
        of_row.setdefault(a.group, set()).add(a.category)
    return [next(iter(of_row[row])) if len(of_row[row]) == 1 else "" for row in told.ids]


def _by_category(preset: Preset, told: PresetScores, answered: Sequence[Answered]) -> dict[str, tuple[Score, ...]]:
    """Figures of each category by the first protocol."""
    labels = np.array(_categories(told, answered))
    found = {}
    for name in sorted(set(labels.tolist()) - {""}):
        found[name] = tuple(s for s in _scores(preset, _selected(told, labels == name), answered))
    return found if len(found) > 1 else {}


def _selected(told: PresetScores, keep: BoolArray) -> PresetScores:
    """The rows of a selection."""
    return PresetScores(
        told.preset,
        tuple(np.array(told.ids, dtype=object)[keep]),
        {name: np.asarray(column)[keep] for name, column in told.per_sample.items()},
        {name: Statistic(s.columns[keep], s.finish) for name, s in told.statistics.items()},
        {name: np.asarray(flag)[keep] for name, flag in told.flags.items()},
    )


# ----------------------------------------------------------------------------------------------------------- what it is
def about_run(
    task: Task,
    dataset: Dataset,
    presets: Sequence[Preset],
    method: str,
    params: Mapping[str, Any],
    *,
    limited: bool = False,
    oracle: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """What run.json says, but for the coverage: nothing in it names the machine."""
    return {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "task": task.name,
        "task_version": task.version,
        "protocol": presets[0].name,
        "protocols": [preset.name for preset in presets],
        "method": method,
        "params": dict(params),
        "oracle": oracle,
        "seed": seed,
        "limited": limited,
        "stand_in": dataset.stand_in,
        "data": {
            "name": dataset.name,
            "version": dataset.version,
            "split": dataset.split,
            "licence": dataset.licence,
            "stand_in": dataset.stand_in,
            "topology": topology_of(task, dataset),
            "fingerprint": dataset.fingerprint,
            "samples": len(dataset),
        },
        "code": code_fingerprint(),
        "packages": package_versions(),
        "notes": list(dict.fromkeys(note for preset in presets for note in preset.notes)),
    }


def topology_of(task: Task, dataset: Dataset) -> str:
    """Mesh that labels are on: ``smpl``, ``points-2048``, ``object`` for meshes of their own."""
    if not len(dataset):
        return ""
    truth = task.truth_of(dataset[0])
    if isinstance(truth, AffordanceTruth):
        return f"points-{len(truth.points)}"
    if isinstance(truth, ObjectContactTruth):
        return "object"
    return truth.topology if isinstance(truth, BodyContactTruth) else str(getattr(truth, "topology", ""))
