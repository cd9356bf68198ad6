"""How wrong the evidence is: the benchmark's noise levels, stated in the units in which it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hoirecon.errors import InputError


@dataclass(frozen=True)
class NoiseLevel:
    """Errors of contact, masks, body and size."""

    name: str
    precision: float = 1.0
    """Of contact, on each surface; errors are whole patches."""
    recall: float = 1.0
    """Likewise."""
    mask_px: float = 0.0
    """Standard deviation of the masks' outline, smooth along it, pixels."""
    joint_deg: float = 0.0
    """Angle by which each body joint is off, degrees."""
    ends_m: float | None = 0.0
    """Root mean square by which hands and feet are off (as in a fit to landmarks, errors along a limb cancel), and the
    root and correspondences too, metres. None: joints' errors add up along the limbs, root off by 2 cm."""
    scale_log_sigma: float = 0.1
    """Standard deviation of the logarithm of the unknown scale; the fitter is told so."""
    blob: float = 0.0
    """Area of a false piece of the object's mask, as a share of it."""
    cut: float = 0.0
    """Share of the object that is hidden behind one more occluder."""
    landmark_share: float = 0.0
    """Standard deviation of a seen landmark of the person, each way, as a share of a stature's length in pixels; hidden
    ones are two and a half times worse."""
    mismatch: bool = False
    """Whether the mesh is another one: 10 to 20 % off along each axis, and a part missing where one can be spared."""

    def __post_init__(self) -> None:
        shares = {"precision": (self.precision, 0.01), "recall": (self.recall, 0.0), "cut": (self.cut, 0.0)}
        wrong = [f"{name} {value}" for name, (value, least) in shares.items() if not least <= value <= 1]
        sizes = ("mask_px", "joint_deg", "ends_m", "scale_log_sigma", "blob", "landmark_share")
        wrong += [f"{n} {getattr(self, n)}" for n in sizes if not 0 <= (getattr(self, n) or 0.0) < float("inf")]
        if wrong:
            raise InputError(
                f"the noise level '{self.name}' cannot be: {', '.join(wrong)}; precision, recall and cut lie between 0 "
                f"and 1, the others are 0 or more"
            )


LEVELS: Mapping[str, NoiseLevel] = {
    level.name: level
    for level in (
        NoiseLevel("L0"),
        NoiseLevel("L1", 0.80, 0.85, 1.0, 2.5, 0.01, 0.10, landmark_share=0.005),
        NoiseLevel("L2", 0.65, 0.75, 2.0, 5.0, 0.02, 0.20, landmark_share=0.01),
        NoiseLevel("L3", 0.40, 0.50, 4.0, 10.0, 0.04, 0.30, blob=0.2, cut=0.3, landmark_share=0.02),
        NoiseLevel("mismatch", 0.65, 0.75, 2.0, 5.0, 0.02, 0.20, landmark_share=0.01, mismatch=True),
    )
}
"""L0 exact; L2 about what today's estimators give; mismatch is L2 with a wrong mesh."""


def level_of(level: str | NoiseLevel) -> NoiseLevel:
    """A level by its name, or a user's own.

    Raises:
        InputError: unknown name.
    """
    if isinstance(level, NoiseLevel):
        return level
    if level not in LEVELS:
        raise InputError(f"the noise level is one of {', '.join(LEVELS)}, got '{level}'")
    return LEVELS[level]
