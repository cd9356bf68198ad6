"""Scores of a prediction: landmarks in pixels before and after, and whether its covariance is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoirecon.data.closedworld import ClosedWorldScene, NoiseLevel, make_scene, observe_scene
from hoirecon.data.closedworld.landmarks import true_landmarks
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.bench import landmark_places, run_bench, score
from hoirecon.evaluation.closedworld.methods import Prediction
from hoirecon.evaluation.closedworld.summary import MEDIANS, summary
from hoirecon.pose import ObjectPose

pytest.importorskip("open3d")


@pytest.fixture(scope="module")
def scene() -> ClosedWorldScene:
    """A person and a thing."""
    return make_scene(0)


def test_landmarks_of_the_vertices_are_the_true_ones(scene: ClosedWorldScene) -> None:
    assert np.allclose(landmark_places(scene.body_verts), true_landmarks(scene), atol=1e-5)


def test_landmark_errors_are_zero_at_the_truth_and_the_noise_otherwise(scene: ClosedWorldScene) -> None:
    given = observe_scene(scene, "L2")
    truth = ObjectPose(scene.pose.R, scene.pose.t, given.true_scale)
    row = score(scene, given, Prediction(truth, body=scene.body))
    still = score(scene, given, Prediction(truth))
    assert row["landmark_px"] == pytest.approx(0, abs=1e-3)
    assert row["landmark_given_px"] == still["landmark_px"] == still["landmark_given_px"] > 1.0
    keypoints = given.observation.keypoints
    assert keypoints is not None
    used = keypoints.confidence > 0
    off = np.linalg.norm(scene.camera.project(true_landmarks(scene)) - keypoints.xy, axis=1)
    assert row["landmark_seen_px"] == pytest.approx(np.median(off[used]), abs=1e-2)
    assert row["landmark_seen_given_px"] > row["landmark_seen_px"]
    assert {"landmark_px", "landmark_given_px", "nse_per_dof"} <= set(MEDIANS)


def test_a_body_that_is_moved_sideways_is_so_many_pixels_off(scene: ClosedWorldScene) -> None:
    given = observe_scene(scene, "L0")
    shifted = replace(scene.body, verts=scene.body_verts + np.array([0.05, 0, 0]))
    row = score(scene, given, Prediction(scene.pose, body=shifted))
    depth = np.median(true_landmarks(scene)[:, 2])
    assert row["landmark_px"] == pytest.approx(0.05 * scene.camera.focal[0] / depth, rel=0.05)
    assert (row["landmark_given_px"], row["landmark_seen_given_px"]) == (0.0, 0.0)


def test_the_stated_covariance_is_scored(scene: ClosedWorldScene) -> None:
    given = observe_scene(scene, "L1")
    truth = ObjectPose(scene.pose.R, scene.pose.t, given.true_scale)
    off = ObjectPose(truth.R, truth.t + np.array([0.0, 0.0, 0.07]), truth.s)
    cov = np.diag([0.1, 0.1, 0.1, 0.01, 0.01, 0.02, 0.1]) ** 2
    told = score(scene, given, Prediction(off, covariance=cov))
    assert told["nse_per_dof"] == pytest.approx((0.07 / 0.02) ** 2 / 7, rel=1e-3)
    assert score(scene, given, Prediction(off))["nse_per_dof"] is None
    rows = [told | {"scene": "a", "failed": None, "category": "box", "interaction": "sit", "occluded": 0.1}]
    assert summary(rows)["nse_per_dof"]["median"] == pytest.approx(1.75, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 0}, "1 scene or more"),
        ({"limit": -2}, "1 scene or more"),
        ({"noise_seed": -1}, "noise's seed"),
        ({"seeds": [0.5]}, "whole numbers"),
        ({"seeds": [3, 3]}, "came twice"),
        ({"methods": ["icp", "icp"]}, "compared once"),
        ({"methods": "icp"}, "put it in brackets"),
        ({"results": Path(__file__)}, "is a file"),
    ],
)
def test_further_mistakes_are_named_before_any_work(changes: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"level": "L0", "methods": ["nothing"], "seeds": [0]}
    with pytest.raises(InputError, match=message):
        run_bench(**(settings | changes))


@pytest.mark.parametrize(
    "changes",
    [{"precision": 0.0}, {"precision": 1.5}, {"recall": -0.1}, {"mask_px": -1.0}, {"scale_log_sigma": float("nan")},
     {"ends_m": -0.01}, {"cut": 2.0}, {"joint_deg": float("inf")}],
)  # fmt: skip
def test_impossible_noise_is_told(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"own' cannot be: {next(iter(changes))}"):
        NoiseLevel("own", **changes)
