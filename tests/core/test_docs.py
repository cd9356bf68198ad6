"""The snippets of the documentation hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
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


RUNNING = [code for code in _snippets("benchmarks.md") if "assert" in code]
"""The page's others need a dataset."""


@pytest.mark.parametrize("code", RUNNING, ids=["with the library", "without it"])
def test_predictions_of_another_program(code: str) -> None:
    exec(compile(code, "docs/benchmarks.md", "exec"), {})


def test_the_page_names_every_key_of_a_prediction() -> None:
    from hoirecon.data.datasets.predictions import Prediction, pack_prediction
    from hoirecon.pose import ObjectPose

    points, faces, scores = np.zeros((3, 3)), np.array([[0, 1, 2]]), np.ones(3)
    whole = Prediction(
        "a", scores, "smpl", {"cup": scores}, scores, scores, ObjectPose(np.eye(3), np.zeros(3), 1.0), points, points,
        points, faces, faces, {"betas": np.zeros(10)},
    )  # fmt: skip
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    header, arrays = pack_prediction(whole)
    short = {"object_contact_ids", "object_contact_scores", "affordance_ids", "affordance_scores", "of_0_ids",
             "of_0_scores"}  # fmt: skip
    missing = [name for name in {*header, *arrays} - short if f"`{name}`" not in page]
    missing += [name for name in short if f"`{name.rpartition('_')[0]}_...`" not in page]
    assert not missing, f"docs/benchmarks.md does not tell of {missing}"


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_in_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    missing = [t for t in targets if t and not ((ROOT / page).parent / t).exists()]
    assert not missing, f"{page} links to missing {missing}"
