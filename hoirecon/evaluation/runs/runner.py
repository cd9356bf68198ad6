"""Run a method over a task: predict what is missing, keep every answer, then score all of them at once.

A run's folder holds one file per answer, written whole or not at all, beside a plan whose key is a hash of all that
decides an answer (task and version, data, method, parameters, code). An interrupted run goes on from there; a folder of
another key is refused. Scores are made from the folder and the truth alone, so that shards and workers change nothing.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from hoirecon.data.datasets.predictions import (
    Prediction,
    prediction_name,
    read_prediction,
    same_prediction,
    write_prediction,
)
from hoirecon.data.datasets.samples import Dataset, Sample
from hoirecon.errors import InputError
from hoirecon.evaluation.runs.bodies import Bodies
from hoirecon.evaluation.runs.distances import distances_of
from hoirecon.evaluation.runs.engine import Job, answers
from hoirecon.evaluation.runs.fingerprints import digest, file_fingerprint, plain
from hoirecon.evaluation.runs.results import PREDICTIONS, Run, check_run_folder
from hoirecon.evaluation.runs.scoring import about_run, answer_all, pictured, score_run
from hoirecon.evaluation.tasks.methods import ORACLES, MethodSpec, build_method
from hoirecon.evaluation.tasks.predictor import Predictor
from hoirecon.evaluation.tasks.task import Task, get_task
from hoirecon.files import check_writable, read_json, write_json

PLAN = "plan.json"
PLAN_SCHEMA = "hoirecon-benchmark-plan"
PLAN_VERSION = 1

Engine = Literal["local", "ray"]
Tell = Callable[[int, int, Prediction], None]
"""Called with (done, of, answer)."""


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a dataset: every count-th sample from number - 1 on."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``3/8``.

        Raises:
            InputError: no such part.

        Example:
            >>> Shard.parse("3/8")
            Shard(number=3, count=8)
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise InputError(f"a shard is like 3/8, the third of eight, got '{text}'")
        return cls(int(number), int(count))

    def holds(self, index: int) -> bool:
        """Whether the sample of that index is in this part."""
        return index % self.count == self.number - 1


@dataclass(frozen=True)
class RunConfig:
    """How a run is done; nothing here changes a figure but ``protocol`` and ``limit``."""

    protocol: str | None = None
    """Preset that comes first; None takes the task's."""
    limit: int | None = None
    """Only the first samples, for testing; such a run is marked."""
    shard: Shard = field(default_factory=Shard)
    resume: bool = False
    """Go on in a folder that holds answers of the same plan."""
    engine: Engine = "local"
    """``ray`` spreads samples over workers (extra ``ray``)."""
    workers: int = 1
    """Of the engine ``ray``."""
    seed: int = 0
    """Recorded; methods that draw numbers take it from their parameters."""
    body: Path | None = None
    """The user's body file, or folder of one per gender: for geodesic errors and for truth that holds parameters."""


@dataclass(frozen=True)
class Outcome:
    """What a run has done so far."""

    done: int
    """Samples that have an answer, of all shards."""
    targets: int
    run: Run | None
    """The scored run; None while answers are missing (other shards)."""
    pairs: dict[str, Any] = field(default_factory=dict, repr=False)
    """Id -> (prediction or None, truth) of contact on one body, for pictures; else empty."""


def run_task(
    task: Task | str,
    data: str | Path,
    method: MethodSpec | Predictor | str,
    out: str | Path,
    config: RunConfig | None = None,
    tell: Tell | None = None,
) -> Outcome:
    """Predict, keep and score.

    A sample on which the method raises counts as the worst case and is listed; a method that asks for truth, or that
    lacks weights or a package, stops the run.

    Args:
        task: or its name.
        data: folder of the user's copy.
        method: a name, a :class:`MethodSpec`, or any :class:`~hoirecon.evaluation.tasks.predictor.Predictor`.
        out: folder of the run.
        config: settings; None takes the defaults.
        tell: called after every answer.

    Raises:
        InputError: unknown names, unreadable data, or a folder with answers of another plan.
    """
    config, task = config or RunConfig(), get_task(task) if isinstance(task, str) else task
    method = MethodSpec(method) if isinstance(method, str) else method
    if not isinstance(method, MethodSpec):
        _check_predictor(method)
    out, data = Path(out), Path(data)
    presets = task.presets(config.protocol)
    _check_config(config)
    check_run_folder(out)
    dataset = task.open(data)
    predictor = build_method(method, task, dataset, data) if isinstance(method, MethodSpec) else method
    plan = make_plan(task, dataset, predictor, config.limit, config.seed)
    _claim(out, plan, config)
    ids = ids_of(dataset, config.limit)
    _predict(Job(task, data, method), predictor, dataset, ids, out, config, tell)
    done = sum(_path(out, name).is_file() for name in ids)
    if done < len(ids):
        return Outcome(done, len(ids), None)
    oracle = predictor.name in ORACLES
    about = about_run(
        task, dataset, presets, predictor.name, plain(predictor.params),
        limited=config.limit is not None, oracle=oracle, seed=config.seed,
    )  # fmt: skip
    return _scored(task, dataset, out, about, config)


