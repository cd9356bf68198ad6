"""The live view: answers on this machine, can be stopped, and says when its port is taken."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from hoirecon.errors import InputError
from hoirecon.scene import Scene
from hoirecon.views import viewer
from hoirecon.views.viewer import view_scene

pytest.importorskip("viser", reason="the live view needs the extra 'viewer'")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_it_answers_and_stops(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    view = view_scene(scene, port=0, block=False)
    assert view.url.startswith("http://127.0.0.1:")
    assert "<html" in get(view.url)
    view.stop()
    view.stop()
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get(view.url)
    assert capsys.readouterr().out == ""


def test_blocking_ends_with_ctrl_c(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port, seen = free_port(), []

    def press(_: float) -> None:
        seen.append(get(f"http://127.0.0.1:{port}"))
        raise KeyboardInterrupt

    monkeypatch.setattr("hoirecon.views.viewer.time.sleep", press)
    thread_errors: list[Any] = []

    def run() -> None:
        try:
            view_scene(scene, port=port, block=True)
        except BaseException as err:
            thread_errors.append(err)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert not thread_errors
    assert len(seen) == 1
    assert str(port) in capsys.readouterr().out
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get(f"http://127.0.0.1:{port}")


def test_a_taken_port_is_said(scene: Scene) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(InputError, match="choose another port"):
            view_scene(scene, port=holder.getsockname()[1], block=False)


@pytest.mark.parametrize("port", [-1, 70000])
def test_an_impossible_port_is_said(scene: Scene, port: int) -> None:
    with pytest.raises(InputError, match="choose another port"):
        view_scene(scene, port=port, block=False)


def test_boxes_show_and_hide(scene: Scene) -> None:
    view = view_scene(scene, port=0, block=False)
    try:
        handles = {h.name: h for h in view.server.scene._handle_from_node_name.values()}
        parts = [name for name in handles if name.startswith("/parts/")]
        assert len(parts) == 2
        assert all(handles[name].visible for name in parts)
        assert not any(h.visible for name, h in handles.items() if name.startswith("/contact/"))
        other = handles["/red <b>box<-b>, pose 2"]
        (box,) = [h for h in view.server.gui._gui_input_handle_from_uuid.values() if "pose 2" in h.label]
        assert not other.visible
        assert not box.value
    finally:
        view.stop()


def test_markup_in_names_is_not_markup(make_scene: Callable[..., Scene]) -> None:
    text = viewer._facts(make_scene(flags=("<script>{1+1}</script> **x**",)))
    assert "<" not in text
    assert "{" not in text
    assert text.count("**") == 2  # the bold name of the one measure
