"""Plots of the results page: noise ladder, distribution of errors, time against accuracy, cost curves.

Drawn with matplotlib's objects, not pyplot, so that nothing global is touched. Colours are Okabe and Ito's, which
colour-blind eyes can tell apart; lines also differ in dashes and marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.errors import require
from hoirecon.evaluation.closedworld.targets import JOINT, PEERS, SCRATCH, dig
from hoirecon.files import atomic_file

EXTRA = "plots"
INK, SOFT, GRID = "#2b2d33", "#75777e", "#e4e3df"
DPI = 150
GREY = "#8a8c92"
OTHERS = ("#56b4e9", "#e69f00", "#f0a3c7")
"""Colours of methods that a user put in."""
FARTHEST_CM = 15.0
"""Right end of the distribution's axis."""
SHORTEST_S = 1e-3
"""Shorter times are drawn as this."""


@dataclass(frozen=True)
class Style:
    """How a method is drawn, the same in every plot."""

    color: str
    dash: Any = "-"
    marker: str = "o"
    width: float = 1.6
    above: int = 2
    """Order of drawing; larger lies above."""
    hollow: bool = False
    """Whether the mark is empty."""

    @property
    def dot(self) -> dict[str, Any]:
        """How its mark is drawn."""
        fill = "none" if self.hollow else "full"
        return {"color": self.color, "marker": self.marker, "fillstyle": fill, "zorder": self.above}

    @property
    def line(self) -> dict[str, Any]:
        """How its line is drawn."""
        return {"color": self.color, "linestyle": self.dash, "linewidth": self.width, "zorder": self.above}

    @property
    def bar(self) -> dict[str, Any]:
        """How its intervals are drawn."""
        return {"color": self.color, "linewidth": 1.1, "alpha": 0.55, "zorder": self.above}


_FAMILY = dict(zip(PEERS, ("#009e73", "#cc79a7", "#b8860b"), strict=True))
_FIXED = {
    SCRATCH: Style("#0072b2", "-", "o", 2.6, 5),
    JOINT: Style("#d55e00", "-", "D", 2.6, 6),
    "oracle-start": Style("#000000", (0, (4, 2)), "*", 1.6, 4),
    "nothing": Style(GREY, (0, (1, 1)), "x"),
    "centroid": Style(GREY, (0, (1, 2)), "+"),
    "mask-depth": Style(GREY, (0, (5, 2)), "v"),
    "icp": Style(GREY, "-", "^"),
    "procrustes": Style(GREY, (0, (5, 1, 1, 1)), "<"),
}


_SETTINGS: dict[str, tuple[Any, str]] = {"-tuned": ("-", "s"), "-published": ((0, (1, 1)), "p")}


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """A style for each method: ours strong, simple ones grey, a published family one colour in three dashes."""
    found: dict[str, Style] = {}
    for name in methods:
        family = next((f for f in PEERS if name.startswith(f)), None)
        if name in _FIXED:
            found[name] = _FIXED[name]
        elif family is not None:
            dash, mark = _SETTINGS.get(name.removeprefix(family), ((0, (4, 2)), "o"))
            found[name] = Style(_FAMILY[family], dash, mark, 1.6, 3, hollow=mark != "s")
        else:
            found[name] = Style(OTHERS[len(found) % len(OTHERS)], "-", "P", 1.6, 3)
    return found


