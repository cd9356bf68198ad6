"""What a joint fit prepares once: people, objects, the graph of who touches what, and the objective of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.contact_map import ContactMap
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.state import FreeParams
from hoirecon.fitting.contact_pairs import body_contact_points, object_contact_points
from hoirecon.fitting.contour import Region, make_region
from hoirecon.fitting.fit_config import StageConfig
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_person import Person, PersonToFit, model_of
from hoirecon.fitting.joint_state import FIXED, NUM_BODY_JOINTS, JointState, Layout, RegionStack, chain_joints
from hoirecon.fitting.joint_terms import BodyInObject, Contact, ObjectInBody, OnObject
from hoirecon.fitting.joint_view import Figure, JointView
from hoirecon.fitting.object_problem import ObjectProblem
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.object_terms import DepthPrior, ScalePrior
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Term
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose

NEAR_OBJECT = 0.2
"""Skin within this of an object, in any hypothesis, is asked for penetration, metres."""


@dataclass(frozen=True)
class Edge:
    """A body and an object that touch."""

    body: int
    obj: int
    places: slice
    """Of the contact points among the body's prepared points."""
    body_weight: Tensor
    obj_points: Tensor
    """(O, 3) centred object frame."""
    obj_weight: Tensor
    joints: tuple[int, ...]
    """Joints whose skin touches."""


