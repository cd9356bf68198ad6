"""A small exact scene for the joint fit: the free body stands before the camera, things touch its hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hoirecon.arrays import FloatArray
from hoirecon.body_params import BodyParams
from hoirecon.contact_map import ContactMap
from hoirecon.data.body import BodyModel, body_landmarks, load_body
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import prepare_joint
from hoirecon.fitting.joint_person import PersonToFit
from hoirecon.fitting.joint_problem import JointProblem
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody
from tests.fitting.conftest import CAMERA, distances, ray_depth, thing

REACHING = {17: (0.0, -0.6, 0.5), 19: (0.0, 0.9, 0.0), 16: (0.0, 0.6, -0.5), 18: (0.0, -0.9, 0.0)}
"""Both forearms point to the front: rotation vectors of shoulders and elbows."""


@dataclass(frozen=True)
class JointScene:
    """Exact bodies and objects, and what is seen of them."""

    observation: Observation
    people: tuple[PersonToFit, ...]
    objects: tuple[ObjectToFit, ...]
    poses: tuple[ObjectPose, ...]
    contacts: dict[tuple[int, int], tuple[ContactMap, ContactMap]]

    def problem(self, dtype: torch.dtype = torch.float64, config: JointConfig | None = None) -> JointProblem:
        """Prepared at the truth, skin included."""
        config = config or JointConfig(body_first=False)
        problem, _ = prepare_joint(
            self.observation, self.people, self.objects, self.contacts, config, [list(self.poses)], "cpu", dtype
        )
        return problem.with_surfaces(problem.start([list(self.poses)]))


def standing(model: BodyModel, x: float = 0.0, yaw: float = 0.0) -> BodyParams:
    """Upright in the camera's frame at 2.6 m, hands to the front."""
    from scipy.spatial.transform import Rotation

    pose = np.zeros((21, 3))
    for joint, rotvec in REACHING.items():
        pose[joint - 1] = rotvec
    upright = Rotation.from_euler("y", yaw) * Rotation.from_rotvec([np.pi, 0, 0])
    return BodyParams.rest().replace(
        global_orient=upright.as_rotvec(), body_pose=pose.ravel(), transl=[x, 0.2, 2.6], topology=model.topology
    )


def bent(person: PersonToFit, model: BodyModel, turns: dict[int, tuple[float, float, float]]) -> PersonToFit:
    """The person with some body joints turned."""
    pose = person.body.params.body_pose.reshape(21, 3).copy()
    for joint, rotvec in turns.items():
        pose[joint - 1] += rotvec
    body = model.pose(person.body.params.replace(body_pose=pose.ravel()))
    return PersonToFit(body, person.keypoints, person.model, person.config, person.name)


def keypoints_of(model: BodyModel, body: SceneBody) -> Keypoints:
    """Exact landmarks."""
    landmarks = body_landmarks(model, "blazepose33")
    points = np.einsum("lk,lkc->lc", landmarks.w, body.verts[landmarks.idx])
    return Keypoints("blazepose33", CAMERA.project(points), np.ones(len(points)))


def hand_of(model: BodyModel, body: SceneBody, side: str) -> FloatArray:
    """Middle of a palm."""
    return np.asarray(body.verts[model.parts.verts_of(f"{side}_palm")].mean(0))


def make_joint_scene(
    holds: Sequence[tuple[int, str]] = ((0, "right"),),
    people: int = 1,
    gap: float = 0.0,
    kinds: Sequence[str] = ("steps", "hammer"),
) -> JointScene:
    """Persons in a row, and one thing at a hand of a person per entry of ``holds``, ``gap`` metres off it."""
    model = load_body()
    xs = np.linspace(-0.45, 0.45, people) if people > 1 else [0.0]
    bodies = [model.pose(standing(model, float(x))) for x in xs]
    meshes, poses = [], []
    for k, (person, side) in enumerate(holds):
        mesh = thing(kinds[k % len(kinds)], 0.08)
        mesh = Mesh(mesh.verts * 0.6, mesh.faces, name=f"{kinds[k % len(kinds)]}{k}")
        hand, R = hand_of(model, bodies[person], side), _turn(0.3 + k, 0.4, 0.1)
        poses.append(_beside(mesh, R, bodies[person], hand, gap))
        meshes.append(mesh)
    placed = [m.with_verts(p.apply(m.verts)) for m, p in zip(meshes, poses, strict=True)]
    contacts = {
        (person, k): (_band(bodies[person], placed[k]), _band_of(placed[k], bodies[person], meshes[k]))
        for k, (person, _) in enumerate(holds)
    }
    return JointScene(
        _seen(bodies, placed),
        tuple(PersonToFit(b, keypoints_of(model, b), model) for b in bodies),
        tuple(ObjectToFit(m, m.name, (0.0, 0.03)) for m in meshes),
        tuple(poses),
        contacts,
    )


def _turn(*angles: float) -> FloatArray:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", angles).as_matrix())


def _beside(mesh: Mesh, R: FloatArray, body: SceneBody, hand: FloatArray, gap: float) -> ObjectPose:
    """Before the hand, as near as it gets without going in, then ``gap`` nearer to the camera."""
    t = hand - [0.0, 0.0, 0.5]
    for _ in range(8):
        placed = mesh.with_verts(mesh.verts @ R.T + t)
        t = t + np.array([0.0, 0.0, 0.9 * float(distances(placed, body.verts).min())])
    return ObjectPose(R, t - np.array([0.0, 0.0, gap]))


def _band(body: SceneBody, placed: Mesh) -> ContactMap:
    near = distances(placed, body.verts) < 0.02
    return ContactMap(near.astype(float), body.topology)


def _band_of(placed: Mesh, body: SceneBody, mesh: Mesh) -> ContactMap:
    distance = distances(body.mesh, placed.verts)
    return ContactMap((distance < max(0.03, distance.min() + 0.01)).astype(float), mesh.topology)


def _seen(bodies: Sequence[SceneBody], placed: Sequence[Mesh]) -> Observation:
    depths = np.stack([ray_depth(m) for m in (*(b.mesh for b in bodies), *placed)])
    nearest = depths.argmin(0)
    anything = np.isfinite(depths.min(0))
    masks = tuple(anything & (nearest == len(bodies) + k) for k in range(len(placed)))
    person = anything & (nearest < len(bodies))
    return Observation(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), CAMERA, person, masks)
