"""Person and object of a prediction and of the truth as metrics take them: vertices, faces, pose, contact labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.body_params import BodyParams
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import ReconstructionTruth, Sample
from hoirecon.data.datasets.topologies import is_stand_in
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.data.body.model import BodyModel
    from hoirecon.evaluation.metrics.reconstruction_measures import Reconstruction

BODY_NUMBERS = 66
"""Of a pose vector: the root and 21 joints of the body; hands follow, 45 numbers each, where the vector has 156."""


def reconstruction_pair(
    sample: Sample, said: Prediction | None, truth: ReconstructionTruth, body: BodyModel | None
) -> tuple[Reconstruction | None, Reconstruction]:
    """(prediction, truth) in the frame of the truth; a prediction of None failed.

    Raises:
        InputError: the truth holds parameters of a licensed body, and no model was given that poses them.
    """
    from hoirecon.evaluation.metrics.reconstruction_measures import Reconstruction

    mesh = sample.question.object_mesh
    pose, verts = truth.object_pose, truth.object_verts
    if verts is None and pose is not None and mesh is not None:
        verts = pose.apply(mesh.verts)
    true = Reconstruction(
        body_verts=_body_of(sample, truth.body_verts, truth.body_params, body),
        object_verts=verts,
        body_faces=_faces_of(truth, body),
        object_faces=mesh.faces if truth.object_faces is None and mesh is not None else truth.object_faces,
        body_contact=None if truth.body_contact is None else (truth.body_contact >= 0.5).astype(np.float64),
        body_joints=truth.body_joints,
        object_pose=pose,
        template=None if mesh is None else mesh.verts,
        symmetry=sample.question.extra.get("symmetries"),
        camera=sample.question.camera,
    )
    return (None if said is None else _said(sample, said, body)), true


def _said(sample: Sample, said: Prediction, body: BodyModel | None) -> Reconstruction:
    from hoirecon.evaluation.metrics.reconstruction_measures import Reconstruction

    mesh, verts = sample.question.object_mesh, said.object_verts
    if verts is None and said.object_pose is not None and mesh is not None:
        verts = said.object_pose.apply(mesh.verts)
    return Reconstruction(
        body_verts=_body_of(sample, said.body_verts, said.body_params, body),
        object_verts=verts,
        body_joints=said.body_joints,
        object_pose=said.object_pose,
    )


def _body_of(
    sample: Sample, verts: FloatArray | None, params: Mapping[str, FloatArray], body: BodyModel | None
) -> FloatArray | None:
    """Vertices as they are, or posed by the user's model."""
    if verts is not None or not params:
        return verts
    if body is None:
        raise InputError(
            f"sample '{sample.id}' has parameters of a licensed body and no vertices: give your model file with --body"
        )
    return body.pose(params_of(params, body)).verts


def params_of(params: Mapping[str, FloatArray], body: BodyModel) -> BodyParams:
    """A file's parameters (``pose`` of 72 or 156, ``betas`` or ``shape``, ``trans`` or ``transl``) by our names.

    Raises:
        InputError: a pose of another length.
    """
    pose = np.ravel(params["pose"])
    if len(pose) not in (72, 156):
        raise InputError(f"a pose has 72 or 156 numbers, got {len(pose)}")
    hands = pose[BODY_NUMBERS:] if len(pose) == 156 else np.zeros(90)
    return BodyParams(
        betas=np.ravel(_first(params, "betas", "shape")),
        global_orient=pose[:3],
        body_pose=pose[3:BODY_NUMBERS],
        left_hand_pose=hands[:45],
        right_hand_pose=hands[45:],
        transl=np.ravel(_first(params, "trans", "transl")),
        topology=body.topology,
    )


def _first(params: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in params:
            return params[name]
    raise InputError(f"body parameters have none of {', '.join(names)}, only {', '.join(params)}")


def _faces_of(truth: ReconstructionTruth, body: BodyModel | None) -> IntArray | None:
    if truth.body_faces is not None:
        return truth.body_faces
    if is_stand_in(truth.topology):
        from hoirecon.data.datasets.stand_in_body import stand_in_mesh

        return stand_in_mesh(truth.topology).faces
    return None if body is None else body.faces
