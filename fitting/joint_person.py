"""A person in a joint fit: the posed body that came in, and what holds it to its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.body_params import BodyParams
from hoirecon.data.body.jacobian import BodyPoints, points_at, points_of_joints, points_of_landmarks, points_of_verts
from hoirecon.data.body.landmarks import body_landmarks
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.state import BodyState
from hoirecon.errors import InputError
from hoirecon.fitting.body_evidence import gather_evidence
from hoirecon.fitting.body_fit import stature_of
from hoirecon.fitting.body_terms import BodyView, JointLimits, Landmarks2D, project
from hoirecon.fitting.body_types import BodyFit, BodyFitConfig
from hoirecon.fitting.contour import Region
from hoirecon.fitting.finger_terms import FingerRange
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_outline import Outline, outline_points, person_region
from hoirecon.fitting.joint_places import ENDS, PlaceAnchor, null_space
from hoirecon.fitting.joint_state import NUM_BODY_JOINTS
from hoirecon.fitting.joint_terms import OnBody, PoseAnchor, anchor_sigmas
from hoirecon.fitting.joint_view import Figure, JointView, with_shape
from hoirecon.fitting.objective import Term
from hoirecon.fitting.pose_prior import PosePrior, pose_prior
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from hoirecon.scene import SceneBody


@dataclass(frozen=True)
class PersonToFit:
    """A posed body and what is known about it beyond its pose."""

    body: SceneBody
    """Where it is thought to be, camera frame."""
    keypoints: Keypoints | None = None
    """Landmarks in the image; without, the body is held by its anchor alone."""
    model: BodyModel | None = None
    """The body model; None: the free body."""
    config: BodyFitConfig = BodyFitConfig()  # noqa: RUF009  (frozen)
    """Noise of the landmarks."""
    name: str = "person"
    """What to call it in results; several persons are numbered."""
    ends_sigma_m: tuple[float, float, float] | None = None
    """How far off its hands and feet may be, one sigma across, down and along the camera's axis, metres; about 0.012
    each for bodies whose hands are known to 2 cm, more in depth for guesses from one picture. Joints are then held only
    in what does not move them. None: nothing is known but the errors of single joints."""
    joints_sigma_deg: float | None = None
    """How far off every joint may be, one sigma of each component of its rotation vector, degrees; None: what is usual
    for each joint (:data:`~hoirecon.fitting.joint_terms.ANCHOR_DEGREES`)."""
    silhouette_sigma_px: float | None = None
    """Noise of the person's contour against the body without clothes, pixels; None: as of the landmarks."""

    def __post_init__(self) -> None:
        noises = {
            "ends_sigma_m": (self.ends_sigma_m, (3,)),
            "joints_sigma_deg": (self.joints_sigma_deg, ()),
            "silhouette_sigma_px": (self.silhouette_sigma_px, ()),
        }
        for name, (value, shape) in noises.items():
            if value is not None and not (as_floats(value, shape, f"{name} of {self.name}") > 0).all():
                raise InputError(f"{name} of {self.name} must be above 0, got {value}: None says that it is not known")

    @classmethod
    def of(cls, body: PersonToFit | BodyFit | SceneBody) -> PersonToFit:
        """From a fitted body, with its landmarks, or from a bare posed one."""
        if isinstance(body, BodyFit):
            basis = body.evidence
            return cls(body.body, basis.keypoints, basis.model, basis.config)
        if isinstance(body, SceneBody):
            return cls(body)
        return body


