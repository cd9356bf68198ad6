"""Video: bodies and objects of all frames in one problem, with one size per object and even motion."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.fitting.covariance import contour_misfit, laplace
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.ground import Ground
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import AnyBody, Contacts, finite_ones, fit, prepare_joint, with_names
from hoirecon.fitting.joint_person import PersonToFit, model_of
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.joint_result import make_result
from hoirecon.fitting.joint_time import EvenMotion, EvenPose
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Quadratic, Term
from hoirecon.fitting.report import JointFit
from hoirecon.fitting.solver import LMConfig, levenberg_marquardt
from hoirecon.fitting.video_state import VideoState, Window, limit_video_step, linearise_video
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.short import counted, flags_text, short


@dataclass(frozen=True)
class VideoConfig:
    """Settings of :func:`fit_video`; noises are of the change from step to step at the video's frame rate."""

    joint: JointConfig = field(default_factory=JointConfig)
    """Of the single frames; their last stages are what all frames go through together."""
    object_turn_sigma: float = math.radians(4)
    """Change of an object's turn per frame, radians."""
    object_shift_sigma: float = 0.02
    """Change of an object's shift per frame, metres."""
    joint_turn_sigma: float = math.radians(4)
    """Change of a body joint's turn per frame, radians."""
    body_shift_sigma: float = 0.02
    """Change of a body's shift per frame, metres."""
    weight: float = 1.0
    """Of the links between frames; 0 leaves only the size in common."""

    def __post_init__(self) -> None:
        names = ("object_turn_sigma", "object_shift_sigma", "joint_turn_sigma", "body_shift_sigma")
        bad = [name for name in names if not getattr(self, name) > 0]
        if bad or not self.weight >= 0:
            raise InputError(f"the fit of a video needs positive {', '.join(bad) or 'weight'}: check the settings")


@dataclass(frozen=True, repr=False)
class VideoFit:
    """Result of :func:`fit_video`."""

    frames: tuple[JointFit, ...]
    """Of each frame, in order; covariances are those of the whole problem's blocks, poses have the common size."""
    scales: tuple[float, ...]
    """Size of each object, the same in all frames."""
    scale_std: tuple[float, ...]
    """One sigma of its logarithm."""
    covariance: FloatArray
    """(D, D) of all unknowns: first the log sizes, then frame after frame."""
    seconds: dict[str, float]
    """CPU seconds per stage."""

    def __repr__(self) -> str:
        """Three lines: counts, each object's size, flags and in how many frames."""
        first = self.frames[0]
        counts = f"{counted(len(first.best.bodies), 'body', 'bodies')}, {counted(len(self.scales), 'object')}"
        sizes = [
            f"{name}: size x {scale:.2f} +- {100 * std:.0f} %"
            for name, scale, std in zip(first.weakest, self.scales, self.scale_std, strict=False)
        ]
        times = Counter(flag for frame in self.frames for flag in frame.flags)
        flags = flags_text([f"{flag} ({counted(count, 'frame')})" for flag, count in times.items()])
        return f"<VideoFit: {counted(len(self.frames), 'frame')}, {counts}\n {short('; '.join(sizes), 200)}\n {flags}>"


