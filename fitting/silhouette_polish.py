"""Last gradient steps on silhouettes, kept only where the exact visible overlap rises.

Least squares on contours (:mod:`hoirecon.fitting.object_fit`) sees samples of an outline. The polish sees every pixel:
a silhouette drawn by a renderer, and the mismatch of mask and silhouette by its exact outline, which has no blur that
could move the optimum. Contact, penetration and the size prior stay in, so that the object cannot drift along what
pixels do not tell. It is off unless called: what it brings is in docs/soft-silhouettes.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.fitting.contour import HIDING, VISIBLE
from hoirecon.fitting.edge_region import mask_mismatch
from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.gradient_descent import DescentConfig, minimise_by_gradient
from hoirecon.fitting.joint_edges import Pair, by_pair
from hoirecon.fitting.joint_problem import together
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.object_terms import in_front
from hoirecon.fitting.object_types import ObjectFit, ObjectToFit
from hoirecon.fitting.objective import Term, linearise
from hoirecon.fitting.raster import zbuffer
from hoirecon.fitting.renderers import OutlineRenderer, Renderer, choose_renderer, silhouette_loss
from hoirecon.fitting.report import JointFit, exact_ious
from hoirecon.fitting.visible import SOFTNESS
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody


@dataclass(frozen=True)
class PolishConfig:
    """Settings of :func:`polish`; weights count as those of :class:`~hoirecon.fitting.fit_config.FitConfig`."""

    steps: int = 30
    """Steps of Adam per object."""
    turn: float = 4e-3
    """First step of the rotation, radians; it falls to zero."""
    shift: float = 2e-3
    """First step of the place, as a fraction of the depth."""
    growth: float = 2e-3
    """First step of the log scale."""
    silhouette: float = 300.0
    """Weight of a renderer's squared difference per pixel of the mask; counts only if a renderer is given."""
    region: float = 300.0
    """Weight of the mismatched share of the mask, by the exact outline; 0 leaves it out."""
    contact: bool = True
    """Whether contact holds the object."""
    penetration: float = 1.0
    """Factor on the penetration terms; 0 leaves them out."""
    cells: int = 160
    """Side of the square round the mask in which silhouettes are drawn."""
    least_gain: float = 1e-3
    """The exact IoU must rise by more than this."""
    most_loss: float = 1.0
    """By how much the kept terms may rise, squared sigmas."""

    def __post_init__(self) -> None:
        bad = [n for n in ("steps", "turn", "shift", "growth", "cells") if not getattr(self, n) > 0]
        bad += [n for n in ("silhouette", "region", "penetration", "least_gain") if not getattr(self, n) >= 0]
        if bad or self.silhouette + self.region == 0:
            raise InputError(
                f"the polish needs {', '.join(bad) or 'silhouette or region'} above zero: check the settings"
            )


@dataclass(frozen=True)
class PolishedObject:
    """What the polish made of one object."""

    name: str
    pose: ObjectPose
    """The polished pose if accepted, else the one that came in."""
    accepted: bool
    reason: str
    """Why it was taken or refused, in words."""
    iou_before: float
    """Exact visible IoU of the pose that came in; other objects as they were then."""
    iou_after: float
    """Of the polished pose, also if it was refused."""
    kept_before: float
    """Cost of the kept terms (contact, penetration, size), squared sigmas."""
    kept_after: float


@dataclass(frozen=True)
class Polished:
    """Result of :func:`polish`."""

    objects: tuple[PolishedObject, ...]
    renderer: str
    seconds: float
    """CPU seconds, preparation included."""

    @property
    def poses(self) -> tuple[ObjectPose, ...]:
        """Of all objects, polished where that was accepted."""
        return tuple(o.pose for o in self.objects)


