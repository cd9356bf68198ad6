"""The bundled sample, the first thing a newcomer sees, is a scene that one believes."""

from __future__ import annotations

import pytest
from scipy.spatial import cKDTree

from hoirecon.data.body import load_body
from hoirecon.errors import MissingModelError
from hoirecon.sample import reconstruct_sample
from hoirecon.scene import Scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    try:
        return reconstruct_sample(progress=False)
    except MissingModelError as err:
        pytest.skip(str(err))


def test_a_helmet_is_as_large_as_helmets_are(scene: Scene) -> None:
    assert 0.2 < scene.measures["helmet/longest_side"].value < 0.55


def test_body_and_helmet_lie_on_what_is_seen_of_them(scene: Scene) -> None:
    assert scene.measures["body/landmark_error_relative"].value < 0.015
    assert scene.measures["helmet/iou_visible"].value > 0.85
    assert scene.measures["helmet/penetration"].value < 15


def test_she_holds_it_with_the_left_hand_alone(scene: Scene) -> None:
    to_helmet, parts = cKDTree(scene.objects[0].verts_cam), load_body().parts
    left, right = (
        to_helmet.query(scene.body.verts[parts.verts_of(f"{side}_palm", f"{side}_index_finger")])[0].min()
        for side in ("left", "right")
    )
    assert scene.contacts[0].body_contact.any()
    assert left < 0.03 < 0.05 < right


def test_what_is_not_known_is_said(scene: Scene) -> None:
    said = " ".join(scene.flags)
    for word in ("camera", "legs", "equally likely"):
        assert word in said
