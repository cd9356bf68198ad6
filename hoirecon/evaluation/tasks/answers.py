"""What an answer looks like: which field of a prediction, on which mesh, and how many values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hoirecon.arrays import FloatArray
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question
from hoirecon.errors import InputError


@dataclass(frozen=True)
class Shape:
    """How many values an answer has; learned from the data's truth by its size alone."""

    asks: str
    topology: str
    num_values: int
    """Of body contact; 0 where each object has its own number."""


def answer_of(shape: Shape, question: Question, values: FloatArray) -> Prediction:
    """A prediction of the field that is asked for."""
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
