"""The arithmetic of the body's forward: rest shape, kinematic tree, skinning.

The layout is component-major, (3, V): skinning is then one matrix product per batch and three fused multiply-adds
over long rows, faster on a CPU than the textbook (V, 4, 4) form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hoirecon.data.body.skeleton import NUM_JOINTS, PARENTS, ancestors

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel


@dataclass(frozen=True)
class Columns:
    """The model's arrays with vertices last, so that products run over long contiguous rows."""

    template: Tensor
    """(3, V)."""
    shape: Tensor
    """(NB, 3, V)."""
    skin: Tensor
    """(52, V)."""
    pose_joints: tuple[int, ...]
    """M joints that have pose correctives; empty if none has."""
    pose: Tensor
    """(3, A + 1, 9M) correctives of the A vertices that have any, and a row of zeros for all others."""
    pose_row: Tensor
    """(V,) row of ``pose`` of each vertex."""

    @classmethod
    def of(cls, model: BodyModel) -> Columns:
        template, shape = model.v_template.mT.contiguous(), model.shapedirs.permute(2, 1, 0).contiguous()
        pose, row = _corrected_rows(model)
        return cls(template, shape, model.weights.mT.contiguous(), model.corrective_joints, pose, row)

    def take(self, index: Tensor) -> Columns:
        """The same for some vertices; ``index_select`` copies whole rows, ten times faster than ``[:, index]``."""
        template, shape, skin = (t.index_select(-1, index) for t in (self.template, self.shape, self.skin))
        pose = self.pose.index_select(1, self.pose_row[index])
        return Columns(template, shape, skin, self.pose_joints, pose, torch.arange(len(index), device=index.device))

    def rest(self, betas: Tensor, rotations: Tensor) -> Tensor:
        """(B, 3, S) shaped and pose-corrected vertices of the rest pose (SMPL eq. 6, 8, 9)."""
        rest = self.template + (betas @ self.shape.flatten(1)).view(len(betas), *self.template.shape)
        if self.pose_joints:
            features = pose_features(rotations, self.pose_joints)
            offsets = (features @ self.pose.flatten(0, 1).mT).view(len(features), *self.pose.shape[:2])
            rest = rest + offsets.index_select(-1, self.pose_row)
        return rest


def _corrected_rows(model: BodyModel) -> tuple[Tensor, Tensor]:
    """(3, A + 1, 9M) correctives and (V,) the row of each vertex in them: a third in the free body."""
    posedirs = model.correctives
    if posedirs is None:
        return model.v_template.new_zeros(3, 1, 0), torch.zeros(model.num_verts, dtype=torch.long, device=model.device)
    corrected = posedirs.flatten(1).any(dim=1)
    row = torch.where(corrected, corrected.cumsum(0) - 1, corrected.sum())
    rows = torch.cat([posedirs[corrected], posedirs.new_zeros(1, *posedirs.shape[1:])])
    return rows.transpose(0, 1).contiguous(), row


def pose_features(rotations: Tensor, joints: tuple[int, ...]) -> Tensor:
    """(B, 9M) entries of R - 1 of some joints below the root, row by row (SMPL eq. 9)."""
    eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (rotations[:, list(joints)] - eye).flatten(1)


def forward_kinematics(rotations: Tensor, rest_joints: Tensor) -> tuple[Tensor, Tensor]:
    """World rotation (B, 52, 3, 3) and position (B, 52, 3) of every joint.

    All joints climb at once, by 1, 2, 4 and 8 generations: four products for a tree 11 levels deep, where a loop
    over joints needs 51 and one over levels 10.

    Args:
        rotations: (B, 52, 3, 3) relative to the parent.
        rest_joints: (B, 52, 3) metres.
    """
    batch = len(rotations)
    hops = _hops(rotations.device)
    parents = hops[0][1:NUM_JOINTS]
    offsets = torch.cat([rest_joints[:, :1], rest_joints[:, 1:] - rest_joints[:, parents]], dim=1)
    local = torch.cat([rotations, offsets[..., None]], dim=-1)  # (B, 52, 3, 4)
    bottom = local.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(batch, NUM_JOINTS, 1, 4)
    identity = torch.eye(4, dtype=local.dtype, device=local.device).expand(batch, 1, 4, 4)
    T = torch.cat([torch.cat([local, bottom], dim=2), identity], dim=1)  # the 53rd stands above the root
    for hop in hops:
        T = T[:, hop] @ T
    return T[:, :NUM_JOINTS, :3, :3], T[:, :NUM_JOINTS, :3, 3]


@lru_cache(maxsize=8)
def _hops(device: torch.device) -> tuple[Tensor, ...]:
    """Ancestor of each joint 1, 2, 4, ... generations up; index 52 is the place above the root."""
    above = NUM_JOINTS
    hop = [p if p >= 0 else above for p in PARENTS] + [above]
    depth = max(len(ancestors(j)) for j in range(NUM_JOINTS))
    hops = []
    for _ in range((depth - 1).bit_length()):
        hops.append(torch.tensor(hop, device=device))
        hop = [hop[h] for h in hop]
    return tuple(hops)


def skin_verts(rest: Tensor, skin: Tensor, world_R: Tensor, world_t: Tensor, rest_joints: Tensor) -> Tensor:
    """Linear blend skinning (SMPL eq. 2-4): (B, S, 3) from rest vertices (B, 3, S) and weights (52, S)."""
    batch = len(world_R)
    moved = world_t - (world_R @ rest_joints[..., None])[..., 0]
    transforms = torch.cat([world_R, moved[..., None]], dim=-1)  # x -> R (x - rest joint) + position
    rows = transforms.permute(0, 2, 3, 1).reshape(batch * 12, NUM_JOINTS)
    blend = (rows @ skin).view(batch, 3, 4, skin.shape[1])
    verts = torch.addcmul(blend[:, :, 3], blend[:, :, 0], rest[:, None, 0])
    verts = torch.addcmul(verts, blend[:, :, 1], rest[:, None, 1])
    verts = torch.addcmul(verts, blend[:, :, 2], rest[:, None, 2])
    return verts.mT
