"""Our own batched SMPL-H forward: shape and pose blend shapes, 52 joints, linear blend skinning.

Method: Loper et al., SMPL (SIGGRAPH Asia 2015), equations 2-10; the 52-joint layout is that of SMPL+H (Romero et al.,
2017). Written from the papers. Layout inside is component-major, (3, V): skinning is then one matrix product per
batch and three fused multiply-adds over long rows, twice as fast on a CPU as the textbook (V, 4, 4) form.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import roma
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.body_params import BodyParams
from hoirecon.data.body.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS, ancestors
from hoirecon.errors import InputError, TopologyError
from hoirecon.scene import SceneBody

if TYPE_CHECKING:
    from hoirecon.data.body.parts import BodyParts


@dataclass(frozen=True)
class BodyOutput:
    """Posed bodies, in the frame of ``transl`` (the camera frame in this library), metres."""

    verts: Tensor
    """(B, V, 3), or (B, S, 3) of a vertex subset in the subset's order."""
    joints: Tensor
    """(B, 52, 3)."""


@dataclass(frozen=True)
class Landmarks:
    """Sparse regressors: landmark l is ``sum_k w[l, k] * verts[idx[l, k]]``."""

    names: tuple[str, ...]
    """(L,) names in the layout's order."""
    idx: IntArray
    """(L, K) vertices; unused places point anywhere with weight 0."""
    w: FloatArray
    """(L, K) weights; every row sums to 1."""

    def take(self, names: tuple[str, ...] | list[str]) -> Landmarks:
        """Only the named landmarks, in the order given.

        Raises:
            InputError: a name that is not in the layout.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(f"no landmark is called '{missing[0]}'; there are: {', '.join(self.names)}")
        rows = [self.names.index(name) for name in names]
        return Landmarks(tuple(names), self.idx[rows], self.w[rows])


@dataclass(frozen=True)
class BodyAnnotations:
    """What a model file says about its vertices; a user's SMPL-H file has none (see ``parts.py``)."""

    part_names: tuple[str, ...]
    part_ids: IntArray
    """(V,) index into ``part_names``."""
    landmarks: dict[str, Landmarks]
    """By layout, e.g. ``blazepose33``."""
    mirror: IntArray
    """(V,) the vertex on the other side."""


