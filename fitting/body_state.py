"""The unknowns of a body fit: bodies, and how much larger than life the detector's 3D landmarks are.

A step has the columns of :class:`~hoirecon.data.body.state.FreeParams` (joints, shape, translation), then one for the
logarithm of the detector's scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hoirecon.body_params import BodyParams
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.state import BodyState, FreeParams
from hoirecon.data.body.state import retract as retract_body

NUM_MOVED = 22
"""Joints that the fit moves: the root and 21 body joints. Fingers keep the pose they are given."""


@dataclass(frozen=True)
class FitState:
    """A batch of B bodies."""

    body: BodyState
    log_scale: Tensor
    """(B,) logarithm of (size of the detector's 3D landmarks / true size)."""

    @property
    def batch(self) -> int:
        """B."""
        return len(self.log_scale)

    @property
    def free(self) -> FreeParams:
        """What moves: root, body joints, all shape coefficients, translation."""
        return FreeParams(tuple(range(NUM_MOVED)), self.body.betas.shape[1], True)

    @property
    def num_columns(self) -> int:
        """D, the length of a step."""
        return self.free.size + 1

    @classmethod
    def from_params(cls, model: BodyModel, params: BodyParams) -> FitState:
        """A batch of one."""
        body = BodyState.from_params(model, params)
        return cls(body, torch.zeros_like(body.betas[:, 0]))


def retract(state: FitState, step: Tensor) -> FitState:
    """Move every body by its step (B, D)."""
    return FitState(retract_body(state.body, step[:, :-1], state.free), state.log_scale + step[:, -1])


def select(state: FitState, index: Tensor) -> FitState:
    """The bodies of the batch with these indices."""
    return FitState(state.body.select(index), state.log_scale[index])


def merge(state: FitState, part: FitState, index: Tensor) -> FitState:
    """The batch with these bodies replaced."""
    body, new = state.body, part.body
    mixed = BodyState(
        body.rotations.index_copy(0, index, new.rotations),
        body.betas.index_copy(0, index, new.betas),
        body.transl.index_copy(0, index, new.transl),
    )
    return FitState(mixed, state.log_scale.index_copy(0, index, part.log_scale))


def limit_step(step: Tensor, most_rad: float = 0.5) -> Tensor:
    """Shorten steps (B, D) that would turn a joint by more than ``most_rad`` radians."""
    turn: Tensor = step[:, : 3 * NUM_MOVED].reshape(-1, NUM_MOVED, 3).norm(dim=-1).amax(-1)
    return step * (most_rad / turn.clamp_min(most_rad))[:, None]
