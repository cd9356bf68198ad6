"""What makes an object fit dear: cost against hypotheses, faces, image size and number of objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import BoolArray
from hoirecon.contact_map import ContactMap
from hoirecon.fitting import FitConfig, ObjectToFit, fit_objects
from hoirecon.fitting.object_shape import forget_shapes, lighter
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

HYPOTHESES = (16, 32, 64, 128, 256, 512, 1024)
FACES = (500, 1000, 2000, 5000, 10000, 20000)
WIDTHS = (320, 640, 960, 1280, 1920)
OBJECTS = (1, 2, 3)

Points = list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class SpeedScene:
    """A scene as the fit is given it; the true pose is for starts near it."""

    observation: Observation
    body: SceneBody
    thing: ObjectToFit
    contact: tuple[ContactMap, ContactMap] | None
    truth: ObjectPose

    @property
    def on_mesh(self) -> tuple[ContactMap, ContactMap] | None:
        """Contact whose body map names the mesh rather than the model, as baselines take plain meshes."""
        if self.contact is None:
            return None
        body, thing = self.contact
        return ContactMap(body.probability, self.body.mesh.topology, body.source), thing


def cpu_seconds(work: Callable[[], Any], repeats: int, before: Callable[[], None] | None = None) -> float:
    """Median CPU seconds of this process; ``before`` runs before each repeat and is not counted."""
    taken = []
    for _ in range(repeats):
        if before is not None:
            before()
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def _fit_seconds(scene: SpeedScene, count: int = 1, config: FitConfig | None = None) -> float:
    things, contacts = [scene.thing] * count, [scene.contact] * count
    return cpu_seconds(lambda: fit_objects(scene.observation, scene.body, things, contacts, config), 1, forget_shapes)


def _curve(values: Sequence[int], scenes: Sequence[SpeedScene], cost: Callable[[SpeedScene, int], float]) -> Points:
    return [{"x": x, "cpu_s": float(np.median([cost(scene, x) for scene in scenes]))} for x in values]


def hypotheses_curve(scenes: Sequence[SpeedScene], values: Sequence[int] = HYPOTHESES) -> Points:
    """CPU seconds from scratch against start rotations."""
    return _curve(values, scenes, lambda scene, n: _fit_seconds(scene, config=FitConfig(hypotheses=n)))


def faces_curve(scenes: Sequence[SpeedScene], values: Sequence[int] = FACES) -> Points:
    """CPU seconds from scratch against faces of the object's mesh."""
    return _curve(values, scenes, lambda scene, n: _fit_seconds(with_faces(scene, n)))


def image_curve(scenes: Sequence[SpeedScene], values: Sequence[int] = WIDTHS) -> Points:
    """CPU seconds from scratch against the photograph's width, pixels."""
    return _curve(values, scenes, lambda scene, n: _fit_seconds(with_width(scene, n)))


def objects_curve(scenes: Sequence[SpeedScene], values: Sequence[int] = OBJECTS) -> Points:
    """CPU seconds from scratch against the number of objects."""
    return _curve(values, scenes, lambda scene, n: _fit_seconds(with_objects(scene, n), n))


CURVES: Mapping[str, Callable[[Sequence[SpeedScene]], Points]] = MappingProxyType(
    {"hypotheses": hypotheses_curve, "faces": faces_curve, "image_width": image_curve, "objects": objects_curve}
)
"""Name -> what measures the curve on some scenes: medians of one run each, the mesh not cached."""


def with_faces(scene: SpeedScene, faces: int) -> SpeedScene:
    """The scene with its object cut finer or coarser to about so many faces; contact follows the nearest vertex."""
    mesh = scene.thing.mesh
    fine = mesh.to_trimesh()
    while len(fine.faces) < faces:
        fine = fine.subdivide()
    light = lighter(Mesh(fine.vertices, np.asarray(fine.faces), mesh.name), faces)
    contact = scene.contact
    if contact is not None:
        nearest = cKDTree(mesh.verts).query(light.verts)[1]
        contact = contact[0], ContactMap(contact[1].probability[nearest], light.topology, contact[1].source)
    return replace(scene, thing=replace(scene.thing, mesh=light), contact=contact)


def with_width(scene: SpeedScene, width: int) -> SpeedScene:
    """The scene in a photograph of another size."""
    seen = scene.observation
    height = round(seen.camera.height * width / seen.camera.width)

    def resized(mask: BoolArray | None) -> BoolArray | None:
        if mask is None:
            return None
        return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0)

    observation = Observation(
        image=cv2.resize(seen.image, (width, height)),
        camera=seen.camera.resized(width, height),
        person_mask=resized(seen.person_mask),
        object_masks=tuple(m for m in map(resized, seen.object_masks) if m is not None),
        occluders=resized(seen.occluders),
    )
    return replace(scene, observation=observation)


def with_objects(scene: SpeedScene, count: int) -> SpeedScene:
    """The scene with its object's mask several times, each a step to the side: what counts here is the work."""
    mask = scene.observation.object_masks[0]
    columns = np.nonzero(mask.any(0))[0]
    step = max(8, int(columns.max() - columns.min()) // 3)
    masks = tuple(np.roll(mask, k * step, axis=1) for k in range(count))
    return replace(scene, observation=scene.observation.replace(object_masks=masks))
