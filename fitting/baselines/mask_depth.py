"""Baseline ``mask-depth``: the object upright, its box on the mask's box, at the depth of the touching body vertices.

The size follows the mask at that depth, within two standard deviations of the prior.
"""

from __future__ import annotations

import numpy as np

from hoirecon.fitting.baselines.geometry import UPRIGHT, column_pose, contact_depth, translation_to_box
from hoirecon.fitting.baselines.types import BaselineProblem, BaselineResult, timed
from hoirecon.observation import box_of_mask
from hoirecon.pose import ObjectPose


def fit_mask_depth(problem: BaselineProblem) -> BaselineResult:
    """Put the object by its mask and the contact's depth."""
    return timed(lambda: (_place(problem), 0))


def _place(problem: BaselineProblem) -> ObjectPose:
    mean, sigma = problem.scale_prior
    depth, size = contact_depth(problem), np.hypot(*box_of_mask(problem.object_mask)[2:])
    centre = (problem.mesh.verts.min(0) + problem.mesh.verts.max(0)) / 2
    turned = (problem.mesh.verts - centre) @ UPRIGHT
    log_s = mean
    for _ in range(3):
        t = translation_to_box(problem, np.exp(log_s) * turned, depth)
        drawn = np.hypot(*np.ptp(problem.camera.project(np.exp(log_s) * turned + t), axis=0))
        log_s = float(np.clip(log_s + np.log(size / drawn), mean - 2 * sigma, mean + 2 * sigma))
    t = translation_to_box(problem, np.exp(log_s) * turned, depth)
    return column_pose(UPRIGHT, t - np.exp(log_s) * centre @ UPRIGHT, float(np.exp(log_s)))
