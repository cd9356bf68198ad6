"""Per-image folders: what is written is what is read, in each layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoirecon import Camera
from hoirecon.data.closedworld import LAYOUTS, ClosedWorldScene, make_scene, observe_scene, read_folder, write_folder
from hoirecon.data.closedworld.folders import box_of_camera, camera_of_box
from hoirecon.errors import InputError

pytest.importorskip("open3d")


@pytest.fixture(scope="module")
def scene() -> ClosedWorldScene:
    """A person who sits on a box."""
    return make_scene(4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_round_trips(scene: ClosedWorldScene, layout: str, tmp_path: Path) -> None:
    given = observe_scene(scene, "L2")
    back = read_folder(write_folder(scene, given, tmp_path, layout), layout)
    assert np.allclose(back.camera.K, given.observation.camera.K)
    assert np.array_equal(back.body_verts, given.body.verts)
    assert np.array_equal(back.mesh.verts, given.mesh.verts)
    assert np.array_equal(back.mesh.faces, given.mesh.faces)
    assert np.array_equal(back.object_mask, given.observation.object_masks[0])
    assert np.array_equal(back.person_mask, given.observation.person_mask)
    assert given.contacts is not None
    assert given.correspondences is not None
    if layout != "pico":
        assert np.array_equal(back.body_contact, given.contacts[0].probability)
        assert np.array_equal(back.object_contact, given.contacts[1].probability)
    if layout != "interactvlm":
        assert back.correspondences is not None
        assert np.array_equal(back.correspondences.faces, given.correspondences.faces)
        assert np.array_equal(back.correspondences.bary, given.correspondences.bary)
    seen = given.observation.keypoints
    assert seen is not None
    assert (back.keypoints is not None) == (layout == "hoirecon")  # the other programs have no place for them
    if back.keypoints is not None:
        assert back.keypoints.layout == seen.layout
        assert np.array_equal(back.keypoints.xy, seen.xy)
        assert np.array_equal(back.keypoints.confidence, seen.confidence)


def test_a_folder_without_landmarks_is_read(scene: ClosedWorldScene, tmp_path: Path) -> None:
    """Folders written before there were any, or of a picture without a detector."""
    given = observe_scene(scene, "L0")
    blind = replace(given, observation=given.observation.replace(keypoints=None))
    assert read_folder(write_folder(scene, blind, tmp_path, "hoirecon"), "hoirecon").keypoints is None


def test_interactvlm_folders_hold_the_files_that_its_program_opens(scene: ClosedWorldScene, tmp_path: Path) -> None:
    folder = write_folder(scene, observe_scene(scene, "L0"), tmp_path)
    names = {p.name for p in folder.iterdir()}
    assert {"osx_human2.npz", "hcontact_vertices.npz", "ocontact_vertices.npz", "human_mask.png", "object_mask.png",
            "human_detection.json", "object_detection.json", "object_mesh.obj"} <= names  # fmt: skip


def test_scenes_without_contact_are_written_too(tmp_path: Path) -> None:
    scene = make_scene(13)
    assert scene.interaction == "no_contact"
    given = observe_scene(scene, "L2")
    for layout in LAYOUTS:
        back = read_folder(write_folder(scene, given, tmp_path / layout, layout), layout)
        assert back.correspondences is None


def test_the_box_stands_for_the_camera() -> None:
    camera = Camera(np.array([[900.0, 0, 300], [0, 910, 250], [0, 0, 1]]), 640, 480)
    assert np.allclose(camera_of_box(box_of_camera(camera), (480, 640)).K, camera.K)


def test_bad_folders_are_refused(scene: ClosedWorldScene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="interactvlm, pico"):
        write_folder(scene, observe_scene(scene, "L0"), tmp_path, "coco")
    with pytest.raises(InputError, match="does not exist"):
        read_folder(tmp_path / "nothing")
    folder = write_folder(scene, observe_scene(scene, "L0"), tmp_path, "pico")
    text = (folder / "corresponding_contacts.json").read_text()
    (folder / "corresponding_contacts.json").write_text(text.replace('"f ', '"f x '))
    with pytest.raises(InputError, match="f face b0 b1 b2"):
        read_folder(folder, "pico")
