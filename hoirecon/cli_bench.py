"""``hoirecon bench``: what contact costs, how fast it is, and how well methods fit scenes in which all is known."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from hoirecon.cli_bench_ladder import BenchLadder
from hoirecon.cli_bench_list import BenchCheckData, BenchDescribe, BenchList
from hoirecon.cli_bench_runs import BenchMerge, BenchRun
from hoirecon.cli_bench_score import BenchCompare, BenchLeaderboard, BenchReport, BenchScore, BenchValidate
from hoirecon.cli_bench_track_b import BenchTrackB
from hoirecon.cli_values import parse_names, parse_seeds


@dataclass(frozen=True)
class BenchContactCost:
    """Count operations of the full-size contact estimator, the reference's procedure and ours; needs no weights."""

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.contact.cost import contact_cost, cost_text

        cost = contact_cost()
        print(json.dumps(cost, indent=1) if self.json else cost_text(cost))
        return 0


@dataclass(frozen=True)
class BenchContactSpeed:
    """Time our way against the reference's procedure, on a small network with random weights, in one process."""

    json: bool = False
    """Print JSON instead of a table."""
    device: str = "cpu"
    """Where torch runs it."""
    repeats: int = 3
    """Runs of each, one after the other in turn; medians are given."""
    seed: int = 1000
    """Seed of the weights and the photograph."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.contact.speed import contact_speed, speed_text

        speed = contact_speed(device=self.device, repeats=self.repeats, seed=self.seed)
        print(json.dumps(speed, indent=1) if self.json else speed_text(speed))
        return 0


@dataclass(frozen=True)
class BenchClosedWorld:
    """Compare methods on closed-world scenes; prints a table, or with --json everything."""

    level: Literal["L0", "L1", "L2", "L3", "mismatch"] = "L2"
    """How wrong the evidence is."""
    methods: str = "hoirecon"
    """Names with commas between them: hoirecon, hoirecon-object, oracle-start, nothing, and the package's baselines."""
    seeds: str = "0:60"
    """Scene seeds: 0:60 is 0 to 59; below 1000 for tuning, from 1000 for reporting; 3,5,8 are just these."""
    split: Literal["tune", "report", "all"] | None = None
    """Categories; without it each seed's own half."""
    track: Literal["contact", "correspondences", "predicted", "none"] = "contact"
    """What the methods are told of touching."""
    limit: int | None = None
    """At most so many scenes."""
    jobs: int = 1
    """Processes."""
    noise_seed: int = 0
    """Another draw of the noise."""
    results: Path | None = None
    """Folder of one file per scene and method, from which an interrupted run goes on (empty it when code changes)."""
    out: Path | None = None
    """File to write the JSON to as well."""
    json: bool = False
    """Print JSON, without the rows of single scenes."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.closedworld.bench import run_bench
        from hoirecon.files import write_json

        found = run_bench(
            self.level,
            parse_names(self.methods),
            parse_seeds(self.seeds),
            self.split,
            self.limit,
            self.jobs,
            self.track,
            self.noise_seed,
            self.results,
            progress=_tell,
        )
        if self.out is not None:
            write_json(self.out, found)
        short = {k: v for k, v in found.items() if k != "scenes"}
        print(json.dumps(short, indent=1) if self.json else table(found))
        return 0


@dataclass(frozen=True)
class BenchClosedWorldPage:
    """Write the results page of the closed world: tables, targets, noise ladder, worst cases, time against accuracy."""

    seeds: str = "1000:1060"
    """Scene seeds, as of `bench closedworld`."""
    methods: str = "hoirecon,hoirecon-object,oracle-start,interactvlm-style-tuned,mask-depth,icp,centroid,nothing"
    """Names with commas between them."""
    detail_methods: str = "interactvlm-style,pico-style,pico-style-tuned,phosa-style,phosa-style-tuned"
    """Slow ones, run at L2 alone (or the last level)."""
    levels: str = "L0,L1,L2,L3,mismatch"
    """Noise levels, likewise."""
    main: str = ""
    """The method of targets and pictures; by default the first."""
    out: Path = Path("docs/results")
    """Folder of the page; an earlier page there is replaced."""
    jobs: int = 1
    """Processes."""
    noise_seed: int = 0
    """Another draw of the noise."""
    results: Path | None = None
    """Folder of one file per scene and method, from which an interrupted run goes on (empty it when code changes)."""
    speed: Path | None = None
    """JSON of `bench fit-speed --json`, for targets of speed and cost curves."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.closedworld.results_page import PageConfig, make_page

        config = PageConfig(
            tuple(parse_seeds(self.seeds)),
            parse_names(self.methods),
            parse_names(self.levels),
            self.main,
            self.jobs,
            self.noise_seed,
            detail_methods=parse_names(self.detail_methods),
        )
        print(make_page(config, self.out, self.results, self.speed, progress=_tell))
        return 0


