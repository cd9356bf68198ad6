"""Settings of the estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoirecon.contact.inference.preprocess import PERSON_MARGIN
from hoirecon.errors import InputError


@dataclass(frozen=True)
class EstimatorConfig:
    """Settings of the estimator."""

    lift: Literal["soft", "legacy"] = "soft"
    """How masks become contact on a body: ``soft`` probabilities (since the reference's correction), or ``legacy``,
    the hard votes that older checkpoints were published with."""
    human_questions: Literal["auto", "parts", "simple"] = "auto"
    """Template of questions on the body; ``auto`` takes what the weights were trained with."""
    object_questions: Literal["auto", "simple", "afford", "afford_obj"] = "auto"
    """Template of questions on an object, likewise: ``simple`` for contact on weights that learned contact on meshes
    (view tables with ``_BM``), else the affordance questions. The reference's demo asks ``afford`` always."""
    question_index: int = 0
    """Which of a template's five wordings; 0 is the one of the reference's demo."""
    released_demo_prompt: bool = False
    """Ask for affordance with the reference demo's stray quotes and comma instead of the wording of its training."""
    max_new_tokens: int = 512
    """Longest answer."""
    person_margin: float = PERSON_MARGIN
    """What is kept round a person's box, relative to its longer side."""
    photographs_kept: int = 2
    """Photographs whose encoding is kept for further questions; at full size each takes 0.3 GB."""
    questions_at_once: int = 8
    """Questions answered in one batch; at full size each takes 0.4 GB while it is answered."""
    view_batch: int = 4
    """Views encoded at the same time."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"there is no {name} '{getattr(self, name)}': choose {', '.join(choices)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if not isinstance(self.person_margin, (int, float)) or not 0 <= self.person_margin <= 10:
            raise InputError(f"person_margin is relative to the box and lies in [0, 10], got {self.person_margin!r}")


_CHOICES = {
    "lift": ("soft", "legacy"),
    "human_questions": ("auto", "parts", "simple"),
    "object_questions": ("auto", "simple", "afford", "afford_obj"),
}
_LEAST = {"max_new_tokens": 1, "photographs_kept": 1, "questions_at_once": 1, "view_batch": 1, "question_index": 0}
