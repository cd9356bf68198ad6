"""The result folder: complete, read back exactly, never half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError, MissingExtraError
from hoirecon.scene import Scene
from hoirecon.views.folder import save_scene

ALWAYS = {"scene.json", "scene.npz", "photo.png", "scene.glb", "body.obj", "object_red_b_box_b.obj"}
PICTURES = {"overlay.png", "contact.png", "turntable.png"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_everything_is_written_and_reads_back(scene: Scene, tmp_path: Path) -> None:
    pytest.importorskip("open3d")
    pytest.importorskip("viser")
    out = scene.save(tmp_path / "out")
    assert names(out) == ALWAYS | PICTURES | {"report.html"}
    assert names(tmp_path) == {"out"}
    back = Scene.load(out)
    np.testing.assert_array_equal(back.body.verts, scene.body.verts)
    np.testing.assert_array_equal(back.observation.image, scene.observation.image)
    assert back.measures == scene.measures
    assert (out / "report.html").stat().st_size < 8 << 20


def test_pictures_and_page_can_be_left_out(scene: Scene, tmp_path: Path) -> None:
    assert names(save_scene(scene, tmp_path / "out", pictures=False, report=False)) == ALWAYS


def test_an_earlier_result_is_replaced_as_a_whole(scene: Scene, tmp_path: Path) -> None:
    out = save_scene(scene, tmp_path / "out", pictures=False, report=False)
    (out / "object_old.obj").write_text("old")
    save_scene(replace(scene, flags=("new",)), out, pictures=False, report=False)
    assert names(out) == ALWAYS
    assert Scene.load(out).flags == ("new",)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, InputError])
@pytest.mark.parametrize("step", ["meshes.write_glb", "meshes.write_objs", "folder.write_scene"])
def test_an_interrupted_run_leaves_what_was_there(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: type[BaseException]
) -> None:
    old = save_scene(scene, tmp_path / "old", pictures=False, report=False)
    before = {path.name: path.read_bytes() for path in old.iterdir()}

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(f"hoirecon.views.{step}", fail)
    for name in ("old", "new"):
        with pytest.raises(error):
            save_scene(scene, tmp_path / name, pictures=False, report=False)
    assert names(tmp_path) == {"old"}
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_run_interrupted_between_two_renames_leaves_what_was_there(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """The earlier result has stepped aside and the new one is not in its place yet."""
    old = save_scene(scene, tmp_path / "old", pictures=False, report=False)
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    rename = os.replace

    def stopped(source: Any, target: Any) -> None:
        if Path(target) == old and "-old-" not in Path(source).name:
            raise error
        rename(source, target)

    monkeypatch.setattr("hoirecon.files.os.replace", stopped)
    with pytest.raises(error):
        save_scene(scene, old, pictures=False, report=False)
    assert names(tmp_path) == {"old"}
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


def test_a_users_folder_is_refused_before_any_work(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    monkeypatch.setattr("hoirecon.views.folder._draw", lambda *_: pytest.fail("worked before looking"))
    with pytest.raises(InputError, match=r"holds no scene\.json"):
        save_scene(scene, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_missing_extra_is_named_before_any_work(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    monkeypatch.setattr("hoirecon.views.folder._draw", lambda *_: pytest.fail("worked before looking"))
    with pytest.raises(MissingExtraError, match=r"hoirecon\[viewer\]"):
        save_scene(scene, tmp_path / "out")
    assert not names(tmp_path)


def test_saving_imports_neither_torch_nor_the_body_model(scene: Scene, tmp_path: Path) -> None:
    """They cost seconds and half a gigabyte, and a saved scene says all by itself."""
    pytest.importorskip("open3d")
    pytest.importorskip("viser")
    scene.save(tmp_path / "out", pictures=False, report=False)
    code = (
        "import sys; from hoirecon import Scene; Scene.load(sys.argv[1]).save(sys.argv[2]);"
        "print(sorted({'torch', 'hoirecon.data'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out"), str(tmp_path / "again")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"
