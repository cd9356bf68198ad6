"""The live 3D view of a result in the browser: ``hoirecon view out/``."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.errors import InputError
from hoirecon.scene import Scene
from hoirecon.views.look import cautions, ghosts, part_names, remarks
from hoirecon.views.report import ghost_label, number
from hoirecon.views.scene3d import add_ghosts, add_parts, add_surroundings, quiet_server, set_start_view

STYLES = ("parts", "contact")


@dataclass
class LiveView:
    """A running live view; :meth:`stop` ends it."""

    url: str
    """Address to open in a browser."""
    server: Any
    """The ``viser.ViserServer``, for those who want to add something."""
    _closing: contextlib.ExitStack

    def stop(self) -> None:
        """End the server and free its port; may be called twice."""
        self._closing.close()


def view_scene(scene: Scene, port: int = 8080, block: bool = True, host: str = "127.0.0.1") -> LiveView:
    """Serve a scene for looking at it from all sides. Needs the extra ``viewer``.

    The panel shows or hides each body and object, the objects' other poses (hidden at first), the ground and the
    photograph, colours by part or by contact probability, and can look from where the photograph was taken.

    Args:
        scene: what to show.
        port: port to serve at; 0 takes a free one. A busy port is an error.
        block: wait until Ctrl-C; False returns at once and serves from threads.
        host: address to listen at; the default answers this machine only, ``0.0.0.0`` the whole network.

    Returns:
        The running view (with ``block=True``, after it has been stopped).

    Raises:
        InputError: the port is taken or not allowed.
    """
    _check_port(host, port)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(quiet_server(host, port))
        _build(server, scene)
        view = LiveView(
            f"http://{'localhost' if host == '0.0.0.0' else host}:{server.get_port()}", server, stack.pop_all()
        )
    if block:
        print(f"scene at {view.url} (Ctrl-C ends)")
        _wait()
        view.stop()
    return view


def _check_port(host: str, port: int) -> None:
    """viser would silently take another port; a user who asked for one wants to know."""
    import socket

    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as err:
        raise InputError(f"cannot serve at {host}:{port} ({err}): choose another port, or 0 for any free one") from err


def _wait() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1.0)


def _build(server: Any, scene: Scene) -> None:
    server.gui.configure_theme(show_share_button=False)  # it would send the scene to a public server
    ground, photo = add_surroundings(server, scene)
    shown = {style: add_parts(server, scene, style == "contact", f"/{style}") for style in STYLES}
    set_start_view(server, scene)
    style = server.gui.add_dropdown("colours", STYLES, initial_value="parts")
    boxes = [server.gui.add_checkbox(name, initial_value=True) for name in part_names(scene)]
    for ghost, handle in zip(ghosts(scene), add_ghosts(server, scene), strict=True):
        _bind(server.gui.add_checkbox(ghost_label(ghost), initial_value=False), handle)
    for label, handle in (("photograph", photo), ("ground", ground)):
        _bind(server.gui.add_checkbox(label, initial_value=True), handle)
    lock = threading.Lock()  # viser calls back from a pool of threads

    def update(_: Any = None) -> None:
        with lock:
            for name, handles in shown.items():
                for box, handle in zip(boxes, handles, strict=True):
                    handle.visible = bool(box.value) and name == style.value

    for control in (style, *boxes):
        control.on_update(update)
    update()
    server.gui.add_button("look from the photograph").on_click(lambda event: _from_photo(event.client, scene))
    server.gui.add_markdown(_facts(scene))


def _bind(box: Any, handle: Any) -> None:
    def update(_: Any) -> None:
        handle.visible = bool(box.value)

    box.on_update(update)


def _from_photo(client: Any, scene: Scene) -> None:
    if client is None:
        return
    centre = scene.bodies[0].verts.mean(axis=0)
    client.camera.position = (0.0, 0.0, 0.0)
    client.camera.look_at = (0.0, 0.0, float(centre[2]))
    client.camera.up_direction = (0.0, -1.0, 0.0)
    client.camera.fov = 2 * float(np.arctan(scene.camera.height / 2 / scene.camera.focal[1]))


def _facts(scene: Scene) -> str:
    lines = [f"**{_plain_text(name)}**: {number(m)} {m.unit}" for name, m in scene.measures.items()]
    lines += [f"⚠ {_plain_text(text)}" for text in cautions(scene)]
    lines += [_plain_text(text) for text in remarks(scene)]
    return "\n\n".join(lines)


def _plain_text(text: str) -> str:
    """The panel reads markdown with components in it; a file's name must not become one."""
    for sign in "&<>{}[]`*_\\":
        text = text.replace(sign, f"&#{ord(sign)};" if sign != "&" else "&amp;")
    return text
