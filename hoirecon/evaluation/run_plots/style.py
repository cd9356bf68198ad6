"""One look for all pictures of runs; drawn with matplotlib's objects, so that nothing global is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hoirecon.errors import require
from hoirecon.evaluation.closedworld.plots import DPI, EXTRA, GRID
from hoirecon.evaluation.closedworld.plots import INK as INK
from hoirecon.evaluation.closedworld.plots import SOFT as SOFT
from hoirecon.files import atomic_file

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
"""Okabe and Ito's colours, which colour-blind eyes can tell apart."""
SERIES = (BLUE, ORANGE, GREEN, "#cc79a7", "#b8860b", "#56b4e9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)), "-", (0, (5, 2)), (0, (1, 1)))


def canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure in inches and its axes in reading order.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    import numpy as np

    figure = require("matplotlib.figure", EXTRA).Figure(figsize=(width, height), layout="constrained")
    axes = np.atleast_1d(np.asarray(figure.subplots(rows, columns), dtype=object)).ravel()
    return figure, list(axes)


def frame(axes: Any, across: str, up: str, title: str = "") -> None:
    """Labels, a light grid, no box."""
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.set_ylabel(up, color=INK, fontsize=9)
    if title:
        axes.set_title(title, color=INK, fontsize=10, loc="left")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)


def save(figure: Any, path: Path) -> Path:
    """Write a PNG, whole or not at all."""
    with atomic_file(path) as tmp:
        figure.savefig(tmp, dpi=DPI, facecolor="white", format="png", metadata={"Software": None})
    return path
