"""``hoirecon bench`` on the field's datasets: list, describe, run, validate, score, compare, report, leaderboard.

Exit codes: 0 done, 1 wrong usage, 2 input that cannot be used, 3 samples without an answer, 4 worse than --baseline.
Every command has a Python twin in :mod:`hoirecon.evaluation` and prints JSON with --json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from hoirecon.cli_values import body_of_environment
from hoirecon.errors import HoireconError, InputError

if TYPE_CHECKING:
    from hoirecon.data.datasets.predictions import Prediction
    from hoirecon.evaluation.runs.results import Run
    from hoirecon.evaluation.runs.runner import Outcome, RunConfig
    from hoirecon.evaluation.tasks.noise import Noise
    from hoirecon.evaluation.tasks.task import Task

EXIT_OK, EXIT_USAGE, EXIT_INPUT, EXIT_INCOMPLETE, EXIT_REGRESSION = range(5)

Lists = Literal["tasks", "datasets", "metrics", "protocols", "methods", "noise", "published"]


class UsageError(InputError):
    """A command was asked for something that is not there; exit code 1."""


@dataclass(frozen=True)
class BenchCommand:
    """Base of the commands: turns errors into exit codes."""

    def run(self) -> int:
        """Carry the command out."""
        try:
            return self.work()
        except UsageError as err:
            print(f"hoirecon: {err}", file=sys.stderr)
            return EXIT_USAGE
        except HoireconError as err:
            print(f"hoirecon: {err}", file=sys.stderr)
            return EXIT_INPUT

    def work(self) -> int:
        """What the command does."""
        raise NotImplementedError


# --------------------------------------------------------------------------------------------------- what there is
@dataclass(frozen=True)
class BenchList(BenchCommand):
    """List what there is to measure with."""

    what: tyro.conf.Positional[Lists] = "tasks"
    """Tasks, datasets, metrics, protocols, methods, kinds of noise or published figures."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        rows = LISTINGS[self.what]()
        if self.json:
            print(json.dumps(rows, indent=1, ensure_ascii=False))
            return EXIT_OK
        print(_rows_text(rows))
        if self.what == "tasks":
            print("\nwithout any licensed data: `hoirecon bench closedworld`; one task in full: `bench describe TASK`")
        return EXIT_OK


def _tasks() -> list[dict[str, Any]]:
    from hoirecon.evaluation.tasks import list_tasks

    return [
        {"task": t.name, "v": t.version, "protocols": ", ".join(t.protocols), "about": t.title} for t in list_tasks()
    ]


def _datasets() -> list[dict[str, Any]]:
    from hoirecon.data.datasets.registry import list_datasets

    return [
        {"dataset": d.name, "splits": ", ".join(d.splits), "formats": ", ".join(d.formats), "about": d.title}
        for d in list_datasets()
    ]


def _metrics() -> list[dict[str, Any]]:
    from hoirecon.evaluation.metrics import list_metrics

    return [
        {"metric": m.name, "unit": m.unit or "share", "better": "higher" if m.higher_is_better else "lower",
         "formula": m.formula}
        for m in list_metrics()
    ]  # fmt: skip


def _protocols() -> list[dict[str, Any]]:
    from hoirecon.evaluation.metrics import get_preset, list_presets

    presets = [get_preset(name) for name in list_presets()]
    return [{"protocol": p.name, "scores": p.kind, "metrics": ", ".join(m.name for m in p.metrics)} for p in presets]


def _methods() -> list[dict[str, Any]]:
    from hoirecon.evaluation.tasks.methods import METHODS

    return [{"method": name, "about": text} for name, (text, _) in METHODS.items()]


def _noises() -> list[dict[str, Any]]:
    from hoirecon.evaluation.tasks.noise import AXES

    return [
        {"noise": name, "rungs": ", ".join(a.amounts), "unit": a.unit, "about": a.about} for name, a in AXES.items()
    ]


def _published() -> list[dict[str, Any]]:
    from hoirecon.evaluation.published import list_published

    return [
        {"task": p.task, "protocol": p.protocol, "method": p.method, "trust": p.trust, "flags": ", ".join(p.flags)}
        for p in list_published()
    ]


