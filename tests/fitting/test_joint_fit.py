"""The joint fit as a whole: what moves and what does not, several persons and objects, hostile input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoirecon.contact.protocols import WHOLE, ContactObject, PartPair
from hoirecon.contact_map import ContactMap
from hoirecon.data.body import load_body
from hoirecon.errors import InputError
from hoirecon.fitting.body_types import BodyEvidence, BodyFit, BodyFitConfig
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import finite_ones, fit, hypotheses, solve_stages, solve_terms
from hoirecon.fitting.joint_person import PersonToFit
from hoirecon.fitting.joint_state import JointState
from hoirecon.fitting.joint_terms import OnObject, SamePose, SteadyPose
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_types import ObjectAlternative, ObjectFit
from hoirecon.fitting.objective import Residuals
from hoirecon.fitting.part_contact import part_terms
from hoirecon.fitting.report import overlap
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose
from tests.fitting.conftest import boxes
from tests.fitting.joint_scenes import JointScene, bent, hand_of, make_joint_scene

ARM = {17: (0.0, 0.16, 0.1), 19: (0.05, -0.2, 0.0)}
"""An error of the right arm that takes the hand several centimetres off."""


@pytest.fixture(scope="module")
def scene() -> JointScene:
    return make_joint_scene()


@pytest.fixture(scope="module")
def quick() -> JointConfig:
    stage = StageConfig(6, 64, 128, 80, 6.0, 0.06, 0.015, 1.0)
    return JointConfig(chain=stage, whole=stage, polish=None)


def near(pose: ObjectPose, shift: float = 0.03) -> ObjectPose:
    return ObjectPose(pose.R, pose.t + np.array([shift, -0.5 * shift, shift]), pose.s)


def test_a_displaced_hand_and_object_come_back_together(scene: JointScene, quick: JointConfig) -> None:
    model = load_body()
    person = bent(scene.people[0], model, ARM)
    result = fit(
        scene.observation, person, scene.objects, [scene.contacts[0, 0]], quick, starts=[[near(scene.poses[0])]]
    )
    hand = hand_of(model, scene.people[0].body, "right")
    before, after = (np.linalg.norm(hand_of(model, b, "right") - hand) for b in (person.body, result.best.bodies[0]))
    assert before > 0.04
    assert after < 0.5 * before
    assert np.linalg.norm(result.best.poses[0].t - scene.poses[0].t) < 0.045
    assert result.landmark_errors_px[0][1] < 0.5  # px; only an arm was wrong, so the median was right before
    assert result.iou_exact[0] > 0.85
    assert result.terms["contact"].residual_mm < 10
    assert result.terms["landmarks_2d"].unit == "px"
    with pytest.raises(InputError, match="are in px, not in mm"):
        assert result.terms["landmarks_2d"].residual_mm
    assert np.allclose(result.best.bodies[0].verts, model.pose(result.best.bodies[0].params).verts, atol=1e-5)


def test_from_scratch_in_one_call(scene: JointScene, quick: JointConfig) -> None:
    config = replace(quick, objects=FitConfig(hypotheses=48, keep=8), carried=2)
    body = scene.people[0].body  # bare: only its own pose holds it
    result = fit(scene.observation, body, scene.objects, [scene.contacts[0, 0]], config)
    assert len(result.object_fits) == 1
    assert set(result.seconds) == {"objects", "joint", "report"}
    assert np.isnan(result.landmark_errors_px[0]).all()
    assert {"body on mask", "mask on body"} <= set(result.terms)  # its silhouette holds it instead of landmarks
    assert result.best.iou_visible[0] > 0.8
    others = [a.energy for a in result.alternatives]
    assert result.best.energy <= min(others, default=np.inf) + config.first_choice
    assert others == sorted(others)
    again = fit(scene.observation, body, scene.objects, [scene.contacts[0, 0]], config)
    assert np.array_equal(again.best.poses[0].t, result.best.poses[0].t)  # the same to the last bit


@pytest.mark.parametrize("contact", ["none", "empty"])
def test_without_contact_the_body_stays_as_it_is(contact: str, scene: JointScene, quick: JointConfig) -> None:
    pair = None if contact == "none" else tuple(m.replace(probability=m.probability * 0) for m in scene.contacts[0, 0])
    person = bent(scene.people[0], load_body(), ARM)  # its landmarks would move it
    result = fit(scene.observation, person, scene.objects, [pair], quick, starts=[[scene.poses[0]]])  # type: ignore[list-item]
    assert result.best.bodies[0] is person.body
    assert "no contact" in result.flags
    assert "contact" not in result.terms
    assert list(result.covariance.blocks) == [scene.objects[0].name]
    assert np.linalg.norm(result.best.poses[0].t - scene.poses[0].t) < 0.25


def test_two_objects_and_two_persons_in_one_call(quick: JointConfig) -> None:
    scene = make_joint_scene(((0, "right"), (1, "left")), people=2)
    model = load_body()
    people = [bent(scene.people[0], model, ARM), scene.people[1]]
    start = [near(p, 0.02) for p in scene.poses]
    result = fit(scene.observation, people, scene.objects, scene.contacts, quick, starts=[start])
    assert len(result.best.bodies) == len(result.best.poses) == 2
    for found, true in zip(result.best.poses, scene.poses, strict=True):
        assert np.linalg.norm(found.t - true.t) < 0.06
    hand = hand_of(model, scene.people[0].body, "right")
    off = [np.linalg.norm(hand_of(model, b, "right") - hand) for b in (people[0].body, result.best.bodies[0])]
    assert off[1] < 0.6 * off[0]
    assert {"contact (person 0, steps0)", "contact (person 1, hammer1)"} <= set(result.terms)
    assert len(result.covariance.blocks) == 4


def test_ten_frames_share_size_and_move_little(scene: JointScene, quick: JointConfig) -> None:
    """Video: the object's block once per frame, linked; frames without a good start are pulled to their neighbours."""
    problem = scene.problem(torch.float32, quick)
    frames, body = 10, problem.people[0]
    many = replace(
        problem, objects=problem.objects * frames, meshes=problem.meshes * frames, people=(body,) * frames, edges=()
    )
    state = problem.redrawn(problem.start([list(scene.poses)]))
    objects = [problem.seen_in(state, quick.whole).objects[0]] * frames
    objects[4] = replace(objects[4], t=objects[4].t + torch.tensor([0.0, 0.0, 0.3]), log_s=objects[4].log_s + 0.2)
    names = tuple(f"{kind} {f}" for kind in ("object", "person") for f in range(frames))
    free = problem.moving(chain=True) * frames
    layout = replace(state.layout, objects=names[:frames], bodies=names[frames:], free=tuple(free))
    start = JointState(tuple(objects), state.bodies * frames, layout)
    links = [SamePose(f, f + 1, name=f"object {f}") for f in range(frames - 1)]
    links += [SteadyPose(f, f + 1, name=f"person {f}") for f in range(frames - 1)]  # type: ignore[misc]
    (contour,) = (t for t in problem.terms(quick.whole) if t.name == "outline on mask")
    assert isinstance(contour, OnObject)
    own = [replace(contour, index=f, label=f" {f}") for f in range(frames)]
    found, _ = solve_terms(many, [*own, *links], start, 15)
    assert abs(float(found.objects[4].t[0, 2] - found.objects[3].t[0, 2])) < 0.02
    assert abs(float(found.objects[4].log_s - found.objects[3].log_s)) < 0.005