def ladder_plot(levels: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Median Chamfer of the scenes with contact at each noise level, with its interval."""
    figure, axes = _canvas(8.6, 4.6)
    names, methods = list(levels), _methods(levels)
    steps = [k for k, name in enumerate(names) if name != "mismatch"]
    for k, (method, style) in enumerate(styles(methods).items()):
        shift = 0.34 * ((k + 0.5) / len(methods) - 0.5)
        cm = {i: v for i, name in enumerate(names) if (v := _interval(levels[name], method)) is not None}
        ladder = [i for i in steps if i in cm]
        axes.plot([i + shift for i in ladder], [cm[i][0] for i in ladder], **style.line)
        for i, (median, low, high) in cm.items():
            axes.plot([i + shift] * 2, [low, high], **style.bar)
            axes.plot([i + shift], [median], markersize=5.5, **style.dot)
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), [n if n != "mismatch" else "wrong mesh\n(noise of L2)" for n in names])
    axes.set_xlim(-0.5, len(names) - 0.5)
    _finish(
        figure, axes, methods, "noise level", "median Chamfer, cm", "Noise ladder (scenes with contact, 95 % intervals)"
    )
    _plain_numbers(axes.yaxis, axes.get_ylim())
    _save(figure, path)


def distribution_plot(level: str, found: Mapping[str, Any], path: Path) -> None:
    """Share of all scenes below each Chamfer distance."""
    figure, axes = _canvas(8.6, 4.6)
    methods = list(found["scenes"])
    for method, style in styles(methods).items():
        values = np.sort([float(row["chamfer_object_cm"]) for row in found["scenes"][method]])
        shares = np.arange(len(values) + 1) / len(values)
        ends = np.concatenate([[0], values, [1e3]])
        axes.step(ends, np.append(shares, shares[-1]), where="post", **style.line)
    axes.axvline(5, color=SOFT, linewidth=0.8, zorder=1)
    axes.set_xlim(0, FARTHEST_CM)
    axes.set_ylim(0, 1.01)
    title = f"Distribution of errors at {level} (all scenes; the line is at 5 cm)"
    _finish(figure, axes, methods, "Chamfer, cm", "share of scenes below", title, marks=False)
    _save(figure, path)


def time_plot(level: str, found: Mapping[str, Any], path: Path) -> None:
    """Median CPU time of one thread against median Chamfer of the scenes with contact, both with intervals."""
    figure, axes = _canvas(8.6, 4.6)
    methods = list(found["methods"])
    for method, style in styles(methods).items():
        cm, cpu = _interval(found, method), _of(found["methods"][method], "cpu_seconds")
        if cm is None or cpu is None:
            continue
        x = np.maximum(cpu, SHORTEST_S)
        axes.plot(x[1:], [cm[0]] * 2, **style.bar)
        axes.plot([x[0]] * 2, cm[1:], **style.bar)
        axes.plot([x[0]], [cm[0]], markersize=8, **style.dot)
    axes.set_xscale("log")
    axes.set_yscale("log")
    title = f"Time against accuracy at {level} (scenes with contact, 95 % intervals)"
    _finish(figure, axes, methods, "CPU seconds a scene, one thread (shorter than 1 ms drawn as 1 ms)",
            "median Chamfer, cm", title, lines=False)  # fmt: skip
    _plain_numbers(axes.xaxis, axes.get_xlim())
    _plain_numbers(axes.yaxis, axes.get_ylim())
    _save(figure, path)


def cost_plot(curves: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """CPU seconds against what makes a fit dear: one small plot for each curve."""
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure, grid = _canvas(4.3 * columns, 3.0 * rows, rows, columns)
    flat = np.atleast_1d(np.asarray(grid, dtype=object)).ravel()
    for axes, (name, points) in zip(flat, curves.items(), strict=False):
        ordered = sorted(points, key=lambda p: p["x"])
        x, y = [p["x"] for p in ordered], [p["cpu_s"] for p in ordered]
        axes.plot(x, y, color="#0072b2", marker="o", linewidth=1.8, markersize=5)
        if min(x) > 0 and max(x) >= 8 * min(x):
            axes.set_xscale("log")
            axes.set_xticks(x, [f"{v:g}" for v in x], rotation=35 if len(x) > 5 else 0)
            axes.set_xticks([], minor=True)
        else:
            axes.set_xticks(x, [f"{v:g}" for v in x])
        axes.set_ylim(0, 1.15 * max(*y, 1e-6))
        _frame(axes, name.replace("_", " "), "CPU seconds", "")
    for axes in flat[len(curves) :]:
        axes.set_visible(False)
    _save(figure, path)


def check_installed() -> None:
    """Say before long work that matplotlib is missing.

    Raises:
        MissingExtraError: it is.
    """
    require("matplotlib", extra=EXTRA)


# -------------------------------------------------------------------------------------------------------------- pieces
def _methods(levels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for found in levels.values() for name in found["methods"]))


def _interval(found: Mapping[str, Any], method: str) -> tuple[float, float, float] | None:
    """Median Chamfer of the scenes with contact and the ends of its interval."""
    group = found["methods"].get(method, {}).get("with_contact")
    return None if group is None else _of(group, "chamfer_object_cm")


def _of(figures: Mapping[str, Any], name: str) -> tuple[float, float, float] | None:
    median = dig(figures, name, "median")
    if median is None:
        return None
    low, high = figures[name]["ci95"]
    return median, float(low), float(high)


def _canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A figure in inches, and its axes."""
    require("matplotlib", extra=EXTRA)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns)


def _frame(axes: Any, across: str, up: str, title: str) -> None:
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.set_ylabel(up, color=INK, fontsize=9)
    axes.set_title(title, color=INK, fontsize=10.5, loc="left")
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)


def _finish(
    figure: Any, axes: Any, methods: Sequence[str], across: str, up: str, title: str, lines: bool = True,
    marks: bool = True,
) -> None:  # fmt: skip
    """Axes, and the legend beside them, where it covers nothing."""
    from matplotlib.lines import Line2D

    _frame(axes, across, up, title)
    signs = [
        Line2D([], [], **(style.dot | style.line) | ({} if lines else {"linestyle": "none"})
               | ({} if marks else {"marker": "none"}))
        for style in styles(methods).values()
    ]  # fmt: skip
    look = {"loc": "outside right upper", "frameon": False, "fontsize": 8.5, "handlelength": 3.2, "labelcolor": INK}
    figure.legend(signs, list(methods), **look)


def _plain_numbers(axis: Any, limits: tuple[float, float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, written as plain numbers."""
    from matplotlib.ticker import NullFormatter

    decades = range(int(np.floor(np.log10(limits[0]))), int(np.ceil(np.log10(limits[1]))) + 1)
    ticks = [m * 10.0**d for d in decades for m in (1, 2, 5) if limits[0] <= m * 10.0**d <= limits[1]]
    ticks = [t for t in ticks if len(ticks) <= 9 or np.isclose(np.log10(t) % 1, 0, atol=1e-6)]
    axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_minor_formatter(NullFormatter())


def _save(figure: Any, path: Path) -> None:
    """PNG without the program's name and version, so that the same results give the same file."""
    with atomic_file(path) as tmp:
        figure.savefig(tmp, format="png", metadata={"Software": None})