LISTINGS = {
    "tasks": _tasks,
    "datasets": _datasets,
    "metrics": _metrics,
    "protocols": _protocols,
    "methods": _methods,
    "noise": _noises,
    "published": _published,
}


def _rows_text(rows: Sequence[dict[str, Any]]) -> str:
    from hoirecon.evaluation.runs.report import Table, text_table

    if not rows:
        return "none"
    return text_table(Table("", tuple(rows[0]), tuple(tuple(str(v) for v in row.values()) for row in rows)))


@dataclass(frozen=True)
class BenchDescribe(BenchCommand):
    """Say all about a task: data and where to get it, protocols, formulas, traps, what is published."""

    task: tyro.conf.Positional[str]
    """E.g. damon/binary."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.tasks.describe import describe, described_text

        told = describe(task_named(self.task))
        print(json.dumps(told, indent=1, ensure_ascii=False) if self.json else described_text(told))
        return EXIT_OK


@dataclass(frozen=True)
class BenchCheckData(BenchCommand):
    """Name what is missing or wrong in your copy of a dataset; exit code 2 if something is."""

    root: tyro.conf.Positional[Path]
    """Folder of your copy."""
    dataset: str = ""
    """Its name; `bench list datasets` has all."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.data.datasets.folder_checks import check_data
        from hoirecon.data.datasets.registry import list_datasets

        names = [entry.name for entry in list_datasets()]
        if self.dataset not in names:
            raise UsageError(f"no dataset is called '{self.dataset}': --dataset is one of {', '.join(names)}")
        found = check_data(self.root, self.dataset)
        if self.json:
            print(json.dumps([asdict(f) for f in found], indent=1, ensure_ascii=False))
        else:
            print("\n".join(map(str, found)) or f"{self.root}: nothing is missing or wrong")
        return EXIT_INPUT if any(f.severity == "error" for f in found) else EXIT_OK


