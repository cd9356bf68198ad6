"""Methods that a benchmark compares, behind one protocol: :class:`Problem` in, :class:`Prediction` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody


@dataclass(frozen=True, eq=False)
class Problem:
    """What a method is given."""

    observation: Observation
    body: SceneBody
    mesh: Mesh
    """The object, at a size that is off by an unknown factor."""
    name: str
    """Category of the object."""
    contacts: tuple[ContactMap, ContactMap] | None
    """On body and object; None if not given or if nothing touches."""
    correspondences: tuple[IntArray, FloatArray] | None
    """(N,) body vertices and the (N, 3) places on the object, object frame, that touch them; None if not given."""
    size_prior: tuple[float, float]
    """Mean and standard deviation of the log scale."""
    seed: int
    truth: ObjectPose | None = None
    """Only methods in :data:`ORACLES` get it."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a method says."""

    pose: ObjectPose
    alternatives: tuple[ObjectPose, ...] = ()
    """Further poses it thought of; the best of all tells how much was lost by choosing."""
    body: SceneBody | None = None
    """The body, if the method moved it."""
    flags: tuple[str, ...] = field(default=())
    """What it says of its own result, e.g. ``ambiguous``."""
    covariance: FloatArray | None = None
    """(7, 7) of the pose's error, if the method states it: turn about the centre of the mesh's bounding box (radians),
    shift of that centre (metres), log scale; camera axes."""
    chance_far: float | None = None
    """The chance, 0 to 1, that the object's surface is more than 5 cm off, if the method states it."""
    error_m: float | None = None
    """How far off it expects that surface to be, metres, if it says so."""


Method = Callable[[Problem], Prediction]


BODY_ENDS_M = (0.012, 0.012, 0.012)
"""How far off hands, feet and root of the given body are expected to be, each way, metres."""
JOINTS_DEG = 3.0
"""How far off its joints are expected to be, degrees of each component: 5 degrees in all."""
LANDMARK_SHARE = 0.01
"""Noise of a seen landmark, each way, as a share of the person's height in pixels."""
CONFIDENCE_POWER = 3.0
"""Landmarks count as their confidence to this power: hidden ones, whose confidence is about a third, hardly."""
LANDMARK_ROBUST = 8.0
"""Noise that is stated has no outliers: landmarks are robust from so many sigmas on only."""
SILHOUETTE_PX = 2.0
"""Noise of the person's contour, pixels."""
SILHOUETTE_WEIGHT = 30.0
"""Effective number of measurements of the person's contour, each way: a contour of 1,500 pixels whose errors are
correlated over 28 is some 54 measurements."""
CONTACT_WEIGHT = 8.0
"""Effective number of measurements of the contact, in the joint stages; what the object alone is placed with stays."""
COVARIANCE_SCALE = 1.4
"""Of the stated covariance: contact that counts for more measurements than it is independent ones makes the curvature
too sure. With it the median normalised squared error per degree of freedom is 0.78 on tuning scenes 0 to 79 at L1 and
1.04 on 100 to 199 at L2."""


def fit_hoirecon(problem: Problem, terms: Sequence[Any] = ()) -> Prediction:
    """Our joint fit from scratch, with its default settings but for how well the body is known.

    It is told, as any method may be, what the levels state of the body at L2: hands and feet are known to 2 cm, joints
    to 5 degrees, the landmarks, independent of each other and worse where hidden, to a hundredth of the stature, and
    the person's mask to 2 pixels, as nobody wears clothes here. How wide the band is that contact labels are is not
    told: ``JointConfig.surface_weight`` would use it, and generator, scorer and fit share no threshold.

    Args:
        problem: what is given.
        terms: further terms of the joint fit, such as those of named parts that touch.
    """
    from hoirecon.data.closedworld.posing import body_model
    from hoirecon.fitting import BodyFitConfig, JointConfig, ObjectToFit, PersonToFit, fit

    thing = ObjectToFit(problem.mesh, problem.name, problem.size_prior)
    marks = BodyFitConfig(sigma_2d=LANDMARK_SHARE, robust_2d=LANDMARK_ROBUST, even_landmarks=True,
                          confidence_power=CONFIDENCE_POWER)  # fmt: skip
    model = body_model()  # read once for all scenes
    person = PersonToFit(
        problem.body,
        problem.observation.keypoints,
        model if model.topology == problem.body.topology else None,
        marks,
        ends_sigma_m=BODY_ENDS_M,
        joints_sigma_deg=JOINTS_DEG,
        silhouette_sigma_px=SILHOUETTE_PX,
    )
    config = JointConfig(silhouette_beside_landmarks=True, silhouette_weight=SILHOUETTE_WEIGHT,
                         contact_weight=CONTACT_WEIGHT, anchor_transl=BODY_ENDS_M,
                         covariance_scale=COVARIANCE_SCALE)  # fmt: skip
    pairs = None if problem.correspondences is None else [problem.correspondences]
    found = fit(problem.observation, person, [thing], [problem.contacts], config, correspondences=pairs,
                terms=terms)  # fmt: skip
    others = tuple(a.poses[0] for a in found.alternatives)
    covariance = found.covariance.of(next(iter(found.covariance.spread)))
    sure = found.chance_far[0], found.predicted_error_m[0]
    return Prediction(found.best.poses[0], others, found.best.bodies[0], found.flags, covariance, *sure)


