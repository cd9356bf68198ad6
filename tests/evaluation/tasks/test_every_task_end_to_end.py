"""Truth as prediction through reader, pairing and protocols of every kind of task: each error at its floor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hoirecon.data.datasets.fixtures.affordance import write_lemon, write_piad
from hoirecon.data.datasets.fixtures.open3dhoi import write_open3dhoi
from hoirecon.data.datasets.fixtures.scenes_and_hands import write_mow, write_rich
from hoirecon.evaluation.runs.results import Run
from hoirecon.evaluation.tasks import get_task
from hoirecon.evaluation.tasks.predictor import prediction_of_truth

WRITERS: dict[str, Callable[..., Any]] = {
    "rich/binary": write_rich,
    "lemon/human": write_lemon,
    "lemon/affordance": write_lemon,
    "piad/seen": write_piad,
    "mow/hand": write_mow,
}


def _perfect(task: str, folder: Path) -> Run:
    asked = get_task(task)
    return asked.evaluate([prediction_of_truth(sample) for sample in asked.open(folder)], folder)


@pytest.mark.parametrize("task", WRITERS)
def test_truth_scores_each_metric_at_its_floor(task: str, tmp_path: Path) -> None:
    from hoirecon.evaluation.metrics import get_metric

    WRITERS[task](tmp_path)
    run = _perfect(task, tmp_path)
    assert not run.failed
    for score in run.scores:
        # SIM of a truth that is zero everywhere is 0 whatever is said; InteractVLM leaves such samples out.
        floor = get_metric(score.metric.removesuffix(".macro")).floor
        if (
            score.n
            and floor is not None
            and not (score.metric.startswith("sim") and score.protocol != "interactvlm-affordance")
        ):
            assert score.value == pytest.approx(floor, abs=1e-6), (
                score
            )  # sim of an all-zero truth is 0, whoever says it


def test_a_reconstruction_keeps_the_floor_of_its_sampling(tmp_path: Path) -> None:
    """10,000 points on a person of about 1.9 square metres leave 1.4 cm (both directions added) to a perfect answer."""
    write_open3dhoi(tmp_path)
    run = _perfect("open3dhoi/tehor", tmp_path)
    assert run.about["stand_in"]
    assert run.score("cd_human_cm").value == pytest.approx(1.38, abs=0.25)
