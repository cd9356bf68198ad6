"""What a preset compares: the asked field of a prediction beside its truth, after a look at size and topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.contact.transfer import SAME_ORDER
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import (
    AffordanceTruth,
    BodyContactTruth,
    ObjectContactTruth,
    ReconstructionTruth,
    Sample,
    Truth,
)
from hoirecon.data.datasets.topologies import is_stand_in
from hoirecon.errors import InputError, TopologyError

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel
    from hoirecon.evaluation.tasks.task import Task


def check_answer(task: Task, sample: Sample, said: Prediction, truth: Truth) -> None:
    """Raise unless a prediction can be scored.

    Raises:
        InputError: the asked field is missing, or has another size.
        TopologyError: on another body.
    """
    if said.id != sample.id:
        raise InputError(f"the prediction is of '{said.id}'")
    if isinstance(truth, ReconstructionTruth):
        _check_reconstruction(sample, said)
        return
    values = contact_values(task, sample, said)
    if values is None:
        raise InputError(f"the prediction has no {task.asks}: {task.name} asks for it")
    wanted = len(label_values(truth))
    if len(values) != wanted:
        on = f" on '{said.topology}'" if said.topology else ""
        raise TopologyError(f"{task.asks} has {len(values)} values{on}, but the truth has {wanted}: {_hint(truth)}")
    if isinstance(truth, BodyContactTruth):
        _check_topology(said.topology, truth.topology)


def _hint(truth: Truth) -> str:
    if isinstance(truth, BodyContactTruth):
        return f"transfer it to '{truth.topology}' (hoirecon.contact.transfer)"
    return "give one value per vertex or point of the question's object"


def _check_topology(said: str, true: str) -> None:
    """SMPL's and SMPL-H's vertices are the same; a stand-in's are nobody else's. No name at all is let pass."""
    same = {SAME_ORDER.get(name, name) for name in (said or true, true)}
    if len(same) > 1 and (is_stand_in(said) or is_stand_in(true) or said in SAME_ORDER or said in SAME_ORDER.values()):
        raise TopologyError(f"body_contact is on '{said}', but the truth on '{true}': vertices differ in their order")


def _check_reconstruction(sample: Sample, said: Prediction) -> None:
    if said.object_verts is None and said.object_pose is None:
        raise InputError("the prediction has neither object_verts nor object_pose: the task asks for one of them")
    if said.object_verts is None and sample.question.object_mesh is None:
        raise InputError("the prediction has an object_pose, but the question no mesh that it moves: give object_verts")


def contact_values(task: Task, sample: Sample, said: Prediction) -> FloatArray | None:
    """The scores that the task asks for; where it asks for one object, that object's if objects are told apart."""
    if task.asks == "body_contact" and sample.question.label and sample.question.label in said.by_object:
        return said.by_object[sample.question.label]
    values: FloatArray | None = getattr(said, task.asks)
    if values is None and task.asks == "body_contact" and said.by_object and not task.per_object:
        union: FloatArray = np.max(list(said.by_object.values()), axis=0)  # contact with anything is with any of them
        return union
    return values


def label_values(truth: Truth) -> FloatArray:
    """(V,) labels of a truth that has one per vertex or point."""
    if isinstance(truth, BodyContactTruth | ObjectContactTruth):
        return truth.contact
    if isinstance(truth, AffordanceTruth):
        return truth.affordance
    raise InputError(f"{type(truth).__name__} has no labels per vertex")


def pair_of(
    task: Task, sample: Sample, said: Prediction | None, truth: Truth, body: BodyModel | None = None
) -> tuple[Any, Any]:
    """(prediction, truth) as the preset takes them; a prediction of None failed.

    Args:
        task: what is compared.
        sample: whose.
        said: its prediction.
        truth: its truth.
        body: the user's body model, for truth that holds its parameters alone.
    """
    if isinstance(truth, ReconstructionTruth):
        from hoirecon.evaluation.runs.reconstructions import reconstruction_pair

        return reconstruction_pair(sample, said, truth, body)
    return (None if said is None else contact_values(task, sample, said)), label_values(truth)
