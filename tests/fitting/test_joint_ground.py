"""The ground: guessed from standing people's feet, supports what nobody touches, lets nothing sink in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hoirecon.body_params import BodyParams
from hoirecon.contact_map import ContactMap
from hoirecon.data.body import load_body
from hoirecon.errors import InputError
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.ground import (
    AboveGround,
    BodyAboveGround,
    Ground,
    OnGround,
    guess_ground,
    held_above,
    hull_points,
)
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import GUESSED_GROUND, fit
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.joint_state import JointState
from hoirecon.fitting.joint_terms import OnObject
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Residuals, Term, linearise, report_term
from hoirecon.fitting.resting import NearPeople, twin_on_ground
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody
from tests.fitting.conftest import CAMERA, ray_depth, thing
from tests.fitting.joint_scenes import JointScene, make_joint_scene, standing
from tests.fitting.test_joint_contact import assert_jacobian, scatter


@pytest.fixture(scope="module")
def scene() -> JointScene:
    return make_joint_scene()


@pytest.fixture(scope="module")
def problem(scene: JointScene) -> JointProblem:
    return scene.problem()


@pytest.fixture(scope="module")
def state(problem: JointProblem, scene: JointScene) -> JointState:
    return problem.start([list(scene.poses)]).freed(problem.moving(chain=False))


def seen_from(pitch_deg: float, yaw: float = 0.6, params: BodyParams | None = None) -> tuple[SceneBody, np.ndarray]:
    """A standing body before a camera that looks down by some degrees, and the way up."""
    model = load_body()
    params = standing(model, yaw=yaw) if params is None else params
    tilt = Rotation.from_euler("x", pitch_deg, degrees=True)
    turn = tilt * Rotation.from_rotvec(params.global_orient)
    body = model.pose(params.replace(global_orient=turn.as_rotvec()))
    return body, tilt.apply([0.0, -1.0, 0.0])


@pytest.mark.parametrize("pitch", [0.0, 12.0, 25.0])
def test_a_standing_body_tells_the_ground(pitch: float) -> None:
    body, up = seen_from(pitch)
    ground = guess_ground([(body, load_body())])
    assert ground is not None
    assert ground.source == "feet"
    assert np.degrees(np.arccos(ground.normal @ up)) < 3.0
    assert abs(float((body.verts @ up).min()) - float(ground.about @ up)) < 0.01
    assert float(ground.above(body.verts).min()) > -0.03


def test_nobody_who_stands_tells_nothing() -> None:
    model = load_body()
    pose = np.zeros((21, 3))
    pose[[0, 1], 0], pose[[3, 4], 0] = -1.5, 1.5  # hips and knees bent: sits
    sitting = standing(model).replace(body_pose=pose.ravel())
    lying = standing(model).replace(global_orient=[0.0, 0.0, np.pi / 2])
    assert guess_ground([(model.pose(sitting), model)]) is None
    assert guess_ground([(model.pose(lying), model)]) is None
    upright = model.pose(standing(model))
    both = guess_ground([(model.pose(sitting), model), (upright, model)])
    alone = guess_ground([(upright, model)])
    assert both is not None
    assert alone is not None
    assert np.allclose(both.normal, alone.normal)


def test_a_raised_foot_does_not_raise_the_ground() -> None:
    model = load_body()
    pose = standing(model).body_pose.reshape(21, 3).copy()
    pose[3, 0] = 1.2  # left knee bent backwards
    raised = guess_ground([(model.pose(standing(model).replace(body_pose=pose.ravel())), model)])
    usual = guess_ground([(model.pose(standing(model)), model)])
    assert raised is not None
    assert usual is not None
    assert raised.about is not None
    assert float(usual.normal @ raised.about) == pytest.approx(usual.height, abs=0.02)
    assert np.degrees(np.arccos(usual.normal @ raised.normal)) < 5.0


def tilted(height: float = -0.05) -> Ground:
    return Ground(np.array([0.1, -0.9, -0.4]), height, 0.02, np.array([0.2, 0.9, 2.5]), 0.07)


@pytest.mark.parametrize("kind", ["rests", "object above", "feet above"])
def test_jacobians_equal_autograd(kind: str, problem: JointProblem, state: JointState) -> None:
    """The noise, which grows away from the feet, is held fixed in both."""
    ground, verts = tilted(0.3), problem.objects[0].verts
    model = problem.people[0].figure.model
    feet = torch.as_tensor(model.parts.verts_of("left_foot")[::5].copy())
    terms: dict[str, Term[JointView]] = {
        "rests": OnObject(OnGround(verts, ground), 0),
        "object above": OnObject(AboveGround(verts, ground), 0),
        "feet above": BodyAboveGround(0, feet, tilted(-1.0)),
    }
    assert_jacobian(terms[kind], problem, scatter(state))


def test_what_rests_costs_nothing_and_what_sinks_its_depth(problem: JointProblem, state: JointState) -> None:
    up = np.array([0.0, -1.0, 0.0])
    verts = problem.objects[0].verts
    lowest = float((state.objects[0].place(verts)[0] @ torch.tensor(up)).min())
    view = problem.view(state)
    rests = OnObject(OnGround(verts, Ground(up, lowest, 0.02), count=1), 0)
    assert float(rests.residuals(view).r.abs().max()) < 1e-9
    sunk = Ground(up, lowest + 0.045, 0.02)
    assert float(OnObject(AboveGround(verts, sunk), 0).residuals(view).r.max()) == pytest.approx(2.0)  # 40 mm at 20 mm
    assert float(linearise([OnObject(AboveGround(verts, Ground(up, lowest)), 0)], view).cost) == 0


def test_a_far_ground_lets_go(problem: JointProblem, state: JointState) -> None:
    """Robust: 2 m over the ground costs hardly more than 1 m, so that what hangs on a wall stays there."""
    verts, up = problem.objects[0].verts, np.array([0.0, -1.0, 0.0])
    lowest = float((state.objects[0].place(verts)[0] @ torch.tensor(up)).min())
    costs = [
        float(linearise([OnObject(OnGround(verts, Ground(up, lowest - h, 0.02)), 0)], problem.view(state)).cost)
        for h in (0.02, 1.0, 2.0)
    ]
    assert costs[0] < 2.0
    assert costs[2] < 1.02 * costs[1]


# ----------------------------------------------------------------------------------------------------------- in a fit
@pytest.fixture(scope="module")
def quick() -> JointConfig:
    stage = StageConfig(8, 64, 128, 80, 6.0, 0.06, 0.015, 1.0)
    return JointConfig(objects=FitConfig(hypotheses=48, keep=8), chain=stage, whole=stage, polish=None, carried=2)


@pytest.fixture(scope="module")
def beside() -> tuple[Observation, SceneBody, ObjectToFit, ObjectPose]:
    """Something stands on the floor beside a person, seen by a camera that looks down by 20 degrees."""
    body, up = seen_from(20.0)
    ground = Ground(up, float((body.verts @ up).min()))
    mesh = thing("steps", 0.05)
    R = Rotation.from_euler("x", 20.0 + 180, degrees=True).as_matrix()
    t = body.joints[0] + np.array([0.55, 0.0, 0.1])
    t = t - up * float(ground.above(mesh.verts @ R.T + t).min())
    pose = ObjectPose(R, t)
    depths = np.stack([ray_depth(m) for m in (body.mesh, mesh.with_verts(pose.apply(mesh.verts)))])
    first = np.isfinite(depths.min(0)), depths.argmin(0)
    masks = [first[0] & (first[1] == n) for n in range(2)]
    seen = Observation(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), CAMERA, masks[0], (masks[1],))
    # the mesh comes 15 % too large, so that its size alone puts it 15 % too far
    return seen, body, ObjectToFit(mesh.with_verts(mesh.verts * 1.15), "thing", (0.0, 0.2)), pose


def test_an_untouched_object_is_found_on_the_ground(
    beside: tuple[Observation, SceneBody, ObjectToFit, ObjectPose], quick: JointConfig
) -> None:
    seen, body, obj, true = beside
    guessed = fit(seen, body, [obj], [None], quick)
    without = fit(seen, body, [obj], [None], replace(quick, guess_ground=False))
    off = [float(np.linalg.norm(r.best.poses[0].t - true.t)) for r in (guessed, without)]
    assert GUESSED_GROUND in guessed.flags
    assert GUESSED_GROUND not in without.flags
    assert off[0] < 0.08, off
    assert off[0] < 0.5 * off[1], off
    assert abs(guessed.best.poses[0].s * 1.15 - 1) < 0.04
    assert guessed.terms["ground support"].residual_mm < 20


@pytest.mark.parametrize("grow", [0.6, 1.0, 1.8])
def test_the_twin_on_the_ground_looks_the_same(grow: float) -> None:
    mesh, ground = thing("steps", 0.05), Ground(np.array([0.0, -0.9, -0.3]), -1.4)
    pose = ObjectPose(Rotation.from_euler("xyz", [0.3, 0.4, 0.1]).as_matrix(), [0.2, 0.5, 2.0])
    twin = twin_on_ground(pose, mesh.verts, ground)
    assert twin is not None
    again = twin_on_ground(ObjectPose(pose.R, pose.t * grow, pose.s * grow), mesh.verts, ground)
    assert again is not None
    pixels = [CAMERA.project(p.apply(mesh.verts)) for p in (pose, twin)]
    assert np.allclose(pixels[0], pixels[1])
    assert np.isclose(ground.above(twin.apply(mesh.verts)).min(), 0)
    assert np.allclose(again.t, twin.t)
    assert twin_on_ground(ObjectPose(pose.R, [0.0, -3.0, 2.0]), mesh.verts, ground) is None  # over the horizon


def test_a_thing_in_the_air_is_left_there(
    beside: tuple[Observation, SceneBody, ObjectToFit, ObjectPose], quick: JointConfig
) -> None:
    """At chest height: on the ground it would be far larger and farther than it can be."""
    _, body, obj, true = beside
    mesh = obj.mesh.with_verts(obj.mesh.verts / 1.15)
    pose = ObjectPose(true.R, body.joints[0] + np.array([0.5, -0.45, 0.0]))
    depths = np.stack([ray_depth(m) for m in (body.mesh, mesh.with_verts(pose.apply(mesh.verts)))])
    masks = [np.isfinite(depths.min(0)) & (depths.argmin(0) == n) for n in range(2)]
    seen = Observation(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), CAMERA, masks[0], (masks[1],))
    a, b = (fit(seen, body, [obj], [None], replace(quick, guess_ground=g)).best.poses[0] for g in (False, True))
    assert np.array_equal(a.t, b.t)


def test_what_somebody_touches_need_not_stand_on_the_ground(scene: JointScene, quick: JointConfig) -> None:
    problem = scene.problem(config=replace(quick, body_first=False))
    assert problem.ground is not None
    assert not problem.resting
    state = problem.start([list(scene.poses)]).freed(problem.moving(chain=False))
    costs = linearise(problem.terms(quick.whole), problem.view(state)).terms
    assert 3.5 < float(costs["perhaps on ground"]) <= 4.0  # in a hand at the chest: the most that it can lose
    assert float(costs["object above ground"]) == 0.0
    without = scene.problem(config=replace(quick, body_first=False, held_support=0.0))
    assert not any("ground" in t.name for t in without.terms(quick.whole))


def test_maps_without_contact_say_of_the_ground_what_none_says(scene: JointScene, quick: JointConfig) -> None:
    """Else what nobody touches would be told to stand perhaps on the ground, as what is held is."""
    empty = tuple(replace(m, probability=np.zeros(len(m.probability))) for m in scene.contacts[0, 0])
    given: tuple[dict[Any, Any], ...] = (
        {(0, 0): (empty[0], empty[1])},
        {(0, 0): (scene.contacts[0, 0][0], empty[1])},
        {},
    )
    problems = [replace(scene, contacts=c).problem(config=replace(quick, body_first=False)) for c in given]
    names = [[t.name for t in problem.terms(quick.whole)] for problem in problems]
    assert problems[0].ground is not None
    assert names[0] == names[1] == names[2]
    assert "perhaps on ground" not in names[0]


def test_a_stick_that_leans_away_has_a_twin_that_sinks() -> None:
    """Both ends of the stick are seen on the same pixels in both poses; the upper end is in the hand."""
    stick = torch.tensor([[0.0, -0.45, 0.0], [0.0, 0.45, 0.0]], dtype=torch.float64).repeat(4, 1)
    ground = Ground(np.array([0.0, -1.0, 0.0]), -1.4, 0.02)
    hand, foot = np.array([0.2, 0.55, 3.0]), np.array([0.2, 1.4, 3.25])
    costs = []
    for depth in (3.25, 2.75, 3.75):  # leaning away and standing, its twin in the air, leaning further and sunk
        ends = np.stack([hand, foot * (depth / 3.25)])
        assert np.allclose(CAMERA.project(ends), CAMERA.project(np.stack([hand, foot])))
        state = _placed(torch.as_tensor(ends))
        assert torch.allclose(state.place(stick)[0, :2], torch.as_tensor(ends))
        costs.append([float(linearise([term], state).cost) for term in held_above(stick, ground)])
    (stands, over), (floats, clear), (drops, sinks) = costs
    assert max(stands, over, clear) < 1e-9
    assert 3.5 < floats < 4.0  # 21 cm over the ground
    assert 3.5 < drops < 4.0
    assert sinks > 20.0


def _placed(ends: torch.Tensor) -> ObjectState:
    """A stick of .9 m along y with its ends at two places (2, 3)."""
    way = (ends[1] - ends[0]) / (ends[1] - ends[0]).norm()
    side = torch.linalg.cross(way, torch.tensor([1.0, 0.0, 0.0], dtype=way.dtype))
    side = side / side.norm()
    R = torch.stack([torch.linalg.cross(way, side), way, side], 1)
    scale = (ends[1] - ends[0]).norm() / 0.9
    return ObjectState(R[None], ends.mean(0)[None], scale.log()[None], None)


def test_only_corners_of_the_hull_can_be_the_lowest() -> None:
    verts = torch.as_tensor(thing("steps", 0.05).verts)
    corners = hull_points(verts)
    assert len(corners) < len(verts)
    for way in torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=verts.dtype):
        assert torch.isclose((verts @ way).min(), (corners @ way).min())
    flat = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, 0]])
    assert torch.equal(hull_points(flat), flat)


def test_who_touches_an_object_with_the_feet_tells_no_ground(scene: JointScene) -> None:
    """A rider's soles are on the board, not on the ground."""
    person, model = scene.people[0], load_body()
    thing_contact = next(iter(scene.contacts.values()))[1]
    for part, known in (("left_foot", False), ("right_palm", True)):
        skin = np.zeros(len(person.body.verts))
        skin[model.parts.verts_of(part)] = 1.0
        contacts = {(0, 0): (ContactMap(skin, model.topology), thing_contact)}
        problem = replace(scene, contacts=contacts).problem(config=JointConfig(body_first=False))
        assert (problem.ground is not None) == known


