"""Where they touch: the body from front and back, each object from two sides, coloured by contact probability."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.contact_map import CONTACT_THRESHOLD
from hoirecon.mesh import Mesh
from hoirecon.scene import Scene, SceneBody
from hoirecon.views.canvas import over, sheet
from hoirecon.views.framing import UP_CAM, bounding_ball, fit_view, inside, raised, turned
from hoirecon.views.look import body_contact, object_contact, part_names
from hoirecon.views.palette import contact_colors, to_bytes
from hoirecon.views.raycast import Light, render
from hoirecon.views.surface import OCCLUSION_RAYS, Surface, make_surface, with_ambient_light

BODY_PANEL = (400, 620)
"""Width and height of a body's picture, pixels."""
OBJECT_PANEL = (400, 300)
"""Width and height of an object's picture, pixels."""

CLOSE_UP = 0.45
"""Metres; smallest extent shown of the touched part of a body."""

# Brighter and softer than elsewhere: the colour carries the number, shading only the shape.
_LIGHT = Light(key=0.42, fill=0.16, ambient=0.58, wrap=0.5, crease=0.55)


def contact_picture(scene: Scene) -> ByteArray:
    """Draw contact probabilities on every body and object, with the scale.

    Each body is seen from its own front and back; each object from the side where it is touched and from the opposite.
    Every part is drawn alone, so nothing hides its contact.

    Returns:
        (H, W, 3) uint8.
    """
    names = part_names(scene)
    rows: list[list[tuple[str, ByteArray]]] = []
    for k, body in enumerate(scene.bodies):
        views = _body_views(body, body_contact(scene, k), names[k])
        objects = _object_columns(scene, names[len(scene.bodies) :]) if k == 0 else []
        rows.append(views + objects)
    return sheet(rows, contact_scale=True, notes=[_summary(scene, names)])


def _body_views(body: SceneBody, contact: FloatArray, name: str) -> list[tuple[str, ByteArray]]:
    axis = body.params.global_orient
    angle = float(np.rad2deg(np.linalg.norm(axis)))
    front, up = (turned(way, angle, axis) for way in np.eye(3)[[2, 1]])  # SMPL-family: looks along +z, stands along +y
    surface = contact_surface(body.mesh, contact)
    sides = [("front", front), ("back", -front)]
    pictures = [(f"{name}, {side}", draw_contact(surface, body.verts, way, up, BODY_PANEL)) for side, way in sides]
    touched = body.verts[contact > CONTACT_THRESHOLD]
    if len(touched) > 0:
        way = touched_side(body.mesh, contact)
        way = front if way is None else way
        near = neighbourhood(touched)
        close = draw_contact(surface, near, way, up, BODY_PANEL, margin=0.16, fade=0.08)
        pictures.append((f"{name}, where it is touched", close))
    return pictures


def neighbourhood(points: FloatArray, extent: float = CLOSE_UP) -> FloatArray:
    """(N + 6, 3) the points, and at least ``extent`` metres of what is around them."""
    room = extent / 2 * np.concatenate([np.eye(3), -np.eye(3)])
    return np.concatenate([points, bounding_ball(points)[0] + room])


def _object_columns(scene: Scene, names: list[str]) -> list[tuple[str, ByteArray]]:
    """One column per object: its two sides above each other, as high as a body's picture."""
    columns = []
    gap = BODY_PANEL[1] - 2 * OBJECT_PANEL[1]
    for k, obj in enumerate(scene.objects):
        mesh, contact = obj.mesh_cam, object_contact(scene, k)
        surface = contact_surface(mesh, contact)
        ways = object_directions(mesh, contact)
        pictures = [draw_contact(surface, mesh.verts, way, UP_CAM, OBJECT_PANEL) for way in ways]
        between = over(np.zeros((gap, OBJECT_PANEL[0], 4), dtype=np.uint8))
        sides = "camera's side and far side" if touched_side(mesh, contact) is None else "touched side and opposite"
        columns.append((f"{names[k]}, {sides}", np.concatenate([pictures[0], between, pictures[1]])))
    return columns


def object_directions(mesh: Mesh, contact: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two directions to look at an object from: where its contact faces, and the opposite.

    Contact all round (a grip), or none, gives the camera's side and the far side, from a little above.
    """
    to_camera = np.array([0.0, 0.0, -1.0])
    side = touched_side(mesh, contact)
    if side is None:
        return raised(to_camera, 18), raised(-to_camera, 18)
    near = side + 0.35 * to_camera  # slantwise shows shape better than head-on
    height = np.rad2deg(np.arcsin(near @ UP_CAM / np.linalg.norm(near)))
    if abs(height) < 20:
        return raised(near, 15), raised(-near, 15)
    return raised(near, float(np.clip(height, -40, 40))), raised(-near, -30 * float(np.sign(height)))


def touched_side(mesh: Mesh, contact: FloatArray) -> FloatArray | None:
    """(3,) mean normal of the touched surface, unit length; None if there is no contact or it faces all round."""
    a, b, c = (mesh.verts[mesh.faces[:, i]] for i in range(3))
    weight = contact[mesh.faces].mean(axis=1)
    weight = np.where(weight > CONTACT_THRESHOLD, weight, 0) * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if weight.sum() <= 0:
        return None
    mean: FloatArray = (mesh.face_normals * weight[:, None]).sum(axis=0) / weight.sum()
    length = float(np.linalg.norm(mean))
    return mean / length if length > 0.25 else None


def contact_surface(mesh: Mesh, contact: FloatArray, rays: int = OCCLUSION_RAYS) -> Surface:
    """The mesh coloured by contact probability (V,), with the light that reaches it, looked for along ``rays`` rays."""
    return with_ambient_light([make_surface(mesh, contact_colors(contact))], rays=rays)[0]


def draw_contact(
    surface: Surface,
    points: FloatArray,
    way: FloatArray,
    up: FloatArray,
    size: tuple[int, int],
    margin: float = 0.06,
    fade: float = 0.0,
) -> ByteArray:
    """Draw a surface coloured by contact on the calm background; (H, W, 3).

    Args:
        surface: what :func:`contact_surface` gave.
        points: (N, 3) what must be in the picture, metres.
        way: (3,) from the surface towards the eye.
        up: (3,) what shall point upwards.
        size: width and height, pixels.
        margin: free border on each side, as a share of the picture.
        fade: share of the picture over which its edge fades out; for close-ups.
    """
    view = fit_view(points, way, *size, up=up, margin=margin)
    drawn = render([surface.moved(view.T_view_cam)], view.camera, _LIGHT)
    if fade > 0:  # what runs out of a close-up fades instead of ending in a hard line
        drawn = np.concatenate(
            [drawn[..., :3], to_bytes(drawn[..., 3:] / 255 * inside(*size, fade)[..., None])], axis=2
        )
    return over(drawn)


def _summary(scene: Scene, names: list[str]) -> str:
    if not scene.contacts:
        return "no contact was estimated"
    parts = []
    for pair in scene.contacts:
        body, obj = names[pair.body_index], names[len(scene.bodies) + pair.object_index]
        counts = [int(c.binary().sum()) for c in (pair.body_contact, pair.object_contact)]
        source = pair.body_contact.source
        parts.append(f"{body} / {obj}: {counts[0]} / {counts[1]} vertices above {CONTACT_THRESHOLD:g} ({source})")
    return "; ".join(parts)