def ids_of(dataset: Dataset, limit: int | None = None) -> list[str]:
    """Ids of the samples in the dataset's order; read from a list if the dataset keeps one."""
    known = getattr(dataset, "ids", None)
    return list(islice(known, limit)) if known is not None else [s.id for s in islice(dataset, limit)]


def _check_config(config: RunConfig) -> None:
    if config.limit is not None and config.limit < 1:
        raise InputError(f"the limit is 1 sample or more, got {config.limit}: leave it out for all")
    if config.workers < 1 or config.engine not in ("local", "ray"):
        raise InputError(
            f"the engine is local or ray, with 1 worker or more, got {config.engine} with {config.workers}"
        )
    if config.engine == "local" and config.workers > 1:
        raise InputError("the engine 'local' is one process: take --engine ray, or start several --shard k/n")


def _path(out: Path, name: str) -> Path:
    return out / PREDICTIONS / f"{prediction_name(name)}.npz"


def _predict(
    job: Job,
    predictor: Predictor,
    dataset: Dataset,
    ids: Sequence[str],
    out: Path,
    config: RunConfig,
    tell: Tell | None,
) -> None:
    """Answer what has no answer yet; each is on disk before the next is waited for."""
    mine = [i for i in range(len(ids)) if config.shard.holds(i)]
    left = [i for i in mine if not _path(out, ids[i]).is_file()]
    done = len(mine) - len(left)
    for said in answers(job, predictor, dataset, ids, left, config.engine, config.workers):
        write_prediction(said, out / PREDICTIONS)
        done += 1
        if tell is not None:
            tell(done, len(mine), said)


def _scored(task: Task, dataset: Dataset, out: Path, about: dict[str, Any], config: RunConfig) -> Outcome:
    def find(sample: Sample) -> Prediction | None:
        path = _path(out, sample.id)
        return read_prediction(path) if path.is_file() else None

    presets = task.presets(config.protocol)
    distances = distances_of(about["data"]["topology"], config.body) if task.truth == "body_contact" else None
    answered = answer_all(task, dataset, find, config.limit, body=bodies_of(task, config.body), leading=presets[0])
    run = replace(score_run(task, answered, presets, about, distances), folder=out)
    return Outcome(len(answered), len(answered), run, pictured(task, answered))


def bodies_of(task: Task, body: Path | None) -> Bodies | None:
    """The user's body models, where a task's truth may hold their parameters alone."""
    return Bodies.load(body) if body is not None and task.truth == "reconstruction" else None


def _check_predictor(predictor: Any) -> None:
    missing = [name for name in ("name", "params", "predict") if not hasattr(predictor, name)]
    if missing or isinstance(predictor, type):
        raise InputError(
            f"{predictor!r} is no predictor: give the name of a method, or an object with name, params and "
            f"predict(question){f' (it has no {missing[0]})' if missing else ', not its class'}"
        )


# --------------------------------------------------------------------------------------------------------------- plans
def make_plan(task: Task, dataset: Dataset, predictor: Predictor, limit: int | None, seed: int = 0) -> dict[str, Any]:
    """All that decides an answer, and the hash of it; beside it what a merge of shards must know."""
    asked = {
        "task": task.name,
        "task_version": task.version,
        "options": plain(task.options),
        "data": dataset.fingerprint,
        "split": dataset.split,
        "method": predictor.name,
        "params": plain(predictor.params),
        "method_code": _code_of(predictor),
    }
    known = {"schema": PLAN_SCHEMA, "version": PLAN_VERSION, "key": digest(asked)}
    return {**known, "asked": asked, "limit": limit, "seed": seed}


