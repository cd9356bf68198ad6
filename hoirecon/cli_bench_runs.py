"""``hoirecon bench run`` and ``merge``: a method over a task's data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from hoirecon.cli_bench_shared import (
    EXIT_INCOMPLETE,
    BenchCommand,
    UsageError,
    baseline_of,
    check_protocol,
    finish,
    noise_of,
    task_named,
    tell_answer,
)
from hoirecon.cli_values import body_of_environment
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.evaluation.runs.runner import RunConfig


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
    """Folder of a learned method's weights; of `hoirecon`, where contact is to come from (`tiny`: the small model)."""
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
        noise = noise_of(self.noise, self.seed)
        spec = MethodSpec(self.method, self.weights, self.body, self.device, noise, self.out / SPOILT)
        baseline, task = baseline_of(self.baseline), at_level(task, noise)
        outcome = run_task(task, self.data, spec, self.out, self._config(), tell_answer)
        return finish(outcome, self, baseline)

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
        code = finish(outcome, self, None)
        return code if outcome.run is not None else EXIT_INCOMPLETE
