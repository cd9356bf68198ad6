"""Hands and feet stay about where the given body has them, as far as it is said that they are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.data.body import load_body
from hoirecon.data.body.jacobian import points_at, points_of_joints
from hoirecon.data.body.state import FreeParams, retract
from hoirecon.errors import InputError
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import bodies_first, energy
from hoirecon.fitting.joint_person import PersonToFit
from hoirecon.fitting.joint_places import ENDS, null_space
from hoirecon.fitting.joint_terms import OnBody, PoseAnchor, anchor_sigmas
from hoirecon.fitting.objective import linearise
from tests.fitting.joint_scenes import JointScene, bent, keypoints_of, make_joint_scene


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


def test_the_anchor_on_joints_does_not_speak_of_what_moves_hands_and_feet(scene: JointScene) -> None:
    person = scene.problem().people[0]
    model, body, sigmas = person.figure.model, person.anchor, anchor_sigmas(tuple(range(22)))
    kept = null_space(model, body, sigmas)
    assert torch.allclose(kept @ kept, kept, atol=1e-9)
    assert torch.allclose(kept, kept.mT)
    assert float(torch.trace(kept)) == pytest.approx(3 * 22 - 3 * len(ENDS), abs=1e-6)
    # Turns of the null space leave hands and feet in place to first order, and cost what they cost without it.
    free, places = FreeParams(tuple(range(22)), 0, False), points_of_joints(model, ENDS)
    step = 1e-4 * (kept @ torch.randn(66, dtype=torch.float64)) * sigmas.repeat_interleave(3)
    moved = (points_at(places, retract(body, step[None], free)) - points_at(places, body)).abs().max()
    anyhow = (points_at(places, retract(body, step.flip(0)[None], free)) - points_at(places, body)).abs().max()
    assert float(moved) < 1e-3 * float(anyhow)


@pytest.mark.parametrize("chain", [True, False])
@pytest.mark.parametrize("fingers", [True, False])
def test_the_anchor_in_the_null_space_is_its_residuals_projected(scene: JointScene, chain: bool, fingers: bool) -> None:
    problem = scene.problem(config=JointConfig(body_first=False, fingers=fingers))
    person = problem.people[0]
    assert person.null_space is not None
    state = problem.start([list(scene.poses)]).freed(problem.moving(chain=chain))
    state = state.retract(0.1 * torch.randn(1, state.layout.size, dtype=torch.float64))
    plain = PoseAnchor(0, person.anchor)
    term = replace(plain, null_space=person.null_space)
    joints = [j for j in state.layout.free[0].joints if j < 22]
    whole = torch.zeros(22, 3, dtype=torch.float64)
    r = plain.residuals(problem.view(state)).r[0]
    whole[joints] = r[: len(joints)]
    costs = (person.null_space @ whole.flatten()).square().sum() + r[len(joints) :].square().sum()
    assert float(linearise([term], problem.view(state)).cost) == pytest.approx(float(costs), rel=1e-9)
    step = torch.zeros(1, state.layout.size, dtype=torch.float64, requires_grad=True)
    energy(problem, [term], state, step).sum().backward()  # type: ignore[no-untyped-call]
    assert step.grad is not None
    assert torch.allclose(step.grad, 2 * linearise([term], problem.view(state)).gradient, rtol=1e-9)


def test_only_bodies_whose_hands_are_known_have_their_joints_held_in_the_null_space(scene: JointScene) -> None:
    for ends, held in (((0.01, 0.01, 0.02), True), (None, False)):
        people = (replace(scene.people[0], ends_sigma_m=ends),)
        person = replace(scene, people=people).problem().people[0]
        anchor = next(t for t in person.terms(0, "", JointConfig()) if isinstance(t, PoseAnchor))
        assert (anchor.null_space is not None) == held


def test_a_wrist_that_came_in_beyond_its_range_is_not_pulled_back(scene: JointScene) -> None:
    """Bodies from elsewhere turn the forearm at the wrist alone; landmarks hardly tell it."""
    model = load_body()
    turned = bent(PersonToFit(scene.people[0].body), model, {21: (1.2, 0.0, 0.0)})
    person = replace(turned, keypoints=keypoints_of(model, turned.body))
    fitted = bodies_first(replace(scene, people=(person,)).problem()).people[0]
    back = fitted.anchor.rotations[0, 21].mT @ fitted.start.rotations[0, 21]
    assert float(torch.arccos(((back.trace() - 1) / 2).clamp(-1, 1)).rad2deg()) < 1.0


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
