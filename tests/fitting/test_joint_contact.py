"""The forms of contact in a joint fit, and objects that keep apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hoirecon.data.body import load_body
from hoirecon.errors import InputError
from hoirecon.fitting.fit_config import StageConfig
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_contact import CentroidContact, Contact, PairContact, TransportContact
from hoirecon.fitting.joint_edges import _touching, make_edges
from hoirecon.fitting.joint_fit import fit, solve_terms
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.joint_state import JointState
from hoirecon.fitting.joint_terms import ObjectInObject, OnObject
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_terms import ScalePrior
from hoirecon.fitting.objective import Term, gmof, linearise
from hoirecon.fitting.sdf import inside_depth
from hoirecon.fitting.transport import unbalanced_plan
from hoirecon.pose import ObjectPose
from tests.fitting.joint_scenes import JointScene, make_joint_scene


@pytest.fixture(scope="module")
def scene() -> JointScene:
    return make_joint_scene()


@pytest.fixture(scope="module")
def problem(scene: JointScene) -> JointProblem:
    return scene.problem()


@pytest.fixture(scope="module")
def truth(problem: JointProblem, scene: JointScene) -> JointState:
    return problem.start([list(scene.poses)]).freed(problem.moving(chain=False))


@pytest.fixture(scope="module")
def quick() -> JointConfig:
    stage = StageConfig(6, 64, 128, 80, 6.0, 0.06, 0.015, 1.0)
    return JointConfig(chain=stage, whole=stage, polish=None)


def scatter(state: JointState, count: int = 3) -> JointState:
    generator = torch.Generator().manual_seed(0)
    step = 0.03 * torch.randn(count, state.layout.size, generator=generator, dtype=torch.float64)
    return state.select(torch.zeros(count, dtype=torch.long)).retract(step)


def term_of(problem: JointProblem, form: str) -> Contact | CentroidContact | PairContact | TransportContact:
    edge = problem.edges[0]
    count = min(len(edge.verts), len(edge.obj_points))
    points = (0, 0, edge.places, edge.body_weight, edge.obj_points, edge.obj_weight, 0.02, 0.015, 3.0, 4.0)
    if form == "correspondences":
        places = slice(edge.places.start, edge.places.start + count)
        even = torch.full((count,), 1 / count, dtype=torch.float64)
        return PairContact(0, 0, places, even, edge.obj_points[:count], even, *points[6:])
    if form == "transport":
        generator = torch.Generator().manual_seed(2)
        normals = torch.nn.functional.normalize(
            torch.randn(len(edge.obj_points), 3, generator=generator).double(), dim=1
        )
        parts = torch.arange(len(edge.verts)) % 2, torch.arange(len(edge.obj_points)) % 3 - 1
        return TransportContact(*points, verts=edge.verts, obj_normals=normals, body_parts=parts[0], obj_parts=parts[1])
    return Contact(*points) if form == "nearest" else CentroidContact(*points)


def assert_jacobian(term: Term[JointView], problem: JointProblem, state: JointState) -> None:
    """J^T v against autograd, in float64, for all blocks."""
    step = torch.zeros(len(state), state.layout.size, dtype=torch.float64, requires_grad=True)
    followed = term.residuals(JointView(state.retract(step), problem.figures)).r
    closed = term.residuals(JointView(state, problem.figures))
    assert closed.J.abs().amax() > 0, "nothing is active: the check would be empty"
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        v = torch.randn(followed.shape, generator=generator, dtype=torch.float64)
        (exact,) = torch.autograd.grad((followed * v).sum(), step, retain_graph=True)
        ours = torch.einsum("bnc,bncd->bd", v, closed.J)
        assert torch.allclose(ours, exact, rtol=1e-6, atol=1e-7 * max(1.0, float(exact.abs().max())))


@pytest.mark.parametrize("form", ["nearest", "centroid", "correspondences", "transport"])
def test_jacobian_of_each_form_equals_autograd(form: str, problem: JointProblem, truth: JointState) -> None:
    assert_jacobian(term_of(problem, form), problem, scatter(truth))


def both_sides(problem: JointProblem, truth: JointState) -> tuple[Tensor, Tensor]:
    edge = problem.edges[0]
    placed = truth.objects[0].place(edge.obj_points)[0]
    return placed, problem.view(truth).bodies[0].points[0, edge.places]


def test_centroids_that_meet_cost_nothing_and_else_their_distance(problem: JointProblem, truth: JointState) -> None:
    term, edge = term_of(problem, "centroid"), problem.edges[0]
    placed, skin = both_sides(problem, truth)
    gap = edge.obj_weight @ placed - edge.body_weight @ skin
    step = torch.zeros(1, truth.layout.size, dtype=torch.float64)
    step[0, 3:6] = -gap  # the object is shifted by the gap
    assert float(term.residuals(problem.view(truth.retract(step))).r.norm()) < 1e-9
    step[0, 3:6] += torch.tensor([0.0, 0.0, 0.115])  # the dead zone is 1.5 cm, sigma 2 cm
    assert float(term.residuals(problem.view(truth.retract(step))).r.norm()) == pytest.approx(5.0)


def test_given_pairs_at_the_truth_cost_nothing(scene: JointScene, problem: JointProblem, truth: JointState) -> None:
    """Pairs made from where the skin truly is, in the object's frame: zero; nearest pairs do not know who is whose."""
    verts = problem.edges[0].verts.numpy()
    places = scene.poses[0].apply_inverse(scene.people[0].body.verts[verts])
    config = JointConfig(body_first=False, contact="correspondences")
    edges, own = make_edges(
        scene.people, scene.objects, {}, config, "cpu", torch.float64, {(0, 0): (verts, places)}
    )  # fmt: skip
    assert own == [verts.tolist()]
    assert edges[0].paired
    term = edges[0].term(config, 0.06, 0.015, "contact")
    assert isinstance(term, PairContact)
    at = replace(problem, edges=tuple(edges))
    r = term.residuals(at.view(truth))
    assert float(r.r.abs().max()) < 1e-3  # the body model's skin in float64 against the stored vertices
    assert float(r.w.sum()) == pytest.approx(1.0)
    mixed = replace(term, obj_points=term.obj_points.flip(0))
    assert float(mixed.residuals(at.view(truth)).r.norm(dim=-1).max()) > 0.5


