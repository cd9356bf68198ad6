"""Methods by name that place an object beside a person: our own, and the simple ones that every table should hold.

Where a question hands out masks, landmarks or a body, they are taken (closed world); else the photograph is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question
from hoirecon.errors import InputError
from hoirecon.evaluation.tasks.estimators import of_file
from hoirecon.evaluation.tasks.seeing import body_of, has_body, look, mask_of, person_of, thing_of
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact_map import ContactMap
    from hoirecon.data.body.model import BodyModel
    from hoirecon.evaluation.closedworld.methods import Problem
    from hoirecon.evaluation.runs.bodies import Bodies

JOINT: Mapping[str, str] = {
    "hoirecon": "our own reconstruction: body, contact and object from the photograph, fitted together",
    "mask-depth": "the object at the depth at which its mask has its size; no contact",
    "centroid": "the object at the middle of what touches it",
    "icp": "touching points of body and object brought together by ICP; no picture",
    "interactvlm-style": "InteractVLM's published optimiser, restated",
    "pico-style": "PICO-fit's published stages, restated",
    "phosa-style": "PHOSA's published losses, restated",
}
"""Name -> one line. ``nothing`` is one too: the object upright amid its mask at the body's depth."""
WITHOUT_CONTACT = ("mask-depth", "nothing")
METRIC_SIZE = (0.0, 0.1)
"""Mean and deviation of the log scale of meshes that the data gives in metres."""
UNKNOWN_SIZE = (0.0, 0.5)
DEFAULT_DIAGONAL_M = 0.7
"""Of a mesh without a size whose name the library does not know."""


