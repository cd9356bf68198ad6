"""Hands and feet stay about where the given body has them, as far as it is said that they are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.errors import InputError
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import bodies_first, energy
from hoirecon.fitting.joint_places import ENDS
from hoirecon.fitting.joint_terms import OnBody
from hoirecon.fitting.objective import linearise
from tests.fitting.joint_scenes import JointScene, make_joint_scene


@pytest.fixture(scope="module")
def scene() -> JointScene:
    scene = make_joint_scene()
    people = tuple(replace(p, ends_sigma_m=(0.01, 0.02, 0.03)) for p in scene.people)
    return replace(scene, people=people)


def test_the_derivative_is_autograd_s(scene: JointScene) -> None:
    problem = scene.problem()
    state = problem.start([list(scene.poses)]).freed(problem.moving(chain=False))
    places = problem.people[0].places
    assert places is not None
    term = OnBody(places, 0)
    assert float(linearise([term], problem.view(state)).cost) == pytest.approx(0.0, abs=1e-20)
    state = state.retract(0.1 * torch.randn(1, state.layout.size, dtype=torch.float64))
    step = torch.zeros(1, state.layout.size, dtype=torch.float64, requires_grad=True)
    energy(problem, [term], state, step).sum().backward()  # type: ignore[no-untyped-call]
    assert step.grad is not None
    assert torch.allclose(step.grad, 2 * linearise([term], problem.view(state)).gradient, rtol=1e-9)


def test_a_shift_costs_what_its_axes_say(scene: JointScene) -> None:
    problem = scene.problem()
    state = problem.start([list(scene.poses)]).freed(problem.moving(chain=False))
    step = torch.zeros(1, state.layout.size, dtype=torch.float64)
    free, columns = state.layout.free[0], state.layout.of_body(0)
    step[0, columns.start + free.transl_columns.start + 2] = 0.03
    term = OnBody(problem.people[0].places, 0)
    assert float(linearise([term], problem.view(state.retract(step))).cost) == pytest.approx(len(ENDS), rel=1e-9)


def test_wrong_landmarks_move_held_hands_less(scene: JointScene) -> None:
    marks = scene.people[0].keypoints
    assert marks is not None
    off = replace(marks, xy=marks.xy + np.where(np.arange(33)[:, None] > 12, 12.0, 0.0))

    def moved(ends: tuple[float, float, float] | None) -> float:
        people = (replace(scene.people[0], keypoints=off, ends_sigma_m=ends),)
        person = bodies_first(replace(scene, people=people).problem(config=JointConfig(body_first=False))).people[0]
        before, after = (
            b.forward(person.figure.model).joints[0, list(ENDS[:2])] for b in (person.anchor, person.start)
        )
        return float((after - before).norm(dim=1).mean())

    assert moved((0.005, 0.005, 0.005)) < 0.5 * moved(None)


@pytest.mark.parametrize(
    ("noise", "told"),
    [
        ({"joints_sigma_deg": 0.0}, "joints_sigma_deg of person must be above 0, got 0.0"),
        ({"joints_sigma_deg": -3.0}, "above 0"),
        ({"ends_sigma_m": (0.01, 0.0, 0.01)}, "ends_sigma_m of person must be above 0"),
        ({"ends_sigma_m": 0.01}, r"expected \(3\)"),
        ({"silhouette_sigma_px": np.nan}, "silhouette_sigma_px of person holds 1 values that are NaN"),
    ],
)
def test_noise_that_is_none_is_refused(scene: JointScene, noise: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(scene.people[0], **noise)


@pytest.mark.parametrize("seen", [0, 3])
def test_few_landmarks_are_welcome_to_a_body_that_has_a_pose(scene: JointScene, seen: int) -> None:
    marks = scene.people[0].keypoints
    assert marks is not None
    few = replace(marks, confidence=np.where(np.arange(33) < seen, 1.0, 0.0))
    people = (replace(scene.people[0], keypoints=few),)
    problem = bodies_first(replace(scene, people=people).problem())
    person = problem.people[0]
    assert np.isfinite(person.landmark_error_px(person.start)) == (seen > 0)
    assert np.abs(person.mesh.verts - scene.people[0].body.verts).max() < 0.05
