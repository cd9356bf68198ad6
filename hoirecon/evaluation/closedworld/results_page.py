"""The results page of the closed world by one command: runs, figures, plots, pictures, targets, in one folder."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import hoirecon
from hoirecon.data.closedworld import LEVELS, VERSION, load_scene, observe_scene
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.bench import Row, run_bench
from hoirecon.evaluation.closedworld.methods import method_of
from hoirecon.evaluation.closedworld.page_text import (
    LEVEL_SAYS,
    calibration_table,
    caption,
    flags_of,
    groups_table,
    kinds_table,
    main_table,
    scene_title,
    speed_table,
    targets_table,
)
from hoirecon.evaluation.closedworld.plots import check_installed, cost_plot, distribution_plot, ladder_plot, time_plot
from hoirecon.evaluation.closedworld.targets import Verdict, judge
from hoirecon.files import atomic_folder, check_replaceable, read_json

MARKER = "results.json"
DETAIL = "L2"
"""Level of the distribution, the time plot and the pictures; the last one if it was not run."""
WORST_SHOWN, TYPICAL_SHOWN = 6, 6
PACKAGES = ("numpy", "scipy", "torch", "open3d", "warp-lang", "roma", "trimesh", "scikit-image")
OF_SCENES = ("scene", "category", "interaction", "occluded")
OF_ROWS = ("failed", "chamfer_object_cm", "chamfer_best_cm", "cpu_seconds", "flags")
"""What the page's JSON keeps of each scene, and of each result."""


@dataclass(frozen=True)
class PageConfig:
    """What is run, and for whom the page is."""

    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    levels: tuple[str, ...] = ("L0", "L1", "L2", "L3", "mismatch")
    main: str = ""
    """The method of targets and pictures; by default the first."""
    jobs: int = 1
    noise_seed: int = 0
    worst: int = WORST_SHOWN
    """Pictures of the worst scenes with contact, and one of the worst without."""
    typical: int = TYPICAL_SHOWN
    """Pictures of scenes round the median."""
    detail_methods: tuple[str, ...] = ()
    """Slow methods that are run at the level that is looked at closely alone."""

    @property
    def main_method(self) -> str:
        """The method of targets and pictures."""
        return self.main or self.methods[0]

    def at(self, level: str) -> tuple[str, ...]:
        """The methods that are run at a level."""
        return (*self.methods, *(self.detail_methods if level == self.detail else ()))

    @property
    def detail(self) -> str:
        """The level that is looked at closely."""
        return DETAIL if DETAIL in self.levels else self.levels[-1]

    def check(self) -> None:
        """Refuse what cannot work before any work starts.

        Raises:
            InputError: unknown level or method, none at all, a main method that is not run.
        """
        unknown = [name for name in self.levels if name not in LEVELS]
        if unknown or not self.levels or not self.methods or not self.seeds:
            raise InputError(
                f"a results page needs seeds, methods and levels of {', '.join(LEVELS)}; got {len(self.seeds)} seeds, "
                f"methods '{','.join(self.methods)}' and levels '{','.join(self.levels)}'"
            )
        for name in (*self.methods, *self.detail_methods):
            method_of(name)
        if self.main_method not in self.methods:
            raise InputError(f"the main method '{self.main}' is not among those that run: {', '.join(self.methods)}")


