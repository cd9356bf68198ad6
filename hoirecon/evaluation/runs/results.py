"""A run as a folder that people and programs can read: JSON, CSV and numbers, never pickle.

::

    run.json        what was run: task, protocol, method, parameters, data, code, packages, coverage
    samples.csv     a line per sample: id, category, group, status, reason, seconds, every metric
    scores.json     every figure with interval, n, failures, unit, direction, aggregator; equal runs, equal bytes
    report.md       what a person reads first
    predictions/    <id>.npz each, from which an interrupted run goes on and a new scorer starts
    plots/          pictures, if matplotlib is installed
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_writable, read_json, write_json

SCHEMA = "hoirecon-benchmark-run"
SCHEMA_VERSION = 1
RUN, SAMPLES, SCORES, REPORT, PREDICTIONS, PLOTS = (
    "run.json",
    "samples.csv",
    "scores.json",
    "report.md",
    "predictions",
    "plots",
)
DIGITS = 9
"""Significant digits of scores.json: sums in another order of threads differ later than that."""
MAX_TABLE_BYTES = 512 << 20

Status = Literal["ok", "failed", "missing"]
"""``failed``: the method raised or gave what cannot be scored; ``missing``: no answer was handed in."""


@dataclass(frozen=True)
class SampleRow:
    """One sample of a run."""

    id: str
    category: str
    group: str
    """What the bootstrap draws: the image or the sequence."""
    status: Status
    reason: str = ""
    """Why it failed, one line."""
    seconds: float | None = None
    """Wall seconds of the method; None where its prediction does not say."""
    values: Mapping[str, float | None] = field(default_factory=dict)
    """Metric or count -> value; None where it is not defined for this sample. A failed sample has its worst case."""


@dataclass(frozen=True)
class Score:
    """One figure of a run."""

    metric: str
    value: float | None
    ci95: tuple[float, float] | None
    """Percentile bootstrap over groups; None with fewer than two groups."""
    n: int
    """Samples that the figure speaks of, failed ones among them."""
    n_failed: int
    """Of these, failed or missing: counted as worst case."""
    unit: str
    direction: Literal["up", "down"]
    """Which way is better."""
    aggregator: str
    protocol: str
    value_ok: float | None = None
    """The same figure over the samples that did not fail, to be read beside the number that failed."""
    n_ok: int = 0

    def text(self, factor: float = 1.0, digits: int = 3) -> str:
        """``0.551 [0.540, 0.562]``."""
        if self.value is None:
            return "not defined"
        low_high = "" if self.ci95 is None else " [" + ", ".join(f"{factor * v:.{digits}f}" for v in self.ci95) + "]"
        return f"{factor * self.value:.{digits}f}{low_high}"


@dataclass(frozen=True)
class Run:
    """A run in memory, from :func:`load_run` or from scoring."""

    about: Mapping[str, Any]
    """What run.json says."""
    rows: tuple[SampleRow, ...]
    scores: tuple[Score, ...]
    by_category: Mapping[str, tuple[Score, ...]] = field(default_factory=dict)
    folder: Path | None = None
    """Where it was read from or written to."""

    def score(self, metric: str) -> Score:
        """One figure by name.

        Raises:
            InputError: this run has no such figure.
        """
        for score in self.scores:
            if score.metric == metric:
                return score
        raise InputError(f"this run has no '{metric}', only {', '.join(s.metric for s in self.scores)}")

    def by(self, key: str = "category") -> dict[str, dict[str, Score]]:
        """Figures of each category by the run's protocol: category -> metric -> score.

        Raises:
            InputError: another key.
        """
        if key != "category":
            raise InputError(f"runs are divided by 'category', got '{key}': take per_sample for anything else")
        return {name: {s.metric: s for s in scores} for name, scores in self.by_category.items()}

    @property
    def per_sample(self) -> list[dict[str, Any]]:
        """A dictionary per sample: id, category, group, status, reason, seconds and every metric; for pandas."""
        fixed = [{name: getattr(row, name) for name in _FIXED} for row in self.rows]
        return [{**told, **row.values} for told, row in zip(fixed, self.rows, strict=True)]

    def summary(self) -> str:
        """What a person reads in a terminal: figures with intervals, coverage, and what must be known of them."""
        from hoirecon.evaluation.runs.report import summary_text

        return summary_text(self)

    def save(self, folder: str | Path, plots: bool = False) -> Path:
        """Write run.json, samples.csv, scores.json and report.md; with ``plots`` also pictures (extra ``plots``).

        Raises:
            InputError: the folder cannot be written, or holds something else than a run.
        """
        from hoirecon.evaluation.runs.report import write_report

        save_run(self, folder)
        if plots:
            from hoirecon.evaluation.run_plots import draw_run

            draw_run(self, Path(folder) / PLOTS)
        write_report(self, folder)
        return Path(folder)

    @property
    def headline(self) -> Score:
        """The first figure of the run's protocol."""
        return self.scores[0]

    @property
    def failed(self) -> tuple[SampleRow, ...]:
        """Samples that count as worst case."""
        return tuple(row for row in self.rows if row.status != "ok")

    @property
    def missing(self) -> tuple[SampleRow, ...]:
        """Samples without an answer."""
        return tuple(row for row in self.rows if row.status == "missing")

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.about["method"])

    @property
    def comparable(self) -> tuple[str, ...]:
        """What must be equal before two runs stand in one table."""
        data = self.about["data"]
        keys = (self.about["task"], str(self.about["task_version"]), self.about["protocol"], data["name"])
        return (*keys, data["split"], data["topology"], "stand-in" if data["stand_in"] else "real")


