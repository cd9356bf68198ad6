"""Markdown of the results page: tables of figures, targets, captions; nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hoirecon.evaluation.closedworld.targets import HEAVY, Verdict, count, dig, figure_name, more_is_better, quartiles

NOT_MEASURED = "not measured"
FEW = 5
"""Groups of fewer scenes are given without an interval, which would say nothing."""
LEVEL_SAYS = {
    "L0": "everything exact but the object's size, known to 10 %",
    "L1": "contact with precision .80 and recall .85, masks with 1 px of smooth noise, hands and feet 1 cm off, size "
    "known to 10 %",
    "L2": "about what today's estimators give: contact with precision .65 and recall .75, masks with 2 px of smooth "
    "noise, hands and feet 2 cm off, size known to 20 %",
    "L3": "contact with precision .40 and recall .50, masks with 4 px of noise, a false piece and one more occluder, "
    "hands and feet 4 cm off, size known to 30 %",
    "mismatch": "the noise of L2, and the mesh is another one: 10 to 20 % off along each axis, a part missing",
}
GROUPS = (
    ("with contact", ("with_contact",)),
    ("with contact, > .30 hidden", ("by_occlusion", HEAVY)),
    ("without contact", ("without_contact",)),
    ("all", ()),
)
"""Heading of a group of scenes and where its figures stand."""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[int] = (0,)) -> str:
    """A table; columns of ``text`` stand at the left, the others, numbers, at the right."""
    ruler = ["---" if k in text else "--:" for k in range(len(header))]
    lines = [header, ruler, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: float | None, digits: int = 2) -> str:
    """A number; a dash if there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(figures: Any, name: str, digits: int = 2) -> str:
    """Median and its 95 % interval."""
    median = dig(figures, name, "median")
    if median is None:
        return "–"
    low, high = figures[name]["ci95"]
    return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def before_after(figures: Any, name: str) -> str:
    """Median error of the body as given and as predicted, e.g. of ``touching{}_cm``; ``kept`` if it is the same."""
    before, after = (dig(figures, name.format(when), "median") for when in ("_given", ""))
    if before is None or after is None:
        return "–"
    return f"{before:.2f} → {after:.2f}" if before != after else f"{before:.2f}, kept"


def seconds(value: float | None) -> str:
    """CPU seconds with two digits that count."""
    if value is None:
        return "–"
    if value < 0.0005:
        return "< 0.001"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"


def main_table(found: Mapping[str, Any]) -> str:
    """Figures of the scenes with contact, a line a method."""
    header = ["method", "scenes", "Chamfer cm", "< 5 cm", "< 2.5 cm", "IoU", "penetration p90 mm",
              "touching parts cm", "landmarks cm", "landmarks px", "CPU s", "failed"]  # fmt: skip
    rows = []
    for name, method in found["methods"].items():
        group = method.get("with_contact")
        rows.append([f"`{name}`", str(int(dig(group, "n") or 0)), interval(group, "chamfer_object_cm"),
                     number(dig(group, "share_below_5cm")), number(dig(group, "share_below_2_5cm")),
                     number(dig(group, "iou_visible", "median")), number(dig(group, "penetration_mm", "p90"), 1),
                     before_after(group, "touching{}_cm"), before_after(group, "landmarks{}_cm"),
                     before_after(group, "landmark{}_px"),
                     seconds(dig(group, "cpu_seconds", "median")), str(method["n_failed"])])  # fmt: skip
    return markdown_table(header, rows)


def groups_table(found: Mapping[str, Any]) -> str:
    """Chamfer and the share below 5 cm of each group of scenes, a line a method."""
    some = next(iter(found["methods"].values()))
    header = ["method", *(f"{says} ({int(dig(some, *path, 'n') or 0)})" for says, path in GROUPS)]
    rows = []
    for name, method in found["methods"].items():
        cells = []
        for _, path in GROUPS:
            group: Any = method
            for key in path:
                group = (group or {}).get(key)
            share = dig(group, "share_below_5cm")
            cells.append("–" if share is None else f"{_chamfer(group)}; {share:.2f}")
        rows.append([f"`{name}`", *cells])
    return markdown_table(header, rows)


def _chamfer(group: Mapping[str, Any]) -> str:
    """Median with its interval, if there are enough scenes for one."""
    text = interval(group, "chamfer_object_cm")
    return text if group["n"] >= FEW else text.partition(" ")[0]