def polish(
    found: JointFit | Sequence[ObjectFit] | Sequence[ObjectPose],
    observation: Observation,
    objects: Sequence[ObjectToFit],
    body: Mesh | SceneBody | None = None,
    contacts: Sequence[Pair | None] | Mapping[tuple[int, int], Pair] | None = None,
    *,
    renderer: Renderer | str | None = None,
    config: PolishConfig | None = None,
    fit_config: FitConfig | None = None,
    device: torch.device | str = "cpu",
) -> Polished:
    """Move each object by some gradient steps so that its silhouette meets its mask; bodies stand still.

    Args:
        found: result of :func:`~hoirecon.fitting.joint_fit.fit` or :func:`~hoirecon.fitting.object_fit.fit_objects`,
            or bare poses.
        observation: masks and camera, as given to the fit.
        objects: as given to the fit.
        body: the posed body, camera frame; None takes that of a joint fit (with several: contact is left out).
        contacts: as given to the fit: one pair or None per object, or pairs by (body, object); None: left out.
        renderer: None for the edge-region loss alone, which is not biased; a renderer, or a name for
            :func:`~hoirecon.fitting.renderers.choose_renderer`, adds its silhouette loss.
        config: settings of the polish.
        fit_config: settings of the kept terms.
        device: where to compute.

    Returns:
        Poses, whether each was accepted, exact IoU before and after.

    Raises:
        InputError: no body, or lists of different lengths.
        MissingExtraError: the renderer named is not installed.
    """
    clock = time.process_time()
    config, fit_config = config or PolishConfig(), fit_config or FitConfig()
    drawn_by = choose_renderer(renderer) if isinstance(renderer, str) else renderer
    if drawn_by is None:
        config, drawn_by = replace(config, silhouette=0.0), OutlineRenderer()
    poses, bodies = _poses_of(found), _bodies_of(found, body)
    if not len(poses) == len(objects) == len(observation.object_masks):
        raise InputError(
            f"got {len(poses)} poses, {len(objects)} objects and {len(observation.object_masks)} object masks: give "
            f"one of each for every object"
        )
    pairs = by_pair(contacts, 1, len(objects), "contacts") if contacts is not None and len(bodies) == 1 else {}
    results: list[PolishedObject] = []
    for k, obj in enumerate(objects):
        scene = _Scene(observation, bodies, [o.mesh for o in objects], poses)
        problem = scene.problem(k, obj, pairs.get((0, k)), fit_config, device)
        results.append(_polish_one(scene, k, problem, drawn_by, config, fit_config))
        poses[k] = results[-1].pose
    return Polished(tuple(results), drawn_by.name, time.process_time() - clock)


def _poses_of(found: JointFit | Sequence[ObjectFit] | Sequence[ObjectPose]) -> list[ObjectPose]:
    if isinstance(found, JointFit):
        return list(found.best.poses)
    return [f.pose if isinstance(f, ObjectFit) else f for f in found]


def _bodies_of(
    found: JointFit | Sequence[ObjectFit] | Sequence[ObjectPose], body: Mesh | SceneBody | None
) -> list[Mesh]:
    if body is not None:
        return [body.mesh if isinstance(body, SceneBody) else body]
    if not isinstance(found, JointFit):
        raise InputError("the polish needs the posed body: give body=, for it hides objects and they must not enter it")
    return [b.mesh for b in found.best.bodies]


@dataclass(frozen=True)
class _Scene:
    """Everything as it stands."""

    observation: Observation
    bodies: list[Mesh]
    meshes: list[Mesh]
    poses: list[ObjectPose]

    def placed(self, poses: Sequence[ObjectPose]) -> list[Mesh]:
        return [m.with_verts(p.apply(m.verts)) for m, p in zip(self.meshes, poses, strict=True)]

    def ious(self, k: int, pose: ObjectPose) -> tuple[float, ...]:
        """Exact visible IoU of all objects with object k at a pose."""
        poses = [pose if i == k else p for i, p in enumerate(self.poses)]
        return exact_ious(self.observation.object_masks, self.observation.camera, self.bodies, self.placed(poses))

    def problem(
        self,
        k: int,
        obj: ObjectToFit,
        contact: tuple[ContactMap, ContactMap] | None,
        config: FitConfig,
        device: torch.device | str,
    ) -> ObjectProblem:
        """Object k, with all other objects as things that may hide it."""
        order = [i for i in range(len(self.meshes)) if i != k]
        masks = self.observation.object_masks
        moved = replace(self.observation, object_masks=tuple(masks[i] for i in (*order, k)))
        all_placed = self.placed(self.poses)
        others: tuple[tuple[BoolArray, Mesh], ...] = tuple((masks[i], all_placed[i]) for i in order)
        return prepare(moved, len(order), together(self.bodies), obj, contact, others, config, device)


