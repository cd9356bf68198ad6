"""The page in a headless Chromium that can reach no network: the scene is really drawn, and nothing is asked for.

Chromium is driven through a pipe (its DevTools protocol); no package is needed for that.
"""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.scene import Scene
from hoirecon.views.report import report_page

pytest.importorskip("viser", reason="the page needs the extra 'viewer'")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One page in a headless Chromium that can reach no network."""

    def __init__(self, profile: Path, width: int = 900, height: int = 800, allow_local: bool = False) -> None:
        self.requests: list[str] = []
        """Addresses asked for, but ``data:`` and ``blob:``."""
        self.errors: list[str] = []
        """Uncaught exceptions and console messages of level error."""
        self._waiting = b""
        self._count = 0
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        hosts = "--host-resolver-rules=MAP * ~NOTFOUND" + (", EXCLUDE 127.0.0.1" if allow_local else "")
        command = [CHROMIUM, *FLAGS, hosts, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        # Chromium reads commands from descriptor 3 and answers on 4.
        script = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(to_read, to_write),
            env={**os.environ, "IN": str(to_read), "OUT": str(to_write)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)  # ends Chromium
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol and wait for its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        url = path.resolve().as_uri()
        self.call("Page.navigate", url=url)
        end = time.monotonic() + 60
        while self.run("location.href + ' ' + document.readyState") != f"{url} complete":
            assert time.monotonic() < end, f"{url} was not loaded"
            time.sleep(0.1)

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 of what is shown."""
        from PIL import Image

        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def wait_for(self, good: Callable[[np.ndarray], bool], seconds: float = 90) -> np.ndarray:
        """Take pictures until one is good or time is over; returns the last."""
        end = time.monotonic() + seconds
        while True:
            shown = self.picture()
            if good(shown) or time.monotonic() > end:
                return shown
            time.sleep(0.5)

    def _next(self, seconds: float = 60) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._read], [], [], seconds)
            assert ready, "Chromium gave no answer"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "Chromium has ended"
            self._waiting += chunk
        line, self._waiting = self._waiting.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(str(params["entry"]))
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("data:", "blob:", "about:")):
                self.requests.append(url)


def coloured(picture: np.ndarray) -> bool:
    """Whether a picture has many different, clearly coloured pixels, both cool and warm."""
    values = picture.astype(int)
    warm, cool = values[..., 0] - values[..., 2] > 25, values[..., 2] - values[..., 0] > 12
    return bool(warm.mean() > 0.01 and cool.mean() > 0.01 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 100)


def warm(picture: np.ndarray) -> float:
    """Share of clearly warm pixels."""
    return float((picture[..., 0].astype(int) - picture[..., 2] > 25).mean())


def test_a_browser_shows_the_scene_offline(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_page(scene), encoding="utf-8")
    with Browser(tmp_path / "profile", 640, 640) as browser:
        browser.open(path)
        browser.run("document.getElementById('scene').scrollIntoView({block:'start'})")
        box = browser.run("JSON.stringify(document.getElementById('scene').getBoundingClientRect())")
        shown = browser.wait_for(coloured)
        assert browser.run("document.getElementById('scene').contentDocument.querySelector('canvas') !== null")
        assert coloured(shown), f"the view stayed empty: {box}"
        assert not browser.errors
        assert browser.requests == [path.resolve().as_uri()]


def test_the_boxes_show_and_hide_parts_and_the_clients_note_is_gone(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_page(scene), encoding="utf-8")
    with Browser(tmp_path / "profile", 640, 640) as browser:
        browser.open(path)
        browser.run("document.getElementById('scene').scrollIntoView({block:'start'})")
        shown = browser.wait_for(coloured)
        assert coloured(shown)
        assert browser.run("boxes.map(box => box.disabled).join()") == "false,false,false"
        browser.run("for (const box of boxes.slice(0, 2)) box.click()")  # body and box off
        empty = browser.wait_for(lambda picture: warm(picture) < 0.001)
        assert warm(empty) < 0.001 < 0.01 < warm(shown)
        browser.run("boxes[2].click()")  # the other pose on
        assert warm(browser.wait_for(lambda picture: warm(picture) > 0.005)) > 0.005
        notes = "document.getElementById('scene').contentDocument.querySelectorAll('.mantine-Notification-root')"
        hidden = browser.run(f"[...{notes}].map(note => note.innerText + getComputedStyle(note).display).join()")
        assert hidden == "" or (hidden.startswith("Software WebGL") and hidden.endswith("none")), hidden
        assert not browser.errors


def test_the_browser_tells_of_requests_and_errors(tmp_path: Path) -> None:
    """The test above could not fail if the browser kept silent."""
    path = tmp_path / "bad.html"
    path.write_text("<script>fetch('http://example.org/x').catch(()=>0);throw new Error('on purpose')</script>")
    with Browser(tmp_path / "profile", 300, 200) as browser:
        browser.open(path)
        browser.run("1")
        assert "http://example.org/x" in browser.requests
        assert any("on purpose" in error for error in browser.errors)
