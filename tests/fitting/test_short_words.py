"""What a notebook shows of a result: one to three lines that a person reads."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hoirecon.fitting.body_types import BodyEvidence, BodyFit, BodyFitConfig
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import fit
from hoirecon.fitting.joint_video import VideoFit
from hoirecon.fitting.report import JointFit
from hoirecon.observation import Keypoints
from hoirecon.scene import Measure, Scene, SceneObject, ScenePair
from tests.fitting.joint_scenes import JointScene, make_joint_scene


@pytest.fixture(scope="module")
def made() -> JointScene:
    return make_joint_scene()


@pytest.fixture(scope="module")
def found(made: JointScene) -> JointFit:
    few = JointConfig(carried=1, polish=None, refreshes=0)
    few = replace(few, objects=replace(few.objects, hypotheses=4, keep=2), chain=replace(few.chain, iterations=1),
                  whole=replace(few.whole, iterations=1))  # fmt: skip
    return fit(made.observation, made.people[0], made.objects, [made.contacts[0, 0]], few)


def _told(value: Any, lines: int = 3) -> str:
    text = repr(value)
    assert text.count("\n") < lines
    assert len(text) < 600
    assert "array(" not in text
    return text


def test_a_joint_fit_tells_its_objects_and_flags(made: JointScene, found: JointFit) -> None:
    name = made.objects[0].name
    said = _told(replace(found, flags=("ambiguous", "no contact")))
    assert re.search(
        rf"^<JointFit: 1 body, 1 object; energy [\d.]+, penetration \d+ mm, \d alternatives?\n {name}: ", said
    )
    assert f"visible IoU {found.best.iou_visible[0]:.2f}, expected error" in said
    assert said.endswith("2 flags: ambiguous; no contact>")
    assert "expected error" not in _told(replace(found, predicted_error_m=()))


def test_an_object_fit_tells_where_it_is(found: JointFit) -> None:
    one = found.object_fits[0]
    said = _told(one)
    assert said.startswith(f"<ObjectFit: {one.name} at ({one.pose.t[0]:.2f}, ")
    assert f"visible IoU {one.iou_visible:.2f}" in said
    assert "nan" not in _told(replace(one, predicted_error_m=float("nan"), flags=("ambiguous",) * 50))


def test_a_video_tells_sizes_and_in_how_many_frames_a_flag_is_set(found: JointFit) -> None:
    frames = (replace(found, flags=("ambiguous",)), replace(found, flags=()), replace(found, flags=("ambiguous",)))
    said = _told(VideoFit(frames, (1.25,), (0.031,), np.eye(500), {}))
    assert said.startswith("<VideoFit: 3 frames, 1 body, 1 object\n ")
    assert "size x 1.25 +- 3 %" in said
    assert said.endswith("1 flag: ambiguous (2 frames)>")


def test_a_body_tells_who_and_where(made: JointScene) -> None:
    body = made.people[0].body
    points = Keypoints("coco17", np.zeros((17, 2)), np.ones(17))
    evidence = BodyEvidence(points, made.observation.camera, made.people[0].model, BodyFitConfig())
    said = _told(BodyFit(body.params, body, 3.0, 300.0, evidence, unseen=("left_leg",), stature_m=1.754))
    assert said.startswith(f"<BodyFit: {body.topology} ({len(body.verts)} vertices), 1.75 m tall, ")
    assert "landmark error 3.0 px, 1.0 % of the person's height; without evidence: left_leg\n no flags>" in said


def test_a_scene_tells_its_objects_even_without_measures(made: JointScene) -> None:
    thing, body = made.objects[0], made.people[0].body
    pair = ScenePair(0, 0, *made.contacts[0, 0])
    scene = Scene(
        made.observation.replace(keypoints=None), (body,), (SceneObject("mug", "", thing.mesh, made.poses[0]),), (pair,)
    )
    height, width = scene.observation.size
    assert _told(scene).startswith(f"<Scene: 1 body, 1 object in {width} x {height} pixels\n mug: ")
    measures = {"body/landmark_error_relative": Measure(0.012, "ratio"), "mug/iou_visible": Measure(0.9, "ratio"),
                "mug/penetration": Measure(3.2, "mm")}  # fmt: skip
    said = _told(replace(scene, measures=measures, flags=("camera: unknown",)))
    assert "; landmark error 1.2 % of the person's height" in said
    assert "visible IoU 0.90, penetration 3 mm\n 1 flag: camera: unknown>" in said