@dataclass(frozen=True)
class JointProblem:
    """Everything that stays fixed while bodies and objects move."""

    observation: Observation
    people: tuple[Person, ...]
    objects: tuple[ObjectProblem, ...]
    meshes: tuple[Mesh, ...]
    """Of the objects, as given."""
    edges: tuple[Edge, ...]
    config: JointConfig
    extra: tuple[Term[JointView], ...] = ()
    """Terms of the user's own."""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What the terms see of the people."""
        return tuple(p.figure for p in self.people)

    def view(self, state: JointState) -> JointView:
        """Look at a state."""
        return JointView(state, self.figures)

    def moving(self, chain: bool) -> list[FreeParams]:
        """What moves in each body: the chains to the touching parts, or all joints; nothing if nothing touches it."""
        free = []
        for i in range(len(self.people)):
            touching = [j for edge in self.edges if edge.body == i for j in edge.joints]
            joints = chain_joints(touching, self.config.fingers)
            if not chain:
                joints = (*range(NUM_BODY_JOINTS), *(j for j in joints if j >= NUM_BODY_JOINTS))
            free.append(FreeParams(joints, 0, True) if touching else FIXED)
        return free

    def terms(self, stage: StageConfig) -> list[Term[JointView]]:
        """The objective of a stage: the whole list, with its weights."""
        c, several = self.config, len(self.edges) > 1
        terms: list[Term[JointView]] = []
        for k, problem in enumerate(self.objects):
            label = f" ({problem.name})" if len(self.objects) > 1 else ""
            own = [*problem.contour_terms(stage, c.objects), ScalePrior(*problem.scale_prior)]
            if not any(edge.obj == k for edge in self.edges):
                own.append(DepthPrior(problem.body_depth, c.objects.depth_sigma * problem.body_depth))
            terms += [OnObject(term, k, label) for term in own]
        for i, person in enumerate(self.people):
            if any(edge.body == i for edge in self.edges):
                terms += person.terms(i, f" ({self.body_name(i)})" if len(self.people) > 1 else "", c)
        for edge in self.edges:
            label = f" ({self.body_name(edge.body)}, {self.objects[edge.obj].name})" if several else ""
            terms.append(self._contact(edge, stage, "contact" + label))
        return [*terms, *self._penetration(stage), *self.extra]

    def _contact(self, edge: Edge, stage: StageConfig, name: str) -> Contact:
        c = self.config
        robust = stage.contact_scale / c.contact_sigma
        values = (edge.body, edge.obj, edge.places, edge.body_weight, edge.obj_points, edge.obj_weight)
        return Contact(*values, c.contact_sigma, stage.dead_zone, robust, c.contact_weight, name)

    def _penetration(self, stage: StageConfig) -> list[Term[JointView]]:
        """Of all pairs of a body and an object that come near each other."""
        c = self.config
        many = len(self.people) * len(self.objects) > 1
        sigma, tolerance = c.penetration_sigma, c.objects.penetration_tolerance
        weight = stage.penetration * c.objects.penetration_weight
        terms: list[Term[JointView]] = []
        for i, person in enumerate(self.people):
            for k, problem in enumerate(self.objects):
                if weight == 0 or len(person.figure.surface) == 0:
                    continue
                label = f" ({self.body_name(i)}, {problem.name})" if many else ""
                names = ("body in object" + label, "object in body" + label)
                terms.append(BodyInObject(i, k, problem.object_grid, sigma, tolerance, weight, name=names[0]))
                terms.append(ObjectInBody(i, k, problem.object_points, sigma, tolerance, weight, name=names[1]))
        return terms

    def body_name(self, index: int) -> str:
        """Name of a body's block."""
        name = self.people[index].given.name
        return name if len(self.people) == 1 else f"{name} {index}"

    def seen_in(self, state: JointState, stage: StageConfig) -> JointState:
        """The hypotheses at the resolution of a stage."""
        objects = tuple(
            o.seen_by(replace(problem.view(stage), region=o.view.region))
            for o, problem in zip(state.objects, self.objects, strict=True)
        )
        return replace(state, objects=objects)

    def start(self, poses: Sequence[Sequence[ObjectPose]]) -> JointState:
        """Hypotheses (each one pose per object) with the bodies as they came in."""
        batch, c = len(poses), self.config
        objects = []
        for k, problem in enumerate(self.objects):
            like = problem.verts
            own = [h[k] for h in poses]
            R = torch.as_tensor(np.stack([p.R for p in own])).to(like)
            t = torch.as_tensor(np.stack([p.t + p.s * p.R @ problem.centre for p in own])).to(like)
            log_s = torch.as_tensor(np.log([p.s for p in own])).to(like)
            view = replace(problem.view(c.chain), region=RegionStack.of([problem.region] * batch))
            objects.append(ObjectState(R, t, log_s, view))
        everywhere = torch.zeros(batch, dtype=torch.long, device=self.people[0].start.transl.device)
        bodies = tuple(p.start.select(everywhere) for p in self.people)
        names = tuple(f"{o.name} {k}" if len(self.objects) > 1 else o.name for k, o in enumerate(self.objects))
        layout = Layout(names, tuple(self.body_name(i) for i in range(len(bodies))), (FIXED,) * len(bodies))
        return JointState(tuple(objects), bodies, layout)

    def with_surfaces(self, state: JointState) -> JointProblem:
        """The problem with the skin near the objects, in any hypothesis, asked for penetration."""
        placed = [o.place(p.object_points) for o, p in zip(state.objects, self.objects, strict=True)]
        tree = cKDTree(torch.cat([x.reshape(-1, 3) for x in placed]).detach().cpu().double().numpy())
        people = []
        for person in self.people:
            near, _ = tree.query(person.mesh.verts, distance_upper_bound=NEAR_OBJECT)
            ids = np.nonzero(np.isfinite(near))[0]
            stride = max(1, int(np.ceil(len(ids) / self.config.surface_points)))
            surface = torch.as_tensor(ids[::stride].copy(), device=state.objects[0].t.device)
            people.append(replace(person, figure=replace(person.figure, surface=surface)))
        return replace(self, people=tuple(people))

    def outlined(self, state: JointState, index: int = 0) -> JointProblem:
        """The problem with the outline of each body sampled anew, from one hypothesis."""
        row = torch.tensor([index], device=state.bodies[0].transl.device)
        people = [p.outlined(b.select(row)) for p, b in zip(self.people, state.bodies, strict=True)]
        return replace(self, people=tuple(people))

    def redrawn(self, state: JointState) -> JointState:
        """The hypotheses with what hides each object drawn anew from where bodies and other objects now are."""
        meshes = [self.posed(state, b) for b in range(len(state))]
        objects = []
        for k, pose in enumerate(state.objects):
            regions = [self._region(k, *meshes[b]) for b in range(len(state))]
            base = self.objects[k].region
            depths = [replace(base, front=r.front, backdrop=r.backdrop, contour_front=r.contour_front) for r in regions]
            objects.append(pose.seen_by(replace(pose.view, region=RegionStack.of(depths))))
        return replace(state, objects=tuple(objects))

    def _region(self, k: int, bodies: list[Mesh], objects: list[Mesh]) -> Region:
        seen, like, problem = self.observation, self.objects[k].verts, self.objects[k]
        others = tuple((seen.object_masks[j], objects[j]) for j in range(len(objects)) if j != k)
        person = (seen.person_mask, together(bodies))
        return make_region(
            seen.object_masks[k], seen.camera, person, seen.occluders, others, problem.region.cells,
            like.device, like.dtype,
        )  # fmt: skip

    def posed(self, state: JointState, index: int) -> tuple[list[Mesh], list[Mesh]]:
        """Meshes of all bodies and all objects of one hypothesis, camera frame."""
        row = torch.tensor([index], device=state.objects[0].t.device)
        bodies = [p.posed(b.select(row)) for b, p in zip(state.bodies, self.people, strict=True)]
        return bodies, [
            m.with_verts(p.apply(m.verts)) for m, p in zip(self.meshes, self.poses(state, index), strict=True)
        ]

    def poses(self, state: JointState, index: int) -> list[ObjectPose]:
        """Poses of all objects of one hypothesis, for the meshes as given."""
        return [p.pose(o, index) for p, o in zip(self.objects, state.objects, strict=True)]


