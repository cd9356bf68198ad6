"""How well the touching parts of a body can be told at all from the evidence of a noise level.

The bench's noise is known, so the best estimator is too, to first order: about the true scene every measurement is
linear in the body's joints and place and in the object's pose and size, and independent Gaussian measurements add up
their information ``J^T J / sigma^2`` (the Fisher information; its inverse is the covariance that no unbiased estimator
goes below, Cramer and Rao). Evidence is added step by step:

- the body as given: joints turned at random, hands, feet and root off by what the level states;
- the landmarks in the picture, each as noisy as it truly is;
- the person's outline, where it is the person's own, off by smooth noise;
- the object: its outline, its size, and pairs of touching points known exactly. No contact map says as much, so that
  the last step is a bound and not an aim.

Which landmark is hidden, which piece of the outline is whose and which points touch is taken from the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.camera import Camera
from hoirecon.data.body import (
    BodyState,
    FreeParams,
    body_landmarks,
    landmarks_with_jacobian,
    points_of_joints,
    points_of_landmarks,
    points_of_verts,
)
from hoirecon.data.body.jacobian import BodyPoints
from hoirecon.data.closedworld import ClosedWorldScene, NoiseLevel, level_of
from hoirecon.data.closedworld.bent_body import ENDS
from hoirecon.data.closedworld.landmarks import HIDDEN_FACTOR, LAYOUT, UNEVEN, hidden_landmarks, true_landmarks
from hoirecon.data.closedworld.noise import SMOOTH_PX
from hoirecon.data.closedworld.posing import body_model
from hoirecon.errors import InputError
from hoirecon.fitting.silhouette import edge_topology, silhouette_samples

FREE = FreeParams(tuple(range(1, 22)), 0, True)
"""What the level's noise moves: all body joints but the root, and the place."""
STATURE_M = 1.7
"""Of the landmarks' noise, as the generator takes it."""
EXACT_M = 0.003
"""Error of a pair of touching points that counts as known, metres."""
PAIRS, TOUCHING = 40, 60
"""Most pairs, and most touching vertices, that are looked at; evenly chosen."""
OUTLINE_SAMPLES, OUTLINE_RASTER = 1500, 256
OWN_PX = 3.0
"""An outline sample within this of the mask's contour, and no nearer to the other mask, is on a visible outline."""
DRAWS = 400
"""Random errors from which the mean length of a Gaussian error is taken."""

STEPS = MappingProxyType(
    {
        "given": "the body as given",
        "landmarks": "and its landmarks",
        "outline": "and its outline",
        "exact contact": "and an object whose touching points are known exactly",
    }
)
"""Evidence in the order in which it is added."""


@dataclass(frozen=True)
class TouchingBound:
    """Expected error of the touching vertices of one scene after each step of :data:`STEPS`."""

    mean_cm: MappingProxyType[str, float]
    """Expected distance, mean over the vertices, as the bench's ``touching_cm`` measures it."""
    depth_cm: MappingProxyType[str, float]
    """Standard deviation along the camera's axis."""


def touching_bound(scene: ClosedWorldScene, level: str | NoiseLevel = "L2") -> TouchingBound:
    """The least error that the touching parts of a scene's body can have on average.

    Args:
        scene: the truth.
        level: with noise in body, landmarks and masks; the errors of contact are not asked for, see the module.

    Raises:
        InputError: nothing touches, or the level's body, landmarks or masks are exact.
    """
    level = level_of(level)
    touching = np.flatnonzero(scene.body_contact.probability > 0)
    if len(touching) == 0:
        raise InputError(f"nothing touches in scene {scene.seed}: there is no error of touching parts")
    if level.ends_m is None or min(level.ends_m, level.joint_deg, level.landmark_share, level.mask_px) <= 0:
        raise InputError(f"the level '{level.name}' leaves body, landmarks or masks exact: the bound is 0 there")
    rows = _BodyRows(scene)
    steps = [given_information(rows, level)]
    steps.append(steps[-1] + landmark_information(rows, level))
    steps.append(steps[-1] + person_information(rows, level))
    covariances = [np.linalg.inv(s) for s in steps] + [_with_object(rows, steps[-1], level)]
    J = rows.of(points_of_verts(rows.model, _evenly(touching, TOUCHING)))
    spread = [np.einsum("nid,de,nje->nij", J, c, J) for c in covariances]
    mean = {name: 100 * mean_length(s) for name, s in zip(STEPS, spread, strict=True)}
    depth = {name: 100 * float(np.sqrt(s[:, 2, 2].mean())) for name, s in zip(STEPS, spread, strict=True)}
    return TouchingBound(MappingProxyType(mean), MappingProxyType(depth))


