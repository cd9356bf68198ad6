"""Whether predictions answer a dataset: every id once, on the right meshes, in the right unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from hoirecon.data.datasets.folder_checks import Finding, Findings
from hoirecon.data.datasets.predictions import Prediction, prediction_files, read_prediction
from hoirecon.data.datasets.samples import (
    AffordanceTruth,
    BodyContactTruth,
    Dataset,
    ObjectContactTruth,
    ReconstructionTruth,
    Sample,
)
from hoirecon.data.datasets.topologies import SAME_ORDER
from hoirecon.errors import InputError

FAR_M = 100.0
"""A predicted object farther from the true one than this is in another unit, or in another frame."""
NEAR = 1e-2
"""A predicted distance below this share of the true one is in kilometres, or normalised."""


def validate_predictions(said: str | Path | Iterable[Prediction], dataset: Dataset, deep: bool = True) -> list[Finding]:
    """What is missing or wrong in predictions for a dataset; nothing is scored and nothing is dropped.

    Args:
        said: a folder of prediction files, or predictions.
        dataset: what they answer.
        deep: read every sample and compare sizes and units; otherwise only ids.

    Returns:
        Findings, the worst first: files that cannot be read, second answers, ids of no sample, answers on another
        mesh or in another unit (errors); samples without an answer (warnings); failures that the method states
        (notes).
    """
    found = Findings(Path(said) if isinstance(said, str | Path) else Path())
    answers = _gather(said, found)
    if deep:
        ids = []
        for sample in _samples(dataset, found):
            ids.append(sample.id)
            if sample.id in answers:
                _check(answers[sample.id], sample, found)
    else:
        ids = list(getattr(dataset, "ids", ())) or [sample.id for sample in dataset]
    known = set(ids)
    found.about(
        "error",
        "ids",
        sorted(set(answers) - known),
        "answered that the dataset does not have",
        "are they of another split?",
    )
    missing = [id for id in ids if id not in answers]
    found.about("warning", "ids", missing, "without an answer", "each counts as the worst case")
    found.about(
        "note", "ids", sorted(i for i, p in answers.items() if p.failed), "that failed, as the method says itself"
    )
    return list(found.tuple())


def _samples(dataset: Dataset, found: Findings) -> Iterator[Sample]:
    for index in range(len(dataset)):
        try:
            yield dataset[index]
        except InputError as err:
            found.error(f"sample {index}", f"the dataset's own sample cannot be read: {err}")


def _gather(said: str | Path | Iterable[Prediction], found: Findings) -> Mapping[str, Prediction]:
    answers: dict[str, Prediction] = {}
    for name, prediction in _read(said, found):
        if prediction.id in answers:
            found.error(name, f"answers '{prediction.id}' a second time", "keep one answer for each sample")
        else:
            answers[prediction.id] = prediction
    return answers


def _read(said: str | Path | Iterable[Prediction], found: Findings) -> Iterator[tuple[str | Path, Prediction]]:
    if not isinstance(said, str | Path):
        yield from ((prediction.id, prediction) for prediction in said)
        return
    for path in prediction_files(said):
        try:
            yield path, read_prediction(path)
        except InputError as err:
            found.error(path, str(err))


def _check(said: Prediction, sample: Sample, found: Findings) -> None:
    """Sizes and units of one answer against what its sample has."""
    for truth in sample.truth.values():
        if isinstance(truth, BodyContactTruth):
            _check_body(said, truth, found)
        elif isinstance(truth, ObjectContactTruth):
            _check_length(said.id, "object_contact", said.object_contact, len(truth.contact), "its mesh", found)
        elif isinstance(truth, AffordanceTruth):
            _check_length(said.id, "affordance", said.affordance, len(truth.affordance), "its points", found)
        elif isinstance(truth, ReconstructionTruth):
            _check_places(said, sample, truth, found)


def _check_body(said: Prediction, truth: BodyContactTruth, found: Findings) -> None:
    where = f"'{truth.topology}'"
    ours, theirs = (SAME_ORDER.get(name, name) for name in (said.topology, truth.topology))
    if said.topology and ours != theirs:
        found.error(said.id, f"is on '{said.topology}', the labels are on {where}", "estimate or transfer it there")
    _check_length(said.id, "body_contact", said.body_contact, len(truth.contact), where, found)
    for name, scores in said.by_object.items():
        _check_length(said.id, f"by_object['{name}']", scores, len(truth.contact), where, found)


def _check_length(id: str, name: str, scores: object, count: int, where: str, found: Findings) -> None:
    if isinstance(scores, np.ndarray) and len(scores) != count:
        found.error(id, f"{name} has {len(scores)} values, {where} has {count}", "write one per vertex, in its order")


def _check_places(said: Prediction, sample: Sample, truth: ReconstructionTruth, found: Findings) -> None:
    """Whether the object stands where metres would put it, and in no other unit."""
    mesh = sample.question.object_mesh
    true = truth.object_verts
    if true is None and truth.object_pose is not None and mesh is not None:
        true = truth.object_pose.apply(mesh.verts)
    placed = said.object_verts
    if placed is None and said.object_pose is not None and mesh is not None:
        placed = said.object_pose.apply(mesh.verts)
    for name, ours, theirs in (("object", true, placed), ("body", truth.body_verts, said.body_verts)):
        if ours is None or theirs is None:
            continue
        size, said_size = (float(np.linalg.norm(np.ptp(v, axis=0))) for v in (ours, theirs))
        if np.linalg.norm(ours.mean(0) - theirs.mean(0)) > FAR_M or said_size > size / NEAR:
            found.error(
                said.id,
                f"the {name} lies {np.linalg.norm(ours.mean(0) - theirs.mean(0)):.3g} m from the true one and measures "
                f"{said_size:.3g} m",
                "in millimetres? write metres",
            )
        elif said_size < size * NEAR:
            found.error(said.id, f"the {name} measures {said_size:.3g} m, the true one {size:.3g} m", "write metres")
    if said.body_verts is not None and truth.body_verts is not None and len(said.body_verts) != len(truth.body_verts):
        count, known = len(said.body_verts), len(truth.body_verts)
        found.note(
            said.id, f"has a body of {count} vertices, the true one has {known}", "errors by vertex are not given"
        )