def targets_table(verdicts: Sequence[Verdict]) -> str:
    """Targets beside measured figures."""
    rows = []
    for v in verdicts:
        said = NOT_MEASURED if v.measured is None else f"{v.measured:.3g}{' ' + v.unit if v.unit else ''}"
        word = {True: "met", False: "**not met**", None: NOT_MEASURED}[v.met]
        rows.append([v.what, v.limit, said, word, v.beside])
    text = f"{count(verdicts, True)} met, {count(verdicts, False)} not met, {count(verdicts, None)} not measured."
    return text + "\n\n" + markdown_table(["figure", "target", "measured", "", "beside it"], rows, (0, 3, 4))


def speed_table(speed: Mapping[str, Any]) -> str:
    """Every figure of ``hoirecon bench fit-speed``, those without a target too."""
    rows = []
    for name, figure in speed["figures"].items():
        more, target = more_is_better(name, figure), dig(figure, "target")
        unit = "times" if more else "s"
        limit = "–" if target is None else f"{'>=' if more else '<='} {target:g} {unit}"
        rows.append([figure_name(name), f"{figure['median']:.3g} {unit}", quartiles(figure), limit])
    return markdown_table(["figure", "median", "", "target"], rows, (0, 2))


def kinds_table(method: Mapping[str, Any], key: str, says: str) -> str:
    """Chamfer of the main method for each category or interaction, worst first."""
    groups = sorted(method[key].items(), key=lambda item: -(dig(item[1], "chamfer_object_cm", "median") or 0.0))
    rows = []
    for name, group in groups:
        rows.append([name.replace("_", " "), str(group["n"]), _chamfer(group), number(group["share_below_5cm"])])
    return markdown_table([says, "scenes", "Chamfer cm", "< 5 cm"], rows)


def calibration_table(levels: Mapping[str, Any], main: str) -> str:
    """What the main method says of its own certainty, and what choosing among its poses lost."""
    header = ["level", "failures flagged `ambiguous`", "successes flagged", "failures, as expected",
              "AUC of the chance", "normalised squared error per dof", "oracle gap, median", "oracle gap, share < 5 cm",
              "started at the truth"]  # fmt: skip
    rows = []
    for name, found in levels.items():
        figures = found["methods"].get(main, {})
        nse = dig(figures, "nse_per_dof", "median")
        gap = figures.get("oracle_gap", {})
        loss = dig(gap, "median_loss")
        rows.append([name, number(dig(figures, "ambiguous", "share_of_failures_flagged")),
                     number(dig(figures, "ambiguous", "share_of_successes_flagged")),
                     _failures(figures), number(dig(figures, "ambiguous", "chance_auc")),
                     NOT_MEASURED if nse is None else interval(figures, "nse_per_dof"),
                     "–" if loss is None else f"{100 * loss:.0f} %", number(dig(gap, "share_loss")),
                     interval(gap.get("from_truth"), "chamfer_object_cm")])  # fmt: skip
    return markdown_table(header, rows)


def _failures(figures: Mapping[str, Any]) -> str:
    """How many there are, and how many the stated chances add up to."""
    there, expected = dig(figures, "ambiguous", "failures"), dig(figures, "ambiguous", "failures_expected")
    return NOT_MEASURED if there is None or expected is None else f"{there}, {expected:.1f}"


def caption(row: Mapping[str, Any]) -> str:
    """Numbers of one scene."""
    best = row["chamfer_best_cm"]
    kept = f"; best returned pose {best:.1f} cm" if best < row["chamfer_object_cm"] - 0.05 else ""
    return (
        f"Chamfer {row['chamfer_object_cm']:.1f} cm{kept}; rotation {row['rotation_deg']:.0f}°, "
        f"translation {row['translation_cm']:.1f} cm, size off by {100 * math.expm1(row['abs_log_scale']):.0f} %; "
        f"IoU {row['iou_visible']:.2f}; penetration {row['penetration_mm']:.0f} mm; "
        f"hidden {row['occluded']:.2f}"
    )


def flags_of(row: Mapping[str, Any]) -> str:
    """What the method says of its result."""
    return f"flags: {', '.join(row['flags']) or 'none'}"


def scene_title(row: Mapping[str, Any]) -> str:
    """Scene in words, e.g. ``1042: sit, chair``."""
    return f"{row['seed']}: {row['interaction'].replace('_', ' ')}, {row['category']}"
