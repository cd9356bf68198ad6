"""What the estimator gives besides contact maps: contact in the image, and contact with several things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, as_floats
from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap
from hoirecon.errors import InputError


@dataclass(frozen=True)
class ImageContact:
    """Contact per pixel of the photograph."""

    probability: FloatArray
    """(H, W) in [0, 1]; zeros if the answer held no contact token."""
    label: str = ""
    """The object's name."""
    answer: str = ""
    """What the model said."""
    notes: tuple[str, ...] = ()
    """What a person should know before trusting it."""
    source: str = "interactvlm"
    """Who estimated it."""

    def __post_init__(self) -> None:
        probability = as_floats(self.probability, ("H", "W"), "probability")
        if probability.size == 0 or probability.min() < 0 or probability.max() > 1:
            raise InputError("contact probabilities of an image must lie in [0, 1] and not be empty")
        object.__setattr__(self, "probability", probability)

    def mask(self, threshold: float = CONTACT_THRESHOLD) -> BoolArray:
        """(H, W) True where the probability is above the threshold.

        The reference draws pixels whose logit is above 0.5, which is a threshold of 0.62 here.
        """
        return np.asarray(self.probability > threshold)


@dataclass(frozen=True)
class JointContact:
    """Contact of one person with one of several things."""

    label: str
    """The object's name."""
    human: ContactMap
    """Contact on the body."""
    object: ContactMap | None
    """Contact on the object; None if no mesh was given for it."""
