"""The parity tests stand in files that pytest does not collect by name; their asserts should explain themselves too."""

from __future__ import annotations

import pytest

for _part in ("components", "full", "lifting", "maps", "losses"):
    pytest.register_assert_rewrite(f"tests.contact.parity_{_part}")
