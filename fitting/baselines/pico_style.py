"""Baseline ``pico-style``: PICO-fit (Cseke et al., CVPR 2025), its two stages that place the object, restated.

Stage 1: Adam on rotation and translation against the mean squared distance of paired contact points. Stage 2: rotation,
translation and scale against contact, 1 - IoU of the soft silhouette, distance of mask centres, scale, and collision
with the body.

Deviations from the published code:

- Pairs: the given correspondences, if any. Otherwise the contact patches are paired one to one by the assignment of
  least total squared distance and normal disagreement, from the start pose with both patches centred; published takes
  pairs from a database of contacts.
- Stage 3, which bends limbs while the object stands still, is left out: the object's pose is what is compared.
- The camera is the problem's; the start is upright by the library's axes (published: a quarter turn for z-up meshes).
- Silhouettes by :func:`hoirecon.fitting.soft_raster.soft_raster` with sigma 1e-4 (published: pytorch3d).
- Collision: the body's signed distance on a 32^3 grid, in units of half the body's longest side, robustified as
  (d / c)^2 / (1 + (d / c)^2) with c = .1 and averaged over the object's vertices; published sums it from a CUDA grid.
  A sum depends on the mesh's density and throws some objects away from the body: the average is the kinder reading.
- A step that brings a vertex nearer to the camera than 1 cm ends the stage at the pose before it.
- Optional, not published: a crop round the mask instead of the image (published shrinks to 640 px), and several start
  rotations, each with pairs of its own, of which the loss of stage 2 chooses after a few steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.fitting.baselines.geometry import (
    NEAREST,
    UPRIGHT,
    column_pose,
    contact_depth,
    matrix_of_6d,
    six_of_matrix,
    start_rotations,
    translation_to_box,
)
from hoirecon.fitting.baselines.interactvlm_pieces import box_centre, soft_centroid
from hoirecon.fitting.baselines.mask_view import mask_view
from hoirecon.fitting.baselines.types import BaselineProblem, BaselineResult, timed
from hoirecon.fitting.contact_pairs import farthest_points
from hoirecon.fitting.sdf import distance_grid
from hoirecon.fitting.soft_raster import Renderer, soft_raster
from hoirecon.pose import ObjectPose


@dataclass(frozen=True)
class PicoConfig:
    """Published settings."""

    contact_iterations: int = 250
    contact_lr: tuple[float, float] = (0.04, 0.02)
    """Of rotation and translation in stage 1."""
    image_iterations: int = 1500
    image_lr: tuple[float, float, float] = (0.04, 0.03, 0.02)
    """Of rotation, translation and scale in stage 2."""
    contact_weight: float = 8.0
    iou_weight: float = 0.3
    centroid_weight: float = 0.3
    scale_weight: float = 4.0
    collision_weight: float = 100.0
    collision_scale: float = 0.1
    """Depth at which the collision's robustifier is one half, in units of half the body's longest side."""
    collision_mean: bool = True
    """Average the collision over the object's vertices; published sums it."""
    pairs: int = 64
    """Most pairs made from contact patches when no correspondences are given."""
    sigma: float = 1e-4
    """Softness in squared NDC units of the whole image."""
    resolution: int | None = None
    """Side of a crop round the mask, px; None draws the whole image."""
    starts: int = 1
    """Start rotations, see :func:`geometry.start_rotations`; published: 1."""
    start_iterations: int = 60
    """Steps of stage 2 from each of several starts before the best goes on."""
    renderer: Renderer = soft_raster


def fit_pico_style(problem: BaselineProblem, config: PicoConfig | None = None) -> BaselineResult:
    """Fit the object as the object stages of PICO-fit do."""
    return timed(lambda: _fit(problem, config or PicoConfig()))


def _fit(problem: BaselineProblem, config: PicoConfig) -> tuple[ObjectPose, int]:
    objective = _Objective(problem, config)
    tried = [_started(problem, objective, turn @ UPRIGHT, config) for turn in start_rotations(config.starts)]
    pairs, (six, t, s) = min(tried, key=lambda found: found[0])[1:3]
    objective.pair(*pairs)
    rates = list(zip((six, t, s), config.image_lr, strict=True))
    used = sum(found[3] for found in tried)
    used += _descend(objective.whole, rates, objective.lost, (six, t, s), config.image_iterations)
    R = matrix_of_6d(six.detach().double()).numpy()
    scale = problem.scale * float(s.detach())
    return column_pose(R, t.detach().double().numpy() - scale * objective.centre @ R, scale), used


def _started(
    problem: BaselineProblem, objective: _Objective, R: FloatArray, config: PicoConfig
) -> tuple[float, tuple[FloatArray, FloatArray], tuple[Tensor, Tensor, Tensor], int]:
    """Stage 1 from a rotation (3, 3), rows, and a little of stage 2 if there are more starts.

    Returns:
        Loss (0 of an only start), pairs, parameters, steps.
    """
    pairs = contact_pairs(problem, config.pairs, R)
    objective.pair(*pairs)
    six = six_of_matrix(torch.as_tensor(R, dtype=torch.float32)).clone().requires_grad_()
    t = torch.as_tensor(objective.start_at(R), dtype=torch.float32).clone().requires_grad_()
    s = torch.ones((), requires_grad=True)
    rates = list(zip((six, t), config.contact_lr, strict=True))
    used = _descend(objective.contact_only, rates, objective.lost, (six, t, s), config.contact_iterations)
    if config.starts == 1:
        return 0.0, pairs, (six, t, s), used
    rates = list(zip((six, t, s), config.image_lr, strict=True))
    used += _descend(objective.whole, rates, objective.lost, (six, t, s), config.start_iterations)
    with torch.no_grad():
        return float(objective.whole(six, t, s)), pairs, (six, t, s), used


