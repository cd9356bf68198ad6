"""The one-call door on a scene whose truth is known, with a detector that sees it exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

import hoirecon
from hoirecon.errors import InputError
from hoirecon.fitting import FitConfig
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation, box_of_mask
from hoirecon.perception.observe import observe
from hoirecon.perception.protocols import MaskPrompt, PersonDetection
from hoirecon.perception.text_boxes import FoundBox
from hoirecon.reconstruction import ReconstructConfig, reconstruct
from hoirecon.requests import ObjectRequest, locate, prepare_things, told_apart
from hoirecon.scene import Scene

QUICK = ReconstructConfig(fit=FitConfig(hypotheses=64, keep=8))


@dataclass(frozen=True)
class KnownPerson:
    """A detector that knows the answer."""

    scene: Any

    def detect(self, image: np.ndarray) -> list[PersonDetection]:
        """The person of the scene."""
        seen = self.scene.observation
        mask = seen.person_mask.astype(np.float32)
        return [PersonDetection(box_of_mask(seen.person_mask), 0.9, seen.keypoints, mask)]


@pytest.fixture(scope="module")
def scene(held_box: Any) -> Scene:
    return reconstruct(
        held_box.observation.image,
        held_box.box_category,
        object_mask=held_box.observation.object_masks[0],
        camera=held_box.observation.camera,
        detector=KnownPerson(held_box),
        config=QUICK,
        progress=False,
    )


def _chamfer_cm(a: np.ndarray, b: np.ndarray) -> float:
    return 50 * float(cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean())


def test_the_body_is_where_it_was(scene: Scene, held_box: Any) -> None:
    assert scene.measures["body/landmark_error_relative"].value < 0.01
    error = np.linalg.norm(scene.body.joints[:22] - held_box.body.joints[:22], axis=1)
    assert np.median(error) < 0.05, error.round(3)


def test_the_box_is_where_it_was(scene: Scene, held_box: Any) -> None:
    true = held_box.pose.apply(held_box.box.verts)
    found = scene.objects[0].verts_cam
    assert _chamfer_cm(true, found) < 3.0  # nearly all of it depth, along the line of sight
    assert scene.measures["box/iou_visible"].value > 0.85
    assert abs(np.log(scene.objects[0].pose.s / held_box.pose.s)) < 0.15


def test_a_mesh_of_ones_own_has_no_parts_and_is_found_all_the_same(held_box: Any) -> None:
    """Contact can only say that the hands touch a box of 56 cm, not where on it."""
    found = reconstruct(
        held_box.observation.image,
        held_box.box_category,
        object_mask=held_box.observation.object_masks[0],
        object_mesh=Mesh(held_box.box.verts, held_box.box.faces, "my box"),
        camera=held_box.observation.camera,
        detector=KnownPerson(held_box),
        config=replace(QUICK, rounds=0),
        progress=False,
    )
    assert _chamfer_cm(held_box.pose.apply(held_box.box.verts), found.objects[0].verts_cam) < 4.0


def test_a_mask_of_ones_own_is_the_persons(held_box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = held_box.observation
    mine = seen.person_mask.copy()
    mine[: np.nonzero(mine)[0].min() + 20] = False  # without the crown of the head, which no detector leaves out
    Image.fromarray(mine.astype(np.uint8) * 255).save(tmp_path / "person.png")

    def with_landmarks(*args: Any, detector: Any, **given: Any) -> Observation:
        return observe(*args, **given, keypoints=seen.keypoints)

    monkeypatch.setattr("hoirecon.reconstruction.observe", with_landmarks)
    scene = reconstruct(
        seen.image,
        held_box.box_category,
        object_mask=seen.object_masks[0],
        person_mask=tmp_path / "person.png",
        camera=seen.camera,
        config=replace(QUICK, rounds=0),
        progress=False,
    )
    np.testing.assert_array_equal(scene.observation.person_mask, mine & ~seen.object_masks[0])


def test_a_mask_and_a_choice_of_person_are_one_too_many(held_box: Any) -> None:
    seen = held_box.observation
    with pytest.raises(InputError, match="leave person at 'auto', it is 1"):
        reconstruct(seen.image, "box", object_mask=seen.object_masks[0], person=1, person_mask=seen.person_mask)


def test_both_hands_hold_it(scene: Scene) -> None:
    from hoirecon.data.body import load_body

    contact, parts = scene.contacts[0].body_contact, load_body().parts
    for side in ("left", "right"):
        assert contact.probability[parts.verts_of(f"{side}_palm")].max() > 0.5
    assert contact.probability[parts.verts_of("left_sole")].max() < 0.2


def test_it_says_what_it_did(scene: Scene) -> None:
    assert scene.versions["hoirecon"] == hoirecon.__version__
    assert scene.config["fit"]["hypotheses"] == 64
    assert all(np.isfinite(m.value) for m in scene.measures.values())
    assert any(name.startswith("seconds/") for name in scene.measures)


def test_it_has_the_landmarks_of_the_fitted_body(scene: Scene) -> None:
    """Drawn over the photograph they give the very error that the fit reports."""
    points, landmarks = scene.observation.keypoints, scene.body.landmarks
    assert points is not None
    assert landmarks is not None
    offset = np.linalg.norm(scene.camera.project(landmarks) - points.xy, axis=1)
    inside = ((points.xy >= 0) & (points.xy <= [scene.camera.width, scene.camera.height])).all(axis=1)
    used = (points.confidence >= QUICK.body.min_confidence) & inside
    np.testing.assert_allclose(np.median(offset[used]), scene.measures["body/landmark_error"].value, rtol=1e-3)


def test_runners_up_are_kept_best_first(scene: Scene) -> None:
    thing = scene.objects[0]
    assert len(thing.alternatives) == len(thing.alternative_energies)
    assert list(thing.alternative_energies) == sorted(thing.alternative_energies)
    assert all(energy >= 0 for energy in thing.alternative_energies)


def test_it_is_saved_and_read_back(scene: Scene, tmp_path: Path) -> None:
    folder = scene.save(tmp_path / "out", pictures=False, report=False)
    again = Scene.load(folder)
    np.testing.assert_array_equal(again.body.verts, scene.body.verts)
    np.testing.assert_array_equal(again.body.landmarks, scene.body.landmarks)
    assert again.objects[0].alternative_energies == scene.objects[0].alternative_energies
    assert again.measures == scene.measures


class TestRequests:
    """Each is refused before any work."""

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"objects": "cup"}, "exactly one of box, mask or prompt; 0"),
            ({"objects": "cup", "object_box": (1, 1, 5, 5), "object_prompt": MaskPrompt(points=((1, 1),))}, "2 were"),
            ({"objects": "cuup", "object_box": (1, 1, 5, 5)}, "cup"),
            ({"objects": []}, "at least one"),
            ({"objects": [ObjectRequest("cup", (1, 1, 5, 5))], "object_box": (1, 1, 5, 5)}, "one object's name only"),
            ({"objects": "cup", "body_model": "SMPLH.pkl"}, r"body_model is of type str: give load_body\(FILE\)"),
            ({"objects": "cup", "contact": np.zeros(6902)}, "contact is of type ndarray: give an estimator"),
            ({"objects": "cup", "config": {"rounds": 1}}, r"config is of type dict: give a ReconstructConfig"),
        ],
    )
    def test_unclear_requests(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(InputError, match=says):
            reconstruct(np.zeros((64, 64, 3), np.uint8), progress=False, **arguments)

    def test_a_box_is_looked_for_by_name(self) -> None:
        class Finder:
            def find(self, image: np.ndarray, name: str, **_: Any) -> list[FoundBox]:
                return [FoundBox((1, 2, 3, 4), 0.5, name)] if name == "cup" else []

        image = np.zeros((9, 9, 3), np.uint8)
        located, notes = locate([ObjectRequest("cup"), ObjectRequest("book", (5, 5, 2, 2))], image, Finder())
        assert [r.box for r in located] == [(1, 2, 3, 4), (5, 5, 2, 2)]
        assert notes == ["the box of the cup was found by its name (score 0.50)"]
        with pytest.raises(InputError, match="no book was found"):
            locate([ObjectRequest("book")], image, Finder())

    def test_equal_names_are_told_apart(self) -> None:
        box = (1.0, 1.0, 5.0, 5.0)
        things = prepare_things([ObjectRequest("cup", box), ObjectRequest("book", box), ObjectRequest("cup", box)])
        assert [thing.name for thing in things] == ["cup", "book", "cup 2"]
        called = [replace(things[0], name=name) for name in ("cup", "cup", "cup 2", "cup")]
        assert [thing.name for thing in told_apart(called)] == ["cup", "cup 3", "cup 2", "cup 4"]
