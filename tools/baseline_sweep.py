"""Sweep a small grid of settings of each restated baseline over tuning scenes, so that we compare with its best.

python -m tools.baseline_sweep --seeds 0:24 --out sweep.jsonl
python -m tools.baseline_sweep --seeds 60:90 --out check.jsonl --settings published tuned

One JSON line per setting and scene is appended to the file, and what it holds already is not run again; a line is known
by a digest of the setting's values, so a changed setting is run and an old line is left out of the tables. Scenes
without contact are passed over. The seeds must be tuning seeds: those for reporting are refused.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from hoirecon.contact_map import ContactMap
from hoirecon.data.closedworld import level_of, load_scene, observe_scene, split_of_seed
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import chamfer_cm, median_interval, share_below, surface_samples
from hoirecon.fitting import ObjectToFit
from hoirecon.fitting.baselines import (
    BaselineProblem,
    BaselineResult,
    InteractvlmConfig,
    PhosaConfig,
    PicoConfig,
    baseline_problem,
    fit_interactvlm_style,
    fit_phosa_style,
    fit_pico_style,
)
from hoirecon.fitting.baselines import settings as known

Config = InteractvlmConfig | PhosaConfig | PicoConfig
Row = dict[str, Any]

FITS: Mapping[str, Callable[..., BaselineResult]] = {
    "interactvlm-style": fit_interactvlm_style,
    "pico-style": fit_pico_style,
    "phosa-style": fit_phosa_style,
}
PUBLISHED: Mapping[str, Config] = {
    "interactvlm-style": known.INTERACTVLM,
    "pico-style": known.PICO,
    "phosa-style": known.PHOSA,
}
TUNED: Mapping[str, Config] = {
    "interactvlm-style": known.INTERACTVLM_TUNED,
    "pico-style": known.PICO_TUNED,
    "phosa-style": known.PHOSA_TUNED,
}


def interactvlm_grid() -> dict[str, Config]:
    """Settings of ``interactvlm-style``; each name says what it changes in the one whose name it begins with."""
    placed = replace(known.INTERACTVLM, contact_threshold=0.5, registration=False, centred_start=True)
    sharp = replace(placed, sigma=1e-5)
    free = replace(sharp, free_scale=True, scale_weight=0.3)
    return {
        "registered": replace(placed, registration=True),
        "placed": placed,
        "sharp": sharp,
        "sharp, 8 starts": replace(sharp, starts=8),
        "free": free,
        "free, firm size": replace(free, scale_weight=1.0),
        "free, contact 3": replace(free, contact_weight=3.0),
        "free, contact 30": replace(free, contact_weight=30.0),
        "free, slow": replace(free, lr_rotation=2e-2, lr_translation=4e-3, lr_scale=4e-3, iterations=500),
        "free, 8 starts": replace(free, starts=8),
        "free, firm size, 8 starts": replace(free, scale_weight=1.0, starts=8),
    }


def pico_grid() -> dict[str, Config]:
    """Settings of ``pico-style``."""
    short = replace(known.PICO, image_iterations=400)
    sharp = replace(short, sigma=1e-5)
    seen = replace(sharp, iou_weight=3.0, centroid_weight=3.0)
    return {
        "short": short,
        "sharp": sharp,
        "sharp, 8 starts": replace(sharp, starts=8),
        "seen": seen,
        "seen, collision 10": replace(seen, collision_weight=10.0),
        "seen, size 1": replace(seen, scale_weight=1.0),
        "seen, contact 30": replace(seen, contact_weight=30.0),
        "seen, slow": replace(seen, image_lr=(0.015, 0.01, 0.008)),
        "seen, 8 starts": replace(seen, starts=8),
        "seen, contact 30, 8 starts": replace(seen, contact_weight=30.0, starts=8),
    }


def phosa_grid() -> dict[str, Config]:
    """Settings of ``phosa-style``."""
    brisk = replace(
        known.PHOSA, rotations=256, batch=256, refined=32, search_lr=1e-2, joint_lr=5e-3, joint_iterations=200
    )
    deep = replace(brisk, to_contact_depth=True)
    parts = replace(deep, interaction_weight=0.0, part_weight=500.0)
    many = replace(parts, finalists=8, scale_weight=10.0, joint_iterations=100, joint_lr=1e-2)
    return {
        "brisk": brisk,
        "deep": deep,
        "deep, parts 500": replace(deep, part_weight=500.0),
        "parts": parts,
        "parts, size 10": replace(parts, scale_weight=10.0),
        "parts, 4 finalists": replace(parts, finalists=4),
        "parts, 8 finalists, size 10": many,
        "parts 5000, 8 finalists, size 10": replace(many, part_weight=5000.0),
    }


GRIDS: Mapping[str, Callable[[], dict[str, Config]]] = {
    "interactvlm-style": interactvlm_grid,
    "pico-style": pico_grid,
    "phosa-style": phosa_grid,
}


@dataclass(frozen=True)
class SweepConfig:
    """What to run."""

    out: Path
    """File of JSON lines; an interrupted sweep goes on from it."""
    seeds: str = "0:24"
    """Tuning seeds, first:last+1."""
    methods: tuple[str, ...] = tuple(FITS)
    settings: tuple[str, ...] = ()
    """Names in the grid, ``published`` or ``tuned``; none: the whole grid."""
    level: str = "L2"
    limit: int | None = None
    """At most so many scenes with contact."""
    table_only: bool = False
    """Run nothing, print what the file holds."""


# ------------------------------------------------------------------------------------------------------------- running
def chosen(method: str, names: tuple[str, ...]) -> dict[str, Config]:
    """Settings of a method by name; names that only other methods have are passed over.

    Raises:
        InputError: an unknown method, or none of the names.
    """
    if method not in FITS:
        raise InputError(f"there is no grid for '{method}'; there are: {', '.join(FITS)}")
    grid = GRIDS[method]()
    if not names:
        return grid
    everything = {"published": PUBLISHED[method], "tuned": TUNED[method], **grid}
    taken = {name: everything[name] for name in names if name in everything}
    if not taken:
        raise InputError(f"{method} has none of the settings {', '.join(names)}; there are: {', '.join(everything)}")
    return taken


def values_of(config: Config) -> dict[str, Any]:
    """A setting's values as plain numbers, the renderer by its name."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    values["renderer"] = getattr(config.renderer, "__name__", str(config.renderer))
    return values


