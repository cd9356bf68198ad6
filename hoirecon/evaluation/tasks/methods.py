"""Methods by name: learned, by geometry, reconstructions, and the simple ones that every table should hold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import AffordanceTruth, BodyContactTruth, Dataset, ObjectContactTruth, Question
from hoirecon.errors import InputError
from hoirecon.evaluation.tasks.answers import Shape as Shape
from hoirecon.evaluation.tasks.answers import answer_of
from hoirecon.evaluation.tasks.answers import count_of as count_of
from hoirecon.evaluation.tasks.estimators import Geometric as Geometric
from hoirecon.evaluation.tasks.estimators import Learned as Learned
from hoirecon.evaluation.tasks.estimators import Small as Small
from hoirecon.evaluation.tasks.estimators import check_body
from hoirecon.evaluation.tasks.joint_methods import JOINT, Placed
from hoirecon.evaluation.tasks.noise import Noise, Noisy
from hoirecon.evaluation.tasks.predictor import Predictor, prediction_of_truth

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel
    from hoirecon.evaluation.tasks.task import Task


@dataclass(frozen=True)
class MethodSpec:
    """A method as a user names it; plain values, so that a worker elsewhere can build it."""

    name: str
    weights: Path | None = None
    """Folder of a learned method, or of what hoirecon takes contact from; ``tiny`` is the small model that ships."""
    body: Path | None = None
    """The user's body file, for methods that need the licensed body."""
    device: str = "cpu"
    """Where torch runs it."""
    noise: Noise | None = None
    """What its questions are spoilt by."""
    scratch: Path | None = None
    """Where spoilt pictures are written; None takes a folder of the system for temporary files."""


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
        return answer_of(self.shape, question, np.full(count_of(self.shape, question), self.value))


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
        return answer_of(self.shape, question, self.means.get(question.label, self.means[""]))


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


# ----------------------------------------------------------------------------------------------------------- by name
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
    raise InputError(
        f"{task.name} asks for a reconstruction: take one of {', '.join(JOINT)}, or score a folder of predictions with "
        "`bench score`"
    )


Builder = Callable[[MethodSpec, "Task", Dataset, Path], Predictor]


def _body(spec: MethodSpec) -> BodyModel | None:
    from hoirecon.data.body import load_body
    from hoirecon.evaluation.runs.bodies import body_file

    file = body_file(spec.body)
    return None if file is None else load_body(file)


def _fingerprint(body: Path | None) -> str:
    """Of a body file, or of a folder of one per gender; empty without."""
    from hoirecon.evaluation.runs.fingerprints import file_fingerprint

    return "" if body is None else file_fingerprint(body)


def _learned(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    from hoirecon.contact import InteractVLM
    from hoirecon.evaluation.runs.fingerprints import file_fingerprint

    if spec.weights is None:
        raise InputError("interactvlm needs the folder of its weights: give --weights")
    shape = shape_of(task, dataset)
    model = InteractVLM.from_pretrained(spec.weights, device=spec.device, body_model=_body(spec))
    check_body(shape, model.body_model, "interactvlm")
    return Learned(model, shape, file_fingerprint(spec.weights), body_file=_fingerprint(spec.body))


def _small(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    from hoirecon.contact import InteractVLM
    from hoirecon.contact.checkpoints.open import shipped
    from hoirecon.evaluation.runs.fingerprints import file_fingerprint

    shape, target = shape_of(task, dataset), _body(spec)
    if shape.asks != "body_contact":
        raise InputError(f"the small model was taught contact on bodies alone, and {task.name} asks for {task.asks}")
    model = InteractVLM.from_pretrained("tiny", device=spec.device)
    check_body(shape, target or model.body_model, "tiny")
    return Small(model, shape, file_fingerprint(shipped("tiny")), target, body_file=_fingerprint(spec.body))


def _geometric(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    from hoirecon.data.body import load_body

    shape, body = shape_of(task, dataset), _body(spec) or load_body()
    check_body(shape, body, "geometric")
    return Geometric(body, shape, body_file=_fingerprint(spec.body))


def _placed(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    from hoirecon.evaluation.runs.bodies import Bodies

    if task.truth != "reconstruction":
        raise InputError(f"{spec.name} places objects, and {task.name} asks for {task.asks}: choose another method")
    if spec.weights is not None and spec.name != "hoirecon":
        raise InputError(f"{spec.name} takes no --weights: contact weights are for hoirecon and interactvlm")
    bodies = None if spec.body is None else Bodies.load(spec.body)
    return Placed(spec.name, bodies, spec.weights, _fingerprint(spec.body))


def _nothing(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    if task.truth == "reconstruction":
        return _placed(spec, task, dataset, data)
    return Constant("nothing", 0.0, shape_of(task, dataset))


def _mean(spec: MethodSpec, task: Task, dataset: Dataset, data: Path) -> Predictor:
    return category_mean(shape_of(task, dataset), task.open_train(data), task.truth)


METHODS: dict[str, tuple[str, Builder]] = {
    "interactvlm": ("the learned estimator (--weights), answers generated", _learned),
    "tiny": ("the small learned estimator that comes with the library, from landmarks and masks", _small),
    "geometric": ("contact by geometry, from the body and masks that the data hands out", _geometric),
    "category-mean": ("share of training samples that touch there, by object", _mean),
    "all": ("everything touches", lambda s, t, d, _: Constant("all", 1.0, shape_of(t, d))),
    "nothing": ("nothing touches; of reconstructions, the object upright amid its mask", _nothing),
    **{name: (f"reconstruction: {text}", _placed) for name, text in JOINT.items()},
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
    found = METHODS[spec.name][1](spec, task, dataset, data)
    if spec.noise is None:
        return found
    return Noisy(found, spec.noise, spec.scratch or Path(tempfile.gettempdir()) / "hoirecon-noise")