def mean_length(covariances: FloatArray) -> float:
    """Expected length of Gaussian errors of covariances (N, 3, 3), their mean; the same random draws every time."""
    draws = np.random.default_rng(0).standard_normal((DRAWS, 1, 3))
    spread = np.linalg.eigvalsh(covariances).clip(0)
    return float(np.sqrt((spread * draws**2).sum(-1)).mean())


class _BodyRows:
    """The true body of a scene, and how its points move with its free columns."""

    def __init__(self, scene: ClosedWorldScene) -> None:
        self.scene, self.model = scene, body_model()
        self.state = BodyState.from_params(self.model, scene.params)

    def of(self, points: BodyPoints) -> FloatArray:
        """(N, 3, D) derivative of points by joints, then place."""
        with torch.no_grad():
            _, J = landmarks_with_jacobian(self.model, self.state, points, FREE)
        return np.asarray(J[0].double().numpy())


def given_information(rows: _BodyRows, level: NoiseLevel) -> FloatArray:
    """(D, D) of the body as given, by how :func:`~hoirecon.data.closedworld.bent_body.bent_body` spoils it.

    Joints are turned freely, and then by the least amount that brings hands and feet to where they are known: what
    the joints' noise says is left only in the directions that do not move hands and feet.
    """
    assert level.ends_m is not None
    each_turn, each_end = np.radians(level.joint_deg) / np.sqrt(3), level.ends_m / np.sqrt(3)
    ends = rows.of(points_of_joints(rows.model, ENDS)).reshape(-1, FREE.size)
    turns = ends[:, :-3]
    still = np.eye(turns.shape[1]) - np.linalg.pinv(turns) @ turns
    information = ends.T @ ends / each_end**2
    information[:-3, :-3] += still / each_turn**2
    information[-3:, -3:] += np.eye(3) / each_end**2
    return np.asarray(information)


def landmark_information(rows: _BodyRows, level: NoiseLevel) -> FloatArray:
    """(D, D) of the landmarks; for factors of noise even between a and b the mean of 1 / factor^2 is 1 / (a b)."""
    scene = rows.scene
    at = true_landmarks(scene)
    xy = scene.camera.project(at)
    size = level.landmark_share * scene.camera.focal[1] * STATURE_M / at[:, 2].mean() * np.sqrt(UNEVEN[0] * UNEVEN[1])
    sigma = size * np.where(hidden_landmarks(scene, at, xy), HIDDEN_FACTOR, 1.0)
    inside = ((xy >= 0) & (xy <= (scene.camera.width, scene.camera.height))).all(1)
    J = rows.of(points_of_landmarks(rows.model, body_landmarks(rows.model, LAYOUT)))
    seen = (_pixels_by_metres(scene.camera, at) @ J / sigma[:, None, None])[inside].reshape(-1, FREE.size)
    return np.asarray(seen.T @ seen)


def person_information(rows: _BodyRows, level: NoiseLevel) -> FloatArray:
    """(D, D) of the person's own outline."""
    scene = rows.scene

    def moved(a: IntArray, b: IntArray, u: FloatArray) -> FloatArray:
        first, second = (rows.of(points_of_verts(rows.model, ids)) for ids in (a, b))
        return np.asarray((1 - u[:, None, None]) * first + u[:, None, None] * second)

    masks = scene.person & ~scene.visible, scene.visible
    verts = np.asarray(scene.body_verts, dtype=np.float64)
    return _outline_information(verts, rows.model.faces, moved, masks, scene.camera, level)


def _with_object(rows: _BodyRows, body: FloatArray, level: NoiseLevel) -> FloatArray:
    """(D, D) covariance of the body beside an object that is seen, of about known size, and touched where it is."""
    scene, size = rows.scene, FREE.size
    verts = scene.pose.apply(scene.mesh.verts)
    middle = verts.mean(0)

    def moved(a: IntArray, b: IntArray, u: FloatArray) -> FloatArray:
        return _pose_rows(verts[a] + u[:, None] * (verts[b] - verts[a]) - middle)

    masks = scene.visible, scene.person & ~scene.visible
    both = np.zeros((size + 7, size + 7))
    both[:size, :size] = body
    both[size:, size:] = _outline_information(verts, scene.mesh.faces, moved, masks, scene.camera, level)
    both[size:, size:] += np.diag([1e-4] * 6 + [1 / level.scale_log_sigma**2])  # a ball's turns are seen by nothing
    ids = _evenly(scene.correspondences.body_verts, PAIRS)
    on_body = rows.of(points_of_verts(rows.model, ids))
    on_object = _pose_rows(np.asarray(scene.body_verts, dtype=np.float64)[ids] - middle)
    pairs = np.concatenate([on_body, -on_object], 2).reshape(-1, size + 7) / EXACT_M
    return np.asarray(np.linalg.inv(both + pairs.T @ pairs)[:size, :size])


