"""Ours against the reference's procedure, in one process."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hoirecon import cli
from hoirecon.contact.plain import PlainAnswer
from hoirecon.contact.speed import _differences, contact_speed, speed_text
from hoirecon.contact_map import ContactMap


@pytest.mark.slow
def test_eight_times_faster_and_identical() -> None:
    found = contact_speed(repeats=3)
    assert found["identical"], found["largest_difference"]
    assert found["ratio"] >= 8, found
    assert min(found["answer_tokens"]) > 10


@pytest.mark.parametrize("seed", [0, 1])
def test_identical_for_any_weights(seed: int) -> None:
    found = contact_speed(repeats=1, seed=seed, size="tiny")
    assert found["identical"], found["largest_difference"]
    assert found["ratio"] > 1
    assert "times faster" in speed_text(found)


def test_a_difference_is_seen() -> None:
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(4, 8, 8)), dtype=torch.float32)
    masks = dict(zip("abcd", torch.sigmoid(logits).numpy(), strict=True))
    values = rng.uniform(0.4, 0.9, 50)
    plain = PlainAnswer((1,), torch.tensor(values), logits)
    same = _differences(ContactMap(values, "m", view_masks=masks), plain)
    assert max(same.values()) < 1e-6
    other = values.copy()
    other[3] -= 0.01
    assert _differences(ContactMap(other, "m", view_masks=masks), plain)["surfaces"] == pytest.approx(0.01)
    wrong = {name: mask * 0.99 for name, mask in masks.items()}
    assert _differences(ContactMap(values, "m", view_masks=wrong), plain)["masks"] > 1e-3


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from hoirecon.contact import speed

    monkeypatch.setattr(speed.contact_speed, "__defaults__", ("cpu", 1, 0, "tiny"))
    assert cli.run(["bench", "contact-speed", "--json", "--repeats", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["identical"] is True
    assert found["reference_seconds"]["median"] > found["ours_seconds"]["median"]
