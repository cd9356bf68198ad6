"""A term of one's own in one function; names of terms that exist and of those that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import energy, fit
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.joint_state import JointState
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.objective import TermReport, linearise
from hoirecon.fitting.own_term import own_term
from hoirecon.fitting.term_names import TERM_NAMES, NamedTerms, weighed
from tests.fitting.joint_scenes import JointScene, make_joint_scene
from tests.fitting.test_joint_contact import scatter


@pytest.fixture(scope="module")
def scene() -> JointScene:
    return make_joint_scene()


@pytest.fixture(scope="module")
def problem(scene: JointScene) -> JointProblem:
    return scene.problem()


@pytest.fixture(scope="module")
def state(problem: JointProblem, scene: JointScene) -> JointState:
    return scatter(problem.start([list(scene.poses)]).freed(problem.moving(chain=False)))


MIDDLE, ELBOW = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([100])


def middle_at_elbow(view: JointView) -> Tensor:
    return view.object_points(0, MIDDLE) - view.body_points(0, ELBOW)


def middle_at_elbow_with_slope(view: JointView) -> tuple[Tensor, Tensor]:
    (a, J_a), (b, J_b) = view.on_object(0, MIDDLE), view.on_body(0, ELBOW)
    return a - b, J_a - J_b


def test_a_function_s_jacobian_is_found(problem: JointProblem, state: JointState) -> None:
    """Equal to the closed form of the same function, for body and object, and to what autograd says of the energy."""
    terms = [own_term(f, sigma=0.02, robust=3.0) for f in (middle_at_elbow, middle_at_elbow_with_slope)]
    view = problem.view(state)
    found, closed = (t.residuals(view) for t in terms)
    assert terms[0].name == "middle at elbow"
    assert torch.allclose(found.r, closed.r)
    assert torch.allclose(found.J, closed.J, atol=1e-8)
    assert (found.sigma, found.unit) == (20.0, "mm")
    step = torch.zeros(len(state), state.layout.size, dtype=torch.float64, requires_grad=True)
    energy(problem, terms[1:], state, step).sum().backward()  # type: ignore[no-untyped-call]
    assert step.grad is not None
    assert torch.allclose(step.grad, 2 * linearise(terms[:1], view).gradient)


def test_what_does_not_depend_on_the_state_has_no_slope(problem: JointProblem, state: JointState) -> None:
    term = own_term(lambda view: view.state.objects[0].t.detach()[:, None], sigma=1.0, name="still")
    res = term.residuals(problem.view(state))
    assert res.J.shape == (3, 1, 3, state.layout.size)
    assert float(res.J.abs().max()) == 0


def test_it_pulls_in_a_fit(scene: JointScene) -> None:
    wanted = float(scene.poses[0].t[1]) - 0.1

    def higher(view: JointView) -> Tensor:
        return view.object_points(0, torch.zeros(1, 3))[..., 1:2] - wanted

    found = fit(
        scene.observation, scene.people[0], scene.objects, [scene.contacts[0, 0]], JointConfig(polish=None),
        starts=[list(scene.poses)], terms=[own_term(higher, sigma=0.01, weight=50.0)],
    )  # fmt: skip
    assert found.best.poses[0].t[1] < scene.poses[0].t[1] - 0.03
    assert found.terms["higher"].unit == "mm"
    with pytest.raises(
        InputError, match=r"no term is called 'contcat': did you mean 'contact'.*there are outline on mask"
    ):
        found.terms["contcat"]
    assert found.terms.get("contcat") is None


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda view: view.state.objects[0].t, "(3, 3)"),
        (lambda view: torch.zeros(1, 1, 1), "(1, 1, 1)"),
        (lambda view: view.object_points(0, MIDDLE)[:, 0, 2], "(3,)"),
        (lambda view: view.object_points(0, MIDDLE).sum(), "()"),
    ],
)
def test_a_wrong_shape_is_answered_with_the_right_one(
    function: Callable[[JointView], Tensor], shape: str, problem: JointProblem, state: JointState
) -> None:
    with pytest.raises(InputError, match=r"must give residuals \(B, N, C\), here B = 3") as caught:
        own_term(function, sigma=1.0, name="odd").residuals(problem.view(state))
    assert shape in str(caught.value)


def test_what_is_no_tensor_is_told(problem: JointProblem, state: JointState) -> None:
    term = own_term(lambda view: [[[0.0]]], sigma=1.0, name="odd")  # type: ignore[return-value]
    with pytest.raises(InputError, match="the term 'odd' must give a tensor of residuals, it gave list"):
        term.residuals(problem.view(state))


def test_a_term_of_ones_own_that_gives_nan_is_named(scene: JointScene) -> None:
    def over_the_table(view: JointView) -> Tensor:
        return (view.object_points(0, MIDDLE.float())[..., 1:2] - 10).sqrt()

    with pytest.raises(InputError, match="not finite, because of the term 'over the table': check what they give"):
        fit(
            scene.observation, scene.people[0], scene.objects, [scene.contacts[0, 0]], JointConfig(polish=None),
            starts=[list(scene.poses)], terms=[own_term(over_the_table, sigma=0.01)],
        )  # fmt: skip


def test_bad_terms_and_names_are_refused(scene: JointScene) -> None:
    with pytest.raises(InputError, match="needs a function and a name"):
        own_term(lambda view: view.object_points(0, MIDDLE), sigma=1.0)
    with pytest.raises(InputError, match="needs sigma > 0"):
        own_term(middle_at_elbow, sigma=0.0)
    taken = own_term(middle_at_elbow, sigma=1.0, name="contact")
    with pytest.raises(InputError, match="the fit has a term 'contact' itself"):
        fit(scene.observation, scene.people[0], scene.objects, [scene.contacts[0, 0]], terms=[taken])
    with pytest.raises(InputError, match="did you mean 'contact'"):
        JointConfig(factors={"contcat": 2.0})
    with pytest.raises(InputError, match=r"0 .leave it out. or more"):
        JointConfig(factors={"contact": -1.0})


def test_every_term_of_a_person_can_be_weighed(scene: JointScene) -> None:
    """What holds hands, feet and fingers too."""
    person = replace(scene.people[0], ends_sigma_m=(0.01, 0.01, 0.02))
    config = JointConfig(fingers=True, body_first=False)
    problem = replace(scene, people=(person,)).problem(config=config)
    names = {t.name for t in problem.terms(config.whole)}
    assert {"hands and feet", "finger range"} <= names <= set(TERM_NAMES)
    without = replace(config, factors=dict.fromkeys(names & {"hands and feet", "finger range"}, 0.0))
    assert len(replace(problem, config=without).terms(config.whole)) == len(names) - 2


def test_factors_change_weights_and_leave_out(problem: JointProblem) -> None:
    terms = problem.terms(problem.config.whole)
    assert {t.name for t in terms} <= set(TERM_NAMES)
    changed = weighed(terms, {"contact": 2.0, "pose anchor": 0.0})
    assert {t.name for t in terms} - {t.name for t in changed} == {"pose anchor"}
    (before,), (after,) = ([t.weight for t in listed if t.name == "contact"] for listed in (terms, changed))
    assert after == 2 * before


def test_reports_know_their_names() -> None:
    report: TermReport[JointView] = TermReport("contact", "mm", 1.0, 1.0, 0.0)
    terms = NamedTerms({"contact": report})
    assert terms["contact"] is report
    with pytest.raises(InputError, match="there are contact"):
        terms["depth"]
