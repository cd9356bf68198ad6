"""``hoirecon bench ladder``: a method under rising noise of what it is handed, as a table and a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from hoirecon.cli_bench_shared import (
    EXIT_INCOMPLETE,
    EXIT_OK,
    BenchCommand,
    UsageError,
    check_protocol,
    task_named,
    tell_answer,
)
from hoirecon.cli_values import body_of_environment
from hoirecon.errors import InputError

Axes = Literal["image", "mask", "landmarks", "camera", "body", "contact", "answer", "level"]


@dataclass(frozen=True)
class BenchLadder(BenchCommand):
    """Run a method under rising noise (--task, --method, --data, --axis), or lay runs side by side (folders)."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of runs made with `bench run --noise`, of one or several methods; then nothing is run."""
    out: Path = Path("runs/ladder")
    """Folder of the table, the picture and a run per rung."""
    task: str = ""
    """E.g. closedworld/human."""
    method: str = ""
    """E.g. tiny; `bench list methods` has all."""
    data: Path | None = None
    """Folder of your copy of the data."""
    axis: Axes = "mask"
    """What is made worse: `bench list noise` says how."""
    amounts: str = ""
    """Rungs in rising order with commas between them, e.g. 0,2,5; by default the axis's own."""
    weights: Path | None = None
    """Folder of a learned method's weights."""
    body: Path | None = field(default_factory=body_of_environment)
    """Your body file, or a folder of one per gender; by default HOIRECON_BODY's."""
    protocol: str | None = None
    """Preset that comes first; by default the task's."""
    metric: str | None = None
    """Of the picture; by default the headline."""
    device: str = "cpu"
    """Where torch runs."""
    limit: int | None = None
    """Only the first samples, for testing."""
    resume: bool = False
    """Go on in rungs that hold answers already."""
    engine: Literal["local", "ray"] = "local"
    """Ray spreads the samples over workers."""
    workers: int = 1
    """Workers of Ray."""
    seed: int = 0
    """Of the noise."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.runs import load_run
        from hoirecon.evaluation.runs.ladder import ladder_dict, ladder_table, read_ladder, run_ladder, write_ladder
        from hoirecon.evaluation.runs.report import text_table
        from hoirecon.evaluation.runs.runner import RunConfig
        from hoirecon.evaluation.tasks.methods import METHODS, MethodSpec

        if self.runs:
            ladder = read_ladder([load_run(folder) for folder in self.runs])
        else:
            if not (self.task and self.method and self.data):
                raise UsageError("a ladder wants --task, --method and --data, or the folders of runs")
            if self.method not in METHODS:
                raise UsageError(f"no method is called '{self.method}'; there are {', '.join(METHODS)}")
            task = task_named(self.task)
            check_protocol(task, self.protocol)
            spec = MethodSpec(self.method, self.weights, self.body, self.device)
            config = RunConfig(
                self.protocol, self.limit, resume=self.resume, engine=self.engine, workers=self.workers,
                seed=self.seed, body=self.body,
            )  # fmt: skip
            ladder = run_ladder(task, self.data, spec, self.out, self.axis, self._rungs(), config, tell_answer)
        paths = write_ladder(ladder, self.out, self.metric)
        print(json.dumps(ladder_dict(ladder), indent=1) if self.json else text_table(ladder_table(ladder)))
        if not self.json:
            print("\n".join(map(str, paths)))
        every = [run for runs in ladder.values() for run in runs]
        return EXIT_INCOMPLETE if any(len(run.failed) == len(run.rows) for run in every) else EXIT_OK

    def _rungs(self) -> tuple[str, ...]:
        from hoirecon.evaluation.tasks.noise import Noise

        rungs = tuple(text.strip() for text in self.amounts.split(",") if text.strip())
        try:
            for text in rungs:
                Noise(self.axis, text)
        except InputError as err:
            raise UsageError(str(err)) from err
        return rungs
