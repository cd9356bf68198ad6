"""The estimator on a GPU: the same answers, in less precise numbers too, and memory as counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hoirecon
from hoirecon.contact import InteractVLM
from hoirecon.contact.plain import plain_contact
from hoirecon.contact.rendering.view_cache import ViewCache
from hoirecon.errors import InputError
from tests.contact.toy_scene import SAYS, like, photograph, queries_on, told

A = photograph(0)
ROOT = Path(hoirecon.__file__).resolve().parent.parent
gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def _asked(model: InteractVLM) -> list[Any]:
    """Given answers, so that a rounded score cannot change a word and with it everything after."""
    from dataclasses import replace

    return model.ask([replace(query, answer=SAYS[query.kind]) for query in queries_on(A)])


def _gaps(a: list[Any], b: list[Any]) -> list[tuple[float, float]]:
    """Mean difference and 99th percentile of each kind's probabilities; a flipped pixel of an object is no matter."""
    differences = [np.abs(one.probability - other.probability) for one, other in zip(a, b, strict=True)]
    return [(float(d.mean()), float(np.quantile(d, 0.99))) for d in differences]


def _close(a: list[Any], b: list[Any], mean: float, most: float) -> None:
    for kind, (average, tail) in zip(SAYS, _gaps(a, b), strict=False):
        assert average < mean, (kind, average)
        assert tail < most, (kind, tail)


def test_bfloat16_agrees_with_float32_on_the_cpu() -> None:
    model = told(A)
    exact = _asked(model)
    model.network.bfloat16()
    _close(_asked(like(model)), exact, 0.05, 0.15)


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=gpu)])
def test_throughput_script(device: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "contact_throughput.py"), "--device", device, "--batch", "2",
         "--rounds", "2", "--max-new-tokens", "4"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["questions_per_batch"] == 4
    assert found["questions_per_second"] > 0
    assert len(found["batch_seconds"]) == 2
    assert (found["peak_memory_gb"] is None) == (device == "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
class TestCuda:
    """What only a GPU can show."""

    def test_float32_is_the_cpus(self) -> None:
        model = told(A)
        exact = model.ask(queries_on(A))
        look = model.look(A)
        model.to("cuda")
        assert model.device.type == "cuda"
        with pytest.raises(InputError, match="before the model moved"):
            model.human_contact(look, "bottle")
        found = model.ask(queries_on(A))
        assert [f.answer for f in found] == [f.answer for f in exact]
        _close(found, exact, 1e-3, 5e-3)  # matrices may be multiplied in TF32

    def test_bfloat16_agrees_with_float32(self) -> None:
        model = told(A).to("cuda")
        exact = _asked(model)
        model.network.bfloat16()
        _close(_asked(like(model)), exact, 0.05, 0.15)

    def test_plain_procedure(self) -> None:
        model = told(A).to("cuda")
        for query in queries_on(A)[:3]:
            ours, theirs = model.ask([query])[0], plain_contact(model, query)
            assert np.quantile(np.abs(ours.probability - theirs.probability.cpu().numpy()), 0.99) < 1e-3

    def test_memory_is_that_of_the_weights(self, tmp_path: Path) -> None:
        folder = told(A).save_pretrained(tmp_path / "weights")
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        model = InteractVLM.from_pretrained(folder, device="cuda", dtype="bfloat16", cache=None)
        weights = sum(p.numel() * p.element_size() for p in model.network.parameters())
        assert torch.cuda.memory_allocated() - before < 1.2 * weights + (4 << 20)
        assert all(p.device.type == "cuda" for p in model.network.parameters())

    def test_features_of_the_disk_serve_both_devices(self, tmp_path: Path) -> None:
        model = told(A)
        wanted = like(model, cache=ViewCache(tmp_path)).ask(queries_on(A)[:2])
        model.network.cuda()
        _close(like(model, cache=ViewCache(tmp_path)).ask(queries_on(A)[:2]), wanted, 1e-3, 5e-3)
