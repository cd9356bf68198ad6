"""A body from landmarks: pose, shape and place of one person, by batched Levenberg-Marquardt over several starts.

In the spirit of SMPLify (Bogo et al., ECCV 2016), but with least squares throughout, exact Jacobians, anatomical joint
ranges and a pose prior of our own (:mod:`hoirecon.fitting.pose_prior`), so that no licensed data is needed. Depth
follows from the size of the body: of the mean shape, unless the stature is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.camera import Camera
from hoirecon.data.body.jacobian import BodyPoints, points_of_landmarks
from hoirecon.data.body.landmarks import body_landmarks
from hoirecon.data.body.model import BodyModel
from hoirecon.errors import InputError
from hoirecon.fitting.body_evidence import Evidence, gather_evidence
from hoirecon.fitting.body_starts import make_starts
from hoirecon.fitting.body_state import FitState, limit_step, merge, retract, select
from hoirecon.fitting.body_terms import (
    Anchor,
    BodyView,
    JointLimits,
    Landmarks2D,
    Landmarks3D,
    Lines,
    Links,
    Stature,
    Targets,
    UsualPose,
    UsualShape,
)
from hoirecon.fitting.body_types import BodyEvidence, BodyFit, BodyFitConfig, BodyLine, BodyLink, PointTarget
from hoirecon.fitting.hand_poses import hand_pose
from hoirecon.fitting.objective import Term, linearise, report_term
from hoirecon.fitting.pose_prior import SITTING, STANDING, PosePrior, pose_prior
from hoirecon.fitting.solver import LMConfig, LMResult, levenberg_marquardt
from hoirecon.observation import Keypoints, Observation

COARSE_ITERATIONS = 12
KEPT_STARTS = 3
"""After the coarse stage only so many of the cheapest starts go on."""
SITS_DEG = 35.0
"""Flexion of the guessed hips from which unseen legs sit. Less than half-way from standing to sitting: guesses of
several looks that contradict each other have a mean that stands (the tablet of the photographs: 79 and 39 degrees)."""


@dataclass(frozen=True)
class BodyProblem:
    """Everything that stays fixed while bodies move."""

    evidence: Evidence
    points: BodyPoints
    prior: PosePrior
    terms: tuple[Term[BodyView], ...]

    def solve(self, state: FitState, iterations: int, robust: bool = True) -> LMResult[FitState]:
        """Move a batch of bodies downhill."""
        terms = self.terms if robust else tuple(_plain(term) for term in self.terms)
        return levenberg_marquardt(
            state,
            lambda s: linearise(terms, BodyView.of(s, self.points, self.prior)),
            retract,
            select,
            merge,
            LMConfig(iterations=iterations),
            limit_step,
        )


def fit_body(
    keypoints: Keypoints | Observation,
    camera: Camera | None = None,
    body_model: BodyModel | None = None,
    config: BodyFitConfig | None = None,
    *,
    grip: Mapping[str, float] | None = None,
) -> BodyFit:
    """Fit a SMPL-H-layout body to one person's landmarks.

    Args:
        keypoints: landmarks, or an observation that has them (then ``camera`` may be left out).
        camera: intrinsics of the image in which the landmarks are pixels.
        body_model: the body; default: the free body.
        config: noise, priors and starts; None takes the defaults.
        grip: how far each hand is closed, ``{"left": 0..1, "right": 0..1}``; default: idle hands.

    Returns:
        The cheapest of all starts, with residuals in px and mm and flags for what was only guessed.

    Raises:
        InputError: no keypoints, another layout, or too little of the person seen.
    """
    keypoints, camera = _inputs(keypoints, camera)
    config = config or BodyFitConfig()
    model = (body_model if body_model is not None else _free_body()).to(dtype=torch.float64)
    evidence = gather_evidence(keypoints, camera, model, config)
    hands = _hands(model, config, grip or {})
    prior = _prior_for(evidence, config).to(model.v_template)
    points = points_of_landmarks(model, body_landmarks(model, keypoints.layout))
    betas, stature = _first_betas(model, config)
    starts, names = make_starts(evidence, points, camera, prior, hands, config.yaw_starts, betas)
    # The first follows the detector's 3D guess, if there is one; the others guess the pose too.
    likeliest = starts.body.transl[:1, 2] if evidence.xyz is not None else starts.body.transl[:, 2]
    height_px = camera.focal[1] * stature / float(likeliest.median())
    problem = BodyProblem(evidence, points, prior, _terms(evidence, camera, model, prior, config, height_px))
    coarse = problem.solve(starts, COARSE_ITERATIONS, robust=False)
    kept = torch.argsort(coarse.quadratic.cost)[:KEPT_STARTS]
    fine = problem.solve(select(coarse.state, kept), config.iterations)
    best = int(fine.quadratic.cost.argmin())
    basis = BodyEvidence(keypoints, camera, model, config)
    return body_result(problem, select(fine.state, torch.tensor([best])), basis, names[int(kept[best])])


def refine_body(
    fit: BodyFit,
    targets: Sequence[PointTarget] = (),
    links: Sequence[BodyLink] = (),
    lines: Sequence[BodyLine] = (),
    *,
    grip: Mapping[str, float] | None = None,
    iterations: int = 20,
) -> BodyFit:
    """Move a fitted body so that places on it come to places in space, or to one another, as far as its evidence lets.

    2D landmarks and joint ranges stay. Instead of the detector's 3D guess and the priors, the first fit itself, which
    has heard them, is an anchor; it is loose for arms, whose depth a photograph knows least. So limbs move rather
    than the person.

    Args:
        fit: result of :func:`fit_body`.
        targets: e.g. both palms at the bar.
        links: e.g. a palm and an ear that touch the same telephone.
        lines: e.g. hand, nape and hand at one bar.
        grip: how far each hand is closed now; None keeps the fingers.
        iterations: most steps of the solver.

    Returns:
        The refined fit; ``target_errors_m`` says how near each target was met. The fit itself if nothing is asked.

    Raises:
        InputError: a target or link names vertices that the body does not have.
    """
    if not targets and not links and not lines and grip is None:
        return fit
    basis, (problem, state) = fit.evidence, problem_of(fit)
    if grip is not None:
        hands = _hands(basis.model, basis.config, grip)[None]
        rotations = torch.cat([state.body.rotations[:, :22], hands], dim=1)
        state = replace(state, body=replace(state.body, rotations=rotations))
    terms = tuple(term for term in problem.terms if isinstance(term, Landmarks2D | JointLimits))
    points, asked = _asked(basis.model, problem.points, targets, links, lines)
    problem = replace(problem, points=points, terms=(*terms, Anchor.of(state), *asked))
    state = problem.solve(state, iterations).state
    at = BodyView.of(state, points, problem.prior).points[0, len(problem.evidence.names) :].cpu().numpy()
    errors = {t.name or f"target {i}": float(np.linalg.norm(at[i] - t.target_cam)) for i, t in enumerate(targets)}
    return replace(body_result(problem, state, basis, fit.start), target_errors_m=errors)


def problem_of(fit: BodyFit) -> tuple[BodyProblem, FitState]:
    """What a body was fitted to, and the body, a batch of one, to go on from."""
    basis = fit.evidence
    model, config = basis.model, basis.config
    evidence = gather_evidence(basis.keypoints, basis.camera, model, config)
    prior = _prior_for(evidence, config).to(model.v_template)
    points = points_of_landmarks(model, body_landmarks(model, basis.keypoints.layout))
    terms = _terms(evidence, basis.camera, model, prior, config, fit.person_height_px)
    state = FitState.from_params(model, fit.params)
    state = replace(state, log_scale=torch.full_like(state.log_scale, fit.detector_log_scale))
    return BodyProblem(evidence, points, prior, terms), state


def _inputs(keypoints: Keypoints | Observation, camera: Camera | None) -> tuple[Keypoints, Camera]:
    if isinstance(keypoints, Observation):
        camera = camera or keypoints.camera
        if keypoints.keypoints is None:
            raise InputError("the observation has no keypoints: detect a person first (hoirecon.perception)")
        keypoints = keypoints.keypoints
    if not isinstance(keypoints, Keypoints):
        raise InputError(
            f"the keypoints are of type {type(keypoints).__name__}: give Keypoints(layout, xy, confidence), or an "
            f"Observation that has them"
        )
    if camera is None:
        raise InputError("a body fit needs the camera of the image: give camera=, e.g. Camera.default(width, height)")
    return keypoints, camera


def _free_body() -> BodyModel:
    from hoirecon.data.body.files import load_body

    return load_body()


def _hands(model: BodyModel, config: BodyFitConfig, grip: Mapping[str, float]) -> Tensor:
    """(30, 3, 3) finger rotations."""
    flat = config.hand_pose == "flat"
    both = [hand_pose(side, float(grip.get(side, 0.0)), flat=flat) for side in ("left", "right")]
    left, right = (torch.as_tensor(h)[None].to(model.v_template) for h in both)
    return model.rotations(left_hand_pose=left, right_hand_pose=right)[0, 22:]


def _prior_for(evidence: Evidence, config: BodyFitConfig) -> PosePrior:
    """The usual pose, with unseen legs where they belong."""
    if not {"left_leg", "right_leg"} <= set(evidence.unseen):
        return pose_prior()
    return pose_prior(SITTING if _legs_sit(evidence, config) else STANDING)


def _legs_sit(evidence: Evidence, config: BodyFitConfig) -> bool:
    """Whether unseen legs are taken to sit: as told, or if the 3D guess flexes the hips by :data:`SITS_DEG`."""
    if config.unseen_legs != "auto":
        return config.unseen_legs == "sit"
    if evidence.xyz is None:
        return False
    points = {n: evidence.xyz[evidence.index(n)] for n in evidence.names}
    up = sum(points[f"{s}_shoulder"] - points[f"{s}_hip"] for s in ("left", "right"))
    thigh = sum(points[f"{s}_knee"] - points[f"{s}_hip"] for s in ("left", "right"))
    cosine = -float(up @ thigh) / max(float(np.linalg.norm(up) * np.linalg.norm(thigh)), 1e-9)
    return bool(cosine < np.cos(np.deg2rad(SITS_DEG)))


def _first_betas(model: BodyModel, config: BodyFitConfig) -> tuple[Tensor, float]:
    """Shape to start from and its stature in metres: the mean, or the likeliest of the given stature."""
    mean, per_beta = stature_of(model)
    if config.height_m is None:
        return torch.zeros_like(per_beta), mean
    betas = per_beta * (config.height_m - mean) / per_beta.square().sum().clamp_min(1e-9)
    return betas, config.height_m


def stature_of(model: BodyModel) -> tuple[float, Tensor]:
    """Stature of the mean shape in metres, and its change per shape coefficient (NB,)."""
    y = model.v_template[:, 1]
    top, bottom = int(y.argmax()), int(y.argmin())
    return float(y[top] - y[bottom]), model.shapedirs[top, 1] - model.shapedirs[bottom, 1]


def _terms(
    evidence: Evidence,
    camera: Camera,
    model: BodyModel,
    prior: PosePrior,
    config: BodyFitConfig,
    height_px: float,
) -> tuple[Term[BodyView], ...]:
    """The whole objective on one screen."""

    def tensor(a: FloatArray) -> Tensor:
        return torch.as_tensor(np.array(a)).to(model.v_template)

    noise, K = tensor(evidence.noise), tensor(camera.K)
    terms: list[Term[BodyView]] = [
        Landmarks2D(
            tensor(evidence.xy), tensor(evidence.trust_2d), noise, K, config.sigma_2d * height_px, config.robust_2d
        ),
        JointLimits(prior, np.deg2rad(config.limit_sigma_deg)),
        UsualPose(prior, config.prior_weight),
        UsualShape(config.shape_sigma, config.scale_log_sigma),
    ]
    if evidence.xyz is not None:
        trust = tensor(evidence.trust_3d)
        xyz = tensor(evidence.xyz)
        terms.append(Landmarks3D(xyz, trust, noise, config.depth_noise, config.sigma_3d_m, config.robust_3d))
    if config.height_m is not None:
        mean, per_beta = stature_of(model)
        terms.append(Stature(config.height_m, mean, per_beta, config.height_sigma_m))
    return tuple(terms)


def _plain(term: Term[BodyView]) -> Term[BodyView]:
    """The term without its robust function, for the coarse stage: far starts must feel all landmarks."""
    return term if term.robust is None else replace(term, robust=None)  # type: ignore[type-var]


def _asked(
    model: BodyModel,
    landmarks: BodyPoints,
    targets: Sequence[PointTarget],
    links: Sequence[BodyLink],
    lines: Sequence[BodyLine],
) -> tuple[BodyPoints, list[Term[BodyView]]]:
    """The points that targets, links and lines speak of, after the landmarks, and their terms."""
    groups = [(t.vertex_ids, t.weights) for t in targets]
    means = [ids for k in links for ids in (k.first_ids, k.second_ids)]
    means += [ids for k in lines for ids in (k.first_ids, k.middle_ids, k.last_ids)]
    groups += [(ids, np.full(len(ids), 1 / len(ids))) for ids in means]
    if not groups:
        return landmarks, []
    first, like = len(landmarks), model.v_template
    terms: list[Term[BodyView]] = []
    if targets:
        goals = torch.as_tensor(np.stack([t.target_cam for t in targets])).to(like)
        sigmas = torch.tensor([t.sigma_m for t in targets]).to(like)
        terms.append(Targets(tuple(range(first, first + len(targets))), goals, sigmas))
    if links:
        start = first + len(targets)
        ends = tuple(range(start, start + 2 * len(links)))
        most, sigmas = (torch.tensor([getattr(k, name) for k in links]).to(like) for name in ("at_most_m", "sigma_m"))
        terms.append(Links(ends[::2], ends[1::2], most, sigmas))
    if lines:
        start = first + len(targets) + 2 * len(links)
        terms.append(Lines(tuple((start + 3 * i, start + 3 * i + 1, start + 3 * i + 2) for i in range(len(lines)))))
    return landmarks + _mean_points(model, groups), terms


def _mean_points(model: BodyModel, groups: Sequence[tuple[IntArray, FloatArray]]) -> BodyPoints:
    """Weighted means of vertices as points of the body."""
    width = max(len(ids) for ids, _ in groups)
    idx, w = np.zeros((len(groups), width), dtype=np.int64), np.zeros((len(groups), width))
    for row, (ids, weights) in enumerate(groups):
        idx[row, : len(ids)], w[row, : len(ids)] = ids, weights
    chosen = model.indices(idx.reshape(-1)).view(idx.shape)
    weights_ = torch.as_tensor(w).to(model.v_template)
    return BodyPoints(model, chosen, weights_, weights_.new_zeros(len(groups), 52))


def body_result(problem: BodyProblem, state: FitState, basis: BodyEvidence, start: str) -> BodyFit:
    """Everything worth knowing about a batch of one."""
    model, camera = basis.model, basis.camera
    view = BodyView.of(state, problem.points, problem.prior)
    params = state.body.to_params(model.topology)[0]
    used = problem.evidence.used
    pixels = camera.project(view.points[0, : len(used)].cpu().numpy())
    error = float(np.nanmedian(np.linalg.norm(pixels - problem.evidence.xy, axis=1)[used]))
    mean, per_beta = stature_of(model)
    stature = mean + float(state.body.betas[0] @ per_beta)
    body = model.pose(params)
    height_px = camera.focal[1] * stature / float(body.joints[0, 2])
    reports: tuple[Any, ...] = tuple(report_term(term, view) for term in problem.terms)
    return BodyFit(
        params=params,
        body=body,
        landmark_error_px=error,
        person_height_px=height_px,
        evidence=basis,
        reports=reports,
        unseen=problem.evidence.unseen,
        flags=_flags(problem, basis, error / height_px),
        start=start,
        cost=sum(r.cost for r in reports),
        stature_m=stature,
        detector_log_scale=float(state.log_scale[0]),
    )


def _flags(problem: BodyProblem, basis: BodyEvidence, relative_error: float) -> tuple[str, ...]:
    flags = []
    unseen = set(problem.evidence.unseen)
    if {"left_leg", "right_leg"} <= unseen:
        pose = "sitting" if _legs_sit(problem.evidence, basis.config) else "standing"
        flags.append(f"the legs are not seen: they are given a {pose} pose (unseen_legs='sit' or 'stand' decides it)")
        unseen -= {"left_leg", "right_leg"}
    if unseen:
        flags.append(f"not seen, so posed as people usually are: {', '.join(sorted(unseen)).replace('_', ' ')}")
    if basis.config.height_m is None:
        flags.append("the person's stature was assumed, so depth and size of the scene are known to about 10 percent")
    if basis.camera.source == "default":
        flags.append("the focal length was assumed (50 mm equivalent), so depth is uncertain")
    if relative_error > 0.02:
        flags.append(f"the body misses its landmarks by {100 * relative_error:.1f} percent of its height: look at it")
    return tuple(flags)
