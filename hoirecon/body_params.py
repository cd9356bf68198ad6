"""Parameters of one SMPL-family body, under the names its users know."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, as_floats

PARAM_SIZES = {
    "global_orient": 3,
    "body_pose": 63,
    "left_hand_pose": 45,
    "right_hand_pose": 45,
    "transl": 3,
}


def _zeros(size: int) -> FloatArray:
    return np.zeros(size)


@dataclass(frozen=True)
class BodyParams:
    """Shape and pose of one SMPL-H-layout body; poses are rotation vectors (radians) per joint.

    ``verts_cam = LBS(betas, global_orient, body_pose, hands) + transl``, as in the smplx package: the global
    rotation turns about the pelvis joint, not about the origin.
    """

    betas: FloatArray
    """(B,) shape coefficients, in standard deviations."""
    global_orient: FloatArray
    """(3,) rotation of the root joint in the camera frame."""
    body_pose: FloatArray
    """(63,) 21 body joints after the root."""
    left_hand_pose: FloatArray
    """(45,) 15 finger joints as full rotations, not PCA coefficients."""
    right_hand_pose: FloatArray
    """(45,) likewise."""
    transl: FloatArray
    """(3,) metres, camera frame."""
    topology: str = "hoirecon-free-body-1"
    """Name of the body model's mesh, e.g. ``hoirecon-free-body-1`` or ``smplh``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", as_floats(np.atleast_1d(self.betas), ("B",), "betas"))
        for name, size in PARAM_SIZES.items():
            value = np.reshape(np.asarray(getattr(self, name), dtype=np.float64), -1)
            object.__setattr__(self, name, as_floats(value, (size,), name))

    @classmethod
    def rest(cls, num_betas: int = 10, topology: str = "hoirecon-free-body-1") -> BodyParams:
        """The rest (T) pose of the mean shape at the origin."""
        sizes = {name: _zeros(size) for name, size in PARAM_SIZES.items()}
        return cls(betas=_zeros(num_betas), topology=topology, **sizes)

    def arrays(self) -> dict[str, FloatArray]:
        """The numeric fields by name, e.g. to hand them to a body model's forward."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "topology"}

    def replace(self, **changes: Any) -> BodyParams:
        """The same body with some fields changed."""
        return BodyParams(**{**self.arrays(), "topology": self.topology, **changes})