def test_transport_is_assignment_when_all_mass_can_go() -> None:
    """Equal masses, wide reach, little blur: each point's partner is the optimal one-to-one assignment's."""
    generator = torch.Generator().manual_seed(3)
    a, b = 0.2 * torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)
    even = torch.full((12,), 1 / 12, dtype=torch.float64)
    cost = torch.cdist(a, b).square()
    plan = unbalanced_plan(cost[None], even, even, 50.0, (0.02, 2e-5), 600)[0]
    rows, cols = linear_sum_assignment(cost.numpy())
    assert plan.argmax(1).tolist() == cols.tolist()
    assert torch.allclose(plan.sum(1), even, rtol=1e-2)
    assert len(rows) == 12


def test_far_mass_stays_at_home_and_pays(problem: JointProblem, truth: JointState) -> None:
    """A false patch 1 m off is left alone by the plan, and costs as the farthest partner would."""
    points = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [1.0, 0, 0]], dtype=torch.float64)
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    cost = torch.cdist(points, points[:2]).square()[None]
    plan = unbalanced_plan(cost, third, torch.full((2,), 0.5, dtype=torch.float64), 0.15)[0]
    matched = plan.sum(1) * 3
    assert float(matched[2]) < 1e-3
    assert float(matched[:2].min()) > 0.8
    term = term_of(problem, "transport")
    step = torch.zeros(1, truth.layout.size, dtype=torch.float64)
    step[0, 3] = 5.0  # the object is far away: all is lost, and the cost is the robust term's limit
    cost_far = linearise([term], problem.view(truth.retract(step))).cost
    most, _ = gmof(torch.tensor((10.0 * 3.0) ** 2), 3.0)
    assert float(cost_far) == pytest.approx(4.0 * float(most), rel=1e-3)
    assert float(linearise([term], problem.view(truth)).cost) < 0.5 * float(cost_far)


