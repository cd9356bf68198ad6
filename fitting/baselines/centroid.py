"""Baseline ``centroid``: the object upright at its usual size, its contact centred on the body's contact.

The simplest thing that uses contact; without contact it stands at the body's depth behind the middle of its mask.
"""

from __future__ import annotations

from hoirecon.fitting.baselines.geometry import UPRIGHT, column_pose, contact_depth, translation_to_box
from hoirecon.fitting.baselines.types import BaselineProblem, BaselineResult, timed
from hoirecon.pose import ObjectPose


def fit_centroid(problem: BaselineProblem) -> BaselineResult:
    """Put the object by contact centroids."""
    return timed(lambda: (_place(problem), 0))


def _place(problem: BaselineProblem) -> ObjectPose:
    s = problem.scale
    on_body, on_object = problem.touching()
    if len(on_body) and len(on_object):
        return column_pose(UPRIGHT, on_body.mean(0) - s * on_object.mean(0) @ UPRIGHT, s)
    turned = s * problem.mesh.verts @ UPRIGHT
    return column_pose(UPRIGHT, translation_to_box(problem, turned, contact_depth(problem)), s)
