"""A user's own mesh: units, repairs, and clear refusals."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh

from hoirecon.data.objects import prepare_mesh
from hoirecon.data.objects.prepare import MeshRepairWarning
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh


def _box(scale: float = 1.0) -> trimesh.Trimesh:
    return trimesh.creation.box((0.4 * scale, 0.3 * scale, 0.2 * scale))


def _file(folder: Path, mesh: trimesh.Trimesh, name: str = "thing.obj") -> Path:
    mesh.export(folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["a.obj", "a.ply", "a.stl", "a.off", "a.glb"])
def test_every_format_gives_the_same_closed_mesh(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = prepare_mesh(_file(tmp_path, _box(), name))
    assert len(mesh.verts) == 8
    assert mesh.is_watertight
    np.testing.assert_allclose(mesh.extents, [0.4, 0.3, 0.2], atol=1e-6)
    np.testing.assert_allclose(mesh.verts.max(0) + mesh.verts.min(0), 0, atol=1e-9)
    assert mesh.to_trimesh().volume == pytest.approx(0.024, rel=1e-4)


def test_a_mesh_object_is_centred() -> None:
    box = _box()
    mesh = prepare_mesh(Mesh(np.asarray(box.vertices) + 5, box.faces, name="moved"))
    assert mesh.name == "moved"
    np.testing.assert_allclose(np.abs(mesh.verts).max(0), [0.2, 0.15, 0.1])


def test_millimetres_are_refused_found_or_taken(tmp_path: Path) -> None:
    file = _file(tmp_path, _box(1000))
    with pytest.raises(InputError, match="unit='mm'"):
        prepare_mesh(file)
    with pytest.warns(MeshRepairWarning, match="millimetres"):
        found = prepare_mesh(file, unit="auto")
    taken = prepare_mesh(file, unit="mm")
    np.testing.assert_allclose(found.extents, [0.4, 0.3, 0.2])
    np.testing.assert_allclose(taken.verts, found.verts)
    np.testing.assert_allclose(prepare_mesh(_file(tmp_path, _box(100)), unit="cm").extents, [0.4, 0.3, 0.2])


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither metres nor millimetres"):
        prepare_mesh(_file(tmp_path, _box(1e7)), unit="auto")
    with pytest.raises(InputError, match="scale it to metres"):
        prepare_mesh(_file(tmp_path, _box(1e-9)))
    with pytest.raises(InputError, match="expected one of"):
        prepare_mesh(_file(tmp_path, _box()), unit="inch")


def test_winding_and_inversion_are_mended(tmp_path: Path) -> None:
    inside_out = _box()
    inside_out.invert()
    mixed = _box()
    mixed.faces[3] = mixed.faces[3][::-1]
    for k, broken in enumerate((inside_out, mixed)):
        with pytest.warns(MeshRepairWarning, match="turned"):
            mesh = prepare_mesh(_file(tmp_path, broken, f"{k}.ply"))
        assert mesh.is_watertight
        assert mesh.to_trimesh().volume == pytest.approx(0.024, rel=1e-4)


def test_a_small_hole_is_filled_and_a_large_one_is_said(tmp_path: Path) -> None:
    holed = _box()
    holed.update_faces(np.arange(len(holed.faces)) > 0)
    with pytest.warns(MeshRepairWarning, match="small holes are filled"):
        assert prepare_mesh(_file(tmp_path, holed, "hole.ply")).is_watertight
    tube = trimesh.creation.cylinder(0.1, 0.4)
    tube.update_faces(np.abs(tube.face_normals[:, 2]) < 0.5)
    with pytest.warns(MeshRepairWarning, match="open"):
        prepare_mesh(_file(tmp_path, tube, "tube.ply"))


def test_double_and_degenerate_faces_are_dropped() -> None:
    box = _box()
    faces = np.concatenate([box.faces, box.faces[:1], [[0, 0, 1]]])
    with pytest.warns(MeshRepairWarning, match="dropped 2"):
        mesh = prepare_mesh(Mesh(box.vertices, faces))
    assert len(mesh.faces) == 12


def test_touching_solids_stay_closed() -> None:
    """Two boxes that share an edge only: merged they are no manifold, apart they are two closed solids."""
    pair = trimesh.util.concatenate([_box(), _box().apply_translation((0.4, 0.3, 0))])
    mesh = prepare_mesh(Mesh(pair.vertices, pair.faces))
    assert mesh.is_watertight
    assert len(mesh.verts) == 16


def test_a_real_non_manifold_is_refused() -> None:
    box = _box()
    fin = len(box.vertices)
    verts = np.concatenate([box.vertices, [[1.0, 1.0, 1.0]]])
    a, b = box.faces[0, :2]
    with pytest.raises(InputError, match="three or more faces"):
        prepare_mesh(Mesh(verts, np.concatenate([box.faces, [[a, b, fin]]])))


def test_flat_and_empty_are_refused(tmp_path: Path) -> None:
    plane = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    with pytest.raises(InputError, match="flat"):
        prepare_mesh(plane)
    (tmp_path / "points.ply").write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                                         "property float z\nend_header\n0 0 0\n")  # fmt: skip
    (tmp_path / "empty.obj").write_text("")
    for name in ("points.ply", "empty.obj"):
        with pytest.raises(InputError, match=r"no triangles|cannot be read"):
            prepare_mesh(tmp_path / name)


def test_nan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nan.obj").write_text("v 0 0 0\nv nan 1 0\nv 0 1 1\nf 1 2 3\n")
    with pytest.raises(InputError):
        prepare_mesh(tmp_path / "nan.obj")


@pytest.mark.parametrize(
    "content", [b"\x00\xff" * 200, b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\n"]
)
@pytest.mark.parametrize("suffix", [".ply", ".stl", ".glb", ".off"])
def test_rubbish_files_end_in_one_sentence(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"rubbish{suffix}"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"rubbish"):
        prepare_mesh(file)


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    for name in ("mesh.pkl", "mesh.npz", "mesh.3dxml", "mesh.blend"):
        (tmp_path / name).write_bytes(b"anything")
        with pytest.raises(InputError, match="convert it"):
            prepare_mesh(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        prepare_mesh(tmp_path / "missing.obj")


def test_large_meshes_are_decimated() -> None:
    pytest.importorskip("open3d")
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.2)  # 20480 faces
    mesh = prepare_mesh(Mesh(ball.vertices, ball.faces), target_faces=1000)
    assert len(mesh.faces) <= 1000
    assert mesh.is_watertight
    np.testing.assert_allclose(np.linalg.norm(mesh.verts, axis=1), 0.2, rtol=0.02)
    with pytest.raises(InputError, match="at least 4"):
        prepare_mesh(Mesh(ball.vertices, ball.faces), target_faces=2)
