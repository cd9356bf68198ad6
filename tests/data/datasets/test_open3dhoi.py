"""Open3DHOI: folders come back exactly; questions never hold the placed object."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.data.datasets.fixtures.open3dhoi import FOLDERS, write_open3dhoi
from hoirecon.data.datasets.open3dhoi import open_open3dhoi, read_open3dhoi_folder
from hoirecon.data.datasets.registry import open_dataset
from hoirecon.data.datasets.samples import ReconstructionTruth
from hoirecon.errors import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("open3dhoi")
    return root, write_open3dhoi(root)


@pytest.fixture
def copy(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_every_folder_comes_back_exactly(made: tuple[Path, dict[str, Any]]) -> None:
    root, truth = made
    data = list(open_dataset("open3dhoi", root))
    assert sorted(s.id for s in data) == sorted(FOLDERS)
    for sample in data:
        true, said = truth[sample.id], sample.truth["reconstruction"]
        assert isinstance(said, ReconstructionTruth)
        assert np.abs(said.body_verts - true["body_cam"]).max() < 1e-12
        assert np.abs(said.object_verts - true["thing_cam"]).max() < 1e-12
        assert said.object_pose is None
        assert all(
            np.array_equal(said.body_params[k], true[k]) for k in ("root_pose", "body_pose", "shape", "cam_trans")
        )
        q = sample.question
        assert q.camera is not None
        assert np.array_equal(q.camera.K, true["K"])
        assert (q.camera.width, q.camera.height, q.person_box) == (64, 48, true["box"])
        assert q.object_mesh is None
        assert q.person_mask is not None
    assert {s.question.label for s in data} == {"motorcycle", "hair drier"}


def test_an_unposed_template_and_its_pose_give_the_truth_back(made: tuple[Path, dict[str, Any]]) -> None:
    root, truth = made
    for sample in open_open3dhoi(root, template="unposed"):
        said = sample.truth["reconstruction"]
        assert isinstance(said, ReconstructionTruth)
        mesh = sample.question.object_mesh
        assert mesh is not None
        assert said.object_pose is not None
        assert np.abs(said.object_pose.apply(mesh.verts) - truth[sample.id]["thing_cam"]).max() < 1e-9
        assert np.abs(mesh.verts.mean(0)).max() < 1e-12  # where it stands is gone
        assert np.trace(said.object_pose.R) < 2.9  # and how it is turned
        assert abs(said.object_pose.s - 1) > 0.01  # and how large it is


def test_one_folder_anywhere_is_a_scene(made: tuple[Path, dict[str, Any]]) -> None:
    root, truth = made
    sample = read_open3dhoi_folder(root / FOLDERS[1])
    said = sample.truth["reconstruction"]
    assert isinstance(said, ReconstructionTruth)
    assert np.abs(said.body_verts - truth[FOLDERS[1]]["body_cam"]).max() < 1e-12
    with pytest.raises(InputError, match="scene folder holds"):
        read_open3dhoi_folder(root)


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_camera_is_that_of_the_upright_photograph(copy: Path, orientation: int) -> None:
    """Readers of photographs obey EXIF: a camera of the stored size would fit no picture that was held upright."""
    from hoirecon.images import read_image

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = copy / FOLDERS[1] / "image.jpg"
    Image.new("RGB", (64, 48)).save(path, exif=exif)
    camera = read_open3dhoi_folder(copy / FOLDERS[1]).question.camera
    assert camera is not None
    assert (camera.height, camera.width) == read_image(path).rgb.shape[:2]


def spoil(path: Path, **changes: Any) -> None:
    held = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in held.items() if v is not None}))


def test_bad_folders_are_named(copy: Path) -> None:
    folder = copy / FOLDERS[1]
    spoil(folder / "extrinsic.json", rotation=np.diag([1, 1, -1]).tolist())
    with pytest.raises(InputError, match="left-handed"):
        read_open3dhoi_folder(folder)
    spoil(folder / "extrinsic.json", rotation=np.diag([1, -1, -1]).tolist())
    with pytest.raises(InputError, match="behind or at the camera"):
        read_open3dhoi_folder(folder)
    spoil(folder / "extrinsic.json", rotation=np.eye(3).tolist())
    spoil(folder / "smplx_parameters.json", cam_trans=None)
    with pytest.raises(InputError, match="lacks cam_trans"):
        read_open3dhoi_folder(folder)
    spoil(folder / "smplx_parameters.json", cam_trans=["a"])
    with pytest.raises(InputError, match="lists of numbers"):
        read_open3dhoi_folder(folder)
    spoil(folder / "smplx_parameters.json", cam_trans=[0, 0, 2])
    spoil(folder / "box_annotation.json", obj=[60, 5, 10, 42])
    with pytest.raises(InputError, match="x1 < x2"):
        read_open3dhoi_folder(folder)


def test_folders_with_missing_files_are_counted(copy: Path) -> None:
    (copy / FOLDERS[0] / "h_mesh.obj").unlink()
    data = open_open3dhoi(copy)
    assert len(data) == 2
    assert "lacks h_mesh.obj" in data.problems[0].what


def test_a_body_of_no_known_mesh_is_named(copy: Path) -> None:
    from hoirecon.data.datasets.fixtures.placed import thing, write_wavefront

    (copy / "standin.json").unlink()
    verts, faces = thing()
    write_wavefront(copy / FOLDERS[1] / "h_mesh.obj", verts + np.array([0, 0, 3]), faces)
    with pytest.raises(InputError, match="9 vertices"):
        open_open3dhoi(copy)[1 if FOLDERS[1] < FOLDERS[0] else 0]


def test_meshes_in_millimetres_are_named(copy: Path) -> None:
    path = copy / FOLDERS[1] / "object_mesh.obj"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(
        "v " + " ".join(repr(1000 * float(x)) for x in line.split()[1:]) if line.startswith("v ") else line
        for line in lines))  # fmt: skip
    with pytest.raises(InputError, match=r"multiply by 0\.001"):
        read_open3dhoi_folder(copy / FOLDERS[1])