def test_a_bad_hypothesis_is_dropped_and_a_far_one_harms_nobody(scene: JointScene, quick: JointConfig) -> None:
    problem = scene.problem(torch.float64, quick)
    good = near(scene.poses[0])
    far = ObjectPose(good.R, np.array([40.0, -30.0, 0.01]), 25.0)
    alone, _ = solve_stages(problem, problem.start([[good]]))
    state = problem.start([[good], [far], [good]])
    broken = replace(state.objects[0], t=state.objects[0].t.clone())
    broken.t[2] = torch.nan
    kept, dropped = finite_ones(replace(state, objects=(broken,)))
    assert (len(kept), dropped) == (2, 1)
    both, quad = solve_stages(problem, kept)
    assert torch.allclose(both.objects[0].t[0], alone.objects[0].t[0], atol=1e-9)
    assert torch.allclose(both.bodies[0].rotations[0], alone.bodies[0].rotations[0], atol=1e-9)
    assert float(quad.cost[1]) > 2 * float(quad.cost[0])
    with pytest.raises(InputError, match="no start is finite"):
        finite_ones(kept.select(torch.tensor([], dtype=torch.long)))


def test_a_term_of_one_s_own_pulls(scene: JointScene, quick: JointConfig) -> None:
    class Higher:
        """The object is 10 cm higher (camera's y points down) than where it is seen."""

        name, weight, robust = "higher", 50.0, None

        def residuals(self, view: JointView) -> Residuals:
            at, J = view.on_object(0, torch.zeros(1, 3))
            r = (at[..., 1:2] - float(scene.poses[0].t[1]) + 0.1) / 0.01
            return Residuals(r, J[:, :, 1:2] / 0.01, torch.ones(len(at), 1), 10, "mm")

    calls = [
        fit(scene.observation, scene.people[0], scene.objects, [scene.contacts[0, 0]], quick, terms=terms,
            starts=[list(scene.poses)])
        for terms in ((), (Higher(),))
    ]  # fmt: skip
    assert calls[1].best.poses[0].t[1] < calls[0].best.poses[0].t[1] - 0.03
    assert "higher" in calls[1].terms


