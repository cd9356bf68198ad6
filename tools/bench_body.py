"""Time our body model against the smplx package on this machine, on one thread: ``python tools/bench_body.py``.

Prints milliseconds of processor time (median of 20 after a warm-up, float32; on an idle machine the same as elapsed
time) of the forward over all vertices, of a small subset, of forward and backward, and of the closed-form Jacobian of
BlazePose's 33 landmarks against autograd. Both packages read the same two files: the free body (few correctives)
and the same with random correctives at every joint and vertex, as a
user's SMPL-H file has them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoirecon.data.body import (
    BodyState,
    FreeParams,
    body_landmarks,
    landmarks_with_jacobian,
    load_body,
    points_at,
    points_of_landmarks,
    retract,
)
from hoirecon.data.body.files import FREE_BODY
from hoirecon.errors import MissingExtraError, require

SIZES = {"betas": 10, "global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "transl": 3}


def milliseconds(work: Callable[[], Any], repeats: int) -> float:
    """Median processor time of one call, after one that is not counted; other programs' load hardly counts."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e3


def body_arguments(batch: int, grad: bool = False) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {k: (torch.randn(batch, n, generator=rng) * 0.3).requires_grad_(grad) for k, n in SIZES.items()}


def with_correctives(folder: Path) -> Path:
    """The free body with random pose correctives, as a user's SMPL-H file has them."""
    with np.load(FREE_BODY) as file:
        arrays = dict(file)
    rng = np.random.default_rng(0)
    arrays["posedirs"] = (rng.normal(size=arrays["posedirs"].shape) * 1e-3).astype(np.float32)
    path = folder / "correctives.npz"
    np.savez(path, **arrays)
    return path


def smplx_model(path: Path, batch: int) -> Any:
    smplx = require("smplx", extra="smplx")
    with redirect_stdout(StringIO()):  # it prints a warning about ten betas
        return smplx.SMPLH(str(path), ext="npz", use_pca=False, flat_hand_mean=True, num_betas=10, batch_size=batch)


def backward(model: Callable[..., Any], arguments: dict[str, torch.Tensor], vertices: str) -> None:
    getattr(model(**arguments), vertices).square().sum().backward()


def row(name: str, batch: int, ours: float, theirs: float | None, error: float | None = None) -> None:
    ratio = "" if theirs is None else f"{theirs:10.2f}{theirs / ours:8.1f}x"
    print(f"{name:46s}{batch:4d}{ours:10.2f}{ratio}" + ("" if error is None else f"   max error {error:.1e} m"))


def bench_forward(label: str, path: Path, batch: int, repeats: int) -> None:
    ours, arguments = load_body(path), body_arguments(batch)
    try:
        theirs: Any = smplx_model(path, batch)
    except MissingExtraError as err:
        print(f"({err})")
        theirs = None
    subset = np.arange(0, ours.num_verts, ours.num_verts // 300)[:300]
    with torch.no_grad():
        own = milliseconds(lambda: ours.forward(**arguments), repeats)  # type: ignore[arg-type]
        few = milliseconds(lambda: ours.forward(**arguments, vertex_subset=subset), repeats)  # type: ignore[arg-type]
        other = milliseconds(lambda: theirs(**arguments), repeats) if theirs else None
        gap = float((ours(**arguments).verts - theirs(**arguments).vertices).abs().max()) if theirs else None  # type: ignore[arg-type]
    row(f"forward, {label}", batch, own, other, gap)
    row("  300 vertices only (smplx: all)", batch, few, other)
    moving = body_arguments(batch, grad=True)
    own = milliseconds(lambda: backward(ours, moving, "verts"), repeats)
    other = milliseconds(lambda: backward(theirs, moving, "vertices"), repeats) if theirs else None
    row("  forward and backward", batch, own, other)


def bench_jacobian(label: str, path: Path, batch: int, repeats: int) -> None:
    model, arguments = load_body(path), body_arguments(batch)
    betas, transl = arguments.pop("betas"), arguments.pop("transl")
    state, free = BodyState(model.rotations(**arguments), betas, transl), FreeParams()  # type: ignore[arg-type]
    points = points_of_landmarks(model, body_landmarks(load_body(), "blazepose33"))

    def by_autograd() -> torch.Tensor:
        zero = torch.zeros(batch, free.size)
        return torch.autograd.functional.jacobian(  # type: ignore[no-any-return,no-untyped-call]
            lambda delta: points_at(points, retract(state, delta, free)).sum(0), zero, vectorize=True
        )

    with torch.no_grad():
        own = milliseconds(lambda: landmarks_with_jacobian(model, state, points, free), repeats)
    row(f"Jacobian, {label} (second: autograd)", batch, own, milliseconds(by_autograd, max(3, repeats // 4)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16], help="batch sizes")
    parser.add_argument("--repeats", type=int, default=20, help="timed calls per figure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {FREE_BODY.name} with {load_body().num_verts} vertices, float32")
    print(f"{'milliseconds, median of ' + str(options.repeats):46s}{'B':>4s}{'ours':>10s}{'smplx':>10s}{'ratio':>9s}")
    with tempfile.TemporaryDirectory() as folder:
        paths = {"free body": FREE_BODY, "with dense correctives": with_correctives(Path(folder))}
        for label, path in paths.items():
            for batch in options.batch:
                bench_forward(label, path, batch, options.repeats)
                bench_jacobian(label, path, batch, options.repeats)


if __name__ == "__main__":
    main()
