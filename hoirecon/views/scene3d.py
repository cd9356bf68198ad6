"""The orbitable 3D scene, built once for both the offline page and the live view.

Made with viser (Apache-2.0). Looked at for this: viser 1.1's ``as_html`` is one self-contained file (0.8 MB of
client, no request to any network, opens from ``file://`` in headless Chromium); trimesh's ``scene_to_html`` bundles
three.js too, but has no grid, labels or camera frustum and would be a second way to build a scene beside the live view;
plotly weighs 4.7 MB and draws meshes without smooth normals.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.errors import require
from hoirecon.scene import Scene
from hoirecon.views.canvas import ink, resize
from hoirecon.views.framing import UP_CAM, bounding_ball, raised, turned
from hoirecon.views.look import all_points, ghosts, part_colors, part_contacts, part_names
from hoirecon.views.meshes import glb_bytes, scene_meshes
from hoirecon.views.palette import INK_SOFT, contact_colors

PHOTO_SIDE = 512
"""Longer side, pixels, of the photograph shown in the camera's frustum."""
BACKDROP = 1.15
"""Depth of the plane that carries the photograph, in depths of the farthest point."""
GHOST_OPACITY = 0.45
START_TURN_DEG = 28.0
START_ELEVATION_DEG = 14.0

# The client's orange note that the browser draws in software covers a quarter of the view, and who opens a page of
# results can do nothing about it. Its red notes (no WebGL at all, browser too old) stay.
_STYLE = '.mantine-Notification-root[style*="orange"]{display:none!important}'


@contextlib.contextmanager
def quiet_server(host: str = "127.0.0.1", port: int = 0) -> Iterator[Any]:
    """A viser server that prints nothing and is stopped at the end; port 0 takes a free one."""
    viser = require("viser", extra="viewer")
    with contextlib.redirect_stdout(io.StringIO()):
        server = viser.ViserServer(host=host, port=port, label="hoirecon", verbose=False)
    try:
        yield server
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def add_parts(server: Any, scene: Scene, contact: bool, root: str = "") -> list[Any]:
    """Add bodies, then objects, coloured by part or by contact; returns one handle each."""
    colors = [contact_colors(p) for p in part_contacts(scene)] if contact else part_colors(scene)
    handles = []
    for mesh, color, name in zip(scene_meshes(scene), colors, part_names(scene), strict=True):
        data = glb_bytes([mesh], [color], ["mesh"], np.eye(4), "OpenCV camera frame")
        handles.append(server.scene.add_glb(f"{root}{node(name)}", data))
    return handles


def add_ghosts(server: Any, scene: Scene) -> list[Any]:
    """Add the other poses of the objects, translucent and hidden; returns one handle for each of ``ghosts``."""
    handles = []
    for ghost in ghosts(scene):
        data = glb_bytes([ghost.mesh], [ghost.color], ["mesh"], np.eye(4), "OpenCV camera frame", GHOST_OPACITY)
        handles.append(server.scene.add_glb(node(ghost.name), data, visible=False, cast_shadow=False))
    return handles


def node(name: str) -> str:
    """Name of a part's node in the 3D view.

    Example:
        >>> node("helmet/full_face")
        '/helmet-full_face'
    """
    return "/" + (name.replace("/", "-").strip() or "part")


def add_surroundings(server: Any, scene: Scene) -> tuple[Any, Any]:
    """Set up direction and lights; add the ground and the photograph; returns the handles of these two."""
    server.scene.set_up_direction(tuple(UP_CAM))
    _add_lights(server)
    points = all_points(scene)
    centre, radius = bounding_ball(points)
    ground = server.scene.add_grid(
        "/ground",
        width=5.0 * radius,
        height=5.0 * radius,
        plane="xz",
        cell_size=0.25,
        section_size=1.0,
        cell_color=(222, 220, 214),
        section_color=(203, 200, 192),
        shadow_opacity=0.0,
        position=(float(centre[0]), float(points[:, 1].max()), float(centre[2])),
    )
    server.scene.add_camera_frustum(
        "/camera",
        fov=2 * float(np.arctan(scene.camera.height / 2 / scene.camera.focal[1])),
        aspect=scene.camera.width / scene.camera.height,
        scale=0.12,
        thickness=0.004,
        color=ink(INK_SOFT),
    )
    return ground, server.scene.add_glb("/photograph", photo_backdrop(scene))


def _add_lights(server: Any) -> None:
    """White lights of our own: viser's default ones tint, and colours carry meaning here."""
    server.scene.configure_environment_map(hdri=None)
    server.scene.configure_default_lights(False)
    server.scene.add_light_ambient("/light/ambient", intensity=1.25)
    for name, place, intensity in (
        ("key", (-4.5, -7.5, -6.0), 2.0),
        ("fill", (8.0, -1.0, -5.5), 0.6),
        ("back", (2.0, -5.0, 9.0), 0.9),
    ):
        server.scene.add_light_directional(f"/light/{name}", intensity=intensity, position=place)


def photo_backdrop(scene: Scene) -> bytes:
    """GLB of the photograph on a plane behind the scene, where every pixel lies on its ray; unseen from behind."""
    import trimesh
    from PIL import Image

    depth = BACKDROP * max(float(all_points(scene)[:, 2].max()), 0.1)
    width, height = scene.camera.width, scene.camera.height
    pixels = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    verts = scene.camera.unproject(pixels, np.full(4, depth))
    material = trimesh.visual.material.PBRMaterial(
        emissiveTexture=Image.open(io.BytesIO(_jpeg(_small_photo(scene)))),  # trimesh keeps an image's format
        emissiveFactor=[1.0, 1.0, 1.0],
        baseColorFactor=[0, 0, 0, 255],
        metallicFactor=0.0,
        roughnessFactor=1.0,
        doubleSided=False,
    )
    # Clockwise in the picture is counter-clockwise from the camera, since y points down; glTF's v does as well.
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], dtype=np.float64)
    plane = trimesh.Trimesh(verts, [[0, 2, 1], [0, 3, 2]], process=False)
    plane.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    data: bytes = trimesh.Scene([plane]).export(file_type="glb")
    return data


def _jpeg(image: ByteArray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def start_view(scene: Scene) -> tuple[FloatArray, FloatArray]:
    """Eye and target (3,), metres, frame ``cam``: from the photograph's side, a little aside and above."""
    centre, radius = bounding_ball(all_points(scene))
    way = turned(raised(np.array([0.0, 0.0, -1.0]), START_ELEVATION_DEG), START_TURN_DEG)
    return centre + 3.1 * radius * way, centre


def set_start_view(server: Any, scene: Scene) -> None:
    """Let every new client begin at :func:`start_view`."""
    eye, target = start_view(scene)
    server.initial_camera.position = tuple(eye)
    server.initial_camera.look_at = tuple(target)
    server.initial_camera.up = tuple(UP_CAM)
    server.initial_camera.fov = float(np.deg2rad(45))


def offline_page(scene: Scene, contact: bool) -> str:
    """One HTML document with the orbitable scene; it loads nothing from anywhere. Needs the extra ``viewer``."""
    with quiet_server() as server:
        add_surroundings(server, scene)
        add_parts(server, scene, contact)
        add_ghosts(server, scene)
        set_start_view(server, scene)
        page: str = server.scene.as_html()
    return page.replace("</head>", f"<style>{_STYLE}</style></head>", 1)


def _small_photo(scene: Scene) -> ByteArray:
    image = scene.observation.image
    scale = min(1.0, PHOTO_SIDE / max(image.shape[:2]))
    return resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
