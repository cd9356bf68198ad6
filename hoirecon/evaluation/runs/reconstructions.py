"""Person and object of a prediction and of the truth as metrics take them: vertices, faces, pose, contact labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import ReconstructionTruth, Sample
from hoirecon.data.datasets.topologies import is_stand_in
from hoirecon.evaluation.runs.bodies import Bodies, MissingBodyError
from hoirecon.evaluation.runs.bodies import params_of as params_of
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

if TYPE_CHECKING:
    from hoirecon.evaluation.metrics.reconstruction_measures import Reconstruction


def reconstruction_pair(
    sample: Sample, said: Prediction | None, truth: ReconstructionTruth, bodies: Bodies | None
) -> tuple[Reconstruction | None, Reconstruction]:
    """(prediction, truth) in the frame of the truth; a prediction of None failed.

    Raises:
        MissingBodyError: parameters of a licensed body, and no model was given that poses them.
        InputError: parameters that cannot be posed.
    """
    from hoirecon.evaluation.metrics.reconstruction_measures import Reconstruction

    mesh = sample.question.object_mesh
    pose, verts = truth.object_pose, truth.object_verts
    if verts is None and pose is not None and mesh is not None:
        verts = pose.apply(mesh.verts)
    posed = _posed(sample, truth.body_verts, truth.body_params, bodies, truth.params_to_truth)
    true = Reconstruction(
        body_verts=truth.body_verts if posed is None else posed.verts,
        object_verts=verts,
        body_faces=_faces_of(truth, bodies) if posed is None else posed.faces,
        object_faces=mesh.faces if truth.object_faces is None and mesh is not None else truth.object_faces,
        body_contact=None if truth.body_contact is None else (truth.body_contact >= 0.5).astype(float),
        body_joints=truth.body_joints,
        object_pose=pose,
        template=None if mesh is None else mesh.verts,
        symmetry=sample.question.extra.get("symmetries"),
        camera=sample.question.camera,
    )
    return (None if said is None else _said(sample, said, bodies, truth.params_to_truth)), true


def _said(sample: Sample, said: Prediction, bodies: Bodies | None, to_truth: ObjectPose | None) -> Reconstruction:
    from hoirecon.evaluation.metrics.reconstruction_measures import Reconstruction

    mesh, verts = sample.question.object_mesh, said.object_verts
    if verts is None and said.object_pose is not None and mesh is not None:
        verts = said.object_pose.apply(mesh.verts)
    posed = _posed(sample, said.body_verts, said.body_params, bodies, to_truth)
    return Reconstruction(
        body_verts=said.body_verts if posed is None else posed.verts,
        object_verts=verts,
        body_faces=said.body_faces if posed is None else posed.faces,
        object_faces=said.object_faces,
        body_joints=said.body_joints,
        object_pose=said.object_pose,
    )


def _posed(
    sample: Sample,
    verts: FloatArray | None,
    params: Mapping[str, Any],
    bodies: Bodies | None,
    to_truth: ObjectPose | None,
) -> SceneBody | None:
    """The body of the parameters, by the user's model; None where there are vertices, or nothing at all."""
    if verts is not None or not params:
        return None
    if bodies is None:
        raise MissingBodyError(
            f"sample '{sample.id}' has parameters of a licensed body and no vertices: give your model file with --body"
        )
    return bodies.posed(params, str(sample.question.extra.get("gender", "")), to_truth)


def _faces_of(truth: ReconstructionTruth, bodies: Bodies | None) -> IntArray | None:
    if truth.body_faces is not None:
        return truth.body_faces
    if is_stand_in(truth.topology):
        from hoirecon.data.datasets.stand_in_body import stand_in_mesh

        return stand_in_mesh(truth.topology).faces
    return None if bodies is None else bodies.for_gender("").faces
