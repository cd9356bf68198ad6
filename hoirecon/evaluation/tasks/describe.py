"""All about a task in one place, for people who have never run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import get_preset
from hoirecon.evaluation.tasks.task import Task


def describe(task: Task) -> dict[str, Any]:
    """Data and where to get it, protocols with formulas and traps, what is published."""
    from hoirecon.data.datasets.registry import get_entry
    from hoirecon.evaluation.published import list_published

    try:
        entry = get_entry(task.dataset)
        data = {"title": entry.title, "licence": entry.licence, "where": entry.where, "layout": entry.layout}
    except InputError:
        data = {"title": task.dataset, "licence": "", "where": "", "layout": ""}
    published = [f"{p.method} under '{p.protocol}'" for p in list_published(task.name)]
    return {
        "task": task.name,
        "version": task.version,
        "title": task.title,
        "dataset": {"name": task.dataset, "split": task.split, "options": dict(task.options), **data},
        "asks": task.asks,
        "train_split": task.train_split,
        "protocols": [_protocol(name) for name in task.protocols],
        "published": published,
    }


def _protocol(name: str) -> dict[str, Any]:
    preset = get_preset(name)
    metrics = [
        {
            "name": m.name,
            "unit": m.unit or "share",
            "better": "higher" if m.higher_is_better else "lower",
            "floor": m.floor,
            "formula": m.formula,
            "source": m.citation,
        }
        for m in preset.metrics
    ]
    return {"name": name, "metrics": metrics, "notes": list(preset.notes)}


def described_text(told: Mapping[str, Any]) -> str:
    """The same for a terminal."""
    data = told["dataset"]
    lines = [
        f"{told['task']} v{told['version']}: {told['title']}",
        f"data: {data['name']}, split {data['split']}; {data['licence']}",
        f"  get it: {data['where']}",
        f"  layout: {data['layout']}",
        f"a prediction holds: {told['asks']}" + (f"; may learn from {told['train_split']}" * bool(told["train_split"])),
    ]
    for k, protocol in enumerate(told["protocols"]):
        lines += ["", f"protocol {protocol['name']}{' (of the leaderboard)' * (k == 0)}"]
        for m in protocol["metrics"]:
            floor = "its floor depends on the sample" if m["floor"] is None else f"perfect {m['floor']:g}"
            lines.append(
                f"  {m['name']} [{m['unit']}, {m['better']} is better, {floor}]: {m['formula']} ({m['source']})"
            )
        lines += [f"  ! {note}" for note in protocol["notes"]]
    lines += ["", f"published: {'; '.join(told['published']) or 'nothing known'}"]
    return "\n".join(lines)
