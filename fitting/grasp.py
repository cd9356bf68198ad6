"""Hands close on what they hold: each finger flexes, link after link, until it touches.

The way of automatic grasps (Miller and Allen, "GraspIt!", 2004): all links of a finger flex together; a link that
touches stops, with those before it, and the others go on. A finger that meets nothing stays naturally curled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.state import BodyState
from hoirecon.fitting.finger_terms import HANDS
from hoirecon.fitting.hand_poses import hand_pose
from hoirecon.fitting.sdf import inside_depth, ray_scene, unsigned_distance
from hoirecon.mesh import Mesh

STEPS = 25
"""Degrees of closing that are tried."""
FURTHEST = 1.15
"""Closing at which a finger stops without contact, where 1 is a fist round a bar."""


@dataclass(frozen=True)
class GraspConfig:
    """Settings of :func:`close_fingers`."""

    touch: float = 0.002
    """Skin this near to the object touches, metres."""
    idle: float = 0.25
    """Closing of a finger that meets nothing, 0 at rest to 1 in a fist."""


def close_fingers(
    model: BodyModel, state: BodyState, things: Sequence[Mesh], sides: Sequence[str], config: GraspConfig | None = None
) -> BodyState:
    """Close the fingers of some hands on objects.

    Args:
        model: the body.
        state: a batch of one.
        things: objects, camera frame.
        sides: hands that hold something: ``left``, ``right``.
        config: settings.

    Returns:
        The same body with other rotations of those hands' fingers.
    """
    config = config or GraspConfig()
    touch = _Touch(things, config)
    for side in sides:
        for first in range(HANDS[side][0], HANDS[side][-1] + 1, 3):
            state = _close_finger(model, state, touch, side, first, config)
    return state


class _Touch:
    """Which points touch any of the objects."""

    def __init__(self, things: Sequence[Mesh], config: GraspConfig) -> None:
        self.things = [(thing, ray_scene(thing)) for thing in things]
        self.config = config

    def __call__(self, points: FloatArray) -> BoolArray:
        """(B, N) of points (B, N, 3)."""
        flat = points.reshape(-1, 3)
        touching = np.zeros(len(flat), dtype=bool)
        for thing, scene in self.things:
            near = unsigned_distance(scene, flat) < self.config.touch
            touching |= near | (inside_depth(thing, flat) > 0)
        return touching.reshape(points.shape[:2])


def _close_finger(
    model: BodyModel, state: BodyState, touch: _Touch, side: str, first: int, config: GraspConfig
) -> BodyState:
    """One finger, its three links from the knuckle outwards."""
    path = _path(side, first).to(state.rotations)  # (STEPS, 3, 3): rotation vectors of the three joints
    links = [torch.nonzero(model.weights.argmax(1) == first + k)[:, 0] for k in range(3)]
    ids, owner = torch.cat(links), np.repeat(np.arange(3), [len(x) for x in links])
    at = np.zeros(3, dtype=int)
    fixed, met = 0, False
    while fixed < 3:
        steps = np.arange(at[fixed], STEPS)
        tried = np.stack([np.where(np.arange(3) < fixed, at, step) for step in steps])  # (S, 3)
        hits = touch(_posed(model, state, path, tried, first, ids))
        free = owner >= fixed
        stops = np.nonzero(hits[:, free].any(1))[0]
        if len(stops) == 0:
            at[fixed:] = STEPS - 1
            break
        met, stop = True, int(stops[0])
        last = int(owner[free][hits[stop][free]].max())
        at[fixed:] = steps[stop]
        fixed = last + 1
    at = at if met else np.full(3, round(config.idle / FURTHEST * (STEPS - 1)))
    return _with_finger(state, path, at[None], first)


def _path(side: str, first: int) -> Tensor:
    """(STEPS, 3, 3) rotation vectors of a finger's joints, from straight to closed."""
    place = slice(3 * (first - HANDS[side][0]), 3 * (first - HANDS[side][0]) + 9)
    rest, fist = (hand_pose(side, grip)[place].reshape(3, 3) for grip in (0.0, 1.0))
    open_ = 0.25 * rest if place.start < 36 else rest - 0.5 * (fist - rest)
    way = np.linspace(0.0, FURTHEST, STEPS)[:, None, None]
    return torch.as_tensor(open_ + way * (fist - open_))


def _posed(model: BodyModel, state: BodyState, path: Tensor, tried: FloatArray, first: int, ids: Tensor) -> FloatArray:
    moved = _with_finger(state, path, tried, first)
    return moved.forward(model, ids).verts.detach().cpu().double().numpy()


def _with_finger(state: BodyState, path: Tensor, steps: FloatArray, first: int) -> BodyState:
    """A batch of bodies whose finger has the closings ``steps`` (S, 3)."""
    vectors = torch.stack([path[torch.as_tensor(steps[:, k])][:, k] for k in range(3)], 1)
    rotations = state.rotations.expand(len(steps), -1, -1, -1).clone()
    rotations[:, first : first + 3] = roma.rotvec_to_rotmat(vectors)
    betas, transl = state.betas.expand(len(steps), -1), state.transl.expand(len(steps), -1)
    return replace(state, rotations=rotations, betas=betas, transl=transl)
