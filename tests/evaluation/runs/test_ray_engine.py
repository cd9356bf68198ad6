"""Workers of a local Ray cluster: the same bytes as one process; a worker that dies loses nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.predictions import Prediction
from hoirecon.evaluation.runs.engine import DEATHS
from hoirecon.evaluation.runs.runner import RunConfig, run_task
from hoirecon.evaluation.tasks import TruthAskedError
from hoirecon.evaluation.tasks.methods import MethodSpec

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")
TASK = "damon/binary"


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two workers on this machine; classes of this file travel by value, as workers cannot import it."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


class Deadly:
    """Ends its process on a sample: as often as ``times`` says, counted by files."""

    name = "deadly"

    def __init__(self, folder: Path, times: int, ending: str = "0003") -> None:
        self.folder, self.times, self.ending = folder, times, ending
        self.params: dict[str, Any] = {"share": 0.05}

    def predict(self, question: Any) -> Prediction:
        deaths = len(list(self.folder.glob("death*")))
        if question.id.endswith(self.ending) and deaths < self.times:
            (self.folder / f"death{deaths}").touch()
            os._exit(1)
        rng = np.random.default_rng(sum(question.id.encode()))
        return Prediction(question.id, (rng.random(6890) < 0.05).astype(float), "standin-6890")


class Peeker:
    name = "peeker"
    params: dict[str, Any] = {}  # noqa: RUF012

    def predict(self, question: Any) -> Prediction:
        return Prediction(question.id, question.contact)


def _by_ray(damon: Path, method: Any, out: Path) -> Any:
    run = run_task(TASK, damon, method, out, RunConfig(engine="ray", workers=2)).run
    assert run is not None
    run.save(out)
    return run


def test_ray_equals_one_process(damon: Path, tmp_path: Path) -> None:
    _by_ray(damon, MethodSpec("category-mean"), tmp_path / "ray")
    local = run_task(TASK, damon, MethodSpec("category-mean"), tmp_path / "local").run
    assert local is not None
    local.save(tmp_path / "local")
    assert (tmp_path / "ray/scores.json").read_bytes() == (tmp_path / "local/scores.json").read_bytes()


def test_a_worker_that_dies_loses_nothing(damon: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    run = _by_ray(damon, Deadly(marks, times=1), tmp_path / "ray")
    assert len(list(marks.glob("death*"))) == 1
    assert not run.failed
    whole = run_task(TASK, damon, Deadly(marks, times=0), tmp_path / "local").run
    assert whole is not None
    whole.save(tmp_path / "local")
    assert (tmp_path / "ray/scores.json").read_bytes() == (tmp_path / "local/scores.json").read_bytes()


def test_a_sample_that_kills_every_worker_fails_alone(damon: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    run = _by_ray(damon, Deadly(marks, times=99), tmp_path / "ray")
    assert len(list(marks.glob("death*"))) == DEATHS
    (failed,) = run.failed
    assert failed.id.endswith("0003")
    assert f"it took {DEATHS} workers with it" in failed.reason


def test_asking_for_truth_stops_workers_too(damon: Path, tmp_path: Path) -> None:
    with pytest.raises(TruthAskedError, match="ground truth"):
        _by_ray(damon, Peeker(), tmp_path / "ray")


def test_ray_goes_on_with_what_is_missing(damon: Path, tmp_path: Path) -> None:
    """By the command line: answers that are there stay as they are, the others are asked, the figures are the same."""
    from hoirecon.cli import run as hoirecon

    base = ["bench", "run", "--task", TASK, "--method", "category-mean", "--data", str(damon), "--no-plots", "--out"]
    assert hoirecon([*base, str(tmp_path / "local")]) == 0
    assert hoirecon([*base, str(tmp_path / "ray"), "--engine", "ray", "--workers", "2"]) == 0
    answers = sorted((tmp_path / "ray/predictions").glob("*.npz"))
    kept = {path: path.stat().st_mtime_ns for path in answers[3:]}
    for path in answers[:3]:
        path.unlink()
    assert hoirecon([*base, str(tmp_path / "ray"), "--engine", "ray", "--workers", "2"]) == 2  # only with --resume
    assert hoirecon([*base, str(tmp_path / "ray"), "--engine", "ray", "--workers", "2", "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(sorted((tmp_path / "ray/predictions").glob("*.npz"))) == len(answers)
    assert (tmp_path / "ray/scores.json").read_bytes() == (tmp_path / "local/scores.json").read_bytes()