def _polish_one(
    scene: _Scene, k: int, problem: ObjectProblem, renderer: Renderer, config: PolishConfig, fit_config: FitConfig
) -> PolishedObject:
    start = _state(problem, scene.poses[k], fit_config)
    terms = kept_terms(problem, config, fit_config)
    depth = float(start.t[0, 2])
    rates = torch.tensor([config.turn] * 3 + [config.shift * depth] * 3 + [config.growth])
    loss = silhouette_losses(problem, start, renderer, config)
    try:
        moved = minimise_by_gradient(
            terms, start, "adam", loss=loss, rates=rates, config=DescentConfig(config.steps, rate=1.0)
        ).state
    except InputError as problem_met:  # it went through the camera's plane
        moved, failure = start, str(problem_met)
    else:
        failure = ""
    return _judged(scene, k, problem, (start, moved), terms, config, failure)


def _judged(
    scene: _Scene,
    k: int,
    problem: ObjectProblem,
    states: tuple[ObjectState, ObjectState],
    terms: Sequence[Term[ObjectState]],
    config: PolishConfig,
    failure: str,
) -> PolishedObject:
    """Accept the second state or keep the first."""
    given, pose = scene.poses[k], problem.pose(states[1], 0)
    before, after = scene.ious(k, given), scene.ious(k, pose)
    kept = [float(linearise(terms, s).cost) for s in states]
    others = min((a - b for i, (a, b) in enumerate(zip(after, before, strict=True)) if i != k), default=0.0)
    reasons = {
        failure or "no step lowered the loss": bool(failure) or states[1] is states[0],
        "the exact IoU did not rise": after[k] - before[k] <= config.least_gain,
        "the IoU of another object fell": others < -config.least_gain,
        "contact, penetration or size became worse": kept[1] - kept[0] > config.most_loss,
    }
    refused = [words for words, is_so in reasons.items() if is_so]
    return PolishedObject(
        problem.name,
        given if refused else pose,
        not refused,
        refused[0] if refused else "the exact IoU rose",
        before[k],
        after[k],
        kept[0],
        kept[1],
    )


def _state(problem: ObjectProblem, pose: ObjectPose, config: FitConfig) -> ObjectState:
    def tensor(value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value)[None]).to(problem.verts)

    t = pose.t + pose.s * pose.R @ problem.centre
    return ObjectState(tensor(pose.R), tensor(t), tensor(np.log(pose.s)), problem.view(config.final))


def kept_terms(problem: ObjectProblem, config: PolishConfig, fit_config: FitConfig) -> list[Term[ObjectState]]:
    """Terms of the objective that say what pixels do not: size, contact, penetration, depth without contact."""
    stage = replace(fit_config.final, penetration=fit_config.final.penetration * config.penetration)
    silhouettes = ("outline on mask", "mask on outline", "depth order")
    left_out = silhouettes if config.contact else (*silhouettes, "contact")
    return [t for t in problem.terms(stage, fit_config) if t.name not in left_out]


def silhouette_losses(
    problem: ObjectProblem, start: ObjectState, renderer: Renderer, config: PolishConfig
) -> Callable[[ObjectState], Tensor]:
    """Loss of poses (B,): the renderer's silhouette and the exact outline against the visible mask.

    Cells in which something may hide the object count as far as the object, at the start, would stand before it.
    """
    camera, target, keep = _picture(problem, start, config.cells)
    faces, K = start.view.topology.faces, torch.as_tensor(camera.K.copy()).to(start.t)
    area = float((keep * target).sum().clamp_min(1.0))

    def loss(state: ObjectState) -> Tensor:
        verts = state.place(state.view.verts)
        total = torch.zeros_like(state.log_s)
        if config.silhouette > 0:
            alpha = renderer.silhouettes(verts, faces, camera)
            total = total + config.silhouette * silhouette_loss(alpha, target, keep)
        if config.region > 0:
            each = [mask_mismatch(one, faces, K, target, keep) for one in verts]
            total = total + config.region / area * torch.stack(each)
        return total

    return loss


def _picture(problem: ObjectProblem, start: ObjectState, cells: int) -> tuple[Camera, Tensor, Tensor]:
    """Camera of the square round the mask, the mask in it, and how much each cell counts."""
    region = problem.region
    n = min(cells, region.cells)
    camera = region.camera.resized(n, n)

    def smaller(field: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(field[None, None], (n, n), mode="area")[0, 0]

    verts = start.place(start.view.verts)
    points = torch.cat([region.project(verts), verts[..., 2:]], -1)
    depth = zbuffer(points, start.view.topology.faces, region.cells, region.cells)[0]
    stands = torch.where(torch.isfinite(depth), in_front(depth, region.front, SOFTNESS), 0.0)
    counts = torch.where(region.kind == HIDING, stands, torch.ones_like(stands))
    return camera, smaller((region.kind == VISIBLE).to(counts)), smaller(counts)
