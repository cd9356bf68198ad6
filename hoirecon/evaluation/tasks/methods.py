"""Methods by name that answer contact tasks: learned, by geometry, and the simple ones that every table should hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import AffordanceTruth, BodyContactTruth, Dataset, ObjectContactTruth, Question
from hoirecon.errors import InputError
from hoirecon.evaluation.tasks.predictor import Predictor, prediction_of_truth

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.data.body.model import BodyModel
    from hoirecon.evaluation.tasks.task import Task


@dataclass(frozen=True)
class MethodSpec:
    """A method as a user names it; plain values, so that a worker elsewhere can build it."""

    name: str
    weights: Path | None = None
    """Folder of a learned method."""
    body: Path | None = None
    """The user's body file, for methods that need the licensed body."""
    device: str = "cpu"
    """Where torch runs it."""


@dataclass(frozen=True)
class Shape:
    """How many values an answer has; learned from the data's truth by its size alone."""

    asks: str
    topology: str
    num_values: int
    """Of body contact; 0 where each object has its own number."""


# ---------------------------------------------------------------------------------------------------------- simple ones
@dataclass(frozen=True)
class Constant:
    """The same everywhere: ``all`` touches with everything, ``nothing`` never."""

    name: str
    value: float
    shape: Shape

    @property
    def params(self) -> Mapping[str, Any]:
        """The value."""
        return {"value": self.value}

    def predict(self, question: Question) -> Prediction:
        """The value at every vertex or point."""
        return _answer(self.shape, question, np.full(count_of(self.shape, question), self.value))


@dataclass(frozen=True)
class CategoryMean:
    """How often each vertex touches in the training split, for the object that is asked about; else for any object."""

    shape: Shape
    means: Mapping[str, FloatArray]
    """Label -> (V,) share of training samples that touch there; ``""`` is over all."""
    fingerprint: str
    """Of the training split."""
    name: str = "category-mean"

    @property
    def params(self) -> Mapping[str, Any]:
        """What it learned from."""
        return {"train": self.fingerprint[:16]}

    def predict(self, question: Question) -> Prediction:
        """The mean of the object's label."""
        return _answer(self.shape, question, self.means.get(question.label, self.means[""]))


def category_mean(shape: Shape, train: Dataset, kind: str) -> CategoryMean:
    """Learn means from a training split.

    Raises:
        InputError: an empty split, or answers that have no fixed number of values.
    """
    if not shape.num_values:
        raise InputError("category-mean needs labels on one topology: objects have meshes of their own")
    sums: dict[str, FloatArray] = {}
    counts: dict[str, int] = {}
    for sample in train:
        truth = sample.truth[kind]
        values = truth.contact if isinstance(truth, BodyContactTruth) else None
        if values is None or len(values) != shape.num_values:
            raise InputError(f"sample '{sample.id}' of the training split has no labels of {shape.num_values} values")
        for label in {sample.question.label, ""}:
            sums[label] = sums.get(label, np.zeros(shape.num_values)) + (values >= 0.5)
            counts[label] = counts.get(label, 0) + 1
    if not sums:
        raise InputError(f"{train.name} {train.split} has no samples to learn from")
    return CategoryMean(shape, {label: total / counts[label] for label, total in sums.items()}, train.fingerprint)


@dataclass(frozen=True)
class TruthPredictor:
    """Gives back the truth, to see each metric at its floor. An oracle: never beside methods in a table."""

    dataset: Dataset
    name: str = "truth"
    _places: dict[str, int] = field(default_factory=dict)

    @property
    def params(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def predict(self, question: Question) -> Prediction:
        """The truth of the sample with that id."""
        if not self._places:
            self._places.update({sample.id: i for i, sample in enumerate(self.dataset)})
        return prediction_of_truth(self.dataset[self._places[question.id]])


# -------------------------------------------------------------------------------------------------------- by geometry
@dataclass(frozen=True)
class Geometric:
    """:class:`~hoirecon.contact.geometric.GeometricContact` on the body, mask and camera that a question hands out."""

    body_model: BodyModel
    shape: Shape
    name: str = "geometric"

    @property
    def params(self) -> Mapping[str, Any]:
        """Settings of the estimator, and the body."""
        from hoirecon.contact import GeometricContact

        return {"body": self.body_model.topology, "config": asdict(GeometricContact(self.body_model).config)}

    def predict(self, question: Question) -> Prediction:
        """Contact of the posed body with the object.

        Raises:
            InputError: the question has no image, no object mask or no body.
        """
        from hoirecon.contact import GeometricContact
        from hoirecon.images import read_image
        from hoirecon.observation import Observation

        if question.image is None or question.object_mask is None or question.body is None:
            wanted = {"image": question.image, "object mask": question.object_mask, "body": question.body}
            missing = next(name for name, value in wanted.items() if value is None)
            raise InputError(f"the data hands out no {missing}, without which geometry says nothing")
        rgb = read_image(question.image).rgb
        person = None if question.person_mask is None else _mask(question.person_mask)
        camera = question.camera or _usual_camera(rgb.shape[1], rgb.shape[0])
        seen = Observation(rgb, camera, person, (_mask(question.object_mask),), person_box=question.person_box)
        body, thing = self.body_model.pose(question.body), _thing(question)
        found = GeometricContact(self.body_model).estimate(seen, body, thing)
        on_object = found.object.probability if question.object_mesh is not None else None
        said = Prediction(question.id, object_contact=on_object, notes=found.flags)
        if self.shape.asks != "body_contact":
            return said
        return Prediction(question.id, found.body.probability, found.body.topology, notes=found.flags)


def _mask(path: Path) -> BoolArray:
    from hoirecon.images import read_image

    return np.asarray(read_image(path).rgb.max(axis=2) > 127)


def _usual_camera(width: int, height: int) -> Any:
    from hoirecon.camera import Camera

    focal = 1.2 * max(width, height)  # a lens of about 43 mm, where nothing is known
    return Camera(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]), width, height)


