"""Baseline ``icp``: iterated closest points between the contact patches (Besl and McKay 1992), from the upright start.

Plain point-to-point registration with the matches renewed every round, which ``interactvlm-style`` does not do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.fitting.baselines.centroid import fit_centroid
from hoirecon.fitting.baselines.geometry import align, column_pose
from hoirecon.fitting.baselines.types import BaselineProblem, BaselineResult, timed
from hoirecon.pose import ObjectPose


@dataclass(frozen=True)
class IcpConfig:
    """Settings of ``icp``."""

    rounds: int = 50
    """Most rounds of matching and alignment."""
    tolerance: float = 1e-5
    """Change of the root mean square distance at which it has settled, metres."""


def fit_icp(problem: BaselineProblem, config: IcpConfig | None = None) -> BaselineResult:
    """Register the object's contact patch to the body's; the scale is the expected one."""
    return timed(lambda: _register(problem, config or IcpConfig()))


def _register(problem: BaselineProblem, config: IcpConfig) -> tuple[ObjectPose, int]:
    pose = fit_centroid(problem).pose
    on_body, on_object = problem.touching()
    if len(on_object) < 3 or len(on_body) == 0:
        return pose, 0
    tree, sized, last, used = cKDTree(on_body), on_object * problem.scale, np.inf, 0
    moved = pose.apply(on_object)
    R, t = pose.R.T, pose.t
    while used < config.rounds:
        used += 1
        matched = on_body[tree.query(moved)[1]]
        R, t, _ = align(sized, matched)
        moved = sized @ R + t
        error = float(np.sqrt(((moved - matched) ** 2).sum(1).mean()))
        if abs(last - error) < config.tolerance:
            break
        last = error
    return column_pose(R, t, problem.scale), used
