"""InterCap: meshes of the world come back in each camera's frame, with the template's pose."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.data.datasets.fixtures.intercap import write_intercap
from hoirecon.data.datasets.fixtures.placed import thing, write_ply
from hoirecon.data.datasets.intercap import open_intercap
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import ReconstructionTruth
from hoirecon.errors import InputError


@pytest.mark.parametrize("camera", [1, 2])
def test_every_frame_comes_back_exactly(camera: int, tmp_path: Path) -> None:
    truth = write_intercap(tmp_path)
    rvec, t = truth["cameras"][camera - 1]
    R = Rotation.from_rotvec(rvec).as_matrix()
    verts, _ = thing()
    data = open_dataset("intercap", tmp_path, "all", camera=camera)
    assert (len(data), data.stand_in) == (4, True)
    for sample in data:
        true, said = truth[sample.id.removesuffix("/cam2")], sample.truth["reconstruction"]
        assert isinstance(said, ReconstructionTruth)
        assert said.object_pose is not None
        assert said.body_verts is not None
        assert np.abs(said.body_verts - (true["body_world"] @ R.T + t)).max() < 1e-9
        assert said.object_verts is not None
        assert np.abs(said.object_verts - (true["thing_world"] @ R.T + t)).max() < 1e-9
        assert np.abs(said.object_pose.R - R @ true["R"]).max() < 1e-9
        mesh = sample.question.object_mesh
        assert mesh is not None
        assert np.abs(mesh.verts - (verts - verts.mean(0))).max() < 1e-12
        assert np.abs(said.object_pose.apply(mesh.verts) - said.object_verts).max() < 1e-9
        assert said.topology == "standin-10475"
        assert np.array_equal(said.body_params["world_betas"], true["betas"])
        assert sample.question.camera is not None
        assert sample.question.camera.K[0, 0] == 59 + camera
        assert (sample.question.image is not None) == (camera == 1)
    assert [data[0].question.label, data[3].question.label] == ["chair", "cup"]
    assert (data[0].id, data[0].group) == ("01_07_0/00000" + ("/cam2" if camera == 2 else ""), "01_07_0")


def test_splits_are_the_users_own(tmp_path: Path) -> None:
    write_intercap(tmp_path)
    assert [s.group for s in open_intercap(tmp_path, "test")] == ["01_07_0"] * 2
    (tmp_path / "split.json").write_text('{"test": ["01_07_0", "03_01_1"]}')
    with pytest.raises(InputError, match="lacks 1 of the 2 sequences"):
        open_intercap(tmp_path, "test")
    (tmp_path / "split.json").unlink()
    with pytest.raises(InputError, match="no official split"):
        open_intercap(tmp_path, "test")
    assert len(open_intercap(tmp_path)) == 4


def test_other_templates_missing_meshes_and_calibrations_are_named(tmp_path: Path) -> None:
    write_intercap(tmp_path)
    mesh = tmp_path / "Res" / "01" / "07" / "Seg_0" / "Mesh" / "00001_second_obj.ply"
    mesh.unlink()
    assert "00001" in open_intercap(tmp_path).problems[0].what
    verts, faces = thing()
    write_ply(tmp_path / "objs" / "07.ply", verts * 1.01, faces)
    with pytest.raises(InputError, match="no rigid motion"):
        open_intercap(tmp_path)[0]
    shutil.rmtree(tmp_path / "objs")
    said = open_intercap(tmp_path)[0]
    assert said.question.object_mesh is None
    shutil.rmtree(tmp_path / "calibration_third")
    with pytest.raises(InputError, match=r"no calibration_third/Color_3\.json"):
        open_intercap(tmp_path, camera=3)[0]
