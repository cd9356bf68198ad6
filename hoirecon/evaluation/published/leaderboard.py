"""Published figures and ours in one table, where protocol, split and topology are the same; elsewhere not, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hoirecon.data.datasets.samples import WITH_DEPTH
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import get_metric
from hoirecon.evaluation.published.entries import FLAGS, Published, list_published
from hoirecon.evaluation.runs.report import Table
from hoirecon.evaluation.runs.results import Run

UNKNOWN = "unknown"
"""Protocol of figures whose paper does not say how they were made: a table of its own."""


@dataclass(frozen=True)
class Leaderboard:
    """One table: a task under one protocol."""

    task: str
    protocol: str
    split: str
    topology: str
    units: Mapping[str, str]
    entries: tuple[Published, ...]
    ours: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A run that stands in no table, and why."""

    run: Run
    why: str


def leaderboards(
    protocol: str | None = None, task: str | None = None, runs: Sequence[Run] = ()
) -> tuple[list[Leaderboard], list[Refused]]:
    """Tables of published figures, with our runs where they may stand.

    Args:
        protocol: only this one.
        task: only this one.
        runs: ours; each goes into the table of its task and protocol or is refused with a reason.

    Raises:
        InputError: nothing is published under that protocol or for that task.
    """
    entries = list_published(task, protocol)
    if not entries:
        known = sorted({p.protocol for p in list_published()} if protocol else {p.task for p in list_published()})
        asked = " ".join(filter(None, (task, protocol)))
        raise InputError(f"nothing published for '{asked}'; known are {', '.join(known)}")
    boards: dict[tuple[str, str], list[Published]] = {}
    for entry in entries:
        boards.setdefault((entry.task, entry.protocol), []).append(entry)
    refused = [Refused(run, why) for run in runs if (why := why_not(run, boards))]
    out = {id(r.run) for r in refused}
    fine = [run for run in runs if id(run) not in out]
    return [_board(key, group, fine) for key, group in boards.items()], refused


def _board(key: tuple[str, str], entries: list[Published], runs: Sequence[Run]) -> Leaderboard:
    first = entries[0]
    task, protocol = key
    known = protocol != UNKNOWN
    ours = tuple(r for r in runs if known and r.about["task"] == task and protocol in r.about["protocols"])
    return Leaderboard(*key, first.split, first.topology, first.units, tuple(entries), ours)


def why_not(run: Run, boards: Mapping[tuple[str, str], Sequence[Published]]) -> str:
    """Why a run may stand in none of these tables; empty if it may."""
    about, data = run.about, run.about["data"]
    if about["stand_in"]:
        return "its data is a free stand-in"
    if about["oracle"]:
        return "it was shown the truth"
    if about["limited"]:
        return "it is limited to the first samples"
    if str(data.get("version", "")).endswith(WITH_DEPTH):
        return "it was handed measured depth, theirs colour pictures alone"
    if noise := about.get("params", {}).get("noise"):
        return f"what it was handed was spoilt by noise ({noise['axis']}={noise['amount']})"
    if about["coverage"]["missing"]:
        return f"{about['coverage']['missing']} of its samples have no answer"
    names = [name for name in about["protocols"] if name != UNKNOWN]
    scored = [boards[about["task"], name] for name in names if (about["task"], name) in boards]
    if not scored:
        return f"nothing here is published for {about['task']} under its protocols, {', '.join(about['protocols'])}"
    first = scored[0][0]
    if data["split"] != first.split:
        return f"its split is '{data['split']}', theirs '{first.split}'"
    if data["topology"] != first.topology:
        return f"its labels are on '{data['topology']}', theirs on '{first.topology}'"
    return ""


def factor(metric: str, printed: str) -> float | None:
    """What our value is multiplied by to be in the unit that a table prints; None if they do not compare.

    Example:
        >>> factor("f1", "%"), factor("geo_fp_cm", "cm"), factor("mae", "x 0.1"), factor("geo_fp_cm", "%")
        (100.0, 1.0, 10.0, None)
    """
    try:
        unit = get_metric(metric).unit
    except InputError:
        return None
    if unit == "":
        return {"%": 100.0, "fraction": 1.0, "x 0.1": 10.0}.get(printed)
    return 1.0 if unit == printed else None


