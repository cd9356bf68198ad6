"""The unknowns of a joint fit: named blocks of objects and bodies, several hypotheses at once.

A step (B, D) has one block per object (7 columns: turn, shift, log scale; see :mod:`hoirecon.fitting.object_state`),
then one per body (3 columns per free joint, shape, 3 of translation; see :mod:`hoirecon.data.body.state`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hoirecon.data.body.skeleton import ancestors
from hoirecon.data.body.state import BodyState, FreeParams
from hoirecon.data.body.state import retract as retract_body
from hoirecon.errors import InputError
from hoirecon.fitting.contour import Region
from hoirecon.fitting.object_state import DOF, ObjectState
from hoirecon.fitting.object_state import limit_step as limit_object_step

FIXED = FreeParams((), 0, False)
"""A body that does not move."""
NUM_BODY_JOINTS = 22
"""Joints below this index are the root and the body; the others are fingers."""


@dataclass(frozen=True)
class Layout:
    """Which columns of a step move what."""

    objects: tuple[str, ...]
    """Names of the objects."""
    bodies: tuple[str, ...]
    """Names of the bodies."""
    free: tuple[FreeParams, ...]
    """What moves in each body."""

    def __post_init__(self) -> None:
        names = [*self.objects, *self.bodies]
        if len(set(names)) < len(names) or len(self.bodies) != len(self.free):
            raise InputError(f"a joint fit needs different names for all objects and bodies, got {names}")

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Columns of each block, by name."""
        sizes = [DOF] * len(self.objects) + [free.size for free in self.free]
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        names = (*self.objects, *self.bodies)
        return {name: slice(ends[i], ends[i + 1]) for i, name in enumerate(names)}

    @property
    def size(self) -> int:
        """D, the length of a step."""
        return DOF * len(self.objects) + sum(free.size for free in self.free)

    def of_object(self, index: int) -> slice:
        """Columns of an object."""
        return self.columns[self.objects[index]]

    def of_body(self, index: int) -> slice:
        """Columns of a body."""
        return self.columns[self.bodies[index]]

    def widen(self, J: Tensor, columns: slice) -> Tensor:
        """(..., D) from the columns (..., d) of one block; all other columns are zero."""
        return torch.nn.functional.pad(J, (columns.start, self.size - columns.stop))


@dataclass(frozen=True)
class JointState:
    """A batch of B hypotheses, each with all objects and all bodies."""

    objects: tuple[ObjectState, ...]
    bodies: tuple[BodyState, ...]
    layout: Layout

    def __len__(self) -> int:
        return len(self.objects[0]) if self.objects else len(self.bodies[0].transl)

    def select(self, index: Tensor) -> JointState:
        """Some of the hypotheses."""
        objects = tuple(_select_object(o, index) for o in self.objects)
        return JointState(objects, tuple(b.select(index) for b in self.bodies), self.layout)

    def merge(self, part: JointState, index: Tensor) -> JointState:
        """These hypotheses with those at ``index`` replaced."""
        objects = tuple(o.merge(p, index) for o, p in zip(self.objects, part.objects, strict=True))
        bodies = tuple(_merge_body(b, p, index) for b, p in zip(self.bodies, part.bodies, strict=True))
        return JointState(objects, bodies, self.layout)

    def retract(self, step: Tensor) -> JointState:
        """The hypotheses after a step (B, D)."""
        layout = self.layout
        objects = tuple(o.retract(step[:, layout.of_object(k)]) for k, o in enumerate(self.objects))
        bodies = tuple(
            retract_body(b, step[:, layout.of_body(i)], layout.free[i]) if layout.free[i].size else b
            for i, b in enumerate(self.bodies)
        )
        return JointState(objects, bodies, layout)

    def freed(self, free: Sequence[FreeParams]) -> JointState:
        """The same hypotheses with other parameters of the bodies free to move."""
        return replace(self, layout=replace(self.layout, free=tuple(free)))

    def finite(self) -> Tensor:
        """(B,) whether all numbers of a hypothesis are finite."""
        parts = [t for o in self.objects for t in (o.R, o.t, o.log_s)]
        parts += [t for b in self.bodies for t in (b.rotations, b.betas, b.transl)]
        return torch.stack(
            [torch.isfinite(t).flatten(1).all(1) if t.ndim > 1 else torch.isfinite(t) for t in parts]
        ).all(0)


def _select_object(state: ObjectState, index: Tensor) -> ObjectState:
    picked = state.select(index)
    region = state.view.region
    if isinstance(region, RegionStack):
        return picked.seen_by(replace(state.view, region=replace(region, rows=region.rows[index])))
    return picked


def _merge_body(state: BodyState, part: BodyState, index: Tensor) -> BodyState:
    pairs = ((state.rotations, part.rotations), (state.betas, part.betas), (state.transl, part.transl))
    return BodyState(*(a.index_copy(0, index, b) for a, b in pairs))


