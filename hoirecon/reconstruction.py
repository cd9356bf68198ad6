"""The one-call door: a photograph and the name of an object in, a fitted scene out.

Each stage below is a public function of another package, and whoever wants to look between the stages calls them
instead (examples/02_step_by_step.ipynb). Its own is only the order: after the object is fitted once, body and
object are brought together in a few rounds of reaching and fitting again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.camera import Camera
from hoirecon.contact.geometric import GeometricConfig, GeometricContact
from hoirecon.contact.protocols import ContactEstimate, ContactEstimator
from hoirecon.data.body import BodyModel, load_body
from hoirecon.errors import InputError
from hoirecon.fitting.body_fit import fit_body, refine_body
from hoirecon.fitting.body_links import contact_lines, contact_links
from hoirecon.fitting.body_types import BodyFit, BodyFitConfig
from hoirecon.fitting.object_fit import AMBIGUOUS, FitConfig, ObjectFit, fit_objects
from hoirecon.fitting.reach import ReachConfig, held_way_round, reach_targets
from hoirecon.images import LoadedImage, read_image
from hoirecon.mesh import Mesh
from hoirecon.observation import Box, Observation
from hoirecon.outcome import assemble_scene
from hoirecon.perception.observe import observe
from hoirecon.perception.protocols import MaskPrompt
from hoirecon.perception.undistort import undistort
from hoirecon.progress import StageClock
from hoirecon.requests import ObjectRequest, Thing, locate, prepare_things, read_requests
from hoirecon.scene import Scene

if TYPE_CHECKING:
    from hoirecon.perception.protocols import PersonDetector, Segmenter
    from hoirecon.perception.text_boxes import TextBoxFinder


def _fit_config() -> FitConfig:
    return FitConfig(penetration_weight=0.5, order_weight=4.0, order_tolerance=0.01)


@dataclass(frozen=True)
class ReconstructConfig:
    """Settings of the whole way; each stage has its own."""

    body: BodyFitConfig = field(default_factory=BodyFitConfig)
    """Body from landmarks."""
    contact: GeometricConfig = field(default_factory=GeometricConfig)
    """Contact without weights; ignored if another estimator is given."""
    fit: FitConfig = field(default_factory=_fit_config)
    """Object pose; by default surer of the body's depth than ``FitConfig()``, because contact has placed the hands."""
    rounds: int = 3
    """How often the body is moved to the object it holds and the object fitted again; 0 leaves the body where its
    landmarks put it."""
    last_penetration: float = 2.0
    """Factor on the penetration weight in the last round: the result should not look wrong where they touch."""
    reach: ReachConfig = field(default_factory=ReachConfig)
    """How the body is moved to the object."""

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.last_penetration < 0:
            raise InputError(
                f"rounds and last_penetration must not be negative: {self.rounds}, {self.last_penetration}"
            )


def reconstruct(
    image: Any,
    objects: str | ObjectRequest | Sequence[ObjectRequest],
    *,
    object_box: Box | None = None,
    object_mask: Any = None,
    object_prompt: MaskPrompt | None = None,
    object_mesh: Mesh | str | Path | None = None,
    camera: Camera | None = None,
    focal_px: float | None = None,
    focal_35mm: float | None = None,
    distortion: Sequence[float] | None = None,
    person: str | int | Box = "auto",
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
        objects: name of one object (then say where by ``object_box``, ``object_mask`` or ``object_prompt``), or one or
            several :class:`ObjectRequest`.
        object_box: x, y, width, height in pixels round the visible object.
        object_mask: (H, W) mask of its visible pixels, or a mask file; better than a box for thin things.
        object_prompt: box, points and strokes.
        object_mesh: the object's own mesh; None takes the default mesh of the category.
        camera: intrinsics; None takes the file's EXIF or assumes a 50 mm-equivalent lens, and the scene says which.
        focal_px: focal length in pixels, if that is all that is known of the camera.
        focal_35mm: or the 35 mm-equivalent focal length in millimetres.
        distortion: lens coefficients of ``camera`` in OpenCV's order; the photograph is straightened first.
        person: ``auto`` takes the person who touches the object's region; or an index, or a box.
        body_model: SMPL-H-layout model; None takes the free body.
        contact: estimator of contact, or the folder of InteractVLM weights (released, or ours); None takes
            :class:`~hoirecon.contact.geometric.GeometricContact`.
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
    requests = read_requests(objects, object_box, object_mask, object_prompt, object_mesh)
    # Before any work: an unknown name or a missing box must not cost a minute.
    things = prepare_things(requests)
    for request in requests if box_finder is None else []:
        request.where()
    clock = StageClock(progress, total=4 + config.rounds)
    model = body_model or load_body()
    estimator = _estimator(contact, model, config)  # weights that do not load are said first
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
            detector=detector,
            segmenter=segmenter,
        )
        observation = observation.replace(notes=(*notes, *observation.notes))
    with clock.stage("fitting the body"):
        fit = fit_body(observation, body_model=model, config=config.body)
    with clock.stage("estimating contact"):
        estimates = _estimate(estimator, observation, fit, things)
        fit = _hold(fit, estimates, things, model)
    with clock.stage("fitting the object"):
        fits = _fit_objects(observation, fit, things, estimates, config.fit)
    for left in reversed(range(config.rounds)):
        with clock.stage("bringing body and object together"):
            fit = _reach(fit, things, fits, estimates, model, config)
            close_by = replace(config.fit, hypotheses=0)
            if left == 0:
                close_by = replace(close_by, penetration_weight=config.last_penetration * close_by.penetration_weight)
            near = _fit_objects(observation, fit, things, estimates, close_by, [f.pose.R for f in fits])
            fits = [_with_runners_up(new, old) for new, old in zip(near, fits, strict=True)]
    clock.close()
    return assemble_scene(observation, fit, things, fits, estimates, asdict(config), clock.seconds)


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
    grip = {side: max(e.hand_grip[side] for e in estimates) for side in ("left", "right")}
    closed = grip if max(grip.values()) >= 0.5 else None
    return refine_body(fit, links=links, lines=lines, grip=closed)


