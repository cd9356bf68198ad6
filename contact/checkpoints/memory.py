"""How much memory a network needs and how much is free, asked before anything is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from hoirecon.errors import InputError

MARGIN = 64 << 20
"""Bytes that are needed beside the weights, whatever their size."""
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def dtype_name(dtype: torch.dtype) -> str:
    """Short name as users write it.

    Example:
        >>> dtype_name(torch.bfloat16), dtype_name(torch.float32)
        ('bf16', 'fp32')
    """
    names = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32", torch.float64: "fp64"}
    return names.get(dtype, str(dtype).removeprefix("torch."))


def available_bytes(device: Any) -> int | None:
    """Memory that a load on this device may take now; None if there is no way to know.

    On a CPU it is what the system could give without swapping, or what is left of the container's limit, if less.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    known = [size for size in (_system_bytes(), _cgroup_bytes(_CGROUP)) if size is not None]
    return min(known, default=None)


def check_memory(needed: int, device: Any, how: str) -> None:
    """Refuse a load that would not fit.

    Args:
        needed: bytes of the weights as they will be held.
        device: where they will be held.
        how: the precision, for the message, e.g. ``"bf16"``.

    Raises:
        InputError: less is free; the message says how much, and what to do.
    """
    free = available_bytes(device)
    if free is not None and needed + MARGIN > free:
        raise InputError(
            f"the network's weights need {_gb(needed)} in {how}, {_gb(free)} are free on {torch.device(device)}: "
            "use a smaller dtype=..., quantize='int8' or 'int4' (of a converted folder), or another device"
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"


def _system_bytes() -> int | None:
    try:
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    try:  # no Linux: all of the memory is the best bound there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _cgroup_bytes(root: Path) -> int | None:
    """What is left of the container's limit, counting cached files as free; None without a limit."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = int((root / limit).read_text(encoding="ascii"))
            taken = int((root / used).read_text(encoding="ascii"))
            return max(most - taken + _stat((root / used).parent / "memory.stat", cache), 0)
        except (OSError, ValueError):  # "max" says that there is no limit
            continue
    return None


def _stat(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0
