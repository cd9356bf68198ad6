"""Does an object that nobody is known to touch stand on the ground? Then the ground tells how far and how large it is.

Moving a thing along the lines of sight while it grows in proportion changes nothing in its outline, so any pose has a
twin that touches the ground. The twin is taken if what else is known (its usual size, who hides whom, that nothing is
in anything, that things are about where people are) does not speak clearly against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.ground import Ground
from hoirecon.fitting.object_problem import ObjectProblem
from hoirecon.fitting.object_state import DOF, NEAR, ObjectState
from hoirecon.fitting.object_types import ObjectFit
from hoirecon.fitting.objective import Residuals, linearise
from hoirecon.pose import ObjectPose

ODDS = 4.0
"""The twin on the ground may cost so much more than the pose found without a ground, squared sigmas: most things that
nobody touches stand somewhere."""
FARTHEST = 3.0
"""A twin that is so many times as far as the pose, or as near, is none."""


@dataclass(frozen=True)
class NearPeople:
    """The object is about as far as the body; wide, for where the ground tells the depth."""

    depth: float
    """Of the body, metres."""
    sigma: float = 0.3
    """Of the logarithm of the depth."""
    weight: float = 1.0
    robust: float | None = None
    name: str = "near people"

    def residuals(self, state: ObjectState) -> Residuals:
        """(B, 1, 1) logarithm of the ratio of depths."""
        z = state.t[:, 2].clamp_min(NEAR)
        r = (z / self.depth).log() / self.sigma
        J = r.new_zeros(len(r), 1, 1, DOF)
        J[..., 5] = ((state.t[:, 2] > NEAR) / (z * self.sigma))[:, None, None]
        return Residuals(r[:, None, None], J, torch.ones_like(r)[:, None], self.sigma, "ratio")


def twin_on_ground(pose: ObjectPose, verts_obj: FloatArray, ground: Ground) -> ObjectPose | None:
    """The pose with the same outline whose lowest point is on the ground; None if it would be far off or nowhere."""
    lowest = float((pose.apply(verts_obj) @ ground.normal).min())
    grow = ground.height / lowest if abs(lowest) > 1e-6 else 0.0
    if not 1 / FARTHEST < grow < FARTHEST:
        return None
    return ObjectPose(pose.R, pose.t * grow, pose.s * grow)


def twins_at_rest(
    problem: ObjectProblem, poses: Sequence[ObjectPose], verts_obj: FloatArray, ground: Ground, config: FitConfig
) -> list[ObjectPose | None] | None:
    """Of each pose its twin on the ground, if it has one; None if the object does not seem to stand there.

    Args:
        problem: the object, prepared without contact.
        poses: found without a ground, best first.
        verts_obj: (V, 3) its vertices as given.
        ground: the ground.
        config: settings of the search.
    """
    found = [twin_on_ground(pose, verts_obj, ground) for pose in poses]
    twins = [twin for twin in found if twin is not None]
    if found[0] is None:
        return None
    energies = _energies(problem, [*poses, *twins], config)
    free, standing = energies[: len(poses)].amin(), energies[len(poses) :].amin()
    return found if float(standing) < float(free) + ODDS else None


def _energies(problem: ObjectProblem, poses: Sequence[ObjectPose], config: FitConfig) -> Tensor:
    like, stage = problem.verts, config.final
    R = torch.as_tensor(np.stack([p.R for p in poses])).to(like)
    t = torch.as_tensor(np.stack([p.t + p.s * p.R @ problem.centre for p in poses])).to(like)
    log_s = torch.as_tensor(np.log([p.s for p in poses])).to(like)
    terms = [term for term in problem.terms(stage, config) if term.name != "depth prior"]
    quad = linearise([*terms, NearPeople(problem.body_depth)], ObjectState(R, t, log_s, problem.view(stage)))
    deep = quad.terms.get("body in object", 0.0) + quad.terms.get("object in body", torch.zeros_like(quad.cost))
    return quad.cost - deep + deep.clamp_max(config.rank_penetration_cap)


def on_ground(fit: ObjectFit, twins: Sequence[ObjectPose | None]) -> ObjectFit:
    """A fit of the first stage with its poses' twins on the ground; alternatives without one are left out."""
    assert twins[0] is not None
    pairs = zip(fit.alternatives, twins[1:], strict=True)
    return replace(fit, pose=twins[0], alternatives=tuple(replace(a, pose=p) for a, p in pairs if p is not None))