# ------------------------------------------------------------------------------------------------------------- writing
def save_run(run: Run, folder: str | Path) -> Path:
    """Write run.json, samples.csv, scores.json, each whole or not at all; run.json last, as the sign that all is there.

    Raises:
        InputError: the folder cannot be written, or holds something else than a run.
    """
    folder = Path(folder)
    check_run_folder(folder)
    with atomic_file(folder / SAMPLES) as tmp:
        tmp.write_text(samples_csv(run.rows), encoding="utf-8")
    write_json(folder / SCORES, scores_dict(run))
    write_json(folder / RUN, dict(run.about))
    return folder


def check_run_folder(folder: Path) -> None:
    """Raise :class:`InputError` unless a run may be written there: a new or empty folder, or one of a run."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder for the run")
    known = {RUN, SAMPLES, SCORES, REPORT, PREDICTIONS, PLOTS, "plan.json"}
    strange = sorted(p.name for p in folder.iterdir() if p.name not in known) if folder.is_dir() else []
    strange = [name for name in strange if not name.startswith((".", "report."))]
    if strange and not (folder / RUN).is_file() and not (folder / "plan.json").is_file():
        raise InputError(f"{folder} holds {strange[0]} and no {RUN}: give a new folder, or one of an earlier run")
    check_writable(folder)


def scores_dict(run: Run) -> dict[str, Any]:
    """What scores.json holds: no times, no paths, numbers to nine digits."""
    return {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        **{key: run.about[key] for key in ("task", "task_version", "protocol", "method", "stand_in")},
        "scores": [_score_dict(score) for score in run.scores],
        "by_category": {name: [_score_dict(s) for s in scores] for name, scores in run.by_category.items()},
        "failed": [{"id": r.id, "status": r.status, "reason": r.reason} for r in run.failed],
    }


def _score_dict(score: Score) -> dict[str, Any]:
    told = asdict(score)
    for name in ("value", "value_ok"):
        told[name] = rounded(told[name])
    told["ci95"] = None if score.ci95 is None else [rounded(v) for v in score.ci95]
    return told


def rounded(value: float | None, digits: int = DIGITS) -> float | None:
    """A finite number to so many significant digits; None for what is not defined.

    Example:
        >>> rounded(0.12345678912345), rounded(float("nan"))
        (0.123456789, None)
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


_FIXED = ("id", "category", "group", "status", "reason", "seconds")


def samples_csv(rows: Sequence[SampleRow]) -> str:
    """The table of samples; an empty cell is a value that is not defined."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_FIXED, *names])
    for row in rows:
        fixed = [getattr(row, name) for name in _FIXED]
        values = [row.values.get(name) for name in names]
        writer.writerow(["" if v is None else repr(v) if isinstance(v, float) else v for v in [*fixed, *values]])
    return out.getvalue()


# ------------------------------------------------------------------------------------------------------------- reading
def load_run(folder: str | Path) -> Run:
    """Read a run's folder.

    Raises:
        InputError: no run there, an unfinished one, or a damaged file; names the file.
    """
    folder = Path(folder)
    if not (folder / RUN).is_file():
        unfinished = " (an unfinished run: finish it with --resume)" if (folder / PREDICTIONS).is_dir() else ""
        raise InputError(f"{folder} holds no {RUN}{unfinished}: give the folder that `bench run` wrote")
    about, scores = read_json(folder / RUN), read_json(folder / SCORES)
    for name, value in ((RUN, about), (SCORES, scores)):
        if not isinstance(value, dict) or value.get("schema") != SCHEMA or value.get("version") != SCHEMA_VERSION:
            raise InputError(f"{folder / name} is not {SCHEMA} {SCHEMA_VERSION}: score its predictions anew")
    try:
        own = tuple(_score_of(told) for told in scores["scores"])
        by = {str(name): tuple(_score_of(t) for t in told) for name, told in scores["by_category"].items()}
    except (KeyError, TypeError, AttributeError) as err:
        raise InputError(f"{folder / SCORES} is damaged ({type(err).__name__}: {err}): score it anew") from err
    return Run(about, read_samples(folder / SAMPLES), own, by, folder)


def _score_of(told: Mapping[str, Any]) -> Score:
    ci95 = None if told["ci95"] is None else (float(told["ci95"][0]), float(told["ci95"][1]))
    return Score(**{**told, "ci95": ci95})


def read_samples(path: Path) -> tuple[SampleRow, ...]:
    """Read samples.csv.

    Raises:
        InputError: missing, too large, damaged, or an id twice; names file and line.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than the limit of {MAX_TABLE_BYTES}")
    rows, seen = [], set()
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        if tuple(reader.fieldnames or ())[: len(_FIXED)] != _FIXED:
            raise InputError(f"{path} does not begin with the columns {', '.join(_FIXED)}")
        for line in reader:
            row = _row_of(line, f"{path}, line {reader.line_num}")
            if row.id in seen:
                raise InputError(f"{path}, line {reader.line_num}: sample '{row.id}' stands there twice")
            seen.add(row.id)
            rows.append(row)
    return tuple(rows)


def _row_of(line: Mapping[str, Any], where: str) -> SampleRow:
    try:
        values = {k: _number(v) for k, v in line.items() if k not in _FIXED}
        status, seconds = line["status"], _number(line["seconds"])
        if status not in get_args(Status):
            raise ValueError(f"status '{status}'")
        return SampleRow(line["id"], line["category"], line["group"], status, line["reason"], seconds, values)
    except (ValueError, TypeError) as err:
        raise InputError(f"{where} is damaged ({err}): score the run anew") from err


def _number(text: str) -> float | None:
    return None if text == "" else float(text)
