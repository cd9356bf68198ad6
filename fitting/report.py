"""What a joint fit gives back: solutions, how well they explain the photograph, how sure they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.fitting.covariance import Covariance, WeakDirection
from hoirecon.fitting.object_types import ObjectFit
from hoirecon.fitting.objective import TermReport
from hoirecon.fitting.raster import zbuffer
from hoirecon.fitting.sdf import inside_depth
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody
from hoirecon.short import counted, flags_text, short

LARGEST_SIDE = 640
"""Images are drawn at most this large to measure the visible overlap, pixels."""
VOLUME_POINTS = 3000
"""Points of the grid in which the common volume is counted."""


@dataclass(frozen=True)
class JointSolution:
    """Bodies and objects of one hypothesis."""

    bodies: tuple[SceneBody, ...]
    """Camera frame; a body that touches nothing is the one that came in."""
    poses: tuple[ObjectPose, ...]
    """Of each object, for the mesh as given."""
    energy: float
    """The objective in squared sigmas, penetration capped, visible IoU included; comparable between solutions."""
    iou_visible: tuple[float, ...]
    """Per object: overlap with its mask where neither mask nor depth says that it is hidden, 0..1."""


@dataclass(frozen=True)
class Overlap:
    """How far a body and an object are in each other."""

    body: int
    obj: int
    depth_mm: float
    """Deepest point of either in the other, millimetres (exact distances)."""
    volume_cm3: float
    """Common volume, counted on a grid."""


@dataclass(frozen=True, repr=False)
class JointFit:
    """Result of :func:`hoirecon.fitting.joint_fit.fit`."""

    best: JointSolution
    alternatives: tuple[JointSolution, ...]
    """Other distinct hypotheses after the same stages, best first. One of them may have a slightly lower energy than
    :attr:`best`: see :attr:`~hoirecon.fitting.joint_config.JointConfig.first_choice`."""
    covariance: Covariance
    """Of :attr:`best`, by block name."""
    terms: dict[str, TermReport[Any]]
    """Residuals of each term at the solution, with unit: ``terms["contact"].residual_mm``."""
    iou_exact: tuple[float, ...]
    """Per object: IoU of its visible mask with what a z-buffer of all bodies and objects shows of it."""
    overlaps: tuple[Overlap, ...]
    """Of the pairs that come near each other."""
    weakest: dict[str, WeakDirection]
    """Per object, in words: what the photograph says least about."""
    landmark_errors_px: tuple[tuple[float, float], ...]
    """Per body: median landmark error before and after, pixels; NaN without landmarks."""
    object_fits: tuple[ObjectFit, ...]
    """Result of the first stage, bodies standing still; where starts were given, what was given as searched."""
    flags: tuple[str, ...] = ()
    """What to know before trusting it: ``ambiguous``, ``no contact``, ``scale set by prior``, ..."""
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds per stage."""
    predicted_error_m: tuple[float, ...] = ()
    """Per object: how far its surface is expected to be from the true one, metres (both ways on average, as a Chamfer
    distance); see :mod:`hoirecon.fitting.expected_error`."""
    chance_far: tuple[float, ...] = ()
    """Per object: chance, 0..1, that it is farther off than
    :attr:`~hoirecon.fitting.fit_config.FitConfig.ambiguous_distance` (5 cm); the flag ``ambiguous`` is set by it."""
    object_flags: tuple[tuple[str, ...], ...] = ()
    """Per object: those of :attr:`flags` that are true of it."""

    def __repr__(self) -> str:
        """Three lines: counts, each object's main figures, flags."""
        best, others = self.best, counted(len(self.alternatives), "alternative")
        counts = f"{counted(len(best.bodies), 'body', 'bodies')}, {counted(len(best.poses), 'object')}"
        things = "; ".join(f"{name}: {self._figures(k)}" for k, name in enumerate(self.weakest))
        first = f"<JointFit: {counts}; energy {best.energy:.1f}, penetration {self.max_penetration_mm:.0f} mm, {others}"
        return f"{first}\n {short(things, 200)}\n {flags_text(self.flags)}>"

    def _figures(self, k: int) -> str:
        error = f", expected error {100 * self.predicted_error_m[k]:.1f} cm" if k < len(self.predicted_error_m) else ""
        return f"{self.best.poses[k].t[2]:.2f} m away, visible IoU {self.best.iou_visible[k]:.2f}{error}"

    @property
    def max_penetration_mm(self) -> float:
        """Deepest penetration of any pair, millimetres."""
        return max((o.depth_mm for o in self.overlaps), default=0.0)


def overlap(body: int, obj: int, skin: Mesh, thing: Mesh, samples: FloatArray) -> Overlap:
    """Depth and volume that a posed body and a posed object share.

    Args:
        body: index of the body.
        obj: index of the object.
        skin: the body, camera frame.
        thing: the object, camera frame.
        samples: (N, 3) points on the object's surface.
    """
    into_body = inside_depth(skin, np.concatenate([samples, thing.verts]))
    into_object = inside_depth(thing, skin.verts)
    depth = max(float(into_body.max()), float(into_object.max()))
    return Overlap(body, obj, 1e3 * depth, _volume_cm3(skin, thing) if depth > 0 else 0.0)


def _volume_cm3(a: Mesh, b: Mesh) -> float:
    low = np.maximum(a.verts.min(0), b.verts.min(0))
    size = np.minimum(a.verts.max(0), b.verts.max(0)) - low
    if not np.all(size > 0):
        return 0.0
    edge = float(np.cbrt(np.prod(size) / VOLUME_POINTS))
    counts = np.maximum(np.ceil(size / edge).astype(int), 1)
    axes = [low[k] + (np.arange(counts[k]) + 0.5) * size[k] / counts[k] for k in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    points = points[inside_depth(b, points) > 0]
    inside = int((inside_depth(a, points) > 0).sum()) if len(points) else 0
    return float(1e6 * inside * np.prod(size / counts))


def exact_ious(
    masks: tuple[BoolArray, ...], camera: Camera, bodies: list[Mesh], objects: list[Mesh]
) -> tuple[float, ...]:
    """IoU of each visible mask with what is seen of the object when all bodies and objects are drawn together."""
    shrink = min(1.0, LARGEST_SIDE / max(camera.width, camera.height))
    width, height = round(camera.width * shrink), round(camera.height * shrink)
    small = camera.resized(width, height)
    depths = [_drawn(mesh, small) for mesh in (*bodies, *objects)]
    found = []
    for k, mask in enumerate(masks):
        own = depths[len(bodies) + k]
        others = torch.stack([d for i, d in enumerate(depths) if i != len(bodies) + k])
        shown = (torch.isfinite(own) & (own < others.amin(0))).numpy()
        seen = _resized(mask, width, height)
        found.append(float((shown & seen).sum() / max((shown | seen).sum(), 1)))
    return tuple(found)


def _drawn(mesh: Mesh, camera: Camera) -> torch.Tensor:
    points = np.concatenate([camera.project(mesh.verts), mesh.verts[:, 2:]], axis=1)
    points[~np.isfinite(points)] = 0.0  # behind the camera; depth 0 drops its faces
    faces = torch.as_tensor(mesh.faces.copy())
    return zbuffer(torch.as_tensor(points)[None].float(), faces, camera.height, camera.width)[0]


def _resized(mask: BoolArray, width: int, height: int) -> BoolArray:
    if mask.shape == (height, width):
        return mask
    import cv2

    return np.asarray(cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0.5)
