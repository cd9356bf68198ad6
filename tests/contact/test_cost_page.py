"""The page on InteractVLM shows what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoirecon.contact.cost import contact_cost, cost_text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interactvlm.md"


@pytest.mark.slow
def test_the_page_shows_the_counts_of_this_code() -> None:
    table = cost_text(contact_cost()).strip()
    assert table in PAGE.read_text(encoding="utf-8"), "write what `hoirecon bench contact-cost` prints into the page"