def fit_video(
    observations: Sequence[Observation],
    bodies: Sequence[AnyBody | Sequence[AnyBody]],
    objects: Sequence[ObjectToFit],
    contacts: Sequence[Contacts],
    config: VideoConfig | JointConfig | FitConfig | None = None,
    *,
    ground: Ground | None = None,
    starts: Sequence[Sequence[ObjectPose]] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VideoFit:
    """Find the objects and bodies of a few frames together: each object has one size, each person one shape, and both
    move evenly.

    The first frame is searched from scratch, each further one from where the frame before ended; then all frames are
    one problem.

    Args:
        observations: of each frame.
        bodies: of each frame, as :func:`~hoirecon.fitting.joint_fit.fit` takes them: the same persons in one order.
        objects: the same in all frames.
        contacts: of each frame, as :func:`~hoirecon.fitting.joint_fit.fit` takes them.
        config: settings; a :class:`JointConfig` sets the single frames alone, a :class:`FitConfig` their first stage.
        ground: what things stand on, camera frame; the camera then stands still.
        starts: per frame one pose per object; nothing is searched then.
        device: where to compute.
        dtype: of the computation.

    Raises:
        InputError: lists of different lengths, another number of persons in some frame, fewer than two frames; and
            what a single frame's fit refuses.
    """
    config = _settings(config)
    people = same_shape(_check(observations, bodies, contacts, starts, len(objects)))
    clock, seconds = time.process_time(), {}
    singles: list[JointFit] = []
    for f, (seen, persons, touch) in enumerate(zip(observations, people, contacts, strict=True)):
        begin = [[*starts[f]]] if starts is not None else ([[*singles[-1].best.poses]] if singles else None)
        singles.append(
            fit(seen, persons, objects, touch, config.joint, ground=ground, starts=begin, device=device, dtype=dtype)
        )
    seconds["single frames"] = time.process_time() - clock
    clock = time.process_time()
    problems = [
        _prepared(observations[f], people[f], objects, contacts[f], config.joint, singles[f], ground, device, dtype)
        for f in range(len(observations))
    ]
    video, quad, problems = solve_video(problems, singles, config)
    seconds["video"] = time.process_time() - clock
    return _result(video, quad, problems, singles, seconds)


def _settings(config: Any) -> VideoConfig:
    """The settings of a video, from those of a frame or of its first stage too."""
    if isinstance(config, FitConfig):
        config = JointConfig(objects=config)
    if isinstance(config, JointConfig):
        return VideoConfig(joint=config)
    if not isinstance(config, VideoConfig | None):
        raise InputError(
            f"the config of fit_video must be a VideoConfig, JointConfig or FitConfig, got {type(config).__name__}"
        )
    return config or VideoConfig()


def _check(
    observations: Sequence[Observation], bodies: Sequence[Any], contacts: Sequence[Any], starts: Any, objects: int
) -> list[list[PersonToFit]]:
    for name, given in (("observations", observations), ("bodies", bodies), ("contacts", contacts)):
        if not isinstance(given, Sequence):
            raise InputError(f"{name} of a video are a list, one entry for each frame; got {type(given).__name__}")
    count = len(observations)
    if count < 2 or len(bodies) != count or len(contacts) != count or (starts is not None and len(starts) != count):
        raise InputError(
            f"a video needs at least two frames and bodies and contacts of each; got {count} observations, "
            f"{len(bodies)} bodies and {len(contacts)} contacts"
        )
    if starts is not None and any(len(poses) != objects for poses in starts):
        raise InputError(f"starts of a video are {objects} poses for each frame, one per object")
    people = [[PersonToFit.of(b) for b in ([own] if isinstance(own, AnyBody) else own)] for own in bodies]
    if len({len(own) for own in people}) > 1:
        raise InputError(
            f"the same persons are needed in all frames, got {[len(own) for own in people]}: give one body for each "
            f"person in each frame, in the same order"
        )
    return people


def same_shape(people: list[list[PersonToFit]]) -> list[list[PersonToFit]]:
    """The persons with each one's mean shape in all frames; the pelvis stays where it was."""
    found = [list(own) for own in people]
    for i in range(len(people[0])):
        betas = [own[i].body.params.betas for own in people]
        if all(np.array_equal(b, betas[0]) for b in betas):
            continue
        mean = np.mean(betas, axis=0)
        for own in found:
            model, before = model_of(own[i]), own[i].body
            body = model.pose(before.params.replace(betas=mean))
            params = body.params.replace(transl=body.params.transl + before.joints[0] - body.joints[0])
            own[i] = replace(own[i], body=model.pose(params))
    return found


def _prepared(
    seen: Observation,
    people: list[PersonToFit],
    objects: Sequence[ObjectToFit],
    touch: Contacts,
    config: JointConfig,
    single: JointFit,
    ground: Ground | None,
    device: torch.device | str,
    dtype: torch.dtype,
) -> JointProblem:
    """The problem of one frame, with the bodies where its own fit left them; they stay anchored to what came in."""
    from hoirecon.fitting.checks import check_fit

    poses = [list(single.best.poses)]
    checked, pairs, _ = check_fit(seen, people, objects, touch, config, (), poses, device, dtype)
    still = replace(config, body_first=False)
    problem, _ = prepare_joint(seen, checked, objects, pairs, still, poses, device, dtype, ground=ground)
    moved = []
    for person, body in zip(problem.people, single.best.bodies, strict=True):
        start = type(person.start).from_params(person.figure.model, body.params.replace(betas=[0.0]))
        moved.append(replace(person, start=replace(person.start, rotations=start.rotations, transl=start.transl)))
    problem = replace(problem, people=tuple(moved), config=config)
    state, _ = finite_ones(problem.start(poses))
    return problem.with_surfaces(state)


def solve_video(
    problems: Sequence[JointProblem], singles: Sequence[JointFit], config: VideoConfig
) -> tuple[VideoState, Quadratic, list[JointProblem]]:
    """All frames together through the last stages; what hides what is drawn anew before the first."""
    states = [
        p.start([list(s.best.poses)]).freed(p.moving(chain=False)) for p, s in zip(problems, singles, strict=True)
    ]
    video = VideoState(tuple(states)).with_common_size()
    problems = [p.outlined(s) for p, s in zip(problems, video.frames, strict=True)]
    video = VideoState(tuple(p.redrawn(s) for p, s in zip(problems, video.frames, strict=True)))
    windows = links(video, config)
    joint = config.joint
    for stage in (joint.whole, *([] if joint.polish is None else [joint.polish])):
        video, _ = _solve(video, problems, windows, stage)
    final = VideoState(tuple(p.seen_in(s, joint.whole) for p, s in zip(problems, video.frames, strict=True)))
    return (
        final,
        linearise_video(final, _terms(problems, joint.whole), windows, [p.figures for p in problems]),
        problems,
    )


def _terms(problems: Sequence[JointProblem], stage: StageConfig) -> list[list[Term[JointView]]]:
    """Of each frame; the usual size of an object is asked for once, not in every frame."""
    found = [problem.terms(stage) for problem in problems]
    return [found[0], *([t for t in own if not t.name.startswith("scale prior")] for own in found[1:])]


def _solve(
    video: VideoState, problems: Sequence[JointProblem], windows: Sequence[Window], stage: StageConfig
) -> tuple[VideoState, Quadratic]:
    video = VideoState(tuple(p.seen_in(s, stage) for p, s in zip(problems, video.frames, strict=True)))
    terms, figures = _terms(problems, stage), [p.figures for p in problems]
    result = levenberg_marquardt(
        video,
        lambda v: linearise_video(v, terms, windows, figures),
        VideoState.retract,
        VideoState.select,
        VideoState.merge,
        LMConfig(iterations=stage.iterations),
        lambda step: limit_video_step(step, video),
    )
    return result.state, result.quadratic


def links(video: VideoState, config: VideoConfig) -> list[Window]:
    """Even motion of each object, and of each body that moves, over every three neighbouring frames."""
    if config.weight == 0:
        return []
    first = video.frames[0]
    objects, bodies = len(first.objects), len(first.bodies)
    turn, shift = (
        (config.object_turn_sigma, config.object_shift_sigma),
        (config.joint_turn_sigma, config.body_shift_sigma),
    )
    windows = []
    for f in range(len(video.frames) - 2):
        frames = (f, f + 1, f + 2)
        terms: list[Term[JointView]] = [
            EvenMotion(k, k + objects, k + 2 * objects, *turn, config.weight, name=f"even motion ({k})")
            for k in range(objects)
        ]
        terms += [
            EvenPose(i, i + bodies, i + 2 * bodies, *shift, config.weight, name=f"even pose ({i})")
            for i in range(bodies)
            if all(video.frames[n].layout.free[i].size for n in frames)
        ]
        windows.append(Window(frames, tuple(terms)))
    return windows


def _result(
    video: VideoState,
    quad: Quadratic,
    problems: Sequence[JointProblem],
    singles: Sequence[JointFit],
    seconds: dict[str, float],
) -> VideoFit:
    clock = time.process_time()
    covariance = laplace(quad.hessian[0])
    frames, misfits = [], []
    for state, place, problem, single in zip(video.frames, video.columns, problems, singles, strict=True):
        index = place.cpu().numpy()
        # the frame's own block of the whole covariance, as the curvature that make_result expects
        own = torch.as_tensor(np.linalg.inv(covariance[np.ix_(index, index)]), device=quad.hessian.device)
        terms = problem.terms(problem.config.whole)
        from hoirecon.fitting.objective import linearise

        alone = linearise(terms, problem.view(state))
        model = Quadratic(alone.cost, alone.gradient, own[None].to(alone.hessian), alone.terms)
        misfits.append(contour_misfit(terms, alone))
        found = make_result(problem, state, model, single.object_fits, 0, {})
        frames.append(with_names(problem, found))
    seconds["report"] = time.process_time() - clock
    count = len(video.frames[0].objects)
    scaled = float(np.mean(misfits)) * problems[0].config.covariance_scale
    std = np.sqrt(np.diag(covariance)[:count] * scaled)
    scales = tuple(float(o.log_s[0].double().exp()) for o in video.frames[0].objects)
    return VideoFit(tuple(frames), scales, tuple(std.tolist()), covariance * scaled, seconds)
