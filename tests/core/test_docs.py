"""The snippets of the documentation hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hoirecon

ROOT = Path(hoirecon.__file__).resolve().parent.parent
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _snippets(page: str) -> list[str]:
    return SNIPPET.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("code", _snippets("conventions.md"), ids=lambda c: c.strip().splitlines()[-1][:40])
def test_conventions(code: str) -> None:
    assert "assert" in code or "raises" in code
    exec(compile(code, "docs/conventions.md", "exec"), {})


@pytest.mark.parametrize("code", _snippets("soft-silhouettes.md"), ids=["renderer"])
def test_silhouette_page(code: str) -> None:
    assert "assert" in code
    exec(compile(code, "docs/soft-silhouettes.md", "exec"), {})


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_in_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    missing = [t for t in targets if t and not ((ROOT / page).parent / t).exists()]
    assert not missing, f"{page} links to missing {missing}"
