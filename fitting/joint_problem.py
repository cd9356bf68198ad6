"""What a joint fit prepares once: people, objects, the graph of who touches what, and the objective of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import torch
from scipy.spatial import cKDTree

from hoirecon.data.body.state import FreeParams
from hoirecon.fitting.contour import Region, with_depths
from hoirecon.fitting.fit_config import StageConfig
from hoirecon.fitting.ground import AboveGround, BodyAboveGround, Ground, OnGround
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_edges import Edge as Edge
from hoirecon.fitting.joint_edges import make_edges as make_edges
from hoirecon.fitting.joint_person import Person
from hoirecon.fitting.joint_state import FIXED, NUM_BODY_JOINTS, JointState, Layout, RegionStack, chain_joints
from hoirecon.fitting.joint_terms import BodyInObject, ObjectInBody, ObjectInObject, OnObject
from hoirecon.fitting.joint_view import Figure, JointView
from hoirecon.fitting.object_problem import ObjectProblem
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.object_terms import DepthPrior, ScalePrior
from hoirecon.fitting.objective import Term
from hoirecon.fitting.resting import NearPeople
from hoirecon.fitting.surface_contact import ObjectOnSkin, SkinOnObject
from hoirecon.fitting.term_names import thing_names, weighed
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose

NEAR_OBJECT = 0.2
"""Skin within this of an object, in any hypothesis, is asked for penetration, metres."""


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
    ground: Ground | None = None
    """What things stand on, if it is known."""
    resting: frozenset[int] = frozenset()
    """Objects that stand on it."""

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
            label = f" ({self.thing_name(k)})" if len(self.objects) > 1 else ""
            own = [*problem.contour_terms(stage, c.objects), ScalePrior(*problem.scale_prior)]
            if k in self.resting:  # the ground tells the depth
                own.append(NearPeople(problem.body_depth))
            elif not self.touched(k):
                own.append(DepthPrior(problem.body_depth, c.objects.depth_sigma * problem.body_depth))
            own += [*self._grounding(k), *problem.extra]
            terms += [OnObject(term, k, label) for term in own]
        for i, person in enumerate(self.people):
            if any(edge.body == i for edge in self.edges):
                terms += person.terms(i, f" ({self.body_name(i)})" if len(self.people) > 1 else "", c)
                terms += self._feet(i)
        for edge in self.edges:
            label = f" ({self.body_name(edge.body)}, {self.thing_name(edge.obj)})" if several else ""
            terms.append(edge.term(c, stage.contact_scale, stage.dead_zone, "contact" + label))
            terms += self._surfaces(edge, label)
        terms += [*self._penetration(stage), *self._apart(stage)]
        return [*weighed(terms, c.factors), *self.extra]

    def _surfaces(self, edge: Edge, label: str) -> list[Term[JointView]]:
        """How far touching points are from the other's surface; given pairs know where they touch."""
        c = self.config
        if c.surface_weight == 0 or edge.paired or len(self.people[edge.body].figure.surface) == 0:
            return []
        who, noise = (edge.body, edge.obj), (c.surface_sigma, c.surface_gap, c.surface_weight)
        skin = SkinOnObject(*who, edge.places, edge.body_weight, self.objects[edge.obj].object_grid, *noise)
        thing = ObjectOnSkin(*who, edge.obj_points, edge.obj_weight, *noise)
        return [replace(skin, name=skin.name + label), replace(thing, name=thing.name + label)]

    def touched(self, obj: int) -> bool:
        """Whether anybody touches an object."""
        return any(edge.obj == obj for edge in self.edges)

    def _grounding(self, obj: int) -> list[Term[ObjectState]]:
        """What nobody touches: if it rests it stays on the ground, and it does not sink into one that was given."""
        terms: list[Term[ObjectState]] = []
        verts, ground, weight = self.objects[obj].verts, self.ground, self.config.support_weight
        if ground is not None and obj in self.resting:
            terms.append(OnGround(verts, ground, weight=weight))
        if ground is not None and ground.source == "given" and not self.objects[obj].extra:
            terms.append(AboveGround(verts, ground))
        return terms

    def _feet(self, body: int) -> list[Term[JointView]]:
        """Feet do not sink into a ground that was given (from a guess, they are on it by construction)."""
        if self.ground is None or self.ground.source != "given":
            return []
        model = self.people[body].figure.model
        feet = torch.as_tensor(model.parts.verts_of("left_foot", "right_foot")[::4].copy(), device=model.device)
        label = f" ({self.body_name(body)})" if len(self.people) > 1 else ""
        return [BodyAboveGround(body, feet, self.ground, name="feet above ground" + label)]

    def _apart(self, stage: StageConfig) -> list[Term[JointView]]:
        """Objects do not intersect, both ways."""
        c = self.config
        weight = stage.penetration * c.objects.penetration_weight
        terms: list[Term[JointView]] = []
        for a, b in permutations(range(len(self.objects)), 2) if weight > 0 else ():
            label = f" ({self.thing_name(a)}, {self.thing_name(b)})"
            points, grid = self.objects[a].object_points, self.objects[b].object_grid
            noise = (c.penetration_sigma, c.objects.penetration_tolerance, weight)
            terms.append(ObjectInObject(a, b, points, grid, *noise, name="object in object" + label))
        return terms

    def thing_name(self, index: int) -> str:
        """Name of an object in the names of terms; numbered where several are called the same."""
        return thing_names([o.name for o in self.objects])[index]

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
                label = f" ({self.body_name(i)}, {self.thing_name(k)})" if many else ""
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
        """The problem with the outline of each body sampled anew, from one hypothesis, before or behind its objects."""
        row = torch.tensor([index], device=state.bodies[0].transl.device)
        people = list(self.people)
        if self.objects and any(p.region is not None for p in people):
            objects = self.posed(state, index)[1]
            people = [p.among(objects, self.observation) for p in people]
        people = [p.outlined(b.select(row)) for p, b in zip(people, state.bodies, strict=True)]
        return replace(self, people=tuple(people))

    def redrawn(self, state: JointState) -> JointState:
        """The hypotheses with what hides each object drawn anew from where bodies and other objects now are."""
        meshes = [self.posed(state, b) for b in range(len(state))]
        objects = []
        for k, pose in enumerate(state.objects):
            depths = [self._region(k, *meshes[b]) for b in range(len(state))]
            objects.append(pose.seen_by(replace(pose.view, region=RegionStack.of(depths))))
        return replace(state, objects=tuple(objects))

    def _region(self, k: int, bodies: list[Mesh], objects: list[Mesh]) -> Region:
        seen, others = self.observation, [j for j in range(len(objects)) if j != k]
        placed = tuple((seen.object_masks[j], objects[j]) for j in others)
        person = (seen.person_mask, together(bodies))
        return with_depths(self.objects[k].region, seen.object_masks[k], person, seen.occluders, placed)

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