def board_table(board: Leaderboard) -> Table:
    """A table for people: published first, then ours with intervals."""
    metrics = list(board.units)
    header = ("method", *(f"{name} ({unit})" for name, unit in board.units.items()), "flags", "trust", "source")
    rows = [(*_names(e), *_values(e, metrics), *_remarks(e)) for e in board.entries if e.values or not e.by_category]
    for run in board.ours:
        rows.append((f"{run.method} (ours)", *_own(run, board), "", "run", f"n {run.about['coverage']['targets']}"))
    title = f"{board.task}, protocol {board.protocol}, split {board.split}, labels on {board.topology}"
    if board.protocol == UNKNOWN:
        title += "  (how these were averaged is not known: they stand beside nothing)"
    return Table(title, header, tuple(rows))


def board_tables(board: Leaderboard) -> list[Table]:
    """The tables of a leaderboard that hold anything."""
    tables = [board_table(board), category_table(board)]
    return [table for table in tables if table is not None and table.rows]


def category_table(board: Leaderboard) -> Table | None:
    """Published figures by category; None if there are none."""
    told = [e for e in board.entries if e.by_category]
    if not told:
        return None
    names = sorted({name for e in told for name in e.by_category})
    metric, unit = next(iter(board.units.items()))
    by = factor(metric, unit)
    rows = [(*_names(e), *(_number(e.by_category.get(n)) for n in names), *_remarks(e)) for e in told]
    for run in board.ours:
        own = run.by("category") if run.about["protocol"] == board.protocol else {}
        values = [own[n][metric].value if n in own and metric in own[n] else None for n in names]
        cells = (_number(None if v is None or by is None else by * v) for v in values)
        rows.append((f"{run.method} (ours)", *cells, "", "run", f"n {run.about['coverage']['targets']}"))
    title = f"{board.task}, protocol {board.protocol}, {metric} ({unit}) by category"
    return Table(title, ("method", *names, "flags", "trust", "source"), tuple(rows))


def _names(entry: Published) -> tuple[str]:
    return (f"{entry.method}{f' ({entry.venue})' if entry.venue else ''}",)


def _values(entry: Published, metrics: Sequence[str]) -> list[str]:
    return [_number(entry.values.get(name)) for name in metrics]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}" if abs(value) >= 1000 else f"{value:.4g}"


def _remarks(entry: Published) -> tuple[str, str, str]:
    flags = list(entry.flags) + ([f"superseded by {entry.superseded_by}"] if entry.superseded_by else [])
    return ", ".join(flags), entry.trust, entry.source


def _own(run: Run, board: Leaderboard) -> list[str]:
    scores = {s.metric: s for s in run.scores if s.protocol == board.protocol}
    cells = []
    for metric, unit in board.units.items():
        by, score = factor(metric, unit), scores.get(metric)
        cells.append("-" if by is None or score is None else score.text(by, 2 if by > 1 or unit == "cm" else 3))
    return cells


def board_dict(board: Leaderboard) -> dict[str, Any]:
    """The same as plain values, for --json."""
    entries = [
        {
            **{name: getattr(e, name) for name in ("method", "venue", "protocol", "source", "trust", "note")},
            "values": dict(e.values),
            "by_category": dict(e.by_category),
            "flags": list(e.flags),
            "superseded_by": e.superseded_by,
        }
        for e in board.entries
    ]
    ours = [{"method": r.method, "scores": {s.metric: s.value for s in r.scores}} for r in board.ours]
    about = {name: getattr(board, name) for name in ("task", "protocol", "split", "topology")}
    return {**about, "units": dict(board.units), "published": entries, "ours": ours}


def notes_of(boards: Sequence[Leaderboard]) -> list[str]:
    """What flags mean and what single entries are noted for, once each."""
    entries = [e for board in boards for e in board.entries]
    flags = [f"{name}: {text}" for name, text in FLAGS.items() if any(name in e.flags for e in entries)]
    return [*flags, *dict.fromkeys(f"{e.method}: {e.note}" for e in entries if e.note)]