def test_normals_and_parts_decide_between_equally_near_points(problem: JointProblem, truth: JointState) -> None:
    """A thin plate between two skin points: the one that its normal faces is taken; parts overrule."""
    edge = problem.edges[0]
    pick = edge.verts[:2]
    normals = problem.view(truth).body_normals(0, pick)[0]
    pose = truth.objects[0]
    opposite = (-normals[1] @ pose.R[0])[None]
    skin = problem.view(truth).bodies[0].points[0, edge.places][:2]
    middle = ((skin.mean(0) - pose.t[0]) @ pose.R[0])[None]
    one, half = torch.ones(1, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    places = slice(edge.places.start, edge.places.start + 2)
    base = TransportContact(0, 0, places, half, middle, one, 0.02, 0.0, 3.0, 1.0, verts=pick, facing=0.5)
    plan = replace(base, obj_normals=opposite)._plan(problem.view(truth))[0, 0]
    if float(normals[0] @ normals[1]) < 0.99:
        assert float(plan[1]) > float(plan[0])
    for wanted in (0, 1):
        told = replace(base, body_parts=torch.tensor([0, 1]), obj_parts=torch.tensor([wanted]))
        assert int(told._plan(problem.view(truth))[0, 0].argmax()) == wanted


@pytest.mark.parametrize("form", ["centroid", "transport"])
def test_the_form_is_a_setting(form: str, scene: JointScene, quick: JointConfig) -> None:
    start = ObjectPose(scene.poses[0].R, scene.poses[0].t + np.array([0.02, -0.01, 0.03]))
    config = replace(quick, contact=form)
    found = fit(scene.observation, scene.people[0], scene.objects, [scene.contacts[0, 0]], config, starts=[[start]])
    assert "contact" in found.terms
    assert np.linalg.norm(found.best.poses[0].t - scene.poses[0].t) < 0.05


def test_a_thing_touched_anywhere_has_a_middle_and_mass(
    scene: JointScene, problem: JointProblem, truth: JointState
) -> None:
    """Its weights sum to 1e-6; the centroid would be the mesh's origin, and transport would lose all of its mass."""
    edge = problem.edges[0]
    shifted = replace(edge, obj_points=edge.obj_points + 0.3, obj_weight=edge.obj_weight / edge.obj_weight.sum())
    loose = replace(shifted, obj_weight=1e-6 * shifted.obj_weight)
    for form in ("centroid", "transport"):
        terms = [e.term(JointConfig(contact=form), 0.06, 0.0, "contact") for e in (shifted, loose)]
        sure, unsure = (t.residuals(problem.view(truth)) for t in terms)
        assert torch.allclose(sure.r, unsure.r)
        assert torch.allclose(sure.w, unsure.w)
    nearest = loose.term(JointConfig(), 0.06, 0.0, "contact")
    assert isinstance(nearest, Contact)
    assert torch.equal(nearest.obj_weight, loose.obj_weight)


def test_given_pairs_in_a_fit_need_no_maps_and_pin_the_object(scene: JointScene, quick: JointConfig) -> None:
    verts = scene.problem().edges[0].verts.numpy()
    places = scene.poses[0].apply_inverse(scene.people[0].body.verts[verts])
    start = ObjectPose(scene.poses[0].R, scene.poses[0].t + np.array([0.05, -0.02, 0.15]))
    config = replace(quick, contact="correspondences")
    found = fit(
        scene.observation, scene.people[0], scene.objects, [None], config, starts=[[start]],
        correspondences=[(verts, places)],
    )  # fmt: skip
    assert np.linalg.norm(found.best.poses[0].t - scene.poses[0].t) < 0.01
    assert found.terms["contact"].residual_mm < 5
    assert "no contact" not in found.flags


def test_bad_forms_and_pairs_are_refused_in_a_sentence(scene: JointScene, quick: JointConfig) -> None:
    seen, person, objects, pair = scene.observation, scene.people[0], scene.objects, scene.contacts[0, 0]
    with pytest.raises(InputError, match="one of nearest, centroid"):
        JointConfig(contact="magnet")
    with pytest.raises(InputError, match="needs given pairs"):
        fit(seen, person, objects, [pair], replace(quick, contact="correspondences"))
    for bad in (
        ([1, 2], np.zeros((3, 3))),
        ([10**6], np.zeros((1, 3))),
        ([], np.zeros((0, 3))),
        ([0.5], np.zeros((1, 3))),
    ):
        with pytest.raises(InputError, match=r"correspondences of body 0 and object 0|expected"):
            fit(seen, person, objects, [pair], quick, correspondences=[bad])  # type: ignore[list-item]
    with pytest.raises(InputError, match="got 2 correspondences for 1 objects"):
        fit(seen, person, objects, [pair], quick, correspondences=[None, None])
    with pytest.raises(InputError, match="which are not there"):
        fit(seen, person, objects, [pair], quick, correspondences={(0, 4): ([1], np.zeros((1, 3)))})


# ------------------------------------------------------------------------------------------------ objects keep apart
@pytest.fixture(scope="module")
def two() -> JointScene:
    """One object at each hand of one person."""
    return make_joint_scene(((0, "right"), (0, "left")))


def pushed(scene: JointScene) -> list[ObjectPose]:
    """The second object is wrongly placed where the first one is, with all of its depth."""
    first, second = scene.poses
    return [first, ObjectPose(second.R, first.t + np.array([0.01, 0.0, 0.0]))]


def test_jacobian_of_objects_that_intersect(two: JointScene) -> None:
    problem = two.problem()
    state = problem.start([pushed(two)]).freed(problem.moving(chain=False))
    terms = [t for t in problem.terms(problem.config.whole) if isinstance(t, ObjectInObject)]
    assert [t.name for t in terms] == ["object in object (steps0, hammer1)", "object in object (hammer1, steps0)"]
    for term in terms:
        assert_jacobian(term, problem, scatter(state))
    apart = problem.start([list(two.poses)]).freed(problem.moving(chain=False))
    assert all(float(linearise([t], problem.view(apart)).cost) == 0 for t in terms)


def depth_mm(scene: JointScene, poses: tuple[ObjectPose, ...]) -> float:
    a, b = (o.mesh.with_verts(p.apply(o.mesh.verts)) for o, p in zip(scene.objects, poses, strict=True))
    return 1e3 * float(max(inside_depth(a, b.verts).max(), inside_depth(b, a.verts).max()))


def test_two_objects_give_way_to_each_other(two: JointScene, quick: JointConfig) -> None:
    """They begin in one another and only their size holds them: both move, until the tolerance is left."""
    first, second = two.poses
    shifts = (ObjectPose(second.R, first.t + np.array([s, 0.0, 0.0])) for s in np.linspace(0.02, 0.5, 60))
    start = next(p for p in shifts if depth_mm(two, (first, p)) < 20)
    problem = two.problem(config=quick)
    state = problem.start([[first, start]])
    terms: list[Term[JointView]] = [t for t in problem.terms(quick.whole) if isinstance(t, ObjectInObject)]
    sizes = [OnObject(ScalePrior(0.0, 1e-4), k, f" {k}") for k in (0, 1)]
    found, _ = solve_terms(problem, [*terms, *sizes], state, 25)
    depths = [depth_mm(two, tuple(problem.poses(s, 0))) for s in (state, found)]
    assert depths[0] > 10
    assert depths[1] < 6  # the tolerance is 4 mm
    moved = [float((b.t - a.t).norm()) for a, b in zip(state.objects, found.objects, strict=True)]
    assert min(moved) > 0.5 * max(moved) > 0


def test_a_body_that_touches_with_all_of_its_back_moves_too() -> None:
    """Contact that is spread over so many joints that none has its share."""
    model = load_body()
    joint = model.weights.argmax(1)
    many = (0, 1, 2, 3, 4, 5, 6, 9, 12, 15, 16, 17)
    verts = np.array([int(torch.nonzero(joint == j)[0]) for j in many])
    assert _touching(model, verts, np.full(12, 1 / 12), 0.1) == many
    uneven = np.where(np.isin(many, (3, 6)), 0.09, 0.82 / 10)
    uneven[0], uneven[1] = 0.02, uneven[1] + 0.062
    assert _touching(model, verts, uneven, 0.1) == (1,)  # one has its share: as ever
    assert _touching(model, verts, uneven, 0.5) == many[1:]
