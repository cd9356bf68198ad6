"""Which landmarks of a detector are used in a body fit, how far each is trusted, and which limbs nobody saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.data.body.landmarks import body_landmarks
from hoirecon.data.body.model import BodyModel
from hoirecon.errors import InputError
from hoirecon.fitting.body_types import BodyFitConfig
from hoirecon.observation import Keypoints

NOISE = {"hip": 2.0, "heel": 1.5, "foot_index": 1.5, "pinky": 1.5, "index": 1.3, "thumb": 1.5, "shoulder": 1.2}
"""Noise of a landmark relative to a sharp one such as a wrist; hips lie inside the body and are guessed by eye."""

SHARE = {
    "eye_inner": 0.25, "eye_outer": 0.25, "eye": 0.5, "mouth": 0.5,
    "pinky": 0.6, "index": 0.6, "thumb": 0.5, "heel": 0.6, "foot_index": 0.7,
}  # fmt: skip
"""Part of a measurement that a landmark is worth: neighbours that a detector places together count once together."""

LIMBS = {
    "head": ("nose", "left_ear", "right_ear", "left_eye", "right_eye"),
    "left_arm": ("left_elbow", "left_wrist"),
    "right_arm": ("right_elbow", "right_wrist"),
    "hips": ("left_hip", "right_hip"),
    "left_leg": ("left_knee", "left_ankle"),
    "right_leg": ("right_knee", "right_ankle"),
}
"""Landmarks without any of which a part of the body counts as unseen."""

TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")

LEAST_PIXELS = 3.0
"""Landmarks that all lie within so many pixels are no person's: shares of the image's size lie within one."""


@dataclass(frozen=True)
class Evidence:
    """Landmarks of one person, ready for the terms."""

    names: tuple[str, ...]
    """(L,)"""
    xy: FloatArray
    """(L, 2) pixels."""
    trust_2d: FloatArray
    """(L,) 0 (unused) to 1."""
    noise: FloatArray
    """(L,) in units of the sharpest landmark's."""
    xyz: FloatArray | None
    """(L, 3) metres in camera axes, turned to the person's line of sight."""
    trust_3d: FloatArray
    """(L,)"""
    unseen: tuple[str, ...]
    """Names of :data:`LIMBS` that nothing was seen of."""

    @property
    def used(self) -> BoolArray:
        """(L,) landmarks seen in the image."""
        return np.asarray(self.trust_2d > 0)

    def index(self, name: str) -> int:
        """Place of a landmark."""
        return self.names.index(name)


def gather_evidence(
    keypoints: Keypoints, camera: Camera, model: BodyModel, config: BodyFitConfig, posed: bool = False
) -> Evidence:
    """Weigh a detector's landmarks.

    Args:
        keypoints: what the detector saw.
        camera: of the image.
        model: body whose landmarks they are.
        config: noise and limits.
        posed: whether the body has a pose already, so that few landmarks are welcome too.

    Raises:
        InputError: the layout is not one of the body model's, the number of points does not fit it, or too little
            was seen to place a body (fewer than four landmarks, or neither shoulders nor hips).
    """
    names = body_landmarks(model, keypoints.layout).names
    if len(names) != len(keypoints.xy):
        raise InputError(
            f"the keypoints are named '{keypoints.layout}', which has {len(names)} points, but there are "
            f"{len(keypoints.xy)}: give the layout they really have"
        )
    confidence = np.asarray(keypoints.confidence)
    x, y = keypoints.xy.T
    inside = (x >= 0) & (y >= 0) & (x <= camera.width) & (y <= camera.height)
    share, noise = (np.array([table.get(_base(n), 1.0) for n in names]) for table in _tables(config))
    seen = inside & (confidence >= config.min_confidence)
    if not posed:
        _check_enough(names, seen)
        _check_pixels(keypoints.xy[seen])
    guess = np.where(seen, confidence, config.unseen_3d * np.maximum(confidence, config.unseen_3d))
    turn = line_of_sight(keypoints.xy[seen], camera) if config.xyz_seen_straight and seen.any() else np.eye(3)
    xyz = None if keypoints.xyz is None else keypoints.xyz @ turn.T
    return Evidence(
        names=names,
        xy=keypoints.xy,
        trust_2d=np.where(seen, confidence**config.confidence_power, 0.0) * share,
        noise=noise,
        xyz=xyz,
        trust_3d=np.zeros(len(names)) if xyz is None else guess * share,
        unseen=_unseen(names, np.where(inside, confidence, 0.0)),
    )


def _tables(config: BodyFitConfig) -> tuple[dict[str, float], dict[str, float]]:
    """Shares and noises by landmark; what is not in them counts as 1."""
    return ({}, {}) if config.even_landmarks else (SHARE, NOISE)


def line_of_sight(xy: FloatArray, camera: Camera) -> FloatArray:
    """(3, 3) rotation from axes whose z points at the person to the camera's.

    A detector gives 3D landmarks as if the person stood in the middle of the image; off the middle they are seen
    under an angle.
    """
    from scipy.spatial.transform import Rotation

    ray = camera.unproject(xy.mean(axis=0), 1.0)
    ray = ray / np.linalg.norm(ray)
    axis = np.cross([0.0, 0.0, 1.0], ray)
    sine = np.linalg.norm(axis)
    R: FloatArray = Rotation.from_rotvec(axis / max(sine, 1e-12) * np.arctan2(sine, ray[2])).as_matrix()
    return R


def _base(name: str) -> str:
    """The name without its side: ``left_eye_inner`` and ``mouth_left`` give ``eye_inner`` and ``mouth``."""
    return name.removeprefix("left_").removeprefix("right_").removesuffix("_left").removesuffix("_right")


def _check_enough(names: tuple[str, ...], seen: BoolArray) -> None:
    torso = sum(bool(seen[names.index(n)]) for n in TORSO)
    if seen.sum() < 4 or torso < 2:
        raise InputError(
            f"only {int(seen.sum())} landmarks of the person lie in the image with enough confidence, {torso} of them "
            f"shoulders or hips: at least 4 and 2 are needed to place a body; use a picture that shows more of them"
        )


def _check_pixels(xy: FloatArray) -> None:
    """Landmarks of a whole person on a pixel or two are shares of the image's size, as many detectors give them."""
    if float(np.ptp(xy, axis=0).max()) < LEAST_PIXELS:
        low, high = xy.min(axis=0), xy.max(axis=0)
        raise InputError(
            f"the landmarks that are seen lie between ({low[0]:.2f}, {low[1]:.2f}) and ({high[0]:.2f}, {high[1]:.2f}), "
            f"which is no size of a person in pixels: multiply shares of the image by its width and height"
        )


def _unseen(names: tuple[str, ...], confidence: FloatArray) -> tuple[str, ...]:
    """Limbs whose landmarks are all less sure than one half or outside the image."""
    best = {limb: max(confidence[names.index(n)] for n in parts if n in names) for limb, parts in LIMBS.items()}
    return tuple(limb for limb, value in best.items() if value < 0.5)
