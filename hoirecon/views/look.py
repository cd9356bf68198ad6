"""How the parts of a scene look: one place that turns a scene into surfaces, plain or coloured by contact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.mesh import Mesh
from hoirecon.scene import Scene
from hoirecon.views.palette import body_color, contact_colors, object_color
from hoirecon.views.surface import Surface, make_surface, with_ambient_light


def part_names(scene: Scene) -> list[str]:
    """Readable, distinct names of bodies, then objects: ``body``, ``barbell``, ``barbell 2``."""
    bodies = ["body"] * len(scene.bodies)
    raw = bodies + [obj.name or obj.category or "object" for obj in scene.objects]
    names: list[str] = []
    for name in raw:
        copies = 1
        distinct = name
        while distinct in names:
            copies += 1
            distinct = f"{name} {copies}"
        names.append(distinct)
    return names


def part_colors(scene: Scene) -> list[FloatArray]:
    """One (3,) colour per body, then per object."""
    bodies = [body_color(k) for k in range(len(scene.bodies))]
    return bodies + [object_color(k) for k in range(len(scene.objects))]


@dataclass(frozen=True)
class Ghost:
    """Another pose that an object may have, shown only when asked for."""

    name: str
    """Such as ``barbell, pose 2``; the fitted pose is the first."""
    object_index: int
    mesh: Mesh
    """In the frame ``cam``."""
    color: FloatArray
    """(3,) the colour of its object."""
    energy: float | None
    """Energy above the fitted pose's, in squared sigmas; None: unknown."""


def ghosts(scene: Scene) -> list[Ghost]:
    """All alternative poses of all objects, each object's best first."""
    names, found = part_names(scene)[len(scene.bodies) :], []
    for k, obj in enumerate(scene.objects):
        energies = obj.alternative_energies or (None,) * len(obj.alternatives)
        for rank, (mesh, energy) in enumerate(zip(obj.alternative_meshes_cam, energies, strict=True), 2):
            found.append(Ghost(f"{names[k]}, pose {rank}", k, mesh, object_color(k), energy))
    return found


def body_contact(scene: Scene, index: int) -> FloatArray:
    """(V,) the highest contact probability of each vertex of a body over all its pairs; zero if there are none."""
    total = np.zeros(len(scene.bodies[index].verts))
    for pair in scene.contacts:
        if pair.body_index == index:
            total = np.maximum(total, pair.body_contact.probability)
    return total


def object_contact(scene: Scene, index: int) -> FloatArray:
    """(V,) likewise for an object."""
    total = np.zeros(len(scene.objects[index].mesh.verts))
    for pair in scene.contacts:
        if pair.object_index == index:
            total = np.maximum(total, pair.object_contact.probability)
    return total


def part_contacts(scene: Scene) -> list[FloatArray]:
    """One (V,) array of contact probabilities per body, then per object."""
    bodies = [body_contact(scene, k) for k in range(len(scene.bodies))]
    return bodies + [object_contact(scene, k) for k in range(len(scene.objects))]


def scene_surfaces(scene: Scene, contact: bool = False, ambient: bool = True) -> list[Surface]:
    """Surfaces of bodies, then objects, in the frame ``cam``.

    Args:
        scene: what to draw.
        contact: colour by contact probability instead of by part.
        ambient: also compute how ambient light reaches them (needs the extra ``render``).
    """
    meshes = [body.mesh for body in scene.bodies] + [obj.mesh_cam for obj in scene.objects]
    if contact:
        colors = [contact_colors(p) for p in part_contacts(scene)]
    else:
        colors = part_colors(scene)
    surfaces = [make_surface(mesh, color) for mesh, color in zip(meshes, colors, strict=True)]
    return with_ambient_light(surfaces) if ambient else surfaces


def cautions(scene: Scene) -> list[str]:
    """What a person should read before trusting the scene, each once: its flags that are not mere :func:`remarks`."""
    return [text for text in dict.fromkeys(scene.flags) if text not in scene.observation.notes]


def remarks(scene: Scene) -> list[str]:
    """What the scene rests on, as perception tells it (camera, detector's score, kind of mask), each once."""
    return list(dict.fromkeys(scene.observation.notes))


def all_points(scene: Scene) -> FloatArray:
    """(N, 3) vertices of everything, metres, frame ``cam``."""
    return np.concatenate([b.verts for b in scene.bodies] + [o.verts_cam for o in scene.objects])
