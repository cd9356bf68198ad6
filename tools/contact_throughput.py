"""Questions per second, seconds and memory of the contact estimator on one device; prints JSON.

.venv/bin/python tools/contact_throughput.py --weights DIR --device cuda       # weights of yours
.venv/bin/python tools/contact_throughput.py --size small                       # a toy with random weights

Every photograph is new; bodies and objects are known after the first round, which is timed apart.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from hoirecon.contact import EstimatorConfig, InteractVLM, Query


@dataclass(frozen=True)
class Throughput:
    """Measure."""

    weights: Path | None = None
    """Folder of weights; without it a toy with random weights."""
    size: Literal["tiny", "small"] = "tiny"
    """Of the toy."""
    device: str = "cpu"
    """Where torch runs it."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision."""
    batch: int = 4
    """Photographs asked about together, each with a question on the body and one on an object."""
    rounds: int = 3
    """Batches that are timed, after one that is not."""
    max_new_tokens: int = 32
    """Where answers are cut off; random weights never end."""


def main(args: Throughput) -> dict[str, Any]:
    """Time batches of new photographs."""
    model = _model(args)
    start = time.perf_counter()
    _ask(model, args, seed=0)
    first = time.perf_counter() - start
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    seconds = []
    for i in range(args.rounds):
        start = time.perf_counter()
        _ask(model, args, seed=1 + i)  # results come back to the CPU, so that nothing is still running
        seconds.append(time.perf_counter() - start)
    questions = 2 * args.batch
    return {
        "model": repr(model),
        "questions_per_batch": questions,
        "first_batch_seconds": round(first, 4),
        "batch_seconds": [round(s, 4) for s in seconds],
        "questions_per_second": round(questions * len(seconds) / sum(seconds), 3),
        "peak_memory_gb": _peak_gb(model.device),
        "device_name": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def _model(args: Throughput) -> InteractVLM:
    from hoirecon.contact.inference.precision import choose_dtype
    from hoirecon.contact.toy import toy_model

    config = EstimatorConfig(max_new_tokens=args.max_new_tokens, questions_at_once=2 * args.batch)
    if args.weights is not None:
        return InteractVLM.from_pretrained(args.weights, device=args.device, dtype=args.dtype, config=config)
    toy = toy_model(args.size)
    dtype = choose_dtype(args.device, args.dtype)
    return InteractVLM(toy.network.to(args.device, dtype), toy.tokenizer, config=config, cache=None)


def _ask(model: InteractVLM, args: Throughput, seed: int) -> None:
    from hoirecon.data.objects import load_object

    rng = np.random.default_rng(seed)
    mesh = load_object("cup").mesh if "object" in model.trained_for else None
    queries = []
    for _ in range(args.batch):
        image = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        queries.append(Query("human", image, "cup"))
        queries.append(Query("human", image, "table") if mesh is None else Query("object", image, "cup", mesh=mesh))
    model.ask(queries)


def _peak_gb(device: torch.device) -> float | None:
    return round(torch.cuda.max_memory_allocated(device) / 1e9, 3) if device.type == "cuda" else None


if __name__ == "__main__":
    print(json.dumps(main(tyro.cli(Throughput)), indent=1))
