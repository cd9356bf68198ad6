"""CONTHO's json: poses of the world come back in the camera's frame; bad rows are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.contho import ConthoDataset, open_contho
from hoirecon.data.datasets.fixtures.contho import write_contho
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import BodyContactTruth, ReconstructionTruth
from hoirecon.errors import InputError


@pytest.mark.parametrize("source", ["behave", "intercap"])
def test_every_annotation_comes_back_exactly(source: str, tmp_path: Path) -> None:
    truth = write_contho(tmp_path, source)
    data = open_dataset("contho", tmp_path, "test", source=source)
    assert isinstance(data, ConthoDataset)
    assert (len(data), data.version, data.stand_in) == (4, f"{source}-json", True)
    for index, sample in enumerate(data):
        true, said = truth[sample.id], sample.truth["reconstruction"]
        assert isinstance(said, ReconstructionTruth)
        assert said.object_pose is not None
        assert np.abs(said.object_pose.R - true["R_cam"]).max() < 1e-9
        assert np.abs(said.object_pose.t - true["t_cam"]).max() < 1e-9
        assert np.array_equal(said.body_joints, true["joints"])
        contact = sample.truth["body_contact"]
        assert isinstance(contact, BodyContactTruth)
        assert np.array_equal(contact.contact, true["contact"])
        assert contact.topology == "standin-6890"
        assert np.array_equal(data.keypoint_contact(index), true["keypoints"])
        assert np.array_equal(said.body_params["pose" if index == 0 else "world_pose"], true["pose"])
        assert sample.group == true["sequence"]
        q = sample.question
        assert (q.person_box, q.label) == ((10, 20, 300, 400), "backpack")
        assert (q.image is not None, q.person_mask is not None, q.object_mask is not None) == (index == 0,) * 3
        assert q.object_mesh is not None
        assert "h2d_keypoints" not in q.extra  # the true ones
        pixels = data.keypoints_px(index)
        assert pixels is not None
        assert pixels.shape == (73, 2)
    assert "1 sample without an annotation" in data.problems[0].what


def spoil(root: Path, change: Any) -> None:
    path = root / "behave_test.json"
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: h.pop("annotations"), "lacks annotations"),
        (lambda h: h["annotations"][1].update(id=7), "stands twice"),
        (lambda h: h["annotations"][0].update(image_id=5), "no listed image"),
        (lambda h: h["annotations"][0].pop("h_contacts"), "lacks h_contacts"),
        (lambda h: h["annotations"][0].update(bbox=[1, 2, -3, 4]), "both sizes positive"),
        (lambda h: h["annotations"][0]["smpl_param"].update(pose=[0.0] * 72), "pose of 72 numbers"),
        (lambda h: h["annotations"][0]["obj_param"].update(trans=[1200.0, 0, 3000.0]), "millimetres"),
        (lambda h: h["annotations"][0].update(h3d_keypoints=[0.0] * 72), "shape"),
        (lambda h: h["images"][0]["cam_param"].update(R=np.diag([1, 1, -1]).tolist()), "left-handed"),
        (lambda h: h["images"][0].update(file_name="../../etc/passwd"), "outside"),
    ],
)
def test_bad_rows_are_named(change: Any, says: str, tmp_path: Path) -> None:
    write_contho(tmp_path)
    spoil(tmp_path, change)
    with pytest.raises(InputError, match=says):
        list(open_contho(tmp_path))


def test_labels_on_another_body_are_named(tmp_path: Path) -> None:
    write_contho(tmp_path)
    (tmp_path / "standin.json").unlink()
    spoil(tmp_path, lambda h: h["annotations"][0].update(h_contacts=[0] * 6891))
    with pytest.raises(InputError, match="6891 vertices"):
        open_contho(tmp_path)[0]
    with pytest.raises(InputError, match=r"no intercap_test\.json"):
        open_contho(tmp_path, source="intercap")
