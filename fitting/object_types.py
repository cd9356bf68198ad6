"""What goes into the object fit and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.errors import InputError
from hoirecon.fitting.objective import TermReport
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose
from hoirecon.short import counted, flags_text, short


@dataclass(frozen=True)
class ObjectToFit:
    """An object whose pose is wanted."""

    mesh: Mesh
    """In its own frame, metres; scale 1 is its usual size."""
    name: str = "object"
    """What to call it in errors and flags."""
    size_prior: tuple[float, float] = (0.0, 0.2)
    """Mean and standard deviation of the natural logarithm of the scale; 0.2 means +-20 %, 0 fixes the scale."""
    up_obj: tuple[float, float, float] | None = None
    """Axis of the mesh that usually points up; half of the start rotations then keep it upright. None: no idea."""
    initial_rotations: FloatArray | None = None
    """(N, 3, 3) start rotations ``R_cam_obj`` tried besides the even cover; with ``hypotheses=0`` the only ones."""

    def __post_init__(self) -> None:
        if not isinstance(self.mesh, Mesh):
            raise InputError(
                f"the mesh of {self.name} is of type {type(self.mesh).__name__}: give a Mesh, e.g. "
                f"Mesh(m.vertices, m.faces) for a trimesh m, or prepare_mesh(FILE)"
            )
        mu, sigma = (float(v) for v in as_floats(self.size_prior, (2,), "size_prior"))
        if sigma < 0:
            raise InputError(f"size_prior of {self.name} is (mean, sigma) of log scale with sigma >= 0, got {sigma}")
        object.__setattr__(self, "size_prior", (mu, sigma))
        if self.up_obj is not None and not np.linalg.norm(as_floats(self.up_obj, (3,), "up_obj")) > 0:
            raise InputError(f"up_obj of {self.name} must be a direction, got {self.up_obj}")
        if self.initial_rotations is not None:
            rotations = as_floats(self.initial_rotations, ("N", 3, 3), "initial_rotations")
            if not np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-3):
                raise InputError(f"initial_rotations of {self.name} must be rotations (R R^T = 1)")
            object.__setattr__(self, "initial_rotations", rotations)


@dataclass(frozen=True)
class ObjectAlternative:
    """A runner-up: another pose that explains the photograph nearly as well."""

    pose: ObjectPose
    energy: float
    """Comparable with :attr:`ObjectFit.energy`."""
    iou_visible: float


@dataclass(frozen=True, repr=False)
class ObjectFit:
    """The pose of one object and how well it explains what was seen."""

    name: str
    pose: ObjectPose
    """From the object frame to the camera frame."""
    energy: float
    """The energy that ranks, in squared sigmas (penetration capped, visible IoU included)."""
    alternatives: tuple[ObjectAlternative, ...]
    """Distinct runners-up, best first."""
    terms: dict[str, TermReport[Any]]
    """Residuals per term at the pose, in px, mm or ratio."""
    iou_visible: float
    """Overlap of the visible mask with the object where nothing hides it, 0..1."""
    max_penetration_mm: float
    """Deepest penetration of body into object or object into body, millimetres."""
    flags: tuple[str, ...] = ()
    """What to know before trusting it: ``ambiguous``, ``no contact``, ``scale set by prior``, ..."""
    evaluations: int = 0
    """(hypothesis, step) evaluations spent."""
    candidates: tuple[ObjectAlternative, ...] = ()
    """Every pose that the search ended with, near ones and bad ones too; the first is :attr:`pose` until a joint fit
    moves that one."""
    predicted_error_m: float = float("nan")
    """How far the surface is expected to be from the true one, metres; see :mod:`hoirecon.fitting.expected_error`."""
    chance_far: float = float("nan")
    """Chance, 0..1, that it is farther off than
    :attr:`~hoirecon.fitting.fit_config.FitConfig.ambiguous_distance`."""

    def __repr__(self) -> str:
        """Three lines: where and how large, how well it fits, flags."""
        place = ", ".join(f"{v:.2f}" for v in self.pose.t)
        figures = [
            f"visible IoU {self.iou_visible:.2f}",
            f"penetration {self.max_penetration_mm:.0f} mm",
            f"expected error {100 * self.predicted_error_m:.1f} cm",
            f"energy {self.energy:.1f}",
            counted(len(self.alternatives), "alternative"),
        ]
        known = [text for text in figures if " nan " not in text]
        first = f"<ObjectFit: {short(self.name)} at ({place}) m, size x {self.pose.s:.2f}"
        return f"{first}\n {', '.join(known)}\n {flags_text(self.flags)}>"
