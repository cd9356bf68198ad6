"""What the estimator gives besides contact maps: contact in the image, and contact with several things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, check_shape
from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap
from hoirecon.errors import InputError

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageContact:
    """Contact per pixel of the photograph."""

    probability: Floats32
    """(H, W) in [0, 1], float32 as photographs are large; zeros if the answer held no contact token."""
    label: str = ""
    """The object's name."""
    answer: str = ""
    """What the model said."""
    notes: tuple[str, ...] = ()
    """What a person should know before trusting it."""
    source: str = "interactvlm"
    """Who estimated it."""

    def __post_init__(self) -> None:
        probability = np.asarray(self.probability, np.float32)
        check_shape(probability, ("H", "W"), "probability")
        if probability.size == 0 or not (probability.min() >= 0 and probability.max() <= 1):  # NaN neither
            raise InputError("contact probabilities of an image must lie in [0, 1] and not be empty")
        object.__setattr__(self, "probability", probability)

    def __repr__(self) -> str:
        height, width = self.probability.shape
        notes = f"; {len(self.notes)} note{'s' * (len(self.notes) > 1)}: {self.notes[0][:60]}" if self.notes else ""
        return (
            f"<ImageContact: contact with {self.label[:40] or 'something'} in {width} x {height} pixels; "
            f"{100 * float(self.mask().mean()):.1f} % above {CONTACT_THRESHOLD:g}, highest "
            f"{self.probability.max():.2f}; from {self.source}{notes}>"
        )

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
