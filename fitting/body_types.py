"""What goes into the fit of a body to keypoints, and what comes out.

The two doors (in :mod:`hoirecon.fitting.body_fit`)::

    fit = fit_body(keypoints, camera, body_model, BodyFitConfig(), grip={"right": 0.8})
    fit = refine_body(fit, [PointTarget(vertex_ids, weights, target_cam, sigma_m=0.02, name="right_palm")])
    links, lines = contact_links(estimate, obj, body_model), contact_lines(estimate, obj, body_model)
    fit = refine_body(fit, links=links, lines=lines, grip=estimate.hand_grip)
    fit.params, fit.body, fit.landmark_error_relative, fit.flags
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray, as_floats, as_ints
from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.observation import Keypoints
from hoirecon.scene import SceneBody
from hoirecon.short import flags_text, short

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel
    from hoirecon.fitting.objective import TermReport

Side = Literal["left", "right"]
UnseenLegs = Literal["auto", "stand", "sit"]


@dataclass(frozen=True)
class BodyFitConfig:
    """Settings of the fit of a body to keypoints; every sigma is the noise expected of one measurement."""

    sigma_2d: float = 0.008
    """Noise of a well seen landmark as a fraction of the person's height in pixels (0.008: 6 px of 800)."""
    robust_2d: float = 4.0
    """Geman-McClure scale of 2D landmarks in sigmas: an offset far beyond it no longer pulls."""
    sigma_3d_m: float = 0.05
    """Noise of the detector's root-relative 3D landmarks, metres, across the line of sight."""
    depth_noise: float = 2.0
    """How many times noisier those are along the line of sight."""
    robust_3d: float = 3.0
    """Geman-McClure scale of 3D landmarks in sigmas."""
    xyz_seen_straight: bool = True
    """Whether 3D landmarks are given as if the person stood in the middle of the image, as networks on crops give
    them (BlazePose, and with it the layout blazepose33 from our own detector, does); they are then turned to the
    line of sight. False: they are in the camera's true axes, as from motion capture, a multi-view rig or a simulation.
    Keypoints do not say which, so whoever brings their own 3D landmarks sets it."""
    scale_log_sigma: float = 0.15
    """Freedom of the detector's 3D scale, which is normalised rather than measured; 0.15 is about 15 %."""
    even_landmarks: bool = False
    """Whether all landmarks are equally noisy and independent of each other, as in a simulation. A detector's are not:
    hips are guessed by eye, and neighbours are placed together (see :mod:`hoirecon.fitting.body_evidence`)."""
    confidence_power: float = 1.0
    """A landmark counts as its confidence to this power; 2 says that its noise goes as one over its confidence."""
    min_confidence: float = 0.1
    """Landmarks less sure than this, and those outside the image, are not used in 2D."""
    unseen_3d: float = 0.15
    """Weight factor of the 3D guess for landmarks that are not seen in 2D; 0 leaves unseen limbs to the prior."""
    shape_sigma: float = 1.0
    """Standard deviation of the shape coefficients; smaller keeps the body nearer to the mean."""
    height_m: float | None = None
    """The person's stature in metres if known; it fixes the scale of the scene. None: the mean, by the shape prior."""
    height_sigma_m: float = 0.01
    """How exactly ``height_m`` is to be met, metres."""
    prior_weight: float = 1.0
    """Factor of the pose prior; 0.3 trusts the landmarks more, 3 gives more average poses."""
    limit_sigma_deg: float = 3.0
    """How far beyond a joint's range a pose costs one unit, degrees."""
    unseen_legs: UnseenLegs = "auto"
    """Pose to which unseen legs tend: ``stand``, ``sit``, or ``auto`` (as the detector's 3D guess sits)."""
    hand_pose: Literal["relaxed", "flat"] = "relaxed"
    """Fingers without evidence: naturally curled, or straight."""
    yaw_starts: int = 4
    """Number of starts, turned about the vertical from the best guess; 2 tells facing from backing only."""
    iterations: int = 30
    """Most steps of the solver per start in the final stage."""

    def __post_init__(self) -> None:
        positive = (
            *("sigma_2d", "robust_2d", "sigma_3d_m", "depth_noise", "robust_3d", "scale_log_sigma", "shape_sigma"),
            *("confidence_power", "height_sigma_m", "prior_weight", "limit_sigma_deg", "yaw_starts", "iterations"),
        )
        bad = [name for name in positive if not getattr(self, name) > 0]
        if bad:
            raise InputError(
                f"BodyFitConfig needs positive values, got {', '.join(f'{n}={getattr(self, n)}' for n in bad)}"
            )
        if self.height_m is not None and not 0.5 <= self.height_m <= 2.6:
            raise InputError(f"height_m is {self.height_m}: give the stature in metres, between 0.5 and 2.6")