# --------------------------------------------------------------------------------------------------------------- runs
@dataclass(frozen=True)
class BenchRun(BenchCommand):
    """Run a method over a task's data, keep every answer, and score them with intervals."""

    task: str
    """E.g. damon/binary; `bench list` has all."""
    method: str
    """E.g. interactvlm; `bench list methods` has all."""
    data: Path
    """Folder of your copy of the data."""
    out: Path
    """Folder of the run."""
    weights: Path | None = None
    """Folder of a learned method's weights."""
    body: Path | None = field(default_factory=body_of_environment)
    """Your body file (SMPL family), or a folder of one per gender: geodesic errors, truth that holds parameters, and
    methods that answer on it. By default what the environment's HOIRECON_BODY names, if anything."""
    protocol: str | None = None
    """Preset that comes first; by default the task's."""
    device: str = "cpu"
    """Where torch runs."""
    limit: int | None = None
    """Only the first samples, for testing; such a run stands in no leaderboard."""
    shard: str = "1/1"
    """3/8 is the third of eight equal parts; the last one that ends scores, or `bench merge` does."""
    resume: bool = False
    """Go on in a folder that holds answers of the same run."""
    engine: Literal["local", "ray"] = "local"
    """Ray spreads the samples over workers (pip install 'hoirecon[ray]')."""
    workers: int = 1
    """Workers of Ray."""
    seed: int = 0
    """Recorded with the run; also of --noise."""
    noise: str = ""
    """What the method is handed made worse, e.g. mask=5 or level=L3; `bench ladder` runs rising amounts."""
    baseline: Path | None = None
    """An earlier run; exit code 4 if this one is worse beyond chance."""
    no_plots: bool = False
    """Draw nothing."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.runs.ladder import SPOILT, at_level
        from hoirecon.evaluation.runs.runner import run_task
        from hoirecon.evaluation.tasks.methods import METHODS, MethodSpec

        task = task_named(self.task)
        if self.method not in METHODS:
            raise UsageError(f"no method is called '{self.method}'; there are {', '.join(METHODS)}")
        check_protocol(task, self.protocol)
        noise = _noise(self.noise, self.seed)
        spec = MethodSpec(self.method, self.weights, self.body, self.device, noise, self.out / SPOILT)
        baseline, task = _baseline(self.baseline), at_level(task, noise)
        outcome = run_task(task, self.data, spec, self.out, self._config(), tell_answer)
        return _finish(outcome, self, baseline)

    def _config(self) -> RunConfig:
        from hoirecon.evaluation.runs.runner import RunConfig, Shard

        try:
            shard = Shard.parse(self.shard)
        except InputError as err:
            raise UsageError(str(err)) from err
        if self.workers < 1 or (self.engine == "local" and self.workers > 1):
            raise UsageError("--workers goes with --engine ray, and is 1 or more; else start several --shard k/n")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is 1 or more, got {self.limit}")
        return RunConfig(self.protocol, self.limit, shard, self.resume, self.engine, self.workers, self.seed, self.body)


@dataclass(frozen=True)
class BenchMerge(BenchCommand):
    """Lay the answers of shards that ran in folders of their own into one run, and score it."""

    shards: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of the shards."""
    data: Path
    """Folder of your copy of the data."""
    out: Path
    """Folder of the whole run."""
    body: Path | None = field(default_factory=body_of_environment)
    """Your body file, for geodesic errors; by default HOIRECON_BODY's."""
    protocol: str | None = None
    """Preset that comes first; by default the task's."""
    no_plots: bool = False
    """Draw nothing."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.runs.runner import RunConfig, merge_runs

        if not self.shards:
            raise UsageError("give the folders of the shards")
        outcome = merge_runs(self.shards, self.out, self.data, RunConfig(self.protocol, body=self.body))
        code = _finish(outcome, self, None)
        return code if outcome.run is not None else EXIT_INCOMPLETE


@dataclass(frozen=True)
class BenchValidate(BenchCommand):
    """Read a file or folder of predictions and say what is in it, or what is wrong with it."""

    predictions: tyro.conf.Positional[Path]
    """Folder of .npz or .json, a run, DECO's or RHOBIN's .pkl, BOP's .csv, folders of meshes or clouds."""
    task: str = ""
    """What they answer; with --gt also holds their ids and sizes against the data."""
    gt: Path | None = None
    """Folder of your copy of the data."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.runs.foreign import validate_answers

        task = task_named(self.task) if self.task else None
        if self.gt is not None and task is None:
            raise UsageError("--gt goes with --task: which data is it?")
        told = validate_answers(self.predictions, "" if task is None else task.dataset)
        missing: list[str] = []
        if task is not None and self.gt is not None:
            missing = _against(self.predictions, task, self.gt)
            told |= {"missing": len(missing), "missing_ids": missing[:20]}
        print(json.dumps(told, indent=1) if self.json else _rows_text([{k: str(v) for k, v in told.items()}]))
        return EXIT_INCOMPLETE if missing or not told["predictions"] else EXIT_OK


def _against(path: Path, task: Task, gt: Path) -> list[str]:
    """Ids without an answer; raises for what cannot be scored."""
    from hoirecon.evaluation.runs.foreign import read_answers, take_answer
    from hoirecon.evaluation.runs.pairing import check_answer

    dataset = task.open(gt)
    given, missing = read_answers(path, task, dataset), []
    for sample in dataset:
        said = take_answer(given, sample, task)
        if said is None:
            missing.append(sample.id)
        elif not said.failed:
            try:
                check_answer(task, sample, said, task.truth_of(sample))
            except InputError as err:
                raise InputError(f"sample '{sample.id}': {err}") from err
    return missing


@dataclass(frozen=True)
class BenchScore(BenchCommand):
    """Score predictions that some program wrote against your copy of the data; exit code 3 if some are missing."""

    predictions: tyro.conf.Positional[Path]
    """Folder of .npz or .json, a run, DECO's or RHOBIN's .pkl, BOP's .csv, folders of meshes or clouds."""
    gt: Path
    """Folder of your copy of the data."""
    protocol: str | None = None
    """E.g. contho, deco; by default the task's."""
    task: str = ""
    """E.g. damon/binary; by default the task of that protocol whose data --gt is."""
    method: str = "predictions"
    """What to call them in tables."""
    body: Path | None = field(default_factory=body_of_environment)
    """Your body file, or a folder of one per gender, for geodesic errors and truth that holds body parameters; by
    default HOIRECON_BODY's."""
    out: Path | None = None
    """Folder to write the run to."""
    limit: int | None = None
    """Only the first samples, for testing."""
    baseline: Path | None = None
    """An earlier run; exit code 4 if this one is worse beyond chance."""
    no_plots: bool = False
    """Draw nothing."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.runs.distances import distances_of
        from hoirecon.evaluation.runs.foreign import read_answers
        from hoirecon.evaluation.runs.runner import Outcome, bodies_of
        from hoirecon.evaluation.runs.scoring import evaluate, pictured, topology_of

        if not self.task and self.protocol is None:
            raise UsageError("say what is scored: --task, or --protocol")
        task = task_named(self.task) if self.task else _task_of(str(self.protocol), self.gt)
        check_protocol(task, self.protocol)
        baseline, dataset = _baseline(self.baseline), task.open(self.gt)
        given = read_answers(self.predictions, task, dataset)
        distances = distances_of(topology_of(task, dataset), self.body) if task.truth == "body_contact" else None
        run, answered = evaluate(
            task, given, dataset, self.protocol, distances, self.method, self.limit, bodies_of(task, self.body)
        )
        outcome = Outcome(len(run.rows) - len(run.missing), len(run.rows), run, pictured(task, answered))
        return _finish(outcome, self, baseline)


def _task_of(protocol: str, gt: Path) -> Task:
    """The task of a protocol whose data a folder is."""
    from hoirecon.evaluation.metrics import list_presets
    from hoirecon.evaluation.tasks import list_tasks

    if protocol not in list_presets():
        raise UsageError(f"no protocol is called '{protocol}'; there are {', '.join(list_presets())}")
    tasks = [t for t in list_tasks() if protocol in t.protocols]
    if not tasks:
        raise UsageError(f"no task is scored by '{protocol}': name one with --task")
    said = []
    for task in sorted(tasks, key=lambda t: t.protocols.index(protocol)):
        try:
            if len(task.open(gt)):
                return task
        except InputError as err:
            said.append(f"{task.name}: {err}")
    raise InputError(f"{gt} is the data of no task of '{protocol}' ({'; '.join(said)[:600]})")


# -------------------------------------------------------------------------------------------------- what came of it
@dataclass(frozen=True)
class BenchCompare(BenchCommand):
    """Compare runs with the first one, sample by sample, with intervals and adjusted p values."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of two runs or more."""
    check: bool = False
    """Exit code 4 if any of the others is worse than the first beyond chance."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.runs import load_run
        from hoirecon.evaluation.runs.compare import compare_dict, compare_runs, compare_table
        from hoirecon.evaluation.runs.report import text_table

        if len(self.runs) < 2:
            raise UsageError("a comparison takes the folders of two runs or more")
        found = compare_runs([load_run(folder) for folder in self.runs])
        print(json.dumps(compare_dict(found), indent=1) if self.json else text_table(compare_table(found)))
        return EXIT_REGRESSION if self.check and any(c.verdict == "worse" for c in found) else EXIT_OK


@dataclass(frozen=True)
class BenchReport(BenchCommand):
    """Write a run's report anew, in a format of your choice, with its plots."""

    folder: tyro.conf.Positional[Path]
    """Folder of the run."""
    format: Literal["md", "html", "latex", "csv"] = "md"
    """Of the report."""
    no_plots: bool = False
    """Draw nothing."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.runs import load_run
        from hoirecon.evaluation.runs.report import write_report

        run = load_run(self.folder)
        if not self.no_plots:
            _draw(run, self.folder)
        print(write_report(run, self.folder, self.format))
        return EXIT_OK


@dataclass(frozen=True)
class BenchLeaderboard(BenchCommand):
    """Print published figures of a protocol or task, and your runs beside them where they may stand."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of your runs."""
    protocol: str | None = None
    """E.g. deco, contho."""
    task: str | None = None
    """E.g. damon/binary."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.published.entries import TRUST
        from hoirecon.evaluation.published.leaderboard import board_dict, board_tables, leaderboards, notes_of
        from hoirecon.evaluation.runs import load_run
        from hoirecon.evaluation.runs.report import text_table

        runs = [load_run(folder) for folder in self.runs]
        try:
            boards, refused = leaderboards(self.protocol, self.task, runs)
        except InputError as err:
            raise UsageError(str(err)) from err
        if self.json:
            left = [{"method": r.run.method, "why": r.why} for r in refused]
            print(json.dumps({"tables": [board_dict(b) for b in boards], "refused": left}, indent=1))
            return EXIT_OK
        print("\n\n".join(text_table(t) for board in boards for t in board_tables(board)))
        print("\n".join(["", *(f"trust {name}: {text}" for name, text in TRUST.items()), *notes_of(boards)]))
        for r in refused:
            print(f"not in a table: {r.run.method} on {r.run.about['task']}: {r.why}")
        return EXIT_OK


# -------------------------------------------------------------------------------------------------------------- shared
def task_named(name: str) -> Task:
    from hoirecon.evaluation.tasks import get_task

    try:
        return get_task(name)
    except InputError as err:
        raise UsageError(str(err)) from err


def _noise(text: str, seed: int) -> Noise | None:
    from hoirecon.evaluation.tasks.noise import Noise

    try:
        return Noise.parse(text, seed) if text else None
    except InputError as err:
        raise UsageError(str(err)) from err


def check_protocol(task: Task, protocol: str | None) -> None:
    try:
        task.presets(protocol)
    except InputError as err:
        raise UsageError(str(err)) from err


def _baseline(folder: Path | None) -> Run | None:
    """Read before the work, so that a wrong folder is told at once."""
    from hoirecon.evaluation.runs import load_run

    return None if folder is None else load_run(folder)


def _finish(outcome: Outcome, asked: BenchRun | BenchMerge | BenchScore, baseline: Run | None) -> int:
    """Save, draw, print, and the exit code."""
    from hoirecon.evaluation.runs.results import save_run, scores_dict

    run, out = outcome.run, asked.out
    if run is None:
        print(f"{outcome.done} of {outcome.targets} samples have an answer: run the other shards, then they are scored")
        return EXIT_OK
    if out is not None:
        save_run(run, out)
        if not asked.no_plots:
            _draw(run, out, outcome.pairs, asked.body)
        _report(run, out)
    worse = _worse(baseline, run)
    told = {**scores_dict(run), "coverage": run.about["coverage"], "worse_than_baseline": worse}
    print(json.dumps(told, indent=1, ensure_ascii=False) if asked.json else run.summary())
    for line in worse:
        print(f"worse than the baseline: {line}", file=sys.stderr)
    if run.missing or len(run.failed) == len(run.rows):
        print(f"hoirecon: {len(run.failed)} of {len(run.rows)} samples have no usable answer", file=sys.stderr)
        return EXIT_INCOMPLETE
    return EXIT_REGRESSION if worse else EXIT_OK


def _worse(baseline: Run | None, run: Run) -> list[str]:
    from hoirecon.evaluation.runs.compare import regressions

    found = [] if baseline is None else regressions(baseline, run)
    return [f"{c.metric} {c.a_value:.4f} -> {c.b_value:.4f} (p {c.p_holm:.4f})" for c in found]


def _report(run: Run, folder: Path) -> None:
    from hoirecon.evaluation.runs.report import write_report

    write_report(run, folder)


def _draw(run: Run, folder: Path, pairs: dict[str, Any] | None = None, body: Path | None = None) -> None:
    """Plots, if matplotlib is installed; of the body's surface where answers and a mesh are at hand."""
    from hoirecon.errors import MissingExtraError
    from hoirecon.evaluation.run_plots import Shown, draw_run
    from hoirecon.evaluation.runs.distances import mesh_of
    from hoirecon.evaluation.runs.results import PLOTS

    mesh = mesh_of(run.about["data"]["topology"], body) if pairs else None
    try:
        draw_run(run, folder / PLOTS, None if mesh is None or not pairs else Shown(mesh, pairs))
    except MissingExtraError as err:
        print(f"no plots: {err}", file=sys.stderr)


def tell_answer(done: int, of: int, said: Prediction) -> None:
    if said.failed:
        print(f"{done}/{of} {said.id}: failed, {said.failed}", file=sys.stderr, flush=True)
    elif done == of or done % max(of // 20, 1) == 0:
        print(f"{done}/{of} {said.id}", file=sys.stderr, flush=True)
