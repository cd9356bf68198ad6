"""Contact estimators of this library as methods of the benchmarks: geometry, the learned one, the small learned one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hoirecon.contact_map import CONTACT_THRESHOLD
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question
from hoirecon.data.datasets.topologies import is_stand_in
from hoirecon.errors import InputError
from hoirecon.evaluation.tasks.answers import Shape, answer_of
from hoirecon.evaluation.tasks.seeing import body_of, has_body, look, thing_of, with_depth

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.geometric import GeometricContact
    from hoirecon.data.body.model import BodyModel


@dataclass(frozen=True)
class Geometric:
    """:class:`~hoirecon.contact.geometric.GeometricContact` on the masks, camera and body that a question hands out;
    without a body, one is fitted to the landmarks that BlazePose finds.
    """

    body_model: BodyModel
    shape: Shape
    name: str = "geometric"
    body_file: str = ""
    """Fingerprint of the user's body file; empty for the free body."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Settings of the estimator, and the body."""
        told = {"body": self.body_model.topology, "config": asdict(self._estimator.config)}
        return told | of_file(self.body_file)

    @cached_property
    def _estimator(self) -> GeometricContact:
        from hoirecon.contact import GeometricContact

        return GeometricContact(self.body_model)

    def predict(self, question: Question) -> Prediction:
        """Contact of the posed body with the object.

        Raises:
            InputError: the question has no image or no object mask, or nobody is seen.
        """
        seen = look(question, landmarks=not has_body(question, self.body_model))
        body = body_of(question, seen, self.body_model)
        found = self._estimator.estimate(seen, body, thing_of(question))
        if self.shape.asks == "body_contact":
            return Prediction(question.id, found.body.probability, found.body.topology, notes=found.flags)
        if question.object_mesh is None:
            raise InputError("the data hands out no mesh of the object")
        return Prediction(question.id, object_contact=found.object.probability, notes=found.flags)


@dataclass(frozen=True)
class Learned:
    """:class:`~hoirecon.contact.estimator.InteractVLM` by its public questions; it generates its own answer."""

    model: InteractVLM
    shape: Shape
    fingerprint: str
    """Of the weights' files."""
    name: str = "interactvlm"
    body_file: str = ""
    """Fingerprint of the user's body file; empty where the weights' own body is taken."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Weights, body and number type; the answer is generated, never taken from the truth."""
        body = self.model.body_model.topology
        told = {"weights": self.fingerprint, "body": body, "dtype": str(self.model.dtype), "answers": "generated"}
        return told | of_file(self.body_file)

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
        return answer_of(self.shape, question, ask(question.image, label, thing).probability)


@dataclass(frozen=True)
class Small:
    """The small model that comes with the library: it sees landmarks and masks, and answers on the free body."""

    model: InteractVLM
    shape: Shape
    fingerprint: str
    """Of the weights' files."""
    target: BodyModel | None = None
    """The body that the labels are on; the answer is carried over by nearest surface. None: the free body."""
    name: str = "tiny"
    body_file: str = ""
    """Fingerprint of the target's file; empty for the free body."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Weights, body, and the threshold, which is in the weights' own configuration."""
        body = "free" if self.target is None else self.target.topology
        told = {"weights": self.fingerprint, "body": body, "threshold": CONTACT_THRESHOLD, "answers": "generated"}
        return told | of_file(self.body_file)

    def predict(self, question: Question) -> Prediction:
        """Contact of the body with the object.

        Raises:
            InputError: the question has no image or no object mask, or nobody is seen.
        """
        from hoirecon.contact.inference.evidence import Evidence

        seen, free = look(question), self.model.body_model
        if has_body(question, free):
            seen = with_depth(seen, body_of(question, seen, free), free)
        found = self.model.human_contact(Evidence.of(seen), question.label or "object")
        if self.target is not None:
            from hoirecon.contact.transfer import transfer_by_surface

            found = transfer_by_surface(found, self.model.body_model, self.target)
        return Prediction(question.id, found.probability, found.topology, notes=found.notes)


def of_file(fingerprint: str) -> dict[str, str]:
    """The parameter by which answers on one body file are not taken for those on another; none without a file.

    Files of one topology differ: a male and a neutral body have the same vertices and triangles.
    """
    return {"body_file": fingerprint} if fingerprint else {}


def check_body(shape: Shape, model: BodyModel, method: str) -> None:
    """Refuse at once a body whose vertices are not the labels'.

    Raises:
        InputError: it names the option.
    """
    from hoirecon.data.datasets.topologies import SAME_ORDER

    ours, theirs = (SAME_ORDER.get(name, name) for name in (model.topology, shape.topology))
    if shape.asks == "body_contact" and ours != theirs:
        free = " (write_smplh of the fixtures makes one for a stand-in)" if is_stand_in(theirs) else ""
        raise InputError(f"{method} answers on '{ours}', but the labels are on '{theirs}': give its model file with "
                         f"--body{free}")  # fmt: skip
