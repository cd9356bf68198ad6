"""Mesh files: axes, colours and order as they are announced."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import trimesh

from hoirecon.scene import Scene
from hoirecon.views.look import part_contacts
from hoirecon.views.meshes import GLTF_NOTE, T_GLTF_CAM, file_stem, glb_bytes, scene_meshes, write_glb, write_objs
from hoirecon.views.palette import contact_colors, to_bytes, to_linear


def test_the_glb_has_gltf_axes(scene: Scene, tmp_path: Path) -> None:
    write_glb(scene, tmp_path / "scene.glb")
    loaded = trimesh.load_scene(tmp_path / "scene.glb")
    assert loaded.metadata["note"] == GLTF_NOTE
    assert len(loaded.geometry) == 2
    expected = np.concatenate([mesh.verts for mesh in scene_meshes(scene)]) * [1, -1, -1]
    np.testing.assert_allclose(loaded.bounds, [expected.min(axis=0), expected.max(axis=0)], atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(T_GLTF_CAM), 1)  # turned, not mirrored
    assert all(geometry.volume > 0 for geometry in loaded.geometry.values())


def test_the_glb_is_matt_and_coloured_by_contact_in_linear_light(scene: Scene) -> None:
    mesh, contact = scene_meshes(scene)[0], part_contacts(scene)[0]
    data = glb_bytes([mesh], [contact_colors(contact)], ["body"], np.eye(4), "")
    (shown,) = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False).geometry.values()
    assert shown.visual.material.metallicFactor == 0
    place = np.abs(mesh.verts[None] - shown.vertices[:, None]).sum(axis=2).argmin(axis=1)
    expected = to_bytes(to_linear(contact_colors(contact)))[place]
    found = np.asarray(shown.visual.vertex_attributes["color"])[:, :3].astype(int)
    assert np.abs(found - expected).max() <= 1


def test_objs_are_in_the_camera_frame_and_in_order(scene: Scene, tmp_path: Path) -> None:
    paths = write_objs(scene, tmp_path)
    assert [path.name for path in paths] == ["body.obj", "object_red_b_box_b.obj"]
    for path, mesh in zip(paths, scene_meshes(scene), strict=True):
        assert "x right, y down, z forward" in path.read_text().splitlines()[1]
        lines = [line.split() for line in path.read_text().splitlines() if line[0] in "vf"]
        verts = np.array([line[1:] for line in lines if line[0] == "v"], dtype=float)
        faces = np.array([line[1:] for line in lines if line[0] == "f"], dtype=int)
        np.testing.assert_allclose(verts, mesh.verts, rtol=1e-8, atol=1e-12)
        np.testing.assert_array_equal(faces - 1, mesh.faces)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "", "...", "Käse 1", "x" * 300, "con\n# evil"])
def test_no_name_leaves_the_folder(name: str) -> None:
    stem = file_stem(name)
    assert stem.isascii()
    assert not set(stem) & set("./\\ \n")
    assert 0 < len(stem) <= 60