def _outline_information(
    verts: FloatArray,
    faces: IntArray,
    moved: Callable[[IntArray, IntArray, FloatArray], FloatArray],
    masks: tuple[BoolArray, BoolArray],
    camera: Camera,
    level: NoiseLevel,
) -> FloatArray:
    """(D, D) of the visible outline of a mesh (V, 3) in the camera frame.

    Errors across the outline are correlated along it as exp(-d^2 / (4 SMOOTH_PX^2)), so that sqrt(4 pi) SMOOTH_PX
    pixels of it are one measurement.

    Args:
        verts: camera frame, metres.
        faces: of the mesh.
        moved: derivative (N, 3, D) of points at u (N,) between vertices a and b (N,).
        masks: its own, and that of what may hide it.
        camera: of the masks.
        level: the noise.
    """
    a, b, u = _outline_samples(verts, faces, camera)
    at = verts[a] + u[:, None] * (verts[b] - verts[a])
    xy, way = camera.project(at), camera.project(verts[b]) - camera.project(verts[a])
    normal = np.stack([-way[:, 1], way[:, 0]], 1) / np.linalg.norm(way, axis=1, keepdims=True).clip(1e-9)
    mine, to_other = masks[0], distance_transform_edt(~masks[1])
    own, pixels = _visible(xy, mine, to_other)
    a, b, u, at, normal = a[own], b[own], u[own], at[own], normal[own]
    J = np.einsum("nc,ncd,nde->ne", normal, _pixels_by_metres(camera, at), moved(a, b, u))
    each = pixels / max(len(J), 1) / (np.sqrt(4 * np.pi) * SMOOTH_PX)
    return np.asarray(J.T @ J * each / level.mask_px**2)


def _visible(xy: FloatArray, mask: BoolArray, to_other: FloatArray) -> tuple[BoolArray, int]:
    """Which outline samples (N, 2) are seen, and how many pixels of the mask's contour are its own."""
    inner = distance_transform_edt(mask)
    to_contour = inner + distance_transform_edt(~mask)
    height, width = mask.shape
    column, row = (xy[:, k].astype(int).clip(0, n - 1) for k, n in enumerate((width, height)))
    inside = ((xy > 1) & (xy < (width - 2, height - 2))).all(1)
    own = inside & (to_contour[row, column] < OWN_PX) & (to_other[row, column] > OWN_PX)
    return np.asarray(own), int((mask & (inner < 1.5) & (to_other > OWN_PX)).sum())


def _outline_samples(verts: FloatArray, faces: IntArray, camera: Camera) -> tuple[IntArray, IntArray, FloatArray]:
    """Ends (N,), (N,) and places (N,) on them of samples along the outline of a mesh."""
    xy = camera.project(verts)
    low, side = xy.min(0) - 8, float(np.ptp(xy, axis=0).max()) + 16
    cells = torch.as_tensor((xy - low) / side * OUTLINE_RASTER)[:, None].float()
    topology = edge_topology(np.asarray(faces), "cpu", torch.float32)
    found = silhouette_samples(cells, topology, OUTLINE_SAMPLES, OUTLINE_RASTER)
    outer = found.outer[0]
    a, b, u = (x[0][outer].numpy() for x in (found.a, found.b, found.u))
    return a, b, u.astype(np.float64)


def _pixels_by_metres(camera: Camera, points: FloatArray) -> FloatArray:
    """(N, 2, 3) derivative of the pixels of points (N, 3), camera frame."""
    (fx, fy), (x, y, z) = camera.focal, points.T
    zero = np.zeros_like(z)
    return np.stack([np.stack([fx / z, zero, -fx * x / z**2], -1), np.stack([zero, fy / z, -fy * y / z**2], -1)], 1)


def _pose_rows(arms: FloatArray) -> FloatArray:
    """(N, 3, 7) derivative of points by a turn about the middle, a shift, and the logarithm of the size; ``arms`` are
    the points (N, 3) from the middle."""
    turns = np.stack([np.cross(np.broadcast_to(axis, arms.shape), arms) for axis in np.eye(3)], -1)
    shifts = np.broadcast_to(np.eye(3), (len(arms), 3, 3))
    return np.concatenate([turns, shifts, arms[..., None]], -1)


def _evenly(values: IntArray, most: int) -> IntArray:
    """At most so many of the values, evenly chosen."""
    return values if len(values) <= most else values[np.linspace(0, len(values) - 1, most).astype(int)]
