"""What the terms of a joint fit look at: points of bodies and objects, and how they move with a step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hoirecon.data.body.jacobian import BodyPoints, landmarks_with_jacobian, points_at, points_of_verts
from hoirecon.data.body.model import BodyModel
from hoirecon.data.body.skinning import forward_kinematics
from hoirecon.data.body.state import BodyState
from hoirecon.fitting.body_angles import joint_angles
from hoirecon.fitting.body_state import NUM_MOVED, FitState
from hoirecon.fitting.body_terms import BodyView
from hoirecon.fitting.joint_state import JointState
from hoirecon.fitting.object_state import pose_rows


@dataclass(frozen=True, eq=False)
class Figure:
    """One person, prepared: the body of a fixed shape and the points of it that terms ask for."""

    model: BodyModel
    """Of fixed shape, see :func:`with_shape`."""
    points: BodyPoints
    """Landmarks first, then the contact points of all edges."""
    twist_axis: Tensor
    """(21,) as in :class:`~hoirecon.fitting.pose_prior.PosePrior`."""
    surface: Tensor
    """(S,) vertices asked for penetration."""

    @cached_property
    def surface_model(self) -> BodyModel:
        """The same body with the vertices of :attr:`surface` alone."""
        m, ids = self.model, self.surface
        posedirs = None if m.posedirs is None else m.posedirs[ids]
        verts, shape, weights = m.v_template[ids], m.shapedirs[ids], m.weights[ids]
        return replace(m, v_template=verts, shapedirs=shape, weights=weights, posedirs=posedirs)

    @cached_property
    def rest_normals(self) -> Tensor:
        """(V, 3) outward normals of the vertices in the rest pose."""
        verts, faces = self.model.v_template, torch.as_tensor(self.model.faces.copy(), device=self.model.device)
        a, b, c = (verts[faces[:, k]] for k in range(3))
        area = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(verts)
        for k in range(3):
            total = total.index_add(0, faces[:, k], area)
        return torch.nn.functional.normalize(total, dim=-1)


def with_shape(model: BodyModel, betas: Tensor) -> BodyModel:
    """The model with a shape (NB,) built in and one coefficient left that does nothing."""
    verts = model.v_template + model.shapedirs @ betas
    joints = model.joint_template + model.joint_shapedirs @ betas
    return replace(
        model,
        v_template=verts,
        joint_template=joints,
        shapedirs=verts.new_zeros(*verts.shape, 1),
        joint_shapedirs=joints.new_zeros(*joints.shape, 1),
    )


@dataclass(frozen=True, eq=False)
class JointView:
    """A batch of B hypotheses as the terms see it; what several terms need is computed once.

    Terms of one's own need no more than :meth:`on_object` and :meth:`on_body`, or, where
    :func:`~hoirecon.fitting.own_term.own_term` finds the Jacobian, :meth:`object_points` and :meth:`body_points`.
    """

    state: JointState
    figures: tuple[Figure, ...]

    def on_object(self, index: int, points_obj: Tensor) -> tuple[Tensor, Tensor]:
        """Points (N, 3) of an object (its mesh centred on its box) in the camera frame.

        Returns:
            (B, N, 3) metres, and the derivative (B, N, 3, D) by a step.
        """
        pose = self.state.objects[index]
        at = pose.place(points_obj)
        eye = torch.eye(3, dtype=at.dtype, device=at.device).expand(*at.shape[:2], 3, 3)
        return at, self._widen(pose_rows(eye, at - pose.t[:, None]), self.state.layout.of_object(index))

    def on_body(self, index: int, verts: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices (N,) of a body in the camera frame: (B, N, 3) metres and the derivative (B, N, 3, D) by a step."""
        at, J = self.body_rows(index, verts)
        return at, self._widen(J, self.state.layout.of_body(index))

    def object_points(self, index: int, points_obj: Tensor) -> Tensor:
        """(B, N, 3) the points of :meth:`on_object` alone, which autograd can follow."""
        return self.state.objects[index].place(points_obj)

    def body_points(self, index: int, verts: Tensor) -> Tensor:
        """(B, N, 3) the vertices of :meth:`on_body` alone, which autograd can follow."""
        return points_at(points_of_verts(self.figures[index].model, verts), self.state.bodies[index])

    def body_normals(self, index: int, verts: Tensor) -> Tensor:
        """(B, N, 3) outward normals of vertices (N,) of a body, camera frame; not differentiated."""
        return _normals(self.figures[index], self.state.bodies[index], verts)

    def body_rows(self, index: int, verts: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`on_body`, but with the columns of that body alone."""
        model = self.figures[index].model
        body, free = self.state.bodies[index], self.state.layout.free[index]
        return landmarks_with_jacobian(model, body, points_of_verts(model, verts), free)

    def _widen(self, J: Tensor, columns: slice) -> Tensor:
        return self.state.layout.widen(J, columns)

    @cached_property
    def bodies(self) -> tuple[BodyView, ...]:
        """Prepared points and joint angles of each body, with the columns of that body alone."""
        return tuple(self._look_at(i) for i in range(len(self.figures)))

    def _look_at(self, index: int) -> BodyView:
        figure, body, free = self.figures[index], self.state.bodies[index], self.state.layout.free[index]
        at, J = landmarks_with_jacobian(figure.model, body, figure.points, free)
        angles, slopes = joint_angles(body.rotations[:, 1:NUM_MOVED], figure.twist_axis)
        J_angles = angles.new_zeros(len(angles), NUM_MOVED - 1, 3, free.size)
        for joint in free.joints:
            if 0 < joint < NUM_MOVED:
                J_angles[:, joint - 1, :, free.joint_columns(joint)] = slopes[:, joint - 1]
        return BodyView(FitState(body, body.transl[:, 0] * 0), at, J, angles.flatten(1), J_angles.flatten(1, 2))

    @cached_property
    def surfaces(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Of each body: vertices (B, S, 3) asked for penetration, and their outward normals (B, S, 3)."""
        return tuple(_surface(f, b) for f, b in zip(self.figures, self.state.bodies, strict=True))


def _surface(figure: Figure, body: BodyState) -> tuple[Tensor, Tensor]:
    model = figure.surface_model
    return body.forward(model).verts, _normals(figure, body, figure.surface)


@torch.no_grad()
def _normals(figure: Figure, body: BodyState, verts: Tensor) -> Tensor:
    turn, _ = forward_kinematics(body.rotations, figure.model.rest_joints(body.betas))
    blend = (figure.model.weights[verts] @ turn.flatten(2)).view(len(turn), -1, 3, 3)
    return torch.nn.functional.normalize((blend @ figure.rest_normals[verts][..., None])[..., 0], dim=-1)
