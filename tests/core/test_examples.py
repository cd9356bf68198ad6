"""The examples run, from the first to the last, and the notebook shows its pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hoirecon

EXAMPLES = Path(hoirecon.__file__).resolve().parent.parent / "examples"


@pytest.fixture(autouse=True)
def _needs_models() -> None:
    from hoirecon.perception.models import missing_models

    if missing_models():
        pytest.skip("BlazePose's files are not on this machine: hoirecon models fetch")


def test_examples_are_numbered_and_short() -> None:
    names = sorted(p.name for p in EXAMPLES.glob("[0-9]*"))
    assert [n[:2] for n in names] == [f"{i + 1:02d}" for i in range(len(names))]
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, f"{path.name} is long for an example"


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.py")))
def test_script(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert any((tmp_path / "out").iterdir())


def test_notebook(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    book = nbformat.read(EXAMPLES / "02_step_by_step.ipynb", as_version=4)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [o for c in book.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 5  # photograph, masks, overlay, contact, turntable
