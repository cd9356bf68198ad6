"""Pose correctives (`posedirs`) that give back the volume that linear blend skinning loses where limbs bend.

No scans are involved. The goal is skinning by dual quaternions (Kavan, Collins, Zara & O'Sullivan 2007), which keeps a
vertex's distance from the joint. For one bent joint, blending the dual quaternions of "stays" and "turns with it" is a
rotation about the joint by part of the angle, in closed form; `posedirs` is linear in the entries of R - 1 and fits it
in least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from tools.build_free_body.makehuman import Floats, Ints
from tools.build_free_body.rig import INDEX, MIRROR_JOINTS, PARENTS

FLIP = np.array([-1.0, 1.0, 1.0])
FLIP_ROTATION = np.outer(FLIP, FLIP).ravel()  # how the entries of R change under the mirror image


@dataclass(frozen=True)
class Bend:
    """One joint's range and how much of the lost distance is given back."""

    low: tuple[float, float, float]
    """Least rotation vector, radians."""
    high: tuple[float, float, float]
    """Greatest rotation vector, radians."""
    strength: float
    """Share of the dual-quaternion displacement: 1 bulges knees and elbows too squarely, judged by eye."""


BENDS = {
    "left_hip": Bend((-2.2, -0.6, -0.4), (0.5, 0.6, 0.8), 0.9),
    "left_knee": Bend((0.0, -0.2, -0.1), (2.4, 0.2, 0.1), 0.45),
    "left_ankle": Bend((-0.8, -0.3, -0.3), (0.7, 0.3, 0.3), 0.6),
    "left_shoulder": Bend((-1.0, -1.6, -1.4), (1.0, 0.8, 1.2), 0.6),
    "left_elbow": Bend((-1.0, -2.4, -0.2), (1.0, 0.1, 0.2), 0.6),
    "left_wrist": Bend((-0.8, -0.5, -1.2), (0.8, 0.5, 1.2), 0.6),
    "spine1": Bend((-0.3, -0.5, -0.4), (0.8, 0.5, 0.4), 0.7),
    "neck": Bend((-0.6, -0.8, -0.4), (0.7, 0.8, 0.4), 0.7),
}


@dataclass(frozen=True)
class CorrectiveConfig:
    """How the correctives are fitted and stored."""

    samples: int = 120
    """Random rotations per joint."""
    longest: float = 2.3
    """Longest rotation sampled, radians; beyond it blended matrices approach singularity."""
    ridge: float = 0.02
    """Ridge on the coefficients; more keeps them smaller outside the sampled range."""
    step: float = 2.0**-13
    """Coefficients are rounded to this, metres per unit of R; a power of two leaves zero bits, which pack well."""
    seed: int = 0
    """Seed of the random rotations."""


def follows(joint: int) -> Ints:
    """The joints that turn with a joint: itself and all below it."""
    out = {joint}
    for j, parent in enumerate(PARENTS):
        if parent in out:
            out.add(j)
    return np.array(sorted(out))


def lost_displacement(offset: Floats, share: Floats, rotvec: Floats) -> tuple[Floats, Floats]:
    """What blending the matrices loses against blending the dual quaternions, for one turned joint.

    Args:
        offset: (n, 3) vertices relative to the joint. share: (n,) skinning weight that turns with it.

    Returns:
        (n, 3) displacement in the posed frame, and the blended matrices (n, 3, 3).
    """
    angle = np.linalg.norm(rotvec)
    part = 2 * np.arctan2(share * np.sin(angle / 2), 1 - share + share * np.cos(angle / 2))
    goal = Rotation.from_rotvec(part[:, None] * rotvec / angle).apply(offset)
    blend = (1 - share)[:, None, None] * np.eye(3) + share[:, None, None] * Rotation.from_rotvec(rotvec).as_matrix()
    return goal - np.einsum("nab,nb->na", blend, offset), blend


def fit_joint(
    verts: Floats, centre: Floats, share: Floats, bend: Bend, config: CorrectiveConfig, rng: np.random.Generator
) -> Floats:
    """(n, 3, 9) coefficients of R - 1 for the vertices that a joint bends."""
    features, blends, goals = [], [], []
    for _ in range(config.samples):
        rotvec = rng.uniform(bend.low, bend.high)
        rotvec *= min(1.0, config.longest / float(np.linalg.norm(rotvec)))
        lost, blend = lost_displacement(verts - centre, share, rotvec)
        features.append((Rotation.from_rotvec(rotvec).as_matrix() - np.eye(3)).ravel())
        blends.append(blend)
        goals.append(bend.strength * lost)
    x, m, d = np.array(features), np.array(blends), np.array(goals)
    out = np.zeros((len(verts), 3, 9))
    for i in range(len(verts)):
        # posed displacement of a rest displacement c (R - 1) is blend @ c (R - 1)
        rows = np.einsum("sab,sf->sabf", m[:, i], x).reshape(-1, 27)
        out[i] = np.linalg.solve(rows.T @ rows + config.ridge * np.eye(27), rows.T @ d[:, i].ravel()).reshape(3, 9)
    return out


def pose_correctives(verts: Floats, joints: Floats, weights: Floats, mirror: Ints, config: CorrectiveConfig) -> Floats:
    """(V, 3, 459) posedirs of the mean body, exactly mirror-symmetric."""
    out = np.zeros((len(verts), 3, 51, 9))
    rng = np.random.default_rng(config.seed)
    for name, bend in BENDS.items():
        joint = INDEX[name]
        share = weights[:, follows(joint)].sum(1)
        rows = np.flatnonzero((share > 0.03) & (share < 0.97))
        fitted = fit_joint(verts[rows], joints[joint], share[rows], bend, config, rng)
        out[rows, :, joint - 1] = np.round(fitted / config.step) * config.step
    twin = MIRROR_JOINTS[1:] - 1
    image = out[mirror][:, :, twin] * FLIP[:, None, None] * FLIP_ROTATION
    names = list(INDEX)[1:]
    for k, name in enumerate(names):
        if name.startswith("right"):
            out[:, :, k] = image[:, :, k]
        elif not name.startswith("left"):
            out[:, :, k] = np.round(0.5 * (out[:, :, k] + image[:, :, k]) / config.step) * config.step
    return out.reshape(len(verts), 3, 459)