@dataclass(frozen=True)
class BenchFitSpeed:
    """Time the object fit on closed-world scenes: CPU seconds of one thread, against other optimisers, and curves."""

    json: bool = False
    """Print JSON instead of a table."""
    scenes: str = "0:8"
    """Scene seeds: 0:8 is 0 to 7; below 1000 for tuning, from 1000 for reporting."""
    level: Literal["L0", "L1", "L2", "L3", "mismatch"] = "L2"
    """How wrong the evidence is."""
    curves: bool = True
    """Also cost against hypotheses, faces, image size and number of objects."""
    repeats: int = 3
    """Runs of each short figure; medians are given."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.closedworld.fit_speed import run_fit_speed, speed_text

        def tell(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        found = run_fit_speed(parse_seeds(self.scenes), self.level, self.curves, self.repeats, tell)
        print(json.dumps(found, indent=1) if self.json else speed_text(found))
        return 0


@dataclass(frozen=True)
class Bench:
    """Measure: the field's tasks with its own protocols, the closed world, cost and speed."""

    what: (
        Annotated[BenchList, tyro.conf.subcommand("list")]
        | Annotated[BenchDescribe, tyro.conf.subcommand("describe")]
        | Annotated[BenchRun, tyro.conf.subcommand("run")]
        | Annotated[BenchMerge, tyro.conf.subcommand("merge")]
        | Annotated[BenchValidate, tyro.conf.subcommand("validate")]
        | Annotated[BenchScore, tyro.conf.subcommand("score")]
        | Annotated[BenchCompare, tyro.conf.subcommand("compare")]
        | Annotated[BenchLadder, tyro.conf.subcommand("ladder")]
        | Annotated[BenchReport, tyro.conf.subcommand("report")]
        | Annotated[BenchLeaderboard, tyro.conf.subcommand("leaderboard")]
        | Annotated[BenchCheckData, tyro.conf.subcommand("check-data")]
        | Annotated[BenchClosedWorld, tyro.conf.subcommand("closedworld")]
        | Annotated[BenchClosedWorldPage, tyro.conf.subcommand("closedworld-page")]
        | Annotated[BenchTrackB, tyro.conf.subcommand("track-b")]
        | Annotated[BenchContactCost, tyro.conf.subcommand("contact-cost")]
        | Annotated[BenchContactSpeed, tyro.conf.subcommand("contact-speed")]
        | Annotated[BenchFitSpeed, tyro.conf.subcommand("fit-speed")]
    )

    def run(self) -> int:
        """Carry the command out."""
        return self.what.run()


def table(found: dict[str, Any]) -> str:
    """A line per method."""
    lines = [
        f"level {found['level']}, track {found['track']}, {len(found['seeds'])} scenes",
        f"{'method':20s} {'Chamfer cm [95 %]':>20s} {'<5 cm':>6s} {'<2.5':>6s} {'rot deg':>8s} {'transl cm':>9s} "
        f"{'IoU':>5s} {'pen mm':>7s} {'CPU s':>7s} {'failed':>6s}",
    ]
    for name, f in found["methods"].items():
        cd = f["chamfer_object_cm"]
        interval = f"{cd['median']:.2f} [{cd['ci95'][0]:.2f}, {cd['ci95'][1]:.2f}]"
        cpu = f["cpu_seconds"].get("median", float("nan"))
        lines.append(
            f"{name:20s} {interval:>20s} {f['share_below_5cm']:6.2f} {f['share_below_2_5cm']:6.2f} "
            f"{f['rotation_deg']['median']:8.1f} {f['translation_cm']['median']:9.2f} "
            f"{f['iou_visible']['median']:5.2f} {f['penetration_mm']['median']:7.1f} {cpu:7.2f} {f['n_failed']:6d}"
        )
    return "\n".join(lines)


def _tell(row: dict[str, Any]) -> None:
    what = row["failed"] or f"{row['chamfer_object_cm']:.2f} cm, {row['cpu_seconds']:.2f} s"
    print(f"{row['scene']:36s} {row['method']:18s} {what}", file=sys.stderr, flush=True)
