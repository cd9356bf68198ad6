"""Where is the object? Many start rotations, batched least squares on mask and contact, one energy that ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray
from hoirecon.contact.protocols import ContactEstimate
from hoirecon.contact_map import ContactMap
from hoirecon.fitting.checks import check_object_fit
from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.fitting.covariance import contour_misfit, laplace
from hoirecon.fitting.evidence_checks import mesh_flags
from hoirecon.fitting.expected_error import ExpectedError, Opinion, Surface, error_of, is_ambiguous
from hoirecon.fitting.fit_config import FitConfig as FitConfig
from hoirecon.fitting.fit_config import KickConfig as KickConfig
from hoirecon.fitting.fit_config import StageConfig as StageConfig
from hoirecon.fitting.hypotheses import set_distance
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_search import Found, search
from hoirecon.fitting.object_search import start_rotations as start_rotations
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.object_types import ObjectAlternative as ObjectAlternative
from hoirecon.fitting.object_types import ObjectFit as ObjectFit
from hoirecon.fitting.object_types import ObjectToFit as ObjectToFit
from hoirecon.fitting.objective import Quadratic, report_term
from hoirecon.fitting.sdf import inside_depth
from hoirecon.fitting.visible import visible_iou
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

SCALE_UNSURE = 0.8
"""The scale is set by its prior if the data leave at least this share of the prior's spread."""
POOR_IOU = 0.5
"""Visible IoU under which a fit is flagged."""
DEEP_MM = 20.0
"""Penetration over which a fit is flagged, millimetres."""
AMBIGUOUS = "ambiguous"
"""Flag: the object may well be farther off than :attr:`FitConfig.ambiguous_distance`: other poses, away from the best
one, explain the photograph nearly as well, or it is known vaguely."""


def fit_objects(
    observation: Observation,
    body_mesh_cam: Mesh | SceneBody,
    objects: Sequence[ObjectToFit],
    contacts: Sequence[tuple[ContactMap, ContactMap] | ContactEstimate | None],
    config: FitConfig | None = None,
    device: torch.device | str = "cpu",
) -> list[ObjectFit]:
    """Find rotation, translation and scale of every object, given the posed body, visible masks and contact.

    Objects are fitted one after another; the earlier ones stay where they are and hide the later ones.
    :func:`~hoirecon.fitting.joint_fit.fit` moves them together afterwards.

    Args:
        observation: masks (``object_masks[i]`` belongs to ``objects[i]``), occluders and camera.
        body_mesh_cam: the posed body, camera frame, metres; it is not moved.
        objects: meshes with their size priors.
        contacts: per object the probabilities on (body, object), or what an estimator gave; None, or maps without any
            contact, if unknown.
        config: settings; None takes the recipe.
        device: where to compute.

    Returns:
        One fit per object, in order.

    Raises:
        InputError: an empty mask, a mesh or body that cannot be used, lists of different lengths, wrong topology.
    """
    body, pairs, config = check_object_fit(observation, body_mesh_cam, objects, contacts, config, device)
    fits: list[ObjectFit] = []
    placed: list[tuple[BoolArray, Mesh]] = []
    for index, (obj, contact) in enumerate(zip(objects, pairs, strict=True)):
        problem = prepare(observation, index, body, obj, contact, tuple(placed), config, device)
        fit = fit_object(problem, start_rotations(obj, config), obj.mesh, body, config)
        fits.append(fit)
        placed.append((observation.object_masks[index], obj.mesh.with_verts(fit.pose.apply(obj.mesh.verts))))
    return fits


def fit_object(problem: ObjectProblem, rotations: Tensor, mesh: Mesh, body: Mesh, config: FitConfig) -> ObjectFit:
    """Search the pose of one prepared object and measure the best.

    Args:
        problem: from :func:`hoirecon.fitting.object_problem.prepare`.
        rotations: (B, 3, 3) start rotations.
        mesh: the object as given.
        body: the posed body, camera frame.
        config: settings.
    """
    return _report(problem, search(problem, rotations, config), mesh, body, config)


