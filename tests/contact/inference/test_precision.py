"""The number format follows what was timed, what the user said, and what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from hoirecon.contact.inference import precision
from hoirecon.contact.inference.precision import bf16_is_fast, choose_dtype, matmul_seconds
from hoirecon.errors import InputError


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    bf16_is_fast.cache_clear()
    yield
    bf16_is_fast.cache_clear()


def timed(monkeypatch: pytest.MonkeyPatch, bf16: float, fp32: float = 1e-3) -> list[torch.dtype]:
    """Replace the clock; gives the list of what was timed."""
    asked: list[torch.dtype] = []

    def seconds(device: str, dtype: torch.dtype) -> float:
        asked.append(dtype)
        return bf16 if dtype == torch.bfloat16 else fp32

    monkeypatch.setattr(precision, "matmul_seconds", seconds)
    return asked


@pytest.mark.parametrize(
    ("bf16", "expected"),
    [(7e-2, torch.float32), (2e-3, torch.float32), (1.4e-3, torch.bfloat16), (3e-4, torch.bfloat16)],
)
def test_follows_the_times(monkeypatch: pytest.MonkeyPatch, bf16: float, expected: torch.dtype) -> None:
    asked = timed(monkeypatch, bf16)
    assert choose_dtype("cpu") == choose_dtype(torch.device("cpu")) == expected
    assert len(asked) == 2  # timed once per device


def test_a_backend_that_cannot_counts_as_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(device: str, dtype: torch.dtype) -> float:
        raise TypeError("BFloat16 is not supported on MPS")

    monkeypatch.setattr(precision, "matmul_seconds", seconds)
    assert choose_dtype("cpu") == torch.float32


def test_what_the_user_says_counts_and_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = timed(monkeypatch, 1.0)
    assert choose_dtype("cpu", "bf16") == choose_dtype("cpu", torch.bfloat16) == torch.bfloat16
    assert choose_dtype("cpu", "float32") == torch.float32
    assert choose_dtype("cpu", "fp16") == torch.float16
    assert not asked
    for bad in ("int8", "", torch.int8):
        with pytest.raises(InputError, match="choose auto, bf16, fp16 or fp32"):
            choose_dtype("cpu", bad)


def test_this_machine_gets_what_is_not_slower_here() -> None:
    """Whatever was chosen, the other one is not much faster (a factor of 3 of room for a busy machine)."""
    chosen = choose_dtype("cpu")
    other = {torch.bfloat16: torch.float32, torch.float32: torch.bfloat16}[chosen]
    assert matmul_seconds("cpu", chosen) < 3 * precision.SLOWDOWN_ALLOWED * matmul_seconds("cpu", other)


def test_the_probe_is_short() -> None:
    import time

    start = time.perf_counter()
    bf16_is_fast("cpu")
    assert time.perf_counter() - start < 2


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "cuda:3", "mps"):
        with pytest.raises(InputError, match="choose cpu"):
            choose_dtype(device)
    odd: list[Any] = ["gpu", "", "cpu:x", 3.5]
    for device in odd:
        with pytest.raises(InputError, match="there is no device"):
            choose_dtype(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="has 2 of them"):
        choose_dtype("cuda:2", "bf16")
    assert choose_dtype("cuda:1", "bf16") == torch.bfloat16


@pytest.mark.parametrize("supported", [True, False])
def test_graphics_cards_are_asked(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    """Emulated bfloat16 does not count."""
    asked = timed(monkeypatch, 1.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device", lambda device: pytest.MonkeyPatch.context())
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or supported
    )
    assert choose_dtype("cuda") == (torch.bfloat16 if supported else torch.float32)
    assert not asked


def test_nothing_runs_on_meta() -> None:
    assert choose_dtype("meta") == torch.bfloat16


@pytest.mark.gpu
def test_a_real_card() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    major, _ = torch.cuda.get_device_capability()
    assert choose_dtype("cuda") == (torch.bfloat16 if major >= 8 else torch.float32)
    assert matmul_seconds("cuda", torch.bfloat16) > 0
