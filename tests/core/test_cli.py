"""The command line: every bad input ends in one sentence, exit code 2, and no half-written result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon import cli
from hoirecon.doctor import examine, report
from hoirecon.errors import HoireconError, InputError


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((120, 160, 3), 128, np.uint8)).save(path)
    return path


def _fails(args: list[str], says: str, capsys: pytest.CaptureFixture[str], out: Path) -> None:
    code = cli.run([*args, "--out", str(out), "--quiet"])
    printed = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(printed) == 1
    assert printed[0].startswith("hoirecon: ")
    assert says in printed[0], printed[0]
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--object"),
        (["--object", "barbel", "--object-box", "1,2,30,40"], "barbell"),
        (["--object", "barbell"], "box, mask or prompt"),
        (["--object", "barbell", "--object-box", "1,2,3"], "x,y,width,height"),
        (["--object", "barbell", "--object-box", "1,2,3,x"], "numbers"),
        (["--object", "barbell", "--object-box", "1,2,0,40"], "no area"),
        (["--object", "barbell", "--object-box", "500,2,30,40"], "outside the image of 160 x 120"),
        (["--object", "cup", "--object", "book", "--object-box", "1,2,30,40"], "as many --object-box"),
        (["--object", "cup", "--object-mask", "no.png"], "no.png"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--object-mesh", "no.obj"], "no.obj"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--body", "no.npz"], "no.npz"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--sam-checkpoint", "no.pth"], "no.pth"),
        (["--object", "cup", "--detector-weights", "nowhere"], "nowhere"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--focal-px", "-5"], "-5"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--height", "17"], "height"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--intrinsics", "500,500,80"], "fx,fy,cx,cy"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--intrinsics", "-5,5,80,60"], "positive focal"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--distortion", "0,0,0,0"], "calibrated camera"),
        (["--object", "cup", "--object-prompt", "no.json"], "no.json does not exist"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--hypotheses", "-1"], "hypotheses"),
        (["--object", "cup", "--object-prompt", "no.json", "--object-box", "1,2,30,40"], "give them there"),
        (["--object", "cup", "--object-prompt", "no.json", "--not-object-points", "1,2"], "give them there"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--index-weights", "w"], "of an --index"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--detector-adapter", "a"], "--detector-weights"),
        (["--object", "cup", "--object-box", "1,2,30,40", "--mesh-unit", "mm"], "unit of --object-mesh"),
    ],
)
def test_bad_options(
    options: list[str], says: str, grey: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _fails(["reconstruct", str(grey), *options], says, capsys, tmp_path / "out")


def test_unreadable_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    box = ["--object", "cup", "--object-box", "1,2,30,40"]
    (tmp_path / "text.jpg").write_text("not an image")
    _fails(["reconstruct", str(tmp_path / "text.jpg"), *box], "text.jpg", capsys, tmp_path / "out")
    _fails(["reconstruct", str(tmp_path / "none.jpg"), *box], "none.jpg", capsys, tmp_path / "out")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    _fails(["reconstruct", str(tmp_path / "bomb.png"), *box], "pixels", capsys, tmp_path / "out")


def test_nobody_in_the_picture(grey: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hoirecon.perception.models import missing_models

    if missing_models():
        pytest.skip("BlazePose's files are not on this machine: hoirecon models fetch")
    args = ["reconstruct", str(grey), "--object", "cup", "--object-box", "10,20,60,60"]
    _fails(args, "no person", capsys, tmp_path / "out")


def test_folders_that_cannot_be_written(grey: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("...")
    args = ["reconstruct", str(grey), "--object", "cup", "--object-box", "1,2,30,40", "--quiet", "--out"]
    assert cli.run([*args, str(tmp_path / "thesis")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert os.listdir(tmp_path / "thesis") == ["chapter.tex"]
    assert cli.run([*args, str(grey)]) == 2
    assert "is a file" in capsys.readouterr().err
    assert cli.run([*args, "/proc/nowhere/out"]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_an_interrupted_run_leaves_nothing(
    grey: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hoirecon.reconstruction.observe", interrupt)
    args = ["reconstruct", str(grey), "--object", "cup", "--object-box", "1,2,30,40"]
    _fails(args, "interrupted", capsys, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grey.png"]


def test_an_interrupted_benchmark_does_not_say_that_its_answers_are_lost(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hoirecon.evaluation.runs.runner.run_task", interrupt)
    run = ["bench", "run", "--task", "damon/binary", "--method", "all", "--data", str(tmp_path)]
    assert cli.run([*run, "--out", str(tmp_path / "x")]) == 2
    assert "interrupted; what was not finished" in capsys.readouterr().err


def test_prompts_are_read() -> None:
    command = cli.Reconstruct(
        Path("a.jpg"),
        object=("barbell",),
        object_box=("1,2,3,4",),
        object_stroke=("1,1;5,5:4",),
        not_object_points="9,9",
    )
    prompt = command._requests()[0].prompt
    assert prompt is not None
    assert prompt.box == (1, 2, 3, 4)
    assert prompt.scribbles[0].width == 4
    assert prompt.negative_points == ((9, 9),)


def test_options_change_only_what_they_name() -> None:
    from dataclasses import replace

    from hoirecon.reconstruction import ReconstructConfig

    usual = ReconstructConfig()
    assert cli.Reconstruct(Path("a.jpg"))._config() == usual
    changed = cli.Reconstruct(Path("a.jpg"), height=1.8, hypotheses=64)._config()
    assert changed.fit == replace(usual.fit, hypotheses=64)
    assert changed.body == replace(usual.body, height_m=1.8)


def test_the_person_meant_is_said_by_number_box_or_mask_and_once(
    grey: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told: list[Any] = []

    def stop(*_: Any, **options: Any) -> None:
        told.append((options["person"], options["person_mask"]))
        raise InputError("seen enough")

    monkeypatch.setattr("hoirecon.reconstruction.reconstruct", stop)
    start = ["reconstruct", str(grey), "--object", "cup", "--object-box", "1,2,30,40"]
    mask = ["--person-mask", str(tmp_path / "m.png")]
    for options in ([], ["--person", "1"], ["--person-box", "1,2,30,40"], mask):
        _fails([*start, *options], "seen enough", capsys, tmp_path / "out")
    assert told == [("auto", None), (1, None), ((1.0, 2.0, 30.0, 40.0), None), ("auto", tmp_path / "m.png")]
    both = "a person is meant by --person-box or by --person-mask: give one of them"
    _fails([*start, "--person-box", "1,2,30,40", *mask], both, capsys, tmp_path / "out")
    _fails([*start, "--person-box", "1,2,30"], "a box is x,y,width,height in pixels", capsys, tmp_path / "out")


def test_a_mesh_in_millimetres_is_said_and_can_be_given(
    grey: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import trimesh

    from hoirecon.requests import prepare_things

    trimesh.creation.box((300, 200, 100)).export(tmp_path / "mm.stl")
    args = ["--object", "box", "--object-box", "1,2,30,40", "--object-mesh", str(tmp_path / "mm.stl")]
    _fails(["reconstruct", str(grey), *args], "unit='mm'", capsys, tmp_path / "out")
    box, mesh = ("1,2,30,40",), tmp_path / "mm.stl"
    command = cli.Reconstruct(grey, object=("box",), object_box=box, object_mesh=mesh, mesh_unit="mm")
    assert prepare_things(command._requests())[0].contact.mesh.extents.max() == pytest.approx(0.3)


def test_objects_lists_and_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["objects"]) == 0
    assert "barbell" in capsys.readouterr().out.splitlines()
    assert cli.run(["objects", "mobile phone"]) == 0
    assert "longest side" in capsys.readouterr().out


def test_objects_takes_the_id_that_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("chair/plain", "Chairs/plain"):
        assert cli.run(["objects", name]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("chair (also: ")
        assert [line.split(":")[0] for line in said if line.startswith("mesh ")] == ["mesh chair/plain"]
    assert cli.run(["objects", "chair/golden"]) == 2
    assert "of chair there are chair/" in capsys.readouterr().err


@pytest.mark.parametrize("rest", [[], ["--help"], ["list"]])
def test_index_alone_names_its_commands(rest: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["index", *rest]) == 2
    assert "`hoirecon index build`, `hoirecon index info`, `hoirecon index search`" in capsys.readouterr().err


def test_it_runs_as_a_module() -> None:
    told = subprocess.run([sys.executable, "-m", "hoirecon", "objects", "cup"], capture_output=True, text=True)
    assert (told.returncode, told.stdout.split()[0]) == (0, "cup"), told.stderr


def test_doctor_names_every_package_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    text = report(examine())
    assert "numpy" in text
    assert "pose_landmark_full.tflite" in text
    monkeypatch.setattr("hoirecon.doctor.importlib.import_module", _missing)
    findings = examine()
    assert not any(f.ok for f in findings if f.name in ("open3d", "viser"))
    assert "pip install 'hoirecon[render]'" in report(findings)


def _missing(name: str) -> None:
    raise ImportError(f"No module named '{name}'")


def test_our_errors_are_caught_by_one_class() -> None:
    from hoirecon import errors

    ours = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert all(issubclass(v, HoireconError) for v in ours)
