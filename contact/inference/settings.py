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
    """Template of questions on an object's contact, likewise."""
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
        if self.lift not in ("soft", "legacy"):
            raise InputError(f"there is no lift '{self.lift}': choose soft or legacy")
        for name in ("max_new_tokens", "photographs_kept", "questions_at_once", "view_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.question_index < 0:
            raise InputError(f"question_index counts from 0, got {self.question_index}")