def test_nothing_sinks_into_a_given_ground(scene: JointScene, quick: JointConfig) -> None:
    """A ground 5 cm over the soles lifts the feet; up is -y."""
    pose, pair = scene.poses[0], scene.contacts[0, 0]
    heights = []
    soles = -float(scene.people[0].body.verts[:, 1].max())
    for ground in (None, Ground(np.array([0.0, -1.0, 0.0]), soles + 0.05, 0.005)):
        found = fit(scene.observation, scene.people[0], scene.objects, [pair], quick, starts=[[pose]], ground=ground)
        heights.append(-found.best.bodies[0].verts[:, 1].max())
        assert ("feet above ground" in found.terms) == (ground is not None)  # they are on a guessed one anyhow
        assert GUESSED_GROUND not in found.flags
    assert heights[1] > heights[0] + 0.01


def test_a_height_is_reported_in_millimetres_where_the_ground_is_less_sure() -> None:
    """A tilt that is known to 4 degrees leaves it unsure by far more than at the feet."""
    up, feet = np.array([0.0, -1.0, 0.0]), np.array([0.0, 1.2, 2.5])
    ground = Ground(up, -1.2, 0.02, feet, np.radians(4), "feet")
    place = torch.tensor([[2.0, 1.1, 3.0]], dtype=torch.float64)
    state = ObjectState(torch.eye(3).double()[None], place, place[:, 0] * 0, None)
    point = torch.zeros(1, 3, dtype=torch.float64)
    assert report_term(OnGround(point, ground), state).residual_mm == pytest.approx(100.0)
    sunk = Ground(up, -1.0, 0.02, feet, np.radians(4), "feet")
    assert report_term(AboveGround(point, sunk, 0.0), state).residual_mm == pytest.approx(100.0)