@dataclass(frozen=True)
class PointTarget:
    """A place on the body that should be at a place in space, e.g. a palm at a bar."""

    vertex_ids: IntArray
    """(N,) body vertices."""
    weights: FloatArray
    """(N,) their weights; they are scaled to sum to one."""
    target_cam: FloatArray
    """(3,) metres, camera frame."""
    sigma_m: float = 0.02
    """How exactly it is to be met, metres."""
    name: str = ""
    """What to call it in reports, e.g. ``right_palm``."""

    def __post_init__(self) -> None:
        ids = as_ints(np.atleast_1d(self.vertex_ids), ("N",), "vertex_ids")
        weights = as_floats(np.atleast_1d(self.weights), (len(ids),), "weights")
        if len(ids) == 0 or weights.min() < 0 or weights.sum() <= 0:
            raise InputError("a point target needs at least one vertex and non-negative weights that are not all zero")
        if not self.sigma_m > 0:
            raise InputError(f"sigma_m of a point target must be positive metres, got {self.sigma_m}")
        object.__setattr__(self, "vertex_ids", ids)
        object.__setattr__(self, "weights", as_floats(weights / weights.sum(), (len(ids),), "weights"))
        object.__setattr__(self, "target_cam", as_floats(self.target_cam, (3,), "target_cam"))


@dataclass(frozen=True)
class BodyLink:
    """Two places on the body that cannot be far from one another, e.g. because both touch the same small object."""

    first_ids: IntArray
    """(N,) body vertices whose mean is the first place."""
    second_ids: IntArray
    """(M,) likewise."""
    at_most_m: float
    """Largest distance, metres; nearer costs nothing."""
    name: str = ""
    """What to call it, e.g. ``right_palm-right_ear``."""
    sigma_m: float = 0.02
    """How exactly that distance is known, metres; a larger one leaves the body nearer to its landmarks."""

    def __post_init__(self) -> None:
        for field_name in ("first_ids", "second_ids"):
            object.__setattr__(self, field_name, _some_vertices(getattr(self, field_name), field_name))
        if not self.at_most_m > 0:
            raise InputError(f"at_most_m of a body link must be positive metres, got {self.at_most_m}")
        if not self.sigma_m > 0:
            raise InputError(f"sigma_m of a body link must be positive metres, got {self.sigma_m}")


@dataclass(frozen=True)
class BodyLine:
    """Three places on the body that lie on one straight line, e.g. hand, nape and hand at one bar."""

    first_ids: IntArray
    """(N,) body vertices whose mean is one outer place."""
    middle_ids: IntArray
    """(M,) likewise the place between."""
    last_ids: IntArray
    """(K,) likewise the other outer place."""
    name: str = ""
    """What to call it, e.g. ``left_hand-upper_back-right_hand``."""

    def __post_init__(self) -> None:
        for field_name in ("first_ids", "middle_ids", "last_ids"):
            object.__setattr__(self, field_name, _some_vertices(getattr(self, field_name), field_name))


def _some_vertices(ids: IntArray, name: str) -> IntArray:
    found = as_ints(np.atleast_1d(ids), ("N",), name)
    if len(found) == 0:
        raise InputError(f"{name} needs at least one vertex of the body")
    return found


@dataclass(frozen=True)
class BodyEvidence:
    """What a body was fitted to; :func:`~hoirecon.fitting.body_fit.refine_body` uses it again."""

    keypoints: Keypoints
    camera: Camera
    model: BodyModel
    config: BodyFitConfig


@dataclass(frozen=True, repr=False)
class BodyFit:
    """A fitted body and how well it explains its evidence."""

    params: BodyParams
    """Shape and pose, camera frame."""
    body: SceneBody
    """The posed mesh and joints of ``params``, camera frame."""
    landmark_error_px: float
    """Median distance of used landmarks from their reprojection, pixels."""
    person_height_px: float
    """Height in pixels of the fitted stature at the person's depth: f * stature / z. Not the visible part."""
    evidence: BodyEvidence = field(repr=False)
    """What it was fitted to."""
    reports: tuple[TermReport[Any], ...] = ()
    """Residuals of each term at the solution, in px, mm or degrees."""
    unseen: tuple[str, ...] = ()
    """Body parts without evidence, whose pose is the prior's: ``left_leg``, ``head``..."""
    flags: tuple[str, ...] = ()
    """What a person should know before trusting the result, one sentence each."""
    start: str = ""
    """Start that won."""
    cost: float = float("nan")
    """Value of the objective."""
    stature_m: float = float("nan")
    """Standing height of the fitted shape, metres."""
    detector_log_scale: float = 0.0
    """Logarithm of (size of the detector's 3D landmarks / fitted size)."""
    target_errors_m: dict[str, float] = field(default_factory=dict)
    """After ``refine_body``: distance to each point target, metres, by its name."""

    def __repr__(self) -> str:
        """Three lines: who and where, how well it explains the landmarks, flags."""
        stature = "" if np.isnan(self.stature_m) else f", {self.stature_m:.2f} m tall"
        away = f"{self.body.joints[0, 2]:.2f} m away"
        first = f"<BodyFit: {short(self.body.topology)} ({len(self.body.verts)} vertices){stature}, {away}"
        error = f"{self.landmark_error_px:.1f} px, {100 * self.landmark_error_relative:.1f} % of the person's height"
        unseen = f"; without evidence: {short(', '.join(self.unseen), 80)}" if self.unseen else ""
        return f"{first}\n landmark error {error}{unseen}\n {flags_text(self.flags)}>"

    @property
    def landmark_error_relative(self) -> float:
        """Median landmark error as a fraction of the person's height in pixels."""
        return self.landmark_error_px / self.person_height_px
