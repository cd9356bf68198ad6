"""Every term of the joint fit: its Jacobian against autograd in float64, what it costs at the truth, what moves it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hoirecon.data.body.state import BodyState
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import energy
from hoirecon.fitting.joint_outline import person_region
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.joint_state import FIXED, JointState, chain_joints, limit_step
from hoirecon.fitting.joint_terms import GroundSupport, OnBody, PoseAnchor, SamePose, SteadyPose
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.objective import Residuals, Term, linearise
from hoirecon.fitting.so3 import exp_so3
from tests.fitting.joint_scenes import JointScene, make_joint_scene

NAMES = [
    "outline on mask", "mask on outline", "depth order", "scale prior", "landmarks_2d", "joint_limits", "pose anchor",
    "contact", "skin on object", "object on skin", "body in object", "object in body", "body on mask", "mask on body",
    "ground support",
    "temporal link", "steady pose", "perhaps on ground", "object above ground",
]  # fmt: skip


@pytest.fixture(scope="module")
def scene() -> JointScene:
    return make_joint_scene()


@pytest.fixture(scope="module")
def problem(scene: JointScene) -> JointProblem:
    """With landmarks AND silhouette, which a fit would not use together, and with contact of surfaces."""
    problem = scene.problem(config=JointConfig(body_first=False, surface_weight=5.0))
    person = problem.people[0]
    region = person_region(scene.observation, person.mesh, person.start.transl)
    return replace(problem, people=(replace(person, region=region).outlined(person.start),))


@pytest.fixture(scope="module")
def truth(problem: JointProblem, scene: JointScene) -> JointState:
    state = problem.redrawn(problem.start([list(scene.poses)]))
    return problem.seen_in(state, problem.config.whole).freed(problem.moving(chain=False))


@pytest.fixture(scope="module")
def twice(problem: JointProblem, truth: JointState) -> JointState:
    """The truth with a second block for each object and body, as of a second frame."""
    layout = replace(truth.layout, objects=("a", "b"), bodies=("p", "q"), free=truth.layout.free * 2)
    return JointState(truth.objects * 2, truth.bodies * 2, layout)


def scatter(state: JointState, count: int = 3) -> JointState:
    """Hypotheses round a state, the object pushed into the hand."""
    generator = torch.Generator().manual_seed(0)
    many = state.select(torch.zeros(count, dtype=torch.long))
    step = 0.05 * torch.randn(count, state.layout.size, generator=generator, dtype=torch.float64)
    for k in range(len(state.objects)):
        step[:, state.layout.of_object(k)] *= 0.5
        step[:, state.layout.of_object(k).start + 3] += 0.04
    return many.retract(step)


def the_term(problem: JointProblem, name: str) -> Term[JointView]:
    if name == "ground support":
        up = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
        return GroundSupport(0, problem.objects[0].object_points, up, -0.1)
    if name == "temporal link":
        return SamePose(0, 1)
    if name == "steady pose":
        return SteadyPose(0, 1)
    (term,) = (t for t in problem.terms(problem.config.whole) if t.name == name)
    return term


def view_of(problem: JointProblem, state: JointState) -> JointView:
    return JointView(state, problem.figures * len(state.bodies))


def test_all_terms_are_checked(problem: JointProblem) -> None:
    names = {t.name for t in problem.terms(problem.config.whole)}
    assert names == set(NAMES) - {"ground support", "temporal link", "steady pose"}


@pytest.mark.parametrize("name", NAMES)
def test_jacobian_equals_autograd(name: str, problem: JointProblem, truth: JointState, twice: JointState) -> None:
    """J^T v of three random v for each hypothesis: all blocks at once, those of bodies and of objects."""
    two_frames = name in ("temporal link", "steady pose")
    state, term = scatter(twice if two_frames else truth), the_term(problem, name)
    step = torch.zeros(len(state), state.layout.size, dtype=torch.float64, requires_grad=True)
    followed = term.residuals(view_of(problem, state.retract(step))).r
    closed = term.residuals(view_of(problem, state))
    # Nothing is wrongly ordered here, and nothing sinks into the ground: tests of their own cover these.
    if name not in ("depth order", "object above ground"):
        assert closed.J.abs().amax() > 0, "nothing is active: the check would be empty"
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        v = torch.randn(followed.shape, generator=generator, dtype=torch.float64)
        (exact,) = torch.autograd.grad((followed * v).sum(), step, retain_graph=True, allow_unused=True)
        ours = torch.einsum("bnc,bncd->bd", v, closed.J)
        exact = torch.zeros_like(ours) if exact is None else exact
        assert torch.allclose(ours, exact, rtol=1e-6, atol=1e-7 * max(1.0, float(exact.abs().max())))


def test_both_sides_of_contact_and_penetration_are_moved(problem: JointProblem, truth: JointState) -> None:
    state = scatter(truth)
    for name in ("contact", "skin on object", "object on skin", "body in object", "object in body"):
        J = the_term(problem, name).residuals(problem.view(state)).J
        for block in state.layout.columns.values():
            assert float(J[..., block].abs().max()) > 0, name


def test_every_free_parameter_is_seen(problem: JointProblem, truth: JointState) -> None:
    state = scatter(truth)
    H = linearise(problem.terms(problem.config.whole), problem.view(state)).hessian
    assert (H.diagonal(dim1=1, dim2=2) > 0).all()


def test_the_truth_costs_nothing_but_pixels(problem: JointProblem, truth: JointState) -> None:
    view = problem.view(truth)
    for name in ("depth order", "scale prior", "landmarks_2d", "joint_limits", "pose anchor", "body in object",
                 "object in body"):  # fmt: skip
        assert float(the_term(problem, name).residuals(view).r.abs().max()) < 1e-9, name
    contact = the_term(problem, "contact").residuals(view)
    assert (
        float(contact.r.norm(dim=-1).median()) < 0.2
    )  # labels are bands: their rims find no partner within the dead zone


def test_the_energy_that_autograd_follows_has_the_solver_s_gradient(problem: JointProblem, truth: JointState) -> None:
    state, terms = scatter(truth), problem.terms(problem.config.whole)
    step = torch.zeros(len(state), state.layout.size, dtype=torch.float64, requires_grad=True)
    value = energy(problem, terms, state, step)
    value.sum().backward()  # type: ignore[no-untyped-call]
    quad = linearise(terms, problem.view(state))
    assert torch.allclose(value, quad.cost)
    assert step.grad is not None
    assert torch.allclose(step.grad, 2 * quad.gradient, rtol=1e-6, atol=1e-6 * float(quad.gradient.abs().max()))


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_the_same_terms_run_under_other_optimisers(problem: JointProblem, truth: JointState, optimiser: str) -> None:
    state, terms = scatter(truth, 2), problem.terms(problem.config.chain)
    step = torch.zeros(len(state), state.layout.size, dtype=torch.float64, requires_grad=True)
    optimizer: torch.optim.Optimizer = torch.optim.Adam([step], lr=3e-3)
    if optimiser == "lbfgs":
        optimizer = torch.optim.LBFGS([step], max_iter=8, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = energy(problem, terms, state, step).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    before = float(energy(problem, terms, state, step).sum().detach())
    for _ in range(6 if optimiser == "adam" else 1):
        optimizer.step(closure)
    assert float(energy(problem, terms, state, step).sum()) < 0.8 * before


def turned_about_axis(problem: JointProblem, state: JointState, angle: float) -> tuple[JointProblem, JointState]:
    """The whole scene turned about the camera's axis: object, body, anchor and landmarks; the pixels stay behind."""
    R = exp_so3(torch.tensor([0.0, 0.0, angle], dtype=torch.float64))
    objects = tuple(replace(o, R=R @ o.R, t=o.t @ R.T) for o in state.objects)
    person = problem.people[0]
    pelvis = person.figure.model.joint_template[0]

    def turn(body: BodyState) -> BodyState:
        rotations = torch.cat([R @ body.rotations[:, :1], body.rotations[:, 1:]], 1)
        return BodyState(rotations, body.betas, (body.transl + pelvis) @ R.T - pelvis)

    marks = person.landmarks
    assert marks is not None
    centre = marks.K[:2, 2]
    marks = replace(marks, xy=(marks.xy - centre) @ R[:2, :2].T + centre)
    person = replace(person, anchor=turn(person.anchor), landmarks=marks)
    new = JointState(objects, tuple(turn(b) for b in state.bodies), state.layout)
    return replace(problem, people=(person,)), new