@dataclass(frozen=True, eq=False)
class BodyModel:
    """An SMPL-H-layout body: T-pose, y up, +z front, the body's left at +x, metres.

    Poses are rotation vectors (radians) relative to the parent joint; the root turns about the pelvis joint and
    ``transl`` is added last, exactly as in the smplx package. Hand poses are full rotations (45 numbers a hand, no
    PCA) measured from the flat hand: the file's mean hand is NOT added unless ``add_hand_mean`` is set (smplx's
    ``flat_hand_mean=False``).
    """

    topology: str
    """Name of the mesh; a :class:`~hoirecon.body_params.BodyParams` for this model carries it."""
    faces: IntArray
    """(F, 3) outward."""
    v_template: Tensor
    """(V, 3) mean shape."""
    shapedirs: Tensor
    """(V, 3, NB) displacement per unit of each beta."""
    posedirs: Tensor | None
    """(V, 3, 459) pose correctives, or None where the file has none or zeros only."""
    joint_template: Tensor
    """(52, 3) rest joints of the mean shape (J_regressor @ v_template)."""
    joint_shapedirs: Tensor
    """(52, 3, NB) (J_regressor @ shapedirs); joints are linear in betas, so the regressor itself is not needed."""
    weights: Tensor
    """(V, 52) skinning weights; rows sum to 1."""
    hand_mean: Tensor
    """(2, 45) the file's mean left and right hand pose; used only on request."""
    annotations: BodyAnnotations | None = field(default=None, repr=False)
    """Parts, landmarks and mirror map stored in the file, if any."""
    licence: str = ""
    """What the file says about its licence."""

    @property
    def num_verts(self) -> int:
        """V."""
        return self.v_template.shape[0]

    @property
    def num_betas(self) -> int:
        """NB, the number of shape coefficients of this file."""
        return self.shapedirs.shape[2]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """(52,) SMPL-H names."""
        return JOINT_NAMES

    @property
    def parents(self) -> tuple[int, ...]:
        """(52,) parent of each joint, -1 for the root."""
        return PARENTS

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the model and of what it returns."""
        return self.v_template.dtype

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.v_template.device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> BodyModel:
        """The same model on another device and/or in another floating type; self if nothing changes."""
        device, dtype = torch.device(device or self.device), dtype or self.dtype
        if (device, dtype) == (self.device, self.dtype):
            return self
        tensors: dict[str, Any] = {k: v.to(device, dtype) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)

    def forward(
        self,
        betas: Tensor | None = None,
        global_orient: Tensor | None = None,
        body_pose: Tensor | None = None,
        left_hand_pose: Tensor | None = None,
        right_hand_pose: Tensor | None = None,
        transl: Tensor | None = None,
        vertex_subset: Any = None,
        *,
        add_hand_mean: bool = False,
    ) -> BodyOutput:
        """Pose a batch of bodies.

        Args:
            betas: (B, <= NB); missing ones are zero. None: the mean shape.
            global_orient: (B, 3) rotation vector of the root.
            body_pose: (B, 63) or (B, 21, 3).
            left_hand_pose: (B, 45) or (B, 15, 3).
            right_hand_pose: likewise.
            transl: (B, 3) metres. Every argument may be None (zeros); a batch of 1 is repeated to the others' B.
            vertex_subset: (S,) vertex indices; only these are computed (joints always are).
            add_hand_mean: add the file's mean hand pose to both hand poses (smplx's ``flat_hand_mean=False``).

        Returns:
            Vertices and joints, differentiable with respect to every argument.

        Raises:
            InputError: sizes that do not fit this model, or each other.
        """
        parts = (global_orient, body_pose, left_hand_pose, right_hand_pose)
        rotations = self.rotations(*parts, add_hand_mean=add_hand_mean)
        return self.forward_rotations(rotations, betas, transl, vertex_subset)

    __call__ = forward

    def rotations(
        self,
        global_orient: Tensor | None = None,
        body_pose: Tensor | None = None,
        left_hand_pose: Tensor | None = None,
        right_hand_pose: Tensor | None = None,
        *,
        add_hand_mean: bool = False,
    ) -> Tensor:
        """(B, 52, 3, 3) rotation of every joint relative to its parent, from rotation vectors."""
        named = {
            "global_orient": (global_orient, 1),
            "body_pose": (body_pose, 21),
            "left_hand_pose": (left_hand_pose, 15),
            "right_hand_pose": (right_hand_pose, 15),
        }
        given = [_joint_vectors(v, n, name, self) for name, (v, n) in named.items()]
        if add_hand_mean:
            given[2] = given[2] + self.hand_mean[0].view(1, 15, 3)
            given[3] = given[3] + self.hand_mean[1].view(1, 15, 3)
        batch = _common_batch([len(v) for v in given])
        rotvecs = torch.cat([v.expand(batch, -1, -1) for v in given], dim=1)
        matrices: Tensor = roma.rotvec_to_rotmat(rotvecs)
        return matrices

    def forward_rotations(
        self,
        rotations: Tensor,
        betas: Tensor | None = None,
        transl: Tensor | None = None,
        vertex_subset: Any = None,
    ) -> BodyOutput:
        """Like :meth:`forward` from rotation matrices (B, 52, 3, 3) relative to the parents."""
        betas = self.full_betas(betas)
        transl = self.v_template.new_zeros(1, 3) if transl is None else transl
        batch = _common_batch([len(rotations), len(betas), len(transl)])
        rotations = rotations.expand(batch, -1, -1, -1)
        rest_joints = self.rest_joints(betas)
        world_R, world_t = forward_kinematics(rotations, rest_joints.expand(batch, -1, -1))
        columns = self._columns if vertex_subset is None else self._columns.take(self.indices(vertex_subset))
        verts = _skin(columns.rest(betas, rotations), columns.skin, world_R, world_t, rest_joints)
        return BodyOutput(verts + transl[:, None], world_t + transl[:, None])

    def rest_joints(self, betas: Tensor) -> Tensor:
        """(B, 52, 3) joints of the shaped rest pose; ``betas`` (B, NB)."""
        offsets = betas @ self.joint_shapedirs.reshape(-1, self.num_betas).mT
        return self.joint_template + offsets.view(-1, NUM_JOINTS, 3)

    def full_betas(self, betas: Tensor | None) -> Tensor:
        """(B, NB) betas padded with zeros.

        Raises:
            InputError: more betas than the model has.
        """
        if betas is None:
            return self.v_template.new_zeros(1, self.num_betas)
        if betas.ndim != 2 or betas.shape[1] > self.num_betas:
            raise InputError(
                f"betas has shape {tuple(betas.shape)}, but '{self.topology}' takes (B, {self.num_betas}) or fewer"
            )
        return torch.nn.functional.pad(betas, (0, self.num_betas - betas.shape[1]))

    def indices(self, vertex_subset: Any) -> Tensor:
        """(S,) int64 indices on this model's device; refuses indices outside the mesh."""
        if not isinstance(vertex_subset, Tensor):
            vertex_subset = torch.tensor(np.asarray(vertex_subset))
        index: Tensor = vertex_subset.to(self.device)
        if index.ndim != 1 or index.is_floating_point() or index.dtype == torch.bool:
            raise InputError(f"a vertex subset is a 1D array of whole numbers, got {index.dtype} {tuple(index.shape)}")
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= self.num_verts):
            raise InputError(
                f"vertex indices {int(index.min())}..{int(index.max())} do not fit '{self.topology}' "
                f"with {self.num_verts} vertices"
            )
        return index.long()

    def pose(self, params: BodyParams) -> SceneBody:
        """Pose one body in numpy, float64: ``.verts`` (V, 3), ``.joints`` (52, 3), ``.faces``, ``.mesh``.

        Raises:
            TopologyError: the parameters are for another body model.
        """
        if params.topology != self.topology:
            raise TopologyError(
                f"the body parameters are for '{params.topology}', but the model is '{self.topology}': load that "
                f"model, or refit (shape coefficients of two models mean different things)"
            )
        tensors = [torch.tensor(v, device=self.device)[None] for v in params.arrays().values()]
        with torch.no_grad():
            out = self._double.forward(*tensors)
        return SceneBody(params, out.verts[0].cpu().numpy(), self.faces, out.joints[0].cpu().numpy())

    @property
    def rest_verts(self) -> FloatArray:
        """(V, 3) mean shape in the rest pose, numpy."""
        verts: FloatArray = self.v_template.detach().cpu().numpy().astype(np.float64)
        return verts

    @cached_property
    def parts(self) -> BodyParts:
        """Named parts per vertex, e.g. ``model.parts.verts_of("left_palm")``; see :mod:`hoirecon.data.body.parts`."""
        from hoirecon.data.body.parts import body_parts

        return body_parts(self)

    @cached_property
    def _double(self) -> BodyModel:
        return self.to(dtype=torch.float64)

    @cached_property
    def _columns(self) -> _Columns:
        return _Columns.of(self)


