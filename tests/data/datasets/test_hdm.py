"""Clouds of template-free reconstruction: a file written by hand is split as its colours say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoirecon.data.datasets.hdm import (
    iter_hdm_predictions,
    read_hdm_cloud,
    write_hdm_cloud,
    write_hdm_predictions,
)
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import ReconstructionTruth
from hoirecon.errors import InputError

HEAD = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
BYTES = "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
FLOATS = "property float red\nproperty float green\nproperty float blue\nend_header\n"


def test_clouds_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_text(HEAD + BYTES + "0 0 1 9 9 255\n0 0 2 250 140 0\n0 0 3 0 0 1\n0 0 4 255 255 0\n")
    person, thing = read_hdm_cloud(path)
    assert (person[:, 2].tolist(), thing[:, 2].tolist()) == ([1, 3], [2, 4])  # any blue at all is the person's
    path.write_text(HEAD + FLOATS + "0 0 1 0 0 0.9\n0 0 2 1 1 0.4\n0 0 3 0 0 0.6\n0 0 4 0 0 0.0\n")
    person, thing = read_hdm_cloud(path)
    assert (person[:, 2].tolist(), thing[:, 2].tolist()) == ([1, 3], [2, 4])


def test_truth_is_halves_and_predictions_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(10, 3))
    write_hdm_cloud(points[:5], points[5:], tmp_path / "gt" / "Date03_chair" / "t0001.ply")
    (sample,) = open_dataset("hdm", tmp_path)
    said = sample.truth["reconstruction"]
    assert isinstance(said, ReconstructionTruth)
    assert (sample.id, sample.group) == ("Date03_chair/t0001", "Date03_chair")
    assert np.array_equal(said.body_verts, points[:5])
    assert np.array_equal(said.object_verts, points[5:])
    answers = [Prediction(sample.id, body_verts=points[:7], object_verts=points[7:]), Prediction("b", failed="no")]
    assert write_hdm_predictions(answers, tmp_path / "pred") == 1
    (back,) = iter_hdm_predictions(tmp_path / "pred")
    assert back.id == sample.id
    assert np.array_equal(back.body_verts, points[:7])
    assert np.array_equal(back.object_verts, points[7:])


def test_bad_clouds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    for text, says in (
        (HEAD + "end_header\n" + "0 0 1\n" * 4, "no colours"),
        (HEAD + BYTES + "0 0 1 9 9 255\n" * 4, "all 4 points are the person's"),
        (HEAD + BYTES + "0 0 nan 9 9 255\n" * 4, "NaN"),
        ("plx", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=says):
            read_hdm_cloud(path)
    with pytest.raises(InputError, match="outside"):
        write_hdm_predictions([Prediction("../x", body_verts=np.ones((1, 3)), object_verts=np.ones((1, 3)))], tmp_path)
    with pytest.raises(InputError, match="lacks points"):
        write_hdm_predictions([Prediction("x", body_verts=np.ones((1, 3)))], tmp_path)
