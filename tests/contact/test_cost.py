"""Operations of the full-size network, counted without weights."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from hoirecon import cli
from hoirecon.contact.cost import CostCase, contact_cost, cost_text
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.toy import toy_config

TINY = CostCase(toy_config(), prefix_tokens=5, question_tokens=4, answer_tokens=6)


@pytest.fixture(scope="module")
def full() -> dict[str, Any]:
    return contact_cost()


def test_the_figures_to_reach(full: dict[str, Any]) -> None:
    assert full["reference"]["tflop"] == pytest.approx(618, rel=0.01)
    assert full["ours"]["new_mesh_tflop"] <= 40
    assert full["ours"]["cached_tflop"] <= 15


def test_parts_add_up(full: dict[str, Any]) -> None:
    for side, total in (("reference", "tflop"), ("ours", "new_mesh_tflop")):
        assert sum(full[side]["parts"].values()) == pytest.approx(full[side][total], abs=0.01)
    views = full["ours"]["parts"]["sam_object_views"]
    assert full["ours"]["new_mesh_tflop"] - full["ours"]["cached_tflop"] == pytest.approx(views, abs=0.01)


def test_the_language_model_by_hand(full: dict[str, Any]) -> None:
    """Two operations per weight and position, four per pair of positions and width in attention."""
    c, case = NetworkConfig().language, CostCase()
    weights = c.num_layers * (4 * c.hidden_size**2 + 3 * c.hidden_size * c.intermediate_size)
    per_token = 2 * (weights + c.vocab_size * c.hidden_size)
    lengths = range(case.prompt, case.prompt + case.answer_tokens)
    attention = sum(4 * c.num_layers * n * n * c.hidden_size for n in lengths)
    reference = 2 * (sum(lengths) * per_token + attention)
    assert full["reference"]["parts"]["language"] == pytest.approx(reference / 1e12, rel=1e-3)
    read = case.shared + 2 * (case.question_tokens + case.answer_tokens - 1)
    ours = full["ours"]["parts"]["language_prefix"] + full["ours"]["parts"]["language_answers"]
    assert ours == pytest.approx(2 * weights * read / 1e12, rel=0.02)


def test_segment_anything_is_counted_for_what_is_encoded(full: dict[str, Any]) -> None:
    reference, ours = full["reference"]["parts"], full["ours"]["parts"]
    assert reference["sam_body_views"] == reference["sam_object_views"] == ours["sam_object_views"]
    assert ours["sam_body_views"] == 0
    assert 4 * 2.5 < ours["sam_object_views"] < 4 * 6.0, "ViT-H takes some 3 to 6 TFLOP a picture"


def test_memory(full: dict[str, Any]) -> None:
    rows = full["vram_gb"]
    assert rows["bfloat16"]["weights"] == pytest.approx(28.0, abs=0.5)
    assert rows["float32"]["weights"] == pytest.approx(2 * rows["bfloat16"]["weights"], abs=0.02)
    assert rows["bfloat16"]["weights"] > rows["int8"]["weights"] > rows["int4"]["weights"]
    positions = 2 * (CostCase().prompt + CostCase().answer_tokens)
    assert rows["bfloat16"]["key_value_cache"] == pytest.approx(2 * 2 * 40 * 5120 * positions / 1e9, abs=0.01)


def test_longer_answers_cost_the_reference_much_more() -> None:
    short, long = (contact_cost(replace(TINY, answer_tokens=n)) for n in (6, 60))
    grows = [
        long[side]["parts"][part] - short[side]["parts"][part]
        for side, part in (("reference", "language"), ("ours", "language_answers"))
    ]
    assert grows[0] > 10 * grows[1] >= 0


def test_counting_is_exact_at_any_length() -> None:
    """Lengths in between come from a polynomial through three; count one by one instead."""
    from hoirecon.contact import cost

    case = replace(TINY, answer_tokens=9)
    with torch.device("meta"), torch.no_grad():
        network = InteractVLMNetwork(case.config)
        quick = cost._reference_parts(network, case)["language"]
        lengths = range(case.prompt, case.prompt + case.answer_tokens)
        slow = case.questions * sum(cost._read_all(network, case, n) for n in lengths)
    assert quick == pytest.approx(slow, rel=1e-9)


def test_nothing_global_changes() -> None:
    before = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    contact_cost(TINY)
    assert (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()) == before


def test_table(full: dict[str, Any]) -> None:
    text = cost_text(full)
    assert "all, cached mesh" in text
    assert f"{full['reference']['tflop']:.2f}" in text
    assert "int4" in text


def test_command(full: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hoirecon.contact.cost.contact_cost", lambda: full)  # it takes seconds
    assert cli.run(["bench", "contact-cost", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"tflop", "parts"} == set(found["reference"])
    assert {"new_mesh_tflop", "cached_tflop", "parts"} == set(found["ours"])
    assert cli.run(["bench", "contact-cost"]) == 0
    assert "TFLOP" in capsys.readouterr().out


@pytest.mark.slow
def test_it_takes_little_memory() -> None:
    code = (
        "import resource; from hoirecon.contact.cost import contact_cost; contact_cost();"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2_500_000, "28 GB of weights were never made"
