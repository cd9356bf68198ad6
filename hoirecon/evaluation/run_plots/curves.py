"""Plots of figures: share of samples over thresholds, categories with intervals, figures over a noise ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import get_metric
from hoirecon.evaluation.run_plots.style import BLUE, DASHES, INK, SERIES, SOFT, canvas, frame, save
from hoirecon.evaluation.runs.results import Run, Score

LEAST_SPAN = {"cm": 1.0, "mm": 10.0, "m": 0.01, "deg": 1.0, "px": 1.0}
"""Shortest axis of an error, so that a method without errors does not show rounding."""
MOST_CATEGORIES = 40
"""Rows of a forest plot; the rest is counted in the title."""


def threshold_curves(runs: Sequence[Run], path: Path, metrics: Sequence[str] | None = None) -> Path:
    """Share of samples that reach each threshold: at least that F1, at most that error. Failed ones never do.

    Args:
        runs: one or more of the same task.
        path: PNG.
        metrics: columns of samples.csv; None takes the first run's protocol.

    Raises:
        InputError: none of the metrics is known of any sample.
    """
    names = list(metrics) if metrics is not None else _per_sample_metrics(runs[0])
    names = [n for n in names if any(not np.isnan(_values(run, n)).all() for run in runs)]
    if not names:
        raise InputError("there is nothing to draw: no metric has a value for any sample")
    columns = min(3, len(names))
    figure, axes = canvas(3.9 * columns, 3.1 * -(-len(names) // columns), -(-len(names) // columns), columns)
    for k, name in enumerate(names):
        _threshold_panel(axes[k], runs, name)
    for extra in axes[len(names) :]:
        extra.set_visible(False)
    if len(runs) > 1:
        axes[0].legend(fontsize=8, frameon=False, labelcolor=INK)
    return save(figure, path)


def _threshold_panel(axes: Any, runs: Sequence[Run], name: str) -> None:
    info = get_metric(name.rpartition(".")[2])
    highest = 0.0
    for run, color, dash in zip(runs, SERIES, DASHES, strict=False):
        values = _values(run, name)
        told = values[~np.isnan(values)]
        ok = np.array([row.status == "ok" for row in run.rows])[~np.isnan(values)]
        x, share = reached(told, ok, info.higher_is_better)
        axes.step(x, share, where="post", color=color, linestyle=dash, linewidth=1.8, label=run.method)
        highest = max(highest, float(np.quantile(told[ok], 0.98)) if ok.any() else 0.0)
    end = 1.0 if info.higher_is_better and info.unit == "" else max(highest * 1.05, LEAST_SPAN.get(info.unit, 0.01))
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.02)
    unit = f", {info.unit}" if info.unit else ""
    way = "at least" if info.higher_is_better else "at most"
    frame(axes, f"{name}{unit}", f"share of samples with {way} that")


def reached(values: FloatArray, ok: Any, higher: bool) -> tuple[FloatArray, FloatArray]:
    """Thresholds and the share of all samples whose value reaches what lies beyond each, up to the next: steps.

    Example:
        >>> x, share = reached(np.array([0.2, 0.6, 0.0]), np.array([True, True, False]), True)
        >>> x.tolist(), share.round(2).tolist()
        ([0.0, 0.2, 0.6], [0.67, 0.33, 0.0])
    """
    good = np.sort(values[ok])
    total = max(len(values), 1)
    if higher:
        x = np.concatenate([[0.0], good])
        counts = len(good) - np.arange(len(good) + 1)
    else:
        x = np.concatenate([[0.0], good, [1e9]])
        counts = np.concatenate([np.arange(len(good) + 1), [len(good)]])
    return x, counts / total


def forest_plot(run: Run, path: Path, metric: str | None = None) -> Path:
    """A figure of each category with its interval and n, the whole as a line.

    Raises:
        InputError: the run has no categories, or no such figure.
    """
    name = metric or run.headline.metric
    rows = [(c, s) for c, scores in run.by_category.items() for s in scores if s.metric == name and s.value is not None]
    if not rows:
        raise InputError(f"the run has no categories with '{name}'")
    rows = sorted(rows, key=lambda row: row[1].value or 0.0)
    left_out = max(len(rows) - MOST_CATEGORIES, 0)
    rows = rows[left_out:]
    figure, (axes,) = canvas(7.2, 0.9 + 0.27 * len(rows))
    for k, (_, score) in enumerate(rows):
        low, high = score.ci95 or (score.value, score.value)
        axes.plot([low, high], [k, k], color=BLUE, linewidth=1.6, alpha=0.6)
        axes.plot([score.value], [k], "o", color=BLUE, markersize=5)
    whole = run.score(name)
    if whole.value is not None:
        axes.axvline(whole.value, color=SOFT, linewidth=1.0, zorder=1)
    axes.set_yticks(range(len(rows)), [f"{c}  (n {s.n})" for c, s in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    more = f"; {left_out} lower ones left out" if left_out else ""
    unit = whole.unit or "share"
    frame(axes, f"{name} ({unit}), 95 % intervals; line: all samples", "", f"{run.method}, {whole.protocol}{more}")
    return save(figure, path)


def noise_ladder(levels: Mapping[str, Sequence[Run]], path: Path, metric: str | None = None) -> Path:
    """A figure with its interval at each level of noise, a line per method.

    Args:
        levels: level -> runs of that level, in the order of the ladder.
        path: PNG.
        metric: by default the headline.

    Raises:
        InputError: fewer than two levels.
    """
    if len(levels) < 2:
        raise InputError("a ladder has two levels or more")
    methods = list(dict.fromkeys(run.method for runs in levels.values() for run in runs))
    name = metric or next(iter(levels.values()))[0].headline.metric
    figure, (axes,) = canvas(5.6, 3.4)
    for k, (method, color, dash) in enumerate(zip(methods, SERIES, DASHES, strict=False)):
        points = [(i, _score_of(runs, method, name)) for i, runs in enumerate(levels.values())]
        known = [(i + 0.04 * k, s) for i, s in points if s is not None and s.value is not None]
        axes.plot([i for i, _ in known], [s.value for _, s in known], "o", linestyle=dash, color=color, label=method)
        for i, s in known:
            if s.ci95 is not None:
                axes.plot([i, i], s.ci95, color=color, alpha=0.5, linewidth=1.6)
    axes.set_xticks(range(len(levels)), list(levels))
    if len(methods) > 1:
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    info = get_metric(name)
    if info.higher_is_better and info.unit == "":
        axes.set_ylim(0, 1.02)
    frame(axes, "noise", f"{name} ({info.unit or 'share'}), 95 % intervals")
    return save(figure, path)


def _score_of(runs: Sequence[Run], method: str, metric: str) -> Score | None:
    return next((s for run in runs if run.method == method for s in run.scores if s.metric == metric), None)


def _per_sample_metrics(run: Run) -> list[str]:
    known = {name for row in run.rows for name in row.values}
    protocol = run.about["protocol"]
    return [s.metric for s in run.scores if s.protocol == protocol and s.metric in known]


def _values(run: Run, name: str) -> FloatArray:
    found = [row.values.get(name) for row in run.rows]
    return np.array([np.nan if v is None else v for v in found], np.float64)
