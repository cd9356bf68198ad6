"""Who touches what in a joint fit: pairs of a body and an object, from contact maps or from given pairs of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from hoirecon.arrays import FloatArray, IntArray, as_floats
from hoirecon.contact_map import ContactMap
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.skeleton import JOINT_NAMES
from hoirecon.errors import InputError
from hoirecon.fitting.contact_pairs import body_contact_points, object_contact_points, sample_surface
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_contact import CentroidContact, Contact, PairContact, TransportContact
from hoirecon.fitting.joint_person import PersonToFit, model_of
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.objective import Term
from hoirecon.mesh import Mesh

Pair = tuple[ContactMap, ContactMap]
"""Contact probabilities on the body and on the object."""
PointPairs = tuple[IntArray | Sequence[int], FloatArray]
"""Vertices (N,) of a body, and the places (N, 3) of an object, object frame, that touch them."""
NORMAL_SAMPLES = 3000
"""Samples of an object from which the normals of its contact points are taken."""


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
    verts: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    """(H,) vertices of the body's contact points."""
    obj_normals: Tensor | None = None
    """(O, 3) outward, where transport asks for them."""
    paired: bool = False
    """Whether points are given pairs: place n touches point n."""

    def term(self, config: JointConfig, scale: float, dead_zone: float, name: str) -> Term[JointView]:
        """The contact term, in the form that the settings ask for; given pairs are always taken as such.

        Args:
            config: settings.
            scale: robust scale, metres.
            dead_zone: distance that costs nothing, metres.
            name: of the term.
        """
        points = (self.body, self.obj, self.places, self.body_weight, self.obj_points, self.obj_weight)
        noise = (config.contact_sigma, dead_zone, scale / config.contact_sigma, config.contact_weight, name)
        if self.paired:
            return PairContact(*points, config.contact_sigma, 0.0, *noise[2:])  # a pair knows where it touches
        # Weights of a thing that is touched anywhere sum to next to nothing: neither a mean nor a mass to transport.
        even = (*points[:-1], self.obj_weight / self.obj_weight.sum())
        if config.contact == "centroid":
            return CentroidContact(*even, *noise)
        if config.contact == "transport":
            return TransportContact(*even, *noise, verts=self.verts, obj_normals=self.obj_normals)
        return Contact(*points, *noise)


def on_feet(edge: Edge) -> bool:
    """Whether the body touches the object with a foot: it may stand on it, and its soles do not tell the ground."""
    return any(JOINT_NAMES[j].endswith(("ankle", "foot")) for j in edge.joints)


def by_pair(
    given: Sequence[Any | None] | Mapping[tuple[int, int], Any], people: int, objects: int, what: str
) -> dict[tuple[int, int], Any]:
    """Contacts or correspondences by (body, object); lists speak of the only body.

    Raises:
        InputError: a list with several bodies or of another length, or an index that is not there.
    """
    if not isinstance(given, Mapping):
        if people > 1:
            raise InputError(
                f"with several bodies say who touches what: {what}={{(body, object): (on_body, on_object)}}"
            )
        if len(given) != objects:
            raise InputError(f"got {len(given)} {what} for {objects} objects: give one (or None) for each")
        given = {(0, k): pair for k, pair in enumerate(given) if pair is not None}
    for i, k in given:
        if not (0 <= i < people and 0 <= k < objects):
            raise InputError(f"{what} speak of body {i} and object {k}, which are not there")
    return dict(given)


def check_points(
    pairs: Mapping[tuple[int, int], PointPairs], people: Sequence[PersonToFit]
) -> dict[tuple[int, int], tuple[IntArray, FloatArray]]:
    """Given pairs as arrays.

    Raises:
        InputError: other shapes, no pair, or vertices that the body does not have.
    """
    found = {}
    for (i, k), (verts, points) in pairs.items():
        index = np.asarray(verts)
        places = as_floats(points, ("N", 3), "points of the correspondences")
        count = len(people[i].body.verts)
        bad = index.ndim != 1 or index.dtype.kind not in "iu" or len(index) != len(places) or len(index) == 0
        if bad or index.min() < 0 or index.max() >= count:
            raise InputError(
                f"correspondences of body {i} and object {k} are N vertices of the body, 0 to {count - 1}, and N "
                f"points (N, 3) on the object, N >= 1; got {index.dtype} {index.shape} and {places.shape}"
            )
        found[i, k] = (index.astype(np.int64), places)
    return found


