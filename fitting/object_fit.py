"""Where is the object? Many start rotations, batched least squares on mask and contact, one energy that ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.fitting.checks import check_object_fit
from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.fitting.evidence_checks import mesh_flags
from hoirecon.fitting.fit_config import FitConfig as FitConfig
from hoirecon.fitting.fit_config import StageConfig as StageConfig
from hoirecon.fitting.hypotheses import distinct, set_distance, start_translations
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_state import ObjectState, limit_step
from hoirecon.fitting.object_types import ObjectAlternative as ObjectAlternative
from hoirecon.fitting.object_types import ObjectFit as ObjectFit
from hoirecon.fitting.object_types import ObjectToFit as ObjectToFit
from hoirecon.fitting.objective import Quadratic, linearise, report_term
from hoirecon.fitting.sdf import inside_depth
from hoirecon.fitting.so3 import super_fibonacci, upright_rotations
from hoirecon.fitting.solver import LMConfig, in_chunks, levenberg_marquardt
from hoirecon.fitting.visible import visible_iou
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

UP_CAM = (0.0, -1.0, 0.0)
"""Up for a level camera."""
SCALE_UNSURE = 0.8
"""The scale is set by its prior if the data leave at least this share of the prior's spread."""
POOR_IOU = 0.5
"""Visible IoU under which a fit is flagged."""
DEEP_MM = 20.0
"""Penetration over which a fit is flagged, millimetres."""
PENETRATION = ("body in object", "object in body")

AMBIGUOUS = "ambiguous"
"""Flag: another pose, away from the best one, explains the photograph nearly as well."""


def fit_objects(
    observation: Observation,
    body_mesh_cam: Mesh | SceneBody,
    objects: Sequence[ObjectToFit],
    contacts: Sequence[tuple[ContactMap, ContactMap] | None],
    config: FitConfig | None = None,
    device: torch.device | str = "cpu",
) -> list[ObjectFit]:
    """Find rotation, translation and scale of every object, given the posed body, visible masks and contact.

    Objects are fitted one after another; the earlier ones stay where they are and hide the later ones (they are not
    yet moved together, and objects do not push each other apart).

    Args:
        observation: masks (``object_masks[i]`` belongs to ``objects[i]``), occluders and camera.
        body_mesh_cam: the posed body, camera frame, metres; it is not moved.
        objects: meshes with their size priors.
        contacts: per object the probabilities on (body, object); None, or maps without any contact, if unknown.
        config: settings; None takes the recipe.
        device: where to compute.

    Returns:
        One fit per object, in order.

    Raises:
        InputError: an empty mask, a mesh or body that cannot be used, lists of different lengths, wrong topology.
    """
    body, config = check_object_fit(observation, body_mesh_cam, objects, contacts, config, device)
    fits: list[ObjectFit] = []
    placed: list[tuple[BoolArray, Mesh]] = []
    for index, (obj, contact) in enumerate(zip(objects, contacts, strict=True)):
        problem = prepare(observation, index, body, obj, contact, tuple(placed), config, device)
        fit = fit_object(problem, start_rotations(obj, config), obj.mesh, body, config)
        fits.append(fit)
        placed.append((observation.object_masks[index], obj.mesh.with_verts(fit.pose.apply(obj.mesh.verts))))
    return fits


def start_rotations(obj: ObjectToFit, config: FitConfig) -> Tensor:
    """(B, 3, 3) rotations to start from: given ones, upright ones if an up axis is known, and an even cover."""
    parts = [] if obj.initial_rotations is None else [torch.tensor(obj.initial_rotations)]
    upright = config.hypotheses // 2 if obj.up_obj is not None else 0
    if obj.up_obj is not None:
        up_obj = torch.tensor(obj.up_obj, dtype=torch.float64)
        parts.append(upright_rotations(upright, up_obj, torch.tensor(UP_CAM, dtype=torch.float64)))
    parts.append(super_fibonacci(config.hypotheses - upright))
    rotations = torch.cat(parts)
    if len(rotations) == 0:
        raise InputError(f"{obj.name} has no start rotation: give initial_rotations or hypotheses > 0")
    return rotations


def fit_object(problem: ObjectProblem, rotations: Tensor, mesh: Mesh, body: Mesh, config: FitConfig) -> ObjectFit:
    """Search the pose of one prepared object.

    Coarse steps from all rotations, the better half goes on; the best distinct ones are annealed and finished; one
    energy ranks them all.

    Args:
        problem: from :func:`hoirecon.fitting.object_problem.prepare`.
        rotations: (B, 3, 3) start rotations.
        mesh: the object as given.
        body: the posed body, camera frame.
        config: settings.
    """
    state = _finite(_start(problem, rotations, config))
    search = _Search(problem, config)
    state, quad = search.coarse(state)
    kept = distinct(state, quad.cost, problem.probe, config.duplicate * problem.diagonal, config.keep)
    state, _ = search.refine(state.select(kept), config.anneal)
    state, quad = search.refine(state, config.final)
    iou = visible_iou(state)
    energy = ranking_energy(quad, iou, config)
    order = torch.argsort(energy, stable=True)
    state, energy, iou, quad = state.select(order), energy[order], iou[order], _reorder(quad, order)
    return _report(problem, state, quad, energy, iou, mesh, body, config, search.evaluations)