def _report(problem: ObjectProblem, found: Found, mesh: Mesh, body: Mesh, config: FitConfig) -> ObjectFit:
    state, energy, iou = found.state, found.energy, visible_iou(found.state, behind_is_missed=False)
    pose = problem.pose(state, 0)
    candidates = tuple(
        ObjectAlternative(problem.pose(state, i), float(energy[i]), float(iou[i])) for i in range(len(state))
    )
    error = _error(problem, found, candidates, config)
    others = _alternatives(problem, state, energy, config)
    depth = max_penetration_mm(mesh, pose, body, config.seed)
    best = state.select(torch.tensor([0], device=state.t.device))
    return ObjectFit(
        name=problem.name,
        pose=pose,
        energy=float(energy[0]),
        alternatives=tuple(candidates[i] for i in others),
        terms={term.name: report_term(term, best) for term in problem.terms(config.final, config)},
        iou_visible=float(iou[0]),
        max_penetration_mm=depth,
        flags=_flags(problem, found.quad, error, float(iou[0]), depth, config) + mesh_flags(mesh),
        evaluations=found.evaluations,
        candidates=candidates,
        predicted_error_m=error.error_m,
        chance_far=error.chance_far,
    )


def surface_of(problem: ObjectProblem) -> Surface:
    """Points of a prepared object, for distances between its poses."""
    dense, probe = (x.detach().cpu().double().numpy() + problem.centre for x in (problem.object_points, problem.probe))
    return Surface(dense, probe, problem.centre)


def _error(
    problem: ObjectProblem, found: Found, candidates: Sequence[ObjectAlternative], config: FitConfig
) -> ExpectedError:
    """Of the best pose, with the curvature of the search's last stage."""
    quad = found.quad.select(torch.tensor([0], device=found.energy.device))
    covariance = laplace(quad.hessian[0]) * contour_misfit(problem.terms(config.final, config), quad)
    opinion = Opinion([(c.pose, c.energy) for c in candidates], config.ambiguous_temperature)
    return error_of(candidates[0].pose, [opinion], covariance, surface_of(problem), config.ambiguous_distance)


def _alternatives(problem: ObjectProblem, state: ObjectState, energy: Tensor, config: FitConfig) -> list[int]:
    """Indices of the runners-up that are really elsewhere, best first."""
    points = state.place(problem.probe)
    kept = [0]
    for index in range(1, len(state)):
        if len(kept) > config.alternatives:
            break
        if float(set_distance(points[index], points[kept]).min()) > config.ambiguous_distance:
            kept.append(index)
    return kept[1:]


def max_penetration_mm(mesh: Mesh, pose: ObjectPose, body: Mesh, seed: int = 0) -> float:
    """Deepest point of the body inside the object or of the object inside the body, millimetres (exact distances)."""
    placed = mesh.with_verts(pose.apply(mesh.verts))
    samples = sample_surface(placed, 2000, seed).interpolate(placed.verts)
    into_object = inside_depth(placed, body.verts)
    into_body = inside_depth(body, np.concatenate([samples, placed.verts]))
    return 1e3 * float(max(into_object.max(), into_body.max()))


def _flags(
    problem: ObjectProblem, quad: Quadratic, error: ExpectedError, iou: float, depth_mm: float, config: FitConfig
) -> tuple[str, ...]:
    sigma = problem.scale_prior[1]
    spread = float(torch.linalg.inv(quad.hessian[0].double().cpu() + 1e-9 * torch.eye(7))[6, 6].clamp_min(0).sqrt())
    found = {
        AMBIGUOUS: is_ambiguous(error.chance_far, config.ambiguous_odds),
        "no contact": problem.contact is None,
        "scale set by prior": sigma > 2e-3 and (problem.contact is None or spread > SCALE_UNSURE * sigma),
        "covers the mask poorly": iou < POOR_IOU,
        "penetrates the body": depth_mm > DEEP_MM,
    }
    return tuple(flag for flag, is_set in found.items() if is_set)
