"""Scenes with known truth that several tests share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrueScene:
    """A person who holds a box before the chest with both hands, seen from the side of the front; all exact."""

    observation: Observation
    body: SceneBody
    params: BodyParams
    box: Mesh
    box_category: str
    pose: ObjectPose


BOX_ID = "box"
CAMERA = Camera.from_focal(600, 480, 640)


def _params() -> BodyParams:
    names = _joint_names()
    pose = np.zeros((52, 3))
    for side, sign in (("left", 1), ("right", -1)):
        pose[names.index(f"{side}_shoulder")] = [0, -1.0 * sign, -0.7 * sign]
        pose[names.index(f"{side}_elbow")] = [-0.5, -0.7 * sign, 0]
        pose[names.index(f"{side}_wrist")] = [-1.0, 0.25 * sign, 0]  # palms face one another
        pose[names.index(f"{side}_hip")] = [0, 0, 0.12 * sign]
    turned = Rotation.from_euler("y", 25, degrees=True) * Rotation.from_euler("x", 180, degrees=True)
    return BodyParams.rest().replace(
        global_orient=turned.as_rotvec(), body_pose=pose[1:22].reshape(-1), transl=[0.05, 0.1, 2.9]
    )


def _joint_names() -> list[str]:
    from hoirecon.data.body import load_body

    return list(load_body().joint_names)


def _cast(meshes: list[Mesh]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Which mesh each pixel sees first (-1: none), and the shading of what it sees."""
    o3d: Any = pytest.importorskip("open3d")
    scene = o3d.t.geometry.RaycastingScene()
    for mesh in meshes:
        scene.add_triangles(mesh.verts.astype(np.float32), mesh.faces.astype(np.uint32))
    rows, cols = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = CAMERA.unproject(np.stack([cols + 0.5, rows + 0.5], -1), np.ones(rows.shape))
    rays = np.concatenate([np.zeros_like(rays), rays], -1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor(rays))
    seen = hit["geometry_ids"].numpy().astype(np.int64)
    seen[~np.isfinite(hit["t_hit"].numpy())] = -1
    normals = hit["primitive_normals"].numpy().astype(np.float64)
    return seen, np.abs(normals @ np.array([0.3, -0.5, -0.8]))


def _landmarks(verts_cam: Floats, layout: str) -> Keypoints:
    from hoirecon.data.body import body_landmarks, load_body

    rows = body_landmarks(load_body(), layout)
    index, weights = np.asarray(rows.idx), np.asarray(rows.w, dtype=np.float64)
    points = (verts_cam[index] * weights[..., None]).sum(1)
    names = list(rows.names)
    hips = points[[names.index("left_hip"), names.index("right_hip")]].mean(0)
    return Keypoints(layout, CAMERA.project(points), np.full(len(points), 0.95), points - hips)


@pytest.fixture(scope="session")
def held_box() -> TrueScene:
    """See :class:`TrueScene`."""
    pytest.importorskip("open3d")
    from hoirecon.data.body import load_body
    from hoirecon.data.objects import load_object

    model, thing, params = load_body(), load_object(BOX_ID), _params()
    body = model.pose(params)
    R_cam_body = Rotation.from_rotvec(params.global_orient).as_matrix()
    hands = [body.verts[model.parts.verts_of(f"{side}_hand")] @ R_cam_body for side in ("left", "right")]
    inner = [hands[0][:, 0].min(), hands[1][:, 0].max()]  # the box just fits between the hands
    scale = float(inner[0] - inner[1]) / float(thing.mesh.extents[0])
    middle = np.concatenate(hands).mean(axis=0)
    pose = ObjectPose(R_cam_body, R_cam_body @ [(inner[0] + inner[1]) / 2, middle[1], middle[2]], scale)
    box_cam = thing.mesh.with_verts(pose.apply(thing.mesh.verts))
    seen, shade = _cast([body.mesh, box_cam])
    colors = np.array([[205, 160, 130], [150, 110, 60], [90, 120, 150]])
    image = (colors[seen] * (0.35 + 0.65 * np.where(seen < 0, 1, shade))[..., None]).astype(np.uint8)
    observation = Observation(
        image,
        CAMERA,
        person_mask=seen == 0,
        object_masks=(seen == 1,),
        keypoints=_landmarks(body.verts, "blazepose33"),
    )
    return TrueScene(observation, body, params, thing.mesh, BOX_ID, pose)


def chamfer_cm(a: Any, b: Any) -> float:
    """(mean distance a to b + mean distance b to a) / 2 between point sets in metres, in centimetres."""
    from scipy.spatial import cKDTree

    return 50 * float(cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean())