@pytest.mark.parametrize("depth", [2.0, 0.02, -1.0])
def test_what_is_near_people_pulls_only_where_depth_is_heeded(depth: float) -> None:
    term, shift = NearPeople(2.5), torch.tensor([[0.0, 0.0, depth]], dtype=torch.float64)

    def at(t: torch.Tensor) -> Residuals:
        return term.residuals(ObjectState(torch.eye(3).double()[None], t, t[:, 0] * 0, None))

    numeric = torch.func.jacrev(lambda t: at(t).r[0, 0, 0])(shift)
    torch.testing.assert_close(at(shift).J[0, 0, 0, 3:6], numeric[0])


def test_a_ground_that_is_none_is_refused() -> None:
    for bad in ([0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [np.nan, -1.0, 0.0]):
        with pytest.raises(InputError):
            Ground(np.array(bad), 0.0)
    with pytest.raises(InputError, match="noise must be positive"):
        Ground(np.array([0.0, -1.0, 0.0]), 0.0, sigma=0.0)
    up = np.array([0.0, -1.0, 0.0])
    with pytest.raises(InputError, match=r"height of the ground holds .* NaN"):
        Ground(up, np.nan)
    with pytest.raises(InputError, match="about which the ground is known has shape"):
        Ground(up, -1.2, about=np.zeros(2))
    with pytest.raises(InputError, match="noise must be positive"):
        Ground(up, -1.2, tilt_sigma=np.nan)
    with pytest.raises(InputError, match="0 or more"):
        JointConfig(support_weight=-1.0)
