"""The figures to reach, as data, and whether measured results reach them: computed, never written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Levels = Mapping[str, Mapping[str, Any]]
"""Name of a noise level -> what :func:`hoirecon.evaluation.run_bench` gave."""

JOINT = "hoirecon"
"""The method that moves the body."""
SCRATCH = "hoirecon-object"
"""The method whose time from scratch has a target."""
PEERS = ("interactvlm-style", "pico-style", "phosa-style")
"""Families of restated methods; all settings of a family are compared and its best one counts."""
PEER_RATIO = 3.0
HEAVY = ">0.30"
"""The group of scenes with contact of which more than .30 of the object is hidden."""


@dataclass(frozen=True)
class Verdict:
    """One target beside what was measured."""

    what: str
    limit: str
    """Such as ``<= 1.9 cm``."""
    measured: float | None
    """None: not measured, so neither met nor missed."""
    met: bool | None
    unit: str = ""
    beside: str = ""
    """The same figure on other scenes, or what it was computed from."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        measured = None if self.measured is None else round(self.measured, 4)
        return {"what": self.what, "limit": self.limit, "measured": measured, "met": self.met, "unit": self.unit,
                "beside": self.beside}  # fmt: skip


def dig(figures: Any, *path: str) -> float | None:
    """A number deep in nested dictionaries; None if any step is missing.

    Example:
        >>> dig({"a": {"b": 1}}, "a", "b"), dig({"a": None}, "a", "b")
        (1.0, None)
    """
    for name in path:
        if not isinstance(figures, Mapping) or figures.get(name) is None:
            return None
        figures = figures[name]
    return float(figures) if isinstance(figures, int | float) else None


def at_most(what: str, limit: float, measured: float | None, unit: str = "", beside: str = "") -> Verdict:
    """A target from above."""
    return Verdict(what, f"<= {limit:g}{_with(unit)}", measured, None if measured is None else measured <= limit, unit,
                   beside)  # fmt: skip


def at_least(what: str, limit: float, measured: float | None, unit: str = "", beside: str = "") -> Verdict:
    """A target from below."""
    return Verdict(what, f">= {limit:g}{_with(unit)}", measured, None if measured is None else measured >= limit, unit,
                   beside)  # fmt: skip


def judge(levels: Levels, main: str, speed: Mapping[str, Any] | None = None) -> list[Verdict]:
    """Every target beside its figure.

    Args:
        levels: results per noise level.
        main: the method that the targets of accuracy are about.
        speed: what ``hoirecon bench fit-speed --json`` printed.
    """
    return [
        *_accuracy(levels, main),
        *_body(levels),
        *_choice(levels, main),
        *_peers(levels, main),
        *_calibration(levels, main),
        *_speed(levels, speed),
    ]


