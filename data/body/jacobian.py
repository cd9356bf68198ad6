"""Closed-form Jacobians of landmarks, vertices and joints with respect to pose, shape and translation.

A skinned point is a weighted sum of rigidly carried points, ``p = sum_j R_j (x_j - c_j rest_j) + c_j t_j`` with
``c_j`` the weight that hangs on joint j and R_j, t_j joint j's place in the world. Turning joint m by ``delta`` in its
own frame carries all that hangs on m and below about t_m::

    dp = (R_m delta) x sum_{j below m} (q_j - c_j t_m)        q_j = R_j (x_j - c_j rest_j) + c_j t_j

so one product with the ancestor mask and one cross product give all columns. Pose blend shapes move ``x_j`` too;
their part is exact and is left out where the model has none. The perturbation is that of ``state.retract``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from hoirecon.data.body.model import BodyModel, Landmarks
from hoirecon.data.body.skeleton import NUM_JOINTS, PARENTS, ancestors
from hoirecon.data.body.skinning import forward_kinematics, pose_features
from hoirecon.data.body.state import WITHOUT_HANDS, BodyState, FreeParams, cross_matrix
from hoirecon.errors import InputError


@dataclass(frozen=True, eq=False)
class BodyPoints:
    """Points of the body, prepared once per model: how much of each hangs on which joint.

    Made by :func:`points_of_landmarks`, :func:`points_of_verts` or :func:`points_of_joints`; joined by ``+``.
    """

    model: BodyModel
    idx: Tensor
    """(L, K) vertices of each point."""
    w: Tensor
    """(L, K) their weights; a row of zeros for a joint."""
    on_joint: Tensor
    """(L, 52) weight of each joint centre in each point; a row of zeros for a landmark."""

    def __len__(self) -> int:
        return len(self.idx)

    def __add__(self, other: BodyPoints) -> BodyPoints:
        if other.model is not self.model:
            raise InputError("points of two different body models cannot be joined: make both from one model")
        width = max(self.idx.shape[1], other.idx.shape[1])
        idx, w = (
            torch.cat([torch.nn.functional.pad(t, (0, width - t.shape[1])) for t in pair])
            for pair in ((self.idx, other.idx), (self.w, other.w))
        )
        return BodyPoints(self.model, idx, w, torch.cat([self.on_joint, other.on_joint]))

    @cached_property
    def hang(self) -> Tensor:
        """(L, K, 52) share of each vertex of each point that is carried by each joint."""
        return self.w[..., None] * self.model.weights[self.idx]

    @cached_property
    def share(self) -> Tensor:
        """(L, 52) ``c_j``: share of each point that is carried by each joint; rows sum to 1."""
        return self.hang.sum(1) + self.on_joint

    @cached_property
    def share_below(self) -> Tensor:
        """(L, 52) share that is carried by each joint and all joints below it."""
        return self.share @ _below(self.share.device, self.share.dtype)

    @cached_property
    def arm(self) -> Tensor:
        """(L, 52, 3) ``x_j - c_j rest_j`` for the mean shape."""
        verts = torch.einsum("lkj,lkc->ljc", self.hang, self.model.v_template[self.idx])
        return verts - self.hang.sum(1)[..., None] * self.model.joint_template

    @cached_property
    def arm_shape(self) -> Tensor:
        """(L, 52, 3, NB) change of :attr:`arm` per beta."""
        verts = torch.einsum("lkj,lkcn->ljcn", self.hang, self.model.shapedirs[self.idx])
        return verts - self.hang.sum(1)[..., None, None] * self.model.joint_shapedirs

    @cached_property
    def pose_shape(self) -> Tensor | None:
        """(L, K, 3, 9M) pose correctives of the vertices by the model's ``corrective_joints``, or None."""
        return None if self.model.correctives is None else self.model.correctives[self.idx]

    @cached_property
    def _pose_shape_of(self) -> dict[tuple[int, ...], Tensor]:
        return {}

    def pose_shape_of(self, joints: tuple[int, ...]) -> Tensor:
        """(L, 3K, 9M') correctives that follow some of the corrective joints, gathered once."""
        if joints not in self._pose_shape_of:
            assert self.pose_shape is not None
            rows = [self.model.corrective_joints.index(joint) for joint in joints]
            by_joint = self.pose_shape.view(*self.pose_shape.shape[:-1], -1, 9)[..., rows, :]
            self._pose_shape_of[joints] = by_joint.flatten(3).flatten(1, 2).contiguous()
        return self._pose_shape_of[joints]


