"""The state that a body fit moves: joint rotations as matrices, shape, translation; and how a step changes it.

Perturbation: RIGHT and local. A step ``delta_j`` (radians, in joint j's own rotated frame) changes
``R_j <- R_j exp(delta_j)`` with R_j relative to the parent. No joint's step depends on another joint's rotation, so a
retraction is one batched product, whatever joints are free, and nothing is singular at rest or at pi.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import roma
import torch
from torch import Tensor

from hoirecon.body_params import BodyParams
from hoirecon.data.body.model import BodyModel, BodyOutput
from hoirecon.data.body.skeleton import NUM_JOINTS
from hoirecon.errors import InputError


@dataclass(frozen=True)
class BodyState:
    """A batch of bodies; tensors of one dtype and device."""

    rotations: Tensor
    """(B, 52, 3, 3) each joint relative to its parent; 0 is the root, 22.. the left, 37.. the right hand."""
    betas: Tensor
    """(B, NB)."""
    transl: Tensor
    """(B, 3) metres."""

    @classmethod
    def rest(cls, model: BodyModel, batch: int = 1) -> BodyState:
        """The mean shape in the rest pose at the origin, ``batch`` times."""
        zeros = model.v_template.new_zeros
        eye = torch.eye(3, dtype=model.dtype, device=model.device)
        return cls(eye.expand(batch, NUM_JOINTS, 3, 3), zeros(batch, model.num_betas), zeros(batch, 3))

    @classmethod
    def from_params(cls, model: BodyModel, params: BodyParams | list[BodyParams]) -> BodyState:
        """Stack numpy parameters in the model's dtype; betas are padded with zeros to the model's count."""
        listed = [params] if isinstance(params, BodyParams) else params
        stacked = [torch.as_tensor(np.stack([p.arrays()[k] for p in listed])) for k in listed[0].arrays()]
        betas, *pose, transl = (t.to(model.device, model.dtype) for t in stacked)
        return cls(model.rotations(*pose), model.full_betas(betas), transl)

    def to_params(self, topology: str) -> list[BodyParams]:
        """One numpy :class:`BodyParams` per body, rotations as rotation vectors of angle at most pi."""
        rotvecs = self.rotvecs().detach().cpu().double().numpy()
        betas, transl = (t.detach().cpu().double().numpy() for t in (self.betas, self.transl))
        return [
            BodyParams(betas[b], v[0], v[1:22].ravel(), v[22:37].ravel(), v[37:].ravel(), transl[b], topology)
            for b, v in enumerate(rotvecs)
        ]

    def rotvecs(self) -> Tensor:
        """(B, 52, 3) rotation vectors of angle at most pi."""
        vectors: Tensor = roma.rotmat_to_rotvec(self.rotations)
        return vectors

    def forward(self, model: BodyModel, vertex_subset: object = None) -> BodyOutput:
        """Vertices and joints of these bodies."""
        return model.forward_rotations(self.rotations, self.betas, self.transl, vertex_subset)

    def select(self, rows: Tensor) -> BodyState:
        """The bodies at some places of the batch (indices or mask)."""
        return BodyState(self.rotations[rows], self.betas[rows], self.transl[rows])

    def merge(self, other: BodyState, take_other: Tensor) -> BodyState:
        """Per body: ``other`` where ``take_other`` (B,) is True, else self."""
        return BodyState(
            torch.where(take_other[:, None, None, None], other.rotations, self.rotations),
            torch.where(take_other[:, None], other.betas, self.betas),
            torch.where(take_other[:, None], other.transl, self.transl),
        )


@dataclass(frozen=True)
class FreeParams:
    """Which parameters a fit may move, and so the columns of every Jacobian: joints x 3, betas, transl."""

    joints: tuple[int, ...] = tuple(range(22))
    """Joints in column order; 0 is ``global_orient``, 1..21 ``body_pose``, 22..36 and 37..51 the hands."""
    betas: int = 10
    """The first so many shape coefficients are free."""
    transl: bool = True
    """Whether the translation is free (the last three columns)."""

    def __post_init__(self) -> None:
        if len(set(self.joints)) < len(self.joints) or not set(self.joints) <= set(range(NUM_JOINTS)):
            raise InputError(f"free joints must be different numbers in 0..{NUM_JOINTS - 1}, got {self.joints}")

    @property
    def size(self) -> int:
        """D, the number of columns."""
        return 3 * len(self.joints) + self.betas + 3 * self.transl

    @cached_property
    def pose_columns(self) -> slice:
        """Columns of the joints."""
        return slice(0, 3 * len(self.joints))

    @cached_property
    def betas_columns(self) -> slice:
        """Columns of the shape coefficients."""
        return slice(self.pose_columns.stop, self.pose_columns.stop + self.betas)

    @cached_property
    def transl_columns(self) -> slice:
        """Columns of the translation; empty if it is not free."""
        return slice(self.betas_columns.stop, self.size)

    def joint_columns(self, joint: int) -> slice:
        """The three columns of one free joint."""
        at = self.joints.index(joint)
        return slice(3 * at, 3 * at + 3)


WITHOUT_HANDS = FreeParams()
"""Root, body joints, ten betas, translation: what landmarks of a whole body can tell."""


def retract(state: BodyState, delta: Tensor, free: FreeParams) -> BodyState:
    """Apply a step (B, D): ``R_j <- R_j exp(delta_j)``, betas and translation plus their part."""
    rotations, betas, transl = state.rotations, state.betas, state.transl
    joints = torch.tensor(free.joints, device=delta.device, dtype=torch.long)
    turn = roma.rotvec_to_rotmat(delta[:, free.pose_columns].reshape(len(delta), -1, 3))
    rotations = rotations.index_copy(1, joints, rotations[:, joints] @ turn)
    step = torch.nn.functional.pad(delta[:, free.betas_columns], (0, betas.shape[1] - free.betas))
    betas = betas + step
    if free.transl:
        transl = transl + delta[:, free.transl_columns]
    return BodyState(rotations, betas, transl)


def rotvec_jacobian(rotvecs: Tensor) -> Tensor:
    """d log(R exp(delta)) / d delta at 0, (..., 3, 3): turns a prior on rotation vectors into columns of a step.

    The inverse right Jacobian of SO(3): ``1 + [w]/2 + c [w]^2`` with
    ``c = 1/theta^2 - (1 + cos theta) / (2 theta sin theta)`` (Sola et al. 2018, eq. 144); a series near zero.
    Singular at angles of 2 pi; rotation vectors of a :class:`BodyState` stay at or below pi.
    """
    theta2 = (rotvecs * rotvecs).sum(-1)
    near = theta2 < 1e-4
    safe = torch.where(near, torch.ones_like(theta2), theta2)
    theta = safe.sqrt()
    # (1 + cos) / sin = 1 / tan(theta / 2), which stays finite at pi
    closed = 1 / safe - 1 / (2 * theta * torch.tan(theta / 2))
    series = 1 / 12 + theta2 / 720 + theta2**2 / 30240
    c = torch.where(near, series, closed)[..., None, None]
    cross = cross_matrix(rotvecs)
    eye = torch.eye(3, dtype=rotvecs.dtype, device=rotvecs.device)
    return eye + cross / 2 + c * (cross @ cross)


def cross_matrix(vectors: Tensor) -> Tensor:
    """(..., 3, 3) matrix [v] with ``[v] u = v x u``."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vectors.shape, 3)
