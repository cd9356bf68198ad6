"""Skins round broken meshes, and repairs: closed forms, damage on purpose, hostile meshes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trimesh

from hoirecon.data.objects import load_object
from hoirecon.data.objects.facing import agreeing, face_outward
from hoirecon.data.objects.repair import RepairConfig, decimated, repair_mesh, repair_triangles, volume_of
from hoirecon.data.objects.shell import ShellConfig, shell_of_mesh, shell_of_points
from hoirecon.data.objects.signed_distance import ray_scene, unsigned_distance
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

pytest.importorskip("open3d")
COARSE = ShellConfig(cells=60_000)


def _ball(radius: float = 1.0, at: float = 0.0) -> tuple[Any, Any]:
    ball = trimesh.creation.icosphere(3, radius)
    return np.asarray(ball.vertices) + at, np.asarray(ball.faces)


def _farthest(a: Mesh, b: Mesh) -> float:
    """Largest distance of points of a to b, in diagonals."""
    points = np.asarray(trimesh.sample.sample_surface(a.to_trimesh(), 3000, seed=0)[0])
    return float(unsigned_distance(ray_scene(b), points).max()) / a.diagonal


def _twisted(faces: Any, seed: int = 0) -> Any:
    turned = np.random.default_rng(seed).random(len(faces)) < 0.5
    return np.where(turned[:, None], faces[:, ::-1], faces)


@pytest.mark.parametrize("damage", ["none", "flipped", "dropped", "soup"])
def test_skin_of_a_ball_has_its_volume(damage: str) -> None:
    verts, faces = _ball()
    if damage in ("flipped", "soup"):
        faces = _twisted(faces)
    if damage == "dropped":
        faces = faces[np.random.default_rng(1).random(len(faces)) > 0.15]
    if damage == "soup":
        verts, faces = verts[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    skin = shell_of_mesh(Mesh(verts, faces), COARSE)
    assert skin.is_watertight
    assert volume_of(skin) == pytest.approx(4 / 3 * np.pi, rel=0.05)  # the icosphere itself has 2 % less
    radii = np.linalg.norm(skin.verts, axis=1)
    assert radii.min() > 0.9
    assert radii.max() < 1.05


def test_overlapping_solids_become_one_skin() -> None:
    (a, faces), (b, _) = _ball(), _ball(at=0.5)
    skin = shell_of_mesh(Mesh(np.concatenate([a, b]), np.concatenate([faces, faces + len(a)])), COARSE)
    assert skin.is_watertight
    assert trimesh.Trimesh(skin.verts, skin.faces, process=False).body_count == 1
    d = 0.5 * np.sqrt(3)
    lens = np.pi * (2 - d) ** 2 * (d**2 + 4 * d) / (12 * d)
    assert volume_of(skin) == pytest.approx(8 / 3 * np.pi - lens, rel=0.06)


def test_things_apart_stay_apart() -> None:
    (a, faces), (b, _) = _ball(), _ball(0.5, at=3.0)
    skin = shell_of_mesh(Mesh(np.concatenate([a, b]), np.concatenate([faces, faces + len(a)])), COARSE)
    assert trimesh.Trimesh(skin.verts, skin.faces, process=False).body_count == 2


def test_a_sheet_gets_two_sides_and_no_inside() -> None:
    sheet = trimesh.creation.box((1.0, 1.0, 1e-9)).subdivide()
    top = np.asarray(sheet.faces)[sheet.face_normals[:, 2] > 0.5]
    skin = shell_of_mesh(Mesh(sheet.vertices, top), COARSE)
    assert skin.is_watertight
    assert 0 < skin.extents[2] < 0.05
    assert skin.extents[:2] == pytest.approx([1, 1], abs=0.02)


def test_points_alone_get_a_skin() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    skin = shell_of_points(points + rng.normal(0, 0.005, points.shape), COARSE)
    assert skin.is_watertight
    assert volume_of(skin) == pytest.approx(4 / 3 * np.pi, rel=0.12)
    with pytest.raises(InputError, match="at least 50"):
        shell_of_points(points[:10])


def test_winding_is_found_for_every_patch() -> None:
    verts, faces = _ball()
    turned, patch = agreeing(_twisted(faces))
    assert patch.max() == 0
    assert abs(abs(volume_of(Mesh(verts, turned))) - volume_of(Mesh(verts, faces))) < 1e-12
    facing = face_outward(verts, _twisted(faces))
    assert Mesh(verts, facing.faces).is_watertight
    assert volume_of(Mesh(verts, facing.faces)) > 0
    assert facing.solid.min() == 1
    inner = np.concatenate([faces, faces + len(verts)])
    hidden = face_outward(np.concatenate([verts, verts * 0.5]), inner)
    assert hidden.solid[: len(faces)].min() == 1
    assert hidden.solid[len(faces) :].max() == 0


def test_a_sound_mesh_is_left_as_it_is() -> None:
    mesh = load_object("chair").mesh
    repaired = repair_mesh(mesh)
    assert repaired.notes == ()
    assert not repaired.has_new_skin
    assert volume_of(repaired.mesh) == pytest.approx(volume_of(mesh), rel=1e-6)
    assert len(repaired.mesh.faces) == len(mesh.faces)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_damage_does_not_depend_on_the_unit(scale: float) -> None:
    mesh = load_object("stool").mesh
    faces = mesh.faces[np.random.default_rng(0).random(len(mesh.faces)) > 0.1]
    repaired = repair_mesh(Mesh(mesh.verts * scale, faces), RepairConfig(skin=COARSE))
    assert repaired.has_new_skin
    assert repaired.mesh.is_watertight
    assert "edges were open" in " ".join(repaired.notes)
    assert len(repaired.mesh.faces) <= 4000
    small = Mesh(repaired.mesh.verts / scale, repaired.mesh.faces)
    assert _farthest(mesh, small) < 0.03
    assert _farthest(small, mesh) < 0.03


def test_inside_out_and_nan_are_mended_without_a_new_skin() -> None:
    verts, faces = _ball()
    repaired = repair_triangles(verts, faces[:, ::-1], "ball")
    assert repaired.notes == ("faces turned outward",)
    assert volume_of(repaired.mesh) > 4
    with_nan = np.concatenate([verts, [[np.nan, 0, 0]]])
    repaired = repair_triangles(with_nan, np.concatenate([faces, [[0, 1, len(verts)]]]), "ball")
    assert repaired.notes == ("1 faces with NaN or infinite corners dropped",)
    assert repaired.mesh.is_watertight


def test_an_edge_of_three_faces_needs_a_new_skin() -> None:
    verts, faces = _ball()
    fin = np.concatenate([faces, [[faces[0, 0], faces[0, 1], len(verts)]]])
    repaired = repair_triangles(np.concatenate([verts, [[0, 0, 1.5]]]), fin, "fin", RepairConfig(skin=COARSE))
    assert repaired.has_new_skin
    assert repaired.mesh.is_watertight


def test_one_triangle_and_a_flat_square_become_thin_plates() -> None:
    for verts, faces in (
        (np.eye(3), [[0, 1, 2]]),
        ([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]]),
    ):
        repaired = repair_triangles(verts, faces, "flat", RepairConfig(skin=COARSE))
        assert repaired.mesh.is_watertight
        assert 0 < volume_of(repaired.mesh) < 0.05


@pytest.mark.parametrize(
    ("verts", "faces", "words"),
    [
        (np.zeros((3, 3)), [[0, 1, 2]], "no face with an area"),
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], "no face with an area"),
        (np.full((3, 3), np.nan), [[0, 1, 2]], "no face with an area"),
        (np.eye(3), np.zeros((0, 3), int), "no triangles"),
        (np.eye(3), [[0, 1, 7]], "name vertices"),
        (np.eye(3), np.zeros((6_000_000, 3), int), "decimate it first"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(verts: Any, faces: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        repair_triangles(verts, faces, "thing")


def test_decimation_keeps_a_closed_mesh_closed() -> None:
    ball = trimesh.creation.icosphere(5)
    small = decimated(Mesh(ball.vertices, ball.faces), 1000)
    assert small.is_watertight
    assert len(small.faces) <= 1000
    assert volume_of(small) == pytest.approx(4 / 3 * np.pi, rel=0.02)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="target_faces"):
        RepairConfig(target_faces=3)
    with pytest.raises(InputError, match="shell is"):
        RepairConfig(shell="maybe")