def _descend(
    loss: Callable[..., Tensor],
    rates: list[tuple[Tensor, float]],
    lost: Callable[..., bool],
    params: tuple[Tensor, ...],
    iterations: int,
) -> int:
    """Adam on some of the parameters, in place; steps made."""
    adam = torch.optim.Adam([{"params": [p], "lr": lr} for p, lr in rates])
    for used in range(iterations):
        before = [p.detach().clone() for p in params]
        adam.zero_grad()
        value = loss(*params)
        if not value.requires_grad:
            return used
        value.backward()  # type: ignore[no-untyped-call]
        adam.step()
        if lost(*params):
            for p, old in zip(params, before, strict=True):
                p.data.copy_(old)
            return used
    return iterations


class _Objective:
    """Both stages' losses; the object is centred on its box and at its expected scale."""

    def __init__(self, problem: BaselineProblem, config: PicoConfig) -> None:
        def tensor(values: object) -> Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.float32)

        self.config, self.problem = config, problem
        self.centre = (problem.mesh.verts.min(0) + problem.mesh.verts.max(0)) / 2
        self.centred = problem.scale * (problem.mesh.verts - self.centre)
        self.verts, self.faces = tensor(self.centred), torch.as_tensor(problem.mesh.faces)
        self.view = mask_view(problem, config.resolution)
        self.goal = box_centre(self.view.target)
        self.on_body = self.on_object = torch.zeros(0, 3)
        self.grid = distance_grid(problem.body, nodes=32)
        self.unit = float(problem.body.extents.max()) / 2 * config.collision_scale
        self.image_size = (problem.camera.height, problem.camera.width)

    def pair(self, on_body: FloatArray, on_object: FloatArray) -> None:
        """Take pairs: (N, 3) body points, camera frame, and (N, 3) object points, object frame."""
        sized = self.problem.scale * (on_object - self.centre)
        self.on_body, self.on_object = (torch.as_tensor(np.asarray(v), dtype=torch.float32) for v in (on_body, sized))

    def start_at(self, R: FloatArray) -> FloatArray:
        """(3,) translation that puts the object, turned by R (3, 3), onto the mask's box at the contact's depth."""
        return translation_to_box(self.problem, self.centred @ R, contact_depth(self.problem))

    def contact_only(self, six: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Stage 1."""
        if len(self.on_body) == 0:
            return t.new_zeros(())
        return ((self.on_object * s.detach()) @ matrix_of_6d(six) + t - self.on_body).square().mean()

    def whole(self, six: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Stage 2."""
        config, view, R = self.config, self.view, matrix_of_6d(six)
        verts = (self.verts * s) @ R + t
        sigma = config.sigma * view.softness
        drawn = config.renderer(verts[None], self.faces, view.K, view.size, sigma=sigma)[0]
        both = (drawn * view.target).sum()
        total = config.iou_weight * (1 - both / (drawn + view.target - drawn * view.target).sum().clamp_min(1e-6))
        away = (soft_centroid(drawn) - self.goal) / view.scale / drawn.new_tensor(self.image_size)
        total = total + config.centroid_weight * away.square().sum().clamp_min(1e-12).sqrt()
        total = total + config.scale_weight * (s - 1).square()
        if len(self.on_body):
            total = total + config.contact_weight * ((self.on_object * s) @ R + t - self.on_body).square().mean()
        return total + config.collision_weight * self.collision(verts)

    def collision(self, verts: Tensor) -> Tensor:
        """Robust depth of object vertices in the body, summed."""
        where = verts.detach()
        inside = self.grid.contains(where)
        distance, gradient = self.grid.sample(where[inside])
        depth = -(distance + ((verts[inside] - where[inside]) * gradient).sum(-1)).clamp_max(0) / self.unit
        robust = depth.square() / (1 + depth.square())
        return robust.sum() / (len(verts) if self.config.collision_mean else 1)

    def lost(self, six: Tensor, t: Tensor, s: Tensor) -> bool:
        """Whether a vertex is too near to the camera, or nowhere, or the scale has gone."""
        with torch.no_grad():
            depth = ((self.verts * s) @ matrix_of_6d(six) + t)[:, 2]
        return not (bool((depth > NEAREST).all()) and float(s.detach()) > 1e-3)


def contact_pairs(problem: BaselineProblem, count: int, R: FloatArray = UPRIGHT) -> tuple[FloatArray, FloatArray]:
    """(N, 3) body points, camera frame, and the (N, 3) object points, object frame, paired with them; N may be 0.

    Args:
        problem: contact, meshes and correspondences.
        count: most pairs.
        R: (3, 3) rotation, rows, of the object at which points and normals are compared.
    """
    if problem.correspondences is not None:
        return problem.correspondences
    bodies, objects = problem.body_contact > 0.5, problem.object_contact > 0.5
    if not (bodies.any() and objects.any()):
        return np.zeros((0, 3)), np.zeros((0, 3))
    on_body, on_object = problem.body.verts[bodies], problem.mesh.verts[objects]
    a, b = farthest_points(on_body, count), farthest_points(on_object, count)
    on_body, body_normals = on_body[a], problem.body.vert_normals[bodies][a]
    on_object, object_normals = on_object[b], problem.mesh.vert_normals[objects][b]
    turned = problem.scale * on_object @ R
    apart = (on_body - on_body.mean(0))[:, None] - (turned - turned.mean(0))[None]
    cost = (apart**2).sum(-1) + 0.05**2 * (1 + body_normals @ (object_normals @ R).T)
    rows, columns = linear_sum_assignment(cost)
    return on_body[rows], on_object[columns]