def points_of_landmarks(model: BodyModel, landmarks: Landmarks) -> BodyPoints:
    """Prepare sparse landmarks, e.g. ``hoirecon.data.body.body_landmarks(model, "blazepose33")``."""
    idx = model.indices(landmarks.idx.reshape(-1)).view(landmarks.idx.shape)
    w = torch.as_tensor(landmarks.w.copy(), dtype=model.dtype, device=model.device)
    return BodyPoints(model, idx, w, w.new_zeros(len(idx), NUM_JOINTS))


def points_of_verts(model: BodyModel, vertices: Any) -> BodyPoints:
    """Prepare single vertices, (S,) indices."""
    idx = model.indices(vertices)[:, None]
    zeros = model.v_template.new_zeros
    return BodyPoints(model, idx, zeros(idx.shape) + 1, zeros(len(idx), NUM_JOINTS))


def points_of_joints(model: BodyModel, joints: Any = tuple(range(NUM_JOINTS))) -> BodyPoints:
    """Prepare joint centres, (S,) indices into the 52 joints."""
    index = torch.as_tensor(joints, device=model.device)
    on_joint = torch.eye(NUM_JOINTS, dtype=model.dtype, device=model.device)[index]
    return BodyPoints(model, index.new_zeros(len(index), 1), on_joint.new_zeros(len(index), 1), on_joint)


def landmarks_with_jacobian(
    model: BodyModel,
    state: BodyState,
    landmarks: Landmarks | BodyPoints,
    free: FreeParams = WITHOUT_HANDS,
) -> tuple[Tensor, Tensor]:
    """Positions of points of the body and their exact Jacobian, without autograd.

    Args:
        model: the body.
        state: (B,) bodies.
        landmarks: L points; prepare them once by ``points_of_*`` where they are used again and again.
        free: which parameters may move, in column order.

    Returns:
        points (B, L, 3), metres, and J (B, L, 3, D), D = ``free.size``, columns joints x 3, betas, transl:
        ``points(retract(state, delta, free)) = points + J @ delta + O(delta^2)``.

    Raises:
        InputError: points made for another model, or more free betas than the model has.
    """
    points = landmarks if isinstance(landmarks, BodyPoints) else points_of_landmarks(model, landmarks)
    if points.model is not model:
        raise InputError("the points were prepared for another body model (or dtype): prepare them from this one")
    if free.betas > model.num_betas:
        raise InputError(f"{free.betas} betas are free, but '{model.topology}' has only {model.num_betas}")
    world_R, world_t = forward_kinematics(state.rotations, model.rest_joints(state.betas))
    joints = torch.tensor(free.joints, device=world_R.device, dtype=torch.long)
    carried = _carried(points, state, world_R, world_t)
    pose = _turn_columns(points, joints, carried, world_R, world_t)
    correcting = [m for m, joint in enumerate(free.joints) if joint in model.corrective_joints]
    if correcting:
        part = _corrective_columns(points, tuple(free.joints[m] for m in correcting), state.rotations, world_R)
        pose = pose.index_add(3, torch.tensor(correcting, device=pose.device), part)
    columns = [pose.flatten(-2), _shape_columns(points, world_R)[..., : free.betas]]
    if free.transl:
        eye = torch.eye(3, dtype=pose.dtype, device=pose.device)
        columns.append(eye.expand(*pose.shape[:2], 3, 3))
    return carried.sum(2) + state.transl[:, None], torch.cat(columns, dim=-1)


