"""The one-call door: a photograph and the name of an object in, a fitted scene out.

It does nothing of its own: each stage below is a public function of another package, and whoever wants to look
between the stages calls them instead (examples/02_step_by_step.ipynb).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.contact.geometric import GeometricConfig, GeometricContact
from hoirecon.contact.protocols import ContactEstimate, ContactEstimator, ContactObject
from hoirecon.data.body import BodyModel, body_landmarks, load_body
from hoirecon.data.objects import get_category, load_object, prepare_mesh
from hoirecon.errors import InputError
from hoirecon.fitting.body_fit import fit_body, refine_body
from hoirecon.fitting.body_links import contact_lines, contact_links
from hoirecon.fitting.body_types import BodyFit, BodyFitConfig
from hoirecon.fitting.object_fit import FitConfig, ObjectFit, ObjectToFit, fit_objects
from hoirecon.fitting.reach import ReachConfig, held_way_round, reach_targets
from hoirecon.mesh import Mesh
from hoirecon.observation import Box, Observation
from hoirecon.perception.images import LoadedImage, read_image
from hoirecon.perception.observe import observe
from hoirecon.perception.protocols import MaskPrompt
from hoirecon.perception.undistort import undistort
from hoirecon.scene import Measure, Scene, SceneBody, SceneObject, ScenePair

if TYPE_CHECKING:
    from hoirecon.perception.protocols import PersonDetector, Segmenter
    from hoirecon.perception.text_boxes import TextBoxFinder


@dataclass(frozen=True)
class ReconstructConfig:
    """Settings of the whole way; each stage has its own."""

    body: BodyFitConfig = field(default_factory=BodyFitConfig)
    """Body from landmarks."""
    contact: GeometricConfig = field(default_factory=GeometricConfig)
    """Contact without weights; ignored if another estimator is given."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Object pose."""
    rounds: int = 1
    """How often the body is moved to the object it holds and the object fitted again; 0 leaves the body where its
    landmarks put it."""
    reach: ReachConfig = field(default_factory=ReachConfig)
    """How the body is moved to the object."""

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise InputError(f"rounds must be 0 or more, got {self.rounds}")


@dataclass(frozen=True)
class ObjectRequest:
    """One object to reconstruct: what it is and where it is seen."""

    name: str
    """Name or alias of a category (``barbell``), an id (``chair/plain``), or, with ``mesh``, anything."""
    box: Box | None = None
    """x, y, width, height in pixels round the visible object."""
    mask: Any = None
    """(H, W) mask of visible pixels, or the path of a mask file; taken as it is."""
    prompt: MaskPrompt | None = None
    """Box, points and strokes for the segmenter."""
    mesh: Mesh | str | Path | None = None
    """The user's own mesh (metres unless its file says otherwise); None takes the library's."""

    def where(self) -> Any:
        """The prompt for perception.

        Raises:
            InputError: none or several of box, mask and prompt are given.
        """
        given = [value for value in (self.box, self.mask, self.prompt) if value is not None]
        if len(given) != 1:
            raise InputError(
                f"say where the {self.name} is by exactly one of box, mask or prompt; {len(given)} were given"
            )
        return given[0]


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
    contact: ContactEstimator | None = None,
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
        contact: estimator of contact; None takes :class:`~hoirecon.contact.geometric.GeometricContact`.
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
    requests = _requests(objects, object_box, object_mask, object_prompt, object_mesh)
    # Before any work: an unknown name or a missing box must not cost a minute.
    things = [_thing(request) for request in requests]
    for request in requests if box_finder is None else []:
        request.where()
    clock = _Clock(progress, total=4 + config.rounds)
    with clock.stage("looking at the photograph"):
        model = body_model or load_body()
        picture = _straight(read_image(image), camera, distortion)
        requests, notes = _located(requests, picture.rgb, box_finder)
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
    estimator = contact or GeometricContact(model, config.contact)
    with clock.stage("estimating contact"):
        estimates = _estimate(estimator, observation, fit, things)
        fit = _hold(fit, estimates, things, model)
    with clock.stage("fitting the object"):
        fits = _fit_objects(observation, fit, things, estimates, config.fit)
    for _ in range(config.rounds):
        with clock.stage("bringing body and object together"):
            fit = _reach(fit, things, fits, estimates, model, config)
            fits = _fit_objects(observation, fit, things, estimates, config.fit, [f.pose.R for f in fits])
    clock.close()
    return _scene(observation, fit, things, fits, estimates, config, clock.seconds)


# ---------------------------------------------------------------------------------------------------- what is asked for


