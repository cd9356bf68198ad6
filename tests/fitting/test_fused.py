"""Compiled loops against the torch functions that they restate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from hoirecon.errors import InputError
from hoirecon.fitting import fused
from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import linearise, linearise_residuals
from hoirecon.fitting.raster import zbuffer, zbuffer_torch
from hoirecon.fitting.silhouette import edge_topology
from hoirecon.fitting.so3 import super_fibonacci

pytest.importorskip("open3d")
pytest.importorskip("warp")

CONFIG = FitConfig()
STAGES = {"coarse": CONFIG.coarse, "final": CONFIG.final}


@pytest.fixture(scope="module")
def problem(small_scene: Callable[..., Any]) -> ObjectProblem:
    scene = small_scene(kind="steps")
    return prepare(scene.observation, 0, scene.body, ObjectToFit(scene.mesh, "steps"), scene.contact, (), CONFIG)


@pytest.fixture(scope="module")
def poses(problem: ObjectProblem) -> ObjectState:
    """More poses than share one scratch space: before the body, in it, half out of the picture."""
    generator = torch.Generator().manual_seed(0)
    R = super_fibonacci(27).float()
    t = torch.tensor([0.0, 0.0, 2.2]) + torch.randn(len(R), 3, generator=generator) * torch.tensor([0.15, 0.15, 0.2])
    log_s = 0.2 * torch.randn(len(R), generator=generator)
    return ObjectState(R, t, log_s, problem.view(CONFIG.final))


def slowly(state: ObjectState) -> ObjectState:
    """The same poses, for torch."""
    return ObjectState(state.R, state.t, state.log_s, dataclasses.replace(state.view, compiled=False))


@pytest.mark.parametrize("stage", STAGES)
def test_normal_equations_of_every_term_are_those_of_its_residuals(
    stage: str, problem: ObjectProblem, poses: ObjectState
) -> None:
    state = poses.seen_by(problem.view(STAGES[stage]))
    assert state.compiled
    for term in problem.terms(STAGES[stage], CONFIG):
        fast = linearise([term], state)
        slow = linearise_residuals(term, slowly(state))
        for name in ("cost", "gradient", "hessian"):
            one, other = getattr(fast, name).flatten(1) if name != "cost" else fast.cost[:, None], getattr(slow, name)
            other = other.reshape(one.shape)
            error = (one - other).norm(dim=1) / other.norm(dim=1).clamp_min(1e-3)
            # Rounding may swap two samples that are equally near, in one pose or another.
            assert error.quantile(0.8) < 2e-5, (term.name, name)
            assert error.max() < 2e-2, (term.name, name)


def test_terms_are_not_all_zero(problem: ObjectProblem, poses: ObjectState) -> None:
    """So that the comparison above compares something."""
    for term in problem.terms(CONFIG.final, CONFIG):
        assert (linearise([term], poses).cost > 0).sum() >= 5, term.name


def test_a_term_without_robust_scale_is_plain_least_squares(problem: ObjectProblem, poses: ObjectState) -> None:
    for term in problem.contour_terms(CONFIG.final, CONFIG):
        plain = dataclasses.replace(term, robust=None)  # type: ignore[type-var]
        slow = linearise_residuals(plain, slowly(poses)).cost
        torch.testing.assert_close(linearise([plain], poses).cost, slow, rtol=1e-3, atol=1e-4)


def same_outline(state: ObjectState) -> None:
    fast, slow = state.outline, slowly(state).outline
    apart = (fast.points - slow.points).norm(dim=-1)
    assert fast.outer.dtype == torch.bool
    assert (apart > 1e-4).float().mean() < 2e-3
    assert (fast.outer != slow.outer).float().mean() < 2e-3
    assert ((fast.along - slow.along).norm(dim=-1) > 1e-2).float().mean() < 2e-3
    torch.testing.assert_close(fast.cells, state.view.region.project(fast.points), rtol=1e-4, atol=1e-3)


def test_outline_is_the_twin_s(poses: ObjectState) -> None:
    same_outline(poses)
    assert 0.2 < poses.outline.outer.float().mean() < 1.0


def test_outline_of_an_open_soup_with_three_faces_at_an_edge(poses: ObjectState) -> None:
    rng = np.random.default_rng(3)
    verts = torch.tensor(rng.uniform(-0.4, 0.4, (12, 3)), dtype=torch.float32)
    faces = np.array([[0, 1, 2], [0, 1, 3], [1, 0, 4], [5, 6, 7], [8, 9, 10], [10, 11, 0]])
    view = dataclasses.replace(poses.view, verts=verts, topology=edge_topology(faces))
    assert view.topology.edge_faces.shape[0] == 3
    same_outline(poses.seen_by(view))


def test_a_pose_behind_the_camera_or_seen_as_a_point_has_no_outline(poses: ObjectState) -> None:
    R, log_s = torch.eye(3).expand(2, 3, 3).clone(), torch.zeros(2)
    t = torch.tensor([[0.0, 0.0, -3.0], [0.0, 0.0, 2.0]])
    flat = dataclasses.replace(poses.view, verts=torch.zeros_like(poses.view.verts))
    found = ObjectState(R, t, log_s, flat).outline
    assert not found.outer.any()
    assert torch.isfinite(found.points).all()
    same_outline(ObjectState(R, t, log_s, poses.view))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30, -1e30])
@pytest.mark.parametrize("where", ["t", "R", "log_s"])
def test_a_lost_pose_is_dear_and_harms_nobody(
    bad: float, where: str, problem: ObjectProblem, poses: ObjectState
) -> None:
    terms = problem.terms(CONFIG.final, CONFIG)
    R, t, log_s = poses.R.clone(), poses.t.clone(), poses.log_s.clone()
    {"R": R, "t": t, "log_s": log_s}[where][4] = bad
    lost = linearise(terms, ObjectState(R, t, log_s, poses.view)).cost
    good = linearise(terms, poses).cost
    others = torch.arange(len(good)) != 4
    assert torch.equal(lost[others], good[others])
    assert not torch.isfinite(lost[4]) or lost[4] > good[4]


def test_one_pose_alone_is_the_same_as_in_a_batch(problem: ObjectProblem, poses: ObjectState) -> None:
    terms = problem.terms(CONFIG.final, CONFIG)
    batch, alone = linearise(terms, poses), linearise(terms, poses.select(torch.tensor([9])))
    # torch's exponential of one number differs from that of many in the last digit.
    torch.testing.assert_close(batch.hessian[9], alone.hessian[0], rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(batch.cost[9], alone.cost[0], rtol=1e-5, atol=1e-5)


def test_gradients_double_precision_and_a_refusal_take_torch(poses: ObjectState, monkeypatch: Any) -> None:
    asked = poses.t.clone().requires_grad_()
    assert not ObjectState(poses.R, asked, poses.log_s, poses.view).compiled
    with torch.no_grad():
        assert ObjectState(poses.R, asked, poses.log_s, poses.view).compiled
    assert not ObjectState(poses.R.double(), poses.t.double(), poses.log_s.double(), poses.view).compiled
    assert not slowly(poses).compiled
    monkeypatch.setattr(fused, "warp", lambda: None)
    assert not fused.usable(poses.t)


# ----------------------------------------------------------------------------------------------------------- z-buffer
@pytest.mark.parametrize("seed", range(4))
def test_zbuffer_is_the_twin_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = torch.tensor(rng.uniform([-8, -8, 0.01], [36, 30, 3.0], (3, 24, 3)), dtype=torch.float32)
    faces = torch.tensor(rng.integers(0, 24, (30, 3)))
    fast, slow = zbuffer(points, faces, 19, 26), zbuffer_torch(points, faces, 19, 26)
    assert torch.equal(torch.isfinite(fast), torch.isfinite(slow))
    torch.testing.assert_close(fast, slow, rtol=2e-5, atol=1e-6)
    assert torch.isfinite(fast).any()


def test_zbuffer_of_what_is_not_a_number_is_empty() -> None:
    points = torch.tensor([[[0.0, 0, 1], [9, 0, torch.nan], [0, 9, 1]], [[0, 0, 1], [torch.inf, 0, 1], [0, 9, 1]]])
    assert torch.isinf(zbuffer(points, torch.tensor([[0, 1, 2]]), 8, 8)).all()


def test_zbuffer_refuses_faces_of_missing_vertices() -> None:
    with pytest.raises(InputError, match="there are only 3"):
        zbuffer(torch.rand(1, 3, 3), torch.tensor([[0, 1, 3]]), 8, 8)


def test_zbuffer_of_a_dense_ball_is_its_depth() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=8.0)
    points = torch.tensor(ball.vertices + np.array([16, 16, 100]), dtype=torch.float32)[None]
    depth = zbuffer(points, torch.tensor(np.asarray(ball.faces)), 32, 32)[0]
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    inner = (x - 16) ** 2 + (y - 16) ** 2 < 49
    exact = 100 - (64 - (x - 16) ** 2 - (y - 16) ** 2).clamp_min(0).sqrt()
    assert (depth - exact)[inner].abs().max() < 0.12  # facets lie a little inside the ball
