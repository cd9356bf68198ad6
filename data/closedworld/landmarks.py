"""Landmarks of the person as a detector would give them: off by a share of the person's size, worse where hidden."""

from __future__ import annotations

import numpy as np
import torch

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.data.body import BodyState, body_landmarks, landmarks_with_jacobian, points_of_landmarks
from hoirecon.data.body.state import FreeParams
from hoirecon.data.closedworld.levels import NoiseLevel
from hoirecon.data.closedworld.posing import body_model
from hoirecon.data.closedworld.scene import ClosedWorldScene
from hoirecon.observation import Keypoints

LAYOUT = "blazepose33"
UNEVEN = (0.6, 1.6)
"""Range of the factors by which single landmarks are better or worse than the level says."""
HIDDEN_FACTOR = 2.5
"""How much worse a detector guesses what it cannot see."""
HIDDEN_M = 0.12
"""A landmark this far behind the seen surface is hidden, metres: joints lie inside the body."""
SURE, UNSURE = (0.8, 1.0), (0.15, 0.6)
"""Ranges of the confidence of seen and of hidden landmarks."""


def noisy_landmarks(scene: ClosedWorldScene, level: NoiseLevel, rng: np.random.Generator) -> Keypoints:
    """The 33 landmarks of the true body in the picture, spoilt to the level; those outside it have confidence 0."""
    points = true_landmarks(scene)
    xy = scene.camera.project(points)
    hidden = hidden_landmarks(scene, points, xy)
    size = level.landmark_share * scene.camera.focal[1] * 1.7 / points[:, 2].mean()
    spread = size * rng.uniform(*UNEVEN, len(xy)) * np.where(hidden, HIDDEN_FACTOR, 1.0)
    moved = xy + spread[:, None] * rng.standard_normal(xy.shape)
    sure = np.where(hidden, rng.uniform(*UNSURE, len(xy)), rng.uniform(*SURE, len(xy)))
    inside = ((moved >= 0) & (moved <= (scene.camera.width, scene.camera.height))).all(1)
    return Keypoints(LAYOUT, moved, np.where(inside, sure, 0.0))


def true_landmarks(scene: ClosedWorldScene) -> FloatArray:
    """(33, 3) places of the landmarks on the true body, camera frame, metres."""
    model = body_model()
    points = points_of_landmarks(model, body_landmarks(model, LAYOUT))
    state = BodyState.from_params(model, scene.params)
    with torch.no_grad():
        at, _ = landmarks_with_jacobian(model, state, points, FreeParams((), 0, False))
    return np.asarray(at[0].double().numpy())


def hidden_landmarks(scene: ClosedWorldScene, points: FloatArray, xy: FloatArray) -> BoolArray:
    """(L,) landmarks well behind what is seen at their pixel."""
    column, row = (np.floor(xy[:, k]).astype(int).clip(0, n - 1) for k, n in enumerate(scene.depth.shape[::-1]))
    found: BoolArray = points[:, 2] > scene.depth[row, column] + HIDDEN_M
    return found
