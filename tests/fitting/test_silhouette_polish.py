"""The polish: it mends what contours left, keeps what is better, says which, and never makes the overlap worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.errors import InputError, MissingExtraError
from hoirecon.fitting.covariance import Covariance
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.renderers import OutlineRenderer
from hoirecon.fitting.report import JointFit, JointSolution
from hoirecon.fitting.silhouette_polish import PolishConfig, Polished, polish
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

CONFIG = PolishConfig(steps=10, cells=64)


def beside(pose: ObjectPose, metres: tuple[float, float, float], degrees: float = 0.0) -> ObjectPose:
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return ObjectPose(turn @ pose.R, pose.t + np.array(metres), pose.s)


@pytest.fixture(scope="module")
def scene(small_scene: Callable[..., Any]) -> Any:
    return small_scene(kind="steps")


def polished(scene: Any, start: ObjectPose, **settings: Any) -> Polished:
    settings = {"config": CONFIG} | settings
    thing = ObjectToFit(scene.mesh, "steps", (0.0, 0.05))
    return polish([start], scene.observation, [thing], scene.body, [scene.contact], **settings)


@pytest.mark.parametrize("losses", ["region", pytest.param("outline", marks=pytest.mark.slow), "warp"])
def test_a_shifted_object_is_moved_back_and_accepted(losses: str, scene: Any) -> None:
    config, renderer = (CONFIG, None) if losses == "region" else (replace(CONFIG, region=0.0), losses)
    if losses == "warp":
        pytest.importorskip("warp")
    start = beside(scene.pose, (0.02, -0.015, 0.0), 2.0)
    done = polished(scene, start, config=config, renderer=renderer)
    (thing,) = done.objects
    assert thing.accepted, thing.reason
    assert thing.iou_after > thing.iou_before + 0.05
    assert thing.iou_after > 0.93
    assert np.linalg.norm((done.poses[0].t - scene.pose.t)[:2]) < 0.3 * np.linalg.norm((start.t - scene.pose.t)[:2])
    assert done.seconds > 0


@pytest.mark.slow
def test_the_truth_stays_or_overlaps_better(scene: Any) -> None:
    (thing,) = polished(scene, scene.pose).objects
    assert thing.accepted == (thing.iou_after > thing.iou_before + CONFIG.least_gain)
    if not thing.accepted:
        assert thing.pose is scene.pose


@dataclass(frozen=True)
class Leftward:
    """A renderer that lies: everything is drawn beside its place."""

    name: str = "leftward"

    def silhouettes(self, verts_cam: Tensor, faces: Tensor, camera: Camera) -> Tensor:
        """See Renderer."""
        return OutlineRenderer().silhouettes(verts_cam + torch.tensor([0.08, 0.0, 0.0]), faces, camera)


@dataclass(frozen=True)
class Lost:
    """A renderer that gives not-a-number."""

    name: str = "lost"

    def silhouettes(self, verts_cam: Tensor, faces: Tensor, camera: Camera) -> Tensor:
        """See Renderer."""
        return verts_cam.sum() * torch.full((len(verts_cam), camera.height, camera.width), torch.nan)


@pytest.mark.parametrize("renderer", [Leftward(), Lost()])
def test_a_renderer_that_misleads_is_refused(renderer: Any, scene: Any) -> None:
    done = polished(scene, scene.pose, renderer=renderer, config=replace(CONFIG, silhouette=3000.0, region=0.0))
    (thing,) = done.objects
    assert not thing.accepted
    assert thing.pose is scene.pose
    assert thing.iou_after <= thing.iou_before
    assert done.renderer == renderer.name
    assert "rise" in thing.reason or "lowered" in thing.reason


@pytest.mark.slow
def test_what_contact_and_penetration_forbid_is_refused(scene: Any) -> None:
    """A mask shifted towards an arm: the overlap would rise, but the object would go into the arm."""
    mask = np.roll(scene.observation.object_masks[0], 25, axis=1)
    wrong = replace(scene.observation, object_masks=(mask,))
    thing = ObjectToFit(scene.mesh, "steps", (0.0, 0.05))
    free = replace(CONFIG, penetration=1e-6, contact=False, steps=16)
    for config, expected in ((replace(free, most_loss=1e9), True), (replace(CONFIG, most_loss=0.0, steps=16), False)):
        done = polish([scene.pose], wrong, [thing], scene.body, [scene.contact], config=config)
        assert done.objects[0].accepted == expected, done.objects[0].reason


@pytest.mark.slow
def test_two_objects_hide_each_other_and_neither_makes_the_other_worse(scene: Any) -> None:
    from tests.fitting.conftest import ray_depth, thing

    hammer = thing("hammer")
    poses = [scene.pose, ObjectPose(np.eye(3), np.array([0.05, 0.12, 1.7]))]
    meshes = [scene.mesh, hammer]
    drawn = [ray_depth(m.with_verts(p.apply(m.verts))) for m, p in zip(meshes, poses, strict=True)]
    drawn.append(ray_depth(scene.body))
    nearest = np.argmin(drawn, axis=0)
    masks = tuple((nearest == k) & np.isfinite(drawn[k]) for k in range(3))
    seen = Observation(scene.observation.image, scene.observation.camera, masks[2], masks[:2])
    starts = [poses[0], beside(poses[1], (0.015, 0.01, 0.0))]
    things = [ObjectToFit(m, n, (0.0, 0.05)) for m, n in zip(meshes, ("steps", "hammer"), strict=True)]
    done = polish(starts, seen, things, scene.body, [scene.contact, None], config=CONFIG)
    assert [o.name for o in done.objects] == ["steps", "hammer"]
    assert done.objects[1].accepted, done.objects[1].reason
    assert done.objects[1].iou_after > done.objects[1].iou_before + 0.1


def test_a_joint_fit_brings_its_bodies(scene: Any) -> None:
    start = beside(scene.pose, (0.02, -0.015, 0.0))
    body = SceneBody(BodyParams.rest(), scene.body.verts, scene.body.faces, np.zeros((2, 3)))
    solution = JointSolution((body,), (start,), 0.0, (1.0,))
    found = JointFit(solution, (), Covariance(np.zeros((0, 0)), {}, {}), {}, (1.0,), (), {}, (), ())
    thing = ObjectToFit(scene.mesh, "steps", (0.0, 0.05))
    done = polish(found, scene.observation, [thing], contacts=[scene.contact], config=CONFIG)
    named = polish(found, scene.observation, [thing], contacts={(0, 0): scene.contact}, config=CONFIG)
    assert named.objects[0].kept_after == done.objects[0].kept_after
    assert done.objects[0].accepted


def test_unusable_input_is_refused(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    thing = ObjectToFit(scene.mesh, "steps")
    with pytest.raises(InputError, match="posed body"):
        polish([scene.pose], scene.observation, [thing])
    with pytest.raises(InputError, match="one of each for every object"):
        polish([scene.pose] * 2, scene.observation, [thing], scene.body)
    with pytest.raises(InputError, match="no renderer 'opengl'"):
        polished(scene, scene.pose, renderer="opengl")
    with pytest.raises(InputError, match="silhouette or region above zero"):
        PolishConfig(silhouette=0, region=0)
    with pytest.raises(InputError, match="steps above zero"):
        PolishConfig(steps=0)
    import importlib

    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingExtraError, match="hoirecon\\[warp\\]"):
        polished(scene, scene.pose, renderer="warp")
