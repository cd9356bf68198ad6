"""The one-call door: a photograph and the name of an object in, a fitted scene out.

Each stage below is a public function of another package, and whoever wants to look between the stages calls them
instead (examples/02_step_by_step.ipynb). Its own is only the order: body from landmarks, contact, objects before that
body, then body and objects in one least-squares problem, then the same with hands that close on what they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoirecon.camera import Camera
from hoirecon.contact.geometric import GeometricConfig, GeometricContact
from hoirecon.contact.protocols import ContactEstimate, ContactEstimator
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.objects.usable import UsableObject
from hoirecon.errors import InputError
from hoirecon.fitting.body_fit import fit_body, refine_body
from hoirecon.fitting.body_links import contact_lines, contact_links, grip_of
from hoirecon.fitting.body_outline import OutlineConfig, body_on_mask
from hoirecon.fitting.body_types import BodyFit, BodyFitConfig
from hoirecon.fitting.grasp import GraspConfig
from hoirecon.fitting.hold import Held, bring_together, close_hands, object_fits, with_body
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.object_fit import FitConfig, fit_objects
from hoirecon.fitting.part_contact import PartContactConfig
from hoirecon.images import LoadedImage, read_image
from hoirecon.observation import Box, Observation
from hoirecon.outcome import assemble_scene
from hoirecon.perception.observe import observe
from hoirecon.perception.protocols import MaskPrompt
from hoirecon.perception.undistort import undistort
from hoirecon.progress import StageClock
from hoirecon.requests import (
    ObjectMesh,
    ObjectRequest,
    Thing,
    choose_things,
    locate,
    prepare_early,
    read_requests,
)
from hoirecon.retrieval.hits import FoundObject
from hoirecon.scene import Scene

if TYPE_CHECKING:
    from hoirecon.perception.protocols import PersonDetector, Segmenter
    from hoirecon.perception.text_boxes import TextBoxFinder


def _fit_config() -> FitConfig:
    # Beside the body's own evidence the object's weighs little; and what is seen before the body is before it. The
    # weights are ten times the usual ones, and so is what penetration may count in the choice: with the usual limit a
    # tablet ended inside the person, where its outline fits a little better.
    return FitConfig(
        contour_weight=60.0, penetration_weight=0.5, rank_penetration_cap=100.0, order_weight=20.0,
        order_tolerance=0.01, order_scale=6.0,
    )  # fmt: skip


def _joint_config() -> JointConfig:
    # People wear clothes and hair; and the body's depth is known by its stature alone, so that contact may move it.
    # With the usual weight of contact a body that is some centimetres off stays apart from what it touches: on rendered
    # tuning photographs what touches within 2 cm was told with an F1 of .33 (35 pictures, contact by geometry) and .22
    # (17, true contact), and is with .36 and .30 (by scripts that are not kept).
    return JointConfig(contact_weight=12.0, anchor=2.0, anchor_transl=(0.03, 0.03, 0.06),
                       silhouette_beside_landmarks=True, silhouette_weight=20.0, silhouette_of_head=False,
                       silhouette_clothes=3.0)  # fmt: skip


@dataclass(frozen=True)
class ReconstructConfig:
    """Settings of the whole way; each stage has its own."""

    body: BodyFitConfig = field(default_factory=BodyFitConfig)
    """Body from landmarks."""
    outline: OutlineConfig = field(default_factory=OutlineConfig)
    """The same brought onto the person's mask, before anything is said of contact."""
    contact: GeometricConfig = field(default_factory=GeometricConfig)
    """Contact without weights; ignored if another estimator is given."""
    fit: FitConfig = field(default_factory=_fit_config)
    """Object pose; by default surer of the body's depth than ``FitConfig()``, because contact has placed the hands."""
    joint: JointConfig = field(default_factory=_joint_config)
    """Body and objects together; its ``objects`` are replaced by ``fit``. By default it believes less of the body's
    pose than ``JointConfig()``, because a photograph's landmarks know little of depth, and heeds the person's mask."""
    parts: PartContactConfig = field(default_factory=PartContactConfig)
    """Which part touches which, where the estimator of contact knows it."""
    grasp: GraspConfig = field(default_factory=GraspConfig)
    """How holding hands close."""
    rounds: int = 2
    """How far to go: 0 leaves the body where landmarks and contact put it and fits the objects to it, 1 fits body and
    objects together, 2 also closes the hands on what they hold."""

    def __post_init__(self) -> None:
        if self.rounds not in (0, 1, 2):
            raise InputError(f"rounds is 0 (objects), 1 (body and objects) or 2 (hands close too), got {self.rounds}")


