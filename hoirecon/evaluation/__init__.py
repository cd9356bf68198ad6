"""How good is it? Metrics by the field's own definitions, tasks, runs with intervals, and the closed-world benchmark.

Example::

    task = hoirecon.evaluation.get_task("damon/binary")
    res = task.evaluate(predictions, data="DAMON_DIR")
    print(res.summary())
    res.by("category"), res.per_sample
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.evaluation.closedworld.bench import METHODS as METHODS
    from hoirecon.evaluation.closedworld.bench import run_bench as run_bench
    from hoirecon.evaluation.closedworld.methods import Prediction as Prediction
    from hoirecon.evaluation.closedworld.methods import Problem as Problem
    from hoirecon.evaluation.closedworld.results_page import PageConfig as PageConfig
    from hoirecon.evaluation.closedworld.results_page import make_page as make_page
    from hoirecon.evaluation.published.entries import list_published as list_published
    from hoirecon.evaluation.published.leaderboard import leaderboards as leaderboards
    from hoirecon.evaluation.runs.compare import compare_runs as compare_runs
    from hoirecon.evaluation.runs.results import Run as Run
    from hoirecon.evaluation.runs.results import load_run as load_run
    from hoirecon.evaluation.runs.runner import RunConfig as RunConfig
    from hoirecon.evaluation.runs.runner import run_task as run_task
    from hoirecon.evaluation.tasks.predictor import Predictor as Predictor
    from hoirecon.evaluation.tasks.task import Task as Task
    from hoirecon.evaluation.tasks.task import get_task as get_task
    from hoirecon.evaluation.tasks.task import list_tasks as list_tasks

# Public name -> module that defines it. Loaded on first use: the closed world needs torch, a table of scores does not.
_PUBLIC = {
    "METHODS": "hoirecon.evaluation.closedworld.bench",
    "run_bench": "hoirecon.evaluation.closedworld.bench",
    "Prediction": "hoirecon.evaluation.closedworld.methods",
    "Problem": "hoirecon.evaluation.closedworld.methods",
    "PageConfig": "hoirecon.evaluation.closedworld.results_page",
    "make_page": "hoirecon.evaluation.closedworld.results_page",
    "get_task": "hoirecon.evaluation.tasks.task",
    "list_tasks": "hoirecon.evaluation.tasks.task",
    "Task": "hoirecon.evaluation.tasks.task",
    "Predictor": "hoirecon.evaluation.tasks.predictor",
    "run_task": "hoirecon.evaluation.runs.runner",
    "RunConfig": "hoirecon.evaluation.runs.runner",
    "Run": "hoirecon.evaluation.runs.results",
    "load_run": "hoirecon.evaluation.runs.results",
    "compare_runs": "hoirecon.evaluation.runs.compare",
    "list_published": "hoirecon.evaluation.published.entries",
    "leaderboards": "hoirecon.evaluation.published.leaderboard",
}

__all__ = sorted(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return list(__all__)
