"""Poses of one object, many at once, and what several terms need to know about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import hoirecon.fitting.fused as fused
from hoirecon.fitting.contour import Region
from hoirecon.fitting.silhouette import EdgeTopology, silhouette_samples
from hoirecon.fitting.so3 import exp_so3

DOF = 7
"""Rotation vector, translation, logarithm of scale: the order of a step and of every Jacobian's columns."""
NEAR = 0.05
"""Points nearer to the camera than this are projected as if they were there, metres."""


@dataclass(frozen=True)
class Outline:
    """Samples on the outline of the object as posed."""

    points: Tensor
    """(B, N, 3) camera frame, metres."""
    cells: Tensor
    """(B, N, 2) projected, cells of the region."""
    outer: Tensor
    """(B, N) bool: on the outline; the others lie on inner silhouette edges and do not count."""
    along: Tensor
    """(B, N, 2) direction of each sample's edge, as long as the samples' spacing, cells: its piece of the outline."""


@dataclass(frozen=True)
class View:
    """What the poses look at; the same for all of them."""

    verts: Tensor
    """(V, 3) mesh of the silhouette, object frame, centred."""
    topology: EdgeTopology
    region: Region
    raster: int
    """Side of the coverage raster."""
    samples: int
    """Samples along the silhouette edges."""
    compiled: bool = True
    """Whether compiled loops may take the place of torch where they can."""

    @cached_property
    def arrays(self) -> tuple[Any, ...]:
        """The mesh for :mod:`hoirecon.fitting.fused`."""
        return fused.mesh_arrays(self.verts, self.topology)


@dataclass(frozen=True)
class ObjectState:
    """A batch of B poses ``x_cam = exp(log_s) R x_obj + t``.

    A step (B, 7) = (omega, tau, lambda) moves a point of the object by
    ``omega x (x - t) + tau + lambda (x - t)``: a turn about the object's centre, a shift, a change of size.
    """

    R: Tensor
    """(B, 3, 3)."""
    t: Tensor
    """(B, 3) metres."""
    log_s: Tensor
    """(B,)."""
    view: View

    def __len__(self) -> int:
        return len(self.t)

    @cached_property
    def compiled(self) -> bool:
        """Whether compiled loops take the place of torch here."""
        return self.view.compiled and fused.usable(self.R, self.t, self.log_s, self.view.verts)

    @cached_property
    def scaled_rotation(self) -> Tensor:
        """(B, 3, 3) ``s R``."""
        return self.R * self.log_s.exp()[:, None, None]

    def place(self, points_obj: Tensor) -> Tensor:
        """(B, N, 3) points (N, 3) of the object in the camera frame."""
        return points_obj @ self.scaled_rotation.transpose(1, 2) + self.t[:, None]

    def to_object(self, points_cam: Tensor) -> Tensor:
        """(B, N, 3) points (N, 3) or (B, N, 3) of the camera frame in the object frame, at the mesh's own size."""
        inverse = self.R * (-self.log_s).exp()[:, None, None]
        return (points_cam - self.t[:, None]) @ inverse

    @cached_property
    def outline(self) -> Outline:
        """Outline samples, shared by the two contour terms."""
        view = self.view
        if self.compiled:
            return Outline(*fused.outline(self))
        verts = self.place(view.verts)
        scale = view.raster / view.region.cells
        pixels = view.region.project(verts.transpose(0, 1).contiguous(), NEAR) * scale
        picked = silhouette_samples(pixels, view.topology, view.samples, view.raster)
        offset = torch.arange(len(self), device=verts.device)[:, None] * verts.shape[1]
        flat = verts.reshape(-1, 3)
        u = picked.u.detach()[..., None]  # samples ride on their edges: that is what the Jacobians say
        points = torch.lerp(flat[picked.a + offset], flat[picked.b + offset], u)
        return Outline(points, view.region.project(points, NEAR), picked.outer, picked.along.detach() / scale)

    @cached_property
    def arrays(self) -> fused.PoseArrays:
        """The poses for :mod:`hoirecon.fitting.fused`."""
        return fused.PoseArrays.of(self.R, self.scaled_rotation, self.log_s, self.t)

    @cached_property
    def outline_arrays(self) -> tuple[Any, ...]:
        """Translations and outline for :mod:`hoirecon.fitting.fused`."""
        found = self.outline
        return self.arrays.t, fused.vectors(found.points), fused.vectors(found.cells), fused.flags(found.outer)

    def retract(self, step: Tensor) -> ObjectState:
        """The poses after a step (B, 7)."""
        return ObjectState(exp_so3(step[:, :3]) @ self.R, self.t + step[:, 3:6], self.log_s + step[:, 6], self.view)

    def select(self, index: Tensor) -> ObjectState:
        """Some of the poses."""
        return ObjectState(self.R[index], self.t[index], self.log_s[index], self.view)

    def merge(self, part: ObjectState, index: Tensor) -> ObjectState:
        """These poses with those at ``index`` replaced."""
        return ObjectState(
            self.R.index_copy(0, index, part.R),
            self.t.index_copy(0, index, part.t),
            self.log_s.index_copy(0, index, part.log_s),
            self.view,
        )

    def seen_by(self, view: View) -> ObjectState:
        """The same poses with another view, e.g. a finer raster."""
        return replace(self, view=view)


def limit_step(step: Tensor, turn: float = 0.6, shift: float = 0.3, growth: float = 0.3) -> Tensor:
    """Shorten steps (B, 7) so that none turns, moves (metres) or grows (log) more than the models hold."""
    sizes = (step[:, :3].norm(dim=1) / turn, step[:, 3:6].norm(dim=1) / shift, step[:, 6].abs() / growth)
    return step / torch.stack(sizes).amax(0).clamp_min(1.0)[:, None]


def pose_rows(gradient: Tensor, arm: Tensor) -> Tensor:
    """Rows of the Jacobian of residuals whose derivative by the point is known.

    A step moves a point at arm ``a = x - t`` by ``omega x a + tau + lambda a``, so a residual with gradient g gets
    ``[a x g, g, g . a]``.

    Args:
        gradient: (B, N, C, 3) derivative of each residual by its point.
        arm: (B, N, 3).

    Returns:
        (B, N, C, 7).
    """
    gx, gy, gz = gradient.unbind(-1)
    ax, ay, az = (a[..., None] for a in arm.unbind(-1))
    turn = (ay * gz - az * gy, az * gx - ax * gz, ax * gy - ay * gx)
    return torch.stack([*turn, gx, gy, gz, gx * ax + gy * ay + gz * az], -1)


def projection_gradient(points: Tensor, focal: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Derivatives of the projection u = fx x/z + cx, v = fy y/z + cy: (du/dx, du/dz, dv/dy, dv/dz), each (...)."""
    x, y, z = points.unbind(-1)
    inverse = 1 / z.clamp_min(NEAR)
    moves = (z > NEAR).to(points.dtype)
    ux, vy = focal[0] * inverse, focal[1] * inverse
    return ux, -ux * x * inverse * moves, vy, -vy * y * inverse * moves