def make_page(
    config: PageConfig,
    out: str | Path,
    results: str | Path | None = None,
    speed: str | Path | None = None,
    progress: Callable[[Row], None] | None = None,
) -> Path:
    """Run every level and method and write the page.

    Args:
        config: what is run.
        out: folder of the page; an earlier page there is replaced.
        results: folder of one file per scene and method, from which an interrupted run goes on.
        speed: JSON that ``hoirecon bench fit-speed --json`` printed, for targets of speed and cost curves.
        progress: called with every row.

    Returns:
        The page, ``out/README.md``.

    Raises:
        InputError: unknown names, damaged results or speed file, a folder that holds something else.
        MissingExtraError: matplotlib or open3d is not installed.
    """
    config.check()
    check_installed()
    check_replaceable(out, MARKER)
    measured = None if speed is None else check_speed(read_json(speed), Path(speed))
    levels = {
        level: run_bench(level, config.at(level), config.seeds, jobs=config.jobs, noise_seed=config.noise_seed,
                         results=results, progress=progress)
        for level in config.levels
    }  # fmt: skip
    verdicts = judge(levels, config.main_method, measured)
    with atomic_folder(out, MARKER) as folder:
        _draw_plots(folder, config, levels, measured)
        shown = _draw_scenes(folder, config, levels[config.detail]["scenes"][config.main_method])
        command = _command(config, Path(out), speed)
        told = _as_json(config, levels, verdicts, measured, command)
        (folder / MARKER).write_text(dense(told) + "\n", encoding="utf-8")
        text = _page(config, levels, verdicts, shown, measured, command)
        (folder / "README.md").write_text(text, encoding="utf-8")
    return Path(out) / "README.md"


def check_speed(told: Any, path: Path) -> dict[str, Any]:
    """The file of speeds, if it is one.

    Raises:
        InputError: it is not.
    """

    def whole(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)

    figures = told.get("figures", {}) if isinstance(told, dict) else None
    curves = told.get("curves", {}) if isinstance(told, dict) else None
    fine = isinstance(figures, dict) and isinstance(curves, dict) and bool(figures or curves)
    fine = fine and all(isinstance(f, dict) and whole(f.get("median")) for f in (figures or {}).values())
    points = [p for c in (curves or {}).values() for p in (c if isinstance(c, list) and c else [None])] if fine else []
    if not fine or not all(isinstance(p, dict) and whole(p.get("x")) and whole(p.get("cpu_s")) for p in points):
        raise InputError(f"{path} is not what `hoirecon bench fit-speed --json` prints: it needs figures with medians "
                         "or curves of points with x and cpu_s")  # fmt: skip
    return dict(told)


# -------------------------------------------------------------------------------------------------------------- drawing
def _draw_plots(folder: Path, config: PageConfig, levels: Mapping[str, Any], speed: Mapping[str, Any] | None) -> None:
    detail = levels[config.detail]
    ladder_plot(levels, folder / "noise_ladder.png")
    distribution_plot(config.detail, detail, folder / "distribution.png")
    time_plot(config.detail, detail, folder / "time.png")
    if curves := (speed or {}).get("curves", {}):
        cost_plot(curves, folder / "cost.png")


def choose(rows: Sequence[Row], worst: int, typical: int) -> dict[str, list[Row]]:
    """The worst scenes with contact, the worst without, and those round the median of the scenes with contact.

    Scenes on which the method failed have nothing to draw; they are counted in the tables.
    """
    drawn = [row for row in rows if "pose" in row]
    with_contact = sorted((r for r in drawn if r["interaction"] != "no_contact"), key=lambda r: -r["chamfer_object_cm"])
    without = sorted((r for r in drawn if r["interaction"] == "no_contact"), key=lambda r: -r["chamfer_object_cm"])
    first = max(0, (len(with_contact) - typical) // 2)
    return {"worst": with_contact[:worst], "worst without contact": without[: min(1, worst)],
            "typical": with_contact[first : first + typical]}  # fmt: skip


def _draw_scenes(folder: Path, config: PageConfig, rows: Sequence[Row]) -> list[tuple[str, list[tuple[str, Row]]]]:
    """Write the pictures; give each kind's file names with their rows."""
    from PIL import Image

    from hoirecon.evaluation.closedworld.pictures import scene_picture

    shown = []
    for kind, chosen in choose(rows, config.worst, config.typical).items():
        files = []
        for row in chosen:
            name = f"{kind.replace(' ', '_')}_{row['seed']:05d}.png"
            scene = load_scene(row["seed"])
            given = observe_scene(scene, config.detail, config.noise_seed)
            picture = scene_picture(scene, given, row, notes=(f"{scene_title(row)}. {caption(row)}", flags_of(row)))
            few = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE)  # half the size, no visible loss
            few.save(folder / name, optimize=True)
            files.append((name, row))
        shown.append((kind, files))
    return shown


