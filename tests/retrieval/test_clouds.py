"""From meshes with any kind of colour to prepared clouds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.retrieval import surfaces
from hoirecon.retrieval.clouds import PointCloud, prepare_clouds, sample_cloud
from hoirecon.retrieval.surfaces import GREY, Surface, joined, read_surface, sample_texture, surface_of
from tests.retrieval.stand_ins import colored_box

TWO = Mesh([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]], [[0, 1, 2], [3, 4, 5]])
"""Two triangles, the first nine times as large as the second."""


def test_points_lie_on_the_faces_in_proportion_to_their_area() -> None:
    cloud = sample_cloud(TWO, 1000)
    lower = cloud.points[:, 2] == 0
    assert lower.sum() == 900  # stratified: exact to one point
    for side, mine in ((3, lower), (1, ~lower)):
        points = cloud.points[mine]
        assert (points[:, :2] >= 0).all()
        assert (points[:, :2].sum(1) <= side + 1e-12).all()
        assert np.allclose(points[:, :2].mean(0), side / 3, atol=0.1 * side)
        # Even inside the triangle: the quarter at each corner has a quarter of the points.
        assert abs((points[:, 0] > side / 2).mean() - 0.25) < 0.09


def test_the_order_is_shuffled_and_repeats_by_content_and_seed() -> None:
    one, same, other = sample_cloud(TWO, 500), sample_cloud(TWO, 500), sample_cloud(TWO, 500, seed=1)
    assert np.array_equal(one.points, same.points)
    assert not np.array_equal(one.points, other.points)
    assert not np.array_equal(one.points, sample_cloud(colored_box((9, 9, 9)), 500).points)
    assert 10 < (one.points[:250, 2] == 1).sum() < 40  # of the 50 on the small triangle, about half come in each half


def test_faces_without_area_are_never_drawn() -> None:
    flat = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]], [[3, 3, 3], [0, 1, 2], [3, 3, 3], [0, 0, 3]])
    assert sample_cloud(flat, 2000).points.max() <= 1
    with pytest.raises(InputError, match="area 0"):
        sample_cloud(Mesh(np.zeros((3, 3)), [[0, 1, 2]]))
    for count in (0, 10_000_000):
        with pytest.raises(InputError, match="count is"):
            sample_cloud(TWO, count)


def test_colours_of_vertices_and_none() -> None:
    red_to_blue = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], colors=[[255, 0, 0], [0, 0, 255], [255, 0, 0]])
    cloud = sample_cloud(red_to_blue, 50)
    assert cloud.colors is not None
    assert np.allclose(cloud.colors[:, 2], cloud.points[:, 0])
    assert np.allclose(cloud.colors[:, 0], 1 - cloud.points[:, 0])
    plain = sample_cloud(TWO, 10).colors
    assert plain is not None
    assert np.allclose(plain, GREY)


def square(visual: Any = None) -> Any:
    """The unit square as a :class:`trimesh.Trimesh`."""
    verts = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    return trimesh.Trimesh(verts, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


def textured(factor: Any = None, size: int = 64, kind: str = "pbr") -> Any:
    """The unit square with a picture: left half red, right half green, the upper half also blue."""
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[:, : size // 2, 0] = pixels[:, size // 2 :, 1] = pixels[: size // 2, :, 2] = 255
    image = Image.fromarray(pixels)
    if kind == "pbr":
        material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, baseColorFactor=factor)
    else:
        material = trimesh.visual.material.SimpleMaterial(image=image, diffuse=factor)
    uv = [[0, 0], [1, 0], [1, 1], [0, 1]]
    return square(trimesh.visual.TextureVisuals(uv=uv, material=material))


def colors_and_points(mesh: Any) -> tuple[Any, Any]:
    cloud = sample_cloud(mesh if isinstance(mesh, Surface) else surface_of(mesh), 400)
    assert cloud.colors is not None
    return cloud.colors, cloud.points


@pytest.mark.parametrize("kind", ["pbr", "simple"])
@pytest.mark.parametrize("through_file", [False, True])
def test_colours_of_textures(tmp_path: Path, kind: str, through_file: bool) -> None:
    mesh: Any = textured(kind=kind)
    if through_file:
        path = tmp_path / ("square.glb" if kind == "pbr" else "square.obj")
        mesh.export(path)
        mesh = read_surface(path)
    colors, points = colors_and_points(mesh)
    away = (abs(points[:, :2] - 0.5) > 0.02).all(1) & (abs(points[:, :2] - 0.5) < 0.47).all(1)
    expected = np.stack([points[:, 0] < 0.5, points[:, 0] > 0.5, points[:, 1] > 0.5], 1)
    assert np.allclose(colors[away], expected[away])


def test_a_material_multiplies_its_texture_and_counts_alone() -> None:
    colors, _ = colors_and_points(textured(factor=[255, 255, 0, 255]))
    assert (colors[:, 2] == 0).all()
    assert colors[:, :2].max() == 1
    plain = trimesh.visual.material.PBRMaterial(baseColorFactor=[0, 51, 255, 255])
    colors, _ = colors_and_points(square(trimesh.visual.TextureVisuals(material=plain)))
    assert np.allclose(colors, [0, 0.2, 1])
    colors, _ = colors_and_points(square(trimesh.visual.TextureVisuals(material=trimesh.visual.material.PBRMaterial())))
    assert np.allclose(colors, GREY)


def test_colours_of_faces_and_a_scene_of_all_kinds(tmp_path: Path) -> None:
    faces = square(trimesh.visual.ColorVisuals(face_colors=[[255, 0, 0, 255], [0, 0, 255, 255]]))
    colors, points = colors_and_points(faces)
    first = points[:, 0] > points[:, 1]
    assert np.allclose(colors, np.where(first[:, None], [1, 0, 0], [0, 0, 1]))
    scene = trimesh.Scene()
    scene.add_geometry(textured(), transform=trimesh.transformations.translation_matrix([0, 0, 5]))
    scene.add_geometry(
        textured(factor=[255, 0, 0, 255]), transform=trimesh.transformations.translation_matrix([0, 0, 7])
    )
    scene.add_geometry(square())
    scene.export(tmp_path / "scene.glb")
    surface = read_surface(tmp_path / "scene.glb")
    colors, points = colors_and_points(surface)
    assert np.allclose(colors[points[:, 2] == 0], GREY)
    assert colors[points[:, 2] == 5].max(0).tolist() == [1, 1, 1]
    assert colors[points[:, 2] == 7].max(0).tolist() == [1, 0, 0]
    assert len(surface.textures) == 2


def test_textures_repeat_and_blend() -> None:
    texture = np.array([[[0], [100]], [[200], [40]]], np.uint8).repeat(3, 2)
    centres = np.array([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.75, 0.25]])
    got = sample_texture(texture, centres)[:, 0] * 255
    assert np.allclose(got, [0, 100, 200, 40])
    assert np.allclose(sample_texture(texture, centres + np.array([3, -2]))[:, 0] * 255, got)
    assert np.allclose(sample_texture(texture, np.array([[0.5, 0.5]])) * 255, 85)


def test_hostile_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.glb").write_bytes(b"glTF" + b"\0" * 40)
    (tmp_path / "b.exe").write_bytes(b"x")
    (tmp_path / "c.ply").write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                                    "property float z\nend_header\n0 0 0\n")  # fmt: skip
    for name, said in (
        ("a.glb", "cannot be read"),
        ("b.exe", "not a mesh file"),
        ("c.ply", "no triangles"),
        ("d.obj", "exist"),
    ):
        with pytest.raises(InputError, match=said):
            read_surface(tmp_path / name)
    square().export(tmp_path / "e.ply")
    monkeypatch.setattr(surfaces, "MAX_FACES", 1)
    with pytest.raises(InputError, match="2 faces, more than 1"):
        read_surface(tmp_path / "e.ply")
    monkeypatch.setattr(surfaces, "MAX_BYTES", 1)
    with pytest.raises(InputError, match="more than"):
        read_surface(tmp_path / "e.ply")
    monkeypatch.setattr(surfaces, "MAX_TEXTURE_PIXELS", 100)
    with pytest.raises(InputError, match="texture of 64 x 64"):
        surface_of(textured())
    with pytest.raises(InputError, match="no triangles"):
        joined([], "nothing")


def test_a_damaged_texture_leaves_the_shape() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(stream, "PNG")
    mesh = textured()
    mesh.visual.material.baseColorTexture = Image.open(io.BytesIO(stream.getvalue()[:2000]))
    colors, _ = colors_and_points(mesh)
    assert np.allclose(colors, GREY)


def test_preparation_forgets_place_and_size_and_exchanges_y_and_z() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    xyz, features = prepare_clouds([PointCloud(points), PointCloud(points * 7 + [1, 2, 3], np.full((50, 3), 0.25))])
    assert np.allclose(xyz[0], xyz[1], atol=1e-6)
    assert np.allclose(xyz.mean(1), 0, atol=1e-6)
    assert np.allclose(np.linalg.norm(xyz, axis=2).max(1), 1)
    assert np.allclose(features[0, :, 3:], 0.4)
    assert np.allclose(features[1, :, 3:], 0.25)
    upright, _ = prepare_clouds([PointCloud(points)], up="y")
    assert np.array_equal(upright[0][:, [0, 2, 1]], xyz[0])
    alone, same = prepare_clouds([PointCloud(points)], channels=3)
    assert np.array_equal(alone, same)


def test_a_single_point_becomes_zeros_and_odd_clouds_are_refused() -> None:
    xyz, _ = prepare_clouds([PointCloud(np.full((4, 3), 5.0))])
    assert (xyz == 0).all()
    with pytest.raises(InputError, match="NaN"):
        PointCloud([[np.nan, 0, 0]])
    with pytest.raises(InputError, match=r"RGB in 0\.\.1"):
        PointCloud([[0, 0, 0]], [[0, 0, 255]])
    with pytest.raises(InputError, match="one number for all"):
        prepare_clouds([PointCloud([[0, 0, 0]]), PointCloud([[0, 0, 0], [1, 1, 1]])])
    with pytest.raises(InputError, match="channels"):
        prepare_clouds([PointCloud([[0, 0, 0]])], channels=4)
