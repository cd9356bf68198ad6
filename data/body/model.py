"""Our own batched SMPL-H body: shape and pose blend shapes, 52 joints, linear blend skinning.

Method: Loper et al., SMPL (SIGGRAPH Asia 2015), equations 2-10; the 52-joint layout is that of SMPL+H (Romero et al.,
2017). Written from the papers; the arithmetic is in :mod:`hoirecon.data.body.skinning`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import roma
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.body_params import BodyParams
from hoirecon.data.body.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS
from hoirecon.data.body.skinning import Columns, forward_kinematics, skin_verts
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
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors: dict[str, Any] = {name: v.to(device, dtype) for name, v in values.items() if isinstance(v, Tensor)}
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
        verts = skin_verts(columns.rest(betas, rotations), columns.skin, world_R, world_t, rest_joints)
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
    def corrective_joints(self) -> tuple[int, ...]:
        """Joints whose turning moves the skin through ``posedirs``; all 51 in SMPL-H files, 14 in the free body."""
        if self.posedirs is None:
            return ()
        used = self.posedirs.view(self.num_verts, 3, NUM_JOINTS - 1, 9).any(dim=3).flatten(0, 1).any(dim=0)
        return tuple(1 + int(j) for j in used.nonzero())

    @cached_property
    def correctives(self) -> Tensor | None:
        """(V, 3, 9M) ``posedirs`` of the M :attr:`corrective_joints` alone, or None."""
        if self.posedirs is None:
            return None
        rows = [joint - 1 for joint in self.corrective_joints]
        return self.posedirs.view(self.num_verts, 3, NUM_JOINTS - 1, 9)[:, :, rows].flatten(2)

    @cached_property
    def parts(self) -> BodyParts:
        """Named parts per vertex, e.g. ``model.parts.verts_of("left_palm")``; see :mod:`hoirecon.data.body.parts`."""
        from hoirecon.data.body.parts import body_parts

        return body_parts(self)

    @cached_property
    def _double(self) -> BodyModel:
        return self.to(dtype=torch.float64)

    @cached_property
    def _columns(self) -> Columns:
        return Columns.of(self)


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
