"""``hoirecon bench list``, ``describe``, ``check-data``: what there is to measure with, and whether data is whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from hoirecon.cli_bench_shared import EXIT_INPUT, EXIT_OK, BenchCommand, UsageError, rows_text, task_named

Lists = Literal["tasks", "datasets", "metrics", "protocols", "methods", "noise", "published"]


@dataclass(frozen=True)
class BenchList(BenchCommand):
    """List what there is to measure with."""

    what: tyro.conf.Positional[Lists] = "tasks"
    """Tasks, datasets, metrics, protocols, methods, kinds of noise or published figures."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        rows = LISTINGS[self.what]()
        if self.json:
            print(json.dumps(rows, indent=1, ensure_ascii=False))
            return EXIT_OK
        print(rows_text(rows))
        if self.what == "tasks":
            print("\nwithout any licensed data: `hoirecon bench closedworld`; one task in full: `bench describe TASK`")
        return EXIT_OK


def _tasks() -> list[dict[str, Any]]:
    from hoirecon.evaluation.tasks import list_tasks

    return [
        {"task": t.name, "v": t.version, "protocols": ", ".join(t.protocols), "about": t.title} for t in list_tasks()
    ]


def _datasets() -> list[dict[str, Any]]:
    from hoirecon.data.datasets.registry import list_datasets

    return [
        {"dataset": d.name, "splits": ", ".join(d.splits), "formats": ", ".join(d.formats), "about": d.title}
        for d in list_datasets()
    ]


def _metrics() -> list[dict[str, Any]]:
    from hoirecon.evaluation.metrics import list_metrics

    return [
        {"metric": m.name, "unit": m.unit or "share", "better": "higher" if m.higher_is_better else "lower",
         "formula": m.formula}
        for m in list_metrics()
    ]  # fmt: skip


def _protocols() -> list[dict[str, Any]]:
    from hoirecon.evaluation.metrics import get_preset, list_presets

    presets = [get_preset(name) for name in list_presets()]
    return [{"protocol": p.name, "scores": p.kind, "metrics": ", ".join(m.name for m in p.metrics)} for p in presets]


def _methods() -> list[dict[str, Any]]:
    from hoirecon.evaluation.tasks.methods import METHODS

    return [{"method": name, "about": text} for name, (text, _) in METHODS.items()]


def _noises() -> list[dict[str, Any]]:
    from hoirecon.evaluation.tasks.noise import AXES

    return [
        {"noise": name, "rungs": ", ".join(a.amounts), "unit": a.unit, "about": a.about} for name, a in AXES.items()
    ]


def _published() -> list[dict[str, Any]]:
    from hoirecon.evaluation.published import list_published

    return [
        {"task": p.task, "protocol": p.protocol, "method": p.method, "trust": p.trust, "flags": ", ".join(p.flags)}
        for p in list_published()
    ]


LISTINGS = {
    "tasks": _tasks,
    "datasets": _datasets,
    "metrics": _metrics,
    "protocols": _protocols,
    "methods": _methods,
    "noise": _noises,
    "published": _published,
}


@dataclass(frozen=True)
class BenchDescribe(BenchCommand):
    """Say all about a task: data and where to get it, protocols, formulas, traps, what is published."""

    task: tyro.conf.Positional[str]
    """E.g. damon/binary."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.tasks.describe import describe, described_text

        told = describe(task_named(self.task))
        print(json.dumps(told, indent=1, ensure_ascii=False) if self.json else described_text(told))
        return EXIT_OK


@dataclass(frozen=True)
class BenchCheckData(BenchCommand):
    """Name what is missing or wrong in your copy of a dataset; exit code 2 if something is."""

    root: tyro.conf.Positional[Path]
    """Folder of your copy."""
    dataset: str = ""
    """Its name; `bench list datasets` has all."""
    json: bool = False
    """Print JSON."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.data.datasets.folder_checks import check_data
        from hoirecon.data.datasets.registry import list_datasets

        names = [entry.name for entry in list_datasets()]
        if not self.dataset:
            raise UsageError(f"say which dataset {self.root} is a copy of: --dataset is one of {', '.join(names)}")
        if self.dataset not in names:
            raise UsageError(f"no dataset is called '{self.dataset}': --dataset is one of {', '.join(names)}")
        found = check_data(self.root, self.dataset)
        if self.json:
            print(json.dumps([asdict(f) for f in found], indent=1, ensure_ascii=False))
        else:
            print("\n".join(map(str, found)) or f"{self.root}: nothing is missing or wrong")
        return EXIT_INPUT if any(f.severity == "error" for f in found) else EXIT_OK
