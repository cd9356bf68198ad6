"""Noise ladders: one method (or several) under rising noise of what it is handed; a table and a picture of the figures.

Each rung is a run of its own, in a folder of its own, so that rungs resume, shard and compare like any other run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hoirecon.data.datasets.closedworld import LEVEL
from hoirecon.errors import InputError
from hoirecon.evaluation.runs.report import Table, text_table
from hoirecon.evaluation.runs.results import Run, Score
from hoirecon.evaluation.runs.runner import RunConfig, Tell, run_task
from hoirecon.evaluation.tasks.methods import MethodSpec
from hoirecon.evaluation.tasks.noise import AXES, Noise
from hoirecon.evaluation.tasks.task import Task, get_task
from hoirecon.files import atomic_file, check_writable, write_json

SPOILT = "spoilt"
"""Folder of a run that holds pictures with noise."""
Ladder = dict[str, list[Run]]
"""Rung, by its label and in rising order -> a run of each method."""


def run_ladder(
    task: Task | str,
    data: str | Path,
    method: MethodSpec | str,
    out: str | Path,
    axis: str,
    amounts: Sequence[str] = (),
    config: RunConfig | None = None,
    tell: Tell | None = None,
) -> Ladder:
    """Run a method at each rung and score it.

    Args:
        task: or its name.
        data: folder of the user's copy.
        method: or its name.
        out: a folder per rung is made in it, ``<axis>-<amount>``.
        axis: of :data:`~hoirecon.evaluation.tasks.noise.AXES`.
        amounts: in rising order; none takes the axis's own.
        config: of every run; a shard is refused, as a ladder wants whole runs.
        tell: called after every answer.

    Raises:
        InputError: unknown axis or amount, fewer than two rungs, or what :func:`run_task` refuses.
    """
    config, task = config or RunConfig(), get_task(task) if isinstance(task, str) else task
    spec = MethodSpec(method) if isinstance(method, str) else method
    if axis not in AXES:
        raise InputError(f"noise is one of {', '.join(AXES)}, got '{axis}'")
    rungs = [Noise(axis, amount, config.seed) for amount in amounts or AXES[axis].amounts]
    if len({rung.amount for rung in rungs}) < 2 or config.shard.count > 1:
        raise InputError("a ladder has two rungs or more, and runs them whole: take --engine ray instead of shards")
    ladder: Ladder = {}
    for rung in rungs:
        folder = Path(out) / f"{axis}-{rung.amount}"
        spoilt = replace(spec, noise=rung, scratch=folder / SPOILT)
        outcome = run_task(at_level(task, rung), data, spoilt, folder, config, tell)
        assert outcome.run is not None
        outcome.run.save(folder)
        ladder[rung.label] = [outcome.run]
    return ladder


def at_level(task: Task, noise: Noise | None) -> Task:
    """The task at a level of the closed world.

    Raises:
        InputError: a level for other data.
    """
    if noise is None or noise.axis != "level":
        return task
    if task.dataset != "closedworld":
        raise InputError(f"levels are the closed world's; for {task.name} take one of {', '.join(AXES)} but level")
    return replace(task, options={**task.options, "level": noise.amount})


def read_ladder(runs: Sequence[Run]) -> Ladder:
    """Runs that were made under noise, by rung; a run without any is the rung 0, and of levels the usual one.

    Raises:
        InputError: several tasks or several kinds of noise, or fewer than two rungs.
    """
    tasks = {run.about["task"] for run in runs}
    noises = [_noise_of(run) for run in runs]
    axes = {noise.axis for noise in noises if noise is not None}
    if len(tasks) != 1 or len(axes) != 1:
        raise InputError(f"a ladder is of one task and one kind of noise, got {sorted(tasks)} and {sorted(axes)}")
    axis = axes.pop()
    bare = Noise(axis, LEVEL if axis == "level" else AXES[axis].amounts[0])
    known = [(noise or bare, run) for noise, run in zip(noises, runs, strict=True)]
    ladder: Ladder = {}
    for noise, run in sorted(known, key=lambda pair: (pair[0].size, pair[0].amount)):
        ladder.setdefault(noise.label, []).append(run)
    if len(ladder) < 2:
        raise InputError(f"a ladder has two rungs or more, got {', '.join(ladder)}")
    return ladder


def _noise_of(run: Run) -> Noise | None:
    told = run.about["params"].get("noise")
    return None if told is None else Noise(str(told["axis"]), str(told["amount"]), int(told["seed"]))


def ladder_table(ladder: Mapping[str, Sequence[Run]]) -> Table:
    """A line per rung and method: figures of the first protocol with their intervals, and how many failed."""
    first = next(iter(ladder.values()))[0]
    names = [s.metric for s in first.scores if s.protocol == first.about["protocol"]]
    rows = []
    for label, runs in ladder.items():
        for run in runs:
            found = {s.metric: s for s in run.scores if s.protocol == first.about["protocol"]}
            coverage = run.about["coverage"]
            failed = str(coverage["failed"] + coverage["missing"])
            values = [_shown(found.get(name)) for name in names]
            rows.append((label, run.method, str(coverage["targets"]), failed, *values))
    return Table(
        f"{first.about['task']}, {first.about['protocol']}", ("noise", "method", "n", "failed", *names), tuple(rows)
    )


def _shown(score: Score | None) -> str:
    if score is None or score.value is None:
        return "-"
    interval = "" if score.ci95 is None else f" [{score.ci95[0]:.4g}, {score.ci95[1]:.4g}]"
    return f"{score.value:.4g}{interval}"


def write_ladder(ladder: Mapping[str, Sequence[Run]], folder: str | Path, metric: str | None = None) -> list[Path]:
    """Write ``ladder.md``, ``ladder.json`` and, with matplotlib, ``ladder.png``.

    Args:
        ladder: rungs in rising order.
        folder: made if missing.
        metric: of the picture; None takes the headline.

    Returns:
        What was written.

    Raises:
        InputError: a metric that the runs do not have.
    """
    from hoirecon.errors import MissingExtraError

    folder = Path(folder)
    check_writable(folder)
    first = next(iter(ladder.values()))[0]
    if metric is not None and metric not in {s.metric for s in first.scores}:
        raise InputError(f"the runs have no metric '{metric}'; they have {', '.join(s.metric for s in first.scores)}")
    table, paths = ladder_table(ladder), [folder / "ladder.md", folder / "ladder.json"]
    with atomic_file(paths[0]) as tmp:
        tmp.write_text(_markdown(table, ladder), encoding="utf-8")
    write_json(paths[1], ladder_dict(ladder))
    try:
        from hoirecon.evaluation.run_plots import noise_ladder

        paths.append(noise_ladder(ladder, folder / "ladder.png", metric, _across(ladder)))
    except MissingExtraError:
        pass  # the table says all of it
    return paths


def _across(ladder: Mapping[str, Sequence[Run]]) -> str:
    """What the rungs are amounts of, for the picture."""
    axes = {noise.axis for runs in ladder.values() for run in runs if (noise := _noise_of(run)) is not None}
    if len(axes) != 1:
        return "noise"
    axis = AXES[axes.pop()]
    return f"{axis.about} ({axis.unit})" if axis.unit else axis.about


def ladder_dict(ladder: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """The same as plain values."""
    from hoirecon.evaluation.runs.results import scores_dict

    rungs = [
        {"noise": label, "runs": [{"method": r.method, **scores_dict(r)} for r in runs]}
        for label, runs in ladder.items()
    ]
    first = next(iter(ladder.values()))[0]
    return {"schema": "hoirecon-noise-ladder", "version": 1, "task": first.about["task"], "rungs": rungs}


def _markdown(table: Table, ladder: Mapping[str, Sequence[Run]]) -> str:
    from hoirecon.evaluation.runs.report import cautions

    said = dict.fromkeys(text for runs in ladder.values() for run in runs for text in cautions(run))
    head = [f"# Noise ladder: {table.title}", "", *(f"- {text}" for text in said)]
    return "\n".join([*head, "", "```", text_table(table), "```", ""])
