"""What a camera would see: scenes drawn with light, clothes and noise, for detectors that look at photographs.

People of one colour a cloth and things of one colour are not photographs; but a landmark detector finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.data.closedworld.posing import body_model
from hoirecon.errors import require
from hoirecon.mesh import Mesh

if TYPE_CHECKING:
    from hoirecon.data.closedworld.scene import ClosedWorldScene

LIGHT = (0.3, -0.6, -0.8)
"""Whence light comes, camera axes; drawn anew by a third of a length each way."""
GRAIN = 4.0
"""Noise of the camera, of 255."""


def photograph(scene: ClosedWorldScene, draw: int = 0) -> ByteArray:
    """(H, W, 3) RGB of a scene as its camera sees it: seeded by the scene, the same for everybody.

    Args:
        scene: what is seen.
        draw: another light, other clothes and colours.

    Raises:
        MissingExtraError: open3d is not installed.
    """
    rng = np.random.default_rng([scene.seed, draw])
    body = Mesh(scene.body_verts, body_model().faces)
    thing = scene.mesh.with_verts(scene.pose.apply(scene.mesh.verts))
    v, u = np.mgrid[: scene.camera.height, : scene.camera.width] + 0.5
    way = scene.camera.unproject(np.stack([u, v], axis=-1).reshape(-1, 2), np.ones(u.size)).reshape(*u.shape, 3)
    return shaded([body, thing], way, rng)


def shaded(meshes: Sequence[Mesh], way: FloatArray, rng: np.random.Generator) -> ByteArray:
    """(H, W, 3) RGB of a person and things, seen from the origin.

    Args:
        meshes: the free body first, then things; camera frame.
        way: (H, W, 3) direction of every pixel's ray.
        rng: draws light, clothes, colours and grain.

    Raises:
        MissingExtraError: open3d is not installed.
    """
    hit = _cast(meshes, way)
    geometry, face = hit["geometry_ids"].numpy(), hit["primitive_ids"].numpy()
    light = np.array(LIGHT) + 0.3 * rng.standard_normal(3)
    slope = np.abs(hit["primitive_normals"].numpy() @ (light / np.linalg.norm(light)))
    shade = 0.55 + 0.45 * np.clip(slope, 0, 1)
    colour = np.tile(rng.uniform(90, 230, 3), (*geometry.shape, 1))
    on_body, anywhere = geometry == 0, geometry < len(meshes)
    colour[on_body] = clothes(rng)[np.minimum(face[on_body], len(clothes_of_faces()) - 1)]
    for k in range(1, len(meshes)):
        colour[geometry == k] = rng.uniform(20, 230, 3)
    colour[anywhere] *= shade[anywhere][:, None]
    noisy = colour + rng.normal(0, GRAIN, colour.shape)
    return np.asarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _cast(meshes: Sequence[Mesh], way: FloatArray) -> Any:
    o3d = require("open3d", extra="render")
    caster = o3d.t.geometry.RaycastingScene()
    for mesh in meshes:
        caster.add_triangles(
            o3d.core.Tensor(mesh.verts.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
        )
    rays = np.concatenate([np.zeros_like(way), way], axis=-1).astype(np.float32)
    return caster.cast_rays(o3d.core.Tensor(rays), nthreads=1)


_CLOTHES = {
    "hair": ("head",),
    "shirt": ("chest", "belly", "upper_back", "lower_back", "shoulder", "upper_arm"),
    "trousers": ("pelvis", "hip", "buttock", "thigh_front", "thigh_back", "knee", "shin", "calf"),
    "shoes": ("foot_top", "sole", "toes"),
}
_SKINS = ((225, 185, 160), (190, 140, 110), (130, 90, 65), (240, 200, 180))


@cache
def clothes_of_faces() -> np.ndarray[Any, np.dtype[np.int64]]:
    """(F,) of the free body: 0 skin, 1 hair, 2 shirt, 3 trousers, 4 shoes."""
    parts = body_model().parts
    of_vert = np.zeros(body_model().num_verts, dtype=np.int64)
    for number, kinds in enumerate(_CLOTHES.values(), start=1):
        for name in parts.names:
            if name.removeprefix("left_").removeprefix("right_") in kinds:
                of_vert[parts.verts_of(name)] = number
    return np.asarray(of_vert[body_model().faces[:, 0]])


def clothes(rng: np.random.Generator) -> FloatArray:
    """(F, 3) colours of a person's faces."""
    skin = np.array(_SKINS)[rng.integers(len(_SKINS))]
    palette = np.stack([skin, rng.uniform(15, 110, 3), *rng.uniform(20, 235, (3, 3))])
    return np.asarray(palette[clothes_of_faces()])
