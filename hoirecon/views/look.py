"""How the parts of a scene look: one place that turns a scene into surfaces, plain or coloured by contact."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import FloatArray
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
    """What a person should read before trusting the scene: its flags, then perception's notes, each once."""
    return list(dict.fromkeys((*scene.flags, *scene.observation.notes)))


def all_points(scene: Scene) -> FloatArray:
    """(N, 3) vertices of everything, metres, frame ``cam``."""
    return np.concatenate([b.verts for b in scene.bodies] + [o.verts_cam for o in scene.objects])