def points_at(points: BodyPoints, state: BodyState) -> Tensor:
    """Only the positions (B, L, 3) of prepared points, differentiable; for trial steps that need no Jacobian."""
    world_R, world_t = forward_kinematics(state.rotations, points.model.rest_joints(state.betas))
    return _carried(points, state, world_R, world_t).sum(2) + state.transl[:, None]


def _carried(points: BodyPoints, state: BodyState, world_R: Tensor, world_t: Tensor) -> Tensor:
    """(B, L, 52, 3) ``q_j``: what each joint carries of each point, at its place in the world."""
    arm = points.arm + torch.einsum("ljcn,bn->bljc", points.arm_shape, state.betas)
    if points.pose_shape is not None:
        shift = pose_features(state.rotations, points.model.corrective_joints) @ points.pose_shape.flatten(0, 2).mT
        shift = shift.view(len(shift), *points.pose_shape.shape[:3])
        arm = arm + torch.einsum("lkj,blkc->bljc", points.hang, shift)
    return torch.einsum("bjrc,bljc->bljr", world_R, arm) + points.share[..., None] * world_t[:, None]


def _turn_columns(points: BodyPoints, joints: Tensor, carried: Tensor, world_R: Tensor, world_t: Tensor) -> Tensor:
    """(B, L, 3, M, 3) motion as each free joint turns all that it carries."""
    below = _below(carried.device, carried.dtype)[:, joints]
    lever = torch.einsum("bljr,jm->blmr", carried, below)
    lever = lever - points.share_below[:, joints, None] * world_t[:, None, joints]
    axes = world_R[:, None, joints].mT  # rows: the joint's own axes in the world
    turned: Tensor = torch.linalg.cross(axes, lever[..., None, :], dim=-1)  # (B, L, M, axis, 3)
    return turned.permute(0, 1, 4, 2, 3)


def _corrective_columns(points: BodyPoints, joints: tuple[int, ...], rotations: Tensor, world_R: Tensor) -> Tensor:
    """(B, L, 3, M', 3) motion by the pose blend shapes, which follow R - 1 of each of some joints."""
    batch, count = len(rotations), len(points)
    blend = torch.einsum("lkj,bjrc->lbrkc", points.hang, world_R).reshape(count, batch * 3, -1)
    per_feature = (blend @ points.pose_shape_of(joints)).view(count, batch, 3, len(joints), 9)
    turn = torch.einsum("bmrs,dsc->bmrcd", rotations[:, list(joints)], _generators(rotations.device, rotations.dtype))
    return torch.einsum("lbrmf,bmfd->blrmd", per_feature, turn.flatten(2, 3))


def _shape_columns(points: BodyPoints, world_R: Tensor) -> Tensor:
    """(B, L, 3, NB) motion per beta: by the vertices' own change, and by the joints' along the chain."""
    dirs = points.model.joint_shapedirs
    parents = torch.tensor(PARENTS[1:], device=dirs.device)
    bones = torch.cat([dirs[:1], dirs[1:] - dirs[parents]])
    eye = torch.eye(3, dtype=dirs.dtype, device=dirs.device).expand(len(world_R), 1, 3, 3)
    bones = torch.cat([eye, world_R[:, parents]], dim=1) @ bones
    own = torch.einsum("bjrc,ljcn->blrn", world_R, points.arm_shape)
    return own + torch.einsum("lj,bjrn->blrn", points.share_below, bones)


@lru_cache(maxsize=16)
def _below(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(52, 52): entry (j, m) is 1 if joint j is m or hangs below it."""
    mask = torch.zeros(NUM_JOINTS, NUM_JOINTS, dtype=dtype)
    for joint in range(NUM_JOINTS):
        mask[joint, list(ancestors(joint))] = 1
    return mask.to(device)


@lru_cache(maxsize=16)
def _generators(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(3, 3, 3) derivative of exp(delta) at 0 along each axis."""
    return cross_matrix(torch.eye(3, dtype=dtype, device=device))