# ----------------------------------------------------------------------------------------------------------------- text
def _page(
    config: PageConfig, levels: Mapping[str, Any], verdicts: Sequence[Verdict],
    shown: Sequence[tuple[str, list[tuple[str, Row]]]], speed: Mapping[str, Any] | None, command: str,
) -> str:  # fmt: skip
    main, detail = config.main_method, config.detail
    figures = levels[detail]["methods"][main]
    parts = [
        "# Results in the closed world",
        "This page, its plots, pictures and `results.json` are written by one command; nothing here is typed by hand.",
        f"```sh\n{command}\n```",
        "Chamfer is (a to b + b to a) / 2 between the placed and the true object, raw, in centimetres. Figures are "
        "medians with the 95 % interval of bootstrap draws in brackets; where a method fails, 100 cm count. "
        "Scenes with contact are those for which contact is given; without it only the size prior tells the "
        "depth. IoU is of the visible masks with the exact ones. CPU seconds are of one thread.",
        f"## Targets\n\nMain method: `{main}`. {targets_table(verdicts)}",
        *_level_parts(levels),
        "## Noise ladder\n\n![Median Chamfer against noise level for each method](noise_ladder.png)",
        f"## Distribution of errors\n\n![Share of scenes below each Chamfer distance at {detail}](distribution.png)",
        f"## Time against accuracy\n\n![Median CPU time against median Chamfer at {detail}](time.png)",
        *_speed_parts(speed),
        f"## What `{main}` says of itself\n\nA failure is a scene that ends 5 cm off or more; the oracle gap is what "
        f"choosing among the returned poses lost. All scenes.\n\n{calibration_table(levels, main)}",
        f"## By category and interaction\n\n`{main}` at {detail}, worst first.\n\n"
        f"{kinds_table(figures, 'by_category', 'category')}\n\n{kinds_table(figures, 'by_interaction', 'interaction')}",
        _pictures_part(main, detail, shown),
        _made_with(config),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _speed_parts(speed: Mapping[str, Any] | None) -> list[str]:
    if speed is None:
        return []
    scenes = f", {len(speed['seeds'])} scenes at {speed['level']}" if {"seeds", "level"} <= speed.keys() else ""
    parts = [f"## Speed\n\nMeasured by `hoirecon bench fit-speed`{scenes}; CPU seconds of one thread."]
    parts += [speed_table(speed)] if speed.get("figures") else []
    return parts + (["![CPU seconds against what makes a fit dear](cost.png)"] if speed.get("curves") else [])


def _level_parts(levels: Mapping[str, Any]) -> list[str]:
    parts = []
    for name, found in levels.items():
        parts.append(
            f"## {name}\n\n{name}: {LEVEL_SAYS[name]}.\n\nScenes with contact (touching parts and landmarks: error "
            f"of the body's, as given → as predicted):\n\n{main_table(found)}\n\nGroups of scenes (how many), Chamfer "
            f"cm; share below 5 cm:\n\n{groups_table(found)}"
        )
        failures = {m: f["failures"] for m, f in found["methods"].items() if f["failures"]}
        if failures:
            said = [f"- `{m}`, {scene}: {why}" for m, by in failures.items() for scene, why in by.items()]
            parts.append(f"Failed at {name}:\n\n" + "\n".join(said))
    return parts


def _pictures_part(main: str, detail: str, shown: Sequence[tuple[str, list[tuple[str, Row]]]]) -> str:
    says = {
        "worst": "### Worst, with contact\n\nThe scenes with contact that end farthest off.",
        "worst without contact": "### Worst, without contact",
        "typical": "### Typical\n\nThe scenes with contact round the median.",
    }
    parts = [
        f"## Pictures\n\n`{main}` at {detail}. Scenes are chosen by their figures, none by hand; where the "
        "method failed there is nothing to draw."
    ]
    for kind, files in shown:
        if files:
            parts.append(says[kind])
            parts += [
                f"**{scene_title(r)}.** {caption(r)}; {flags_of(r)}.\n\n![{scene_title(r)}]({name})"
                for name, r in files
            ]
    return "\n\n".join(parts)


def _made_with(config: PageConfig) -> str:
    packages = ", ".join(f"{name} {found}" for name, found in versions().items())
    seeds = f"{len(config.seeds)} scenes, seeds {_seeds(config.seeds)}, noise seed {config.noise_seed}"
    return (
        f"## Made with\n\n{seeds}; scenes of generator version {VERSION}; {packages}; {platform.machine()}, "
        f"{_processor()}. The same seeds give the same scenes and noise everywhere; CPU seconds are this machine's; "
        f"scenes ran in up to {config.jobs} process{'es' if config.jobs > 1 else ''} at a time."
    )


def versions() -> dict[str, str]:
    """Versions of Python, hoirecon and what it computes with."""
    found = {"hoirecon": hoirecon.__version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "an unknown processor"


def _seeds(seeds: Sequence[int]) -> str:
    """``1000:1060`` for a run of seeds, else all of them."""
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}:{seeds[-1] + 1}"
    return ",".join(str(seed) for seed in seeds)


def _command(config: PageConfig, out: Path, speed: str | Path | None) -> str:
    """The command that makes this page again; of a machine's own folders only the last name is told."""
    words = ["hoirecon", "bench", "closedworld-page", "--seeds", _seeds(config.seeds), "--methods",
             ",".join(config.methods), "--levels", ",".join(config.levels), "--main", config.main_method,
             "--noise-seed", str(config.noise_seed), "--jobs", str(config.jobs),
             "--out", out.name if out.is_absolute() else out.as_posix()]  # fmt: skip
    words += ["--detail-methods", ",".join(config.detail_methods)]
    words += [] if speed is None else ["--speed", Path(speed).name]
    return " ".join(shlex.quote(word) for word in words)


def _as_json(
    config: PageConfig, levels: Mapping[str, Any], verdicts: Sequence[Verdict], speed: Mapping[str, Any] | None,
    command: str,
) -> dict[str, Any]:  # fmt: skip
    some = next(iter(next(iter(levels.values()))["scenes"].values()))
    return {
        "command": command,
        "main": config.main_method,
        "seeds": _seeds(config.seeds),
        "versions": versions(),
        "targets": [v.as_json() for v in verdicts],
        "levels": {name: {k: v for k, v in found.items() if k not in ("scenes", "seeds")}
                   for name, found in levels.items()},
        "scenes": {str(r["seed"]): {k: r[k] for k in OF_SCENES} for r in some},
        "results": {name: {method: {str(r["seed"]): {k: r.get(k) for k in OF_ROWS} for r in rows}
                           for method, rows in found["scenes"].items()} for name, found in levels.items()},
        "speed": speed,
    }  # fmt: skip


def dense(value: Any, depth: int = 4, indent: int = 0) -> str:
    """JSON with a line for each entry down to a depth, and what lies deeper on that line.

    Example:
        >>> print(dense({"a": {"b": [1, 2]}}, depth=1))
        {
         "a": {"b": [1, 2]}
        }
    """
    if depth == 0 or not isinstance(value, dict | list) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    space, first, last = " " * (indent + 1), "[", "]"
    if isinstance(value, dict):
        items, first, last = [f"{json.dumps(k)}: {dense(v, depth - 1, indent + 1)}" for k, v in value.items()], "{", "}"
    else:
        items = [dense(v, depth - 1, indent + 1) for v in value]
    return f"{first}\n{space}" + f",\n{space}".join(items) + f"\n{' ' * indent}{last}"