def _code_of(predictor: Predictor) -> str:
    """Digest of the file that defines a predictor; empty where there is none (typed at a prompt)."""
    try:
        return file_fingerprint(inspect.getfile(type(predictor)))
    except (TypeError, OSError, InputError):
        return ""


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of a run's folder.

    Raises:
        InputError: none there, or not a plan.
    """
    plan = read_json(folder / PLAN)
    if not isinstance(plan, dict) or plan.get("schema") != PLAN_SCHEMA or plan.get("version") != PLAN_VERSION:
        raise InputError(f"{folder / PLAN} is not a plan of this version: take a new folder")
    return plan


def _claim(out: Path, plan: dict[str, Any], config: RunConfig) -> None:
    """Write the plan, or hold it against the one that is there.

    Raises:
        InputError: answers of another plan, or of this one without leave to go on.
    """
    if not (out / PLAN).is_file():
        check_writable(out / PREDICTIONS)
        write_json(out / PLAN, plan)
        return
    there = read_plan(out)
    if there["key"] != plan["key"]:
        raise InputError(f"{out} holds answers of another run ({_difference(there, plan)}): give a new folder")
    held = any((out / PREDICTIONS).glob("*.npz"))
    if held and not config.resume and config.shard.count == 1:
        raise InputError(f"{out} holds answers of this run already: go on with --resume, or give a new folder")
    check_writable(out / PREDICTIONS)


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    a, b = one.get("asked", {}), other["asked"]
    return "; ".join(f"its {name} is {a.get(name)!r}, not {b[name]!r}" for name in b if a.get(name) != b[name])[:400]


def merge_runs(
    folders: Sequence[str | Path], out: str | Path, data: str | Path, config: RunConfig | None = None
) -> Outcome:
    """Lay the answers of shards that ran in folders of their own into one, and score them.

    Args:
        folders: of the shards.
        out: folder of the whole run; may be one of them.
        data: the user's copy, for the truth.
        config: protocol, body and limit; the seed is that of the shards.

    Raises:
        InputError: folders of different plans or seeds, or two different answers for a sample.
    """
    config, out = config or RunConfig(), Path(out)
    plans = [read_plan(Path(f)) for f in folders]
    if not plans:
        raise InputError("there is nothing to merge: give the folders of the shards")
    for folder, plan in zip(folders, plans, strict=True):
        if plan["key"] != plans[0]["key"]:
            raise InputError(f"{folder} is of another run than {folders[0]} ({_difference(plan, plans[0])})")
    seeds = {int(plan.get("seed", 0)) for plan in plans}
    if len(seeds) > 1:
        raise InputError(f"the shards ran with the seeds {sorted(seeds)}: run all of them with one --seed")
    asked = plans[0]["asked"]
    # as it was run: a level of the closed world (--noise level=L3) is an option of the task
    task = replace(get_task(asked["task"]), split=asked["split"], options=asked["options"])
    dataset = task.open(data)
    if dataset.fingerprint != asked["data"] or task.version != asked["task_version"]:
        raise InputError(f"{data} or the task's version is not what the shards were run on: give the same copy")
    check_run_folder(out)
    _claim(out, plans[0], replace(config, resume=True))
    for folder in folders:
        _take_over(Path(folder) / PREDICTIONS, out / PREDICTIONS)
    ids = ids_of(dataset, config.limit)
    done = sum(_path(out, name).is_file() for name in ids)
    if done < len(ids):
        return Outcome(done, len(ids), None)
    presets = task.presets(config.protocol)
    about = about_run(
        task, dataset, presets, asked["method"], asked["params"],
        limited=config.limit is not None, oracle=asked["method"] in ORACLES, seed=seeds.pop(),
    )  # fmt: skip
    return _scored(task, dataset, out, about, config)


def _take_over(source: Path, target: Path) -> None:
    """Copy answers that are not there yet, each whole; one that is there must say the same but for its time."""
    from hoirecon.files import atomic_file

    for path in _files(source):
        there = target / path.name
        if there.is_file():
            if source.resolve() != target.resolve() and not _same(path, there):
                raise InputError(f"two shards answer {path.stem} differently: which of them is of this run?")
            continue
        with atomic_file(there) as tmp:
            shutil.copyfile(path, tmp)


def _same(one: Path, other: Path) -> bool:
    return same_prediction(*(replace(read_prediction(p), seconds=None) for p in (one, other)))


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(p for p in folder.glob("*.npz") if not p.name.startswith(".")))