@dataclass(frozen=True)
class _Columns:
    """The model's arrays with vertices last, so that products run over long contiguous rows."""

    template: Tensor
    """(3, V)."""
    shape: Tensor
    """(NB, 3, V)."""
    pose: Tensor | None
    """(3, V, 459): a vertex's row stays whole, so that a subset is gathered quickly."""
    skin: Tensor
    """(52, V)."""

    @classmethod
    def of(cls, model: BodyModel) -> _Columns:
        pose = None if model.posedirs is None else model.posedirs.transpose(0, 1).contiguous()
        shape = model.shapedirs.permute(2, 1, 0).contiguous()
        return cls(model.v_template.mT.contiguous(), shape, pose, model.weights.mT.contiguous())

    def take(self, index: Tensor) -> _Columns:
        """The same for some vertices; ``index_select`` copies whole rows, ten times faster than ``[:, index]``."""
        pose = None if self.pose is None else self.pose.index_select(1, index)
        template, shape, skin = (t.index_select(-1, index) for t in (self.template, self.shape, self.skin))
        return _Columns(template, shape, pose, skin)

    def rest(self, betas: Tensor, rotations: Tensor) -> Tensor:
        """(B, 3, S) shaped and pose-corrected vertices of the rest pose (SMPL eq. 6, 8, 9)."""
        rest = self.template + (betas @ self.shape.flatten(1)).view(len(betas), *self.template.shape)
        if self.pose is not None:
            features = pose_features(rotations)
            rest = rest + (features @ self.pose.flatten(0, 1).mT).view(len(features), *self.template.shape)
        return rest


def pose_features(rotations: Tensor) -> Tensor:
    """(B, 459) entries of R - 1 of the 51 joints below the root, row by row (SMPL eq. 9)."""
    eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (rotations[:, 1:] - eye).flatten(1)


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


def _skin(rest: Tensor, skin: Tensor, world_R: Tensor, world_t: Tensor, rest_joints: Tensor) -> Tensor:
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


def _joint_vectors(value: Tensor | None, joints: int, name: str, model: BodyModel) -> Tensor:
    if value is None:
        return model.v_template.new_zeros(1, joints, 3)
    if value.ndim < 2 or value[0].numel() != joints * 3:
        raise InputError(f"{name} has shape {tuple(value.shape)}, expected (B, {joints * 3}) rotation vectors")
    return value.reshape(len(value), joints, 3)


def _common_batch(sizes: list[int]) -> int:
    batch = max(sizes)
    if any(size not in (1, batch) for size in sizes):
        raise InputError(f"the body's inputs have different batch sizes {sorted(set(sizes))}: give 1 or the same")
    return batch