@dataclass(frozen=True)
class _Thing:
    """An object as every stage needs it."""

    name: str
    contact: ContactObject
    to_fit: ObjectToFit
    symmetry: FloatArray
    """(N, 3, 3) rotations under which it looks the same, the identity first."""
    licence: str = ""
    author: str = ""


def _requests(
    objects: str | ObjectRequest | Sequence[ObjectRequest], box: Any, mask: Any, prompt: Any, mesh: Any
) -> list[ObjectRequest]:
    if isinstance(objects, str):
        return [ObjectRequest(objects, box, mask, prompt, mesh)]
    if any(value is not None for value in (box, mask, prompt, mesh)):
        raise InputError("object_box, object_mask, object_prompt and object_mesh go with one object's name only")
    requests = [objects] if isinstance(objects, ObjectRequest) else list(objects)
    if not requests or not all(isinstance(request, ObjectRequest) for request in requests):
        raise InputError("give the name of an object, or a list of ObjectRequest(name, box=...) with at least one")
    return requests


def _straight(picture: LoadedImage, camera: Camera | None, distortion: Sequence[float] | None) -> LoadedImage:
    if distortion is None:
        return picture
    if camera is None:
        raise InputError("distortion belongs to a calibrated camera: give its intrinsics too")
    return replace(picture, rgb=undistort(picture.rgb, camera, distortion))


def _located(
    requests: list[ObjectRequest], image: ByteArray, finder: TextBoxFinder | None
) -> tuple[list[ObjectRequest], list[str]]:
    """The requests with a place each; those without one are looked for by name."""
    notes, located = [], []
    for request in requests:
        if finder is not None and request.box is None and request.mask is None and request.prompt is None:
            found = finder.find(image, request.name, most=1)
            if not found:
                raise InputError(f"no {request.name} was found in the photograph by name: give its box or mask")
            notes.append(f"the box of the {request.name} was found by its name (score {found[0].score:.2f})")
            request = replace(request, box=found[0].box)
        located.append(request)
    return located, notes


def _thing(request: ObjectRequest) -> _Thing:
    if request.mesh is not None:
        return _own_thing(request)
    obj = load_object(request.name)
    log_ratio = float(np.log(obj.category.size_median / obj.mesh.extents.max()))
    to_fit = ObjectToFit(
        obj.mesh,
        request.name,
        size_prior=(log_ratio, obj.category.size_log_sigma),
        up_obj=_usual_up(obj.category.group),
    )
    return _Thing(obj.category.name, ContactObject.of(obj), to_fit, obj.symmetry.rotations(), obj.licence, obj.author)


def _own_thing(request: ObjectRequest) -> _Thing:
    assert request.mesh is not None
    mesh = request.mesh if isinstance(request.mesh, Mesh) else prepare_mesh(request.mesh)
    try:
        category: str | None = get_category(request.name).name
    except InputError:
        category = None  # a name we do not know is fine when the mesh is given
    to_fit = ObjectToFit(mesh, request.name, size_prior=(0.0, 0.1))
    return _Thing(request.name, ContactObject.of_mesh(mesh, category), to_fit, np.eye(3)[None])


def _usual_up(group: str) -> tuple[float, float, float] | None:
    # Furniture and vehicles stand on the ground in nearly all photographs; what is held is turned in every way.
    return (0.0, 1.0, 0.0) if group in ("furniture", "vehicles") else None


# ---------------------------------------------------------------------------------------------------------- the stages


def _estimate(
    estimator: ContactEstimator, observation: Observation, fit: BodyFit, things: Sequence[_Thing]
) -> list[ContactEstimate]:
    return [estimator.estimate(observation, fit.body, thing.contact, object_index=i) for i, thing in enumerate(things)]


def _hold(fit: BodyFit, estimates: Sequence[ContactEstimate], things: Sequence[_Thing], model: BodyModel) -> BodyFit:
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
    things: Sequence[_Thing],
    estimates: Sequence[ContactEstimate],
    config: FitConfig,
    near: Sequence[FloatArray] | None = None,
) -> list[ObjectFit]:
    """From scratch, or near given rotations (then without the cover of all rotations)."""
    objects = [thing.to_fit for thing in things]
    if near is not None:
        objects = [replace(o, initial_rotations=_around(R)) for o, R in zip(objects, near, strict=True)]
        config = replace(config, rotations=0)
    contacts = [(e.body, e.object) for e in estimates]
    fits = fit_objects(observation, fit.body, objects, contacts, config)
    parts = fit.evidence.model.parts
    ways = [
        held_way_round(fit.body.verts, parts, thing.contact, found.pose, estimate.pairs, thing.symmetry)
        for thing, found, estimate in zip(things, fits, estimates, strict=True)
    ]
    return [replace(found, pose=pose) for found, pose in zip(fits, ways, strict=True)]