def _fit_objects(
    observation: Observation,
    fit: BodyFit,
    things: Sequence[Thing],
    estimates: Sequence[ContactEstimate],
    config: FitConfig,
    near: Sequence[FloatArray] | None = None,
) -> list[ObjectFit]:
    """From scratch, or also near given rotations."""
    objects = [thing.to_fit for thing in things]
    if near is not None:
        objects = [replace(o, initial_rotations=_around(R)) for o, R in zip(objects, near, strict=True)]
    contacts = [(e.body, e.object) for e in estimates]
    fits = fit_objects(observation, fit.body, objects, contacts, config)
    parts = fit.evidence.model.parts
    ways = [
        held_way_round(fit.body.verts, parts, thing.contact, found.pose, estimate.pairs, thing.symmetry)
        for thing, found, estimate in zip(things, fits, estimates, strict=True)
    ]
    return [replace(found, pose=pose) for found, pose in zip(fits, ways, strict=True)]


def _with_runners_up(new: ObjectFit, old: ObjectFit) -> ObjectFit:
    """The refined fit with the runners-up of the search over all rotations, which alone can tell of ambiguity."""
    others = tuple(replace(other, energy=other.energy - old.energy + new.energy) for other in old.alternatives)
    flags = [flag for flag in old.flags if flag == AMBIGUOUS] + [flag for flag in new.flags if flag != AMBIGUOUS]
    return replace(new, alternatives=others, flags=tuple(flags))


def _around(R_cam_obj: FloatArray, degrees: float = 12.0) -> FloatArray:
    """(7, 3, 3) a rotation and its neighbours turned about each axis both ways."""
    from scipy.spatial.transform import Rotation

    turns = [np.zeros(3)] + [sign * np.radians(degrees) * axis for axis in np.eye(3) for sign in (-1, 1)]
    around: FloatArray = Rotation.from_rotvec(turns).as_matrix() @ R_cam_obj
    return around


def _reach(
    fit: BodyFit,
    things: Sequence[Thing],
    fits: Sequence[ObjectFit],
    estimates: Sequence[ContactEstimate],
    model: BodyModel,
    config: ReconstructConfig,
) -> BodyFit:
    """Move the touching parts of the body to the objects, as far as the landmarks let them."""
    targets = [
        target
        for thing, found, estimate in zip(things, fits, estimates, strict=True)
        for target in reach_targets(
            fit.body.verts, model.parts, thing.contact, found.pose, estimate.pairs, config.reach
        )
    ]
    return refine_body(fit, targets)


def _straight(picture: LoadedImage, camera: Camera | None, distortion: Sequence[float] | None) -> LoadedImage:
    if distortion is None:
        return picture
    if camera is None:
        raise InputError("distortion belongs to a calibrated camera: give its intrinsics too")
    return replace(picture, rgb=undistort(picture.rgb, camera, distortion))
