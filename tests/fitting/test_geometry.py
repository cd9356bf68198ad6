"""Rotations, z-buffer, outline, distance grids: against slow twins, ray casting and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.fitting.raster import zbuffer
from hoirecon.fitting.sdf import distance_grid, inside_depth
from hoirecon.fitting.silhouette import coverage, edge_multiplicity, edge_topology, silhouette_samples
from hoirecon.fitting.so3 import align, super_fibonacci, upright_rotations
from hoirecon.mesh import Mesh

trimesh = pytest.importorskip("trimesh")
o3d = pytest.importorskip("open3d")


# ------------------------------------------------------------------------------------------------------- rotations
def test_super_fibonacci_gives_rotations() -> None:
    R = super_fibonacci(100)
    torch.testing.assert_close(R @ R.transpose(1, 2), torch.eye(3, dtype=R.dtype).expand(100, 3, 3))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(100, dtype=R.dtype))


def test_super_fibonacci_leaves_no_hole() -> None:
    cover = super_fibonacci(256)
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(2000, 3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.linalg.det(q).sign()[:, None, None]
    cosine = (torch.einsum("aij,bij->ab", q, cover).amax(1) - 1) / 2
    # 256 balls of equal volume that filled SO(3) would have a radius of 26 degrees; a good cover stays below twice.
    assert math.degrees(math.acos(float(cosine.min()))) < 45


def test_upright_rotations_tilt_no_more_than_asked() -> None:
    up_obj, up_cam = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, -1.0, 0.0])
    R = upright_rotations(72, up_obj, up_cam, math.radians(20))
    lean = torch.rad2deg(torch.acos((R @ up_obj.double()) @ up_cam.double()))
    assert float(lean.max()) <= 20.001
    assert float(lean.max()) > 15


@pytest.mark.parametrize("b", [(0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (0.6, 0.0, 0.8)])
def test_align_takes_one_direction_to_the_other(b: tuple[float, float, float]) -> None:
    a, target = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    torch.testing.assert_close(align(a, target) @ a, target)


# -------------------------------------------------------------------------------------------------------- z-buffer
def slow_zbuffer(points: FloatArray, faces: FloatArray, height: int, width: int) -> FloatArray:
    """Loops over faces and cells; depth from the plane through the corners in (x/z, y/z, 1/z)."""
    depth = np.full((height, width), np.inf)
    for face in faces:
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[face]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-12 or min(az, bz, cz) <= 0.05:
            continue
        for row in range(height):
            for col in range(width):
                x, y = col + 0.5, row + 0.5
                wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                if min(wa, wb, 1 - wa - wb) >= 0:
                    depth[row, col] = min(depth[row, col], 1 / (wa / az + wb / bz + (1 - wa - wb) / cz))
    return depth


def random_soup(seed: int, verts: int = 12, faces: int = 8) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform(-4, 24, (verts, 2)), rng.uniform(1, 3, (verts, 1))], 1)
    return points, np.array([rng.choice(verts, 3, replace=False) for _ in range(faces)])


@pytest.mark.parametrize("seed", range(4))
def test_zbuffer_equals_its_slow_twin(seed: int) -> None:
    points, faces = random_soup(seed)
    fast = zbuffer(torch.tensor(points)[None], torch.tensor(faces), 17, 20)[0].numpy()
    np.testing.assert_allclose(fast, slow_zbuffer(points, faces, 17, 20), rtol=1e-9)


def test_zbuffer_batch_and_rounds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [random_soup(seed)[0] for seed in range(5)]
    faces = torch.tensor(random_soup(0)[1])
    batch = torch.tensor(np.stack(sets))
    whole = zbuffer(batch, faces, 17, 20)
    monkeypatch.setattr("hoirecon.ragged.MAX_CELLS", 50)
    assert torch.equal(zbuffer(batch, faces, 17, 20), whole)
    assert torch.equal(zbuffer(batch[3:4], faces, 17, 20)[0], whole[3])


def test_zbuffer_agrees_with_ray_casting() -> None:
    camera = Camera.from_focal(120.0, 96, 80)
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
    verts = ball.vertices + np.array([0.1, -0.05, 1.5])
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(verts.astype(np.float32)), o3d.core.Tensor(ball.faces.astype(np.uint32)))
    rows, cols = np.mgrid[:80, :96] + 0.5
    rays = camera.unproject(np.stack([cols, rows], -1), np.ones(rows.shape))
    rays = np.concatenate([np.zeros_like(rays), rays], -1).astype(np.float32)
    cast = scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()
    points = torch.tensor(np.concatenate([camera.project(verts), verts[:, 2:]], 1))[None]
    drawn = zbuffer(points, torch.tensor(np.asarray(ball.faces)), 80, 96)[0].numpy()
    both = np.isfinite(cast) & np.isfinite(drawn)
    assert (np.isfinite(cast) == np.isfinite(drawn)).mean() > 0.999  # rays through an edge may fall on either side
    np.testing.assert_allclose(drawn[both], cast[both], rtol=1e-4)


def test_zbuffer_drops_faces_behind_the_camera() -> None:
    points = torch.tensor([[[0.0, 0, -1], [10, 0, 2], [0, 10, 2]]])
    assert torch.isinf(zbuffer(points, torch.tensor([[0, 1, 2]]), 8, 8)).all()


# --------------------------------------------------------------------------------------------------------- outline
def chain_coverage(points: Tensor, faces: FloatArray, cells: int) -> Tensor:
    topology = edge_topology(np.asarray(faces), dtype=points.dtype)
    px, py = points[..., 0].t(), points[..., 1].t()
    chain = edge_multiplicity(px, py, topology).t()
    pose, edge = torch.nonzero(chain, as_tuple=True)
    a, b = topology.edges[edge].unbind(1)
    ends = (px[a, pose], py[a, pose], px[b, pose], py[b, pose])
    return coverage(*ends, chain[pose, edge], pose, len(points), cells)


@pytest.mark.parametrize("seed", range(6))
def test_coverage_of_any_triangle_soup_equals_the_zbuffers(seed: int) -> None:
    """Open, inconsistently oriented, self-intersecting: the winding number of the silhouette chain still covers."""
    points, faces = random_soup(seed)
    drawn = torch.isfinite(zbuffer(torch.tensor(points)[None], torch.tensor(faces), 20, 20))
    assert torch.equal(chain_coverage(torch.tensor(points)[None], faces, 20), drawn)


def test_coverage_of_a_batch_of_rotated_meshes() -> None:
    mesh = trimesh.creation.annulus(0.4, 1.0, 0.5)
    R = super_fibonacci(24)
    verts = torch.tensor(np.asarray(mesh.vertices)) @ R.transpose(1, 2)
    points = torch.cat([verts[..., :2] * 12 + 16, verts[..., 2:] + 3], -1)
    faces = np.asarray(mesh.faces)
    drawn = torch.isfinite(zbuffer(points, torch.tensor(faces), 32, 32))
    assert (chain_coverage(points, faces, 32) == drawn).float().mean() > 0.9999


def test_silhouette_of_a_cube_seen_from_the_front_is_its_square() -> None:
    cube = trimesh.creation.box((2.0, 2.0, 2.0))
    points = torch.tensor(np.asarray(cube.vertices))[:, None, :2] * 5 + 16 + 1e-3
    topology = edge_topology(np.asarray(cube.faces), dtype=torch.float64)
    picked = silhouette_samples(points, topology, 40, 32)
    flat = points[:, 0]
    samples = torch.lerp(flat[picked.a[0]], flat[picked.b[0]], picked.u[0, :, None])
    at_border = (samples - 16).abs().amax(1)
    torch.testing.assert_close(at_border, torch.full_like(at_border, 5.0), rtol=0, atol=2e-3)
    assert picked.outer.all()


def test_samples_are_evenly_spaced_along_the_outline() -> None:
    corners = torch.tensor([[4.0, 4.0], [16.0, 4.0], [4.0, 20.0]], dtype=torch.float64)  # sides 12, 16 and 20
    picked = silhouette_samples(corners[:, None], edge_topology(np.array([[0, 1, 2]]), dtype=torch.float64), 48, 24)
    for pair, count in (((0, 1), 12), ((0, 2), 16), ((1, 2), 20)):
        on_edge = (picked.a[0] == pair[0]) & (picked.b[0] == pair[1])
        expected = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        torch.testing.assert_close(picked.u[0, on_edge], expected)
        piece = (corners[pair[1]] - corners[pair[0]]) / count  # a spacing of 1
        torch.testing.assert_close(picked.along[0, on_edge], piece.expand(count, 2))


def test_samples_do_not_depend_on_what_else_is_in_the_batch() -> None:
    ball = trimesh.creation.icosphere(2)
    topology = edge_topology(np.asarray(ball.faces))
    R = super_fibonacci(40).float()
    points = (torch.tensor(np.asarray(ball.vertices)).float() @ R.transpose(1, 2))[..., :2] * 9 + 16
    points[7] = 5.0  # seen as a point: no outline
    points[20:30] *= 1e4  # far outside of the raster, and very long
    together = silhouette_samples(points.transpose(0, 1).contiguous(), topology, 96, 32)
    assert not together.outer[7].any()
    for b in (0, 6, 8, 19, 30, 39):
        alone = silhouette_samples(points[b][:, None].contiguous(), topology, 96, 32)
        for name in ("a", "b", "u", "outer", "along"):
            assert torch.equal(getattr(together, name)[b], getattr(alone, name)[0]), name


def test_inner_silhouette_edges_are_not_outer() -> None:
    """A small box before a large plate: its outline lies on the plate and does not count."""
    plate, small = trimesh.creation.box((4, 4, 0.2)), trimesh.creation.box((1, 1, 0.2))
    small.apply_translation((0, 0, -2))
    both = trimesh.util.concatenate([plate, small])
    points = torch.tensor(np.asarray(both.vertices))[:, None, :2] * 6 + 16 + 1e-3
    picked = silhouette_samples(points, edge_topology(np.asarray(both.faces), dtype=torch.float64), 100, 32)
    of_small = picked.a[0] >= len(plate.vertices)
    assert of_small.any()
    assert torch.equal(picked.outer[0], ~of_small)


def test_an_object_without_extent_has_no_outline() -> None:
    topology = edge_topology(np.array([[0, 1, 2], [0, 2, 1]]))
    picked = silhouette_samples(torch.full((3, 2, 2), 5.0), topology, 8, 16)
    assert not picked.outer.any()


# --------------------------------------------------------------------------------------------------- distance grid
def test_grid_of_a_sphere_is_the_closed_form() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.3)
    grid = distance_grid(Mesh(ball.vertices, ball.faces), nodes=64, margin=0.1)
    points = torch.tensor(np.random.default_rng(0).uniform(-0.35, 0.35, (2000, 3)), dtype=torch.float32)
    value, gradient = grid.sample(points)
    away = points.norm(dim=1) > 0.05  # the centre is a kink
    # 4 levels of an icosphere lie 0.5 mm inside the sphere, cells are 8 mm: 1 mm covers both.
    torch.testing.assert_close(value[away], points.norm(dim=1)[away] - 0.3, rtol=0, atol=1e-3)
    radial = (gradient * points / points.norm(dim=1, keepdim=True)).sum(1)
    torch.testing.assert_close(radial[away], torch.ones(int(away.sum())), rtol=0, atol=0.05)


def box_distance(points: FloatArray, half: FloatArray) -> FloatArray:
    """Signed distance to a box round the origin (closed form)."""
    q = np.abs(points) - half
    return np.asarray(np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0))


@pytest.mark.parametrize("hole", [False, True])
def test_grid_of_a_box_is_the_closed_form_even_with_a_hole(hole: bool) -> None:
    solid = trimesh.creation.box((0.4, 0.2, 0.6)).subdivide_to_size(0.05)
    faces = np.asarray(solid.faces)
    if hole:  # an open window of a few faces in one side
        faces = np.delete(
            faces, np.nonzero(np.linalg.norm(solid.triangles_center - [0.2, 0, 0], axis=1) < 0.05)[0], axis=0
        )
        assert len(faces) < len(solid.faces)
    grid = distance_grid(Mesh(solid.vertices, faces), nodes=48)
    points = np.random.default_rng(1).uniform([-0.2, -0.1, -0.3], [0.2, 0.1, 0.3], (4000, 3))
    points = points[np.linalg.norm(points - [0.2, 0, 0], axis=1) > 0.12] if hole else points
    value = grid.sample(torch.tensor(points, dtype=torch.float32))[0].numpy()
    error = np.abs(value - box_distance(points, np.array([0.2, 0.1, 0.3])))
    assert np.quantile(error, 0.99) < 6e-3  # half a cell at the kinks inside
    assert error.mean() < 1e-3


def test_a_box_without_two_of_its_sides_still_has_an_inside() -> None:
    """Rays from two directions see no wall at all: those from the opposite directions outvote them."""
    solid = trimesh.creation.box((0.4, 0.4, 0.4)).subdivide_to_size(0.1)
    open_sides = (solid.face_normals[:, 0] < -0.9) | (solid.face_normals[:, 1] < -0.9)
    grid = distance_grid(Mesh(solid.vertices, np.asarray(solid.faces)[~open_sides]), nodes=24)
    assert float(grid.sample(torch.tensor([[0.01, 0.02, 0.03]]))[0]) < 0


def test_overlapping_parts_are_inside_once() -> None:
    parts = [
        trimesh.creation.box((0.3, 0.3, 0.3), trimesh.transformations.translation_matrix((x, 0, 0))) for x in (0, 0.1)
    ]
    both = trimesh.util.concatenate(parts)
    grid = distance_grid(Mesh(both.vertices, both.faces), nodes=40)
    assert float(grid.sample(torch.tensor([[0.05, 0.01, 0.02]]))[0]) < 0


def test_grid_gradient_is_the_derivative_of_its_value() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.3)
    grid = distance_grid(Mesh(ball.vertices, ball.faces), nodes=16).to("cpu", torch.float64)
    points = torch.tensor(np.random.default_rng(2).uniform(-0.25, 0.25, (50, 3)), requires_grad=True)
    value, gradient = grid.sample(points)
    (slope,) = torch.autograd.grad(value.sum(), points)
    torch.testing.assert_close(gradient, slope)


def test_inside_depth_is_exact_and_zero_outside() -> None:
    solid = trimesh.creation.box((0.4, 0.2, 0.6))
    depth = inside_depth(
        Mesh(solid.vertices, solid.faces), np.array([[0, 0, 0], [0.19, 0, 0], [0.3, 0, 0], [0, 0, 9.0]])
    )
    np.testing.assert_allclose(depth, [0.1, 0.01, 0, 0], atol=1e-6)


def test_grid_without_volume_is_an_error() -> None:
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="box with volume"):
        distance_grid(mesh, np.zeros(3), np.zeros(3))