def maps_of_points(verts: IntArray, points: FloatArray, person: PersonToFit, mesh: Mesh, reach: float = 0.02) -> Pair:
    """Contact maps that say what given pairs say, for stages that take maps: the object's vertices near its points."""
    on_body = np.zeros(len(person.body.verts))
    on_body[verts] = 1.0
    gap, _ = cKDTree(points).query(mesh.verts)
    on_object = (gap < reach).astype(np.float64)
    on_object[cKDTree(mesh.verts).query(points)[1]] = 1.0
    return ContactMap(on_body, person.body.topology), ContactMap(on_object, mesh.topology)


def make_edges(
    people: Sequence[PersonToFit],
    objects: Sequence[ObjectToFit],
    contacts: Mapping[tuple[int, int], Pair],
    config: JointConfig,
    device: torch.device | str,
    dtype: torch.dtype,
    correspondences: Mapping[tuple[int, int], tuple[IntArray, FloatArray]] | None = None,
) -> tuple[list[Edge], list[list[int]]]:
    """The pairs that touch, and per person the contact vertices in the order of its edges."""
    edges: list[Edge] = []
    verts: list[list[int]] = [[] for _ in people]
    given = correspondences or {}
    for i, k in sorted({*contacts, *given}):
        if (i, k) in given:
            index, points = given[i, k]
            weights = np.full(len(index), 1 / len(index)), np.full(len(index), 1 / len(index))
        else:
            skin = body_contact_points(people[i].body.mesh, contacts[i, k][0], config.objects.contact_points)
            thing = object_contact_points(
                objects[k].mesh, contacts[i, k][1], config.objects.contact_points, config.objects.seed
            )
            if len(skin.points) == 0 or len(thing.points) == 0:
                continue
            assert skin.index is not None
            index, points, weights = skin.index, thing.points, (skin.weights, thing.weights)
        landmarks = people[i].keypoints
        first = len(verts[i]) + (0 if landmarks is None else len(landmarks.xy))
        places = slice(first, first + len(index))
        verts[i] += index.tolist()
        edges.append(_edge(i, k, places, index, points, weights, people[i], objects[k], (i, k) in given, config))
    return [_on(edge, device, dtype) for edge in edges], verts


def _edge(
    i: int,
    k: int,
    places: slice,
    index: IntArray,
    points: FloatArray,
    weights: tuple[FloatArray, FloatArray],
    person: PersonToFit,
    obj: ObjectToFit,
    paired: bool,
    config: JointConfig,
) -> Edge:
    mesh = obj.mesh
    centre = (mesh.verts.min(0) + mesh.verts.max(0)) / 2
    joints = _touching(model_of(person), index, weights[0], config.touching)
    values = [torch.as_tensor(v) for v in (weights[0], points - centre, weights[1])]
    normals = torch.as_tensor(_normals_at(mesh, points)) if config.contact == "transport" and not paired else None
    return Edge(i, k, places, values[0], values[1], values[2], joints, torch.as_tensor(index), normals, paired)


def _on(edge: Edge, device: torch.device | str, dtype: torch.dtype) -> Edge:
    """The edge's tensors where the fit computes."""

    def moved(x: Tensor) -> Tensor:
        return x.to(device=device, dtype=dtype)

    return replace(
        edge,
        body_weight=moved(edge.body_weight),
        obj_points=moved(edge.obj_points),
        obj_weight=moved(edge.obj_weight),
        verts=edge.verts.to(device),
        obj_normals=None if edge.obj_normals is None else moved(edge.obj_normals),
    )


def _normals_at(mesh: Mesh, points: FloatArray) -> FloatArray:
    """(N, 3) normals of the faces nearest to points on the surface."""
    samples = sample_surface(mesh, NORMAL_SAMPLES)
    a, b, c = (mesh.verts[samples.faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    _, nearest = cKDTree(samples.interpolate(mesh.verts)).query(points)
    return np.asarray(normals[nearest])


def _touching(model: BodyModel, verts: Any, weights: FloatArray, share: float) -> tuple[int, ...]:
    """Joints that carry at least a share of the contact; fingers count with their hand's wrist too, see the chain.

    Of contact so spread out that no joint has its share (somebody lies on a bed) those that carry half as much as the
    one that carries most: a body that touches moves.
    """
    joint = model.weights[torch.as_tensor(verts)].argmax(1).cpu().numpy()
    hand = np.where(joint >= 37, 21, np.where(joint >= 22, 20, joint))
    mass = np.bincount(hand, weights, minlength=52)
    least = share if mass.max() >= share else mass.max() / 2
    parts = np.nonzero(mass >= least)[0]
    return tuple(sorted({int(j) for j, h in zip(joint, hand, strict=True) if h in parts} | {int(j) for j in parts}))
