"""Everything that can be prepared once before the poses of one object are searched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.fitting.contact_pairs import (
    body_contact_points,
    object_contact_points,
)
from hoirecon.fitting.contour import Region, make_region
from hoirecon.fitting.fit_config import FitConfig, StageConfig
from hoirecon.fitting.object_shape import lighter as lighter
from hoirecon.fitting.object_shape import object_shape
from hoirecon.fitting.object_state import ObjectState, View
from hoirecon.fitting.object_terms import (
    BodyInObject,
    ContactAttraction,
    DepthOrder,
    DepthPrior,
    MaskOnOutline,
    ObjectInBody,
    OutlineOnMask,
    ScalePrior,
)
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Term
from hoirecon.fitting.sdf import DistanceGrid, distance_grid
from hoirecon.fitting.silhouette import EdgeTopology
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose

BODY_SAMPLES = 1730
"""Body vertices asked whether they are inside the object: every fourth of an SMPL-H body."""
FIXED_SCALE_SIGMA = 1e-3
"""Log-scale noise that stands for 'the scale is known'."""
SMALLEST, LARGEST = 0.005, 30.0
"""Diagonals in metres between which a mesh can be in metres."""


@dataclass(frozen=True)
class ContactSet:
    """Contact points of body and object; frames and weights as in :class:`ContactAttraction`."""

    body: Tensor
    body_weight: Tensor
    obj: Tensor
    obj_weight: Tensor

    def anchor(self) -> tuple[Tensor, Tensor]:
        """Weighted centroids on body (camera frame) and object (object frame)."""
        return self.body_weight @ self.body, self.obj_weight @ self.obj


@dataclass(frozen=True)
class ObjectProblem:
    """One object to place; its mesh is centred, tensors live on one device."""

    name: str
    centre: FloatArray
    """(3,) what was subtracted from the mesh's vertices, metres."""
    verts: Tensor
    """(V, 3) mesh of the silhouette, centred."""
    topology: EdgeTopology
    region: Region
    contact: ContactSet | None
    body_points: Tensor
    """(P, 3) camera frame."""
    object_grid: DistanceGrid
    """Centred object frame."""
    object_points: Tensor
    """(P, 3) centred object frame."""
    distances_to_body: Callable[[], DistanceGrid]
    """Gives :attr:`body_grid`, made when it is first asked for: a joint fit from given starts never asks."""
    scale_prior: tuple[float, float]
    body_depth: float
    """Mean depth of the body, metres."""
    probe: Tensor
    """(PROBES, 3) points spread over the object, centred."""
    diagonal: float
    """Of the object at its expected scale, metres."""
    extra: tuple[Term[ObjectState], ...] = ()
    """Terms of every stage that the evidence of this object alone does not give: what the ground says."""

    @property
    def body_grid(self) -> DistanceGrid:
        """Of the body where the object may be, camera frame."""
        return self.distances_to_body()

    def view(self, stage: StageConfig) -> View:
        """What poses look at in a stage."""
        return View(self.verts, self.topology, self.region, stage.raster, stage.model_samples)

    def terms(self, stage: StageConfig, config: FitConfig) -> list[Term[ObjectState]]:
        """The objective of a stage."""
        terms = [*self.contour_terms(stage, config), ScalePrior(*self.scale_prior)]
        if self.contact is None:
            terms.append(DepthPrior(self.body_depth, config.depth_sigma * self.body_depth))
        else:
            terms.append(self.contact_term(self.contact, stage, config))
        if stage.penetration > 0:
            terms += self.penetration_terms(stage, config)
        return [*terms, *self.extra]

    def contour_terms(self, stage: StageConfig, config: FitConfig) -> list[Term[ObjectState]]:
        """Outline and mask contour, both ways."""
        region = self.region
        sigma = max(config.contour_sigma * region.cells, config.contour_sigma_px / region.px_per_cell)
        robust, weight, soft = stage.contour_scale, config.contour_weight, config.depth_softness
        return [
            OutlineOnMask(sigma, robust, weight, soft),
            MaskOnOutline(*region.contour_points(stage.mask_samples), sigma, robust, weight, soft),
            DepthOrder(config.order_sigma, config.order_tolerance, config.order_scale, config.order_weight),
        ]

    def contact_term(self, contact: ContactSet, stage: StageConfig, config: FitConfig) -> Term[ObjectState]:
        """Contact points find each other."""
        points = (contact.body, contact.body_weight, contact.obj, contact.obj_weight)
        robust = stage.contact_scale / config.contact_sigma
        return ContactAttraction(*points, config.contact_sigma, stage.dead_zone, robust, config.contact_weight)

    def penetration_terms(self, stage: StageConfig, config: FitConfig) -> list[Term[ObjectState]]:
        """Neither goes into the other."""
        sigma, tolerance = config.penetration_sigma, config.penetration_tolerance
        weight = stage.penetration * config.penetration_weight
        return [
            BodyInObject(self.body_points, self.object_grid, sigma, tolerance, weight),
            ObjectInBody(self.object_points, self.body_grid, sigma, tolerance, weight),
        ]

    def pose(self, state: ObjectState, index: int) -> ObjectPose:
        """One pose of a batch, for the mesh as it was given."""
        R = _nearest_rotation(state.R[index].double().cpu().numpy())
        s = float(state.log_s[index].double().exp())
        t = state.t[index].double().cpu().numpy() - s * R @ self.centre
        return ObjectPose(R, t, s)


def _nearest_rotation(matrix: FloatArray) -> FloatArray:
    """Rotation nearest to a float32 product of rotations."""
    u, _, vt = np.linalg.svd(matrix)
    return np.asarray(u @ vt)


