from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from hoirecon.contact.protocols import ContactObject
from hoirecon.contact.rendering import mesh_files
from hoirecon.contact.rendering.surfaces import (
    body_surface,
    content_hash,
    object_surface,
    position_colors,
    read_thing,
    topology,
    vertex_normals,
)
from hoirecon.contact.rendering.views import object_views, resized, view_lights
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

VERTS = np.array([[5, 5, 5], [0, 0, 0], [1, 0, 0], [1, 2, 0], [0, 2, 0], [0, 0, 4], [9, 9, 9.0]])
FACES = np.array([[1, 2, 3], [1, 3, 4], [1, 5, 2]])  # the first and last vertex belong to none


def files(folder: Path) -> dict[str, Path]:
    """The same mesh in every format that keeps vertices."""
    mesh = trimesh.Trimesh(VERTS, FACES, process=False)
    paths = {kind: folder / f"mesh.{kind}" for kind in ("obj", "ply", "off", "glb")}
    for path in paths.values():
        mesh.export(path)
    return paths


def forms(folder: Path) -> dict[str, Any]:
    mesh = Mesh(VERTS, FACES)
    return {
        "Mesh": mesh,
        "ContactObject": ContactObject(mesh),
        "Trimesh": trimesh.Trimesh(VERTS, FACES, process=False),
        "Scene": trimesh.Scene(trimesh.Trimesh(VERTS, FACES, process=False)),
        "pair": (VERTS, FACES),
        "tensors": (torch.from_numpy(VERTS), torch.from_numpy(FACES)),
        **files(folder),
        "text path": str(files(folder)["obj"]),
    }


@pytest.mark.parametrize("form", ["Mesh", "ContactObject", "Trimesh", "Scene", "pair", "tensors", "obj", "ply", "off",
                                  "glb", "text path"])  # fmt: skip
def test_every_form_keeps_all_vertices_in_order_and_is_of_unit_size(form: str, tmp_path: Path) -> None:
    surface = object_surface(forms(tmp_path)[form])
    assert surface.faces is not None
    assert surface.normals is not None
    np.testing.assert_array_equal(surface.faces, FACES)
    np.testing.assert_allclose(surface.verts, (VERTS - VERTS.mean(0)) / 9, atol=1e-6)
    np.testing.assert_allclose(surface.verts.mean(0), 0, atol=1e-6)
    assert np.ptp(surface.verts, axis=0).max() == pytest.approx(1)
    assert topology(surface) == Mesh(VERTS, FACES).topology


@pytest.mark.parametrize("thing", [VERTS, VERTS.tolist(), torch.from_numpy(VERTS), trimesh.PointCloud(VERTS)])
def test_points_fit_the_unit_sphere(thing: Any) -> None:
    surface = object_surface(thing)
    assert surface.faces is None
    assert surface.normals is None
    np.testing.assert_allclose(surface.verts.mean(0), 0, atol=1e-9)
    assert np.linalg.norm(surface.verts, axis=1).max() == pytest.approx(1)
    assert topology(surface).startswith("points-7p-")


def test_points_of_a_file(tmp_path: Path) -> None:
    trimesh.PointCloud(VERTS).export(tmp_path / "cloud.ply")
    (tmp_path / "cloud.obj").write_text("".join(f"v {x} {y} {z}\n" for x, y, z in VERTS))
    for name in ("cloud.ply", "cloud.obj"):
        assert object_surface(tmp_path / name).faces is None


def test_scenes_are_joined_with_their_transforms() -> None:
    part, scene = trimesh.creation.box((1, 1, 1)), trimesh.Scene()
    scene.add_geometry(part, geom_name="box", node_name="a")
    move = trimesh.transformations.translation_matrix([0, 3, 0])
    scene.graph.update(frame_to="b", matrix=move, geometry="box")
    surface = object_surface(scene)
    assert surface.faces is not None
    assert len(surface.verts) == 16
    assert len(surface.faces) == 24
    np.testing.assert_allclose(np.ptp(surface.verts, axis=0), [0.25, 1, 0.25])


def test_a_library_object_is_named_as_its_mesh() -> None:
    chair = load_object("chair")
    assert topology(object_surface(chair)) == chair.mesh.topology