def _of(levels: Levels, level: str, method: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = levels.get(level, {}).get("methods", {}).get(method, {})
    return found


def _accuracy(levels: Levels, main: str) -> list[Verdict]:
    found: list[Verdict] = []
    for level, group, says, median, share in (
        ("L0", ("with_contact",), "scenes with contact", 0.8, 0.98),
        ("L2", ("with_contact",), "scenes with contact", 1.9, 0.88),
        ("L2", ("by_occlusion", HEAVY), "with contact, more than .30 hidden", 2.4, 0.80),
    ):
        figures, what = _of(levels, level, main), f"{level}, {says}: `{main}`"
        whole = figures if group == ("with_contact",) else {}
        found += [
            at_most(f"{what}, median Chamfer", median, dig(figures, *group, "chamfer_object_cm", "median"), "cm",
                    _said("all scenes", dig(whole, "chamfer_object_cm", "median"))),
            at_least(f"{what}, share below 5 cm", share, dig(figures, *group, "share_below_5cm"), "",
                     _said("all scenes", dig(whole, "share_below_5cm"))),
        ]  # fmt: skip
    return found


def _body(levels: Levels) -> list[Verdict]:
    figures = _of(levels, "L2", JOINT)
    touching, pixels = _pair(figures, "touching{}_cm"), _pair(figures, "landmark{}_px")
    fall = None if touching is None or touching[0] <= 0 else 1 - touching[1] / touching[0]
    rise = None if pixels is None else pixels[1] - pixels[0]
    space = _change(_pair(figures, "landmarks{}_cm"), "cm in space")
    return [
        at_least(f"L2, joint stage: `{JOINT}`, fall of the error of the touching body parts", 0.30, fall, "",
                 _change(touching, "cm")),
        at_most(f"L2, joint stage: `{JOINT}`, rise of the body's landmarks' error in the picture", 0.0, rise, "px",
                "; ".join(text for text in (_change(pixels, "px"), space) if text)),
        at_most(f"L2, joint stage: `{JOINT}`, deepest penetration, 90th percentile", 12.0,
                dig(figures, "penetration_mm", "p90"), "mm"),
    ]  # fmt: skip


def _pair(figures: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Medians as given and as predicted."""
    before, after = (dig(figures, name.format(when), "median") for when in ("_given", ""))
    return None if before is None or after is None else (before, after)


def _choice(levels: Levels, main: str) -> list[Verdict]:
    figures = _of(levels, "L2", main)
    touching = [dig(figures, "with_contact", "oracle_gap", name) for name in ("median_loss", "share_loss")]
    return [
        at_most(f"L2, all scenes: `{main}`, oracle gap in the median", 0.12, dig(figures, "oracle_gap", "median_loss"),
                "", _said("with contact", touching[0])),
        at_most(f"L2, all scenes: `{main}`, oracle gap in the share below 5 cm", 0.06,
                dig(figures, "oracle_gap", "share_loss"), "", _said("with contact", touching[1])),
    ]  # fmt: skip


def _peers(levels: Levels, main: str) -> list[Verdict]:
    """Each family's best setting against ours, on the scenes with contact."""
    ours = dig(_of(levels, "L2", main), "with_contact", "chamfer_object_cm", "median")
    methods = levels.get("L2", {}).get("methods", {})
    found = []
    for family in PEERS:
        tried = {name: dig(figures, "with_contact", "chamfer_object_cm", "median") for name, figures in methods.items()
                 if name == family or name.startswith(f"{family}-")}  # fmt: skip
        medians = {name: cm for name, cm in tried.items() if cm is not None}
        ratio = min(medians.values()) / max(ours, 1e-9) if medians and ours is not None else None
        beside = ", ".join(f"`{name}` {cm:.2f} cm" for name, cm in medians.items())
        found.append(at_least(f"L2, scenes with contact: best of `{family}` over `{main}`, ratio of medians",
                              PEER_RATIO, ratio, "", beside))  # fmt: skip
    return found


def _calibration(levels: Levels, main: str) -> list[Verdict]:
    flag = _of(levels, "L2", main).get("ambiguous")
    error = dig(_of(levels, "L1", main), "nse_per_dof", "median")
    within = None if error is None else 0.7 <= error <= 1.5
    return [
        Verdict(f"L1: `{main}`, covariance, normalised squared error per degree of freedom, median", "0.7 to 1.5",
                error, within),
        at_least(f"L2, all scenes: `{main}`, failures that the flag `ambiguous` catches", 0.70,
                 dig(flag, "share_of_failures_flagged")),
        at_most(f"L2, all scenes: `{main}`, successes that it flags", 0.25, dig(flag, "share_of_successes_flagged")),
    ]  # fmt: skip


def _speed(levels: Levels, speed: Mapping[str, Any] | None) -> list[Verdict]:
    """Time from scratch is in the rows; the other targets of speed come with the measured file."""
    found = [
        at_most(f"L2: `{SCRATCH}`, from scratch, preparation included, median CPU time of one thread", 1.0,
                dig(_of(levels, "L2", SCRATCH), "cpu_seconds", "median"), "s"),
        at_most(f"L2: `{JOINT}`, object search and joint stage together, median CPU time of one thread", 3.0,
                dig(_of(levels, "L2", JOINT), "cpu_seconds", "median"), "s", "the target is for the joint stage alone"),
    ]  # fmt: skip
    for name, figure in (speed or {}).get("figures", {}).items():
        target, more = dig(figure, "target"), more_is_better(name, figure)
        if target is None:
            continue
        rule, unit = (at_least, "times") if more else (at_most, "s")
        found.append(rule(f"speed: {figure_name(name)}", target, dig(figure, "median"), unit, quartiles(figure)))
    return found


def figure_name(name: str) -> str:
    """A figure of speed in words, e.g. ``refinement`` of ``refinement_cpu_s``."""
    return name.removesuffix("_cpu_s").replace("_", " ")


def quartiles(figure: Mapping[str, Any]) -> str:
    """Quartiles of a figure of speed, if it has any."""
    low, high = dig(figure, "q25"), dig(figure, "q75")
    return "" if low is None or high is None else f"quartiles {low:.3g} and {high:.3g}"


def more_is_better(name: str, figure: Mapping[str, Any]) -> bool:
    """Whether a figure of speed has its target from below: it says so, or its name tells of a ratio."""
    if "at_least" in figure:
        return bool(figure["at_least"])
    return any(word in name for word in ("ratio", "speedup", "times_faster", "_over_", "_vs_", "_against_"))


def _said(where: str, value: float | None) -> str:
    return "" if value is None else f"{where}: {value:.2f}"


def _change(pair: tuple[float, float] | None, unit: str) -> str:
    return "" if pair is None else f"median {pair[0]:.2f} before, {pair[1]:.2f} after, {unit}"


def _with(unit: str) -> str:
    return f" {unit}" if unit else ""


def count(verdicts: Sequence[Verdict], met: bool | None) -> int:
    """How many were met (True), missed (False) or not measured (None)."""
    return sum(v.met is met for v in verdicts)