def prepare(
    observation: Observation,
    index: int,
    body: Mesh,
    obj: ObjectToFit,
    contact: tuple[ContactMap, ContactMap] | None,
    placed: tuple[tuple[BoolArray, Mesh], ...],
    config: FitConfig,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ObjectProblem:
    """Prepare the fit of object ``index`` of the observation.

    Args:
        observation: masks and camera.
        index: which of its object masks.
        body: the posed body, camera frame.
        obj: mesh and priors.
        contact: probabilities on (body, object) or None.
        placed: masks and posed meshes of the objects fitted before.
        config: settings.
        device: where the tensors go.
        dtype: of the tensors.

    Raises:
        InputError: unusable mask, mesh or body.
    """
    check_mesh(obj.mesh)
    check_body(body)
    unknown = _other_masks(observation, index, len(placed))
    region = make_region(
        observation.object_masks[index], observation.camera, (observation.person_mask, body), unknown, placed,
        config.region_cells, device, dtype,
    )  # fmt: skip
    shape = object_shape(obj.mesh, config.mesh_faces, config.seed, device, dtype)

    def tensor(value: Any) -> Tensor:
        return torch.as_tensor(value, device=device, dtype=dtype)

    contact_set, near = _contact_set(body, shape.mesh, contact, config, tensor)
    return ObjectProblem(
        name=obj.name,
        centre=shape.centre,
        verts=tensor(shape.light.verts),
        topology=shape.topology,
        region=region,
        contact=contact_set,
        body_points=tensor(_body_points(body, near)),
        object_grid=shape.grid,
        object_points=_object_points(tensor(shape.samples), contact_set),
        distances_to_body=cache(lambda: _body_grid(body, near, shape.mesh.diagonal).to(device, dtype)),
        scale_prior=(obj.size_prior[0], max(obj.size_prior[1], FIXED_SCALE_SIGMA)),
        body_depth=float(body.verts[:, 2].mean()),
        probe=tensor(shape.probe),
        diagonal=shape.mesh.diagonal * float(np.exp(obj.size_prior[0])),
    )


def check_mesh(mesh: Mesh) -> None:
    """Raise :class:`InputError` if a mesh cannot be posed: too few faces, no extent, or not in metres."""
    if len(mesh.faces) < 4:
        raise InputError(f"mesh {mesh.name} has {len(mesh.faces)} faces: at least 4 are needed to enclose a volume")
    if not SMALLEST <= mesh.diagonal <= LARGEST:
        raise InputError(
            f"mesh {mesh.name} measures {mesh.diagonal:g} from corner to corner, expected {SMALLEST} to {LARGEST} "
            f"metres: scale it to metres first"
        )


def check_body(body: Mesh) -> None:
    """Raise :class:`InputError` if the body is not before the camera."""
    if float(body.verts[:, 2].max()) <= 0 or float(np.median(body.verts[:, 2])) <= 0:
        raise InputError(
            f"the body lies behind the camera (median depth {np.median(body.verts[:, 2]):.2f} m): give its vertices in "
            f"the camera frame, z forward"
        )


def _other_masks(observation: Observation, index: int, done: int) -> BoolArray | None:
    """Pixels of things at unknown depth: the occluders and the objects that are not fitted yet."""
    later = [m for i, m in enumerate(observation.object_masks) if i >= done and i != index]
    masks = later if observation.occluders is None else [observation.occluders, *later]
    return np.logical_or.reduce(masks) if masks else None


def _contact_set(
    body: Mesh, mesh: Mesh, contact: tuple[ContactMap, ContactMap] | None, config: FitConfig, tensor: Any
) -> tuple[ContactSet | None, FloatArray | None]:
    """Contact points as tensors, and where on the body they are; None if either side touches nothing."""
    if contact is None:
        return None, None
    on_body = body_contact_points(body, contact[0], config.contact_points)
    on_object = object_contact_points(mesh, contact[1], config.contact_points, config.seed)
    if len(on_body.points) == 0 or len(on_object.points) == 0:
        return None, on_body.points if len(on_body.points) else None
    parts = (on_body.points, on_body.weights, on_object.points, on_object.weights)
    return ContactSet(*(tensor(p) for p in parts)), on_body.points


def _body_points(body: Mesh, near: FloatArray | None) -> FloatArray:
    """Body vertices that may touch the object: within 1.3 m of the contact, thinned."""
    stride = max(1, round(len(body.verts) / BODY_SAMPLES))
    thin = body.verts[::stride]
    if near is None:
        return np.asarray(thin)
    reach = np.linalg.norm(thin - near.mean(0), axis=1) < 1.3
    return np.concatenate([thin[reach], near])


def _object_points(samples: Tensor, contact: ContactSet | None) -> Tensor:
    """Samples of the surface and, denser, where it is touched: on a bar few samples fall between the plates."""
    return samples if contact is None else torch.cat([samples, contact.obj])


def _body_grid(body: Mesh, near: FloatArray | None, diagonal: float) -> DistanceGrid:
    """Distance grid of the body round the contact (or the whole body), 56 nodes along the longest side."""
    low, high = body.verts.min(0) - 0.05, body.verts.max(0) + 0.05
    if near is not None:
        centre, radius = near.mean(0), min(0.55, 0.6 * diagonal + 0.15)
        low, high = np.maximum(low, centre - radius), np.minimum(high, centre + radius)
    return distance_grid(body, low, np.maximum(high, low + 0.1), nodes=56, outside="rough")