def test_turning_the_scene_about_the_optical_axis_changes_no_cost(problem: JointProblem, truth: JointState) -> None:
    state = scatter(truth)
    isotropic = replace(problem.config, anchor_transl=(0.02, 0.02, 0.02))
    problem = replace(problem, config=isotropic)
    other, turned = turned_about_axis(problem, state, 0.7)
    for name in ("landmarks_2d", "joint_limits", "pose anchor", "contact", "body in object", "object in body"):
        a, b = (linearise([the_term(p, name)], p.view(s)).cost for p, s in ((problem, state), (other, turned)))
        assert float(a.max()) > 0 or name == "joint_limits"
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9), name


def test_a_body_that_is_fixed_has_no_columns(problem: JointProblem, truth: JointState) -> None:
    fixed = truth.freed([FIXED])
    assert fixed.layout.size == 7
    for form in ("nearest", "centroid", "transport"):
        whole = replace(problem, config=replace(problem.config, contact=form))
        assert linearise(whole.terms(problem.config.whole), whole.view(fixed)).hessian.shape == (1, 7, 7)
    moved = fixed.retract(torch.ones(1, 7, dtype=torch.float64) * 0.01)
    assert moved.bodies[0] is fixed.bodies[0]


def test_select_and_merge_keep_what_hides_the_object_with_its_hypothesis(truth: JointState) -> None:
    many = truth.select(torch.zeros(3, dtype=torch.long))
    rows = torch.tensor([2, 0])
    part = many.select(rows)
    back = many.merge(part.retract(torch.ones(2, many.layout.size, dtype=torch.float64)), rows)
    assert torch.equal(back.objects[0].t[1], many.objects[0].t[1])
    assert torch.allclose(back.objects[0].t[2], many.objects[0].t[2] + 1)
    assert back.objects[0].view.region.rows.tolist() == [0, 0, 0]  # type: ignore[attr-defined]
    assert torch.allclose(back.bodies[0].transl[[0, 2]], many.bodies[0].transl[[0, 2]] + 1)


