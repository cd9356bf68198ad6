"""Every term: its Jacobian against finite differences in float64, and what it costs at the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor

from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_state import DOF, ObjectState, Outline, limit_step
from hoirecon.fitting.object_terms import (
    BodyInObject,
    DepthOrder,
    DepthPrior,
    MaskOnOutline,
    ObjectInBody,
    nearest_outline,
    shrink,
    slide_free,
)
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Term
from hoirecon.fitting.so3 import exp_so3

CONFIG = FitConfig()


class FixedOutline(ObjectState):
    """A state whose outline samples are fixed points of the object, as the Jacobians assume."""

    points_obj: Tensor
    outer: Tensor
    along: Tensor

    @cached_property
    def outline(self) -> Outline:
        points = torch.einsum("bij,bnj->bni", self.scaled_rotation, self.points_obj) + self.t[:, None]
        return Outline(points, self.view.region.project(points), self.outer, self.along)


def freeze(state: ObjectState, like: FixedOutline | None = None) -> FixedOutline:
    """The state with its own outline samples fixed, or with those of another."""
    frozen = FixedOutline(state.R, state.t, state.log_s, state.view)
    if like is not None:
        frozen.__dict__.update(points_obj=like.points_obj, outer=like.outer, along=like.along)
        return frozen
    arm = state.outline.points - state.t[:, None]
    local = torch.einsum("bji,bnj->bni", state.R, arm) / state.log_s.exp()[:, None, None]
    frozen.__dict__.update(points_obj=local, outer=state.outline.outer, along=state.outline.along)
    return frozen


@pytest.fixture(scope="module")
def problem(small_scene: Callable[..., Any]) -> ObjectProblem:
    scene = small_scene(kind="steps")
    obj = ObjectToFit(scene.mesh, "steps")
    return prepare(scene.observation, 0, scene.body, obj, scene.contact, (), CONFIG, dtype=torch.float64)


@pytest.fixture(scope="module")
def truth(problem: ObjectProblem, small_scene: Callable[..., Any]) -> ObjectState:
    pose = small_scene(kind="steps").pose
    R = torch.tensor(pose.R)[None]
    t = torch.tensor(pose.t)[None] + R[0] @ torch.tensor(problem.centre)
    return ObjectState(R, t, torch.zeros(1, dtype=torch.float64), problem.view(CONFIG.final))


@pytest.fixture(scope="module")
def scattered(truth: ObjectState) -> ObjectState:
    """Five poses round the truth, some of them deep in the body."""
    generator = torch.Generator().manual_seed(0)
    step = torch.randn(5, DOF, generator=generator, dtype=torch.float64) * torch.tensor([0.2] * 3 + [0.05] * 3 + [0.1])
    step[3:, 5] += 0.3
    return truth.select(torch.zeros(5, dtype=torch.long)).retract(step)


def all_terms(problem: ObjectProblem) -> list[Term[ObjectState]]:
    assert problem.contact is not None
    return [*problem.terms(CONFIG.final, CONFIG), DepthPrior(2.0, 0.3)]


NAMES = ["outline on mask", "mask on outline", "depth order", "scale prior", "contact", "body in object",
         "object in body", "depth prior"]  # fmt: skip


def test_all_terms_are_checked(problem: ObjectProblem) -> None:
    assert sorted(t.name for t in all_terms(problem)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_jacobian_equals_finite_differences(name: str, problem: ObjectProblem, scattered: ObjectState) -> None:
    (term,) = (t for t in all_terms(problem) if t.name == name)
    base = freeze(scattered)
    res = term.residuals(base)
    assert res.J.abs().amax() > 0, "nothing is active: the check would be empty"
    eps = 1e-7
    for column in range(DOF):
        step = torch.zeros(5, DOF, dtype=torch.float64)
        step[:, column] = eps
        there, back = (term.residuals(freeze(base.retract(d), base)).r for d in (step, -step))
        assert there.shape == res.r.shape  # nothing entered or left the hinge
        numeric = (there - back) / (2 * eps)
        worst = (numeric - res.J[..., column]).abs()
        # Piecewise fields have kinks at cell borders: a sample within eps of one may differ, all others must not.
        assert worst.quantile(0.99) < 1e-4 * max(1.0, float(res.J.abs().amax()))


def test_every_degree_of_freedom_is_seen(problem: ObjectProblem, scattered: ObjectState) -> None:
    seen = sum(t.residuals(scattered).J.abs().amax((0, 1, 2)) for t in all_terms(problem))
    assert (torch.as_tensor(seen) > 0).all()


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        # cells: pixels are whole, the outline is sampled; a median of half a pixel is the floor
        ("outline on mask", 0.5),
        ("mask on outline", 0.7),
        ("depth order", 0.0),
        ("scale prior", 0.0),
        ("contact", 40.0),  # the contact band is 4 cm wide, the dead zone 1.5 cm
        ("body in object", 0.0),
    ],
)
def test_truth_costs_nothing_up_to_stated_floors(
    name: str, floor: float, problem: ObjectProblem, truth: ObjectState
) -> None:
    (term,) = (t for t in all_terms(problem) if t.name == name)
    res = term.residuals(truth)
    counted = res.w[0] > 0.2 * res.w[0].max()
    median = float(res.r[0][counted].norm(dim=-1).median()) * res.sigma if counted.any() else 0.0
    assert median <= floor + 1e-9


def test_behind_the_body_costs_depth_order(problem: ObjectProblem, truth: ObjectState) -> None:
    (term,) = (t for t in all_terms(problem) if isinstance(t, DepthOrder))
    moved = truth.retract(torch.tensor([[0, 0, 0, 0, 0, 1.0, 0]], dtype=torch.float64))
    assert (term.residuals(truth).r == 0).all()
    assert float((term.residuals(moved).w * term.residuals(moved).r[..., 0]).sum()) > 1


def test_an_object_out_of_sight_still_has_to_explain_its_mask(problem: ObjectProblem, truth: ObjectState) -> None:
    """No outline sample is left when the object shrinks to nothing: the mask must not become free."""
    (term,) = (t for t in all_terms(problem) if isinstance(t, MaskOnOutline))
    state = ObjectState(truth.R, truth.t, torch.full_like(truth.log_s, -60.0), truth.view)
    res = term.residuals(state)
    if not state.outline.outer.any():
        assert (res.r.norm(dim=-1) > 1e3).all()
        assert (res.J == 0).all()
    assert float(res.w.sum()) > 0.5


def test_nearest_outline_skips_inner_samples() -> None:
    cells = torch.tensor([[[0.0, 0.0], [5.0, 5.0]]])
    outer = torch.tensor([[False, True]])
    assert nearest_outline(cells, outer, torch.tensor([[0.0, 0.0], [6.0, 5.0]])).tolist() == [[1, 1]]


def test_offsets_to_a_piece_are_those_to_its_nearest_point() -> None:
    along = torch.tensor([[3.0, 4.0]]).expand(4, 2).double()  # reaches 5 to either side
    middle, across = torch.tensor([10.0, 20.0]).double(), torch.tensor([-0.8, 0.6]).double()
    for where, expected in ((0.4, 2 * across), (-1.0, 2 * across), (1.5, 2 * across - 0.5 * along[0])):
        point = middle + where * along[0] - 2 * across
        offset, _ = slide_free((middle - point)[None], along[:1])
        torch.testing.assert_close(offset[0], expected)
    plain, slope = slide_free(middle[None], torch.zeros(1, 2).double())
    torch.testing.assert_close(plain[0], middle)
    torch.testing.assert_close(slope[0], torch.eye(2).double())


def test_derivative_of_offsets_to_a_piece_equals_autograd() -> None:
    generator = torch.Generator().manual_seed(5)
    offset, along = torch.randn(2, 40, 2, generator=generator, dtype=torch.float64)
    slope = slide_free(offset, along)[1]
    offset.requires_grad_()
    shortened = slide_free(offset, along)[0]
    for row in range(2):
        (auto,) = torch.autograd.grad(shortened[:, row].sum(), offset, retain_graph=True)
        torch.testing.assert_close(slope[:, row], auto)


def test_few_samples_cost_what_many_cost(problem: ObjectProblem, truth: ObjectState) -> None:
    """Samples stand for pieces of the outline; as mere points, few of them leave gaps that cost."""
    (term,) = (t for t in all_terms(problem) if isinstance(t, MaskOnOutline))
    step = 0.02 * torch.randn(4, DOF, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    close = truth.select(torch.zeros(4, dtype=torch.long)).retract(step)
    few, many = (close.seen_by(dataclasses.replace(close.view, samples=n)) for n in (128, 2048))

    def cost(state: ObjectState) -> Tensor:
        res = term.residuals(state)
        return (res.w * res.r.square().sum(-1)).sum(1)

    points = freeze(few)
    points.__dict__["along"] = torch.zeros_like(points.along)
    assert ((cost(few) - cost(many)).abs() < 0.5 * (cost(points) - cost(many)).abs()).all()


def test_shrink_is_continuous_and_free_inside() -> None:
    offset = torch.tensor([[0.01, 0, 0], [0.0151, 0, 0], [0.115, 0, 0]], dtype=torch.float64)
    r, slope = shrink(offset, 0.015)
    torch.testing.assert_close(r[:, 0], torch.tensor([0, 0.0001, 0.1], dtype=torch.float64))
    assert (slope[0] == 0).all()


def test_shrink_derivative_equals_autograd() -> None:
    offset = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.05
    _, slope = shrink(offset, 0.03)
    numeric = torch.vmap(torch.func.jacrev(lambda e: shrink(e, 0.03)[0]))(offset)
    torch.testing.assert_close(slope, numeric)


def test_penetration_is_measured_in_metres_at_any_scale(problem: ObjectProblem, truth: ObjectState) -> None:
    """A larger object swallows a body point deeper in proportion; the grid itself knows nothing of scale."""
    (term,) = (t for t in all_terms(problem) if isinstance(t, BodyInObject))
    inside = truth.t.clone()
    deeper = []
    for log_s in (0.0, 0.7):
        state = ObjectState(truth.R, truth.t, torch.tensor([log_s], dtype=torch.float64), truth.view)
        value = problem.object_grid.sample(state.to_object(inside)[0])[0]
        res = BodyInObject(inside, problem.object_grid, term.sigma, 0.0, 1.0).residuals(state)
        assert float(res.r.max()) == pytest.approx(-float(value) * torch.tensor(log_s).exp().item() / term.sigma)
        deeper.append(float(res.r.max()))
    assert deeper[1] == pytest.approx(deeper[0] * torch.tensor(0.7).exp().item())


def test_nobody_penetrates_from_afar(problem: ObjectProblem, truth: ObjectState) -> None:
    far = truth.retract(torch.tensor([[0, 0, 0, 0, 0, 5.0, 0]], dtype=torch.float64))
    for term in all_terms(problem):
        if isinstance(term, BodyInObject | ObjectInBody):
            assert (term.residuals(far).w == 0).all()


def test_step_limit_keeps_direction() -> None:
    step = torch.tensor([[6.0, 0, 0, 0.1, 0, 0, 0.2], [0.1, 0, 0, 0, 0, 0, 0]])
    limited = limit_step(step)
    torch.testing.assert_close(limited[0], step[0] / 10)
    assert torch.equal(limited[1], step[1])


def test_step_turns_about_the_objects_centre(truth: ObjectState) -> None:
    turned = truth.retract(torch.tensor([[0, 0.5, 0, 0, 0, 0, 0.0]], dtype=torch.float64))
    assert torch.equal(turned.t, truth.t)
    torch.testing.assert_close(turned.R[0], exp_so3(torch.tensor([0, 0.5, 0], dtype=torch.float64)) @ truth.R[0])
