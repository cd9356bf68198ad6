"""What the commands on the field's datasets share: exit codes, and how a run ends.

Exit codes: 0 done, 1 wrong usage, 2 input that cannot be used, 3 samples without an answer, 4 worse than --baseline.
Every command has a Python twin in :mod:`hoirecon.evaluation` and prints JSON with --json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hoirecon.errors import HoireconError, InputError

if TYPE_CHECKING:
    from hoirecon.data.datasets.predictions import Prediction
    from hoirecon.evaluation.runs.results import Run
    from hoirecon.evaluation.runs.runner import Outcome
    from hoirecon.evaluation.tasks.noise import Noise
    from hoirecon.evaluation.tasks.task import Task

EXIT_OK, EXIT_USAGE, EXIT_INPUT, EXIT_INCOMPLETE, EXIT_REGRESSION = range(5)


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


def rows_text(rows: Sequence[dict[str, Any]]) -> str:
    from hoirecon.evaluation.runs.report import Table, text_table

    if not rows:
        return "none"
    return text_table(Table("", tuple(rows[0]), tuple(tuple(str(v) for v in row.values()) for row in rows)))


class Finished(Protocol):
    """What a command says of how its run ends."""

    @property
    def out(self) -> Path | None:
        """Folder of the run."""

    @property
    def body(self) -> Path | None:
        """Body file, for pictures of its surface."""

    @property
    def no_plots(self) -> bool:
        """Draw nothing."""

    @property
    def json(self) -> bool:
        """Print JSON."""


def task_named(name: str) -> Task:
    """The task of that name, or a usage error."""
    from hoirecon.evaluation.tasks import get_task

    try:
        return get_task(name)
    except InputError as err:
        raise UsageError(str(err)) from err


def noise_of(text: str, seed: int) -> Noise | None:
    """Noise as --noise says it, or a usage error."""
    from hoirecon.evaluation.tasks.noise import Noise

    try:
        return Noise.parse(text, seed) if text else None
    except InputError as err:
        raise UsageError(str(err)) from err


def check_protocol(task: Task, protocol: str | None) -> None:
    """A usage error if the task has no such protocol."""
    try:
        task.presets(protocol)
    except InputError as err:
        raise UsageError(str(err)) from err


def baseline_of(folder: Path | None) -> Run | None:
    """Read before the work, so that a wrong folder is told at once."""
    from hoirecon.evaluation.runs import load_run

    return None if folder is None else load_run(folder)


def finish(outcome: Outcome, asked: Finished, baseline: Run | None) -> int:
    """Save, draw, print, and the exit code."""
    from hoirecon.evaluation.runs.results import save_run, scores_dict

    run, out = outcome.run, asked.out
    if run is None:
        print(f"{outcome.done} of {outcome.targets} samples have an answer: run the other shards, then they are scored")
        return EXIT_OK
    if out is not None:
        save_run(run, out)
        if not asked.no_plots:
            draw(run, out, outcome.pairs, asked.body)
        _report(run, out)
    worse, hindrance = _worse(baseline, run)
    told = {**scores_dict(run), "coverage": run.about["coverage"], "worse_than_baseline": worse}
    print(json.dumps(told, indent=1, ensure_ascii=False) if asked.json else run.summary())
    for line in worse or []:
        print(f"worse than the baseline: {line}", file=sys.stderr)
    if hindrance:
        print(f"hoirecon: not compared with the baseline: {hindrance}", file=sys.stderr)
    if run.missing or len(run.failed) == len(run.rows):
        print(f"hoirecon: {len(run.failed)} of {len(run.rows)} samples have no usable answer", file=sys.stderr)
        return EXIT_INCOMPLETE
    return EXIT_INPUT if hindrance else EXIT_REGRESSION if worse else EXIT_OK


def _worse(baseline: Run | None, run: Run) -> tuple[list[str] | None, str]:
    """What is worse than in the baseline; None, and why, where the two do not compare: that takes no score away."""
    from hoirecon.evaluation.runs.compare import regressions

    try:
        found = [] if baseline is None else regressions(baseline, run)
    except InputError as err:
        return None, str(err)
    return [f"{c.metric} {c.a_value:.4f} -> {c.b_value:.4f} (p {c.p_holm:.4f})" for c in found], ""


def _report(run: Run, folder: Path) -> None:
    from hoirecon.evaluation.runs.report import write_report

    write_report(run, folder)


def draw(run: Run, folder: Path, pairs: dict[str, Any] | None = None, body: Path | None = None) -> None:
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
    """Progress of a run, and what failed, on stderr."""
    if said.failed:
        print(f"{done}/{of} {said.id}: failed, {said.failed}", file=sys.stderr, flush=True)
    elif done == of or done % max(of // 20, 1) == 0:
        print(f"{done}/{of} {said.id}", file=sys.stderr, flush=True)