def test_size_and_place_of_the_original_play_no_part() -> None:
    a, b = object_surface((VERTS, FACES)), object_surface((VERTS * 1000 + [7, -80, 3], FACES))
    np.testing.assert_allclose(a.verts, b.verts, atol=1e-12)
    np.testing.assert_allclose(a.colors, b.colors, atol=1e-12)


def test_colours_go_from_a_tenth_to_nine_tenths_and_flat_axes_are_grey() -> None:
    colors = position_colors(np.array([[0, 7, -1], [4, 7, 1], [1, 7, 0.0]]))
    np.testing.assert_allclose(colors, [[0.1, 0.5, 0.1], [0.9, 0.5, 0.9], [0.3, 0.5, 0.5]])


def test_normals_are_weighted_by_area_and_zero_where_there_is_none() -> None:
    normals = vertex_normals(VERTS, FACES)
    np.testing.assert_allclose(normals, Mesh(VERTS, FACES).vert_normals, atol=1e-12)
    assert not normals[[0, 6]].any()
    doubled = vertex_normals(VERTS, np.concatenate([FACES, FACES[:, ::-1]]))
    np.testing.assert_allclose(doubled, 0)
    surface = object_surface((VERTS, np.concatenate([FACES, FACES[:, ::-1]])))
    table = resized(object_views("4MV-Z_HM"), 32)
    assert ZBufferRenderer().render(surface, table, view_lights(table)).images.min() < 255


def test_a_body_stays_where_it_is_and_shows_its_normals() -> None:
    surface = body_surface(VERTS, FACES)
    assert surface.normals is not None
    np.testing.assert_array_equal(surface.verts, VERTS)
    np.testing.assert_allclose(surface.colors, (surface.normals + 1) / 2)
    assert surface.colors[0].tolist() == [0.5, 0.5, 0.5]


def test_one_triangle_is_an_object() -> None:
    surface = object_surface((np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]), [[0, 1, 2]]))
    table = resized(object_views("4MV-Z_HM"), 48)
    drawn = ZBufferRenderer().render(surface, table, view_lights(table))
    assert (drawn.images < 255).any(axis=(1, 2, 3)).all()
    assert np.isfinite(surface.colors).all()


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        ((np.where(VERTS == 9, np.nan, VERTS), FACES), "1 of 7 vertices of the mesh are NaN"),
        ((np.where(VERTS == 9, np.inf, VERTS), FACES), "NaN or infinite"),
        ((np.ones((3, 3)), [[0, 1, 2]]), "at one place"),
        (np.ones((5, 3)), "at one place"),
        (np.zeros((0, 3)), "at least one"),
        (np.zeros((5, 2)), r"expected \(N, 3\)"),
        ((VERTS, [[0, 1, 7]]), "there are only 7"),
        ((VERTS, [[0, 1, -1]]), "name vertices -1"),
        ((VERTS * 1e300, FACES), "too far off"),
        ((VERTS * 1e-300, FACES), "at one place"),
        ("nowhere.obj", "does not exist"),
        (object(), "is not a shape"),
        (None, "is not a shape"),
        (trimesh.Scene(), "at least one"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_advice(thing: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        object_surface(thing)


def test_too_many_faces_are_refused_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_files, "MAX_FACES", 2)
    with pytest.raises(InputError, match="3 faces, more than 2: decimate"):
        object_surface((VERTS, FACES))
    with pytest.raises(InputError, match="more than 2"):
        object_surface(Mesh(VERTS, FACES))


def test_bodies_without_faces_or_extent_are_refused() -> None:
    with pytest.raises(InputError, match="no faces"):
        body_surface(VERTS, np.zeros((0, 3), int))
    with pytest.raises(InputError, match="at one place"):
        body_surface(VERTS * 0, FACES)


OBJ = """# a comment
mtllib secret.mtl
v 5 5 5
v 0 0 0 0.1 0.2 0.3
v 1 0 0
v 1 2 0 # colour and comment
v 0 2 0
vt 0 0
vn 0 0 1
usemtl a
f 2/1/1 3/1/1 4/1/1 5/1/1
o second
usemtl b
f -4//1 -3//1 \\
 -1//1
v 9 9 9
f 2 6 3
"""


def test_obj_with_seams_materials_polygons_and_negative_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(OBJ)
    mesh = read_thing(tmp_path / "a.obj")
    assert isinstance(mesh, Mesh)
    assert mesh.verts.tolist() == [[5, 5, 5], [0, 0, 0], [1, 0, 0], [1, 2, 0], [0, 2, 0], [9, 9, 9]]
    assert mesh.faces.tolist() == [[1, 2, 3], [1, 3, 4], [1, 2, 4], [1, 5, 2]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.obj", b""),
        ("a.obj", b"f 1 2 3\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -9\n"),
        ("a.obj", b"v 0 0 x\n"),
        ("a.obj", b"v 0 0\nv 1 1\nv 2 2\nf 1 2 3\n"),
        ("a.obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("a.obj", b"\x00\xff" * 500),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999\n"),
        ("a.glb", b"glTF\x02\x00\x00\x00\xff\xff\xff\xff"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n"),
        ("a.pkl", b"cos\nsystem\n(S'true'\ntR."),
    ],
)
def test_broken_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name[-3:]):
        read_thing(tmp_path / name)