def _start(problem: ObjectProblem, rotations: Tensor, config: FitConfig) -> ObjectState:
    R = rotations.to(problem.verts)
    mean = problem.scale_prior[0]
    anchor = problem.contact.anchor() if problem.contact else None
    if anchor is not None:
        anchor = (anchor[0], anchor[1] * float(np.exp(mean)))
    t = start_translations(R, problem.verts * float(np.exp(mean)), problem.region, anchor, problem.body_depth)
    return ObjectState(R, t, torch.full_like(t[:, 0], mean), problem.view(config.coarse))


def _finite(state: ObjectState) -> ObjectState:
    """The poses without those that hold NaN, which no distance field can be asked about."""
    numbers = torch.cat([state.R.flatten(1), state.t, state.log_s[:, None]], 1)
    good = torch.nonzero(torch.isfinite(numbers).all(1)).flatten()
    if len(good) == 0:
        raise InputError("no start is finite: check rotations, mesh and body for NaN")
    return state if len(good) == len(state) else state.select(good)


class _Search:
    """Runs stages on one problem and counts what they cost."""

    def __init__(self, problem: ObjectProblem, config: FitConfig) -> None:
        self.problem = problem
        self.config = config
        self.evaluations = 0

    def coarse(self, state: ObjectState) -> tuple[ObjectState, Quadratic]:
        """The first stage, with the worse half dropped on the way."""
        stage, early = self.config.coarse, self.config.prune_after
        if 0 < early < stage.iterations:
            state, quad = self.refine(state, stage, early)
            half = max(self.config.keep, (len(quad.cost) + 1) // 2)
            state = state.select(torch.argsort(quad.cost, stable=True)[:half])
            return self.refine(state, stage, stage.iterations - early)
        return self.refine(state, stage)

    def refine(
        self, state: ObjectState, stage: StageConfig, iterations: int | None = None
    ) -> tuple[ObjectState, Quadratic]:
        """One stage of Levenberg-Marquardt on all poses."""
        terms = self.problem.terms(stage, self.config)

        def evaluate(batch: ObjectState) -> Quadratic:
            return linearise(terms, batch)

        result = levenberg_marquardt(
            state.seen_by(self.problem.view(stage)),
            in_chunks(evaluate, ObjectState.select, len, self.config.chunk),
            ObjectState.retract,
            ObjectState.select,
            ObjectState.merge,
            LMConfig(iterations=stage.iterations if iterations is None else iterations),
            limit_step,
        )
        self.evaluations += result.evaluations
        return result.state, result.quadratic


def ranking_energy(quad: Quadratic, iou: Tensor, config: FitConfig) -> Tensor:
    """(B,) the objective with penetration capped (a displaced hand must not decide) and visible IoU as a mild extra."""
    deep = sum((quad.terms[n] for n in PENETRATION if n in quad.terms), torch.zeros_like(quad.cost))
    return quad.cost - deep + deep.clamp_max(config.rank_penetration_cap) + config.rank_iou_weight * (1 - iou)


def _reorder(quad: Quadratic, order: Tensor) -> Quadratic:
    terms = {name: cost[order] for name, cost in quad.terms.items()}
    return Quadratic(quad.cost[order], quad.gradient[order], quad.hessian[order], terms)


def _report(
    problem: ObjectProblem,
    state: ObjectState,
    quad: Quadratic,
    energy: Tensor,
    iou: Tensor,
    mesh: Mesh,
    body: Mesh,
    config: FitConfig,
    evaluations: int,
) -> ObjectFit:
    pose = problem.pose(state, 0)
    others = _alternatives(problem, state, energy, config)
    depth = max_penetration_mm(mesh, pose, body, config.seed)
    best = state.select(torch.tensor([0], device=state.t.device))
    return ObjectFit(
        name=problem.name,
        pose=pose,
        energy=float(energy[0]),
        alternatives=tuple(ObjectAlternative(problem.pose(state, i), float(energy[i]), float(iou[i])) for i in others),
        terms={term.name: report_term(term, best) for term in problem.terms(config.final, config)},
        iou_visible=float(iou[0]),
        max_penetration_mm=depth,
        flags=_flags(problem, quad, [float(energy[i] - energy[0]) for i in others], float(iou[0]), depth, config)
        + mesh_flags(mesh),
        evaluations=evaluations,
    )


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
    problem: ObjectProblem, quad: Quadratic, gaps: list[float], iou: float, depth_mm: float, config: FitConfig
) -> tuple[str, ...]:
    sigma = problem.scale_prior[1]
    spread = float(torch.linalg.inv(quad.hessian[0].double().cpu() + 1e-9 * torch.eye(7))[6, 6].clamp_min(0).sqrt())
    found = {
        AMBIGUOUS: any(gap < config.ambiguous_energy for gap in gaps),
        "no contact": problem.contact is None,
        "scale set by prior": sigma > 2e-3 and (problem.contact is None or spread > SCALE_UNSURE * sigma),
        "covers the mask poorly": iou < POOR_IOU,
        "penetrates the body": depth_mm > DEEP_MM,
    }
    return tuple(flag for flag, is_set in found.items() if is_set)