@dataclass(frozen=True)
class Person:
    """A person, ready for the terms."""

    given: PersonToFit
    figure: Figure
    anchor: BodyState
    """As it came in, a batch of one."""
    start: BodyState
    """Where the joint stages begin: as it came in, or moved to its own landmarks."""
    landmarks: Landmarks2D | None
    prior: PosePrior
    sigma_px: float
    """Noise of landmarks and of the mask's contour, pixels: a fraction of the person's height."""
    bare: BodyPoints
    """Landmarks and contact points, without the outline's."""
    places: PlaceAnchor | None = None
    """What holds hands and feet."""
    null_space: Tensor | None = None
    """Turns of the body's joints that :attr:`places` says nothing of; None without it."""
    region: Region | None = None
    """Round the person's mask; None: no silhouette."""
    outline: Outline | None = None
    """The samples on the body's outline, last among its prepared points; None without any."""

    def outlined(self, body: BodyState) -> Person:
        """The person with the outline's points taken from a body of a batch of one; itself without a region."""
        if self.region is None:
            return self
        model = self.figure.model
        outline = outline_points(model, body.forward(model).verts[0].detach(), self.region)
        figure = replace(self.figure, points=self.bare + outline.points)
        return replace(self, figure=figure, outline=outline)

    def among(self, objects: Sequence[Mesh], observation: Observation) -> Person:
        """The person before and behind objects, camera frame, one per mask; itself without a region."""
        if self.region is None:
            return self
        return replace(self, region=person_region(observation, self.mesh, self.start.transl, objects))

    def silhouette(self, weight: float, head: bool = True, clothes: float = 1.0) -> list[Term[BodyView]]:
        """Outline and mask of the person, both ways; without the head's where hair hides it."""
        first, last = len(self.bare), len(self.figure.points)
        if self.region is None or self.outline is None or weight == 0 or first == last:
            return []
        own = self.given.silhouette_sigma_px
        sigma = (self.sigma_px if own is None else own) / self.region.px_per_cell
        return list(self.outline.terms(first, self.region, sigma, weight, clothes, head))

    def terms(self, index: int, label: str, config: JointConfig) -> list[Term[JointView]]:
        """What holds the body to its evidence: landmarks, joint ranges, silhouette, the body that came in."""
        limits = JointLimits(self.prior, np.deg2rad(self.given.config.limit_sigma_deg))
        own: list[Term[BodyView]] = [limits] if self.landmarks is None else [self.landmarks, limits]
        own += [] if self.places is None else [self.places]
        own += self.silhouette(config.silhouette_weight, config.silhouette_of_head, config.silhouette_clothes)
        degrees, name = self.given.joints_sigma_deg, "pose anchor" + label
        noise = config.anchor, config.anchor_transl, degrees
        anchor = PoseAnchor(index, self.anchor, *noise, self.null_space, name=name)
        hands = [FingerRange(index, self.anchor, name="finger range" + label)] if config.fingers else []
        return [*(OnBody(term, index, label) for term in own), anchor, *hands]

    def landmark_error_px(self, body: BodyState) -> float:
        """Median distance of used landmarks from their reprojection, pixels; NaN without landmarks."""
        if self.landmarks is None:
            return float("nan")
        seen = self.landmarks.trust > 0
        if not bool(seen.any()):
            return float("nan")
        pixels, _ = project(points_at(self.figure.points, body)[0, : len(seen)], self.landmarks.K)
        return float((pixels - self.landmarks.xy).norm(dim=1)[seen].median())

    @property
    def mesh(self) -> Mesh:
        """The body at its start, camera frame."""
        return self.posed(self.start)

    def posed(self, body: BodyState) -> Mesh:
        """A body of a batch of one as a mesh, camera frame."""
        if body is self.anchor:
            return self.given.body.mesh
        verts = body.forward(self.figure.model).verts[0].detach().cpu().double().numpy()
        return Mesh(verts, self.given.body.faces, name="body")

    def params(self, body: BodyState) -> BodyParams:
        """Parameters of a body of a batch of one, with the shape that came in."""
        return body.to_params(self.given.body.topology)[0].replace(betas=self.given.body.params.betas)


def make_person(
    given: PersonToFit, observation: Observation, verts: Sequence[int], device: torch.device | str, dtype: torch.dtype
) -> Person:
    """Prepare one person; contact vertices follow the landmarks among its prepared points."""
    model = model_of(given).to(device, dtype)
    start = BodyState.from_params(model, given.body.params)
    shaped = with_shape(model, start.betas[0])
    points = points_of_verts(shaped, np.asarray(verts, dtype=np.int64))
    landmarks, prior = None, pose_prior().to(shaped.v_template).holding(start.rotations)
    sigma_px = given.config.sigma_2d * _height_px(given, observation, model)
    if given.keypoints is not None:
        points = points_of_landmarks(shaped, body_landmarks(model, given.keypoints.layout)) + points
        landmarks = _landmarks(given, observation, model, shaped.v_template, sigma_px)
    still = BodyState(start.rotations, start.betas[:, :1] * 0, start.transl)
    places = rest = None
    if given.ends_sigma_m is not None:
        ends = points_of_joints(shaped, ENDS)
        places = PlaceAnchor(slice(len(points), len(points) + len(ends)), points_at(ends, still)[0], given.ends_sigma_m)
        points = points + ends
        rest = null_space(shaped, still, anchor_sigmas(tuple(range(NUM_BODY_JOINTS)), even=given.joints_sigma_deg))
    figure = Figure(shaped, points, prior.twist_axis, torch.zeros(0, dtype=torch.long, device=model.device))
    return Person(given, figure, still, still, landmarks, prior, sigma_px, points, places, rest)


def model_of(given: PersonToFit) -> BodyModel:
    """The body model of a person.

    Raises:
        InputError: the model has another topology than the body.
    """
    if given.model is None:
        from hoirecon.data.body.files import load_body

        model = load_body()
    else:
        model = given.model
    if model.topology != given.body.topology:
        raise InputError(
            f"the body of {given.name} is '{given.body.topology}', but its model is '{model.topology}': give the model "
            f"that posed it, PersonToFit(body, model=...)"
        )
    return model


def _height_px(given: PersonToFit, observation: Observation, model: BodyModel) -> float:
    """Height in pixels of the person's stature at its depth."""
    mean, per_beta = stature_of(model)
    betas = torch.as_tensor(given.body.params.betas.copy())[None].to(per_beta)
    stature = mean + float(model.full_betas(betas)[0] @ per_beta)
    return observation.camera.focal[1] * stature / float(given.body.joints[0, 2])


def _landmarks(
    given: PersonToFit, observation: Observation, model: BodyModel, like: Tensor, sigma_px: float
) -> Landmarks2D:
    """The landmarks' term, with the noise of the body fit (a fraction of the person's height in pixels)."""
    assert given.keypoints is not None
    camera, config = observation.camera, given.config
    evidence = gather_evidence(given.keypoints, camera, model, config, posed=True)

    def tensor(value: FloatArray) -> Tensor:
        return torch.as_tensor(np.array(value)).to(like)

    values = (tensor(evidence.xy), tensor(evidence.trust_2d), tensor(evidence.noise), tensor(camera.K))
    return Landmarks2D(*values, sigma_px, config.robust_2d)