@pytest.mark.parametrize("file_type", ["stl", "stl_ascii"])
def test_stl_stays_triangle_soup(file_type: str, tmp_path: Path) -> None:
    trimesh.Trimesh(VERTS, FACES, process=False).export(tmp_path / "a.stl", file_type=file_type)
    mesh = read_thing(tmp_path / "a.stl")
    assert isinstance(mesh, Mesh)
    np.testing.assert_allclose(mesh.verts, VERTS[FACES].reshape(-1, 3), atol=1e-6)
    assert mesh.faces.tolist() == np.arange(3 * len(FACES)).reshape(-1, 3).tolist()


def test_obj_with_numbers_of_many_digits(tmp_path: Path) -> None:
    """The exponent stands last: cut off it would move a vertex by powers of ten."""
    long = "1.2345678901234567890123456789012e-05"
    (tmp_path / "long.obj").write_text(f"v {long} 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", encoding="ascii")
    read = read_thing(tmp_path / "long.obj")
    assert isinstance(read, Mesh)
    assert read.verts[0].tolist() == [float(long), 0, 0]


def test_large_files_are_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.obj").write_text(OBJ)
    monkeypatch.setattr(mesh_files, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="decimate"):
        read_thing(tmp_path / "a.obj")


def test_the_hash_changes_with_everything_that_is_seen() -> None:
    surface, table = object_surface((VERTS, FACES)), object_views("4MV-Z_HM")
    base = content_hash(surface, table)
    assert base == content_hash(object_surface((VERTS.copy(), FACES.copy())), table)
    others = [
        content_hash(replace(surface, verts=surface.verts + 1e-9), table),
        content_hash(replace(surface, faces=FACES[::-1]), table),
        content_hash(replace(surface, faces=None), table),
        content_hash(replace(surface, colors=surface.colors * 0.5), table),
        content_hash(replace(surface, normals=None), table),
        content_hash(surface, resized(table, 512)),
        content_hash(surface, replace(table, render_distance=None)),
        content_hash(surface, object_views("10MV-Z_HM")),
    ]
    assert len({base, *others}) == len(others) + 1
    assert len(base) == 64


@pytest.mark.slow
def test_two_million_faces() -> None:
    n = 1000
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, n + 1), np.linspace(0.01, np.pi - 0.01, n + 1), indexing="ij")
    verts = np.stack([np.sin(v) * np.cos(u), np.cos(v), np.sin(v) * np.sin(u)], -1).reshape(-1, 3)
    corner = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    lower = np.stack([corner, corner + 1, corner + n + 2], 1)
    faces = np.concatenate([lower, np.stack([corner, corner + n + 2, corner + n + 1], 1)])
    table = resized(object_views("4MV-Z_HM"), 256)
    drawn = ZBufferRenderer().render(object_surface((verts, faces)), table, view_lights(table))
    assert 0.1 < (drawn.images < 255).any(-1).mean() < 0.9
