"""Two or more runs on the same samples: paired differences with intervals, and p values adjusted by Holm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import Statistic, get_metric, get_preset, per_sample_mean, pooled
from hoirecon.evaluation.metrics.reconstruction_presets import GATE
from hoirecon.evaluation.runs.bootstrap import Difference, holm, paired
from hoirecon.evaluation.runs.report import Table
from hoirecon.evaluation.runs.results import Run
from hoirecon.evaluation.runs.scoring import BOTTOM, TOP

LEVEL = 0.05
"""Adjusted p below which a difference is called one."""


@dataclass(frozen=True)
class Compared:
    """One figure of B against A."""

    metric: str
    a: str
    b: str
    a_value: float
    b_value: float
    difference: float
    """B less A."""
    ci95: tuple[float, float] | None
    p: float
    p_holm: float
    """Adjusted over all comparisons that were made at once."""
    verdict: str
    """``better`` or ``worse`` where the adjusted p is below 0.05, else ``no difference shown``."""
    n: int
    """Samples that both are defined on."""


def compare_runs(runs: Sequence[Run], metrics: Sequence[str] | None = None) -> list[Compared]:
    """Every run against the first; pooled figures are pooled anew in every resample and after every swap.

    Args:
        runs: two or more, of one task, version, protocol, data and split.
        metrics: columns of samples.csv; None takes the protocol's.

    Raises:
        InputError: fewer than two runs, runs that may not stand side by side, no common metric, or a run without a
            figure: RHOBIN's protocols give none below 98 % answered, and what was answered must not stand for it.
    """
    if len(runs) < 2:
        raise InputError("a comparison takes two runs or more")
    first = runs[0]
    for other in runs[1:]:
        check_comparable(first, other)
    names = list(metrics) if metrics is not None else _metrics_of(first)
    for run in runs:
        _check_gate(run, names)
    found = [_one(first, other, name) for other in runs[1:] for name in names]
    adjusted = holm([difference.p for *_, difference in found])
    return [_told(first, other, name, a, n, d, p) for (other, name, a, n, d), p in zip(found, adjusted, strict=True)]


def check_comparable(one: Run, other: Run) -> None:
    """Raise :class:`InputError` unless two runs may stand in one table; says what differs."""
    names = ("task", "task version", "protocol", "data", "split", "topology", "kind of data")
    for name, a, b in zip(names, one.comparable, other.comparable, strict=True):
        if a != b:
            raise InputError(f"{one.method} and {other.method} do not compare: their {name} is '{a}' and '{b}'")
    if one.about["data"]["fingerprint"] != other.about["data"]["fingerprint"]:
        raise InputError(f"{one.method} and {other.method} were scored on different copies of the data")
    if [r.id for r in one.rows] != [r.id for r in other.rows]:
        raise InputError(f"{one.method} and {other.method} were scored on different samples: leave out --limit")


def _check_gate(run: Run, names: Sequence[str]) -> None:
    """Raise :class:`InputError` if a protocol of these metrics asks for more answers than the run has."""
    answered = sum(row.status == "ok" for row in run.rows)
    if not run.rows or answered / len(run.rows) >= GATE:
        return
    for name in names:
        protocol = name.rpartition(".")[0] or run.about["protocol"]
        if getattr(get_preset(protocol), "missing", "") == "gate":
            raise InputError(
                f"{run.method} answered {answered} of {len(run.rows)} samples, and '{protocol}' gives no figure below "
                f"{GATE:.0%}: there is nothing to compare, so answer the others first"
            )


def _metrics_of(run: Run) -> list[str]:
    protocol = run.about["protocol"]
    known = {name for row in run.rows for name in row.values if not name.endswith((TOP, BOTTOM))}
    return [s.metric for s in run.scores if s.protocol == protocol and s.metric in known]


def _one(first: Run, other: Run, name: str) -> tuple[Run, str, float, int, Difference]:
    a, b = (np.array([_value(row.values, name) for row in run.rows]) for run in (first, other))
    keep = ~np.isnan(a) & ~np.isnan(b)
    if not keep.any():
        raise InputError(f"no sample has '{name}' in both runs: metrics are {', '.join(_metrics_of(first))}")
    groups = [row.group for row, kept in zip(first.rows, keep, strict=True) if kept]
    mine, theirs = (_statistic(run, name, keep) for run in (first, other))
    return other, name, mine.value, int(keep.sum()), paired(mine, theirs, groups)


def _statistic(run: Run, name: str, keep: BoolArray) -> Statistic:
    """A mean over samples, or the pooled figure where the run keeps what it divides."""

    def column(label: str) -> FloatArray:
        return np.array([_value(row.values, label) for row in run.rows])[keep]

    if any(f"{name}{TOP}" in row.values for row in run.rows):
        return pooled(column(f"{name}{TOP}"), column(f"{name}{BOTTOM}"), of_nothing=0.0)  # as the run's own figure
    return per_sample_mean(column(name))


def _value(values: Mapping[str, float | None], name: str) -> float:
    value = values.get(name)
    return np.nan if value is None else value


def _told(first: Run, other: Run, name: str, a: float, n: int, d: Difference, p: float) -> Compared:
    better = (d.value > 0) == get_metric(name.rpartition(".")[2]).higher_is_better
    verdict = "no difference shown" if p >= LEVEL or d.value == 0 else "better" if better else "worse"
    ci95 = None if np.isnan(d.low) else (d.low, d.high)
    labels = _labels(first, other)
    return Compared(name, *labels, a, a + d.value, d.value, ci95, d.p, p, verdict, n)


def _labels(first: Run, other: Run) -> tuple[str, str]:
    """Names of the two methods; by their folders where both have one name."""
    if first.method != other.method or first.folder is None or other.folder is None:
        return first.method, other.method
    return f"{first.method} ({first.folder.name})", f"{other.method} ({other.folder.name})"


def regressions(baseline: Run, run: Run) -> list[Compared]:
    """Figures of the protocol that are worse than the baseline's beyond chance."""
    return [c for c in compare_runs([baseline, run]) if c.verdict == "worse"]


def compare_table(found: Sequence[Compared]) -> Table:
    """A line per figure."""
    header = ("metric", "A", "B", "A value", "B value", "B - A [95 %]", "p (Holm)", "B is", "n")
    rows = []
    for c in found:
        interval = "" if c.ci95 is None else f" [{c.ci95[0]:+.4f}, {c.ci95[1]:+.4f}]"
        values = (f"{c.a_value:.4f}", f"{c.b_value:.4f}", f"{c.difference:+.4f}{interval}")
        rows.append((c.metric, c.a, c.b, *values, f"{c.p_holm:.4f}", c.verdict, str(c.n)))
    title = "paired on the same samples; p by swapping the methods in random groups, adjusted over all lines by Holm"
    return Table(title, header, tuple(rows))


def compare_dict(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [asdict(c) for c in found]
