"""``hoirecon bench validate``, ``score``, ``compare``, ``report``, ``leaderboard``: answers that are there already."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from hoirecon.cli_bench_shared import (
    EXIT_INCOMPLETE,
    EXIT_OK,
    EXIT_REGRESSION,
    BenchCommand,
    UsageError,
    baseline_of,
    check_protocol,
    draw,
    finish,
    rows_text,
    task_named,
)
from hoirecon.cli_values import body_of_environment
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.evaluation.tasks.task import Task


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
        print(json.dumps(told, indent=1) if self.json else rows_text([{k: str(v) for k, v in told.items()}]))
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
        baseline, dataset = baseline_of(self.baseline), task.open(self.gt)
        given = read_answers(self.predictions, task, dataset)
        distances = distances_of(topology_of(task, dataset), self.body) if task.truth == "body_contact" else None
        run, answered = evaluate(
            task, given, dataset, self.protocol, distances, self.method, self.limit, bodies_of(task, self.body)
        )
        outcome = Outcome(len(run.rows) - len(run.missing), len(run.rows), run, pictured(task, answered))
        return finish(outcome, self, baseline)


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
            draw(run, self.folder)
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
