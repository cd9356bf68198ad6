"""Where OpenShape's vectors are looked for: a named set that is not there is a failure, none at all is a skip."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.retrieval import parity_data


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A folder above a set."""
    (tmp_path / "set" / "openshape").mkdir(parents=True)
    (tmp_path / "set" / "openshape" / "manifest.json").write_text('{"cases": {}}')
    return tmp_path / "set"


def test_both_spellings_of_a_named_set(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named in (vectors, vectors / "openshape"):
        monkeypatch.setenv("HOIRECON_PARITY", str(named))
        assert parity_data.parity_root() == vectors / "openshape"


def test_without_a_name_the_own_copy_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOIRECON_PARITY", raising=False)
    assert parity_data.parity_root() == parity_data.ROOT / "tests" / "golden" / "openshape"


@pytest.mark.parametrize("content", ["nothing", "empty folder", "other folder"])
def test_a_named_set_that_is_not_there_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    named = tmp_path / "named"
    if content != "nothing":
        (named / ("openshape" if content == "empty folder" else "photos")).mkdir(parents=True)
    monkeypatch.setenv("HOIRECON_PARITY", str(named))
    with pytest.raises(pytest.fail.Exception, match=r"HOIRECON_PARITY names .*named.*: name the folder"):
        parity_data.parity_root()


def test_no_set_and_none_named_is_a_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_data, "PLACES", (tmp_path,))
    monkeypatch.delenv("HOIRECON_PARITY", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no parity vectors"):
        parity_data.parity_root()