def test_named_parts_count_by_their_share_in_the_choice(scene: JointScene, quick: JointConfig) -> None:
    thing = ContactObject(scene.objects[0].mesh)
    terms = part_terms(load_body(), thing, [PartPair("left_knee", WHOLE, 1.0)])  # it is at a hand
    given = scene.observation, scene.people[0], scene.objects, [scene.contacts[0, 0]]
    energies = [
        fit(*given, replace(quick, rank_parts_weight=share), terms=terms, starts=[list(scene.poses)]).best.energy
        for share in (1.0, 0.5, 0.0)
    ]
    assert energies[0] > energies[2] + 1
    assert energies[1] == pytest.approx((energies[0] + energies[2]) / 2, rel=1e-4)


def test_a_fitted_body_brings_its_landmarks_model_and_noise(scene: JointScene) -> None:
    person = scene.people[0]
    assert person.keypoints is not None
    assert person.model is not None
    basis = BodyEvidence(person.keypoints, scene.observation.camera, person.model, BodyFitConfig(sigma_2d=0.02))
    fitted = PersonToFit.of(BodyFit(person.body.params, person.body, 0.0, 300.0, basis))
    assert (fitted.keypoints, fitted.model, fitted.config.sigma_2d) == (person.keypoints, person.model, 0.02)
    bare = PersonToFit.of(person.body)
    assert (bare.keypoints, bare.model) == (None, None)
    assert PersonToFit.of(bare) is bare


def test_hypotheses_swap_one_object_at_a_time() -> None:
    poses = [ObjectPose(np.eye(3), [0.0, 0.0, float(z)]) for z in range(1, 6)]
    others = tuple(ObjectAlternative(p, e, 0.5) for p, e in zip(poses[1:3], (3.0, 9.0), strict=True))
    first = ObjectFit("a", poses[0], 1.0, others, {}, 0.5, 0.0)
    second = ObjectFit("b", poses[3], 2.0, (ObjectAlternative(poses[4], 5.0, 0.5),), {}, 0.5, 0.0)
    found = [[float(p.t[2]) for p in h] for h in hypotheses([first, second], 3)]
    assert found == [[1, 4], [2, 4], [1, 5]]


def test_overlap_of_two_boxes_is_known() -> None:
    a = boxes([((0, 0, 0), (0.2, 0.2, 0.2))], 0.02)
    b = boxes([((0.17, 0, 0), (0.2, 0.16, 0.16))], 0.02)
    found = overlap(0, 0, a, b, b.verts)
    assert found.depth_mm == pytest.approx(30, abs=1)
    assert found.volume_cm3 == pytest.approx(3 * 16 * 16, rel=0.1)
    away = b.verts + np.array([0.1, 0.0, 0.0])
    apart = overlap(0, 0, a, b.with_verts(away), away)
    assert (apart.depth_mm, apart.volume_cm3) == (0.0, 0.0)


def test_bad_input_is_refused_in_a_sentence(scene: JointScene) -> None:
    seen, person, objects, pair = scene.observation, scene.people[0], scene.objects, scene.contacts[0, 0]
    with pytest.raises(InputError, match="one mask for each object"):
        fit(seen, person, [*objects, *objects], [pair, pair])
    with pytest.raises(InputError, match="who touches what"):
        fit(seen, [person, person], objects, [pair])
    with pytest.raises(InputError, match="got 2 contacts for 1 objects"):
        fit(seen, person, objects, [pair, pair])
    with pytest.raises(InputError, match="which are not there"):
        fit(seen, person, objects, {(3, 0): pair})
    with pytest.raises(InputError, match="each with 1 poses"):
        fit(seen, person, objects, [pair], starts=[[]])
    with pytest.raises(InputError):
        fit(seen, person, objects, [(ContactMap(np.zeros(7), person.body.topology), pair[1])])
    with pytest.raises(InputError, match="needs positive carried"):
        JointConfig(carried=0)
    empty = seen.replace(object_masks=(np.zeros(seen.size, bool),))
    with pytest.raises(InputError, match="0 pixels"):
        fit(empty, person, objects, [pair])
    dot = Mesh(np.eye(3), [[0, 1, 2]])
    with pytest.raises(InputError, match="at least 4"):
        fit(seen, person, [replace(objects[0], mesh=dot)], [None])
    other = replace(load_body(), topology="another body")
    with pytest.raises(InputError, match="give the model that posed it"):
        fit(seen, PersonToFit(person.body, model=other), objects, [pair])