def test_steps_are_limited(truth: JointState) -> None:
    step = torch.zeros(3, truth.layout.size, dtype=torch.float64)
    step[1], step[2, 7] = 1e-3, 5.0
    short = limit_step(step, truth.layout)
    assert torch.equal(short[:2], step[:2])
    assert float(short[2, 7]) == pytest.approx(0.4)


def test_the_chain_runs_from_the_torso_to_the_touching_parts() -> None:
    assert chain_joints([21]) == (3, 6, 9, 14, 17, 19, 21)
    assert chain_joints([38]) == (3, 6, 9, 14, 17, 19, 21)
    assert chain_joints([38], fingers=True)[-16:] == (21, *range(37, 52))
    assert 0 not in chain_joints([4, 0])


def test_anchor_is_on_rotations_not_on_rotation_vectors(problem: JointProblem, truth: JointState) -> None:
    """Turning a joint by one sigma costs the same wherever it stands: the norm of the logarithm of the difference."""
    anchor = PoseAnchor(0, problem.people[0].anchor)
    free = truth.layout.free[0]
    column = truth.layout.of_body(0).start + free.joint_columns(17).start
    step = torch.zeros(1, truth.layout.size, dtype=torch.float64)
    step[0, column + 1] = math.radians(6.0)
    cost = linearise([anchor], problem.view(truth.retract(step))).cost
    assert float(cost) == pytest.approx(1.0, rel=1e-9)
    tight = replace(anchor, degrees=3.0)
    assert float(linearise([tight], problem.view(truth.retract(step))).cost) == pytest.approx(4.0, rel=1e-9)


def test_wrapped_terms_take_their_name_and_weight(problem: JointProblem) -> None:
    marks = problem.people[0].landmarks
    assert marks is not None
    wrapped = OnBody(marks, 0, " (a)")
    assert (wrapped.name, wrapped.weight, wrapped.robust) == ("landmarks_2d (a)", marks.weight, marks.robust)


def test_a_term_of_one_s_own_in_one_function(problem: JointProblem, truth: JointState) -> None:
    """The object's middle stays 10 cm before the right elbow: both sides get their derivative from the view."""

    class Own:
        name, weight, robust = "middle before the elbow", 1.0, None

        def residuals(self, view: JointView) -> Residuals:
            middle, J_middle = view.on_object(0, torch.zeros(1, 3, dtype=torch.float64))
            elbow, J_elbow = view.on_body(0, torch.tensor([100]))
            return Residuals((middle - elbow) / 0.02, (J_middle - J_elbow) / 0.02, torch.ones(len(middle), 1), 20, "mm")

    state = scatter(truth)
    step = torch.zeros(len(state), state.layout.size, dtype=torch.float64, requires_grad=True)
    energy(problem, [Own()], state, step).sum().backward()  # type: ignore[no-untyped-call]
    assert step.grad is not None
    assert torch.allclose(step.grad, 2 * linearise([Own()], problem.view(state)).gradient)
