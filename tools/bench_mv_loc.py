"""Time full-size MV-Loc (Segment Anything ViT-H) on this machine, with random weights, and measure its memory.

Usage: python tools/bench_mv_loc.py --dtype bfloat16
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro

from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.mv_loc import MVLoc


@dataclass(frozen=True)
class BenchConfig:
    """What to time."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights."""
    device: str = "cpu"
    """Where torch runs it."""


@torch.no_grad()
def measure(config: BenchConfig) -> dict[str, Any]:
    """Encode one view, localise one prompt in four, bring the masks to the views' size."""
    network = NetworkConfig()
    torch.manual_seed(0)
    with torch.device(config.device):
        torch.set_default_dtype(getattr(torch, config.dtype))
        mv_loc = MVLoc(network).eval()
        view = torch.randint(0, 256, (1, 3, 1024, 1024), dtype=torch.uint8)
        prompts = torch.randn(1, network.num_views, network.prompt_dim)
    before = _peak_gb()
    features, encode = _timed(lambda: mv_loc.encode(view))
    more = _peak_gb() - before
    low, localize = _timed(lambda: mv_loc.localize(prompts, features.repeat(network.num_views, 1, 1, 1), "human"))
    _, upscale = _timed(lambda: mv_loc.upscale(low.logits, (1024, 1024), (1024, 1024)))
    return {
        "dtype": config.dtype,
        "threads": torch.get_num_threads(),
        "encode_one_view_s": round(encode, 2),
        "work_space_gb": round(more, 2),
        "localize_four_views_s": round(localize, 3),
        "upscale_four_views_s": round(upscale, 4),
    }


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def _peak_gb() -> float:
    """Most memory that the process ever had, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    print(json.dumps(measure(tyro.cli(BenchConfig)), indent=1))
