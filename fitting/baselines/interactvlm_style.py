"""Baseline ``interactvlm-style``: the joint fit of InteractVLM (Dwivedi et al., CVPR 2025), restated.

One registration of the contact patches, then Adam on rotation (six numbers) and translation of the object against
5 x half-Dice of the soft silhouette + 1e-4 x squared distance of mask centres (px^2) + 10 x mean distance of all
contact pairs. The body never moves, the scale is what the mesh says, nothing penalises penetration, the occluded part
of the object counts as wrong. Its parts are checked against the published code's outputs, faults included.

Deviations from the published code:

- The camera is the problem's, not the virtual camera of a person crop (:func:`interactvlm_pieces.crop_camera` has it).
- Silhouettes are drawn by :func:`hoirecon.fitting.soft_raster.soft_raster` (every face counts) unless the settings name
  another renderer; published is pytorch3d's with 100 faces per pixel, which differs where more faces overlap.
- The mesh is taken at its expected scale (prior mean); published takes it as it is, which is the same for mean 0.
- A step that brings a vertex nearer to the camera than 1 cm ends the fit at the pose before it.
- Where nobody touches, the registration and the contact term are left out and the depth is the body's.
- Nothing is drawn besides the silhouette: no video, no shading, so time is the fit's alone.
- Optional, not published: a small crop instead of the whole image (blur and centre term are kept in image pixels), a
  threshold on the body's probabilities in the contact term, the true mask centre for the start, a free scale with the
  size prior as a fourth term, and several start rotations of which the total loss chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.fitting.baselines.geometry import (
    NEAREST,
    UPRIGHT,
    column_pose,
    contact_depth,
    matrix_of_6d,
    six_of_matrix,
    start_rotations,
    transform,
    translation_to_box,
)
from hoirecon.fitting.baselines.interactvlm_pieces import (
    all_pairs_contact,
    box_centre,
    facing,
    half_dice,
    register,
    soft_centroid,
)
from hoirecon.fitting.baselines.mask_view import MaskView, mask_view
from hoirecon.fitting.baselines.types import BaselineProblem, BaselineResult, timed
from hoirecon.fitting.soft_raster import Renderer, soft_raster
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose


@dataclass(frozen=True)
class InteractvlmConfig:
    """Published settings."""

    iterations: int = 250
    lr_rotation: float = 5e-2
    lr_translation: float = 1e-2
    lr_scale: float = 1e-2
    mask_weight: float = 5.0
    centroid_weight: float = 1e-4
    contact_weight: float = 10.0
    sigma: float = 1e-4
    """Softness of the silhouette in squared NDC units of the whole image."""
    body_threshold: float = 0.5
    """Body vertices above it are registered."""
    object_threshold: float = 0.3
    """Object vertices above it are registered; the filter sets those below to 0 in the contact term too."""
    registration: bool = True
    facing_degrees: tuple[float, ...] = (90.0, -90.0)
    """Filter of object contacts by normals; empty leaves it out (and the object's low probabilities in)."""
    register_scale: bool = False
    """Whether the registration finds a scale; its translation is used, its scale is not."""
    free_scale: bool = False
    """Whether Adam moves the scale (published: off)."""
    scale_weight: float = 0.0
    """Weight of half the squared deviation of log scale from the prior, in its deviations; a known size stays then."""
    starts: int = 1
    """Start rotations, see :func:`geometry.start_rotations`; published: 1."""
    start_iterations: int = 60
    """Steps from each of several starts before the best goes on."""
    resolution: int | None = None
    """Side of a crop round the mask, px; None draws the whole image, as published."""
    contact_threshold: float = 0.0
    """Body probabilities up to this count as 0 in the contact term; published: 0, all 10475 vertices take part."""
    centred_start: bool = False
    """Start with the object's box on the mask's box; published indexes mask rows instead, which starts near the body's
    centre."""
    renderer: Renderer = soft_raster


@dataclass(frozen=True)
class Prepared:
    """What the published loader makes of its inputs: everything centred on the body's surface centroid."""

    body: Mesh
    offset: FloatArray
    """(3,) what was subtracted from the body, camera frame."""
    obj: Mesh
    """Centred and turned upright for a camera with y down."""
    centre: FloatArray
    """(3,) what was subtracted from the object, object frame."""
    body_contact: FloatArray
    object_contact: FloatArray
    """After the filter by normals."""
    registered: BoolArray
    """(V,) object vertices that are registered."""
    view: MaskView
    scale_sigma: float
    """Standard deviation of the log scale about 1."""

    @property
    def has_contact(self) -> bool:
        """Whether both sides touch."""
        return bool(self.registered.any() and self.object_contact.sum() > 0 and self.body_contact.sum() > 0)


@dataclass(frozen=True)
class Params:
    """Rotation (6,), translation (3,) and scale (1,) that Adam moves."""

    rotation: Tensor
    translation: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Step:
    """One evaluation: parameters, silhouette and weighted losses before the step."""

    params: Params
    silhouette: Tensor
    centroid: Tensor
    mask: Tensor
    centre: Tensor
    contact: Tensor
    size: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the weighted losses."""
        return self.mask + self.centre + self.contact + self.size


def fit_interactvlm_style(problem: BaselineProblem, config: InteractvlmConfig | None = None) -> BaselineResult:
    """Fit the object as InteractVLM does."""
    return timed(lambda: _fit(problem, config or InteractvlmConfig()))


def _fit(problem: BaselineProblem, config: InteractvlmConfig) -> tuple[ObjectPose, int]:
    sigma = problem.scale_prior[1]
    if config.scale_weight > 0:
        config = replace(config, free_scale=config.free_scale and sigma > 0)
    prepared = prepare(problem, config)
    best, spent = start(problem, prepared, config), 0
    if config.starts > 1:
        best, spent = _best_start(problem, prepared, config)
    params, used = descend(prepared, best, config)
    return pose_of(problem, prepared, params), spent + used


def _best_start(problem: BaselineProblem, prepared: Prepared, config: InteractvlmConfig) -> tuple[Params, int]:
    """A few steps from each start rotation; the parameters of least total loss, and all steps made."""
    few, spent = replace(config, iterations=config.start_iterations), 0
    tried: list[tuple[float, Params]] = []
    for turn in start_rotations(config.starts):
        params, used = descend(prepared, start(problem, prepared, config, UPRIGHT @ turn @ UPRIGHT), few)
        spent += used
        with torch.no_grad():
            tried.append((float(evaluate(prepared, params, config).total), params))
    return min(tried, key=lambda pair: pair[0])[1], spent


def prepare(problem: BaselineProblem, config: InteractvlmConfig) -> Prepared:
    """Centre both meshes and filter the object's contacts."""
    offset = surface_centroid(problem.body)
    body = problem.body.with_verts(problem.body.verts - offset)
    centre = surface_centroid(problem.mesh)
    obj = problem.mesh.with_verts(problem.scale * (problem.mesh.verts - centre) @ UPRIGHT)
    used, touching = problem.object_contact, problem.object_contact > config.object_threshold
    bodies = problem.body_contact > config.body_threshold
    if config.facing_degrees and touching.any() and bodies.any():
        touching = touching.copy()
        touching[touching] = facing(obj.vert_normals[touching], body.vert_normals[bodies], config.facing_degrees)
        used = np.where(touching, used, 0.0)
    weights = np.where(problem.body_contact > config.contact_threshold, problem.body_contact, 0.0)
    return Prepared(
        body, offset, obj, centre, weights, used, touching & bool(bodies.any()), mask_view(problem, config.resolution),
        problem.scale_prior[1],
    )  # fmt: skip


def surface_centroid(mesh: Mesh) -> FloatArray:
    """(3,) centroid of the surface, metres."""
    corners = mesh.verts[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.asarray((area @ corners.mean(1)) / area.sum())


def start(
    problem: BaselineProblem, prepared: Prepared, config: InteractvlmConfig, turn: FloatArray | None = None
) -> Params:
    """A turn (3, 3) of the upright object, rows (None: none), at its start translation, or its registration."""
    R = np.eye(3) if turn is None else turn
    T = start_translation(problem, prepared, config, R)
    on_body = problem.body_contact > config.body_threshold
    if config.registration and prepared.has_contact and prepared.registered.sum() >= 3:
        touching = prepared.registered
        found = register(
            prepared.obj.verts[touching], prepared.obj.vert_normals[touching] @ R, prepared.body.verts[on_body],
            prepared.body.vert_normals[on_body], (R, T, 1.0), config.register_scale,
        )  # fmt: skip
        R, T = found.R, found.T
    tensors = (torch.as_tensor(v, dtype=torch.float32) for v in (six_of_matrix(torch.as_tensor(R)), T, np.ones(1)))
    return Params(*(v.clone().requires_grad_() for v in tensors))


def start_translation(
    problem: BaselineProblem, prepared: Prepared, config: InteractvlmConfig, turn: FloatArray | None = None
) -> FloatArray:
    """(3,) start, relative to the body's centroid; published reads two mask pixels where it means the mask's middle."""
    on_body = problem.body_contact > config.body_threshold
    if config.centred_start or not on_body.any():
        turned = prepared.obj.verts if turn is None else prepared.obj.verts @ turn
        return translation_to_box(problem, turned, contact_depth(problem)) - prepared.offset
    depth = float(prepared.body.verts[on_body, 2].mean())
    first, second = np.argwhere(problem.object_mask)[[0, -1 if problem.object_mask.sum() == 1 else 1]]
    pixel = np.array([second.mean(), first.mean()])  # the published x and y: means of (row, column) of two pixels
    return np.asarray(problem.camera.unproject(pixel, depth))


def evaluate(prepared: Prepared, params: Params, config: InteractvlmConfig) -> Step:
    """Weighted losses at some parameters."""
    evaluator = _Evaluator(prepared, config)
    return evaluator(params)


class _Evaluator:
    """The objective with its constant tensors made once."""

    def __init__(self, prepared: Prepared, config: InteractvlmConfig) -> None:
        def tensor(values: object) -> Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.float32)

        self.config, self.view = config, prepared.view
        self.verts, self.faces = tensor(prepared.obj.verts), torch.as_tensor(prepared.obj.faces)
        self.offset = tensor(prepared.offset)
        self.goal = box_centre(self.view.target)
        on_object, on_body = prepared.object_contact > 0, prepared.body_contact > 0
        self.has_contact = prepared.has_contact
        self.touching = torch.as_tensor(on_object)
        self.body = tensor(prepared.body.verts[on_body])
        self.weights = tensor(prepared.object_contact[on_object]), tensor(prepared.body_contact[on_body])
        self.size_weight = 0.5 * config.scale_weight / prepared.scale_sigma**2 if prepared.scale_sigma > 0 else 0.0

    def placed(self, params: Params) -> Tensor:
        """(V, 3) object vertices relative to the body's centroid."""
        return transform(self.verts, matrix_of_6d(params.rotation), params.translation, params.scale)

    def lost(self, params: Params) -> bool:
        """Whether a vertex is too near to the camera, or nowhere."""
        depth = self.placed(params)[:, 2] + self.offset[2]
        return not bool((depth > NEAREST).all())

    def __call__(self, params: Params) -> Step:
        config, view = self.config, self.view
        verts = self.placed(params)
        sigma = config.sigma * view.softness
        drawn = config.renderer((verts + self.offset)[None], self.faces, view.K, view.size, sigma=sigma)[0]
        centroid = soft_centroid(drawn)
        away = ((centroid - self.goal) / view.scale).square().sum()
        contact = drawn.new_zeros(())
        if self.has_contact:
            contact = all_pairs_contact(verts[self.touching], self.body, *self.weights)
        size = drawn.new_zeros(())
        if self.size_weight > 0:
            size = self.size_weight * params.scale.clamp_min(1e-3).log().square().sum()
        return Step(
            params, drawn, centroid, config.mask_weight * half_dice(drawn, view.target),
            config.centroid_weight * away, config.contact_weight * contact, size,
        )  # fmt: skip


def descend(
    prepared: Prepared, params: Params, config: InteractvlmConfig, watch: Callable[[Step], None] | None = None
) -> tuple[Params, int]:
    """Adam from the start; ``watch`` sees every evaluation before its step.

    Returns:
        The last parameters and the number of steps.
    """
    evaluator = _Evaluator(prepared, config)
    groups = [
        {"params": [params.rotation], "lr": config.lr_rotation},
        {"params": [params.translation], "lr": config.lr_translation},
    ]
    if config.free_scale:
        groups.append({"params": [params.scale], "lr": config.lr_scale})
    adam = torch.optim.Adam(groups)
    for used in range(config.iterations):
        last = [p.detach().clone() for p in (params.rotation, params.translation, params.scale)]
        step = evaluator(params)
        if watch is not None:
            watch(step)
        adam.zero_grad()
        step.total.backward()  # type: ignore[no-untyped-call]
        adam.step()
        if evaluator.lost(params):
            return Params(*last), used
    return params, config.iterations


def pose_of(problem: BaselineProblem, prepared: Prepared, params: Params) -> ObjectPose:
    """The pose of the mesh as it was given, in the camera frame."""
    R = UPRIGHT @ matrix_of_6d(params.rotation.detach().double()).numpy()
    t = params.translation.detach().double().numpy() + prepared.offset
    s = problem.scale * float(params.scale.detach())
    return column_pose(R, t - s * prepared.centre @ R, s)
