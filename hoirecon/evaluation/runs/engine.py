"""Who answers: this process, or workers of a Ray cluster (Moritz et al., OSDI 2018; Apache-2.0, extra ``ray``).

A worker opens data and method once and answers samples by number. When one dies, its sample goes to a new worker; a
sample that takes three workers with it counts as failed. What was answered is never lost: the caller writes every
answer to disk as it comes.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Dataset, Sample
from hoirecon.errors import InputError, MissingExtraError, MissingModelError, require
from hoirecon.evaluation.runs.pairing import check_answer
from hoirecon.evaluation.tasks.methods import MethodSpec, build_method
from hoirecon.evaluation.tasks.predictor import Predictor, TruthAskedError, guarded
from hoirecon.evaluation.tasks.task import Task

if TYPE_CHECKING:
    from hoirecon.evaluation.runs.runner import Engine

DEATHS = 3
"""Workers that a sample may take with it before it counts as failed."""
STOPS = (TruthAskedError, MissingExtraError, MissingModelError)
"""Errors that no other sample would be spared: the run is stopped."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to begin."""

    task: Task
    data: Path
    method: MethodSpec | Predictor


def answers(
    job: Job,
    predictor: Predictor,
    dataset: Dataset,
    ids: Sequence[str],
    left: Sequence[int],
    engine: Engine,
    workers: int,
) -> Iterator[Prediction]:
    """Answers of the samples of these numbers, as they come.

    Raises:
        TruthAskedError: the predictor asked for truth.
        MissingExtraError: ``ray`` is not installed, or what the method needs.
    """
    if engine == "ray" and left:
        yield from _by_ray(job, ids, left, workers)
        return
    for index in left:
        yield answer(job.task, predictor, dataset[index])


def answer(task: Task, predictor: Predictor, sample: Sample) -> Prediction:
    """One answer, with its wall seconds; what went wrong is in ``failed``.

    The predictor sees the question alone. Its answer is then held against the truth's size, so that an answer that
    cannot be scored is a failure here and not a surprise at the end.
    """
    start = time.perf_counter()
    try:
        said = predictor.predict(guarded(sample.question))
        if not isinstance(said, Prediction):
            raise InputError(f"a predictor gives a Prediction, got {type(said).__name__}")
        seconds = time.perf_counter() - start
        if said.id != sample.id:  # a failure of another id too: it would be kept as that one's, and this one never
            raise InputError(f"the prediction is of '{said.id}'")
        if not said.failed:
            check_answer(task, sample, said, task.truth_of(sample))
        return replace(said, seconds=seconds)
    except STOPS:
        raise
    except Exception as err:
        reason = " ".join(f"{type(err).__name__}: {err}".split())[:300]
        return Prediction(sample.id, failed=reason, seconds=time.perf_counter() - start)


class Worker:
    """Opens data and method once, then answers by number."""

    def __init__(self, job: Job) -> None:
        self.task = job.task
        self.dataset = job.task.open(job.data)
        method = job.method
        self.predictor = (
            build_method(method, job.task, self.dataset, job.data) if isinstance(method, MethodSpec) else method
        )

    def answer(self, index: int) -> Prediction:
        """The answer to the sample of that number."""
        return answer(self.task, self.predictor, self.dataset[index])


def _by_ray(job: Job, ids: Sequence[str], left: Sequence[int], workers: int) -> Iterator[Prediction]:
    """Answers from actors, each asked for one sample at a time."""
    ray = require("ray", extra="ray")
    started = not ray.is_initialized()
    if started:
        _start(ray, workers)
    try:
        yield from _pool(ray, job, ids, left, min(workers, len(left)))
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any, workers: int) -> None:
    """Join the cluster that RAY_ADDRESS names, else start one on this machine."""
    import os

    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", log_to_driver=False)
        return
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)


def _pool(ray: Any, job: Job, ids: Sequence[str], left: Sequence[int], workers: int) -> Iterator[Prediction]:
    actor = ray.remote(num_cpus=1, max_restarts=0)(Worker)
    queue, deaths, running = deque(left), Counter[int](), dict[Any, tuple[Any, int]]()
    idle = [actor.remote(job) for _ in range(workers)]
    try:
        while queue or running:
            while queue and idle:
                worker, index = idle.pop(), queue.popleft()
                running[worker.answer.remote(index)] = (worker, index)
            ready, _ = ray.wait(list(running), num_returns=1)
            worker, index = running.pop(ready[0])
            try:
                said = ray.get(ready[0])
            except ray.exceptions.RayActorError as err:
                idle.append(actor.remote(job))
                deaths[index] += 1
                if deaths[index] < DEATHS:
                    queue.append(index)
                    continue
                why = " ".join(str(err).split())[:160]
                said = Prediction(ids[index], failed=f"it took {DEATHS} workers with it: {why}")
            except ray.exceptions.RayTaskError as err:
                raise (err.cause if isinstance(err.cause, STOPS) else err) from err
            else:
                idle.append(worker)
            yield said
    finally:  # a cluster of the user's goes on; its cores are given back at once
        for worker in [*idle, *(worker for worker, _ in running.values())]:
            ray.kill(worker)