def turn_and_shift_rows(free: FreeParams, joints: Sequence[int], turns: Tensor, shift: Tensor) -> Tensor:
    """(B, M + 1, 3, D) Jacobian of residuals that speak of M joints and the translation, by one body's free parameters.

    Args:
        free: what of the body is free; columns of other joints stay zero.
        joints: the M joints, all of them free.
        turns: (B, M, 3, 3) derivative of each joint's residual by its own turn.
        shift: (3, 3) derivative of the last residual by the translation.
    """
    J = turns.new_zeros(len(turns), len(joints) + 1, 3, free.size)
    for m, joint in enumerate(joints):
        J[:, m, :, free.joint_columns(joint)] = turns[:, m]
    if free.transl:
        J[:, -1, :, free.transl_columns] = shift
    return J


def limit_step(step: Tensor, layout: Layout, turn: float = 0.4, shift: float = 0.15) -> Tensor:
    """Shorten steps (B, D): no object farther than its models hold, no joint by more than ``turn`` radians, no body by
    more than ``shift`` metres."""
    ratio = torch.ones_like(step[:, 0])
    for k in range(len(layout.objects)):
        part = step[:, layout.of_object(k)]
        ratio = torch.minimum(ratio, _shortened(part, limit_object_step(part)))
    for i, free in enumerate(layout.free):
        part = step[:, layout.of_body(i)]
        sizes = [part[:, free.pose_columns].reshape(len(part), -1, 3).norm(dim=-1) / turn]
        if free.transl:
            sizes.append(part[:, free.transl_columns].norm(dim=-1, keepdim=True) / shift)
        most = torch.cat(sizes, 1)
        ratio = ratio if most.shape[1] == 0 else torch.minimum(ratio, 1 / most.amax(1).clamp_min(1.0))
    return step * ratio[:, None]


def _shortened(step: Tensor, limited: Tensor) -> Tensor:
    size = step.norm(dim=1)
    return torch.where(size > 0, limited.norm(dim=1) / size.clamp_min(1e-12), 1.0)


def chain_joints(joints: Sequence[int], fingers: bool = False) -> tuple[int, ...]:
    """Joints on the way from the torso to those that touch, without the root, parents first.

    Args:
        joints: joints whose skin touches something.
        fingers: whether all fingers of a touching hand move; without, they move with its wrist.

    Example:
        >>> chain_joints([20])  # left wrist: spine, collar, shoulder, elbow, wrist
        (3, 6, 9, 13, 16, 18, 20)
    """
    path = {a for joint in joints for a in ancestors(joint) if 0 < a < NUM_BODY_JOINTS}
    hands = [] if not fingers else [h for wrist, h in ((20, range(22, 37)), (21, range(37, 52))) if wrist in path]
    return tuple(sorted([*path, *(j for hand in hands for j in hand)]))


@dataclass(frozen=True)
class RegionStack(Region):
    """A region whose hiding body stands differently in each of P hypotheses; all else is the same for all."""

    fronts: Tensor
    """(P, n, n) depth of the hiding thing, as :attr:`Region.front`."""
    backdrops: Tensor
    """(P, n, n) as :attr:`Region.backdrop`."""
    contour_fronts: Tensor
    """(P, Q) as :attr:`Region.contour_front`."""
    rows: Tensor
    """(B,) which of the P each problem of the batch is."""

    @classmethod
    def of(cls, regions: Sequence[Region]) -> RegionStack:
        """Stack regions that differ in depths alone."""
        first = regions[0]
        stacks = [torch.stack([getattr(r, name) for r in regions]) for name in ("front", "backdrop", "contour_front")]
        rows = torch.arange(len(regions), device=first.kind.device)
        shared = {name: getattr(first, name) for name in Region.__dataclass_fields__}
        return cls(**shared, fronts=stacks[0], backdrops=stacks[1], contour_fronts=stacks[2], rows=rows)

    def row(self, index: int) -> Region:
        """The region of one problem of the batch."""
        p = int(self.rows[index])
        shared = {name: getattr(self, name) for name in Region.__dataclass_fields__}
        depths = {"front": self.fronts[p], "backdrop": self.backdrops[p], "contour_front": self.contour_fronts[p]}
        return Region(**{**shared, **depths})

    def lookup(self, cells_xy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As :meth:`Region.lookup`, for points (B, N, 2)."""
        fixed = cells_xy.detach()
        kind, value, slope, _ = super().lookup(fixed)
        if cells_xy.requires_grad:  # for autograd: the field is linear in each cell, its slope is known
            value = value + (slope * (cells_xy - fixed)).sum(-1)
        return kind, value, slope, self._own(self.fronts, self._nearest_cell(*fixed.unbind(-1)))

    def body_behind(self, cells_xy: Tensor) -> Tensor:
        """As :meth:`Region.body_behind`, for points (B, N, 2)."""
        return self._own(self.backdrops, self._nearest_cell(*cells_xy.unbind(-1)))

    def contour_points(self, count: int) -> tuple[Tensor, Tensor]:
        """At most ``count`` contour points (M, 2) and the depth beside them in each problem (B, M)."""
        total = len(self.contour)
        index = torch.linspace(0, total - 1, min(count, total), device=self.contour.device).long()
        return self.contour[index], self.contour_fronts[self.rows][:, index]

    def _own(self, depths: Tensor, nearest: Tensor) -> Tensor:
        """Cells (B, N) of the depths (P, n, n) of each problem."""
        return depths.flatten(1).reshape(-1)[nearest + (self.rows * self.cells**2)[:, None]]