def fit_object_alone(problem: Problem) -> Prediction:
    """Our object fit from scratch with its default settings; the body stays as it came in."""
    from hoirecon.fitting import ObjectToFit, fit_objects

    thing = ObjectToFit(problem.mesh, problem.name, problem.size_prior)
    fit = fit_objects(problem.observation, problem.body, [thing], [problem.contacts])[0]
    others = tuple(a.pose for a in fit.alternatives)
    return Prediction(fit.pose, others, flags=fit.flags, chance_far=fit.chance_far, error_m=fit.predicted_error_m)


def fit_oracle_start(problem: Problem) -> Prediction:
    """Our refinement started at the truth: what the evidence allows if the search were perfect."""
    import torch

    from hoirecon.fitting import FitConfig, ObjectToFit, levenberg_marquardt, linearise
    from hoirecon.fitting.object_problem import prepare
    from hoirecon.fitting.object_state import ObjectState, limit_step
    from hoirecon.fitting.solver import LMConfig

    if problem.truth is None:
        raise InputError("a start at the truth needs the truth")
    config = FitConfig()
    thing = ObjectToFit(problem.mesh, problem.name, problem.size_prior)
    prepared = prepare(problem.observation, 0, problem.body.mesh, thing, problem.contacts, (), config, "cpu")
    truth = problem.truth
    centred = truth.t + truth.s * truth.R @ prepared.centre  # the prepared mesh stands on its middle
    R, t, log_s = (torch.as_tensor(np.asarray(v)[None]).to(prepared.verts) for v in (truth.R, centred, np.log(truth.s)))
    state = ObjectState(R, t, log_s, prepared.view(config.anneal))
    for stage in (config.anneal, config.final):
        terms = prepared.terms(stage, config)
        state = levenberg_marquardt(
            state.seen_by(prepared.view(stage)),
            partial(linearise, terms),
            ObjectState.retract,
            ObjectState.select,
            ObjectState.merge,
            LMConfig(iterations=stage.iterations),
            limit_step,
        ).state
    return Prediction(prepared.pose(state, 0))


def predict_nothing(problem: Problem) -> Prediction:
    """The object at its usual size, upright, amid its mask at the body's depth: what any method must beat."""
    rows, cols = np.nonzero(problem.observation.object_masks[0])
    at = problem.observation.camera.unproject(
        [cols.mean() + 0.5, rows.mean() + 0.5], np.median(problem.body.verts[:, 2])
    )
    return Prediction(ObjectPose(np.diag([1.0, -1.0, -1.0]), at, float(np.exp(problem.size_prior[0]))))


def _baseline(name: str) -> Method:
    def run(problem: Problem) -> Prediction:
        from hoirecon.fitting import ObjectToFit
        from hoirecon.fitting.baselines import BASELINES, baseline_problem

        pairs = problem.correspondences
        given = baseline_problem(
            problem.observation,
            problem.body.mesh,
            ObjectToFit(problem.mesh, problem.name, problem.size_prior),
            _on_mesh(problem),
            correspondences=None if pairs is None else (problem.body.verts[pairs[0]], pairs[1]),
        )
        return Prediction(BASELINES[name](given).pose)

    return run


def _on_mesh(problem: Problem) -> tuple[ContactMap, ContactMap] | None:
    """Contact whose body map names the mesh rather than the model, as baselines take plain meshes."""
    if problem.contacts is None:
        return None
    body, thing = problem.contacts
    return ContactMap(body.probability, problem.body.mesh.topology, body.source), thing


def _baselines() -> Mapping[str, Method]:
    from hoirecon.fitting.baselines import BASELINES

    return {name: _baseline(name) for name in BASELINES}


ORACLES = frozenset({"oracle-start"})
"""Methods that are told the truth."""

METHODS: dict[str, Method] = {
    "hoirecon": fit_hoirecon,
    "hoirecon-object": fit_object_alone,
    "oracle-start": fit_oracle_start,
    "nothing": predict_nothing,
}
"""Name -> method; put your own in it. Baselines of the package are found by :func:`method_of`."""


def method_of(name: str) -> Method:
    """A method by name.

    Raises:
        InputError: unknown; the message lists the names.
    """
    known = {**_baselines(), **METHODS}
    if name not in known:
        raise InputError(f"there is no method '{name}' to compare; there are: {', '.join(sorted(known))}")
    return known[name]
