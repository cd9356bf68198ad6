"""Frames of a video as one problem: block by block the same as all at once, one size, less jitter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hoirecon.data.body import load_body
from hoirecon.errors import InputError
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import fit
from hoirecon.fitting.joint_person import PersonToFit
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.joint_state import JointState
from hoirecon.fitting.joint_terms import OnObject, PoseAnchor
from hoirecon.fitting.joint_time import EvenMotion, EvenPose
from hoirecon.fitting.joint_video import VideoConfig, _settings, fit_video, links, same_shape
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_terms import ScalePrior
from hoirecon.fitting.objective import Term, gmof
from hoirecon.fitting.video_state import VideoState, linearise_video, window_view
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from tests.fitting.joint_scenes import JointScene, _seen, make_joint_scene

STAGE = StageConfig(6, 64, 128, 80, 6.0, 0.06, 0.015, 1.0)
QUICK = JointConfig(chain=replace(STAGE, iterations=4), whole=STAGE, polish=None, refreshes=0)


@pytest.fixture(scope="module")
def scene() -> JointScene:
    return make_joint_scene()


@pytest.fixture(scope="module")
def problem(scene: JointScene) -> JointProblem:
    return scene.problem()


@pytest.fixture(scope="module")
def video(problem: JointProblem, scene: JointScene) -> VideoState:
    """Three frames that stand differently, all with the size of the first."""
    base = problem.start([list(scene.poses)]).freed(problem.moving(chain=True))
    generator = torch.Generator().manual_seed(0)
    steps = 0.1 * torch.randn(3, 1, base.layout.size, generator=generator, dtype=torch.float64)
    return VideoState(tuple(base.retract(step) for step in steps)).with_common_size()


def test_a_video_has_one_size_per_object(video: VideoState) -> None:
    single = video.frames[0].layout.size
    assert video.size == 3 * (single - 1) + 1
    moved = video.retract(torch.full((1, video.size), 0.01, dtype=torch.float64))
    sizes = [float(f.objects[0].log_s) for f in moved.frames]
    assert sizes == pytest.approx([float(video.frames[0].objects[0].log_s) + 0.01] * 3)


@pytest.mark.parametrize("term", [EvenMotion(0, 1, 2), EvenPose(0, 1, 2)], ids=["object", "person"])
def test_jacobians_of_even_motion_equal_autograd(
    term: Term[JointView], video: VideoState, problem: JointProblem
) -> None:
    state = window_view(video, (0, 1, 2), [problem.figures] * 3).state
    step = torch.zeros(1, state.layout.size, dtype=torch.float64, requires_grad=True)
    followed = term.residuals(JointView(state.retract(step), problem.figures * 3)).r
    closed = term.residuals(JointView(state, problem.figures * 3))
    v = torch.randn(followed.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (exact,) = torch.autograd.grad((followed * v).sum(), step)
    assert float(exact.abs().max()) > 1
    assert torch.allclose(
        torch.einsum("bnc,bncd->bd", v, closed.J), exact, rtol=1e-6, atol=1e-7 * float(exact.abs().max())
    )


def test_steady_motion_costs_nothing(video: VideoState, problem: JointProblem) -> None:
    """The same turn and the same shift in both steps, of object and person."""
    first = video.frames[0]
    frames = [first]
    turn = torch.as_tensor(Rotation.from_rotvec([0.1, 0.3, -0.2]).as_matrix())
    for _ in range(2):
        o, b = frames[-1].objects[0], frames[-1].bodies[0]
        obj = replace(o, R=turn @ o.R, t=o.t + torch.tensor([0.1, 0.0, 0.05], dtype=torch.float64))
        body = replace(b, rotations=b.rotations @ turn, transl=b.transl + 0.03)
        frames.append(JointState((obj,), (body,), first.layout))
    view = window_view(VideoState(tuple(frames)), (0, 1, 2), [problem.figures] * 3)
    for term in (EvenMotion(0, 1, 2), EvenPose(0, 1, 2)):
        assert float(term.residuals(view).r.abs().max()) < 1e-6


def test_block_by_block_is_the_same_as_all_at_once(video: VideoState, problem: JointProblem) -> None:
    """Gradient of the whole against autograd through the video's own step; costs add up."""
    figures = [problem.figures] * 3
    (contact,) = (t for t in problem.terms(QUICK.whole) if t.name == "contact")
    own: list[Term[JointView]] = [contact, PoseAnchor(0, problem.people[0].anchor), OnObject(ScalePrior(0.1, 0.1), 0)]
    terms = [own, own[:2], own[:2]]
    windows = links(video, VideoConfig(QUICK))
    quad = linearise_video(video, terms, windows, figures)
    step = torch.zeros(1, video.size, dtype=torch.float64, requires_grad=True)
    moved = video.retract(step)
    total = torch.zeros((), dtype=torch.float64)
    views = [JointView(f, problem.figures) for f in moved.frames]
    pairs = [(t, view) for view, listed in zip(views, terms, strict=True) for t in listed]
    pairs += [(t, window_view(moved, w.frames, figures)) for w in windows for t in w.terms]
    for term, view in pairs:
        res = term.residuals(view)
        total = total + term.weight * (res.w.detach() * gmof(res.r.square().sum(-1), term.robust)[0]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert step.grad is not None
    assert float(quad.cost) == pytest.approx(float(total.detach()))
    assert torch.allclose(step.grad, 2 * quad.gradient, rtol=1e-6, atol=1e-6 * float(quad.gradient.abs().max()))
    assert torch.allclose(quad.hessian, quad.hessian.mT, rtol=1e-5, atol=1e-5 * float(quad.hessian.abs().max()))
    assert (quad.hessian[0].diagonal() > 0).all()


def test_persons_get_their_mean_shape_and_stay_in_place(scene: JointScene) -> None:
    model, person = load_body(), scene.people[0]
    frames = []
    for size in (-1.0, 0.0, 1.0):
        betas = person.body.params.betas.copy()
        betas[0] = size
        frames.append([PersonToFit(model.pose(person.body.params.replace(betas=betas)), None, model)])
    same = same_shape(frames)
    assert all(np.allclose(own[0].body.params.betas[0], 0.0) for own in same)
    for before, after in zip(frames, same, strict=True):
        assert np.allclose(before[0].body.joints[0], after[0].body.joints[0], atol=1e-6)


def moving(
    count: int, scene: JointScene, seed: int = 0
) -> tuple[list[Observation], list[PersonToFit], list[ObjectPose]]:
    """The person walks to the side with the object, which turns slowly; masks and bodies are wrong in each frame."""
    rng, model, person = np.random.default_rng(seed), load_body(), scene.people[0]
    seen, people, poses = [], [], []
    for f in range(count):
        shift = np.array([0.02, 0.0, 0.01]) * f
        body = model.pose(person.body.params.replace(transl=person.body.params.transl + shift))
        turn = Rotation.from_rotvec([0.0, np.radians(2.0) * f, 0.0]).as_matrix()
        pose = ObjectPose(turn @ scene.poses[0].R, scene.poses[0].t + shift)
        exact = _seen([body], [scene.objects[0].mesh.with_verts(pose.apply(scene.objects[0].mesh.verts))])
        roll = rng.integers(-2, 3, 2)
        masks = tuple(np.roll(m, tuple(roll), (0, 1)) for m in exact.object_masks)
        seen.append(exact.replace(object_masks=masks))
        bent = body.params.body_pose + np.radians(2.0) * rng.standard_normal(63)
        moved = body.params.transl + 0.01 * rng.standard_normal(3)
        people.append(PersonToFit(model.pose(body.params.replace(body_pose=bent, transl=moved)), None, model))
        poses.append(pose)
    return seen, people, poses


def jitter(poses: list[ObjectPose], truth: list[ObjectPose]) -> float:
    """Root mean square of the error's second difference, metres."""
    off = np.array([p.t - t.t for p, t in zip(poses, truth, strict=True)])
    return float(np.sqrt(np.mean(np.sum(np.diff(off, 2, axis=0) ** 2, 1))))


@pytest.mark.slow
def test_ten_frames_have_one_better_size_and_less_jitter(scene: JointScene) -> None:
    seen, people, truth = moving(10, scene)
    small = scene.objects[0].mesh.with_verts(scene.objects[0].mesh.verts / 1.1)
    things = [replace(scene.objects[0], mesh=small, size_prior=(0.0, 0.15))]
    starts = [[ObjectPose(p.R, p.t + np.array([0.01, -0.01, 0.02]))] for p in truth]
    on_body, on_object = scene.contacts[0, 0]
    pair = (on_body, on_object.replace(topology=small.topology))
    found = fit_video(seen, people, things, [[pair]] * 10, QUICK, starts=starts)
    alone = [fit(s, p, things, [pair], QUICK, starts=[start]) for s, p, start in zip(seen, people, starts, strict=True)]
    single = [r.best.poses[0] for r in alone]
    together = [r.best.poses[0] for r in found.frames]
    assert len({p.s for p in together}) == 1
    assert found.scales[0] == pytest.approx(together[0].s, rel=1e-5)
    errors = [abs(np.log(p.s / 1.1)) for p in single]
    assert abs(np.log(found.scales[0] / 1.1)) < 0.7 * np.sqrt(np.mean(np.square(errors)))
    assert jitter(together, truth) < 0.4 * jitter(single, truth)
    stds = [r.covariance.std(next(iter(r.covariance.blocks)))[6] for r in alone]
    assert found.scale_std[0] < 0.7 * np.median(stds)


def test_what_is_no_video_is_refused(scene: JointScene) -> None:
    seen, person, objects, pair = scene.observation, scene.people[0], scene.objects, scene.contacts[0, 0]
    with pytest.raises(InputError, match="at least two frames"):
        fit_video([seen], [person], objects, [[pair]])
    with pytest.raises(InputError, match="2 observations, 1 bodies"):
        fit_video([seen, seen], [person], objects, [[pair], [pair]])
    with pytest.raises(InputError, match="same persons are needed"):
        fit_video([seen, seen], [person, [person, person]], objects, [[pair], [pair]])
    with pytest.raises(InputError, match="one per object"):
        fit_video([seen, seen], [person, person], objects, [[pair], [pair]], starts=[[], []])
    with pytest.raises(InputError, match="bodies of a video are a list, one entry for each frame; got PersonToFit"):
        fit_video([seen, seen], person, objects, [[pair], [pair]])
    with pytest.raises(InputError, match="must be a VideoConfig, JointConfig or FitConfig, got dict"):
        fit_video([seen, seen], [person] * 2, objects, [[pair]] * 2, {"weight": 1.0})
    with pytest.raises(InputError, match="positive body_shift_sigma"):
        VideoConfig(body_shift_sigma=0.0)


def test_settings_of_a_frame_or_of_its_first_stage_are_settings_of_a_video() -> None:
    first = FitConfig(hypotheses=3)
    assert _settings(first) == VideoConfig(joint=JointConfig(objects=first))
    assert _settings(QUICK) == VideoConfig(joint=QUICK)
    assert _settings(None) == VideoConfig()