def _thing(question: Question) -> Any:
    """The object: the question's mesh, or the library's mesh of that name."""
    from hoirecon.contact import ContactObject
    from hoirecon.data.objects import get_category, load_object

    if question.object_mesh is None:
        return ContactObject.of(load_object(question.label))
    try:
        category = get_category(question.label).name
    except InputError:
        category = None
    return ContactObject.of_mesh(question.object_mesh, category)


# ------------------------------------------------------------------------------------------------------------- learned
@dataclass(frozen=True)
class Learned:
    """:class:`~hoirecon.contact.estimator.InteractVLM` by its public questions; it generates its own answer."""

    model: InteractVLM
    shape: Shape
    fingerprint: str
    """Of the weights' files."""
    name: str = "interactvlm"

    @property
    def params(self) -> Mapping[str, Any]:
        """Weights, body and number type; the answer is generated, never taken from the truth."""
        body = self.model.body_model.topology
        return {"weights": self.fingerprint, "body": body, "dtype": str(self.model.dtype), "answers": "generated"}

    def predict(self, question: Question) -> Prediction:
        """Contact with the object that is asked about; ``scene`` where none is.

        Raises:
            InputError: no image, or no object to look at.
        """
        if question.image is None:
            raise InputError("the data holds no image of this sample")
        label = question.label or "scene"
        if self.shape.asks == "body_contact":
            found = self.model.human_contact(question.image, label)
            return Prediction(question.id, found.probability, found.topology, notes=found.notes)
        thing = question.points if self.shape.asks == "affordance" else question.object_mesh
        if thing is None:
            raise InputError("the data hands out no mesh or points of the object")
        ask = self.model.affordance if self.shape.asks == "affordance" else self.model.object_contact
        return _answer(self.shape, question, ask(question.image, label, thing).probability)


# ----------------------------------------------------------------------------------------------------------- by name
def _answer(shape: Shape, question: Question, values: FloatArray) -> Prediction:
    topology = shape.topology if shape.asks == "body_contact" else ""
    fields: dict[str, Any] = {shape.asks: values, "topology": topology}
    return Prediction(question.id, **fields)


def count_of(shape: Shape, question: Question) -> int:
    """How many values the answer to a question has.

    Raises:
        InputError: the question has no object to count on.
    """
    if shape.asks == "affordance" and question.points is not None:
        return len(question.points)
    if shape.asks == "object_contact" and question.object_mesh is not None:
        return len(question.object_mesh.verts)
    if not shape.num_values:
        raise InputError(f"the question has no mesh or points to give {shape.asks} on")
    return shape.num_values


def shape_of(task: Task, dataset: Dataset) -> Shape:
    """What answers look like, from the first sample's truth.

    Raises:
        InputError: an empty dataset.
    """
    if not len(dataset):
        raise InputError(f"{dataset.name} {dataset.split} has no samples: check the copy with `bench check-data`")
    truth = task.truth_of(dataset[0])
    if isinstance(truth, BodyContactTruth):
        return Shape(task.asks, truth.topology, len(truth.contact))
    if isinstance(truth, ObjectContactTruth | AffordanceTruth):
        return Shape(task.asks, "", 0)
    raise InputError(f"{task.name} asks for a reconstruction: score a folder of predictions with `bench score`")


Builder = Callable[[MethodSpec, "Task", Dataset, Path], Predictor]


def _learned(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    from hoirecon.contact import InteractVLM
    from hoirecon.data.body import load_body
    from hoirecon.evaluation.runs.fingerprints import file_fingerprint

    if spec.weights is None:
        raise InputError("interactvlm needs the folder of its weights: give --weights")
    body = None if spec.body is None else load_body(spec.body)
    model = InteractVLM.from_pretrained(spec.weights, device=spec.device, body_model=body)
    return Learned(model, shape_of(task, dataset), file_fingerprint(spec.weights))


def _geometric(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    from hoirecon.data.body import load_body

    return Geometric(load_body() if spec.body is None else load_body(spec.body), shape_of(task, dataset))


def _mean(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    return category_mean(shape_of(task, dataset), task.open_train(data), task.truth)


METHODS: dict[str, tuple[str, Builder]] = {
    "interactvlm": ("the learned estimator (--weights), answers generated", _learned),
    "geometric": ("contact by geometry, from the body and masks that the data hands out", _geometric),
    "category-mean": ("share of training samples that touch there, by object", _mean),
    "all": ("everything touches", lambda s, t, d, _: Constant("all", 1.0, shape_of(t, d))),
    "nothing": ("nothing touches", lambda s, t, d, _: Constant("nothing", 0.0, shape_of(t, d))),
    "truth": ("an oracle that checks the metrics' floors", lambda s, t, d, _: TruthPredictor(d)),
}
"""Name -> one line, and what builds it."""
ORACLES = frozenset({"truth"})


def build_method(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    """A predictor by its name.

    Raises:
        InputError: no such method, or something it needs is missing.
    """
    if spec.name not in METHODS:
        raise InputError(f"no method is called '{spec.name}'; there are {', '.join(METHODS)}")
    return METHODS[spec.name][1](spec, task, dataset, data)
