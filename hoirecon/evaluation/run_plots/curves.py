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
BAND_POINTS, BAND_DRAWS = 201, 400
"""Thresholds and draws of the band round a curve."""
MOST_CATEGORIES = 40
"""Rows of a forest plot; the rest is counted in the title."""


def threshold_curves(runs: Sequence[Run], path: Path, metrics: Sequence[str] | None = None) -> Path:
    """Share of samples that reach each threshold: at least that F1, at most that error. Failed ones never do.

    The band is the pointwise 95 % interval of draws of groups (images or sequences).

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
    rows = -(-len(names) // columns)
    figure, axes = canvas(3.9 * columns, 3.1 * rows + 0.4, rows, columns)
    for k, name in enumerate(names):
        _threshold_panel(axes[k], runs, name)
    for extra in axes[len(names) :]:
        extra.set_visible(False)
    if len(runs) > 1:
        axes[0].legend(fontsize=8, frameon=False, labelcolor=INK)
    figure.suptitle(_title(runs), fontsize=9, color=INK, x=0.01, ha="left")
    return save(figure, path)


def _title(runs: Sequence[Run]) -> str:
    """Who was measured on how many, and what the bands are; two lines, as a single panel is narrow."""
    rows = runs[0].rows
    lost = sum(row.status != "ok" for row in rows)
    failed = f", {lost} failed" if lost and len(runs) == 1 else ""
    who = runs[0].method if len(runs) == 1 else f"{len(runs)} methods"
    return f"{who}, {runs[0].about['protocol']}, {len(rows)} samples{failed}\nbands: 95 % intervals, by drawing groups"


def _threshold_panel(axes: Any, runs: Sequence[Run], name: str) -> None:
    info = get_metric(name.rpartition(".")[2])
    shown, highest = [], 0.0
    for run in runs:
        values = _values(run, name)
        known = ~np.isnan(values)
        told, ok = values[known], np.array([row.status == "ok" for row in run.rows])[known]
        groups = [row.group for row, kept in zip(run.rows, known, strict=True) if kept]
        shown.append((run, told, ok, groups))
        highest = max(highest, _most(told[ok]))
    end = 1.0 if info.higher_is_better and info.unit == "" else max(highest * 1.05, LEAST_SPAN.get(info.unit, 0.01))
    for (run, told, ok, groups), color, dash in zip(shown, SERIES, DASHES, strict=False):
        x, share = reached(told, ok, info.higher_is_better)
        axes.step(x, share, where="post", color=color, linestyle=dash, linewidth=1.8, label=run.method)
        grid = np.linspace(0.0, end, BAND_POINTS)
        low, high = band(told, ok, groups, grid, info.higher_is_better)
        axes.fill_between(grid, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.02)
    unit = f", {info.unit}" if info.unit else ""
    way = "at least" if info.higher_is_better else "at most"
    beyond = max((float((told > end).mean()) for _, told, _, _ in shown if len(told)), default=0.0)
    if beyond > 0 and not info.higher_is_better and len(runs) == 1:
        note = f"{100 * beyond:.0f} % beyond, up to {max(told.max() for _, told, _, _ in shown if len(told)):.0f}"
        axes.text(0.98, 0.03, note, transform=axes.transAxes, fontsize=8, color=SOFT, ha="right")
    counts = sorted({len(told) for _, told, _, _ in shown})
    defined = "" if counts == [len(runs[0].rows)] else f" (n {', '.join(map(str, counts))})"
    frame(axes, f"{name}{unit}{defined}", f"share of samples with {way} that")


def _most(values: FloatArray) -> float:
    """Where an axis of errors ends: nearly all values, but not the one penalty that several samples share."""
    if len(values) == 0:
        return 0.0
    below = values[values < values.max()]
    shared = len(values) - len(below) > 1 and len(below) > 0
    return float(np.quantile(below if shared else values, 0.95 if shared else 0.98))


def band(
    values: FloatArray, ok: Any, groups: Sequence[str], grid: FloatArray, higher: bool
) -> tuple[FloatArray, FloatArray]:
    """Pointwise 95 % interval of the share of samples that reach each threshold, by drawing groups.

    Args:
        values: (N,) of the metric.
        ok: (N,) False of failed samples, which reach nothing.
        groups: (N) samples of one group are drawn together.
        grid: (T,) thresholds.
        higher: whether higher is better.

    Returns:
        Lower and upper ends, (T,) each; both the share itself with fewer than two groups.
    """
    beyond = values[:, None] >= grid if higher else values[:, None] <= grid
    hits = beyond & np.asarray(ok)[:, None]
    names, at = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        share = hits.mean(0) if len(hits) else np.zeros(len(grid))
        return share, share
    per_group = np.zeros((len(names), len(grid)))
    np.add.at(per_group, at, hits.astype(np.float64))
    size = np.bincount(at).astype(np.float64)
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=BAND_DRAWS)
    shares = (drawn @ per_group) / (drawn @ size)[:, None]
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return low, high


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
    told = f"{run.method}, {whole.protocol}, n {whole.n}{more}"
    frame(axes, f"{name} ({unit}); bars: 95 % intervals, none of a single group; line: all samples", "", told)
    return save(figure, path)


def noise_ladder(
    levels: Mapping[str, Sequence[Run]], path: Path, metric: str | None = None, across: str = "noise"
) -> Path:
    """A figure with its interval at each level of noise, a line per method.

    Args:
        levels: level -> runs of that level, in the order of the ladder.
        path: PNG.
        metric: by default the headline.
        across: what the levels are amounts of, with its unit.

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
    counts = sorted({s.n for runs in levels.values() for s in [_score_of(runs, m, name) for m in methods] if s})
    n = "-".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "0"
    who = f"{methods[0]}, " if len(methods) == 1 else ""
    frame(axes, across, f"{name} ({info.unit or 'share'})", f"{who}n {n} at each level; bars: 95 % intervals")
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
