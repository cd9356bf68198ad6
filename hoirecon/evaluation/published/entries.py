"""Published figures as data: each with its protocol, split, topology, flags, source and how far it was checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from hoirecon.errors import InputError

Trust = Literal["code", "table", "note", "recalled"]
TRUST: dict[Trust, str] = {
    "code": "read in the authors' public code or repository",
    "table": "read in a table of the paper",
    "note": "from a third party's note on the paper; not authoritative",
    "recalled": "not checked",
}
FLAGS = {
    "teacher_forced": "words of the true answer stood in the prompt",
    "gt_contact": "was given true contact",
    "gt_template": "was given the true template",
}
"""What makes a figure not comparable with an honest one of the same protocol."""


@dataclass(frozen=True)
class Published:
    """One method's figures under one protocol."""

    task: str
    split: str
    topology: str
    units: Mapping[str, str]
    """Metric -> unit in which the values are printed: ``%``, ``cm``, ``fraction``, ..."""
    method: str
    protocol: str
    """Of the evaluator; ``unknown`` where the paper does not say: such a figure stands beside no other."""
    source: str
    trust: Trust
    values: Mapping[str, float] = field(default_factory=dict)
    """Metric -> value as printed."""
    by_category: Mapping[str, float] = field(default_factory=dict)
    """Category -> the first metric's value as printed."""
    flags: tuple[str, ...] = ()
    superseded_by: str = ""
    """Method whose figures its authors ask to be used instead."""
    venue: str = ""
    note: str = ""


def list_published(task: str | None = None, protocol: str | None = None) -> tuple[Published, ...]:
    """Published figures, of one task or protocol or all.

    Example:
        >>> [p.method for p in list_published("damon/binary", "deco")]
        ['POSA-PIXIE', 'BSTRO', 'DECO']
    """
    return tuple(
        p for p in _everything() if (task is None or p.task == task) and (protocol is None or p.protocol == protocol)
    )


@cache
def _everything() -> tuple[Published, ...]:
    folder = resources.files("hoirecon.evaluation.published")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return tuple(entry for f in files for entry in read_published(f.read_text(encoding="utf-8"), f.name))


def read_published(text: str, name: str) -> list[Published]:
    """Read a file of benchmarks with their entries.

    Raises:
        InputError: not TOML, an unknown key, flag or trust tag, a value without unit, or a method twice.
    """
    try:
        benchmarks = tomllib.loads(text)["benchmark"]
        return [_entry(told, of, name) for of in benchmarks for told in of["entry"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as err:
        raise InputError(f"{name} is no list of published figures: {type(err).__name__}: {err}") from err


def _entry(told: dict[str, Any], of: dict[str, Any], name: str) -> Published:
    units = of["metrics"]
    flags = tuple(told.get("flags", ()))
    wrong = [m for m in told.get("values", {}) if m not in units] + [f for f in flags if f not in FLAGS]
    if wrong or told["trust"] not in get_args(Trust):
        raise InputError(f"{name}, {of['task']}, {told['method']}: '{(*wrong, told['trust'])[0]}' is not known")
    return Published(
        **{**told, "flags": flags}, task=of["task"], split=of["split"], topology=of["topology"], units=units
    )
