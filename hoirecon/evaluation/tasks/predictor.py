"""What is asked of a predictor and what it gives back; it never holds the truth.

A predictor is handed a :class:`GuardedQuestion`: everything that the protocol lets it see, and an error that stops the
whole run if it reaches for a field of the truth. (The field's best-known withdrawn figure came from an evaluation whose
prompts held words of the true answer.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import (
    AffordanceTruth,
    BodyContactTruth,
    CorrespondenceTruth,
    ObjectContactTruth,
    Question,
    ReconstructionTruth,
    Sample,
)
from hoirecon.errors import HoireconError

_QUESTION_FIELDS = frozenset(f.name for f in fields(Question))
TRUTH_FIELDS = (
    (
        frozenset(
            f.name
            for kind in (
                BodyContactTruth,
                ObjectContactTruth,
                AffordanceTruth,
                CorrespondenceTruth,
                ReconstructionTruth,
            )
            for f in fields(kind)
        )
        | {"truth", "ground_truth", "gt", "label_contact", "contact_label", "body_contact", "object_contact"}
    )
    - _QUESTION_FIELDS
    - {"name", "topology", "mesh", "faces"}
)
"""Names under which truth is kept; asking a question for one of them stops the run."""


class TruthAskedError(HoireconError):
    """A predictor asked for ground truth: the run is stopped, as none of its figures would mean anything."""


class GuardedQuestion(Question):
    """A :class:`~hoirecon.data.datasets.samples.Question` that raises when it is asked for truth.

    Example:
        >>> GuardedQuestion("a").contact
        Traceback (most recent call last):
        ...
        hoirecon.evaluation.tasks.predictor.TruthAskedError: the predictor asked sample 'a' for 'contact', which is \
ground truth: take what the question has (id, image, label, ...)
    """

    def __getattr__(self, name: str) -> Any:
        if name in TRUTH_FIELDS:
            raise TruthAskedError(
                f"the predictor asked sample '{self.id}' for '{name}', which is ground truth: take what the question "
                "has (id, image, label, ...)"
            )
        raise AttributeError(f"a question has no '{name}'")


def guarded(question: Question) -> GuardedQuestion:
    """The same question with its guard."""
    return GuardedQuestion(**{f.name: getattr(question, f.name) for f in fields(Question)})


class Predictor(Protocol):
    """Anything with a name, parameters and an answer."""

    @property
    def name(self) -> str:
        """Short name that stands in tables."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """Everything that changes its answers, as plain values: goes into run.json and the keys of results."""
        ...

    def predict(self, question: Question) -> Prediction:
        """Answer one question; raising counts as a failed sample (worst case), and the run goes on."""
        ...


def prediction_of_truth(sample: Sample) -> Prediction:
    """A prediction that says exactly what is true."""
    found: dict[str, Any] = {"id": sample.id}
    for truth in sample.truth.values():
        if isinstance(truth, BodyContactTruth):
            found |= {"body_contact": truth.contact, "topology": truth.topology}
            count = len(truth.contact)
            found["by_object"] = {name: ids_to_map(ids, count) for name, ids in truth.by_object.items()}
        elif isinstance(truth, ObjectContactTruth):
            found |= {"object_contact": truth.contact}
        elif isinstance(truth, AffordanceTruth):
            found |= {"affordance": truth.affordance}
        elif isinstance(truth, ReconstructionTruth):
            names = ("object_pose", "object_verts", "body_verts", "body_joints", "topology")
            found |= {name: getattr(truth, name) for name in names if getattr(truth, name) is not None}
            if truth.body_verts is None:
                found["body_params"] = truth.body_params
    return Prediction(**found)


def ids_to_map(ids: Any, num_verts: int) -> FloatArray:
    """(V,) 1 at the vertices named and 0 elsewhere."""
    full = np.zeros(num_verts)
    full[np.asarray(ids, np.int64)] = 1.0
    return full
