"""The timing of the object fit: what it compares, and how scenes are changed for its curves."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from hoirecon.errors import InputError

pytest.importorskip("open3d")
pytest.importorskip("warp")

from hoirecon.evaluation.closedworld import fit_speed
from hoirecon.evaluation.closedworld.fit_speed import (
    TARGETS,
    Trace,
    best_rate,
    near_truth,
    run_fit_speed,
    speed_scene,
    speed_text,
)
from hoirecon.evaluation.closedworld.speed_curves import SpeedScene, cpu_seconds, with_faces, with_objects, with_width
from hoirecon.fitting import FitConfig
from hoirecon.fitting.object_problem import prepare
from hoirecon.fitting.objective import linearise


@pytest.fixture(scope="module")
def scene() -> SpeedScene:
    return speed_scene(1, "L2")


def test_time_to_a_goal_counts_evaluations_until_it_is_reached() -> None:
    trace = Trace(torch.tensor([[9.0, 9.0], [5.0, 9.0], [2.0, 1.0]]), 0.5)
    assert trace.time_to(torch.tensor([5.0, 3.0])).tolist() == [1.0, 1.5]
    assert trace.time_to(torch.tensor([10.0, 10.0])).tolist() == [0.5, 0.5]


def test_adam_is_given_its_best_rate() -> None:
    tables = [{0.003: torch.tensor([9.0]), 0.01: torch.tensor([4.0]), 0.03: torch.tensor([5.0])}] * 3
    assert best_rate(tables) == 0.01


def test_both_optimisers_lower_the_same_cost_from_near_the_truth(
    scene: SpeedScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_speed, "ADAM_STEPS", 30)
    config = FitConfig()
    problem = prepare(scene.observation, 0, scene.body.mesh, scene.thing, scene.contact, (), config)
    start = near_truth(problem, scene, config, 4, seed=0)
    placed = problem.pose(start, 0).apply(scene.thing.mesh.verts)
    off = np.linalg.norm(placed - scene.truth.apply(scene.thing.mesh.verts), axis=1)
    assert 0.005 < off.mean() < 0.25
    evaluate = partial(linearise, problem.terms(config.final, config))
    ours, adam = fit_speed.lm_trace(start, evaluate), fit_speed.adam_trace(start, evaluate, 0.01, 30)
    assert torch.equal(ours.costs[0], adam.costs[0])
    for trace in (ours, adam):
        assert (trace.costs[-1] < 0.8 * trace.costs[0]).all()
        assert trace.seconds > 0


def test_scenes_change_as_the_curves_say(scene: SpeedScene) -> None:
    for faces in (500, 6000):
        changed = with_faces(scene, faces)
        assert 0.7 * faces <= len(changed.thing.mesh.faces) <= faces
        assert changed.contact is not None
        changed.contact[1].check_on(changed.thing.mesh.topology, len(changed.thing.mesh.verts), "object")
        np.testing.assert_allclose(changed.thing.mesh.extents, scene.thing.mesh.extents, rtol=0.1)
    wide = with_width(scene, 1280).observation
    assert wide.size == (960, 1280)
    share = wide.object_masks[0].mean() / scene.observation.object_masks[0].mean()
    assert share == pytest.approx(1.0, rel=0.02)
    assert len(with_objects(scene, 3).observation.object_masks) == 3


def test_preparing_a_run_is_not_counted() -> None:
    said: list[str] = []
    seconds = cpu_seconds(lambda: said.append("work"), 2, lambda: said.append(str(sum(range(300000)))))
    assert said[1::2] == ["work", "work"]
    assert seconds < 1e-3


@pytest.mark.parametrize(("seeds", "repeats"), [([], 3), ([0], 0)])
def test_nothing_to_time_is_an_error(seeds: list[int], repeats: int) -> None:
    with pytest.raises(InputError, match="scenes and repeats"):
        run_fit_speed(seeds, repeats=repeats)


def test_the_table_names_every_figure_and_target() -> None:
    figure = {"median": 0.5, "q25": 0.4, "q75": 0.6, "values": [0.5]}
    told = {
        "seeds": [0], "level": "L2", "adam_rates": {"adam_over_lm": 0.01},
        "curves": {"faces": [{"x": 500, "cpu_s": 0.3}]},
        "figures": {n: figure | {"target": t, "at_least": m} for n, (t, m) in TARGETS.items()},
    }  # fmt: skip
    text = speed_text(told)
    assert all(name.replace("_", " ") in text for name in TARGETS)
    assert ">= 7" in text
    assert "500: 0.30 s" in text


@pytest.mark.slow
def test_one_scene_gives_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_speed, "RATES", (0.01,))
    monkeypatch.setattr(fit_speed, "ADAM_STEPS", 40)  # enough for a ratio; the figure that is reported takes 250
    found = run_fit_speed([1], curves=False, repeats=1)
    assert set(found["figures"]) == set(TARGETS)
    assert all(f["median"] > 0 for f in found["figures"].values())
