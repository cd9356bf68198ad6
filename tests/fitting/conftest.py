"""Small exact scenes for the object fit: a body of capsules holds a thing made of boxes; masks by ray casting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from hoirecon.arrays import FloatArray
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose

trimesh = pytest.importorskip("trimesh")
o3d = pytest.importorskip("open3d")

CAMERA = Camera.from_focal(450.0, 480, 360)


@dataclass(frozen=True)
class SmallScene:
    """One exact scene."""

    observation: Observation
    body: Mesh
    mesh: Mesh
    pose: ObjectPose
    contact: tuple[ContactMap, ContactMap]


def boxes(parts: list[tuple[tuple[float, float, float], tuple[float, float, float]]], edge: float = 0.05) -> Mesh:
    """(centre, size) boxes, overlapping or not, as one mesh with edges no longer than ``edge`` metres."""
    solids = []
    for centre, size in parts:
        solid = trimesh.creation.box(size, trimesh.transformations.translation_matrix(centre))
        solids.append(solid.subdivide_to_size(edge))
    union = trimesh.util.concatenate(solids)
    return Mesh(union.vertices, union.faces)


def thing(kind: str, edge: float = 0.05) -> Mesh:
    """An object without symmetry: ``chair``, ``hammer`` or ``steps``."""
    parts = {
        "chair": [((0.0, 0.0, 0.0), (0.4, 0.06, 0.4)), ((0.0, -0.25, 0.18), (0.4, 0.46, 0.04)),
                  ((0.16, 0.2, 0.0), (0.05, 0.4, 0.36)), ((-0.16, 0.12, 0.0), (0.05, 0.24, 0.1))],
        "hammer": [((0.0, 0.0, 0.0), (0.5, 0.05, 0.05)), ((0.24, -0.05, 0.03), (0.08, 0.25, 0.1))],
        "steps": [((0.0, 0.0, 0.0), (0.4, 0.15, 0.3)), ((0.1, -0.12, 0.0), (0.2, 0.12, 0.3)),
                  ((0.1, -0.2, 0.08), (0.12, 0.08, 0.1))],
    }  # fmt: skip
    return boxes(parts[kind], edge)


def capsule(a: tuple[float, float, float], b: tuple[float, float, float], radius: float) -> Mesh:
    """A capsule between two points."""
    start, end = np.array(a), np.array(b)
    solid = trimesh.creation.capsule(height=float(np.linalg.norm(end - start)), radius=radius, count=[16, 24])
    solid.apply_translation(-solid.bounds.mean(0))
    solid.apply_transform(trimesh.geometry.align_vectors([0, 0, 1], end - start))
    solid.apply_translation((start + end) / 2)
    solid = solid.subdivide_to_size(0.05)
    return Mesh(solid.vertices, solid.faces)


def capsule_body(held: FloatArray, depth: float = 2.5, reach: float = 0.05) -> Mesh:
    """A trunk whose two arms end just beside the leftmost and rightmost of the points (V, 3), camera frame."""
    left, right = held[held[:, 0].argmin()], held[held[:, 0].argmax()]
    limbs = [
        capsule((0, -0.35, depth), (0, 0.45, depth), 0.15),
        capsule((-0.3, -0.3, depth), tuple(left - np.array([reach, 0, 0])), 0.045),
        capsule((0.3, -0.3, depth), tuple(right + np.array([reach, 0, 0])), 0.045),
    ]
    union = trimesh.util.concatenate([m.to_trimesh() for m in limbs])
    return Mesh(union.vertices, union.faces, name="body")


def distances(mesh: Mesh, points: FloatArray) -> FloatArray:
    """(N,) unsigned distance to a mesh."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.verts.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    return np.asarray(scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy(), dtype=np.float64)


def ray_depth(mesh: Mesh, camera: Camera = CAMERA) -> FloatArray:
    """(H, W) depth by ray casting, infinite where nothing is hit."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.verts.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    rows, cols = np.mgrid[: camera.height, : camera.width] + 0.5
    rays = camera.unproject(np.stack([cols, rows], -1), np.ones(rows.shape))
    rays = np.concatenate([np.zeros_like(rays), rays], -1).astype(np.float32)
    return np.asarray(scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy(), dtype=np.float64)


def make_small_scene(
    kind: str = "steps",
    rotvec: tuple[float, float, float] = (0.3, 0.5, 0.1),
    camera: Camera = CAMERA,
    edge: float = 0.05,
) -> SmallScene:
    """A thing before the body, the arms at its sides."""
    from scipy.spatial.transform import Rotation

    mesh = thing(kind, edge)
    pose = ObjectPose(Rotation.from_rotvec(rotvec).as_matrix(), np.array([0.0, 0.0, 2.05]))
    placed = mesh.with_verts(pose.apply(mesh.verts))
    body = capsule_body(placed.verts)
    own, person = ray_depth(placed, camera), ray_depth(body, camera)
    visible = np.isfinite(own) & (own < person)
    hands = (distances(placed, body.verts) < 0.04).astype(np.float64)
    grips = (distances(body, placed.verts) < 0.04).astype(np.float64)
    image = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    observation = Observation(image, camera, np.isfinite(person) & ~visible, (visible,))
    contact = ContactMap(hands, body.topology), ContactMap(grips, mesh.topology)
    return SmallScene(observation, body, mesh, pose, contact)


@pytest.fixture(scope="session")
def small_scene() -> Callable[..., SmallScene]:
    """Maker of small scenes, each made once."""
    made: dict[object, SmallScene] = {}

    def make(**options: object) -> SmallScene:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = make_small_scene(**options)
        return made[key]

    return make
