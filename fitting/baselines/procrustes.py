"""Baseline ``procrustes``: the closed-form similarity between given correspondences (Umeyama 1991)."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.fitting.baselines.geometry import align, column_pose
from hoirecon.fitting.baselines.types import BaselineProblem, BaselineResult, timed
from hoirecon.pose import ObjectPose

SIGMAS = 3.0
"""The scale stays within this many standard deviations of its prior: few close pairs do not know it."""


def fit_procrustes(problem: BaselineProblem) -> BaselineResult:
    """Align given correspondences.

    Raises:
        InputError: the problem has no correspondences.
    """
    if problem.correspondences is None:
        raise InputError("procrustes needs correspondences between body and object points: give them, or use icp")
    on_body, on_object = problem.correspondences
    return timed(lambda: (_place(problem, np.asarray(on_body), np.asarray(on_object)), 1))


def _place(problem: BaselineProblem, on_body: FloatArray, on_object: FloatArray) -> ObjectPose:
    mean, sigma = problem.scale_prior
    _, _, free = align(on_object, on_body, scale=True)
    s = float(np.exp(np.clip(np.log(max(free, 1e-6)), mean - SIGMAS * sigma, mean + SIGMAS * sigma)))
    R, t, _ = align(on_object * s, on_body)
    return column_pose(R, t, s)
