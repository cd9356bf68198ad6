"""A small made-up scene: a capsule with arms of its own topology, a box that touches it, and a photograph of noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trimesh

from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import Measure, Scene, SceneBody, SceneObject, ScenePair

UPRIGHT = np.array([np.pi, 0.0, 0.0])
"""Rotation vector that turns an SMPL-family rest body (y up, facing +z) upright in the camera frame, facing it."""


def toy_scene(**changes: Any) -> Scene:
    width, height = 96, 128
    camera = Camera.from_focal(150, width, height)
    capsule = trimesh.creation.capsule(height=1.0, radius=0.25, count=[16, 12])
    capsule.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    capsule.apply_translation([0, 0.0, 3.0])
    params = BodyParams.rest(topology="toy").replace(global_orient=UPRIGHT)
    body = SceneBody(params, capsule.vertices, capsule.faces, np.full((2, 3), 3.0))
    box = trimesh.creation.box([0.3, 0.3, 0.3])
    mesh = Mesh(np.array(box.vertices), np.array(box.faces), "box")
    pose = ObjectPose(np.eye(3), np.array([0.4, 0.2, 2.9]), 1.0)
    other = ObjectPose(np.diag([-1.0, 1.0, -1.0]), np.array([0.4, 0.5, 2.9]), 1.1)
    near = np.clip(1 - np.abs(body.verts - pose.t).max(axis=1) / 0.5, 0, 1)
    pair = ScenePair(
        0,
        0,
        ContactMap(near, "toy", "geometric"),
        ContactMap((mesh.verts[:, 0] < 0).astype(float), mesh.topology, "geometric"),
    )
    rows, columns = np.mgrid[:height, :width]
    observation = Observation(
        image=np.random.default_rng(0).integers(90, 140, (height, width, 1), dtype=np.uint8).repeat(3, axis=2),
        camera=camera,
        person_mask=np.hypot(columns - 48, (rows - 64) / 2.5) < 13,
        object_masks=((np.abs(columns - 68) < 8) & (np.abs(rows - 74) < 8),),
        keypoints=Keypoints("blazepose33", np.random.default_rng(1).uniform(10, 86, (33, 2)), np.ones(33)),
    )
    scene = {
        "observation": observation,
        "bodies": (body,),
        "objects": (SceneObject("red <b>box</b>", "box", mesh, pose, "CC0-1.0", "nobody & co", (other,), (2.5,)),),
        "contacts": (pair,),
        "measures": {"landmark error": Measure(3.14159, "px", "median")},
        "flags": ("the focal length is <i>assumed</i>",),
        "versions": {"hoirecon": "0.1.0"},
        "config": {"object": "box"},
    }
    return Scene(**{**scene, **changes})


@pytest.fixture(scope="session")
def scene() -> Scene:
    return toy_scene()


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the size: what is tested does not depend on it, but the time does."""
    monkeypatch.setattr("hoirecon.views.overlay.PANEL", 320)
    monkeypatch.setattr("hoirecon.views.turntable.PANEL", (160, 176))
    monkeypatch.setattr("hoirecon.views.contact.BODY_PANEL", (160, 250))
    monkeypatch.setattr("hoirecon.views.contact.OBJECT_PANEL", (160, 120))


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    return toy_scene
