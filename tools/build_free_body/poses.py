"""Test poses and a plain numpy forward pass, for the tool's own checks and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tools.build_free_body.makehuman import Floats
from tools.build_free_body.rig import INDEX, PARENTS

Pose = dict[str, tuple[float, float, float]]


def both(joint: str, x: float, y: float, z: float) -> Pose:
    """The same rotation vector for the left joint and, mirrored, for the right one."""
    return {f"left_{joint}": (x, y, z), f"right_{joint}": (x, -y, -z)}


def fist(amount: float) -> Pose:
    """Closes the hand: fingers about the palm's width, the thumb first across the palm, then about its own hinge."""
    pose: Pose = {}
    for finger in ("index", "middle", "ring", "pinky"):
        for k in (1, 2, 3):
            pose |= both(f"{finger}{k}", 0, 0, -amount)
    hinge = np.array([-0.18, 0.66, 0.73])
    thumb = {1: np.array([0.5, 0.15, -0.1]), 2: 0.55 * hinge, 3: 0.65 * hinge}
    for k, r in thumb.items():
        pose |= both(f"thumb{k}", *(float(amount * x) for x in r))
    return pose


POSES: dict[str, Pose] = {
    "T": {},
    "A": both("shoulder", 0, 0, -0.9),
    "star": both("hip", 0, 0, 0.55) | both("shoulder", 0, 0, 0.5),
    "grasp": both("shoulder", 0, -1.0, -0.5) | both("elbow", 0, -0.6, 0) | fist(0.8),
    "sit": both("hip", -1.5, 0.1, 0)
    | both("knee", 1.5, 0, 0)
    | both("shoulder", 0, 0, -1.2)
    | both("elbow", 0, -0.9, 0),
    "squat": both("hip", -2.0, 0.3, 0.2)
    | both("knee", 2.1, 0, 0)
    | both("shoulder", 0, -1.3, -0.3)
    | {"spine1": (0.3, 0.0, 0.0), "spine2": (0.2, 0.0, 0.0)},
}


def forward(body: dict[str, Any], pose: Pose, betas: Floats | None = None) -> tuple[Floats, Floats]:
    """Posed vertices (V, 3) and joints (52, 3); SMPL's equations (Loper et al. 2015), root at its rest place."""
    rest = body["v_template"].astype(float)
    if betas is not None:
        rest = rest + body["shapedirs"][..., : len(betas)] @ betas
    joints = body["J_regressor"].astype(float) @ rest
    local = np.tile(np.eye(3), (52, 1, 1))
    for name, vector in pose.items():
        local[INDEX[name]] = Rotation.from_rotvec(vector).as_matrix()
    if body["posedirs"].any():
        rest = rest + body["posedirs"] @ (local[1:] - np.eye(3)).reshape(-1)
    world, posed = local.copy(), joints.copy()
    for j in range(1, 52):
        world[j] = world[PARENTS[j]] @ local[j]
        posed[j] = posed[PARENTS[j]] + world[PARENTS[j]] @ (joints[j] - joints[PARENTS[j]])
    shift = posed - np.einsum("jab,jb->ja", world, joints)
    w = body["weights"].astype(float)
    return np.einsum("vj,jab,vb->va", w, world, rest) + w @ shift, posed