def reconstruct(
    image: Any,
    objects: str | Path | UsableObject | FoundObject | ObjectRequest | Sequence[ObjectRequest],
    *,
    object_box: Box | None = None,
    object_mask: Any = None,
    object_prompt: MaskPrompt | None = None,
    object_mesh: ObjectMesh | None = None,
    camera: Camera | None = None,
    focal_px: float | None = None,
    focal_35mm: float | None = None,
    distortion: Sequence[float] | None = None,
    person: str | int | Box = "auto",
    person_mask: Any = None,
    body_model: BodyModel | None = None,
    contact: ContactEstimator | str | Path | None = None,
    box_finder: TextBoxFinder | None = None,
    detector: PersonDetector | str = "blazepose",
    segmenter: Segmenter | str = "grabcut",
    config: ReconstructConfig | None = None,
    progress: bool = True,
) -> Scene:
    """Reconstruct one person and the objects they interact with from one photograph.

    Args:
        image: path of an image file, or RGB uint8 array (H, W, 3).
        objects: name of one object (then say where by ``object_box``, ``object_mask`` or ``object_prompt``); or its
            mesh file, whose name then says what it is and how large; or a hit of a retriever; or one or several
            :class:`ObjectRequest`.
        object_box: x, y, width, height in pixels round the visible object.
        object_mask: (H, W) mask of its visible pixels, or a mask file; better than a box for thin things.
        object_prompt: box, points and strokes.
        object_mesh: the object's own mesh, in metres (a :class:`Mesh` or a trimesh; for another unit give an
            :class:`ObjectRequest`), or its file; or a hit of a retriever; or a source of meshes that looks at the
            mask, such as ``Retriever.load("idx/", weights=DIR)`` or ``GeneratedObjects(model)``. None takes
            :meth:`Retriever.default() <hoirecon.retrieval.retriever.Retriever.default>`: among the library's meshes
            of that name the one that the mask fits best; the scene's notes say which. An id ("chair/plain")
            is taken at its word.
        camera: intrinsics; None takes the file's EXIF or assumes a 50 mm-equivalent lens, and the scene says which.
        focal_px: focal length in pixels, if that is all that is known of the camera.
        focal_35mm: or the 35 mm-equivalent focal length in millimetres.
        distortion: lens coefficients of ``camera`` in OpenCV's order; the photograph is straightened first.
        person: ``auto`` takes the person who touches the object's region; or an index, or a box.
        person_mask: (H, W) mask of the person's visible pixels, or a mask file, in place of the detector's and of
            ``person``; the body is brought onto it.
        body_model: SMPL-H-layout model; None takes the free body.
        contact: estimator of contact, or the folder of InteractVLM weights (released, or ours), or ``tiny``, the small
            model that ships; None takes :class:`~hoirecon.contact.geometric.GeometricContact`.
        box_finder: finds the boxes of objects that come without one, by their names.
        detector: person detector, or its name.
        segmenter: object segmenter, or its name.
        config: settings of every stage; None takes the defaults.
        progress: show a progress bar.

    Returns:
        The scene in the camera frame, metres.

    Raises:
        InputError: anything given that cannot be used, in one sentence with what to do.
        MissingModelError: BlazePose's files are not on this machine (``hoirecon models fetch``).
    """
    config = config or ReconstructConfig()
    _check_kinds(body_model, contact, config)
    if person_mask is not None and person != "auto":
        raise InputError(f"person_mask says which person is meant: leave person at 'auto', it is {person!r}")
    requests = read_requests(objects, object_box, object_mask, object_prompt, object_mesh)
    # Before any work: an unknown name or a missing box must not cost a minute.
    early = prepare_early(requests)
    for request in requests if box_finder is None else []:
        request.where()
    model = body_model or load_body()
    estimator = _estimator(contact, model, config)  # weights that do not load are said first
    clock = StageClock(progress, total=5 + config.rounds)
    with clock.stage("looking at the photograph"):
        picture = _straight(read_image(image), camera, distortion)
        requests, notes = locate(requests, picture.rgb, box_finder)
        observation = observe(
            picture,
            [request.where() for request in requests],
            camera=camera,
            focal_px=focal_px,
            focal_35mm=focal_35mm,
            person=person,
            person_mask=person_mask,
            detector=detector,
            segmenter=segmenter,
        )
    with clock.stage("choosing the mesh"):
        things, chosen = choose_things(requests, early, observation)
        observation = observation.replace(notes=(*notes, *observation.notes, *chosen))
    with clock.stage("fitting the body"):
        fit = fit_body(observation, body_model=model, config=config.body)
        fit = body_on_mask(fit, observation, config.outline)
    with clock.stage("estimating contact"):
        estimates = _estimate(estimator, observation, fit, things)
        fit = _hold(fit, estimates, things, model)
    held = [Held(t.to_fit, t.contact, t.symmetry, e) for t, e in zip(things, estimates, strict=True)]
    joint = replace(config.joint, objects=config.fit)
    with clock.stage("fitting the object"):
        contacts = [(e.body, e.object) for e in estimates]
        fits = fit_objects(observation, fit.body, [h.to_fit for h in held], contacts, config.fit)
    if config.rounds > 0:
        with clock.stage("body and object together"):
            first = found = bring_together(observation, fit, held, fits, joint, config.parts)
    if config.rounds > 1:
        with clock.stage("closing the hands"):
            found = close_hands(observation, fit, held, first, joint, config.parts, config.grasp)
    if config.rounds > 0:
        fits = object_fits(fits, first, found)
        fit = with_body(fit, found.best.bodies[0], found.landmark_errors_px[0][1])
    fits = [replace(f, pose=h.way_round(fit.body, f.pose, fit)) for f, h in zip(fits, held, strict=True)]
    clock.close()
    return assemble_scene(observation, fit, things, fits, estimates, asdict(config), clock.seconds)


