"""Where parity vectors are looked for: a named set that is not there is a failure, none at all is a skip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contact import parity_data

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A folder above a set with one network."""
    (tmp_path / "set" / "interactvlm" / "full" / "gen").mkdir(parents=True)
    (tmp_path / "set" / "interactvlm" / "full" / "gen" / "meta.json").write_text("{}")
    return tmp_path / "set"


def test_both_spellings_of_a_named_set(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named in (vectors, vectors / "interactvlm"):
        monkeypatch.setenv("HOIRECON_PARITY", str(named))
        assert parity_data.parity_root() == vectors / "interactvlm"
        assert parity_data.configurations() == ["gen"]


def test_the_named_set_comes_before_the_own_copy(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_data, "PLACES", (vectors,))
    monkeypatch.setenv("HOIRECON_PARITY", str(vectors / "full"))
    with pytest.raises(pytest.fail.Exception):
        parity_data.parity_root()
    monkeypatch.delenv("HOIRECON_PARITY")
    assert parity_data.parity_root() == vectors / "interactvlm"


@pytest.mark.parametrize("content", ["nothing", "empty folder", "other folder"])
def test_a_named_set_that_is_not_there_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    named = tmp_path / "named"
    if content != "nothing":
        (named / ("interactvlm" if content == "empty folder" else "photos")).mkdir(parents=True)
    monkeypatch.setenv("HOIRECON_PARITY", str(named))
    for look in (parity_data.parity_root, parity_data.configurations):
        with pytest.raises(pytest.fail.Exception, match=r"HOIRECON_PARITY names .*named.*: name the folder"):
            look()


@pytest.mark.parametrize("unset", [True, False])
def test_no_set_and_none_named_is_a_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: bool) -> None:
    monkeypatch.setattr(parity_data, "PLACES", (tmp_path,))
    monkeypatch.setenv("HOIRECON_PARITY", "")
    if unset:
        monkeypatch.delenv("HOIRECON_PARITY")
    with pytest.raises(pytest.skip.Exception, match="no parity vectors"):
        parity_data.parity_root()
    assert parity_data.configurations() == []


def test_collection_itself_fails_with_the_advice(tmp_path: Path) -> None:
    """Cases are made at collection: a mistyped folder must not leave an empty, green run."""
    file = tmp_path / "test_cases.py"
    file.write_text(
        "import pytest\nfrom tests.contact.parity_data import configurations\n"
        "@pytest.mark.parametrize('name', configurations())\ndef test_it(name): pass\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(file)],
        env=os.environ | {"HOIRECON_PARITY": str(tmp_path / "typo"), "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == pytest.ExitCode.INTERRUPTED
    assert "name the folder that holds interactvlm/" in ran.stdout
    assert "Traceback" not in ran.stdout
