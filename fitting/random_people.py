"""Random people whose truth is known: poses drawn from the prior within the joint ranges, landmarks exact or noisy.

For tests and for the commands that print figures; nothing of it is used in a reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch

from hoirecon.arrays import FloatArray
from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.data.body.landmarks import body_landmarks
from hoirecon.data.body.model import BodyModel
from hoirecon.fitting.body_angles import rotations_of
from hoirecon.fitting.body_evidence import line_of_sight
from hoirecon.fitting.hand_poses import hand_pose
from hoirecon.fitting.pose_prior import pose_prior
from hoirecon.observation import Keypoints
from hoirecon.scene import SceneBody

CAMERA = Camera.from_focal(900, 640, 800)
"""Camera that sees a whole person at 3 to 4 m."""


@dataclass(frozen=True)
class Person:
    """Truth and what a detector would say of it."""

    model: BodyModel
    params: BodyParams
    body: SceneBody
    keypoints: Keypoints


def random_person(
    model: BodyModel,
    seed: int,
    *,
    noise_px: float = 0.0,
    noise_m: float = 0.0,
    layout: str = "blazepose33",
    camera: Camera = CAMERA,
    boldness: float = 0.8,
) -> Person:
    """A person who faces anywhere, 3 to 4 m away, in a pose of ``boldness`` prior sigmas within the joint ranges."""
    rng = np.random.default_rng(seed)
    prior = pose_prior()
    usual, low, high = prior.usual.numpy(), prior.low.numpy(), prior.high.numpy()
    angles = usual + boldness * prior.sigma[:63].numpy() * rng.standard_normal(63)
    angles = np.clip(angles, low + 0.05 * (high - low), high - 0.05 * (high - low))
    rotations = rotations_of(torch.as_tensor(angles).view(21, 3), prior.twist_axis)
    yaw, lean = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.15)
    root = torch.tensor([[np.pi, 0, 0], [0, yaw, 0], [lean, 0, 0]])
    root = roma.rotvec_to_rotmat(root)
    params = BodyParams.rest().replace(
        betas=rng.normal(0, 0.7, 10),
        global_orient=roma.rotmat_to_rotvec(root[0] @ root[1] @ root[2]).numpy(),
        body_pose=roma.rotmat_to_rotvec(rotations).numpy().reshape(-1),
        left_hand_pose=hand_pose("left"),
        right_hand_pose=hand_pose("right"),
        transl=[rng.normal(0, 0.1), rng.normal(0.1, 0.05), rng.uniform(3, 4)],
    )
    body = model.pose(params)
    return Person(model, params, body, landmarks_of(body.verts, model, layout, camera, rng, noise_px, noise_m))


def landmarks_of(
    verts: FloatArray,
    model: BodyModel,
    layout: str,
    camera: Camera,
    rng: np.random.Generator,
    noise_px: float = 0.0,
    noise_m: float = 0.0,
) -> Keypoints:
    """What a perfect detector sees of vertices (V, 3), plus noise.

    3D landmarks are relative to the hips, as seen straight on, and 8 % too small, as detectors normalise size.
    """
    regressor = body_landmarks(model, layout)
    points = np.einsum("lk,lkc->lc", regressor.w, verts[regressor.idx])
    hips = [regressor.names.index(f"{side}_hip") for side in ("left", "right")]
    xy = camera.project(points)
    xyz = 0.92 * (points - points[hips].mean(axis=0)) @ line_of_sight(xy, camera)
    xyz = xyz + noise_m * rng.standard_normal(points.shape)
    xy = xy + noise_px * rng.standard_normal((len(points), 2))
    return Keypoints(layout, xy, np.full(len(points), 0.95), xyz)
