"""A body as a fit to landmarks would get it wrong: every joint turned, but hands and feet nearly where they were."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hoirecon.body_params import BodyParams
from hoirecon.data.body import BodyState, FreeParams, landmarks_with_jacobian, points_of_joints, retract
from hoirecon.data.body.skeleton import joint_index
from hoirecon.data.closedworld.posing import body_model

ENDS = tuple(joint_index(n) for n in ("left_middle1", "right_middle1", "left_foot", "right_foot"))
"""Joints whose error is set: middle of the hands, balls of the feet."""
LOOSE_ROOT_M = 0.02
"""Error of the root where the joints' errors are left to add up, metres."""


def bent_body(params: BodyParams, joint_deg: float, ends_m: float | None, rng: np.random.Generator) -> BodyParams:
    """Turn every body joint by an angle about a random axis and shift the root; then, unless ``ends_m`` is None, turn
    the joints by the least amount that brings hands and feet to within that error of where they truly are."""
    state = BodyState.from_params(body_model(), params)
    true = state.forward(body_model(), np.zeros(1, dtype=int)).joints[0, list(ENDS)]
    free = FreeParams(tuple(range(1, 22)), 0, True)
    axes = rng.standard_normal((21, 3))
    turns = np.radians(joint_deg) * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    shift = rng.standard_normal(3) * (LOOSE_ROOT_M if ends_m is None else ends_m) / np.sqrt(3)
    state = retract(state, torch.tensor(np.concatenate([turns.ravel(), shift]))[None], free)
    if ends_m is not None:
        goal = true + torch.tensor(rng.standard_normal((len(ENDS), 3)) * ends_m / np.sqrt(3))
        state = _brought(state, goal)
    return state.to_params(params.topology)[0]


def _brought(state: BodyState, goal: Tensor, steps: int = 5) -> BodyState:
    """Least-norm Gauss-Newton steps of the joints until the ends are at the goal."""
    points, free = points_of_joints(body_model(), ENDS), FreeParams(tuple(range(1, 22)), 0, False)
    for _ in range(steps):
        at, J = landmarks_with_jacobian(body_model(), state, points, free)
        J = J.reshape(-1, free.size)
        miss = (goal - at[0]).reshape(-1)
        damped = J @ J.T + 1e-4 * torch.eye(len(J), dtype=J.dtype)
        state = retract(state, (J.T @ torch.linalg.solve(damped, miss))[None], free)
    return state