def together(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    if len(meshes) == 1:
        return meshes[0]
    shifts = np.cumsum([0, *(len(m.verts) for m in meshes[:-1])])
    faces = np.concatenate([m.faces + s for m, s in zip(meshes, shifts, strict=True)])
    return Mesh(np.concatenate([m.verts for m in meshes]), faces)


def make_edges(
    people: Sequence[PersonToFit],
    objects: Sequence[ObjectToFit],
    contacts: dict[tuple[int, int], tuple[ContactMap, ContactMap]],
    config: JointConfig,
    device: torch.device | str,
    dtype: torch.dtype,
) -> tuple[list[Edge], list[list[int]]]:
    """The pairs that touch, and per person the contact vertices in the order of its edges."""
    edges: list[Edge] = []
    verts: list[list[int]] = [[] for _ in people]

    def tensor(value: Any) -> Tensor:
        return torch.as_tensor(value, device=device, dtype=dtype)

    for (i, k), (on_body, on_object) in sorted(contacts.items()):
        mesh = objects[k].mesh
        skin = body_contact_points(people[i].body.mesh, on_body, config.objects.contact_points)
        thing = object_contact_points(mesh, on_object, config.objects.contact_points, config.objects.seed)
        if len(skin.points) == 0 or len(thing.points) == 0:
            continue
        assert skin.index is not None
        centre = (mesh.verts.min(0) + mesh.verts.max(0)) / 2
        landmarks = people[i].keypoints
        first = len(verts[i]) + (0 if landmarks is None else len(landmarks.xy))
        verts[i] += skin.index.tolist()
        joints = _touching(model_of(people[i]), skin.index, skin.weights, config.touching)
        places = slice(first, first + len(skin.index))
        values = (tensor(skin.weights), tensor(thing.points - centre), tensor(thing.weights))
        edges.append(Edge(i, k, places, *values, joints))
    return edges, verts


def _touching(model: BodyModel, verts: Any, weights: FloatArray, share: float) -> tuple[int, ...]:
    """Joints that carry at least a share of the contact; fingers count with their hand's wrist too, see the chain."""
    joint = model.weights[torch.as_tensor(verts)].argmax(1).cpu().numpy()
    hand = np.where(joint >= 37, 21, np.where(joint >= 22, 20, joint))
    mass = np.bincount(hand, weights, minlength=52)
    parts = np.nonzero(mass >= share)[0]
    return tuple(sorted({int(j) for j, h in zip(joint, hand, strict=True) if h in parts} | {int(j) for j in parts}))