def _check_kinds(body_model: Any, contact: Any, config: Any) -> None:
    if not isinstance(config, ReconstructConfig):
        raise InputError(f"config is of type {type(config).__name__}: give a ReconstructConfig(...)")
    if body_model is not None and not isinstance(body_model, BodyModel):
        raise InputError(f"body_model is of type {type(body_model).__name__}: give load_body(FILE) for a file of yours")
    if contact is not None and not isinstance(contact, str | Path) and not hasattr(contact, "estimate"):
        raise InputError(
            f"contact is of type {type(contact).__name__}: give an estimator (an object with a method estimate, as in "
            f"examples/04_own_contact.py), a folder of weights, or 'tiny'"
        )


def _estimator(
    contact: ContactEstimator | str | Path | None, model: BodyModel, config: ReconstructConfig
) -> ContactEstimator:
    """The one that is given, InteractVLM if it is a folder of weights, geometry if nothing is given."""
    if contact is None:
        return GeometricContact(model, config.contact)
    if isinstance(contact, (str, Path)):
        from hoirecon.contact.estimator import InteractVLM

        return InteractVLM.from_pretrained(contact, body_model=model)
    return contact


def _estimate(
    estimator: ContactEstimator, observation: Observation, fit: BodyFit, things: Sequence[Thing]
) -> list[ContactEstimate]:
    return [estimator.estimate(observation, fit.body, thing.contact, object_index=i) for i, thing in enumerate(things)]


def _hold(fit: BodyFit, estimates: Sequence[ContactEstimate], things: Sequence[Thing], model: BodyModel) -> BodyFit:
    """The body after what contact alone says: holding hands are closed, parts at one object are near each other."""
    pairs = list(zip(estimates, things, strict=True))
    links = [link for e, thing in pairs for link in contact_links(e, thing.contact, model)]
    lines = [line for e, thing in pairs for line in contact_lines(e, thing.contact, model)]
    grips = [grip_of(e, thing.contact, model) for e, thing in pairs]
    closed = {side: max(grip[side] for grip in grips) for side in ("left", "right")}
    return refine_body(fit, links=links, lines=lines, grip=closed if max(closed.values()) >= 0.5 else None)


def _straight(picture: LoadedImage, camera: Camera | None, distortion: Sequence[float] | None) -> LoadedImage:
    if distortion is None:
        return picture
    if camera is None:
        raise InputError("distortion belongs to a calibrated camera: give its intrinsics too")
    return replace(picture, rgb=undistort(picture.rgb, camera, distortion))
