"""Which number format to compute in: bfloat16 where the hardware is fast at it, float32 where it is not.

InteractVLM was trained in bfloat16. A CPU without instructions for it emulates them, up to 70 times slower than
float32; so a short matrix product is timed in both, once per device.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import torch

from hoirecon.errors import InputError

DTYPES: dict[str, torch.dtype] = {
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
    "fp32": torch.float32,
    "float32": torch.float32,
    "fp64": torch.float64,
    "float64": torch.float64,
}
"""What a user may call a format; ``auto`` leaves it to the probe."""
SLOWDOWN_ALLOWED = 1.5
"""bfloat16 is taken up to this many times float32's time: it halves memory and what is read from it."""

_ROWS, _WIDTH = 64, 512  # one product takes 34 MFLOP: under a millisecond, and under 0.1 s where it is emulated


def choose_dtype(device: str | torch.device, wanted: str | torch.dtype = "auto") -> torch.dtype:
    """The number format to load a network in.

    Args:
        device: where it will run, e.g. ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        wanted: a format by name or as torch's own, or ``auto``: bfloat16 where it is fast, else float32.

    Raises:
        InputError: the device is not there, or there is no such format.
    """
    device = checked_device(device)
    if isinstance(wanted, torch.dtype):
        if wanted not in DTYPES.values():
            raise InputError(f"a network cannot run in {wanted}: choose auto, bf16, fp16 or fp32")
        return wanted
    if wanted == "auto":
        return torch.bfloat16 if bf16_is_fast(str(device)) else torch.float32
    if wanted not in DTYPES:
        raise InputError(f"there is no number format '{wanted}': choose auto, bf16, fp16 or fp32")
    return DTYPES[wanted]


def checked_device(device: str | torch.device) -> torch.device:
    """A device that is there.

    Raises:
        InputError: no such kind of device, or this machine has none.
    """
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as err:
        raise InputError(f"there is no device '{device}': choose cpu, cuda, cuda:N or mps") from err
    if device.type == "cuda" and (device.index or 0) >= _cuda_count():
        raise InputError(f"the device {device} is not there (this machine has {_cuda_count()} of them): choose cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("this machine has no mps device: choose cpu")
    return device


def _cuda_count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@lru_cache(maxsize=32)
def bf16_is_fast(device: str) -> bool:
    """Whether bfloat16 is worth it on a device; found out once per device and process.

    Graphics cards are asked and not timed, since their first product of a kind also loads libraries; what cannot run
    bfloat16 at all counts as slow. On ``meta`` nothing runs, and the answer is yes.
    """
    kind = torch.device(device).type
    try:
        if kind == "meta":
            return True
        if kind == "cuda":
            with torch.cuda.device(device):
                return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return matmul_seconds(device, torch.bfloat16) <= SLOWDOWN_ALLOWED * matmul_seconds(device, torch.float32)
    except (RuntimeError, TypeError, AssertionError):  # a backend's ways of saying that it cannot
        return False


def matmul_seconds(device: str, dtype: torch.dtype, repeats: int = 5) -> float:
    """Best time of a matrix product of the shape of a language model's layer on a short prompt."""
    left = torch.ones(_ROWS, _WIDTH, device=device, dtype=dtype)
    right = torch.ones(_WIDTH, _WIDTH, device=device, dtype=dtype)
    best = float("inf")
    with torch.inference_mode():
        for i in range(repeats + 1):  # the first one warms up
            start = time.perf_counter()
            product = left @ right
            _wait(product)
            seconds = time.perf_counter() - start
            best = min(best, seconds) if i else best
            if i and seconds > 0.2:  # clear enough
                break
    return best


def _wait(value: Any) -> None:
    """Until the device has computed it."""
    value[0, 0].item()