def _around(R_cam_obj: FloatArray, degrees: float = 12.0) -> FloatArray:
    """(7, 3, 3) a rotation and its neighbours turned about each axis both ways."""
    from scipy.spatial.transform import Rotation

    turns = [np.zeros(3)] + [sign * np.radians(degrees) * axis for axis in np.eye(3) for sign in (-1, 1)]
    around: FloatArray = Rotation.from_rotvec(turns).as_matrix() @ R_cam_obj
    return around


def _reach(
    fit: BodyFit,
    things: Sequence[_Thing],
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


# ---------------------------------------------------------------------------------------------------------- the result


def _scene(
    observation: Observation,
    fit: BodyFit,
    things: Sequence[_Thing],
    fits: Sequence[ObjectFit],
    estimates: Sequence[ContactEstimate],
    config: ReconstructConfig,
    seconds: dict[str, float],
) -> Scene:
    from hoirecon.doctor import versions

    objects = tuple(
        SceneObject(
            thing.name,
            thing.contact.category.name if thing.contact.category else "",
            thing.contact.mesh,
            found.pose,
            thing.licence,
            thing.author,
            alternatives=tuple(other.pose for other in found.alternatives),
            alternative_energies=tuple(other.energy - found.energy for other in found.alternatives),
        )
        for thing, found in zip(things, fits, strict=True)
    )
    pairs = tuple(ScenePair(0, i, e.body, e.object) for i, e in enumerate(estimates))
    flags = [*observation.notes, *fit.flags]
    for thing, found, estimate in zip(things, fits, estimates, strict=True):
        flags += [f"{thing.name}: {text}" for text in (*estimate.flags, *found.flags)]
    return Scene(
        observation,
        (_with_landmarks(fit, observation),),
        objects,
        pairs,
        measures=_measures(fit, things, fits, estimates, seconds),
        flags=tuple(dict.fromkeys(flags)),
        versions=versions(),
        config=asdict(config),
    )


def _with_landmarks(fit: BodyFit, observation: Observation) -> SceneBody:
    """The body with its landmarks in the order of the photograph's; views can draw them without the body model."""
    assert observation.keypoints is not None  # the body was fitted to them
    found = body_landmarks(fit.evidence.model, observation.keypoints.layout)
    return replace(fit.body, landmarks=np.einsum("lk,lkc->lc", found.w, fit.body.verts[found.idx]))


def _measures(
    fit: BodyFit,
    things: Sequence[_Thing],
    fits: Sequence[ObjectFit],
    estimates: Sequence[ContactEstimate],
    seconds: dict[str, float],
) -> dict[str, Measure]:
    measures = {
        "body/landmark_error": Measure(fit.landmark_error_px, "px", "median distance of landmarks, reprojected"),
        "body/landmark_error_relative": Measure(
            fit.landmark_error_relative, "ratio", "the same over the person's height in pixels"
        ),
    }
    for thing, found, estimate in zip(things, fits, estimates, strict=True):
        measures |= _object_measures(thing, found, estimate)
    measures |= {f"seconds/{name}": Measure(value, "s", "wall clock") for name, value in seconds.items()}
    return measures


def _object_measures(thing: _Thing, found: ObjectFit, estimate: ContactEstimate) -> dict[str, Measure]:
    scaled = float(thing.contact.mesh.extents.max() * found.pose.s)
    measures = {
        f"{thing.name}/iou_visible": Measure(
            found.iou_visible, "ratio", "overlap of mask and object on visible pixels"
        ),
        f"{thing.name}/penetration": Measure(found.max_penetration_mm, "mm", "deepest penetration of body and object"),
        f"{thing.name}/longest_side": Measure(scaled, "m", "fitted size"),
    }
    units = {"px": "px", "mm": "mm", "deg": "deg", "ratio": "ratio"}
    for name, report in found.terms.items():
        if report.unit in units:
            measures[f"{thing.name}/{name}"] = Measure(report.median, report.unit, "median residual")  # type: ignore[arg-type]
    for pair in estimate.pairs:
        measures[f"{thing.name}/{pair.body_part} at {pair.object_part}"] = Measure(
            pair.probability, "ratio", "probability of this contact"
        )
    return measures


class _Clock:
    """Times the stages and shows where the work is."""

    def __init__(self, progress: bool, total: int) -> None:
        from tqdm import tqdm

        self.seconds: dict[str, float] = {}
        self._bar = tqdm(total=total, disable=not progress, bar_format="{desc:<36}{bar:24} {n}/{total} [{elapsed}]")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._bar.set_description_str(name)
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self.close()
            raise
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self._bar.update()

    def close(self) -> None:
        self._bar.set_description_str("done" if self._bar.n == self._bar.total else "stopped")
        self._bar.close()
