"""Named parts that touch, for the joint fit: which part of the body meets which part of the object.

Contact labels say where each surface is touched, not what touches what; an estimator that knows the pairs says more. A
palm then meets the bar with the side it touches with, however near the bar lies to the back of the hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.protocols import ContactObject, PartPair
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.skinning import forward_kinematics
from hoirecon.errors import InputError
from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.object_terms import shrink
from hoirecon.fitting.objective import Residuals
from hoirecon.mesh import Mesh

SAMPLES = 300
"""Points on a part of the object among which the skin finds its own."""


@dataclass(frozen=True)
class PartContactConfig:
    """Settings of :class:`PartsMeet`."""

    probability: float = 0.4
    """Pairs less sure than this are left to the contact maps; of a part of the body only the surest counts."""
    margin: float = 0.1
    """Nor does the surest count, if by less than this: fingers that may as well lie on the bottom of a box as on its
    side would drag it to where both hold."""
    sigma: float = 0.01
    """Noise of the meeting point, metres."""
    dead_zone: float = 0.004
    """Distance that costs nothing, metres: flesh gives way."""
    robust: float = 8.0
    """Geman-McClure scale in sigmas: parts that are kept apart by much more are more likely not to touch."""
    facing: float = 0.05
    """Distance that two surfaces which face the same way count as farther apart than two that face each other, metres;
    tells the palm from the back of the hand."""
    closest: int = 6
    """Vertices of a part, those nearest to the object, that are meant to touch."""
    weight: float = 2.0
    """Effective number of measurements of each pair."""

    def __post_init__(self) -> None:
        if (
            min(self.sigma, self.robust, self.closest) <= 0
            or min(self.dead_zone, self.facing, self.weight, self.margin) < 0
        ):
            raise InputError(
                "sigma, robust and closest must be positive, dead_zone, facing, weight and margin not negative"
            )


@dataclass(frozen=True)
class PartsMeet:
    """One part of a body meets one part of an object; a term of the joint fit."""

    body: int
    obj: int
    verts: Tensor
    """(N,) vertices of the body's part."""
    rest_normals: Tensor
    """(N, 3) outward, rest pose."""
    points: Tensor
    """(P, 3) of the object's part, centred object frame."""
    normals: Tensor
    """(P, 3) outward, object frame."""
    config: PartContactConfig
    weight: float
    name: str

    @property
    def robust(self) -> float:
        """As the settings'."""
        return self.config.robust

    def residuals(self, view: JointView) -> Residuals:
        """(B, K, 3) offsets of the K closest vertices from their points, beyond the dead zone."""
        c = self.config
        skin, J_skin = view.on_body(self.body, self.verts)
        thing, J_thing = view.on_object(self.obj, self.points)
        out = posed_normals(view, self.body, self.verts, self.rest_normals)
        own, other = _closest(skin, out, thing, self.normals @ view.state.objects[self.obj].R.mT, c)
        offset = _rows(thing, other) - _rows(skin, own)
        r, slope = shrink(offset, c.dead_zone)
        J = _rows(J_thing.flatten(2), other) - _rows(J_skin.flatten(2), own)
        J = slope @ J.view(*r.shape, -1)
        w = torch.full_like(r[..., 0], 1 / r.shape[1])
        return Residuals(r / c.sigma, J / c.sigma, w, c.sigma * 1e3, "mm")


def posed_normals(view: JointView, body: int, verts: Tensor, rest: Tensor) -> Tensor:
    """(B, N, 3) normals of vertices of a body, turned from the rest pose with their joints."""
    model, state = view.figures[body].model, view.state.bodies[body]
    with torch.no_grad():
        turn, _ = forward_kinematics(state.rotations, model.rest_joints(state.betas))
        blend = (model.weights[verts] @ turn.flatten(2)).view(len(turn), -1, 3, 3)
        return torch.nn.functional.normalize((blend @ rest[..., None])[..., 0], dim=-1)


def _closest(
    skin: Tensor, skin_normals: Tensor, thing: Tensor, thing_normals: Tensor, c: PartContactConfig
) -> tuple[Tensor, Tensor]:
    """(B, K) the closest vertices and (B, K) the point of each, surfaces that face each other preferred."""
    with torch.no_grad():
        alike = 1 + skin_normals @ thing_normals.mT
        far = torch.cdist(skin, thing) + c.facing / 2 * alike
        distance, point = far.min(2)
        own = distance.topk(min(c.closest, distance.shape[1]), 1, largest=False).indices
    return own, point.gather(1, own)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def part_terms(
    model: BodyModel,
    obj: ContactObject,
    pairs: Sequence[PartPair],
    index: int = 0,
    body: int = 0,
    config: PartContactConfig | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[PartsMeet]:
    """The terms of all sure pairs of one body and one object, for ``fit(..., terms=...)``.

    Args:
        model: of the body; names its parts.
        obj: the object with its parts.
        pairs: which part touches which.
        index: of the object in the joint fit.
        body: of the body in the joint fit.
        config: settings.
        dtype: of the joint fit.
    """
    config = config or PartContactConfig()
    rest = Mesh(model.rest_verts, model.faces).vert_normals
    centre = (obj.mesh.verts.min(0) + obj.mesh.verts.max(0)) / 2
    terms = []
    for pair in surest(pairs, config.probability, config.margin):
        if pair.body_part not in model.parts.names:
            continue
        ids = model.parts.verts_of(pair.body_part)
        points, normals = _part_surface(obj, pair.object_part)
        skin, thing, facing = (torch.as_tensor(a, dtype=dtype) for a in (rest[ids], points - centre, normals))
        name = f"{pair.body_part} at {pair.object_part}" + (f" ({index})" if index else "")
        weight = config.weight * pair.probability
        terms.append(PartsMeet(body, index, torch.as_tensor(ids.copy()), skin, thing, facing, config, weight, name))
    return terms


def surest(pairs: Sequence[PartPair], least: float, margin: float = 0.0) -> list[PartPair]:
    """Of each part of the body the most probable pair, if it is probable at all, and more so by a margin than the next.

    Args:
        pairs: of all parts.
        least: probability below which a pair does not count.
        margin: by how much a pair must be more probable than any other of the same part of the body.
    """
    ranked: dict[str, list[PartPair]] = {}
    for pair in sorted(pairs, key=lambda p: -p.probability):
        ranked.setdefault(pair.body_part, []).append(pair)
    rivals = [(own[0], own[1].probability if len(own) > 1 else -np.inf) for own in ranked.values()]
    return [best for best, rival in rivals if best.probability >= least and best.probability - rival >= margin]


def _part_surface(obj: ContactObject, part: str) -> tuple[FloatArray, FloatArray]:
    """Points all over a part and their normals, object frame."""
    ids: IntArray = obj.part_verts(part)
    faces = obj.mesh.faces[np.isin(obj.mesh.faces, ids).all(axis=1)]
    if len(faces) == 0:
        return obj.mesh.verts[ids], obj.mesh.vert_normals[ids]
    own = Mesh(obj.mesh.verts, faces, part)
    samples = sample_surface(own, SAMPLES)
    corners = own.verts[samples.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return samples.interpolate(own.verts), normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
