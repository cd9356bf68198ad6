"""A run as text: a summary for the terminal, and a report as Markdown, HTML, LaTeX or CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hoirecon.errors import InputError
from hoirecon.evaluation.runs.results import PLOTS, REPORT, Run, Score
from hoirecon.files import atomic_file

Format = Literal["md", "html", "latex", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
LISTED = 20
"""Failed samples that a report lists; samples.csv has all."""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def cautions(run: Run) -> list[str]:
    """What must be known before a figure of the run is quoted, one sentence each."""
    about, coverage = run.about, run.about["coverage"]
    said = []
    if about["stand_in"]:
        said.append("STAND-IN DATA: the body or its labels are free stand-ins: nothing here compares to real figures.")
    if about["oracle"]:
        said.append("ORACLE: this method was shown the truth; it says where the floor of each metric is.")
    if about["limited"]:
        said.append(f"LIMITED: only the first {coverage['targets']} samples were scored; for testing only.")
    if coverage["missing"]:
        said.append(f"INCOMPLETE: {coverage['missing']} of {coverage['targets']} samples have no answer.")
    if run.failed:
        said.append(f"{len(run.failed)} of {coverage['targets']} samples count as worst case (listed below).")
    if about["data"]["topology"] and not about["geodesic"] and about["task"].endswith(("binary", "human", "semantic")):
        said.append("Geodesic errors are left out: give the body's file with --body.")
    return said


def summary_text(run: Run) -> str:
    """Figures with intervals, coverage, cautions."""
    about, data = run.about, run.about["data"]
    lines = [
        f"{about['task']} v{about['task_version']}  {run.method}  ({data['name']} {data['version']}, {data['split']}, "
        f"{about['coverage']['targets']} samples, {data['topology'] or 'no topology'})"
    ]
    lines += [f"! {caution}" for caution in cautions(run)]
    for table in score_tables(run):
        lines += ["", table.title, *_aligned(table)]
    return "\n".join(lines)


def score_tables(run: Run) -> list[Table]:
    """A table of figures for each protocol."""
    tables = []
    for protocol in run.about["protocols"]:
        scores = [s for s in run.scores if s.protocol == protocol]
        header = ("metric", "value [95 %]", "n", "failed", "without failed", "unit", "better", "aggregator")
        rows = tuple(_score_row(s) for s in scores)
        tables.append(Table(f"protocol {protocol}", header, rows))
    return tables


def _score_row(score: Score) -> tuple[str, ...]:
    unit = score.unit or "share"
    apart = "-" if score.n_failed == 0 else f"{_short(score.value_ok)} (n {score.n_ok})"
    return (
        *(score.metric, score.text(), str(score.n), str(score.n_failed), apart, unit),
        *({"up": "higher", "down": "lower"}[score.direction], score.aggregator),
    )


def _short(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def category_table(run: Run) -> Table | None:
    """Figures of each category by the run's protocol; None if there are no categories."""
    if not run.by_category:
        return None
    metrics = [s.metric for s in next(iter(run.by_category.values())) if not s.metric.endswith(".macro")]
    rows = []
    for name, scores in run.by_category.items():
        known = {s.metric: s for s in scores}
        n = max(s.n for s in scores)
        rows.append((name, str(n), *(known[m].text() if m in known else "-" for m in metrics)))
    return Table(f"by category, protocol {run.about['protocol']}", ("category", "n", *metrics), tuple(rows))


def failure_table(run: Run) -> Table | None:
    """The samples that count as worst case; None without any."""
    if not run.failed:
        return None
    rows = tuple((r.id, r.status, r.reason) for r in run.failed[:LISTED])
    more = f", the first {LISTED} of {len(run.failed)}; samples.csv has all" if len(run.failed) > LISTED else ""
    return Table(f"samples that count as worst case{more}", ("id", "status", "reason"), rows)


def all_tables(run: Run) -> list[Table]:
    """Figures, categories, failures."""
    return [*score_tables(run), *(t for t in (category_table(run), failure_table(run)) if t is not None)]


# ------------------------------------------------------------------------------------------------------------- formats
def render(run: Run, kind: Format, pictures: Sequence[str] = ()) -> str:
    """The report in a format.

    Args:
        run: what to tell.
        kind: ``md``, ``html``, ``latex`` or ``csv``.
        pictures: paths of plots, relative to the report.

    Raises:
        InputError: another format.
    """
    if kind not in FORMATS:
        raise InputError(f"reports are {', '.join(FORMATS)}, got '{kind}'")
    makers: dict[Format, Callable[[Run, Sequence[str]], str]] = {
        "md": _markdown,
        "html": _html,
        "latex": _latex,
        "csv": _csv,
    }
    return makers[kind](run, pictures)


def write_report(run: Run, folder: str | Path, kind: Format = "md") -> Path:
    """Write ``report.md`` (or its format's ending) into a run's folder, with the plots that are there."""
    folder = Path(folder)
    ending = {"md": "md", "html": "html", "latex": "tex", "csv": "csv"}
    pictures = sorted(f"{PLOTS}/{p.name}" for p in (folder / PLOTS).glob("*.png")) if kind in ("md", "html") else []
    text = render(run, kind, pictures)
    path = folder / REPORT if kind == "md" else folder / f"report.{ending[kind]}"
    with atomic_file(path) as tmp:
        tmp.write_text(text, encoding="utf-8")
    return path


