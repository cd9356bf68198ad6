"""What a preset compares: the asked field of a prediction beside its truth, after a look at size and topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import (
    AffordanceTruth,
    BodyContactTruth,
    ObjectContactTruth,
    ReconstructionTruth,
    Sample,
    Truth,
)
from hoirecon.data.datasets.topologies import SAME_ORDER, is_stand_in
from hoirecon.errors import InputError, TopologyError

if TYPE_CHECKING:
    from hoirecon.evaluation.metrics.preset_types import Preset
    from hoirecon.evaluation.runs.bodies import Bodies
    from hoirecon.evaluation.tasks.task import Task

READS = {
    "cd_cm": ("body_verts", "object_verts"),
    "cd_mm": ("body_verts", "object_verts"),
    "cd_object_cm": ("object_verts",),
    "cd_both_cm": ("body_verts", "object_verts"),
    "surface_cm": ("body_verts", "object_verts"),
    "contact": ("body_verts", "object_verts"),
    "contact_at": ("body_verts", "object_verts"),
    "silhouette": ("body_verts", "object_verts"),
    "collision": ("body_verts", "object_verts"),
    "penetration": ("body_verts", "object_verts"),
    "pose": ("object_pose",),
    "recall": ("object_pose",),
    "body": ("body_joints",),
    "v2v": ("body_verts", "object_verts"),
    "fscore": ("body_verts", "object_verts"),
}
"""What each measure of a reconstruction reads of a prediction."""
ALIGNED_BY_VERTICES = ("similarity", "rigid", "human_only")


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


def read_by(preset: Preset) -> tuple[str, ...]:
    """Fields of a predicted reconstruction that a protocol reads; none for protocols of other kinds."""
    return tuple(dict.fromkeys(name for m in getattr(preset, "measures", ()) for name in READS.get(m, ())))


def lacks(preset: Preset, said: Any, true: Any) -> str:
    """Why a protocol cannot score a reconstruction; empty if it can."""
    fields = read_by(preset)
    if missing := [name for name in fields if getattr(said, name) is None]:
        return f"the prediction has no {' and no '.join(missing)}, which the protocol '{preset.name}' reads"
    parts = [
        part for part in ("body", "object") if f"{part}_verts" in fields and getattr(true, f"{part}_verts") is not None
    ]
    counts = {part: tuple(len(getattr(one, f"{part}_verts")) for one in (said, true)) for part in parts}
    other = {part for part, (ours, theirs) in counts.items() if ours != theirs}
    if "body" in other and getattr(preset, "align", "none") in ALIGNED_BY_VERTICES:
        return (
            f"its body has {counts['body'][0]} vertices and the truth's {counts['body'][1]}: '{preset.name}' aligns "
            "vertex by vertex, so give the body of the data's own model (--body)"
        )
    if "object" in other and "v2v" in getattr(preset, "measures", ()):
        return (
            f"its object has {counts['object'][0]} vertices and the truth's {counts['object'][1]}: '{preset.name}' "
            "compares vertex by vertex, so give an object_pose, or object_verts of the question's mesh"
        )
    bare = [part for part in parts if part in other and getattr(said, f"{part}_faces") is None]
    sampled: int = getattr(preset, "samples", 0)
    if bare and sampled:
        return f"{bare[0]}_verts has another number of vertices than the truth: give {bare[0]}_faces too"
    return ""


def readable(preset: Preset, pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """The pair, or one whose prediction failed under this protocol, as the protocol cannot read it."""
    said, true = pair
    return pair if preset.kind != "reconstruction" or said is None or not lacks(preset, said, true) else (None, true)


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
    task: Task, sample: Sample, said: Prediction | None, truth: Truth, bodies: Bodies | None = None
) -> tuple[Any, Any]:
    """(prediction, truth) as the preset takes them; a prediction of None failed.

    Args:
        task: what is compared.
        sample: whose.
        said: its prediction.
        truth: its truth.
        bodies: the user's body models, for truth that holds their parameters alone.
    """
    if isinstance(truth, ReconstructionTruth):
        from hoirecon.evaluation.runs.reconstructions import reconstruction_pair

        return reconstruction_pair(sample, said, truth, bodies)
    return (None if said is None else contact_values(task, sample, said)), label_values(truth)
