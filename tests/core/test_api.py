"""The public surface is written down, and every public name is documented."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import hoirecon

ROOT = Path(hoirecon.__file__).resolve().parent.parent


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_page", ROOT / "tools" / "api_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


def test_no_public_name_was_removed() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    written = {
        (package, re.split(r"\(", name)[0])
        for package, section in re.findall(r"^## `([\w.]+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
    }
    now = {(p, n) for p in TOOL.PACKAGES for n in TOOL.public_names(importlib.import_module(p))}
    assert not written - now, (
        f"public names were removed: {sorted(written - now)}. Users import them: keep the old name with a dated "
        "DeprecationWarning that names the new one; if the removal is meant, run python tools/api_page.py"
    )
    assert not now - written, f"new public names {sorted(now - written)}: run python tools/api_page.py"


@pytest.mark.parametrize("package", TOOL.PACKAGES)
def test_every_public_name_has_a_docstring(package: str) -> None:
    module = importlib.import_module(package)
    bare = [
        name
        for name in TOOL.public_names(module)
        if (inspect.isclass(v := getattr(module, name)) or inspect.isfunction(v))
        and (not inspect.getdoc(v) or str(inspect.getdoc(v)).startswith(name + "("))
    ]
    assert not bare, f"no docstring: {bare}"


def test_a_plain_value_is_told_by_what_it_holds() -> None:
    assert TOOL.first_sentence({"L0": 1, "L1": 2}) == "Holds `L0`, `L1`."
    assert TOOL.first_sentence(3) == "Holds 3."  # not what Python says of int