def _facts(run: Run) -> list[tuple[str, str]]:
    about, data = run.about, run.about["data"]
    params = ", ".join(f"{k} {v}" for k, v in about["params"].items()) or "none"
    return [
        ("method", f"{run.method} (parameters: {params})"),
        ("data", f"{data['name']} {data['version']}, split {data['split']}, {data['samples']} samples"),
        ("labels on", data["topology"]),
        ("licence of the data", data["licence"]),
        ("fingerprints", f"data {data['fingerprint'][:16]}, code {about['code']}"),
        ("intervals", "95 %, percentile bootstrap, 10,000 draws of groups (images or sequences)"),
    ]


def _title(run: Run) -> str:
    return f"{run.about['task']} v{run.about['task_version']}: {run.method}"


def _markdown(run: Run, pictures: Sequence[str]) -> str:
    lines = [f"# {_title(run)}", "", *(f"> **{caution}**" for caution in cautions(run)), ""]
    lines += [f"- {name}: {_cell(value)}" for name, value in _facts(run)]
    for table in all_tables(run):
        lines += ["", f"## {table.title}", "", _md_row(table.header), _md_row(["---"] * len(table.header))]
        lines += [_md_row(row) for row in table.rows]
    if pictures:
        lines += ["", "## plots", "", *(f"![{Path(p).stem.replace('_', ' ')}]({p})" for p in pictures)]
    if run.about["notes"]:
        lines += ["", "## what these protocols do", "", *(f"- {note}" for note in run.about["notes"])]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(c) for c in cells) + " |"


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#2b2d33}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.3em .8em;border-bottom:1px solid #e4e3df;"
    "text-align:left;font-variant-numeric:tabular-nums}.caution{background:#fff3cd;padding:.4em .8em;font-weight:600}"
    "img{max-width:100%}"
)


def _html(run: Run, pictures: Sequence[str]) -> str:
    esc = html.escape
    parts = [f"<!doctype html><meta charset='utf-8'><title>{esc(_title(run))}</title><style>{_STYLE}</style>"]
    parts += [f"<h1>{esc(_title(run))}</h1>", *(f"<p class='caution'>{esc(c)}</p>" for c in cautions(run)), "<ul>"]
    parts += [*(f"<li>{esc(name)}: {esc(value)}</li>" for name, value in _facts(run)), "</ul>"]
    for table in all_tables(run):
        head = "".join(f"<th>{esc(c)}</th>" for c in table.header)
        body = "".join("<tr>" + "".join(f"<td>{esc(c)}</td>" for c in row) + "</tr>" for row in table.rows)
        parts.append(f"<h2>{esc(table.title)}</h2><table><tr>{head}</tr>{body}</table>")
    parts += [f"<img src='{esc(p, quote=True)}' alt='{esc(Path(p).stem, quote=True)}'>" for p in pictures]
    notes = "".join(f"<li>{esc(note)}</li>" for note in run.about["notes"])
    return "\n".join(parts) + f"\n<h2>what these protocols do</h2><ul>{notes}</ul>\n"


def _tex(text: str) -> str:
    signs = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    signs |= {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(signs.get(c, c) for c in text)


def _latex(run: Run, pictures: Sequence[str]) -> str:
    """Tables for a paper (package booktabs)."""
    lines = [f"% {_tex(_title(run))}", *(f"% {_tex(caution)}" for caution in cautions(run))]
    for table in [t for t in (*score_tables(run), category_table(run)) if t is not None]:
        columns = "l" + "r" * (len(table.header) - 1)
        lines += ["", f"% {_tex(table.title)}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
        lines += [" & ".join(map(_tex, table.header)) + r" \\", r"\midrule"]
        lines += [" & ".join(map(_tex, row)) + r" \\" for row in table.rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _csv(run: Run, pictures: Sequence[str]) -> str:
    """Every figure, overall and by category."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("metric", "protocol", "value", "low", "high", "n", "n_failed", "value_ok", "n_ok", "unit", "direction")
    writer.writerow(("task", "method", "category", *names, "aggregator"))
    told = [("", run.scores), *run.by_category.items()]
    for category, scores in told:
        for s in scores:
            low, high = s.ci95 or ("", "")
            row = (s.metric, s.protocol, s.value, low, high, s.n, s.n_failed, s.value_ok, s.n_ok, s.unit, s.direction)
            cells = ["" if v is None else v for v in row]
            writer.writerow((run.about["task"], run.method, category, *cells, s.aggregator))
    return out.getvalue()


def _aligned(table: Table) -> list[str]:
    """Columns of equal width for a terminal."""
    rows = [table.header, *table.rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(table.header))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def text_table(table: Table) -> str:
    """A table for a terminal, with its title."""
    return "\n".join([table.title, *_aligned(table)] if table.title else _aligned(table))