def changes(config: Config) -> dict[str, Any]:
    """What differs from the published settings."""
    published = values_of(type(config)())
    return {k: v for k, v in values_of(config).items() if v != published[k]}


def digest_of(method: str, config: Config) -> str:
    """Name of a setting's values."""
    text = json.dumps([method, values_of(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def seeds_of(text: str) -> range:
    """Tuning seeds.

    Raises:
        InputError: not ``first:end``, or a seed for reporting: nothing may be chosen by those.
    """
    first, _, end = text.partition(":")
    if not (first.isdigit() and end.isdigit()):
        raise InputError(f"seeds are first:end, e.g. 0:24, got '{text}'")
    seeds = range(int(first), int(end))
    if any(split_of_seed(seed) != "tune" for seed in seeds):
        raise InputError(f"'{text}' holds seeds for reporting: settings are chosen by seeds below 1000")
    return seeds


@dataclass(frozen=True, eq=False)
class Case:
    """One scene: the problem and the truth's surface."""

    seed: int
    scene: str
    problem: BaselineProblem
    true_points: Any
    points: Any


def cases(config: SweepConfig) -> Iterator[Case]:
    """Scenes with contact, with their noise."""
    left = config.limit
    for seed in seeds_of(config.seeds):
        if left == 0:
            return
        scene = load_scene(seed)
        given = observe_scene(scene, level_of(config.level), 0)
        if given.contacts is None:
            continue
        on_body, on_object = given.contacts
        mesh = given.body.mesh
        contact = (ContactMap(on_body.probability, mesh.topology, on_body.source), on_object)
        thing = ObjectToFit(given.mesh, given.category, given.size_prior)
        true = surface_samples(scene.mesh.with_verts(scene.pose.apply(scene.mesh.verts)))
        problem = baseline_problem(given.observation, mesh, thing, contact)
        yield Case(seed, scene.name, problem, true, surface_samples(given.mesh))
        left = None if left is None else left - 1


def read_rows(path: Path) -> dict[tuple[str, str, int], Row]:
    """Rows by (digest, level, seed); a last line that was cut off is not one."""
    rows: dict[tuple[str, str, int], Row] = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row["digest"], row["level"], row["seed"]] = row
    return rows


def sweep(config: SweepConfig) -> None:
    """Run what the file does not hold, scene after scene, so that every setting has seen the same ones."""
    done = read_rows(config.out)
    grids = {method: chosen(method, config.settings) for method in config.methods}
    with config.out.open("a") as out:
        if config.out.stat().st_size and not config.out.read_text().endswith("\n"):
            out.write("\n")  # a line that was cut off stays alone
        for case in cases(config):
            for method, grid in grids.items():
                for name, setting in grid.items():
                    key = (digest_of(method, setting), config.level, case.seed)
                    if key in done:
                        continue
                    row = {"digest": key[0], "level": config.level, "method": method, "setting": name}
                    out.write(json.dumps(row | run(case, method, setting)) + "\n")
                    out.flush()


def run(case: Case, method: str, setting: Config) -> Row:
    """One fit, measured."""
    start = time.process_time()
    found = FITS[method](case.problem, setting)
    seconds = time.process_time() - start
    chamfer = chamfer_cm(found.pose.apply(case.points), case.true_points)
    return {"seed": case.seed, "scene": case.scene, "chamfer_object_cm": round(chamfer, 4),
            "cpu_seconds": round(seconds, 3), "scale": round(found.pose.s, 4)}  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- tables
def table(config: SweepConfig) -> str:
    """Markdown: a line per setting with its figures over the scenes that all settings of its method have seen."""
    rows = read_rows(config.out)
    lines = [
        "| method | setting | n | Chamfer cm [95 %] | < 5 cm | mean (cap 30) | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in config.methods:
        grid = chosen(method, config.settings)
        keys = {name: (digest_of(method, setting), config.level) for name, setting in grid.items()}
        seen = [{s for d, level, s in rows if (d, level) == key} for key in keys.values()]
        common = sorted(set.intersection(*seen) & set(seeds_of(config.seeds)))
        for name, key in keys.items():
            lines.append(f"| `{method}` | {name} {figures([rows[*key, seed] for seed in common])}")
    return "\n".join(lines)


def figures(rows: list[Row]) -> str:
    """Columns of one setting."""
    found = [row["chamfer_object_cm"] for row in rows]
    interval, seconds = median_interval(found), median_interval([row["cpu_seconds"] for row in rows])
    if interval is None or seconds is None:
        return "| 0 | | | | |"
    low, high = interval.ci95
    mean = sum(min(value, 30.0) for value in found) / len(found)
    return (
        f"| {len(found)} | {interval.median:.2f} [{low:.2f}, {high:.2f}] | {share_below(found, 5.0):.2f} "
        f"| {mean:.2f} | {seconds.median:.2f} |"
    )


def settings_table() -> str:
    """Markdown: what each name of the package means, as changes of the published settings."""
    lines = ["| name | changes of the published settings |", "|---|---|"]
    for method in FITS:
        for name, setting in ((method, PUBLISHED[method]), (f"{method}-tuned", TUNED[method])):
            said = ", ".join(f"`{k}={v}`" for k, v in changes(setting).items())
            lines.append(f"| `{name}` | {said} |")
        lines.append(f"| `{method}-published` | none |")
    return "\n".join(lines)


def main(config: SweepConfig) -> None:
    """Run the sweep and print its table."""
    torch.set_num_threads(1)
    if not config.table_only:
        sweep(config)
    print(table(config))


if __name__ == "__main__":
    main(tyro.cli(SweepConfig))