@dataclass(frozen=True)
class Placed:
    """A method of :mod:`hoirecon.evaluation.closedworld.methods` that is asked the questions of any dataset."""

    name: str
    bodies: Bodies | None = None
    """The user's models; None takes the free body."""
    weights: Path | None = None
    """Contact weights of ``hoirecon``, which may be the name ``tiny``; None takes contact by geometry."""
    body_file: str = ""
    """Fingerprint of the user's body files; empty for the free body."""
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def params(self) -> Mapping[str, Any]:
        """The bodies."""
        models = {} if self.bodies is None else {g: m.topology for g, m in self.bodies.models.items()}
        found: dict[str, Any] = {"bodies": models or "free", **of_file(self.body_file)}
        if self.weights is not None:
            from hoirecon.contact.checkpoints.open import shipped
            from hoirecon.evaluation.runs.fingerprints import file_fingerprint

            found["contact"] = file_fingerprint(shipped(self.weights))
        return found

    def predict(self, question: Question) -> Prediction:
        """Pose of the question's mesh, or a placed mesh of the library where there is none; and the body.

        Raises:
            InputError: the data withholds what is needed, or nothing could be fitted.
        """
        question, factor = sized(question)
        handed = isinstance(question.extra.get("observation"), Observation)
        if self.name == "hoirecon" and not handed:
            return _scaled(self._whole(question), factor)
        if question.object_mesh is None:
            raise InputError("the data hands out no mesh of the object: only 'hoirecon' finds one")
        from hoirecon.evaluation.closedworld.methods import method_of

        problem = self._problem(question)
        said = method_of(self.name)(problem)
        body = said.body or problem.body
        found = Prediction(question.id, topology=body.topology, object_pose=said.pose, body_verts=body.verts,
                           body_joints=body.joints, body_faces=body.faces, notes=said.flags)  # fmt: skip
        return _scaled(found, factor)

    def _model(self, question: Question) -> BodyModel:
        if self.bodies is not None:
            return self.bodies.for_gender(str(question.extra.get("gender", "")))
        if "free" not in self._kept:
            from hoirecon.data.body import load_body

            self._kept["free"] = load_body()
        model: BodyModel = self._kept["free"]
        return model

    def _whole(self, question: Question) -> Prediction:
        """``hoirecon.reconstruct`` on the photograph."""
        from hoirecon import ObjectRequest, reconstruct

        if question.image is None:
            raise InputError("the data hands out no image")
        if question.object_mask is None and question.object_box is None:
            raise InputError("the data hands out no object mask or box, so that nothing says where the object is")
        mask = None if question.object_mask is None else mask_of(question.object_mask)
        person = person_of(question)
        request = ObjectRequest(
            question.label or "object",
            box=question.object_box if mask is None else None,
            mask=mask,
            mesh=question.object_mesh,
        )
        scene = reconstruct(
            question.image, [request], camera=question.camera, person_mask=person,
            person="auto" if person is not None else question.person_box or "auto",
            body_model=self._model(question), contact=self._contact(self._model(question)), progress=False,
        )  # fmt: skip
        thing, body = scene.objects[0], scene.body
        own = question.object_mesh is None
        return Prediction(
            question.id,
            topology=body.topology,
            object_pose=None if own else thing.pose,
            object_verts=thing.verts_cam if own else None,
            object_faces=thing.mesh.faces if own else None,
            body_verts=body.verts,
            body_joints=body.joints,
            body_faces=body.faces,
        )

    def _contact(self, model: BodyModel) -> InteractVLM | None:
        """The estimator of the weights, read once for each body; None without weights."""
        if self.weights is None:
            return None
        if ("contact", id(model)) not in self._kept:
            from hoirecon.contact import InteractVLM

            self._kept["contact", id(model)] = InteractVLM.from_pretrained(self.weights, body_model=model)
        found: InteractVLM = self._kept["contact", id(model)]
        return found

    def _problem(self, question: Question) -> Problem:
        """What the method is given: handed out by the data, or estimated from the photograph."""
        from hoirecon.evaluation.closedworld.methods import Problem

        model, extra = self._model(question), question.extra
        seen = look(question, landmarks=not has_body(question, model))
        body = body_of(question, seen, model)
        assert question.object_mesh is not None
        contacts = extra.get("contacts")
        if contacts is None and "track" not in extra and self.name not in WITHOUT_CONTACT:
            contacts = _estimated(question, seen, body, model)
        pairs = extra.get("correspondences")
        return Problem(
            observation=seen,
            body=body,
            mesh=question.object_mesh,
            name=question.label,
            contacts=contacts,
            correspondences=None if pairs is None else (pairs.body_verts, pairs.points(question.object_mesh)),
            size_prior=extra.get("size_prior", METRIC_SIZE if extra.get("mesh_has_size", True) else UNKNOWN_SIZE),
            seed=int(extra.get("seed", 0)),
        )


def _estimated(
    question: Question, seen: Observation, body: SceneBody, model: BodyModel
) -> tuple[ContactMap, ContactMap]:
    from hoirecon.contact import GeometricContact

    found = GeometricContact(model).estimate(seen, body, thing_of(question))
    return found.body, found.object


def sized(question: Question) -> tuple[Question, float]:
    """The question with a mesh of about its usual size, and the factor that it was multiplied by.

    Data that hands out a mesh without a size (its diagonal is 1) says so; the library's mesh of that name then tells
    about how large such a thing is.
    """
    mesh = question.object_mesh
    if mesh is None or question.extra.get("mesh_has_size", True):
        return question, 1.0
    from hoirecon.data.objects import load_object

    try:
        usual = load_object(question.label).mesh.diagonal
    except InputError:
        usual = DEFAULT_DIAGONAL_M
    factor = float(usual / mesh.diagonal)
    return replace(question, object_mesh=Mesh(mesh.verts * factor, mesh.faces, mesh.name)), factor


def _scaled(said: Prediction, factor: float) -> Prediction:
    """The pose of the mesh as the question had it."""
    pose = said.object_pose
    if pose is None or factor == 1.0:
        return said
    return replace(said, object_pose=ObjectPose(pose.R, np.asarray(pose.t), pose.s * factor))
